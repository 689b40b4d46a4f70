"""Numbers as a reader wants to see them; what is missing is a dash."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from qfedfm.report.summary import points

NOTHING = "–"


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def percent(fraction: Any) -> str:
    """A fraction as a percentage.

    Example:
        >>> percent(0.7123), percent(None)
        ('71.2', '–')
    """
    return f"{100 * fraction:.1f}" if is_number(fraction) else NOTHING


def decimal(value: Any, digits: int = 3) -> str:
    """A number with a fixed number of digits after the point."""
    return f"{value:.{digits}f}" if is_number(value) else NOTHING


def count(value: Any) -> str:
    """An integer with thin spaces between thousands."""
    return f"{round(value):,}".replace(",", "\u2009") if is_number(value) else NOTHING


def size(bytes_: Any) -> str:
    """Bytes in the decimal unit that fits.

    Example:
        >>> size(60), size(1_505_400)
        ('60 B', '1.5 MB')
    """
    if not is_number(bytes_):
        return NOTHING
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if bytes_ >= scale:
            return f"{bytes_ / scale:.1f} {unit}"
    return f"{bytes_:.0f} B"


def duration(seconds: Any) -> str:
    """Seconds in the unit that fits.

    Example:
        >>> duration(0.001234), duration(12), duration(None)
        ('1.23 ms', '12 s', '–')
    """
    if not is_number(seconds):
        return NOTHING
    if seconds >= 1000:
        return f"{count(seconds)} s"
    unit, scale = next(((u, x) for u, x in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)) if seconds >= x), ("s", 1.0))
    return f"{seconds / scale:.3g} {unit}"


def with_interval(estimate: Any) -> str:
    """A mean of fractions with half its interval, in percent: ``71.2 ± 1.3``."""
    if not estimate or not is_number(estimate.get("mean")):
        return NOTHING
    ends = estimate.get("ci95")
    return percent(estimate["mean"]) + (f" ± {100 * (ends[1] - ends[0]) / 2:.1f}" if ends else "")


def difference(comparison: Any) -> str:
    """A paired difference with its interval, in points: ``+0.4 [−0.9, +1.7]``."""
    if not comparison or not is_number(comparison.get("difference")):
        return NOTHING
    return points(comparison["difference"]) + _ends(comparison.get("ci95"))


def _ends(ends: Sequence[float] | None) -> str:
    return f" [{points(ends[0])}, {points(ends[1])}]" if ends else ""
