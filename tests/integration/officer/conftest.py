import pytest

from consumer.masking.key_ring import KeyRing
from tests.integration.officer.office import Office


@pytest.fixture
def office(database: str, key_ring_json: str) -> Office:
    """The officer of a new database, with a key ring of one key, k1."""
    return Office(database, KeyRing.parse(key_ring_json))
