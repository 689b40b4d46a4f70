import json
import math

import pytest
from scipy import stats

from qfedfm.report.summary import (
    by_seed,
    conclude,
    declared,
    methods_of,
    points,
    strongest,
    summarise,
    tuning_scores,
)

QUANTUM = {"born", "born-plain"}
VALIDATION = {"born", "born-plain", "amplitudes", "softmax"}
TWINS = {"born": ("amplitudes", "softmax")}
CONTROLS = {"born-plain": "born"}


def runs_of(**accuracies):
    return [
        {
            "method": method.replace("_", "-"),
            "seed": seed,
            "quantum": method.replace("_", "-") in QUANTUM,
            "sees_validation": method.replace("_", "-") in VALIDATION,
            "final": {"accuracy": accuracy, "loss": 1 - (accuracy or 0.0)},
        }
        for method, values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


BASE = {
    "mean": [0.50, 0.52, 0.51, 0.49, 0.50],
    "born": [0.70, 0.71, 0.69, 0.72, 0.70],
    "amplitudes": [0.69, 0.72, 0.68, 0.71, 0.70],
    "softmax": [0.68, 0.67, 0.70, 0.69, 0.66],
    "born_plain": [0.66, 0.65, 0.64, 0.67, 0.66],
}


def line(summary, method):
    return next(each for each in summary if each["method"] == method)


def born(runs, **options):
    return line(summarise(runs, TWINS, CONTROLS, **options), "born")


def test_lines_are_scipys_intervals():
    summary = summarise(runs_of(**BASE), TWINS, CONTROLS)
    assert [each["method"] for each in summary] == ["mean", "born", "amplitudes", "softmax", "born-plain"]
    expected = stats.ttest_1samp(BASE["mean"], 0).confidence_interval()
    found = line(summary, "mean")["accuracy"]
    assert found["mean"] == pytest.approx(0.504)
    assert found["ci95"] == pytest.approx([expected.low, expected.high])
    assert line(summary, "mean")["loss"]["mean"] == pytest.approx(0.496)
    assert line(summary, "mean")["worst_client"] is None
    assert line(summary, "mean")["vs_twin"] is None
    assert line(summary, "born-plain")["control_of"] == "born"
    json.dumps(summary, allow_nan=False)


def test_difference_to_the_strongest_twin():
    found = born(runs_of(**BASE))["vs_twin"]
    expected = stats.ttest_rel(BASE["born"], BASE["amplitudes"]).confidence_interval()
    assert (found["twin"], found["seeds"], found["strongest_by"]) == ("amplitudes", 5, "mean test accuracy")
    assert found["difference"] == pytest.approx(0.004)
    assert found["ci95"] == pytest.approx([expected.low, expected.high])
    low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in (expected.low, expected.high))
    assert found["sentence"] == (
        f"born is 0.4 points above its strongest twin amplitudes (95 % interval {low} to {high}, 5 seeds): no "
        f"difference was found; differences beyond {high} and {low} points are excluded; this study could have seen "
        f"{100 * found['detectable']:.1f} points."
    )


def test_tuning_scores_choose_the_twin():
    trials = [
        {"method": "amplitudes", "settings": {"lr": 1}, "score": 0.5},
        {"method": "amplitudes", "settings": {"lr": 2}, "score": 0.6},
        {"method": "softmax", "settings": {"lr": 1}, "score": 0.8},
        {"method": "softmax", "settings": {"lr": 1}, "score": 0.6},
        {"method": "softmax", "settings": {"lr": 2}, "score": 0.1},
    ]
    found = born(runs_of(**BASE), tuning={"metric": "accuracy", "trials": trials})["vs_twin"]
    assert (found["twin"], found["strongest_by"]) == ("softmax", "tuning score")
    scores = tuning_scores({"metric": "accuracy", "trials": trials})
    assert scores == pytest.approx({"amplitudes": 0.6, "softmax": 0.7})
    assert tuning_scores({"metric": "loss", "trials": trials})["amplitudes"] == pytest.approx(-0.5)


def test_a_twin_without_a_score_falls_back_to_accuracy():
    trials = [{"method": "softmax", "settings": {}, "score": 0.9}, {"method": "amplitudes", "score": None}]
    assert born(runs_of(**BASE), tuning={"trials": trials})["vs_twin"]["twin"] == "amplitudes"


def test_nothing_to_choose_from():
    assert strongest(("absent",), {"born": {0: 0.5}}, None) is None


def test_controls_are_compared_alike():
    found = born(runs_of(**BASE))["vs_controls"]
    assert [each["control"] for each in found] == ["born-plain"]
    assert found[0]["difference"] == pytest.approx(0.048)
    assert "its control born-plain" in found[0]["sentence"]
    assert "a difference was found" in found[0]["sentence"]


def test_a_control_is_not_judged():
    assert "verdict" not in line(summarise(runs_of(**BASE), TWINS, CONTROLS), "born-plain")


def test_verdict_not_shown():
    runs = runs_of(**BASE)
    summary = summarise(runs, TWINS, CONTROLS)
    assert line(summary, "born")["verdict"] == "not shown"
    first, *rest = conclude(summary, runs)
    assert first.startswith("Does the quantum module earn its place? Not shown: no difference was found")
    assert rest[-1] == "born, amplitudes, softmax and born-plain saw validation data on the server; mean did not."


def test_verdict_yes():
    runs = runs_of(**BASE | {"born": [a + 0.03 + 0.001 * i for i, a in enumerate(BASE["amplitudes"])]})
    assert born(runs)["verdict"] == "yes"
    assert "Yes: born is above its strongest twin amplitudes" in conclude(summarise(runs, TWINS, CONTROLS), runs)[0]


def test_verdict_no_below_the_twin():
    runs = runs_of(**BASE | {"born": [a - 0.03 - 0.001 * i for i, a in enumerate(BASE["amplitudes"])]})
    assert born(runs)["verdict"] == "no"
    assert "No: born is below its strongest twin amplitudes." in conclude(summarise(runs, TWINS, CONTROLS), runs)[0]


def test_above_the_twin_but_below_a_method_without_a_circuit_is_no():
    above = [a + 0.03 + 0.001 * i for i, a in enumerate(BASE["amplitudes"])]
    best = [a + 0.03 + 0.002 * i * (-1) ** i for i, a in enumerate(above)]
    runs = runs_of(**BASE | {"born": above, "krum": best})
    assert born(runs)["verdict"] == "no"
    assert born(runs)["vs_best_classical"]["other"] == "krum"
    said = conclude(summarise(runs, TWINS, CONTROLS), runs)
    assert "No: born is below krum, which needs no circuit." in said[0]
    assert any("the best classical method krum" in each for each in said)


def test_the_best_classical_method_is_not_said_twice():
    runs = runs_of(**BASE)
    assert not any(
        "best classical method amplitudes (" in each for each in conclude(summarise(runs, TWINS, CONTROLS), runs)
    )


def test_one_seed_decides_nothing():
    runs = runs_of(born=[0.9], amplitudes=[0.1])
    found = born(runs)
    assert (found["verdict"], found["vs_twin"]["ci95"], found["vs_twin"]["detectable"]) == ("not shown", None, None)
    assert "in the one seed that both have" in found["vs_twin"]["sentence"]
    assert "too few seeds" in conclude(summarise(runs, TWINS), runs)[0]


def test_equal_in_every_seed():
    runs = runs_of(born=BASE["born"], amplitudes=BASE["born"])
    found = born(runs)
    assert found["verdict"] == "not shown"
    assert found["vs_twin"]["sentence"] == (
        "born has the accuracy of its strongest twin amplitudes in all 5 seeds: no difference was found."
    )


def test_the_same_gap_in_every_seed_has_no_interval():
    found = born(runs_of(born=[0.7, 0.8], amplitudes=[0.6, 0.7]))["vs_twin"]
    assert found["ci95"] is None
    assert "is 10.0 points above" in found["sentence"]
    assert "no interval can be computed" in found["sentence"]


def test_pairs_only_seeds_that_both_have():
    runs = [run for run in runs_of(**BASE) if not (run["method"] == "amplitudes" and run["seed"] in (0, 3))]
    found = born(runs, tuning=None)["vs_twin"]
    assert found["seeds"] == 3
    assert found["difference"] == pytest.approx((0.71 + 0.69 + 0.70 - 0.72 - 0.68 - 0.70) / 3)


@pytest.mark.parametrize("broken", [None, math.nan, math.inf])
def test_runs_without_a_finite_result_are_left_out(broken):
    runs = runs_of(born=[0.7, 0.8, broken], amplitudes=[0.6, 0.75, 0.7])
    assert by_seed(runs, "born", "accuracy") == {0: 0.7, 1: 0.8}
    assert born(runs)["seeds"] == 2
    json.dumps(summarise(runs, TWINS), allow_nan=False)


def test_no_seed_in_common():
    runs = runs_of(born=[0.7], amplitudes=[None, 0.6])
    assert born(runs)["vs_twin"] is None
    assert "no twin of born has a result" in conclude(summarise(runs, TWINS), runs)[0]


def test_several_quantum_methods_are_each_judged():
    runs = runs_of(**BASE)
    said = conclude(summarise(runs, {**TWINS, "born-plain": ("softmax",)}), runs)
    assert "born and its strongest twin" in said[0]
    assert "No: born-plain is below amplitudes, which needs no circuit." in said[0]
    assert "The intervals are not widened for making 2 comparisons." in said


def test_without_a_quantum_method_or_a_run():
    runs = runs_of(mean=[0.5, 0.6])
    assert conclude(summarise(runs, {}), runs)[0].startswith("No quantum method took part")
    assert conclude(summarise(runs, {}), runs)[1] == "No method saw validation data on the server."
    assert conclude([], []) == ["No run has finished yet: there is nothing to conclude."]


def test_all_saw_validation():
    runs = runs_of(softmax=[0.5, 0.6])
    assert conclude(summarise(runs, {}), runs)[-1] == "Every method saw validation data on the server."


def test_twins_and_controls_that_runs_declare():
    runs = [
        {"method": "born", "twins": ["amplitudes", "softmax"]},
        {"method": "old", "twin": "amplitudes"},
        {"method": "plain", "twin": None, "control_of": "born"},
    ]
    twins, controls = declared(runs)
    assert twins == {"born": ("amplitudes", "softmax"), "old": ("amplitudes",), "plain": ()}
    assert controls == {"plain": "born"}
    assert methods_of([*runs, runs[0]]) == ["born", "old", "plain"]


def test_points_round_to_a_plain_zero():
    assert points(-0.0004) == "0.0"
    assert points(-0.1) == "−10.0"


def test_the_conclusion_says_whether_twins_are_equivalent():
    near = {"born": [0.700, 0.712, 0.690, 0.721], "amplitudes": [0.701, 0.711, 0.691, 0.720]}
    for softmax, said in (([0.1] * 4, "are equivalent"), ([0.70, 0.66, 0.72, 0.75], "were not shown to be equivalent")):
        runs = runs_of(**near, softmax=softmax)
        conclusion = conclude(summarise(runs, TWINS, CONTROLS), runs)
        twin = "amplitudes" if softmax[0] == 0.1 else "softmax"
        assert f"born and {twin} {said} within 1 point (two one-sided tests of 5 %)." in conclusion
    one = runs_of(born=[0.7], amplitudes=[0.7])
    assert not any("equivalent" in sentence for sentence in conclude(summarise(one, TWINS, CONTROLS), one))
