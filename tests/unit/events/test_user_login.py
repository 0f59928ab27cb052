"""The version of an app as a number."""

import pytest
from hypothesis import given, strategies as st

from consumer.events.user_login import version_number
from consumer.messages import Reason, ValueRefusedError


@pytest.mark.parametrize(
    ("version", "number"),
    [
        ("0", 0),
        ("3", 3_000_000),
        ("0.96", 96_000),
        ("3.7", 3_007_000),
        ("2.3.0", 2_003_000),
        ("9.10", 9_010_000),
        ("6.02", 6_002_000),
        ("1.12", 1_012_000),
        ("11.2", 11_002_000),
        ("2146.999.999", 2_146_999_999),
    ],
)
def test_a_version_becomes_a_number_that_decodes(version: str, number: int) -> None:
    assert version_number(version) == number
    assert number < 2**31


@pytest.mark.parametrize(
    "version",
    [
        "",
        ".",
        "1.",
        ".1",
        "1..2",
        "1.2.3.4",
        "1.1000",
        "1.2.1000",
        "2147",
        "2147.0.0",
        "99999999999",
        "-1",
        "+1",
        "1.2-beta",
        "v1.2",
        "1,2",
        " 1.2",
        "1.2 ",
        "1.2\n",
        "1_0",
        "1e3",
        "\u0661.2",
        "\u00b2",
    ],
)
def test_a_version_that_does_not_fit_is_refused(version: str) -> None:
    with pytest.raises(ValueRefusedError) as refused:
        version_number(version)
    assert refused.value.reason is Reason.BAD_VERSION


_parts = st.tuples(st.integers(0, 2146), st.integers(0, 999), st.integers(0, 999))


@given(_parts, _parts)
def test_versions_sort_as_their_numbers(
    one: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    numbers = [version_number(".".join(map(str, parts))) for parts in (one, other)]
    assert (one < other) == (numbers[0] < numbers[1])
    assert (one == other) == (numbers[0] == numbers[1])
