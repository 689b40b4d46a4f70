"""Partitions: every row has one owner, sizes and label shares are as each rule says, and too little data is refused."""

import numpy as np
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.errors import DataError
from qfedfm.core.key import Key
from qfedfm.tasks.partition import AnyPartition, ByLabel, BySource, Dirichlet, Iid, Quantity

N, CLASSES = 3000, 3
LABELS = Key.of(0).fold("labels").numpy().integers(0, CLASSES, N)
NONE = np.zeros(N, np.int64)
RULES = [Iid(), Dirichlet(alpha=0.5), ByLabel(), Quantity(alpha=1.0)]
read = pydantic.TypeAdapter(AnyPartition).validate_python


def counts(owner, clients=10):
    table = np.zeros((clients, CLASSES), np.int64)
    np.add.at(table, (owner, LABELS), 1)
    return table


def skew(owner):
    """Mean total variation distance between a client's label shares and the whole's."""
    table = counts(owner)
    shares = table / table.sum(1, keepdims=True)
    return float(np.abs(shares - np.bincount(LABELS) / N).sum(1).mean() / 2)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_every_row_has_one_owner_and_every_client_the_minimum(rule, seed):
    owner = rule.owners(LABELS, NONE, Key.of(seed))
    assert owner.shape == (N,)
    sizes = np.bincount(owner)
    assert len(sizes) == rule.clients
    assert sizes.sum() == N
    assert sizes.min() >= rule.minimum


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_key_decides_and_nothing_else(rule):
    first, again, other = (rule.owners(LABELS, NONE, Key.of(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_iid_sizes_differ_by_one_at_most():
    owner = Iid(clients=7).owners(LABELS, NONE, Key.of(3))
    assert np.ptp(np.bincount(owner)) <= 1
    assert skew(Iid().owners(LABELS, NONE, Key.of(3))) < 0.06


def test_dirichlet_shares_have_the_mean_and_the_variance_of_the_distribution():
    alpha, clients, keys = 1.0, 5, 400
    rule = Dirichlet(alpha=alpha, clients=clients, minimum=2)
    shares = np.array(
        [
            np.bincount(rule.owners(LABELS, NONE, Key.of(seed))[LABELS == 0], minlength=clients) / (LABELS == 0).sum()
            for seed in range(keys)
        ]
    )
    p = 1 / clients
    variance = p * (1 - p) / (clients * alpha + 1)
    assert shares.mean(0) == pytest.approx(p, abs=5 * np.sqrt(variance / keys))
    assert shares.var() == pytest.approx(variance, rel=0.15)


def test_label_shares_even_out_as_alpha_grows():
    skews = [
        np.mean([skew(Dirichlet(alpha=alpha).owners(LABELS, NONE, Key.of(seed))) for seed in range(5)])
        for alpha in (0.1, 1.0, 10.0, 1000.0)
    ]
    assert skews == sorted(skews, reverse=True)
    assert skews[0] > 0.4
    assert skews[-1] < 0.05


def test_shards_give_a_client_no_more_classes_than_its_shards_can_hold():
    sorted_runs = counts(ByLabel(shards=2).owners(LABELS, NONE, Key.of(5)))
    # 20 shards over 3 classes: all but 2 shards hold one class, those two hold two
    assert (sorted_runs > 0).sum() <= 20 + 2
    one = counts(ByLabel(shards=1, clients=3, minimum=2).owners(np.repeat([0, 1, 2], 1000), NONE, Key.of(5)), 3)
    assert one.sum() == N


def test_one_shard_a_class_separates_the_classes():
    labels = np.repeat([0, 1, 2], 1000)
    owner = ByLabel(shards=1, clients=3).owners(labels, NONE, Key.of(5))
    assert sorted(int(owner[labels == label][0]) for label in range(3)) == [0, 1, 2]
    assert all(np.ptp(owner[labels == label]) == 0 for label in range(3))


def test_quantity_skews_sizes_but_not_labels():
    owner = Quantity(alpha=1.0).owners(LABELS, NONE, Key.of(1))
    sizes = np.bincount(owner)
    assert sizes.max() > 2 * np.median(sizes)
    assert skew(owner) < 0.15
    even = np.bincount(Quantity(alpha=1e4).owners(LABELS, NONE, Key.of(1)))
    assert even == pytest.approx(N / 10, rel=0.05)


def test_sources_are_the_clients():
    sources = np.arange(N) % 4
    assert (BySource().owners(LABELS, sources, Key.of(1)) == sources).all()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_more_clients_than_data_is_refused(rule):
    many = type(rule)(**{**rule.model_dump(), "clients": 400})
    with pytest.raises(DataError, match=r"3000 rows for 400 clients of at least 10 rows; expected at least 4000 rows"):
        many.owners(LABELS, NONE, Key.of(1))


def test_more_shards_than_rows_is_refused():
    with pytest.raises(DataError, match="shards"):
        ByLabel(shards=400, clients=10).owners(LABELS, NONE, Key.of(1))


@pytest.mark.parametrize("rule", [Dirichlet(alpha=0.001), Quantity(alpha=0.001)], ids=lambda rule: rule.name)
def test_a_skew_that_leaves_clients_empty_is_refused(rule):
    with pytest.raises(DataError, match=r"alpha = 0.001, each with a client below 10 rows.*raise alpha"):
        rule.owners(LABELS, NONE, Key.of(1))


def test_a_configuration_is_a_name_or_a_table():
    assert read("iid") == Iid()
    assert read({"name": "dirichlet", "alpha": 0.3, "clients": 10}) == Dirichlet(alpha=0.3, clients=10)
    assert read("source") == BySource()


@pytest.mark.parametrize(
    "wrong",
    [
        "dirichlet",  # no alpha
        {"name": "dirichlet", "alpha": 0},
        {"name": "dirichlet", "alpha": float("inf")},
        {"name": "iid", "clients": 0},
        {"name": "iid", "alpha": 1},
        {"name": "source", "clients": 3},
        "dirichlett",
        {"name": "label", "shards": 0},
        {"name": "iid", "minimum": 1},
    ],
)
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        read(wrong)
