import numpy as np
import pytest

from qfedfm.qkd.b92 import B92, conclusive
from qfedfm.qkd.eavesdroppers import Eavesdropper, InterceptResend, Nobody, UnambiguousDiscrimination
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from tests.qkd.sampling import agrees, h, seeded

KETS = {0: np.array([1.0, 0]), 4: np.array([0, 1.0])}
KETS |= {2: (KETS[0] + KETS[4]) / np.sqrt(2), 6: (KETS[0] - KETS[4]) / np.sqrt(2)}


def born(measured: int, state: int) -> float:
    return float(abs(KETS[measured] @ KETS[state]) ** 2)


def by_hand(error: float, bases: tuple[int, ...]) -> tuple[float, float]:
    """The conclusive share of detections and the errors among it, by summing over everything that can happen.

    ``bases``: those in which an eavesdropper measures and resends, with equal probability; none for no eavesdropper.
    """
    kept = wrong = 0.0
    for bit, state in ((0, 0), (1, 2)):
        resent = [(born(b + o, state) / len(bases), b + o) for b in bases for o in (0, 4)] or [(1.0, state)]
        for weight, sent in resent:
            for outcome, reading in ((4, 1), (6, 0)):  # |1⟩ in Z, |−⟩ in X
                p = born(outcome, sent)
                probability = 0.5 * weight * 0.5 * (p * (1 - error) + (1 - p) * error)
                kept += probability
                wrong += probability * (reading != bit)
    return kept, wrong / kept


def sifted(exchange: Exchange) -> tuple[int, int, int]:
    """Detections, conclusive ones, and errors among these."""
    kept, bit = conclusive(exchange.bob.bit, exchange.bob.basis)
    wrong = kept & (bit != exchange.alice.bit[exchange.bob.pulse])
    return len(exchange.bob), int(kept.sum()), int(wrong.sum())


@pytest.mark.parametrize(
    ("eavesdropper", "error", "bases", "share", "qber"),
    [
        (Nobody(), 0.0, (), 1 / 4, 0.0),
        (Nobody(), 0.05, (), None, None),
        (InterceptResend(), 0.0, (0, 2), 3 / 8, 1 / 3),
        (InterceptResend(basis="Z"), 0.0, (0,), None, None),
        (InterceptResend(basis="X"), 0.02, (2,), None, None),
    ],
    ids=["quiet", "noisy", "intercepted", "in Z", "in X"],
)
def test_sifts_by_conclusive_outcomes(
    eavesdropper: Eavesdropper, error: float, bases: tuple[int, ...], share: float | None, qber: float | None
) -> None:
    expected = by_hand(error, bases)
    assert share is None or expected == pytest.approx((share, qber))
    link = Link(efficiency=0.5, misalignment=error)
    exchange = B92().exchange(600_000, link, eavesdropper, seeded(30))
    detections, kept, wrong = sifted(exchange)
    assert agrees(detections, 600_000, 0.5)
    assert agrees(kept, detections, expected[0])
    assert agrees(wrong, kept, expected[1])
    assert exchange.truth["qber"] == wrong / kept
    assert not exchange.alice.basis.any()


def test_what_intercept_resend_learns() -> None:
    """She saw |1⟩ or |−⟩, after which she is sure, in half of the conclusive cases; in the others she is at 2/3."""
    truth = B92().exchange(1_000_000, Link(), InterceptResend(), seeded(31)).truth
    assert agrees(truth["eve_correct"] * truth["sifted"], truth["sifted"], 5 / 6)
    assert truth["eve_information"] == pytest.approx(0.5 + 0.5 * (1 - h(1 / 3)), abs=0.003)


@pytest.mark.parametrize(("t", "known"), [(1.0, 0.0), (0.5, np.sqrt(2) - 1), (0.2928, 1.0), (0.1, 1.0)])
def test_unambiguous_discrimination_needs_loss(t: float, known: float) -> None:
    """At t = ½ she knows q(1 − t)/((1 − q)t) = q/(1 − q) = √2 − 1; from a loss of 1/√2 on she knows all, unseen."""
    link = Link(distance=-50 * np.log10(t).item(), efficiency=0.8)
    exchange = B92().exchange(1_000_000, link, UnambiguousDiscrimination(), seeded(32))
    detections, kept, wrong = sifted(exchange)
    assert agrees(detections, 1_000_000, 0.8 * t)
    assert agrees(kept, detections, 0.25)
    assert wrong == 0
    assert agrees(exchange.truth["eve_information"] * kept, kept, known)
    assert agrees(exchange.truth["eve_correct"] * kept, kept, (1 + known) / 2)
