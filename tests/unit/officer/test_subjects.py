"""Finding a subject in a body that was no valid event, and listing subjects by hashes."""

import json
import os
from typing import Annotated, ClassVar

import pytest
from hypothesis import given, strategies as st

from consumer.errors import SettingsError
from consumer.events.model import EventModel, Into, Masked, Stored
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import IDENTIFIER
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.officer.erasure.subjects import SubjectHash, SubjectSearch, subject_column

_ID = "424cdd21-063a-43a7-b91b-7ca1a833afae"
_search = SubjectSearch(UserLogin).texts


def _is_found(subject: str, body: str) -> bool:
    return subject in set(_search(body))


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({"user_id": _ID, "ip": 7}),
        json.dumps({"who": {"user": [_ID]}}),
        json.dumps({_ID: 1}),
        json.dumps({"Type": "Notification", "Message": json.dumps({"user_id": _ID})}),
        json.dumps({"a": json.dumps({"b": json.dumps({"user_id": _ID})})}),
        json.dumps({"user_id": _ID})[:-1],
        f'{{"user_id: "{_ID}", "x": 1',
        f'{{"user_id": {_ID}}}',
        f'garbage "{_ID}" and more',
    ],
)
def test_a_subject_is_found_wherever_a_body_quotes_the_id(body: str) -> None:
    assert _is_found(_ID, body)
    assert not _is_found("424cdd21", body)


def test_a_number_is_found_after_the_subjects_property_alone() -> None:
    assert _is_found("17", '{"user_id" : 17, "x": 4}')
    assert _is_found("17", json.dumps({"Message": '{"user_id": 17}'}))
    assert not _is_found("4", '{"user_id": 17, "x": 4}')


@given(st.text(min_size=1).filter(lambda text: '"' not in text and "\\" not in text), st.booleans())
def test_any_id_is_found_however_json_escapes_it(subject: str, ascii_only: bool) -> None:  # noqa: FBT001
    body = json.dumps({"user_id": subject}, ensure_ascii=ascii_only)
    assert _is_found(subject, body)
    assert _is_found(subject, json.dumps({"Message": body}, ensure_ascii=ascii_only))


@pytest.mark.parametrize("subject", ['a"b', "a\\b", "a\\", '"', "\\"])
def test_an_id_with_quotes_or_backslashes_is_found(subject: str) -> None:
    assert _is_found(subject, json.dumps({"user_id": subject}))


@pytest.mark.parametrize(
    "unit", ['\\"', '"', "\\", '"user_id"', '"user_id":', '"user_id" ', '"\\u']
)
def test_a_hostile_body_takes_time_in_proportion(unit: str) -> None:
    body = unit * (256 * 1024 // len(unit))
    assert sum(map(len, _search(body))) <= 8 * len(body)


@given(st.text())
def test_no_body_makes_the_search_fail(body: str) -> None:
    list(_search(body))


_OLD = os.urandom(32)
_BEFORE = KeyRing("k1", {"k1": Key(_OLD, KeyState.ACTIVE)})
_AFTER = KeyRing(
    "k2", {"k1": Key(_OLD, KeyState.DECRYPT), "k2": Key(os.urandom(32), KeyState.ACTIVE)}
)


def test_a_hash_stays_the_same_while_the_ring_has_its_key() -> None:
    before, after = (SubjectHash(ring, "user_logins.user_id") for ring in (_BEFORE, _AFTER))
    assert before.digest(_ID, "k1") == after.digest(_ID, "k1") != after.digest(_ID, "k2")
    assert after.primary == "k2"
    assert after.kids == {"k1", "k2"}


def test_two_columns_and_two_subjects_have_different_hashes() -> None:
    one, other = SubjectHash(_BEFORE, "user_logins.user_id"), SubjectHash(_BEFORE, "orders.user_id")
    assert len({one.digest("a", "k1"), one.digest("b", "k1"), other.digest("a", "k1")}) == 3


class Anonymous(EventModel):
    table: ClassVar[str] = "visits"
    sent_on: ClassVar[str] = "day"
    page: Annotated[str, Stored(max_length=8)]


class Pseudonymous(EventModel):
    table: ClassVar[str] = "visits"
    sent_on: ClassVar[str] = "day"
    subject: ClassVar[str] = "masked_user"
    user: Annotated[str, Masked(IDENTIFIER, Into("masked_user"))]


class Renamed(EventModel):
    table: ClassVar[str] = "visits"
    sent_on: ClassVar[str] = "day"
    subject: ClassVar[str] = "account"
    user: Annotated[str, Stored(max_length=8, column="account")]


def test_only_a_model_that_names_an_unmasked_subject_can_be_erased_from() -> None:
    with pytest.raises(SettingsError, match="declares no subject"):
        SubjectSearch(Anonymous)
    with pytest.raises(SettingsError, match="is masked"):
        SubjectSearch(Pseudonymous)
    assert subject_column(Renamed) == "account"
    assert "17" in set(SubjectSearch(Renamed).texts('{"user": 17}'))
