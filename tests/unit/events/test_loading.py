"""The door for a model of the user's: a file in a folder, which the settings name."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run
from types import ModuleType

import pytest

from consumer.errors import SettingsError
from consumer.events.loading import load_model
from consumer.events.user_login import UserLogin

USER_LOGIN = "consumer.events.user_login:UserLogin"
PAYMENT = """
from typing import Annotated, ClassVar

from consumer.events.model import EventModel, Into, Masked, Stored
from consumer.masking.encodings import IDENTIFIER

class Payment(EventModel):
    table: ClassVar[str] = "payments"
    sent_on: ClassVar[str] = "paid_on"

    account: Annotated[str, Stored(max_length=64)]
    card: Annotated[str | None, Masked(IDENTIFIER, Into("masked_card"))]
"""
# No module that is installed has these names.
MODULES = ("shop_payments", "shop_names", "shop_package")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for models, which are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path / "an installed package"))
    yield tmp_path
    for name in list(sys.modules):
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


def _refusal(name: str, folder: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_model(name, folder)
    assert refused.value.__context__ is None
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_the_models_of_the_package_are_loaded_whatever_the_folder_holds(folder: Path) -> None:
    (folder / "consumer.py").write_text("raise RuntimeError")
    (folder / "json.py").write_text("raise RuntimeError")
    assert load_model(USER_LOGIN, folder) is UserLogin
    assert load_model(USER_LOGIN, folder / "nowhere") is UserLogin


def test_a_model_is_loaded_from_a_file_in_the_folder(folder: Path) -> None:
    (folder / "shop_payments.py").write_text(PAYMENT)
    model = load_model("shop_payments:Payment", folder)
    assert model.table == "payments"
    assert sys.modules[model.__module__].__file__ == str(folder / "shop_payments.py")
    assert load_model("shop_payments:Payment", folder) is model


def test_the_folder_is_on_the_import_path_only_while_the_model_is_loaded(folder: Path) -> None:
    before = list(sys.path)
    (folder / "shop_payments.py").write_text(PAYMENT)
    (folder / "shop_names.py").write_text("raise RuntimeError")
    load_model("shop_payments:Payment", folder)
    assert sys.path == before
    _refusal("shop_names:Payment", folder)
    assert sys.path == before


def test_a_folder_that_is_on_the_import_path_anyway_stays_there(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    before = list(sys.path)
    (folder / "shop_payments.py").write_text(PAYMENT)
    load_model("shop_payments:Payment", folder)
    assert sys.path == before


def test_a_relative_folder_is_one_of_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    (folder / "models").mkdir()
    (folder / "models" / "shop_payments.py").write_text(PAYMENT)
    model = load_model("shop_payments:Payment", Path("models"))
    assert sys.modules[model.__module__].__file__ == str(folder / "models" / "shop_payments.py")


def test_a_model_may_import_its_neighbours(folder: Path) -> None:
    (folder / "shop_names.py").write_text('TABLE = "shop.payments"\n')
    named = PAYMENT.replace('"payments"', "TABLE").replace(
        "from typing", "from shop_names import TABLE\nfrom typing", 1
    )
    (folder / "shop_payments.py").write_text(named)
    assert load_model("shop_payments:Payment", folder).table == "shop.payments"


@pytest.mark.parametrize("init", [True, False])
def test_a_model_may_be_in_a_package_of_the_folder(folder: Path, *, init: bool) -> None:
    package = folder / "shop_package"
    package.mkdir()
    (package / "payments.py").write_text(PAYMENT)
    if init:
        (package / "__init__.py").touch()
    assert load_model("shop_package.payments:Payment", folder).table == "payments"


def test_a_neighbour_does_not_take_the_place_of_an_installed_module(folder: Path) -> None:
    (folder / "colorsys.py").write_text("raise RuntimeError")
    (folder / "shop_payments.py").write_text(f"import colorsys\n{PAYMENT}")
    assert load_model("shop_payments:Payment", folder).table == "payments"


def test_a_model_with_the_name_of_an_installed_module_is_refused(folder: Path) -> None:
    (folder / "json.py").write_text(PAYMENT)
    said = _refusal("json:Payment", folder)
    assert said.startswith("event model json:Payment: ")
    assert said.endswith(f"json/__init__.py has the name of {folder}/json.py: rename the second")


def test_a_model_that_was_loaded_from_another_folder_is_not_taken_for_this_one(
    folder: Path,
) -> None:
    for name in ("one", "other"):
        (folder / name).mkdir()
        (folder / name / "shop_payments.py").write_text(PAYMENT)
    load_model("shop_payments:Payment", folder / "one")
    said = _refusal("shop_payments:Payment", folder / "other")
    assert f"{folder}/one/shop_payments.py has the name of {folder}/other/shop_pay" in said


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", 'write it as "module:Class"'),
        ("consumer.events.model", 'write it as "module:Class"'),
        (":UserLogin", 'write it as "module:Class"'),
        ("consumer.events.model:", 'write it as "module:Class"'),
        ("consumer.events.model:User.Login", 'write it as "module:Class"'),
        (".events:UserLogin", 'write it as "module:Class"'),
        ("../events:UserLogin", 'write it as "module:Class"'),
        ("consumer.nowhere:UserLogin", "there is no module consumer.nowhere"),
        ("sys:Payment", "sys has no EventModel of this name"),
        ("consumer.events.model:Nothing", "events/model.py has no EventModel of this name"),
        ("consumer.events.model:EventModel", "has no EventModel of this name"),
        ("consumer.events.model:table_of", "has no EventModel of this name"),
        ("consumer.events.table:Table", "has no EventModel of this name"),
    ],
)
def test_a_name_without_a_model_says_why(folder: Path, name: str, says: str) -> None:
    assert says in _refusal(name, folder)


def test_a_module_that_is_nowhere_says_where_it_was_looked_for(folder: Path) -> None:
    assert _refusal("shop_payments:Payment", folder) == (
        "event model shop_payments:Payment: there is no shop_payments.py in"
        f" {folder}: set event.path to the folder that has it"
    )


def test_a_module_without_a_file_is_no_place_for_a_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "shop_names", ModuleType("shop_names"))
    assert "there is no shop_names.py in" in _refusal("shop_names:Payment", folder)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("import os\nx = (\n", 2, "'(' was never closed"),
        ("import shop_nowhere\n", 1, "there is no module shop_nowhere: put it beside this file"),
        ("import os\n\nint(os.environ['SECRET'])\n", 3, "ValueError; run the file alone"),
        ("class Payment:\n    card: Annotated\n", 2, "NameError; run the file alone to see more"),
        ("from consumer.events.model import Nothing\n", 1, "ImportError; run the file alone"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError; run the file alone to see more"),
    ],
)
def test_an_error_in_the_file_is_one_line_with_its_place_and_no_value(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, line: int, says: str
) -> None:
    monkeypatch.setenv("SECRET", "s3cret-value-8472")
    (folder / "shop_payments.py").write_text(text)
    said = _refusal("shop_payments:Payment", folder)
    assert said.startswith(
        f"event model shop_payments:Payment: {folder}/shop_payments.py:{line}: {says}"
    )
    assert "s3cret" not in said


def test_an_error_in_a_neighbour_is_located_there(folder: Path) -> None:
    (folder / "shop_payments.py").write_text("import shop_names\n")
    (folder / "shop_names.py").write_text("\nTABLE = NOTHING\n")
    assert f"{folder}/shop_names.py:2: NameError" in _refusal("shop_payments:Payment", folder)


def test_a_model_that_cannot_be_stored_names_the_field(folder: Path) -> None:
    (folder / "shop_payments.py").write_text(PAYMENT.replace("[str,", "[list[str],"))
    assert _refusal("shop_payments:Payment", folder) == (
        "shop_payments:Payment.account: Stored takes an int, or a str with a max_length"
    )


def test_files_in_the_working_directory_do_not_break_the_commands(folder: Path) -> None:
    for name in ("json.py", "events.py", "consumer.py", "asyncpg.py"):
        (folder / name).write_text("raise RuntimeError")
    (folder / "shop_payments.py").write_text(PAYMENT)
    # S603: the command is ours.
    answer = run(  # noqa: S603
        [str(Path(sys.executable).with_name("consumer")), "check"],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "CONSUMER_EVENT__MODEL": "shop_payments:Payment"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert f"ok   model: shop_payments:Payment, from {folder}/shop_payments.py" in answer.stdout
    assert "unforeseen" not in answer.stderr
