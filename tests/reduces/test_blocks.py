"""One distribution for each block: what it is made of, and that it is the model's where there is one block."""

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Objective, ServerAt
from qfedfm.reduces.blocks import blocks_of

SHAPES = {
    "layers.0.q.lora_A.weight": (2, 3),
    "layers.0.q.lora_B.weight": (3, 2),
    "layers.1.q.lora_A.weight": (2, 3),
    "layers.1.q.lora_B.weight": (3, 2),
    "head.weight": (2, 2),
    "head.bias": (2,),
}
LAYOUT = Layout.of(SHAPES)
LEARNED = ("Born", "BornNoEntangler", "Amplitudes", "Softmax", "Simplex")


def cohort_of(clients, seed=0):
    X = np.random.default_rng(seed).normal(size=(clients, LAYOUT.size)).astype(np.float32)
    return Cohort(X, 1.0 + np.arange(clients) % 3, tuple(range(clients)), LAYOUT)


def at_of(slope):
    g = np.asarray(slope, np.float32)
    objective = Objective(lambda delta: (float(g @ delta), g), lambda delta: float(g @ delta))
    return ServerAt(1, Key.of(0), LAYOUT, np.zeros(LAYOUT.size, np.float32), objective)


def played(reduce, cohort, at):
    return reduce.reduce(cohort, reduce.init(LAYOUT, tuple(sorted(cohort.clients))), at)


def test_the_blocks_of_a_layout_cover_it_once():
    for per, names in (
        ("model", ("model",)),
        ("block", ("layers.0", "layers.1", "head")),
        ("module", ("layers.0.q", "layers.1.q", "head")),
    ):
        blocks = blocks_of(LAYOUT, per)
        assert blocks.names == names
        columns = np.concatenate([np.arange(a, z) for ranges in blocks.columns for a, z in ranges])
        assert sorted(columns.tolist()) == list(range(LAYOUT.size))
        assert blocks.shares.sum() == pytest.approx(1)


def test_slopes_and_sums_of_blocks_are_those_of_a_loop():
    cohort, blocks = cohort_of(4), blocks_of(LAYOUT, "block")
    g = np.random.default_rng(1).normal(size=LAYOUT.size).astype(np.float32)
    weights = np.random.default_rng(2).dirichlet(np.ones(4), 3)
    combined, slopes = blocks.combined(weights, cohort.X), blocks.slopes(g, cohort.X)
    np.testing.assert_allclose(slopes.sum(axis=0), cohort.X.astype(np.float64) @ g, rtol=1e-6)
    for line, (name, entries) in enumerate(LAYOUT.blocks.items()):
        for entry in entries:
            part = slice(entry.start, entry.stop)
            np.testing.assert_allclose(combined[part], weights[line] @ cohort.X[:, part], rtol=1e-5, atol=1e-6)
        assert blocks.names[line] == name


@pytest.mark.parametrize("name", LEARNED)
def test_a_block_on_which_the_loss_does_not_depend_stays_near_the_sample_shares(name):
    reduce = getattr(qf.reduces, name)(per="block", steps=30, gradients=1)
    slope = np.zeros(LAYOUT.size)
    first = LAYOUT.blocks["layers.0"]
    slope[first[0].start : first[-1].stop] = 1.0
    cohort = cohort_of(5)
    reduced, state = played(reduce, cohort, at_of(slope))
    mean = cohort.shares @ cohort.X.astype(np.float64)
    other = np.concatenate([np.arange(e.start, e.stop) for b in ("layers.1", "head") for e in LAYOUT.blocks[b]])
    # Adam's steps do not shrink with the gradient, so that a circuit trembles a little about the minimum
    np.testing.assert_allclose(reduced.vector[other], mean[other], atol=0.03)
    assert np.abs(reduced.vector - mean).max() > 0.1
    assert state["theta"].shape[0] == 3
    assert reduced.diagnostics["reduce_parameters"] == state["theta"].size
    assert reduced.diagnostics["blocks"] == 3
    assert reduced.diagnostics["largest_block_difference"] > 0
    assert reduced.row_weights is None
    assert sum(reduced.client_weights.values()) == pytest.approx(1)


@pytest.mark.parametrize("name", LEARNED)
@pytest.mark.parametrize("clients", [1, 2, 3, 5, 17])
def test_any_number_of_clients(name, clients):
    reduce = getattr(qf.reduces, name)(per="module", steps=4, gradients=1)
    reduced, _ = played(reduce, cohort_of(clients), at_of(np.ones(LAYOUT.size)))
    assert np.isfinite(reduced.vector).all()
    if clients == 1:
        np.testing.assert_allclose(reduced.vector, cohort_of(1).X[0])


@pytest.mark.parametrize("name", ["Born", "Amplitudes"])
def test_with_one_block_it_is_the_model_s(name):
    layout = Layout.of({"head.weight": (6,)})
    X = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    cohort = Cohort(X, np.ones(4), (0, 1, 2, 3), layout)
    g = np.arange(6, dtype=np.float32)
    objective = Objective(lambda delta: (float(g @ delta), g), lambda delta: float(g @ delta))
    at = ServerAt(1, Key.of(0), layout, np.zeros(6, np.float32), objective)
    found = [
        reduce.reduce(cohort, reduce.init(layout, (0, 1, 2, 3)), at)[0]
        for reduce in (getattr(qf.reduces, name)(), getattr(qf.reduces, name)(per="block"))
    ]
    np.testing.assert_array_equal(found[0].vector, found[1].vector)
    np.testing.assert_array_equal(found[0].row_weights, found[1].row_weights)


def test_with_shots_all_blocks_are_one_batch():
    reduce = qf.reduces.Born(per="block", steps=2, gradients=1, shots=50, layers=1)
    reduced, _ = played(reduce, cohort_of(4), at_of(np.ones(LAYOUT.size)))
    # two looks of three circuits, two steps of 3 (1 + 2 · 4)
    assert reduced.diagnostics["circuits"] == 2 * 3 + 2 * 3 * 9


def test_bad_words():
    with pytest.raises(ConfigError, match="per = 'layer'"):
        qf.reduces.Softmax(per="layer")
    with pytest.raises(ConfigError, match="ample = -1"):
        qf.reduces.Softmax(ample=-1)
