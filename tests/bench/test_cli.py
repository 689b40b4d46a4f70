"""`qfedfm bench` at the terminal."""

import functools
import json

import pytest

from qfedfm.bench import harness, process
from qfedfm.bench.cases import case


@pytest.fixture
def qfedfm(terminal, monkeypatch):
    """Runs `qfedfm bench` in an empty folder; gives the status, stdout and stderr."""
    monkeypatch.setenv("COLUMNS", "160")
    return functools.partial(terminal, "bench")


@pytest.fixture
def measured(monkeypatch):
    """What the harness was asked for."""
    asked = []

    def bench(name, runner):
        asked.append((name, runner.quick, runner.repetitions))
        line = case("training", "client-steps/s", [1234.5], [100.0], "a loop")
        return {"schema": 1, "name": name, "environment": {}, "cases": [line]}

    monkeypatch.setattr(harness, "bench", bench)
    return asked


@pytest.mark.parametrize(
    ("options", "asked"),
    [([], (False, 3)), (["--quick"], (True, 1)), (["--quick", "--repetitions", "2"], (True, 2))],
)
def test_the_cases_are_a_table(qfedfm, measured, options, asked):
    status, out, _ = qfedfm("fused", *options)
    assert (status, measured) == (0, [("fused", *asked)])
    for word in ("training", "1,234", "100", "a loop", "12.35×"):
        assert word in out


def test_the_report_goes_into_a_file(qfedfm, measured, tmp_path):
    status, _, _ = qfedfm("fused", "--json", "found.json")
    assert (status, len(measured)) == (0, 1)
    found = json.loads((tmp_path / "found.json").read_text())
    assert list(found) == ["schema", "name", "environment", "cases"]
    assert found["cases"][0]["ratio"] == pytest.approx(12.345, abs=0.01)


def test_an_unknown_name_is_one_line_with_the_nearest(qfedfm):
    status, out, err = qfedfm("agregate")
    assert (status, out) == (2, "")
    assert "did you mean 'aggregate'?" in err
    assert "simulate, comparison, scale, aggregate, fused, quickstart" in err


def test_a_missing_peer_is_one_line_with_the_extra(qfedfm, monkeypatch):
    found = process.importlib.util.find_spec
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None if name == "flwr" else found(name))
    status, out, err = qfedfm("simulate")
    assert (status, out) == (2, "")
    assert err.strip().splitlines()[-1] == (
        "qfedfm: flwr is not installed, which this benchmark needs; "
        'install it with: pip install -c constraints.txt -e ".[bench]"'
    )


def test_a_folder_that_is_not_there_is_said_before_anything_is_measured(qfedfm, measured):
    status, out, err = qfedfm("fused", "--json", "nowhere/found.json")
    assert (status, out, measured) == (2, "", [])
    assert "nowhere" in err
