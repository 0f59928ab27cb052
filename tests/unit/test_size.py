"""How long a file and a function may be, and the main path as a whole."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FILE_LINES = 360
FUNCTION_LINES = 40
MAIN_PATH_LINES = 1100


def _lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""  # of a command, its help
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1 - len(docstring.splitlines())
            yield f"{path.name}: {node.name}", length


def _product() -> list[Path]:
    files = sorted((ROOT / "consumer").rglob("*.py"))
    assert len(files) > 50
    return files


def test_no_product_file_is_longer_than_a_reader_takes_in_one_go() -> None:
    assert not {str(path): n for path in _product() if (n := _lines(path)) > FILE_LINES}


def test_no_function_is_longer_than_a_screen() -> None:
    files = [*_product(), *(ROOT / "devkit").rglob("*.py")]
    found = {name: n for path in files for name, n in _functions(path)}
    assert not {name: n for name, n in found.items() if n > FUNCTION_LINES}


def test_the_main_path_stays_short() -> None:
    assert sum(map(_lines, (ROOT / "consumer" / "pipeline").glob("*.py"))) <= MAIN_PATH_LINES
