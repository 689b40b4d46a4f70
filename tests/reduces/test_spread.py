"""The clients' ids mean nothing to the twins, and something to a circuit that does not reach every distribution."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.errors import StackError
from qfedfm.core.key import Key
from qfedfm.core.parts import ServerAt
from qfedfm.reduces.spread import permutation_spread
from tests.reduces.learned import both, surrogate


def spread_of(reduce, clients=7, hostile=2):
    cohort, quadratic = surrogate(clients, hostile, seed=1)
    at = ServerAt(1, Key.of(0), cohort.layout, np.zeros(cohort.layout.size, np.float32), both(quadratic))
    return permutation_spread(reduce, cohort, at, Key.of(3), 6)


@pytest.mark.parametrize("name", ["Amplitudes", "Softmax", "Simplex"])
def test_the_twins_do_not_care_who_is_called_what(name):
    found = spread_of(getattr(qf.reduces, name)())
    assert found.deviations.max() < 1e-6
    assert found.largest < 1e-6
    assert found.loss < 1e-6


def test_a_circuit_does_and_less_so_the_deeper_it_is():
    shallow, deep = (spread_of(qf.reduces.Born(layers=layers)) for layers in (1, 4))
    assert shallow.largest > 0.05
    assert deep.largest < shallow.largest
    assert shallow.loss > 0
    assert (shallow.deviations > 0).all()


def test_without_an_entangler_it_matters_most():
    assert spread_of(qf.reduces.BornNoEntangler()).largest > spread_of(qf.reduces.Born()).largest


def test_a_reduce_without_weights_is_refused():
    with pytest.raises(StackError, match="gives no weights"):
        spread_of(qf.reduces.Median())
