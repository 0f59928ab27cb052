"""Where the key ring is, and how it is read from there and written to its file.

What calls AWS imports consumer.keys.aws where it calls it: AWS's client takes half a second and
20 MB, and a ring from a plain file does not need it.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from consumer.errors import KeyRingError
from consumer.keys.file import is_open_to_others, read_text
from consumer.masking.key_ring import KeyRing


@dataclass(frozen=True, slots=True)
class StoredRing:
    """A ring's JSON, and the KMS key that it was wrapped with, if it was."""

    text: str = field(repr=False)
    kms_key: str | None = None


@dataclass(frozen=True, slots=True)
class InlineKeys:
    """The ring's JSON itself, as the settings had it at the start."""

    text: str = field(repr=False)

    async def read(self) -> StoredRing:
        return StoredRing(self.text)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with the ring's JSON, such as a mounted secret of Docker or Kubernetes."""

    path: Path

    async def read(self) -> StoredRing:
        """Raises KeyRingError."""
        return StoredRing(read_text(self.path))

    async def content(self, ring: KeyRing, kms_key: str | None = None) -> bytes:
        """The bytes of the file for a ring; there is no KMS key."""
        del kms_key
        return _json(ring)


@dataclass(frozen=True, slots=True)
class KmsKeyFile:
    """A file with the ring as AWS KMS wrapped it, in base64.

    KMS authenticates the encryption context. Without a region, that of the environment or the
    profile is used. A call may be made three times within the timeout.
    """

    path: Path
    context: Mapping[str, str]
    region: str | None
    timeout_seconds: float

    async def read(self) -> StoredRing:
        """Raises KeyRingError, KeySourceError."""
        from consumer.keys.aws import unwrap  # noqa: PLC0415 see above

        unwrapped = await unwrap(
            self._wrapped(),
            self.context,
            region=self.region,
            timeout_seconds=self.timeout_seconds,
        )
        return StoredRing(_text(unwrapped.plaintext), unwrapped.kms_key)

    async def content(self, ring: KeyRing, kms_key: str | None) -> bytes:
        """The bytes of the file for a ring that `kms_key` wraps; raises what `read` raises."""
        from consumer.keys.aws import wrap  # noqa: PLC0415 see above

        assert kms_key is not None
        wrapped = await wrap(
            kms_key,
            _json(ring),
            self.context,
            region=self.region,
            timeout_seconds=self.timeout_seconds,
        )
        return base64.b64encode(wrapped) + b"\n"

    def _wrapped(self) -> bytes:
        try:
            return base64.b64decode("".join(read_text(self.path).split()), validate=True)
        except ValueError:
            pass  # raised below: the cause may hold a ring that is not wrapped at all
        raise KeyRingError(
            f"{self.path}: not base64, so not what KMS wrapped; `consumer keys new --kms` makes it"
        )


@dataclass(frozen=True, slots=True)
class SecretsManager:
    """A secret of AWS Secrets Manager, by its name or ARN; an ARN's region comes first."""

    name: str
    region: str | None
    timeout_seconds: float

    async def read(self) -> StoredRing:
        """Raises KeyRingError, KeySourceError."""
        from consumer.keys.aws import secret_value  # noqa: PLC0415 see above

        value = await secret_value(
            self.name, region=self.region, timeout_seconds=self.timeout_seconds
        )
        return StoredRing(_text(value))


KeySource = InlineKeys | KeyFile | KmsKeyFile | SecretsManager
FileSource = KeyFile | KmsKeyFile


async def load_key_ring(source: KeySource) -> KeyRing:
    """Read the ring and check it.

    Raises:
        KeyRingError: it does not exist, may not be read, or is wrong; the text says which.
        KeySourceError: AWS did not answer; the ring may be read again after a pause.
    """
    return KeyRing.parse((await source.read()).text)


def warnings_of(source: KeySource) -> list[str]:
    """What is risky about the place, although the ring can be read.

    Not refused: Docker and Kubernetes mount secrets readable for all unless they are configured.
    """
    if isinstance(source, KeyFile) and is_open_to_others(source.path):
        return [f"key ring: every user of this machine may read {source.path}: chmod o= it"]
    return []


def _json(ring: KeyRing) -> bytes:
    return ring.to_json().encode() + b"\n"


def _text(value: str | bytes) -> str:
    if isinstance(value, str):
        return value
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        pass  # raised below: the cause holds the value
    raise KeyRingError("it is not UTF-8 text")
