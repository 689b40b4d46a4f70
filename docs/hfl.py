"""Prints the table of docs/h-fl.md, what H-FL's parts do to accuracy and bytes: `python docs/hfl.py`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from qfedfm.core.key import Key
from qfedfm.split import HFL, Federation, SplitState, play
from qfedfm.split.federation import leaf
from qfedfm.split.lowrank import Spectrum, answer, corrected
from qfedfm.tasks.digits import Digits

TASK = Digits(partition={"name": "dirichlet", "alpha": 0.3, "clients": 20}, train_rows=50, test_rows=15)
ROUNDS, SEEDS, BATCHES, ROWS, EARLY = 15, (1, 2, 3), 10, 40, 5
QUARTER: Mapping[str, Any] = {"ratio": 0.25}
CASES: Mapping[str, Mapping[str, Any]] = {
    "whole features": {"ratio": 1.0},
    "the same, one client a mediator": {"ratio": 1.0, "clients_per_mediator": 1},
    **{
        f"ratio {ratio}, `{correction}`": {"ratio": ratio, "correction": correction}
        for ratio in (0.25, 0.1)
        for correction in ("none", "projected", "tangent", "exact")
    },
    "ratio 0.25, `exact`, C = 1": {**QUARTER, "clipping_norm": 1.0},
    "the same, σ = 0.01": {**QUARTER, "clipping_norm": 1.0, "noise": 0.01},
    "the same, σ = 0.1": {**QUARTER, "clipping_norm": 1.0, "noise": 0.1},
    "the same, σ = 1": {**QUARTER, "clipping_norm": 1.0, "noise": 1.0},
}


def cosine(config: HFL, seed: int, state: SplitState) -> float:
    """Mean cosine between the shallow gradient of the protocol and that of the loss at X itself."""
    federation = Federation.of(config, TASK, seed)
    rng = Key.of(seed).fold("page").numpy()
    rows = np.concatenate([federation.split.train[client] for client in federation.split.clients])
    shallow, deep = federation.shallow.leaves(state.shallow), federation.deep.leaves(state.deep)

    def gradient(x: np.ndarray, labels: torch.Tensor) -> np.ndarray:
        inputs = leaf(x)
        outputs = federation.deep(deep, inputs.view(-1, *federation.halves.shape))
        return torch.autograd.grad(TASK.losses(outputs, labels).mean(), inputs)[0].numpy()

    found = []
    for _ in range(BATCHES):
        batch = TASK.collate(rng.choice(rows, ROWS, replace=False))
        features = federation.shallow(shallow, **batch.inputs).flatten(1)
        x = features.detach().numpy()
        spectrum = Spectrum.of(x)
        factors = spectrum.truncated(round(config.ratio * min(x.shape)))
        g = gradient(factors.product, batch.labels)
        if config.correction != "none":
            g = corrected(spectrum, answer(factors, g, config.correction), config.correction)
        pair = [
            federation.shallow.vector(
                torch.autograd.grad(features, tuple(shallow.values()), torch.from_numpy(at), retain_graph=True)
            )
            for at in (g, gradient(x, batch.labels))
        ]
        found.append(float(pair[0] @ pair[1] / np.linalg.norm(pair[0]) / np.linalg.norm(pair[1])))
    return float(np.mean(found))


def main() -> None:
    """One line for each case."""
    print("| | accuracy | loss | MB up | MB down | feature error | cosine |\n|---|---|---|---|---|---|---|")
    for name, changes in CASES.items():
        config, lines = HFL(rounds=ROUNDS, **changes), []
        for seed in SEEDS:
            rounds = list(play(config, TASK, seed))
            records = [one.record for one in rounds]
            sent = [sum(record[f"{way}link_bytes"] for record in records) / 1e6 for way in ("up", "down")]
            error, angle = records[-1]["diagnostics"]["feature_error"], cosine(config, seed, rounds[EARLY].state)
            lines.append([records[-1]["accuracy"], records[-1]["loss"], *sent, error, angle])
        accuracy, loss, up, down, error, angle = np.mean(lines, axis=0)
        deviation = np.std([line[0] for line in lines], ddof=1)
        shown = f"{accuracy:.3f} ± {deviation:.3f} | {loss:.2f} | {up:.1f} | {down:.1f} | {error:.2f} | {angle:.2f}"
        print(f"| {name} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
