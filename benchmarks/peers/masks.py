"""The masking of the peers in Python: the consumer's cipher, called plainly."""

import base64
import os
from datetime import UTC, date, datetime

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from pydantic import BaseModel, ConfigDict


class Login(BaseModel):
    """The event."""

    model_config = ConfigDict(strict=True)

    user_id: str
    device_type: str
    ip: str | None
    device_id: str | None
    locale: str | None
    app_version: str


Row = tuple[str, str, str | None, str | None, str | None, str, date]


class Masker:
    """Makes a row of a message's body."""

    def __init__(self) -> None:
        self._cipher = AESSIV(base64.b64decode(os.environ["PEER_KEY"]))

    def row(self, body: str) -> Row:
        """Validate the body and mask both fields."""
        login = Login.model_validate_json(body)
        return (
            login.user_id,
            login.device_type,
            self._mask(login.ip),
            self._mask(login.device_id),
            login.locale,
            login.app_version,
            datetime.now(UTC).date(),
        )

    def _mask(self, value: str | None) -> str | None:
        if value is None:
            return None
        return base64.urlsafe_b64encode(self._cipher.encrypt(value.encode(), None)).decode()
