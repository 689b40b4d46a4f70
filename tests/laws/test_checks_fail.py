"""Each check finds a part that breaks its law."""

import hmac
import os
from dataclasses import dataclass, replace

import numpy as np
import pytest

from qfedfm.core.cohort import Reduced
from qfedfm.core.distortion import Bounded, Contractive, Distortion, Unbiased
from qfedfm.core.errors import PayloadError
from qfedfm.core.float32 import require_finite
from qfedfm.core.parts import Codec, CohortLayer, Law, Reduce, VectorLayer
from qfedfm.core.seals import Seal
from qfedfm.core.summed import Opened, SummedLayer
from qfedfm.incentives.contribution import Contribution, Shares
from qfedfm.incentives.selector import Invitation, Selector
from qfedfm.quantum.executor import Executor, Outcome
from tests.laws.cases import Case
from tests.laws.checks import CHECKS

CASES = [Case(seed, seed % 5, 1 + seed % 4, seed % 3, seed % 2 == 0, seed % 5 == 0, 3.0) for seed in range(1, 13)]


def mean(X: np.ndarray) -> np.ndarray:
    return X.mean(axis=0, dtype=np.float64).astype(np.float32)


@dataclass(frozen=True)
class Wrong(Reduce):
    law: Law

    def reduce(self, cohort, state, at):
        X, n = cohort.X, cohort.n
        vector = {
            Law.PERMUTATION: X[0].copy(),
            Law.IDENTITY: mean(X) * np.float32(0.999),
            Law.SCALING: mean(np.sign(X)),
            Law.TRANSLATION: mean(X) * np.float32(0.999),
            Law.CONVEX: (cohort.shares @ X).astype(np.float32),
        }[self.law]
        return Reduced(vector, np.full(n, 1 / n)), state


@dataclass(frozen=True)
class WrongLayer(CohortLayer):
    law: Law

    def lift(self, cohort, at):
        X = {
            Law.PERMUTATION: cohort.X[::-1],
            Law.IDENTITY: cohort.X * np.float32(0.999),
            Law.SCALING: np.clip(cohort.X, -0.5, 0.5),
            Law.TRANSLATION: cohort.X * np.float32(0.999),
        }[self.law]
        return replace(cohort, X=np.ascontiguousarray(X))


EXACT = Unbiased(0.0)


@dataclass(frozen=True)
class WrongCodec(Codec):
    law: Law
    stated: Distortion = EXACT

    def encode(self, x, at):
        if self.law is not Law.REFUSES:
            require_finite(x, at.layout)
        nonce = os.urandom(4) if self.law is Law.SAME_KEY else b"\0" * 4
        stored = (x * np.float32(1.001) if self.law is Law.ROUND_TRIP else x).astype("<f4")
        return nonce + stored.tobytes()

    def decode(self, body, at):
        if len(body) != self.largest(at.layout):
            raise PayloadError("a body", "another length")
        return np.frombuffer(body, "<f4", offset=4).astype(np.float32)

    def largest(self, layout):
        return 4 + 4 * layout.size

    def distortion(self, layout):
        return self.stated

    bound = 7

    def integers(self, x, at):
        """In steps of the vector's own, which no other sender knows."""
        return np.rint(x / np.abs(x).max() * self.bound).astype(np.int64)

    def real(self, total, weight):
        return (total / (self.bound * weight)).astype(np.float32)


@pytest.mark.parametrize("stated", [Unbiased(1e-7), Contractive(1 - 1e-7), Bounded(0.0009)])
def test_a_codec_that_errs_more_than_it_states_is_found(stated):
    with pytest.raises(AssertionError):
        CHECKS["codec", Law.ROUND_TRIP](WrongCodec(Law.ROUND_TRIP, stated), CASES[0])
    CHECKS["codec", Law.ROUND_TRIP](WrongCodec(Law.ROUND_TRIP, Bounded(0.0011)), CASES[0])


@dataclass(frozen=True)
class WrongVector(VectorLayer):
    law: Law

    def encode(self, x, at):
        if self.law is not Law.REFUSES:
            require_finite(x, at.layout)
        if self.law is Law.SAME_KEY:
            return x + np.float32(int.from_bytes(os.urandom(2), "little") + 1) * np.abs(x).max()
        return x * np.float32(2)


@dataclass(frozen=True)
class WrongContribution(Contribution):
    law: Law

    def shares(self, game, key):
        return Shares(np.array([float.fromhex(os.urandom(4).hex())]), np.zeros(1), 0, 0)


@dataclass(frozen=True)
class WrongExecutor(Executor):
    law: Law

    def run(self, circuit, parameters, key):
        noise = int.from_bytes(os.urandom(4), "little") / 2**33
        line = np.full(2**circuit.qubits, 2.0**-circuit.qubits)
        line[:2] += line[0] * np.array([noise, -noise])
        return Outcome(np.tile(line, (len(parameters), 1)), None, len(parameters), 0)


@dataclass(frozen=True)
class WrongSelector(Selector):
    law: Law

    def select(self, population, size, state, round, key):  # noqa: A002
        start = os.urandom(1)[0] if self.law is Law.SAME_KEY else int(state.get("last", 0))
        return Invitation(tuple(sorted(population[(start + i) % len(population)] for i in range(size))))

    def learn(self, state, round, seen):  # noqa: A002
        return {"last": np.array(next(iter(seen.sketches), 0))}


@dataclass(frozen=True)
class WrongSeal(Seal):
    """HMAC over identity and body under a key for both directions, each message opened as often as it comes."""

    law: Law
    name = "wrong"
    overhead = 48

    def _tag(self, key, identity, body):
        said = b"" if self.law is Law.ELSEWHERE else identity
        return hmac.digest(key, said + bytes(body), "sha256")

    def seal(self, body, identity, keys):
        turn = keys.send(self.name, 32, 1)
        body = bytes(body)[::-1] if self.law is Law.ROUND_TRIP else bytes(body)
        return turn.key_id + self._tag(turn.key, identity, body) + body

    def open(self, body, identity, keys):
        if len(body) < self.overhead:
            raise PayloadError("a body", "a longer one")
        key_id, tag, opened = bytes(body[:16]), bytes(body[16:48]), bytes(body[48:])
        key = keys.receive(self.name, key_id, 0, 32)
        if self.law is not Law.TAMPERED and tag != self._tag(key, identity, opened):
            raise PayloadError("a body", "another one")
        keys.accept(self.name, key_id, 0, last=True)
        return opened

    def key_bytes(self, messages, largest):
        return 32 * messages


class WrongSumming:
    """Adds what it gets: without weights, in the clear, or out of range."""

    def __init__(self, law, summands, carrier):
        self.law, self.summands, self.carrier = law, summands, carrier
        self.inputs, self.refused, self.seconds = {}, {}, {}

    def setup(self):
        pass

    def take(self, client, q, weight):
        sent = bytes(60) + q.astype("<u4").tobytes() if self.law is Law.FRESH else os.urandom(60 + 4 * len(q))
        self.carrier.up(client, sent)
        self.inputs[client] = q, 1 if self.law is Law.SUMMED else weight
        return True

    def open(self):
        total = sum(q * weight for q, weight in self.inputs.values())
        return Opened(total, sum(weight for _, weight in self.inputs.values()), tuple(self.inputs))


@dataclass(frozen=True)
class WrongSummed(SummedLayer):
    law: Law
    linked = False
    messages = 1

    def check(self, clients, bound, max_weight):
        pass

    def parties(self, population):
        law = self.law

        class Parties:
            def begin(self, summands, keys, carrier, silent):
                return WrongSumming(law, summands, carrier)

        return Parties()


KINDS = {
    "summed layer": WrongSummed,
    "seal": WrongSeal,
    "reduce": Wrong,
    "cohort layer": WrongLayer,
    "codec": WrongCodec,
    "vector layer": WrongVector,
    "contribution": WrongContribution,
    "executor": WrongExecutor,
    "selector": WrongSelector,
}


def finds(kind: str, law: Law) -> bool:
    part = KINDS[kind](law)
    for case in CASES:
        try:
            CHECKS[kind, law](part, case)
        except (AssertionError, pytest.fail.Exception):
            return True
    return False


@pytest.mark.parametrize(("kind", "law"), CHECKS, ids=str)
def test_a_part_that_breaks_the_law_is_found(kind, law):
    assert finds(kind, law)


@pytest.mark.parametrize("reported", [np.array([2.0, -1.0]), np.array([0.5, 0.4]), None])
def test_weights_outside_the_simplex_are_found(reported):
    @dataclass(frozen=True)
    class Outside(Reduce):
        def minimum_rows(self):
            return 2

        def reduce(self, cohort, state, at):
            weights = np.full(2, 0.5) if reported is None else reported
            return Reduced((weights @ cohort.X).astype(np.float32), reported), state

    with pytest.raises(AssertionError):
        CHECKS["reduce", Law.CONVEX](Outside(), replace(CASES[0], extra=0))
