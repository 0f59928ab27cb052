"""The subject of an event: whose it is, how a body names the subject, the hash that lists it."""

import hmac
import json
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from consumer.errors import SettingsError
from consumer.events.model import EventModel, MaskedColumn, StoredColumn, columns_of
from consumer.masking.key_ring import KeyRing

# A value without quotes, from a property's name up to the next separator.
_BARE_VALUE = r'"{name}\\*"\s*:\s*([^\s",{{}}\[\]]+)'
# Up to a quote that is not escaped; consecutive pieces make up the whole body.
_PIECE = re.compile(r'((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_MOST_NESTED = 3


class SubjectHash:
    """HMAC-SHA256 of a subject under each key of the ring; the derived keys serve nothing else.

    `column` is the subject's column, `table.column`.
    """

    __slots__ = ("_keys", "primary")

    def __init__(self, key_ring: KeyRing, column: str) -> None:
        self.primary = key_ring.primary
        self._keys: Mapping[str, bytes] = MappingProxyType(
            {kid: key_ring.derive(kid, column, "erasure", 32) for kid in key_ring.kids}
        )

    @property
    def kids(self) -> frozenset[str]:
        return frozenset(self._keys)

    def digest(self, subject: str, kid: str) -> bytes:
        """32 bytes that only the holder of the key can link to the subject."""
        return hmac.digest(self._keys[kid], subject.encode("utf-8", "surrogatepass"), "sha256")


def subject_column(model: type[EventModel]) -> str:
    """The column that names the subject of an event.

    Raises:
        SettingsError: the model declares none, or it is masked.
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
    """Finds in a body all texts that may name its subject; some are found more than once.

    These are every text in quotes, wherever it stands, because the body may be invalid JSON or
    contain the event as a text; and a value without quotes after the subject's property. The time
    is proportional to the body, whatever it contains.

    Raises:
        SettingsError: when made, if the model declares no subject, or masks it.
    """

    def __init__(self, model: type[EventModel]) -> None:
        name = re.escape(_subject(model).json_name)
        self._bare_value = re.compile(_BARE_VALUE.format(name=name))

    def texts(self, body: str) -> Iterator[str]:
        # An event inside a text has its quotes escaped: quotes separate pieces in both forms.
        inner = (piece.rstrip("\\") for piece in body.split('"'))
        for piece in {*inner, *_PIECE.findall(body)}:
            yield from _unescaped(piece)
        yield from self._bare_value.findall(body)


def _unescaped(text: str) -> Iterator[str]:
    """The text itself, and unescaped for each level of escaping."""
    yield text
    for _ in range(_MOST_NESTED):
        if "\\" not in text:
            return
        try:
            text = json.loads(f'"{text}"', strict=False)
        except ValueError:
            return
        yield text
