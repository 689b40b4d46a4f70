import pytest

from qfedfm.quantum.executor import COLUMNS
from qfedfm.report.study import Study
from qfedfm.report.where import WORDS, column_of, columns
from tests.report import synthetic


def test_every_column_of_an_executor_has_a_name():
    assert tuple(WORDS) == COLUMNS


@pytest.mark.parametrize(
    ("run", "column"),
    [
        ({"circuits_by_column": {"exact": 5}}, "exact"),
        ({"circuits_by_column": {"exact": 41, "shots": 1}}, "shots"),
        ({"circuits_by_column": {"mitigated": 3, "noise": 9}}, "mitigated"),
        ({"circuits_by_column": {"device": 1, "mitigated": 0}}, "device"),
        ({"circuits_by_column": {}}, "exact"),
        ({"shots": 100}, "shots"),
        ({"shots": 0}, "exact"),
    ],
)
def test_a_run_belongs_to_the_last_column_in_which_a_circuit_ran(run, column):
    assert column_of(run) == column


def test_each_quantum_method_has_a_line_with_what_it_cost():
    history = synthetic.history_of(rounds=2, seeds=(1, 2))
    results = synthetic.results_of(history, rounds=2, seeds=(1, 2))
    for run in results["runs"]:
        if run["method"] == "born":
            run |= {
                "circuits_by_column": {"noise": 200},
                "shots": 5000,
                "device_seconds": 1.25,
                "projection_bias": 0.031,
            }
    found = columns(Study(results, history))
    (born,) = [row for row in found.rows if row[0].endswith(" born")]
    assert born[1] == "device noise model"
    # 0.3 ms a shot, 96 dollars a minute
    assert born[3:] == ("200", "5\u2009000", "1.2", "0.031", "1.5", "2.40")
    others = [row for row in found.rows if row is not born]
    assert all(row[-2:] == ("–", "–") for row in others)
    assert len(found.rows) == sum(1 for name in synthetic.METHODS if name in synthetic.QUANTUM)
