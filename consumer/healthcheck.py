"""`python -m consumer.healthcheck [PORT [PATH]]`: exit code 0 if what listens here says it is well.

For a container's health check. It runs every few seconds beside the consumer, so it imports next to
nothing: reading the settings would take many times as long as asking. The address and the port are
those of the variables CONSUMER_HTTP__HOST and CONSUMER_HTTP__PORT, the path is /healthz.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence

_TIMEOUT_SECONDS = 4.0
_MAX_BYTES = 4096
_OK = b" 200 "


def healthcheck(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[bool, str]:
    """Ask once; return whether the answer was 200, and what there is to tell."""
    port, path = [*arguments, *("", "")][:2]
    host = environ.get("CONSUMER_HTTP__HOST") or "127.0.0.1"
    address = (host, int(port or environ.get("CONSUMER_HTTP__PORT") or "8080"))
    try:
        with socket.create_connection(address, timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(
                f"GET {path or '/healthz'} HTTP/1.1\r\nHost: {host}\r\n"
                "Connection: close\r\n\r\n".encode()
            )
            with connection.makefile("rb") as answer:
                head, _, body = answer.read(_MAX_BYTES).partition(b"\r\n\r\n")
    except OSError as error:
        return False, error.strerror or "no answer in time"
    return _OK in head.partition(b"\r\n")[0], body.decode(errors="replace").strip()


if __name__ == "__main__":
    is_well, text = healthcheck(sys.argv[1:], os.environ)
    sys.stdout.write(f"{text}\n")
    sys.exit(not is_well)
