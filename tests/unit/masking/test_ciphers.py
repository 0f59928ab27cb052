import ipaddress
import os

import pytest
from hypothesis import given, strategies as st

from consumer.masking.ciphers import PrefixCipher
from consumer.masking.encodings import ADDRESS

_FIRST = "0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301"
_SECOND = "2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a"
# All test vectors of draft-denis-ipcrypt for this mode: key, address, encrypted address.
_VECTORS = [
    (_FIRST, "0.0.0.0", "151.82.155.134"),  # noqa: S104 -- an address, not a listener
    (_FIRST, "255.255.255.255", "94.185.169.89"),
    (_FIRST, "192.0.2.1", "100.115.72.131"),
    (_FIRST, "2001:db8::1", "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88"),
    (_SECOND, "10.0.0.47", "19.214.210.244"),
    (_SECOND, "10.0.0.129", "19.214.210.80"),
    (_SECOND, "10.0.0.234", "19.214.210.30"),
    (_SECOND, "172.16.5.193", "210.78.229.136"),
    (_SECOND, "172.16.97.42", "210.78.179.241"),
    (_SECOND, "172.16.248.177", "210.78.121.215"),
    (_SECOND, "2001:db8::a5c9:4e2f:bb91:5a7d", "7cec:702c:1243:f70:1956:125:b9bd:1aba"),
    (_SECOND, "2001:db8::7234:d8f1:3c6e:9a52", "7cec:702c:1243:f70:a3ef:c8e:95c1:cd0d"),
    (_SECOND, "2001:db8::f1e0:937b:26d4:8c1a", "7cec:702c:1243:f70:443c:c8e:6a62:b64d"),
    (_SECOND, "2001:db8:3a5c:0:e7d1:4b9f:2c8a:f673", "7cec:702c:3503:bef:e616:96bd:be33:a9b9"),
    (_SECOND, "2001:db8:9f27:0:b4e2:7a3d:5f91:c8e6", "7cec:702c:a504:b74e:194a:3d90:b047:2d1a"),
    (_SECOND, "2001:db8:d8b4:0:193c:a5e7:8b2f:46d1", "7cec:702c:f840:aa67:1b8:e84f:ac9d:77fb"),
]

_CIPHER = PrefixCipher(os.urandom(32))


@pytest.mark.parametrize(("key", "address", "encrypted"), _VECTORS)
def test_the_drafts_vectors_hold_both_ways(key: str, address: str, encrypted: str) -> None:
    cipher = PrefixCipher(bytes.fromhex(key))
    assert ADDRESS.decode(cipher.encrypt(ADDRESS.encode(address))) == encrypted
    assert ADDRESS.decode(cipher.decrypt(ADDRESS.encode(encrypted))) == address


def _shared_bits(one: bytes, other: bytes) -> int:
    return 128 - (int.from_bytes(one) ^ int.from_bytes(other)).bit_length()


@given(st.integers(0, 2**32 - 1), st.integers(0, 31))
def test_ipv4_addresses_share_as_many_leading_bits_as_before(number: int, bit: int) -> None:
    one = ADDRESS.encode(str(ipaddress.IPv4Address(number)))
    other = ADDRESS.encode(str(ipaddress.IPv4Address(number ^ 1 << bit)))
    masked = _CIPHER.encrypt(one), _CIPHER.encrypt(other)
    assert _shared_bits(*masked) == _shared_bits(one, other) == 127 - bit
    assert all(each[:12] == one[:12] for each in masked)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=16, max_size=16), st.integers(0, 16))
def test_ipv6_addresses_share_as_many_leading_bits_as_before(
    one: bytes, tail: bytes, shared: int
) -> None:
    other = one[:shared] + tail[shared:]
    assert _shared_bits(_CIPHER.encrypt(one), _CIPHER.encrypt(other)) == _shared_bits(one, other)


@given(st.binary(min_size=16, max_size=16))
def test_decrypting_reverses_encrypting(address: bytes) -> None:
    assert _CIPHER.decrypt(_CIPHER.encrypt(address)) == address


@pytest.mark.parametrize("key", [bytes(31), bytes(33), b"x" * 32])
def test_a_key_of_another_size_or_of_two_equal_halves_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="two different keys of 16 bytes"):
        PrefixCipher(key)
