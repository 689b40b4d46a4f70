"""Every benchmark with made-up measurements: what is run, in which order, and what the report says."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import pytest

from qfedfm.bench import aggregate, circuits, comparison, fused, harness, process, qkd, scale, simulate
from qfedfm.bench.cases import LOWER
from qfedfm.bench.process import BenchError
from qfedfm.bench.runner import Runner
from qfedfm.bench.table import table
from qfedfm.core.errors import ConfigError, MissingExtraError
from qfedfm.engine.experiment import Experiment

ABOUT = {"environment": {"commit": "abc"}, "startup_seconds": 2.0, "peak_megabytes": 300.0, "wall_seconds": 9.0}


def error(config) -> Mapping[str, object]:
    """What is said of a codec that has twice the error of ours."""
    length = {"bits": 1.0, "ours_bits": 1.0, "overran": 0.0}
    return {"config": config, "unbiased": True, "nmse": 0.5, "ours_nmse": 0.25, **length}


SEALED = {"seal": 1.2e-5, "encrypt": 1e-5, "open": 2e-5, "decrypt": 1e-5}
MASKED = {
    "cipher_seconds": 1.0, "masking_seconds": 1.6, "recovery_seconds": 0.5, "exact": True,
    "uplink_bytes": {"mask": 5_000_000, "share": 1_000_000},
}  # fmt: skip


def reconciled(frame, qber, frames) -> Mapping[str, object]:
    """What is said of a method that tells a tenth more than it must and leaves one frame wrong."""
    counts = {"frame": frame, "qber": qber, "frames": frames, "failed": 0, "wrong": 1}
    return {"mbits": 10.0, "efficiency": 1.1, "both_ways": 2.2, **counts}


def answers(side) -> Mapping[str, object]:
    """What each program would say if ours took half the time of everything else."""
    given = side.options or {}
    factor = 1.0 if "ours" in side.command[1] or side.name.startswith("fused") else 2.0
    if "sequential" in side.name:
        factor = 2.0
    common = {**ABOUT, "round_seconds": [factor, factor], "client_steps": 80, "threads": 2, "accuracy": 0.5, "rows": 64}
    if side.options is None:
        out = Path(side.command[-1])
        out.mkdir()
        runs = [{"train_seconds": 1.0, "server_seconds": 0.5}] * 2
        (out / "results.json").write_text(json.dumps({"environment": {"commit": "abc"}, "runs": runs}))
        return common
    seeds = given.get("experiment", {}).get("seeds", ())
    coded = given.get("codecs", ())
    rates = {"encode": 100.0, "decode": 200.0}
    read = {"seconds": 0.01, "way": "sum", "ways": {"sum": 0.01}}
    special = {
        "ours.devices": {"cuda": False},
        "ours.accuracy": {"accuracies": [0.5 + 0.1 * seed / factor for seed in seeds]},
        "ours.fused": {"overhead": 0.05 if "bfloat16" in side.name else None},
        "ours.comparison": {"seconds": factor, "runs": 2},
        "ours.scale": {"megabytes": 250.0},
        "ours.circuits": {"step_seconds": 2e-4},
        "ours.updates": {"size": 1000},
        "ours.codecs": {"own": [{"bits": 1.0, "nmse": 0.5}] * 3, "cases": [error(one) for one in coded]},
        "ours.codec_speed": {"own": [rates] * 3, "cases": [{"ours": rates, "peer": rates}] * len(coded)},
        "ours.aggregate": {"uncached_means": [{"n": n, "seconds": 0.02} for n in (50, 200)]},
        "ours.reconciliation": {"lines": [reconciled(*one) for one in given.get("strings", ())]},
        "ours.photons": {
            "amplified": {str(length): 20.0 for length in given.get("lengths", ())},
            "simulated": {"BB84": 1.0},
        },
        "ours.seals": {"lines": {str(size): SEALED for size in given.get("bodies", ())}},
        "ours.masks": {"lines": [MASKED]},
        "ours.key_service": {"service": 0.02, "server": 0.01},
        "peers.bandwidth": {"cases": [{"n": n, **read} for n in given.get("rows", ())]},
    }
    named = [
        {"name": name, "n": n, "seconds": factor * n, "digest": [1.0, factor]} for name, n in (given.get("cases") or ())
    ]
    timed = {"seconds": factor, "first": [1.0], "all": [2.0]}
    named += [{"qubits": n, "lines": b, "value": timed, "gradient": timed} for n, b in given.get("sizes", ())]
    module = side.command[1].removeprefix("qfedfm.bench.")
    return {**common, **({"cases": named} if named else {}), **special.get(module, {})}


@pytest.fixture
def everything_is_installed(monkeypatch):
    for module in (aggregate, circuits, comparison, qkd, simulate):
        monkeypatch.setattr(module, "require", lambda *names: None)


def report(name, *, quick=True, repetitions=1):
    played = []

    def play(side):
        played.append(side.name)
        return answers(side)

    return harness.bench(name, Runner(quick, repetitions, play=play)), played


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("name", harness.NAMES)
@pytest.mark.usefixtures("everything_is_installed")
def test_every_benchmark_makes_a_report(name, quick):
    made, _ = report(name, quick=quick, repetitions=2)
    assert list(made) == ["schema", "name", "environment", "cases"]
    assert (made["schema"], made["name"], made["environment"]["commit"]) == (1, name, "abc")
    assert made["cases"]
    for line in made["cases"]:
        assert {"case", "unit", "ours", "peer", "peer_name", "ratio", "spread"} <= set(line)
        better = line["peer"] / line["ours"] if line["unit"] in LOWER else line["ours"] / line["peer"]
        assert line["ratio"] == pytest.approx(better, rel=2e-3)
    assert json.loads(json.dumps(made)) == made
    assert table(made).row_count == len(made["cases"])


@pytest.mark.usefixtures("everything_is_installed")
def test_sides_take_turns():
    _, played = report("aggregate", repetitions=2)
    sides = [aggregate.OURS, aggregate.BYZFL, aggregate.BANDWIDTH]
    assert played == [*sides, *sides]


@pytest.mark.usefixtures("everything_is_installed")
def test_simulators_have_one_thread_and_must_agree():
    def play(side):
        assert side.environment["OMP_NUM_THREADS"] == "1"
        found = answers(side)
        if side.name == circuits.QISKIT:
            found["cases"][1]["gradient"] = {"seconds": 1.0, "first": [1.0], "all": [2.0 + 1e-9]}
        return found

    lines, _ = circuits.bench(Runner(True, 1, play=answers))
    found = {(line["case"], line["peer_name"]): line for line in lines}
    assert found["14 qubits, 32 points: gradient", circuits.DEFAULT]["ratio"] == 2.0
    assert found["14 qubits, 32 points: gradient", circuits.DEFAULT]["target"] == 3.0
    large = found["18 qubits, 32 points: value", circuits.LIGHTNING]
    assert (large["peer"], large["ratio"], large["target"]) == (64.0, 64.0, 1.0)
    assert "multiplied" in large["note"]
    assert found["Born training step, 6 qubits", "the target"]["ratio"] == 5.0
    assert len([line for line in lines if line["peer_name"] == circuits.QISKIT]) == 4
    with pytest.raises(BenchError, match=r"10 qubits, 1 point: gradient: 1e-09 between ours and Qiskit"):
        circuits.bench(Runner(True, 1, play=play))


@pytest.mark.usefixtures("everything_is_installed")
def test_keys_are_measured_against_what_is_aimed_for_and_the_cipher():
    """The bound on wrong frames is the share at which so few would be seen in one sample of twenty."""
    made, _ = report("qkd", repetitions=2, quick=False)
    lines = {line["case"]: line for line in made["cases"]}
    assert lines["Cascade, 10,000 bits, QBER 2 %: speed"]["ratio"] == 2.0
    told = lines["Cascade, 100,000 bits, QBER 3.5 %: told / n h(q)"]
    assert (told["ours"], told["peer"], told["both_ways"]) == (1.1, 1.06, 2.2)
    assert told["ratio"] == pytest.approx(1.06 / 1.1, rel=1e-3)
    assert told["ratio"] < told["target"] == 1.0
    assert lines["LDPC, 65,536 bits, QBER 5 %: speed"]["peer"] == 0.5
    assert "Cascade, 100,000 bits, QBER 2 %: frames wrong, 95 % bound" not in lines
    wrong = lines["Cascade, 10,000 bits, QBER 2 %: frames wrong, 95 % bound"]
    assert (wrong["frames"], wrong["wrong"], wrong["repetitions"]) == (2000, 2, 1)
    share = wrong["ours"] / 100
    fewer = sum(math.comb(2000, k) * share**k * (1 - share) ** (2000 - k) for k in range(3))
    assert fewer == pytest.approx(0.05, rel=5e-3)
    seal, opened = (lines[f"AES-GCM, 64 kB: {what}"] for what in ("seal", "open"))
    assert seal["ratio"] > seal["target"] == opened["target"] > opened["ratio"]
    masks = lines["masks, 50 clients × 300,000"]
    assert (masks["ratio"], masks["target"], masks["uplink_megabytes"]) == (0.625, 0.5, 6.0)
    assert lines["masks, 50 clients × 300,000: recovery of 30 % dropouts"]["ratio"] == 2.0
    service = lines["key service, one new key"]
    assert (service["ours"], service["ratio"]) == (50.0, 0.5)
    assert "target" not in service


@pytest.mark.usefixtures("everything_is_installed")
def test_a_sum_that_is_not_exact_is_no_result():
    def play(side):
        found = answers(side)
        return {"lines": [{**MASKED, "exact": False}]} if side.name == "masks" else found

    with pytest.raises(BenchError, match="a sum of masked numbers"):
        qkd.bench(Runner(True, 1, play=play))


def test_a_method_of_which_every_frame_is_wrong_has_no_bound_below_one():
    assert qkd.upper_bound(3, 3) == 1.0


@pytest.mark.usefixtures("everything_is_installed")
def test_a_loop_that_takes_twice_as_long_is_half_as_good():
    made, _ = report("simulate", quick=False)
    lines = {(line["case"], line["peer_name"]): line for line in made["cases"]}
    training = lines["all layers: training", simulate.BARE]
    assert (training["ours"], training["peer"], training["ratio"]) == (40.0, 20.0, 2.0)
    assert ("last 2 layers: training", simulate.FLOWER) in lines
    assert lines["all layers: peak memory", simulate.FLOWER]["ratio"] == 1.0
    assert lines["evaluation", simulate.BARE16]["ours"] == 64.0


@pytest.mark.usefixtures("everything_is_installed")
def test_the_peers_of_a_comparison_run_each_seed_once_and_are_charged_for_every_method():
    made, _ = report("comparison", quick=False)
    line = made["cases"][0]
    assert (line["ours"], line["peer"], line["ratio"]) == (1.0, 6 * 4.0, 24.0)
    assert (line["peer_runs_timed"], line["peer_runs_timed_times"]) == (3, 6)


def test_flower_gets_the_arrangement_with_which_it_is_fastest(monkeypatch):
    monkeypatch.setattr(simulate.os, "cpu_count", lambda: 2)
    given = []

    def play(side):
        given.append((side.options["actors"], side.options["threads"]))
        return {"client_steps": 80, "round_seconds": [1.0 if side.options["actors"] == 1 else 2.0]}

    assert simulate.actors(Runner(False, 3, play=play)) == 1
    assert given == [(1, 2), (2, 1)]
    assert simulate.actors(Runner(True, 1, play=play)) == 2


def test_the_paired_difference_of_the_accuracies():
    """Ours 50 + 10 s, sequential 50 + 5 s for seeds s = 1 … 5: differences 5 s, mean 15, t-interval 2.776·s/√5."""
    made, _ = report("fused", quick=False)
    line = made["cases"][-1]
    assert line["differences"] == [5, 10, 15, 20, 25]
    assert line["difference"] == 15
    assert line["ci95"] == pytest.approx([15 - 9.815, 15 + 9.815], abs=0.01)


@pytest.mark.parametrize("layers", ["all", 2])
def test_the_settings_are_experiments(layers):
    for made in (simulate.settings(layers, 3), fused.settings(layers, 3)):
        experiment = Experiment.of(made)
        assert (experiment.total_rounds, experiment.training.steps, experiment.training.batch_size) == (3, 4, 8)
        assert experiment.task.adapter.options["r"] == 8
    assert Experiment.of(scale.cohort(10)).engine.mode == "sequential"


def test_an_unknown_name_names_the_nearest():
    with pytest.raises(ConfigError, match=r"'simulat'.*simulate, comparison.*did you mean 'simulate'\?"):
        harness.bench("simulat", Runner())


@pytest.mark.parametrize("name", ["simulate", "comparison", "aggregate"])
def test_without_the_peer_nothing_is_run(name, monkeypatch):
    gone = ("flwr", "ray", "byzfl")
    found = process.importlib.util.find_spec
    monkeypatch.setattr(process.importlib.util, "find_spec", lambda name: None if name in gone else found(name))
    with pytest.raises(MissingExtraError, match="bench"):
        harness.bench(name, Runner(True, 1, play=lambda side: pytest.fail(f"{side.name} was run")))
