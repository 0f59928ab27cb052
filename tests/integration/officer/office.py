"""What an officer works with in tests: a database with logins, a key ring, and the command line."""

import asyncio
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import asyncpg
from click.testing import CliRunner

from consumer.cli import cli
from consumer.events.model import table_of
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import Message
from consumer.postgres.connection import ConnectionSettings, connected
from consumer.postgres.inspect import inspect_table
from consumer.postgres.sink import PostgresSink, WriteStatement
from tests.databases import as_role

SENT_MS = 1_700_000_000_000
DAY_MS = 86_400_000
USER_LOGINS = table_of(UserLogin)

LOGIN: Mapping[str, object] = {
    "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
    "app_version": "2.3.0",
    "device_type": "android",
    "ip": "199.172.111.135",
    "locale": "RU",
    "device_id": "593-47-5928",
}


def login(**values: object) -> str:
    """The body of a login; valid unless `values` are not."""
    return json.dumps({**LOGIN, **values})


def message(body: str, sent_ms: int = SENT_MS) -> Message:
    return Message(str(uuid.uuid4()), "a handle", body, sent_ms, len(body))


@dataclass(frozen=True)
class Shown:
    """What a command left: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Office:
    """The command line on a database and a key ring."""

    dsn: str
    ring: KeyRing
    variables: Mapping[str, str] = field(default_factory=dict)

    async def consumer(self, *arguments: str, stdin: str | bytes = "") -> Shown:
        """Run a command in this process, beside the test's own event loop."""
        return await asyncio.to_thread(self._consumer, arguments, stdin)

    def _consumer(self, arguments: Sequence[str], stdin: str | bytes) -> Shown:
        variables = {
            "CONSUMER_POSTGRES__DSN": self.dsn,
            "CONSUMER_MASKING__KEYRING": self.ring.to_json(),
            "CONSUMER_HTTP__PORT": "0",
            **self.variables,
        }
        ended = CliRunner().invoke(cli, arguments, input=stdin, env=variables)
        return Shown(ended.exit_code, ended.stdout, ended.stderr)

    async def consume(self, *bodies: str, sent_ms: int = SENT_MS) -> list[Message]:
        """Write messages as the service does; return them."""
        messages = [message(body, sent_ms) for body in bodies]
        await self.write(messages)
        return messages

    async def write(self, messages: Sequence[Message]) -> None:
        async with connected(ConnectionSettings(self.dsn)) as connection:
            kinds = await inspect_table(connection, USER_LOGINS)
        transform = Transform(UserLogin, kinds, self.ring)
        async with PostgresSink(
            ConnectionSettings(self.dsn), WriteStatement(USER_LOGINS, kinds)
        ) as sink:
            await sink.write([transform(each) for each in messages])

    async def fetch(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Ask the database as its owner."""
        async with connected(ConnectionSettings(self.dsn)) as connection:
            return await connection.fetch(query, *arguments)

    async def tokens(self, column: str) -> list[str]:
        """A column's tokens, in the order in which they were written."""
        query = f"SELECT {column} FROM user_logins ORDER BY ctid"  # noqa: S608 - the test's own
        return [record[0] for record in await self.fetch(query)]

    def as_role(self, name: str) -> "Office":
        """The same, logged in as another role."""
        return replace(self, dsn=as_role(self.dsn, name))

    def with_ring(self, ring: KeyRing) -> "Office":
        return replace(self, ring=ring)


def rotated(ring: KeyRing, kid: str, randomness: bytes) -> KeyRing:
    """The ring with a new primary key; the keys that were there only decrypt."""
    document = json.loads(ring.to_json())
    for key in document["keys"].values():
        key["state"] = "decrypt"
    fresh = json.loads(KeyRing.generate(kid, lambda _: randomness).to_json())
    document["keys"] |= fresh["keys"]
    return KeyRing.parse(json.dumps({**document, "primary": kid}))
