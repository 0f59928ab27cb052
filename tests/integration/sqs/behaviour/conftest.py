"""Runs each behaviour over each server.

Making a server and a client takes longer than most of the tests, so one of each kind serves all of
them: they share a loop, and each has queues of its own.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.sqs.behaviour.differences import BY_CHANCE, DIFFERENCES
from tests.integration.sqs.behaviour.servers import Sqs, opened, server_names


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=server_names())
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """A server with a client, for all tests."""
    async with opened(request.param) as sqs:
        yield sqs


@pytest_asyncio.fixture(loop_scope="session")
async def sqs(server: Sqs, request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """A server; where it is known to differ from AWS, the test must fail."""
    test: str = request.node.originalname
    if difference := DIFFERENCES.get(server.name, {}).get(test):
        # Of a test that runs once for each batch call, one may hold on that server.
        runs_once = len(request.node.callspec.params) == 1
        is_strict = runs_once and (server.name, test) not in BY_CHANCE
        request.applymarker(pytest.mark.xfail(reason=difference, strict=is_strict))
    yield server
    await server.delete_queues()
