"""Messages and what became of them, for writing."""

import uuid
from datetime import date

from consumer.events.model import table_of
from consumer.events.table import ColumnKinds, Kind
from consumer.events.user_login import UserLogin
from consumer.messages import ColumnValue, Message, Quarantined, Reason, Row
from consumer.postgres.sink import WriteStatement

USER_LOGINS = table_of(UserLogin)
KINDS: ColumnKinds = {
    column.name: column.kinds[0] for column in USER_LOGINS.columns if not column.optional
}
INTEGER_KINDS: ColumnKinds = {**KINDS, "app_version": Kind.INTEGER}
WRITE = WriteStatement(USER_LOGINS, KINDS)
SENT_MS = 1_700_000_000_000


def message(sent_ms: int = SENT_MS) -> Message:
    return Message(str(uuid.uuid4()), "a handle", "{}", sent_ms, 2)


def row(**values: ColumnValue) -> Row:
    given: dict[str, ColumnValue] = {
        "user_id": str(uuid.uuid4()),
        "device_type": "android",
        "masked_ip": "k1.address",
        "masked_device_id": "k1.device",
        "locale": "RU",
        "app_version": "2.3.0",
        "create_date": date(2023, 11, 14),
    }
    return Row(message(), tuple((given | values).values()))


def again(outcome: Row) -> Row:
    """The same message, received a second time."""
    return outcome._replace(message=outcome.message._replace(receipt_handle="another"))


def quarantined(reason: Reason = Reason.NOT_JSON, field_name: str | None = None) -> Quarantined:
    return Quarantined(message(), reason, field_name, "k1", b"sealed")
