import base64
import json
import os
import re
from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from consumer.errors import KeyRingError
from consumer.masking.key_ring import Key, KeyRing, KeyState, label
from tests.unit.masking.exposure import carried_by


def _key(state: str = "active", secret: bytes | None = None) -> dict[str, str]:
    secret = os.urandom(32) if secret is None else secret
    return {"key": base64.b64encode(secret).decode(), "state": state}


def _document(**changes: object) -> dict[str, object]:
    return {"version": 1, "primary": "k1", "keys": {"k1": _key()}} | changes


def test_a_generated_ring_comes_back_from_its_json() -> None:
    ring = KeyRing.generate("k1", os.urandom)
    assert KeyRing.parse(ring.to_json()) == ring
    assert ring.kids == ("k1",)


def test_the_primary_is_named_first() -> None:
    keys = {"a1": _key("decrypt"), "k2": _key(), "b1": _key("decrypt")}
    ring = KeyRing.parse(json.dumps(_document(primary="k2", keys=keys)))
    assert ring.kids == ("k2", "a1", "b1")
    assert ring.keys["a1"].state is KeyState.DECRYPT


_ZERO, _SAME = bytes(32), os.urandom(32)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (_document(version=2), "version has an unknown value"),
        (_document(version="1"), "version has an unknown value"),
        ({"version": 1, "keys": {"k1": _key()}}, "primary is missing"),
        (_document(primary="k2"), "primary names no key"),
        (_document(keys={}), "primary names no key"),
        (_document(keys=[_key()]), "keys has the wrong type"),
        (_document(comments_of_ours="x"), "<another name> is unknown"),
        (_document(keys={"k1": _key() | {"k3y": "x"}}), "keys.k1.k3y is unknown"),
        (_document(keys={"k1": {"key": _key()["key"]}}), "keys.k1.state is missing"),
        (_document(keys={"k1": _key("retired")}), "keys.k1.state has an unknown value"),
        (_document(keys={"k1": _key("decrypt")}), "exactly one key is active.*here: none"),
        (_document(keys={"k1": _key(), "k2": _key()}), "exactly one.*here: k1 and k2"),
        (
            _document(keys={"k1": _key("decrypt"), "k2": _key()}),
            "exactly one key is active, the primary k1; here: k2",
        ),
        (_document(keys={"k1": _key(secret=os.urandom(31))}), "keys.k1.key is 31 bytes long"),
        (_document(keys={"k1": _key(secret=os.urandom(33))}), "keys.k1.key is 33 bytes long"),
        (_document(keys={"k1": _key(secret=b"")}), "keys.k1.key is 0 bytes long"),
        (_document(keys={"k1": _key(secret=_ZERO)}), "keys.k1.key is all zero"),
        (_document(keys={"k1": _key() | {"key": "a" * 42 + "!="}}), "keys.k1.key is not base64"),
        (_document(keys={"k1": _key() | {"key": "\u00e9" * 44}}), "keys.k1.key is not base64"),
        (
            _document(keys={"k1": _key(secret=_SAME), "k2": _key("decrypt", _SAME)}),
            "two names hold the same key",
        ),
        *[
            (_document(primary=kid, keys={kid: _key()}), "name is not 1 to 8 of a-z and 0-9")
            for kid in ("", "K1", "k.1", "k_1", "ninechars", "\u00e9", "k1\n", "\u0661")
        ],
        ([], "the document has the wrong type"),
    ],
)
def test_a_ring_that_is_wrong_is_refused_and_says_why(document: object, says: str) -> None:
    with pytest.raises(KeyRingError, match=says):
        KeyRing.parse(json.dumps(document))


@pytest.mark.parametrize(
    "text", ["", "{", "\ufeff{}", "[" * 100_000, "1" * 5_000, '{"keys": {"k1": 1, "k1": 2}}']
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(KeyRingError):
        KeyRing.parse(text)


def test_all_faults_are_listed_at_once() -> None:
    keys = {"k1": _key(secret=_SAME[:31]), "k2": _key("gone", _SAME), "K3": _key("active", _SAME)}
    with pytest.raises(KeyRingError) as refused:
        KeyRing.parse(json.dumps({"primary": "k9", "keys": keys}))
    assert refused.value.faults == (
        "version is missing",
        "keys.k1.key is 31 bytes long, not 32",
        "keys.k2.state has an unknown value",
        "a key's name is not 1 to 8 of a-z and 0-9",
        "primary names no key of the ring",
        "exactly one key is active, the primary k9; here: k1 and <another name>",
        "two names hold the same key",
    )


def test_a_new_key_only_decrypts_until_it_is_promoted() -> None:
    ring = KeyRing.generate("k1", os.urandom)
    added = ring.with_new("k2", os.urandom)
    assert (added.kids, added.keys["k1"]) == (("k1", "k2"), ring.keys["k1"])
    promoted = added.promoted("k2")
    assert promoted.kids == ("k2", "k1")
    assert promoted.keys["k1"] == Key(ring.keys["k1"].secret, KeyState.DECRYPT)
    assert promoted.keys["k2"] == Key(added.keys["k2"].secret, KeyState.ACTIVE)
    assert promoted.promoted("k1") == added
    assert promoted.without("k1").keys == {"k2": promoted.keys["k2"]}
    assert ring.kids == ("k1",)


def test_a_change_that_makes_no_ring_is_refused() -> None:
    ring = KeyRing.generate("k1", os.urandom).with_new("k2", os.urandom)
    changes: list[tuple[Callable[[], KeyRing], str]] = [
        (lambda: ring.with_new("k2", os.urandom), "it has a key k2 already"),
        (lambda: ring.with_new("K3", os.urandom), "not 1 to 8"),
        (lambda: ring.with_new("k3", bytes), "is all zero"),
        (lambda: ring.with_new("k3", lambda _: ring.keys["k1"].secret), "hold the same key"),
        (lambda: ring.without("k1"), "k1 is the primary: promote another key first"),
        (lambda: ring.without("k3"), "it has no key k3; it has k1, k2"),
        (lambda: ring.promoted("k3"), "it has no key k3"),
    ]
    for change, says in changes:
        with pytest.raises(KeyRingError, match=says):
            change()


@pytest.mark.parametrize(
    ("kids", "expected"), [(["k1"], "k2"), (["a"], "k1"), (["k1", "k9"], "k10"), (["k2x"], "k1")]
)
def test_the_next_key_has_the_next_number(kids: list[str], expected: str) -> None:
    ring = KeyRing.generate(kids[0], os.urandom)
    for kid in kids[1:]:
        ring = ring.with_new(kid, os.urandom)
    assert ring.next_kid() == expected


_FULL = base64.b64encode(os.urandom(32)).decode()


@pytest.mark.parametrize(
    "document",
    [
        {"SECRET": 1},
        {"version": "SECRET", "primary": "k1", "keys": {}},
        _document(primary="SECRET"),
        _document(keys={"SECRET": _key()}),
        _document(keys={"SECRET": {"key": "!", "state": "active"}}),
        _document(keys={"k1": "SECRET"}),
        _document(keys={"k1": {"SECRET": "key"}}),
        _document(keys={"k1": {"key": "SECRET=", "state": "active"}}),
        _document(keys={"k1": {"key": "SECRET\u00e9", "state": "active"}}),
        _document(keys={"k1": {"key": "x", "state": "SECRET"}}),
    ],
)
def test_no_error_carries_what_was_in_the_ring(document: object) -> None:
    whole = json.dumps(document).replace("SECRET", _FULL)
    for text in (whole, whole[:-1], _FULL):
        with pytest.raises(KeyRingError) as refused:
            KeyRing.parse(text)
        assert _FULL[:12] not in carried_by(refused.value)


def test_a_ring_shows_no_key_in_its_repr() -> None:
    ring = KeyRing.generate("k1", os.urandom)
    secret = ring.keys["k1"].secret
    assert base64.b64encode(secret).decode() not in repr(ring)
    assert repr(secret) not in repr(ring)
    assert "secret" not in repr(ring)


def test_derived_keys_differ_by_kid_use_and_mode() -> None:
    keys = {
        "k1": Key(os.urandom(32), KeyState.ACTIVE),
        "k2": Key(os.urandom(32), KeyState.DECRYPT),
    }
    ring = KeyRing("k1", keys)
    derived = {
        ring.derive(kid, use, mode, 64)
        for kid in ring.kids
        for use in ("user_logins.masked_ip", "user_logins.masked_device_id")
        for mode in ("siv", "hmac")
    }
    assert len(derived) == 8
    assert not any(key.secret in each for key in keys.values() for each in derived)


def test_a_fingerprint_is_equal_for_equal_keys_only_and_is_no_key() -> None:
    ring = KeyRing.generate("k1", os.urandom)
    assert ring.fingerprints() == KeyRing.parse(ring.to_json()).fingerprints()
    assert ring.fingerprints() != KeyRing.generate("k1", os.urandom).fingerprints()
    assert len(ring.fingerprints()["k1"]) == 32
    assert ring.keys["k1"].secret != ring.fingerprints()["k1"]


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_labels_of_different_parts_are_different(one: list[str], other: list[str]) -> None:
    assert (label(*one) == label(*other)) == (one == other)


@given(st.text())
def test_any_text_is_a_ring_or_a_clear_error(text: str) -> None:
    with pytest.raises(KeyRingError, match=re.escape("key ring: ")):
        KeyRing.parse(text)
