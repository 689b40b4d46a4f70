"""H-FL in an experiment: the same bits as played by itself, resumed to the same bytes, and no setting passed over."""

import json
import math

import numpy as np
import pytest

from qfedfm.clients.jobs import LocalOptimizer
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.engine.archive import Archive
from qfedfm.engine.experiment import Experiment
from qfedfm.incentives.participation import Participation
from qfedfm.split import HFL, Federation, play
from tests.engine.test_run import contents, interrupt
from tests.engine.tiny import SETTINGS
from tests.split.tiny import TinySplit

TASK = {"kind": "digits", "partition": {"name": "dirichlet", "alpha": 0.5, "clients": 4}, "train_rows": 24,
        "test_rows": 8, "validation": 0, "tuning": 20}  # fmt: skip
TOPOLOGY = {"name": "h-fl", "cut": 0, "clients_per_mediator": 2, "ratio": 0.3, "clipping_norm": 1.0, "noise": 0.01}
DIGITS = {
    "name": "toy",
    "seeds": [3, 4],
    "rounds": 2,
    "task": TASK,
    "training": {"rate": 3e-3, "steps": 2, "batch_size": 6, "schedule": "cosine"},
    "participation": {"clients_per_round": 3},
    "engine": {"mode": "sequential", "device": "cpu"},
    "compare": {"fedavg": {}, "h-fl": {"topology": TOPOLOGY}},
}
SPLIT = {"kind": "python", "factory": "tests.split.tiny:TinySplit"}
TINY = {**SETTINGS, "task": SPLIT, "method": {"topology": {"name": "h-fl", "cut": 0}}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The comparison without an interruption."""
    return Experiment.of(DIGITS).run(tmp_path_factory.mktemp("whole"))


def config(**changes):
    options = {name: value for name, value in TOPOLOGY.items() if name != "name"}
    return HFL(
        rounds=2, clients_per_round=3, steps=2, batch_size=6, schedule="cosine", shallow_rate=3e-3, deep_rate=3e-3,
        **{**options, **changes},
    )  # fmt: skip


@pytest.mark.parametrize("seed", [3, 4])
def test_a_run_is_what_the_package_plays_by_itself(whole, seed):
    experiment = Experiment.of(DIGITS)
    task = experiment.build_task()
    rounds = list(play(config(), task, seed))
    records = [r for r in whole.history if (r["method"], r["seed"]) == ("h-fl", seed)]
    assert len(records) == len(rounds) == 3
    for record, alone in zip(records, rounds, strict=True):
        apart = {"accuracy", "loss", "macro_f1"}
        assert {name: record[name] for name in alone.record if name not in apart} == {
            name: value for name, value in alone.record.items() if name not in apart
        }
        for name in apart:  # the engine evaluates in batches of its own
            assert record[name] == pytest.approx(alone.record[name], abs=1e-5)
    ended = rounds[-1].state
    *_, last = experiment.rounds("h-fl", seed)
    federation = Federation.of(config(), task, seed)
    expected = federation.whole(ended.shallow, ended.deep)
    assert last.model.tobytes() == expected.tobytes()
    assert not np.array_equal(expected, federation.whole(*federation.first))


def test_both_kinds_of_method_leave_the_same_keys(whole):
    found = {method: [r for r in whole.history if r["method"] == method] for method in ("fedavg", "h-fl")}
    own = {"mediators", "traffic", "edge_uplink_bytes", "edge_downlink_bytes"}
    for ordinary, split in zip(found["fedavg"], found["h-fl"], strict=True):
        assert set(split) - set(ordinary) == own
        assert set(ordinary) <= set(split)
        assert (split["round"], split["seed"]) == (ordinary["round"], ordinary["seed"])
        assert split["participants"] == ordinary["participants"]
        assert split["client_steps"] == ordinary["client_steps"]
        assert set(split["client_accuracy"]) == set(ordinary["client_accuracy"])
        if split["round"] == 0:
            assert split["client_accuracy"] == ordinary["client_accuracy"]
        assert ("tuning_accuracy" in split) == (split["round"] == 2)


def test_the_line_of_a_run_sums_its_rounds(whole):
    for line in (line for line in whole.results["runs"] if line["method"] == "h-fl"):
        records = [r for r in whole.history if (r["method"], r["seed"]) == ("h-fl", line["seed"])]
        for name in ("uplink_bytes", "downlink_bytes", "edge_uplink_bytes", "edge_downlink_bytes"):
            assert line[name] == sum(record[name] for record in records) > 0
        assert line["uplink_bytes"] == sum(sum(r["traffic"]["core"]["up"].values()) for r in records)
        assert (line["twin"], line["twins"], line["control_of"]) == (None, [], None)
        assert line["server_seconds"] > 0 < line["train_seconds"]
        assert (whole.folder / line["adapter"]).is_dir()
    assert all("edge_uplink_bytes" not in line for line in whole.results["runs"] if line["method"] == "fedavg")
    assert "h-fl" in (whole.folder / "report.html").read_text()


def tiny(**changes):
    compare = {"mean": {}, "h-fl": {"topology": {"name": "h-fl", "cut": 0, "clients_per_mediator": 2, "ratio": 0.3}}}
    optimizer = {"name": "adamw"}
    return Experiment.of({
        **SETTINGS, "task": SPLIT, "seeds": [1, 2], "rounds": 3, "compare": compare,
        "training": {**SETTINGS["training"], "optimizer": optimizer}, **changes,
    })  # fmt: skip


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """What `tiny` comes to without an interruption."""
    return contents(tiny().run(tmp_path_factory.mktemp("tiny")).folder)


@pytest.mark.parametrize("after", [0, 1, 5, 6, 10])
def test_interrupted_and_resumed_is_the_same_to_the_last_bit(tmp_path, monkeypatch, uninterrupted, after):
    interrupt(monkeypatch, after)
    with pytest.raises(KeyboardInterrupt):
        tiny().run(tmp_path / "parts")
    monkeypatch.undo()
    tiny().run(tmp_path / "parts", resume=True)
    assert contents(tmp_path / "parts") == uninterrupted


def test_halves_and_the_optimiser_of_the_deep_part_are_in_the_checkpoint(tmp_path, monkeypatch):
    """Without them the first round after an interruption would go another way."""
    states = []
    save = Archive.save

    def kept(self, state):
        states.append(state)
        save(self, state)

    monkeypatch.setattr(Archive, "save", kept)
    experiment = tiny(seeds=[1])
    experiment.run(tmp_path / "out")
    split = [state for state in states if state.topology]
    assert len(split) == 3
    assert any(name.startswith("optimizer/") for name in split[0].topology)
    assert len(split[-1].topology["shallow"]) + len(split[-1].topology["deep"]) == len(split[-1].model)


def test_a_trial_of_the_tuning_is_judged_on_tuning_rows_only(tmp_path):
    tune = {"grid": {"training.rate": [1e-5, 0.05]}, "own": {"mean": {"server.lr": [0.5, 1.0]},
            "h-fl": {"topology.ratio": [0.3, 1.0]}}, "seeds": [9], "rounds": 1}  # fmt: skip
    result = tiny(tune=tune).run(tmp_path / "out")
    assert result.results["tuning"]["chosen"]["h-fl"]["training.rate"] == 0.05
    assert {trial["settings"].get("topology.ratio") for trial in result.results["tuning"]["trials"]} == {None, 0.3, 1.0}
    trial = tiny(tune=tune).arm("h-fl", {"topology.ratio": 1.0, "training.rate": 0.05})
    assert (trial.topology.ratio, trial.training.rate) == (1.0, 0.05)


def test_the_halves_take_what_training_says_unless_they_say_otherwise():
    table = {"name": "h-fl", "deep_rate": 0.5, "shallow": {"name": "sgd", "momentum": 0.9}}
    experiment = Experiment.of({**TINY, "method": {"topology": table, "training": {"rate": 0.2, "steps": 7}}})
    arm = experiment.arm("h-fl")
    assert arm.topology.config(arm.training, arm.participation, 5) == HFL(
        rounds=5, steps=7, batch_size=8, shallow_rate=0.2, deep_rate=0.5, deep=LocalOptimizer("sgd"),
        shallow=LocalOptimizer("sgd", momentum=0.9),
    )  # fmt: skip


def test_a_method_without_a_topology_has_the_digest_of_before():
    assert "topology" not in json.dumps(Experiment.of(SETTINGS).settings)
    again = Experiment.of(DIGITS)
    assert Experiment.of(again.settings).digest == again.digest
    assert again.settings["compare"]["h-fl"]["topology"]["clients_per_mediator"] == 2


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"reduce": "median"}, "'reduce' in compare.h-fl"),
        ({"layers": ["bfloat16"]}, "'layers' in compare.h-fl"),
        ({"server": {"name": "sgd", "momentum": 0.9}}, "'server' in compare.h-fl"),
        ({"local": "scaffold"}, "'local' in compare.h-fl"),
        ({"down": "bfloat16"}, "'down' in compare.h-fl"),
        ({"stage": [{"rounds": 1}, {}]}, "stages beside topology"),
        ({"selector": "qubo-exact"}, "selector 'qubo-exact' in compare.h-fl"),
        ({"training": {"epochs": 1}}, "without training.steps"),
        ({"training": {"keep_state": True}}, "training.keep_state"),
        ({"topology": {"name": "ring"}}, "topology.name = 'ring'"),
        ({"topology": {"name": "h-fl", "ratios": 0.5}}, "unknown key.*ratios"),
        ({"topology": {"name": "h-fl", "ratio": 0.0}}, r"ratio = 0\.0"),
        ({"topology": {"name": "h-fl", "noise": 1.0}}, "clipping_norm beside noise"),
        ({"topology": {"name": "h-fl", "deep_rate": math.inf}}, "deep_rate"),
        ({"topology": {"name": "h-fl", "steps": 3}}, "unknown key.*steps"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_a_setting_of_no_use_is_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        Experiment.of({**TINY, "method": {**TINY["method"], **changes}})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"participation": {"dropout": 0.1}}, "participation.dropout or late"),
        ({"participation": {"late": 0.1}}, "participation.dropout or late"),
        ({"participation": {"selector": "qubo-exact"}}, "selector 'qubo-exact'"),
        ({"stage": [{"rounds": 1}, {}]}, "stages beside topology"),
    ],
)
def test_a_shared_setting_of_no_use_is_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        Experiment.of({**TINY, **changes})


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hostile": {"clients": 1}}, "hostile clients and topology 'h-fl'"),
        ({"task": SETTINGS["task"]}, "whose model cannot be cut"),
        ({"method": {"topology": {"name": "h-fl", "cut": 1}}}, "cut 1"),
        ({"participation": {"clients_per_round": 7}}, "at most 6"),
    ],
)
def test_what_the_task_cannot_do_is_refused_before_anything_is_written(tmp_path, changes, match):
    with pytest.raises(ConfigError, match=match):
        Experiment.of({**TINY, **changes}).run(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_grid_of_topologies_needs_one():
    with pytest.raises(ConfigError, match=r"tuning key 'topology\.ratio'.*reduce"):
        tiny().arm("mean", {"topology.ratio": 0.5})
    with pytest.raises(ConfigError, match=r"topology\.ratio = 7"):
        tiny().arm("h-fl", {"topology.ratio": 7})


def test_some_of_the_clients_are_those_of_every_other_method():
    task, key = TinySplit(), Key.of(4)
    for round_ in (1, 2, 3):
        expected = Participation(clients_per_round=4).draw(key.fold("participation"), round_, tuple(range(6))).invited
        record = list(play(HFL(rounds=3, cut=0, clients_per_round=4, steps=1), task, 4))[round_].record
        assert record["participants"] == list(expected)
