"""Writes the numbers of docs/born.md and draws its figure: `python docs/born.py`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Objective, Reduce, ServerAt
from qfedfm.reduces.spread import permutation_spread

PAGE = Path(__file__).with_name("born.md")
FIGURE = Path(__file__).with_name("figures") / "born-trust.png"
ROWS = (10, 40, 160)
TRUSTS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
SEEDS = range(20)
FEATURES, CLIENTS, HOSTILE, NOISE = 20, 10, 2, 0.15


@dataclass(frozen=True)
class Problem:
    """A round of a logistic regression: clients' updates, validation rows, and rows that nobody sees."""

    cohort: Cohort
    features: np.ndarray
    labels: np.ndarray
    seen: int

    def loss(self, x: np.ndarray, rows: slice) -> float:
        """The mean logistic loss."""
        return float(np.logaddexp(0, -self.labels[rows] * (self.features[rows] @ x)).mean())

    def gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """On the validation rows."""
        rows = slice(self.seen)
        signs = -self.labels[rows] / (1 + np.exp(self.labels[rows] * (self.features[rows] @ x)))
        return self.loss(x, rows), (self.features[rows].T @ signs / self.seen).astype(np.float32)

    @property
    def at(self) -> ServerAt:
        """Where the server is."""
        objective = Objective(self.gradient, lambda x: self.loss(x, slice(self.seen)), self.seen)
        return ServerAt(1, Key.of(0), self.cohort.layout, np.zeros(FEATURES, np.float32), objective)

    def play(self, reduce: Reduce) -> tuple[float, float]:
        """The loss after the round on the validation rows and on unseen ones."""
        state = reduce.init(self.cohort.layout, self.cohort.clients)
        vector = reduce.reduce(self.cohort, state, self.at)[0].vector
        return self.loss(vector, slice(self.seen)), self.loss(vector, slice(self.seen, None))


def problem(seed: int, seen: int) -> Problem:
    """Ten clients with forty rows each, of which two send twice the opposite; 15 % of all labels are wrong."""
    rng = np.random.default_rng(seed)
    truth = 2 * rng.normal(size=FEATURES) / np.sqrt(FEATURES) * np.sqrt(2)

    def rows(count: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.normal(size=(count, FEATURES))
        y = np.where(rng.random(count) < 1 / (1 + np.exp(-x @ truth)), 1.0, -1.0)
        return x, np.where(rng.random(count) < NOISE, -y, y)

    updates = np.zeros((CLIENTS, FEATURES))
    for client in range(CLIENTS):
        x, y = rows(40)
        for _ in range(20):  # local steps of gradient descent from zero
            updates[client] -= 0.3 * (x * (-y / (1 + np.exp(y * (x @ updates[client]))))[:, None]).mean(axis=0)
    updates[:HOSTILE] *= -2
    features, labels = rows(seen + 4000)
    layout = Layout.of({"w": (FEATURES,)})
    cohort = Cohort(updates.astype(np.float32), np.ones(CLIENTS), tuple(range(CLIENTS)), layout)
    return Problem(cohort, features, labels, seen)


def curves(reduces: dict[str, Reduce], seen: int) -> dict[str, np.ndarray]:
    """Seen and unseen losses of each reduce for each seed, minus those of the weighted mean."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in reduces}
    for seed in SEEDS:
        case = problem(seed, seen)
        mean = np.array(case.play(qf.reduces.Mean()))
        for name, reduce in reduces.items():
            found[name].append(np.array(case.play(reduce)) - mean)
    return {name: np.array(lines) for name, lines in found.items()}


def half(values: np.ndarray) -> np.ndarray:
    """Half a 95 % interval of the mean over the seeds."""
    from scipy.special import stdtrit

    n = len(values)
    return np.asarray(stdtrit(n - 1, 0.975) * values.std(axis=0, ddof=1) / np.sqrt(n))


def draw() -> None:
    """Seen and unseen loss over the trust, for each number of validation rows."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(ROWS), figsize=(10, 3.2), sharey=True, layout="constrained")
    for axes, seen in zip(panels, ROWS, strict=True):
        fixed = curves({str(t): qf.reduces.Born(trust=t, ample=0) for t in TRUSTS}, seen)
        default = curves({"default": qf.reduces.Born()}, seen)["default"]
        places = np.arange(len(TRUSTS))
        for column, (name, colour) in enumerate({"validation rows": "C1", "unseen rows": "C0"}.items()):
            means = np.array([fixed[str(t)][:, column].mean() for t in TRUSTS])
            errors = np.array([half(fixed[str(t)][:, column]) for t in TRUSTS])
            axes.errorbar(places, means, errors, marker="o", capsize=2, color=colour, label=name)
            axes.axhline(default[:, column].mean(), color=colour, linestyle=":", label=f"{name}, default")
        axes.axhline(0, color="0.6", linewidth=0.8)
        axes.set_xticks(places, [f"{t:g}" for t in TRUSTS])
        axes.set(title=f"{seen} validation rows", xlabel="trust, whatever the rows")
    panels[0].set_ylabel("loss above the weighted mean's")
    panels[-1].legend(fontsize=7)
    figure.savefig(FIGURE, dpi=110, metadata={"Software": None})
    plt.close(figure)


def losses() -> str:
    """The table of unseen losses."""
    reduces: dict[str, Reduce] = {
        "`born`": qf.reduces.Born(),
        "`born`, trust 1 whatever the rows": qf.reduces.Born(ample=0),
        "`born`, no trust region": qf.reduces.Born(trust=0.0),
        "`amplitudes`": qf.reduces.Amplitudes(),
        "`softmax`": qf.reduces.Softmax(),
    }
    lines = [f"| method | {' | '.join(f'{seen} rows' for seen in ROWS)} |", "|---|" + "---|" * len(ROWS)]
    found = {seen: curves(reduces, seen) for seen in ROWS}
    for name in reduces:
        cells = [f"{found[s][name][:, 1].mean():+.3f} ± {half(found[s][name][:, 1]):.3f}" for s in ROWS]
        lines.append(f"| {name} | {' | '.join(cells)} |".replace("-0.", "−0."))
    return "\n".join(lines)


def spreads() -> str:
    """The table of what a permutation of the ids changes."""
    reduces: dict[str, Reduce] = {
        **{
            f"`born`, {layers} layer{'s' if layers > 1 else ''}": qf.reduces.Born(layers=layers)
            for layers in (1, 2, 3, 5)
        },
        "`born-no-entangler`": qf.reduces.BornNoEntangler(),
        "`amplitudes`": qf.reduces.Amplitudes(),
        "`softmax`": qf.reduces.Softmax(),
    }
    lines = [
        "| method | deviation of a weight | largest total variation | deviation of the loss |",
        "|---|---|---|---|",
    ]
    for name, reduce in reduces.items():
        found = [
            permutation_spread(reduce, case.cohort, case.at, Key.of(1)) for case in (problem(s, 40) for s in range(5))
        ]
        cells = (
            np.mean([spread.deviations.mean() for spread in found]),
            np.max([spread.largest for spread in found]),
            np.mean([spread.loss for spread in found]),
        )
        lines.append(f"| {name} | {' | '.join(f'{cell:.4f}' for cell in cells)} |")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, made in (("losses", losses()), ("spreads", spreads())):
        text = re.sub(rf"(<!-- {name} -->)\n.*?<!-- end -->", rf"\1\n{made}\n<!-- end -->", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    draw()
