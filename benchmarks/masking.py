"""What masking costs a message: `python -m benchmarks.masking [MESSAGES]`.

Both fields of distinct logins, from text to token: parsing, padding, AES-SIV, base64. Its floor is
AES-SIV alone, two calls over bytes that are ready; the other modes are for comparison. CPU time of
this process, the best and the median of rounds in turn, so that neighbours on the machine show.
"""

import secrets
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import click
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.encodings import ADDRESS, IDENTIFIER
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mode, mask_for

_MESSAGES = 50_000
_ROUNDS = 7

_Run = Callable[[], None]


def _both_fields(ring: KeyRing, addresses: Sequence[str], devices: Sequence[str]) -> _Run:
    masks = masks_of(UserLogin, ring)
    ip, device = masks["masked_ip"], masks["masked_device_id"]

    def run() -> None:
        for address, device_id in zip(addresses, devices, strict=True):
            ip(address)
            device(device_id)

    return run


def _aes_siv_alone(addresses: Sequence[str], devices: Sequence[str]) -> _Run:
    one, other = (AESSIV(secrets.token_bytes(64)) for _ in range(2))
    associated = [b"as long as what names format, column and key"]
    pairs = [
        (ADDRESS.encode(address), IDENTIFIER.encode(device))
        for address, device in zip(addresses, devices, strict=True)
    ]

    def run() -> None:
        for address, device in pairs:
            one.encrypt(address, associated)
            other.encrypt(device, associated)

    return run


def _address(ring: KeyRing, mode: Mode, addresses: Sequence[str]) -> _Run:
    mask = mask_for(ring, "t.c", mode, ADDRESS)

    def run() -> None:
        for address in addresses:
            mask(address)

    return run


def _measure(runs: Mapping[str, _Run], messages: int) -> Mapping[str, list[float]]:
    """Microseconds of CPU a message, of each round."""
    took: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(_ROUNDS):
        for name, run in runs.items():
            started = time.process_time()
            run()
            took[name].append((time.process_time() - started) / messages * 1e6)
    return took


@click.command()
@click.argument("messages", type=click.IntRange(min=1), default=_MESSAGES)
def main(messages: int) -> None:
    """Measure what masking MESSAGES logins costs."""
    ring = KeyRing.generate("k1", secrets.token_bytes)
    v4 = [".".join(map(str, secrets.token_bytes(4))) for _ in range(messages)]
    v6 = [f"2001:db8::{secrets.token_hex(2)}:{secrets.token_hex(2)}" for _ in range(messages)]
    devices = [
        f"{n % 900 + 100}-{n % 90 + 10}-{secrets.randbelow(9000) + 1000}" for n in range(messages)
    ]
    runs = {
        "floor: AES-SIV alone, two calls": _aes_siv_alone(v4, devices),
        "both fields, siv": _both_fields(ring, v4, devices),
        "ip alone, siv": _address(ring, Mode.SIV, v4),
        "ip alone, hmac": _address(ring, Mode.HMAC, v4),
        "ip alone, ipcrypt-pfx, IPv4": _address(ring, Mode.IPCRYPT_PFX, v4),
        "ip alone, ipcrypt-pfx, IPv6": _address(ring, Mode.IPCRYPT_PFX, v6),
    }
    print(f"{'microseconds a message':34}  best  median")
    for name, took in _measure(runs, messages).items():
        print(f"{name:34} {min(took):5.2f}   {statistics.median(took):5.2f}")


if __name__ == "__main__":
    main()
