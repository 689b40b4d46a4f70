"""``qfedfm qkd``: keys from simulated quantum links, from photons to the account of what is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from qfedfm.qkd.entropy import Entropy
    from qfedfm.qkd.link import Link

app = typer.Typer(help="Simulate quantum key distribution, from photons to keys.", no_args_is_help=True)

_FORMATS = (".png", ".svg", ".pdf")


@app.callback()
def _() -> None:
    """Keeps ``link`` a word of its own while it is the only one."""


@app.command(short_help="Run a protocol over a link, or over several distances.")
def link(  # noqa: PLR0917 (options, which have names)
    protocol: Annotated[str, typer.Option(help="bb84, weak-bb84, decoy-bb84, b92, bbm92 or e91.")] = "bb84",
    name: Annotated[str, typer.Option("--link", metavar="NAME", help="lab, metro or long.")] = "metro",
    distance: Annotated[float | None, typer.Option(metavar="KM", help="In place of the link's own.")] = None,
    distances: Annotated[str | None, typer.Option(metavar="KM,KM,…", help="A table over several.")] = None,
    pulses: Annotated[int, typer.Option(metavar="N", help="To send, or pairs to emit.")] = 10_000_000,
    eavesdropper: Annotated[
        str,
        typer.Option(
            metavar="NAME[:NUMBER]",
            help="none, intercept-resend[:share], photon-number-splitting, entangling-probe[:error rate], "
            "unambiguous-discrimination or man-in-the-middle.",
        ),
    ] = "none",
    reconciliation: Annotated[str, typer.Option(help="ldpc or cascade.")] = "ldpc",
    variable: Annotated[bool, typer.Option("--variable", help="A length that follows from what is seen.")] = False,
    theory: Annotated[bool, typer.Option("--theory", help="Simulate nothing: what the link leads to expect.")] = False,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Repeatable and INSECURE.")] = None,
    efficiency: Annotated[float | None, typer.Option(help="Of a detector, in place of the link's.")] = None,
    dark_counts: Annotated[float | None, typer.Option(help="Per pulse and detector, likewise.")] = None,
    misalignment: Annotated[
        float | None, typer.Option(help="Share of photons in the wrong detector, likewise.")
    ] = None,
    attenuation: Annotated[float | None, typer.Option(metavar="DB/KM", help="Of the fibre, likewise.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw rate and QBER over distance.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything but keys.")] = None,
) -> None:
    """Run a whole link: pulses, sifting, test, reconciliation, verification, privacy amplification.

    The keys are thrown away; what is printed is their account.
    """
    from rich.console import Console

    from qfedfm.commands import qkd_view
    from qfedfm.qkd.sweep import Setting, sweep

    _writable(plot, _FORMATS)
    _writable(json_path)
    changes = {
        "efficiency": efficiency, "dark_counts": dark_counts, "misalignment": misalignment, "attenuation": attenuation,
    }  # fmt: skip
    over = _distances(distance, distances)
    setting = Setting(protocol, _link(name, changes), pulses, eavesdropper, reconciliation, variable)
    console = Console(stderr=True)
    with console.status(protocol) as status:
        told = lambda at: status.update(f"{protocol}: {at:g} km, {pulses:,} pulses")  # noqa: E731
        points = sweep(setting, over, None if theory else _entropy(seed), told)
    Console().print(qkd_view.one(points[0]) if len(points) == 1 else qkd_view.several(points))
    Console().print(qkd_view.verdict(points), markup=False, highlight=False, soft_wrap=True)
    if json_path is not None:
        facts = {"setting": setting.facts(), "points": [point.facts() for point in points]}
        json_path.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if plot is not None:
        from qfedfm.commands.qkd_figure import draw

        draw(setting, points).savefig(plot, dpi=110)


def _entropy(seed: int | None) -> Entropy:
    from qfedfm.core.key import Key
    from qfedfm.qkd.entropy import Seeded, System

    return System() if seed is None else Seeded(Key.of(seed).fold("quantum link"))


def _link(name: str, changes: dict[str, float | None]) -> Link:
    from dataclasses import replace

    from qfedfm.qkd.link import named

    given: dict[str, Any] = {key: value for key, value in changes.items() if value is not None}
    return replace(named(name), **given)


def _distances(one: float | None, several: str | None) -> list[float] | None:
    """Those that were asked for; None for the link's own."""
    from qfedfm.core.errors import ConfigError

    if several is None:
        return None if one is None else [one]
    if one is not None:
        raise ConfigError("--distance and --distances", "one of them")
    try:
        return [float(part) for part in several.split(",")]
    except ValueError:
        raise ConfigError(f"--distances {several!r}", "numbers of km, such as 0,10,50") from None


def _writable(path: Path | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuses a path before anything is run for it."""
    from qfedfm.core.errors import ConfigError

    if path is not None and suffixes and path.suffix.lower() not in suffixes:
        raise ConfigError(f"--plot {path}", f"a file that ends in {', '.join(suffixes)}")
    if path is not None and (path.is_dir() or not path.parent.is_dir()):
        raise ConfigError(f"{path}", "a file in a folder that is there", f"make {path.parent} first")
