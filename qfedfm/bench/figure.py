"""A benchmark's report as a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qfedfm.bench.codec_figure import curves as codec_curves
from qfedfm.report.look import INK, MUTED, PALETTE, RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = Mapping[str, Any]


def draw(report: Mapping[str, Any]) -> Figure:
    """How many times better than its peer each case is; for ``scale`` and ``codecs`` curves over clients or bits."""
    if any("rate" in line for line in report["cases"]):
        return codec_curves(report["cases"], _plain)
    curves = [line for line in report["cases"] if "clients" in line or "cohort" in line]
    return _curves(curves) if curves else _ratios(report["cases"])


def _ratios(cases: Sequence[Line]) -> Figure:
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    figure = Figure(figsize=(9.5, 0.9 + 0.34 * len(cases)), layout="constrained")
    axes = figure.add_subplot()
    peers = list(dict.fromkeys(line["peer_name"] for line in cases))
    for row, line in enumerate(cases):
        colour = PALETTE[peers.index(line["peer_name"]) % len(PALETTE)][0]
        axes.barh(row, line["ratio"] - 1, left=1, height=0.62, color=colour)
        low, high = line.get("spread", {}).get("ratio", [line["ratio"]] * 2)
        axes.plot([low, high], [row, row], color=INK, linewidth=1)
        if "target" in line:
            axes.plot([line["target"]] * 2, [row - 0.42, row + 0.42], color=INK, linewidth=1.6)
        text = f"{line['ratio']:.3g}×   {number(line['ours'])} against {number(line['peer'])} {line['unit']}"
        edge = max(line["ratio"], high, line.get("target", 1.0), 1.0)
        axes.annotate(text, (edge, row), (5, 0), textcoords="offset points", va="center", fontsize=8, color=INK)
    axes.axvline(1, color=MUTED, linewidth=1)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.8), high * (high / low) ** 0.45)
    axes.set_yticks(range(len(cases)), [line["case"] for line in cases], fontsize=8)
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.set_xlabel("times better than the peer (dash: target; line: spread over repetitions)", fontsize=8)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain(axes)
    patches = [axes.barh(0, 0, color=PALETTE[i % len(PALETTE)][0], label=peer) for i, peer in enumerate(peers)]
    figure.legend(handles=patches, loc="outside lower center", ncols=2, fontsize=8, frameon=False, title="against")
    return figure


def _curves(cases: Sequence[Line]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    panels = (
        ("clients", "seconds", "clients", "seconds a client of the round"),
        ("clients", "MB", "clients", "peak memory, MB"),
        ("cohort", "MB", "clients a round", "peak memory of a mean, MB"),
    )
    for axes, (field, unit, abscissa, ordinate) in zip(figure.subplots(1, 3), panels, strict=True):
        lines = [line for line in cases if field in line and line["unit"] == unit]
        values = [line["ours"] for line in lines]
        axes.plot([line[field] for line in lines], values, color=PALETTE[1][0], marker="o")
        axes.set_xscale("log")
        axes.set_ylim(0, 1.25 * max(values, default=1))
        axes.set_xlabel(abscissa, fontsize=9)
        axes.set_ylabel(ordinate, fontsize=9)
        _plain(axes)
    return figure


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(RULE)
    axes.tick_params(labelsize=8, color=RULE)


def number(value: float) -> str:
    """Three digits, and no exponent where there need be none."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
