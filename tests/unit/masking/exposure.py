"""Collects all that an exception carries along, as a careless logger would print it."""

from collections.abc import Iterator


def carried_by(error: BaseException) -> str:
    """Text, arguments and attributes of an exception and of all it was raised from or during."""
    return "\n".join(_pieces(error))


def _pieces(error: BaseException | None) -> Iterator[str]:
    if error is None:
        return
    yield repr(error)
    yield str(error)
    yield repr(error.args)
    yield repr(getattr(error, "doc", None))
    yield repr(getattr(error, "object", None))
    yield from _pieces(error.__cause__)
    yield from _pieces(error.__context__)
