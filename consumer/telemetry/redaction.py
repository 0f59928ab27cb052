"""What may be shown of a value or an exception in a log or on a terminal.

The sender of a message chooses its values, and the drivers' exception texts quote them. So control
characters of a text are escaped, and other objects show as their type. An exception that is not the
consumer's own shows as its type and its frames: no text, no locals, no source.
"""

import traceback
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import PurePath

from consumer.errors import ConsumerError

_MAX_TEXT_CHARACTERS = 500
_MAX_ITEMS = 50
_MAX_FRAMES = 20
_MAX_NESTED_EXCEPTIONS = 8

Description = dict[str, object]


def redacted(value: object) -> object:
    """Return what of a value may be logged.

    Texts without control, format or separator characters and of bounded length; collections of
    these; of anything else, named tuples among them, its type.
    """
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _bounded_text(value)
        case Mapping():
            return {
                _bounded_text(k) if isinstance(k, str) else str(redacted(k)): redacted(v)
                for k, v in list(value.items())[:_MAX_ITEMS]
            }
        case Sequence() if not (
            isinstance(value, bytes | bytearray | memoryview) or _is_named_tuple(value)
        ):
            return [redacted(item) for item in islice(value, _MAX_ITEMS)]
        case _:
            return f"<{type(value).__name__}>"


def _is_named_tuple(value: object) -> bool:
    """A message is one, and its fields must not be logged."""
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _bounded_text(text: str) -> str:
    if len(text) > _MAX_TEXT_CHARACTERS:
        text = f"{text[:_MAX_TEXT_CHARACTERS]}… ({len(text)} characters)"
    return escaped(text)


def escaped(text: str) -> str:
    """Return a text with what starts a line or controls a terminal written as an escape."""
    if text.isprintable():
        return str(text)
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode() for each in text
    )


def describe(error: BaseException) -> Description:
    """Return an exception's type and frames, and its text if it is the consumer's own."""
    return _describe(error, _MAX_NESTED_EXCEPTIONS)


def _describe(error: BaseException, depth: int) -> Description:
    description: Description = {"type": f"{type(error).__module__}.{type(error).__qualname__}"}
    if isinstance(error, ConsumerError):
        description["text"] = str(error)
    frames = traceback.walk_tb(error.__traceback__)
    description["frames"] = [
        f"{'/'.join(PurePath(frame.f_code.co_filename).parts[-2:])}:{line} {frame.f_code.co_name}"
        for frame, line in frames
    ][-_MAX_FRAMES:]
    if depth == 0:
        return description
    if isinstance(error, BaseExceptionGroup):
        nested = error.exceptions[:_MAX_NESTED_EXCEPTIONS]
        description["exceptions"] = [_describe(each, depth - 1) for each in nested]
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        description["cause"] = _describe(cause, depth - 1)
    return description
