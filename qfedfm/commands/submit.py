"""``qfedfm submit``: a circuit, or the trained circuit of a run, to a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

    from qfedfm.quantum.cloud.submit import Plan, Request

_What = Annotated[
    str, typer.Argument(metavar="CIRCUIT|RUN", help="A name such as born:8, an OpenQASM 3 file, or a run's folder.")
]
LedgerPath = Annotated[
    Path | None,
    typer.Option("--ledger", metavar="FILE", help="The ledger (default: QFEDFM_LEDGER, or your data folder)."),
]


def submit(  # noqa: PLR0917
    what: _What,
    backend: Annotated[str, typer.Option(metavar="KIND:NAME", help="fake:manila, ibm:NAME, braket:ARN, ionq:NAME.")],
    shots: Annotated[int, typer.Option(help="Of the circuit.")] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it takes and costs, and send nothing.")] = False,
    budget: Annotated[float | None, typer.Option(metavar="DOLLARS", help="Refuse what costs more.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before spending.")] = False,
    method: Annotated[str | None, typer.Option(help="Of a run: whose circuit (default: the first).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of a run (default: the first).")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--bind", metavar="VECTOR=NUMBERS", help="theta=0.1,0.2,… or one for all.")
    ] = None,
    prices: Annotated[Path | None, typer.Option(metavar="FILE", help="Prices that go before the shipped ones.")] = None,
    ledger: LedgerPath = None,
) -> None:
    """Send a circuit to a device, once: shown and priced first, an X gate tried first, written down first."""
    from qfedfm.quantum.cloud import submit as submission
    from qfedfm.quantum.cloud.ledger import Ledger, default_path
    from qfedfm.quantum.cloud.prices import prices as listed
    from qfedfm.quantum.cloud.provider import provider

    device = provider(backend)
    circuit, about = _circuit(what, settings or [], method, seed)
    request = submission.Request(circuit, backend, shots, about)
    book = Ledger(ledger or default_path())
    planned = submission.plan(request, device, listed(prices).find(backend), book)
    for line in _shown(request, planned):
        typer.echo(line)
    submission.within(planned, budget)
    if dry_run:
        typer.echo("Nothing was sent (--dry-run).")
        return
    if planned.dollars != 0 and not yes:
        _ask(planned)
    entry = submission.submit(request, planned, device, book, typer.echo)
    typer.echo(f"Its result: qfedfm jobs result {entry.uuid[:8]}")


def _circuit(
    what: str, settings: list[str], method: str | None, seed: int | None
) -> tuple[QuantumCircuit, dict[str, Any]]:
    """The circuit with numbers for its parameters, and what it is."""
    from qfedfm.commands.circuits import values
    from qfedfm.core.errors import ConfigError
    from qfedfm.quantum.catalogue import piece
    from qfedfm.quantum.piece import bind

    path = Path(what)
    if path.is_dir():
        from qfedfm.engine.trained import trained

        found = trained(path, method, seed)
        about = {"name": f"{path.name}: {found.method}, seed {found.seed}", "run": str(path.resolve())}
        return found.circuit, {**about, "method": found.method, "seed": found.seed}
    if method is not None or seed is not None:
        raise ConfigError(f"--method or --seed with {what!r}, which is no run", "the folder of a run")
    circuit = _read(path) if path.suffix == ".qasm" else piece(what).circuit
    return bind(circuit, values(settings)), {"name": what}


def _read(path: Path) -> QuantumCircuit:
    from qiskit import qasm3

    from qfedfm.core.errors import ConfigError

    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror})", "an OpenQASM 3 file") from None
    try:
        circuit = qasm3.loads(text)
    except qasm3.QASM3ImporterError as error:
        raise ConfigError(f"{path}: {error}", "OpenQASM 3") from None
    circuit.remove_final_measurements()
    return circuit


def _shown(request: Request, planned: Plan) -> list[str]:
    """What the user sees before anything is sent."""
    native = planned.native
    kept = "not known" if native.fidelity is None else f"{native.fidelity:.3f}"
    tried = " after a canary (an X gate on each qubit, 100 shots)" if planned.canary else ""
    lines = [
        f"{request.about.get('name', 'circuit')} on {request.backend}, {request.shots} shots{tried}",
        f"  {native.qubits} qubits, depth {native.depth}, {native.two_qubit_gates} two-qubit gates, in its gates",
        f"  expected fidelity {kept}",
    ]
    if planned.price is None or planned.dollars is None:
        return [*lines, "  price not known: name it in a file of --prices"]
    seconds = f", about {planned.seconds:.1f} device seconds" if planned.seconds else ""
    return [*lines, f"  price ${planned.dollars:.2f} (as of {planned.price.as_of}){seconds}"]


def _ask(planned: Plan) -> None:
    from qfedfm.core.errors import BudgetError

    cost = "an amount that is not known" if planned.dollars is None else f"${planned.dollars:.2f}"
    if not sys.stdin.isatty():
        raise BudgetError(f"{cost} to spend and nobody to ask", "", "say --yes")
    typer.confirm(f"Spend {cost}?", abort=True)
