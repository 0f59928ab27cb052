"""What analysts see: the views of repeated values, and the optional column of subnets."""

import os
from datetime import date

import asyncpg
import pytest

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from tests.integration.officer.office import DAY_MS, SENT_MS, Office, login, rotated

DAYS = [date(2023, 11, 14), date(2023, 11, 15), date(2023, 11, 16)]


async def seen(office: Office, view: str) -> list[tuple[object, ...]]:
    query = f"SELECT * FROM consumer.{view} ORDER BY events DESC, token"  # noqa: S608 - the test's own
    return [tuple(record) for record in await office.fetch(query)]


async def test_a_repeated_value_has_its_count_its_days_and_its_users(office: Office) -> None:
    await office.consume(login(user_id="anna", ip=None))
    await office.consume(login(user_id="ben"), login(user_id="ben"), sent_ms=SENT_MS + DAY_MS)
    await office.consume(login(user_id="carla", device_id="another"), sent_ms=SENT_MS + 2 * DAY_MS)
    masks = masks_of(UserLogin, office.ring)
    device = masks["masked_device_id"]("593-47-5928")
    address = masks["masked_ip"]("199.172.111.135")
    assert await seen(office, "repeated_devices") == [(device, 3, DAYS[0], DAYS[1], 2)]
    assert await seen(office, "repeated_addresses") == [(address, 3, DAYS[1], DAYS[2], 2)]


async def test_null_is_not_a_value_that_repeats(office: Office) -> None:
    await office.consume(*[login(ip=None, device_id=None)] * 3)
    assert await seen(office, "repeated_devices") == []
    assert await seen(office, "repeated_addresses") == []


async def test_a_device_is_counted_as_one_before_during_and_after_a_rotation(
    office: Office,
) -> None:
    after = office.with_ring(rotated(office.ring, "k2", os.urandom(32)))
    new, old = masks_of(UserLogin, after.ring)["masked_device_id"].tokens("593-47-5928")
    await office.consume(login(user_id="anna"), login(user_id="ben"))
    assert await seen(office, "repeated_devices") == [(old, 2, DAYS[0], DAYS[0], 2)]
    remember = "INSERT INTO consumer.remasked VALUES ('user_logins.masked_device_id', $1, $2)"
    await after.fetch(remember, old, new)
    assert await seen(office, "repeated_devices") == [(new, 2, DAYS[0], DAYS[0], 2)]
    # One replica knows the new key, the other does not yet.
    await after.consume(login(user_id="carla"), sent_ms=SENT_MS + DAY_MS)
    await office.consume(login(user_id="ben"), sent_ms=SENT_MS + DAY_MS)
    assert await seen(office, "repeated_devices") == [(new, 4, DAYS[0], DAYS[1], 3)]
    rewrite = "UPDATE user_logins SET masked_device_id = $1 WHERE masked_device_id = $2"
    await after.fetch(rewrite, new, old)
    await after.fetch("DELETE FROM consumer.remasked")
    assert await seen(office, "repeated_devices") == [(new, 4, DAYS[0], DAYS[1], 3)]


async def test_a_token_of_another_column_is_not_taken_for_this_ones(office: Office) -> None:
    await office.consume(login(), login())
    (token, _) = await office.tokens("masked_device_id")
    remember = "INSERT INTO consumer.remasked VALUES ('user_logins.masked_ip', $1, 'k2.x')"
    await office.fetch(remember, token)
    assert [row[0] for row in await seen(office, "repeated_devices")] == [token]


async def test_without_a_rotation_a_view_is_as_quick_as_the_bare_query(office: Office) -> None:
    await office.fetch(
        "INSERT INTO user_logins (user_id, masked_device_id, create_date)"
        " SELECT n::text, 'k1.' || n % 10000, '2023-11-14' FROM generate_series(1, 100000) AS n"
    )
    for analyze in ("", "ANALYZE user_logins"):
        await office.fetch(analyze)
        lines = await office.fetch("EXPLAIN SELECT * FROM consumer.repeated_devices")
        plan = "\n".join(line[0] for line in lines)
        assert plan.count("Scan on user_logins") == 1
        assert "Nested Loop" not in plan  # which would look into consumer.remasked for each row


async def test_subnets_are_seen_in_an_opt_in_column(office: Office) -> None:
    await office.consume(login(user_id="before", ip="198.51.100.1"))
    added = await office.consumer("migrate", "--with", "ip_subnet_masked")
    assert added.code == 0
    assert "added column user_logins.ip_subnet_masked" in added.out
    again = await office.consumer("migrate", "--with", "ip_subnet_masked")
    assert (again.code, again.out) == (0, "nothing to do\n")
    await office.consume(
        login(user_id="a", ip="192.0.2.1"),
        login(user_id="b", ip="192.0.2.200"),
        login(user_id="c", ip="198.51.100.1"),
        login(user_id="d", ip=None),
    )
    query = (
        "SELECT user_id, ip_subnet_masked FROM user_logins WHERE user_id < 'e' AND user_id > 'A'"
    )
    subnets = {
        user: token and token.rpartition(".")[0]
        for user, token in await office.fetch(f"{query} AND length(user_id) = 1")
    }
    assert subnets["a"] == subnets["b"] != subnets["c"]
    assert subnets["d"] is None
    (before,) = await office.fetch(
        "SELECT ip_subnet_masked FROM user_logins WHERE length(user_id) > 1"
    )
    assert before[0] is None
    (token,) = await office.fetch("SELECT ip_subnet_masked FROM user_logins WHERE user_id = 'b'")
    shown = await office.consumer(
        "recover", "--reason", "x", "--field", "ip_subnet_masked", token[0]
    )
    assert shown.out == "192.0.2.200\n"


@pytest.mark.parametrize("name", ["locale", "nonsense", "masked_ip"])
async def test_only_an_optional_column_is_added(office: Office, name: str) -> None:
    refused = await office.consumer("migrate", "--with", name)
    assert refused.code == 1
    assert f"{name} is no optional column of user_logins; there is: ip_subnet_masked" in refused.err


async def test_a_view_that_others_built_upon_is_left_alone(office: Office) -> None:
    await office.fetch("CREATE VIEW ours AS SELECT * FROM consumer.repeated_devices")
    assert (await office.consumer("migrate")).out == "nothing to do\n"
    with pytest.raises(asyncpg.DependentObjectsStillExistError):
        await office.fetch("DROP VIEW consumer.repeated_devices")
