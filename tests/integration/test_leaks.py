"""No raw address or device id is found outside the places that are meant for it (promise I6)."""

import base64
import gc
import io
import json
import random
import secrets
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from consumer.events.model import masks_of
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from consumer.officer.recovery.recoverer import Recoverer
from consumer.officer.recovery.token_input import TokenItem
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.service import serve
from consumer.settings.loading import load_settings
from consumer.telemetry import events as telemetry
from consumer.telemetry.logs import make_logger
from devkit.postgres import FAST_SETTINGS, PostgresServer
from devkit.sqs import SqsServer
from tests.consumers import Place, Running, place
from tests.databases import Databases
from tests.integration.marks import Marks, files_with
from tests.integration.officer.office import Office, login, message
from tests.integration.postgres.outcomes import KINDS
from tests.waiting import eventually

REASON = ("--reason", "ticket 4711")
# All that PostgreSQL can be asked to write down about statements and their parameters.
TALKATIVE = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_duration": "on",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug5",
    "log_error_verbosity": "verbose",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
    "debug_print_rewritten": "on",
}
# Two rows that only PostgreSQL refuses, in errors that quote the whole row.
REFUSALS = """
    ALTER TABLE user_logins ADD CONSTRAINT no_xx CHECK (locale <> 'XX');
    CREATE FUNCTION refuse_yy() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF NEW.locale = 'YY' THEN
            RAISE EXCEPTION 'refused: %', NEW USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END $$;
    CREATE TRIGGER refuse_yy BEFORE INSERT ON user_logins
        FOR EACH ROW EXECUTE FUNCTION refuse_yy();
"""


@pytest.fixture
def marks() -> Marks:
    return Marks.made(random.Random())  # noqa: S311 - they only have to be rare


@pytest.fixture
def talkative() -> Iterator[PostgresServer]:
    """A PostgreSQL that writes down all that it can."""
    with PostgresServer.start(settings={**FAST_SETTINGS, **TALKATIVE}) as server:
        yield server


@pytest.fixture
async def there(
    talkative: PostgresServer, sqs: SqsServer, key_ring_json: str, tmp_path: Path
) -> AsyncIterator[Place]:
    """Like `here`, on `talkative`, with rows that it refuses."""
    async with Databases(talkative).migrated() as dsn:
        async with connected(ConnectionSettings(dsn)) as connection:
            await connection.execute(REFUSALS)
        yield place(sqs, dsn, key_ring_json, tmp_path)


def corpus(marks: Marks) -> list[str]:
    first, second, *_ = marks.addresses
    refused = [
        login(locale=locale, ip=address, device_id=marks.devices[0])
        for locale, address in (("XX", first), ("YY", second))
    ]
    return [*marks.valid(), *marks.invalid(), *refused]


async def scraped(running: Running) -> str:
    """All that the HTTP port tells."""
    port = (await running.logged("listening"))["port"]
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client:
        texts = []
        for path in ("/metrics", "/healthz", "/readyz", "/nothing"):
            async with client.get(path) as answer:
                texts.append(f"{answer.headers}{await answer.text()}")
    return "".join(texts)


async def test_the_service_leaks_nothing_into_logs_metrics_or_postgresql(
    there: Place, talkative: PostgresServer, marks: Marks
) -> None:
    consumer = there.consumer.but(
        CONSUMER_LOGS__LEVEL="debug", CONSUMER_LOGS__FORMAT="json", CONSUMER_SQS__WAIT_SECONDS="1"
    )
    sent = await consumer.run("send", "-", stdin="\n".join(corpus(marks)).encode())
    shown_by_all = [sent.out, sent.err]
    async with consumer.running("run") as running:
        await running.logged("consuming")
        if sys.platform == "linux":
            assert core_size_limits(running.process.pid) == ["0", "0"]
        await eventually(there.is_clean, within_seconds=60)
        talkative.stop("immediate")
        there.send(*corpus(marks))
        await running.logged("write failed")
        shown_by_all.append(await scraped(running))
        talkative.start_again()
        await eventually(there.is_clean, within_seconds=60)
        shown_by_all.append(await scraped(running))
        ended = await running.stopped()
    assert ended.code == 0
    assert '"rejected_by_database"' in ended.err
    assert marks.leaked_into("".join([*shown_by_all, ended.out, ended.err]).encode()) == []
    await assert_postgresql_holds_none(there.dsn, talkative, marks)


@pytest.mark.parametrize(
    ("level", "form"),
    [("debug", "pretty"), ("warning", "json")],
)
async def test_no_level_and_no_form_of_logs_shows_a_value(
    here: Place, marks: Marks, level: str, form: str
) -> None:
    here.send(*marks.valid(), *marks.invalid())
    consumer = here.consumer.but(CONSUMER_LOGS__LEVEL=level, CONSUMER_LOGS__FORMAT=form)
    ended = await consumer.run("drain")
    assert ended.code == 0
    assert marks.leaked_into(f"{ended.out}{ended.err}".encode()) == []


async def assert_postgresql_holds_none(dsn: str, server: PostgresServer, marks: Marks) -> None:
    """Look through its log, its tables and its write-ahead log."""
    async with connected(ConnectionSettings(dsn)) as connection:
        await connection.execute("CHECKPOINT")
    log = server.log_path.read_bytes()
    assert b"consumer.quarantine" in log
    assert b"parameters: " in log.lower()
    assert files_with(marks, server.folder) == {}


def core_size_limits(pid: int) -> Sequence[str]:
    (limit,) = (
        line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line
    )
    return limit.split()[4:6]


async def test_no_command_shows_a_value_but_where_it_is_asked_for(
    there: Place, talkative: PostgresServer, marks: Marks
) -> None:
    office = Office(there.dsn, KeyRing.parse(there.ring_json))
    await office.consume(*marks.valid(), *marks.invalid())
    address, *_ = marks.addresses
    device, *_ = marks.devices
    tokens = await office.tokens("masked_ip")
    shown = [
        await office.consumer("recover", *REASON, *tokens),
        await office.consumer("quarantine", "show", "1", "2", "3", *REASON),
    ]
    assert all(marks.leaked_into(each.out.encode()) for each in shown)
    spoilt = (f"k1.{address}", f"k1.{device}", f"{device}.{tokens[0][3:]}", tokens[0] + device)
    for text in (address, device, *spoilt):
        for field in ("ip", "ip_subnet_masked", "device_id"):
            taking = ("recover", *REASON, "--field", field, "--", text)
            shown += [await office.consumer(*taking)]
    for rows in csv_files(marks):
        taking = ("recover", *REASON, "--column", "masked_ip", "--csv", "-")
        shown += [await office.consumer(*taking, stdin=rows)]
    # Standard output is the place meant: values, and the rows that they were given in.
    shown_by_all = [replace(each, out="") for each in shown]
    shown_by_all += [
        await office.consumer(*arguments, stdin=stdin) for arguments, stdin in calls(marks)
    ]
    everything = "".join(f"{each.out}{each.err}" for each in shown_by_all)
    assert marks.leaked_into(everything.encode()) == []
    await assert_postgresql_holds_none(there.dsn, talkative, marks)


def csv_files(marks: Marks) -> Iterator[str]:
    """Tables with values where tokens should be, some of them malformed."""
    address, *_ = marks.addresses
    device, *_ = marks.devices
    yield f"masked_ip\n{address}\n{device}\n"
    yield f"masked_ip,{device}\n{address},x\n{device},{address},x\n"
    yield f"{address},{device}\n"
    yield f'masked_ip\n"{address}"{device}\n'
    yield f'masked_ip\n"{device}\n'


def calls(marks: Marks) -> Iterator[tuple[Sequence[str], str]]:
    """Commands that come into touch with values, and are to show none."""
    address, *_ = marks.addresses
    device, *_ = marks.devices
    replay = ("quarantine", "replay")
    yield ("migrate", "--with", "ip_subnet_masked"), ""
    yield ("mask", "ip", address, "--all-keys"), ""
    yield ("mask", "device_id", "-"), f"{device}\n"
    yield ("mask", "ip", device), ""
    yield ("mask", "device_id", "-"), f"{device * 10}\n"
    yield ("quarantine", "list"), ""
    yield ("quarantine", "list", "--each"), ""
    yield (*replay, "--all", "--dry-run"), ""
    yield (*replay, "--all", *REASON), ""
    for number, body in enumerate((*marks.invalid(), *marks.valid()), 1):
        yield (*replay, str(number), *REASON, "--body", "-"), body
    yield ("erase", "--user-id", "nobody", *REASON), ""
    yield ("erase", "--reapply", *REASON, "--from", "-"), f"{address},{device}\n"
    yield ("erase", "--export"), ""
    yield ("audit", "verify"), ""
    yield ("export",), ""
    yield ("remask",), ""


def is_ours(kind: type) -> bool:
    """Whether a class is the consumer's."""
    return str(kind.__module__).startswith("consumer.")


def shown_by_reprs(needles: Sequence[bytes]) -> set[str]:
    """The types of the consumer's objects, of all that are alive, whose repr shows a needle."""
    return {
        type(each).__qualname__
        for each in gc.get_objects()
        if is_ours(type(each))
        and any(needle in repr(each).encode(errors="replace") for needle in needles)
    }


async def test_no_repr_of_what_is_alive_in_a_running_service_shows_a_value_or_a_key(
    here: Place, marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in here.consumer.variables.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    key = json.loads(here.ring_json)["keys"]["k1"]["key"]
    needles = (*marks.needles(), key.encode(), repr(base64.b64decode(key))[2:-1].encode())
    shown: set[str] = set()
    kinds: set[str] = set()

    def look(event: telemetry.TelemetryEvent) -> None:
        if isinstance(event, telemetry.Received | telemetry.Committed):
            shown.update(shown_by_reprs(needles))
            kinds.update(type(each).__name__ for each in gc.get_objects())

    here.send(*marks.valid(), *marks.invalid())
    log = io.StringIO()
    logger = make_logger(level="debug", form="json", stream=log)
    await serve(settings, logger, until_empty=True, listeners=[look])
    assert {"Message", "Row", "Quarantined", "Settings", "KeyRing", "Transform"} <= kinds
    assert shown == set()
    assert marks.leaked_into(log.getvalue().encode()) == []


def test_no_repr_of_what_a_message_becomes_on_its_way_shows_a_value(marks: Marks) -> None:
    ring = KeyRing.generate("k1", secrets.token_bytes)
    transform = Transform(UserLogin, KINDS, ring)
    (valid, *_), (invalid, *_) = marks.valid(), marks.invalid()
    rows = [transform(message(body)) for body in (valid, invalid)]
    event = UserLogin.model_validate_json(valid)
    token = masks_of(UserLogin, ring)["masked_device_id"](marks.devices[0])
    assert token is not None
    recovered = Recoverer(UserLogin, ring).recover(token)
    assert recovered.value == marks.devices[0]
    item = TokenItem("token 1", token, cells=(marks.devices[0],))
    texts = [f"{each!r} {each}" for each in (*rows, event, recovered, item)]
    assert marks.leaked_into("".join(texts).encode()) == []


DEFECTIVE = """
from typing import Annotated, ClassVar

from pydantic import model_validator

from consumer.events.model import Into, Masked, Stored
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import IDENTIFIER


def unforeseen(text: str) -> int:
    raise RuntimeError(text)


class Encoding(type(IDENTIFIER)):
    def encode(self, text: str) -> bytes:
        raise OSError(13, text, text)


class Defective(UserLogin):
    device_id: Annotated[str | None, Masked(Encoding(), Into("masked_device_id"))]

    @model_validator(mode="after")
    def look(self) -> "Defective":
        if self.user_id == "validator":
            raise RuntimeError(f"{self.ip} {self.device_id}") from KeyError(self.device_id)
        return self
"""


async def test_a_defect_in_a_model_shows_no_value(here: Place, marks: Marks) -> None:
    (here.consumer.folder / "defective.py").write_text(DEFECTIVE)
    address, device = marks.addresses[0], marks.devices[0]
    here.send(
        login(user_id="validator", ip=address, device_id=device),
        login(user_id="encoding", ip=address, device_id=device),
    )
    consumer = here.consumer.but(
        CONSUMER_EVENT__MODEL="defective:Defective", CONSUMER_LOGS__LEVEL="debug"
    )
    ended = await consumer.run("drain")
    assert (ended.code, ended.counts["quarantined"]) == (0, 2), ended.err
    assert marks.leaked_into(f"{ended.out}{ended.err}".encode()) == []


@pytest.mark.parametrize("command", [("quarantine", "show", "1"), ("quarantine", "replay", "1")])
async def test_an_unforeseen_error_is_reported_by_its_place_and_not_by_its_text(
    database: str,
    key_ring_json: str,
    marks: Marks,
    command: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    office = Office(database, KeyRing.parse(key_ring_json))
    await office.consume(*marks.invalid())

    def fail(_self: BodySeal, _kid: str, _message_id: str, _sealed: bytes) -> str:
        values = (*marks.devices, *marks.addresses)
        raise ExceptionGroup(str(values), [OSError(values[0]), KeyError(values)])

    monkeypatch.setattr(BodySeal, "unseal", fail)
    shown = await office.consumer(*command, *REASON)
    assert shown.code == 1
    assert "unforeseen builtins.KeyError" in shown.err
    assert marks.leaked_into(f"{shown.out}{shown.err}".encode()) == []
