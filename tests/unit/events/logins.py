"""Login events to be transformed, and what becomes of them."""

import json
import os

from hypothesis import strategies as st

from consumer.events.model import table_of
from consumer.events.table import Kind
from consumer.events.transform import Transform
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.messages import Message, Outcome, Quarantined, Reason, Row

RING = KeyRing.generate("k1", os.urandom)
TEXT_KINDS = {
    column.name: column.kinds[0] for column in table_of(UserLogin).columns if not column.optional
}
INTEGER_KINDS = TEXT_KINDS | {"app_version": Kind.INTEGER}
TRANSFORM = Transform(UserLogin, TEXT_KINDS, RING)

LOGIN: dict[str, object] = {
    "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae",
    "app_version": "2.3.0",
    "device_type": "android",
    "ip": "199.172.111.135",
    "locale": "RU",
    "device_id": "593-47-5928",
}
MESSAGE_ID = "c0173198-76a8-4e67-bfc2-74eaa3bbff57"
# The characters that PostgreSQL can store.
STORABLE = st.characters(exclude_characters="\0", codec="utf-8")
# The properties of a login, without the braces.
LOGIN_PROPERTIES = json.dumps(LOGIN)[1:-1]


def message_of(body: str, sent_ms: int = 1_700_000_000_000) -> Message:
    return Message(MESSAGE_ID, "handle", body, sent_ms, len(body.encode("utf-8", "surrogatepass")))


def login_of(**changes: object) -> Message:
    return message_of(json.dumps(LOGIN | changes))


def row_of(outcome: Outcome) -> dict[str, object]:
    assert isinstance(outcome, Row)
    return dict(zip(TEXT_KINDS, outcome.values, strict=True))


def reason_of(outcome: Outcome) -> tuple[Reason, str | None]:
    assert isinstance(outcome, Quarantined)
    return outcome.reason, outcome.field_name
