"""`consumer keys`."""

import os
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

import click

from consumer.commands.context import CommandContext
from consumer.errors import DatabaseError, KeyRingError
from consumer.events.model import load_model, tokens_of
from consumer.keys.file import ring_change, write_new
from consumer.keys.sources import (
    FileSource,
    KeyFile,
    KeySource,
    KmsKeyFile,
    content_of,
    load_key_ring,
    read_ring,
    warnings_of,
)
from consumer.masking.key_ring import KeyRing
from consumer.officer.keys.tokens_left import tokens_left
from consumer.postgres.connection import connected
from consumer.postgres.key_registry import compare_fingerprints, first_seen
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of, key_source_of
from consumer.settings.sections import Settings

_Edit = Callable[[KeyRing], Awaitable[KeyRing]]

_file = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The ring's file. Default: where the settings say that the ring is.",
)


@click.group()
def keys() -> None:
    """Make, check and change the key ring; its keys themselves are never shown unasked.

    \b
    Examples:
      consumer keys new             # the first key, k1

    \b
    A rotation; after each change give the ring to all replicas, and SIGHUP them:
      consumer keys add k2          # every replica knows k2
      consumer remask --ahead k2    # repeated values will not split in between
      consumer keys promote k2      # new tokens are k2's
      consumer remask               # the old tokens become k2's
      consumer keys retire k1       # refused while anything of k1 is left
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
    """Make a ring of one new key.

    Its file is for its owner alone. A file that is there is never replaced. Keep a copy of the
    ring elsewhere: without it nobody can recover what it masked.

    \b
    Examples:
      consumer keys new --file keyring.json
      consumer keys new --kms alias/login-consumer
    """
    source = _key_file(_source(context.settings, path))
    if isinstance(source, KmsKeyFile) != (kms_key is not None):
        raise click.UsageError("--kms goes with a masking.keyring_source of kms:PATH, and only so")
    ring = KeyRing.generate(kid, os.urandom)
    write_new(source.path, run_async(content_of(source, ring, kms_key)))
    click.echo(f"{source.path}: made, with the key {kid}")


@keys.command()
@_file
@click.pass_obj
def check(context: CommandContext, path: Path | None) -> None:
    """Tell all that is wrong with the ring.

    A line each; the exit code is 1 if anything is. `consumer check` compares it with the database
    too.

    \b
    Examples:
      consumer keys check
      consumer keys check --file keyring.json
    """
    source = _source(context.settings, path)
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
@click.option("--reveal", is_flag=True, help="Print the ring itself, as JSON, keys and all.")
@click.pass_obj
def list_(context: CommandContext, path: Path | None, *, reveal: bool) -> None:
    """List the keys, without showing them.

    Name, state, and when the database first saw each, if it can be asked.

    \b
    Examples:
      consumer keys list
      consumer keys list --reveal >/mnt/safe/keyring.json
    """
    settings = context.settings
    ring = run_async(load_key_ring(_source(settings, path)))
    if reveal:
        click.echo(ring.to_json())
        return
    seen = run_async(_first_seen(settings))
    for kid in ring.kids:
        since = f"{seen[kid]:%Y-%m-%d %H:%M}Z" if kid in seen else "-"
        click.echo(f"{kid:<8}  {ring.keys[kid].state:<7}  {since}")


@keys.command()
@click.argument("kid", required=False)
@_file
@click.pass_obj
def add(context: CommandContext, kid: str | None, path: Path | None) -> None:
    """Add a new key that only decrypts yet.

    Without KID it is named k2, k3 and so on.

    \b
    Examples:
      consumer keys add
      consumer keys add spring26
    """

    async def edit(ring: KeyRing) -> KeyRing:
        return ring.with_new(kid or ring.next_kid(), os.urandom)

    ring = _change(context.settings, path, edit)
    added = list(ring.keys)[-1]
    click.echo(f"{added} added; once every replica has it: consumer keys promote {added}")


@keys.command()
@click.argument("kid")
@_file
@click.pass_obj
def promote(context: CommandContext, kid: str, path: Path | None) -> None:
    """Make KID the primary key.

    The one before it only decrypts from then on. A replica that does not know KID yet cannot
    recover its tokens, and gives equal values other ones: let every replica have KID first.

    \b
    Examples:
      consumer keys promote k2
    """

    async def edit(ring: KeyRing) -> KeyRing:
        return ring.promoted(kid)

    _change(context.settings, path, edit)
    click.echo(f"{kid} is the primary; once every replica has it: consumer remask")


@keys.command()
@click.argument("kid")
@_file
@click.pass_obj
def retire(context: CommandContext, kid: str, path: Path | None) -> None:
    """Remove KID, if nothing of it is left.

    The database has to prove that it holds nothing that KID masked or sealed. Every replica must
    have the new primary before: one that still masks with KID would go on. A backup of the
    database from before needs KID still, so keep the ring's old file with it.

    \b
    Examples:
      consumer keys retire k1
    """
    settings = context.settings

    async def edit(ring: KeyRing) -> KeyRing:
        after = ring.without(kid)
        await _require_unused(settings, ring, kid)
        return after

    _change(settings, path, edit)
    click.echo(f"{kid} retired")


async def _require_unused(settings: Settings, ring: KeyRing, kid: str) -> None:
    """Raise KeyRingError unless this ring's database holds nothing of the key."""
    model = load_model(settings.event.model)
    async with connected(connection_settings_of(settings)) as connection:
        await compare_fingerprints(connection, ring.fingerprints())
        # Another database, or one that is empty still, has no token of the key either.
        if ring.primary not in await first_seen(connection):
            raise KeyRingError(
                f"{kid} stays: this database has never seen the primary {ring.primary}, so it"
                " proves nothing; is it the one of this ring, and has a replica the ring already?"
            )
        columns = tuple(token.column for token in tokens_of(model))
        left = await tokens_left(connection, model.table, columns, kid)
    if left:
        raise KeyRingError(f"{kid} stays, for it is in use: {left}; run `consumer remask`")


def _change(settings: Settings, path: Path | None, edit: _Edit) -> KeyRing:
    """Change the ring in its file, and say where the old one is kept; return the new one."""
    source = _key_file(_source(settings, path))
    ring, kept = run_async(_replace(source, edit))
    click.echo(f"{source.path}: changed; as it was: {kept}", err=True)
    return ring


async def _replace(source: FileSource, edit: _Edit) -> tuple[KeyRing, Path]:
    with ring_change(source.path) as change:
        read = await read_ring(source)
        ring = await edit(KeyRing.parse(read.text))
        return ring, change.replace(await content_of(source, ring, read.kms_key))


def _source(settings: Settings, path: Path | None) -> KeySource:
    return key_source_of(settings) if path is None else KeyFile(path)


def _key_file(source: KeySource) -> FileSource:
    if isinstance(source, KeyFile | KmsKeyFile):
        return source
    raise click.ClickException(
        "the settings do not name a file with the ring, and only a file is changed here: work on a"
        " copy with --file, and put it where the ring is; `consumer keys list --reveal` shows it"
    )


async def _first_seen(settings: Settings) -> Mapping[str, datetime]:
    """When the database first saw each key; of no database nothing."""
    if settings.postgres.dsn is None:
        return {}
    try:
        async with connected(connection_settings_of(settings)) as connection:
            return await first_seen(connection)
    except DatabaseError as error:
        click.echo(f"not known when they were first seen: {error}", err=True)
        return {}
