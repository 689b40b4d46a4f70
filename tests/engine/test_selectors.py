"""Selectors in a run: whom each method invites, what the history and the results say of it, and how it is resumed."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.engine.archive import Archive
from qfedfm.engine.experiment import Experiment
from qfedfm.engine.folder import Folder
from qfedfm.engine.results import run_line
from qfedfm.engine.state import load, save
from qfedfm.engine.waves import begin, next_round
from qfedfm.incentives.ledger import Ledger
from tests.engine.test_rounds import bench, play
from tests.engine.test_run import contents, without_times
from tests.engine.tiny import SETTINGS

QAOA = {"name": "qaoa-choice", "steps": 3, "depth": 1, "shots": 8}
COMPARISON = {
    **SETTINGS,
    "rounds": 4,
    "seeds": [2],
    "participation": {"clients_per_round": 3, "dropout": 0.1, "late": 0.1},
    "compare": {
        "plain": {},
        "qaoa": {"selector": QAOA},
        "exact": {"selector": "exact-choice"},
        "greedy": {"selector": "greedy-choice", "reduce": "median"},
    },
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return out, Experiment.of(COMPARISON).run(out)


def invited(record):
    """Whom a round invited, by what became of them."""
    refused = [line["client"] for line in record["refused"] if "round" not in line["reason"]]
    return sorted({*record["participants"], *record["dropped"], *record["late"], *refused})


def test_each_method_invites_by_its_own_selector(run):
    _, result = run
    found = {}
    for record in result.history:
        if record["round"]:
            found.setdefault((record["method"], record["seed"]), []).append(invited(record))
    assert all(len(who) == 3 for rounds in found.values() for who in rounds)
    assert found["plain", 2] != found["exact", 2]


def test_the_history_has_the_numbers_of_the_selector_beside_those_of_the_reduce(run):
    _, result = run
    for record in result.history:
        named = {name for name in record["diagnostics"] if name.startswith("selector_")}
        if record["method"] == "plain" or not record["round"]:
            assert not named
        else:
            assert {"selector_value", "selector_candidates", "selector_circuits", "selector_shots"} <= named
            assert record["diagnostics"]["selector_candidates"] == 6
        if record["method"] == "qaoa" and record["round"] > 1:
            ratios = [record["diagnostics"][f"selector_{name}_ratio"] for name in ("random", "approximation", "choice")]
            assert 0 <= ratios[0] < ratios[1] <= 1
            assert 0 <= ratios[2] <= 1
            assert record["diagnostics"]["selector_circuits"] == 5
            assert record["diagnostics"]["selector_circuits_shots"] == 1


def test_a_method_with_a_quantum_selector_is_quantum_and_its_twins_differ_in_the_selector_only(run):
    _, result = run
    lines = {line["method"]: line for line in result.results["runs"]}
    assert [lines[name]["quantum"] for name in COMPARISON["compare"]] == [False, True, False, False]
    assert lines["qaoa"]["twins"] == ["exact"]  # greedy has another reduce
    assert lines["exact"]["twins"] == lines["plain"]["twins"] == []
    assert (lines["qaoa"]["circuits"], lines["qaoa"]["shots"]) == (15, 24)  # nothing to choose in the first round
    assert lines["qaoa"]["circuits_by_column"] == {"exact": 12, "shots": 3}
    assert lines["qaoa"]["selector_random_ratio"] < lines["qaoa"]["selector_approximation_ratio"] <= 1
    assert lines["exact"]["selector_choice_ratio"] == pytest.approx(1)
    summary = {line["method"]: line for line in result.results["summary"]}
    assert summary["qaoa"]["vs_twin"]["twin"] == "exact"
    assert "verdict" in summary["qaoa"]
    assert "verdict" not in summary["exact"]


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        ({"q": ("fidelity", "uniform"), "c": ("cosine", "uniform"), "d": ("cosine", "exact-choice")}, ["c"]),
        ({"q": ("mean", "qaoa-choice"), "g": ("mean", "greedy-choice"), "e": ("mean", "exact-choice")}, ["e", "g"]),
        ({"q": ("mean", "qaoa-choice"), "u": ("mean", "uniform"), "m": ("median", "exact-choice")}, []),
        (
            {
                "q": ("fidelity", "qaoa-choice"),
                "both": ("cosine", "exact-choice"),
                "reduce": ("cosine", "qaoa-choice"),
                "selector": ("fidelity", "exact-choice"),
            },
            ["selector", "reduce", "both"],
        ),
    ],
    ids=["reduce", "selector", "neither", "both"],
)
def test_twins_stand_in_for_the_reduce_or_the_selector(methods, expected):
    compare = {name: {"reduce": reduce, "selector": selector} for name, (reduce, selector) in methods.items()}
    made = bench(compare=compare)
    arms = {name: made.experiment.arm(name) for name in compare}
    setting = made.setting(arms["q"], 1, 1)
    line = run_line(setting, 1, begin(made.engine, [setting])[0], arms, None)
    assert line["twins"] == expected
    assert line["twin"] == (expected[0] if expected else None)
    assert line["quantum"]


@pytest.mark.parametrize("after", [3, 9])
def test_interrupted_and_resumed_is_the_same_to_the_last_bit(tmp_path, monkeypatch, run, after):
    saved, keep = [], Archive.save

    def interrupted(self, state):
        if len(saved) == after:
            raise KeyboardInterrupt
        saved.append(self.path)
        keep(self, state)

    monkeypatch.setattr(Archive, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Experiment.of(COMPARISON).run(tmp_path / "parts")
    monkeypatch.undo()
    Experiment.of(COMPARISON).run(tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == contents(run[0])
    digest = json.loads((run[0] / "results.json").read_text())["environment"]["config_hash"]
    one, other = (Folder(out, digest).archive("exact", 2).load().selector for out in (run[0], tmp_path / "parts"))
    assert {name: value.tobytes() for name, value in one.items()} == {n: v.tobytes() for n, v in other.items()}
    assert len(one["clients"]) == 6


@pytest.mark.parametrize("selector", [QAOA, "annealed-choice", "greedy-choice"], ids=str)
def test_a_round_from_a_checkpoint_is_the_round_without_one(tmp_path, selector):
    setting, states = play(4, participation={"clients_per_round": 2, "dropout": 0.2, "selector": selector})
    for before, after in itertools.pairwise(states):
        save(tmp_path / "state", before, {})
        again = next_round(replace(setting, epoch=1), load(tmp_path / "state", {}))
        save(tmp_path / "again", replace(again, history=()), {})
        save(tmp_path / "after", replace(after, history=()), {})
        assert (tmp_path / "again").read_bytes() == (tmp_path / "after").read_bytes()
        assert without_times(again.history[-1]) == without_times(after.history[-1])


def test_what_a_selector_learns_is_what_the_server_has_decoded():
    """The rewards of the first round, from the updates themselves: 15 numbers are kept as they are."""
    setting, states = play(1, participation={"selector": "exact-choice"}, method={"reduce": "median"})
    ledger = Ledger.of(states[1].selector)
    delta = (states[1].model - states[0].model).astype(float)
    np.testing.assert_array_equal(ledger.clients, setting.split.clients)
    np.testing.assert_array_equal(ledger.invited, 1)
    assert not ledger.sketches[:, 15:].any()
    cosines = ledger.sketches[:, :15].astype(float) @ delta / np.linalg.norm(delta)
    np.testing.assert_allclose(ledger.reward, cosines, atol=1e-4)  # a median gives no weights
    assert states[1].history[1]["diagnostics"] == {}  # everybody is invited: nothing was chosen


def test_too_few_updates_teach_that_somebody_was_invited_and_nothing_else():
    method = {"reduce": {"name": "krum", "hostile": 1}}
    _, states = play(
        1, participation={"clients_per_round": 5, "dropout": 0.99, "selector": "greedy-choice"}, method=method
    )
    ledger = Ledger.of(states[1].selector)
    assert len(ledger.clients) == 5
    assert not ledger.judged.any()
    assert "too_few_updates" in states[1].history[1]["diagnostics"]
    assert "selector_value" in states[1].history[1]["diagnostics"]


def test_an_experiment_without_a_selector_is_what_it_was(tmp_path):
    experiment = Experiment.of({**SETTINGS, "participation": {"clients_per_round": 3}})
    assert "selector" not in json.dumps(experiment.settings)
    named = Experiment.of({**SETTINGS, "participation": {"clients_per_round": 3, "selector": "uniform"}})
    assert named.digest == experiment.digest
    assert Experiment.of({**SETTINGS, "participation": {"selector": "greedy-choice"}}).digest != experiment.digest
    _, states = play(2, participation={"clients_per_round": 3})
    save(tmp_path / "state", states[-1], {})
    assert b'"selector' not in (tmp_path / "state").read_bytes()
    assert states[-1].selector == {}


def test_a_method_can_have_the_selector_of_the_experiment_or_its_own():
    compare = {"a": {}, "b": {"selector": "uniform"}, "c": {"selector": {"name": "exact-choice", "candidates": 7}}}
    participation = {"clients_per_round": 2, "selector": {"name": "greedy-choice", "reward": 2.0}}
    experiment = Experiment.of({**SETTINGS, "participation": participation, "compare": compare})
    assert [experiment.arm(name).selector.name for name in compare] == ["greedy-choice", "uniform", "exact-choice"]
    assert experiment.arm("a").selector.reward == 2.0
    assert experiment.arm("c", {"selector.candidates": 4}).selector.candidates == 4
    assert experiment.arm("a", {"selector.exposure": 0.25}).selector.exposure == 0.25
    assert Experiment.of(experiment.settings) == experiment


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"participation": {"selector": "qaoa-choise"}}, "did you mean 'qaoa-choice'"),
        ({"participation": {"selector": "qaoa-choise"}, "compare": {"a": {"selector": "uniform"}}}, "qaoa-choice"),
        ({"compare": {"a": {"selector": {"name": "exact-choice", "candidate": 4}}}}, "did you mean 'candidates'"),
        ({"participation": {"selector": {"name": "qaoa-choice", "candidates": 40}}}, "candidates"),
        ({"participation": {"selecter": "uniform"}}, "did you mean 'selector'"),
        ({"participation": {"selector": 3}}, "participation.selector = 3"),
    ],
    ids=str,
)
def test_a_mistake_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        Experiment.of({**SETTINGS, **change})


def test_too_few_candidates_are_refused_before_anything_is_played(tmp_path):
    selector = {"name": "greedy-choice", "candidates": 2}
    experiment = Experiment.of({**SETTINGS, "participation": {"clients_per_round": 3, "selector": selector}})
    with pytest.raises(ConfigError, match="at least 3 candidates"):
        experiment.run(tmp_path / "out")
    assert not (tmp_path / "out").exists()
