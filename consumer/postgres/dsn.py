"""A DSN's parameters: which of libpq's the driver takes, and which of them we do ourselves.

The driver sends every parameter that it does not know to the server as a setting. The names are
libpq's (PostgreSQL documentation, 32.1.2).
"""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, urlencode

from consumer.errors import DatabaseRefusedError

# The values that ask for what is done anyway, in lower case; any other value is refused.
_DONE_ANYWAY = {
    "channel_binding": {"disable", "prefer"},
    "client_encoding": {"auto", "utf8", "utf-8", "unicode"},
    "gssdelegation": {"0"},
    "gssencmode": {"disable", "prefer"},
    "keepalives": {"1"},
    "load_balance_hosts": {"disable"},
    "min_protocol_version": {"3.0"},
    "sslcertmode": {"allow"},
    "sslcompression": {"0"},
    "sslsni": {"1"},
    "target_session_attrs": {"any", "primary", "read-write"},
}
# We have our own values for these: the TCP keepalive of consumer/runtime.py, and protocol 3.0.
_OURS = {
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "max_protocol_version",
    "tcp_user_timeout",
}
_NOT_DONE = {
    "hostaddr",
    "oauth_client_id",
    "oauth_client_secret",
    "oauth_issuer",
    "oauth_scope",
    "replication",
    "require_auth",
    "requirepeer",
    "requiressl",
    "scram_client_key",
    "scram_server_key",
    "servicefile",
    "sslcrldir",
    "sslkeylogfile",
}
_NAMES = ("application_name", "fallback_application_name")
_CONNECT_TIMEOUT = "connect_timeout"
_WHOLE_NUMBER = re.compile("-?[0-9]+")


@dataclass(frozen=True, slots=True)
class Dsn:
    """A DSN as the driver takes it, and what else it asks for; None is no wish."""

    text: str = field(repr=False)
    application_name: str | None
    connect_timeout_seconds: float | None


def parse_dsn(text: str) -> Dsn:
    """Take out of a DSN what the driver would send to the server by mistake.

    Raises:
        DatabaseRefusedError: a parameter asks for what we do not do.
        ValueError: its parameters are malformed.
    """
    base, _, query = text.partition("?")
    parameters = parse_qsl(query, keep_blank_values=True, strict_parsing=True) if query else []
    passed_on = [(name, value) for name, value in parameters if not _is_ours(name, value)]
    given = dict(parameters)
    return Dsn(
        text=f"{base}?{urlencode(passed_on, quote_via=quote, safe='')}" if passed_on else base,
        application_name=next((given[name] for name in _NAMES if given.get(name)), None),
        connect_timeout_seconds=_seconds(given.get(_CONNECT_TIMEOUT, "0")),
    )


def _is_ours(name: str, value: str) -> bool:
    if name in _NOT_DONE or value.lower() not in _DONE_ANYWAY.get(name, {value.lower()}):
        raise _refusal(name)
    return name in _DONE_ANYWAY or name in _OURS or name in {_CONNECT_TIMEOUT, *_NAMES}


def _seconds(value: str) -> float | None:
    """Libpq takes zero, and what is less, as no limit."""
    if not _WHOLE_NUMBER.fullmatch(value):
        raise _refusal(_CONNECT_TIMEOUT)
    return float(value) if float(value) > 0 else None


def _refusal(name: str) -> DatabaseRefusedError:
    advice = f"the DSN's {name} asks for what this service does not do: remove it"
    return DatabaseRefusedError("ClientConfigurationError", advice)
