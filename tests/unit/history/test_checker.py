import os
import random
from dataclasses import replace

import pytest

from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import Key, KeyRing, KeyState
from consumer.messages import ColumnValue
from tests.history.checker import Kind, Violation
from tests.history.leaks import leaks_in
from tests.history.marked import Marks, marked_bodies
from tests.history.rules import rules_of
from tests.history.steps import Counted, Entry, Left, Step, Stopped, merged
from tests.unit.history.runs import KINDS, RING, Run

MARKS = Marks(random.Random(1))  # noqa: S311 - not for secrets
BODIES = list(marked_bodies(random.Random(2), MARKS, 40, invalid_share=0.2))  # noqa: S311 - likewise
_COLUMNS = list(KINDS)


@pytest.fixture
def run() -> Run:
    run = Run.of(*BODIES)
    assert len(run.rows) > 20
    assert len(run.quarantine) > 3
    return run


def id_of_a_row(run: Run) -> str:
    entries = map(entry_of, run.history)
    return next(each.message_id for each in entries if each.step is Step.COMMITTED)


def entry_of(each: Entry | Counted | Stopped) -> Entry:
    assert isinstance(each, Entry)
    return each


def changed(row: tuple[ColumnValue, ...], **values: ColumnValue) -> tuple[ColumnValue, ...]:
    return tuple((dict(zip(_COLUMNS, row, strict=True)) | values).values())


def test_a_run_in_which_every_promise_is_kept_passes(run: Run) -> None:
    verdict = run.verdict()
    assert verdict.kept
    assert verdict.sent == len(BODIES)
    assert str(verdict).startswith("40 sent: 0 lost, 0 duplicated, 0 unexpected")


def test_a_message_that_is_nowhere_is_lost(run: Run) -> None:
    lost = run.ledger.pop()
    run.rows.pop()
    verdict = run.verdict()
    assert verdict.kinds == {Kind.LOST}
    assert verdict.count(Kind.LOST) == 1
    assert verdict.violations[0].message_ids == (lost,)


def test_a_message_in_the_ledger_without_a_row_is_lost(run: Run) -> None:
    run.rows.pop()
    assert run.verdict().kinds == {Kind.LOST}


def test_a_message_in_the_ledger_that_is_not_in_quarantine_is_lost(run: Run) -> None:
    run.quarantine.pop()
    assert run.verdict().kinds == {Kind.LOST}


def test_a_row_twice_is_duplicated(run: Run) -> None:
    run.rows.append(run.rows[0])
    verdict = run.verdict()
    assert verdict.kinds == {Kind.DUPLICATED}
    assert verdict.count(Kind.DUPLICATED) == 1


def test_two_messages_with_one_body_are_two_rows() -> None:
    valid = next(body for body in BODIES if Run.of(body).rows)
    run = Run.of(valid, valid)
    assert run.verdict().kept
    run.rows.pop()
    assert run.verdict().kinds == {Kind.LOST}


def test_a_quarantine_row_twice_is_duplicated(run: Run) -> None:
    run.quarantine.append(run.quarantine[0])
    assert run.verdict().kinds == {Kind.DUPLICATED}


def test_what_nobody_sent_is_unexpected(run: Run) -> None:
    run.ledger.append("another")
    run.rows.append(changed(run.rows[0], user_id="nobody"))
    run.quarantine.append(replace(run.quarantine[0], message_id="a third"))
    assert run.verdict().kinds == {Kind.UNEXPECTED}
    assert run.verdict().count(Kind.UNEXPECTED) == 3


@pytest.mark.parametrize("column", ["user_id", "device_type", "locale", "app_version"])
def test_a_row_that_is_not_f_of_its_message_is_wrong(run: Run, column: str) -> None:
    run.rows[0] = changed(run.rows[0], **{column: "another"})
    assert run.verdict().kinds == {Kind.WRONG_CONTENT}


def test_a_row_with_another_day_is_wrong(run: Run) -> None:
    run.rows[0] = changed(run.rows[0], create_date=None)
    assert run.verdict().kinds == {Kind.WRONG_CONTENT}


def test_a_token_of_another_column_is_wrong(run: Run) -> None:
    row = dict(zip(_COLUMNS, run.rows[0], strict=True))
    run.rows[0] = changed(run.rows[0], masked_ip=row["masked_device_id"])
    assert run.verdict().kinds == {Kind.WRONG_CONTENT}


def test_another_reason_or_field_or_body_in_quarantine_is_wrong(run: Run) -> None:
    first, second, third = run.quarantine[:3]
    run.quarantine[0] = replace(first, reason="another")
    run.quarantine[1] = replace(second, field_name="another")
    run.quarantine[2] = replace(third, sealed_body=first.sealed_body)
    verdict = run.verdict()
    assert verdict.kinds == {Kind.WRONG_CONTENT}
    assert verdict.count(Kind.WRONG_CONTENT) == 3


def test_a_valid_message_in_quarantine_is_misjudged(run: Run) -> None:
    run.rows.pop(0)
    run.quarantine.append(replace(run.quarantine[0], message_id=id_of_a_row(run)))
    verdict = run.verdict()
    assert verdict.kinds == {Kind.MISJUDGED}
    assert verdict.violations[0].message_ids == (id_of_a_row(run),)


@pytest.mark.parametrize("witness", [Step.COMMITTED, Step.ACKNOWLEDGED])
def test_a_delete_without_its_commit_is_one_before_it(run: Run, witness: Step) -> None:
    message_id = id_of_a_row(run)
    run.history = [
        each
        for each in run.history
        if (entry_of(each).step, entry_of(each).message_id) != (witness, message_id)
    ]
    verdict = run.verdict()
    assert verdict.kinds == {Kind.DELETED_BEFORE_COMMITTED}
    assert {each.message_ids for each in verdict.violations} == {(message_id,)}


def test_a_delete_that_another_replica_learned_the_commit_of_is_one_before_it(run: Run) -> None:
    run.history.append(Entry(Step.DELETE_ASKED, id_of_a_row(run), "b"))
    assert run.verdict().kinds == {Kind.DELETED_BEFORE_COMMITTED}


def test_two_witnesses_are_merged_by_time() -> None:
    database = [Entry(Step.COMMITTED, "m", at=1.0), Entry(Step.QUARANTINED, "n", at=3.0)]
    queue = [Entry(Step.DELETED, "m", at=1.0), Entry(Step.DELETED, "n", at=2.0)]
    run = Run()
    run.history = list(merged(queue, database))
    assert [each.at for each in run.history] == [1.0, 1.0, 2.0, 3.0]
    verdict = run.verdict()
    assert [each.message_ids for each in verdict.violations] == [("n",)]


@pytest.mark.parametrize(
    ("left", "kind"),
    [
        (Left(visible=2), Kind.LEFT_ON_QUEUE),
        (Left(in_flight=2), Kind.LEFT_IN_FLIGHT),
        (Left(dead_lettered=2), Kind.DEAD_LETTERED),
    ],
)
def test_what_is_left_on_a_queue_at_the_end_is_reported(run: Run, left: Left, kind: Kind) -> None:
    run.left = left
    assert run.verdict().kinds == {kind}
    assert run.verdict().count(kind) == 2


def test_what_a_stopped_replica_still_hides_is_left_in_flight(run: Run) -> None:
    run.history += [Stopped("a"), Stopped("b", ("m",))]
    assert run.verdict().violations[0].message_ids == ("m",)
    assert run.verdict().kinds == {Kind.LEFT_IN_FLIGHT}


def test_what_was_left_to_expire_by_a_live_holder_is_reported(run: Run) -> None:
    run.history.append(Entry(Step.EXPIRED, "m", "a"))
    assert run.verdict().kinds == {Kind.LEFT_TO_EXPIRE}


@pytest.mark.parametrize("what", ["rows", "quarantined", "deleted"])
def test_counts_are_never_ahead_of_what_happened(run: Run, what: str) -> None:
    happened = {
        "rows": len(run.rows),
        "quarantined": len(run.quarantine),
        "deleted": len(run.sent),
    }
    run.history.append(Counted("a", **happened))
    assert run.verdict().kept
    run.history.append(Counted("b", **{what: 1}))
    assert run.verdict().kinds == {Kind.OVERCOUNTED}
    run.history.insert(0, Counted("b", **{what: 1}))
    assert run.verdict().count(Kind.OVERCOUNTED) == 3


def test_a_deadlock_is_reported(run: Run) -> None:
    run.deadlocks = 3
    assert run.verdict().count(Kind.DEADLOCKED) == 3


def test_a_second_token_for_one_value_is_reported() -> None:
    secret = RING.keys["k1"].secret
    new = Key(os.urandom(32), KeyState.ACTIVE)
    ring = KeyRing("k2", {"k1": Key(secret, KeyState.DECRYPT), "k2": new})
    valid = next(body for body in BODIES if Run.of(body).rows)
    run = Run.of(valid, valid, rules=rules_of(UserLogin, KINDS, ring))
    assert run.verdict().kept
    run.rows[0] = Run.of(valid).rows[0]
    assert run.verdict().kinds == {Kind.TWO_TOKENS, Kind.WRONG_CONTENT}
    assert run.verdict().count(Kind.TWO_TOKENS) == 2  # of ip and of device_id


def test_a_verdict_holds_no_raw_value(run: Run) -> None:
    run.rows = [changed(row, masked_ip=MARKS.address(1), user_id="x") for row in run.rows]
    run.quarantine = []
    run.ledger.pop()
    run.history.reverse()
    run.left = Left(1, 1, 1)
    verdict = run.verdict().and_also([Violation(Kind.LEAKED, "somewhere")])
    assert len(verdict.kinds) > 5
    assert not list(leaks_in("the verdict", (str(verdict) + repr(verdict)).encode(), MARKS))
