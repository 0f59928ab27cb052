"""`consumer keys`."""

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

import click

from consumer.commands.context import CommandContext
from consumer.errors import DatabaseError, KeyRingError
from consumer.events.model import tokens_of
from consumer.keys.file import ring_change, write_new
from consumer.keys.sources import (
    FileSource,
    KeyFile,
    KeySource,
    KmsKeyFile,
    load_key_ring,
    warnings_of,
)
from consumer.masking.key_ring import KeyRing
from consumer.officer.keys.key_usage import key_usage
from consumer.postgres.key_registry import compare_fingerprints, first_seen
from consumer.runtime import run_async

_Edit = Callable[[KeyRing], Awaitable[KeyRing]]

_file = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The key ring's file. Default: the key ring of the settings.",
)


@click.group()
def keys() -> None:
    """Make, check and change the key ring; the keys themselves are shown only by --reveal.

    \b
    Examples:
      consumer keys new             # the first key, k1

    \b
    A rotation; after each change, give the ring to all replicas and send each a SIGHUP:
      consumer keys add k2          # every replica knows k2
      consumer remask --prepare k2  # the views of repeated values do not split meanwhile
      consumer keys promote k2      # new tokens are made with k2
      consumer remask               # old tokens are rewritten under k2
      consumer keys retire k1       # refused while k1 is in use
    """


@keys.command()
@_file
@click.option("--kid", default="k1", show_default=True, help="The key's name.")
@click.option(
    "--kms",
    "kms_key",
    metavar="KEY_ID",
    help="The KMS key that wraps the file, where masking.keyring_source is kms:PATH.",
)
@click.pass_obj
def new(context: CommandContext, path: Path | None, kid: str, kms_key: str | None) -> None:
    """Make a key ring of one new key.

    Only the owner may read its file. An existing file is never replaced. Store a copy of the ring
    elsewhere: without it nobody can recover the values that it masked.

    \b
    Examples:
      consumer keys new --file keyring.json
      consumer keys new --kms alias/login-consumer
    """
    source = _key_file(_source(context, path))
    if isinstance(source, KmsKeyFile) != (kms_key is not None):
        raise click.UsageError("give --kms exactly when masking.keyring_source is kms:PATH")
    ring = KeyRing.generate(kid, os.urandom)
    write_new(source.path, run_async(source.content(ring, kms_key)))
    click.echo(f"{source.path}: created with the key {kid}")


@keys.command()
@_file
@click.pass_obj
def check(context: CommandContext, path: Path | None) -> None:
    """List everything that is wrong with the key ring.

    One line each; the exit code is 1 if anything is wrong. `consumer check` also compares the ring
    with the key registry of the database.

    \b
    Examples:
      consumer keys check
      consumer keys check --file keyring.json
    """
    source = _source(context, path)
    try:
        ring = run_async(load_key_ring(source))
    except KeyRingError as error:
        for fault in error.faults:
            click.echo(f"FAIL {fault}")
        raise click.exceptions.Exit(1) from None
    for warning in warnings_of(source):
        click.echo(f"warn {warning}")
    click.echo(f"ok   keys: {', '.join(ring.kids)}; the first is the primary")


@keys.command("list")
@_file
@click.option("--reveal", is_flag=True, help="Print the ring itself as JSON, with the keys.")
@click.pass_obj
def list_(context: CommandContext, path: Path | None, *, reveal: bool) -> None:
    """List the keys without showing them.

    Name, state, and when the database first saw each key, if it answers.

    \b
    Examples:
      consumer keys list
      consumer keys list --reveal >/mnt/safe/keyring.json
    """
    ring = run_async(load_key_ring(_source(context, path)))
    if reveal:
        click.echo(ring.to_json())
        return
    seen = run_async(_first_seen(context))
    for kid in ring.kids:
        since = f"{seen[kid]:%Y-%m-%d %H:%M}Z" if kid in seen else "-"
        click.echo(f"{kid:<8}  {ring.keys[kid].state:<7}  {since}")


@keys.command()
@click.argument("kid", required=False)
@_file
@click.pass_obj
def add(context: CommandContext, kid: str | None, path: Path | None) -> None:
    """Add a new key, which only decrypts until it is promoted.

    Without KID it is named k2, k3 and so on.

    \b
    Examples:
      consumer keys add
      consumer keys add spring26
    """

    async def edit(ring: KeyRing) -> KeyRing:
        return ring.with_new(kid or ring.next_kid(), os.urandom)

    ring = _change(context, path, edit)
    added = list(ring.keys)[-1]
    click.echo(f"{added} added; when every replica has it: consumer keys promote {added}")


@keys.command()
@click.argument("kid")
@_file
@click.pass_obj
def promote(context: CommandContext, kid: str, path: Path | None) -> None:
    """Make KID the primary key.

    The former primary only decrypts from then on. A replica without KID keeps writing tokens of the
    former primary, so equal values get two tokens: give KID to every replica first.

    \b
    Examples:
      consumer keys promote k2
    """

    async def edit(ring: KeyRing) -> KeyRing:
        return ring.promoted(kid)

    _change(context, path, edit)
    click.echo(f"{kid} is the primary; when every replica has it: consumer remask")


@keys.command()
@click.argument("kid")
@_file
@click.pass_obj
def retire(context: CommandContext, kid: str, path: Path | None) -> None:
    """Remove KID if it is not in use.

    The database must hold no token and no quarantined body of KID. Every replica must have the new
    primary first: a replica that still masks with KID would continue. An older backup of the
    database still needs KID: store the ring's old file with it.

    \b
    Examples:
      consumer keys retire k1
    """

    async def edit(ring: KeyRing) -> KeyRing:
        after = ring.without(kid)
        await _require_unused(context, ring, kid)
        return after

    _change(context, path, edit)
    click.echo(f"{kid} retired")


async def _require_unused(context: CommandContext, ring: KeyRing, kid: str) -> None:
    """Raise KeyRingError unless this ring's database holds nothing of the key."""
    model = context.model
    async with context.connected() as connection:
        await compare_fingerprints(connection, ring.fingerprints())
        # A wrong or empty database has no token of the key either.
        if ring.primary not in await first_seen(connection):
            raise KeyRingError(
                f"{kid} is not retired: this database has never seen the primary {ring.primary}."
                " Check that it is the database of this ring and that a replica has the ring"
            )
        usage = await key_usage(
            connection, model.table, [token.column for token in tokens_of(model)], kid
        )
    if usage:
        raise KeyRingError(f"{kid} is in use: {usage}; run `consumer remask`")


def _change(context: CommandContext, path: Path | None, edit: _Edit) -> KeyRing:
    """Change the ring in its file, print the path of the backup, return the new ring."""
    source = _key_file(_source(context, path))
    ring, backup = run_async(_replace(source, edit))
    click.echo(f"{source.path}: changed; backup: {backup}", err=True)
    return ring


async def _replace(source: FileSource, edit: _Edit) -> tuple[KeyRing, Path]:
    with ring_change(source.path) as change:
        stored = await source.read()
        ring = await edit(KeyRing.parse(stored.text))
        return ring, change.replace(await source.content(ring, stored.kms_key))


def _source(context: CommandContext, path: Path | None) -> KeySource:
    return context.key_source if path is None else KeyFile(path)


def _key_file(source: KeySource) -> FileSource:
    if isinstance(source, KeyFile | KmsKeyFile):
        return source
    raise click.ClickException(
        "the settings do not name a file, and this command only changes files: change a copy with"
        " --file and store it where the ring is; `consumer keys list --reveal` prints the ring"
    )


async def _first_seen(context: CommandContext) -> Mapping[str, datetime]:
    """When the database first saw each key; empty without a database."""
    if context.settings.postgres.dsn is None:
        return {}
    try:
        async with context.connected() as connection:
            return await first_seen(connection)
    except DatabaseError as error:
        click.echo(f"first seen: unknown, {error}", err=True)
        return {}
