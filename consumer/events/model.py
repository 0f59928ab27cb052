"""Events: a class is a schema, and its annotations say what is stored and what is masked.

Another event is another class:

    class Payment(EventModel):
        table: ClassVar[str] = "payments"
        sent_on: ClassVar[str] = "paid_on"
        subject: ClassVar[str] = "account"

        account: Annotated[str, Stored(max_length=64)]
        cents: Annotated[int, Stored()]
        card: Annotated[str | None, Masked(IDENTIFIER, Into("masked_card", Mode.HMAC))]
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import NoneType
from typing import ClassVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from consumer.errors import SettingsError
from consumer.events.table import Column, DuplicatesView, Kind, Table
from consumer.masking.encodings import Encoding
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import MASKED_LENGTH, Mask, Mode, mask_for
from consumer.messages import Reason

_INT4_MAX = 2**31 - 1
_INT4_MIN = -(2**31)
# PostgreSQL cuts longer names without an error (NAMEDATALEN).
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")

_TELLS_EQUALITY = (Mode.SIV, Mode.HMAC)


def _storable(bounded: CoreSchema) -> CoreSchema:
    """The schema with one error for whatever it refuses."""
    return core_schema.custom_error_schema(
        bounded, Reason.NOT_STORABLE.value, custom_error_message="refused"
    )


# Left to pydantic's core: in Python these checks would cost as much as all the other validation.
_INT4 = _storable(core_schema.int_schema(ge=_INT4_MIN, le=_INT4_MAX))
_WITHOUT_NUL = _storable(core_schema.str_schema(pattern=r"^[^\x00]*$"))


@dataclass(frozen=True, slots=True)
class Stored:
    """A field that is stored as it came: `str` needs a `max_length`, `int` is a 4-byte integer.

    `column` is the column's name where it is not the field's. `as_integer` turns a text into the
    number that is stored instead where the table's column is an integer; it raises
    ValueRefusedError. pydantic's `strict`, if a field has it, stands before `Stored`.
    """

    min_length: int = 1
    max_length: int | None = None
    column: str | None = None
    as_integer: Callable[[str], int] | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Refuse in the model what PostgreSQL would refuse, or worse, change."""
        types = get_args(source) or (source,)
        bounds = _INT4 if int in types else self._text()
        if NoneType in types:
            bounds = core_schema.nullable_schema(bounds)
        return core_schema.chain_schema([handler(source), bounds])

    def _text(self) -> CoreSchema:
        length = core_schema.str_schema(min_length=self.min_length, max_length=self.max_length)
        return core_schema.chain_schema([length, _WITHOUT_NUL])


@dataclass(frozen=True, slots=True)
class Into:
    """A column that takes a field's token; an `optional` one is written only where it exists.

    `view` is the name of the view of its repeated tokens where it is not `repeated_<column>`.
    """

    column: str
    mode: Mode = Mode.SIV
    optional: bool = False
    view: str | None = None


@dataclass(frozen=True, slots=True, init=False)
class Masked:
    """A text field that reaches the database only as tokens, in one column or several."""

    encoding: Encoding
    into: tuple[Into, ...]

    def __init__(self, encoding: Encoding, *into: Into) -> None:
        object.__setattr__(self, "encoding", encoding)
        object.__setattr__(self, "into", into)


class EventModel(BaseModel):
    """What every event has in common. Other properties of the JSON object are ignored.

    A field that may be missing is declared `| None` with a default; one that is `| None` alone
    must be there and may be null.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", loc_by_alias=False, hide_input_in_errors=True
    )

    table: ClassVar[str]
    """The table's name."""
    sent_on: ClassVar[str]
    """The column that takes the UTC day of SentTimestamp."""
    subject: ClassVar[str | None] = None
    """The column that says whose event it is, if one does."""

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        """Nothing: an event's fields are raw values, and a repr ends up in a log."""
        return []


def table_of(model: type[EventModel]) -> Table:
    """The table that a model declares, its columns in the order of the fields, the day last.

    Raises:
        SettingsError: the model leaves a field without a column, or names something twice.
    """
    columns = [
        column
        for name, field in model.model_fields.items()
        for column in _columns(model, name, field)
    ]
    columns.append(Column(_declared(model, "sent_on"), (Kind.DATE,), required=True))
    names = [column.name for column in columns]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"{_path(model)}: two fields are stored in column {name}")
        if not _NAME.fullmatch(name):
            raise SettingsError(f"{_path(model)}: {name} is not a column's name ({_NAME.pattern})")
    return Table(_declared(model, "table"), tuple(columns))


def json_name(model: type[EventModel], name: str) -> str:
    """The property of the JSON object that fills the field `name`: its own name, or its alias."""
    alias = model.model_fields[name].validation_alias
    if alias is not None and not isinstance(alias, str):
        raise SettingsError(f"{_path(model)}.{name}: only a plain text can be its alias")
    return alias or name


def storage_of(model: type[EventModel], name: str) -> Stored | Masked:
    """How the field `name` is stored; raises SettingsError unless it is said exactly once."""
    metadata = model.model_fields[name].metadata
    storages = [each for each in metadata if isinstance(each, Stored | Masked)]
    if len(storages) != 1:
        raise SettingsError(f"{_path(model)}.{name}: annotate it with one Stored or one Masked")
    return storages[0]


def masks_of(model: type[EventModel], key_ring: KeyRing) -> Mapping[str, Mask]:
    """The mask of each masked column, by the column's name; optional ones are among them."""
    return {
        into.column: mask_for(
            key_ring, f"{_declared(model, 'table')}.{into.column}", into.mode, storage.encoding
        )
        for name in model.model_fields
        if isinstance(storage := storage_of(model, name), Masked)
        for into in storage.into
    }


def duplicates_views_of(model: type[EventModel]) -> tuple[DuplicatesView, ...]:
    """The views of repeated tokens: one for each column whose equal tokens mean equal values.

    Raises:
        SettingsError: a view's name is not one, or is there twice; `subject` is not a column.
    """
    table = table_of(model)
    if model.subject is not None and model.subject not in {each.name for each in table.columns}:
        raise SettingsError(f"{_path(model)}: subject names no column")
    repeats = tuple(
        DuplicatesView(
            into.view or f"repeated_{into.column}",
            table.name,
            into.column,
            model.sent_on,
            model.subject,
        )
        for into in _all_into(model)
        if into.mode in _TELLS_EQUALITY
    )
    names = [each.view for each in repeats]
    for name in names:
        if not _NAME.fullmatch(name) or names.count(name) > 1:
            raise SettingsError(f"{_path(model)}: {name} is not a view's name, or is there twice")
    return repeats


def masked_columns(model: type[EventModel]) -> tuple[str, ...]:
    """The columns of tokens, in the order of the fields; optional ones are among them."""
    return tuple(into.column for into in _all_into(model))


def siv_columns(model: type[EventModel]) -> Mapping[str, Encoding]:
    """The encoding of each column that is masked with siv, whose tokens tell their own origin."""
    return {
        into.column: storage.encoding
        for name in model.model_fields
        if isinstance(storage := storage_of(model, name), Masked)
        for into in storage.into
        if into.mode is Mode.SIV
    }


def columns_to_recover(model: type[EventModel], name: str = "") -> tuple[str, ...]:
    """The columns that a token may stand in: those of the field `name`, or the column `name`.

    Without a name: those masked with siv, for only siv tells whether a token is its own.

    Raises:
        SettingsError: the model has no such masked field or column.
    """
    if name in model.model_fields and isinstance(masked := storage_of(model, name), Masked):
        columns = tuple(into.column for into in masked.into)
    elif name:
        columns = tuple(into.column for into in _all_into(model) if into.column == name)
    else:
        columns = tuple(siv_columns(model))
    if not columns:
        fault = f"has no masked column {name}" if name else "masks no column with siv: name one"
        raise SettingsError(f"{model.__name__} {fault}")
    return columns


def column_to_search(model: type[EventModel], name: str) -> str:
    """The column of the masked field `name`, or the masked column `name`.

    Raises:
        SettingsError: there is none, it stores nothing, or the field has several columns.
    """
    found = [
        into
        for field in model.model_fields
        if isinstance(storage := storage_of(model, field), Masked)
        for into in storage.into
        if into.column == name or (field == name and not into.optional)
    ]
    match found:
        case [into] if into.mode is not Mode.DROP:
            return into.column
        case []:
            fault = f"has no masked field or column {name}"
        case [into]:
            fault = f"masks {name} with drop, so its values were never stored"
        case _:
            columns = ", ".join(into.column for into in found)
            fault = f"masks {name} into several columns, name one: {columns}"
    raise SettingsError(f"{model.__name__} {fault}")


def _all_into(model: type[EventModel]) -> Iterator[Into]:
    for name in model.model_fields:
        if isinstance(masked := storage_of(model, name), Masked):
            yield from masked.into


def load_model(path: str) -> type[EventModel]:
    """The model that `module:Class` names.

    Raises:
        SettingsError: no such module or class, or it is no EventModel that can be stored.
    """
    module_name, _, class_name = path.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), class_name]):
        raise SettingsError(f'event model {path}: write it as "module:Class"')
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise SettingsError(f"event model {path}: cannot import it: {error}") from error
    model: object = getattr(module, class_name, None)
    if not isinstance(model, type) or not issubclass(model, EventModel) or model is EventModel:
        raise SettingsError(f"event model {path}: {module_name} has no EventModel of this name")
    duplicates_views_of(model)
    return model


def _columns(model: type[EventModel], name: str, field: FieldInfo) -> list[Column]:
    annotation: object = field.annotation
    types = set(get_args(annotation) or (annotation,))
    required = NoneType not in types
    types.discard(NoneType)
    storage = storage_of(model, name)
    if isinstance(storage, Masked):
        if types != {str} or not storage.into:
            raise SettingsError(f"{_path(model)}.{name}: Masked takes str and at least one Into")
        return [
            Column(
                into.column,
                (Kind.TEXT,),
                MASKED_LENGTH,
                required=required and into.mode is not Mode.DROP,
                optional=into.optional,
            )
            for into in storage.into
        ]
    column = storage.column or name
    if types == {int}:
        return [Column(column, (Kind.INTEGER,), required=required)]
    if types != {str} or storage.max_length is None:
        raise SettingsError(f"{_path(model)}.{name}: Stored takes int, or str with a max_length")
    kinds = (Kind.TEXT, Kind.INTEGER) if storage.as_integer else (Kind.TEXT,)
    return [Column(column, kinds, storage.max_length, required=required)]


def _declared(model: type[EventModel], attribute: str) -> str:
    name: object = getattr(model, attribute, None)
    if not isinstance(name, str) or not all(_NAME.fullmatch(part) for part in name.split(".")):
        raise SettingsError(f"{_path(model)}: {attribute} is not declared, or is not a name")
    return name


def _path(model: type[EventModel]) -> str:
    return f"{model.__module__}:{model.__name__}"
