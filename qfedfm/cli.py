"""The command line: every command is one call into the library."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qfedfm.engine.experiment import Experiment

app = typer.Typer(
    help="Federated fine-tuning with quantum modules, each measured against its classical twin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _experiment(path: Path, changes: list[str]) -> Experiment:
    from qfedfm.engine.experiment import Experiment

    return Experiment.load(path, dict(_change(change) for change in changes))


def _change(text: str) -> tuple[str, Any]:
    import tomllib

    from qfedfm.core.errors import ConfigError

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text!r}", "key=value, such as --set training.rate=0.003")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


@app.command()
def run(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="The experiment file.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results (default: runs/<name>).")] = None,
    seed: Annotated[int | None, typer.Option(help="Run this seed only.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. training.rate=0.003.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
) -> None:
    """Run an experiment: its method, or all methods of its comparison, on all seeds."""
    from rich.console import Console

    from qfedfm.report.live import live

    settings = [*(changes or []), *([f"seeds=[{seed}]"] if seed is not None else [])]
    loaded = _experiment(experiment, settings)
    console = Console(stderr=True)
    folder = out or Path("runs") / loaded.name
    try:
        with live(console) as watch:
            result = loaded.run(folder, resume=resume, watch=watch)
    except KeyboardInterrupt:
        again = f"qfedfm run {experiment} --out {folder} --resume"
        console.print(f"Interrupted. Every finished round is kept; go on with: {again}")
        raise typer.Exit(130) from None
    show = Console()
    show.print(result.table())
    for sentence in result.results["conclusion"]:
        show.print(sentence)
    show.print(f"Report: {result.folder / 'report.html'}")


@app.command()
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of runs.")],
    out: Annotated[Path | None, typer.Option(help="The page to write (default: DIR/report.html).")] = None,
) -> None:
    """Write the report of one or several runs again."""
    from qfedfm.report.page import write_report

    typer.echo(write_report(*folders, out=out))


@app.command()
def methods(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List every part: its kind, whether it is quantum, its twins, its paper."""
    from qfedfm.report.methods import listing, methods_table

    if as_json:
        typer.echo(json.dumps(listing(), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(methods_table())


@app.command()
def doctor() -> None:
    """Say what is installed, which device and precision are used, and what is missing."""
    from rich.console import Console
    from rich.table import Table

    from qfedfm.engine.doctor import examine

    table = Table("", "subject", "found", box=None)
    for subject, state, detail in examine():
        table.add_row({"ok": "✓", "missing": "✗"}.get(state, "·"), subject, detail)
    Console().print(table)


@app.command()
def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from qfedfm.engine.experiment import Experiment

    typer.echo(json.dumps(Experiment.model_json_schema(by_alias=True), indent=1, ensure_ascii=False))


def main() -> None:
    """Runs the command line; a mistake of the user's is one line and exit status 2."""
    from qfedfm.core.errors import QfedfmError

    try:
        app()
    except QfedfmError as error:
        sys.stderr.write(f"qfedfm: {error}\n")
        sys.exit(2)
