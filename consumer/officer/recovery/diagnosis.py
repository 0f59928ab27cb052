"""Why a token of AES-SIV does not open: it was cut, relabelled, moved or changed.

A token authenticates under its own key and column alone, so trying the others tells where it
comes from. Nothing that opens this way is shown: it is not what was asked for.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from consumer.errors import NotATokenError, TokenError
from consumer.masking.encodings import Encoding
from consumer.masking.mask import Mask, kid_of

_TAG_BYTES = 16
# As long as the tag alone is. A shorter text under an unknown kid is as likely a raw value: the
# address 10.20.30.40 begins like a token of a key called 10.
_TOKEN_TEXT = re.compile(r"[A-Za-z0-9_-]{22,}")


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column, `table.column`, that a token may have been made for; `meant`: it is asked for."""

    column: str
    mask: Mask
    encoding: Encoding
    meant: bool

    def has_length(self, length: int) -> bool:
        """Whether a token of this column can have so many characters behind its kid."""
        return any(
            length == _base64url_characters(_TAG_BYTES + size) for size in self.encoding.sizes
        )


def diagnosis(token: str, suspects: Iterable[Suspect], kids: Sequence[str]) -> TokenError:
    """The error for a token that does not open where it should.

    `suspects` are the columns that are masked with siv, `kids` the names of the ring's keys.
    """
    suspects = tuple(suspects)
    kid = kid_of(token)
    text = token[len(kid) + 1 :] if kid else ""
    if kid is None or (kid not in kids and not _TOKEN_TEXT.fullmatch(text)):
        return NotATokenError(
            "not a token: one begins with the name of a key and a dot, and goes on with base64url"
        )
    for suspect, made_with in _openers(text, suspects, kids):
        if not suspect.meant:
            return TokenError(f"moved: it was made for {suspect.column}, under key {made_with}")
        if made_with != kid:
            return TokenError(f"relabelled: it was made with key {made_with}, and says {kid}")
    if kid not in kids:
        return TokenError(f"unknown key: the ring has no {kid}; use the ring that made the token")
    if not any(suspect.has_length(len(text)) for suspect in suspects if suspect.meant):
        return TokenError(f"truncated: no token of this column has {len(token)} characters")
    return TokenError(
        f"tampered: it was changed, or made with another key called {kid}, or for a column that"
        " is not masked with siv"
    )


def _openers(
    text: str, suspects: Iterable[Suspect], kids: Sequence[str]
) -> Iterator[tuple[Suspect, str]]:
    """The columns and keys under which the text authenticates: one at most."""
    for suspect in suspects:
        for kid in kids:
            try:
                suspect.mask.recover(f"{kid}.{text}")
            except TokenError:
                continue
            yield suspect, kid


def _base64url_characters(size: int) -> int:
    return (size * 8 + 5) // 6
