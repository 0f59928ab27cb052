"""What `make up` makes before anything runs."""

import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from consumer.masking.key_ring import KeyRing
from consumer.settings.loading import load_settings

pytestmark = pytest.mark.as_root

PROJECT = Path(__file__).parents[2]
SCRIPT = PROJECT / "deploy" / "prepare.py"
ROOT = 0
IMAGE_USER = 10001


def prepare(folder: Path, path: str = "") -> str:
    # S603: the script is ours. Without a PATH there is no engine to ask.
    command: list[str | Path] = [sys.executable, SCRIPT]
    answer = subprocess.run(  # noqa: S603
        command, cwd=folder, env={"PATH": path}, capture_output=True, text=True, check=True
    )
    return answer.stdout


def contents(folder: Path) -> Mapping[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in files(folder)}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_only_the_containers_user_can_read_what_is_made(tmp_path: Path) -> None:
    prepare(tmp_path)
    owner = IMAGE_USER if os.getuid() == ROOT else os.getuid()
    secrets = files(tmp_path / "secrets")
    assert len(secrets) == 3
    for path in secrets:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_uid == owner
    assert (tmp_path / ".env").read_text().startswith(f"CONSUMER_USER={owner}:")


def test_in_a_rootless_engine_the_containers_user_is_its_root(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\necho \'["name=seccomp","name=rootless"]\'\n')
    docker.chmod(0o755)
    prepare(tmp_path, str(tmp_path))
    assert (tmp_path / ".env").read_text() == "CONSUMER_USER=0:0\n"


def test_what_is_there_is_never_changed(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = contents(tmp_path)
    assert prepare(tmp_path) == ""
    assert contents(tmp_path) == before


def test_a_lost_dsn_is_made_again_for_the_password_that_is_there(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "secrets" / "consumer_postgres__dsn").unlink()
    prepare(tmp_path)
    assert contents(tmp_path) == before


def test_two_folders_have_different_keys_and_passwords(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        prepare(tmp_path / name)
    first, second = (contents(tmp_path / name / "secrets") for name in ("first", "second"))
    assert first.keys() == second.keys()
    assert not set(first.values()) & set(second.values())


def test_the_secrets_are_settings_that_the_consumer_takes(tmp_path: Path) -> None:
    prepare(tmp_path)
    environ = {"CONSUMER_SECRETS_DIR": str(tmp_path / "secrets")}
    settings = load_settings(environ=environ)
    assert settings.postgres.dsn is not None
    password = (tmp_path / "secrets" / "postgres_password").read_text()
    assert f":{password}@database:" in settings.postgres.dsn.get_secret_value()
    assert settings.masking.keyring is not None
    assert KeyRing.parse(settings.masking.keyring.get_secret_value()).primary == "k1"


def test_a_build_without_a_target_makes_the_production_image_without_the_devkit() -> None:
    first, *stages = (PROJECT / "Dockerfile").read_text().split("\nFROM ")
    assert "COPY" not in first
    by_name = {stage.split("\n")[0].rpartition(" AS ")[2]: stage for stage in stages}
    assert stages[-1] == "production\n"
    copied = re.findall("^COPY .*", by_name["build"] + by_name["production"], re.MULTILINE)
    assert copied
    assert not [line for line in copied if "devkit" in line]
