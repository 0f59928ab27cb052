"""What may be shown of values and exceptions."""

import json
from typing import cast

import pytest
from hypothesis import given, strategies as st

from consumer.errors import DatabaseError
from consumer.messages import Message, Row
from consumer.telemetry.redaction import describe, redacted

RAW = "199.172.111.135"


def _fail(error: Exception, _local: str = RAW) -> None:
    raise error


def raised(error: Exception) -> Exception:
    with pytest.raises(type(error)):
        _fail(error)
    return error


def test_colour_codes_line_breaks_and_direction_marks_are_shown_not_sent() -> None:
    assert redacted("a\nb\x1b[31m\u202e\u2028\ud800") == r"a\nb\x1b[31m\u202e\u2028\ud800"


@given(st.text(min_size=501))
def test_a_long_text_is_cut_with_its_length(text: str) -> None:
    cut = cast("str", redacted(text))
    assert cut.endswith(f"… ({len(text)} characters)")
    assert len(cut) < 10 * 500 + 40


def test_collections_are_bounded_and_other_objects_show_as_their_type() -> None:
    assert len(cast("list[object]", redacted(list(range(1000))))) == 50
    assert redacted({"a": [b"raw", object(), 1, None]}) == {
        "a": ["<bytes>", "<object>", 1, None],
    }


def test_messages_and_rows_show_as_their_type_wherever_they_are() -> None:
    message = Message("id", f"handle {RAW}", RAW, 0, 1)
    row = Row(message, (RAW,))
    assert redacted(message) == "<Message>"
    assert redacted(row) == "<Row>"
    assert redacted([message, (row,)]) == ["<Message>", ["<Row>"]]
    assert redacted({"message": message, "rows": [row]}) == {
        "message": "<Message>",
        "rows": ["<Row>"],
    }
    assert RAW not in str(redacted({message: 1, row: 2, RAW.encode(): 3, (message, 1): 4}))


def test_an_exception_shows_its_type_and_frames_but_neither_its_text_nor_locals() -> None:
    description = describe(raised(ValueError(RAW)))
    assert description["type"] == "builtins.ValueError"
    assert str(cast("list[str]", description["frames"])[-1]).endswith("_fail")
    assert RAW not in str(description)


def test_the_consumers_own_errors_show_their_text() -> None:
    assert describe(DatabaseError("57P01"))["text"] == "database: 57P01"


def test_causes_and_groups_are_described_without_their_texts() -> None:
    cause = raised(KeyError(RAW))
    group = ExceptionGroup(RAW, [raised(ValueError(RAW))])
    group.__cause__ = cause
    description = describe(group)
    assert RAW not in json.dumps(description)
    assert "KeyError" in json.dumps(description["cause"])
    assert "ValueError" in json.dumps(description["exceptions"])


def test_a_chain_of_exceptions_without_end_is_cut() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert len(json.dumps(describe(first))) < 2000
