"""The tables of docs/benchmarks.md, made from reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qfedfm.bench.figure import number

BEGIN, END = "<!-- from benchmarks/results, by docs/figures.py: do not edit -->", "<!-- end -->"


def page(text: str, reports: Sequence[Mapping[str, Any]]) -> str:
    """The page with a section for each report between its two marks; what stands around them stays."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{''.join(map(section, reports))}{END}{after}"


def section(report: Mapping[str, Any]) -> str:
    """Where it was measured, the figure, and a table of the cases."""
    name = report["name"]
    lines = [
        f"### {name}",
        "",
        _where(report["environment"]),
        "",
        f"![{name}: ours beside each peer](figures/benchmark-{name}.png)",
        "",
        "| case | unit | ours | peer | which peer | ratio | at least |",
        "|---|---|---|---|---|---|---|",
        *[_row(line) for line in report["cases"] if "rate" not in line],
        "",
        *_rates([line for line in report["cases"] if "rate" in line]),
    ]
    return "\n".join([*lines, *_notes(report["cases"]), ""])


def _where(environment: Mapping[str, Any]) -> str:
    about = [
        str(environment.get("processor", environment["platform"])),
        f"{environment['cores']} cores",
        *(f"{what} {environment[what]}" for what in ("device", "precision", "encoder") if what in environment),
        f"torch {environment['packages']['torch']}",
        *(f"{peer} {version}" for peer, version in environment.get("peers", {}).items()),
        f"commit {str(environment['commit'])[:7]}",
    ]
    quick = " A quick run (`--quick`): one repetition, few rounds." if environment.get("quick") else ""
    return f"Measured on {', '.join(about)}.{quick}"


def _rates(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of codecs: the error of each beside that of ours at the same bytes."""
    if not cases:
        return []
    titles = (
        "vectors", "codec", "bits", "with header", "error", "ours at its bytes", "ratio", "at least",
        "encodes, MB/s", "ours", "decodes, MB/s", "ours",
    )  # fmt: skip
    rows = [
        (
            line["source"], f"{line['codec']}{'' if line['unbiased'] else ' (biased)'}",
            f"{line['rate']['peer']:.3f}", f"{line['framed']:.3f}", number(line["peer"]), number(line["ours"]),
            f"{line['ratio']:.3g}×", _target(line),
            *(number(line[what][side]) for what in ("encode", "decode") for side in ("peer", "ours")),
        )
        for line in cases
    ]  # fmt: skip
    head, *body = (f"| {' | '.join(cells)} |" for cells in (titles, *rows))
    return [head, f"|{'---|' * len(titles)}", *body, ""]


def _target(line: Mapping[str, Any]) -> str:
    target = line.get("target")
    return "" if target is None else f"{target:.3g} {'✓' if line['ratio'] >= target else '✗'}"


def _row(line: Mapping[str, Any]) -> str:
    low, high = line["spread"]["ratio"]
    spread = f" ({low:.3g} to {high:.3g})" if low != high else ""
    cells = [
        line["case"],
        line["unit"],
        number(line["ours"]),
        number(line["peer"]),
        line["peer_name"],
        f"{line['ratio']:.3g}×{spread}",
        _target(line),
    ]
    return f"| {' | '.join(cells)} |"


def _notes(cases: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [f"- {line['case']}: {line['note']}." for line in cases if "note" in line]
    for line in cases:
        if "ci95" in line:
            ends = line["ci95"]  # null where the differences do not vary
            interval = "no interval" if ends is None else f"95 % interval {ends[0]:+.2f} to {ends[1]:+.2f}"
            found.append(
                f"- {line['case']}: paired difference {line['difference']:+.2f} points "
                f"({interval}; single seeds {line['differences']})."
            )
    return [*dict.fromkeys(found), ""] if found else []
