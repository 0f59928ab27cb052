"""Made-up login events: popular devices and addresses repeat, and some are malformed.

`python -m devkit.feed` writes them to standard output, a line each.
"""

import ipaddress
import itertools
import json
import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import click

from consumer.messages import Reason

_Event = dict[str, str | int | None]

_EVENTS_PER_DEVICE = 2
_EVENTS_PER_ADDRESS = 3
_NULL_LOCALE_SHARE = 0.29
_TWO_PART_VERSION_SHARE = 0.5
_IPV6_SHARE = 0.1
_LOCALES = "BR CA CN CZ DE EG ES FR GB GR ID IN IT JP KE KR MX NG PE PH PL PT RU SE TH UA US VN"
_DOCUMENTATION_IPV6 = int(ipaddress.IPv6Address("2001:db8::"))  # RFC 3849


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """A message's body, and the reason for which it belongs in quarantine; None if it is valid."""

    body: str
    reason: Reason | None


def feed(rng: random.Random, count: int, *, malformed_share: float = 0.02) -> Iterator[FeedMessage]:
    """Yield `count` messages; the same state of `rng` gives the same ones.

    The n-th most popular device, and likewise address, is 1/n as frequent as the first (Zipf).
    """
    devices = [_device(rng) for _ in range(count // _EVENTS_PER_DEVICE + 1)]
    addresses = [_address(rng) for _ in range(count // _EVENTS_PER_ADDRESS + 1)]
    device_weights, address_weights = _zipf(len(devices)), _zipf(len(addresses))
    flaws = list(_FLAWS.items())
    for _ in range(count):
        (device,) = rng.choices(devices, cum_weights=device_weights)
        (address,) = rng.choices(addresses, cum_weights=address_weights)
        event = _event(rng, device, address)
        if rng.random() < malformed_share:
            reason, spoil = rng.choice(flaws)
            yield FeedMessage(spoil(event), reason)
        else:
            yield FeedMessage(json.dumps(event), None)


def _zipf(size: int) -> list[float]:
    return list(itertools.accumulate(1 / rank for rank in range(1, size + 1)))


def _event(rng: random.Random, device: _Event, address: str) -> _Event:
    locale = None if rng.random() < _NULL_LOCALE_SHARE else rng.choice(_LOCALES.split())
    return {
        "user_id": device["user_id"],
        "app_version": device["app_version"],
        "device_type": device["device_type"],
        "ip": address,
        "locale": locale,
        "device_id": device["device_id"],
    }


def _device(rng: random.Random) -> _Event:
    parts = 2 if rng.random() < _TWO_PART_VERSION_SHARE else 3
    number = f"{rng.randrange(10**9):09}"
    return {
        "user_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "device_id": f"{number[:3]}-{number[3:5]}-{number[5:]}",
        "device_type": rng.choice(("android", "ios")),
        "app_version": ".".join(str(rng.randrange(12)) for _ in range(parts)),
    }


def _address(rng: random.Random) -> str:
    if rng.random() < _IPV6_SHARE:
        return str(ipaddress.IPv6Address(_DOCUMENTATION_IPV6 | rng.getrandbits(96)))
    return str(ipaddress.IPv4Address(rng.randrange(1 << 24, 224 << 24)))


def _without_a_field(event: _Event) -> str:
    return json.dumps({name: value for name, value in event.items() if name != "device_id"})


# How an event is spoiled so that it belongs in quarantine for this reason.
_FLAWS: dict[Reason, Callable[[_Event], str]] = {
    Reason.NOT_JSON: lambda event: json.dumps(event)[:-1],
    Reason.NOT_AN_OBJECT: lambda event: json.dumps([event]),
    Reason.OTHER_EVENT: lambda _: json.dumps({"page": "/settings", "seconds": 12}),
    Reason.MISSING_FIELD: _without_a_field,
    Reason.WRONG_TYPE: lambda event: json.dumps(event | {"user_id": 1234}),
    Reason.TOO_LONG: lambda event: json.dumps(event | {"device_id": "9" * 200}),
    Reason.NOT_STORABLE: lambda event: json.dumps(event | {"user_id": "nul\0nul"}),
    Reason.BAD_ADDRESS: lambda event: json.dumps(event | {"ip": f"{event['ip']}.256"}),
}


@click.command(
    help="Write made-up login events as JSON lines; some are malformed.",
    epilog="Example: python -m devkit.feed --messages 10000 | consumer send -",
)
@click.option("--messages", type=click.IntRange(min=0), default=1000, show_default=True)
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same events.")
def main(messages: int, seed: int) -> None:
    """Write the feed."""
    rng = random.Random(seed)  # noqa: S311 the same feed each time
    for message in feed(rng, messages):
        click.echo(message.body)


if __name__ == "__main__":
    main()
