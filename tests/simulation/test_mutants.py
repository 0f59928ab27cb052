import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.scenario import draw
from tests.simulation.world import run

_SEEDS = 3000


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_is_caught_where_the_service_passes(name: str) -> None:
    mutant, kind = MUTANTS[name]
    convicting = (seed for seed in range(_SEEDS) if kind in run(draw(seed), mutant).verdict.kinds)
    seed = next(convicting, None)
    assert seed is not None, f"not caught in {_SEEDS} runs"
    assert run(draw(seed)).verdict.kept
