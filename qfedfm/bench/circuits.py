"""The cases ``circuits``: probabilities of a circuit and their vector–Jacobian product, against other simulators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from qfedfm.bench.cases import Answer, case
from qfedfm.bench.process import BenchError, Side, require
from qfedfm.bench.runner import Runner

OURS = "ours"
DEFAULT, LIGHTNING, QISKIT = "PennyLane default.qubit, backprop", "PennyLane lightning.qubit, adjoint", "Qiskit, shifts"
SIZES = tuple((qubits, lines) for qubits in (6, 10, 14, 18) for lines in (1, 32))
_LARGE = 18
"""Qubits at which a peer simulates one line, and its seconds are multiplied by the number of lines."""
_SHIFTED = 10
"""The most qubits at which shifts are tried, for one line."""
_AGREE = 1e-10
TARGETS = {DEFAULT: 3.0, LIGHTNING: 1.5, QISKIT: 1.5}
"""The least ratio up to 14 qubits; 1 above."""
STEP = 1e-3
"""Seconds that a training step of the Born aggregator may take."""


def bench(runner: Runner) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Every simulator at every size that it can take, one thread each; then a training step."""
    require("pennylane", "pennylane_lightning")
    once = [(qubits, 1 if qubits == _LARGE else lines) for qubits, lines in SIZES]
    shifted = [(qubits, lines) for qubits, lines in SIZES if lines == 1 and qubits <= _SHIFTED]
    least = 0.2 if runner.quick else 1.0
    sides = [
        Side.module(OURS, "ours.circuits", sizes=SIZES, least=least),
        Side.module(DEFAULT, "peers.pennylane", sizes=once, least=least, threads=1, device="default.qubit"),
        Side.module(LIGHTNING, "peers.pennylane", sizes=once, least=least, threads=1, device="lightning.qubit"),
        Side.module(QISKIT, "peers.qiskit", sizes=shifted, least=least),
    ]
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    answers = runner.measure([replace(side, environment=one) for side in sides])
    found = []
    for number, size in enumerate(SIZES):
        for name in (DEFAULT, LIGHTNING, QISKIT):
            if name != QISKIT or size in shifted:
                at = shifted.index(size) if name == QISKIT else number
                ours, peer = (
                    [answer["cases"][i] for answer in answers[side]] for side, i in ((OURS, number), (name, at))
                )
                found += [_line(what, size, name, ours, peer) for what in ("value", "gradient")]
    steps = [answer["step_seconds"] for answer in answers[OURS]]
    found.append(case("Born training step, 6 qubits", "seconds", steps, [STEP] * len(steps), "the target", 1.0))
    return found, {**dict(answers[OURS][0]["environment"]), "threads": 1}


def _line(
    what: str, size: tuple[int, int], name: str, ours: Sequence[Answer], peer: Sequence[Answer]
) -> dict[str, Any]:
    """One function at one size against one peer.

    Raises:
        BenchError: the two did not come to the same.
    """
    qubits, lines = size
    part = peer[0]["lines"]
    digests = "all" if part == lines else "first"
    apart = max(
        float(np.abs(np.subtract(one[what][digests], other[what][digests])).max())
        for one, other in zip(ours, peer, strict=True)
    )
    title = f"{qubits} qubits, {lines} {'point' if lines == 1 else 'points'}: {what}"
    if not apart <= _AGREE:
        raise BenchError(f"{title}: {apart:.2g} between ours and {name}", f"at most {_AGREE}")
    note = {"note": f"of the peer 1 of {lines} was timed, and multiplied"} if part != lines else {}
    return case(
        title,
        "seconds",
        [one[what]["seconds"] for one in ours],
        [one[what]["seconds"] * lines / part for one in peer],
        name,
        TARGETS[name] if qubits < _LARGE else 1.0,
        difference_of_results=float(f"{apart:.2g}"),
        **note,
    )
