"""Loads the event model that the settings name: from an installed module, or from a folder.

The folder is the last on Python's import path, and only while the model is loaded: no file in it
takes the place of an installed module. A model's file can import its neighbours by their plain
names, at its top.
"""

import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from traceback import walk_tb
from types import ModuleType

from consumer.errors import SettingsError
from consumer.events.model import EventModel, check_model

_OWN_PACKAGE = __name__.partition(".")[0]
# An error is located in the user's own files, not in what they call.
_LIBRARIES = (
    *(Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")),
    Path(__file__).parents[1],
)


def load_model(name: str, folder: Path) -> type[EventModel]:
    """The model that `name` says as "module:Class", from an installed module or from `folder`.

    Raises:
        SettingsError: there is no such class, another module has the module's name, the module
            raises an error, or the model cannot be stored; the text says which, and no value.
    """
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in [*module_name.split("."), class_name]):
        raise SettingsError(f'event model {name}: write it as "module:Class"')
    _require_one_module(name, module_name.partition(".")[0], folder.resolve())
    with _last_on_import_path(folder.resolve()):
        module = _imported(name, module_name)
    model: object = getattr(module, class_name, None)
    if not isinstance(model, type) or not issubclass(model, EventModel) or model is EventModel:
        where = getattr(module, "__file__", None) or module_name
        raise SettingsError(f"event model {name}: {where} has no EventModel of this name")
    check_model(model)
    return model


def _require_one_module(name: str, top: str, folder: Path) -> None:
    """Raise SettingsError if no module has this name, or one outside the folder as well."""
    inside = PathFinder.find_spec(top, [str(folder)])
    outside = _spec_outside(top)
    if inside is None and outside is None:
        problem = f"there is no {top}.py in {folder}: set event.path to the folder that has it"
    elif top != _OWN_PACKAGE and _are_two_files(inside, outside):
        assert inside is not None
        assert outside is not None
        problem = f"{outside.origin} has the name of {inside.origin}: rename the second"
    else:
        return
    raise SettingsError(f"event model {name}: {problem}")


def _spec_outside(top: str) -> ModuleSpec | None:
    try:
        return find_spec(top)
    except ValueError:  # __main__ has no spec
        return None


def _are_two_files(one: ModuleSpec | None, other: ModuleSpec | None) -> bool:
    # A folder without __init__.py has no origin; a module of its name precedes it.
    if one is None or other is None or one.origin is None or other.origin is None:
        return False
    return Path(one.origin).resolve() != Path(other.origin).resolve()


@contextmanager
def _last_on_import_path(folder: Path) -> Iterator[None]:
    entry = str(folder)
    if entry in sys.path:
        yield
        return
    sys.path.append(entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _imported(name: str, module_name: str) -> ModuleType:
    try:
        return import_module(module_name)
    # The user's file may raise anything, and the error's text may hold a secret of the environment.
    except Exception as error:  # noqa: BLE001
        problem = _import_problem(error, module_name)
    # Raised outside the `except`, it does not hold the error.
    raise SettingsError(f"event model {name}: {problem}")


def _import_problem(error: Exception, module_name: str) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}: {error.msg}"
    place = _place_in_users_files(error)
    if not isinstance(error, ModuleNotFoundError):
        return f"{place or module_name}: {type(error).__name__}; run the file alone to see more"
    if place is None:
        return f"there is no module {error.name}"
    return f"{place}: there is no module {error.name}: put it beside this file, or install it"


def _place_in_users_files(error: Exception) -> str | None:
    """File and line of the innermost frame that is in none of the libraries."""
    place = None
    for frame, line in walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_absolute() and not any(file.is_relative_to(each) for each in _LIBRARIES):
            place = f"{file}:{line}"
    return place
