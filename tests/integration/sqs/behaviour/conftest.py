"""Runs each behaviour over each server."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.integration.sqs.behaviour.differences import DIFFERENCES
from tests.integration.sqs.behaviour.servers import (
    Sqs,
    embedded,
    given_endpoint,
    in_real_time,
    moto_server,
    server_names,
)


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(params=server_names())
async def sqs(request: pytest.FixtureRequest) -> AsyncIterator[Sqs]:
    """A server; where it is known to differ from AWS, the test must fail."""
    name: str = request.param
    difference = DIFFERENCES.get(name, {}).get(request.node.originalname)
    if difference:
        # Of a test that runs once for each batch call, one may hold on that server.
        is_strict = len(request.node.callspec.params) == 1
        request.applymarker(pytest.mark.xfail(reason=difference, strict=is_strict))
    if name == "moto":
        url = request.getfixturevalue("moto_url")
        opened = in_real_time(name, url, "json", signed_by_anyone=True)
    elif name == "endpoint":
        opened = given_endpoint()
    else:
        opened = embedded("json" if name == "embedded-json" else "query")
    async with opened as server:
        yield server
