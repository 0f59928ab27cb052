"""What the messages of an event should become, by the product's own pure functions."""

from consumer.events.model import EventModel, table_of, tokens_of
from consumer.events.table import ColumnKinds
from consumer.events.transform import Transform
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mode
from consumer.masking.sealing import BodySeal
from tests.history.checker import Rules


def rules_of(model: type[EventModel], kinds: ColumnKinds, ring: KeyRing) -> Rules:
    """The rules for a table whose columns `inspect_table` found to be `kinds`."""
    recover = {
        token.column: token.mask(ring).recover
        for token in tokens_of(model)
        if token.mode is Mode.SIV
    }
    names = [column.name for column in table_of(model).columns if column.name in kinds]
    return Rules(
        expect=Transform(model, kinds, ring),
        unseal=BodySeal(ring).unseal,
        recover={position: recover[name] for position, name in enumerate(names) if name in recover},
    )
