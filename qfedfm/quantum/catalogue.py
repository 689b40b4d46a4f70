"""Every circuit of the library by name, as files with a page: ``python -m qfedfm.quantum.catalogue [FOLDER]``."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.quantum.amplification import mean_estimation
from qfedfm.quantum.ansatz import Entangler, born_circuit, qubits_for, reuploading_circuit
from qfedfm.quantum.dicke import dicke_circuit
from qfedfm.quantum.encoding import encoding_circuit, inversion_test, swap_test
from qfedfm.quantum.kernels import iqp_kernel
from qfedfm.quantum.keys import b92_circuit, bb84_circuit, bbm92_circuit, e91_circuit
from qfedfm.quantum.piece import Family, Piece, picture, qasm
from qfedfm.quantum.qaoa import Mixer, Quadratic, qaoa_circuit, xy_qaoa_circuit

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_LARGEST = 100
"""Clients of the example that QAOA solves."""

_LONG = 24
"""Lines of a drawing in characters beyond which the page shows a picture as well."""

_HEAD = """# Circuits

The circuits that the library computes with, as OpenQASM 3 with free parameters and a measurement of all qubits, ready
to be bound and submitted. Qubit 0 is the least significant bit of an outcome's number. Depth and two-qubit gates are
counted with larger gates written out, a Toffoli as six CNOTs. `python -m qfedfm.quantum.catalogue circuits` writes
this folder anew; a test compares it with what the library computes with. Up to some twenty qubits all of them can be
simulated classically.

Any other size has a name too: `qfedfm circuits list` shows how it is made, and `qfedfm circuits export NAME` writes the
file, with `--bind theta=0.1,0.2,…` for numbers in place of parameters. (OpenQASM calls `theta[0]` `_theta_0_`.)

| circuit | qubits | parameters | depth | two-qubit gates | computes |
|---|---|---|---|---|---|
"""


def _born(clients: int, layers: int = 3, entangler: Entangler = "ring-cnot") -> QuantumCircuit:
    if clients < 1:
        raise ConfigError(f"{clients} clients", "at least one")
    return born_circuit(qubits_for(clients), layers, entangler)


def _row(clients: int) -> Quadratic:
    """Clients in a row of which neighbours are alike: Σ_{i≠j} 2^−|i−j| x_i x_j."""
    if not 1 <= clients <= _LARGEST:
        raise ConfigError(f"an example with {clients} clients", f"1 to {_LARGEST}", "qaoa_circuit takes any problem")
    place = np.arange(clients)
    return Quadratic(2.0 ** -np.abs(place[:, None] - place) - np.eye(clients))


def _qaoa(clients: int, size: int, depth: int = 1) -> QuantumCircuit:
    return qaoa_circuit(_row(clients).penalised(size), depth)


def _xy_qaoa(clients: int, size: int, depth: int = 1, mixer: Mixer = "ring") -> QuantumCircuit:
    return xy_qaoa_circuit(_row(clients), size, depth, mixer)


FAMILIES = (
    Family(
        "born",
        _born,
        "client weights (reduce `born`)",
        "outcome k is the client whose id has rank k, of up to CLIENTS",
        "Liu & Wang, PRA 98, 062324 (2018), arXiv 1804.04168",
        ("4", "8", "16", "8,2,linear-cz", "8,2,all-cnot", "8,3,none"),
    ),
    Family(
        "reuploading",
        reuploading_circuit,
        "a client's score from its features x",
        "the score is the probability that qubit 0 is 1, the sum over odd outcomes",
        "Pérez-Salinas et al., Quantum 4, 226 (2020), arXiv 1907.02085",
        ("2,2,2", "2,2,4"),
    ),
    Family(
        "encoding",
        encoding_circuit,
        "the state of a real vector v of 2^QUBITS numbers",
        "outcome k has probability v_k² / ‖v‖²; the angles are those of `encoding_angles`",
        "Möttönen et al., Quantum Inf. Comput. 5, 467 (2005), arXiv quant-ph/0407010",
        ("2", "3"),
    ),
    Family(
        "inversion-test",
        inversion_test,
        "the fidelity F = cos²(u, v) of two vectors of 2^QUBITS numbers",
        "outcome 0 has probability F, and its share a variance of F(1 − F)/shots",
        "compute–uncompute: Havlíček et al., Nature 567, 209 (2019), arXiv 1804.11326",
        ("2", "3"),
    ),
    Family(
        "swap-test",
        swap_test,
        "the fidelity F = cos²(u, v) of two vectors of 2^QUBITS numbers",
        "even outcomes (ancilla 0) have probability (1 + F)/2; the variance of F is (1 − F²)/shots",
        "Buhrman et al., PRL 87, 167902 (2001)",
        ("1", "2"),
    ),
    Family(
        "iqp-kernel",
        iqp_kernel,
        "the kernel k(x, y) of two feature vectors",
        "outcome 0 has probability k; the angles are those of `iqp_angles` or `zz_angles`, products among them",
        "Havlíček et al., Nature 567, 209 (2019), arXiv 1804.11326",
        ("3,1", "2,2"),
    ),
    Family(
        "dicke",
        dicke_circuit,
        "all choices of SIZE out of QUBITS, evenly",
        "all outcomes with that many ones are equally probable, no other occurs",
        "Bärtschi & Eidenbenz, FCT 2019, arXiv 1904.07358",
        ("4,2",),
    ),
    Family(
        "qaoa",
        _qaoa,
        "a choice of SIZE clients that are little alike (an example of `qaoa_circuit`)",
        "bit i of an outcome says whether client i is chosen; other sizes are penalised",
        "Farhi, Goldstone & Gutmann 2014, arXiv 1411.4028",
        ("4,2",),
    ),
    Family(
        "xy-qaoa",
        _xy_qaoa,
        "a choice of SIZE clients that are little alike (an example of `xy_qaoa_circuit`)",
        "bit i of an outcome says whether client i is chosen; no other size occurs",
        "Wang et al., PRA 101, 012320 (2020), arXiv 1904.09314",
        ("4,2", "4,1,1,complete"),
    ),
    Family(
        "mean-estimation",
        mean_estimation,
        "the mean a of 2^QUBITS values from 0 to 1, for amplitude estimation (contribution `amplitude-estimation`)",
        "odd outcomes (flag 1) have probability sin²((2·POWER + 1)θ), a = sin²θ; the angles f are those of "
        "`value_angles`, p those of `encoding_angles` of the square roots of any other distribution than the uniform",
        "Brassard et al. 2002, arXiv quant-ph/0005055; Suzuki et al., Quantum Inf. Process. 19, 75 (2020), "
        "arXiv 1904.10246",
        ("3,0", "2,1,any", "3,1"),
    ),
    Family(
        "bb84",
        bb84_circuit,
        "the quantum phase of BB84, and of the single photons of decoy-state BB84",
        "bit i is what Bob finds of pulse i; with `intercept` bit PULSES + i is what Eve found; the angles are those "
        "of `bb84_angles`",
        "Bennett & Brassard, IEEE Int. Conf. Computers, Systems and Signal Processing, 175 (1984)",
        ("2", "1,intercept"),
    ),
    Family(
        "b92",
        b92_circuit,
        "the quantum phase of B92",
        "bit i is 1 where pulse i was conclusive for Bob; with `intercept` bit PULSES + i is what Eve found; the "
        "angles are those of `b92_angles`",
        "Bennett, PRL 68, 3121 (1992)",
        ("2", "1,intercept"),
    ),
    Family(
        "bbm92",
        bbm92_circuit,
        "the quantum phase of BBM92, BB84 with entangled pairs",
        "bit i is Alice's of pair i, bit PAIRS + i Bob's; with `intercept` bit 2·PAIRS + i is what Eve found; the "
        "angles are those of `bbm92_angles`",
        "Bennett, Brassard & Mermin, PRL 68, 557 (1992)",
        ("2", "1,intercept"),
    ),
    Family(
        "e91",
        e91_circuit,
        "the quantum phase of E91, a key and a test of Bell's inequality from entangled pairs",
        "bit i is Alice's of pair i, bit PAIRS + i Bob's; with `intercept` bit 2·PAIRS + i is what Eve found; the "
        "angles are those of `e91_angles`",
        "Ekert, PRL 67, 661 (1991)",
        ("2", "1,intercept"),
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


def _line(shown: Piece) -> str:
    numbers = " | ".join(map(str, shown.numbers().values()))
    return f"| [`{shown.name}`]({shown.file}.qasm) | {numbers} | {shown.family.purpose} |\n"


def _section(shown: Piece) -> str:
    text, family = shown.text(), shown.family
    also = f"![{shown.name}]({shown.file}.svg)\n\n" if _is_long(text) else ""
    vectors = ", ".join(f"`{name}` ({length})" for name, length in shown.vectors().items()) or "none"
    facts = {"Computes": family.purpose, "Outcomes": family.outcomes, "Parameters": vectors, "Source": family.source}
    said = "\n".join(f"- {fact}: {value}." for fact, value in facts.items())
    return f"\n## {shown.name}\n\n{said}\n\n{also}```\n{text}\n```\n"


def _is_long(text: str) -> bool:
    return len(text.splitlines()) > _LONG


def pages(pieces: Sequence[Piece]) -> Mapping[str, str]:
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
