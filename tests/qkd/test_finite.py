import math

import mpmath
import pytest
from scipy.stats import hypergeom

from qfedfm.core.errors import ConfigError
from qfedfm.qkd.entropies import binary_entropy
from qfedfm.qkd.finite import FixedLength, VariableLength, serfling
from qfedfm.qkd.proof import Epsilon, Length, NoProof, Observed, Reason, Sample, sum_of


def test_tomamichel_gives_the_known_length():
    proof = FixedLength(100_000, 20_000, 0.025, 0, Epsilon(1e-10, 1e-15))
    assert abs(proof.margin - 0.0382727) < 5e-8
    assert abs(proof.exact - 1.1 * 100_000 * binary_entropy(0.025) - 47_299.86) < 0.005


TABLE = [
    (10**4, 0.010, 0.117, 0.382, 0.0248, 0.023),
    (10**4, 0.025, 0.068, 0.430, 0.0378, 0.030),
    (10**5, 0.010, 0.304, 0.220, 0.0214, 0.008),
    (10**5, 0.025, 0.215, 0.233, 0.0358, 0.010),
    (10**6, 0.010, 0.478, 0.125, 0.0173, 0.006),
    (10**6, 0.025, 0.357, 0.137, 0.0321, 0.007),
]


def _rate(n: int, leaked: float, p_test: float, tolerance: float, aborts: float) -> float:
    """(1 − ε_rob) l/M with (ε_sec + ε_cor)/l = 1e-14, half of it each, and M = n/(1 − p)² signals."""
    k, length = round(n * (p_test / (1 - p_test)) ** 2), n / 2
    for _ in range(40):  # ε depends on l
        half = 0.5e-14 * length
        length = FixedLength(n, k, tolerance, math.ceil(leaked), Epsilon(half, half)).exact
    return (1 - aborts) * length * (1 - p_test) ** 2 / n


@pytest.mark.parametrize(("n", "qber", "published", "p_test", "tolerance", "aborts"), TABLE)
def test_rates_are_those_of_the_papers_table(n, qber, published, p_test, tolerance, aborts):
    """Table II with its n, Q, r, p, Q_tol and ε_rob.

    The text puts the leak at 1.1 n h(Q_tol); the published rates lie between that and 1.1 n h(Q), which they reach at
    n = 10⁶.
    """
    least, most = (
        _rate(n, 1.1 * n * binary_entropy(rate), p_test, tolerance, aborts) / published for rate in (tolerance, qber)
    )
    assert 0.85 < least < 1
    assert 0.99 < most < (1.01 if n == 10**6 else 1.25)


@pytest.mark.parametrize(("n", "k", "wrong"), [(60, 40, 10), (100, 30, 20), (50, 50, 50), (200, 20, 8)])
def test_serfling_bounds_the_exact_tail(n, k, wrong):
    """Over all divisions of n + k bits, ``wrong`` of them errors, into key and test."""
    for log_inverse in (0.5, 1.0, 2.0):
        gap = serfling(n, k, log_inverse)
        tail = sum(
            hypergeom.pmf(found, n + k, wrong, k)
            for found in range(min(k, wrong) + 1)
            if (wrong - found) / n >= found / k + gap
        )
        assert tail <= math.exp(-2 * log_inverse)


def _fixed(**changed) -> FixedLength:
    given = {"key": 100_000, "test": 20_000, "tolerance": 0.025, "leak_cap": 20_000} | changed
    return FixedLength(**given)


@pytest.mark.parametrize(
    ("proof", "seen", "leaked", "reason"),
    [
        (_fixed(), Observed(99_999, 20_000, 0), 0, Reason.TOO_FEW_BITS),
        (_fixed(), Observed(100_000, 19_999, 0), 0, Reason.TOO_FEW_BITS),
        (_fixed(), Observed(100_000, 20_000, 501), 0, Reason.ERRORS),
        (_fixed(), Observed(100_000, 20_000, 500), 20_001, Reason.LEAK),
        (_fixed(test=50), Observed(100_000, 50, 0), 0, Reason.TOO_FEW_BITS),
        (_fixed(leak_cap=90_000), Observed(100_000, 20_000, 0), 0, Reason.TOO_FEW_BITS),
        (VariableLength(), Observed(0, 20_000, 0), 0, Reason.TOO_FEW_BITS),
        (VariableLength(), Observed(100_000, 20_000, 9_900), 0, Reason.ERRORS),
        (VariableLength(), Observed(100_000, 20_000, 20_000), 0, Reason.ERRORS),
        (VariableLength(), Observed(100_000, 20_000, 2_210), 0, Reason.ERRORS),
        (VariableLength(), Observed(100_000, 20_000, 500), 70_000, Reason.LEAK),
        (VariableLength(), Observed(100, 100, 0), 0, Reason.TOO_FEW_BITS),
        (VariableLength(), Observed(100_000, 20_000, 2_100), 0, Reason.TOO_FEW_BITS),
        (NoProof(100, "no proof of B92"), Observed(1, 1, 0), 0, Reason.NO_PROOF),
    ],
)  # fmt: skip
def test_without_a_key_there_is_a_reason(proof, seen, leaked, reason):
    length = proof.length(seen, leaked)
    assert (length.bits, length.reason) == (0, reason)
    assert length.detail


def test_a_fixed_length_does_not_depend_on_what_is_seen():
    lengths = {_fixed().length(Observed(100_000, 20_000, errors), told).bits for errors in (0, 500) for told in (0, 9)}
    assert lengths == {_fixed().bits}
    assert _fixed().sample == Sample(100_000, 20_000)


def test_a_margin_beyond_one_half_leaves_no_key():
    """h falls again beyond 1/2: put in as it stands it would promise a key from noise."""
    proof = _fixed(key=10**6, test=100, tolerance=0.4, leak_cap=0)
    assert 0.5 < proof.tolerance + proof.margin < 1
    assert proof.bits == 0
    assert proof.refusal(Observed(10**6, 100, 0)).reason is Reason.TOO_FEW_BITS


@pytest.mark.parametrize(("n", "k", "errors", "leaked"), [(10**5, 2 * 10**4, 500, 18_000), (10**6, 10**5, 900, 90_000)])
def test_variable_length_is_the_authors_formula(n, k, errors, leaked):
    """Written as in their code: f_serf = n k²/((n + k)(k + 1)), γ = √(ln(1/ε_AT)/f_serf)."""
    with mpmath.workdps(40):
        each = mpmath.mpf("1e-10") / 3
        f = mpmath.mpf(n) * k**2 / ((n + k) * (k + 1))
        e = mpmath.mpf(errors) / k + mpmath.sqrt(-mpmath.log(each) / f)
        h = -e * mpmath.log(e, 2) - (1 - e) * mpmath.log(1 - e, 2)
        exact = n * (1 - h) - leaked + (2 + 2 * mpmath.log(each, 2)) + mpmath.log(mpmath.mpf("1e-15"), 2) - 1
    length = VariableLength(Epsilon(1e-10, 1e-15)).length(Observed(n, k, errors), leaked)
    assert abs(length.exact - float(exact)) < 1e-5
    assert length.bits == math.floor(exact)


def test_variable_length_tends_to_the_rate_without_end():
    n, q = 10**12, 0.05
    leaked = round(n * binary_entropy(q))
    length = VariableLength().length(Observed(n, n, round(n * q)), leaked)
    assert length.bits / n == pytest.approx(1 - 2 * binary_entropy(q), abs=1e-4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: _fixed(key=0), lambda: _fixed(test=0), lambda: _fixed(leak_cap=-1), lambda: _fixed(tolerance=1.5),
        lambda: _fixed(quality=-0.1), lambda: _fixed(epsilon=Epsilon(0.0, 1e-15)),
        lambda: VariableLength(Epsilon(1e-10, 1.0)), lambda: Epsilon(-1e-9, 0.1), lambda: Epsilon(math.nan, 0.1),
        lambda: Sample(0, 5),
    ],
    ids=["key", "test", "leak", "tolerance", "quality", "secrecy", "correctness", "negative", "nan", "sample"],
)  # fmt: skip
def test_senseless_numbers_are_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_epsilons_add_up():
    one = Epsilon(1e-10, 1e-15, 1e-30)
    assert one.total == 1e-10 + 1e-15 + 1e-30
    together = sum_of([one] * 1000)
    assert together.total == pytest.approx(1000 * one.total)
    assert sum_of([]).total == 0


def test_a_length_is_cut_to_whole_bits():
    assert (Length.of(7.9).bits, Length.of(0.9).bits, Length.of(-3.0).reason) == (7, 0, Reason.TOO_FEW_BITS)
