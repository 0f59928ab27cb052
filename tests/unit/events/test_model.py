import os
import re
from datetime import UTC, datetime
from typing import Annotated, ClassVar

import pytest
from pydantic import AliasChoices, AliasPath, ConfigDict, Field, ValidationError

from consumer.errors import SettingsError
from consumer.events.model import (
    EventModel,
    Into,
    Masked,
    Stored,
    check_model,
    columns_of,
    duplicates_views_of,
    masks_of,
    table_of,
    tokens_of,
)
from consumer.events.table import Column, DuplicatesView, Kind, Table
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import MASKED_LENGTH, Mode


class Sale(EventModel):
    table: ClassVar[str] = "shop.sales"
    sent_on: ClassVar[str] = "sold_on"

    buyer: Annotated[str, Stored(max_length=64, column="buyer_name")]
    cents: Annotated[int, Stored()]
    ip: Annotated[str, Masked(ADDRESS, Into("ip"), Into("ip_net", Mode.IPCRYPT_PFX, optional=True))]
    card: Annotated[str | None, Masked(IDENTIFIER, Into("card", Mode.HMAC))] = None


def test_the_table_of_user_logins_is_the_analysts() -> None:
    assert table_of(UserLogin) == Table(
        "user_logins",
        (
            Column("user_id", (Kind.TEXT,), 128, required=True),
            Column("device_type", (Kind.TEXT,), 32, required=True),
            Column("masked_ip", (Kind.TEXT,), 256),
            Column("ip_subnet_masked", (Kind.TEXT,), 256, optional=True),
            Column("masked_device_id", (Kind.TEXT,), 256),
            Column("locale", (Kind.TEXT,), 32),
            Column("app_version", (Kind.TEXT, Kind.INTEGER), 32, required=True),
            Column("create_date", (Kind.DATE,), required=True),
        ),
    )


def test_another_events_table_follows_from_its_annotations() -> None:
    assert table_of(Sale) == Table(
        "shop.sales",
        (
            Column("buyer_name", (Kind.TEXT,), 64, required=True),
            Column("cents", (Kind.INTEGER,), required=True),
            Column("ip", (Kind.TEXT,), MASKED_LENGTH, required=True),
            Column("ip_net", (Kind.TEXT,), MASKED_LENGTH, required=True, optional=True),
            Column("card", (Kind.TEXT,), MASKED_LENGTH),
            Column("sold_on", (Kind.DATE,), required=True),
        ),
    )


def test_an_event_shows_no_value_in_its_repr() -> None:
    event = Sale(buyer="Ada", cents=1, ip="199.172.111.135")
    assert "199.172.111.135" not in f"{event!r} {event}"


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Sale(buyer="Ada", cents=1, ip="::1").cents = 2  # type: ignore[misc] # the point


def test_the_error_of_an_invalid_event_shows_no_value() -> None:
    with pytest.raises(ValidationError) as refused:
        Sale.model_validate_json('{"buyer": "Ada", "cents": "199.172.111.135", "ip": "::1"}')
    assert "199.172.111.135" not in str(refused.value)


@pytest.mark.parametrize("cents", [2**31 - 1, -(2**31)])
def test_an_integer_of_four_bytes_is_taken(cents: int) -> None:
    assert Sale(buyer="Ada", cents=cents, ip="::1").cents == cents


@pytest.mark.parametrize("cents", ["2147483648", "-2147483649", "true", "1.0", '"1"', "null"])
def test_what_postgres_would_change_or_refuse_as_an_integer_is_refused(cents: str) -> None:
    with pytest.raises(ValidationError):
        Sale.model_validate_json(f'{{"buyer": "Ada", "cents": {cents}, "ip": "::1"}}')


class _Unsaid(Sale):
    more: str


class _Twice(Sale):
    more: Annotated[str, Stored(max_length=1), Masked(ADDRESS, Into("m"))]


class _SameColumn(Sale):
    more: Annotated[str, Stored(max_length=1, column="cents")]


class _SameToken(Sale):
    more: Annotated[str, Masked(IDENTIFIER, Into("m"), Into("m", Mode.HMAC))]


class _SameDay(Sale):
    sold_on: Annotated[str, Stored(max_length=1)]


class _NoLength(Sale):
    more: Annotated[str, Stored()]


class _NoInto(Sale):
    more: Annotated[str, Masked(ADDRESS)]


class _MaskedNumber(Sale):
    more: Annotated[int, Masked(ADDRESS, Into("m"))]


class _MaskedTexts(Sale):
    more: Annotated[list[str], Masked(ADDRESS, Into("m"))]


class _Fraction(Sale):
    more: Annotated[float, Stored()]


class _Flag(Sale):
    more: Annotated[bool, Stored()]


class _Texts(Sale):
    more: Annotated[list[str], Stored(max_length=1)]


class _Numbers(Sale):
    more: Annotated[tuple[int], Stored()]


class _TextOrNumber(Sale):
    more: Annotated[str | int, Stored(max_length=1)]


class _Moment(Sale):
    more: Annotated[datetime, Stored()] = datetime(2026, 1, 1, tzinfo=UTC)


class _BadName(Sale):
    more: Annotated[str, Stored(max_length=1, column='x"; --')]


class _LongName(Sale):
    more: Annotated[str, Stored(max_length=1, column="x" * 64)]


class _SeveralAliases(Sale):
    more: Annotated[str, Stored(max_length=1), Field(validation_alias=AliasChoices("x", "y"))]


class _NestedAlias(Sale):
    more: Annotated[str, Stored(max_length=1), Field(validation_alias=AliasPath("x", "y"))]


class _NoTable(EventModel):
    more: Annotated[str, Stored(max_length=1)]


class _BadTable(Sale):
    table: ClassVar[str] = "Sales"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_Unsaid, "_Unsaid.more: annotate it with one Stored or one Masked"),
        (_Twice, "_Twice.more: annotate it with one Stored or one Masked"),
        (_SameColumn, "_SameColumn.more: column cents is taken by cents"),
        (_SameToken, "_SameToken.more: column m is taken by more"),
        (_SameDay, "_SameDay.sold_on: column sold_on is taken by sent_on"),
        (_NoLength, "_NoLength.more: Stored takes an int, or a str with a max_length"),
        (_NoInto, "_NoInto.more: Masked takes a str and at least one Into"),
        (_MaskedNumber, "_MaskedNumber.more: Masked takes a str"),
        (_MaskedTexts, "_MaskedTexts.more: Masked takes a str"),
        (_Fraction, "_Fraction.more: Stored takes an int"),
        (_Flag, "_Flag.more: Stored takes an int"),
        (_Texts, "_Texts.more: Stored takes an int"),
        (_Numbers, "_Numbers.more: Stored takes an int"),
        (_TextOrNumber, "_TextOrNumber.more: Stored takes an int"),
        (_Moment, "_Moment.more: Stored takes an int"),
        (_BadName, '_BadName.more: x"; -- is not a column name'),
        (_LongName, "is not a column name"),
        (_SeveralAliases, "_SeveralAliases.more: its alias must be one plain text"),
        (_NestedAlias, "_NestedAlias.more: its alias must be one plain text"),
        (_NoTable, "sent_on is not declared"),
        (_BadTable, "table is not declared, or is not a name"),
    ],
)
def test_a_model_that_cannot_be_stored_says_which_field_is_wrong(
    model: type[EventModel], says: str
) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)) as refused:
        table_of(model)
    assert "\n" not in str(refused.value)


class _Aliased(Sale):
    more: Annotated[str, Stored(max_length=1), Field(alias="x.y")]


def test_a_column_knows_its_field_and_the_property_that_fills_it() -> None:
    names = [(each.column, each.field, each.json_name) for each in columns_of(_Aliased)]
    assert names == [
        ("buyer_name", "buyer", "buyer"),
        ("cents", "cents", "cents"),
        ("ip", "ip", "ip"),
        ("ip_net", "ip", "ip"),
        ("card", "card", "card"),
        ("more", "more", "x.y"),
    ]


def test_the_columns_of_tokens_say_how_they_are_masked() -> None:
    tokens = [(each.qualified_name, each.mode, each.encoding) for each in tokens_of(Sale)]
    assert tokens == [
        ("shop.sales.ip", Mode.SIV, ADDRESS),
        ("shop.sales.ip_net", Mode.IPCRYPT_PFX, ADDRESS),
        ("shop.sales.card", Mode.HMAC, IDENTIFIER),
    ]


def test_there_is_a_view_of_each_column_whose_equal_tokens_mean_equal_values() -> None:
    assert duplicates_views_of(Sale) == (
        DuplicatesView("repeated_ip", "shop.sales", "ip", "sold_on"),
        DuplicatesView("repeated_card", "shop.sales", "card", "sold_on"),
    )
    assert [each.view for each in duplicates_views_of(UserLogin)] == [
        "repeated_addresses",
        "repeated_devices",
    ]
    assert {each.subject for each in duplicates_views_of(UserLogin)} == {"user_id"}


class _SameView(Sale):
    more: Annotated[str, Masked(IDENTIFIER, Into("m", view="repeated_ip"))]


class _BadView(Sale):
    more: Annotated[str, Masked(IDENTIFIER, Into("m", view="Repeated"))]


class _NoSubject(Sale):
    subject: ClassVar[str] = "buyer"


class _DayForSubject(Sale):
    subject: ClassVar[str] = "sold_on"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_SameView, "_SameView.more: repeated_ip is not a view name, or is taken"),
        (_BadView, "_BadView.more: Repeated is not a view name, or is taken"),
        (_NoSubject, "_NoSubject: subject names no column"),
        (_DayForSubject, "_DayForSubject: subject names no column"),
    ],
)
def test_a_model_whose_views_cannot_be_made_says_why(model: type[EventModel], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        duplicates_views_of(model)


def test_every_masked_column_has_a_mask_of_its_own() -> None:
    masks = masks_of(Sale, KeyRing.generate("k1", os.urandom))
    assert set(masks) == {"ip", "ip_net", "card"}
    tokens = {mask("192.0.2.1") for mask in masks.values()}
    assert len(tokens) == 3


class _Strict(Sale):
    model_config = ConfigDict(extra="forbid")


class _ByName(Sale):
    model_config = ConfigDict(validate_by_name=True)


class _Undefined(Sale):
    more: Annotated["Nowhere", Stored(max_length=1)]  # type: ignore[name-defined] # noqa: F821 the point


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_Texts, "_Texts.more: Stored takes an int"),
        (_SameView, "is not a view name, or is taken"),
        (_Strict, "_Strict: model_config must leave extra as it is"),
        (_ByName, "_ByName: model_config must leave validate_by_name as it is"),
        (_Undefined, "_Undefined: an annotation names what is not defined"),
    ],
)
def test_all_that_is_wrong_with_a_model_is_said_before_a_message_comes(
    model: type[EventModel], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        check_model(model)


def test_a_model_that_can_be_stored_passes() -> None:
    for model in (UserLogin, Sale, _Aliased):
        check_model(model)
