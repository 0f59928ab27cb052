"""Reads a key ring from where it is, and says what is to be written there.

The calls to AWS are imported where a ring needs them: they take longer to import than most commands
take.
"""

import base64
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import KeyRingError
from consumer.keysource.files import is_open_to_others, read_text
from consumer.keysource.places import Given, KeyFile, KeySource, KmsFile, RingFile, SecretsManager
from consumer.masking import KeyRing


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
        case Given():
            return ReadRing(source.text)
        case RingFile():
            return ReadRing(read_text(source.path))
        case SecretsManager():
            from consumer.keysource import aws  # noqa: PLC0415 - see above

            return ReadRing(_text(await aws.secret_value(source.aws, source.name)))
        case KmsFile():
            from consumer.keysource import aws  # noqa: PLC0415 - see above

            wrapped = _wrapped(source.path, read_text(source.path))
            unwrapped = await aws.unwrap(source.aws, wrapped, source.context)
            return ReadRing(_text(unwrapped.plaintext), unwrapped.kms_key)


async def content_of(source: KeyFile, ring: KeyRing, kms_key: str | None) -> bytes:
    """What the file is to hold for a ring: wrapped with `kms_key` where there is one.

    Raises:
        KeyRingError, KeySourceError: of KMS.
    """
    text = ring.to_json().encode() + b"\n"
    if isinstance(source, RingFile):
        return text
    from consumer.keysource import aws  # noqa: PLC0415 - see above

    assert kms_key is not None
    wrapped = await aws.wrap(source.aws, kms_key, text, source.context)
    return base64.b64encode(wrapped) + b"\n"


def warnings_of(source: KeySource) -> list[str]:
    """What is odd about the place, though the ring can be read.

    Not refused, for Docker and Kubernetes mount secrets that way unless told otherwise.
    """
    if isinstance(source, RingFile) and is_open_to_others(source.path):
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
