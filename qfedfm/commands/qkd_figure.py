"""The figure of a quantum link: secret rate and QBER over distance."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from qfedfm.qkd.sweep import Point, Setting

_GRID = 41
"""Distances of the curves."""
_SHORTEST, _BEYOND = 10.0, 1.25
"""km that the curves reach at least, and how far beyond the last point."""


def draw(setting: Setting, points: list[Point]) -> Figure:
    """Curves are what the link leads to expect, dots what was simulated; dots without a key lie on the axis.

    Args:
        setting: of the curves.
        points: of the dots.
    """
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    rates, errors = figure.subplots(1, 2, sharex=True)
    farthest = max(_SHORTEST, _BEYOND * max(point.chain.link.distance for point in points))
    grid = np.linspace(0, farthest, _GRID)
    plans = [setting.at(float(distance)) for distance in grid]
    limit = np.array([chain.plan.asymptotic for chain in plans])
    promised = np.array([chain.promised_rate for chain in plans])
    rates.plot(grid, np.where(limit > 0, limit, np.nan), color="0.6", label="without end of pulses")
    label = f"promised for {setting.pulses:,} pulses"
    rates.plot(grid, np.where(promised > 0, promised, np.nan), color="C0", label=label)
    run = [point for point in points if point.account is not None]
    keys = [point for point in run if point.rate > 0]
    none = [point for point in run if point.rate <= 0]
    rates.plot(_at(keys), [point.rate for point in keys], "o", color="C1", label="simulated, tags paid")
    rates.plot(_at(none), [0.02] * len(none), "x", color="C3", transform=rates.get_xaxis_transform(), label="no key")
    if limit.max() > 0:
        rates.set_yscale("log")
    rates.set(
        xlabel="km", ylabel="secret bits a pulse", title=f"{setting.protocol}, eavesdropper: {setting.eavesdropper}"
    )
    rates.legend(fontsize=7)
    errors.plot(grid, [100 * chain.plan.qber for chain in plans], color="C0", label="expected")
    seen = [point for point in run if point.account is not None and point.account.qber is not None]
    found = [100 * point.account.qber for point in seen if point.account and point.account.qber is not None]
    errors.plot(_at(seen), found, "o", color="C1", label="in the test")
    what = "games lost" if setting.protocol == "e91" else "QBER"
    errors.set(xlabel="km", ylabel=f"{what}, %", title=f"{what} of the test", ylim=(0, None))
    errors.legend(fontsize=7)
    return figure


def _at(points: list[Point]) -> list[float]:
    return [point.chain.link.distance for point in points]
