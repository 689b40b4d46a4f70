"""``qfedfm circuits``: the catalogue on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from qfedfm.quantum.piece import Piece

app = typer.Typer(help="List, show, draw and export the circuits of the library.", no_args_is_help=True)

_Name = Annotated[str, typer.Argument(metavar="NAME", help="For example born:16; `qfedfm circuits list` has them all.")]
_PICTURES = (".svg", ".png")


@app.command("list", short_help="List the circuits and how their names are made.")
def list_(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List the circuits of the catalogue; any other size has a name too."""
    from qfedfm.quantum.catalogue import FAMILIES, catalogue

    if as_json:
        typer.echo(json.dumps([_facts(piece) for piece in catalogue()], indent=1, ensure_ascii=False))
        return
    for family in FAMILIES:
        typer.echo(f"{family.usage}: {family.purpose}")
        for sizes in family.shown:
            piece = family.piece(sizes)
            numbers = ", ".join(f"{_said(fact)} {value}" for fact, value in piece.numbers().items())
            typer.echo(f"  {piece.name:24}{numbers}")


@app.command(short_help="Say what a circuit computes and what it costs.")
def show(name: _Name, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """Say what a circuit computes, what its outcomes mean, what it costs and where it is from."""
    from qfedfm.quantum.catalogue import piece

    facts = _facts(piece(name))
    if as_json:
        typer.echo(json.dumps(facts, indent=1, ensure_ascii=False))
        return
    facts["vectors"] = ", ".join(f"{vector} ({length})" for vector, length in facts["vectors"].items()) or "none"
    facts["gates"] = ", ".join(f"{gate} {count}" for gate, count in facts["gates"].items())
    for fact, value in facts.items():
        typer.echo(f"{_said(fact):16} {value}")


@app.command(short_help="Draw a circuit.")
def draw(
    name: _Name,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help=".svg, .png or .txt (default: print it).")] = None,
) -> None:
    """Draw a circuit with characters, or as a picture."""
    from qfedfm.core.errors import ConfigError
    from qfedfm.quantum.catalogue import piece
    from qfedfm.quantum.piece import picture

    if out is not None and out.suffix not in (*_PICTURES, ".txt"):
        raise ConfigError(f"--out {out}", "a file that ends with .svg, .png or .txt")
    drawn = piece(name)
    if out is None:
        typer.echo(drawn.text())
    elif out.suffix in _PICTURES:
        picture(drawn.circuit, out)
    else:
        out.write_text(drawn.text() + "\n", encoding="utf-8")


@app.command(short_help="Write a circuit as OpenQASM 3 or QPY.")
def export(
    name: _Name,
    form: Annotated[Literal["qasm3", "qpy"] | None, typer.Option("--format", help="Default: qasm3.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: print it.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--bind", metavar="VECTOR=NUMBERS", help="theta=0.1,0.2,… or one number for all."),
    ] = None,
    measure: Annotated[bool, typer.Option(help="Measure all qubits at the end.")] = True,
) -> None:
    """Write a circuit for another program, with free parameters or with numbers in their place."""
    from qfedfm.core.errors import ConfigError
    from qfedfm.quantum.catalogue import piece
    from qfedfm.quantum.piece import bind, qasm

    chosen = form or ("qpy" if out is not None and out.suffix == ".qpy" else "qasm3")
    if chosen == "qpy" and out is None:
        raise ConfigError("--format qpy without --out", "a file", "QPY is binary")
    circuit = bind(piece(name).circuit, values(settings or []))
    circuit = circuit.measure_all(inplace=False) if measure else circuit
    if out is None:
        typer.echo(qasm(circuit), nl=False)
    elif chosen == "qasm3":
        out.write_text(qasm(circuit), encoding="utf-8")
    else:
        from qiskit import qpy

        with out.open("wb") as file:
            qpy.dump(circuit, file)


def values(settings: list[str]) -> dict[str, list[float]]:
    """The numbers of each vector that ``--bind`` gives."""
    from qfedfm.core.errors import ConfigError

    values: dict[str, list[float]] = {}
    for setting in settings:
        name, _, numbers = setting.partition("=")
        try:
            given = [float(number) for number in numbers.split(",")]
        except ValueError:
            raise ConfigError(f"--bind {setting!r}", "VECTOR=NUMBERS, such as --bind theta=0.1,0.2") from None
        if name.strip() in values:
            raise ConfigError(f"--bind {name.strip()} twice", "all its numbers in one", "separated by commas")
        values[name.strip()] = given
    return values


def _facts(piece: Piece) -> dict[str, Any]:
    return {
        "name": piece.name,
        "computes": piece.family.purpose,
        "outcomes": piece.family.outcomes,
        **piece.numbers(),
        "vectors": piece.vectors(),
        "gates": dict(piece.circuit.count_ops()),
        "source": piece.family.source,
        "usage": piece.family.usage,
    }


def _said(fact: str) -> str:
    return "two-qubit gates" if fact == "two_qubit_gates" else fact
