"""Masking: from a value and a key ring to a token, and back for the holder of the key.

A token is `<kid>.<text>`: the name of the key, and what the mode made of the value. The same value
in the same column under the same key is the same token, wherever and whenever it is made.
"""

from consumer.masking.diagnosis import Suspect, diagnosis
from consumer.masking.encodings import ADDRESS, IDENTIFIER, Encoding, is_utf8
from consumer.masking.keyring import KeyRing, KeyState
from consumer.masking.mask import MASKED_LENGTH, Mask, Mode, kid_of, mask_for
from consumer.masking.sealing import BodySeal

__all__ = [
    "ADDRESS",
    "IDENTIFIER",
    "MASKED_LENGTH",
    "BodySeal",
    "Encoding",
    "KeyRing",
    "KeyState",
    "Mask",
    "Mode",
    "Suspect",
    "diagnosis",
    "is_utf8",
    "kid_of",
    "mask_for",
]
