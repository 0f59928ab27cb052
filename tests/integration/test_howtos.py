"""The commands that the how-to's show, run as they stand there."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from devkit.sqs import SqsServer
from tests.consumers import Place, place

_HOWTOS = Path(__file__).parents[2] / "docs" / "howto"
_DEADLINE_SECONDS = 60.0


def _blocks(page: str, language: str) -> list[str]:
    text = (_HOWTOS / page).read_text("utf-8")
    return re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)


async def _run(page: str, folder: Path, variables: Mapping[str, str]) -> str:
    """Run all shell blocks of a page as one script, up to the first failure; return its output."""
    blocks = [block for block in _blocks(page, "sh") if "docker" not in block]
    assert blocks
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", "".join(blocks)),
        cwd=folder,
        env={**variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(_DEADLINE_SECONDS):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


async def test_a_rotation_goes_as_its_page_says(here: Place, tmp_path: Path) -> None:
    ring = tmp_path / "keyring.json"
    ring.write_text(here.ring_json)
    consumer = here.consumer.but(
        CONSUMER_MASKING__KEYRING="", CONSUMER_MASKING__KEYRING_FILE=str(ring)
    )
    here.send(*((_HOWTOS.parents[1] / "tests/data/login-events.jsonl").read_text().splitlines()))
    assert (await consumer.run("drain")).code == 0
    out = await _run("rotate-keys.md", tmp_path, consumer.variables)
    checked, listed = out.splitlines()[-2:]
    assert checked == "ok   keys: k2; the first is the primary"
    assert re.match(r"k2 +active", listed)


@pytest.fixture
def payments(sqs: SqsServer, empty_database: str, key_ring_json: str, tmp_path: Path) -> Place:
    """A queue and an empty database, and a folder with the page's model and messages."""
    (model,) = _blocks("add-an-event.md", "python")
    (messages,) = _blocks("add-an-event.md", "json")
    (tmp_path / "payments.py").write_text(model)
    (tmp_path / "payments.jsonl").write_text(messages)
    return place(sqs, empty_database, key_ring_json, tmp_path)


async def test_an_event_of_ones_own_goes_as_its_page_says(payments: Place, tmp_path: Path) -> None:
    out = await _run("add-an-event.md", tmp_path, payments.consumer.variables)
    header, row = out.splitlines()[-2:]
    assert header == "account,cents,masked_ip,masked_card,paid_on"
    assert re.fullmatch(r"a-1,1999,k1\.[\w-]+,k1\.[\w-]+,\d{4}-\d\d-\d\d", row)
    assert payments.is_clean()
