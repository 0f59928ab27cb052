"""The login event: copy this file to add an event of your own."""

import re
from functools import lru_cache
from typing import Annotated, ClassVar

from consumer.events.model import EventModel, Into, Masked, Stored
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.mask import Mode
from consumer.messages import Reason, ValueRefusedError

_VERSION = re.compile(r"(\d{1,4})(?:\.(\d{1,3}))?(?:\.(\d{1,3}))?", re.ASCII)
_MAX_MAJOR = 2146


# Few versions are in use at a time; errors are not cached.
@lru_cache(maxsize=1024)
def version_number(version: str) -> int:
    """`major*1_000_000 + minor*1_000 + patch`, which sorts, decodes, and fits an int4.

    Missing parts are 0, and parts are numbers: 6.02 is 6.2. Raises ValueRefusedError for what does
    not fit: a fourth part, letters, a part over 999, a major over 2146.
    """
    parts = _VERSION.fullmatch(version)
    if parts is None or int(parts[1]) > _MAX_MAJOR:
        raise ValueRefusedError(Reason.BAD_VERSION)
    return int(parts[1]) * 1_000_000 + int(parts[2] or 0) * 1_000 + int(parts[3] or 0)


class UserLogin(EventModel):
    """A user logged in."""

    table: ClassVar[str] = "user_logins"
    sent_on: ClassVar[str] = "create_date"
    subject: ClassVar[str] = "user_id"

    user_id: Annotated[str, Stored(max_length=128)]
    device_type: Annotated[str, Stored(max_length=32)]
    ip: Annotated[
        str | None,
        Masked(
            ADDRESS,
            Into("masked_ip", view="repeated_addresses"),
            Into("ip_subnet_masked", Mode.IPCRYPT_PFX, optional=True),
        ),
    ]
    device_id: Annotated[
        str | None, Masked(IDENTIFIER, Into("masked_device_id", view="repeated_devices"))
    ]
    locale: Annotated[str | None, Stored(min_length=0, max_length=32)]
    app_version: Annotated[str, Stored(max_length=32, as_integer=version_number)]
