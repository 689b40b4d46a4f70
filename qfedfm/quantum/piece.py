"""A circuit with a name, and the forms in which it leaves the library: numbers for its parameters, text, pictures."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from qfedfm.core.errors import ConfigError, nearest

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_COLUMNS = 118


@dataclass(frozen=True)
class Family:
    """Circuits of one kind in any size: ``name:SIZE,SIZE,…``.

    Args:
        name: before the colon.
        build: makes the circuit, without measurements; its arguments are the sizes, whole numbers or literals.
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
        given = sizes.split(",") if sizes else []
        needed = sum(argument.default is argument.empty for argument in arguments)
        if not needed <= len(given) <= len(arguments):
            raise ConfigError(f"circuit {f'{self.name}:{sizes}'.rstrip(':')!r}", self.usage)
        values = [self._size(argument, text) for argument, text in zip(arguments, given, strict=False)]
        return Piece(f"{self.name}:{sizes}", self.build(*values), self)

    def _size(self, argument: inspect.Parameter, text: str) -> int | str:
        given = f"{argument.name} = {text!r} in the name of a circuit"
        choices = get_args(inspect.unwrap(self.build).__globals__.get(argument.annotation))
        if choices and text not in choices:
            raise ConfigError(given, f"one of {', '.join(choices)}")
        if choices:
            return text
        try:
            return int(text)
        except ValueError:
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
        """Qubits, parameters, depth and two-qubit gates, the latter two with larger gates written out."""
        circuit = self.circuit
        while large := {gate.operation.name for gate in circuit.data if len(gate.qubits) > 2}:
            circuit = circuit.decompose(list(large))
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
        return "\n".join(map(str.rstrip, str(self.circuit.draw("text", fold=_COLUMNS)).splitlines()))


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
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams["svg.hashsalt"] = "qfedfm"
        figure: Any = circuit.draw("mpl", style={"name": "bw"}, fold=28)
        figure.savefig(path, bbox_inches="tight", metadata=digest if path.suffix == ".svg" else None)
        pyplot.close(figure)
