"""What is a valid event, and the reason that is given for what is none."""

import json
import tracemalloc
from typing import Annotated, ClassVar

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import Field

from consumer.events.model import EventModel, Stored
from consumer.events.table import Kind
from consumer.events.transform import Transform
from consumer.events.validation import MAX_CONTAINERS_AND_PROPERTIES, SMALL_BODY_CHARACTERS
from consumer.masking.sealing import BodySeal
from consumer.messages import Quarantined, Reason, Row
from tests.unit.events.logins import (
    LOGIN,
    LOGIN_PROPERTIES,
    MESSAGE_ID,
    RING,
    TRANSFORM,
    login_of,
    message_of,
    reason_of,
    row_of,
)

# With it a body is too large to be read as it is.
PADDING = "x" * SMALL_BODY_CHARACTERS


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", Reason.NOT_JSON),
        ("nonsense", Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES, Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + "} x", Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ",}", Reason.NOT_JSON),
        ("\ufeff{" + LOGIN_PROPERTIES + "}", Reason.NOT_JSON),
        ("{'user_id': 'x'}", Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "x": NaN}', Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "user_id": NaN}', Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "user_id": NaN, "x": "' + PADDING + '"}', Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "x": [-Infinity]}', Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "x": "\\\\", "y": NaN}', Reason.NOT_JSON),
        ("{" + LOGIN_PROPERTIES + ', "x": "\0"}', Reason.NOT_JSON),
        (
            "{" + LOGIN_PROPERTIES + ', "x": ' + "[" * (MAX_CONTAINERS_AND_PROPERTIES - 10_000),
            Reason.NOT_JSON,
        ),
        (
            "{" + LOGIN_PROPERTIES + ', "x": ' + "[" * MAX_CONTAINERS_AND_PROPERTIES,
            Reason.INVALID_VALUE,
        ),
        ("{" + LOGIN_PROPERTIES + ', "x": ' + "7" * 100_000 + "}", Reason.NOT_JSON),
        ('{"user_id": "\\ud800"', Reason.NOT_JSON),
        ("null", Reason.NOT_AN_OBJECT),
        ("1", Reason.NOT_AN_OBJECT),
        ('"{}"', Reason.NOT_AN_OBJECT),
        ("[{" + LOGIN_PROPERTIES + "}]", Reason.NOT_AN_OBJECT),
        ("[" + "0," * SMALL_BODY_CHARACTERS + "0]", Reason.NOT_AN_OBJECT),
        ("{}", Reason.OTHER_EVENT),
        ('{"foo": "oops_wrong_msg_type", "bar": "123"}', Reason.OTHER_EVENT),
        ('{"foo": "' + PADDING + '"}', Reason.OTHER_EVENT),
        ("{" + LOGIN_PROPERTIES + ', "x": "\\ud800"}', Reason.NOT_STORABLE),
        ("{" + LOGIN_PROPERTIES + ', "x": "\ud800"}', Reason.NOT_STORABLE),
        ("{" + LOGIN_PROPERTIES + ', "x": "\ud800' + PADDING + '"}', Reason.NOT_STORABLE),
    ],
)
def test_a_body_that_is_no_login_is_quarantined_with_the_reason(body: str, reason: Reason) -> None:
    assert reason_of(TRANSFORM(message_of(body))) == (reason, None)


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
@pytest.mark.parametrize("more", ["", PADDING], ids=["small", "large"])
def test_a_wrong_field_is_quarantined_with_the_reason_and_its_name(
    field: str, value: object, reason: Reason, more: str
) -> None:
    assert reason_of(TRANSFORM(login_of(**{field: value}, more=more))) == (reason, field)


@pytest.mark.parametrize("field", LOGIN)
@pytest.mark.parametrize("more", ["", PADDING], ids=["small", "large"])
def test_each_field_must_be_there(field: str, more: str) -> None:
    body = {name: value for name, value in LOGIN.items() if name != field} | {"more": more}
    assert reason_of(TRANSFORM(message_of(json.dumps(body)))) == (Reason.MISSING_FIELD, field)


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "x" * 128, "device_type": "x" * 32, "locale": "x" * 32},
        {"user_id": "\U0001f600" * 128, "locale": "", "device_id": ""},
        {"user_id": "NaN", "locale": "Infinity", "more": '"NaN'},
        {"device_id": "x" * 159},
        {"more": "\U0001f600" * SMALL_BODY_CHARACTERS},
        {"more": "NaN" * SMALL_BODY_CHARACTERS},
        {"more": ["[{" * SMALL_BODY_CHARACTERS]},
        {"more": [[]] * SMALL_BODY_CHARACTERS, "user_id": "\\ud800"},
        {"ip": "::"},
        {"ip": "fe80::1"},
    ],
)
def test_what_is_only_unusual_is_taken(changes: dict[str, object]) -> None:
    assert isinstance(TRANSFORM(login_of(**changes)), Row)


def test_the_last_of_two_properties_of_one_name_counts_however_large_the_body_is() -> None:
    bodies = [
        '{"locale": 5, ' + LOGIN_PROPERTIES + end for end in ("}", ', "x": "' + PADDING + '"}')
    ]
    assert [row_of(TRANSFORM(message_of(body)))["locale"] for body in bodies] == ["RU", "RU"]


def test_a_body_may_have_so_many_containers_and_properties_and_no_more() -> None:
    before = "{" + LOGIN_PROPERTIES + ', "more": ['
    arrays = MAX_CONTAINERS_AND_PROPERTIES - sum(map(before.count, "[{:"))
    most, too_many = (before + ",".join(["[]"] * count) + "]}" for count in (arrays, arrays + 1))
    assert isinstance(TRANSFORM(message_of(most)), Row)
    assert reason_of(TRANSFORM(message_of(too_many))) == (Reason.INVALID_VALUE, None)


_MIB = 1 << 20
_HOSTILE = {
    "arrays": '{"user_id": [' + "[]," * (_MIB // 3 - 20) + "[]]}",
    "arrays in arrays": '{"user_id": [' + ("[" * 90 + "]" * 90 + ",") * 5_700 + "[]]}",
    "just few enough arrays": '{"user_id": [' + ("[" * 90 + "]" * 90 + ",") * 550 + "[]]}",
    "objects": '{"user_id": [' + '{"a":1},' * (MAX_CONTAINERS_AND_PROPERTIES - 1_000) + "{}]}",
    "properties": "{" + ",".join(f'"{number:x}":1' for number in range(110_000)) + "}",
    "properties of a field": '{"ip": {'
    + ",".join(f'"{number:x}":1' for number in range(110_000))
    + "}}",
    "one property many times": "{"
    + ",".join(['"user_id":[]'] * (MAX_CONTAINERS_AND_PROPERTIES - 1_000))
    + "}",
    "texts": '{"user_id": [' + '"x",' * (_MIB // 4 - 20) + '""]}',
    "numbers": "[" + "1.5," * (_MIB // 4 - 20) + "1]",
    "long numbers": '{"user_id": [' + ("7" * 4_300 + ",") * 240 + "1]}",
    "digits": "7" * _MIB,
    "digits in a field": '{"user_id": ' + "7" * (_MIB - 20) + "}",
    "digits of a fraction": "{" + LOGIN_PROPERTIES + ', "user_id": 0.' + "7" * (_MIB - 300) + "}",
    "digits of an exponent": "{" + LOGIN_PROPERTIES + ', "user_id": 1e' + "7" * (_MIB - 300) + "}",
    "opening brackets": "[" * _MIB,
    "opening braces": '{"a":' * (_MIB // 5),
    "escapes": '{"user_id": "' + "\\u0000" * (_MIB // 6 - 10) + '"}',
    "backslashes": "{" + LOGIN_PROPERTIES + ', "user_id": "' + "\\" * (_MIB - 300),
    "lone surrogates": '{"user_id": "' + "\\ud800" * (_MIB // 6 - 10) + '"}',
    "raw lone surrogates": "\ud800" * (_MIB // 3),
    "NaN after texts": "{"
    + LOGIN_PROPERTIES
    + ', "user_id": ['
    + '"",' * (_MIB // 3 - 200)
    + "NaN]}",
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
    message = message_of(_HOSTILE[name])
    assert message.size <= _MIB
    tracemalloc.start()
    try:
        outcome = TRANSFORM(message)
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
    outcome = TRANSFORM(message_of(body))
    assert isinstance(outcome, Quarantined)
    assert BodySeal(RING).unseal("k1", MESSAGE_ID, outcome.sealed_body) == body


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(list(LOGIN)) | _any_text, _json), st.booleans())
def test_any_object_is_a_row_or_quarantined_with_a_name_of_ours(
    changes: dict[str, object],
    ascii_only: bool,  # noqa: FBT001 - drawn
) -> None:
    body = json.dumps(LOGIN | changes, ensure_ascii=ascii_only)
    outcome = TRANSFORM(message_of(body))
    if isinstance(outcome, Quarantined):
        assert outcome.field_name is None or outcome.field_name in LOGIN
        assert outcome.reason is not Reason.TRANSFORM_FAILED


@given(st.dictionaries(st.sampled_from(list(LOGIN)), _json))
def test_a_large_body_is_judged_as_a_small_one(changes: dict[str, object]) -> None:
    small = TRANSFORM(login_of(**changes))
    large = TRANSFORM(login_of(**changes, more=PADDING))
    if isinstance(small, Row):
        assert isinstance(large, Row)
        assert large.values == small.values
    else:
        assert reason_of(large) == reason_of(small)


class Counted(EventModel):
    table: ClassVar[str] = "counted"
    sent_on: ClassVar[str] = "day"

    count: Annotated[int, Stored(), Field(alias="n")]


@pytest.mark.parametrize("more", ["", PADDING], ids=["small", "large"])
def test_a_field_with_an_alias_is_named_by_its_own_name(more: str) -> None:
    transform = Transform(Counted, {"count": Kind.INTEGER, "day": Kind.DATE}, RING)
    body = json.dumps({"n": 2**31, "more": more})
    assert reason_of(transform(message_of(body))) == (Reason.NOT_STORABLE, "count")
