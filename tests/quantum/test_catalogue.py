import hashlib
import io
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from qiskit import qasm3, qpy
from qiskit.quantum_info import Operator, Statevector

import qfedfm as qf
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.quantum import catalogue as module
from qfedfm.quantum.catalogue import FAMILIES, catalogue, piece
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ideal import Exact
from qfedfm.quantum.piece import Piece, bind, qasm
from tests.quantum.circuits import angles

FOLDER = Path(__file__).parents[2] / "circuits"
PIECES = pytest.mark.parametrize("shown", catalogue(), ids=lambda shown: shown.name)


def test_the_folder_holds_what_the_library_makes() -> None:
    made = module.pages(catalogue())
    pictures = {path.name for path in FOLDER.glob("*.svg")}
    assert {path.name for path in FOLDER.iterdir()} == set(made) | pictures
    for name, text in made.items():
        assert (FOLDER / name).read_text(encoding="utf-8") == text, f"write {name} anew"
    assert all(f"({name})" in made["README.md"] for name in pictures)
    assert made["README.md"].count("![") == len(pictures)


@PIECES
def test_pictures_show_the_circuits_of_today(shown: Piece) -> None:
    path = FOLDER / f"{shown.file}.svg"
    if path.exists():
        text = path.read_text(encoding="utf-8")
        assert ElementTree.fromstring(text).tag.endswith("svg")
        assert hashlib.sha256(qasm(shown.circuit).encode()).hexdigest() in text


def test_writing_it_anew_gives_the_same_files(tmp_path: Path) -> None:
    module.main(str(tmp_path / "new"))
    assert {path.name for path in (tmp_path / "new").iterdir()} == {path.name for path in FOLDER.iterdir()}
    for path in FOLDER.iterdir():
        if path.suffix != ".svg":  # which may differ in a digit with another matplotlib
            assert (tmp_path / "new" / path.name).read_bytes() == path.read_bytes()


@PIECES
def test_the_files_are_the_circuits(shown: Piece) -> None:
    """Read back by Qiskit: the same unitary, for the same numbers by name, up to a phase."""
    read = qasm3.loads((FOLDER / f"{shown.file}.qasm").read_text(encoding="utf-8"))
    assert read.num_clbits == read.num_qubits
    read.remove_final_measurements()
    theta = angles(0, shown.circuit.num_parameters)
    # theta[0] comes back as _theta_0_, and ten of them in another order
    names = [f"_{p.vector.name}_{p.index}_" for p in shown.circuit.parameters]
    bound = read.assign_parameters(dict(zip(names, theta, strict=True)))
    assert Operator(bound).equiv(Operator(shown.circuit.assign_parameters(theta)), atol=1e-10)


@PIECES
def test_qpy_keeps_them_exactly(shown: Piece) -> None:
    file = io.BytesIO()
    qpy.dump(shown.circuit, file)
    file.seek(0)
    (read,) = qpy.load(file)
    assert read == shown.circuit
    assert list(read.parameters) == list(shown.circuit.parameters)


@PIECES
def test_the_library_simulates_them(shown: Piece) -> None:
    theta = angles(1, shown.circuit.num_parameters, batch=2)
    found = Exact().run(Circuit(shown.circuit), theta, Key.of(0)).probabilities
    for p, values in zip(found, theta, strict=True):
        expected = Statevector(shown.circuit.assign_parameters(values)).probabilities()
        np.testing.assert_allclose(p, expected, atol=1e-12)


@PIECES
def test_every_angle_can_be_shifted(shown: Piece) -> None:
    """Only rotations about Pauli operators have parameters, so that parameter shift works for all of them."""
    unrolled = Circuit(shown.circuit).unrolled
    theta = angles(2, shown.circuit.num_parameters)
    bound = unrolled.circuit.qiskit.assign_parameters(unrolled.W @ theta + unrolled.b)
    expected = Statevector(shown.circuit.assign_parameters(theta)).probabilities()
    np.testing.assert_allclose(Statevector(bound).probabilities(), expected, atol=1e-12)


@pytest.mark.parametrize("clients", [4, 8, 16])
def test_the_born_circuits_are_those_that_the_aggregator_trains(clients: int) -> None:
    reduce = qf.reduces.Born()
    theta = angles(0, reduce.initial(clients).size)
    p = reduce.probabilities(theta, clients, qf.Key.of(0)).probabilities
    bound = piece(f"born:{clients}").circuit.assign_parameters(theta)
    np.testing.assert_allclose(Statevector(bound).probabilities(), p, atol=1e-12)


def test_depth_and_gates_of_the_ring() -> None:
    """Four layers of rotations with three rings between them; a ring of n CNOTs is n deep, the RYs of qubits fit in."""
    for clients, n in ((4, 2), (8, 3), (16, 4)):
        numbers = piece(f"born:{clients}").numbers()
        assert (numbers["qubits"], numbers["parameters"]) == (n, 4 * n)
        assert numbers["two_qubit_gates"] == 3 * (n if n > 2 else 1)


def test_a_toffoli_counts_as_six() -> None:
    assert piece("swap-test:1").numbers()["two_qubit_gates"] == 6 + 2


@pytest.mark.parametrize(
    ("name", "qubits"), [("born:10", 4), ("born:1000,1,all-cz", 10), ("dicke:7,3", 7), ("xy-qaoa:6,2,3,complete", 6)]
)
def test_any_size_has_a_name(name: str, qubits: int) -> None:
    found = piece(name)
    assert (found.name, found.circuit.num_qubits) == (name, qubits)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_every_family_says(family) -> None:
    assert family.usage.startswith(f"{family.name}:")
    years = (1984, 1991, 1992, 2001, 2002, 2005, 2014, 2018, 2019, 2020)
    assert any(str(year) in family.source for year in years)
    with pytest.raises(ConfigError, match=f"circuit '{family.name}'; expected {family.name}:[A-Z]+"):
        piece(family.name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("born16", "did you mean 'born:16'"),
        ("swaptest:2", "did you mean 'swap-test:2'"),
        ("teleport", "choose one of"),
        ("born:8,2,ring-cz,4", r"expected born:CLIENTS\[,LAYERS\[,ENTANGLER\]\]"),
        ("born:many", "clients = 'many'.*a whole number"),
        ("born:8,0", "at least one of each"),
        ("born:-5", "-5 clients; expected at least one"),
        ("qaoa:101,2", "101 clients; expected 1 to 100; qaoa_circuit takes any problem"),
        ("dicke:3,4", "4 ones on 3 qubits"),
        ("xy-qaoa:4,2,1,star", "mixer = 'star'.*one of ring, complete"),
        ("born:8,2,ring", "entangler = 'ring'.*one of linear-cnot, ring-cnot"),
    ],
)
def test_refuses_names_that_there_are_not(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        piece(name)


def test_binding_whole_vectors() -> None:
    circuit = piece("inversion-test:2").circuit
    bound = bind(circuit, {"v": [0.1, 0.2, 0.3], "u": [0.5]})
    expected = circuit.assign_parameters([0.5, 0.5, 0.5, 0.1, 0.2, 0.3])
    assert Operator(bound).equiv(Operator(expected))
    assert {p.vector.name for p in bind(circuit, {"v": [0.0]}).parameters} == {"u"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"w": [1.0]}, "parameters 'w'"),
        ({"u": [1.0, 2.0]}, "2 numbers for u; expected one, or 3"),
        ({"u": [np.nan]}, "all finite"),
        ({"u": []}, "0 numbers"),
    ],
)
def test_refuses_numbers_that_do_not_fit(values: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        bind(piece("inversion-test:2").circuit, values)
