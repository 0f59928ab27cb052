from collections.abc import Callable

import pytest

from devkit.sqs.errors import SqsError
from devkit.sqs.parameters import (
    Json,
    Parameters,
    inner_list_of,
    inner_map_of,
    optional_text_of,
    text_map_of,
    texts_of,
)

_Read = Callable[[Parameters, str], object]


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (optional_text_of, "a"),
        (texts_of, ["a", "b"]),
        (text_map_of, {"a": "b"}),
        (inner_list_of, [{"a": 1}, {}]),
        (inner_map_of, {"a": {"b": 1}}),
    ],
)
def test_a_parameter_is_read_as_it_is(read: _Read, value: Json) -> None:
    assert read({"P": value}, "P") == value


@pytest.mark.parametrize(
    ("read", "nothing"),
    [
        (optional_text_of, None),
        (texts_of, []),
        (text_map_of, {}),
        (inner_list_of, []),
        (inner_map_of, {}),
    ],
)
def test_a_parameter_may_be_missing_or_null(read: _Read, nothing: object) -> None:
    assert read({}, "P") == read({"P": None}, "P") == nothing


@pytest.mark.parametrize(
    ("read", "value"),
    [
        (optional_text_of, 1),
        (texts_of, "a"),
        (texts_of, ["a", 1]),
        (text_map_of, ["a"]),
        (text_map_of, {"a": "b", "c": None}),
        (inner_list_of, {"a": {}}),
        (inner_list_of, [{}, "a"]),
        (inner_map_of, [{}]),
        (inner_map_of, {"a": {}, "b": "c"}),
    ],
)
def test_a_parameter_of_another_shape_is_refused_whole(read: _Read, value: Json) -> None:
    with pytest.raises(SqsError, match="parameter P is of the wrong type"):
        read({"P": value}, "P")
