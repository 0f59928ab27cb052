import gc
import ipaddress
import json
import os
import tracemalloc
import weakref
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, ClassVar, Self, cast
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, model_validator

from consumer.errors import SettingsError, TokenError
from consumer.events.model import EventModel, Into, Masked, Stored, masks_of, table_of
from consumer.events.table import Kind
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.masking.mask import Mode
from consumer.masking.sealing import BodySeal
from consumer.messages import Message, Outcome, Quarantined, Reason, Row, ValueRefusedError
from consumer.officer.recovery.recoverer import Recoverer
from tests.feeds import FEEDS

_RING = KeyRing.generate("k1", os.urandom)
_TEXT = {
    column.name: column.kinds[0] for column in table_of(UserLogin).columns if not column.optional
}
_INTEGER = _TEXT | {"app_version": Kind.INTEGER}
_transform = Transform(UserLogin, _TEXT, _RING)

_LOGIN: dict[str, object] = {
    "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
    "app_version": "2.3.0",
    "device_type": "android",
    "ip": "199.172.111.135",
    "locale": "RU",
    "device_id": "593-47-5928",
}
_ID = "c0173198-76a8-4e67-bfc2-74eaa3bbff57"


def _message(body: str, sent_ms: int = 1_700_000_000_000) -> Message:
    return Message(_ID, "handle", body, sent_ms, len(body.encode("utf-8", "surrogatepass")))


def _of(**changes: object) -> Message:
    return _message(json.dumps(_LOGIN | changes))


def _one_a_day(bodies: Iterable[str]) -> list[Message]:
    """Messages with ids, handles and sent days of their own."""
    return [
        Message(str(UUID(int=number)), f"handle {number}", body, number * 86_400_000, len(body))
        for number, body in enumerate(bodies)
    ]


def _row(outcome: Outcome) -> dict[str, object]:
    assert isinstance(outcome, Row)
    return dict(zip(_TEXT, outcome.values, strict=True))


def _reason(outcome: Outcome) -> tuple[Reason, str | None]:
    assert isinstance(outcome, Quarantined)
    return outcome.reason, outcome.field_name


class _Body(str):
    """A text that can be watched."""

    __slots__ = ("__weakref__",)


@pytest.mark.parametrize("body", ["not JSON", '{"user_id": "x"}', json.dumps(_LOGIN | {"ip": "x"})])
@pytest.mark.parametrize("neighbours", [0, 2])
def test_what_is_no_row_holds_its_body_no_longer_than_the_message(
    body: str, neighbours: int
) -> None:
    raw = _Body(body)
    gone = weakref.ref(raw)
    gc.disable()  # which would find a cycle late, with the raw values in it
    try:
        message = Message(_ID, "handle", raw, 1_700_000_000_000, len(raw))
        outcomes = _transform.each([message, *[_of()] * neighbours])
        assert [type(each) for each in outcomes] == [Quarantined, *[Row] * neighbours]
        del raw, message, outcomes
        assert gone() is None
    finally:
        gc.enable()


def test_a_valid_message_is_the_row_of_its_masked_values() -> None:
    row = _row(_transform(_of()))
    masked_ip, masked_device_id = row.pop("masked_ip"), row.pop("masked_device_id")
    assert row == {
        "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
        "device_type": "android",
        "locale": "RU",
        "app_version": "2.3.0",
        "create_date": date(2023, 11, 14),
    }
    assert Recoverer(UserLogin, _RING).recover(str(masked_ip)).value == "199.172.111.135"
    assert Recoverer(UserLogin, _RING).recover(str(masked_device_id)).value == "593-47-5928"


def test_the_row_is_a_pure_function_of_the_message_and_the_key_ring() -> None:
    again = Transform(UserLogin, _TEXT, KeyRing.parse(_RING.to_json()))
    assert again(_of()) == _transform(_of())
    assert again(_message("{}")) == _transform(_message("{}"))


def test_a_row_carries_no_raw_value() -> None:
    outcome = _transform(_of())
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
    message = _message(json.dumps(_LOGIN), round(sent.timestamp() * 1000))
    assert _row(_transform(message))["create_date"] == day


def test_null_stays_null_and_is_never_masked() -> None:
    row = _row(_transform(_of(ip=None, device_id=None, locale=None)))
    assert (row["masked_ip"], row["masked_device_id"], row["locale"]) == (None, None, None)


def test_other_properties_and_their_order_do_not_matter() -> None:
    body = dict(reversed((_LOGIN | {"more": {"deep": [1, None]}}).items()))
    assert _row(_transform(_message(json.dumps(body)))) == _row(_transform(_of()))


def test_the_same_address_in_two_spellings_is_one_token() -> None:
    rows = [_row(_transform(_of(ip=ip))) for ip in ("1.2.3.4", "::ffff:1.2.3.4", "::FFFF:102:304")]
    assert len({row["masked_ip"] for row in rows}) == 1


def test_the_version_goes_as_it_came_into_text_and_as_a_number_into_an_integer() -> None:
    into_integer = Transform(UserLogin, _INTEGER, _RING)
    assert _row(_transform(_of(app_version="0.96")))["app_version"] == "0.96"
    assert _row(into_integer(_of(app_version="0.96")))["app_version"] == 96_000
    assert _row(_transform(_of(app_version="1.2-beta")))["app_version"] == "1.2-beta"
    assert _reason(into_integer(_of(app_version="1.2-beta"))) == (
        Reason.BAD_VERSION,
        "app_version",
    )


_OK = json.dumps(_LOGIN)[1:-1]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", Reason.NOT_JSON),
        ("nonsense", Reason.NOT_JSON),
        ("{" + _OK, Reason.NOT_JSON),
        ("{" + _OK + "} x", Reason.NOT_JSON),
        ("{" + _OK + ",}", Reason.NOT_JSON),
        ("\ufeff{" + _OK + "}", Reason.NOT_JSON),
        ("{'user_id': 'x'}", Reason.NOT_JSON),
        ("{" + _OK + ', "x": NaN}', Reason.NOT_JSON),
        ("{" + _OK + ', "user_id": NaN}', Reason.NOT_JSON),
        ("{" + _OK + ', "user_id": NaN, "x": "' + "x" * 5_000 + '"}', Reason.NOT_JSON),
        ("{" + _OK + ', "x": [-Infinity]}', Reason.NOT_JSON),
        ("{" + _OK + ', "x": "\\\\", "y": NaN}', Reason.NOT_JSON),
        ("{" + _OK + ', "x": "\0"}', Reason.NOT_JSON),
        ("{" + _OK + ', "x": ' + "[" * 40_000, Reason.NOT_JSON),
        ("{" + _OK + ', "x": ' + "[" * 150_000, Reason.INVALID_VALUE),
        ("{" + _OK + ', "x": ' + "7" * 100_000 + "}", Reason.NOT_JSON),
        ('{"user_id": "\\ud800"', Reason.NOT_JSON),
        ("null", Reason.NOT_AN_OBJECT),
        ("1", Reason.NOT_AN_OBJECT),
        ('"{}"', Reason.NOT_AN_OBJECT),
        ("[{" + _OK + "}]", Reason.NOT_AN_OBJECT),
        ("[" + "0," * 5_000 + "0]", Reason.NOT_AN_OBJECT),
        ("{}", Reason.OTHER_EVENT),
        ('{"foo": "oops_wrong_msg_type", "bar": "123"}', Reason.OTHER_EVENT),
        ('{"foo": "' + "x" * 5_000 + '"}', Reason.OTHER_EVENT),
        ("{" + _OK + ', "x": "\\ud800"}', Reason.NOT_STORABLE),
        ("{" + _OK + ', "x": "\ud800"}', Reason.NOT_STORABLE),
        ("{" + _OK + ', "x": "\ud800' + "x" * 5_000 + '"}', Reason.NOT_STORABLE),
    ],
)
def test_a_body_that_is_no_login_is_quarantined_with_the_reason(body: str, reason: Reason) -> None:
    assert _reason(_transform(_message(body))) == (reason, None)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("user_id", None, Reason.WRONG_TYPE),
        ("user_id", 1, Reason.WRONG_TYPE),
        ("user_id", True, Reason.WRONG_TYPE),
        ("user_id", ["x"], Reason.WRONG_TYPE),
        ("user_id", {"x": "y"}, Reason.WRONG_TYPE),
        ("user_id", "", Reason.TOO_SHORT),
        ("user_id", "x" * 129, Reason.TOO_LONG),
        ("user_id", "x" * 1_000_000, Reason.TOO_LONG),
        ("user_id", "a\0b", Reason.NOT_STORABLE),
        ("user_id", "\ud800", Reason.NOT_STORABLE),
        ("device_type", "", Reason.TOO_SHORT),
        ("device_type", "x" * 33, Reason.TOO_LONG),
        ("locale", "x" * 33, Reason.TOO_LONG),
        ("locale", "\udfff", Reason.NOT_STORABLE),
        ("locale", 5, Reason.WRONG_TYPE),
        ("app_version", None, Reason.WRONG_TYPE),
        ("app_version", 2.3, Reason.WRONG_TYPE),
        ("app_version", "1" * 33, Reason.TOO_LONG),
        ("ip", "", Reason.BAD_ADDRESS),
        ("ip", "localhost", Reason.BAD_ADDRESS),
        ("ip", "1.2.3.4\0", Reason.BAD_ADDRESS),
        ("ip", 16909060, Reason.WRONG_TYPE),
        ("device_id", 5935, Reason.WRONG_TYPE),
        ("device_id", "x" * 160, Reason.TOO_LONG),
        ("device_id", "a\0b", Reason.NOT_STORABLE),
        ("device_id", "\udc00", Reason.NOT_STORABLE),
    ],
)
@pytest.mark.parametrize("more", ["", "x" * 5_000], ids=["small", "large"])
def test_a_wrong_field_is_quarantined_with_the_reason_and_its_name(
    field: str, value: object, reason: Reason, more: str
) -> None:
    assert _reason(_transform(_of(**{field: value}, more=more))) == (reason, field)


@pytest.mark.parametrize("field", _LOGIN)
@pytest.mark.parametrize("more", ["", "x" * 5_000], ids=["small", "large"])
def test_each_field_must_be_there(field: str, more: str) -> None:
    body = {name: value for name, value in _LOGIN.items() if name != field} | {"more": more}
    assert _reason(_transform(_message(json.dumps(body)))) == (Reason.MISSING_FIELD, field)


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "x" * 128, "device_type": "x" * 32, "locale": "x" * 32},
        {"user_id": "\U0001f600" * 128, "locale": "", "device_id": ""},
        {"user_id": "NaN", "locale": "Infinity", "more": '"NaN'},
        {"device_id": "x" * 159},
        {"more": "\U0001f600" * 5_000},
        {"more": "NaN" * 5_000},
        {"more": ["[{" * 5_000]},
        {"more": [[]] * 5_000, "user_id": "\\ud800"},
        {"ip": "::"},
        {"ip": "fe80::1"},
    ],
)
def test_what_is_only_unusual_is_taken(changes: dict[str, object]) -> None:
    assert isinstance(_transform(_of(**changes)), Row)


def test_the_last_of_two_properties_of_one_name_counts_however_large_the_body_is() -> None:
    bodies = ['{"locale": 5, ' + _OK + end for end in ("}", ', "x": "' + "x" * 5_000 + '"}')]
    assert [_row(_transform(_message(body)))["locale"] for body in bodies] == ["RU", "RU"]


def test_quarantine_keeps_the_whole_body_sealed() -> None:
    message = _message("nonsense \ud800 of 199.172.111.135")
    sealed = _transform.quarantine(message, Reason.REJECTED_BY_DATABASE, "user_id")
    assert _reason(sealed) == (Reason.REJECTED_BY_DATABASE, "user_id")
    assert sealed.kid == "k1"
    assert b"199" not in sealed.sealed_body
    assert "nonsense" not in repr(sealed)
    assert BodySeal(_RING).unseal(sealed.kid, _ID, sealed.sealed_body) == message.body


_MIB = 1 << 20
_HOSTILE = {
    "arrays": '{"user_id": [' + "[]," * (_MIB // 3 - 20) + "[]]}",
    "arrays in arrays": '{"user_id": [' + ("[" * 90 + "]" * 90 + ",") * 5_700 + "[]]}",
    "just few enough arrays": '{"user_id": [' + ("[" * 90 + "]" * 90 + ",") * 550 + "[]]}",
    "objects": '{"user_id": [' + '{"a":1},' * 49_000 + "{}]}",
    "properties": "{" + ",".join(f'"{number:x}":1' for number in range(110_000)) + "}",
    "properties of a field": '{"ip": {'
    + ",".join(f'"{number:x}":1' for number in range(110_000))
    + "}}",
    "one property again and again": "{" + ",".join(['"user_id":[]'] * 49_000) + "}",
    "texts": '{"user_id": [' + '"x",' * (_MIB // 4 - 20) + '""]}',
    "numbers": "[" + "1.5," * (_MIB // 4 - 20) + "1]",
    "long numbers": '{"user_id": [' + ("7" * 4_300 + ",") * 240 + "1]}",
    "digits": "7" * _MIB,
    "digits in a field": '{"user_id": ' + "7" * (_MIB - 20) + "}",
    "digits of a fraction": "{" + _OK + ', "user_id": 0.' + "7" * (_MIB - 300) + "}",
    "digits of an exponent": "{" + _OK + ', "user_id": 1e' + "7" * (_MIB - 300) + "}",
    "opening brackets": "[" * _MIB,
    "opening braces": '{"a":' * (_MIB // 5),
    "escapes": '{"user_id": "' + "\\u0000" * (_MIB // 6 - 10) + '"}',
    "backslashes": "{" + _OK + ', "user_id": "' + "\\" * (_MIB - 300),
    "lone surrogates": '{"user_id": "' + "\\ud800" * (_MIB // 6 - 10) + '"}',
    "raw lone surrogates": "\ud800" * (_MIB // 3),
    "NaN behind texts": "{" + _OK + ', "user_id": [' + '"",' * (_MIB // 3 - 200) + "NaN]}",
    "emoji": '{"user_id": "' + "\U0001f600" * (_MIB // 4 - 10) + '"}',
    "quotes": '"' * _MIB,
    "blanks": " " * _MIB,
    "NULs": "\0" * _MIB,
}


# Bytes of memory for each byte of a body: the containers that it may have, and the copies to seal.
# pydantic's errors, which copy their input, would take 130.
_MEMORY_FACTOR = 40


@pytest.mark.parametrize("name", _HOSTILE)
def test_a_hostile_body_of_1_mib_is_quarantined_with_a_bounded_multiple_of_its_memory(
    name: str,
) -> None:
    message = _message(_HOSTILE[name])
    assert message.size <= _MIB
    tracemalloc.start()
    try:
        outcome = _transform(message)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, Quarantined)
    assert peak_bytes < _MEMORY_FACTOR * message.size


_any_text = st.text(alphabet=st.characters(exclude_categories=[]))
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _any_text,
    lambda inner: st.lists(inner) | st.dictionaries(_any_text, inner),
    max_leaves=10,
)


@given(_any_text)
def test_any_text_is_quarantined_and_comes_back(body: str) -> None:
    outcome = _transform(_message(body))
    assert isinstance(outcome, Quarantined)
    assert BodySeal(_RING).unseal("k1", _ID, outcome.sealed_body) == body


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(list(_LOGIN)) | _any_text, _json), st.booleans())
def test_any_object_is_a_row_or_quarantined_with_a_name_of_ours(
    changes: dict[str, object],
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    body = json.dumps(_LOGIN | changes, ensure_ascii=ascii_only)
    outcome = _transform(_message(body))
    if isinstance(outcome, Quarantined):
        assert outcome.field_name is None or outcome.field_name in _LOGIN
        assert outcome.reason is not Reason.TRANSFORM_FAILED


@given(st.dictionaries(st.sampled_from(list(_LOGIN)), _json))
def test_a_large_body_is_judged_as_a_small_one(changes: dict[str, object]) -> None:
    small = _transform(_of(**changes))
    large = _transform(_of(**changes, more="x" * 5_000))
    if isinstance(small, Row):
        assert isinstance(large, Row)
        assert large.values == small.values
    else:
        assert _reason(large) == _reason(small)


_storable = st.characters(exclude_characters="\0", codec="utf-8")
_valid = st.fixed_dictionaries(
    {
        "user_id": st.text(_storable, min_size=1, max_size=128),
        "device_type": st.text(_storable, min_size=1, max_size=32),
        "ip": st.none() | st.ip_addresses().map(str),
        "device_id": st.none() | st.text(_storable, max_size=39),
        "locale": st.none() | st.text(_storable, max_size=32),
        "app_version": st.text(_storable, min_size=1, max_size=32),
    }
)


@given(_valid, st.booleans())
def test_every_valid_event_is_its_row(
    event: dict[str, str | None],
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    row = _row(_transform(_message(json.dumps(event, ensure_ascii=ascii_only))))
    for name in ("user_id", "device_type", "locale", "app_version"):
        assert row[name] == event[name]
    for name, column in (("ip", "masked_ip"), ("device_id", "masked_device_id")):
        value, token = event[name], row[column]
        assert (value is None) == (token is None)
        if value is not None:
            recovered = Recoverer(UserLogin, _RING).recover(str(token))
            assert recovered.column == column
            if name == "device_id":
                assert recovered.value == value
            else:
                assert ADDRESS.encode(recovered.value) == ADDRESS.encode(value)


_login_or_not = st.fixed_dictionaries(
    {"user_id": st.text(_storable, min_size=1, max_size=9) | st.just(1)},
    optional={
        "ip": st.none() | st.ip_addresses().map(str) | st.just("no address"),
        "device_id": st.none() | st.text(_storable, max_size=9) | st.just("x" * 160),
        "locale": st.none() | st.sampled_from(["EN", "DE"]),
        "app_version": st.sampled_from(["1", "3.20", "no version"]),
    },
).map(lambda changes: json.dumps(_LOGIN | changes))
_no_login = st.sampled_from(["not JSON", "[]", '{"foo": "bar"}', '{"user_id": "x"}'])


@given(st.lists(_login_or_not | _no_login, max_size=8))
def test_many_messages_become_in_their_order_what_each_becomes_alone(bodies: list[str]) -> None:
    transform = Transform(UserLogin, _INTEGER, _RING)
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
    tokens = [_row(_transform(_of(ip=str(ip))))["masked_ip"] for ip in (one, other)]
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
    outcome = Transform(Visit, _VISIT_KINDS, _RING)(_message(_VISIT % ""))
    assert isinstance(outcome, Row)
    row = dict(zip(_VISIT_KINDS, outcome.values, strict=True))
    assert (row["path"], row["count"], row["ip_dropped"], row["note"]) == ("b", 3, None, None)
    assert Recoverer(Visit, _RING).recover(str(row["masked_ip"])).value == "192.0.2.1"
    subnet = Recoverer(Visit, _RING, "ip_subnet_masked").recover(str(row["ip_subnet_masked"]))
    assert subnet.value == "192.0.2.1"
    with pytest.raises(TokenError, match="irreversible"):
        Recoverer(Visit, _RING, "ip_hash").recover(str(row["ip_hash"]))
    with pytest.raises(TokenError, match="never stored"):
        Recoverer(Visit, _RING, "ip_dropped").recover("k1.x")


def test_an_optional_column_is_written_only_where_the_table_has_it() -> None:
    without = {name: kind for name, kind in _VISIT_KINDS.items() if name != "ip_subnet_masked"}
    outcome = Transform(Visit, without, _RING)(_message(_VISIT % ""))
    assert isinstance(outcome, Row)
    assert len(outcome.values) == len(without)


@pytest.mark.parametrize("more", ["", ', "more": "' + "x" * 5_000 + '"'], ids=["small", "large"])
def test_a_defect_in_a_model_quarantines_and_does_not_stop_the_queue(more: str) -> None:
    transform = Transform(Visit, _VISIT_KINDS, _RING)
    body = (_VISIT % more).replace('"a"', '"199.172"')
    assert _reason(transform(_message(body))) == (Reason.TRANSFORM_FAILED, None)


class Forgetful(EventModel):
    table: ClassVar[str] = "forgetful"
    sent_on: ClassVar[str] = "day"

    name: Annotated[str, Stored(max_length=9)]

    @model_validator(mode="wrap")
    @classmethod
    def _nothing(cls, data: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        event = handler(data)
        return cast("Self", None) if event.name == "forget" else event


def test_a_validator_that_gives_no_event_quarantines_its_own_message_alone() -> None:
    transform = Transform(Forgetful, {"name": Kind.TEXT, "day": Kind.DATE}, _RING)
    bodies = (json.dumps({"name": name}) for name in ("a", "forget", "b"))
    kept, forgotten, also_kept = transform.each(_one_a_day(bodies))
    assert isinstance(kept, Row)
    assert isinstance(also_kept, Row)
    assert _reason(forgotten) == (Reason.TRANSFORM_FAILED, None)


def test_of_several_values_that_cannot_be_stored_the_first_column_is_named() -> None:
    into_integer = Transform(UserLogin, _INTEGER, _RING)
    both = _of(ip="199.172", app_version="nine")
    assert _reason(into_integer(both)) == (Reason.BAD_ADDRESS, "ip")
    assert [_reason(each) for each in into_integer.each([both, both])] == [
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


_parcels = Transform(Parcel, {"weight": Kind.INTEGER, "day": Kind.DATE}, _RING)


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
    assert [each.values[0] if isinstance(each, Row) else _reason(each) for each in outcomes] == [
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
def test_the_first_column_that_has_no_value_decides_whatever_comes_behind(
    left: str, right: str, reason: tuple[Reason, str | None]
) -> None:
    kinds = {"left": Kind.INTEGER, "right": Kind.INTEGER, "day": Kind.DATE}
    (outcome,) = Transform(Pair, kinds, _RING).each(
        _one_a_day([json.dumps({"left": left, "right": right})])
    )
    assert _reason(outcome) == reason


@pytest.mark.parametrize("neighbours", [(), ("1",), ("1", "unknown")])
def test_a_lack_of_memory_is_no_messages_fault(neighbours: Sequence[str]) -> None:
    with pytest.raises(MemoryError):
        _parcels.each(_parcels_of("too much", *neighbours))


@pytest.mark.parametrize("more", ["", ', "more": "' + "x" * 5_000 + '"'], ids=["small", "large"])
def test_a_field_with_an_alias_is_named_by_its_own_name(more: str) -> None:
    transform = Transform(Visit, _VISIT_KINDS, _RING)
    body = (_VISIT % more).replace("3", "2147483648")
    assert _reason(transform(_message(body))) == (Reason.NOT_STORABLE, "count")


def test_a_table_that_lacks_a_column_or_has_another_type_is_refused() -> None:
    with pytest.raises(SettingsError, match="table user_logins has no column masked_ip"):
        Transform(UserLogin, {k: v for k, v in _TEXT.items() if k != "masked_ip"}, _RING)
    with pytest.raises(SettingsError, match=r"user_logins.user_id is not of type text"):
        Transform(UserLogin, _TEXT | {"user_id": Kind.INTEGER}, _RING)


def test_a_token_is_recovered_for_its_own_column_only() -> None:
    token = str(_row(_transform(_of()))["masked_ip"])
    assert Recoverer(UserLogin, _RING, "masked_ip").recover(token).column == "masked_ip"
    with pytest.raises(TokenError, match=r"moved: it was made for user_logins\.masked_ip"):
        Recoverer(UserLogin, _RING, "masked_device_id").recover(token)
    with pytest.raises(SettingsError, match="UserLogin has no masked column user_id"):
        Recoverer(UserLogin, _RING, "user_id").recover(token)
    assert "199" not in repr(Recoverer(UserLogin, _RING).recover(token))


def test_after_a_rotation_old_tokens_are_recovered_and_new_ones_are_made() -> None:
    old = _RING.keys["k1"].secret
    keys = {"k1": Key(old, KeyState.DECRYPT), "k2": Key(os.urandom(32), KeyState.ACTIVE)}
    rotated = KeyRing("k2", keys)
    before = str(_row(_transform(_of()))["masked_ip"])
    after = str(_row(Transform(UserLogin, _TEXT, rotated)(_of()))["masked_ip"])
    assert after.startswith("k2.")
    assert (
        Recoverer(UserLogin, rotated).recover(before).value
        == Recoverer(UserLogin, rotated).recover(after).value
    )
    tokens = masks_of(UserLogin, rotated)["masked_ip"].tokens("199.172.111.135")
    assert tokens == (after, before)


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("kinds", [_TEXT, _INTEGER], ids=["text", "integer"])
def test_a_feed_of_100_events_is_99_rows_and_one_of_another_type(
    kinds: dict[str, Kind], feed: Path
) -> None:
    transform = Transform(UserLogin, kinds, _RING)
    outcomes = [transform(_message(line)) for line in feed.read_text().splitlines()]
    quarantined = [each for each in outcomes if isinstance(each, Quarantined)]
    assert len(outcomes) - len(quarantined) == 99
    assert [each.reason for each in quarantined] == [Reason.OTHER_EVENT]
