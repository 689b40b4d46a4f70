"""One function for each kind and law; each raises AssertionError where a part does not keep the law."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from qfedfm.core.additive import AdditiveCodec
from qfedfm.core.cohort import Cohort, Reduced, State
from qfedfm.core.distortion import Bounded, Unbiased
from qfedfm.core.errors import PayloadError
from qfedfm.core.key import Key
from qfedfm.core.keyring import Keyring
from qfedfm.core.parts import Codec, CohortLayer, Law, Part, Reduce, VectorLayer
from qfedfm.core.seals import Seal
from qfedfm.core.summed import Direct, Summands, SummedLayer, Summing
from qfedfm.incentives.contribution import Contribution
from qfedfm.incentives.game import Game
from qfedfm.incentives.selector import Seen, Selector
from qfedfm.qkd.simulated import SimulatedLinks
from qfedfm.quantum.ansatz import born_circuit
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executor import Executor
from qfedfm.quantum.executors.cache import Cache
from tests.laws.cases import Case, same_state

KEYS = 25
"""Draws of a randomised codec."""
ALIKE = 24
"""As many equal ones in front, which a coin gives once in 10⁷ times, tell one that draws nothing."""
TOLERANCE = 2e-5
"""Of the largest coordinate: a few hundred roundings of float32."""


def close(found: np.ndarray, expected: np.ndarray, scale: np.ndarray, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * float(np.abs(scale).max()) + 1e-30)


def run(part: Reduce, case: Case, cohort: Cohort) -> Reduced:
    return part.reduce(cohort, part.init(case.layout, case.population(cohort)), case.server_at(part))[0]


def changed(cohort: Cohort, X: np.ndarray) -> Cohort:
    return replace(cohort, X=np.ascontiguousarray(X, np.float32))


def permuted(cohort: Cohort, order: np.ndarray) -> Cohort:
    clients = tuple(cohort.clients[i] for i in order)
    return Cohort(np.ascontiguousarray(cohort.X[order]), cohort.weights[order], clients, cohort.layout)


def reduce_permutation(part: Reduce, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    order = case.rng.permutation(cohort.n)
    one, other = run(part, case, cohort), run(part, case, permuted(cohort, order))
    close(other.vector, one.vector, cohort.X)
    if one.row_weights is not None:
        np.testing.assert_allclose(other.row_weights, one.row_weights[order], atol=1e-5)


def reduce_identity(part: Reduce, case: Case) -> None:
    assert part.minimum_rows() == 1
    cohort = replace(case, extra=0).cohort(1)
    reduced = run(part, case, cohort)
    close(reduced.vector, cohort.X[0], cohort.X, 1e-6)
    if reduced.row_weights is not None:
        np.testing.assert_allclose(reduced.row_weights, [1.0], rtol=1e-6)


def reduce_scaling(part: Reduce, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    scaled = changed(cohort, cohort.X * np.float32(case.factor))
    close(run(part, case, scaled).vector, case.factor * run(part, case, cohort).vector, scaled.X)


def reduce_translation(part: Reduce, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    constant = case.vector()
    moved = changed(cohort, cohort.X + constant)
    close(run(part, case, moved).vector, run(part, case, cohort).vector + constant, np.abs(moved.X).max() + cohort.X)


def reduce_convex(part: Reduce, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    reduced = run(part, case, cohort)
    assert reduced.row_weights is not None
    assert reduced.row_weights.shape == (cohort.n,)
    assert (reduced.row_weights >= 0).all()
    assert reduced.row_weights.sum() == pytest.approx(1, abs=1e-6)
    close(reduced.vector, reduced.row_weights @ cohort.X.astype(np.float64), cohort.X)


def rows_of(layer: CohortLayer, case: Case, cohort: Cohort) -> tuple[Cohort, np.ndarray]:
    """The lifted cohort, and its rows in ascending order of their client ids."""
    lifted = layer.lift(cohort, case.server_at())
    return lifted, lifted.X[np.argsort(lifted.clients)]


def layer_permutation(part: CohortLayer, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    one, rows = rows_of(part, case, cohort)
    other, others = rows_of(part, case, permuted(cohort, case.rng.permutation(cohort.n)))
    assert set(one.clients) == set(other.clients)
    close(others, rows, cohort.X)


def layer_identity(part: CohortLayer, case: Case) -> None:
    assert part.minimum_rows() == 1
    cohort = replace(case, extra=0).cohort(1)
    close(rows_of(part, case, cohort)[1], cohort.X, cohort.X, 1e-6)


def layer_scaling(part: CohortLayer, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    scaled = changed(cohort, cohort.X * np.float32(case.factor))
    close(rows_of(part, case, scaled)[1], case.factor * rows_of(part, case, cohort)[1], scaled.X)


def layer_translation(part: CohortLayer, case: Case) -> None:
    cohort = case.cohort(part.minimum_rows())
    constant = case.vector()
    moved = changed(cohort, cohort.X + constant)
    close(rows_of(part, case, moved)[1], rows_of(part, case, cohort)[1] + constant, np.abs(moved.X).max() + cohort.X)


def codec_same_key(part: Codec, case: Case) -> None:
    x = case.vector()
    assert part.encode(x, case.at()) == part.encode(x.copy(), case.at())


def codec_round_trip(part: Codec, case: Case) -> None:
    """The mean over keys of the squared error, and that of the output where it is unbiased, within five sigma."""
    x = case.vector()
    x[case.rng.random(x.size) < 0.2] = 0
    found, outputs = part.distortion(case.layout), []
    for at in case.ats(KEYS):
        body = part.encode(x, at)
        assert len(body) <= part.largest(case.layout)
        outputs.append(part.decode(body, at))
        assert outputs[-1].dtype == np.float32
        if len(outputs) == ALIKE and (np.array(outputs) == outputs[0]).all():
            break  # it draws nothing
    errors = np.asarray(outputs, np.float64) - x
    squares, square = (errors**2).sum(axis=1), float(x.astype(np.float64) @ x)
    if isinstance(found, Bounded):
        assert np.abs(errors).max() <= found.rho * np.abs(x).max() * (1 + 1e-6) + 1e-45
        return
    allowed = found.omega if isinstance(found, Unbiased) else 1 - found.delta
    chance = 5 * squares.std() / np.sqrt(len(squares))
    assert squares.mean() <= (allowed + 1e-12) * square + chance + 1e-76 * x.size
    if isinstance(found, Unbiased):
        bias = np.linalg.norm(errors.mean(axis=0))
        drawn = 5 * np.sqrt(allowed * square / len(errors))  # ω, since a rare draw may not be among those seen
        assert bias <= drawn + 1e-6 * np.sqrt(square) + 1e-38


def codec_refuses(part: Codec, case: Case) -> None:
    for wrong in wrong_vectors(case):
        with pytest.raises(PayloadError):
            part.encode(wrong, case.at())
    body = part.encode(case.vector(), case.at())
    size = int(case.rng.integers(0, 2 * part.largest(case.layout)))
    for altered in (b"", body[:-1], body + b"\0", body + body, case.rng.bytes(size), case.rng.bytes(len(body))):
        try:
            x = part.decode(altered, case.at())
        except PayloadError:
            continue
        assert x.shape == (case.layout.size,)
        assert np.isfinite(x).all()


def codec_additive(part: AdditiveCodec, case: Case) -> None:
    """The weighted sum of the whole numbers decodes to the weighted mean of what the bodies decode to."""
    rng = case.rng
    X = rng.normal(size=(4, case.layout.size)).astype(np.float32) * rng.choice([1e-3, 0.3, 10.0], 4)[:, None]
    weights = rng.integers(1, 50, 4)
    q, decoded = [], []
    for x, at in zip(X.astype(np.float32), case.ats(4), strict=True):
        q.append(part.integers(x, at))
        decoded.append(part.decode(part.encode(x, at), at).astype(np.float64))
        assert np.abs(q[-1]).max() <= part.bound
    found = part.real(weights @ np.array(q), int(weights.sum()))
    close(found, weights @ np.array(decoded) / weights.sum(), np.array(decoded))


def wrong_vectors(case: Case) -> list[np.ndarray]:
    x = case.vector()
    wrong = [x[:-1], np.concatenate([x, x]), x[:0]]
    for value in (np.nan, np.inf, -np.inf):
        altered = x.copy()
        altered[case.rng.integers(x.size)] = value
        wrong.append(altered)
    return wrong


def vector_same_key(part: VectorLayer, case: Case) -> None:
    x = case.vector()
    one, other = part.encode(x, case.at()), part.encode(x.copy(), case.at())
    assert one.tobytes() == other.tobytes()
    assert part.decode(one, case.at()).tobytes() == part.decode(other, case.at()).tobytes()


def vector_round_trip(part: VectorLayer, case: Case) -> None:
    x = case.vector()
    close(part.decode(part.encode(x, case.at()), case.at()), x, x)


def vector_refuses(part: VectorLayer, case: Case) -> None:
    for wrong in wrong_vectors(case):
        with pytest.raises(PayloadError):
            part.encode(wrong, case.at())


def ring_pair(links: SimulatedLinks | None = None, run: bytes = b"a run") -> tuple[Keyring, Keyring]:
    """A client's keys towards the server, and the server's towards the client."""
    links = links or SimulatedLinks()
    return Keyring(links.end("client"), "server", run), Keyring(links.end("server"), "client", run)


def seal_round_trip(part: Seal, case: Case) -> None:
    """Several messages in a row, both ways, with some of them lost on the way."""
    client, server = ring_pair()
    for number in range(4):
        body, identity = case.rng.bytes(case.d * number), case.rng.bytes(number)
        for sender, receiver in ((client, server), (server, client)):
            sealed = part.seal(body, identity, sender)
            assert number == 2 or bytes(part.open(bytes(sealed), identity, receiver)) == body


def seal_tampered(part: Seal, case: Case) -> None:
    """The true message opens afterwards: nobody can spoil it by sending another one first."""
    client, server = ring_pair()
    body = case.vector().tobytes()
    for _ in range(2):
        sealed = bytes(part.seal(body, b"where", client))
        for place in range(len(sealed)):
            altered = bytearray(sealed)
            altered[place] ^= 1 << case.rng.integers(8)
            _refused(part, altered, b"where", server)
        for altered in (b"", sealed[:-1], sealed + b"\0", sealed[1:], sealed + sealed, case.rng.bytes(len(sealed))):
            _refused(part, altered, b"where", server)
        assert bytes(part.open(sealed, b"where", server)) == body


def seal_elsewhere(part: Seal, case: Case) -> None:
    links = SimulatedLinks()
    client, server = ring_pair(links)
    body, sealed = case.vector().tobytes(), []
    for _ in range(2):
        sealed.append(bytes(part.seal(body, b"where", client)))
        _refused(part, sealed[-1], b"elsewhere", server)
        _refused(part, sealed[-1], b"", server)
        _refused(part, sealed[-1], b"where", client)  # back to whom it came from
        _refused(part, sealed[-1], b"where", Keyring(links.end("server"), "another client", b"a run"))
        _refused(part, sealed[-1], b"where", ring_pair()[1])  # other keys
        assert bytes(part.open(sealed[-1], b"where", server)) == body
        for again in sealed:
            _refused(part, again, b"where", server)


def _refused(part: Seal, body: bytes | bytearray, identity: bytes, keys: Keyring) -> None:
    with pytest.raises(PayloadError):
        part.open(body, identity, keys)


CIRCUIT = Circuit(born_circuit(2, 1))
"""One for all examples, so that an executor transpiles it once."""


class Tap(Direct):
    """Keeps what clients send."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def up(self, client: int, message: bytes) -> bytes:
        self.sent.append(message)
        return message


@dataclass
class Sums:
    """Rounds of a summed layer over five to ten clients, with numbers to ±999 and weights to 50."""

    part: SummedLayer
    case: Case

    def __post_init__(self) -> None:
        self.clients = tuple(range(2, 2 + 3 * (5 + self.case.extra), 3))
        self.parties, self.tap, self.round = self.part.parties(self.clients), Tap(), 0

    def inputs(self) -> dict[int, tuple[np.ndarray, int]]:
        rng = self.case.rng
        return {
            client: (rng.integers(-999, 1000, self.case.d), int(rng.choice([1, 50, int(rng.integers(1, 51))])))
            for client in self.clients
        }

    def begin(self, silent: tuple[int, ...] = ()) -> Summing:
        self.round += 1
        summands = Summands("run", 0, self.round, self.clients, bytes(8), bytes(8), self.case.d, 999, 50)
        drawn = {(u, v): self.case.rng.bytes(32) for u in self.clients for v in self.clients if u < v}
        links = {u: {v: drawn[min(u, v), max(u, v)] for v in self.clients if u != v} for u in self.clients}
        summing = self.parties.begin(summands, links if self.part.linked else {}, self.tap, silent)
        summing.setup()
        return summing


def summed_sum(part: SummedLayer, case: Case) -> None:
    """In Python's own integers; nobody, one client from the start, or one after the setup is silent."""
    sums = Sums(part, case)
    absent = sums.clients[case.seed % len(sums.clients)]
    for silent, gone in (((), ()), ((), (absent,)), ((absent,), (absent,))):
        inputs, summing = sums.inputs(), sums.begin(silent)
        for client in sums.clients:
            assert client in gone or summing.take(client, *inputs[client])
        opened, left = summing.open(), [client for client in sums.clients if client not in gone]
        assert opened.survivors == tuple(left)
        assert opened.weight == sum(inputs[client][1] for client in left)
        expected = [sum(int(inputs[client][0][i]) * inputs[client][1] for client in left) for i in range(case.d)]
        assert opened.total.tolist() == expected
        assert not summing.refused


def summed_fresh(part: SummedLayer, case: Case) -> None:
    """A coordinate of four bytes is the same in two rounds once in 4 · 10⁹ times."""
    sums, sent = Sums(part, case), []
    inputs = sums.inputs()
    for _ in range(2):
        summing = sums.begin()
        for client in sums.clients:
            sums.tap.sent.clear()
            assert summing.take(client, *inputs[client])
            sent += sums.tap.sent
    bodies = [message[60 : 60 + 4 * case.d] for message in sent]
    assert len(set(bodies)) == len(bodies) == 2 * len(sums.clients)


def summed_refuses(part: SummedLayer, case: Case) -> None:
    """The client is left out with the reason, and the sum is that of the others."""
    sums = Sums(part, case)
    inputs, d = sums.inputs(), case.d
    zeros, wrong = np.zeros(d, np.int64), sums.clients[0]
    for bad in (
        (np.full(d, 1000), 1),
        (np.full(d, -1000), 1),
        (zeros, 0),
        (zeros, 51),
        (zeros, -1),
        (np.zeros(d + 1, np.int64), 1),
    ):
        summing = sums.begin()
        for client in sums.clients:
            assert summing.take(client, *(bad if client == wrong else inputs[client])) == (client != wrong)
        assert summing.open().survivors == sums.clients[1:]
        assert set(summing.refused) == {wrong}


def executor_same_key(part: Executor, case: Case) -> None:
    """A circuit knows nothing of cohorts, and a simulated device takes its time: of all cases, three keys."""
    _same_key(part, case.seed % 3)


@functools.cache
def _same_key(part: Executor, seed: int) -> None:
    theta, key = np.random.default_rng(seed).uniform(-3, 3, (2, 4)), Key.of(seed)
    one, again = part.run(CIRCUIT, theta, key), part.run(CIRCUIT, theta, key)
    np.testing.assert_array_equal(one.probabilities, again.probabilities)
    assert one.column == again.column
    if isinstance(part, Cache):
        assert (again.circuits, again.shots) == (0, 0)
    else:
        assert (one.circuits, one.shots) == (again.circuits, again.shots)


def contribution_same_key(part: Contribution, case: Case) -> None:
    players = 1 + case.extra % 2
    v = case.rng.normal(size=2**players).tolist()
    game, key = partial(Game, players, lambda S: v[sum(1 << k for k in S)]), Key.of(case.seed)
    one, again = part.shares(game(), key), part.shares(game(), key)
    np.testing.assert_array_equal(one.values, again.values)
    np.testing.assert_array_equal(one.standard_errors, again.standard_errors)
    assert (one.calls, one.evaluations, one.queries) == (again.calls, again.evaluations, again.queries)


def selected(part: Selector, case: Case, learn: Callable[[Seen], Seen] = lambda seen: seen) -> tuple[Any, ...]:
    """The invitations of three rounds and the state after them."""
    population, size = case.invitations()
    state: State = {}
    invited = []
    for number in range(1, 4):
        found = part.select(population, size, state, number, Key.of(case.seed).fold(number))
        state = part.learn(state, number, learn(case.seen(found.clients)))
        invited.append((found.clients, dict(found.diagnostics)))
    return invited, state


def selector_same_key(part: Selector, case: Case) -> None:
    one, again = selected(part, case), selected(part, case)
    assert one[0] == again[0]
    assert same_state(one[1], again[1])


def selector_permutation(part: Selector, case: Case) -> None:
    """In whatever order the updates have come."""

    def backwards(seen: Seen) -> Seen:
        return replace(seen, sketches=dict(reversed(seen.sketches.items())))

    one, other = selected(part, case), selected(part, case, backwards)
    assert one[0] == other[0]
    assert same_state(one[1], other[1])


CHECKS: dict[tuple[str, Law], Callable[[Part, Case], None]] = {
    ("reduce", Law.PERMUTATION): reduce_permutation,
    ("reduce", Law.IDENTITY): reduce_identity,
    ("reduce", Law.SCALING): reduce_scaling,
    ("reduce", Law.TRANSLATION): reduce_translation,
    ("reduce", Law.CONVEX): reduce_convex,
    ("cohort layer", Law.PERMUTATION): layer_permutation,
    ("cohort layer", Law.IDENTITY): layer_identity,
    ("cohort layer", Law.SCALING): layer_scaling,
    ("cohort layer", Law.TRANSLATION): layer_translation,
    ("codec", Law.SAME_KEY): codec_same_key,
    ("codec", Law.ROUND_TRIP): codec_round_trip,
    ("codec", Law.REFUSES): codec_refuses,
    ("codec", Law.ADDITIVE): codec_additive,
    ("vector layer", Law.SAME_KEY): vector_same_key,
    ("vector layer", Law.ROUND_TRIP): vector_round_trip,
    ("vector layer", Law.REFUSES): vector_refuses,
    ("seal", Law.ROUND_TRIP): seal_round_trip,
    ("seal", Law.TAMPERED): seal_tampered,
    ("seal", Law.ELSEWHERE): seal_elsewhere,
    ("summed layer", Law.SUMMED): summed_sum,
    ("summed layer", Law.FRESH): summed_fresh,
    ("summed layer", Law.REFUSES): summed_refuses,
    ("executor", Law.SAME_KEY): executor_same_key,
    ("contribution", Law.SAME_KEY): contribution_same_key,
    ("selector", Law.SAME_KEY): selector_same_key,
    ("selector", Law.PERMUTATION): selector_permutation,
}  # type: ignore[assignment]
