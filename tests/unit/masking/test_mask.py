import ipaddress
import os
import re
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from consumer.errors import TokenError
from consumer.masking.encodings import ADDRESS, IDENTIFIER, IDENTIFIER_MAX_BYTES, Encoding
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.mask import MASKED_LENGTH, Mode, mask_for
from consumer.messages import ValueRefusedError

_OLD = os.urandom(32)
_RING = KeyRing(
    "k2",
    {"k1": Key(_OLD, KeyState.DECRYPT), "k2": Key(os.urandom(32), KeyState.ACTIVE)},
)
_BEFORE = KeyRing("k1", {"k1": Key(_OLD, KeyState.ACTIVE)})
_LONG_NAMED = KeyRing.generate("abcdefgh", os.urandom)

_IP = mask_for(_RING, "user_logins.masked_ip", Mode.SIV, ADDRESS)
_DEVICE = mask_for(_RING, "user_logins.masked_device_id", Mode.SIV, IDENTIFIER)

_addresses = st.ip_addresses().map(str)
_identifiers = st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")).filter(
    lambda text: len(text.encode()) <= IDENTIFIER_MAX_BYTES
)


def _canonical(address: str) -> str:
    parsed = ipaddress.ip_address(address)
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)


def _masked(mode: Mode, encoding: Encoding, value: str, column: str = "t.c") -> str:
    token = mask_for(_RING, column, mode, encoding)(value)
    assert token is not None
    return token


@given(_identifiers)
def test_recovering_an_identifiers_token_gives_the_identifier(text: str) -> None:
    token = _DEVICE(text)
    assert token is not None
    assert _DEVICE.recover(token) == text


@given(_addresses)
def test_recovering_an_addresss_token_gives_the_canonical_address(address: str) -> None:
    token = _IP(address)
    assert token is not None
    assert len(token) == 46
    recovered = _IP.recover(token)
    assert ipaddress.ip_address(recovered) == ipaddress.ip_address(_canonical(address))


@given(_identifiers, _identifiers)
def test_tokens_are_equal_exactly_if_the_values_are(one: str, other: str) -> None:
    for mode in (Mode.SIV, Mode.HMAC):
        same = _masked(mode, IDENTIFIER, one) == _masked(mode, IDENTIFIER, other)
        assert same == (one == other)


@given(_addresses, _addresses)
def test_tokens_of_addresses_are_equal_exactly_if_the_canonical_ones_are(
    one: str, other: str
) -> None:
    for mode in (Mode.SIV, Mode.HMAC, Mode.IPCRYPT_PFX):
        same = _masked(mode, ADDRESS, one) == _masked(mode, ADDRESS, other)
        assert same == (_canonical(one) == _canonical(other))


@given(_identifiers)
def test_no_two_columns_share_a_token(text: str) -> None:
    for mode in (Mode.SIV, Mode.HMAC):
        one = _masked(mode, IDENTIFIER, text, "user_logins.masked_device_id")
        other = _masked(mode, IDENTIFIER, text, "user_logins.masked_user_id")
        assert one != other


@given(_identifiers, _addresses)
def test_a_token_fits_its_column_for_every_accepted_value(text: str, address: str) -> None:
    for mode in (Mode.SIV, Mode.HMAC):
        token = mask_for(_LONG_NAMED, "t.c", mode, IDENTIFIER)(text)
        assert token is not None
        assert len(token) <= MASKED_LENGTH
    for mode in (Mode.SIV, Mode.HMAC, Mode.IPCRYPT_PFX):
        token = mask_for(_LONG_NAMED, "t.c", mode, ADDRESS)(address)
        assert token is not None
        assert len(token) <= 52


def test_the_longest_identifier_still_fits_and_its_length_shows_only_in_steps_of_32() -> None:
    lengths = {
        len(text): len(_masked(Mode.SIV, IDENTIFIER, text))
        for text in ("", "x" * 31, "x" * 32, "x" * IDENTIFIER_MAX_BYTES)
    }
    assert lengths == {0: 67, 31: 67, 32: 110, IDENTIFIER_MAX_BYTES: 238}


def test_a_token_made_by_another_replica_or_before_a_restart_is_the_same() -> None:
    another = KeyRing.parse(_RING.to_json())
    token = mask_for(another, "user_logins.masked_ip", Mode.SIV, ADDRESS)("::1")
    assert token == _IP("::1")


@pytest.mark.parametrize("mode", [Mode.SIV, Mode.HMAC, Mode.IPCRYPT_PFX])
def test_the_tokens_under_every_key_are_those_made_while_it_was_primary(mode: Mode) -> None:
    now = mask_for(_RING, "t.c", mode, ADDRESS)
    before = mask_for(_BEFORE, "t.c", mode, ADDRESS)
    assert now.tokens("192.0.2.1") == (now("192.0.2.1"), before("192.0.2.1"))


def test_a_token_of_a_key_that_only_decrypts_is_still_recovered() -> None:
    for mode in (Mode.SIV, Mode.IPCRYPT_PFX):
        token = mask_for(_BEFORE, "t.c", mode, ADDRESS)("192.0.2.1")
        assert token is not None
        assert token.startswith("k1.")
        assert mask_for(_RING, "t.c", mode, ADDRESS).recover(token) == "192.0.2.1"


_TOKEN = _IP("192.0.2.1") or ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda _: "", "malformed"),
        (lambda _: "k2", "malformed"),
        (lambda _: "k2.", "malformed"),
        (lambda token: token.replace(".", ""), "malformed"),
        (lambda token: "K2" + token[2:], "malformed"),
        (lambda token: token[:-2], "malformed"),
        (lambda token: token[:22], "malformed"),
        (lambda token: token + "=", "malformed"),
        (lambda token: token + "\n", "malformed"),
        (lambda token: " " + token, "malformed"),
        (lambda token: token[:-1] + "\u00e9", "malformed"),
        (lambda token: token[:-1] + "\ud800", "malformed"),
        (lambda token: token[:4] + "+/" + token[6:], "malformed"),
        (lambda token: token[: 3 + 32], "does not authenticate"),
        (lambda token: token + "A", "does not authenticate"),
        (lambda token: "k1" + token[2:], "does not authenticate"),
        (lambda token: "k9" + token[2:], "no key k9"),
    ],
)
def test_a_token_that_was_cut_or_relabelled_says_so(
    change: Callable[[str], str], says: str
) -> None:
    with pytest.raises(TokenError, match=says) as refused:
        _IP.recover(change(_TOKEN))
    assert refused.value.__context__ is None


@given(st.integers(min_value=3, max_value=45), st.sampled_from("ABCabc019-_"))
def test_a_token_changed_in_one_character_is_refused(position: int, character: str) -> None:
    changed = _TOKEN[:position] + character + _TOKEN[position + 1 :]
    if changed != _TOKEN:
        with pytest.raises(TokenError):
            _IP.recover(changed)


@given(st.text())
def test_any_text_is_a_token_or_a_clear_error(text: str) -> None:
    for mode in Mode:
        with pytest.raises(TokenError):
            mask_for(_RING, "t.c", mode, ADDRESS).recover(text)


def test_a_token_moved_to_another_column_is_refused() -> None:
    other = mask_for(_RING, "user_logins.masked_device_id", Mode.SIV, ADDRESS)
    with pytest.raises(TokenError, match="made for another column"):
        other.recover(_TOKEN)


def test_a_token_of_another_key_under_the_same_kid_is_refused() -> None:
    ring = KeyRing.generate("k2", os.urandom)
    with pytest.raises(TokenError, match="another key of this name"):
        mask_for(ring, "user_logins.masked_ip", Mode.SIV, ADDRESS).recover(_TOKEN)


def test_hmac_is_irreversible_and_says_so() -> None:
    token = _masked(Mode.HMAC, ADDRESS, "192.0.2.1")
    with pytest.raises(TokenError, match="irreversible"):
        mask_for(_RING, "t.c", Mode.HMAC, ADDRESS).recover(token)


def test_drop_stores_nothing_and_says_so() -> None:
    drop = mask_for(_RING, "t.c", Mode.DROP, ADDRESS)
    assert drop("192.0.2.1") is None
    assert drop.tokens("192.0.2.1") == ()
    for search in (drop, drop.tokens):
        with pytest.raises(ValueRefusedError):
            search("no address")
    with pytest.raises(TokenError, match="never stored"):
        drop.recover(_TOKEN)


def test_a_prefix_preserving_token_is_an_address_after_its_kid() -> None:
    assert re.fullmatch(r"k2\.\d+\.\d+\.\d+\.\d+", _masked(Mode.IPCRYPT_PFX, ADDRESS, "192.0.2.1"))
    assert re.fullmatch(r"k2\.[0-9a-f:]+", _masked(Mode.IPCRYPT_PFX, ADDRESS, "2001:db8::1"))


@given(_addresses)
def test_recovering_a_prefix_preserving_token_gives_the_canonical_address(address: str) -> None:
    mask = mask_for(_RING, "t.c", Mode.IPCRYPT_PFX, ADDRESS)
    token = mask(address)
    assert token is not None
    assert ipaddress.ip_address(mask.recover(token)) == ipaddress.ip_address(_canonical(address))
