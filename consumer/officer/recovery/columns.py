"""Which columns a masked field, or the name of a column, stands for."""

from consumer.errors import SettingsError
from consumer.events.model import EventModel, tokens_of
from consumer.masking.mask import Mode


def columns_to_recover(model: type[EventModel], name: str = "") -> tuple[str, ...]:
    """The columns that a token may come from: those of the field `name`, or the column `name`.

    Without a name: the columns masked with siv, because only siv authenticates its tokens.

    Raises:
        SettingsError: the model has no such masked field or column.
    """
    tokens = tokens_of(model)
    if not name:
        found = [token for token in tokens if token.mode is Mode.SIV]
        fault = "masks no column with siv: name one"
    else:
        found = [token for token in tokens if token.field == name]
        found = found or [token for token in tokens if token.column == name]
        fault = f"has no masked column {name}"
    if not found:
        raise SettingsError(f"{model.__name__} {fault}")
    return tuple(token.column for token in found)


def column_to_search(model: type[EventModel], name: str) -> str:
    """The column of the masked field `name`, or the masked column `name`.

    Raises:
        SettingsError: there is none, it stores nothing, or the field has several columns.
    """
    found = [
        token
        for token in tokens_of(model)
        if token.column == name or (token.field == name and not token.definition.optional)
    ]
    match found:
        case [token] if token.mode is not Mode.DROP:
            return token.column
        case []:
            fault = f"has no masked field or column {name}"
        case [token]:
            fault = f"masks {name} with drop, so its values were never stored"
        case _:
            columns = ", ".join(token.column for token in found)
            fault = f"masks {name} into several columns, name one: {columns}"
    raise SettingsError(f"{model.__name__} {fault}")
