"""What becomes of a DSN's parameters."""

import pytest

from consumer.errors import DatabaseRefusedError
from consumer.postgres.dsn import parse_dsn

BASE = "postgresql://u:p%2Fw@a.example:5432,b.example/logins"


def test_a_dsn_without_parameters_is_passed_on_as_it_is() -> None:
    dsn = parse_dsn(BASE)
    assert (dsn.text, dsn.application_name, dsn.connect_timeout_seconds) == (BASE, None, None)


def test_what_the_driver_and_the_server_know_is_passed_on() -> None:
    text = f"{BASE}?sslmode=verify-full&sslrootcert=%2Fca.pem&search_path=a%2Cb&options=-c%20x%3D1"
    assert parse_dsn(text).text == text


def test_what_libpq_calls_what_we_do_is_left_out() -> None:
    given = (
        "connect_timeout=7&application_name=mine&keepalives=1&keepalives_idle=30&gssencmode=prefer"
        "&channel_binding=prefer&load_balance_hosts=disable&client_encoding=UTF8&sslmode=require"
        "&target_session_attrs=read-write&tcp_user_timeout=9000&fallback_application_name=other"
    )
    dsn = parse_dsn(f"{BASE}?{given}")
    assert dsn.text == f"{BASE}?sslmode=require"
    assert (dsn.application_name, dsn.connect_timeout_seconds) == ("mine", 7.0)


def test_a_name_to_fall_back_on_is_a_name() -> None:
    assert parse_dsn(f"{BASE}?fallback_application_name=other").application_name == "other"


@pytest.mark.parametrize("never", ["0", "-1"])
def test_a_timeout_that_never_ends_leaves_ours(never: str) -> None:
    assert parse_dsn(f"{BASE}?connect_timeout={never}").connect_timeout_seconds is None


@pytest.mark.parametrize(
    "parameter",
    [
        "channel_binding=require",
        "client_encoding=LATIN1",
        "connect_timeout=soon",
        "gssencmode=require",
        "hostaddr=10.0.0.1",
        "keepalives=0",
        "load_balance_hosts=random",
        "require_auth=scram-sha-256",
        "scram_client_key=hidden",
        "target_session_attrs=read-only",
    ],
)
def test_what_we_do_not_do_is_refused_by_its_name_alone(parameter: str) -> None:
    name, value = parameter.split("=")
    with pytest.raises(DatabaseRefusedError) as caught:
        parse_dsn(f"{BASE}?sslmode=require&{parameter}")
    assert f"the DSN's {name} " in str(caught.value)
    assert value not in str(caught.value).replace(name, "")
