"""`consumer quarantine`."""

from collections.abc import Mapping, Sequence, Set as AbstractSet
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import click

from consumer.commands.context import CommandContext
from consumer.events.model import EventModel, load_model
from consumer.keys.sources import load_key_ring
from consumer.masking.key_ring import KeyRing
from consumer.messages import Reason
from consumer.officer.quarantine.replay import Replay, Replayed, opened_on_record, reason_text
from consumer.officer.quarantine.store import Entry, Group, Selection, entries, groups
from consumer.postgres.connection import connected
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of, key_source_of
from consumer.settings.sections import Settings
from consumer.telemetry.redaction import escaped

_HEADER = ("event", "reason", "field", "messages", "first day", "last day")
_MAX_BODY_BYTES = 1024 * 1024

_reason_option = click.option(
    "--reason",
    default="",
    help="Why; it goes on record. Required where something is shown or done.",
)
_only_option = click.option(
    "--only",
    type=click.Choice([reason.value for reason in Reason]),
    help="Those that are there for this reason.",
)
_day_option = click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Those that were sent on this day, in UTC."
)


@click.group()
def quarantine() -> None:
    """See what was no valid event, and replay it.

    \b
    Examples:
      consumer quarantine list
      consumer quarantine show 17 --reason "ticket 4711"
      consumer quarantine replay --only bad_version --dry-run --reason "ticket 4711"
    """


@quarantine.command("list")
@click.option(
    "--each", is_flag=True, help="A line for each message, with its id, not for each reason."
)
@_only_option
@_day_option
@click.pass_obj
def list_(context: CommandContext, *, each: bool, only: str | None, day: datetime | None) -> None:
    """Count the messages in quarantine by reason. Nothing of a body is shown.

    Days are those on which the messages were sent, in UTC.

    \b
    Examples:
      consumer quarantine list
      consumer quarantine list --each --only bad_version
    """
    if (only or day) and not each:
        raise click.UsageError("--only and --day go with --each")
    settings = context.settings
    if each:
        run_async(_list_each(settings, _selection((), only, day)))
    else:
        _print_groups(run_async(_groups(settings)))


@quarantine.command()
@click.argument("ids", nargs=-1, type=int, required=True, metavar="ID...")
@_reason_option
@click.pass_obj
def show(context: CommandContext, ids: tuple[int, ...], reason: str) -> None:
    """Decrypt bodies, a line each on standard output; what they are goes to standard error.

    What could start a line or control the terminal is escaped. Nothing is shown before it is on
    record in consumer.audit.

    \b
    Examples:
      consumer quarantine show 17 --reason "ticket 4711"
    """
    _require_reason(reason)
    settings = context.settings
    if run_async(_show(settings, _ring(settings), ids, reason)):
        raise click.exceptions.Exit(1)


@quarantine.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID...]")
@_only_option
@_day_option
@click.option("--all", "everything", is_flag=True, help="All that are there.")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would become of them.")
@click.option("--edit", is_flag=True, help="Open each body in $EDITOR first.")
@click.option(
    "--body",
    type=click.File("rb"),
    metavar="FILE",
    help="Take this as the body of the one message named; - is standard input.",
)
@_reason_option
@click.pass_obj
def replay(
    context: CommandContext,
    *,
    ids: tuple[int, ...],
    only: str | None,
    day: datetime | None,
    everything: bool,
    dry_run: bool,
    edit: bool,
    body: BinaryIO | None,
    reason: str,
) -> None:
    """Validate and mask messages again, as after a mended model; write those that pass.

    Each that passes leaves the quarantine and becomes a row in one transaction: it lands once, with
    its own message id and day, however often and wherever this runs. The rest stays, with the
    reason that it has now. A body that was edited and does not pass is dropped, the original stays.

    With --edit the body is in a file of a temporary folder that only you can read, until the editor
    ends; showing it goes on record before. The exit code is 1 if any message stays.

    \b
    Examples:
      consumer quarantine replay --only bad_version --dry-run
      consumer quarantine replay --only bad_version --reason "versions of 4 parts are in the model"
      consumer quarantine replay 17 --edit --reason "ticket 4711"
      consumer quarantine replay 17 --body - --reason "ticket 4711" <mended.json
    """
    if not (ids or only or day or everything):
        raise click.UsageError("say which: IDs, --only, --day or --all")
    if (edit and not ids) or (body is not None and (len(ids) != 1 or edit)):
        raise click.UsageError(
            "--edit goes with IDs, --body with one ID, and one without the other"
        )
    if not dry_run or edit:
        _require_reason(reason)
    settings = context.settings
    ring = _ring(settings)
    bodies: Mapping[int, str] = {}
    if body is not None:
        bodies = {ids[0]: _text(body.read(_MAX_BODY_BYTES + 1))}
    elif edit:
        bodies = run_async(_edited(settings, ring, ids, reason))
        if not bodies:  # a selection of no ids would be one of all
            raise click.exceptions.Exit(1)
    replaying = Replay(_model(settings), ring, bodies, reason)
    selection = _selection(tuple(bodies) or ids, only, day)
    if dry_run:
        done = run_async(replaying.dry_run(connection_settings_of(settings), selection))
    else:
        done = run_async(replaying.run(connection_settings_of(settings), selection))
    if not _tell(done, set(ids), "would land" if dry_run else "landed"):
        raise click.exceptions.Exit(1)


def _selection(ids: Sequence[int], only: str | None, day: datetime | None) -> Selection:
    return Selection(ids or None, Reason(only) if only else None, day.date() if day else None)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise click.UsageError("--reason is missing or empty: it goes on record")


async def _groups(settings: Settings) -> list[Group]:
    async with connected(connection_settings_of(settings)) as connection:
        return await groups(connection)


def _print_groups(found: Sequence[Group]) -> None:
    rows = [tuple("" if part is None else str(part) for part in astuple(each)) for each in found]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    for row in (_HEADER, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


async def _list_each(settings: Settings, selection: Selection) -> None:
    async with connected(connection_settings_of(settings)) as connection:
        async for entry in entries(connection, selection):
            click.echo(_described(entry))


async def _show(settings: Settings, ring: KeyRing, ids: Sequence[int], reason: str) -> set[int]:
    """Show the bodies of `ids`; return those that were not."""
    missing = set(ids)
    async with connected(connection_settings_of(settings)) as connection:
        opened = opened_on_record(connection, _model(settings), ring, ids, reason)
        async for entry, body in opened:
            missing.discard(entry.id)
            click.echo(_described(entry), err=True)
            click.echo(escaped(body))
    return missing


async def _edited(
    settings: Settings, ring: KeyRing, ids: Sequence[int], reason: str
) -> dict[int, str]:
    """The bodies of `ids` as the editor leaves them; without those that cannot be opened."""
    async with connected(connection_settings_of(settings)) as connection:
        opened = opened_on_record(connection, _model(settings), ring, ids, reason)
        bodies = {entry.id: body async for entry, body in opened}
    return {entry_id: _edit(body) for entry_id, body in bodies.items()}


def _edit(body: str) -> str:
    """Have the body edited, in a folder of its own: editors leave copies beside a file."""
    with TemporaryDirectory(prefix="consumer-") as folder:
        path = Path(folder, "body.json")
        path.touch(0o600)
        path.write_bytes(body.encode("utf-8", "surrogatepass"))
        click.edit(filename=str(path))
        return _text(path.read_bytes())


def _text(body: bytes) -> str:
    if len(body) > _MAX_BODY_BYTES:
        raise click.ClickException("the body is longer than 1 MiB, which SQS would not carry")
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        pass  # raised below: the cause holds the body
    raise click.ClickException("the body is not UTF-8 text")


def _described(entry: Entry) -> str:
    sent = datetime.fromtimestamp(entry.sent_ms / 1000, UTC).isoformat(timespec="milliseconds")
    why = reason_text(entry.reason, entry.field_name)
    return f"{entry.id}: message {entry.message_id}, sent {sent}, {why}, sealed under {entry.kid}"


def _tell(done: Replayed, ids: AbstractSet[int], lands: str) -> bool:
    """Say what was done; return whether nothing stays."""
    click.echo(f"{done.landed:,} {lands}")
    for why, count in sorted(done.stays.items()):
        click.echo(f"{count:,} {'stays' if count == 1 else 'stay'}: {why}")
    missing = ids - done.seen
    for entry_id in sorted(missing):
        click.echo(f"{entry_id}: not in quarantine, or in the hands of another replay", err=True)
    return not done.stays and not missing


def _model(settings: Settings) -> type[EventModel]:
    return load_model(settings.event.model)


def _ring(settings: Settings) -> KeyRing:
    return run_async(load_key_ring(key_source_of(settings)))
