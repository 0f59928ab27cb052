from uuid import UUID

from hypothesis import given, strategies as st

from consumer.messages import Message
from consumer.pipeline.in_flight import InFlight


def message(number: int, handle: str = "a", size: int = 10) -> Message:
    return Message(str(UUID(int=number)), handle, "", 0, size)


def in_flight(max_messages: int = 100, max_bytes: int = 1000) -> InFlight:
    return InFlight(max_messages, max_bytes, visibility_seconds=30, messages_a_poll=10)


def test_a_redelivered_message_is_held_once_with_its_newest_handle() -> None:
    held = in_flight()
    assert held.start_tracking([message(1, "old")], 0.0) == [message(1, "old")]
    assert held.start_tracking([message(1, "new")], 5.0) == []
    assert len(held) == 1
    assert held.tracked_bytes == 10
    assert held.with_newest_handles([message(1, "old"), message(2)]) == [message(1, "new")]
    assert held.everything() == [message(1, "new")]


def test_of_messages_that_come_at_once_only_those_that_are_new_are_fresh() -> None:
    held = in_flight()
    held.start_tracking([message(2)], 0.0)
    twice = [message(1, "one"), message(2), message(1, "other"), message(3)]
    assert held.start_tracking(twice, 1.0) == [message(1, "one"), message(3)]
    assert held.tracked_bytes == 30
    assert held.with_newest_handles([message(1)]) == [message(1, "other")]


def test_a_delete_with_an_older_handle_does_not_let_go() -> None:
    held = in_flight()
    held.start_tracking([message(1, "old")], 0.0)
    held.start_tracking([message(1, "new")], 5.0)
    assert held.finish([message(1, "old")]) == 0
    assert len(held) == 1
    assert held.finish([message(1, "new")]) == 1
    assert (len(held), held.tracked_bytes, held.next_extension()) == (0, 0, None)
    assert held.finish([message(1, "new")]) == 1  # it is gone already, which is what was wanted


def test_each_is_due_when_half_of_its_own_time_is_over_and_the_first_comes_first() -> None:
    held = in_flight()
    for number, now in ((1, 0.0), (2, 4.0), (3, 8.0)):
        held.start_tracking([message(number)], now)
    assert held.next_extension() == 15.0
    assert held.due(14.9) == []
    assert held.due(19.0) == [message(1), message(2)]
    held.extended(message(1), 15.0)
    assert held.next_extension() == 19.0
    assert held.due(100.0) == [message(2), message(3), message(1)]


def test_a_redelivered_one_is_due_half_a_timeout_after_its_last_delivery() -> None:
    held = in_flight()
    held.start_tracking([message(1, "old")], 0.0)
    held.start_tracking([message(1, "new")], 10.0)
    assert held.next_extension() == 25.0


def test_one_that_is_let_go_of_is_not_extended_again() -> None:
    held = in_flight()
    held.start_tracking([message(1)], 0.0)
    held.stop_tracking(message(1))
    held.extended(message(1), 1.0)
    assert held.next_extension() is None


def test_one_with_an_expired_handle_is_held_but_not_extended_until_redelivered() -> None:
    held = in_flight()
    held.start_tracking([message(1, "old")], 0.0)
    assert held.handle_expired(message(1, "old"))
    assert not held.handle_expired(message(1, "old"))  # no news
    assert (len(held), held.next_extension()) == (1, None)
    held.start_tracking([message(1, "new")], 40.0)
    assert not held.handle_expired(message(1, "old"))  # the newer handle is good
    assert held.next_extension() == 55.0


def test_what_a_slow_call_extended_is_due_before_what_arrived_during_the_call() -> None:
    held = in_flight()
    slow, late = message(1), message(2)
    held.start_tracking([slow], 0.0)
    held.start_tracking([late], 24.0)
    held.extended(slow, 15.0)  # the call began then, and was answered after `late` came
    assert held.next_extension() == 30.0
    assert held.due(33.0) == [slow]
    assert held.due(39.0) == [slow, late]


def test_polls_are_given_room_by_what_they_may_bring() -> None:
    held = in_flight(max_messages=25)
    assert held.open_poll()
    assert held.open_poll()
    assert not held.open_poll()
    held.close_poll([])
    assert held.open_poll()


def test_a_poll_is_expected_to_bring_as_many_bytes_as_the_largest_of_late() -> None:
    held = in_flight(max_bytes=1000)
    assert held.open_poll()
    received = [message(number, size=40) for number in range(10)]
    held.close_poll(received)
    held.start_tracking(received, 0.0)
    assert held.open_poll()  # 400 held, 400 to come
    assert not held.open_poll()


def test_when_nothing_is_held_one_poll_is_let_through_whatever_it_may_bring() -> None:
    held = in_flight(max_messages=5, max_bytes=1)
    assert held.open_poll()
    held.close_poll([message(1, size=500)])
    assert held.open_poll()
    assert not held.open_poll()


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["start_tracking", "finish", "stop_tracking", "handle_expired"]),
            st.integers(0, 5),
        ),
        max_size=60,
    )
)
def test_the_bytes_held_are_those_of_the_messages_held(steps: list[tuple[str, int]]) -> None:
    held = in_flight()
    for now, (step, number) in enumerate(steps):
        each = message(number, size=number * 7)
        if step == "start_tracking":
            held.start_tracking([each], float(now))
        elif step == "finish":
            held.finish([each])
        else:
            getattr(held, step)(each)
        assert held.tracked_bytes == sum(one.size for one in held.everything())
        assert len(held.due(1e9)) <= len(held)


def test_before_the_first_answer_polls_are_bounded_by_messages_alone() -> None:
    held = in_flight(max_messages=100, max_bytes=5)
    assert [held.open_poll() for _ in range(11)] == [True] * 10 + [False]


def test_polls_may_fill_the_bound_to_the_byte() -> None:
    for max_bytes, room in ((300, True), (299, False)):
        held = in_flight(max_messages=100, max_bytes=max_bytes)
        held.open_poll()
        large = message(1, size=100)
        held.close_poll([large])  # so each further poll is expected to bring 100 bytes
        held.start_tracking([large], 0.0)
        assert held.open_poll()
        assert held.open_poll() is room


def test_the_bytes_expected_of_a_poll_sink_by_a_tenth_with_each_smaller_one() -> None:
    held = in_flight(max_messages=1000, max_bytes=10_000)
    held.open_poll()
    held.close_poll([message(1, size=1000)])
    expected = []
    for _ in range(3):
        polls = 0
        while held.open_poll():
            polls += 1
        expected.append(polls)
        for _ in range(polls):
            held.close_poll([message(1, size=1000)])
        held.open_poll()
        held.close_poll([])
    assert expected == [10, 11, 11]
