"""What the messages of an event should become, by the product's own pure functions."""

from consumer.events.model import EventModel, columns_to_recover, masks_of, table_of
from consumer.events.table import ColumnKinds
from consumer.events.transform import Transform
from consumer.masking.key_ring import KeyRing
from consumer.masking.sealing import BodySeal
from tests.history.checker import Rules


def rules_of(model: type[EventModel], kinds: ColumnKinds, ring: KeyRing) -> Rules:
    """The rules for a table whose columns `inspect_table` found to be `kinds`."""
    masks, recoverable = masks_of(model, ring), columns_to_recover(model)
    names = [column.name for column in table_of(model).columns if column.name in kinds]
    return Rules(
        expect=Transform(model, kinds, ring),
        unseal=BodySeal(ring).unseal,
        recover={
            position: masks[name].recover
            for position, name in enumerate(names)
            if name in recoverable
        },
    )
