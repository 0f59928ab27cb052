"""From messages to rows: what is masked, and whose defects quarantine what."""

import gc
import ipaddress
import json
import os
import weakref
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, ClassVar, Self, cast
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import AfterValidator, BaseModel, Field, ModelWrapValidatorHandler, model_validator

from consumer.errors import SettingsError, TokenError
from consumer.events.model import EventModel, Into, Masked, Stored, masks_of, table_of
from consumer.events.table import Kind
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.events.validation import SMALL_BODY_CHARACTERS
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.mask import Mode
from consumer.masking.sealing import BodySeal
from consumer.messages import Message, Quarantined, Reason, Row, ValueRefusedError
from tests.feeds import FEEDS
from tests.unit.events.logins import (
    INTEGER_KINDS,
    LOGIN,
    MESSAGE_ID,
    RING,
    STORABLE,
    TEXT_KINDS,
    TRANSFORM,
    login_of,
    message_of,
    reason_of,
    row_of,
)


def _recovered(column: str, token: object) -> str:
    return masks_of(UserLogin, RING)[column].recover(str(token))


def _one_a_day(bodies: Iterable[str]) -> list[Message]:
    """Messages with ids, handles and sent days of their own."""
    return [
        Message(str(UUID(int=number)), f"handle {number}", body, number * 86_400_000, len(body))
        for number, body in enumerate(bodies)
    ]


class _Body(str):
    """A text that can be watched."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("body", ["not JSON", '{"user_id": "x"}', json.dumps(LOGIN | {"ip": "x"})])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_what_is_no_row_holds_its_body_no_longer_than_the_message(
    body: str, neighbours: int
) -> None:
    raw = _Body(body)
    gone = weakref.ref(raw)
    gc.disable()  # which would find a cycle late, with the raw values in it
    try:
        message = Message(MESSAGE_ID, "handle", raw, 1_700_000_000_000, len(raw))
        outcomes = TRANSFORM.each([message, *[login_of()] * neighbours])
        assert [type(each) for each in outcomes] == [Quarantined, *[Row] * neighbours]
        del raw, message, outcomes
        assert gone() is None
    finally:
        gc.enable()


def test_a_valid_message_is_the_row_of_its_masked_values() -> None:
    row = row_of(TRANSFORM(login_of()))
    masked_ip, masked_device_id = row.pop("masked_ip"), row.pop("masked_device_id")
    assert row == {
        "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
        "device_type": "android",
        "locale": "RU",
        "app_version": "2.3.0",
        "create_date": date(2023, 11, 14),
    }
    assert _recovered("masked_ip", masked_ip) == "199.172.111.135"
    assert _recovered("masked_device_id", masked_device_id) == "593-47-5928"


def test_the_row_is_a_pure_function_of_the_message_and_the_key_ring() -> None:
    another = Transform(UserLogin, TEXT_KINDS, KeyRing.parse(RING.to_json()))
    assert another(login_of()) == TRANSFORM(login_of())
    assert another(message_of("{}")) == TRANSFORM(message_of("{}"))


def test_a_row_carries_no_raw_value() -> None:
    outcome = TRANSFORM(login_of())
    assert isinstance(outcome, Row)
    assert not {"199.172.111.135", "593-47-5928"} & set(map(str, outcome.values))
    assert "424cdd21" not in repr(outcome)


@pytest.mark.parametrize(
    ("sent", "day"),
    [
        (datetime(2026, 3, 1, 23, 59, 59, 999_000, UTC), date(2026, 3, 1)),
        (datetime(2026, 3, 2, tzinfo=UTC), date(2026, 3, 2)),
    ],
)
def test_the_day_is_the_utc_day_of_the_sending(sent: datetime, day: date) -> None:
    message = message_of(json.dumps(LOGIN), round(sent.timestamp() * 1000))
    assert row_of(TRANSFORM(message))["create_date"] == day


def test_null_stays_null_and_is_never_masked() -> None:
    row = row_of(TRANSFORM(login_of(ip=None, device_id=None, locale=None)))
    assert (row["masked_ip"], row["masked_device_id"], row["locale"]) == (None, None, None)


def test_other_properties_and_their_order_do_not_matter() -> None:
    body = dict(reversed((LOGIN | {"more": {"deep": [1, None]}}).items()))
    assert row_of(TRANSFORM(message_of(json.dumps(body)))) == row_of(TRANSFORM(login_of()))


def test_the_same_address_in_two_spellings_is_one_token() -> None:
    rows = [
        row_of(TRANSFORM(login_of(ip=ip))) for ip in ("1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304")
    ]
    assert len({row["masked_ip"] for row in rows}) == 1


def test_the_version_goes_as_it_came_into_text_and_as_a_number_into_an_integer() -> None:
    into_integer = Transform(UserLogin, INTEGER_KINDS, RING)
    assert row_of(TRANSFORM(login_of(app_version="0.96")))["app_version"] == "0.96"
    assert row_of(into_integer(login_of(app_version="0.96")))["app_version"] == 96_000
    assert row_of(TRANSFORM(login_of(app_version="1.2-beta")))["app_version"] == "1.2-beta"
    assert reason_of(into_integer(login_of(app_version="1.2-beta"))) == (
        Reason.BAD_VERSION,
        "app_version",
    )


def test_quarantine_holds_the_whole_body_sealed() -> None:
    message = message_of("nonsense \ud800 of 199.172.111.135")
    sealed = TRANSFORM.quarantine(message, Reason.REJECTED_BY_DATABASE, "user_id")
    assert reason_of(sealed) == (Reason.REJECTED_BY_DATABASE, "user_id")
    assert sealed.kid == "k1"
    assert b"199" not in sealed.sealed_body
    assert "nonsense" not in repr(sealed)
    assert BodySeal(RING).unseal(sealed.kid, MESSAGE_ID, sealed.sealed_body) == message.body


_valid = st.fixed_dictionaries(
    {
        "user_id": st.text(STORABLE, min_size=1, max_size=128),
        "device_type": st.text(STORABLE, min_size=1, max_size=32),
        "ip": st.none() | st.ip_addresses().map(str),
        "device_id": st.none() | st.text(STORABLE, max_size=39),
        "locale": st.none() | st.text(STORABLE, max_size=32),
        "app_version": st.text(STORABLE, min_size=1, max_size=32),
    }
)


@given(_valid, st.booleans())
def test_every_valid_event_is_its_row(
    event: dict[str, str | None],
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    row = row_of(TRANSFORM(message_of(json.dumps(event, ensure_ascii=ascii_only))))
    for name in ("user_id", "device_type", "locale", "app_version"):
        assert row[name] == event[name]
    for name, column in (("ip", "masked_ip"), ("device_id", "masked_device_id")):
        value, token = event[name], row[column]
        assert (value is None) == (token is None)
        if value is not None:
            recovered = _recovered(column, token)
            if name == "device_id":
                assert recovered == value
            else:
                assert ADDRESS.encode(recovered) == ADDRESS.encode(value)


_login_or_not = st.fixed_dictionaries(
    {"user_id": st.text(STORABLE, min_size=1, max_size=9) | st.just(1)},
    optional={
        "ip": st.none() | st.ip_addresses().map(str) | st.just("no address"),
        "device_id": st.none() | st.text(STORABLE, max_size=9) | st.just("x" * 160),
        "locale": st.none() | st.sampled_from(["EN", "DE"]),
        "app_version": st.sampled_from(["1", "3.20", "no version"]),
    },
).map(lambda changes: json.dumps(LOGIN | changes))
_no_login = st.sampled_from(["not JSON", "[]", '{"foo": "bar"}', '{"user_id": "x"}'])


@given(st.lists(_login_or_not | _no_login, max_size=8))
def test_many_messages_become_in_their_order_what_each_becomes_alone(bodies: list[str]) -> None:
    transform = Transform(UserLogin, INTEGER_KINDS, RING)
    messages = _one_a_day(bodies)
    outcomes = list(transform.each(messages))
    assert [outcome.message for outcome in outcomes] == messages
    assert outcomes == [transform(message) for message in messages]
    assert outcomes == [outcome for each in messages for outcome in transform.each([each])]


@settings(max_examples=30)
@given(st.ip_addresses(v=4), st.ip_addresses(v=4))
def test_equal_tokens_mean_equal_values(
    one: ipaddress.IPv4Address, other: ipaddress.IPv4Address
) -> None:
    tokens = [row_of(TRANSFORM(login_of(ip=str(ip))))["masked_ip"] for ip in (one, other)]
    assert (tokens[0] == tokens[1]) == (one == other)


def _defective(value: str) -> str:
    return {"a": "b"}[value]


class Visit(EventModel):
    table: ClassVar[str] = "visits"
    sent_on: ClassVar[str] = "day"

    page: Annotated[str, Stored(max_length=9, column="path"), AfterValidator(_defective)]
    count: Annotated[int, Stored(), Field(alias="n")]
    ip: Annotated[
        str,
        Masked(
            ADDRESS,
            Into("masked_ip"),
            Into("ip_subnet_masked", Mode.IPCRYPT_PFX, optional=True),
            Into("ip_hash", Mode.HMAC),
            Into("ip_dropped", Mode.DROP),
        ),
    ]
    note: Annotated[str | None, Masked(IDENTIFIER, Into("note", Mode.HMAC))] = None


_VISIT_KINDS = {column.name: column.kinds[0] for column in table_of(Visit).columns}
_VISIT = '{"page": "a", "n": 3, "ip": "192.0.2.1"%s}'


def test_a_field_is_masked_into_several_columns() -> None:
    outcome = Transform(Visit, _VISIT_KINDS, RING)(message_of(_VISIT % ""))
    assert isinstance(outcome, Row)
    row = dict(zip(_VISIT_KINDS, outcome.values, strict=True))
    assert (row["path"], row["count"], row["ip_dropped"], row["note"]) == ("b", 3, None, None)
    masks = masks_of(Visit, RING)
    for column in ("masked_ip", "ip_subnet_masked"):
        assert masks[column].recover(str(row[column])) == "192.0.2.1"
    with pytest.raises(TokenError, match="irreversible"):
        masks["ip_hash"].recover(str(row["ip_hash"]))


def test_an_optional_column_is_written_only_where_the_table_has_it() -> None:
    without = {name: kind for name, kind in _VISIT_KINDS.items() if name != "ip_subnet_masked"}
    outcome = Transform(Visit, without, RING)(message_of(_VISIT % ""))
    assert isinstance(outcome, Row)
    assert len(outcome.values) == len(without)


@pytest.mark.parametrize(
    "more", ["", ', "more": "' + "x" * SMALL_BODY_CHARACTERS + '"'], ids=["small", "large"]
)
def test_a_defect_in_a_model_quarantines_and_does_not_stop_the_queue(more: str) -> None:
    transform = Transform(Visit, _VISIT_KINDS, RING)
    body = (_VISIT % more).replace('"a"', '"199.172"')
    assert reason_of(transform(message_of(body))) == (Reason.TRANSFORM_FAILED, None)


class Forgetful(EventModel):
    table: ClassVar[str] = "forgetful"
    sent_on: ClassVar[str] = "day"

    name: Annotated[str, Stored(max_length=9)]

    @model_validator(mode="wrap")
    @classmethod
    def _not_an_event(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        event = handler(data)
        others = {"nothing": None, "another": SimpleNamespace()}
        return cast("Self", others.get(event.name, event))


@pytest.mark.parametrize("given", ["nothing", "another"])
def test_a_validator_that_gives_no_event_quarantines_its_own_message_alone(given: str) -> None:
    transform = Transform(Forgetful, {"name": Kind.TEXT, "day": Kind.DATE}, RING)
    bodies = (json.dumps({"name": name}) for name in ("a", given, "b"))
    first, defective, last = transform.each(_one_a_day(bodies))
    assert isinstance(first, Row)
    assert isinstance(last, Row)
    assert reason_of(defective) == (Reason.TRANSFORM_FAILED, None)


class Nested(BaseModel):
    of_another_model: int


class Nesting(EventModel):
    table: ClassVar[str] = "nesting"
    sent_on: ClassVar[str] = "day"

    name: Annotated[str, Stored(max_length=9)]

    @model_validator(mode="before")
    @classmethod
    def _as_another_model(cls, data: object) -> object:
        Nested.model_validate(data)
        return data


def test_an_error_of_another_model_names_no_field() -> None:
    transform = Transform(Nesting, {"name": Kind.TEXT, "day": Kind.DATE}, RING)
    body = json.dumps({"name": "a", "of_another_model": "b"})
    assert reason_of(transform(message_of(body))) == (Reason.INVALID_VALUE, None)


def test_of_several_values_that_cannot_be_stored_the_first_column_is_named() -> None:
    into_integer = Transform(UserLogin, INTEGER_KINDS, RING)
    both = login_of(ip="199.172", app_version="nine")
    assert reason_of(into_integer(both)) == (Reason.BAD_ADDRESS, "ip")
    assert [reason_of(each) for each in into_integer.each([both, both])] == [
        (Reason.BAD_ADDRESS, "ip")
    ] * 2


def _grams(text: str) -> int:
    if text == "too much":
        raise MemoryError
    if text == "unknown":
        raise ValueRefusedError(Reason.INVALID_VALUE)
    return int(text)  # whose ValueError is a defect of the model


class Parcel(EventModel):
    table: ClassVar[str] = "parcels"
    sent_on: ClassVar[str] = "day"

    weight: Annotated[str, Stored(max_length=9, as_integer=_grams)]


_parcels = Transform(Parcel, {"weight": Kind.INTEGER, "day": Kind.DATE}, RING)


def _parcels_of(*weights: str) -> list[Message]:
    return _one_a_day(json.dumps({"weight": weight}) for weight in weights)


_FOUND = {
    "unknown": (Reason.INVALID_VALUE, "weight"),
    "one": (Reason.TRANSFORM_FAILED, None),
}


@pytest.mark.parametrize(
    "weights", [("1", "unknown", "3"), ("1", "one", "3"), ("unknown", "2", "one", "4")]
)
def test_a_value_that_cannot_be_converted_quarantines_its_own_message_alone(
    weights: Sequence[str],
) -> None:
    outcomes = _parcels.each(_parcels_of(*weights))
    assert [each.values[0] if isinstance(each, Row) else reason_of(each) for each in outcomes] == [
        _FOUND.get(weight) or int(weight) for weight in weights
    ]


class Pair(EventModel):
    table: ClassVar[str] = "pairs"
    sent_on: ClassVar[str] = "day"

    left: Annotated[str, Stored(max_length=9, as_integer=_grams)]
    right: Annotated[str, Stored(max_length=9, as_integer=_grams)]


@pytest.mark.parametrize(
    ("left", "right", "reason"),
    [
        ("unknown", "one", (Reason.INVALID_VALUE, "left")),
        ("one", "unknown", (Reason.TRANSFORM_FAILED, None)),
    ],
)
def test_the_first_column_that_has_no_value_decides_whatever_the_next_has(
    left: str, right: str, reason: tuple[Reason, str | None]
) -> None:
    kinds = {"left": Kind.INTEGER, "right": Kind.INTEGER, "day": Kind.DATE}
    (outcome,) = Transform(Pair, kinds, RING).each(
        _one_a_day([json.dumps({"left": left, "right": right})])
    )
    assert reason_of(outcome) == reason


@pytest.mark.parametrize("neighbours", [(), ("1",), ("1", "unknown")])
def test_a_lack_of_memory_is_no_messages_fault(neighbours: Sequence[str]) -> None:
    with pytest.raises(MemoryError):
        _parcels.each(_parcels_of("too much", *neighbours))


def test_a_table_that_lacks_a_column_or_has_another_type_is_refused() -> None:
    with pytest.raises(SettingsError, match="table user_logins has no column masked_ip"):
        Transform(UserLogin, {k: v for k, v in TEXT_KINDS.items() if k != "masked_ip"}, RING)
    with pytest.raises(SettingsError, match=r"user_logins.user_id is not of type text"):
        Transform(UserLogin, TEXT_KINDS | {"user_id": Kind.INTEGER}, RING)


def test_after_a_rotation_old_tokens_are_recovered_and_new_ones_are_made() -> None:
    old = RING.keys["k1"].secret
    keys = {"k1": Key(old, KeyState.DECRYPT), "k2": Key(os.urandom(32), KeyState.ACTIVE)}
    rotated = KeyRing("k2", keys)
    before = str(row_of(TRANSFORM(login_of()))["masked_ip"])
    after = str(row_of(Transform(UserLogin, TEXT_KINDS, rotated)(login_of()))["masked_ip"])
    assert after.startswith("k2.")
    mask = masks_of(UserLogin, rotated)["masked_ip"]
    assert mask.recover(before) == mask.recover(after)
    assert mask.tokens("199.172.111.135") == (after, before)


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("kinds", [TEXT_KINDS, INTEGER_KINDS], ids=["text", "integer"])
def test_a_feed_of_100_events_is_99_rows_and_one_of_another_type(
    kinds: dict[str, Kind], feed: Path
) -> None:
    transform = Transform(UserLogin, kinds, RING)
    outcomes = [transform(message_of(line)) for line in feed.read_text().splitlines()]
    quarantined = [each for each in outcomes if isinstance(each, Quarantined)]
    assert len(outcomes) - len(quarantined) == 99
    assert [each.reason for each in quarantined] == [Reason.OTHER_EVENT]
