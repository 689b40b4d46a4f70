"""Kernels between feature vectors: overlaps of the states that a feature map makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float64

from qfedfm.core.errors import ConfigError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def iqp_feature_map(features: int, depth: int) -> QuantumCircuit:
    """|φ(x)⟩ = (D(a) H^⊗n)^depth |0⟩, D(a) = exp(−i/2 (Σ_i a_i Z_i + Σ_{i<j} a_ij Z_i Z_j)); one qubit a feature.

    Instantaneous quantum polynomial circuits: Shepherd & Bremner, Proc. R. Soc. A 465, 1413 (2009); as a feature map,
    with depth 2: Havlíček et al., Nature 567, 209 (2019), arXiv 1804.11326. The angles of pairs are products of
    features, which are not linear in them, so the circuit has a parameter ``x[·]`` for each angle: those of the n
    qubits, then those of the pairs (0,1), (0,2), …, (1,2), …. `iqp_angles` and `zz_angles` compute them from features.

    Args:
        features: n ≥ 1.
        depth: at least 1.

    Raises:
        ConfigError: a number below 1.
    """
    from qiskit import QuantumCircuit

    x = _angles("x", features, depth)
    circuit = QuantumCircuit(features, name=f"iqp-feature-map-{features}x{depth}")
    for _ in range(depth):
        circuit.h(range(features))
        _diagonal(circuit, x)
    return circuit


def iqp_kernel(features: int, depth: int) -> QuantumCircuit:
    """U(y)† U(x)|0⟩ with U of `iqp_feature_map`: P(0…0) = k(x, y) = |⟨φ(x)|φ(y)⟩|² (compute–uncompute).

    Havlíček et al. 2019. From M shots the share of 0…0 estimates k with variance k(1 − k)/M. Parameters:
    ``x[·]`` and then ``y[·]``, each as in `iqp_feature_map`. The last D(x) and the first D(y)† are one diagonal by the
    differences of the angles.

    Args:
        features: n ≥ 1.
        depth: of one feature map, at least 1.

    Raises:
        ConfigError: a number below 1.

    Example:
        >>> iqp_kernel(3, 2).num_parameters
        12
    """
    from qiskit import QuantumCircuit

    x, y = _angles("x", features, depth), _angles("y", features, depth)
    middle = [a - b for a, b in zip(x, y, strict=True)]
    circuit = QuantumCircuit(features, name=f"iqp-kernel-{features}x{depth}")
    for angles in [*[x] * (depth - 1), middle, *[[-b for b in y]] * (depth - 1)]:
        circuit.h(range(features))
        _diagonal(circuit, angles)
    circuit.h(range(features))
    return circuit


def iqp_angles(x: Float64[np.ndarray, "*batch n"]) -> Float64[np.ndarray, "*batch a"]:
    """a_i = x_i and a_ij = x_i x_j: the embedding that PennyLane calls ``IQPEmbedding``.

    Example:
        >>> iqp_angles(np.array([1.0, 2.0, 3.0])).tolist()
        [1.0, 2.0, 3.0, 2.0, 3.0, 6.0]
    """
    return np.concatenate((x, _products(x)), axis=-1)


def zz_angles(x: Float64[np.ndarray, "*batch n"]) -> Float64[np.ndarray, "*batch a"]:
    """a_i = 2 x_i and a_ij = 2 (π − x_i)(π − x_j): the map of Havlíček et al. that Qiskit calls ``zz_feature_map``."""
    return np.concatenate((2 * x, 2 * _products(np.pi - x)), axis=-1)


def _products(x: Float64[np.ndarray, "*batch n"]) -> Float64[np.ndarray, "*batch a"]:
    first, second = np.triu_indices(x.shape[-1], 1)
    return np.asarray(x[..., first] * x[..., second])


def _angles(name: str, features: int, depth: int) -> list[Any]:
    from qiskit.circuit import ParameterVector

    if features < 1 or depth < 1:
        raise ConfigError(f"a feature map of {features} features and depth {depth}", "at least one of each")
    return list(ParameterVector(name, features * (features + 1) // 2))


def _diagonal(circuit: QuantumCircuit, angles: Sequence[Any]) -> None:
    """D of `iqp_feature_map`."""
    qubits = range(circuit.num_qubits)
    for qubit in qubits:
        circuit.rz(angles[qubit], qubit)
    for angle, pair in zip(angles[len(qubits) :], combinations(qubits, 2), strict=True):
        circuit.rzz(angle, *pair)
