"""The circuits of the library as OpenQASM 3 files, with a page: ``python -m qfedfm.quantum.gallery [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qfedfm.quantum.ansatz import born_circuit, qubits_for

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_HEAD = """# Circuits

Every circuit that the library uses, as OpenQASM 3 with free parameters and a measurement of all qubits, ready to be
bound and submitted. `python -m qfedfm.quantum.gallery circuits` writes this folder anew; a test compares it with what
the library computes with. Qubit 0 is the least significant bit of an outcome's number.

| file | qubits | parameters | depth | two-qubit gates | what its outcomes are |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Piece:
    """One circuit of the gallery.

    Args:
        name: of the file, without its ending.
        purpose: what the outcomes mean.
        circuit: without measurements.
    """

    name: str
    purpose: str
    circuit: QuantumCircuit

    def qasm(self) -> str:
        """OpenQASM 3, with the measurement of all qubits."""
        from qiskit import qasm3

        return str(qasm3.dumps(self.circuit.measure_all(inplace=False))).rstrip() + "\n"

    def line(self) -> str:
        """The row of the table."""
        circuit = self.circuit
        numbers = (circuit.num_qubits, circuit.num_parameters, circuit.depth(), circuit.num_nonlocal_gates())
        return f"| [`{self.name}.qasm`]({self.name}.qasm) | {' | '.join(map(str, numbers))} | {self.purpose} |\n"


def gallery() -> tuple[Piece, ...]:
    """All pieces: the Born circuits for 4, 8 and 16 clients with the library's default layers and entangler."""
    return tuple(
        Piece(
            f"born-{clients}-clients",
            f"the weights of up to {clients} clients: outcome k is the client whose id has rank k (reduce `born`)",
            born_circuit(qubits_for(clients), layers=3),
        )
        for clients in (4, 8, 16)
    )


def pages(pieces: Sequence[Piece]) -> Mapping[str, str]:
    """File names and contents: one QASM file a piece, and the page with the table and the drawings."""
    drawings = "".join(f"\n## {piece.name}\n\n```\n{piece.circuit.draw('text', fold=118)}\n```\n" for piece in pieces)
    table = "".join(piece.line() for piece in pieces)
    return {f"{piece.name}.qasm": piece.qasm() for piece in pieces} | {"README.md": _HEAD + table + drawings}


def main(folder: str = "circuits") -> None:
    """Writes the gallery into a folder, which is made where it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for name, text in pages(gallery()).items():
        Path(folder, name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
