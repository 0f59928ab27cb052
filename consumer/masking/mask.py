"""How a column's values are masked: with a mode, an encoding, and the keys of the ring."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Protocol

from consumer.errors import TokenError
from consumer.masking.ciphers import IpcryptPfx, KeyedHash, Siv
from consumer.masking.encodings import Encoding
from consumer.masking.key_ring import KeyRing, is_kid

# In characters; the longest token, of 160 bytes under a kid of 8 characters, has 244.
MASKED_LENGTH = 256


def kid_of(token: str) -> str | None:
    """The kid in front of a token; None if there is none."""
    kid, dot, _ = token.partition(".")
    return kid if dot and is_kid(kid) else None


class Mode(StrEnum):
    """What a token leaks, and whether it can be recovered: docs/explanation/tokens.md."""

    SIV = "siv"
    HMAC = "hmac"
    IPCRYPT_PFX = "ipcrypt-pfx"
    DROP = "drop"


class Cipher(Protocol):
    """One mode, for one column, under one key."""

    def seal(self, data: bytes) -> str:
        """The token's text after the kid; equal bytes give equal texts."""

    def open(self, text: str) -> bytes:
        """What was sealed; raises TokenError."""


class Mask(Protocol):
    """Masks a column's values."""

    def __call__(self, text: str) -> str | None:
        """What the column stores for a value: its token under the primary key, or NULL.

        Raises ValueRefusedError for a text that the field's encoding refuses.
        """

    def tokens(self, text: str) -> tuple[str, ...]:
        """The value's tokens under every key, the primary's first; raises ValueRefusedError."""

    def recover(self, token: str) -> str:
        """The canonical text of the value; raises TokenError."""

    def renew(self, token: str) -> str:
        """The token of the same value under the primary key; raises TokenError."""


class TokenMask:
    __slots__ = ("_ciphers", "_decode", "_encode", "_prefix", "_seal")

    def __init__(self, ciphers: Mapping[str, Cipher], primary: str, encoding: Encoding) -> None:
        self._ciphers = ciphers
        self._encode = encoding.encode
        self._decode = encoding.decode
        self._prefix = f"{primary}."
        self._seal = ciphers[primary].seal

    def __call__(self, text: str) -> str:
        return self._prefix + self._seal(self._encode(text))

    def tokens(self, text: str) -> tuple[str, ...]:
        data = self._encode(text)
        return tuple(f"{kid}.{cipher.seal(data)}" for kid, cipher in self._ciphers.items())

    def recover(self, token: str) -> str:
        return self._decode(self._open(token))

    def renew(self, token: str) -> str:
        return self._prefix + self._seal(self._open(token))

    def _open(self, token: str) -> bytes:
        kid = kid_of(token)
        if kid is None:
            raise TokenError("the token is malformed: it does not begin with a kid and a dot")
        if kid not in self._ciphers:
            raise TokenError(f"the key ring has no key {kid}: use the ring that made the token")
        return self._ciphers[kid].open(token[len(kid) + 1 :])


class DropMask:
    """Stores nothing, but refuses what the other modes refuse."""

    __slots__ = ("_encode",)

    def __init__(self, encoding: Encoding) -> None:
        self._encode = encoding.encode

    def __call__(self, text: str) -> None:
        self._encode(text)

    def tokens(self, text: str) -> tuple[str, ...]:
        self._encode(text)
        return ()

    def recover(self, token: str) -> str:
        del token
        raise TokenError("this column is masked with drop: its values were never stored")

    def renew(self, token: str) -> str:
        return self.recover(token)


_CIPHERS: Mapping[Mode, Callable[[KeyRing, str, str], Cipher]] = {
    Mode.SIV: Siv,
    Mode.HMAC: KeyedHash,
    Mode.IPCRYPT_PFX: IpcryptPfx,
}


def mask_for(key_ring: KeyRing, column: str, mode: Mode, encoding: Encoding) -> Mask:
    """The mask of a column, `table.column`; it derives the keys once, for every key of the ring."""
    if mode is Mode.DROP:
        return DropMask(encoding)
    cipher = _CIPHERS[mode]
    ciphers = {kid: cipher(key_ring, kid, column) for kid in key_ring.kids}
    return TokenMask(ciphers, key_ring.primary, encoding)
