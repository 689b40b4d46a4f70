"""Readout errors corrected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
from jaxtyping import Float64

from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.extra import cloud
from qfedfm.quantum.projection import onto_simplex
from qfedfm.quantum.wrapper import Wrapper


@part("readout", paper="Nation, Kang, Sundaresan & Gambetta, PRX Quantum 2, 040326 (2021), arXiv 2108.12518 (M3)")
@final
@dataclass(frozen=True)
class Readout(Wrapper):
    """Counts corrected by q = A⁻¹ f on the outcomes that were seen, A = ⊗ A_i from each qubit's readout errors.

    A_i is measured in every run by two more circuits on the qubits where the circuit is measured, |0…0⟩ and |1…1⟩:
    errors are taken to be independent from qubit to qubit. The corrected frequencies q sum to 1 but may be negative;
    they are projected onto the simplex (`onto_simplex`), and the outcome tells by how much.

    Args:
        inner: an executor that gives counts.

    Raises:
        ConfigError: (in `run`) the executor inside gives no counts.
        MissingExtraError: (in `run`) mthree is not installed.

    Differs from the paper: calibrated by two circuits in the place of its balanced set, and projected.
    """

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
        return Outcome(
            probabilities,
            None,
            outcome.circuits + measured.circuits,
            outcome.shots + measured.shots,
            "mitigated",
            outcome.device_seconds + measured.device_seconds,
            bias,
        )


def confusion(calibration: Float64[np.ndarray, "2 n"], qubits: int) -> list[Float64[np.ndarray, "2 2"]]:
    """For each qubit the matrix of how often column a, prepared, is read as row m.

    Args:
        calibration: frequencies of all outcomes where all qubits are 0, and where all are 1.
        qubits: how many.
    """
    outcomes = np.arange(2**qubits)
    ones = [calibration[:, outcomes >> qubit & 1 == 1].sum(axis=1) for qubit in range(qubits)]
    return [np.array([1 - read, read]) for read in ones]
