import base64
import json
import random
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from tests.history import leaks
from tests.history.leaks import leaks_below, leaks_in, leaks_in_file
from tests.history.marked import Marks, marked_bodies
from tests.unit.history.runs import Run

MARKS = Marks(random.Random(1))  # noqa: S311 - not for secrets
DEVICE, IPV4, IPV6 = MARKS.device(7), MARKS.address(7), MARKS.address(8)


def is_leaked(output: str | bytes) -> bool:
    data = output if isinstance(output, bytes) else output.encode()
    return bool(list(leaks_in("output", data, MARKS)))


@pytest.mark.parametrize("value", [DEVICE, IPV4, IPV6])
def test_a_raw_value_is_found_in_every_spelling(value: str) -> None:
    for shown in (
        value,
        value.upper(),
        json.dumps({"a": value}),
        f"Key (device_id)=({value}) already exists.",
        f"{value}.256",
        f"::ffff:{value}",
    ):
        assert is_leaked(shown), shown


def test_an_address_is_found_exploded_and_packed() -> None:
    address = IPv6Address(IPV6)
    assert is_leaked(address.exploded)
    assert is_leaked(b"\xff" + address.packed)
    assert is_leaked(address.packed.hex())


@given(st.binary(max_size=6), st.binary(max_size=6), st.sampled_from([DEVICE, IPV6]))
def test_text_is_found_in_hexadecimal_and_in_base64(
    before: bytes, after: bytes, value: str
) -> None:
    data = before + value.encode() + after
    assert is_leaked(data.hex())
    assert is_leaked(data.hex().upper())
    assert is_leaked(base64.b64encode(data))
    assert is_leaked(base64.urlsafe_b64encode(data))


@given(st.binary(max_size=6))
def test_packed_addresses_are_found_in_base64(before: bytes) -> None:
    data = before + IPv6Address(IPV6).packed
    assert is_leaked(base64.b64encode(data))
    assert is_leaked(base64.urlsafe_b64encode(data))


def test_what_the_service_writes_has_no_mark() -> None:
    bodies = list(marked_bodies(random.Random(2), MARKS, 200))  # noqa: S311 - not for secrets
    assert all(map(is_leaked, (body for body in bodies if "oops" not in body)))
    run = Run.of(*bodies)
    assert run.quarantine
    sealed = [row.sealed_body for row in run.quarantine]
    assert not is_leaked(repr((run.rows, run.ledger, run.history, run.quarantine, sealed)))
    assert not is_leaked("127.0.0.1 0.0.0.0 10.0.0.1 version 18.6.1 192.168.240.1 2.40.1.1.1")


def test_marks_of_another_run_are_not_found() -> None:
    other = Marks(random.Random(2))  # noqa: S311 - not for secrets
    assert not is_leaked(other.device(7) + other.address(8))


def test_each_number_has_its_own_value() -> None:
    assert len({MARKS.address(number) for number in range(1000)}) == 1000
    assert len({MARKS.device(number) for number in range(1000)}) == 1000


@pytest.mark.parametrize("at", [0, 1, 100, 1000, 1015, 1020, 1023, 1024, 2040, 4000])
def test_a_file_is_searched_across_its_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(leaks, "_CHUNK_BYTES", 1024)
    path = tmp_path / "service.log"
    path.write_bytes(b" " * at + DEVICE.encode() + b" " * 100)
    (violation,) = leaks_in_file(path, MARKS)
    assert str(violation) == f"leaked: 1: service.log, first at byte {at}"


def test_all_files_below_a_folder_are_searched(tmp_path: Path) -> None:
    (tmp_path / "base" / "1").mkdir(parents=True)
    (tmp_path / "clean").write_bytes(b"nothing")
    assert not list(leaks_below(tmp_path, MARKS))
    (tmp_path / "base" / "1" / "2619").write_bytes(b"\0" + IPV4.encode() + b"\0")
    (tmp_path / "log").write_bytes((IPV6 + "\n" + DEVICE).encode())
    found = sorted(leaks_below(tmp_path, MARKS), key=lambda each: each.detail)
    assert [each.detail for each in found] == ["2619, first at byte 1", "log, first at byte 0"]
    assert [each.count for each in found] == [1, 2]
