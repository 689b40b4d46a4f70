"""The command line: every command is one call into the library."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qfedfm.commands import circuits, jobs, kme, qkd
from qfedfm.commands.submit import submit

if TYPE_CHECKING:
    from rich.table import Table

    from qfedfm.engine.doctor import Finding

app = typer.Typer(
    help="Federated fine-tuning with quantum modules, each measured against its classical twin.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(circuits.app, name="circuits")
app.add_typer(jobs.app, name="jobs")
app.add_typer(kme.app, name="kme")
app.add_typer(qkd.app, name="qkd")

_MARKS = {"ok": ("✓", "green"), "missing": ("–", "yellow"), "problem": ("✗", "red")}


def _settings(changes: list[str], seeds: list[int]) -> dict[str, Any]:
    """The settings that ``--set`` and ``--seed`` change, each at most once."""
    from qfedfm.core.errors import ConfigError

    if len(seeds) > 1:
        raise ConfigError(f"--seed {len(seeds)} times", "once", f"for several seeds: --set seeds={seeds}")
    given = [*map(_change, changes), *(("seeds", [seed]) for seed in seeds)]
    settings = dict(given)
    for key in settings:
        if [name for name, _ in given].count(key) > 1:
            both = " (--seed sets it too)" if key == "seeds" and seeds else ""
            raise ConfigError(f"{key} set twice{both}", "one value", "leave one of them out")
    return settings


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


@app.command(short_help="Run an experiment, all its methods on all its seeds.")
def run(
    experiment: Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="The experiment file.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the results (default: runs/<name>).")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="Run this seed only.")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting, e.g. training.rate=0.003.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an interrupted run stopped.")] = False,
    profile: Annotated[
        str | None,
        typer.Option(metavar="[FILE]", help="Write a Chrome trace of where the time goes (default: DIR/profile.json)."),
    ] = None,
) -> None:
    """Run an experiment: its method, or all methods of its comparison, on all seeds."""
    settings = _settings(changes or [], seeds or [])
    options = [text for change in changes or [] for text in ("--set", change)]
    options += [text for seed in seeds or [] for text in ("--seed", str(seed))]
    options += [] if profile is None else ["--profile", *([profile] if profile else [])]
    try:
        _run(experiment, out, settings, resume, profile)
    except KeyboardInterrupt:
        where = ["--out", str(out)] if out is not None else []
        again = shlex.join(["qfedfm", "run", str(experiment), *where, *options, "--resume"])
        sys.stderr.write(f"Interrupted. Every finished round is kept; go on with: {again}\n")
        raise typer.Exit(130) from None


def _run(path: Path, out: Path | None, settings: dict[str, Any], resume: bool, profile: str | None) -> None:
    from rich.console import Console

    from qfedfm.engine.experiment import Experiment
    from qfedfm.report.live import live

    loaded = Experiment.load(path, settings)
    folder = out if out is not None else Path("runs") / loaded.name
    if resume and not folder.exists():
        sys.stderr.write(f"There is no run in {folder} yet: starting it.\n")
    with live(Console(stderr=True)) as watch:
        trace = None if profile is None else Path(profile) if profile else folder / "profile.json"
        result = loaded.run(folder, resume=resume, watch=watch, profile=trace)
    Console().print(result.table())
    for sentence in [*result.results["conclusion"], *(_profile(trace) if trace is not None else ())]:
        typer.echo(sentence)
    typer.echo(f"Report: {result.folder / 'report.html'}")


def _profile(trace: Path) -> list[str]:
    from qfedfm.engine.profile import sentences

    if not trace.exists():
        return []
    found = json.loads(trace.read_text(encoding="utf-8"))["otherData"]
    return [*sentences(found), f"Trace: {trace} (for Perfetto or chrome://tracing)"]


def _words(given: list[str]) -> list[str]:
    """The command line with the file that ``--profile`` stands for where none follows it: the empty name."""
    bare = [after.startswith("-") or after.endswith(".toml") for after in [*given[1:], "-"]]
    pairs = zip(given, bare, strict=False)
    return [f"{word}=" if word == "--profile" and alone else word for word, alone in pairs]


@app.command(short_help="Write the report of one or several runs again.")
def report(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR…", help="Folders of runs.")],
    out: Annotated[Path | None, typer.Option(help="The page to write (default: DIR/report.html).")] = None,
) -> None:
    """Write the report of one or several runs again, finished or not."""
    from qfedfm.core.errors import ConfigError
    from qfedfm.report.page import write_report

    if out is not None and out.is_dir():
        raise ConfigError(f"--out {out}, which is a folder", "a file", f"for example --out {out / 'report.html'}")
    try:
        typer.echo(write_report(*folders, out=out))
    except OSError as error:
        given = f"{out or folders[0] / 'report.html'} cannot be written ({error.strerror})"
        raise ConfigError(given, "a file that can be written", "choose another --out") from error


@app.command(short_help="List every part that an experiment can name.")
def methods(as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False) -> None:
    """List every part: its kind, whether it is quantum, its twins, its paper."""
    from qfedfm.report.methods import listing, methods_table

    if as_json:
        typer.echo(json.dumps(listing(), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    Console().print(methods_table())


@app.command(short_help="Measure the library against its peers.")
def bench(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="simulate, comparison, scale, aggregate, fused, circuits, codecs, qkd")
    ],
    quick: Annotated[bool, typer.Option("--quick", help="Two minutes at most: fewer rounds, one repetition.")] = False,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the report here.")] = None,
    repetitions: Annotated[int | None, typer.Option(min=1, help="How often each side is run (default: 3).")] = None,
) -> None:
    """Measure the library against its peers, each in fresh processes, in turns."""
    from rich.console import Console

    from qfedfm.bench.harness import bench as measure
    from qfedfm.bench.runner import Runner
    from qfedfm.bench.table import table
    from qfedfm.core.errors import ConfigError

    if json_path is not None and not json_path.parent.is_dir():
        raise ConfigError(f"--json {json_path}", "a file in a folder that is there", f"make {json_path.parent} first")
    console = Console(stderr=True)
    with console.status(name) as status:
        runner = Runner(quick, repetitions or (1 if quick else 3), lambda side: status.update(f"{name}: {side}"))
        report = measure(name, runner)
    if json_path is not None:
        json_path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Console().print(table(report))


@app.command(short_help="Say what is installed, used and missing.")
def doctor() -> None:
    """Say what is installed, which device and precision are used, and what is missing."""
    from rich.console import Console

    from qfedfm.engine.doctor import examine

    findings = examine()
    console = Console()
    console.print(_findings(findings))
    console.print(_verdict(findings), markup=False, highlight=False, soft_wrap=True)


def _findings(findings: list[Finding]) -> Table:
    """A line for each finding: whether it is well, what it is, and its version or what to do."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, padding=(0, 1, 0, 0))
    for subject, state, detail in findings:
        mark, colour = _MARKS[state]
        table.add_row(Text(mark, colour), Text(subject), Text(detail, "" if state == "ok" else colour))
    return table


def _verdict(findings: list[Finding]) -> str:
    problems = [subject for subject, state, _ in findings if state == "problem"]
    missing = [subject for subject, state, _ in findings if state == "missing"]
    said = [f"{title}: {', '.join(names)}." for title, names in (("Problems", problems), ("Missing", missing)) if names]
    return " ".join(said) or "Everything is there."


@app.command(short_help="Print the JSON Schema of experiment files.")
def schema() -> None:
    """Print the JSON Schema of experiment files, for editors."""
    from qfedfm.engine.experiment import Experiment

    typer.echo(json.dumps(Experiment.model_json_schema(by_alias=True), indent=1, ensure_ascii=False))


app.command(short_help="Send a circuit to a device.")(submit)


def main() -> None:
    """Runs the command line; a mistake of the user's is one line and exit status 2."""
    from qfedfm.core.errors import QfedfmError

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that cannot show ✓ or Δ must not stop a run
    sys.path.append(os.getcwd())  # where a user's own task lies; after all else, so that it hides nothing
    try:
        app(_words(sys.argv[1:]))
    except QfedfmError as error:
        _refuse(str(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        _refuse(f"{error.strerror or error}{where}; expected a disk with room and files that can be read and written")
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted.\n")
        sys.exit(130)


def _refuse(message: str) -> None:
    sys.stderr.write(f"qfedfm: {' '.join(message.split())}\n")
    sys.exit(2)
