"""PennyLane's simulators: default.qubit with backpropagation by torch, lightning.qubit with the adjoint method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pennylane as qml
import torch

from qfedfm.bench.angles import Point, Simulator, measured
from qfedfm.bench.child import answer, options, startup_seconds


def operations(angles: Any) -> Iterator[Any]:
    """The gates for angles … × layers × qubits × 2; qubit 0 is the last wire: PennyLane's first is the highest bit."""
    layers, qubits = angles.shape[-3:-1]
    for layer in range(layers):
        for qubit in range(qubits):
            yield qml.RY(angles[..., layer, qubit, 0], qubits - 1 - qubit)
            yield qml.RZ(angles[..., layer, qubit, 1], qubits - 1 - qubit)
        for qubit in range(qubits - 1):
            yield qml.CNOT([qubits - 1 - qubit, qubits - 2 - qubit])


def default_qubit(qubits: int) -> tuple[Simulator, Simulator]:
    """All lines at once, by PennyLane's broadcasting; one line without it."""

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch", diff_method="backprop")
    def node(angles: torch.Tensor) -> Any:
        for _ in operations(angles):
            pass
        return qml.probs(wires=range(qubits))

    def run(angles: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = node(angles if len(angles) > 1 else angles[0])
        return found.reshape(len(angles), -1)

    def value(point: Point) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(run(torch.from_numpy(point[0])))

    def gradient(point: Point) -> np.ndarray:
        angles = torch.from_numpy(point[0]).requires_grad_()
        (found,) = torch.autograd.grad(run(angles), angles, torch.from_numpy(point[1]))
        return found.numpy()

    return value, gradient


def lightning(qubits: int) -> tuple[Simulator, Simulator]:
    """One circuit for each line. The adjoint method refuses probabilities: Jᵀv is the gradient of ⟨diag(v)⟩."""
    import scipy.sparse

    device = qml.device("lightning.qubit", wires=qubits)
    adjoint = qml.devices.ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)

    def value(point: Point) -> np.ndarray:
        scripts = [qml.tape.QuantumScript([*operations(line)], [qml.probs(wires=range(qubits))]) for line in point[0]]
        return np.array(device.execute(scripts))

    def gradient(point: Point) -> np.ndarray:
        scripts = []
        for line, v in zip(*point, strict=True):
            observable = qml.SparseHamiltonian(scipy.sparse.diags(v, format="csr"), wires=range(qubits))
            trained = range(line.size)  # the numbers of the observable come after them
            scripts.append(qml.tape.QuantumScript([*operations(line)], [qml.expval(observable)], None, trained))
        return np.array(device.compute_derivatives(scripts, adjoint)).reshape(point[0].shape)

    return value, gradient


def main() -> None:
    """Every size on the given device."""
    given = options()
    startup = startup_seconds(given)
    torch.set_num_threads(given["threads"])
    make = {"default.qubit": default_qubit, "lightning.qubit": lightning}[given["device"]]
    answer(startup_seconds=startup, cases=measured(given["sizes"], given["least"], make))


if __name__ == "__main__":
    main()
