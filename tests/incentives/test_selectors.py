"""Whom a round invites: solvers against a loop over all choices, and what reward, redundancy and exposure do."""

import inspect
import itertools
import math
import re
import tomllib
from collections import Counter

import numpy as np
import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import build, entries
from qfedfm.engine.experiment import Experiment
from qfedfm.incentives import selectors
from qfedfm.incentives.choice import ChoiceSelector
from qfedfm.incentives.ledger import Ledger
from qfedfm.incentives.participation import Participation
from qfedfm.incentives.selector import SKETCH, Seen
from qfedfm.quantum.executor import Outcome
from qfedfm.quantum.executors.ideal import Shots
from qfedfm.quantum.qaoa import Quadratic, brute_force

KEY = Key.of(4)
CLASSICAL = ("exact-choice", "annealed-choice", "greedy-choice")


def directions(n: int, seed: int = 0) -> np.ndarray:
    """Unit sketches, some of them alike."""
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, SKETCH)) + 0.8 * rng.normal(size=(3, SKETCH))[rng.integers(0, 3, n)]
    return S / np.linalg.norm(S, axis=1, keepdims=True)


def ledger(n: int, seed: int = 0) -> Ledger:
    rng = np.random.default_rng(seed + 100)
    sketches = directions(n, seed).astype(np.float32)
    return Ledger(2 * np.arange(n), rng.integers(1, 9, n), np.full(n, 2), rng.uniform(-0.3, 0.9, n), sketches)


def by_hand(selector: ChoiceSelector, about: Ledger, chosen: tuple[int, ...], round_: int) -> float:
    """The three sums, in loops."""
    places = [about.clients.tolist().index(client) for client in chosen]
    longest = max(round_ - int(last) for last in about.invited)
    value = 0.0
    for i in places:
        value -= selector.reward * about.reward[i] + selector.exposure * (round_ - about.invited[i]) / longest
        for j in places:
            if i != j:
                cosine = float(about.sketches[i].astype(float) @ about.sketches[j].astype(float))
                value += selector.redundancy * max(0.0, cosine)
    return value


@pytest.mark.parametrize("seed", range(3))
def test_the_exact_choice_is_the_best_of_a_loop_over_all(seed):
    selector, about = selectors.ExactChoice(reward=0.7, redundancy=0.4, exposure=0.3), ledger(8, seed)
    population = tuple(about.clients.tolist())
    values = {kept: by_hand(selector, about, kept, 10) for kept in itertools.combinations(population, 3)}
    best, worst = min(values, key=values.get), max(values.values())
    found = selector.select(population, 3, about.state, 10, KEY)
    assert found.clients == best
    assert found.diagnostics["value"] == pytest.approx(values[best], abs=1e-6)
    assert found.diagnostics["choice_ratio"] == pytest.approx(1)
    mean = sum(values.values()) / len(values)
    assert found.diagnostics["random_ratio"] == pytest.approx((worst - mean) / (worst - values[best]), abs=1e-6)


@pytest.mark.parametrize("name", [*CLASSICAL, "qaoa-choice"])
@pytest.mark.parametrize("seed", range(3))
def test_every_solver_reports_the_value_and_the_ratio_of_its_choice(name, seed):
    about = ledger(8, seed)
    population = tuple(about.clients.tolist())
    selector = build("selector", {"name": name, **({"steps": 20, "shots": 128} if name == "qaoa-choice" else {})})
    values = [by_hand(selector, about, kept, 10) for kept in itertools.combinations(population, 3)]
    found = selector.select(population, 3, about.state, 10, KEY)
    value = by_hand(selector, about, found.clients, 10)
    assert found.diagnostics["value"] == pytest.approx(value, abs=1e-6)
    ratio = (max(values) - value) / (max(values) - min(values))
    assert found.diagnostics["choice_ratio"] == pytest.approx(ratio, abs=1e-6)
    assert ratio > (1 - 1e-9 if name in ("exact-choice", "annealed-choice") else 0.9)
    if name == "qaoa-choice":
        assert found.diagnostics["random_ratio"] < found.diagnostics["approximation_ratio"] <= ratio + 1e-9
        assert (found.diagnostics["circuits"], found.diagnostics["shots"]) == (22, 128)
        assert (found.diagnostics["circuits_exact"], found.diagnostics["circuits_shots"]) == (21, 1)
        assert found.diagnostics["feasible"] == 1
    else:
        assert found.diagnostics["approximation_ratio"] == found.diagnostics["choice_ratio"]
        assert found.diagnostics["circuits"] == found.diagnostics["shots"] == 0


def test_the_means_of_a_problem_are_taken_out_so_that_its_constant_is_the_mean_of_all_choices():
    problem = selectors.ExactChoice().problem(ledger(7), 3, 10)
    off = ~np.eye(7, dtype=bool)
    assert np.diag(problem.Q).sum() == pytest.approx(0, abs=1e-12)
    assert problem.Q[off].sum() == pytest.approx(0, abs=1e-12)
    every = [float(problem.value(np.isin(np.arange(7), kept) * 1.0)) for kept in itertools.combinations(range(7), 3)]
    assert problem.constant == pytest.approx(np.mean(every))


def test_greedy_and_annealed_agree_with_the_best_where_nothing_is_redundant_and_take_hundreds():
    about = ledger(300)
    population = tuple(about.clients.tolist())
    options = {"redundancy": 0.0, "candidates": 300}
    order = sorted(population, key=lambda client: by_hand(selectors.ExactChoice(), about, (client,), 10))
    for name in ("greedy-choice", "annealed-choice"):
        found = build("selector", {"name": name, **options}).select(population, 5, about.state, 10, KEY)
        assert found.clients == tuple(sorted(order[:5]))
        assert "choice_ratio" not in found.diagnostics


def play(selector, n, size, rounds, updates=None, key=KEY):
    """Invitations over rounds, in which the clients always send the same update, as a service would see it."""
    updates = directions(n, 3) if updates is None else updates
    state, invited = {}, []
    for number in range(1, rounds + 1):
        chosen = selector.select(tuple(range(n)), size, state, number, key.fold(number)).clients
        sketches = {client: updates[client].astype(np.float64) for client in chosen}
        aggregate = np.mean(list(sketches.values()), axis=0)
        state = selector.learn(state, number, Seen(chosen, sketches, aggregate))
        invited.append(chosen)
    return invited, state


def longest_wait(invited, n):
    """The most rounds that any client goes without an invitation, counted to the next one or to the end."""
    gaps = []
    for client in range(n):
        rounds = [0, *(number for number, who in enumerate(invited, 1) if client in who), len(invited) + 1]
        gaps += [after - before for before, after in itertools.pairwise(rounds)]
    return max(gaps)


@pytest.mark.parametrize("name", [*CLASSICAL, "qaoa-choice"])
def test_exposure_alone_takes_turns(name):
    quick = {"steps": 5, "shots": 400, "depth": 1} if name == "qaoa-choice" else {}
    n, size = (6, 2) if name == "qaoa-choice" else (10, 3)
    selector = build("selector", {"name": name, "reward": 0.0, "redundancy": 0.0, **quick})
    invited, _ = play(selector, n, size, 12)
    assert longest_wait(invited, n) <= math.ceil(n / size)


def test_enough_exposure_leaves_nobody_out_and_none_does():
    n, size = 9, 2
    options = {"reward": 1.0, "redundancy": 0.5}
    updates = directions(n, 5)
    updates[0] = -updates[1:].mean(axis=0) / np.linalg.norm(updates[1:].mean(axis=0))  # agrees with nobody
    enough = 2 * options["reward"] + 2 * options["redundancy"] * (size - 1) + 1
    invited, _ = play(selectors.ExactChoice(exposure=enough, **options), n, size, 120, updates)
    # a client that is passed over waits a share q of the longest wait between two turns, so T rounds hold at most
    # 1 + ln T / ln(1 / (1 − q)) of them, and k T ≤ (n − 1)(1 + …) ends it
    share = 1 - (enough - 1) / enough
    most = next(T for T in range(2, 999) if size * T > (n - 1) * (1 + math.log(T) / -math.log(1 - share)))
    assert longest_wait(invited, n) <= most
    without, _ = play(selectors.ExactChoice(exposure=0.0, **options), n, size, 120, updates)
    assert longest_wait(without, n) > 100


def test_redundancy_takes_from_both_of_two_clusters():
    left, right = np.eye(SKETCH)[:2]
    updates = np.array([left] * 5 + [right] * 3)
    for name in CLASSICAL:
        selector = build("selector", {"name": name, "reward": 0.0, "redundancy": 1.0, "exposure": 0.0})
        _, state = play(selector, 8, 8, 1, updates)
        for size, expected in ((2, (1, 1)), (4, (2, 2)), (6, (3, 3))):
            chosen = selector.select(tuple(range(8)), size, state, 2, KEY).clients
            assert (sum(c < 5 for c in chosen), sum(c >= 5 for c in chosen)) == expected


def test_reward_takes_those_that_agreed():
    updates = np.array([np.eye(SKETCH)[0]] * 5 + [-np.eye(SKETCH)[0]] * 2)
    selector = selectors.ExactChoice(reward=1.0, redundancy=0.0, exposure=0.0)
    _, state = play(selector, 7, 7, 1, updates)
    np.testing.assert_allclose(state["reward"], [1] * 5 + [-1] * 2)
    assert max(selector.select(tuple(range(7)), 5, state, 2, KEY).clients) < 5


def test_the_untried_come_before_those_that_agreed_less_than_fully():
    about = ledger(6)
    population = (*about.clients.tolist(), 50)
    selector = selectors.ExactChoice(redundancy=0.0, exposure=0.0)
    assert 50 in selector.select(population, 1, about.state, 10, KEY).clients


def test_equal_choices_are_drawn_alike():
    population, rounds = (2, 3, 5, 7, 11), 1200
    for name in CLASSICAL:
        selector = build("selector", {"name": name, "candidates": 3})
        drawn = Counter(selector.select(population, 2, {}, 1, KEY.fold(r)).clients for r in range(rounds))
        pairs = list(itertools.combinations(population, 2))
        expected = rounds / len(pairs)
        assert sum((drawn[pair] - expected) ** 2 / expected for pair in pairs) < 27.9  # χ², 9 degrees, 0.999


def test_the_uniform_selector_draws_what_participation_drew():
    """The draws of a release without selectors, by its four lines."""
    population = (2, 3, 5, 7, 11, 13)
    for number in range(30):
        generator = KEY.fold(number, "invited").numpy()
        places = sorted(generator.choice(6, 4, replace=False, shuffle=False).tolist())
        expected = tuple(population[place] for place in places)
        config = Participation(clients_per_round=4)
        assert config.draw(KEY, number, population).invited == expected
        assert config.invite(selectors.Uniform(), {}, KEY, number, population).clients == expected


def test_where_noise_shows_no_choice_of_the_right_size_candidates_at_random_are_taken(monkeypatch):
    def zeros(self, circuit, parameters, key):
        probabilities = np.zeros((len(parameters), 2**circuit.qubits))
        probabilities[:, 0] = 1
        return Outcome(probabilities, None, len(parameters), 9, "noise")

    monkeypatch.setattr(Shots, "run", zeros)
    about = ledger(6)
    selector, population = selectors.QaoaChoice(steps=0, depth=1), tuple(about.clients.tolist())
    drawn = {selector.select(population, 2, about.state, 10, KEY.fold(r)).clients for r in range(12)}
    assert len(drawn) > 4
    assert all(len(chosen) == 2 for chosen in drawn)


def test_a_population_that_fits_is_invited_whole_and_needs_no_circuit():
    for entry in entries("selector"):
        found = build("selector", entry.name).select((1, 4, 6), 3, {}, 1, KEY)
        assert (found.clients, dict(found.diagnostics)) == ((1, 4, 6), {})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("qaoa-choise", "qaoa-choice"),
        ({"name": "qaoa-choice", "candidates": 17}, "16"),
        ({"name": "exact-choice", "candidates": 21}, "20"),
        ({"name": "greedy-choice", "candidates": 0}, "1"),
        ({"name": "greedy-choice", "reward": -1.0}, "0"),
        ({"name": "greedy-choice", "redundancy": float("inf")}, "finite"),
        ({"name": "annealed-choice", "sweeps": 0}, "1"),
        ({"name": "qaoa-choice", "executor": "nowhere"}, "nowhere"),
        ({"name": "uniform", "candidates": 3}, "has none"),
    ],
)
def test_unknown_names_and_options_out_of_range_are_refused(config, message):
    with pytest.raises(ConfigError, match=message):
        build("selector", config)


def test_more_invitations_than_candidates_are_refused_unless_everybody_is_invited():
    selector = selectors.GreedyChoice(candidates=4)
    with pytest.raises(ConfigError, match="at least 5 candidates"):
        selector.check(9, 5)
    with pytest.raises(ConfigError, match="at least 5 candidates"):
        selector.select(tuple(range(9)), 5, {}, 1, KEY)
    selector.check(5, 5)
    selector.check(9, 4)
    assert len(selector.select(tuple(range(9)), 4, {}, 1, KEY).clients) == 4


def test_the_exact_choice_at_twenty_candidates_is_that_of_brute_force():
    about = ledger(20)
    selector = selectors.ExactChoice(candidates=20)
    found = selector.select(tuple(about.clients.tolist()), 6, about.state, 10, KEY)
    problem = selector.problem(about, 6, 10)
    assert isinstance(problem, Quadratic)
    assert found.diagnostics["value"] == pytest.approx(brute_force(problem, 6).best)


@pytest.mark.parametrize("name", [*CLASSICAL, "qaoa-choice"])
def test_roundings_are_no_reason_to_choose(name):
    """Clients that all sent one update, whose cosines in float32 are not quite 1."""
    selector = build("selector", name)
    update = directions(1)[0]
    _, state = play(selector, 6, 6, 1, np.array([update * (1 + i / 7) for i in range(6)]))
    found = selector.select(tuple(range(6)), 2, state, 2, KEY)
    assert "choice_ratio" not in found.diagnostics
    assert found.diagnostics["circuits"] == 0


def test_the_example_of_the_docstring_is_an_experiment():
    (text,) = re.findall(r"```toml\n(.*?)```", inspect.getdoc(selectors.QaoaChoice), re.DOTALL)
    experiment = Experiment.of(tomllib.loads(text))
    chosen = [experiment.arm(name).roles[1] for name in experiment.methods]
    assert chosen[0].quantum
    assert chosen[1].name in chosen[0].twins


def test_selectors_are_found_from_the_package():
    assert type(build("selector", "uniform")) is selectors.Uniform
    with pytest.raises(AttributeError, match="ExactChoice"):
        selectors.ExactChoise  # noqa: B018
