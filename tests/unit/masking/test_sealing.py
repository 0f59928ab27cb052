import os

import pytest
from hypothesis import given, strategies as st

from consumer.errors import TokenError
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.sealing import BodySeal

_ID, _OTHER_ID = "c0173198-76a8-4e67-bfc2-74eaa3bbff57", "66e0635b-ce36-4ec7-aa9e-8a8fca9b83d4"
_SEAL = BodySeal(KeyRing.generate("k1", os.urandom))


@given(st.text(alphabet=st.characters(exclude_categories=[])))
def test_any_body_comes_back_even_with_lone_surrogates(body: str) -> None:
    assert _SEAL.unseal("k1", _ID, _SEAL.seal(_ID, body)) == body


def test_a_redelivered_message_is_sealed_to_the_same_bytes() -> None:
    assert _SEAL.seal(_ID, "body") == _SEAL.seal(_ID, "body")
    assert _SEAL.seal(_ID, "body") != _SEAL.seal(_OTHER_ID, "body")


def test_a_sealed_body_holds_nothing_of_the_body() -> None:
    assert b"199.172.111.135" not in _SEAL.seal(_ID, "199.172.111.135")


def test_a_body_that_was_changed_cut_moved_or_relabelled_is_refused() -> None:
    sealed = _SEAL.seal(_ID, "body")
    for changed in (sealed[:-1] + bytes([sealed[-1] ^ 1]), sealed[:-1], sealed[:15], b""):
        with pytest.raises(TokenError, match="does not authenticate"):
            _SEAL.unseal("k1", _ID, changed)
    with pytest.raises(TokenError, match="does not authenticate"):
        _SEAL.unseal("k1", _OTHER_ID, sealed)
    with pytest.raises(TokenError, match="no key of this name"):
        _SEAL.unseal("k9", _ID, sealed)


def test_a_body_sealed_under_an_older_key_is_still_unsealed() -> None:
    old = os.urandom(32)
    before = BodySeal(KeyRing("k1", {"k1": Key(old, KeyState.ACTIVE)}))
    keys = {"k1": Key(old, KeyState.DECRYPT), "k2": Key(os.urandom(32), KeyState.ACTIVE)}
    after = BodySeal(KeyRing("k2", keys))
    assert after.kid == "k2"
    assert after.unseal("k1", _ID, before.seal(_ID, "body")) == "body"
