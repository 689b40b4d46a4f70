"""Readout errors corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import DeviceError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Demand, Outcome
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.projection import onto_simplex
from qfedfm.quantum.wrapper import Wrapper, together


@part("readout", paper="Nation, Kang, Sundaresan & Gambetta, PRX Quantum 2, 040326 (2021), arXiv 2108.12518 (M3)")
@final
@dataclass(frozen=True)
class Readout(Wrapper):
    """Counts corrected by q = A⁻¹ f on the outcomes that were seen, A = ⊗ A_i from each qubit's readout errors.

    A_i is measured in every run by two more circuits on the qubits where the circuit is measured, |0…0⟩ and |1…1⟩:
    errors are taken to be independent from qubit to qubit. The corrected frequencies q sum to 1 but may be negative;
    they are projected onto the simplex (`onto_simplex`), and the outcome tells by how much. Nothing of a calibration is
    kept for the next run: it would be older than the counts, and a resumed experiment would see another one.

    Args:
        inner: an executor that gives counts.

    Raises:
        ConfigError: an executor inside gives no counts.
        DeviceError: (in `run`) a qubit is read no better than by a coin.
        MissingExtraError: (in `run`) mthree is not installed.

    Differs from the paper: calibrated by two circuits in the place of its balanced set, and projected.
    """

    senseless: ClassVar[dict[str, str]] = {
        "exact": "which gives no counts",
        "zne": "which gives no counts: extrapolate what was corrected, 'zne' around 'readout'",
        "readout": "which has corrected the same errors",
    }

    def demand(self, lines: int) -> Demand:
        return self.inner.demand(lines) + self.inner.calibration_demand()

    def run(self, circuit: Circuit, parameters: Float64[np.ndarray, "b p"], key: Key) -> Outcome:
        outcome = self.inner.run(circuit, parameters, key)
        counts, qubits = self.counted(outcome), circuit.qubits
        measured = self.inner.calibration(circuit, key.fold("calibration"))
        mitigation = cloud("mthree").M3Mitigation()
        mitigation.cals_from_matrices(confusion(measured.probabilities, qubits))
        seen = [{format(k, f"0{qubits}b"): int(line[k]) for k in np.flatnonzero(line)} for line in counts]
        quasi = np.zeros(counts.shape)
        for row, found in zip(quasi, mitigation.apply_correction(seen, list(range(qubits))), strict=True):
            for bits, value in found.items():
                row[int(bits, 2)] = value
        probabilities, bias = onto_simplex(quasi)
        return together((outcome, measured), probabilities, column="mitigated", bias=bias)


def confusion(calibration: Float64[np.ndarray, "2 n"], qubits: int) -> list[Float64[np.ndarray, "2 2"]]:
    """For each qubit the matrix of how often column a, prepared, is read as row m.

    Args:
        calibration: frequencies of all outcomes where all qubits are 0, and where all are 1.
        qubits: how many.

    Raises:
        DeviceError: a qubit is as often read as 1 where it is 0 as where it is 1.
    """
    outcomes = np.arange(2**qubits)
    ones = [calibration[:, outcomes >> qubit & 1 == 1].sum(axis=1) for qubit in range(qubits)]
    for qubit, (zero, one) in enumerate(ones):
        if one <= zero:
            given = (
                f"qubit {qubit} is read as 1 in {zero:.0%} of the shots where it is 0, and in {one:.0%} where it is 1"
            )
            raise DeviceError(given, "a qubit that can be read", "take more shots or another device")
    return [np.array([1 - read, read]) for read in ones]
