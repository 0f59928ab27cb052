"""What a token stands for, and in which column."""

import os

import pytest

from consumer.errors import SettingsError, TokenError
from consumer.events.model import masks_of
from consumer.events.user_login import UserLogin
from consumer.masking.key_ring import KeyRing
from consumer.officer.recovery.recoverer import Recoverer

RING = KeyRing.generate("k1", os.urandom)


def test_a_token_is_recovered_for_its_own_column_only() -> None:
    token = str(masks_of(UserLogin, RING)["masked_ip"]("199.172.111.135"))
    assert Recoverer(UserLogin, RING, "masked_ip").recover(token).column == "masked_ip"
    with pytest.raises(TokenError, match=r"moved: it was made for user_logins\.masked_ip"):
        Recoverer(UserLogin, RING, "masked_device_id").recover(token)
    with pytest.raises(SettingsError, match="UserLogin has no masked column user_id"):
        Recoverer(UserLogin, RING, "user_id").recover(token)
    assert "199" not in repr(Recoverer(UserLogin, RING).recover(token))
