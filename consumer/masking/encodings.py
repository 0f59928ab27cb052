"""From a field's text to the bytes that are masked, and back.

All spellings of one value have the same bytes, and no other value has them.
"""

from dataclasses import dataclass
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import ClassVar, Protocol

from consumer.errors import TokenError
from consumer.messages import Reason, ValueRefusedError

ADDRESS_BYTES = 16
V4_MAPPED = bytes(10) + b"\xff\xff"
# With its padding such a text has 160 bytes, and its token fits into mask.MASKED_LENGTH.
IDENTIFIER_MAX_BYTES = 159
_PADDED_BYTES = 32
_PADDINGS = tuple(b"\x80" + bytes(count) for count in range(_PADDED_BYTES))


def is_utf8(text: str) -> bool:
    """Whether `text` can be encoded as UTF-8: it holds no lone surrogate."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class Encoding(Protocol):
    """How a field's text becomes bytes."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The lengths, in bytes, that `encode` may return."""

    def encode(self, text: str) -> bytes:
        """The canonical bytes of `text`; raises ValueRefusedError if it has none."""

    def decode(self, data: bytes) -> str:
        """The canonical text; raises TokenError if `encode` never made these bytes."""


@dataclass(frozen=True, slots=True)
class AddressEncoding:
    """An IP address as 16 bytes, IPv4 as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2).

    1.2.3.4 and ::ffff:1.2.3.4 are equal, and so are all spellings of one IPv6 address.
    """

    sizes: ClassVar[tuple[int, ...]] = (ADDRESS_BYTES,)

    def encode(self, text: str) -> bytes:
        """16 bytes; raises ValueRefusedError for any text that is no IP address."""
        try:
            if ":" in text:
                return inet_pton(AF_INET6, text)
            return V4_MAPPED + inet_pton(AF_INET, text)
        except (OSError, ValueError):
            pass  # raised below: the cause may hold the address
        raise ValueRefusedError(Reason.BAD_ADDRESS)

    def decode(self, data: bytes) -> str:
        """Dotted quad for IPv4, otherwise the usual form of IPv6."""
        if len(data) != ADDRESS_BYTES:
            raise TokenError("the token does not hold an IP address")
        if data.startswith(V4_MAPPED):
            return inet_ntop(AF_INET, data[len(V4_MAPPED) :])
        return inet_ntop(AF_INET6, data)


@dataclass(frozen=True, slots=True)
class IdentifierEncoding:
    """Any text as UTF-8, byte for byte, padded to a multiple of 32 bytes (ISO/IEC 7816-4).

    The padding hides the length of the text: a token's length shows it only in steps of 32 bytes.
    """

    sizes: ClassVar[tuple[int, ...]] = tuple(
        range(_PADDED_BYTES, IDENTIFIER_MAX_BYTES + 2, _PADDED_BYTES)
    )

    def encode(self, text: str) -> bytes:
        """32 to 160 bytes.

        Raises ValueRefusedError for NUL, for a lone surrogate, and for over 159 bytes of UTF-8.
        """
        if "\0" in text or not is_utf8(text):
            raise ValueRefusedError(Reason.NOT_STORABLE)
        data = text.encode()
        if len(data) > IDENTIFIER_MAX_BYTES:
            raise ValueRefusedError(Reason.TOO_LONG)
        return data + _PADDINGS[-(len(data) + 1) % _PADDED_BYTES]

    def decode(self, data: bytes) -> str:
        """The text without its padding."""
        padding = data.rfind(b"\x80")
        if padding >= 0 and not any(data[padding + 1 :]):
            try:
                return data[:padding].decode()
            except UnicodeDecodeError:
                pass  # raised below: the cause holds the value
        raise TokenError("the token does not hold an identifier")


ADDRESS = AddressEncoding()
IDENTIFIER = IdentifierEncoding()
