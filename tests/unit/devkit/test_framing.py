"""Where requests begin and end, whatever bytes come."""

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from devkit.sqs.http import RequestReader

COUNTED = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\n"  # with an extension and a trailer
)
PARTS = st.sampled_from(
    [
        b"POST / HTTP/1.1\r\n",
        b"GET /x?y HTTP/1.0\r\n",
        b"Content-Length: ",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"0",
        b"5",
        b"-1",
        b"ffffffff",
        b":",
        b"\0\xff",
    ]
)


def reader_of(pieces: list[bytes]) -> RequestReader:
    """Return a reader that was fed piece by piece."""
    reader = RequestReader(lambda: None)
    for piece in pieces:
        reader.feed(piece)
    return reader


@given(cuts=st.sets(st.integers(1, 400)), order=st.permutations([COUNTED, CHUNKED, COUNTED]))
def test_requests_read_alike_however_they_are_cut(cuts: set[int], order: list[bytes]) -> None:
    whole = b"".join(order)
    places = [0, *sorted(cut for cut in cuts if cut < len(whole)), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(places)]
    reader = reader_of(pieces)
    assert [request.body for request in reader.requests] == [b"hello"] * 3
    assert not reader.is_refused


@given(pieces=st.lists(PARTS | st.binary(max_size=20), max_size=15))
def test_hostile_bytes_are_requests_or_refused(pieces: list[bytes]) -> None:
    reader = reader_of(pieces)
    assert all(request.method for request in reader.requests)


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1_0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"x" * 40_000,
    ],
)
def test_what_is_no_request_is_refused(request_bytes: bytes) -> None:
    reader = reader_of([request_bytes])
    assert reader.is_refused
    assert not reader.requests


@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"POST / HTTP/1.1\r\n", b"A: b\r\n" * 1000),
        (b"POST /", b"x" * 8000),
        (b"", b"\r\n" * 4000),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n" * 10_000),
        (b"POST / HTTP/1.1\r\nContent-Length: 8388609\r\n\r\n", b"x"),
    ],
)
def test_what_never_ends_is_refused(head: bytes, more: bytes) -> None:
    reader = reader_of([head])
    for _ in range(10_000):
        reader.feed(more)
        if reader.is_refused:
            break
    assert reader.is_refused
    assert not reader.requests


@pytest.mark.parametrize(
    ("version", "connection", "keeps_alive"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"TE, Close", False),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
    ],
)
def test_a_connection_is_kept_as_the_client_asks(
    version: bytes, connection: bytes, *, keeps_alive: bool
) -> None:
    reader = reader_of([b"GET / HTTP/%b\r\nConnection: %b\r\n\r\n" % (version, connection)])
    assert reader.requests[0].keeps_alive is keeps_alive
