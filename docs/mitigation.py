"""Prints the table of docs/mitigation.md, what wrappers gain under a device's noise: `python docs/mitigation.py`."""

from __future__ import annotations

import numpy as np

from qfedfm.core.key import Key
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor
from qfedfm.quantum.executors.aer import Aer
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.executors.readout import Readout
from qfedfm.quantum.executors.twirl import Twirl
from qfedfm.quantum.executors.zne import Zne

QUBITS, LAYERS, LINES, KEYS = 3, 3, 6, 10
RAW = Aer(shots=4000, noise="manila")
ROWS: tuple[tuple[str, Executor], ...] = (
    ("nothing", RAW),
    ("`twirl`, 4 instances", Twirl(RAW, instances=4)),
    ("`readout`", Readout(RAW)),
    ("`zne`", Zne(RAW)),
    ("`zne` around `readout`", Zne(Readout(RAW))),
    ("the same, `richardson`", Zne(Readout(RAW), extrapolation="richardson")),
    ("the same, `exponential`", Zne(Readout(RAW), extrapolation="exponential")),
    ("`zne` around `readout` around `twirl`", Zne(Readout(Twirl(RAW, instances=4)))),
)


def main() -> None:
    """One line for each stack of executors."""
    circuit = Circuit(born_circuit(QUBITS, LAYERS))
    theta = Key.of(0).fold("page").numpy().uniform(-np.pi, np.pi, (LINES, circuit.parameters))
    ideal = Exact().run(circuit, theta, Key.of(0)).probabilities
    print("| around `aer` | total variation to the ideal circuit | circuits | shots | bias |\n|---|---|---|---|---|")
    for name, executor in ROWS:
        found = [executor.run(circuit, theta, Key.of(key)) for key in range(KEYS)]
        far = [np.abs(outcome.probabilities - ideal).sum(axis=1).mean() / 2 for outcome in found]
        error, bias = np.std(far, ddof=1) / np.sqrt(KEYS), np.mean([outcome.bias for outcome in found])
        cost = f"{found[0].circuits / LINES:.1f} | {found[0].shots / LINES:.0f}"
        print(f"| {name} | {np.mean(far):.4f} ± {error:.4f} | {cost} | {bias:.4f} |")


if __name__ == "__main__":
    main()
