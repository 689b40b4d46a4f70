import math

import mpmath
import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.qkd.decoy_length import Intensities, Lim, SinglePhotons, VariableLengthDecoy, single_photons
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.proof import Epsilon, Observed, PerIntensity, Reason

MEANS, SHARES = (0.5, 0.1, 0.0), (0.7, 0.15, 0.15)
EPSILON = Epsilon(1e-10, 1e-15)
SOURCE = Intensities(MEANS, SHARES)


def channel(means, shares, pulses, transmittance, background, misalignment, share_of_basis=0.25) -> tuple:
    """Expected counts and errors by intensity, for key and test alike."""
    counts, errors = [], []
    for mean, share in zip(means, shares, strict=True):
        gain = background + 1 - math.exp(-transmittance * mean)
        wrong = background / 2 + misalignment * (1 - math.exp(-transmittance * mean))
        counts.append(pulses * share_of_basis * share * gain)
        errors.append(pulses * share_of_basis * share * wrong)
    return tuple(counts), tuple(errors)


def observed(counts, errors) -> Observed:
    whole, wrong = tuple(map(round, counts)), tuple(map(round, errors))
    return Observed(sum(whole), sum(whole), sum(wrong), PerIntensity(whole, whole, wrong))


def lim(seen: Observed, source=SOURCE) -> Lim:
    return Lim(seen.key, seen.test, 10**12, source, EPSILON)


def test_lim_gives_the_known_length():
    """50 km at .2 dB/km, detectors of .2, 10⁹ pulses, half of them in either basis on either side."""
    counts, errors = channel(MEANS, SHARES, 1e9, 0.02, 1e-7, 0.015)
    seen = observed(counts, errors)
    proof = lim(seen)
    bounds = proof.bounds(seen)
    leaked = sum(counts) * 1.16 * binary_entropy(sum(errors) / sum(counts))
    published = {"s0": 0, "s1": 901_281.8, "phase": 0.0342515, "l": 470_164.2}
    assert by_loops(MEANS, SHARES, counts, errors, leaked) == pytest.approx(published, rel=2e-6)
    assert bounds.vacuum == 0  # and with counts cut to whole numbers:
    assert bounds.key == pytest.approx(901_281.8, rel=1e-5)
    assert proof.phase_error(bounds) == pytest.approx(0.0342515, rel=3e-4)
    assert proof.length(seen, round(leaked)).exact == pytest.approx(470_164.2, rel=1e-4)


def by_loops(means, shares, counts, wrong, leaked, secrecy=1e-10, correctness=1e-15) -> dict[str, float]:
    """Eqs. 1–5 of Lim et al. once more, with 40 digits and without a function in common."""
    with mpmath.workdps(40):
        m, p = [mpmath.mpf(x) for x in means], [mpmath.mpf(x) for x in shares]
        log21 = mpmath.log(21 / mpmath.mpf(secrecy))
        tau = [sum(p[k] * mpmath.exp(-m[k]) * m[k] ** n / mpmath.factorial(n) for k in range(3)) for n in range(2)]

        def shifted(values, sign):
            spread = mpmath.sqrt(sum(values) * log21 / 2)
            return [mpmath.exp(m[k]) / p[k] * (values[k] + sign * spread) for k in range(3)]

        def photons(values):
            low, high = shifted(values, -1), shifted(values, 1)
            s0 = max(tau[0] / (m[1] - m[2]) * (m[1] * low[2] - m[2] * high[1]), 0)
            top = low[1] - high[2] - (m[1] ** 2 - m[2] ** 2) / m[0] ** 2 * (high[0] - s0 / tau[0])
            return s0, tau[1] * m[0] * top / (m[0] * (m[1] - m[2]) - (m[1] ** 2 - m[2] ** 2))

        (s0, s1), (_, z1) = photons(counts), photons(counts)
        v1 = tau[1] / (m[1] - m[2]) * (shifted(wrong, 1)[1] - max(shifted(wrong, -1)[2], 0))
        b, c, d = v1 / z1, z1, s1
        inside = (c + d) / (c * d * (1 - b) * b) * 21**2 / mpmath.mpf(secrecy) ** 2
        phase = b + mpmath.sqrt((c + d) * (1 - b) * b / (c * d * mpmath.log(2)) * mpmath.log(inside, 2))
        h = -phase * mpmath.log(phase, 2) - (1 - phase) * mpmath.log(1 - phase, 2)
        length = s0 + s1 - s1 * h - leaked - 6 * log21 / mpmath.log(2) - mpmath.log(2 / mpmath.mpf(correctness), 2)
        return {"s0": float(s0), "s1": float(s1), "phase": float(phase), "l": float(length)}


@pytest.mark.parametrize(
    ("means", "background", "vacuum"),
    [((0.5, 0.1, 0.0), 1e-3, True), ((0.6, 0.2, 0.01), 2e-3, True), ((0.5, 0.1, 0.0), 1e-7, False)],
)
def test_lim_is_the_papers_formulas(means, background, vacuum):
    seen = observed(*channel(means, SHARES, 1e10, 0.02, background, 0.015))
    proof = lim(seen, Intensities(means, SHARES))
    again = by_loops(means, SHARES, seen.intensities.key, seen.intensities.errors, 1000)
    bounds = proof.bounds(seen)
    assert (bounds.vacuum > 0) is vacuum
    assert bounds.vacuum == pytest.approx(again["s0"], rel=1e-9)
    assert bounds.key == pytest.approx(again["s1"], rel=1e-9)
    assert proof.phase_error(bounds) == pytest.approx(again["phase"], rel=1e-9)
    assert proof.length(seen, 1000).exact == pytest.approx(again["l"], rel=1e-9)


def test_bounds_hold_for_photons_that_are_counted():
    """A source whose photon numbers we know: clicks, and errors among them, by number of photons."""
    rng = Key.of(5).fold("decoy").numpy()
    source, pulses, transmittance, background = Intensities((0.5, 0.15, 0.01), (0.5, 0.3, 0.2)), 2_000_000, 0.05, 1e-2
    proof = VariableLengthDecoy(source, Epsilon(1e-3, 1e-3))
    for _ in range(5):
        intensity = rng.choice(3, pulses, p=source.probabilities)
        photons = rng.poisson(np.array(source.means)[intensity])
        clicked = rng.random(pulses) < 1 - (1 - background) * (1 - transmittance) ** photons
        test = rng.random(pulses) < 0.5
        wrong = rng.random(pulses) < np.where(photons == 0, 0.5, 0.03)

        def triple(mask, intensity=intensity):
            return tuple(np.bincount(intensity[mask], minlength=3).tolist())

        counts = PerIntensity(triple(clicked & ~test), triple(clicked & test), triple(clicked & test & wrong))
        bounds = single_photons(counts, source, proof.deviation)
        one = clicked & (photons == 1)
        assert 0 < bounds.key <= (one & ~test).sum()
        assert 0 < bounds.test <= (one & test).sum()
        assert bounds.errors >= (one & test & wrong).sum()
        assert 0 < bounds.vacuum <= (clicked & ~test & (photons == 0)).sum()


def test_variable_length_is_the_authors_formula():
    """As their code has it: √(n/2 · ln(2/ε²)), f_serf, s_1 (1 − h) − leak + 2 + 2 log2 ε_PA + log2 ε_EV − 1."""
    seen = observed(*channel(MEANS, SHARES, 1e10, 0.02, 1e-5, 0.015))
    proof = VariableLengthDecoy(Intensities(MEANS, SHARES), EPSILON)
    each = 1e-10 / 3 / math.sqrt(10)
    assert proof.deviation(1000) == pytest.approx(math.sqrt(500 * math.log(2 / each**2)))
    assert 9 * each**2 + each**2 == pytest.approx((1e-10 / 3) ** 2)
    bounds = proof.bounds(seen)
    f = bounds.key * bounds.test**2 / ((bounds.key + bounds.test) * (bounds.test + 1))
    phase = bounds.errors / bounds.test + math.sqrt(-math.log(each) / f)
    exact = bounds.key * (1 - binary_entropy(phase)) - 7 + 2 + 2 * math.log2(1e-10 / 3) + math.log2(1e-15) - 1
    assert proof.length(seen, 7).exact == pytest.approx(exact, rel=1e-9)
    assert proof.length(seen, 7).exact < lim(seen).length(seen, 7).exact


def test_photon_number_splitting_leaves_no_key():
    """Eve lets only pulses of several photons through, as many as Bob expects clicks in all."""
    source, pulses = Intensities((0.5, 0.1, 0.0), SHARES), 1e10
    honest = channel(MEANS, SHARES, pulses, 0.02, 1e-7, 0.015)[0]
    several = [p * (1 - math.exp(-m) * (1 + m)) for m, p in zip(MEANS, SHARES, strict=True)]
    counts = tuple(sum(honest) * share / sum(several) for share in several)
    seen = observed(counts, tuple(0.01 * c for c in counts))
    for proof in (lim(seen, source), VariableLengthDecoy(source, EPSILON)):
        length = proof.length(seen, 0)
        assert (length.bits, length.reason) == (0, Reason.DECOY)


def test_without_a_key_there_is_a_reason():
    seen = observed(*channel(MEANS, SHARES, 1e9, 0.02, 1e-7, 0.015))
    proof = lim(seen)
    assert proof.length(seen, 10**6).reason is Reason.LEAK
    assert Lim(seen.key, seen.test, 5, proof.source).length(seen, 6).reason is Reason.LEAK
    assert Lim(seen.key + 1, seen.test, 5, proof.source).refusal(seen).reason is Reason.TOO_FEW_BITS
    noisy = observed(*channel(MEANS, SHARES, 1e9, 0.02, 1e-7, 0.4))
    assert lim(noisy).refusal(noisy).reason is Reason.DECOY
    few = observed(*channel(MEANS, SHARES, 1e5, 0.02, 1e-7, 0.015))
    assert VariableLengthDecoy().refusal(few).reason is Reason.DECOY


def test_hardly_any_single_photons_say_nothing():
    assert lim(Observed(1, 1, 0)).phase_error(SinglePhotons(0.0, 10.0, 1.5, 0.1)) == 0.5


def test_no_errors_are_not_certainty():
    counts, _ = channel(MEANS, SHARES, 1e9, 0.02, 1e-7, 0.0)
    seen = observed(counts, (0.0, 0.0, 0.0))
    proof = lim(seen)
    assert proof.phase_error(proof.bounds(seen)) > 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: Intensities((0.2, 0.1, 0.1), SHARES), lambda: Intensities((0.2, 0.15, 0.06), SHARES),
        lambda: Intensities(MEANS, (0.5, 0.5, 0.1)), lambda: Intensities(MEANS, (1.0, 0.0, 0.0)),
        lambda: Lim(0, 1, 1), lambda: VariableLengthDecoy(epsilon=Epsilon(0.0, 0.1)),
        lambda: VariableLengthDecoy().refusal(Observed(10, 10, 0)),
        lambda: VariableLengthDecoy().refusal(Observed(10, 10, 1, PerIntensity((10, 0, 0), (10, 0, 0), (0, 0, 0)))),
    ],
    ids=["order", "sum", "probabilities", "never", "size", "epsilon", "missing", "unequal"],
)  # fmt: skip
def test_senseless_numbers_are_refused(make):
    with pytest.raises(ConfigError):
        make()
