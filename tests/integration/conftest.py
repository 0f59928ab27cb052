"""What tests of the whole consumer stand on: a queue beside the database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devkit.sqs import SqsServer
from tests.consumers import Place, place


@pytest.fixture
async def sqs() -> AsyncIterator[SqsServer]:
    """An SQS server of this test's own, in this process."""
    async with SqsServer() as server:
        yield server


@pytest.fixture
def here(sqs: SqsServer, database: str, key_ring_json: str, tmp_path: Path) -> Place:
    """A queue and a migrated database, both empty, and a consumer for them."""
    return place(sqs, database, key_ring_json, tmp_path)
