"""Faults that a test places in the server's way."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from devkit.sqs.errors import INTERNAL, Code
from devkit.sqs.parameters import Json


@dataclass(frozen=True, slots=True)
class Request:
    """What a placed fault is decided by: the operation and its parameters, in their JSON shapes."""

    operation: str
    parameters: Mapping[str, Json]


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


Fault: TypeAlias = AnswerError | Disconnect | Delay | DeliverTwice | RefuseEntries
PlaceFault: TypeAlias = Callable[[Request], Fault | None]
