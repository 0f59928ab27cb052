"""The key ring: the master keys by name, and the keys derived from them.

    {"version": 1, "primary": "k2",
     "keys": {"k1": {"key": "<base64, 32 bytes>", "state": "decrypt"},
              "k2": {"key": "<base64, 32 bytes>", "state": "active"}}}

The primary key makes new tokens; a `decrypt` key only recovers what it masked before.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from consumer.errors import KeyRingError

KEY_BYTES = 32
_FINGERPRINT_BYTES = 32
_KID = re.compile(r"[a-z0-9]{1,8}")
_VERSION = 1
_PROPERTIES = ("version", "primary", "keys", "key", "state")
_OUR_FAULT = "key_fault"


def is_kid(text: str) -> bool:
    """Whether `text` can name a key: 1 to 8 of a-z and 0-9."""
    return _KID.fullmatch(text) is not None


def label(*parts: str) -> bytes:
    """The parts, each after its length in 2 bytes, so that no two lists give the same bytes."""
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(2, "big") + part for part in encoded)


class KeyState(StrEnum):
    ACTIVE = "active"
    DECRYPT = "decrypt"


@dataclass(frozen=True, slots=True)
class Key:
    """A master key of 32 bytes."""

    secret: bytes = field(repr=False)
    state: KeyState

    def __post_init__(self) -> None:
        if fault := _fault_of(self.secret):
            raise KeyRingError(f"a key {fault}")


@dataclass(frozen=True, slots=True)
class KeyRing:
    """Master keys by their names (kids); exactly one is active, the `primary`.

    Raises:
        KeyRingError: when made, if the keys contradict each other; the text holds no key.
    """

    primary: str
    keys: Mapping[str, Key]

    def __post_init__(self) -> None:
        states = {kid: key.state.value for kid, key in self.keys.items()}
        secrets = [key.secret for key in self.keys.values()]
        if faults := tuple(_contradictions(self.primary, states, secrets)):
            raise KeyRingError(*faults)
        object.__setattr__(self, "keys", MappingProxyType(dict(self.keys)))

    @classmethod
    def parse(cls, text: str) -> "KeyRing":
        """Read a ring from JSON.

        Raises:
            KeyRingError: with all faults that were found; none quotes `text`.
        """
        document = _document(_decoded(text))
        return cls(document.primary, {kid: key.to_key() for kid, key in document.keys.items()})

    @classmethod
    def generate(cls, kid: str, randomness: Callable[[int], bytes]) -> "KeyRing":
        """A ring of one new key. `randomness` is `os.urandom` or a substitute for it."""
        return cls(kid, {kid: Key(randomness(KEY_BYTES), KeyState.ACTIVE)})

    def with_new(self, kid: str, randomness: Callable[[int], bytes]) -> "KeyRing":
        """The ring with another key that only decrypts, so that replicas know it in advance."""
        if kid in self.keys:
            raise KeyRingError(f"it has a key {kid} already")
        return KeyRing(
            self.primary, {**self.keys, kid: Key(randomness(KEY_BYTES), KeyState.DECRYPT)}
        )

    def promoted(self, kid: str) -> "KeyRing":
        """The ring with `kid` as its primary; the current primary then only decrypts."""
        self._require(kid)
        keys = {
            name: Key(key.secret, KeyState.ACTIVE if name == kid else KeyState.DECRYPT)
            for name, key in self.keys.items()
        }
        return KeyRing(kid, keys)

    def without(self, kid: str) -> "KeyRing":
        """The ring without a key that only decrypts; nothing recovers the tokens of this key."""
        self._require(kid)
        if kid == self.primary:
            raise KeyRingError(f"{kid} is the primary: promote another key first")
        return KeyRing(self.primary, {name: k for name, k in self.keys.items() if name != kid})

    def next_kid(self) -> str:
        """A name for the next key: k1, k2 and so on, the first after all that exist."""
        numbers = [int(kid[1:]) for kid in self.keys if re.fullmatch(r"k\d+", kid, re.ASCII)]
        return f"k{max(numbers, default=0) + 1}"

    def _require(self, kid: str) -> None:
        if kid not in self.keys:
            raise KeyRingError(f"it has no key {kid}; it has {', '.join(self.kids)}")

    def to_json(self) -> str:
        """The ring with its keys, as `parse` reads it."""
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

        `use` is the column, `table.column`, or another name for what is protected. A derived key
        reveals neither the master key nor the keys of other uses and modes.
        """
        info = label("consumer", str(_VERSION), kid, use, mode)
        return HKDF(SHA256(), length, salt=None, info=info).derive(self.keys[kid].secret)

    def fingerprints(self) -> Mapping[str, bytes]:
        """By kid, 32 bytes that identify a key without revealing it."""
        return {
            kid: self.derive(kid, "consumer.masking_keys", "check", _FINGERPRINT_BYTES)
            for kid in self.keys
        }


def _contradictions(
    primary: str, states: Mapping[str, object], secrets: Sequence[bytes]
) -> Iterator[str]:
    """What is wrong with the ring as a whole: a name, the active key, a key that is there twice."""
    if not all(is_kid(kid) for kid in states):
        yield "a key's name is not 1 to 8 of a-z and 0-9"
    if primary not in states:
        yield "primary names no key of the ring"
    active = [kid for kid, state in states.items() if state == KeyState.ACTIVE.value]
    if len(active) != 1 or (primary in states and active != [primary]):
        named = " and ".join(_shown(kid) for kid in active) or "none"
        yield f"exactly one key is active, the primary {_shown(primary)}; here: {named}"
    if len(set(secrets)) != len(secrets):
        yield "two names hold the same key"


class _KeyDocument(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    key: str
    state: Literal["active", "decrypt"]

    @field_validator("key")
    @classmethod
    def _is_a_key(cls, text: str) -> str:
        secret = _from_base64(text)
        fault = "is not base64" if secret is None else _fault_of(secret)
        if fault is not None:
            raise PydanticCustomError(_OUR_FAULT, "{fault}", {"fault": fault})
        return text

    def to_key(self) -> Key:
        return Key(base64.b64decode(self.key), KeyState(self.state))


class _RingDocument(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", hide_input_in_errors=True)

    version: Literal[1]
    primary: str
    keys: dict[str, _KeyDocument]


class _RepeatedNameError(ValueError):
    """A JSON object has the same name twice; a parser would silently take one of the two."""


# Each function below raises outside its `except`: the parser's error holds the text, and even with
# `raise ... from None` it would stay in __context__.


def _decoded(text: str) -> object:
    try:
        return json.loads(text, object_pairs_hook=_unrepeated)
    except json.JSONDecodeError as error:
        fault = f"is not JSON (line {error.lineno}, column {error.colno})"
    except _RepeatedNameError:
        fault = "has the same name twice in one object"
    except (ValueError, RecursionError):
        fault = "is not JSON"
    raise KeyRingError(f"it {fault}")


def _unrepeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise _RepeatedNameError
    return document


def _document(decoded: object) -> _RingDocument:
    try:
        return _RingDocument.model_validate(decoded)
    except ValidationError as error:
        errors = error.errors(include_input=False, include_url=False, include_context=False)
    raise KeyRingError(*map(_line, errors), *_contradictions_in(decoded))


def _line(error: ErrorDetails) -> str:
    """Where, and what is wrong; of the document's names only those that we know."""
    where = ".".join(_shown(name) for name in error["loc"]) or "the document"
    match error["type"]:
        case "missing":
            return f"{where} is missing"
        case "extra_forbidden":
            return f"{where} is unknown"
        case "literal_error":
            return f"{where} has an unknown value"
        case kind if kind == _OUR_FAULT:
            return f"{where} {error['msg']}"
        case _:
            return f"{where} has the wrong type"


def _contradictions_in(decoded: object) -> Iterator[str]:
    """The contradictions of a document that is also malformed, as far as they can be seen."""
    document = decoded if isinstance(decoded, dict) else {}
    primary, keys = document.get("primary"), document.get("keys")
    if not isinstance(primary, str) or not isinstance(keys, dict):
        return
    entries = [entry for entry in keys.values() if isinstance(entry, dict)]
    states = {kid: e.get("state") if isinstance(e, dict) else None for kid, e in keys.items()}
    secrets = [_from_base64(e["key"]) for e in entries if isinstance(e.get("key"), str)]
    yield from _contradictions(primary, states, [secret for secret in secrets if secret])


def _shown(name: int | str) -> str:
    """A name of the document; an unknown one could be a key in the wrong place."""
    known = name in _PROPERTIES or (isinstance(name, str) and is_kid(name))
    return str(name) if known else "<another name>"


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _fault_of(secret: bytes) -> str | None:
    """Why these bytes are no key."""
    if len(secret) != KEY_BYTES:
        return f"is {len(secret)} bytes long, not {KEY_BYTES}"
    if not any(secret):
        return "is all zero: it was never generated"
    return None
