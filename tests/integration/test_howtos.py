"""The commands that the how-to's show, run as they stand there."""

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.consumers import Place

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
