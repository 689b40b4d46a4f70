"""Every registered part against the laws that it declares, and against what all parts of its kind owe."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings

from qfedfm.clients.attack import Attack
from qfedfm.clients.jobs import Job
from qfedfm.clients.method import LocalMethod
from qfedfm.core.cohort import Cohort
from qfedfm.core.errors import ConfigError, QfedfmError, StackError
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Codec, CohortLayer, Part, Reduce, ServerOptimizer, SumReduce, VectorLayer
from qfedfm.core.registry import Entry, build, describe, entries
from qfedfm.core.seals import Seal
from qfedfm.core.stack import bind, stack
from qfedfm.core.summed import SummedLayer
from qfedfm.incentives.contribution import Contribution
from qfedfm.incentives.game import Game
from qfedfm.incentives.selector import Selector
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import COLUMNS, Executor
from tests.laws.cases import Case, Subject, all_entries, cases, reloaded, same_state, subjects
from tests.laws.checks import CHECKS, close, ring_pair

ENTRIES = all_entries()
SUBJECTS = subjects()
REGISTERED = [subject for subject in SUBJECTS if subject.entry.part is not Float32Codec]
KINDS = (
    VectorLayer,
    Codec,
    SummedLayer,
    Seal,
    CohortLayer,
    Reduce,
    ServerOptimizer,
    LocalMethod,
    Attack,
    Executor,
    Contribution,
    Selector,
)
exploring = settings(max_examples=10, deadline=None, derandomize=True)


def name_of(value: object) -> str | None:
    if isinstance(value, Entry | Subject):
        return str(Subject(value, {}) if isinstance(value, Entry) else value)
    return getattr(value, "name", None)


def each(kind: type[Part]):
    chosen = [subject for subject in SUBJECTS if issubclass(subject.entry.part, kind)]
    return pytest.mark.parametrize("subject", chosen, ids=name_of)


each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=name_of)


def kind_of(entry: Entry) -> type[Part]:
    return next(kind for kind in KINDS if issubclass(entry.part, kind))


@pytest.mark.parametrize(
    ("subject", "law"),
    [(subject, law) for subject in SUBJECTS for law in sorted(subject.entry.part.laws, key=lambda law: law.name)],
    ids=name_of,
)
def test_the_law(subject, law):
    check, part = CHECKS[subject.entry.kind, law], subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        check(part, case)

    holds()


@each_entry
def test_laws_of_the_kind_are_kept_or_exempt_with_a_reason(entry):
    assert kind_of(entry).laws <= entry.part.laws | set(entry.part.exempt)
    assert not entry.part.laws & set(entry.part.exempt)
    for reason in entry.part.exempt.values():
        assert len(reason.split()) >= 3
        assert "\n" not in reason


@each_entry
def test_the_part_is_a_final_frozen_dataclass_with_a_docstring_and_a_paper(entry):
    assert entry.part.__dataclass_params__.frozen
    assert getattr(entry.part, "__final__", False)
    assert entry.part.__doc__
    assert not entry.part.__doc__.startswith(entry.part.__name__ + "(")
    assert entry.paper
    assert entry.part.name == entry.name


@each_entry
def test_names_of_twins_and_controls_are_parts_of_the_same_kind(entry):
    known = {other.name: other for other in ENTRIES if other.kind == entry.kind}
    assert set(entry.twins) <= set(known)
    assert not any(known[twin].quantum for twin in entry.twins)
    assert entry.control_of in {"", *known}
    if entry.quantum:
        assert entry.twins or entry.control_of


@pytest.mark.parametrize("subject", REGISTERED, ids=name_of)
def test_the_configuration_of_a_part_builds_it_again(subject):
    entry, part = subject.entry, subject.part
    config = describe(part)
    assert build(entry.kind, config) == part
    assert build(entry.kind, json.loads(json.dumps(config))) == part
    assert hash(build(entry.kind, config)) == hash(part)
    with pytest.raises(ConfigError):
        build(entry.kind, {**config, "no_such_option": 1})


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        (subject, field.name)
        for subject in REGISTERED
        for field in dataclasses.fields(subject.entry.part)
        if any(word in str(field.type) for word in ("int", "float"))
    ],
    ids=name_of,
)
def test_a_field_refuses_another_type(subject, field):
    for wrong in ("many", [1, 2], float("nan")):
        with pytest.raises(ConfigError, match=field):
            build(subject.entry.kind, {**describe(subject.part), field: wrong})


@each(Reduce)
def test_a_reduce_gives_a_finite_vector_and_leaves_its_input_alone(subject):
    part = subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        cohort = case.cohort(part.minimum_rows())
        X, weights = cohort.X.copy(), cohort.weights.copy()
        state = part.init(case.layout, case.population(cohort))
        before = {name: value.copy() for name, value in state.items()}
        reduced, after = part.reduce(cohort, state, case.server_at(part))
        assert reduced.vector.shape == (case.layout.size,)
        assert reduced.vector.dtype == np.float32
        assert np.isfinite(reduced.vector).all()
        assert not np.shares_memory(reduced.vector, cohort.X)
        assert all(isinstance(value, float) for value in reduced.diagnostics.values())
        np.testing.assert_array_equal(cohort.X, X)
        np.testing.assert_array_equal(cohort.weights, weights)
        assert same_state(before, state)
        again, after_again = part.reduce(cohort, reloaded(state), case.server_at(part))
        assert again.vector.tobytes() == reduced.vector.tobytes()
        assert same_state(after, after_again)
        one, one_state = part.reduce(cohort, after, case.server_at(part))
        other, other_state = part.reduce(cohort, reloaded(after), case.server_at(part))
        assert one.vector.tobytes() == other.vector.tobytes()
        assert same_state(one_state, other_state)

    holds()


@each(Reduce)
def test_updates_that_arrive_one_by_one_give_the_bits_of_the_whole_cohort(subject):
    part = subject.part
    assert part.is_sum == isinstance(part, SumReduce)

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        cohort = case.cohort(part.minimum_rows())
        at, population = case.server_at(part), case.population(cohort)
        bound = bind(stack(reduce=part), case.layout, population, cohort=cohort.n, validation=1)
        collector, buffer = bound.collect(cohort.n), np.empty(case.layout.size, np.float32)
        for row in np.argsort(cohort.clients):
            buffer[:] = cohort.X[row]
            collector.add(cohort.clients[row], buffer, float(cohort.weights[row]))
        one, one_state = collector.finish(bound.init(), at)
        order = slice(None) if part.is_sum else np.argsort(cohort.clients)
        clients = tuple(np.array(cohort.clients)[order].tolist())
        whole = Cohort(np.ascontiguousarray(cohort.X[order]), cohort.weights[order], clients, case.layout)
        other, other_state = bound.reduce(whole, bound.init(), at)
        assert one.vector.tobytes() == other.vector.tobytes()
        assert one.client_weights == other.client_weights
        assert one.diagnostics == other.diagnostics
        assert same_state(one_state, other_state)

    holds()


@each(Reduce)
def test_equal_updates_come_out_as_they_went_in(subject):
    part = subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        cohort = case.cohort(part.minimum_rows())
        equal = dataclasses.replace(cohort, X=np.repeat(cohort.X[:1], cohort.n, axis=0))
        reduced, _ = part.reduce(equal, part.init(case.layout, case.population(cohort)), case.server_at(part))
        close(reduced.vector, equal.X[0], equal.X, 1e-6)

    holds()


@each(Reduce)
def test_too_few_updates_or_no_validation_data_raise_our_error(subject):
    part = subject.part
    case = Case(1, 0, 3, 0, False, False, 1.0)
    least = part.minimum_rows()
    bound = {"layout": case.layout, "population": tuple(range(3 * least)), "validation": 1}
    assert bind(stack(reduce=part), cohort=least, **bound).minimum_clients() == least
    cohort = case.cohort(least)
    state = part.init(case.layout, case.population(cohort))
    if least > 1:
        with pytest.raises(StackError, match=str(least)):
            bind(stack(reduce=part), cohort=least - 1, **bound)
        fewer = dataclasses.replace(
            cohort, X=cohort.X[1:], weights=cohort.weights[1:], clients=cohort.clients[1:], members=()
        )
        with pytest.raises(QfedfmError):
            part.reduce(fewer, state, case.server_at(part))
    if part.needs_objective:
        with pytest.raises(StackError, match="validation"):
            bind(stack(reduce=part), cohort=least, **{**bound, "validation": 0})
        with pytest.raises(QfedfmError):
            part.reduce(cohort, state, case.server_at())


LARGEST = np.finfo(np.float32).max
EXTREMES = {
    "one client at the largest number": lambda X: np.concatenate([np.full_like(X[:1], LARGEST), X[1:]]),
    "one client at both ends": lambda X: np.concatenate([np.copysign(LARGEST, X[:1]), X[1:]]),
    "nothing but zeros": np.zeros_like,
    "subnormal numbers": lambda X: X * 1e-40,
}


@pytest.mark.parametrize("extreme", EXTREMES)
@each(Reduce)
def test_a_reduce_stays_finite_at_the_ends_of_float32(subject, extreme):
    part, case = subject.part, Case(5, 3, 9, 0, False, False, 1.0)
    cohort = case.cohort(part.minimum_rows())
    cohort = dataclasses.replace(cohort, X=EXTREMES[extreme](cohort.X).astype(np.float32))
    reduced, state = part.reduce(cohort, part.init(case.layout, case.population(cohort)), case.server_at(part))
    assert np.isfinite(reduced.vector).all()
    assert reduced.row_weights is None or np.isfinite(reduced.row_weights).all()
    assert all(np.isfinite(value).all() for value in state.values())
    assert all(np.isfinite(value) for value in reduced.diagnostics.values())


SHAPES = {
    "one coordinate": (1,),
    "a matrix": (6, 5),
    "a scalar": (),
}
VALUES = {
    "nothing but zeros": np.zeros_like,
    "nothing but minus zero": lambda x: np.zeros_like(x) * np.float32(-1),
    "constant": lambda x: np.full_like(x, 0.7),
    "all negative": lambda x: -np.abs(x) - np.float32(1),
    "subnormal numbers": lambda x: (x * 1e-40).astype(np.float32),
    "the largest number": lambda x: np.full_like(x, LARGEST),
    "both ends": lambda x: np.copysign(LARGEST, x),
    "one outlier": lambda x: np.where(np.arange(x.size) == x.size // 2, np.float32(1e30), x),
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("shape", SHAPES)
@each(Codec)
def test_a_codec_takes_any_finite_vector_of_any_shape(subject, shape, value):
    part, layout = subject.part, Layout.of({"a": SHAPES[shape], "b": (2, 3)})
    at = dataclasses.replace(Case(5, 0, 1, 0, False, False, 1.0).at(), layout=layout)
    x = VALUES[value](np.random.default_rng(1).normal(size=layout.size).astype(np.float32))
    before = x.copy()
    body = part.encode(x, at)
    np.testing.assert_array_equal(x, before)
    assert len(body) <= part.largest(layout)
    back = part.decode(body, at)
    assert np.isfinite(back).all()
    assert back.shape == x.shape
    if not x.any():
        assert not back.any()


@each(Codec)
def test_a_codecs_memory_is_pure_and_survives_saving(subject):
    part, case = subject.part, Case(4, 0, 9, 0, False, False, 1.0)
    memory, mirror = part.memory(case.layout), part.mirror(case.layout)
    for number, at in enumerate(case.ats(4)):
        x = case.vector() * np.float32(1 + number)
        before = [{name: value.copy() for name, value in state.items()} for state in (memory, mirror)]
        body, after = part.send(x, memory, at)
        again = part.send(x, reloaded(memory), at)
        assert body == again[0]
        assert same_state(after, again[1])
        decoded, seen = part.receive(body, mirror, at)
        assert decoded.tobytes() == part.receive(body, reloaded(mirror), at)[0].tobytes()
        assert same_state(memory, before[0])
        assert same_state(mirror, before[1])
        assert all(np.isfinite(value).all() for value in (*after.values(), *seen.values()))
        memory, mirror = after, seen


@each(Seal)
def test_a_seal_adds_what_it_says_and_takes_the_key_that_it_says(subject):
    part = subject.part
    for lengths in ([0], [100], [5, 1, 8, 0, 3]):
        client, server = ring_pair()
        for length in lengths:
            sealed = part.seal(bytes(length), b"where", client)
            assert len(sealed) == length + part.overhead
            assert len(part.open(sealed, b"where", server)) == length
        assert 8 * part.key_bytes(1, 0) <= client.account.key_bits <= 8 * part.key_bytes(len(lengths), max(lengths))
        assert server.account.key_bits == 0


@each(CohortLayer)
def test_a_cohort_layer_says_how_it_mixed(subject):
    part = subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        cohort = case.cohort(part.minimum_rows())
        before = cohort.X.copy()
        lifted = part.lift(cohort, case.server_at())
        assert lifted.n == part.rows(cohort.n)
        np.testing.assert_array_equal(cohort.X, before)
        mixing = np.eye(cohort.n) if lifted.mixing is None else lifted.mixing
        close(lifted.X, mixing @ cohort.X.astype(np.float64), cohort.X)
        assert lifted.members == cohort.clients
        if not part.merges:
            assert set(lifted.clients) == set(cohort.clients)
        twice_least = part.minimum_rows()
        if lifted.n >= twice_least:
            twice = part.lift(lifted, case.server_at())
            again = np.eye(cohort.n) if twice.mixing is None else twice.mixing
            close(twice.X, again @ cohort.X.astype(np.float64), cohort.X)
            assert twice.members == cohort.clients

    holds()


@each(ServerOptimizer)
def test_a_server_optimiser_is_pure_and_its_state_survives_saving(subject):
    part = subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        model, delta = case.vector(), case.vector()[::-1].copy()
        start = part.init(case.layout)
        before = model.copy(), delta.copy(), {name: value.copy() for name, value in start.items()}
        one, state = part.step(model, delta, start)
        assert one.dtype == np.float32
        assert one.shape == model.shape
        assert np.isfinite(one).all()
        np.testing.assert_array_equal(model, before[0])
        np.testing.assert_array_equal(delta, before[1])
        assert same_state(start, before[2])
        kept = part.step(one, delta, state)
        loaded = part.step(one, delta, reloaded(state))
        assert kept[0].tobytes() == loaded[0].tobytes()
        assert same_state(kept[1], loaded[1])

    holds()


@each(LocalMethod)
def test_a_local_methods_state_survives_saving(subject):
    part = subject.part
    case = Case(4, 0, 3, 0, False, False, 1.0)
    job = Job(1, case.vector(), (np.zeros(2, np.int64),) * 3, np.full(3, 0.1))
    server, own = part.server(case.layout), part.client(case.layout)
    for delta in (case.vector(), -2 * case.vector()):
        loaded = reloaded(server), reloaded(own)
        one, other = part.prepare(job, server, own), part.prepare(job, *loaded)
        assert one.proximal == other.proximal
        np.testing.assert_array_equal(one.correction, other.correction)
        own, kept = part.finish(one, delta, server, own), part.finish(other, delta, *loaded)
        assert same_state(own, kept)
        server, saved = part.close(delta, 0.3, 1, 4, server), part.close(delta, 0.3, 1, 4, loaded[0])
        assert same_state(server, saved)
        assert all(np.isfinite(value).all() for value in (*own.values(), *server.values()))


@each(Executor)
def test_an_executor_gives_a_line_on_the_simplex_for_each_line_of_parameters(subject):
    part, circuit = subject.part, Circuit(born_circuit(2, 1))
    theta = np.random.default_rng(0).uniform(-3, 3, (3, 4))
    outcome = part.run(circuit, theta, Key.of(0))
    assert outcome.probabilities.shape == (3, 4)
    assert outcome.probabilities.min() >= 0
    np.testing.assert_allclose(outcome.probabilities.sum(axis=1), 1, atol=1e-9)
    assert outcome.column in COLUMNS
    assert outcome.circuits >= 3
    assert outcome.shots >= 0
    if outcome.counts is not None:
        np.testing.assert_allclose(outcome.counts / outcome.counts.sum(axis=1, keepdims=True), outcome.probabilities)
    with pytest.raises(ConfigError, match="parameters"):
        part.run(circuit, theta[:, :3], Key.of(0))


@each(Executor)
def test_an_executor_is_close_to_the_ideal_circuit(subject):
    circuit = Circuit(born_circuit(2, 1))
    theta = np.random.default_rng(1).uniform(-3, 3, (4, 4))
    ideal, _ = circuit.program.evaluate(theta)
    found = subject.part.run(circuit, theta, Key.of(0)).probabilities
    assert np.abs(found - ideal).sum(axis=1).max() / 2 < 0.3


@each(Contribution)
def test_a_contribution_divides_what_the_coalition_of_all_is_worth(subject):
    """Where every marginal contribution is the same, all methods give it, and the sum is v(N) − v(∅)."""
    game = Game(3, lambda coalition: 2.0 - 0.5 * len(coalition))
    shares = subject.part.shares(game, Key.of(0))
    np.testing.assert_allclose(shares.values, -0.5, atol=1e-9)
    assert (shares.standard_errors >= 0).all()
    assert (shares.calls, shares.evaluations) == (game.calls, game.evaluations)


@each(Selector)
def test_a_selector_invites_as_many_different_clients_as_it_is_told(subject):
    part = subject.part

    @exploring
    @given(cases)
    def holds(case: Case) -> None:
        population, size = case.invitations()
        state = {}
        for number in range(1, 4):
            before = {name: value.copy() for name, value in state.items()}
            key = Key.of(case.seed).fold(number)
            part.check(len(population), size)
            found = part.select(population, size, state, number, key)
            assert found.clients == tuple(sorted(set(found.clients)))
            assert len(found.clients) == size
            assert set(found.clients) <= set(population)
            assert all(isinstance(value, float) and np.isfinite(value) for value in found.diagnostics.values())
            after = part.learn(state, number, case.seen(found.clients))
            assert same_state(before, state)
            assert part.select(population, size, reloaded(state), number, key) == found
            assert same_state(part.learn(reloaded(state), number, case.seen(found.clients)), after)
            assert all(np.isfinite(value).all() for value in after.values())
            state = after

    holds()


def test_every_kind_in_the_register_is_tested_here():
    assert {entry.kind for entry in entries()} <= {kind.kind for kind in KINDS}
    assert Float32Codec in {entry.part for entry in ENTRIES}
