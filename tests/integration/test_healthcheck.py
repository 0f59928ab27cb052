"""The container's health check, against the real pages."""

import asyncio
import socket
import sys

from consumer.healthcheck import healthcheck
from consumer.settings.sections import HttpSettings
from consumer.telemetry.health import Health
from consumer.telemetry.http_server import serve_http


def _render(_accept: str) -> tuple[bytes, str]:
    return b"", "text/plain"


async def test_the_exit_code_says_whether_the_consumer_is_alive() -> None:
    is_overdue = False
    health = Health(lambda: is_overdue)
    async with serve_http(HttpSettings(port=0), health, _render) as port:
        assert await _run(port) == (0, '{"status": "ok"}\n')
        is_overdue = True
        code, text = await _run(port)
        assert code == 1
        assert "a receive is open past its deadline" in text
    code, text = await _run(port)
    assert (code, text) == (1, "Connection refused\n")


async def test_an_unknown_page_is_unhealthy() -> None:
    async with serve_http(HttpSettings(port=0), Health(lambda: False), _render) as port:
        assert (await asyncio.to_thread(healthcheck, [str(port), "/other"], {}))[0] is False


async def test_a_port_that_does_not_answer_is_unhealthy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        answer = await asyncio.to_thread(healthcheck, [], {"CONSUMER_HTTP__PORT": str(port)})
    assert answer == (False, "no answer in time")


async def _run(port: int) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "consumer.healthcheck"),
        env={"CONSUMER_HTTP__HOST": "0.0.0.0", "CONSUMER_HTTP__PORT": str(port)},  # noqa: S104 as in the image
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
