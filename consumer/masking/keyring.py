"""The key ring: the master keys by name, and the keys derived from them.

    {"version": 1, "primary": "k2",
     "keys": {"k1": {"key": "<base64, 32 bytes>", "state": "decrypt"},
              "k2": {"key": "<base64, 32 bytes>", "state": "active"}}}

New tokens are made under the primary key; a `decrypt` key only recovers what it once masked.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, ValidationError

from consumer.errors import KeyRingError

KEY_BYTES = 32
_KID = re.compile(r"[a-z0-9]{1,8}")
_VERSION = 1
_PROPERTIES = ("version", "primary", "keys", "key", "state")


def is_kid(text: str) -> bool:
    """Whether `text` may name a key: 1 to 8 of a-z and 0-9."""
    return _KID.fullmatch(text) is not None


def label(*parts: str) -> bytes:
    """Join `parts` so that no two lists of parts give the same bytes: each behind its length."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(2, "big") + part for part in encoded)


class KeyState(StrEnum):
    """What a key is used for."""

    ACTIVE = "active"
    DECRYPT = "decrypt"


@dataclass(frozen=True, slots=True)
class Key:
    """A master key of 32 bytes."""

    secret: bytes = field(repr=False)
    state: KeyState

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_BYTES:
            raise KeyRingError(f"is {len(self.secret)} bytes long, not {KEY_BYTES}")
        if not any(self.secret):
            raise KeyRingError("is all zero: it was never generated")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys by their names (kids); exactly one is active, the `primary`.

    Raises:
        KeyRingError: the keys contradict each other; its text holds nothing of any key.
    """

    primary: str
    keys: Mapping[str, Key]

    def __post_init__(self) -> None:
        if not all(is_kid(kid) for kid in self.keys):
            raise KeyRingError("key ring: a key's name is not 1 to 8 of a-z and 0-9")
        if self.primary not in self.keys:
            raise KeyRingError("key ring: primary names no key of the ring")
        active = [kid for kid, key in self.keys.items() if key.state is KeyState.ACTIVE]
        if active != [self.primary]:
            named = " and ".join(active) or "none"
            raise KeyRingError(
                f"key ring: exactly one key is active, the primary {self.primary}; here: {named}"
            )
        if len({key.secret for key in self.keys.values()}) != len(self.keys):
            raise KeyRingError("key ring: two names hold the same key")
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read a ring from JSON; raises KeyRingError, whose text holds nothing of `text`."""
        document = _document(_decoded(text))
        return cls(document.primary, {kid: _key(kid, key) for kid, key in document.keys.items()})

    @classmethod
    def generate(cls, kid: str, randomness: Callable[[int], bytes]) -> "KeyRing":
        """A ring of one new key; `randomness` returns as many bytes as asked (`os.urandom`)."""
        return cls(kid, {kid: Key(randomness(KEY_BYTES), KeyState.ACTIVE)})

    def to_json(self) -> str:
        """The ring as `parse` reads it, keys and all."""
        keys = {
            kid: {"key": base64.b64encode(key.secret).decode("ascii"), "state": key.state.value}
            for kid, key in self.keys.items()
        }
        return json.dumps({"version": _VERSION, "primary": self.primary, "keys": keys}, indent=2)

    @property
    def kids(self) -> tuple[str, ...]:
        """The names of all keys, the primary first."""
        return self.primary, *(kid for kid in self.keys if kid != self.primary)

    def derive(self, kid: str, use: str, mode: str, length: int) -> bytes:
        """The key of `length` bytes for one use: HKDF-SHA256 (RFC 5869) of the master key `kid`.

        `use` is the column, `table.column`, or another name of what is protected. A derived key
        tells nothing about the master key nor about the keys of other uses and modes.
        """
        info = label("consumer", str(_VERSION), kid, use, mode)
        return HKDF(SHA256(), length, salt=None, info=info).derive(self.keys[kid].secret)

    def checks(self) -> Mapping[str, bytes]:
        """By kid, 32 bytes that are equal exactly if the keys are, and reveal nothing of them."""
        return {kid: self.derive(kid, "consumer.masking_keys", "check", 32) for kid in self.keys}


class _KeyDocument(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    key: str
    state: Literal["active", "decrypt"]


class _RingDocument(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    primary: str
    keys: dict[str, _KeyDocument]


class _RepeatedNameError(ValueError):
    """A JSON object has the same name twice; a parser would silently take one of the two."""


# Each function below raises outside its `except`: the cause holds the text that was parsed, and
# `raise ... from None` would still carry it in __context__.


def _decoded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        fault = f"is not JSON (line {error.lineno}, column {error.colno})"
    except _RepeatedNameError:
        fault = "has the same name twice in one object"
    except (ValueError, RecursionError):
        fault = "is not JSON"
    raise KeyRingError(f"key ring: {fault}")


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _RepeatedNameError
    return document


def _document(decoded: object) -> _RingDocument:
    try:
        return _RingDocument.model_validate(decoded)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where, kind = ".".join(_printable(first["loc"])), first["type"]
    match kind:
        case "missing":
            fault = "is missing"
        case "extra_forbidden":
            fault = "is unknown"
        case "literal_error":
            fault = "has an unknown value"
        case _:
            fault = "has the wrong type"
    raise KeyRingError(f"key ring: {where or 'the document'} {fault}")


def _printable(location: tuple[int | str, ...]) -> Iterator[str]:
    """The names on the way to an error; one that is not ours could be a key put in its place."""
    for name in location:
        known = name in _PROPERTIES or (isinstance(name, str) and is_kid(name))
        yield str(name) if known else "<another name>"


def _key(kid: str, document: _KeyDocument) -> Key:
    name = kid if is_kid(kid) else "<another name>"
    try:
        secret = base64.b64decode(document.key, validate=True)
    except ValueError:
        secret = None
    if secret is None:
        raise KeyRingError(f"key ring: keys.{name}.key is not base64")
    try:
        return Key(secret, KeyState(document.state))
    except KeyRingError as error:
        raise KeyRingError(f"key ring: keys.{name}.key {error}") from None
