"""A matplotlib figure as SVG that lies inside a page: themed by the page's variables, the same bytes each time."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from qfedfm.report.look import INK, MUTED, RULE, VARIABLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10.0,
    "figure.facecolor": "none",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "qfedfm",
}
_FONT = re.compile(r"font-family: [^;\"]*")
_COLOUR = re.compile("|".join(VARIABLES), re.IGNORECASE)
_IDS = re.compile(r"(\bid=\"|url\(#|xlink:href=\"#)")


@contextmanager
def style(**changes: Any) -> Iterator[None]:
    """Draws in the report's style within this block, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that matplotlib's font lacks is still written as text, which the browser can show.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, **changes})
        yield


def blank(width: float = 5.4, height: float = 3.4) -> Figure:
    """An empty figure of the report, in inches; without pyplot, so that nothing global remembers it."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def svg(figure: Figure, name: str, title: str, fonttype: str = "none", least: float = 0.0) -> str:
    """The figure as an ``<svg>`` element.

    Colours become CSS variables of the page, ids get ``name`` in front so that two figures on a page do not meet, and
    nothing in it refers to a network or to the time.

    Args:
        figure: drawn within `style`.
        name: letters, digits and hyphens; different for each figure of a page.
        title: what the figure shows, for those who cannot see it.
        least: the smallest width on a narrow screen, as a share of the natural one; what does not fit is scrolled to.
        fonttype: ``none`` leaves text as text in the page's font, ``path`` draws it (formulas need this).
    """
    from xml.sax.saxutils import escape, quoteattr

    buffer = io.StringIO()
    with style(**{"svg.fonttype": fonttype}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    head, _, rest = text.partition(">")
    head = re.sub(r'\s(?:xmlns(?::xlink)?|width|height|version)="[^"]*"', "", head)
    width = 96 * figure.get_figwidth()
    limits = f"max-width:{width:.0f}px;min-width:{least * width:.0f}px"
    head += f' role="img" aria-label={quoteattr(title)} style="{limits}"'
    text = _FONT.sub("font-family: var(--sans)", f"{head}><title>{escape(title)}</title>{rest}")
    text = _COLOUR.sub(lambda match: f"var(--{VARIABLES[match[0].lower()][0]})", text)
    return _IDS.sub(rf"\g<1>{name}-", text).strip()
