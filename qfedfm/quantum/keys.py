"""The quantum phases of key distribution as circuits: bits, bases and settings are angles, so one circuit serves all.

An angle is one of the Bloch sphere's x–z plane, twice that of a linear polarisation: 0 for |0⟩, π/2 for |+⟩, π for |1⟩.
RY(α) prepares a state at α, and RY(−β) before a measurement asks whether it is at β (0) or opposite (1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float64, Integer

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

Attack = Literal["none", "intercept"]
"""Nobody, or someone who measures every qubit on its way to Bob and sends on what was found."""

_LARGEST = 100
"""Pulses side by side; they do not interact, so that more of them teach nothing."""

_QUARTER = np.pi / 2

Angles = Float64[np.ndarray, "*batch p"]
Numbers = Integer[np.ndarray, "*batch n"]


def bb84_circuit(pulses: int, attack: Attack = "none") -> QuantumCircuit:
    """RY(−bob[i]) RY(alice[i])|0⟩ on qubit i, a qubit a pulse: Bob's bit is 1 with probability sin²((α − β)/2).

    Bennett & Brassard 1984. Decoy states are the same circuit: of their pulses only those with one photon give a key,
    and each of these is a pulse of BB84; how many photons a pulse has is no matter of its qubit.

    With ``attack="intercept"`` qubit n + i is Eve's: RY(eve[i]) CNOT RY(−eve[i]) before Bob copies what she finds at
    angle eve[i] to her qubit. The measurement is deferred: the statistics are those of measuring and sending anew.
    Parameters in Qiskit's order: ``alice[·]``, ``bob[·]``, ``eve[·]``; `bb84_angles` computes them.

    Args:
        pulses: n, from 1 to 100.
        attack: on every pulse.

    Raises:
        ConfigError: another number of pulses.

    Example:
        >>> bb84_circuit(2, "intercept").num_qubits
        4
    """
    return _prepared("bb84", pulses, attack)


def b92_circuit(pulses: int, attack: Attack = "none") -> QuantumCircuit:
    """The circuit of `bb84_circuit` for two states only: α = 0 for bit 0, π/2 for bit 1; `b92_angles`.

    Bennett, PRL 68, 3121 (1992). An outcome of 1 is conclusive: at β = π/2 it excludes |+⟩, so the bit was 0, and at
    β = 0 it excludes |0⟩, so the bit was 1. Arguments, attack and errors are those of `bb84_circuit`.
    """
    return _prepared("b92", pulses, attack)


def bbm92_circuit(pairs: int, attack: Attack = "none") -> QuantumCircuit:
    """RY(−alice[i]) ⊗ RY(−bob[i]) |Φ⁺⟩ on qubits i and n + i: equal bits with probability cos²((α − β)/2).

    Bennett, Brassard & Mermin, PRL 68, 557 (1992). With ``attack="intercept"`` qubit 2n + i is Eve's, who measures
    Bob's qubit as in `bb84_circuit`. Parameters in Qiskit's order: ``alice[·]``, ``bob[·]``, ``eve[·]``;
    `bbm92_angles` computes them.

    Args:
        pairs: n, from 1 to 100.
        attack: on every pair.

    Raises:
        ConfigError: another number of pairs.
    """
    return _entangled("bbm92", pairs, attack)


def e91_circuit(pairs: int, attack: Attack = "none") -> QuantumCircuit:
    """The circuit of `bbm92_circuit` with three settings on either side; `e91_angles` computes its angles.

    Ekert, PRL 67, 661 (1991), Eqs. 1–3: E(α, β) = cos(α − β), and S = E₀₀ − E₀₂ + E₂₀ + E₂₂ = 2√2. Arguments,
    attack and errors are those of `bbm92_circuit`.

    Differs from the paper: |Φ⁺⟩ in place of the singlet, so that equal settings give equal bits and S is positive.
    """
    return _entangled("e91", pairs, attack)


def bb84_angles(bits: Numbers, bases: Numbers, measured: Numbers, probed: Numbers | None = None) -> Angles:
    """The angles of `bb84_circuit`: α = π·bit + π/2·basis, β = π/2·basis; basis 0 is Z, 1 is X.

    Args:
        bits: Alice's.
        bases: Alice's.
        measured: Bob's bases.
        probed: Eve's bases, where she has qubits.

    Example:
        >>> bb84_angles(np.array([1]), np.array([1]), np.array([0])) / np.pi
        array([1.5, 0. ])
    """
    return _angles(2 * bits + bases, measured, probed, _QUARTER)


def b92_angles(bits: Numbers, measured: Numbers, probed: Numbers | None = None) -> Angles:
    """The angles of `b92_circuit`: α = π/2·bit, β = π/2·basis; Eve's bases as in `bb84_angles`."""
    return _angles(bits, measured, probed, _QUARTER)


def bbm92_angles(alice: Numbers, bob: Numbers, probed: Numbers | None = None) -> Angles:
    """The angles of `bbm92_circuit`: π/2 times the bases; Eve's as in `bb84_angles`."""
    return _angles(alice, bob, probed, _QUARTER)


def e91_angles(alice: Numbers, bob: Numbers, probed: Numbers | None = None) -> Angles:
    """The angles of `e91_circuit`: α = π/4·setting, β = π/4·(setting + 1), settings 0 to 2; Eve's as in `bb84_angles`.

    Alice's 1 and 2 are Bob's 0 and 1: those give the key.
    """
    return _angles(alice, bob + 1, None if probed is None else 2 * probed, _QUARTER / 2)


def _angles(alice: Numbers, bob: Numbers, probed: Numbers | None, unit: float) -> Angles:
    rows = (alice, bob) if probed is None else (alice, bob, probed)
    return np.asarray(unit * np.concatenate(rows, axis=-1))


def _prepared(name: str, pulses: int, attack: Attack) -> QuantumCircuit:
    circuit = _blank(name, pulses, 1, attack)
    alice, bob = _vector("alice", pulses), _vector("bob", pulses)
    for pulse in range(pulses):
        circuit.ry(alice[pulse], pulse)
    _intercept(circuit, pulses, 0, attack)
    for pulse in range(pulses):
        circuit.ry(-bob[pulse], pulse)
    return circuit


def _entangled(name: str, pairs: int, attack: Attack) -> QuantumCircuit:
    circuit = _blank(name, pairs, 2, attack)
    alice, bob = _vector("alice", pairs), _vector("bob", pairs)
    for pair in range(pairs):
        circuit.h(pair)
        circuit.cx(pair, pairs + pair)
    _intercept(circuit, pairs, pairs, attack)
    for pair in range(pairs):
        circuit.ry(-alice[pair], pair)
        circuit.ry(-bob[pair], pairs + pair)
    return circuit


def _blank(name: str, pulses: int, each: int, attack: Attack) -> QuantumCircuit:
    from qiskit import QuantumCircuit

    if not 1 <= pulses <= _LARGEST:
        raise ConfigError(f"{pulses} pulses in a circuit of {name}", f"1 to {_LARGEST}")
    return QuantumCircuit(pulses * (each + (attack == "intercept")), name=f"{name}-{pulses}-{attack}")


def _intercept(circuit: QuantumCircuit, pulses: int, first: int, attack: Attack) -> None:
    """Eve's qubits are the last ones; those on their way to Bob begin at ``first``."""
    if attack == "none":
        return
    eve = _vector("eve", pulses)
    for pulse in range(pulses):
        circuit.ry(-eve[pulse], first + pulse)
        circuit.cx(first + pulse, circuit.num_qubits - pulses + pulse)
        circuit.ry(eve[pulse], first + pulse)


def _vector(name: str, length: int) -> Any:
    from qiskit.circuit import ParameterVector

    return ParameterVector(name, length)
