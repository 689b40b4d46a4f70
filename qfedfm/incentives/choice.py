"""Whom a round invites as a quadratic problem over bits: reward, redundancy and exposure, at a fixed number of ones."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Field

from qfedfm.core.checks import check_fields
from qfedfm.core.cohort import ClientId, State
from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.incentives.ledger import Ledger
from qfedfm.incentives.selector import Invitation, Seen, Selector
from qfedfm.quantum.qaoa import Quadratic, brute_force
from qfedfm.reduces.choice import Choice

Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_EQUAL = 1e-6
"""Of the largest: differences that are roundings of float32."""
MOST_RATED = 20
"""Candidates up to which the best and the worst choice are computed, so that the history has ratios."""


@dataclass(frozen=True)
class ChoiceSelector(Selector):
    """The k of the candidates that minimise −β Σ_i r_i x_i + λ Σ_{i≠j} S_ij x_i x_j − ε Σ_i e_i x_i over Σ_i x_i = k.

    r_i ∈ [−1, 1] is the client's reward (`Ledger`), 1 before it was tried. S_ij = max(0, cos) ∈ [0, 1] is the
    redundancy of two clients: the cosine of the sketches of their last updates, 0 where one has none. e_i ∈ [0, 1] is
    the exposure that a client is due: the rounds since it was last invited, divided by the largest of the candidates'.
    Of equally good choices the key decides. All of it comes from updates that the server has seen.

    With every client a candidate and ε > 2β + 2λ(k − 1) the minimum leaves nobody out for ever: the client that waits
    longest is passed over only for clients whose own waiting is a fixed share of its. With β = λ = 0 the minimum takes
    turns: everybody in ⌈n/k⌉ rounds.

    The history has the ``value`` of the choice, and up to 20 candidates its ``choice_ratio`` (1 the best choice, 0 the
    worst) and ``random_ratio``, that of a choice at random; ``approximation_ratio`` is that of the distribution which
    the choice was drawn from, for a classical solver the choice itself. Where all choices are equal there are none.

    Args:
        reward: β.
        redundancy: λ.
        exposure: ε.
        candidates: at most that many clients, drawn uniformly in each round, are considered.

    Raises:
        ConfigError: a field is out of range, or (in `check`) a round invites more clients than are considered.
    """

    reward: Weight = 1.0
    redundancy: Weight = 0.5
    exposure: Weight = 1.0
    candidates: Annotated[int, Field(ge=1)] = 10

    watches = True

    def __post_init__(self) -> None:
        check_fields(self)

    def check(self, population: int, size: int) -> None:
        if self.candidates < size < population:
            given = f"{self.name} with {self.candidates} candidates for {size} clients a round"
            remedy = "raise candidates (a circuit has up to 16), or lower clients_per_round"
            raise ConfigError(given, f"at least {size} candidates", remedy)

    @abc.abstractmethod
    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        """Bits of which ``size`` are set, with a small value; not all values of the problem are equal."""

    def select(
        self,
        population: tuple[ClientId, ...],
        size: int,
        state: State,
        round: int,  # noqa: A002
        key: Key,
    ) -> Invitation:
        if size == len(population):
            return Invitation(population)
        self.check(len(population), size)
        count = min(self.candidates, len(population))
        # in random order, so that a solver which prefers the first of equals prefers nobody
        places = key.fold("candidates").numpy().choice(len(population), count, replace=False)
        considered = tuple(population[place] for place in places.tolist())
        problem = self.problem(Ledger.of(state).about(considered), size, round)
        if size < count and problem.Q.any():
            choice = self.choose(problem, size, key.fold("solver"))
        else:
            choice = Choice(np.arange(count) < size)
        chosen = sorted(client for client, bit in zip(considered, choice.bits.tolist(), strict=True) if bit)
        named = {**choice.cost.diagnostics(), "candidates": float(count), **_rated(problem, choice.bits)}
        return Invitation(tuple(chosen), {**named, **choice.named})

    def problem(self, about: Ledger, size: int, round: int) -> Quadratic:  # noqa: A002
        """The problem of some clients, with means of 0 on and off the diagonal.

        What is subtracted is a constant at a fixed number of ones, and is added to the constant of the problem. So the
        phases of a circuit, which are scaled to the size of Q, are about the differences between choices; and the
        constant is the mean value of all choices.
        """
        waited = (round - about.invited).astype(np.float64)
        linear = -self.reward * about.reward - self.exposure * waited / max(float(waited.max()), 1.0)
        sketches = about.sketches.astype(np.float64)
        pairs = self.redundancy * np.clip(sketches @ sketches.T, 0, 1)
        off = ~np.eye(len(waited), dtype=bool)
        mean, mean_pair = float(linear.mean()), float(pairs[off].mean()) if off.any() else 0.0
        Q = np.zeros(off.shape)
        Q[off] = _centred(pairs[off])
        np.fill_diagonal(Q, _centred(linear))
        return Quadratic((Q + Q.T) / 2, mean * size + mean_pair * size * (size - 1))

    def learn(self, state: State, round: int, seen: Seen) -> State:  # noqa: A002
        return Ledger.of(state).after(round, seen).state


def _centred(values: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Without their mean; exactly 0 where all are equal but for the rounding of the sketches."""
    different = len(values) > 0 and float(np.ptp(values)) > _EQUAL * float(np.abs(values).max())
    return values - values.mean() if different else np.zeros_like(values)


def _rated(problem: Quadratic, bits: Bool[np.ndarray, " n"]) -> dict[str, float]:
    """The value of a choice, and where it lies between the worst and the best of its size."""
    value = float(problem.value(bits.astype(np.float64)))
    if problem.n > MOST_RATED or not problem.Q.any():
        return {"value": value}
    optimum = brute_force(problem, int(bits.sum()))
    width = optimum.worst - optimum.best
    if width <= 0:
        return {"value": value}
    found, random = (optimum.worst - value) / width, (optimum.worst - problem.constant) / width
    return {"value": value, "choice_ratio": found, "random_ratio": random, "approximation_ratio": found}
