"""Which column the name of a field or a column stands for."""

from typing import Annotated, ClassVar

import pytest

from consumer.errors import SettingsError
from consumer.events.model import EventModel, Into, Masked, Stored
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import IDENTIFIER
from consumer.masking.mask import Mode
from consumer.officer.recovery.columns import column_to_search, columns_to_recover


class Sale(EventModel):
    table: ClassVar[str] = "sales"
    sent_on: ClassVar[str] = "sold_on"

    cents: Annotated[int, Stored()]
    card: Annotated[str, Masked(IDENTIFIER, Into("masked_card", Mode.HMAC))]
    pin: Annotated[str, Masked(IDENTIFIER, Into("pin", Mode.DROP))]
    phone: Annotated[str, Masked(IDENTIFIER, Into("phone_siv"), Into("phone_mac", Mode.HMAC))]


def test_a_value_is_searched_in_the_column_that_is_named_or_the_only_one_of_its_field() -> None:
    assert column_to_search(UserLogin, "ip") == "masked_ip"
    assert column_to_search(UserLogin, "ip_subnet_masked") == "ip_subnet_masked"
    assert column_to_search(Sale, "card") == "masked_card"
    assert column_to_search(Sale, "phone_mac") == "phone_mac"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cents", "no masked field or column cents"),
        ("sold_on", "no masked field or column sold_on"),
        ("pin", "masks pin with drop, so its values were never stored"),
        ("phone", "into several columns, name one: phone_siv, phone_mac"),
    ],
)
def test_a_value_that_no_column_can_have_says_why(name: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        column_to_search(Sale, name)


def test_tokens_are_recovered_from_each_column_of_the_field_or_from_the_column_named() -> None:
    assert columns_to_recover(UserLogin, "ip") == ("masked_ip", "ip_subnet_masked")
    assert columns_to_recover(UserLogin, "ip_subnet_masked") == ("ip_subnet_masked",)
    assert columns_to_recover(Sale, "phone") == ("phone_siv", "phone_mac")


def test_without_a_name_tokens_are_recovered_from_the_columns_masked_with_siv() -> None:
    assert columns_to_recover(UserLogin) == ("masked_ip", "masked_device_id")
    assert columns_to_recover(Sale) == ("phone_siv",)


class Hashed(EventModel):
    table: ClassVar[str] = "hashed"
    sent_on: ClassVar[str] = "day"

    card: Annotated[str, Masked(IDENTIFIER, Into("masked_card", Mode.HMAC))]


def test_a_name_that_no_masked_column_has_says_so() -> None:
    with pytest.raises(SettingsError, match="Sale has no masked column cents"):
        columns_to_recover(Sale, "cents")
    with pytest.raises(SettingsError, match="Hashed masks no column with siv: name one"):
        columns_to_recover(Hashed)
