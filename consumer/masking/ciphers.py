"""The ciphers of the masking modes, one class a mode: bytes to the text of a token, and back."""

import hmac
from binascii import a2b_base64, b2a_base64

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from consumer.errors import TokenError
from consumer.masking.encodings import ADDRESS, ADDRESS_BYTES, V4_MAPPED
from consumer.masking.key_ring import KeyRing, label
from consumer.messages import ValueRefusedError

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def base64url_encode(data: bytes) -> str:
    """Base64url without padding (RFC 4648, section 5)."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def base64url_decode(text: str) -> bytes | None:
    """Text to bytes; None for a text that `base64url_encode` never made."""
    try:
        padded = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        data = a2b_base64(padded, strict_mode=True)
    except ValueError:
        return None
    # The last character may hold spare bits: other texts would otherwise mean the same bytes.
    return data if base64url_encode(data) == text else None


# Two AES-256 keys: one for the synthetic IV, one for the encryption.
_SIV_KEY_BYTES = 64
_TAG_BYTES = 16
_FORMAT = "1"


class Siv:
    """One column's values under one key.

    The associated data binds the format, the column and the kid: a token that was moved to
    another column or relabelled does not authenticate.
    """

    __slots__ = ("_aead", "_associated")

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._aead = AESSIV(key_ring.derive(kid, column, "siv", _SIV_KEY_BYTES))
        self._associated = [label("token", _FORMAT, column, kid)]

    def seal(self, data: bytes) -> str:
        """The synthetic IV and the ciphertext, as base64url."""
        return base64url_encode(self._aead.encrypt(data, self._associated))

    def open(self, text: str) -> bytes:
        """What was sealed; raises TokenError."""
        sealed = base64url_decode(text)
        if sealed is None or len(sealed) <= _TAG_BYTES:
            raise TokenError("the token is malformed: it was cut or mistyped")
        try:
            return self._aead.decrypt(sealed, self._associated)
        except InvalidTag:
            pass
        raise TokenError(
            "the token does not authenticate: it was changed, relabelled, made for another"
            " column, or made with another key of this name"
        )


class KeyedHash:
    """One column's values under one key."""

    __slots__ = ("_key",)

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._key = key_ring.derive(kid, column, "hmac", 32)

    def seal(self, data: bytes) -> str:
        """The 32 bytes of the HMAC, as base64url."""
        return base64url_encode(hmac.digest(self._key, data, "sha256"))

    def open(self, text: str) -> bytes:
        """Nothing: raises TokenError."""
        del text
        raise TokenError("this column is masked with hmac, which is irreversible by design")


PREFIX_KEY_BYTES = 32
_BLOCK_BYTES = 16
_ADDRESS_BITS = 128
_V4_PREFIX_BITS = 96


class PrefixCipher:
    """Encrypts and decrypts addresses of 16 bytes, IPv4 as IPv4-mapped and staying IPv4.

    `key` has 32 bytes: two different AES-128 keys, whose permutations are added to make a
    pseudo-random function of the prefix.
    """

    __slots__ = ("_first", "_second")

    def __init__(self, key: bytes) -> None:
        if len(key) != PREFIX_KEY_BYTES or key[:_BLOCK_BYTES] == key[_BLOCK_BYTES:]:
            raise ValueError("ipcrypt-pfx takes two different keys of 16 bytes")
        self._first = _block_cipher(key[:_BLOCK_BYTES])
        self._second = _block_cipher(key[_BLOCK_BYTES:])

    def encrypt(self, address: bytes) -> bytes:
        """16 bytes to 16 bytes."""
        plain = int.from_bytes(address, "big")
        start = _prefix_bits(address)
        stream = self._keystream([_block(plain, bits) for bits in range(start, _ADDRESS_BITS)])
        return (plain ^ stream).to_bytes(ADDRESS_BYTES, "big")

    def decrypt(self, address: bytes) -> bytes:
        """The inverse; each bit needs the plain bits before it, so it goes one block at a time."""
        plain = int.from_bytes(address, "big")
        for bits in range(_prefix_bits(address), _ADDRESS_BITS):
            plain ^= self._keystream([_block(plain, bits)]) << (_ADDRESS_BITS - 1 - bits)
        return plain.to_bytes(ADDRESS_BYTES, "big")

    def _keystream(self, blocks: list[bytes]) -> int:
        """The last bit of each block's pseudo-random function; the last block's is the lowest."""
        joined = b"".join(blocks)
        first = self._first.update(joined)[_BLOCK_BYTES - 1 :: _BLOCK_BYTES]
        second = self._second.update(joined)[_BLOCK_BYTES - 1 :: _BLOCK_BYTES]
        stream = 0
        for one, other in zip(first, second, strict=True):
            stream = stream << 1 | (one ^ other) & 1
        return stream


def _block(address: int, bits: int) -> bytes:
    """The first `bits` bits of the address behind a one, so that each prefix has its own block."""
    return (1 << bits | address >> (_ADDRESS_BITS - bits)).to_bytes(_BLOCK_BYTES, "big")


def _prefix_bits(address: bytes) -> int:
    return _V4_PREFIX_BITS if address.startswith(V4_MAPPED) else 0


def _block_cipher(key: bytes) -> CipherContext:
    mode = ECB()  # noqa: S305 -- the bare block cipher is what the draft builds on
    return Cipher(AES(key), mode).encryptor()


class IpcryptPfx:
    """One column's addresses under one key; a token's text is itself an address."""

    __slots__ = ("_cipher",)

    def __init__(self, key_ring: KeyRing, kid: str, column: str) -> None:
        self._cipher = PrefixCipher(key_ring.derive(kid, column, "ipcrypt-pfx", PREFIX_KEY_BYTES))

    def seal(self, data: bytes) -> str:
        """The encrypted address, of the same family as the plain one."""
        return ADDRESS.decode(self._cipher.encrypt(data))

    def open(self, text: str) -> bytes:
        """The plain address; raises TokenError for what is not an address as `seal` writes it."""
        try:
            packed = ADDRESS.encode(text)
        except ValueRefusedError:
            packed = b""
        if not packed or ADDRESS.decode(packed) != text:
            raise TokenError("the token is malformed: behind the kid there is no IP address")
        return self._cipher.decrypt(packed)
