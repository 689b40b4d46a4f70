import math

import numpy as np
import pytest
from qiskit.quantum_info import Statevector

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.dicke import dicke_circuit
from qfedfm.quantum.executors.ideal import Exact


@pytest.mark.parametrize("qubits", range(1, 9))
def test_all_choices_have_the_same_amplitude(qubits: int) -> None:
    for size in range(1, qubits + 1):
        chosen = np.array([outcome.bit_count() == size for outcome in range(2**qubits)])
        state = Statevector(dicke_circuit(qubits, size)).data
        np.testing.assert_allclose(state, chosen / math.sqrt(math.comb(qubits, size)), atol=1e-12)


def test_the_library_simulates_them() -> None:
    p = Exact().run(Circuit(dicke_circuit(5, 2)), np.zeros((1, 0)), Key.of(0)).probabilities[0]
    np.testing.assert_allclose(p, [(outcome.bit_count() == 2) / 10 for outcome in range(32)], atol=1e-12)


def test_the_gates_are_as_many_as_the_documentation_says() -> None:
    for n in range(2, 12):
        for k in range(1, n // 2 + 1):
            gates = dict(dicke_circuit(n, k).count_ops())
            assert gates["cx"] == 5 * n * k - 5 * k**2 - 2 * n
            assert set(gates) == {"x", "ry", "cx"}
            assert dicke_circuit(n, n - k).count_ops()["cx"] == gates["cx"]


@pytest.mark.parametrize(("qubits", "size"), [(3, 0), (3, 4), (0, 0), (3, -1)])
def test_refuses_a_choice_that_there_is_not(qubits: int, size: int) -> None:
    with pytest.raises(ConfigError, match="from 1 to the number of qubits"):
        dicke_circuit(qubits, size)
