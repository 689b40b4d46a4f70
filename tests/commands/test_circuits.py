import json
import math
from pathlib import Path

import pytest
from qiskit import qasm3, qpy
from qiskit.quantum_info import Statevector

from qfedfm.quantum.catalogue import FAMILIES, catalogue, piece


def refused(found, *words):
    status, out, err = found
    assert (status, out, len(err.splitlines())) == (2, "", 1), found
    for word in words:
        assert word in err


def test_lists_every_circuit(terminal):
    status, out, _ = terminal("circuits", "list")
    assert status == 0
    assert all(family.usage in out and family.purpose in out for family in FAMILIES)
    assert all(f"  {shown.name} " in out for shown in catalogue())
    status, out, _ = terminal("circuits", "list", "--json")
    lines = {line["name"]: line for line in json.loads(out)}
    assert list(lines) == [shown.name for shown in catalogue()]
    # a ring of four CNOTs in each of three layers
    assert (lines["born:16"]["qubits"], lines["born:16"]["two_qubit_gates"]) == (4, 12)


def test_shows_any_size(terminal):
    status, out, _ = terminal("circuits", "show", "dicke:5,2")
    assert status == 0
    assert "two-qubit gates  20" in out  # 5nk − 5k² − 2n
    assert "vectors          none" in out
    _, out, _ = terminal("circuits", "show", "inversion-test:2", "--json")
    assert json.loads(out)["vectors"] == {"u": 3, "v": 3}


def test_draws_on_the_terminal_and_into_files(terminal):
    status, out, _ = terminal("circuits", "draw", "born:4")
    assert status == 0
    assert "Ry(theta[7])" in out
    for ending, start in ((".svg", b"<?xml"), (".png", b"\x89PNG"), (".txt", b" ")):
        assert terminal("circuits", "draw", "born:4", "--out", f"born{ending}") == (0, "", "")
        assert Path(f"born{ending}").read_bytes().startswith(start)
    assert Path("born.txt").read_text(encoding="utf-8") == out


def test_exports_with_free_parameters_and_with_numbers(terminal):
    status, out, _ = terminal("circuits", "export", "inversion-test:1", "--no-measure")
    assert status == 0
    assert {p.name for p in qasm3.loads(out).parameters} == {"_u_0_", "_v_0_"}
    words = ("--bind", "u=0.4", "--bind", "v=1.5", "--out", "bound.qasm")
    assert terminal("circuits", "export", "inversion-test:1", *words) == (0, "", "")
    read = qasm3.loads(Path("bound.qasm").read_text(encoding="utf-8"))
    assert read.num_clbits == 1
    read.remove_final_measurements()
    # RY(u − v)|0⟩
    assert Statevector(read).data == pytest.approx([math.cos(-0.55), math.sin(-0.55)], abs=1e-12)


@pytest.mark.parametrize("words", [("--out", "x.qpy"), ("--format", "qpy", "--out", "x")])
def test_exports_qpy(terminal, words):
    assert terminal("circuits", "export", "xy-qaoa:4,2", "--no-measure", *words) == (0, "", "")
    with Path(words[-1]).open("rb") as file:
        (read,) = qpy.load(file)
    # parameters made anew are others, of the same names
    assert read.assign_parameters([0.1, 0.2]) == piece("xy-qaoa:4,2").circuit.assign_parameters([0.1, 0.2])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("show", "born16"), "did you mean 'born:16'?"),
        (("draw", "born"), "expected born:CLIENTS"),
        (("draw", "born:4", "--out", "x.gif"), ".svg, .png or .txt"),
        (("draw", "born:4", "--out", "no/x.txt"), "no/x.txt"),
        (("export", "born:4", "--format", "qpy"), "a file"),
        (("export", "born:4", "--bind", "theta"), "VECTOR=NUMBERS"),
        (("export", "born:4", "--bind", "thet=1"), "did you mean 'theta'?"),
        (("export", "born:4", "--bind", "theta=1,2"), "expected one, or 8"),
        (("export", "born:4", "--bind", "theta=1", "--bind", "theta=2"), "twice"),
    ],
)
def test_mistakes_are_one_line(terminal, words, said):
    refused(terminal("circuits", *words), said)
    assert list(Path().iterdir()) == []
