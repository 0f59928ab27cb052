"""`consumer migrate`."""

from pathlib import Path

import click

from consumer.endpoints import server_of
from consumer.events.model import duplicates_views_of, load_model, masked_columns, table_of
from consumer.postgres.connection import connected
from consumer.postgres.roles import grant_roles
from consumer.postgres.schema import add_column, migrate as bring_up_to_date
from consumer.runtime import run_async
from consumer.settings import Settings, load_settings


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
    help="Make the group roles consumer_writer, _analyst, _officer and _maintenance.",
)
@click.pass_obj
def migrate(config: Path | None, columns: tuple[str, ...], *, roles: bool) -> None:
    """Create or upgrade schema `consumer`, and create the event's table if it is not there.

    A table that is there is never altered, but for a column that --with asks for. Several may run
    at once. The roles of --roles cannot log in: grant them to roles that can.

    \b
    Examples:
      consumer migrate
      consumer migrate --with ip_subnet_masked
      consumer migrate --roles && psql -c 'GRANT consumer_analyst TO alice'
      CONSUMER_POSTGRES__DSN=postgresql://owner@db/logins consumer migrate
    """  # noqa: D301 click takes the escape itself for "leave these lines as they are"
    done = run_async(_migrate(load_settings(config), columns, roles=roles))
    for line in done or ("nothing to do",):
        click.echo(line)


async def _migrate(settings: Settings, columns: tuple[str, ...], *, roles: bool) -> list[str]:
    model = load_model(settings.event.model)
    table, repeats = table_of(model), duplicates_views_of(model)
    async with connected(server_of(settings)) as connection:
        done = [*await bring_up_to_date(connection, table, repeats)]
        for name in columns:
            done += await add_column(connection, table, name)
        if roles:
            done += await grant_roles(connection, table, repeats, masked_columns(model))
    return done
