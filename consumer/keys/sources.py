"""Where a key ring is, and how it is read from there and written."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import KeyRingError
from consumer.keys.file import is_open_to_others, read_text
from consumer.masking.key_ring import KeyRing


@dataclass(frozen=True, slots=True)
class Aws:
    """The region, None for that of the environment or profile, and the time that a call may take.

    A call counts with its own two tries more, and with what its credentials take.
    """

    region: str | None = None
    timeout_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class InlineKeys:
    """The ring's JSON itself, as the settings had it at the start."""

    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with the ring's JSON, such as a secret of Docker's or Kubernetes's."""

    path: Path


@dataclass(frozen=True, slots=True)
class KmsKeyFile:
    """A file with the ring as KMS wrapped it, in base64; the context is authenticated by KMS."""

    path: Path
    context: Mapping[str, str]
    aws: Aws


@dataclass(frozen=True, slots=True)
class SecretsManager:
    """A secret of AWS Secrets Manager, by its name or ARN."""

    name: str
    aws: Aws


KeySource = InlineKeys | KeyFile | KmsKeyFile | SecretsManager
FileSource = KeyFile | KmsKeyFile


@dataclass(frozen=True, slots=True)
class ReadRing:
    """A ring's JSON, and the KMS key that it was wrapped with, if it was."""

    text: str = field(repr=False)
    kms_key: str | None = None


async def load_key_ring(source: KeySource) -> KeyRing:
    """Read and check the ring.

    Raises:
        KeyRingError: it is not there, may not be read, or is wrong; the text says which.
        KeySourceError: AWS did not answer; it may be read again after a pause.
    """
    return KeyRing.parse((await read_ring(source)).text)


async def read_ring(source: KeySource) -> ReadRing:
    """Read the ring's JSON, whatever it holds; raises as `load_key_ring` does."""
    match source:
        case InlineKeys():
            return ReadRing(source.text)
        case KeyFile():
            return ReadRing(read_text(source.path))
        case SecretsManager():
            from consumer.keys import aws  # noqa: PLC0415 - see above

            return ReadRing(_text(await aws.secret_value(source.aws, source.name)))
        case KmsKeyFile():
            from consumer.keys import aws  # noqa: PLC0415 - see above

            wrapped = _wrapped(source.path, read_text(source.path))
            unwrapped = await aws.unwrap(source.aws, wrapped, source.context)
            return ReadRing(_text(unwrapped.plaintext), unwrapped.kms_key)


async def content_of(source: FileSource, ring: KeyRing, kms_key: str | None) -> bytes:
    """What the file is to hold for a ring: wrapped with `kms_key` where there is one.

    Raises:
        KeyRingError, KeySourceError: of KMS.
    """
    text = ring.to_json().encode() + b"\n"
    if isinstance(source, KeyFile):
        return text
    from consumer.keys import aws  # noqa: PLC0415 - see above

    assert kms_key is not None
    wrapped = await aws.wrap(source.aws, kms_key, text, source.context)
    return base64.b64encode(wrapped) + b"\n"


def warnings_of(source: KeySource) -> list[str]:
    """What is odd about the place, though the ring can be read.

    Not refused, for Docker and Kubernetes mount secrets that way unless told otherwise.
    """
    if isinstance(source, KeyFile) and is_open_to_others(source.path):
        return [f"key ring: every user of this machine may read {source.path}: chmod o= it"]
    return []


def _wrapped(path: Path, text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        pass  # raised below: the cause may hold a ring that is not wrapped at all
    raise KeyRingError(
        f"{path}: not base64, as KMS's ciphertext is kept; make it with `consumer keys new --kms`"
    )


def _text(value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        pass  # raised below: the cause holds the value
    raise KeyRingError("it is not UTF-8 text")
