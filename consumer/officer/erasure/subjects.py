"""Whose a message is, and how a person is remembered as erased without being named."""

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from consumer.errors import SettingsError
from consumer.events.model import EventModel, MaskedColumn, StoredColumn, columns_of
from consumer.masking.key_ring import KeyRing

# Behind a property's name, up to the next separator: what is no text in quotes.
_BARE_VALUE = r'"{name}\\*"\s*:\s*([^\s",{{}}\[\]]+)'
# Up to a quote that is not escaped; one after the other they are the whole body.
_PIECE = re.compile(r'((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_MOST_NESTED = 3


class SubjectHash:
    """HMAC-SHA256 of a person under each key of the ring; the keys are of no other use.

    `column` is the person's, `table.column`.
    """

    __slots__ = ("_keys", "primary")

    def __init__(self, key_ring: KeyRing, column: str) -> None:
        self.primary = key_ring.primary
        self._keys: Mapping[str, bytes] = MappingProxyType(
            {kid: key_ring.derive(kid, column, "erasure", 32) for kid in key_ring.kids}
        )

    @property
    def kids(self) -> frozenset[str]:
        """The names of the ring's keys."""
        return frozenset(self._keys)

    def __call__(self, person: str, kid: str) -> bytes:
        """32 bytes that only the holder of the key can tie to a person."""
        return hmac.digest(self._keys[kid], person.encode("utf-8", "surrogatepass"), "sha256")


def subject_column(model: type[EventModel]) -> str:
    """The column that says whose an event is.

    Raises:
        SettingsError: the model names none, or it is masked.
    """
    return _subject(model).column


def _subject(model: type[EventModel]) -> StoredColumn:
    if model.subject is None:
        raise SettingsError(f"{model.__name__} declares no subject: nobody can be erased from it")
    (found,) = (each for each in columns_of(model) if each.column == model.subject)
    if isinstance(found, MaskedColumn):
        raise SettingsError(
            f"{model.__name__}.{found.column} is masked: a subject cannot be found by it"
        )
    return found


class SubjectSearch:
    """Finds in a body all texts that may name its person; some come more than once.

    Every text in quotes, wherever it stands, for the body may be no valid JSON, or hold the event
    as a text of its own; and what stands behind the person's property without quotes. Takes time
    in proportion to the body, whatever it holds.

    Raises:
        SettingsError: when made, if the model names no person, or masks it.
    """

    def __init__(self, model: type[EventModel]) -> None:
        name = re.escape(_subject(model).json_name)
        self._bare_value = re.compile(_BARE_VALUE.format(name=name))

    def __call__(self, body: str) -> Iterator[str]:
        """The texts."""
        # An event inside of a text has its quotes escaped, so quotes part both with and without.
        inner = (piece.rstrip("\\") for piece in body.split('"'))
        for piece in {*inner, *_PIECE.findall(body)}:
            yield from _unescaped(piece)
        yield from self._bare_value.findall(body)


def _unescaped(text: str) -> Iterator[str]:
    """The text as it stands, and as it is meant where it was escaped, once or more often."""
    yield text
    for _ in range(_MOST_NESTED):
        if "\\" not in text:
            return
        try:
            text = json.loads(f'"{text}"', strict=False)
        except ValueError:
            return
        yield text
