"""Raw values that are found again wherever they leak to, in whatever form."""

import base64
import hashlib
import ipaddress
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.integration.officer.office import login

_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Marks:
    """Addresses and device ids that occur nowhere else, and what they look like when they leak.

    Those of a kind begin alike, so that few texts have to be looked for.
    """

    device_prefix: str
    four_prefix: str
    six_prefix: str

    @classmethod
    def made(cls, rng: random.Random) -> "Marks":
        sixteen_bits = (f"{rng.randrange(0x1000, 0x10000):x}" for _ in range(4))
        return cls(
            f"mark-{rng.getrandbits(48):012x}-",
            "".join(f"{rng.randrange(129, 255)}." for _ in range(3)),
            f"2001:db8:{':'.join(sixteen_bits)}:",
        )

    @property
    def devices(self) -> tuple[str, ...]:
        return f"{self.device_prefix}4711", f"{self.device_prefix}4712"

    @property
    def addresses(self) -> tuple[str, ...]:
        prefixes = (self.four_prefix, f"{self.six_prefix}1:")
        return tuple(f"{prefix}{last}" for prefix in prefixes for last in (17, 18))

    def needles(self) -> Iterator[bytes]:
        """What the values are recognised by, whatever form they leak in."""
        for prefix in (self.device_prefix, self.four_prefix, self.six_prefix):
            text = prefix.encode()
            yield text
            yield text.hex().encode()
            yield base64.b64encode(text)[:-4]
        six = ipaddress.IPv6Address(f"{self.six_prefix}:")
        yield six.packed[:12]
        yield six.packed[:12].hex().encode()
        # A bare hash of an address is an address.
        for value in (*self.devices, *self.addresses):
            yield hashlib.sha256(value.encode()).digest()
            yield hashlib.sha256(value.encode()).hexdigest().encode()

    def leaked_into(self, data: bytes) -> list[bytes]:
        """The needles in `data`."""
        return [needle for needle in self.needles() if needle in data]

    def valid(self) -> list[str]:
        """A valid event for each address."""
        return [
            login(ip=address, device_id=self.devices[number % len(self.devices)])
            for number, address in enumerate(self.addresses)
        ]

    def invalid(self) -> list[str]:
        """A body for each way in which a value comes to be in one that is no valid event."""
        device, other, *_ = self.devices
        address, *_ = self.addresses
        return [
            f'{{"device_id": "{device}"',
            f"{device} {address}",
            json.dumps([device, address]),
            json.dumps({"device": device, "address": address}),
            login(ip=device),
            login(ip=f"{address}/24"),
            login(ip=[address], device_id={"id": device}),
            login(ip=7, device_id=device),
            login(device_id=device * 10),
            login(device_id=f"{device}\0"),
            login(device_id=f"{device}\ud800", ip=address),
            login(app_version=device * 2, ip=address),
            login(app_version=None, ip=address, device_id=device),
            login(user_id="x" * 129, ip=address, device_id=device),
            login(locale=other * 3, ip=address, device_id=device),
            login(ip=address, device_id=device)[:-1] + f', "{device}": "{"x" * 5000}"',
            login(ip=address, device_id=device).replace('"ip"', f'"{device}\\nip"'),
        ]


def files_with(marks: Marks, folder: Path) -> dict[str, list[bytes]]:
    """The files below a folder that hold a mark, with what was found."""
    needles = tuple(marks.needles())
    longest = max(map(len, needles))
    found: dict[str, list[bytes]] = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        with path.open("rb") as file:
            tail = b""
            while chunk := file.read(_CHUNK_BYTES):
                data = tail + chunk
                if hits := [needle for needle in needles if needle in data]:
                    found[str(path.relative_to(folder))] = hits
                tail = data[-longest:]
    return found
