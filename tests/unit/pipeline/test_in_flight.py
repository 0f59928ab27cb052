from uuid import UUID

from hypothesis import given, strategies as st

from consumer.messages import Message
from consumer.pipeline.in_flight import InFlight


def message(number: int, handle: str = "a", size: int = 10) -> Message:
    return Message(str(UUID(int=number)), handle, "", 0, size)


def in_flight(max_messages: int = 100, max_bytes: int = 1000) -> InFlight:
    return InFlight(max_messages, max_bytes, visibility_seconds=30, messages_a_poll=10)


def test_a_redelivered_message_is_tracked_once_with_its_newest_handle() -> None:
    tracked = in_flight()
    assert tracked.start_tracking([message(1, "old")], 0.0) == [message(1, "old")]
    assert tracked.start_tracking([message(1, "new")], 5.0) == []
    assert len(tracked) == 1
    assert tracked.tracked_bytes == 10
    assert tracked.with_newest_handles([message(1, "old"), message(2)]) == [message(1, "new")]
    assert tracked.everything() == [message(1, "new")]


def test_of_messages_that_arrive_together_only_the_new_ones_are_returned() -> None:
    tracked = in_flight()
    tracked.start_tracking([message(2)], 0.0)
    twice = [message(1, "one"), message(2), message(1, "other"), message(3)]
    assert tracked.start_tracking(twice, 1.0) == [message(1, "one"), message(3)]
    assert tracked.tracked_bytes == 30
    assert tracked.with_newest_handles([message(1)]) == [message(1, "other")]


def test_a_delete_with_an_older_handle_leaves_the_message_tracked() -> None:
    tracked = in_flight()
    tracked.start_tracking([message(1, "old")], 0.0)
    tracked.start_tracking([message(1, "new")], 5.0)
    assert tracked.finish([message(1, "old")]) == 0
    assert len(tracked) == 1
    assert tracked.finish([message(1, "new")]) == 1
    assert (len(tracked), tracked.tracked_bytes, tracked.next_extension()) == (0, 0, None)
    assert tracked.finish([message(1, "new")]) == 1  # it is gone already


def test_each_message_is_due_at_half_of_its_own_timeout_and_the_most_urgent_first() -> None:
    tracked = in_flight()
    for number, now in ((1, 0.0), (2, 4.0), (3, 8.0)):
        tracked.start_tracking([message(number)], now)
    assert tracked.next_extension() == 15.0
    assert tracked.due(14.9) == []
    assert tracked.due(19.0) == [message(1), message(2)]
    tracked.extended(message(1), 15.0)
    assert tracked.next_extension() == 19.0
    assert tracked.due(100.0) == [message(2), message(3), message(1)]


def test_a_redelivered_message_is_due_half_a_timeout_after_its_last_delivery() -> None:
    tracked = in_flight()
    tracked.start_tracking([message(1, "old")], 0.0)
    tracked.start_tracking([message(1, "new")], 10.0)
    assert tracked.next_extension() == 25.0


def test_a_message_that_is_tracked_no_longer_is_not_due() -> None:
    tracked = in_flight()
    tracked.start_tracking([message(1)], 0.0)
    tracked.stop_tracking(message(1))
    tracked.extended(message(1), 1.0)
    assert tracked.next_extension() is None


def test_a_message_with_an_expired_handle_is_tracked_but_not_due_until_redelivered() -> None:
    tracked = in_flight()
    tracked.start_tracking([message(1, "old")], 0.0)
    assert tracked.handle_expired(message(1, "old"))
    assert not tracked.handle_expired(message(1, "old"))  # reported before
    assert (len(tracked), tracked.next_extension()) == (1, None)
    tracked.start_tracking([message(1, "new")], 40.0)
    assert not tracked.handle_expired(message(1, "old"))  # there is a newer handle
    assert tracked.next_extension() == 55.0


def test_a_message_that_a_slow_call_extended_is_due_before_one_that_arrived_meanwhile() -> None:
    tracked = in_flight()
    slow, late = message(1), message(2)
    tracked.start_tracking([slow], 0.0)
    tracked.start_tracking([late], 24.0)
    tracked.extended(slow, 15.0)  # the call began then, and was answered after `late` came
    assert tracked.next_extension() == 30.0
    assert tracked.due(33.0) == [slow]
    assert tracked.due(39.0) == [slow, late]


def test_each_open_poll_takes_the_room_of_what_it_may_bring() -> None:
    tracked = in_flight(max_messages=25)
    assert tracked.open_poll()
    assert tracked.open_poll()
    assert not tracked.open_poll()
    tracked.close_poll([])
    assert tracked.open_poll()


def test_a_poll_is_expected_to_bring_as_many_bytes_as_the_largest_recent_one() -> None:
    tracked = in_flight(max_bytes=1000)
    assert tracked.open_poll()
    received = [message(number, size=40) for number in range(10)]
    tracked.close_poll(received)
    tracked.start_tracking(received, 0.0)
    assert tracked.open_poll()  # 400 bytes tracked, 400 expected
    assert not tracked.open_poll()


def test_while_nothing_is_in_flight_one_poll_is_allowed_whatever_it_may_bring() -> None:
    tracked = in_flight(max_messages=5, max_bytes=1)
    assert tracked.open_poll()
    tracked.close_poll([message(1, size=500)])
    assert tracked.open_poll()
    assert not tracked.open_poll()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start_tracking", "finish", "stop_tracking", "handle_expired"]),
            st.integers(0, 5),
        ),
        max_size=60,
    )
)
def test_the_tracked_bytes_are_those_of_the_tracked_messages(steps: list[tuple[str, int]]) -> None:
    tracked = in_flight()
    for now, (step, number) in enumerate(steps):
        each = message(number, size=number * 7)
        if step == "start_tracking":
            tracked.start_tracking([each], float(now))
        elif step == "finish":
            tracked.finish([each])
        else:
            getattr(tracked, step)(each)
        assert tracked.tracked_bytes == sum(one.size for one in tracked.everything())
        assert len(tracked.due(1e9)) <= len(tracked)


def test_before_the_first_answer_polls_are_bounded_by_messages_alone() -> None:
    tracked = in_flight(max_messages=100, max_bytes=5)
    assert [tracked.open_poll() for _ in range(11)] == [True] * 10 + [False]


def test_polls_may_fill_the_bound_to_the_byte() -> None:
    for max_bytes, room in ((300, True), (299, False)):
        tracked = in_flight(max_messages=100, max_bytes=max_bytes)
        tracked.open_poll()
        large = message(1, size=100)
        tracked.close_poll([large])  # so each further poll is expected to bring 100 bytes
        tracked.start_tracking([large], 0.0)
        assert tracked.open_poll()
        assert tracked.open_poll() is room


def test_the_bytes_expected_of_a_poll_decrease_by_a_tenth_with_each_smaller_one() -> None:
    tracked = in_flight(max_messages=1000, max_bytes=10_000)
    tracked.open_poll()
    tracked.close_poll([message(1, size=1000)])
    expected = []
    for _ in range(3):
        polls = 0
        while tracked.open_poll():
            polls += 1
        expected.append(polls)
        for _ in range(polls):
            tracked.close_poll([message(1, size=1000)])
        tracked.open_poll()
        tracked.close_poll([])
    assert expected == [10, 11, 11]
