"""What a message says of itself."""

from datetime import UTC, datetime

from hypothesis import example, given, strategies as st

from consumer.messages import Message


@given(sent_ms=st.integers(0, 4_102_444_800_000))
@example(sent_ms=1_735_689_599_999)  # the last millisecond of 2024
@example(sent_ms=1_735_689_600_000)
@example(sent_ms=1_709_164_800_000)  # 29 February
def test_the_day_is_that_of_sending_in_utc(sent_ms: int) -> None:
    message = Message("id", "handle", "{}", sent_ms, 2)
    assert message.sent_day == datetime.fromtimestamp(sent_ms // 1000, UTC).date()
