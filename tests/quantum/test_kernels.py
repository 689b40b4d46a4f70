import numpy as np
import pennylane as qml
import pytest
from qiskit.circuit.library import zz_feature_map
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.kernels import iqp_angles, iqp_feature_map, iqp_kernel, zz_angles
from tests.quantum.circuits import angles


def kernel(depth: int, a: np.ndarray, b: np.ndarray, features: int) -> float:
    theta = np.concatenate((a, b))
    return float(Statevector(iqp_kernel(features, depth).assign_parameters(theta)).probabilities()[0])


def test_depth_one_is_a_sum_of_phases() -> None:
    """|2⁻ⁿ Σ_z exp(i/2 (Σ_i (a_i − b_i) z_i + Σ_{i<j} (a_ij − b_ij) z_i z_j))|² over z_i = ±1."""
    a, b = iqp_angles(angles(0, 3, batch=2))
    total = 0j
    for z in np.ndindex(2, 2, 2):
        s = 1 - 2 * np.array(z)
        terms = np.concatenate((s, [s[0] * s[1], s[0] * s[2], s[1] * s[2]]))
        total += np.exp(0.5j * ((a - b) @ terms))
    assert kernel(1, a, b, 3) == pytest.approx(abs(total / 8) ** 2, abs=1e-12)


@pytest.mark.parametrize(("features", "depth"), [(2, 1), (2, 2), (3, 2), (4, 1)])
def test_the_map_of_havlicek_is_that_of_qiskit(features: int, depth: int) -> None:
    x, y = angles(1, features, batch=2)
    theirs = zz_feature_map(features, reps=depth, entanglement="full")
    states = [Statevector(theirs.assign_parameters(point)) for point in (x, y)]
    expected = abs(states[0].inner(states[1])) ** 2
    assert kernel(depth, zz_angles(x), zz_angles(y), features) == pytest.approx(expected, abs=1e-12)
    ours = Statevector(iqp_feature_map(features, depth).assign_parameters(zz_angles(x)))
    assert abs(ours.inner(states[0])) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_iqp_map_is_that_of_pennylane(depth: int) -> None:
    x, y = angles(2, 3, batch=2)

    @qml.qnode(qml.device("default.qubit", wires=3))
    def state(point):
        qml.IQPEmbedding(point, wires=range(3), n_repeats=depth)
        return qml.state()

    expected = abs(np.vdot(state(x), state(y))) ** 2
    assert kernel(depth, iqp_angles(x), iqp_angles(y), 3) == pytest.approx(expected, abs=1e-10)


def test_the_library_simulates_kernels_in_batches() -> None:
    x = angles(3, 2, batch=4)
    pairs = [(i, j) for i in range(4) for j in range(4)]
    theta = np.array([np.concatenate((zz_angles(x[i]), zz_angles(x[j]))) for i, j in pairs])
    gram = Exact().run(Circuit(iqp_kernel(2, 2)), theta, Key.of(0)).probabilities[:, 0].reshape(4, 4)
    np.testing.assert_allclose(np.diag(gram), 1, atol=1e-12)
    np.testing.assert_allclose(gram, gram.T, atol=1e-12)
    assert np.linalg.eigvalsh(gram).min() > -1e-12
    assert kernel(2, zz_angles(x[0]), zz_angles(x[1]), 2) == pytest.approx(gram[0, 1], abs=1e-12)


@pytest.mark.parametrize(("features", "depth"), [(0, 1), (1, 0)])
def test_refuses_what_is_no_map(features: int, depth: int) -> None:
    for make in (iqp_feature_map, iqp_kernel):
        with pytest.raises(ConfigError, match="at least one of each"):
            make(features, depth)
