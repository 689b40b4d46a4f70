from pathlib import Path

import numpy as np
import pytest
from qiskit import qasm3
from qiskit.quantum_info import Statevector

import qfedfm as qf
from qfedfm.quantum import gallery
from tests.quantum.circuits import angles

FOLDER = Path(__file__).parents[2] / "circuits"


def test_the_folder_holds_what_the_library_makes() -> None:
    made = gallery.pages(gallery.gallery())
    assert {path.name for path in FOLDER.iterdir()} == set(made)
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"write {name} anew"


def test_writing_it_anew_gives_the_same_files(tmp_path: Path) -> None:
    gallery.main(str(tmp_path))
    for path in FOLDER.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("clients", [4, 8, 16])
def test_the_files_hold_the_circuit_that_the_aggregator_trains(clients: int) -> None:
    read = qasm3.loads((FOLDER / f"born-{clients}-clients.qasm").read_text(encoding="utf-8"))
    assert read.num_clbits == read.num_qubits
    read.remove_final_measurements()
    reduce = qf.reduces.Born()
    theta = angles(0, reduce.initial(clients).size)
    # the names come back as _theta_0_, in another order than the parameters
    bound = read.assign_parameters({f"_theta_{index}_": value for index, value in enumerate(theta)})
    p = reduce.probabilities(theta, clients, qf.Key.of(0)).probabilities
    np.testing.assert_allclose(Statevector(bound).probabilities(), p, atol=1e-12)


def test_depth_and_gates_of_the_ring() -> None:
    """Four layers of rotations with three rings between them; a ring of n CNOTs is n deep, the RYs of qubits fit in."""
    for piece in gallery.gallery():
        n = piece.circuit.num_qubits
        assert piece.circuit.num_nonlocal_gates() == 3 * (n if n > 2 else 1)
        assert piece.circuit.num_parameters == 4 * n
