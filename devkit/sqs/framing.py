"""Where HTTP/1.1 requests begin and end, within bounds (RFC 9112, sections 2 to 7)."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

MAX_HEAD_BYTES = 32_768
# A message of 1 MiB, each byte of it escaped with six.
MAX_BODY_BYTES = 8 * 1_048_576
_MAX_DIGITS = len(str(MAX_BODY_BYTES))

_REQUEST_LINE = re.compile(r"([A-Z]{1,16}) (\S{1,8000}) HTTP/1\.([01])", re.ASCII)
_FRAMING_HEADERS = frozenset({"content-length", "transfer-encoding"})
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;.*)?")


class Head(NamedTuple):
    """A request line and headers, whose names are in lower case; `size` is the body's."""

    method: str
    target: str
    headers: Mapping[str, str]
    size: int
    keeps_alive: bool

    @property
    def awaits_continue(self) -> bool:
        """Whether the client sends the body only when it is told to go on."""
        return self.headers.get("expect", "").lower() == "100-continue"


class BadRequestError(Exception):
    """What came is not HTTP/1.1 within the bounds; `status` is to be answered."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


def take_head(buffer: bytearray) -> Head | None:
    """Take the request line and the headers off the buffer, None while they are incomplete.

    Raises:
        BadRequestError: they are malformed, too long, or ambiguous about the body.
    """
    while buffer.startswith(b"\r\n"):
        del buffer[:2]
    end = buffer.find(b"\r\n\r\n")
    if end > MAX_HEAD_BYTES or (end < 0 and len(buffer) > MAX_HEAD_BYTES):
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    if end < 0:
        return None
    first, *lines = buffer[:end].decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    match = _REQUEST_LINE.fullmatch(first)
    if match is None:
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    method, target, minor_version = match.groups()
    headers = _headers(lines)
    size = _content_length(headers)
    return Head(method, target, headers, size, _keeps_alive(headers, minor_version))


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip():
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        # Two headers would say where the body ends.
        if name in _FRAMING_HEADERS and not _FRAMING_HEADERS.isdisjoint(headers):
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        headers[name] = value.strip()
    return headers


def _keeps_alive(headers: Mapping[str, str], minor_version: str) -> bool:
    given = headers.get("connection")
    if given is None:
        return minor_version == "1"
    options = {each.strip().lower() for each in given.split(",")}
    return "close" not in options and (minor_version == "1" or "keep-alive" in options)


def _content_length(headers: Mapping[str, str]) -> int:
    encoding = headers.get("transfer-encoding")
    if encoding is not None and encoding.lower() != "chunked":
        raise BadRequestError(HTTPStatus.NOT_IMPLEMENTED)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdecimal()):
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    if len(length) > _MAX_DIGITS or int(length) > MAX_BODY_BYTES:
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return int(length)


def take_body(buffer: bytearray, head: Head) -> bytes | None:
    """Take the body off the buffer, None while it is incomplete.

    Raises:
        BadRequestError: it is malformed or too long.
    """
    if "transfer-encoding" in head.headers:
        return _take_chunks(buffer)
    if len(buffer) < head.size:
        return None
    body = bytes(buffer[: head.size])
    del buffer[: head.size]
    return body


def _take_chunks(buffer: bytearray) -> bytes | None:
    """Take a chunked body off the buffer once it is complete; trailers are dropped."""
    body, position = bytearray(), 0
    while True:
        end = buffer.find(b"\r\n", position)
        if end < 0:
            break
        match = _CHUNK_SIZE.fullmatch(buffer[position:end])
        if match is None:
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        size = int(match[1], 16)
        if size == 0:
            return bytes(body) if _drop_trailers(buffer, end + 2) else None
        chunk_end = end + 2 + size
        if len(buffer) < chunk_end + 2:
            break
        if buffer[chunk_end : chunk_end + 2] != b"\r\n":
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        body += buffer[end + 2 : chunk_end]
        position = chunk_end + 2
    if len(buffer) > MAX_BODY_BYTES:
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return None


def _drop_trailers(buffer: bytearray, start: int) -> bool:
    while (end := buffer.find(b"\r\n", start)) >= 0:
        if end == start:
            del buffer[: end + 2]
            return True
        start = end + 2
    if len(buffer) - start > MAX_HEAD_BYTES:
        raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
    return False
