"""Faults that a test injects into the server."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from devkit.sqs.errors import INTERNAL, Code


@dataclass(frozen=True, slots=True)
class AnswerError:
    """Answer with an error; with `after_acting` the operation is carried out all the same."""

    code: Code = INTERNAL
    after_acting: bool = False


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close without an answer; with `after_acting` the operation is carried out all the same."""

    after_acting: bool = False


@dataclass(frozen=True, slots=True)
class Delay:
    """Act and answer only after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class DeliverTwice:
    """Deliver messages without hiding them: the next receive has them again."""


@dataclass(frozen=True, slots=True)
class RefuseEntries:
    """Let entries of a batch fail, by their ids; the others are acted on."""

    codes: Mapping[str, Code]


InjectedFault: TypeAlias = AnswerError | Disconnect | Delay | DeliverTwice | RefuseEntries
