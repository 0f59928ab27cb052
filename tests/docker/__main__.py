"""Tries the image and docker-compose.yml on a real Docker engine: `make docker-test`.

It takes no package, only Python's own library, an engine and a filled wheelhouse/.
"""

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.docker.engine import CheckError, check, eventually, missing, run, say
from tests.docker.events import Event, Producer, Wave
from tests.docker.image import build_offline, check_contents, check_image, check_sigterm
from tests.docker.leaks import Leaks
from tests.docker.system import QueueCounts, System

_ROOT = Path(__file__).parents[2]
_ADD_AN_EVENT = _ROOT / "docs" / "howto" / "add-an-event.md"
_REPLICAS = 3
_FIRST_MESSAGES = 1000
_DISTURBED_MESSAGES = 10_000
_STOPPED_MESSAGES = 6000
_WRITTEN_SECONDS = 180
_SCRAPED_SECONDS = 60
_COMMAND_SECONDS = 120
_COUNTERS = ("received", "written", "duplicate", "quarantined", "deleted")


def main() -> int:
    """Run the whole trial; the exit code is 1 if anything is not as promised."""
    if lacking := missing():
        say(f"skipped: {', '.join(lacking)}")
        return 0
    try:
        build_offline()
        check_image()
        check_contents()
        check_sigterm()
        with System(_ROOT, _FIRST_MESSAGES) as system:
            try:
                Trial(system).run()
            except CheckError:
                print(system.compose("ps", "--all"), system.compose("logs", "--tail=20"))
                raise
    except CheckError as error:
        say(f"FAILED: {error}")
        return 1
    say("all of it holds")
    return 0


class Trial:
    """What is done to the system, in this order."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._producer = Producer()
        self._waves: list[Wave] = []
        self._of_feed: Counter[str] = Counter()

    def run(self) -> None:
        """Bring it up, disturb it, stop it under load; then look for leaks."""
        self.bring_up()
        self.load_a_users_model()
        self.disturb()
        self.stop_under_load()
        leaks = Leaks(self._system, self._producer)
        leaks.check_database()
        self.stop_all()
        leaks.check_logs()
        leaks.check_listings()
        leaks.check_layers()

    def bring_up(self) -> None:
        """Start everything: what the producer sends is written, and Prometheus knows it."""
        self._system.compose("up", "--detach", "--scale", f"consumer={_REPLICAS}")
        self._all_is_written()
        self._of_feed = self._system.reasons()
        self._all_are_healthy()
        say(f"up: {_REPLICAS} consumers, healthy; the producer's {_FIRST_MESSAGES:,} written")
        self._nothing_is_left()
        sums = self._prometheus_agrees()
        check("as many are deleted as were sent", holds=sums["deleted"] == _FIRST_MESSAGES)

    def load_a_users_model(self) -> None:
        """Mount the model of the page that tells how to add one; `migrate` and `check` load it."""
        model = re.search(r"```python\n(.+?)```", _ADD_AN_EVENT.read_text(), re.DOTALL)
        assert model is not None
        folder = self._system.folder / "models"
        folder.mkdir()
        (folder / "payments.py").write_text(model[1])
        service = ("--volume", f"{folder}:/etc/consumer/models:ro", "consumer")
        named = ("--env", "CONSUMER_EVENT__MODEL=payments:Payment")
        run_once = ("run", "--rm", "-T", "--no-deps", *named, *service)
        migrated = self._system.compose(*run_once, "migrate")
        check("a user's model has its table", holds="created table payments" in migrated)
        checked = self._system.compose(*run_once, "check")
        line = "model: payments:Payment, from /etc/consumer/models/payments.py"
        check("a user's model comes from its folder", holds=line in checked)
        say("a user's model is loaded from a folder, mounted read-only")

    def disturb(self) -> None:
        """While events come, restart the database and kill a replica that holds messages."""
        system = self._system
        sending = self._send(_DISTURBED_MESSAGES)
        self._some_is_written()
        (database,) = system.running("database")
        restarting = subprocess.Popen(("docker", "restart", database), stdout=subprocess.DEVNULL)
        victim, held = self._busiest()
        run("docker", "kill", victim)
        check("the database restarts", holds=restarting.wait(_COMMAND_SECONDS) == 0)
        eventually("the database is back", lambda: _is_healthy(database), within_seconds=60)
        check("all events are sent", holds=sending.wait(_COMMAND_SECONDS) == 0)
        check("a killed replica stays down", holds=victim not in system.running("consumer"))
        say(f"restarted the database, killed a replica that held {held:,} messages")
        self._all_is_written()
        self._nothing_is_left()
        self._each_exactly_once()
        scale = ("--scale", f"consumer={_REPLICAS}")
        system.compose("up", "--detach", "--no-deps", "--no-recreate", *scale, "consumer")
        self._all_are_healthy()
        self._prometheus_agrees()
        resident = 'max(max_over_time(process_resident_memory_bytes{job="consumer"}[15m]))'
        say(f"a consumer's memory was at most {(system.prometheus(resident) or 0) / 1e6:.0f} MB")

    def stop_under_load(self) -> None:
        """Stop all consumers by SIGTERM while events come; `drain` does the rest."""
        system = self._system
        sending = self._send(_STOPPED_MESSAGES)
        self._some_is_written()
        system.compose("stop", "consumer")
        check("all events are sent", holds=sending.wait(_COMMAND_SECONDS) == 0)
        codes = system.exit_codes("consumer")
        check(f"exit code 0: {codes}", holds=set(codes.values()) == {0})
        counts, written = system.queue_counts(), system.written()
        check("nothing is in flight after SIGTERM", holds=counts.in_flight == 0)
        check("written or waiting", holds=written.total + counts.visible == self._sent())
        say(
            f"SIGTERM under load: exit code 0 from {len(codes)} consumers, none of"
            f" {self._sent():,} messages in flight, {counts.visible:,} still waiting"
        )
        output = system.compose("run", "--rm", "-T", "--no-deps", "consumer", "drain")
        drained = json.loads(output.splitlines()[-1])
        check("drain takes what waits", holds=drained["deleted"] == counts.visible)
        self._nothing_is_left()
        self._each_exactly_once()

    def stop_all(self) -> None:
        """Stop everything else."""
        self._system.compose("stop")
        codes = self._system.exit_codes()
        check(f"exit code 0: {codes}", holds=set(codes.values()) == {0})
        say(f"stopped: exit code 0 from all {len(codes)} containers")

    def _send(self, count: int) -> subprocess.Popen[bytes]:
        wave = self._producer.wave(count)
        self._waves.append(wave)
        path = self._system.folder / "bodies.jsonl"
        path.write_text("\n".join(wave.bodies))
        return self._system.send(path)

    def _sent(self) -> int:
        return _FIRST_MESSAGES + sum(len(wave.bodies) for wave in self._waves)

    def _some_is_written(self) -> None:
        before = self._sent() - len(self._waves[-1].bodies)
        eventually(
            "some events are written",
            lambda: self._system.written().total > before,
            within_seconds=_WRITTEN_SECONDS,
        )

    def _all_is_written(self) -> None:
        eventually(
            "all that was sent is a row or in quarantine",
            lambda: self._system.written().total == self._sent(),
            within_seconds=_WRITTEN_SECONDS,
        )

    def _nothing_is_left(self) -> None:
        eventually(
            "the queue is empty, and nothing is in flight",
            lambda: self._system.queue_counts() == QueueCounts(0, 0),
            within_seconds=_WRITTEN_SECONDS,
        )

    def _all_are_healthy(self) -> None:
        replicas = self._system.running("consumer")
        check("all replicas run", holds=len(replicas) == _REPLICAS)
        eventually("they are healthy", lambda: all(map(_is_healthy, replicas)), within_seconds=60)

    def _busiest(self) -> tuple[str, int]:
        """A replica that holds messages, and how many."""
        held: Counter[str] = Counter()

        def some_are_held() -> bool:
            for each in self._system.running("consumer"):
                held[each] = self._system.metrics(each)["consumer_messages_in_flight"]
            return held.total() > 0

        eventually("a replica holds messages", some_are_held, within_seconds=_WRITTEN_SECONDS)
        return held.most_common(1)[0]

    def _each_exactly_once(self) -> None:
        """Every event sent here is one row of its own values; every bad one has its reason."""
        events = [event for wave in self._waves for event in wave.events]
        columns = "user_id, app_version, device_type, locale, masked_ip, masked_device_id"
        rows = {tuple(row[:4]): (row[4], row[5]) for row in self._rows(columns)}
        expected = [_as_copied(event) for event in events]
        missing_rows = [each for each in expected if each not in rows]
        check(f"{len(missing_rows)} events have no row", holds=not missing_rows)
        users = Counter(row[0] for row in self._rows("user_id"))
        twice = [each[0] for each in expected if users[each[0]] != 1]
        check(f"{len(twice)} events are more than one row", holds=not twice)
        of_feed = _FIRST_MESSAGES - self._of_feed.total()
        check("no row is of nobody's event", holds=users.total() == len(events) + of_feed)
        for position, name in enumerate(("ip", "device_id")):
            tokens = {(event[name], rows[_as_copied(event)][position]) for event in events}
            values, masked = ({pair[i] for pair in tokens} for i in (0, 1))
            check(
                f"each {name} has one token of its own",
                holds=len(tokens) == len(values) == len(masked),
            )
        reasons = self._of_feed + sum((wave.reasons for wave in self._waves), Counter())
        check("each bad event is in quarantine", holds=self._system.reasons() == reasons)
        say(f"{len(events):,} events are one row each, {reasons.total():,} are in quarantine once")

    def _rows(self, columns: str) -> Sequence[Sequence[str]]:
        return self._system.query(f"SELECT {columns} FROM user_logins")  # noqa: S608 our own names

    def _prometheus_agrees(self) -> Counter[str]:
        """Wait until Prometheus sees all replicas, and their sums; return these."""
        sums: Counter[str] = Counter()

        def agrees() -> bool:
            replicas = [self._system.metrics(each) for each in self._system.running("consumer")]
            up = self._system.prometheus('count(up{job="consumer"} == 1)')
            for kind in _COUNTERS:
                name = f"consumer_messages_{kind}_total"
                sums[kind] = sum(replica[name] for replica in replicas)
                if self._system.prometheus(f"sum({name})") != sums[kind]:
                    return False
            return up == len(replicas) == _REPLICAS

        eventually("Prometheus sees every replica", agrees, within_seconds=_SCRAPED_SECONDS)
        shown = ", ".join(f"{count:,} {kind}" for kind, count in sums.items())
        say(f"Prometheus sees {_REPLICAS} replicas and their sums: {shown}")
        return sums


def _as_copied(event: Event) -> tuple[str, ...]:
    """What COPY gives for the columns that are not masked."""
    names = ("user_id", "app_version", "device_type", "locale")
    return tuple("\\N" if event[name] is None else str(event[name]) for name in names)


def _is_healthy(container: str) -> bool:
    state = run("docker", "inspect", "--format={{.State.Health.Status}}", container)
    return state.strip() == "healthy"


if __name__ == "__main__":
    sys.exit(main())
