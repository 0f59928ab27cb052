"""ipcrypt-pfx: addresses of one subnet stay in one subnet (draft-denis-ipcrypt, "ipcrypt-pfx").

Two addresses share exactly as many leading bits after encryption as before, so analysts can group
by any prefix length. That structure is also what it leaks: who knows some plain addresses knows
the subnets of others. Nothing is authenticated: each address decrypts to some address.
"""

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from consumer.errors import TokenError
from consumer.masking.encodings import ADDRESS, ADDRESS_BYTES, V4_MAPPED
from consumer.masking.keyring import KeyRing
from consumer.messages import ValueRefusedError

KEY_BYTES = 32
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
        if len(key) != KEY_BYTES or key[:_BLOCK_BYTES] == key[_BLOCK_BYTES:]:
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
        self._cipher = PrefixCipher(key_ring.derive(kid, column, "ipcrypt-pfx", KEY_BYTES))

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
