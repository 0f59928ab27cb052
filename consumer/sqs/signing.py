"""AWS Signature Version 4 for POST requests (AWS IAM User Guide, "AWS SigV4 for API requests")."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"

_Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access key as a provider handed it out; `token` is set for temporary ones."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


class Signer:
    """Signs POST requests to one service in one region.

    The signing key holds for a day and a secret key, so it is derived anew only when one of the
    two changes; the formatted time and the canonical heads are kept for their second.
    """

    def __init__(self, service: str, region: str) -> None:
        self._service = service
        self._region = region
        self._key_for = ("", "")
        self._key = b""
        self._second = -1
        self._amz_date = ""
        self._heads: dict[tuple[str, _Headers], tuple[str, str]] = {}

    def headers(
        self,
        credentials: Credentials,
        *,
        host: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
        now: float,
    ) -> dict[str, str]:
        """Return the headers to add to a request that has `headers` (lower case) and Host.

        `host` is as the Host header has it, `path` the URL's path without its query, `now` in
        seconds since the epoch.
        """
        amz_date = self._amz_date_of(int(now))
        date = amz_date[:8]
        added = {"x-amz-date": amz_date}
        if credentials.token is not None:
            added["x-amz-security-token"] = credentials.token
        signed = (*headers.items(), ("host", host), *added.items())
        head, signed_names = self._canonical_head(path, signed)
        canonical = head + hashlib.sha256(body).hexdigest()
        scope = f"{date}/{self._region}/{self._service}/aws4_request"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        to_sign = f"{_ALGORITHM}\n{amz_date}\n{scope}\n{digest}"
        signature = hmac.digest(
            self._key_of(credentials.secret_key, date), to_sign.encode(), "sha256"
        ).hex()
        added["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return added

    def _amz_date_of(self, second: int) -> str:
        if second != self._second:
            self._amz_date = datetime.fromtimestamp(second, UTC).strftime("%Y%m%dT%H%M%SZ")
            self._second = second
            self._heads.clear()
        return self._amz_date

    def _key_of(self, secret_key: str, date: str) -> bytes:
        if (secret_key, date) != self._key_for:
            key = f"AWS4{secret_key}".encode()
            for part in (date, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._key, self._key_for = key, (secret_key, date)
        return self._key

    def _canonical_head(self, path: str, signed: _Headers) -> tuple[str, str]:
        """Return the canonical request up to its body's hash, and the names of the signed headers.

        The path is encoded once more than in the request.
        """
        known = self._heads.get((path, signed))
        if known is None:
            headers = sorted(signed)
            lines = "".join(f"{name}:{value}\n" for name, value in headers)
            names = ";".join(name for name, _ in headers)
            known = f"POST\n{quote(path, safe='/-_.~')}\n\n{lines}\n{names}\n", names
            self._heads[path, signed] = known
        return known
