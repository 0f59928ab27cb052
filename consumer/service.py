"""Builds the service from its settings, starts it and ends it: here the order is the point."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from typing import TypeVar

from consumer.errors import (
    ConsumerError,
    DatabaseError,
    DatabaseRefusedError,
    KeySourceError,
    QueueError,
    QueueRefusedError,
)
from consumer.events.model import load_model, table_of
from consumer.events.table import ColumnKinds, Table
from consumer.events.transform import Transform
from consumer.key_reload import registered_key_ring, reload_key_ring
from consumer.keys.sources import KeySource, load_key_ring, warnings_of
from consumer.masking.key_ring import KeyRing
from consumer.pipeline.pipeline import Limits, Pipeline
from consumer.pipeline.retrying import Backoff
from consumer.postgres.connection import ConnectionSettings, briefly_connected
from consumer.postgres.inspect import inspect_table
from consumer.postgres.key_registry import register_fingerprints
from consumer.postgres.pruning import prune_ledger
from consumer.postgres.sink import PostgresSink
from consumer.runtime import on_hangup, on_termination
from consumer.settings.endpoints import connection_settings_of, key_source_of, queue_address_of
from consumer.settings.sections import Settings
from consumer.sqs.address import QueueAddress
from consumer.sqs.answers import Transport
from consumer.sqs.client import open_transport
from consumer.sqs.facts import QueueFacts, queue_facts
from consumer.sqs.source import SqsSource
from consumer.telemetry import events as telemetry
from consumer.telemetry.events import Listener
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serve_http
from consumer.telemetry.logs import Logger, log_events
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.totals import Totals

# `drain` ends after this many empty receives in a row with nothing in flight; each is a long poll,
# so it has asked all of SQS's servers.
_EMPTY_RECEIVES = 2
_DRAIN_WAIT_SECONDS = 1
# A poll this much past its own deadline will never end: the process is to be started anew.
_WATCHDOG_SECONDS = 10.0
_COMES_AGAIN = "what was not deleted comes again after the queue's visibility timeout"

_T = TypeVar("_T")


class GraceExceededError(ConsumerError):
    """The stop took longer than shutdown.grace_seconds; what is held comes again by itself."""


class StoppedAtOnceError(ConsumerError):
    """A second signal came before the stop was over; what is held comes again by itself."""


async def serve(
    settings: Settings, logger: Logger, *, until_empty: bool, listeners: Sequence[Listener] = ()
) -> Totals:
    """Consume until SIGTERM or SIGINT, or with `until_empty` until the queue has run empty.

    A second signal ends it at once. SIGHUP has the key ring read again.

    Raises:
        ExceptionGroup: of these errors.
        SettingsError, KeyRingError: before anything is contacted, or at the guard table.
        QueueRefusedError, DatabaseRefusedError: a queue, table, column or right is missing.
        GraceExceededError: the stop took too long.
        StoppedAtOnceError: a second signal came.
    """
    service = _Service(settings, logger, listeners, until_empty=until_empty)
    stop, stop_at_once = asyncio.Event(), asyncio.Event()
    with on_termination(stop.set, stop_at_once.set), on_hangup(service.reload_asked.set):
        async with asyncio.TaskGroup() as tasks:
            bounds = [
                tasks.create_task(_end_after(stop, settings.shutdown.grace_seconds)),
                tasks.create_task(_end_at_once(stop_at_once)),
            ]
            await service.run(stop)
            for bound in bounds:
                bound.cancel()
    return service.totals


async def _end_after(stop: asyncio.Event, grace_seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(grace_seconds)
    raise GraceExceededError(
        f"the stop took longer than shutdown.grace_seconds ({grace_seconds} s): {_COMES_AGAIN}"
    )


async def _end_at_once(signalled: asyncio.Event) -> None:
    await signalled.wait()
    raise StoppedAtOnceError(f"stopped at once, at the second signal: {_COMES_AGAIN}")


class _Service:
    """Everything that one run holds, in the order in which it is taken."""

    def __init__(
        self,
        settings: Settings,
        logger: Logger,
        listeners: Sequence[Listener],
        *,
        until_empty: bool,
    ) -> None:
        clock = asyncio.get_running_loop().time
        self.totals = Totals()
        self.reload_asked = asyncio.Event()  # set by SIGHUP
        self._settings = settings
        self._until_empty = until_empty
        self._wait_seconds = settings.sqs.wait_seconds
        if until_empty:
            self._wait_seconds = min(self._wait_seconds, _DRAIN_WAIT_SECONDS)
        self._pipeline: Pipeline | None = None
        self._health = Health(self._poll_is_overdue)
        self._metrics = Metrics(in_flight=self._in_flight, now=time.time)
        self._emit = telemetry.to_all(
            self.totals.listen,
            self._metrics.listen,
            self._health.listen,
            log_events(logger, clock),
            *listeners,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Start, consume until `stop` is set, and end in the reverse order.

        What is wrong with our own settings shows before anything is contacted. The port opens
        next, so that whoever looks sees why a start takes long. The queue comes last: no message
        is taken before it is certain that it can be masked and written.
        """
        settings = self._settings
        source = key_source_of(settings)
        model = load_model(settings.event.model)
        table = table_of(model)
        server = connection_settings_of(settings)
        address = queue_address_of(settings, self._wait_seconds)
        async with AsyncExitStack() as stack:
            port = await stack.enter_async_context(
                serve_http(settings.http, self._health, self._metrics.render)
            )
            self._emit(telemetry.Listening(settings.http.host, port))
            ring = await self._once_reachable(stop, lambda: self._key_ring(source))
            if ring is None:
                return
            kinds = await self._once_reachable(stop, lambda: _prepare(server, table, ring))
            if kinds is None:
                return
            sink = await stack.enter_async_context(PostgresSink(server, table, kinds))
            transport = await stack.enter_async_context(open_transport(address))
            facts = await self._once_reachable(stop, lambda: self._facts(transport, address))
            if facts is None:
                return
            queue = SqsSource(
                transport,
                address.queue_url,
                wait_seconds=self._wait_seconds,
                call_timeout_seconds=settings.sqs.call_timeout_seconds,
            )
            pipeline = self._make_pipeline(stop, queue, sink, Transform(model, kinds, ring), facts)
            self._emit(telemetry.Consuming(facts.visibility_seconds))
            reloading = reload_key_ring(
                self.reload_asked,
                lambda: registered_key_ring(source, server),
                lambda ring: pipeline.transform_with(Transform(model, kinds, ring)),
                self._emit,
            )
            await _run_beside(pipeline.run(stop), self._keep_ledger(server), reloading)

    def _make_pipeline(
        self,
        stop: asyncio.Event,
        source: SqsSource,
        sink: PostgresSink,
        transform: Transform,
        facts: QueueFacts,
    ) -> Pipeline:
        self._pipeline = Pipeline(
            source=source,
            sink=sink,
            transform=transform,
            limits=_limits(self._settings, facts),
            emit=telemetry.to_all(self._emit, self._stop_when_empty(stop)),
            clock=asyncio.get_running_loop().time,
            uniform=random.uniform,
        )
        return self._pipeline

    async def _key_ring(self, source: KeySource) -> KeyRing:
        ring = await load_key_ring(source)
        for warning in warnings_of(source):
            self._emit(telemetry.ConfigurationWarning(warning))
        self._emit(telemetry.KeyRingLoaded(ring.primary, len(ring.keys), reloaded=False))
        return ring

    async def _facts(self, transport: Transport, address: QueueAddress) -> QueueFacts:
        seconds = self._settings.sqs.call_timeout_seconds
        facts = await queue_facts(transport, address.queue_url, timeout_seconds=seconds)
        for warning in facts.warnings():
            self._emit(telemetry.ConfigurationWarning(warning))
        return facts

    async def _once_reachable(
        self, stop: asyncio.Event, attempt: Callable[[], Awaitable[_T]]
    ) -> _T | None:
        """Try until it works; None if `stop` was set first. A refusal is raised at once."""
        retry = self._settings.retry
        backoff = Backoff(retry.min_pause_ms / 1000, retry.max_pause_seconds, random.uniform)
        while not stop.is_set():
            try:
                return await attempt()
            except (QueueRefusedError, DatabaseRefusedError):
                raise
            except QueueError as error:
                pause = backoff.pause_seconds()
                self._emit(
                    telemetry.QueueFailed(
                        error.operation, error.code, refused=False, pause_seconds=pause
                    )
                )
            except KeySourceError as error:
                pause = backoff.pause_seconds()
                self._emit(telemetry.KeyRingReadFailed(error.operation, error.code, pause))
            except DatabaseError as error:
                pause = backoff.pause_seconds()
                self._emit(telemetry.DatabaseUnavailable(error.sqlstate, pause))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await stop.wait()
        return None

    async def _keep_ledger(self, server: ConnectionSettings) -> None:
        """Empty the ledger's idle slots now and then; messages do not wait for it."""
        while True:
            try:
                async with briefly_connected(server) as connection:
                    emptied = await prune_ledger(connection)
                self._emit(telemetry.LedgerPruned(len(emptied)))
            except DatabaseError as error:  # among them a missing right: `check` names it
                self._emit(telemetry.LedgerPruneFailed(error.sqlstate))
            await asyncio.sleep(self._settings.postgres.prune_interval_seconds)

    def _stop_when_empty(self, stop: asyncio.Event) -> Listener:
        """Count empty receives; one that was open beside another asked no later than that one."""
        clock = asyncio.get_running_loop().time
        empty, counted_at = 0, 0.0

        def listen(event: telemetry.TelemetryEvent) -> None:
            nonlocal empty, counted_at
            if not self._until_empty or not isinstance(event, telemetry.Received):
                return
            if event.count or self._in_flight():
                empty = 0
            elif clock() - event.seconds >= counted_at:
                empty, counted_at = empty + 1, clock()
            if empty == _EMPTY_RECEIVES:
                stop.set()

        return listen

    def _in_flight(self) -> int:
        return self._pipeline.in_flight if self._pipeline else 0

    def _poll_is_overdue(self) -> bool:
        allowed = self._wait_seconds + self._settings.sqs.call_timeout_seconds + _WATCHDOG_SECONDS
        return self._pipeline is not None and self._pipeline.longest_poll_seconds() > allowed


async def _run_beside(main: Awaitable[None], *others: Coroutine[object, object, None]) -> None:
    """Wait for `main`, and end the others with it."""
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(each) for each in others]
        await main
        for task in beside:
            task.cancel()


async def _prepare(server: ConnectionSettings, table: Table, ring: KeyRing) -> ColumnKinds:
    async with briefly_connected(server) as connection:
        kinds = await inspect_table(connection, table)
        await register_fingerprints(connection, ring.fingerprints())
    return kinds


def _limits(settings: Settings, facts: QueueFacts) -> Limits:
    flow, retry, sqs = settings.flow, settings.retry, settings.sqs
    return Limits(
        visibility_seconds=facts.visibility_seconds,
        max_pollers=sqs.max_pollers,
        max_deleters=sqs.max_concurrent_deletes,
        writers=flow.writers,
        max_in_flight_messages=flow.max_in_flight_messages,
        max_in_flight_bytes=flow.max_in_flight_bytes,
        max_batch_rows=flow.max_batch_rows,
        max_batch_bytes=flow.max_batch_bytes,
        linger_seconds=flow.linger_ms / 1000,
        min_pause_seconds=retry.min_pause_ms / 1000,
        max_pause_seconds=retry.max_pause_seconds,
        drain_seconds=settings.shutdown.drain_seconds,
    )
