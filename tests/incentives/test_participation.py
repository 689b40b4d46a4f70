"""Participation: uniform sampling, and fates that belong to one client."""

import itertools
from collections import Counter

import pydantic
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.incentives.participation import Attendance, Participation

KEY = Key.of(11)
POPULATION = (2, 3, 5, 7, 11, 13)


def test_everybody_takes_part_by_default():
    attendance = Participation().draw(KEY, 0, POPULATION)
    assert attendance == Attendance(POPULATION)
    assert attendance.on_time == POPULATION


def test_the_invited_ascend_and_the_same_key_invites_them_again():
    config = Participation(clients_per_round=3, dropout=0.3, late=0.3)
    for number in range(20):
        one = config.draw(KEY, number, POPULATION)
        assert one == config.draw(KEY, number, POPULATION)
        assert one.invited == tuple(sorted(one.invited))


def test_a_large_population_costs_no_more_than_a_small_one():
    """Counted in the ids that are looked at: a round must not touch a hundred thousand of them."""

    class Counted(tuple):
        looked = 0

        def __getitem__(self, place):
            self.looked += 1
            return super().__getitem__(place)

        def __iter__(self):
            raise AssertionError("all of them")

    population = Counted(range(100_000))
    who = Participation(clients_per_round=100, dropout=0.1).draw(KEY, 1, population)
    assert len(set(who.invited)) == 100
    assert population.looked < 110  # the checks of the annotations look at a few as well
    assert all(client in range(100_000) for client in who.invited)


def test_pairs_are_sampled_uniformly_and_without_replacement():
    rounds = 6000
    drawn = Counter(Participation(clients_per_round=2).draw(KEY, r, POPULATION).invited for r in range(rounds))
    pairs = list(itertools.combinations(POPULATION, 2))
    assert set(drawn) == set(pairs)
    expected = rounds / len(pairs)
    chi_square = sum((drawn[pair] - expected) ** 2 / expected for pair in pairs)
    assert chi_square < 36.1  # the 0.999 quantile of χ² with 14 degrees of freedom


def test_dropping_out_and_lateness_have_their_probabilities():
    config = Participation(dropout=0.2, late=0.5)
    rounds = 2000
    seen = [config.draw(KEY, r, POPULATION) for r in range(rounds)]
    n = rounds * len(POPULATION)
    dropped = sum(len(a.dropped) for a in seen) / n
    late = sum(len(a.late) for a in seen) / n
    assert dropped == pytest.approx(0.2, abs=4 * (0.2 * 0.8 / n) ** 0.5)
    assert late == pytest.approx(0.8 * 0.5, abs=4 * (0.4 * 0.6 / n) ** 0.5)


def test_the_three_outcomes_divide_the_invited():
    config = Participation(clients_per_round=4, dropout=0.4, late=0.4)
    for number in range(50):
        a = config.draw(KEY, number, POPULATION)
        assert sorted((*a.dropped, *a.late, *a.on_time)) == list(a.invited)


def test_one_clients_fate_does_not_depend_on_the_others():
    config = Participation(dropout=0.5, late=0.5)
    for number in range(50):
        all_of_them = config.draw(KEY, number, POPULATION)
        for client in POPULATION:
            alone = config.draw(KEY, number, (client,))
            assert (client in all_of_them.dropped) == bool(alone.dropped)
            assert (client in all_of_them.late) == bool(alone.late)


def test_the_sample_does_not_depend_on_how_reliable_clients_are():
    shaky = Participation(clients_per_round=3, dropout=0.9, late=0.9)
    for number in range(20):
        steady = Participation(clients_per_round=3).draw(KEY, number, POPULATION)
        assert shaky.draw(KEY, number, POPULATION).invited == steady.invited


def test_rounds_and_seeds_differ():
    config = Participation(clients_per_round=3)
    draws = {config.draw(Key.of(s), r, POPULATION).invited for s in range(5) for r in range(5)}
    assert len(draws) > 5


def test_certain_dropout_and_certain_lateness():
    assert Participation(dropout=1.0).draw(KEY, 0, POPULATION).on_time == ()
    assert Participation(late=1.0).draw(KEY, 0, POPULATION).late == POPULATION


def test_more_clients_a_round_than_there_are():
    with pytest.raises(ConfigError, match="at most 6"):
        Participation(clients_per_round=7).draw(KEY, 0, POPULATION)
    assert Participation(clients_per_round=6).cohort(6) == Participation().cohort(6) == 6


@pytest.mark.parametrize(
    "wrong", [{"clients_per_round": 0}, {"dropout": -0.1}, {"late": 1.1}, {"dropout": float("nan")}, {"drop": 0.1}]
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        Participation(**wrong)
