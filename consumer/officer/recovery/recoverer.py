"""Opens tokens with the key ring, and explains why a token does not open.

A token of AES-SIV authenticates under its own key and column alone. Trying the other keys and
columns shows where such a token comes from. A value that opens this way is never shown: it is not
the one that was asked for.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from consumer.errors import NotATokenError, TokenError
from consumer.events.model import EventModel, masks_of, tokens_of
from consumer.masking.encodings import Encoding
from consumer.masking.key_ring import KeyRing
from consumer.masking.mask import Mask, Mode, kid_of
from consumer.officer.recovery.columns import column_to_search, columns_to_recover

_TAG_BYTES = 16
# The tag alone has 22 characters. A shorter text under an unknown kid is as likely a raw value: the
# address 10.20.30.40 begins like a token of a key named 10.
_TOKEN_TEXT = re.compile(r"[A-Za-z0-9_-]{22,}")


@dataclass(frozen=True, slots=True)
class Recovered:
    """An original value, and the column that its token was made for."""

    column: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenColumn:
    """A column, `table.column`, that a token may come from; `asked`: the caller named it."""

    column: str
    mask: Mask
    encoding: Encoding
    asked: bool

    def has_length(self, length: int) -> bool:
        """Whether a token of this column can have so many characters after its kid."""
        return any(
            length == _base64url_characters(_TAG_BYTES + size) for size in self.encoding.sizes
        )


class Recoverer:
    """Recovers values from tokens of the masked field or column `name`.

    Without a name every column that is masked with siv is tried.

    Raises:
        SettingsError: when made, if the model has no such masked field or column.
    """

    def __init__(self, model: type[EventModel], key_ring: KeyRing, name: str = "") -> None:
        masks = masks_of(model, key_ring)
        self._masks = {column: masks[column] for column in columns_to_recover(model, name)}
        self._kids = key_ring.kids
        self._siv_columns = [
            TokenColumn(
                token.qualified_name,
                masks[token.column],
                token.encoding,
                asked=token.column in self._masks,
            )
            for token in tokens_of(model)
            if token.mode is Mode.SIV
        ]

    def recover(self, token: str) -> Recovered:
        """The value of one token.

        Raises:
            NotATokenError: the text does not look like a token.
            TokenError: the token was truncated, tampered with, relabelled or moved, its key is not
                in the ring, or its column's mode cannot be reversed; the text says which.
        """
        refusals: list[TokenError] = []
        for column, mask in self._masks.items():
            try:
                return Recovered(column, mask.recover(token))
            except TokenError as refusal:
                refusals.append(refusal)
        failure = explain_failure(token, self._siv_columns, self._kids)
        is_siv = any(column.asked for column in self._siv_columns)
        raise failure if is_siv or isinstance(failure, NotATokenError) else refusals[0]


class TokenSearch:
    """Finds the tokens of a value in the masked field or column `name`.

    Raises:
        SettingsError: when made, if the model has no such field or column, or several.
    """

    def __init__(self, model: type[EventModel], key_ring: KeyRing, name: str) -> None:
        self._mask = masks_of(model, key_ring)[column_to_search(model, name)]

    def tokens(self, value: str) -> tuple[str, ...]:
        """The value's tokens under every key, the primary's first; raises ValueRefusedError."""
        return self._mask.tokens(value)


def explain_failure(token: str, columns: Sequence[TokenColumn], kids: Sequence[str]) -> TokenError:
    """The error for a token that does not open where it should.

    `columns` are those masked with siv, `kids` the names of the ring's keys.
    """
    kid = kid_of(token)
    text = token[len(kid) + 1 :] if kid else ""
    if kid is None or (kid not in kids and not _TOKEN_TEXT.fullmatch(text)):
        return NotATokenError(
            "not a token: a token is the name of a key, a dot, and a base64url text"
        )
    for column, made_with in _opens_with(text, columns, kids):
        if not column.asked:
            return TokenError(f"moved: it was made for {column.column}, under key {made_with}")
        if made_with != kid:
            return TokenError(f"relabelled: it was made with key {made_with}, and says {kid}")
    if kid not in kids:
        return TokenError(f"unknown key: the ring has no {kid}; use the ring that made the token")
    if not any(column.has_length(len(text)) for column in columns if column.asked):
        return TokenError(f"truncated: no token of this column has {len(token)} characters")
    return TokenError(
        f"tampered: it was changed, or made with another key called {kid}, or for a column that"
        " is not masked with siv"
    )


def _opens_with(
    text: str, columns: Sequence[TokenColumn], kids: Sequence[str]
) -> Iterator[tuple[TokenColumn, str]]:
    """The columns and keys under which the text authenticates: at most one."""
    for column in columns:
        for kid in kids:
            try:
                column.mask.recover(f"{kid}.{text}")
            except TokenError:
                continue
            yield column, kid


def _base64url_characters(size: int) -> int:
    return (size * 8 + 5) // 6
