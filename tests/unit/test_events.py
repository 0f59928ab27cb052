import os
import sys
from datetime import UTC, datetime
from types import ModuleType
from typing import Annotated, ClassVar

import pytest
from hypothesis import given, strategies as st
from pydantic import AliasChoices, Field, ValidationError

from consumer.errors import SettingsError
from consumer.events.model import (
    EventModel,
    Into,
    Masked,
    Stored,
    column_to_search,
    json_name,
    load_model,
    masks_of,
    table_of,
)
from consumer.events.table import Column, Kind, Table
from consumer.events.user_login import UserLogin, version_number
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mode
from consumer.messages import Reason, ValueRefusedError


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
            Column("ip", (Kind.TEXT,), 256, required=True),
            Column("ip_net", (Kind.TEXT,), 256, required=True, optional=True),
            Column("card", (Kind.TEXT,), 256),
            Column("sold_on", (Kind.DATE,), required=True),
        ),
    )


def test_an_event_shows_no_value_in_its_repr() -> None:
    event = Sale(buyer="Ada", cents=1, ip="199.172.111.135")
    assert "199.172.111.135" not in f"{event!r} {event}"


@pytest.mark.parametrize("cents", [2**31 - 1, -(2**31)])
def test_an_integer_of_four_bytes_is_taken(cents: int) -> None:
    assert Sale(buyer="Ada", cents=cents, ip="::1").cents == cents


@pytest.mark.parametrize("cents", ["2147483648", "-2147483649", "true", "1.0", '"1"', "null"])
def test_what_postgres_would_change_or_refuse_as_an_integer_is_refused(cents: str) -> None:
    with pytest.raises(ValidationError):
        Sale.model_validate_json(f'{{"buyer": "Ada", "cents": {cents}, "ip": "::1"}}')


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


class _Unsaid(Sale):
    more: str


class _Twice(Sale):
    more: Annotated[str, Stored(max_length=1), Masked(ADDRESS, Into("m"))]


class _SameColumn(Sale):
    more: Annotated[str, Stored(max_length=1, column="cents")]


class _SameDay(Sale):
    sold_on: Annotated[str, Stored(max_length=1)]


class _NoLength(Sale):
    more: Annotated[str, Stored()]


class _NoInto(Sale):
    more: Annotated[str, Masked(ADDRESS)]


class _MaskedNumber(Sale):
    more: Annotated[int, Masked(ADDRESS, Into("m"))]


class _Fraction(Sale):
    more: Annotated[float, Stored()]


class _Moment(Sale):
    more: Annotated[datetime, Stored()] = datetime(2026, 1, 1, tzinfo=UTC)


class _BadName(Sale):
    more: Annotated[str, Stored(max_length=1, column='x"; --')]


class _LongName(Sale):
    more: Annotated[str, Stored(max_length=1, column="x" * 64)]


class _NoTable(EventModel):
    more: Annotated[str, Stored(max_length=1)]


class _BadTable(Sale):
    table: ClassVar[str] = "Sales"


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (_Unsaid, "_Unsaid.more: annotate it with one Stored or one Masked"),
        (_Twice, "annotate it with one Stored or one Masked"),
        (_SameColumn, "two fields are stored in column cents"),
        (_SameDay, "two fields are stored in column sold_on"),
        (_NoLength, "str with a max_length"),
        (_NoInto, "at least one Into"),
        (_MaskedNumber, "Masked takes str"),
        (_Fraction, "Stored takes int"),
        (_Moment, "Stored takes int"),
        (_BadName, "is not a column's name"),
        (_LongName, "is not a column's name"),
        (_NoTable, "sent_on is not declared"),
        (_BadTable, "table is not declared, or is not a name"),
    ],
)
def test_a_model_that_cannot_be_stored_says_why(model: type[EventModel], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        table_of(model)


class _Aliased(Sale):
    more: Annotated[str, Stored(max_length=1), Field(alias="x.y")]


class _AliasedTwice(Sale):
    more: Annotated[str, Stored(max_length=1), Field(validation_alias=AliasChoices("x", "y"))]


def test_a_field_is_filled_by_its_name_or_its_alias() -> None:
    assert json_name(_Aliased, "more") == "x.y"
    assert json_name(_Aliased, "cents") == "cents"
    with pytest.raises(SettingsError, match="only a plain text can be its alias"):
        json_name(_AliasedTwice, "more")


def test_every_masked_column_has_a_mask_of_its_own() -> None:
    masks = masks_of(Sale, KeyRing.generate("k1", os.urandom))
    assert set(masks) == {"ip", "ip_net", "card"}
    tokens = {mask("192.0.2.1") for mask in masks.values()}
    assert len(tokens) == 3


class _Withheld(Sale):
    pin: Annotated[str, Masked(IDENTIFIER, Into("pin", Mode.DROP))]
    phone: Annotated[str, Masked(IDENTIFIER, Into("phone_siv"), Into("phone_mac", Mode.HMAC))]


def test_a_value_is_searched_in_the_column_that_is_named_or_the_only_one_of_its_field() -> None:
    assert column_to_search(UserLogin, "ip") == "masked_ip"
    assert column_to_search(UserLogin, "ip_subnet_masked") == "ip_subnet_masked"
    assert column_to_search(Sale, "card") == "card"
    assert column_to_search(_Withheld, "phone_mac") == "phone_mac"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cents", "no masked field or column cents"),
        ("buyer_name", "no masked field or column buyer_name"),
        ("pin", "masks pin with drop, so its values were never stored"),
        ("phone", "into several columns, name one: phone_siv, phone_mac"),
    ],
)
def test_a_value_that_no_column_can_have_says_why(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        column_to_search(_Withheld, name)


def test_a_model_is_loaded_by_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("shop_events")
    vars(module).update(Sale=Sale, Unsaid=_Unsaid, number=1)
    monkeypatch.setitem(sys.modules, "shop_events", module)
    assert load_model("consumer.events.user_login:UserLogin") is UserLogin
    assert load_model("shop_events:Sale") is Sale
    with pytest.raises(SettingsError, match="annotate it"):
        load_model("shop_events:Unsaid")
    with pytest.raises(SettingsError, match="shop_events has no EventModel of this name"):
        load_model("shop_events:number")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "module:Class"),
        ("consumer.events.model", "module:Class"),
        (":UserLogin", "module:Class"),
        ("consumer.events.model:", "module:Class"),
        ("consumer.events.model:User.Login", "module:Class"),
        ("consumer.nowhere:UserLogin", "cannot import it"),
        (".events:UserLogin", "module:Class"),
        ("consumer.events.model:Nothing", "has no EventModel of this name"),
        ("consumer.events.model:EventModel", "has no EventModel of this name"),
        ("consumer.events.model:table_of", "has no EventModel of this name"),
        ("consumer.events.table:Table", "has no EventModel of this name"),
    ],
)
def test_a_path_that_names_no_model_says_why(path: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        load_model(path)
