"""Makes, once, what docker-compose.yml needs and git must not hold: secrets/ and .env.

    python3 deploy/prepare.py

A file that is there is never changed. Without its key ring a masked table cannot be recovered:
keep a copy of secrets/consumer_masking__keyring in a safe place.
"""

import base64
import json
import os
import secrets
import subprocess
from contextlib import suppress
from pathlib import Path

_FOLDER = Path("secrets")
_IMAGE_USER = (10001, 10001)


def main() -> None:
    """Make what is missing, in the current folder."""
    user = container_user()
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    password = make(_FOLDER / "postgres_password", secrets.token_urlsafe(24), user)
    dsn = f"postgresql://consumer:{password}@database:5432/logins"
    make(_FOLDER / "consumer_postgres__dsn", dsn, user)
    make(_FOLDER / "consumer_masking__keyring", new_key_ring(), user)
    make(Path(".env"), "CONSUMER_USER={}:{}\n".format(*user), None)


def container_user() -> tuple[int, int]:
    """The user and group, as the container sees them, whom the 0600 files of this user can be for.

    A file of a Compose secret is mounted with the owner and mode that it has here. So the
    containers run as this user; in a rootless engine that is the container's 0, which is nobody
    special outside. Root does not run them: it gives the files to the image's own user.
    """
    if _engine_is_rootless():
        return 0, 0
    if os.getuid() == 0:
        return _IMAGE_USER
    return os.getuid(), os.getgid()


def _engine_is_rootless() -> bool:
    command = ["docker", "info", "--format", "{{json .SecurityOptions}}"]
    try:
        # S603: nothing in it comes from outside.
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError:
        return False
    return "name=rootless" in answer.stdout


def new_key_ring() -> str:
    """A key ring of one key."""
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return json.dumps(
        {"version": 1, "primary": "k1", "keys": {"k1": {"key": key, "state": "active"}}}
    )


def make(path: Path, text: str, user: tuple[int, int] | None) -> str:
    """Make the file, readable for its owner alone, unless it is there; return what it holds."""
    part = path.with_name(f".{path.name}.part")
    part.unlink(missing_ok=True)
    part.touch(0o600)
    part.write_text(text)
    if os.getuid() == 0 and user is not None:
        os.chown(part, *user)
    # A link fails where something is already: the first one wins, and no file is ever half.
    with suppress(FileExistsError):
        path.hardlink_to(part)
        print(f"made {path}")
    part.unlink()
    return path.read_text()


if __name__ == "__main__":
    main()
