"""Results as a comparison would write them, drawn from a seed: nothing here was trained."""

import json
import math
from pathlib import Path

import numpy as np

from qfedfm.report.summary import conclude, summarise

NAMES = ("United", "US Airways", "American", "Southwest", "JetBlue", "Virgin", "Apple", "Football", "Coachella", "Cars")
METHODS = {
    "mean": {"reduce": "mean"},
    "multi-krum": {"reduce": {"name": "multi-krum", "hostile": 3}},
    "born": {"reduce": {"name": "born", "layers": 2, "shots": None}},
    "amplitudes": {"reduce": {"name": "amplitudes"}},
    "softmax": {"reduce": {"name": "softmax"}},
    "born-no-entangler": {"reduce": {"name": "born-no-entangler"}},
}
LEVEL = {
    "mean": 0.52,
    "multi-krum": 0.66,
    "born": 0.694,
    "amplitudes": 0.69,
    "softmax": 0.68,
    "born-no-entangler": 0.67,
}
QUANTUM = {"born", "born-no-entangler"}
TWINS = {"born": ("amplitudes", "softmax")}
CONTROLS = {"born-no-entangler": "born"}
WEIGHTED = {"mean", "born", "amplitudes", "softmax", "born-no-entangler"}
UPLINK = 4 * 37_635 + 60


def hostile_of(seed):
    return sorted(int(c) for c in np.random.Generator(np.random.PCG64(seed)).choice(10, 3, replace=False))


def line(method, seed, round_, rng, rounds):
    progress = 1 - math.exp(-3 * round_ / rounds)
    accuracy = 0.36 + (LEVEL[method] - 0.36) * progress + rng.normal(0, 0.008)
    clients = {str(c): float(np.clip(accuracy + 0.08 * math.sin(3 * c) + rng.normal(0, 0.02), 0, 1)) for c in range(10)}
    hostile = hostile_of(seed)
    raw = np.array([math.exp(-0.5 * round_) if c in hostile and method != "mean" else 1.0 for c in range(10)])
    weights = raw * rng.uniform(0.8, 1.2, 10)
    weights /= weights.sum()
    refused = (
        [{"client": hostile[0], "reason": "nan at coordinate 0 (head.weight)"}]
        if method == "mean" and round_ == 2
        else []
    )
    quantum = method in QUANTUM
    return {
        "method": method, "seed": seed, "round": round_, "accuracy": accuracy, "loss": 1.6 - accuracy,
        "macro_f1": accuracy - 0.03, "client_accuracy": clients, "worst_client": min(clients.values()),
        "spread": float(np.std(list(clients.values()))), "train_loss": None if round_ == 0 else 1.5 - accuracy,
        "uplink_bytes": 10 * UPLINK if round_ else 0, "downlink_bytes": 10 * UPLINK if round_ else 0,
        "participants": list(range(10)) if round_ else [], "hostile": hostile, "dropped": [], "late": [],
        "refused": refused,
        "client_weights": {str(c): float(w) for c, w in enumerate(weights)} if round_ and method in WEIGHTED else None,
        "diagnostics": {"circuits": 100, "shots": 0} if quantum and round_ else {},
        "server_seconds": 0.2, "train_seconds": 1.5,
    }  # fmt: skip


def history_of(methods=tuple(METHODS), seeds=(1, 2, 3, 4, 5), rounds=8):
    lines = []
    for index, method in enumerate(methods):
        for seed in seeds:
            rng = np.random.Generator(np.random.PCG64([index, seed]))
            lines += [line(method, seed, round_, rng, rounds) for round_ in range(rounds + 1)]
    return lines


def run_of(method, seed, lines):
    last = lines[-1]
    quantum = method in QUANTUM
    return {
        "method": method, "seed": seed, "quantum": quantum, "twin": (TWINS.get(method) or (None,))[0],
        "twins": list(TWINS.get(method, ())), "control_of": CONTROLS.get(method),
        "final": {name: last[name] for name in ("accuracy", "loss", "macro_f1", "worst_client", "spread")},
        "uplink_bytes": sum(each["uplink_bytes"] for each in lines),
        "downlink_bytes": sum(each["downlink_bytes"] for each in lines),
        "server_seconds": 1.6, "train_seconds": 12.0, "shots": 0, "circuits": 100 * (len(lines) - 1) if quantum else 0,
        "trainable_parameters": 37_635,
        "reduce_parameters": {"born": 8, "amplitudes": 10, "softmax": 10}.get(method, 0),
        "sees_validation": method in WEIGHTED - {"mean"}, "refused": sum(len(each["refused"]) for each in lines),
        "hostile": last["hostile"], "adapter": f"adapters/{method}/seed-{seed}",
    }  # fmt: skip


def results_of(history, methods=tuple(METHODS), seeds=(1, 2, 3, 4, 5), rounds=8):
    runs = []
    for method in methods:
        for seed in seeds:
            lines = [each for each in history if each["method"] == method and each["seed"] == seed]
            if lines and lines[-1]["round"] == rounds:
                runs.append(run_of(method, seed, lines))
    trials = [
        {"method": m, "settings": {"training.rate": rate}, "score": LEVEL[m] - abs(rate - 3e-3) * 5, "seed": 1000}
        for m in methods
        for rate in (1e-3, 3e-3)
    ]
    tuning = {
        "metric": "accuracy", "grid": {"training.rate": [1e-3, 3e-3]}, "seeds": [1000], "trials": trials,
        "chosen": {m: {"training.rate": 3e-3} for m in methods},
    }  # fmt: skip
    summary = summarise(runs, TWINS, CONTROLS, tuning)
    return {
        "schema": 1,
        "experiment": {
            "name": "sources-sign-flip", "seeds": list(seeds), "rounds": rounds,
            "compare": {method: METHODS[method] for method in methods},
            "hostile": {"clients": 3, "attack": {"name": "sign-flip", "scale": 3.0}},
        },
        "environment": {
            "python": "3.11.2", "torch": "2.13.0", "cores": 2, "commit": "0123456789abcdef",
            "config_hash": "fedcba9876543210", "device": "cpu", "precision": "bfloat16",
        },
        "runs": runs, "summary": summary, "tuning": tuning,
        "clients": {
            str(c): {"name": NAMES[c], "train_rows": 200 - 11 * c, "test_rows": 60 - 2 * c, "hostile": False}
            for c in range(10)
        },
        "conclusion": conclude(summary, runs),
    }  # fmt: skip


def write(folder, results=None, history=None, **options):
    """Writes a folder as a run leaves it and returns its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    history = history_of(**options) if history is None else history
    results = results_of(history, **options) if results is None else results
    (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
    (folder / "history.jsonl").write_text("".join(json.dumps(each) + "\n" for each in history), encoding="utf-8")
    return folder
