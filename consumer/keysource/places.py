"""The places that a key ring may be in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Aws:
    """The region, None for that of the environment or profile, and the time that a call may take.

    A call counts with its own two tries more, and with what its credentials take.
    """

    region: str | None = None
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Given:
    """The ring's JSON itself, as the settings had it at the start."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class RingFile:
    """A file with the ring's JSON, such as a secret of Docker's or Kubernetes's."""

    path: Path


@dataclass(frozen=True, slots=True)
class KmsFile:
    """A file with the ring as KMS wrapped it, in base64; the context is authenticated by KMS."""

    path: Path
    context: Mapping[str, str]
    aws: Aws


@dataclass(frozen=True, slots=True)
class SecretsManager:
    """A secret of AWS Secrets Manager, by its name or ARN."""

    name: str
    aws: Aws


KeySource = Given | RingFile | KmsFile | SecretsManager
KeyFile = RingFile | KmsFile
