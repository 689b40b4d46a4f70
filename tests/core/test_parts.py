"""What a part has without saying so."""

from dataclasses import dataclass

import numpy as np
import pytest

from qfedfm.core.parts import Codec, CohortLayer, Reduce, ServerOptimizer, VectorLayer
from tests.core.parts import LAYOUT, Average, Collapse, Reorder, at


@dataclass(frozen=True)
class OneWay(VectorLayer):
    def encode(self, x, at):
        return -x


@dataclass(frozen=True)
class Ascent(ServerOptimizer):
    def step(self, model, delta, state):
        return model + delta, state


def test_a_vector_layer_has_nothing_to_undo():
    x = np.arange(5, dtype=np.float32)
    assert OneWay().decode(x, at()) is x


def test_a_part_starts_without_state():
    assert Ascent().init(LAYOUT) == {}
    assert Average().init(LAYOUT, (1, 2)) == {}


def test_rows_stay_as_they_are_unless_a_layer_says_otherwise():
    assert (Reorder().rows(7), Reorder().minimum_rows(), Reorder.merges) == (7, 1, False)
    assert Collapse().rows(7) == 1
    assert (Average.per_client, Average.needs_objective) == (False, False)


@pytest.mark.parametrize("kind", [VectorLayer, Codec, CohortLayer, Reduce, ServerOptimizer])
def test_a_kind_is_no_part_by_itself(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()
