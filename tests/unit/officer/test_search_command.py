"""`consumer mask`: the tokens to search for."""

import re
import secrets
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from consumer.cli import cli
from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing

ONE = KeyRing.generate("k1", secrets.token_bytes)
RING = ONE.with_new("k2", secrets.token_bytes).promoted("k2")


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def mask(*arguments: str, stdin: bytes = b"") -> Result:
    variables = {"CONSUMER_MASKING__KEYRING": RING.to_json()}
    return CliRunner().invoke(cli, ("mask", *arguments), input=stdin, env=variables)


def test_the_token_is_the_one_that_rows_have() -> None:
    masks = masks_of(UserLogin, RING)
    ip = masks["masked_ip"]("192.0.2.1")
    device = masks["masked_device_id"]("593-47-5928")
    assert mask("ip", "192.0.2.1").output == f"'{ip}'\n"
    assert mask("masked_ip", "192.0.2.1").output == f"'{ip}'\n"
    assert mask("device_id", "593-47-5928").output == f"'{device}'\n"


def test_all_keys_give_the_tokens_of_before_too_the_primarys_first() -> None:
    before = masks_of(UserLogin, ONE)["masked_ip"]("192.0.2.1")
    shown = mask("ip", "192.0.2.1", "--all-keys").output
    assert re.fullmatch(rf"'k2\.[\w-]+', '{before}'\n", shown)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1.2.3.4", "::ffff:1.2.3.4"),
        ("1.2.3.4", "::FFFF:102:304"),
        ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
    ],
)
def test_the_same_address_written_differently_has_the_same_token(one: str, other: str) -> None:
    for field in ("ip", "ip_subnet_masked"):
        assert mask(field, one).output == mask(field, other).output != ""


def test_lines_of_standard_input_are_values_each_shown_once() -> None:
    shown = mask("ip", "-", stdin=b"192.0.2.1\n::1\r\n\n::ffff:192.0.2.1").output
    assert shown == f"{mask('ip', '192.0.2.1').output.strip()}, {mask('ip', '::1').output}"


def test_a_field_is_its_column_without_the_optional_ones_which_have_their_own_name() -> None:
    assert re.fullmatch(r"'k2\.\d+\.\d+\.\d+\.\d+'\n", mask("ip_subnet_masked", "192.0.2.1").output)


@pytest.mark.parametrize(
    ("arguments", "stdin", "says"),
    [
        (("ip", "10.20.30.400"), b"", "value 1 cannot be masked: bad address"),
        (("ip", "-"), b"::1\n10.20.30.400\n", "value 2 cannot be masked: bad address"),
        (("device_id", "x" * 160), b"", "value 1 cannot be masked: too long"),
        (("device_id", "-"), b"secret\xff\n", "value 1 cannot be masked: not storable"),
        (("ip", "-"), b"\n", "standard input has no value"),
        (("user_id", "secret"), b"", "no masked field or column user_id"),
        (("locale", "secret"), b"", "no masked field or column locale"),
    ],
)
def test_what_has_no_token_is_refused_and_not_shown(
    arguments: tuple[str, str], stdin: bytes, says: str
) -> None:
    refused = mask(*arguments, stdin=stdin)
    assert refused.exit_code == 1
    assert says in refused.output
    for value in (arguments[1], "10.20.30.400", "secret"):
        assert value == "-" or value not in refused.output
