"""Arrays in the text form that PostgreSQL reads (its documentation, 8.15.2 and 8.15.6)."""

import json
import re
from collections.abc import Sequence

from pydantic_core import PydanticSerializationError, to_json

from consumer.errors import DataRejectedError
from consumer.messages import ColumnValue

_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_NOT_IN_REPERTOIRE = "22021"


def array_literal(values: Sequence[ColumnValue]) -> str:
    r"""The values of a column as one text, to be cast to an array of the column's type.

    A JSON array with braces for its brackets: texts stand in quotes, \" and \\ mean the same, and
    null is NULL unless array_nulls is off, which it is on none of our connections, and which
    `inspect` refuses where PgBouncer does not let us set it. Of other types than those of
    ColumnValue a text column would take the JSON. PostgreSQL pays 1 µs more for a row of nine such
    columns than for arrays in its binary form, but asyncpg takes 4 µs to make these.

    Raises:
        DataRejectedError: a text holds a lone surrogate, which no text of PostgreSQL can.
    """
    try:
        text = to_json(values).decode()
    except PydanticSerializationError:
        text = ""
    if not text:
        raise DataRejectedError(_NOT_IN_REPERTOIRE)
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    return "{" + text[1:-1] + "}"


def _unescaped(escape: re.Match[str]) -> str:
    r"""PostgreSQL takes the character behind a backslash as it is: to it \n would be an n."""
    if escape[0] in ('\\"', "\\\\"):
        return escape[0]
    character: str = json.loads(f'"{escape[0]}"')
    return character
