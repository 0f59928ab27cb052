"""`consumer audit`."""

import click

from consumer.commands.context import CommandContext
from consumer.officer.audit.store import AuditError, AuditHead, AuditVerdict, verify as follow
from consumer.postgres.connection import connected
from consumer.runtime import run_async
from consumer.settings.endpoints import connection_settings_of
from consumer.settings.sections import Settings


class _Head(click.ParamType[AuditHead]):
    name = "head"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> AuditHead:
        try:
            return AuditHead.parse(str(value))
        except ValueError:
            self.fail("write it as `audit verify` printed it, NUMBER:HASH", param, ctx)


@click.group()
def audit() -> None:
    """Check the record of who was shown or changed what."""


@audit.command()
@click.option(
    "--expect",
    "expected",
    type=_Head(),
    metavar="HEAD",
    help="A head that was printed before and kept elsewhere; it has to be in the audit still.",
)
@click.pass_obj
def verify(context: CommandContext, expected: AuditHead | None) -> None:
    """Follow the audit's chain of hashes from its first row, and print its head.

    Finds rows that were changed, removed or moved. Whoever owns the table could also write the
    chain anew from some row on; that shows only against a head that was kept elsewhere: --expect.

    \b
    Examples:
      consumer audit verify
      consumer audit verify --expect "$(cat /mnt/elsewhere/head)"
      consumer audit verify >/mnt/elsewhere/head
    """
    verdict = run_async(_verify(context.settings, expected))
    if verdict.fault is not None:
        raise AuditError(f"audit: {verdict.fault}; the chain holds up to {verdict.head}")
    click.echo(f"{verdict.head.number:,} rows, and their chain holds", err=True)
    click.echo(str(verdict.head))


async def _verify(settings: Settings, expected: AuditHead | None) -> AuditVerdict:
    async with connected(connection_settings_of(settings)) as connection:
        return await follow(connection, expected)
