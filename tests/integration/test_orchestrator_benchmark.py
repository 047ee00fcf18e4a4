"""What the benchmark of the orchestrator measures is a sweep whose record is whole."""

from benchmarks import orchestrator, tables
from benchmarks.orchestrator import HEADER


def test_the_record_of_sleeping_trials_is_whole():
    measured = orchestrator.run(trials=10, seconds=0.2, reports=4, workers=2, models=True)
    assert (measured.trials, measured.points) == (10, 40)
    assert measured.models == 10
    assert len(measured.slowdowns) == 10
    assert min(measured.slowdowns) >= 1.0
    assert measured.asked == 60 * 2 * 4 / 0.2
    assert 0 < measured.ideal <= 10 * 0.2 / 2
    assert measured.wall >= measured.ideal
    assert tables.markdown(HEADER, [measured.row()]).startswith("| record in | study in | trials |")
