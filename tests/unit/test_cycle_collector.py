import gc

from consumer.runtime import spare_the_cycle_collector


def test_the_cycle_collector_looks_less_often_and_not_at_what_starting_has_made() -> None:
    young, *older = gc.get_threshold()
    gc.set_threshold(700)
    try:
        spare_the_cycle_collector()
        assert gc.get_threshold()[0] > 700
        assert list(gc.get_threshold()[1:]) == older
        assert gc.get_freeze_count() > 0
        assert gc.isenabled()
    finally:
        gc.unfreeze()
        gc.set_threshold(young, *older)
