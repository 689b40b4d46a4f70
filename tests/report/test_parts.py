import io
import math

import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from qfedfm.report import numbers, rows
from qfedfm.report.curves import by_round, uplink
from qfedfm.report.dots import client_accuracy, comparisons, hostile_clients
from qfedfm.report.figures import plot
from qfedfm.report.frame import frame
from qfedfm.report.look import PALETTE, VARIABLES, looks
from qfedfm.report.study import Study
from qfedfm.report.table import table
from qfedfm.report.weights import highest, mean_path, paths, weighted
from tests.report import synthetic

HISTORY = synthetic.history_of(rounds=3)
RESULTS = synthetic.results_of(HISTORY, rounds=3)
STUDY = Study(RESULTS, HISTORY)


def lines(**fields):
    return {"method": "m", "seed": 1, "round": 0, **fields}


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def test_band_is_the_t_interval_over_seeds():
    traces = list(STUDY.traces("born"))
    values = [trace[2]["accuracy"] for trace in traces]
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert len(values) == 5
    assert by_round(traces, "accuracy")[2].interval == pytest.approx((expected.low, expected.high))


def bands(seeds):
    history = [lines(seed=seed, round=number, accuracy=0.1 * seed) for seed in range(seeds) for number in (0, 1)]
    return [band.get_datalim(axes.transData) for axes in plot({}, history).axes[:1] for band in axes.collections]


def test_bands_are_drawn_from_three_seeds_on():
    assert bands(2)[0].height == 0
    low, high = stats.ttest_1samp([0.0, 10.0, 20.0], 0).confidence_interval()
    assert (bands(3)[0].y0, bands(3)[0].y1) == pytest.approx((low, high))


def test_uplink_adds_up():
    traces = [
        [lines(uplink_bytes=0), lines(round=1, uplink_bytes=1_000_000), lines(round=2, uplink_bytes=2_000_000)],
        [lines(uplink_bytes=0), lines(round=1, uplink_bytes=3_000_000), lines(round=2, uplink_bytes=None)],
    ]
    assert uplink(traces) == {0: 0.0, 1: 2.0, 2: 3.0}


def test_seeds_that_are_behind_are_left_out():
    history = [lines(), lines(round=1), lines(seed=2), lines(seed=2, round=1), lines(seed=3)]
    assert [[line["round"] for line in trace] for trace in Study({}, history).traces("m")] == [[0, 1], [0, 1]]


def test_a_repeated_round_counts_once():
    history = [lines(accuracy=0.1), lines(round=1, accuracy=0.2), lines(round=1, accuracy=0.3)]
    assert [line["accuracy"] for line in next(iter(Study({}, history).traces("m")))] == [0.1, 0.3]


def test_weights_of_honest_and_hostile_clients():
    trace = [
        lines(round=1, hostile=[2], client_weights={"1": 0.75, "2": 0.25}),
        lines(round=2, hostile=[2], client_weights={"1": 1.0, "2": math.nan}),
    ]
    honest, hostile = paths([trace])
    assert honest == [{1: 0.75, 2: 1.0}]
    assert hostile == [{1: 0.25}]
    assert mean_path([{1: 0.2, 2: 0.4}, {1: 0.4}]) == {1: pytest.approx(0.3), 2: 0.4}
    assert weighted(STUDY) == ["mean", "born", "amplitudes", "softmax", "born-no-entangler"]
    assert highest(Study({}, trace)) == 1.0
    assert highest(Study({}, [])) == 1.0


def test_client_accuracy_is_the_mean_of_the_last_round():
    values = [trace[-1]["client_accuracy"]["4"] for trace in STUDY.traces("softmax")]
    assert client_accuracy(STUDY)["softmax"]["4"] == pytest.approx(np.mean(values))


def test_hostile_in_every_seed():
    assert hostile_clients(STUDY) == frozenset()  # drawn anew for each seed
    assert hostile_clients(Study({}, [lines(round=1, hostile=[3]), lines(seed=2, round=1, hostile=[3])])) == {"3"}


def test_comparisons_name_twin_best_and_controls():
    found = {(method, other): role for method, other, role, _ in comparisons(STUDY)}
    assert found["born", "amplitudes"] == "strongest twin"
    assert found["born", "born-no-entangler"] == "control"
    results = synthetic.results_of(HISTORY, methods=("multi-krum", "born", "softmax"), rounds=3)
    for run in results["runs"]:
        run["final"]["accuracy"] += run["method"] == "multi-krum"
    roles = [row[1:3] for row in comparisons(Study({**results, "summary": None}))]
    assert roles == [("softmax", "strongest twin"), ("multi-krum", "best classical")]


def test_looks_are_distinct_and_mark_quantum_methods():
    names = [f"m{i}" for i in range(20)]
    runs = [{"method": name, "seed": 1, "quantum": name == "m7"} for name in names]
    found = looks([Study({"runs": runs})])
    assert len({(look.colour, look.dash) for look in found.values()}) == 20
    assert found["m7"].label == "◆ m7"
    assert found["m7"].marker == "D"
    assert found["m7"].colour == PALETTE[0][0]
    assert all(look.colour != PALETTE[0][0] for name, look in found.items() if name != "m7")
    assert all(look.marker != "D" for name, look in found.items() if name != "m7")


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_show_on_their_paper(theme):
    paper = ("#ffffff", VARIABLES["#ffffff"][1])[theme]
    for pair in PALETTE:
        assert contrast(pair[theme], paper) > 2.5  # lines and large marks
    for ink in ("#1c2126", "#b3261e"):
        assert contrast((ink, VARIABLES[ink][1])[theme], paper) > 4.5  # text, WCAG AA


def lab(linear):
    to_xyz = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    x = np.array(to_xyz) @ linear / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [0, 1])
def test_colours_differ_for_colour_blind_readers(theme):
    # Viénot, Brettel & Mollon (1999): what is left of linear RGB for protanopes and deuteranopes.
    kinds = {
        "normal": np.eye(3),
        "protan": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
        "deutan": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
    }
    rgb = [np.array(mpl.colors.to_rgb(pair[theme])) for pair in PALETTE]
    linear = [np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4) for c in rgb]
    for matrix in kinds.values():
        seen = [lab(np.clip(matrix @ colour, 0, 1)) for colour in linear]
        assert min(np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]) > 30


def test_a_method_looks_the_same_in_all_studies():
    both = looks(
        [Study({"runs": [lines(method="a")]}), Study({"runs": [lines(method="b", quantum=True), lines(method="a")]})]
    )
    assert list(both) == ["b", "a"]
    assert both["b"].colour != both["a"].colour


def test_frame_has_a_line_a_run():
    found = frame(RESULTS)
    assert list(found.columns[:2]) == ["method", "seed"]
    assert len(found) == 30
    mean = found.groupby("method")["accuracy"].mean()["born"]
    assert mean == pytest.approx(np.mean([r["final"]["accuracy"] for r in RESULTS["runs"] if r["method"] == "born"]))
    assert frame({}).empty


def rendered(results, width=100):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table(results))
    return console.export_text()


def test_table_in_the_terminal():
    text = rendered(RESULTS)
    line = next(line for line in text.splitlines() if "◆ born " in line)
    twin = next(each for each in RESULTS["summary"] if each["method"] == "born")["vs_twin"]
    assert f"{100 * twin['difference']:+.1f}".replace("-", "−") in line
    assert len([line for line in text.splitlines() if "MB" in line]) == 6


def test_table_takes_names_as_they_are():
    runs = [{"method": "[red]x[/red]", "seed": 1, "quantum": False, "final": {"accuracy": 0.5}}]
    assert "[red]x[/red]" in rendered({"schema": 1, "runs": runs})


def test_plot_for_a_notebook():
    before = dict(mpl.rcParams)
    figure = plot(RESULTS, HISTORY)
    assert dict(mpl.rcParams) == before
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "accuracy by round", "final accuracy", "accuracy by uplink", "paired differences",
    ]  # fmt: skip
    born = next(line for line in figure.axes[0].lines if line.get_label() == "◆ born")
    expected = [100 * np.mean([trace[i]["accuracy"] for trace in STUDY.traces("born")]) for i in range(4)]
    assert born.get_ydata() == pytest.approx(expected)


def test_plot_of_one_classical_method():
    history = synthetic.history_of(("mean",), (1,), 2)
    assert len(plot(synthetic.results_of(history, ("mean",), (1,), 2), history).axes) == 3


def test_final_accuracy_stays_within_0_and_100():
    runs = [{"method": "m", "seed": seed, "final": {"accuracy": seed / 2}} for seed in (0, 1)]
    low, high = plot({"schema": 1, "runs": runs}, []).axes[1].get_xlim()
    assert low >= 0
    assert high <= 100


def test_missing_runs():
    partial = {**RESULTS, "runs": RESULTS["runs"][:28]}
    assert Study(partial).missing == (("born-no-entangler", 4), ("born-no-entangler", 5))
    assert STUDY.missing == ()


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e9, "2.5 GB"), (None, "–"), (math.nan, "–")]
)
def test_sizes(value, text):
    assert numbers.size(value) == text


def test_numbers():
    assert numbers.count(1234567) == "1\u2009234\u2009567"
    assert numbers.decimal(True) == "–"
    assert numbers.difference({"difference": 0.004, "ci95": [-0.009, 0.017]}) == "+0.4 [−0.9, +1.7]"
    assert numbers.difference({"difference": 0.004, "ci95": None}) == "+0.4"
    assert numbers.with_interval({"mean": 0.7, "ci95": [0.68, 0.72]}) == "70.0 ± 2.0"
    assert numbers.with_interval({"mean": None}) == "–"


def test_settings_on_one_line():
    assert rows.plain({"a": {"b": 1}, "c": "x"}) == 'a = b = 1, c = "x"'
    assert rows.plain({}) == "as configured"


def test_refused_updates_are_gathered():
    history = [
        lines(round=number, refused=[{"client": 1, "reason": "nan"}, {"client": 2, "reason": "length"}])
        for number in range(1, 9)
    ]
    found = rows.refused(Study({"clients": {"1": {"name": "one"}}}, history)).rows
    assert found[0] == (
        "m", "one", "nan", ", ".join(f"{n} (seed 1)" for n in range(1, 7)) + " and 2 more", "8",
    )  # fmt: skip
    assert found[1][1:3] == ("client 2", "length")
