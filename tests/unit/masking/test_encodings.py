import ipaddress

import pytest
from hypothesis import example, given, strategies as st

from consumer.errors import TokenError
from consumer.masking.encodings import ADDRESS, IDENTIFIER, IDENTIFIER_MAX_BYTES, Encoding
from consumer.messages import Reason, ValueRefusedError
from tests.unit.masking.exposure import carried_by

_text = st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8"))


@given(st.ip_addresses())
def test_an_address_comes_back_in_its_canonical_form(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    canonical = ADDRESS.decode(ADDRESS.encode(str(address)))
    mapped = getattr(address, "ipv4_mapped", None)
    assert ipaddress.ip_address(canonical) == (mapped or address)
    assert ADDRESS.decode(ADDRESS.encode(canonical)) == canonical


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_its_v4_mapped_form(address: ipaddress.IPv4Address) -> None:
    assert ADDRESS.encode(str(address)) == ADDRESS.encode(f"::ffff:{address}")
    assert ADDRESS.encode(str(address)) == ADDRESS.encode(
        f"::FFFF:{int(address) >> 16:x}:{int(address) & 0xFFFF:x}"
    )
    assert ADDRESS.decode(ADDRESS.encode(f"::ffff:{address}")) == str(address)


@given(st.ip_addresses(v=6))
def test_all_spellings_of_an_ipv6_address_are_equal(address: ipaddress.IPv6Address) -> None:
    spellings = (address.compressed, address.exploded, address.exploded.upper())
    assert len({ADDRESS.encode(spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1.2.3.4",
        "1.2.3.4 ",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.256",
        "01.2.3.4",
        "0x1.2.3.4",
        "16909060",
        "1.2.3.4/32",
        "1.2.3.4:80",
        "[::1]",
        "fe80::1%eth0",
        "1::2::3",
        "::ffff:1.2.3.999",
        "1.2.3.4\0",
        "::1\0",
        "\ud800",
        ":\ud800",
        "\u0661.2.3.4",
        "localhost",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueRefusedError) as refused:
        ADDRESS.encode(text)
    assert refused.value.reason is Reason.BAD_ADDRESS
    assert refused.value.__context__ is None


@given(_text.filter(lambda text: len(text.encode()) <= IDENTIFIER_MAX_BYTES))
@example("")
@example("x" * 31)
@example("x" * 32)
@example("x" * IDENTIFIER_MAX_BYTES)
@example("x\u0080")
@example("80")
def test_an_identifier_comes_back_byte_for_byte_from_whole_blocks(text: str) -> None:
    data = IDENTIFIER.encode(text)
    assert len(data) in IDENTIFIER.sizes
    assert len(data) - 32 <= len(text.encode()) < len(data)
    assert IDENTIFIER.decode(data) == text


@given(_text, _text)
def test_identifiers_are_equal_only_if_their_texts_are(one: str, other: str) -> None:
    if max(len(one.encode()), len(other.encode())) <= IDENTIFIER_MAX_BYTES:
        assert (IDENTIFIER.encode(one) == IDENTIFIER.encode(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * (IDENTIFIER_MAX_BYTES + 1), Reason.TOO_LONG),
        ("\u00e9" * 80, Reason.TOO_LONG),
        ("a\0b", Reason.NOT_STORABLE),
        ("a\ud800b", Reason.NOT_STORABLE),
    ],
)
def test_an_identifier_that_cannot_be_stored_is_refused(text: str, reason: Reason) -> None:
    with pytest.raises(ValueRefusedError) as refused:
        IDENTIFIER.encode(text)
    assert refused.value.reason is reason
    assert text not in carried_by(refused.value)


@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        (ADDRESS, b""),
        (ADDRESS, bytes(15)),
        (ADDRESS, bytes(17)),
        (IDENTIFIER, b""),
        (IDENTIFIER, bytes(32)),
        (IDENTIFIER, b"x" * 32),
        (IDENTIFIER, b"\x80x"),
        (IDENTIFIER, b"\xff\x80\x00"),
    ],
)
def test_bytes_that_no_encoding_made_are_refused(encoding: Encoding, data: bytes) -> None:
    with pytest.raises(TokenError) as refused:
        encoding.decode(data)
    assert refused.value.__context__ is None
