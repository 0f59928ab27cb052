"""The driver's errors and ours."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg
import pytest

from consumer.errors import DatabaseError, DatabaseRefusedError, DataRejectedError
from consumer.postgres.errors import DRIVER_FAILURES, Ends, ends, translated

SECRET = "199.172.111.135"


def failure(sqlstate: str) -> asyncpg.PostgresError:
    return asyncpg.PostgresError.new({"C": sqlstate, "M": f"not {SECRET}", "D": SECRET})


@asynccontextmanager
async def leased() -> AsyncIterator[None]:
    """What cleans up between a statement and its caller."""
    async with AsyncExitStack() as stack:
        stack.enter_context(translated())
        stack.callback(lambda: None)
        yield


@pytest.mark.parametrize(
    "raised", [failure("23514"), failure("XX000"), OSError(SECRET), ValueError(SECRET)]
)
async def test_nothing_of_the_drivers_error_can_be_reached_from_ours(raised: Exception) -> None:
    async def run() -> None:
        async with leased():
            with translated((*DRIVER_FAILURES, ValueError)):
                raise raised

    with pytest.raises(DatabaseError) as caught:
        await run()
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)
    assert SECRET not in f"{caught.value!r} {vars(caught.value)!r}"


def test_what_is_not_the_drivers_passes() -> None:
    with pytest.raises(BrokenPipeError), translated(DRIVER_FAILURES):
        raise BrokenPipeError


@pytest.mark.parametrize(
    ("sqlstate", "error", "ended"),
    [
        ("22012", DataRejectedError, Ends.NONE),
        ("25006", DatabaseError, Ends.ALL),
        ("40P01", DatabaseError, Ends.ITS_OWN),
        ("42P01", DatabaseRefusedError, Ends.ITS_OWN),
        ("57014", DatabaseError, Ends.ITS_OWN),
        ("57P03", DatabaseError, Ends.ALL),
        ("ZZ999", DatabaseError, Ends.ITS_OWN),
    ],
)
def test_the_code_itself_decides_before_its_beginning_and_its_class(
    sqlstate: str, error: type[DatabaseError], ended: Ends
) -> None:
    with pytest.raises(error) as caught, translated():
        raise failure(sqlstate)
    assert ends(caught.value) is ended


def test_a_server_that_did_not_answer_ends_every_connection() -> None:
    assert ends(DatabaseError("ConnectionResetError")) is Ends.ALL


def test_of_classes_22_and_23_these_are_the_state_of_the_database() -> None:
    """Every code that the driver knows; docs/decisions has the reasons."""
    codes = {
        each.sqlstate
        for each in vars(asyncpg.exceptions).values()
        if isinstance(each, type) and issubclass(each, asyncpg.PostgresError) and each.sqlstate
    }
    judged = sorted(code for code in codes if code[:2] in {"22", "23"})
    assert len(judged) > 60
    assert [code for code in judged if not is_of_a_row(code)] == ["2200H", "22P03", "22P05"]


def is_of_a_row(sqlstate: str) -> bool:
    with pytest.raises(DatabaseError) as caught, translated():
        raise failure(sqlstate)
    return isinstance(caught.value, DataRejectedError)
