"""`consumer audit`."""

import click

from consumer.commands.context import CommandContext
from consumer.officer.audit.store import AuditError, AuditHead, AuditVerdict, verify as verify_chain
from consumer.runtime import run_async


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
    """Verify the audit: who recovered, showed, replayed, erased or remasked what, and why."""


@audit.command()
@click.option(
    "--expect",
    "expected",
    type=_Head(),
    metavar="HEAD",
    help="A head that was printed before and kept elsewhere; it must still be part of the audit.",
)
@click.pass_obj
def verify(context: CommandContext, expected: AuditHead | None) -> None:
    """Follow the audit's chain of hashes from its first row, and print its head.

    Finds rows that were changed, removed or moved. The owner of the table could write the chain
    anew from some row on. Only a head that was kept elsewhere shows that: --expect.

    A row's hash is that of its payload, which sha256sum can check without this program.

    \b
    Examples:
      consumer audit verify
      consumer audit verify --expect "$(cat /mnt/elsewhere/head)"
      consumer audit verify >/mnt/elsewhere/head
      psql -Atc "SELECT payload FROM consumer.audit WHERE number = 7" | sha256sum
    """
    verdict = run_async(_verify(context, expected))
    if verdict.fault is not None:
        raise AuditError(f"audit: {verdict.fault}; the chain holds up to {verdict.head}")
    click.echo(f"rows: {verdict.head.number:,}; the chain holds", err=True)
    click.echo(str(verdict.head))


async def _verify(context: CommandContext, expected: AuditHead | None) -> AuditVerdict:
    async with context.connected() as connection:
        return await verify_chain(connection, expected)
