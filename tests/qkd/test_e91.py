import math

import numpy as np
import pytest

from qfedfm.core.key import Key
from qfedfm.qkd.chsh import joint_counts, werner_chsh
from qfedfm.qkd.e91 import ANALYSERS, CHSH_SETTINGS, E91, KEY_SETTINGS, e91_chsh
from qfedfm.qkd.eavesdroppers import InterceptResend, Nobody
from qfedfm.qkd.entropy import Seeded
from qfedfm.qkd.exchange import Exchange
from qfedfm.qkd.link import Link
from qfedfm.qkd.pairs import PairSource

IDEAL = PairSource(mean_pairs=None, visibility=1.0)
PULSES = 300_000


def run(source: PairSource, link: Link = Link(), eavesdropper=Nobody(), seed: int = 0) -> Exchange:  # noqa: B008
    return E91(source).exchange(PULSES, link, eavesdropper, Seeded(Key.of(seed)))


def key_errors(exchange: Exchange) -> tuple[int, int]:
    """Errors among the key bits, and their number."""
    counts = joint_counts(exchange.alice, exchange.bob, (3, 3))
    kept = sum(counts[s, t] for s, t in KEY_SETTINGS)
    return int(kept[0, 1] + kept[1, 0]), int(kept.sum())


def test_the_settings_are_those_that_the_paper_needs() -> None:
    """Equal angles for the key; for the test neighbours an eighth of a turn apart, but for one pair three eighths."""
    assert [ANALYSERS.alice[s] - ANALYSERS.bob[t] for s, t in KEY_SETTINGS] == [0, 0]
    apart = [[abs(ANALYSERS.alice[s] - ANALYSERS.bob[t]) for t in CHSH_SETTINGS] for s in CHSH_SETTINGS]
    assert apart == [[1, 3], [1, 1]]


def test_all_nine_pairs_of_settings_are_equally_likely() -> None:
    found = run(IDEAL)
    counts = joint_counts(found.alice, found.bob, (3, 3)).sum(axis=(2, 3))
    assert counts.sum() == PULSES
    assert np.abs(counts / PULSES - 1 / 9).max() < 4.5 * math.sqrt(8 / 81 / PULSES)


@pytest.mark.parametrize(("visibility", "misalignment"), [(1.0, 0.0), (0.9, 0.0), (0.95, 0.03), (0.6, 0.0)])
def test_s_and_the_errors_of_the_key_belong_together(visibility: float, misalignment: float) -> None:
    """S = 2√2 V(1 − 2e)² = 2√2(1 − 2Q)."""
    found = run(PairSource(None, visibility), Link(misalignment=misalignment), seed=1)
    s, (wrong, kept) = e91_chsh(found.alice, found.bob), key_errors(found)
    correlation = visibility * (1 - 2 * misalignment) ** 2
    qber = (1 - correlation) / 2
    assert abs(s.value - 2 * math.sqrt(2) * correlation) < 4.5 * s.error
    assert s.error < 0.01
    assert abs(wrong / kept - qber) <= 4.5 * math.sqrt(qber / kept)
    spread = math.hypot(s.error, 4 * math.sqrt(2 * qber / kept))
    assert abs(s.value - werner_chsh(wrong / kept)) < 4.5 * spread


@pytest.mark.parametrize("basis", ["random", "Z", "X", "Breidbart"])
def test_who_measures_bobs_photons_leaves_no_violation(basis: str) -> None:
    """E = cos(α − ε) cos(ε − β), and S = √2 for whatever angle ε."""
    found = run(IDEAL, eavesdropper=InterceptResend(basis=basis), seed=2)
    s = e91_chsh(found.alice, found.bob)
    assert s.value + 10 * s.error < 2
    assert abs(s.value - math.sqrt(2)) < 4.5 * s.error


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_a_share_of_the_photons_costs_a_share_of_s(share: float) -> None:
    found = run(IDEAL, eavesdropper=InterceptResend(share), seed=3)
    s, (wrong, kept) = e91_chsh(found.alice, found.bob), key_errors(found)
    assert abs(s.value - 2 * math.sqrt(2) * (1 - share / 2)) < 4.5 * s.error
    assert abs(wrong / kept - share / 4) < 4.5 * math.sqrt(share / 4 / kept)
    assert abs(found.truth["qber"] - wrong / kept) < 1e-12


def test_accidental_coincidences_cost_visibility() -> None:
    """The more pairs in a pulse, the less S; beyond any doubt no violation is left of three."""
    values = [e91_chsh(*halves(mean)).value for mean in (0.05, 0.5, 3.0)]
    assert values[0] > values[1] > 2 > values[2]


def halves(mean: float):
    found = run(PairSource(mean, 1.0), Link(efficiency=0.5), seed=4)
    return found.alice, found.bob
