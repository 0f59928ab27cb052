"""AWS Signature Version 4 for POST requests (AWS IAM User Guide, "AWS SigV4 for API requests")."""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key as its provider returned it; temporary ones have a `token`."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class _Head:
    """What requests with the same headers share within a second.

    `canonical` is the canonical request up to the hash of its body. `lines` are the header lines up
    to the signature.
    """

    canonical: str = field(repr=False)
    lines: str = field(repr=False)


class Signer:
    """Signs POST requests to one service in one region.

    The signing key depends on the day and the secret key, and is derived again when one of them
    changes. Whatever else requests share is cached for a second.
    """

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key_for = ("", "")
        self._key = b""
        self._second = -1
        self._credentials = Credentials("", "")
        self._amz_date = ""
        self._scope = ""
        self._heads: dict[tuple[str, str, Headers], _Head] = {}

    def header_lines(
        self,
        credentials: Credentials,
        *,
        host: str,
        path: str,
        headers: Headers,
        body: bytes,
        now: float,
    ) -> str:
        """Return a request's header lines except Host: `headers`, and those of the signature.

        `host` is the value of the Host header, `path` the URL's path without its query. Names in
        `headers` are in lower case. `now` is in seconds since the epoch. Each line ends with CRLF.
        """
        if int(now) != self._second or credentials is not self._credentials:
            self._begin(credentials, int(now))
        head = self._heads.get((host, path, headers))
        if head is None:
            head = self._heads[host, path, headers] = self._head(host, path, headers)
        canonical = head.canonical + hashlib.sha256(body).hexdigest()
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{self._amz_date}\n{self._scope}\n{digest}"
        signature = hmac.digest(self._key, to_sign.encode(), "sha256").hex()
        return f"{head.lines}{signature}\r\n"

    def _begin(self, credentials: Credentials, second: int) -> None:
        amz_date = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
        date = amz_date[:8]
        scope = f"{date}/{self._region}/{self._service}/aws4_request"
        if (credentials.secret_key, date) != self._key_for:
            # A secret that cannot be encoded raises before anything here has changed.
            key = f"AWS4{credentials.secret_key}".encode()
            for part in scope.split("/"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_for = key, (credentials.secret_key, date)
        self._credentials, self._second = credentials, second
        self._amz_date, self._scope = amz_date, scope
        self._heads.clear()

    def _head(self, host: str, path: str, headers: Headers) -> _Head:
        """Make what requests with these headers share; the path is encoded once more than sent."""
        credentials = self._credentials
        sent = [*headers, ("x-amz-date", self._amz_date)]
        if credentials.token is not None:
            sent.append(("x-amz-security-token", credentials.token))
        signed = sorted([*sent, ("host", host)])
        names = ";".join(name for name, _ in signed)
        signed_lines = "".join(f"{name}:{value}\n" for name, value in signed)
        sent_lines = "".join(f"{name}: {value}\r\n" for name, value in sent)
        return _Head(
            canonical=f"POST\n{quote(path, safe='/-_.~')}\n\n{signed_lines}\n{names}\n",
            lines=f"{sent_lines}authorization: {_ALGORITHM} "
            f"Credential={credentials.access_key}/{self._scope}, "
            f"SignedHeaders={names}, Signature=",
        )
