"""The settings: where they come from, what goes over what, and what is refused."""

import itertools
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from pydantic import ValidationError

from consumer.errors import SettingsError
from consumer.keys.sources import InlineKeys, KeyFile
from consumer.settings.endpoints import (
    connection_settings_of,
    key_source_of,
    queue_address_of,
)
from consumer.settings.loading import load_settings
from consumer.settings.sections import MaskingSettings, Settings

CONFIG_TOML = Path(__file__).parents[2] / "config.toml"
SECRET = "s3cret-value-8472"


@pytest.fixture(autouse=True)
def _an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _file(text: str) -> Path:
    path = Path("settings.toml")
    path.write_text(text)
    return path


def _secrets(**files: str) -> dict[str, str]:
    folder = Path("secrets")
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    return {"CONSUMER_SECRETS_DIR": str(folder)}


def _refusal(path: Path | None, environ: Mapping[str, str]) -> list[str]:
    with pytest.raises(SettingsError) as error:
        load_settings(path, environ)
    return str(error.value).splitlines()


def test_without_a_file_or_variables_every_setting_has_its_default() -> None:
    assert load_settings(None, {}) == Settings()


def test_config_toml_names_exactly_the_settings_there_are_with_their_defaults() -> None:
    # An example value behind a comment sign belongs to a setting without a default.
    text = CONFIG_TOML.read_text()
    shown = tomllib.loads(text)
    unset = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE))
    defaults = Settings().model_dump(mode="json")
    assert {section: list(keys) for section, keys in unset.items()} == {
        section: list(keys) for section, keys in defaults.items()
    }
    assert shown == {
        section: {key: value for key, value in keys.items() if value is not None}
        for section, keys in defaults.items()
        if any(value is not None for value in keys.values())
    }


def test_every_setting_in_config_toml_has_a_line_of_why_above_it() -> None:
    lines = CONFIG_TOML.read_text().splitlines()
    for above, line in itertools.pairwise(lines):
        if re.match(r"(# )?\w+ = ", line):
            assert above.startswith("# ")


def test_config_toml_is_read_where_it_stands() -> None:
    Path("config.toml").write_text("[http]\nport = 81")
    assert load_settings(None, {}).http.port == 81


def test_a_variable_goes_over_the_file_and_a_secret_file_over_both() -> None:
    path = _file("[http]\nport = 81\nhost = '::1'\nmax_connections = 7")
    environ = {"CONSUMER_HTTP__PORT": "82", "CONSUMER_HTTP__HOST": "::"}
    http = load_settings(path, environ | _secrets(consumer_http__port="83\n")).http
    assert (http.port, http.host, http.max_connections) == (83, "::", 7)


def test_the_fixed_names_of_variables_are_read() -> None:
    read = load_settings(
        None,
        {
            "CONSUMER_SQS__QUEUE_URL": "http://127.0.0.1:9324/1/queue",
            "CONSUMER_SQS__ENDPOINT_URL": "http://127.0.0.1:9324",
            "CONSUMER_SQS__REGION": "eu-central-1",
            "CONSUMER_POSTGRES__DSN": "postgresql://u:p@h/d",
            "CONSUMER_MASKING__KEYRING": '{"version": 1}',
            "CONSUMER_HTTP__PORT": "9000",
        },
    )
    assert read.sqs.queue_url == "http://127.0.0.1:9324/1/queue"
    assert read.sqs.endpoint_url == "http://127.0.0.1:9324"
    assert read.sqs.region == "eu-central-1"
    assert connection_settings_of(read).dsn == "postgresql://u:p@h/d"
    assert key_source_of(read) == InlineKeys('{"version": 1}')
    assert read.http.port == 9000


def test_the_places_of_a_key_ring_are_read() -> None:
    read = load_settings(None, {"CONSUMER_MASKING__KEYRING_FILE": "ring.json"})
    assert key_source_of(read) == KeyFile(Path("ring.json"))
    path = _file(
        "[masking]\nkeyring_source = 'kms:/run/ring.kms'\nkms_encryption_context = {service = 'a'}"
    )
    assert load_settings(path, {}).masking == MaskingSettings(
        keyring_source="kms:/run/ring.kms", kms_encryption_context={"service": "a"}
    )
    read = load_settings(
        None,
        {
            "CONSUMER_MASKING__KEYRING_SOURCE": "kms:ring.kms",
            "CONSUMER_MASKING__KMS_ENCRYPTION_CONTEXT": '{"service": "a"}',
        },
    )
    assert read.masking.kms_encryption_context == {"service": "a"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keyring = 'x'\nkeyring_file = 'x'", "masking.keyring and masking.keyring_file are set"),
        (
            "keyring_file = 'x'\nkeyring_source = 'kms:x'",
            "masking.keyring_file and masking.keyring_source are set",
        ),
        ("keyring_source = 'vault:x'", "masking.keyring_source: String should match"),
        ("keyring_source = 'kms:'", "masking.keyring_source: String should match"),
        ("kms_encryption_context = {a = 'b'}", "goes with a masking.keyring_source of kms:PATH"),
        (
            "keyring_source = 'secretsmanager:x'\nkms_encryption_context = {a = 'b'}",
            "goes with a masking.keyring_source of kms:PATH",
        ),
        ("keyring_source = 'kms:x'\nkms_encryption_context = {}", "masking.kms_encryption_context"),
        (
            "keyring_source = 'kms:x'\nkms_encryption_context = {a = 1}",
            "masking.kms_encryption_context: Input should be a valid string",
        ),
    ],
)
def test_a_place_of_the_key_ring_that_makes_no_sense_is_refused(text: str, says: str) -> None:
    assert any(says in line for line in _refusal(_file(f"[masking]\n{text}"), {}))


@pytest.mark.parametrize(
    ("require", "names"),
    [
        (lambda read: queue_address_of(read, 20), ("sqs.queue_url", "CONSUMER_SQS__QUEUE_URL")),
        (connection_settings_of, ("postgres.dsn", "CONSUMER_POSTGRES__DSN")),
        (key_source_of, ("masking.keyring_file", "CONSUMER_MASKING__KEYRING_FILE")),
    ],
)
def test_a_setting_that_a_command_needs_and_that_is_unset_is_named_with_its_variable(
    require: Callable[[Settings], object], names: tuple[str, ...]
) -> None:
    with pytest.raises(SettingsError) as error:
        require(load_settings(None, {}))
    assert all(name in str(error.value) for name in names)


def test_an_empty_variable_counts_as_unset() -> None:
    assert load_settings(None, {"CONSUMER_SQS__ENDPOINT_URL": ""}).sqs.endpoint_url is None


def test_unknown_keys_are_refused_wherever_they_stand() -> None:
    path = _file("top = 1\n[flow]\nwriter = 3\n[flaw]\nx = 1")
    environ = {"CONSUMER_SQS_REGION": "x", "CONSUMER_SQS__QUEUE": "x", "CONSUMER_SQS": "{}"}
    secrets = _secrets(consumer_postgres__dns="x")
    assert _refusal(path, environ | secrets) == [
        "CONSUMER_SQS: unknown setting",
        "CONSUMER_SQS_REGION: unknown setting; did you mean sqs.region (CONSUMER_SQS__REGION)?",
        (
            "CONSUMER_SQS__QUEUE: unknown setting;"
            " did you mean sqs.queue_url (CONSUMER_SQS__QUEUE_URL)?"
        ),
        (
            "secrets/consumer_postgres__dns: unknown setting;"
            " did you mean postgres.dsn (CONSUMER_POSTGRES__DSN)?"
        ),
        "settings.toml: flaw: unknown setting",
        (
            "settings.toml: flow.writer: unknown setting;"
            " did you mean flow.writers (CONSUMER_FLOW__WRITERS)?"
        ),
        "settings.toml: top: unknown setting",
    ]


@pytest.mark.parametrize("text", [f'"postgresql://u:{SECRET}@h" = 1', f'[sqs]\n"{SECRET}" = "x"'])
def test_a_value_that_stands_where_a_key_belongs_is_not_shown(text: str) -> None:
    (line,) = _refusal(_file(text), {})
    assert SECRET not in line
    assert line.startswith("settings.toml: ")
    assert "unknown setting" in line


def test_a_section_that_is_no_table_is_refused() -> None:
    (line,) = _refusal(_file("flow = 3"), {"CONSUMER_FLOW__WRITERS": "2"})
    assert line.startswith("settings.toml: flow")


def test_variables_that_kubernetes_sets_for_a_service_called_consumer_are_not_ours() -> None:
    links = {
        "CONSUMER_SERVICE_HOST": "10.0.0.1",
        "CONSUMER_SERVICE_PORT": "8080",
        "CONSUMER_SERVICE_PORT_HTTP": "8080",
        "CONSUMER_PORT": "tcp://10.0.0.1:8080",
        "CONSUMER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "CONSUMER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "CONSUMER_BLUE_SERVICE_HOST": "10.0.0.1",
        "CONSUMER_BLUE_PORT": "tcp://10.0.0.1:8080",
    }
    assert load_settings(None, links) == Settings()


def test_other_programs_secrets_are_not_even_opened() -> None:
    environ = _secrets(consumer_http__port="83")
    Path("secrets/keystore.p12").write_bytes(b"\xff\xfe\x00")
    assert load_settings(None, environ).http.port == 83


def test_wrong_types_are_refused() -> None:
    path = _file("[flow]\nlinger_ms = '7'\nwriters = true\n[http]\nport = 1.5\nhost = 5")
    assert _refusal(path, {"CONSUMER_RETRY__MIN_PAUSE_MS": "soon"}) == [
        "CONSUMER_RETRY__MIN_PAUSE_MS: Input should be a valid integer",
        "settings.toml: flow.linger_ms: Input should be a valid integer",
        "settings.toml: flow.writers: Input should be a valid integer",
        "settings.toml: http.host: Input should be a valid string",
        "settings.toml: http.port: Input should be a valid integer",
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONSUMER_SQS__WAIT_SECONDS", "21"),
        ("CONSUMER_SQS__WAIT_SECONDS", "0"),
        ("CONSUMER_SQS__QUEUE_URL", "login-events"),
        ("CONSUMER_SQS__MAX_POLLERS", "0"),
        ("CONSUMER_FLOW__MAX_IN_FLIGHT_BYTES", "1048575"),
        ("CONSUMER_FLOW__MAX_BATCH_ROWS", "0"),
        ("CONSUMER_POSTGRES__DSN", "mysql://h/d"),
        ("CONSUMER_SQS__POLL_OVERDUE_SECONDS", "0"),
        ("CONSUMER_DRAIN__EMPTY_RECEIVES", "0"),
        ("CONSUMER_DRAIN__WAIT_SECONDS", "21"),
        ("CONSUMER_HTTP__PORT", "65536"),
        ("CONSUMER_LOGS__REPEAT_SECONDS", "0"),
        ("CONSUMER_LOGS__LEVEL", "loud"),
        ("CONSUMER_EVENT__MODEL", "UserLogin"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_its_name(variable: str, value: str) -> None:
    (line,) = _refusal(None, {variable: value})
    assert line.startswith(f"{variable}: ")


@pytest.mark.parametrize(
    ("text", "environ", "line"),
    [
        (
            '[sqs]\ntransport = "aiobotocore"\nprotocol = "query"',
            {},
            (
                "settings.toml: sqs.transport, settings.toml: sqs.protocol:"
                ' sqs.transport "aiobotocore" speaks JSON alone; the query protocol needs "lean"'
            ),
        ),
        (
            "[flow]\nmax_batch_rows = 5000",
            {},
            (
                "settings.toml: flow.max_batch_rows:"
                " flow.max_batch_rows is larger than flow.max_in_flight_messages"
            ),
        ),
        (
            "[flow]\nmax_batch_bytes = 9000000",
            {"CONSUMER_FLOW__MAX_IN_FLIGHT_BYTES": "8000000"},
            (
                "settings.toml: flow.max_batch_bytes, CONSUMER_FLOW__MAX_IN_FLIGHT_BYTES:"
                " flow.max_batch_bytes is larger than flow.max_in_flight_bytes"
            ),
        ),
        (
            "[masking]\nkeyring_file = 'ring.json'",
            {"CONSUMER_MASKING__KEYRING": SECRET},
            (
                "CONSUMER_MASKING__KEYRING, settings.toml: masking.keyring_file:"
                " masking.keyring and masking.keyring_file are set; set one"
            ),
        ),
        (
            "[retry]\nmin_pause_ms = 5000\nmax_pause_seconds = 4",
            {},
            (
                "settings.toml: retry.min_pause_ms, settings.toml: retry.max_pause_seconds:"
                " retry.min_pause_ms is longer than retry.max_pause_seconds"
            ),
        ),
        (
            "[shutdown]\ngrace_seconds = 30",
            {},
            (
                "settings.toml: shutdown.grace_seconds: shutdown.grace_seconds must be longer than"
                " sqs.wait_seconds and shutdown.drain_seconds together, because the last poll may"
                " take its whole wait before the drain begins"
            ),
        ),
    ],
)
def test_a_contradiction_is_refused_with_both_places(
    text: str, environ: dict[str, str], line: str
) -> None:
    assert _refusal(_file(text), environ) == [line]


def test_what_would_contradict_the_file_alone_is_fine_with_the_variable_over_it() -> None:
    path = _file("[flow]\nmax_batch_rows = 5000")
    read = load_settings(path, {"CONSUMER_FLOW__MAX_IN_FLIGHT_MESSAGES": "6000"})
    assert read.flow.max_batch_rows == 5000


def test_secrets_print_as_stars() -> None:
    read = load_settings(
        None,
        {
            "CONSUMER_POSTGRES__DSN": f"postgresql://u:{SECRET}@h/d",
            "CONSUMER_MASKING__KEYRING": SECRET,
        },
    )
    for text in (repr(read), str(read), read.model_dump_json()):
        assert SECRET not in text
        assert "**********" in text


@pytest.mark.parametrize("variable", ["CONSUMER_POSTGRES__DSN", "CONSUMER_SQS__QUEUE_URL"])
def test_a_refusal_never_shows_the_value(variable: str) -> None:
    (line,) = _refusal(None, {variable: SECRET})
    assert SECRET not in line


@hypothesis_settings(max_examples=50)
@given(st.text(min_size=1).map(lambda text: f"{SECRET}{text}"))
def test_no_text_as_a_number_gets_further_than_a_line_without_it(text: str) -> None:
    (line,) = _refusal(None, {"CONSUMER_HTTP__PORT": text})
    assert line == "CONSUMER_HTTP__PORT: Input should be a valid integer"


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"[http\n", "not TOML: "), (b"\xff", "not UTF-8 text"), (b"a = 1\na = 2", "not TOML: ")],
)
def test_a_file_that_cannot_be_parsed_is_named(content: bytes, reason: str) -> None:
    Path("settings.toml").write_bytes(content)
    (line,) = _refusal(Path("settings.toml"), {})
    assert line.startswith(f"settings.toml: {reason}")


def test_a_named_file_has_to_be_there() -> None:
    assert _refusal(Path("nowhere.toml"), {}) == ["nowhere.toml: no such file"]


def test_a_file_that_is_a_folder_is_refused() -> None:
    assert _refusal(Path(), {}) == [".: Is a directory"]


def test_a_named_folder_of_secrets_has_to_be_there() -> None:
    (line,) = _refusal(None, {"CONSUMER_SECRETS_DIR": "nowhere"})
    assert line == "CONSUMER_SECRETS_DIR: nowhere is not a folder"


def test_secret_files_reached_by_links_are_read_as_kubernetes_mounts_them() -> None:
    data = Path("secrets/..2026_01_01")
    data.mkdir(parents=True)
    (data / "consumer_postgres__dsn").write_text("postgresql://h/d\n")
    Path("secrets/..data").symlink_to("..2026_01_01")
    Path("secrets/consumer_postgres__dsn").symlink_to("..data/consumer_postgres__dsn")
    read = load_settings(None, {"CONSUMER_SECRETS_DIR": "secrets"})
    assert connection_settings_of(read).dsn == "postgresql://h/d"


def test_settings_cannot_be_changed() -> None:
    read = load_settings(None, {})
    with pytest.raises(ValidationError):
        read.http.port = 1  # type: ignore[misc]  # that it is refused is what is tested
