"""Every circuit of the library by name, as files with a page: ``python -m qfedfm.quantum.catalogue [FOLDER]``."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.quantum.ansatz import Entangler, born_circuit, qubits_for, reuploading_circuit
from qfedfm.quantum.dicke import dicke_circuit
from qfedfm.quantum.encoding import encoding_circuit, inversion_test, swap_test
from qfedfm.quantum.kernels import iqp_kernel
from qfedfm.quantum.qaoa import Mixer, Quadratic, qaoa_circuit, xy_qaoa_circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_COLUMNS = 118
_LONG = 24
"""Lines of a drawing in characters beyond which the page shows a picture as well."""

_HEAD = """# Circuits

The circuits that the library computes with, as OpenQASM 3 with free parameters and a measurement of all qubits, ready to
be bound and submitted. Qubit 0 is the least significant bit of an outcome's number. Depth and two-qubit gates are counted
with each Toffoli as six CNOTs. `python -m qfedfm.quantum.catalogue circuits` writes this folder anew; a test compares it
with what the library computes with.

Any other size has a name too: `qfedfm circuits list` shows how it is made, and `qfedfm circuits export NAME` writes the
file, with `--bind theta=0.1,0.2,…` for numbers in place of parameters. (OpenQASM calls `theta[0]` `_theta_0_`.)

| circuit | qubits | parameters | depth | two-qubit gates | computes |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Family:
    """Circuits of one kind in any size: ``name:SIZE,SIZE,…``.

    Args:
        name: before the colon.
        build: makes the circuit, without measurements; its arguments are the sizes.
        purpose: what it computes.
        outcomes: what the outcomes mean.
        source: the paper.
        shown: the sizes that the page shows.
    """

    name: str
    build: Callable[..., QuantumCircuit]
    purpose: str
    outcomes: str
    source: str
    shown: tuple[str, ...]

    @property
    def usage(self) -> str:
        """How a name is made: ``born:CLIENTS[,LAYERS[,ENTANGLER]]``."""
        arguments = inspect.signature(self.build).parameters.values()
        free = sum(argument.default is not argument.empty for argument in arguments)
        words = [argument.name.upper() for argument in arguments]
        needed, optional = words[: len(words) - free], words[len(words) - free :]
        return f"{self.name}:{','.join(needed)}{''.join(f'[,{word}' for word in optional)}{']' * free}"

    def piece(self, sizes: str) -> Piece:
        """The circuit of these sizes.

        Raises:
            ConfigError: too few or too many sizes, one that is no number, or one that the circuit cannot have.
        """
        arguments = list(inspect.signature(self.build).parameters.values())
        given = sizes.split(",")
        needed = sum(argument.default is argument.empty for argument in arguments)
        if not needed <= len(given) <= len(arguments):
            raise ConfigError(f"circuit {f'{self.name}:{sizes}'.rstrip(':')!r}", self.usage)
        values = [self._size(argument, text) for argument, text in zip(arguments, given, strict=False)]
        return Piece(f"{self.name}:{sizes}", self.build(*values), self)

    def _size(self, argument: inspect.Parameter, text: str) -> int | str:
        if argument.annotation not in ("int", int):
            return text
        try:
            return int(text)
        except ValueError:
            given = f"{argument.name} = {text!r} in the name of a circuit"
            raise ConfigError(given, f"a whole number in {self.usage}") from None


@dataclass(frozen=True)
class Piece:
    """One circuit of the catalogue, without measurements.

    Args:
        name: family and sizes.
        circuit: its parameters in vectors.
        family: what it is.
    """

    name: str
    circuit: QuantumCircuit
    family: Family

    @property
    def file(self) -> str:
        """The name without characters that a file system may refuse."""
        return self.name.replace(":", "-").replace(",", "-")

    def numbers(self) -> dict[str, int]:
        """Qubits, parameters, depth and two-qubit gates, the latter two with Toffolis written out."""
        circuit = self.circuit.decompose(["ccx"])
        return {
            "qubits": circuit.num_qubits,
            "parameters": circuit.num_parameters,
            "depth": circuit.depth(),
            "two_qubit_gates": circuit.num_nonlocal_gates(),
        }

    def vectors(self) -> dict[str, int]:
        """The vectors of parameters and their lengths, in the circuit's order."""
        return {parameter.vector.name: len(parameter.vector) for parameter in self.circuit.parameters}

    def text(self) -> str:
        """The circuit drawn with characters."""
        return str(self.circuit.draw("text", fold=_COLUMNS))


def _born(clients: int, layers: int = 3, entangler: Entangler = "ring-cnot") -> QuantumCircuit:
    return born_circuit(qubits_for(clients), layers, entangler)


def _row(clients: int) -> Quadratic:
    """Clients in a row of which neighbours are alike: Σ_{i≠j} 2^−|i−j| x_i x_j."""
    place = np.arange(clients)
    return Quadratic(2.0 ** -np.abs(place[:, None] - place) - np.eye(clients))


def _qaoa(clients: int, size: int, depth: int = 1) -> QuantumCircuit:
    return qaoa_circuit(_row(clients).penalised(size), depth)


def _xy_qaoa(clients: int, size: int, depth: int = 1, mixer: Mixer = "ring") -> QuantumCircuit:
    return xy_qaoa_circuit(_row(clients), size, depth, mixer)


_EXAMPLE = "of clients in a row, neighbours alike, those least alike (an example: give `{}` your own problem)"

FAMILIES = (
    Family(
        "born",
        _born,
        "the weights of up to that many clients (reduce `born`)",
        "outcome k is the client whose id has rank k",
        "Liu & Wang, PRA 98, 062324 (2018), arXiv 1804.04168",
        ("4", "8", "16", "8,2,linear-cz", "8,2,all-cnot", "8,3,none"),
    ),
    Family(
        "reuploading",
        reuploading_circuit,
        "a score from the features x of one client",
        "the score is the probability that qubit 0 is 1: the sum over odd outcomes",
        "Pérez-Salinas et al., Quantum 4, 226 (2020), arXiv 1907.02085",
        ("2,2,2", "2,2,4"),
    ),
    Family(
        "encoding",
        encoding_circuit,
        "the state of a real vector v of 2^QUBITS numbers; angles by `encoding_angles`",
        "outcome k has probability v_k² / ‖v‖²",
        "Möttönen et al., Quantum Inf. Comput. 5, 467 (2005), arXiv quant-ph/0407010",
        ("2", "3"),
    ),
    Family(
        "inversion-test",
        inversion_test,
        "the fidelity F = ⟨u|v⟩² of two encoded vectors; variance F(1 − F)/shots",
        "outcome 0 has probability F",
        "compute–uncompute, Havlíček et al., Nature 567, 209 (2019), arXiv 1804.11326",
        ("2", "3"),
    ),
    Family(
        "swap-test",
        swap_test,
        "the fidelity F = ⟨u|v⟩² of two encoded vectors; variance (1 − F²)/shots",
        "even outcomes (ancilla 0) have probability (1 + F)/2",
        "Buhrman et al., PRL 87, 167902 (2001)",
        ("1", "2"),
    ),
    Family(
        "iqp-kernel",
        iqp_kernel,
        "the kernel k(x, y) of two feature vectors; angles, products among them, by `iqp_angles` or `zz_angles`",
        "outcome 0 has probability k(x, y)",
        "Havlíček et al., Nature 567, 209 (2019), arXiv 1804.11326",
        ("3,1", "2,2"),
    ),
    Family(
        "dicke",
        dicke_circuit,
        "the even superposition of all choices of SIZE out of QUBITS",
        "each outcome with that many ones is equally probable, no other occurs",
        "Bärtschi & Eidenbenz, FCT 2019, arXiv 1904.07358",
        ("4,2",),
    ),
    Family(
        "qaoa",
        _qaoa,
        f"chooses {_EXAMPLE.format('qaoa_circuit')}; a penalty holds their number",
        "bit i of an outcome says whether client i is chosen",
        "Farhi, Goldstone & Gutmann 2014, arXiv 1411.4028",
        ("4,2",),
    ),
    Family(
        "xy-qaoa",
        _xy_qaoa,
        f"chooses exactly SIZE {_EXAMPLE.format('xy_qaoa_circuit')}",
        "bit i of an outcome says whether client i is chosen",
        "Wang et al., PRA 101, 012320 (2020), arXiv 1904.09314",
        ("4,2", "4,1,1,complete"),
    ),
)
"""A new circuit joins by an entry here."""


def catalogue() -> tuple[Piece, ...]:
    """The pieces that the page shows."""
    return tuple(family.piece(sizes) for family in FAMILIES for sizes in family.shown)


def piece(name: str) -> Piece:
    """The circuit of a name such as ``born:16`` or ``born:16,2,all-cz``, in any size.

    Raises:
        ConfigError: no family has that name, or the sizes do not fit.

    Example:
        >>> piece("born:10").circuit.num_qubits
        4
    """
    head, _, sizes = name.partition(":")
    for family in FAMILIES:
        if family.name == head:
            return family.piece(sizes)
    known = [*(family.name for family in FAMILIES), *(f"{f.name}:{sizes}" for f in FAMILIES for sizes in f.shown)]
    raise ConfigError(f"unknown circuit {name!r}", "", nearest(name, known))


def bind(circuit: QuantumCircuit, values: Mapping[str, Sequence[float]]) -> QuantumCircuit:
    """The circuit with numbers in place of whole vectors of parameters; one number is for all of a vector.

    Raises:
        ConfigError: no vector has that name, or its length is another.
    """
    vectors = {parameter.vector.name: list(parameter.vector) for parameter in circuit.parameters}
    for name, numbers in values.items():
        if name not in vectors:
            raise ConfigError(f"parameters {name!r} of {circuit.name}", "", nearest(name, vectors))
        length = len(vectors[name])
        if len(numbers) not in (1, length) or not np.isfinite(numbers).all():
            raise ConfigError(f"{len(numbers)} numbers for {name}", f"one, or {length}, all finite")
    angles = {
        parameter: value
        for name, numbers in values.items()
        for parameter, value in zip(vectors[name], np.resize(numbers, len(vectors[name])).tolist(), strict=True)
    }
    return circuit.assign_parameters(angles)


def qasm(circuit: QuantumCircuit) -> str:
    """OpenQASM 3; `qiskit.qasm3.loads` reads it back with parameters called ``_theta_0_``."""
    from qiskit import qasm3

    return str(qasm3.dumps(circuit)).rstrip() + "\n"


def picture(circuit: QuantumCircuit, path: Path) -> None:
    """Draws the circuit into an SVG or PNG file; an SVG tells the SHA-256 of the OpenQASM that it shows."""
    import matplotlib as mpl
    from matplotlib import pyplot

    digest = {"Description": hashlib.sha256(qasm(circuit).encode()).hexdigest(), "Date": None}
    with mpl.rc_context({"svg.hashsalt": "qfedfm"}):
        figure: Any = circuit.draw("mpl", style={"name": "bw"}, fold=28)
        figure.savefig(path, bbox_inches="tight", metadata=digest if path.suffix == ".svg" else None)
        pyplot.close(figure)


def _line(shown: Piece) -> str:
    numbers = " | ".join(map(str, shown.numbers().values()))
    return f"| [`{shown.name}`]({shown.file}.qasm) | {numbers} | {shown.family.purpose} |\n"


def _section(shown: Piece) -> str:
    text, family = shown.text(), shown.family
    also = f"![{shown.name}]({shown.file}.svg)\n\n" if _is_long(text) else ""
    vectors = ", ".join(f"`{name}` ({length})" for name, length in shown.vectors().items()) or "none"
    said = (
        f"Computes {family.purpose}.\nOutcomes: {family.outcomes}.\nParameters: {vectors}.\nSource: {family.source}.\n"
    )
    return f"\n## {shown.name}\n\n{said}\n{also}```\n{text}\n```\n"


def _is_long(text: str) -> bool:
    return len(text.splitlines()) > _LONG


def pages(pieces: Sequence[Piece]) -> dict[str, str]:
    """File names and contents: one QASM file a piece, and the page with the table and the drawings."""
    files = {f"{shown.file}.qasm": qasm(shown.circuit.measure_all(inplace=False)) for shown in pieces}
    table, sections = "".join(map(_line, pieces)), "".join(map(_section, pieces))
    return files | {"README.md": _HEAD + table + sections}


def main(folder: str = "circuits") -> None:
    """Writes the catalogue into a folder, which is made where it is missing."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    pieces = catalogue()
    for name, text in pages(pieces).items():
        Path(folder, name).write_text(text, encoding="utf-8")
    for shown in pieces:
        if _is_long(shown.text()):
            picture(shown.circuit, Path(folder, f"{shown.file}.svg"))


if __name__ == "__main__":
    main(*sys.argv[1:])
