"""Measures what docs/contribution.md shows, and writes its table and figure: `python docs/contribution.py`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import qfedfm as qf
from qfedfm.core.parts import Objective, ServerAt
from qfedfm.incentives.game import Game
from qfedfm.incentives.query_scaling import Point, sampling, scaling, slope
from qfedfm.quantum.executors.aer import Aer
from qfedfm.report.look import INK, MUTED, PALETTE, RULE

PAGE = Path(__file__).with_name("contribution.md")
POINTS, NOISY = (Path(__file__).with_name(f"contribution{part}.json") for part in ("", "-noise"))
FIGURE = Path(__file__).with_name("figures") / "contribution-scaling.png"
BEGIN, MIDDLE, END = "<!-- by docs/contribution.py: do not edit -->", "<!-- under noise -->", "<!-- end -->"
CLIENTS, KEYS, DEPTHS, SHOTS = 6, 100, range(9), 100
FEW = (4, 8, 16, 32, 64)
"""Samples with which not all coalitions have been asked for."""
THEORY = (0, (1, 2))
METHODS = ("amplitude-estimation", "coalition-sampling")


def game(clients: int = CLIENTS) -> Game:
    """A round of some clients on a quadratic loss; the last sends −2 times what it learned."""
    rng, d = qf.Key.of(0).fold("contribution page").numpy(), 40
    target = rng.normal(size=d)
    X = target * rng.uniform(0.2, 0.7, (clients, 1)) + 0.8 * rng.normal(size=(clients, d))
    X[-1] *= -2
    layout = qf.Layout.of({"x": (d,)})

    def loss(delta: np.ndarray) -> float:
        return float(((delta - target) ** 2).mean() / 2)

    def gradient(delta: np.ndarray) -> tuple[float, np.ndarray]:
        return loss(delta), ((delta - target) / d).astype(np.float32)

    cohort = qf.Cohort(X.astype(np.float32), np.ones(clients), tuple(range(clients)), layout)
    at = ServerAt(1, qf.Key.of(0), layout, np.zeros(d, np.float32), Objective(gradient, loss))
    return qf.incentives.round_game(cohort, qf.reduces.Mean(), at)


def keys(count: int = KEYS) -> list[qf.Key]:
    """One for each repetition."""
    return [qf.Key.of(0).fold("contribution page", number) for number in range(count)]


def steepness(points: Sequence[Point], method: str) -> tuple[float, float]:
    """The slope over all points, and over those from depth 2 on."""
    return slope(points, method), slope([point for point in points if point.queries > 400], method)


def page(text: str, points: Sequence[Point], noisy: Sequence[Point]) -> str:
    """The page with the tables between their marks."""
    text = _between(text, BEGIN, _table(points))
    return _between(text, MIDDLE, _noise_table(noisy))


def _between(text: str, begin: str, lines: Sequence[str]) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(END)
    return f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{END}{after}"


def _noise_table(points: Sequence[Point]) -> list[str]:
    lines = ["| largest power m | queries | error | error without noise, by theory |", "|---|---|---|---|"]
    for depth, one in enumerate(point for point in points if point.method == METHODS[0]):
        lines.append(f"| {2**depth // 2} | {one.queries:,} | {one.error:.2g} | {one.expected:.2g} |")
    return lines


def _table(points: Sequence[Point]) -> list[str]:
    quantum = [point for point in points if point.method == METHODS[0]]
    classical = [point for point in points if point.method == METHODS[1] and point.queries not in FEW]
    head = ("queries, A + A†", "error of amplitude estimation", "Cramér–Rao bound", "samples", "error of sampling")
    head = (*head, "σ/√M", "different coalitions sampled")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for one, other in zip(quantum, classical, strict=True):
        cells = (
            f"{one.queries:,} = {one.oracle:,} + {one.adjoint:,}", f"{one.error:.2g}", f"{one.expected:.2g}",
            f"{other.queries:,}", f"{other.error:.2g}", f"{other.expected:.2g}",
            f"{other.distinct:.1f} of {one.distinct:.0f}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for method in METHODS:
        every, late = (f"{value:.2f}".replace("-", "−") for value in steepness(points, method))
        lines.append(f"- Slope of log error against log queries, `{method}`: {every}; from 900 queries on {late}.")
    return lines


def draw(points: Sequence[Point]) -> Figure:
    """Error against queries, both methods with theory, sampling also with kept answers, and where all is known."""
    figure = Figure(figsize=(7.5, 4.4), layout="constrained")
    axes = figure.add_subplot()
    quantum, classical = ([point for point in points if point.method == method] for method in METHODS)
    few = [point for point in classical if point.distinct < 0.999 * quantum[0].distinct]
    series = (
        (quantum, "queries", "amplitude estimation ◆, A + A†", PALETTE[0][0], "D", "solid"),
        (classical, "queries", "Monte Carlo, one query a sample", PALETTE[1][0], "o", "solid"),
        (few, "distinct", "Monte Carlo, answers kept: different coalitions", PALETTE[2][0], "s", "dotted"),
    )
    for chosen, x, label, colour, marker, dash in series:
        abscissa = [getattr(point, x) for point in chosen]
        errors = [point.error for point in chosen]
        axes.plot(abscissa, errors, linestyle=dash, color=colour, marker=marker, label=label, markersize=5)
        if x == "queries":
            axes.plot(abscissa, [point.expected for point in chosen], linestyle=THEORY, color=INK, linewidth=1)
    axes.axvline(quantum[0].distinct, color=MUTED, linewidth=1)
    axes.set(xscale="log", yscale="log")
    text = f"all {quantum[0].distinct:.0f} coalitions asked:\nthe exact value is known"
    where = quantum[0].distinct, min(point.error for point in points)
    axes.annotate(text, where, (-5, 0), textcoords="offset points", ha="right", fontsize=8, color=INK)
    axes.set_xlabel("queries to the oracle of one client's marginal contributions", fontsize=9)
    axes.set_ylabel("root mean square error of a Shapley value (loss)", fontsize=9)
    axes.plot([], [], linestyle=THEORY, color=INK, linewidth=1, label="theory: Cramér–Rao bound, σ/√M")
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(labelsize=8, color=RULE)
    return figure


def read(path: Path = POINTS) -> list[Point]:
    """The points that were measured."""
    return [Point(**point) for point in json.loads(path.read_text(encoding="utf-8"))]


def render() -> None:
    """Table and figure from the points."""
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), read(), read(NOISY)), encoding="utf-8")
    draw(read()).savefig(FIGURE, dpi=110, metadata={"Software": None})


def main() -> None:
    """Measures, for some minutes, and writes everything."""
    round_ = game()
    points = [*(sampling(round_, keys(), samples) for samples in FEW), *scaling(round_, keys(), DEPTHS, SHOTS)]
    noisy = scaling(game(3), keys(), range(5), SHOTS, Aer(noise="manila"))
    for path, found in ((POINTS, points), (NOISY, noisy)):
        path.write_text(json.dumps([asdict(point) for point in found], indent=1) + "\n", encoding="utf-8")
    render()


if __name__ == "__main__":
    main()
