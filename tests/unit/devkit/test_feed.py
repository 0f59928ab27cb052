import json
import random
import uuid
from collections import Counter
from pathlib import Path

from click.testing import CliRunner

from consumer.events.model import table_of
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import Message, Quarantined, Reason
from devkit.feed import FeedMessage, feed, main

SAMPLE = Path(__file__).parents[2] / "data" / "login-events.jsonl"
COUNT = 4000


def made(seed: int, count: int, malformed_share: float = 0) -> list[FeedMessage]:
    rng = random.Random(seed)  # noqa: S311 the same seed is to give the same feed
    return list(feed(rng, count, malformed_share=malformed_share))


def events() -> list[dict[str, str | None]]:
    return [json.loads(sent.body) for sent in made(1, COUNT)]


def test_the_same_seed_gives_the_same_feed_and_another_seed_another() -> None:
    first, again, other = (made(seed, 100) for seed in (1, 1, 2))
    assert first == again
    assert not set(first) & set(other)


def test_the_count_is_exact() -> None:
    assert [len(made(1, count)) for count in (0, 1, 7)] == [0, 1, 7]


def test_every_event_has_the_six_fields() -> None:
    fields = ["user_id", "app_version", "device_type", "ip", "locale", "device_id"]
    assert all(list(event) == fields for event in events())


def test_devices_and_addresses_repeat() -> None:
    for name in ("device_id", "ip"):
        seen = Counter(event[name] for event in events())
        (_, most), (_, second), *_ = seen.most_common()
        assert most > 1.5 * second > COUNT / 50
        assert len(seen) > COUNT / 10


def test_a_device_has_one_user_one_type_and_one_version() -> None:
    kept = {(e["device_id"], e["user_id"], e["device_type"], e["app_version"]) for e in events()}
    assert len(kept) == len({device_id for device_id, *_ in kept})


def test_locales_are_missing_and_versions_have_two_or_three_parts() -> None:
    locales = Counter(event["locale"] for event in events())
    assert 0.25 < locales[None] / COUNT < 0.33
    versions = Counter(str(event["app_version"]).count(".") for event in events())
    assert set(versions) == {1, 2}


def test_some_addresses_are_ipv6() -> None:
    addresses = {str(event["ip"]) for event in events()}
    assert 0.05 < sum(":" in address for address in addresses) / len(addresses) < 0.15


def test_the_malformed_share_is_kept_and_has_every_flaw() -> None:
    flawed = Counter(sent.reason for sent in made(1, COUNT, malformed_share=0.1))
    assert 0.08 < 1 - flawed[None] / COUNT < 0.12
    assert set(flawed) == {
        None,
        Reason.NOT_JSON,
        Reason.NOT_AN_OBJECT,
        Reason.OTHER_EVENT,
        Reason.MISSING_FIELD,
        Reason.WRONG_TYPE,
        Reason.TOO_LONG,
        Reason.NOT_STORABLE,
        Reason.BAD_ADDRESS,
    }


def test_the_feed_knows_what_the_consumer_makes_of_it(key_ring_json: str) -> None:
    kinds = {column.name: column.kinds[0] for column in table_of(UserLogin).columns}
    transform = Transform(UserLogin, kinds, KeyRing.parse(key_ring_json))
    for sent in made(1, COUNT, malformed_share=0.5):
        outcome = transform(Message(str(uuid.UUID(int=1)), "handle", sent.body, 0, len(sent.body)))
        reason = outcome.reason if isinstance(outcome, Quarantined) else None
        assert reason == sent.reason


def test_the_command_writes_a_body_a_line() -> None:
    output = CliRunner().invoke(main, ["--messages", "50", "--seed", "7"]).output
    assert output.splitlines() == [sent.body for sent in made(7, 50, malformed_share=0.02)]


def test_the_sample_file_is_as_tests_expect_it() -> None:
    sample = [json.loads(line) for line in SAMPLE.read_text().splitlines()]
    logins = [event for event in sample if "user_id" in event]
    assert (len(sample), len(logins)) == (100, 99)
    assert sum(event["locale"] is None for event in logins) == 29
    assert {str(event["app_version"]).count(".") for event in logins} == {1, 2}
