"""`consumer keys`: the file of the ring, made and changed."""

import asyncio
import fcntl
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from consumer.cli import cli
from consumer.errors import KeyRingError
from consumer.keys.file import write_new
from consumer.keys.sources import KmsKeyFile, load_key_ring
from consumer.masking.key_ring import KeyRing, KeyState
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.key_registry import register_fingerprints
from tests.aws import AwsAdmin


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@dataclass
class Officer:
    """The key holder, with a folder for the ring."""

    path: Path
    variables: dict[str, str]

    async def keys(self, *arguments: str) -> Ended:
        return await asyncio.to_thread(self._keys, *arguments)

    def _keys(self, *arguments: str) -> Ended:
        ended = CliRunner().invoke(cli, ("keys", *arguments), env=self.variables)
        # Whatever is done, no key is shown.
        if self.path.exists() and "--reveal" not in arguments:
            for secret in self.secrets():
                assert secret not in ended.output
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    def ring(self) -> KeyRing:
        return KeyRing.parse(self.path.read_text())

    def secrets(self) -> list[str]:
        try:
            document = json.loads(self.path.read_text())
        except ValueError:
            return []
        return [key["key"] for key in document["keys"].values()]


@pytest.fixture
def officer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Officer:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ring.json"
    return Officer(path, {"CONSUMER_MASKING__KEYRING_FILE": str(path)})


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_new_ring_is_a_file_for_its_owner_alone(officer: Officer) -> None:
    before = os.umask(0)
    try:
        assert (await officer.keys("new")).code == 0
    finally:
        os.umask(before)
    assert mode_of(officer.path) == 0o600
    assert officer.ring().kids == ("k1",)
    assert [path.name for path in officer.path.parent.iterdir()] == ["ring.json"]


async def test_a_ring_that_is_there_is_never_replaced_by_a_new_one(officer: Officer) -> None:
    await officer.keys("new")
    before = officer.path.read_bytes()
    refused = await officer.keys("new")
    assert (refused.code, officer.path.read_bytes()) == (1, before)
    assert "it exists already" in refused.err


async def test_of_many_that_make_a_ring_at_once_one_does(tmp_path: Path) -> None:
    rings = [str(number).encode() for number in range(20)]

    def make(data: bytes) -> bool:
        try:
            write_new(tmp_path / "ring.json", data)
        except KeyRingError:
            return False
        return True

    made = await asyncio.gather(*(asyncio.to_thread(make, data) for data in rings))
    assert made.count(True) == 1
    assert (tmp_path / "ring.json").read_bytes() == rings[made.index(True)]


async def test_a_key_is_added_and_promoted_and_the_old_file_has_a_backup(officer: Officer) -> None:
    await officer.keys("new")
    first = officer.path.read_text()
    assert (await officer.keys("add")).code == 0
    assert officer.path.with_name("ring.json.bak").read_text() == first
    assert officer.ring().primary == "k1"
    assert officer.ring().keys["k2"].state is KeyState.DECRYPT
    second = officer.path.read_text()
    assert (await officer.keys("promote", "k2")).code == 0
    assert officer.path.with_name("ring.json.bak").read_text() == second
    assert (officer.ring().primary, officer.ring().keys["k1"].state) == ("k2", KeyState.DECRYPT)
    assert KeyRing.parse(first).keys["k1"].secret == officer.ring().keys["k1"].secret
    assert {mode_of(path) for path in officer.path.parent.iterdir()} == {0o600}
    listed = await officer.keys("list")
    assert [line.split() for line in listed.out.splitlines()] == [
        ["k2", "active", "-"],
        ["k1", "decrypt", "-"],
    ]


async def test_keys_are_shown_where_that_is_asked_for_alone(officer: Officer) -> None:
    await officer.keys("new")
    shown = await officer.keys("list", "--reveal")
    assert KeyRing.parse(shown.out) == officer.ring()


async def test_a_change_leaves_the_group_its_right_and_takes_others_theirs(
    officer: Officer,
) -> None:
    await officer.keys("new")
    officer.path.chmod(0o644)
    warned = await officer.keys("check")
    assert (warned.code, warned.out[:4]) == (0, "warn")
    await officer.keys("add")
    assert mode_of(officer.path) == 0o640
    assert mode_of(officer.path.with_name("ring.json.bak")) == 0o600


async def test_a_link_to_the_ring_stays_a_link(officer: Officer, tmp_path: Path) -> None:
    await officer.keys("new")
    (tmp_path / "real").mkdir()
    real = officer.path.rename(tmp_path / "real" / "ring.json")
    officer.path.symlink_to(real)
    await officer.keys("add")
    assert officer.path.is_symlink()
    assert officer.ring().kids == ("k1", "k2")


async def test_two_do_not_change_a_ring_at_once(officer: Officer) -> None:
    await officer.keys("new")
    before = officer.path.read_bytes()
    folder = os.open(officer.path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        refused = await officer.keys("add")
    finally:
        os.close(folder)
    assert (refused.code, officer.path.read_bytes()) == (1, before)
    assert "another command is changing it" in refused.err


async def test_what_a_killed_command_left_is_not_in_the_way(officer: Officer) -> None:
    await officer.keys("new")
    officer.path.with_name("ring.json.new").write_text("half a ri")
    assert (await officer.keys("add")).code == 0
    assert officer.ring().kids == ("k1", "k2")
    assert not officer.path.with_name("ring.json.new").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("add", "k1"), "has a key k1 already"),
        (("add", "K2"), "not 1 to 8 of a-z and 0-9"),
        (("add", "ninechars"), "not 1 to 8 of a-z and 0-9"),
        (("promote", "k9"), "it has no key k9; it has k1"),
        (("retire", "k1"), "k1 is the primary"),
        (("retire", "k9"), "it has no key k9"),
    ],
)
async def test_a_change_that_makes_no_ring_is_refused_and_changes_nothing(
    officer: Officer, arguments: tuple[str, ...], says: str
) -> None:
    await officer.keys("new")
    before = officer.path.read_bytes()
    refused = await officer.keys(*arguments)
    assert (refused.code, officer.path.read_bytes()) == (1, before)
    assert says in refused.err
    assert [path.name for path in officer.path.parent.iterdir()] == ["ring.json"]


async def test_check_tells_all_that_is_wrong_a_line_each(officer: Officer) -> None:
    keys = {"k1": {"key": "AAAA", "state": "active"}, "k2": {"key": "!", "state": "retired"}}
    officer.path.write_text(json.dumps({"version": 2, "primary": "k3", "keys": keys}))
    checked = await officer.keys("check")
    assert checked.code == 1
    assert checked.out.splitlines() == [
        "FAIL version has an unknown value",
        "FAIL keys.k1.key is 3 bytes long, not 32",
        "FAIL keys.k2.key is not base64",
        "FAIL keys.k2.state has an unknown value",
        "FAIL primary names no key of the ring",
    ]


async def test_check_says_that_a_ring_is_right(officer: Officer) -> None:
    await officer.keys("new")
    assert (await officer.keys("check")).out == "ok   keys: k1; the first is the primary\n"


async def test_a_wrapped_ring_is_made_and_changed_without_ever_lying_open(
    officer: Officer, aws_admin: AwsAdmin
) -> None:
    path = officer.path.with_name("ring.kms")
    officer.variables = {
        "CONSUMER_MASKING__KEYRING_SOURCE": f"kms:{path}",
        "CONSUMER_MASKING__KMS_ENCRYPTION_CONTEXT": '{"service": "login-consumer"}',
    }
    assert (await officer.keys("new", "--kms", await aws_admin.make_key())).code == 0
    assert (await officer.keys("add")).code == 0
    assert (await officer.keys("promote", "k2")).code == 0
    ring = await load_key_ring(KmsKeyFile(path, {"service": "login-consumer"}, None, 30.0))
    assert ring.kids == ("k2", "k1")
    for file in path.parent.iterdir():
        assert b"keys" not in file.read_bytes()
        assert mode_of(file) == 0o600


async def test_new_says_when_a_kms_key_is_needed_and_when_not(officer: Officer) -> None:
    assert (await officer.keys("new", "--kms", "alias/a")).code == 2
    officer.variables = {"CONSUMER_MASKING__KEYRING_SOURCE": "kms:ring.kms"}
    assert (await officer.keys("new")).code == 2


async def test_a_ring_in_secrets_manager_is_not_changed_from_here(officer: Officer) -> None:
    officer.variables = {"CONSUMER_MASKING__KEYRING_SOURCE": "secretsmanager:ring"}
    refused = await officer.keys("add")
    assert (refused.code, "change a copy" in refused.err) == (1, True)


_INTO_QUARANTINE = (
    "INSERT INTO consumer.quarantine (slot, message_id, sent_at, event, reason, kid, sealed_body)"
    " VALUES (1, gen_random_uuid(), now(), 'e', 'not_json', 'k1', '')"
)


async def _rotated(officer: Officer, dsn: str) -> None:
    officer.variables["CONSUMER_POSTGRES__DSN"] = dsn
    await officer.keys("new")
    await officer.keys("add")
    await officer.keys("promote", "k2")


@pytest.mark.parametrize(
    ("left", "says"),
    [
        ("INSERT INTO user_logins (masked_ip) VALUES ('k1.x')", "1 row of masked_ip"),
        (
            "INSERT INTO user_logins (masked_device_id) VALUES ('k1.x')",
            "1 row of masked_device_id",
        ),
        (
            _INTO_QUARANTINE,
            "1 quarantined body",
        ),
    ],
)
async def test_a_key_is_retired_once_the_database_holds_nothing_of_it(
    officer: Officer, database: str, left: str, says: str
) -> None:
    await _rotated(officer, database)
    async with connected(ConnectionSettings(database)) as connection:
        await register_fingerprints(connection, officer.ring().fingerprints())
        await connection.execute(left)
        refused = await officer.keys("retire", "k1")
        assert (refused.code, officer.ring().kids) == (1, ("k2", "k1"))
        assert f"k1 is in use: {says}; run `consumer remask`" in refused.err
        await connection.execute("DELETE FROM user_logins; DELETE FROM consumer.quarantine")
    assert (await officer.keys("retire", "k1")).code == 0
    assert officer.ring().kids == ("k2",)


async def test_a_database_that_has_never_seen_the_ring_proves_nothing(
    officer: Officer, database: str
) -> None:
    await _rotated(officer, database)
    refused = await officer.keys("retire", "k1")
    assert (refused.code, officer.ring().kids) == (1, ("k2", "k1"))
    assert "has never seen the primary k2" in refused.err


async def test_a_database_of_another_ring_proves_nothing(officer: Officer, database: str) -> None:
    await _rotated(officer, database)
    async with connected(ConnectionSettings(database)) as connection:
        await register_fingerprints(connection, KeyRing.generate("k2", os.urandom).fingerprints())
    refused = await officer.keys("retire", "k1")
    assert (refused.code, officer.ring().kids) == (1, ("k2", "k1"))
    assert "is not the key that this database knows" in refused.err


async def test_without_a_database_no_key_is_retired(officer: Officer) -> None:
    await _rotated(officer, "postgresql://nobody@127.0.0.1:1/nowhere")
    assert (await officer.keys("retire", "k1")).code == 1
    assert officer.ring().kids == ("k2", "k1")
    listed = await officer.keys("list")
    assert (listed.code, "first seen: unknown" in listed.err) == (0, True)


async def test_the_list_says_when_the_database_first_saw_a_key(
    officer: Officer, database: str
) -> None:
    await _rotated(officer, database)
    async with connected(ConnectionSettings(database)) as connection:
        await register_fingerprints(connection, {"k1": officer.ring().fingerprints()["k1"]})
        await connection.execute(
            "UPDATE consumer.masking_keys SET first_seen = '2026-01-02 03:04Z'"
        )
    listed = await officer.keys("list")
    assert [line.split() for line in listed.out.splitlines()] == [
        ["k2", "active", "-"],
        ["k1", "decrypt", "2026-01-02", "03:04Z"],
    ]
