"""What becomes of similarities, whoever measured them: weights, outliers, clusters."""

from itertools import combinations

import numpy as np
import pytest

import qfedfm as qf
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError
from qfedfm.reduces.clustering import clusters
from qfedfm.reduces.similarity import SimilarityReduce, median_similarity, outlier_scores
from tests.reduces.cohorts import HUGE, cohort_of, normal, reduced, server_at

COSINES = [qf.reduces.Cosine(), qf.reduces.CosineOutlier(), qf.reduces.CosineCluster()]
each = pytest.mark.parametrize("reduce", COSINES, ids=lambda reduce: reduce.name)


def alike(clients: int, hostile: int, cosine: float, seed: int, scale: float = 1.0) -> Cohort:
    """Updates with a common part, so that two have this cosine; the first ``hostile`` of them are turned round."""
    common, own = normal(1, 3000, seed + 1000), normal(clients, 3000, seed)
    X = np.sqrt(cosine) * common + np.sqrt(1 - cosine) * own
    X[:hostile] *= -scale
    return cohort_of(X, weights=1.0 + np.arange(clients) % 3)


def agreement(vector: np.ndarray, cohort: Cohort, hostile: int) -> float:
    """The cosine with the weighted mean of the honest."""
    honest = np.average(cohort.X[hostile:], axis=0, weights=cohort.weights[hostile:])
    return float(vector @ honest / np.linalg.norm(vector) / np.linalg.norm(honest))


def brute_force(X: np.ndarray) -> np.ndarray:
    wide = X.astype(np.float64)
    return np.array([[((1 + a @ b / np.linalg.norm(a) / np.linalg.norm(b)) / 2) ** 2 for b in wide] for a in wide])


def test_the_weights_by_their_definition() -> None:
    cohort = alike(7, 2, 0.4, seed=0)
    S = brute_force(cohort.X)
    medians = [np.median([S[k, j] for j in range(7) if j != k]) for k in range(7)]
    lengths = np.linalg.norm(cohort.X, axis=1)
    raw = cohort.weights * np.maximum(np.array(medians) - 0.25 - 0.01, 0) * np.minimum(1, np.median(lengths) / lengths)
    result = reduced(qf.reduces.Cosine(margin=0.01, longest=1.0), cohort)
    np.testing.assert_allclose(result.row_weights, raw / raw.sum(), rtol=1e-5)
    np.testing.assert_allclose(result.vector, raw / raw.sum() @ cohort.X, atol=1e-6)
    assert result.diagnostics["min_similarity"] == pytest.approx(min(medians), rel=1e-6)


@pytest.mark.parametrize("hostile", [0, 2, 4])
@pytest.mark.parametrize("scale", [1.0, 3.0])
@each
def test_sign_flips_up_to_forty_per_cent_get_no_weight(reduce: SimilarityReduce, scale: float, hostile: int) -> None:
    for seed in range(3):
        cohort = alike(10, hostile, 0.2, seed, scale)
        result = reduced(reduce, cohort)
        assert result.row_weights[:hostile].sum() == 0
        assert agreement(result.vector, cohort, hostile) > 0.97
        assert result.diagnostics["kept"] == 10 - hostile


@each
def test_hostile_clients_that_agree_with_each_other_get_no_weight(reduce: SimilarityReduce) -> None:
    """Four equal updates against the mean: the mean similarity of a row would favour them."""
    cohort = alike(10, 0, 0.2, seed=5)
    X = cohort.X.copy()
    X[:4] = -X[4:].mean(axis=0)
    S = brute_force(X)
    assert S[0].mean() > S[9].mean()
    result = reduced(reduce, cohort_of(X, cohort.weights))
    assert result.row_weights[:4].sum() == 0


@pytest.mark.parametrize("length", [100.0, HUGE])
@each
def test_a_long_update_counts_as_one_of_twice_the_median_length(reduce: SimilarityReduce, length: float) -> None:
    cohort = alike(9, 0, 0.5, seed=1)
    X = cohort.X.copy()
    X[0] *= np.float32(length / np.abs(X[0]).max())
    lengths = np.linalg.norm(X.astype(np.float64), axis=1)
    result = reduced(reduce, cohort_of(X))
    assert result.row_weights[0] * lengths[0] < 3 * (result.row_weights * lengths)[1:].max()
    assert agreement(result.vector, cohort_of(X[1:]), 0) > 0.8


@each
def test_no_two_alike_gives_the_weighted_mean(reduce: SimilarityReduce) -> None:
    X = np.concatenate((np.eye(3), -np.eye(3)))
    result = reduced(reduce, cohort_of(X[[0, 3]], weights=[1, 3]))
    expected = [0, 1] if isinstance(reduce, qf.reduces.CosineCluster) else [0.25, 0.75]
    if not isinstance(reduce, qf.reduces.CosineCluster):
        np.testing.assert_allclose(result.row_weights, expected)
    assert result.row_weights.sum() == pytest.approx(1)


def test_a_zero_update_is_orthogonal_to_all() -> None:
    cohort = cohort_of([[1.0, 0], [1, 0], [1, 0.1], [0, 0]])
    result = reduced(qf.reduces.Cosine(), cohort)
    assert result.row_weights[3] == 0
    assert result.diagnostics["min_similarity"] == 0.25


@pytest.mark.parametrize("n", [2, 5, 8])
def test_the_median_is_over_the_others(n: int) -> None:
    S = np.random.default_rng(n).uniform(size=(n, n))
    expected = [np.median(np.delete(S[k], k)) for k in range(n)]
    np.testing.assert_array_equal(median_similarity(S), expected)


def test_outlier_scores_by_brute_force_over_all_halves() -> None:
    values = np.random.default_rng(0).normal(size=11)
    half = min(combinations(sorted(values), 6), key=lambda six: six[-1] - six[0])
    centre, radius = (half[0] + half[-1]) / 2, (half[-1] - half[0]) / 2
    np.testing.assert_allclose(outlier_scores(values), (centre - values) / (1.4826 * 1.5 * radius))


def test_outlier_scores_with_forty_per_cent_of_outliers() -> None:
    """The shortest half is then 5/6 of the honest: 1.38 σ on either side instead of 0.67 σ."""
    rng = np.random.default_rng(1)
    honest = rng.normal(0.4, 0.1, 6000)
    scores = outlier_scores(np.concatenate((honest, rng.normal(-1, 0.1, 4000))))
    assert scores[:6000].mean() == pytest.approx(0, abs=0.2)
    assert scores[:6000].std() == pytest.approx(0.6745 / 1.383, rel=0.05)
    assert scores[6000:].min() > 5 > 2.5 > scores[:6000].max()


def upgma(S: np.ndarray, threshold: float) -> list[set[int]]:
    """Joins the most similar clusters, mean similarity by its definition, until the threshold."""
    groups = [{k} for k in range(len(S))]
    while len(groups) > 1:
        value, a, b = max(
            (np.mean([S[i, j] for i in a for j in b]), ia, ib)
            for (ia, a), (ib, b) in combinations(enumerate(groups), 2)
        )
        if value < threshold:
            break
        groups = [group for index, group in enumerate(groups) if index not in (a, b)] + [groups[a] | groups[b]]
    return groups


@pytest.mark.parametrize("seed", range(5))
def test_clusters_by_brute_force(seed: int) -> None:
    S = np.random.default_rng(seed).uniform(size=(9, 9))
    S = (S + S.T) / 2
    labels = clusters(S, 0.45)
    assert {frozenset(np.flatnonzero(labels == label)) for label in range(labels.max() + 1)} == {
        frozenset(group) for group in upgma(S, 0.45)
    }
    assert labels[0] == 0


def test_every_cluster_has_its_own_mean() -> None:
    """Two groups of clients that learn opposite things: one vector would be worth nothing to either."""
    one, other = alike(5, 0, 0.3, seed=0), alike(5, 5, 0.3, seed=0)
    X = np.concatenate((one.X, other.X))
    cohort = cohort_of(X, weights=1.0 + np.arange(10))
    labels = clusters(brute_force(X), 0.25)
    assert labels.tolist() == [0] * 5 + [1] * 5
    each, state = qf.reduces.CosineCluster(models="each", warm=0).reduce(cohort, {}, server_at(cohort.layout.size))
    assert state["labels"].tolist() == labels.tolist()
    assert each.personal.labels == dict(enumerate([0] * 5 + [1] * 5))
    means = each.personal.vectors
    np.testing.assert_allclose(means[0], np.average(X[:5], axis=0, weights=np.arange(1, 6)), atol=1e-5)
    np.testing.assert_allclose(means[1], np.average(X[5:], axis=0, weights=np.arange(6, 11)), atol=1e-5)
    kept = reduced(qf.reduces.CosineCluster(), cohort_of(X[1:], weights=1.0 + np.arange(1, 10)))
    np.testing.assert_allclose(kept.vector, means[1], rtol=0.3, atol=0.3)
    assert kept.row_weights[:4].sum() == 0
    assert kept.diagnostics["clusters"] == 2


@pytest.mark.parametrize(
    ("name", "option"), [("Cosine", "margin"), ("CosineOutlier", "cutoff"), ("CosineCluster", "margin")]
)
def test_options_out_of_range_are_refused(name: str, option: str) -> None:
    with pytest.raises(ConfigError, match=option):
        getattr(qf.reduces, name)(**{option: -1.0})
    with pytest.raises(ConfigError, match="longest"):
        getattr(qf.reduces, name)(longest=0.0)
