"""Every module stands in one of the layers that import-linter checks."""

import tomllib
from pathlib import Path
from pkgutil import walk_packages

import consumer

_PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_every_module_of_the_consumer_stands_in_a_layer() -> None:
    contracts = tomllib.loads(_PYPROJECT.read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if "A layer imports" in each["name"])
    placed = tuple(module for layer in layers for module in layer.split(" : "))
    unplaced = [
        each.name
        for each in walk_packages(consumer.__path__, "consumer.", onerror=lambda _: None)
        if not any(f"{each.name}.".startswith(f"{module}.") for module in placed)
    ]
    assert unplaced == ["consumer.telemetry"]  # its modules stand in two layers
