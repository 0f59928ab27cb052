"""The image: built without a network, and what is in it."""

import json
import re
from pathlib import Path

from tests.docker.engine import CheckError, check, eventually, run, say, works

IMAGE = "login-consumer"
_DEVKIT_IMAGE = "login-consumer-devkit"
_MAX_MB_OVER_BASE = 120
_MB = 1_000_000

_LOCKED_DOWN = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")

# Prints what must not be there, and how much of the code is compiled.
_INSPECT = """
import importlib.util, json, os, pathlib, shutil
unwanted = ("pip", "setuptools", "flit_core", "pytest", "tests", "moto", "mypy", "devkit")
venv = pathlib.Path("/venv")
sources = list((venv / "lib").rglob("*.py"))
print(json.dumps({
    "uid": os.getuid(),
    "unwanted": [name for name in unwanted if importlib.util.find_spec(name)]
                + [name for name in ("pip", "pip3", "gcc", "make") if shutil.which(name)],
    "tests": [str(path) for path in venv.rglob("tests")],
    "not compiled": [str(path) for path in sources
                     if not os.path.exists(importlib.util.cache_from_source(str(path)))],
    "sources": len(sources),
    "writable": [folder for folder in ("/", "/venv", "/etc/consumer", "/tmp")
                 if os.access(folder, os.W_OK)],
}))
"""

# Fails until the first process has a handler for SIGTERM (signal 15).
_TAKES_SIGTERM = """
import re, sys
caught = re.search(r"^SigCgt:\\s*(\\w+)", open("/proc/1/status").read(), re.MULTILINE)
sys.exit(not int(caught[1], 16) >> 14 & 1)
"""


def build_offline() -> None:
    """Build the image with no network and no cache, and the queue's image on top of it."""
    if not list(Path("wheelhouse").glob("*.whl")):
        raise CheckError(
            "wheelhouse/ is empty, and the image is to be built offline: make wheelhouse"
        )
    run("make", "image", "ARGS=--network=none --no-cache")
    devkit = ("--network=none", "--target=devkit", f"--tag={_DEVKIT_IMAGE}")
    run("docker", "build", *devkit, ".")
    say("built the images without a network")


def check_image() -> None:
    """Check what `docker inspect` tells of it."""
    image = json.loads(run("docker", "image", "inspect", IMAGE))[0]
    config = image["Config"]
    labels = config["Labels"]
    named = re.search(
        r'^__version__ = "(.*)"', Path("consumer/__init__.py").read_text(), re.MULTILINE
    )
    assert named is not None
    title = "org.opencontainers.image"
    check("a numeric user that is not root", holds=config["User"] == "10001:10001")
    check("entry point consumer", holds=config["Entrypoint"] == ["consumer"])
    check("SIGTERM stops it", holds=config["StopSignal"] == "SIGTERM")
    check("it has a health check", holds=config["Healthcheck"]["Test"][0] == "CMD")
    check("the label of the title", holds=labels[f"{title}.title"] == IMAGE)
    check("the label of the version", holds=labels[f"{title}.version"] == named[1])
    check("the label of the licence", holds=labels[f"{title}.licenses"] == "Apache-2.0")
    base_name = labels[f"{title}.base.name"]
    base = json.loads(run("docker", "image", "inspect", base_name))[0]
    added = (image["Size"] - base["Size"]) / _MB
    check(f"at most {_MAX_MB_OVER_BASE} MB over the base", holds=added <= _MAX_MB_OVER_BASE)
    say(
        f"image: {image['Size'] / _MB:.0f} MB, of which {base_name} {base['Size'] / _MB:.0f} MB"
        f" and ours {added:.0f} MB; user {config['User']}, version {named[1]}"
    )


def check_contents() -> None:
    """Look inside, as the image's user with no rights at all."""
    locked = ("docker", "run", "--rm", "--network=none", *_LOCKED_DOWN)
    found = json.loads(run(*locked, "--entrypoint=python", IMAGE, "-c", _INSPECT))
    check("it runs as the image's user", holds=found["uid"] == 10001)
    for what in ("unwanted", "tests", "not compiled", "writable"):
        check(f"nothing {what}: {found[what]}", holds=not found[what])
    check(
        "the entry point is consumer", holds="consumer, version" in run(*locked, IMAGE, "--version")
    )
    help_of = 'for name in run drain check migrate recover; do consumer "$name" --help; done'
    helps = run(*locked, "--entrypoint=sh", IMAGE, "-ec", help_of)
    check("run, drain, check, migrate, recover are there", holds=helps.count("Examples:") == 5)
    say(
        f"contents: {found['sources']} modules, all compiled; no tests, no build tools; works with"
        " a read-only root, no capabilities and no new privileges"
    )


def check_sigterm() -> None:
    """A command that does not take SIGTERM itself ends by it, although it is the first process."""
    queue = "CONSUMER_SQS__QUEUE_URL=http://127.0.0.1:9324/000000000000/login-events"
    waits_for_lines = ("--interactive", "--network=none", "--env", queue, IMAGE, "send", "-")
    container = run("docker", "run", "--detach", *waits_for_lines).strip()
    try:
        takes_it = ("docker", "exec", container, "python", "-c", _TAKES_SIGTERM)
        eventually("send has started", lambda: works(*takes_it), within_seconds=60)
        run("docker", "stop", "--time=60", container)
        code = run("docker", "inspect", "--format={{.State.ExitCode}}", container).strip()
    finally:
        run("docker", "rm", "--force", container)
    check(f"exit code 143, not {code}", holds=code == "143")
    say("SIGTERM ends a command that waits, as the container's first process")
