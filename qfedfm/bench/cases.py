"""From measurements to the lines of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

Answer = Mapping[str, Any]
Answers = Mapping[str, Sequence[Answer]]
"""The answers of each side by its name, one for each repetition, in the order in which they were measured."""

LOWER = ("seconds", "MB", "% of training", "NMSE", "f", "% of frames")
"""Units of which less is better; of all others more is."""


def case(
    name: str,
    unit: str,
    ours: Sequence[float],
    peer: Sequence[float],
    peer_name: str,
    target: float | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """One line: medians over the repetitions, and how many times better ours is.

    Args:
        name: of the case.
        unit: of ``ours`` and ``peer``; see `LOWER`.
        ours: a number for each repetition.
        peer: likewise; the two of one repetition were measured next to each other.
        peer_name: what ``peer`` is.
        target: the least ratio that is aimed for, or None.
        extra: further fields.

    Returns:
        With ``ratio`` above 1 where ours is better, whatever the unit, and ``spread``: the lowest and the highest of
        ours, of the peer and of the ratios within one repetition.

    Example:
        >>> case("sum", "seconds", [1.0, 2.0, 1.5], [3.0, 3.0, 3.0], "a loop")["ratio"]
        2.0
    """
    ratios = [_ratio(unit, one, other) for one, other in zip(ours, peer, strict=False)]
    middle, other = median(ours), median(peer)
    return {
        "case": name,
        "unit": unit,
        "ours": rounded(middle),
        "peer": rounded(other),
        "peer_name": peer_name,
        "ratio": rounded(_ratio(unit, middle, other)),
        "spread": {
            side: [rounded(min(found)), rounded(max(found))]
            for side, found in (("ours", ours), ("peer", peer), ("ratio", ratios))
        },
        "repetitions": len(ours),
        **({} if target is None else {"target": target}),
        **extra,
    }


def _ratio(unit: str, ours: float, peer: float) -> float:
    return peer / ours if unit in LOWER else ours / peer


def rounded(number: float) -> float:
    """Four significant digits."""
    return float(f"{number:.4g}")


def middle(answers: Sequence[Answer], field: str) -> float:
    """The median of a field."""
    return rounded(median(float(answer[field]) for answer in answers))


def both(ours: Sequence[Answer], peer: Sequence[Answer], *fields: str) -> dict[str, dict[str, float]]:
    """The medians of fields that both sides answered, as further fields of a case."""
    return {field: {"ours": middle(ours, field), "peer": middle(peer, field)} for field in fields}
