"""From a token to the value it stands for, and from a value to its tokens."""

from dataclasses import dataclass, field

from consumer.errors import NotATokenError, TokenError
from consumer.events.model import EventModel, masks_of, tokens_of
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mode
from consumer.officer.recovery.columns import column_to_search, columns_to_recover
from consumer.officer.recovery.diagnosis import Suspect, diagnosis


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a token stands for, and the column that it was made for."""

    column: str
    value: str = field(repr=False)


class Recovery:
    """Tells what tokens stand for.

    `of` is a masked field or column; without it each column that is masked with siv is tried.

    Raises:
        SettingsError: when made, if the model has no such masked field or column.
    """

    def __init__(self, model: type[EventModel], key_ring: KeyRing, of: str = "") -> None:
        masks = masks_of(model, key_ring)
        self._masks = {column: masks[column] for column in columns_to_recover(model, of)}
        self._kids = key_ring.kids
        self._suspects = [
            Suspect(
                token.qualified_name,
                masks[token.column],
                token.encoding,
                meant=token.column in self._masks,
            )
            for token in tokens_of(model)
            if token.mode is Mode.SIV
        ]

    def __call__(self, token: str) -> Recovered:
        """What one token stands for.

        Raises:
            NotATokenError: the text does not look like a token.
            TokenError: the token was cut, changed, relabelled or moved, its key is not in the
                ring, or the column's mode has no way back; the text says which.
        """
        refusals: list[TokenError] = []
        for column, mask in self._masks.items():
            try:
                return Recovered(column, mask.recover(token))
            except TokenError as refusal:
                refusals.append(refusal)
        refused = diagnosis(token, self._suspects, self._kids)
        is_siv = any(suspect.meant for suspect in self._suspects)
        raise refused if is_siv or isinstance(refused, NotATokenError) else refusals[0]


def recover(model: type[EventModel], key_ring: KeyRing, token: str, of: str = "") -> Recovered:
    """What a single token stands for; raises what `Recovery` raises."""
    return Recovery(model, key_ring, of)(token)


class Search:
    """Tells which tokens a value has, in the masked field or column `of`.

    Raises:
        SettingsError: when made, if the model has no such field or column, or several.
    """

    def __init__(self, model: type[EventModel], key_ring: KeyRing, of: str) -> None:
        self._mask = masks_of(model, key_ring)[column_to_search(model, of)]

    def __call__(self, value: str) -> tuple[str, ...]:
        """The value's tokens under every key, the primary's first; raises ValueRefusedError."""
        return self._mask.tokens(value)
