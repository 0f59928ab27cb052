"""A container's health check: `python -m consumer.healthcheck [PORT [PATH]]`.

The exit code is 0 if the page answers 200. The process runs every few seconds beside the consumer,
so it imports next to nothing: loading the settings would take many times as long as the request.
Address and port come from CONSUMER_HTTP__HOST and CONSUMER_HTTP__PORT, the path is /healthz.
"""

import os
import socket
import sys
from collections.abc import Mapping, Sequence

_TIMEOUT_SECONDS = 4.0
_MAX_BYTES = 4096
_OK = b" 200 "


def healthcheck(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[bool, str]:
    """Request the page once; return whether the answer was 200, and its body or the error."""
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
    is_healthy, text = healthcheck(sys.argv[1:], os.environ)
    sys.stdout.write(f"{text}\n")
    sys.exit(not is_healthy)
