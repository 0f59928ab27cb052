"""`consumer migrate`."""

import click

from consumer.commands.context import CommandContext
from consumer.events.model import duplicates_views_of, tokens_of
from consumer.postgres.schema import add_column, grant_roles, migrate as bring_up_to_date
from consumer.runtime import run_async


@click.command()
@click.option(
    "--with",
    "columns",
    multiple=True,
    metavar="COLUMN",
    help="Add an optional column to the event's table, such as ip_subnet_masked.",
)
@click.option(
    "--roles",
    is_flag=True,
    help="Create the group roles consumer_writer, _analyst, _officer and _maintenance.",
)
@click.pass_obj
def migrate(context: CommandContext, columns: tuple[str, ...], *, roles: bool) -> None:
    """Create or upgrade schema `consumer`, and create the event's table if it does not exist.

    An existing table is never altered, except for a column that --with asks for. Several migrations
    may run at once. The roles of --roles cannot log in: grant them to roles that can.

    \b
    Examples:
      consumer migrate
      consumer migrate --with ip_subnet_masked
      consumer migrate --roles && psql -c 'GRANT consumer_analyst TO alice'
      CONSUMER_POSTGRES__DSN=postgresql://owner@db/logins consumer migrate
    """
    done = run_async(_migrate(context, columns, roles=roles))
    for line in done or ("nothing to do",):
        click.echo(line)


async def _migrate(context: CommandContext, columns: tuple[str, ...], *, roles: bool) -> list[str]:
    table, views = context.table, duplicates_views_of(context.model)
    async with context.connected() as connection:
        done = [*await bring_up_to_date(connection, table, views)]
        for name in columns:
            done += await add_column(connection, table, name)
        if roles:
            masked = tuple(token.column for token in tokens_of(context.model))
            done += await grant_roles(connection, table, views, masked)
    return done
