"""`consumer quarantine`."""

from collections.abc import Mapping, Sequence, Set as AbstractSet
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import click

from consumer.commands.context import CommandContext
from consumer.masking.key_ring import KeyRing
from consumer.messages import Reason
from consumer.officer.quarantine.replay import Replay, ReplayResult, open_audited, reason_text
from consumer.officer.quarantine.store import Entry, Group, Selection, entries, groups
from consumer.runtime import run_async
from consumer.telemetry.redaction import escaped

_HEADER = ("event", "reason", "field", "messages", "first day", "last day")
_MAX_BODY_BYTES = 1024 * 1024

_reason_option = click.option(
    "--reason",
    default="",
    help="Why; it is audited. Required where something is shown or changed.",
)
_only_option = click.option(
    "--only",
    type=click.Choice([reason.value for reason in Reason]),
    help="Messages that were quarantined for this reason.",
)
_day_option = click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Messages that were sent on this day, in UTC."
)


@click.group()
def quarantine() -> None:
    """List quarantined messages; show and replay them (audited).

    \b
    Examples:
      consumer quarantine list
      consumer quarantine show 17 --reason "ticket 4711"
      consumer quarantine replay --only bad_version --dry-run --reason "ticket 4711"
    """


@quarantine.command("list")
@click.option(
    "--each", is_flag=True, help="A line for each message with its id, not for each reason."
)
@_only_option
@_day_option
@click.pass_obj
def list_(context: CommandContext, *, each: bool, only: str | None, day: datetime | None) -> None:
    """Count the quarantined messages by reason, without their bodies.

    Days are those on which the messages were sent, in UTC.

    \b
    Examples:
      consumer quarantine list
      consumer quarantine list --each --only bad_version
    """
    if (only or day) and not each:
        raise click.UsageError("--only and --day go with --each")
    if each:
        run_async(_list_each(context, _selection((), only, day)))
    else:
        _print_groups(run_async(_groups(context)))


@quarantine.command()
@click.argument("ids", nargs=-1, type=int, required=True, metavar="ID...")
@_reason_option
@click.pass_obj
def show(context: CommandContext, ids: tuple[int, ...], reason: str) -> None:
    """Decrypt bodies (audited): one line each on standard output, descriptions on standard error.

    Control characters are escaped. Every body is audited before it is shown.

    \b
    Examples:
      consumer quarantine show 17 --reason "ticket 4711"
    """
    _require_reason(reason)
    if run_async(_show(context, run_async(context.key_ring()), ids, reason)):
        raise click.exceptions.Exit(1)


@quarantine.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID...]")
@_only_option
@_day_option
@click.option("--all", "everything", is_flag=True, help="All quarantined messages.")
@click.option("--dry-run", is_flag=True, help="Change nothing; print the result.")
@click.option("--edit", is_flag=True, help="Open each body in $EDITOR first.")
@click.option(
    "--body",
    type=click.File("rb"),
    metavar="FILE",
    help="The new body of the one message named by its ID; - is standard input.",
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
    """Validate and mask messages again, after the model was corrected; write those that pass.

    A message that passes leaves the quarantine and becomes a row in one transaction, with its own
    message id and day: once, however often this runs. The rest remains, with its new reason. An
    edited body that does not pass is dropped, and the original remains.

    --edit puts the body (audited) into a temporary folder that only you can read, until the editor
    ends. The exit code is 1 if any message remains.

    \b
    Examples:
      consumer quarantine replay --only bad_version --dry-run
      consumer quarantine replay --only bad_version --reason "versions of 4 parts are in the model"
      consumer quarantine replay 17 --edit --reason "ticket 4711"
      consumer quarantine replay 17 --body - --reason "ticket 4711" <corrected.json
    """
    if not (ids or only or day or everything):
        raise click.UsageError("name messages: IDs, --only, --day or --all")
    if (edit and not ids) or (body is not None and (len(ids) != 1 or edit)):
        raise click.UsageError("--edit goes with IDs, --body with one ID; give one of the two")
    if not dry_run or edit:
        _require_reason(reason)
    ring = run_async(context.key_ring())
    bodies = _new_bodies(context, ring, ids, reason, body=body, edit=edit)
    replaying = Replay(context.model, ring, bodies, reason)
    run = replaying.dry_run if dry_run else replaying.run
    done = run_async(run(context.connection_settings, _selection(tuple(bodies) or ids, only, day)))
    if not _report(done, set(ids), "would be written" if dry_run else "written"):
        raise click.exceptions.Exit(1)


def _new_bodies(
    context: CommandContext,
    ring: KeyRing,
    ids: Sequence[int],
    reason: str,
    *,
    body: BinaryIO | None,
    edit: bool,
) -> Mapping[int, str]:
    """The bodies by id that replace those in quarantine."""
    if body is not None:
        return {ids[0]: _text(body.read(_MAX_BODY_BYTES + 1))}
    if not edit:
        return {}
    bodies = run_async(_edited(context, ring, ids, reason))
    if not bodies:  # no ids would select every message
        raise click.exceptions.Exit(1)
    return bodies


def _selection(ids: Sequence[int], only: str | None, day: datetime | None) -> Selection:
    return Selection(ids or None, Reason(only) if only else None, day.date() if day else None)


def _require_reason(reason: str) -> None:
    if not reason.strip():
        raise click.UsageError("--reason is missing or empty: it is audited")


async def _groups(context: CommandContext) -> list[Group]:
    async with context.connected() as connection:
        return await groups(connection)


def _print_groups(found: Sequence[Group]) -> None:
    rows = [tuple("" if part is None else str(part) for part in astuple(each)) for each in found]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    for row in (_HEADER, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


async def _list_each(context: CommandContext, selection: Selection) -> None:
    async with context.connected() as connection:
        async for entry in entries(connection, selection):
            click.echo(_described(entry))


async def _show(
    context: CommandContext, ring: KeyRing, ids: Sequence[int], reason: str
) -> set[int]:
    """Show the bodies of `ids`; return the ids that could not be shown."""
    missing = set(ids)
    async with context.connected() as connection:
        opened = open_audited(connection, context.model, ring, ids, reason)
        async for entry, body in opened:
            missing.discard(entry.id)
            click.echo(_described(entry), err=True)
            click.echo(escaped(body))
    return missing


async def _edited(
    context: CommandContext, ring: KeyRing, ids: Sequence[int], reason: str
) -> dict[int, str]:
    """The bodies of `ids` after editing; those that cannot be opened are missing."""
    async with context.connected() as connection:
        opened = open_audited(connection, context.model, ring, ids, reason)
        bodies = {entry.id: body async for entry, body in opened}
    return {entry_id: _edit(body) for entry_id, body in bodies.items()}


def _edit(body: str) -> str:
    """Open the editor in a folder of its own: editors leave copies beside a file."""
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


def _report(done: ReplayResult, ids: AbstractSet[int], written: str) -> bool:
    """Print the result; return whether no message remains."""
    click.echo(f"{done.written:,} {written}")
    for why, count in sorted(done.remaining.items()):
        click.echo(f"{count:,} {'remains' if count == 1 else 'remain'}: {why}")
    missing = ids - done.ids
    for entry_id in sorted(missing):
        click.echo(f"{entry_id}: not in quarantine, or locked by another replay", err=True)
    return not done.remaining and not missing
