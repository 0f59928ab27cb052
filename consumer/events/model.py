"""Event models: a class declares an event, its table, what is stored and what is masked.

An event of your own is a class of your own:

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
from functools import cache
from types import NoneType, UnionType
from typing import ClassVar, Union, get_args, get_origin

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

# A large body is read by the names of the properties alone: see EventModel.
_FIXED_CONFIG = ("extra", "loc_by_alias", "populate_by_name", "validate_by_name")
_MODES_WITH_EQUAL_TOKENS = (Mode.SIV, Mode.HMAC)


def _not_storable_unless(bounds: CoreSchema) -> CoreSchema:
    return core_schema.custom_error_schema(
        bounds, Reason.NOT_STORABLE.value, custom_error_message="refused"
    )


# In pydantic's core, because in Python these checks cost as much as all the other validation.
_INT4 = _not_storable_unless(core_schema.int_schema(ge=_INT4_MIN, le=_INT4_MAX))
_WITHOUT_NUL = _not_storable_unless(core_schema.str_schema(pattern=r"^[^\x00]*$"))


@dataclass(frozen=True, slots=True)
class Stored:
    """A field that is stored as sent: a `str` needs a `max_length`, an `int` has 4 bytes.

    `column` is the column's name, by default the field's. Where the table has an integer column
    for a text field, `as_integer` converts the text; it raises ValueRefusedError. pydantic's
    `Strict`, if a field has one, is annotated before `Stored`.
    """

    min_length: int = 1
    max_length: int | None = None
    column: str | None = None
    as_integer: Callable[[str], int] | None = None

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Refuse in the model what PostgreSQL would refuse or change."""
        types = _union_members(source)
        bounds = _INT4 if int in types else self._text_bounds()
        if NoneType in types:
            bounds = core_schema.nullable_schema(bounds)
        return core_schema.chain_schema([handler(source), bounds])

    def _text_bounds(self) -> CoreSchema:
        length = core_schema.str_schema(min_length=self.min_length, max_length=self.max_length)
        return core_schema.chain_schema([length, _WITHOUT_NUL])


@dataclass(frozen=True, slots=True)
class Into:
    """A column that takes a field's token; an `optional` one is written only if it exists.

    `view` names the view of its repeated tokens, by default `repeated_<column>`.
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
    """The base of every event. Other properties of the JSON object are ignored.

    A field that may be missing is declared `| None` with a default; one that is `| None` alone
    must be present and may be null.

    A validator of yours sees a large body reduced: the model's own properties alone, and an empty
    array where one of them holds an array or an object.
    """

    model_config = ConfigDict(
        strict=True, frozen=True, extra="ignore", loc_by_alias=False, hide_input_in_errors=True
    )

    table: ClassVar[str]
    """The table's name."""
    sent_on: ClassVar[str]
    """The column that takes the UTC day of SentTimestamp."""
    subject: ClassVar[str | None] = None
    """The column with the user whose event it is, if there is one."""

    def __repr_args__(self) -> list[tuple[str | None, object]]:
        """Nothing: an event's fields are raw values, and a repr ends up in a log."""
        return []


@dataclass(frozen=True, slots=True)
class FieldColumn:
    """A column that is filled from `field`, the property `json_name` of the JSON object."""

    field: str
    json_name: str
    definition: Column

    @property
    def column(self) -> str:
        """The column's name."""
        return self.definition.name


@dataclass(frozen=True, slots=True)
class StoredColumn(FieldColumn):
    """A column of values: as sent, or converted by `as_integer` if it is an integer column."""

    as_integer: Callable[[str], int] | None


@dataclass(frozen=True, slots=True)
class MaskedColumn(FieldColumn):
    """A column of tokens. `view` is its view of repeated tokens, None if equality tells nothing."""

    table: str
    mode: Mode
    encoding: Encoding
    view: str | None

    @property
    def qualified_name(self) -> str:
        """`table.column`: what the column's keys are derived for."""
        return f"{self.table}.{self.column}"

    def mask(self, key_ring: KeyRing) -> Mask:
        """What masks the field's values for this column."""
        return mask_for(key_ring, self.qualified_name, self.mode, self.encoding)


@cache
def columns_of(model: type[EventModel]) -> tuple[StoredColumn | MaskedColumn, ...]:
    """The columns that are filled from fields, in the order of the fields; optional ones too.

    Raises:
        SettingsError: a field cannot be stored as it is declared; the text names it.
    """
    return tuple(
        column
        for name, info in model.model_fields.items()
        for column in _columns_of_field(model, name, info)
    )


def tokens_of(model: type[EventModel]) -> tuple[MaskedColumn, ...]:
    """The columns of tokens, in the order of the fields; optional ones too."""
    return tuple(each for each in columns_of(model) if isinstance(each, MaskedColumn))


def masks_of(model: type[EventModel], key_ring: KeyRing) -> Mapping[str, Mask]:
    """The mask of each column of tokens, by the column's name."""
    return {token.column: token.mask(key_ring) for token in tokens_of(model)}


def table_of(model: type[EventModel]) -> Table:
    """The table that a model declares, its columns in the order of the fields, the day last.

    Raises:
        SettingsError: a field cannot be stored as it is declared, or a name is wrong or taken.
    """
    day = _declared(model, "sent_on")
    taken_by: dict[str, str] = {day: "sent_on"}
    for each in columns_of(model):
        where = f"{_path(model)}.{each.field}"
        if not _NAME.fullmatch(each.column):
            raise SettingsError(f"{where}: {each.column} is not a column name ({_NAME.pattern})")
        if each.column in taken_by:
            raise SettingsError(
                f"{where}: column {each.column} is taken by {taken_by[each.column]}"
            )
        taken_by[each.column] = each.field
    definitions = [each.definition for each in columns_of(model)]
    return Table(
        _declared(model, "table"), (*definitions, Column(day, (Kind.DATE,), required=True))
    )


def duplicates_views_of(model: type[EventModel]) -> tuple[DuplicatesView, ...]:
    """The views of repeated tokens: one for each column whose equal tokens mean equal values.

    Raises:
        SettingsError: a view's name is wrong or taken, or `subject` names no column.
    """
    table = table_of(model)
    if model.subject not in {None, *(each.column for each in columns_of(model))}:
        raise SettingsError(f"{_path(model)}: subject names no column")
    views: dict[str, DuplicatesView] = {}
    for token in tokens_of(model):
        if token.view is None:
            continue
        if not _NAME.fullmatch(token.view) or token.view in views:
            raise SettingsError(
                f"{_path(model)}.{token.field}: {token.view} is not a view name, or is taken"
            )
        views[token.view] = DuplicatesView(
            token.view, table.name, token.column, model.sent_on, model.subject
        )
    return tuple(views.values())


def check_model(model: type[EventModel]) -> None:
    """Check all that can be wrong with a model before a message comes.

    Raises:
        SettingsError: as of `table_of` and `duplicates_views_of`; or an annotation is undefined,
            or the model changes how the JSON object is read.
    """
    if not model.__pydantic_complete__ and not model.model_rebuild(raise_errors=False):
        raise SettingsError(f"{_path(model)}: an annotation names what is not defined")
    for key in _FIXED_CONFIG:
        if model.model_config.get(key) != EventModel.model_config.get(key):
            raise SettingsError(f"{_path(model)}: model_config must leave {key} as it is")
    duplicates_views_of(model)


def _columns_of_field(
    model: type[EventModel], name: str, info: FieldInfo
) -> Iterator[StoredColumn | MaskedColumn]:
    where = f"{_path(model)}.{name}"
    storages = [each for each in info.metadata if isinstance(each, Stored | Masked)]
    if len(storages) != 1:
        raise SettingsError(f"{where}: annotate it with one Stored or one Masked")
    json_name = info.validation_alias or name
    if not isinstance(json_name, str):
        raise SettingsError(f"{where}: its alias must be one plain text")
    types = _union_members(info.annotation)
    required = NoneType not in types
    (storage,) = storages
    match storage:
        case Masked(encoding, into):
            if types - {NoneType} != {str} or not into:
                raise SettingsError(f"{where}: Masked takes a str and at least one Into")
            for each in into:
                yield _masked_column(model, each, encoding, name, json_name, required=required)
        case Stored():
            definition = _stored_definition(storage, name, types - {NoneType}, required=required)
            if definition is None:
                raise SettingsError(f"{where}: Stored takes an int, or a str with a max_length")
            yield StoredColumn(name, json_name, definition, storage.as_integer)


def _masked_column(
    model: type[EventModel],
    into: Into,
    encoding: Encoding,
    field: str,
    json_name: str,
    *,
    required: bool,
) -> MaskedColumn:
    definition = Column(
        into.column,
        (Kind.TEXT,),
        MASKED_LENGTH,
        required=required and into.mode is not Mode.DROP,
        optional=into.optional,
    )
    view = into.view or f"repeated_{into.column}"
    return MaskedColumn(
        field,
        json_name,
        definition,
        table=_declared(model, "table"),
        mode=into.mode,
        encoding=encoding,
        view=view if into.mode in _MODES_WITH_EQUAL_TOKENS else None,
    )


def _stored_definition(
    storage: Stored, field: str, types: frozenset[object], *, required: bool
) -> Column | None:
    """The column of a stored field; None if there is no column for its type."""
    name = storage.column or field
    if types == {int}:
        return Column(name, (Kind.INTEGER,), required=required)
    if types != {str} or storage.max_length is None:
        return None
    kinds = (Kind.TEXT, Kind.INTEGER) if storage.as_integer else (Kind.TEXT,)
    return Column(name, kinds, storage.max_length, required=required)


def _union_members(annotation: object) -> frozenset[object]:
    """The types of `str | None`; of `str` or `list[str]` the type itself."""
    is_union = get_origin(annotation) in (Union, UnionType)
    return frozenset(get_args(annotation) if is_union else (annotation,))


def _declared(model: type[EventModel], attribute: str) -> str:
    name: object = getattr(model, attribute, None)
    if not isinstance(name, str) or not all(_NAME.fullmatch(part) for part in name.split(".")):
        raise SettingsError(f"{_path(model)}: {attribute} is not declared, or is not a name")
    return name


def _path(model: type[EventModel]) -> str:
    return f"{model.__module__}:{model.__name__}"
