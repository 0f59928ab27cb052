"""Runs a scenario and judges it."""

import asyncio
import contextvars
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from consumer.messages import Message
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.ports import MESSAGES_A_CALL
from consumer.pipeline.visibility import RELEASE_ATTEMPTS
from consumer.telemetry import events as telemetry
from tests.fakes.queue import MemoryQueue
from tests.fakes.virtual_time import PROCESS, new_loop
from tests.history.checker import Kind, Verdict, Violation, check
from tests.history.steps import Counted, Entry, Left, Sent, Step, Stopped
from tests.simulation.edges import CALL_TIMEOUT_SECONDS, Link
from tests.simulation.scenario import (
    COMMIT,
    VISIBILITY_SECONDS,
    CallFault,
    End,
    Ending,
    Scenario,
)
from tests.simulation.service import SERVICE, Service

_DRAIN_PATIENCE_SECONDS = 900.0
_STOP_SLACK_SECONDS = 1.0
# How long after a fault a replica is not to blame for a visibility timeout that ends.
_BLAMELESS_SECONDS = 3.0 * VISIBILITY_SECONDS
_RESTART_SECONDS = 10.0
_LATER_SECONDS = 60.0
_PACKET_SECONDS = 0.02


@dataclass(slots=True)
class _Replica:
    name: str
    slot: int
    stop: asyncio.Event
    pipeline: Pipeline
    task: asyncio.Task[None] | None = None
    restart_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """How a run went: what the checker says, and all that happened, in order."""

    verdict: Verdict
    log: Sequence[tuple[float, str, object]]

    def timeline(self) -> Iterator[str]:
        """One line for each thing that happened."""
        for at, replica, what in self.log:
            text = f"{what.step.name} {what.message_id}" if isinstance(what, Entry) else what
            yield f"{at:10.4f} s  {replica:6}  {text}"


def run(scenario: Scenario, service: Service = SERVICE) -> Result:
    """Run a scenario to its end; the same one always goes the same way."""
    world = World(scenario, service)
    return world.loop.run(world.live())


class World:
    """A queue, a database, and replicas that come and go; implements Environment."""

    def __init__(self, scenario: Scenario, service: Service = SERVICE) -> None:
        self.scenario = scenario
        rng = random.Random(~scenario.seed)  # noqa: S311 - not for secrets
        self.random = rng.random
        self._uniform = rng.uniform
        self.loop = new_loop(self._pick if scenario.is_permuted else None)
        self.queue = MemoryQueue(
            visibility_seconds=VISIBILITY_SECONDS,
            wait_seconds=scenario.wait_seconds,
            call_seconds=0.0,
            clock=self.loop.time,
            witness=self._seen_by_queue,
        )
        self.database = service.database()
        self.database.witness = self._seen_by_database
        self.fault_windows = list(scenario.fault_windows)
        self._service = service
        self._outside = contextvars.copy_context()
        self._sent: list[Sent] = []
        self._log: list[tuple[float, str, object]] = []
        self._violations: list[Violation] = []
        self._alive: dict[str, _Replica] = {}
        self._ended: list[asyncio.Task[None]] = []
        self._holder: dict[str, str] = {}
        self._faulty_until: dict[str, float] = {}
        self._to_come = 0
        self._started = 0
        self._is_over = False

    async def live(self) -> Result:
        """Let the scenario happen, then drain and stop; judge, and only then clean up."""
        self.open()
        for at, body in self.scenario.sends:
            self.loop.call_at(at, self.send, body)
        for ending in self.scenario.endings:
            self.loop.call_at(ending.at, self._end, ending)
        await asyncio.sleep(self.scenario.calm_at)
        return await self.drain_and_finish()

    async def drain_and_finish(self) -> Result:
        """Wait until the queue is empty, stop every replica, judge, and clean up."""
        await self.drain()
        return await self.finish()

    def open(self) -> None:
        """Start a replica in every slot."""
        for slot in range(self.scenario.slots):
            self.start(slot)

    async def drain(self) -> None:
        """Wait until all is sent, and nothing on the queue or on its way there; not for ever."""
        until = self.loop.time() + _DRAIN_PATIENCE_SECONDS
        while self._is_awaited() and self.loop.time() < until:  # noqa: ASYNC110 - in virtual time
            await asyncio.sleep(2.0)

    def _is_awaited(self) -> bool:
        unsent = len(self._sent) < len(self.scenario.sends)
        return unsent or self._to_come > 0 or self.queue.remaining > 0

    @property
    def longest_stop_seconds(self) -> float:
        """The last poll, the drain, and the release: what a stop may take at most.

        In a release each batch succeeds once, and each attempt ends at its first failure.
        """
        limits = self.scenario.limits
        poll = self.scenario.wait_seconds + CALL_TIMEOUT_SECONDS
        calls = ceil(limits.max_in_flight_messages / MESSAGES_A_CALL) + RELEASE_ATTEMPTS
        pauses = (RELEASE_ATTEMPTS - 1) * limits.max_pause_seconds
        release = calls * CALL_TIMEOUT_SECONDS + pauses
        return poll + limits.drain_seconds + release + _STOP_SLACK_SECONDS

    def _report_if_stuck(self, name: str) -> None:
        if name in self._alive:
            self._violations.append(Violation(Kind.STUCK, f"{name} does not stop in time"))

    async def finish(self) -> Result:
        """Stop every replica, judge, and clean up."""
        self._is_over = True
        stopping = list(self._alive.values())
        for replica in stopping:
            self._note(replica.name, End.STOPPED)
            replica.stop.set()
        if tasks := [replica.task for replica in stopping if replica.task]:
            await asyncio.wait(tasks, timeout=self.longest_stop_seconds)
        for name in self._alive:
            self._violations.append(Violation(Kind.STUCK, f"{name} does not stop"))
        for failure in self.loop.failures:
            self._violations.append(Violation(Kind.RAISED, f"in the loop: {failure!r}"))
        result = Result(self.verdict(), tuple(self._log))
        await self._clean_up()
        return result

    def verdict(self) -> Verdict:
        """What the checker says of all that happened until now."""
        hidden = self.queue.hidden
        verdict = check(
            rules=self._service.rules,
            sent=self._sent,
            history=_history(self._log),
            contents=self.database.contents(),
            left=Left(self.queue.remaining - hidden, hidden),
        )
        return verdict.and_also(self._violations)

    def send(self, body: str) -> None:
        """Put a message on the queue."""
        (message_id,) = self.queue.send(body)
        self._sent.append(Sent(message_id, body, self.queue.sent_ms(message_id)))
        self._note("", f"sent {message_id}")

    def start(self, slot: int) -> None:
        """Start a replica in a slot, unless the run is over."""
        if self._is_over:
            return
        self._started += 1
        name = f"{slot}.{self._started}"
        context = self._outside.copy()
        context.run(PROCESS.set, name)
        self._note(name, "starts")
        context.run(self._start_in_its_context, name, slot)

    def _start_in_its_context(self, name: str, slot: int) -> None:
        link, service, stop = Link(name, self), self._service, asyncio.Event()
        pipeline = service.pipeline(
            source=service.source(link, self.queue),
            sink=service.sink(link, self.database),
            transform=service.transform,
            limits=self.scenario.limits,
            emit=lambda event: self._note(name, event),
            clock=self.loop.time,
            uniform=self._uniform,
        )
        replica = _Replica(name, slot, stop, pipeline)
        self._alive[name] = replica
        replica.task = self.loop.create_task(self._run(replica))

    async def _run(self, replica: _Replica) -> None:
        try:
            await replica.pipeline.run(replica.stop)
        except asyncio.CancelledError:
            self._gone(replica, replica.restart_seconds)
            raise
        except Exception as error:  # noqa: BLE001 - reported as a violation
            self._note(replica.name, error)
            self._violations.append(Violation(Kind.RAISED, f"{replica.name}: {error!r}"))
        else:
            held = [key for key, name in self._holder.items() if name == replica.name]
            blamed = held if self._is_blamed(replica.name) else ()
            self._note(replica.name, Stopped(replica.name, tuple(blamed), self.loop.time()))
        self._gone(replica, replica.restart_seconds)

    def _end(self, ending: Ending) -> None:
        for replica in list(self._alive.values()):
            if replica.slot == ending.slot and replica.task and not replica.stop.is_set():
                replica.restart_seconds = ending.pause
                self.end(replica.name, ending.end)

    def end(self, name: str, end: End) -> None:
        """End a replica that is alive."""
        replica = self._alive[name]
        if end is End.KILLED:
            self.kill(name)
            return
        self._note(name, end)
        replica.stop.set()
        self.loop.call_later(
            self.longest_stop_seconds, self._report_if_stuck, name, context=self._outside
        )
        if end is End.CANCELLED and replica.task:
            self.loop.call_later(5 * self.random(), replica.task.cancel)

    @property
    def alive(self) -> Sequence[str]:
        """The names of the replicas that run."""
        return list(self._alive)

    def fault(self, replica: str, operation: str) -> CallFault | None:
        """The fault that a call meets now, if any."""
        now = self.loop.time()
        for window in self.fault_windows:
            if window.operation == operation and window.start <= now < window.end:
                if self.random() >= window.chance:
                    continue
                self._note(replica, f"{operation} {window.fault}")
                if operation != COMMIT:
                    self._faulty_until[replica] = now + _BLAMELESS_SECONDS
                return window.fault
        return None

    def note(self, step: Step, messages: Sequence[Message], replica: str) -> None:
        """Remember what a replica did or learned."""
        now = self.loop.time()
        for message in messages:
            self._log.append((now, replica, Entry(step, message.message_id, replica, now)))

    def delivered(self, messages: Sequence[Message], replica: str) -> None:
        """The queue hides these messages on behalf of a replica from now on."""
        for message in messages:
            self._holder[message.message_id] = replica

    def kill(self, replica: str) -> None:
        """End a replica as kill -9 does."""
        if replica in self._alive:
            self._note(replica, End.KILLED)
            self.loop.kill(replica)
            pause = self._alive[replica].restart_seconds or _RESTART_SECONDS * self.random()
            self._gone(self._alive[replica], pause)

    def travel(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call after a packet's time and `seconds` more, even if the replica is killed."""
        delay = seconds + _PACKET_SECONDS * self.random()
        self.loop.call_later(delay, callback, context=self._outside)

    def later(self, callback: Callable[[], None]) -> None:
        """Call soon or late: during the commit or the delete, after it, or long after."""

        def come() -> None:
            self._to_come -= 1
            callback()

        self._to_come += 1
        seconds = self.random() ** 4 * _LATER_SECONDS
        self.loop.call_later(seconds, come, context=self._outside)

    def _gone(self, replica: _Replica, pause: float) -> None:
        if self._alive.pop(replica.name, None) and replica.task:
            self._ended.append(replica.task)
            self.loop.call_later(pause, self.start, replica.slot, context=self._outside)

    def _seen_by_queue(self, step: Step, message: Message) -> None:
        holder = self._holder.get(message.message_id, "")
        if step is Step.EXPIRED and not (holder in self._alive and self._is_blamed(holder)):
            return
        if step in (Step.DELETED, Step.RELEASED):
            self._holder.pop(message.message_id, None)
        self.note(step, [message], holder)

    def _seen_by_database(self, step: Step, message: Message) -> None:
        self.note(step, [message], "")

    def _is_blamed(self, replica: str) -> bool:
        return self.loop.time() >= self._faulty_until.get(replica, 0.0)

    def _note(self, replica: str, what: object) -> None:
        self._log.append((self.loop.time(), replica, what))

    def _pick(self, count: int) -> int:
        return int(self.random() * count)

    async def _clean_up(self) -> None:
        self.loop.resume_killed()
        alive = [replica.task for replica in self._alive.values() if replica.task]
        tasks = [*self._ended, *alive]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _history(
    log: Sequence[tuple[float, str, object]],
) -> Iterator[Entry | Counted | Stopped]:
    for at, replica, what in log:
        match what:
            case Entry() | Stopped():
                yield what
            case telemetry.Committed():
                quarantined = sum(what.quarantined.values())
                yield Counted(replica, what.rows, quarantined, at=at)
            case telemetry.Deleted():
                yield Counted(replica, deleted=what.count, at=at)
            case _:
                pass
