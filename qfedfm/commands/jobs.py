"""``qfedfm jobs``: what became of what was submitted."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qfedfm.commands.submit import LedgerPath

if TYPE_CHECKING:
    from qfedfm.quantum.cloud.ledger import Entry, Ledger
    from qfedfm.quantum.cloud.provider import Provider

app = typer.Typer(help="List, follow, read and cancel submitted jobs.", no_args_is_help=True)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The first characters of a job's id.")]
_Json = Annotated[bool, typer.Option("--json", help="As JSON.")]


@app.command("list", short_help="List all jobs of the ledger.")
def list_(as_json: _Json = False, ledger: LedgerPath = None) -> None:
    """List all jobs, the newest last, as the ledger knows them; nothing is asked over the network."""
    entries = _ledger(ledger).all()
    if as_json:
        typer.echo(json.dumps([_facts(entry) for entry in entries], indent=1, ensure_ascii=False))
        return
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.created))
        name = "canary" if entry.kind == "canary" else entry.about.get("name", "")
        typer.echo(f"{entry.uuid[:8]}  {when}  {entry.state:9}  {entry.backend}  {entry.shots} shots  {name}")


@app.command(short_help="Look at a job.")
def status(start: _Id, ledger: LedgerPath = None) -> None:
    """Look at a job once."""
    from qfedfm.quantum.cloud.follow import refresh

    entry, device, book = _found(start, ledger)
    entry, state = refresh(entry, device, book)
    typer.echo(f"{entry.uuid[:8]} {state}{f': {entry.message}' if entry.message else ''}")


@app.command(short_help="Wait until a job has ended.")
def wait(
    start: _Id,
    most: Annotated[float | None, typer.Option("--timeout", metavar="SECONDS", help="Wait no longer.")] = None,
    ledger: LedgerPath = None,
) -> None:
    """Wait until a job has ended; Ctrl-C stops the waiting, not the job."""
    from qfedfm.quantum.cloud.follow import wait as follow

    entry, device, book = _found(start, ledger)
    entry = follow(entry, device, book, most, typer.echo)
    typer.echo(f"{entry.uuid[:8]} {entry.state}{f': {entry.message}' if entry.message else ''}")


@app.command(short_help="Read the result of a job.")
def result(start: _Id, as_json: _Json = False, ledger: LedgerPath = None) -> None:
    """Read the counts of a job, by bit string with qubit 0 last; those of a run's circuit join the run's report."""
    from qfedfm.core.errors import DeviceError
    from qfedfm.quantum.cloud.follow import refresh

    entry, device, book = _found(start, ledger)
    entry, state = refresh(entry, device, book)
    if entry.state != "done":
        remedy = "look again later" if state in ("queued", "running") else ""
        raise DeviceError(f"job {entry.uuid[:8]} is {state} {entry.message}".strip(), "one that is done", remedy)
    line = _joined(entry, device) if "run" in entry.about else None
    if as_json:
        typer.echo(json.dumps({**_facts(entry), "weights": line}, indent=1, ensure_ascii=False))
        return
    total = sum((entry.counts or {}).values())
    for bits, count in sorted((entry.counts or {}).items(), key=lambda pair: (-pair[1], pair[0])):
        typer.echo(f"{bits}  {count:6d}  {100 * count / total:5.1f} %")
    if line is not None:
        typer.echo("client weights, on the device and exactly:")
        for name, weight, exact in zip(line["clients"], line["weights"], line["exact"], strict=True):
            typer.echo(f"  {name:24} {weight:.3f}  {exact:.3f}")
        typer.echo(f"total variation {line['total_variation']:.3f}; the report has it: {line['report']}")


@app.command(short_help="Cancel a job.")
def cancel(start: _Id, ledger: LedgerPath = None) -> None:
    """Ask for a job to be cancelled, and look what became of it."""
    from qfedfm.quantum.cloud.follow import cancel as stop

    entry, device, book = _found(start, ledger)
    entry = stop(entry, device, book)
    typer.echo(f"{entry.uuid[:8]} {entry.state}")


@app.command(short_help="Say by hand whether a job was sent.")
def settle(
    start: _Id,
    job: Annotated[str | None, typer.Option("--sent", metavar="JOB", help="It was: the provider's id.")] = None,
    never: Annotated[bool, typer.Option("--not-sent", help="It was not.")] = False,
    ledger: LedgerPath = None,
) -> None:
    """Settle an intent that the provider cannot settle: look at the provider's own page for the whole id first."""
    from qfedfm.core.errors import ConfigError
    from qfedfm.quantum.cloud.ledger import NEVER, OPEN

    book = _ledger(ledger)
    entry = book.get(start)
    if entry.state != OPEN:
        raise ConfigError(f"job {entry.uuid[:8]} is {entry.state}", "an intent that was never settled")
    if (job is None) != never:
        raise ConfigError("neither or both of --sent and --not-sent", "one of them", f"its whole id is {entry.uuid}")
    if job is None:
        book.settle(entry.uuid, NEVER, message="settled by hand")
    else:
        book.sent(entry.uuid, job)
    typer.echo(f"{entry.uuid[:8]} {book.get(entry.uuid).state}")


def _ledger(path: Path | None) -> Ledger:
    from qfedfm.quantum.cloud.ledger import Ledger, default_path

    return Ledger(path or default_path())


def _found(start: str, path: Path | None) -> tuple[Entry, Provider, Ledger]:
    from qfedfm.quantum.cloud.provider import provider

    book = _ledger(path)
    entry = book.get(start)
    return entry, provider(entry.backend), book


def _facts(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in vars(entry).items() if name not in ("told", "request")}


def _joined(entry: Entry, device: Provider) -> dict[str, Any]:
    """Adds the weights that a device gave to the run whose circuit it was, and writes the run's report again."""
    from qfedfm.engine.trained import record, trained
    from qfedfm.report.page import write_report

    folder = Path(entry.about["run"])
    found = trained(folder, entry.about["method"], entry.about["seed"])
    weights, exact = found.weights(entry.counts or {}), found.exact()
    line = {
        "job": entry.uuid,
        "method": found.method,
        "seed": found.seed,
        "backend": entry.backend,
        "column": device.column,
        "shots": sum((entry.counts or {}).values()),
        "device_seconds": entry.seconds,
        "price": entry.price,
        "clients": list(found.names),
        "weights": weights.tolist(),
        "exact": exact.tolist(),
        "total_variation": float(abs(weights - exact).sum() / 2),
    }
    record(folder, line)
    return {**line, "report": str(write_report(folder))}
