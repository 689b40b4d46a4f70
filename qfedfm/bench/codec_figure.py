"""The report ``codecs`` as a figure: error and speed against bits, for each source of vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from qfedfm.report.look import INK, MUTED, PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Line = Mapping[str, Any]
_MARKERS = "osv^Pd*X"
_OURS, _WIDEST = "ecdq", 7.0


def curves(cases: Sequence[Line], plain: Any) -> Figure:
    """The errors of every source above, its speeds below, up to 7 bits.

    Args:
        cases: of the report; those with a codec are its peers, the others those of ours.
        plain: takes what is no data off a panel.
    """
    from matplotlib.figure import Figure

    sources = list(dict.fromkeys(line["source"] for line in cases))
    families = list(dict.fromkeys(_family(line["codec"]) for line in cases if "codec" in line))
    figure = Figure(figsize=(9.5, 9.5), layout="constrained")
    rows = figure.subplots(3, len(sources), squeeze=False, sharey="row", sharex=True)
    for column, source in enumerate(sources):
        lines = [line for line in cases if line["source"] == source]
        for axes, what in zip(rows[:, column], ("error", "encode", "decode"), strict=True):
            _panel(axes, lines, families, what)
            plain(axes)
        _limits(rows[0, column])
        rows[0, column].set_title(source, fontsize=9)
        rows[2, column].set_xlabel("bits a coordinate", fontsize=9)
    for axes, name in zip(rows[:, 0], ("‖x̂ − x‖²/‖x‖²", "encoding, MB/s", "decoding, MB/s"), strict=True):
        axes.set_ylabel(name, fontsize=9)
    handles = {label: one for axes in rows.flat for one, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles.keys(), loc="outside lower center", ncols=5, fontsize=8, frameon=False,
        title="hollow: biased", title_fontsize=8,
    )  # fmt: skip
    return figure


def _family(codec: str) -> str:
    """The codec without the options that set its rate."""
    name, _, options = codec.partition("(")
    return f"{name}, {options.rpartition('=')[2].rstrip(')')}" if "coding=" in options else name


def _panel(axes: Any, lines: Sequence[Line], families: Sequence[str], what: str) -> None:
    """One curve for each codec."""
    ours = sorted((line["bits"], line["ours"]) for line in lines if line.get("what") == what)
    axes.plot(*zip(*ours, strict=True), color=INK, linewidth=1.4, marker=".", zorder=3, label=_OURS)
    for number, family in enumerate(families):
        found = [line for line in lines if "codec" in line and _family(line["codec"]) == family]
        points = sorted(
            (line["rate"]["peer"], line["peer"] if what == "error" else line[what]["peer"]) for line in found
        )
        points = [(bits, value) for bits, value in points if bits <= _WIDEST]
        if points:
            colour = PALETTE[number % len(PALETTE)][0]
            axes.plot(
                *zip(*points, strict=True), color=colour, linewidth=0.8, markersize=5, label=family,
                marker=_MARKERS[number % len(_MARKERS)], markerfacecolor=colour if found[0]["unbiased"] else "none",
            )  # fmt: skip
    axes.set_yscale("log")
    if what != "error":
        axes.axhline(100, color=MUTED, linewidth=1)


def _limits(axes: Any) -> None:
    """What no code of Gaussian numbers falls below, and no unbiased one."""
    axes.set_xlim(0, _WIDEST)
    bits = np.linspace(0.1, _WIDEST, 200)
    axes.plot(bits, 4.0**-bits, color=MUTED, linewidth=1, linestyle="dotted", label="limit (Gaussian)")
    limit = 1 / (4.0**bits - 1)
    axes.plot(bits, limit, color=MUTED, linewidth=1, linestyle="dashed", label="limit (Gaussian, unbiased)")
