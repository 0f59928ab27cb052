"""The service, from top to bottom: a run, what it opens in which order, what runs side by side."""

import asyncio
import random
import time
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

from consumer.drain_end import DrainEnd
from consumer.errors import ConsumerError, DatabaseError
from consumer.events.loading import load_model
from consumer.events.model import EventModel, table_of
from consumer.events.table import ColumnKinds, Table
from consumer.events.transform import Transform
from consumer.keys.reload import reload_key_ring
from consumer.keys.sources import KeySource, load_key_ring, warnings_of
from consumer.masking.key_ring import KeyRing
from consumer.pipeline.limits import PipelineLimits
from consumer.pipeline.pipeline import Pipeline
from consumer.pipeline.retrying import Backoff
from consumer.postgres.connection import ConnectionSettings, briefly_connected
from consumer.postgres.inspect import inspect_table
from consumer.postgres.key_registry import register_fingerprints
from consumer.postgres.schema import prune_ledger
from consumer.postgres.sink import PostgresSink, WriteStatement
from consumer.runtime import on_hangup, on_termination
from consumer.settings.endpoints import connection_settings_of, key_source_of, queue_address_of
from consumer.settings.sections import Settings, SqsSettings
from consumer.sqs.api import Transport
from consumer.sqs.client import open_transport
from consumer.sqs.queue import QueueAddress, QueueAttributes, queue_attributes
from consumer.sqs.source import SqsSource
from consumer.startup import Startup, StoppedDuringStartError
from consumer.telemetry import events as telemetry
from consumer.telemetry.events import Listener
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serve_http
from consumer.telemetry.logs import Logger, log_events
from consumer.telemetry.metrics import Metrics
from consumer.telemetry.totals import Totals

_REDELIVERED = "messages not deleted are redelivered after the queue's visibility timeout"


class GraceExceededError(ConsumerError):
    """The stop took longer than shutdown.grace_seconds; what is in flight is redelivered."""


class StoppedAtOnceError(ConsumerError):
    """A second signal came before the stop was over; what is in flight is redelivered."""


async def serve(
    settings: Settings, logger: Logger, *, until_empty: bool, listeners: Sequence[Listener] = ()
) -> Totals:
    """Consume until SIGTERM or SIGINT, or with `until_empty` until the queue is empty.

    At SIGTERM or SIGINT open polls finish, everything in flight is committed and deleted, and the
    rest is released back to the queue (`Pipeline.run`). A second signal stops at once. At SIGHUP
    the key ring is read again (keys/reload.py).

    Raises:
        ExceptionGroup: of these errors.
        SettingsError: before anything is contacted, or the HTTP port cannot be listened on.
        KeyRingError: the key ring is wrong, or not the one that the database knows.
        QueueRefusedError, DatabaseRefusedError: a queue, table, column or right is missing.
        GraceExceededError: the stop took too long.
        StoppedAtOnceError: a second signal came.
    """
    plan = _plan(settings, until_empty=until_empty)
    signals = _Signals(stop=asyncio.Event(), stop_at_once=asyncio.Event(), reload=asyncio.Event())
    observers = _observers(plan, logger, listeners)
    with (
        on_termination(signals.stop.set, signals.stop_at_once.set),
        on_hangup(signals.reload.set),
    ):
        async with asyncio.TaskGroup() as tasks:
            time_limits = [
                tasks.create_task(_fail_after(signals.stop, settings.shutdown.grace_seconds)),
                tasks.create_task(_fail_at(signals.stop_at_once)),
            ]
            with suppress(StoppedDuringStartError):
                await _run(plan, signals, observers)
            for task in time_limits:
                task.cancel()
    return observers.totals


async def _fail_after(stop: asyncio.Event, grace_seconds: float) -> None:
    await stop.wait()
    await asyncio.sleep(grace_seconds)
    raise GraceExceededError(
        f"the stop took longer than shutdown.grace_seconds ({grace_seconds} s): {_REDELIVERED}"
    )


async def _fail_at(second_signal: asyncio.Event) -> None:
    await second_signal.wait()
    raise StoppedAtOnceError(f"stopped at once, at the second signal: {_REDELIVERED}")


@dataclass(frozen=True, slots=True)
class _Signals:
    """Set by signals on the event loop; `stop` is set by the end of a drain as well."""

    stop: asyncio.Event
    stop_at_once: asyncio.Event
    reload: asyncio.Event


@dataclass(frozen=True, slots=True)
class _Plan:
    """What the settings name. Nothing is contacted for it, so a wrong setting shows first."""

    settings: Settings
    model: type[EventModel]
    table: Table
    key_source: KeySource
    connection: ConnectionSettings
    queue: QueueAddress
    wait_seconds: int
    until_empty: bool


def _plan(settings: Settings, *, until_empty: bool) -> _Plan:
    wait_seconds = settings.sqs.wait_seconds
    if until_empty:
        wait_seconds = min(wait_seconds, settings.drain.wait_seconds)
    model = load_model(settings.event.model, settings.event.path)
    return _Plan(
        settings=settings,
        model=model,
        table=table_of(model),
        key_source=key_source_of(settings),
        connection=connection_settings_of(settings),
        queue=queue_address_of(settings, wait_seconds),
        wait_seconds=wait_seconds,
        until_empty=until_empty,
    )


class PipelineProbe:
    """What metrics, health and the drain read of the pipeline: nothing until there is one.

    A poll is overdue `poll_overdue_seconds` after its wait and the call's own timeout.
    """

    def __init__(self, wait_seconds: float, sqs: SqsSettings) -> None:
        self._overdue_after_seconds = (
            wait_seconds + sqs.call_timeout_seconds + sqs.poll_overdue_seconds
        )
        self.pipeline: Pipeline | None = None  # set once, at the end of the start

    def in_flight(self) -> int:
        return self.pipeline.in_flight if self.pipeline else 0

    def poll_is_overdue(self) -> bool:
        if self.pipeline is None:
            return False
        return self.pipeline.longest_poll_seconds() > self._overdue_after_seconds


@dataclass(frozen=True, slots=True)
class _Observers:
    totals: Totals
    health: Health
    metrics: Metrics
    probe: PipelineProbe
    emit: Listener


def _observers(plan: _Plan, logger: Logger, listeners: Sequence[Listener]) -> _Observers:
    clock, logs = asyncio.get_running_loop().time, plan.settings.logs
    probe = PipelineProbe(plan.wait_seconds, plan.settings.sqs)
    totals = Totals()
    health = Health(probe.poll_is_overdue)
    metrics = Metrics(in_flight=probe.in_flight, now=time.time)
    log = log_events(logger, clock, repeat_seconds=logs.repeat_seconds)
    emit = telemetry.to_all(totals.listen, metrics.listen, health.listen, log, *listeners)
    return _Observers(totals, health, metrics, probe, emit)


async def _run(plan: _Plan, signals: _Signals, observers: _Observers) -> None:
    """Open everything, consume until `stop` is set, close everything in the reverse order.

    HTTP opens first, so that its pages show why a start takes long. The queue opens last: no
    message is received before it is certain that it can be masked and written.
    """
    emit, http = observers.emit, plan.settings.http
    startup = Startup(signals.stop, lambda: _backoff(plan.settings), emit)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(
            serve_http(http, observers.health, observers.metrics.render)
        )
        emit(telemetry.Listening(http.host, port))
        ring = await startup.reach(lambda: _load_key_ring(plan, emit))
        kinds = await startup.reach(lambda: _check_database(plan, ring))
        statement = WriteStatement(plan.table, kinds)
        sink = await stack.enter_async_context(PostgresSink(plan.connection, statement))
        transport = await stack.enter_async_context(open_transport(plan.queue))
        attributes = await startup.reach(lambda: _queue_attributes(plan, transport, emit))
        pipeline = Pipeline(
            source=_source(plan, transport, emit),
            sink=sink,
            transform=Transform(plan.model, kinds, ring),
            limits=_limits(plan.settings, attributes),
            emit=_emit_and_end_drain(plan, signals, observers),
            clock=asyncio.get_running_loop().time,
            uniform=random.uniform,
        )
        observers.probe.pipeline = pipeline
        emit(telemetry.Consuming(attributes.visibility_seconds))
        await _run_beside(
            pipeline.run(signals.stop),
            _prune_ledger(plan, emit),
            _reload_key_ring(plan, kinds, pipeline, signals.reload, emit),
        )


async def _load_key_ring(plan: _Plan, emit: Listener) -> KeyRing:
    ring = await load_key_ring(plan.key_source)
    for warning in warnings_of(plan.key_source):
        emit(telemetry.ConfigurationWarning(warning))
    emit(telemetry.KeyRingLoaded(ring.primary, len(ring.keys), reloaded=False))
    return ring


async def _check_database(plan: _Plan, ring: KeyRing) -> ColumnKinds:
    async with briefly_connected(plan.connection) as connection:
        kinds = await inspect_table(connection, plan.table)
        await register_fingerprints(connection, ring.fingerprints())
    return kinds


async def _queue_attributes(plan: _Plan, transport: Transport, emit: Listener) -> QueueAttributes:
    attributes = await queue_attributes(
        transport,
        plan.queue.queue_url,
        timeout_seconds=plan.settings.sqs.call_timeout_seconds,
    )
    for warning in attributes.warnings():
        emit(telemetry.ConfigurationWarning(warning))
    return attributes


def _source(plan: _Plan, transport: Transport, emit: Listener) -> SqsSource:
    return SqsSource(
        transport,
        plan.queue.queue_url,
        wait_seconds=plan.wait_seconds,
        call_timeout_seconds=plan.settings.sqs.call_timeout_seconds,
        now=time.time,
        emit=emit,
    )


def _limits(settings: Settings, attributes: QueueAttributes) -> PipelineLimits:
    flow, retry, sqs = settings.flow, settings.retry, settings.sqs
    return PipelineLimits(
        visibility_seconds=attributes.visibility_seconds,
        max_pollers=sqs.max_pollers,
        max_deleters=sqs.max_concurrent_deletes,
        max_extenders=sqs.max_concurrent_extends,
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


def _backoff(settings: Settings) -> Backoff:
    retry = settings.retry
    return Backoff(retry.min_pause_ms / 1000, retry.max_pause_seconds, random.uniform)


def _emit_and_end_drain(plan: _Plan, signals: _Signals, observers: _Observers) -> Listener:
    if not plan.until_empty:
        return observers.emit
    drain_end = DrainEnd(
        signals.stop.set,
        observers.probe.in_flight,
        asyncio.get_running_loop().time,
        empty_receives=plan.settings.drain.empty_receives,
    )
    return telemetry.to_all(observers.emit, drain_end.listen)


async def _run_beside(main: Awaitable[None], *others: Coroutine[object, object, None]) -> None:
    """Wait for `main`, and end the others with it."""
    async with asyncio.TaskGroup() as tasks:
        beside = [tasks.create_task(each) for each in others]
        await main
        for task in beside:
            task.cancel()


async def _prune_ledger(plan: _Plan, emit: Listener) -> None:
    """Empty the ledger's idle slots at the start and at intervals; messages do not wait for it."""
    while True:
        try:
            async with briefly_connected(plan.connection) as connection:
                emptied = await prune_ledger(connection)
            emit(telemetry.LedgerPruned(len(emptied)))
        except DatabaseError as error:  # a missing right, too: `consumer check` names it
            emit(telemetry.LedgerPruneFailed(error.sqlstate))
        await asyncio.sleep(plan.settings.postgres.prune_interval_seconds)


async def _reload_key_ring(
    plan: _Plan, kinds: ColumnKinds, pipeline: Pipeline, asked: asyncio.Event, emit: Listener
) -> None:
    async def replace(ring: KeyRing) -> None:
        async with briefly_connected(plan.connection) as connection:
            await register_fingerprints(connection, ring.fingerprints())
        pipeline.transform_with(Transform(plan.model, kinds, ring))

    await reload_key_ring(asked, plan.key_source, replace, emit)
