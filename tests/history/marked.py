"""Events whose raw values look like nothing else, wherever and in whatever encoding they appear."""

import base64
import json
import random
import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from itertools import chain

# Letters that no hexadecimal number has, so that no id and no digest looks like a mark.
_LETTERS = "ghijklmnopqrstuvwxyz"
_MARK_LENGTH = 12
_RESERVED_IPV4 = 0xF0000000  # 240.0.0.0/4 (RFC 1112, 4): nothing has such an address
_UNIQUE_LOCAL = 0xFD  # fd00::/8, with 40 random bits (RFC 4193, 3.1)
# The lookbehind comes second: what begins with a letter is searched for faster.
_RESERVED_IPV4_TEXT = re.compile(rb"2(?<![0-9.]2)(?:4[0-9]|5[0-5])(?:\.[0-9]{1,3}){3}(?![0-9])")

_Event = dict[str, str | None]


class Marks:
    """The marks of one run: `device` and `address` make values, `found_in` finds them again."""

    def __init__(self, rng: random.Random) -> None:
        self._mark = "".join(rng.choices(_LETTERS, k=_MARK_LENGTH))
        # No group of the prefix begins with a zero, so it has one spelling.
        groups = (rng.randrange(0x1000, 0x10000) for _ in range(2))
        first = _UNIQUE_LOCAL << 8 | rng.randrange(0x100)
        self._prefix = b"".join(group.to_bytes(2, "big") for group in (first, *groups))
        device = self._mark.encode()
        address = IPv6Address(self._prefix + bytes(10)).exploded[:14].encode()
        encoded = (*map(_base64_of, (device, address, self._prefix)),)
        self._as_is = (self._prefix, *chain.from_iterable(encoded))
        hexadecimal = (each.hex().encode() for each in (device, address, self._prefix))
        self._any_case = (device, address, *hexadecimal)

    def device(self, number: int) -> str:
        """A device id of its own for each number."""
        return f"{self._mark}-{number}"

    def address(self, number: int) -> str:
        """An address of its own for each number below 2^28: of IPv6 for every fourth."""
        if number % 4:
            return str(IPv4Address(_RESERVED_IPV4 | number))
        return str(IPv6Address(self._prefix + number.to_bytes(10, "big")))

    def found_in(self, data: bytes) -> list[int]:
        """Where marked values begin: as text, an address's bytes, or either in hex or base64.

        Each spelling is searched for by itself: a pattern of all is a hundred times slower.
        """
        lowered = data.lower()
        starts = {found.start() for found in _RESERVED_IPV4_TEXT.finditer(data)}
        for texts, searched in ((self._as_is, data), (self._any_case, lowered)):
            for text in texts:
                start = searched.find(text)
                while start >= 0:
                    starts.add(start)
                    start = searched.find(text, start + 1)
        return sorted(starts)


def _base64_of(secret: bytes) -> Iterator[bytes]:
    """What every base64 text of something with `secret` in it contains, for each alignment."""
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret)
        # The first and the last letter may be made of neighbours' bits too.
        whole = encoded[-(-before * 4 // 3) : (before + len(secret)) * 4 // 3]
        yield whole
        yield whole.translate(bytes.maketrans(b"+/", b"-_"))


def marked_bodies(
    rng: random.Random, marks: Marks, count: int, *, invalid_share: float = 0.1
) -> Iterator[str]:
    """Bodies of events; values repeat, and invalid bodies hold marked values too."""
    for _ in range(count):
        event: _Event = {
            "user_id": f"user-{rng.randrange(1 + count)}",
            "app_version": f"{rng.randrange(10)}.{rng.randrange(20)}.{rng.randrange(20)}",
            "device_type": rng.choice(("android", "ios")),
            "ip": marks.address(rng.randrange(1 + count // 3)),
            "locale": rng.choice(("RU", "DE", None)),
            "device_id": marks.device(rng.randrange(1 + count // 2)),
        }
        if rng.random() < invalid_share:
            yield rng.choice(_FLAWS)(event)
        else:
            yield json.dumps(event)


_FLAWS: tuple[Callable[[_Event], str], ...] = (
    lambda event: json.dumps(event)[:-1],
    lambda event: json.dumps([event]),
    lambda event: json.dumps({"foo": "oops_wrong_msg_type", "seen_from": event["ip"]}),
    lambda event: json.dumps({k: v for k, v in event.items() if k != "user_id"}),
    lambda event: json.dumps(event | {"device_id": [event["device_id"]]}),
    lambda event: json.dumps(event | {"device_id": f"{event['device_id']}" * 20}),
    lambda event: json.dumps(event | {"device_id": f"{event['device_id']}\0"}),
    lambda event: json.dumps(event | {"ip": f"{event['ip']}.256"}),
    lambda event: json.dumps(event | {"locale": f"{event['device_id']}\n\x1b[31m" * 9}),
)
