"""Looks for keys and raw values where none may be."""

import base64
import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping

from tests.docker.engine import CheckError, run, say
from tests.docker.events import Producer
from tests.docker.image import IMAGE
from tests.docker.system import System


class Leaks:
    """Knows what must not be seen: the keys, the password, and every raw value that was sent."""

    def __init__(self, system: System, producer: Producer) -> None:
        self._system = system
        self._producer = producer
        ring = json.loads(system.secret("consumer_masking__keyring"))
        key = ring["keys"]["k1"]["key"]
        self._secrets = {
            "the key": key.encode(),
            "the key's bytes": base64.b64decode(key),
            "the password": system.secret("postgres_password").encode(),
        }

    def check_logs(self) -> None:
        """The logs of all containers, PostgreSQL's own among them."""
        logs = self._system.compose("logs", "--no-color", "--timestamps").encode()
        for sign in (b'"consuming"', b'"messages quarantined"', b"database system is ready"):
            if sign not in logs:
                raise CheckError(f"the logs do not tell of {sign.decode()}: were they read?")
        self._check("a log", logs)
        say(f"no key and no raw value in {len(logs.splitlines())} lines of logs")

    def check_listings(self) -> None:
        """What `docker inspect` and `docker history` show to anyone who may ask."""
        ids = self._system.containers()
        self._check("docker inspect", run("docker", "inspect", *ids, IMAGE).encode())
        self._check("docker history", run("docker", "history", "--no-trunc", IMAGE).encode())
        say(f"no key and no raw value in the listings of {len(ids)} containers and the image")

    def check_database(self) -> None:
        """All tables: raw values are only inside encrypted bodies."""
        user = ("-U", "consumer", "-d", "logins")
        dump = self._system.compose("exec", "-T", "database", "pg_dump", *user).encode()
        if b"COPY public.user_logins" not in dump:
            raise CheckError("the dump of the database has no user_logins: was it read?")
        self._check("the database", dump)
        say(f"no key and no raw value in {len(dump) / 1e6:.1f} MB of the database's dump")

    def check_layers(self) -> None:
        """Every file of every layer of the image."""
        files = size = 0
        for name, data in _files_of_layers():
            files, size = files + 1, size + len(data)
            self._find(name, data, self._secrets | dict(self._producer.markers))
        if not files:
            raise CheckError("no layer was read")
        say(f"no key and no raw value in {files} files of the image's layers, {size / 1e6:.0f} MB")

    def _check(self, where: str, data: bytes) -> None:
        self._find(where, data, self._secrets)
        for what in self._producer.raw_values_in(data):
            raise CheckError(f"{what} is in {where}")

    @staticmethod
    def _find(where: str, data: bytes, needles: Mapping[str, bytes]) -> None:
        for what, needle in needles.items():
            if needle in data:
                raise CheckError(f"{what} is in {where}")


def _files_of_layers() -> Iterator[tuple[str, bytes]]:
    with subprocess.Popen(("docker", "save", IMAGE), stdout=subprocess.PIPE) as saving:
        assert saving.stdout is not None
        with tarfile.open(fileobj=saving.stdout, mode="r|") as image:
            for name, data in _files(image):
                # A layer is a tar file, compressed or not; the rest is JSON.
                if tarfile.is_tarfile(io.BytesIO(data)):
                    with tarfile.open(fileobj=io.BytesIO(data)) as layer:
                        yield from _files(layer)
                else:
                    yield name, data
    if saving.returncode != 0:
        raise CheckError(f"docker save: exit code {saving.returncode}")


def _files(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        file = archive.extractfile(member) if member.isfile() else None
        if file is not None:
            yield member.name, file.read()
