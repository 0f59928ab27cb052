"""Events that differ from each other, and whose raw values can be searched for."""

import json
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

_BAD_EVERY = 50
_IPV6_EVERY = 4
_EVENTS_PER_VALUE = 3
_IPV4 = re.compile(rb"\d{1,3}(?:\.\d{1,3}){3}")

Event = Mapping[str, str | None]

# How an event is spoiled, by the reason that its quarantine must give.
_FLAWS: Mapping[str, Callable[[Event], str]] = {
    "not_json": lambda event: json.dumps(event)[:-1],
    "other_event": lambda event: json.dumps({"foo": event["ip"], "bar": event["device_id"]}),
    "missing_field": lambda event: json.dumps(dict(list(event.items())[1:])),
    "wrong_type": lambda event: json.dumps({**event, "user_id": 7}),
    "bad_address": lambda event: json.dumps({**event, "ip": f"{event['ip']}.256"}),
    "not_storable": lambda event: json.dumps({**event, "user_id": "nul\0nul"}),
}


@dataclass(frozen=True)
class Wave:
    """Messages to send: the bodies, the good events among them, and the reasons of the others."""

    bodies: Sequence[str]
    events: Sequence[Event]
    reasons: Counter[str]


class Producer:
    """Makes waves of events; each event has a user of its own, and values that are nowhere else."""

    def __init__(self) -> None:
        self._device = f"device-{secrets.token_hex(8)}"
        self._network = f"2001:db8:{_group()}:{_group()}"
        self._ipv4: set[bytes] = set()

    def wave(self, count: int) -> Wave:
        """Make `count` messages; values are repeated, some messages are bad."""
        values = [self._values(number) for number in range(count // _EVENTS_PER_VALUE + 1)]
        bodies: list[str] = []
        events: list[Event] = []
        reasons: Counter[str] = Counter()
        flaws = list(_FLAWS)
        for number in range(count):
            event = _event(number, *values[number % len(values)])
            if number % _BAD_EVERY:
                events.append(event)
                bodies.append(json.dumps(event))
            else:
                reason = flaws[number // _BAD_EVERY % len(flaws)]
                reasons[reason] += 1
                bodies.append(_FLAWS[reason](event))
        return Wave(bodies, events, reasons)

    def raw_values_in(self, data: bytes) -> Iterable[str]:
        """Tell which kinds of raw values of any wave are in `data`."""
        if self._device.encode() in data:
            yield "a device id"
        if self._network.encode() in data:
            yield "an IPv6 address"
        if not self._ipv4.isdisjoint(_IPV4.findall(data)):
            yield "an IPv4 address"

    @property
    def markers(self) -> Mapping[str, bytes]:
        """What is in many of the raw values: where there is too much to look at closely."""
        return {"a device id": self._device.encode(), "an IPv6 address": self._network.encode()}

    def _values(self, number: int) -> tuple[str, str]:
        """An address and a device."""
        if number % _IPV6_EVERY == 0:
            return f"{self._network}::{number + 1:x}", f"{self._device}-{number}"
        address = ".".join(str(1 + secrets.randbelow(223)) for _ in range(4))
        self._ipv4.add(address.encode())
        return address, f"{self._device}-{number}"


def _group() -> str:
    """Four hexadecimal digits of an IPv6 address, as every spelling of it has them."""
    return f"{0x1000 + secrets.randbelow(0xEFFF):x}"


def _event(number: int, address: str, device: str) -> Event:
    return {
        "user_id": secrets.token_hex(16),
        "app_version": f"{number % 10}.{number % 7}.{number % 3}",
        "device_type": ("android", "ios")[number % 2],
        "ip": address,
        "locale": (None, "DE", "RU")[number % 3],
        "device_id": device,
    }
