"""Client weights learned on the server's validation data: what the Born aggregator and its twins have in common."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64

from qfedfm.core.cohort import EMPTY, ClientId, Cohort, Reduced, State
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import Law, Objective, Reduce, ServerAt
from qfedfm.reduces.blocks import Blocks, Per, blocks_of, check_per, reduced_by_block, scattered
from qfedfm.reduces.client_weights import Problem, plausible, problem_of, standardised
from qfedfm.reduces.cost import Cost

_BETAS = (0.8, 0.95)
"""Of Adam: a descent of some fifty steps ends before the momentum of the usual (0.9, 0.999) has died down."""

Pullback = Callable[[np.ndarray], np.ndarray]
"""v ↦ Σ_k v_k ∂p_k/∂θ."""


@dataclass(frozen=True)
class Point:
    """The model's probabilities at θ, one line for each line of θ, and what they cost."""

    probabilities: Float64[np.ndarray, "*b k"]
    cost: Cost = field(default_factory=Cost)


@dataclass(frozen=True)
class LearnedWeights(Reduce):
    """Σ_k w_k Δ_k with w_k ∝ n_k p_k(θ), θ trained each round on the server's validation loss L.

    A model gives a probability to each client of the population, bound to the client's id (the rank among the sorted
    ids); the clients of a round share what theirs have. In a round, ``gradients`` times: one pass over the validation
    data at the present weights gives ∇L, with it the slope s_k = ⟨∇L, Δ_k⟩ of each client, and then ``steps`` steps of
    Adam in θ go down

        Σ_k w_k(θ) s̃_k + trust · KL(w(θ) ‖ n / Σn),    s̃ = (s − median s) / (1.4826 · MAD s), kept within ±10,

    which costs K numbers a step and no pass over data. The robust scale keeps the step the same however large a
    hostile update is. One more pass, without a gradient, tells the loss of the last weights; the θ with the lowest
    validation loss is used and is where the next round starts. The first θ makes the probabilities equal: the weighted
    mean.

    A slope is a mean over the validation rows, so its variance from their draw falls as 1 / rows, and where it drowns
    what the clients differ by, the best guess of a slope is that much closer to 0. So with fewer rows than ``ample``
    trust · ample / rows takes the place of trust: without it, ten rows are learned by heart (docs/born.md).

    With ``per`` = block or module every part b of the vector has its own θ, its own slopes ⟨∇_b L, Δ_k^(b)⟩ and its
    own KL, the trust being the same in all. Slopes are scaled by the largest of the parts' robust deviations, not each
    by its own: the part on which the loss depends most moves as far as a single distribution would, and one on which it
    hardly depends, whose slopes are mostly noise, stays at the sample shares.

    Where a descent did not lower the loss, the linearisation misled it (at a mean full of hostile updates ∇L may say
    nothing): the next one takes for each client the worse of two slopes, that at the present weights and that at the
    unchanged model, for one more pass. Where the loss or its gradient is not finite, the lengths of the updates take
    the place of the slopes. An update more than 10³ times as long as the median one gets weight 0.

    Args:
        steps: of the optimiser for each validation gradient.
        gradients: validation gradients G a round; G + 1 passes over the validation data, one of them without a
            gradient, and up to G − 1 more where descents fail.
        lr: the learning rate of Adam.
        trust: how strongly the weights are held to the sample shares; in units of a client's robust deviation.
        per: what has a distribution of its own: the ``model`` as a whole, each semantic ``block`` of the layout (a
            transformer layer, a head), or each ``module`` (a LoRA layer with its A and B).
        ample: validation rows from which trust is taken as it is; 0 for any number.

    Raises:
        ConfigError: a number out of range.
        StackError: (in `reduce`) the server has no validation data, or a client is not in the population.
    """

    needs_objective = True
    per_client = True
    laws = frozenset({Law.PERMUTATION, Law.IDENTITY, Law.CONVEX})
    exempt = {Law.SCALING: "the weights follow the validation loss, which scaled updates change"}  # noqa: RUF012

    steps: int = 50
    gradients: int = 2
    lr: float = 0.1
    trust: float = 1.0
    per: Per = "model"
    ample: int = 120

    def __post_init__(self) -> None:
        if self.steps < 1 or self.gradients < 1:
            raise ConfigError(f"steps = {self.steps}, gradients = {self.gradients}", "at least 1 of each")
        if not (self.lr > 0 and math.isfinite(self.lr) and self.trust >= 0 and math.isfinite(self.trust)):
            raise ConfigError(f"lr = {self.lr}, trust = {self.trust}", "a positive lr and a trust of at least 0")
        if self.ample < 0:
            raise ConfigError(f"ample = {self.ample}", "at least 0 rows")
        check_per(self.per)

    @abc.abstractmethod
    def initial(self, clients: int) -> Float64[np.ndarray, " p"]:
        """The parameters before the first round, at which ``clients`` outcomes have equal probability."""

    @abc.abstractmethod
    def evaluate(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> tuple[Point, Pullback]:
        """Probabilities of at least ``clients`` outcomes at each θ, and the way back to θ; the cost is that of both."""

    def probabilities(self, theta: Float64[np.ndarray, "*b p"], clients: int, key: Key) -> Point:
        """The probabilities alone, where a model gives them for less."""
        return self.evaluate(theta, clients, key)[0]

    def trusted(self, rows: int | None) -> float:
        """The trust with that many validation rows: trust · max(1, ample / rows).

        Example:
            >>> import qfedfm as qf
            >>> [qf.reduces.Softmax().trusted(rows) for rows in (10, 60, 500, None)]
            [12.0, 2.0, 1.0, 1.0]
        """
        return self.trust * max(1.0, self.ample / rows) if rows else self.trust

    def advance(
        self, theta: Float64[np.ndarray, "*b p"], gradient: Float64[np.ndarray, "*b p"], moments: State
    ) -> tuple[Float64[np.ndarray, "*b p"], State]:
        """One step of Adam (Kingma & Ba 2015); ``moments`` is empty at the first."""
        beta1, beta2 = _BETAS
        count = float(moments.get("count", np.zeros(()))) + 1
        first = beta1 * moments.get("first", np.zeros_like(theta)) + (1 - beta1) * gradient
        second = beta2 * moments.get("second", np.zeros_like(theta)) + (1 - beta2) * gradient**2
        step = (first / (1 - beta1**count)) / (np.sqrt(second / (1 - beta2**count)) + 1e-8)
        return theta - self.lr * step, {"count": np.array(count), "first": first, "second": second}

    def init(self, layout: Layout, population: tuple[ClientId, ...]) -> State:
        theta = self.initial(len(population))
        if self.per != "model":
            theta = np.tile(theta, (blocks_of(layout, self.per).count, 1))
        return {"theta": theta, "population": np.array(sorted(population), np.int64)}

    def reduce(self, cohort: Cohort, state: State, at: ServerAt) -> tuple[Reduced, State]:
        if at.objective is None:
            given = f"reduce {self.name!r} without a validation objective"
            raise StackError(given, "validation data on the server", "set task.validation")
        return learn(self, cohort, state, at, at.objective)


@dataclass(frozen=True)
class _Spent:
    cost: Cost = field(default_factory=Cost)
    passes: int = 0

    def __add__(self, other: _Spent) -> _Spent:
        return _Spent(self.cost + other.cost, self.passes + other.passes)


@dataclass(frozen=True)
class _Candidate:
    theta: np.ndarray
    weights: np.ndarray
    delta: np.ndarray
    loss: float
    target: np.ndarray
    """Of the descent that begins here; empty where none does."""


@dataclass(frozen=True)
class _Round:
    """What does not change while θ is trained; X holds the problem's rows only."""

    model: LearnedWeights
    problem: Problem
    X: Float32[np.ndarray, "n d"]
    objective: Objective
    blocks: Blocks
    clients: int

    def look(self, theta: Float64[np.ndarray, "b p"], key: Key, *, last: bool = False) -> tuple[_Candidate, _Spent]:
        """One pass over the validation data at θ, for the loss alone if it is the last."""
        point = self.model.probabilities(theta, self.clients, key)
        weights = self.problem.weights(point.probabilities)
        delta = self.blocks.combined(weights, self.X)
        loss, target = (_finite(self.objective.loss(delta)), np.zeros((0, 0))) if last else self.measured(delta)
        return _Candidate(theta, weights, delta, loss, target), _Spent(point.cost, 1)

    def measured(self, delta: Float32[np.ndarray, " d"]) -> tuple[float, Float64[np.ndarray, "b n"]]:
        """The loss at a delta and the standardised slopes there; infinity and lengths where it is not finite."""
        loss, g = self.objective.gradient(delta)
        if math.isfinite(loss) and bool(np.isfinite(g).all()):
            return loss, standardised(self.blocks.slopes(g, self.X))
        return math.inf, standardised(self.blocks.norms(self.X))

    def descend(
        self, theta: Float64[np.ndarray, "b p"], target: Float64[np.ndarray, "b n"], key: Key
    ) -> tuple[np.ndarray, _Spent]:
        trust = self.model.trusted(self.objective.rows)
        return descend(self.model, self.problem, theta, target, self.clients, key, trust)


def learn(
    model: LearnedWeights, cohort: Cohort, state: State, at: ServerAt, objective: Objective
) -> tuple[Reduced, State]:
    """The round of `LearnedWeights`: train, choose by the validation loss, aggregate."""
    problem, rows = problem_of(model.name, cohort, state, plausible(cohort.X))
    blocks = blocks_of(cohort.layout, model.per)
    if len(rows) == 1:
        weights = scattered(np.ones((blocks.count, 1)), rows, cohort.n)
        diagnostics = _diagnostics(state, _Spent(), weights)
        return reduced_by_block(blocks, cohort, cohort.X[rows[0]].copy(), weights, diagnostics), state
    X = cohort.X if np.array_equal(rows, np.arange(cohort.n)) else cohort.X[rows]
    playing = _Round(model, problem, X, objective, blocks, len(state["population"]))
    first, best, total = _trained(playing, np.atleast_2d(state["theta"]), at.key.fold("learned weights", at.round))
    weights = scattered(best.weights, rows, cohort.n)
    diagnostics = _diagnostics(state, total, weights) | _losses(first.loss, best.loss)
    diagnostics["divergence"] = float(blocks.shares @ problem.divergence(best.weights))
    after = {**state, "theta": best.theta.reshape(state["theta"].shape)}
    return reduced_by_block(blocks, cohort, best.delta, weights, diagnostics), after


def _trained(playing: _Round, theta: Float64[np.ndarray, "b p"], key: Key) -> tuple[_Candidate, _Candidate, _Spent]:
    """The first candidate, the best one, and the cost of finding it."""
    candidate, total = playing.look(theta, key.fold(0, "look"))
    first = best = candidate
    gradients = playing.model.gradients
    for stage in range(gradients):
        target = candidate.target
        if stage and candidate is not best:
            target = np.maximum(target, playing.measured(np.zeros(playing.X.shape[1], np.float32))[1])
            total += _Spent(passes=1)
        theta, cost = playing.descend(candidate.theta, target, key.fold(stage))
        candidate, looking = playing.look(theta, key.fold(stage + 1, "look"), last=stage + 1 == gradients)
        total += cost + looking
        best = candidate if candidate.loss < best.loss or not math.isfinite(best.loss) else best
    return first, best, total


def _finite(loss: float) -> float:
    """A loss that is no number is as bad as an infinite one."""
    return loss if math.isfinite(loss) else math.inf


def descend(
    model: LearnedWeights,
    problem: Problem,
    theta: Float64[np.ndarray, "*b p"],
    target: Float64[np.ndarray, "*b n"],
    clients: int,
    key: Key,
    trust: float,
) -> tuple[np.ndarray, _Spent]:
    """The optimiser's steps on the linearised loss."""
    moments, total = EMPTY, _Spent()
    for step in range(model.steps):
        point, pullback = model.evaluate(theta, clients, key.fold(step))
        weights = problem.weights(point.probabilities)
        v = problem.gradient(point.probabilities, problem.slope(weights, target, trust))
        theta, moments = model.advance(theta, pullback(v), moments)
        total += _Spent(point.cost)
    return theta, total


def _diagnostics(state: State, spent: _Spent, weights: np.ndarray) -> dict[str, float]:
    return {
        **spent.cost.diagnostics(),
        "reduce_parameters": float(state["theta"].size),
        "validation_passes": float(spent.passes),
        "min_weight": float(weights.min()),
        "max_weight": float(weights.max()),
    }


def _losses(before: float, after: float) -> dict[str, float]:
    """Losses that are not finite are left out: the history holds numbers only."""
    named = {"validation_loss_before": before, "validation_loss_after": after}
    return {name: loss for name, loss in named.items() if math.isfinite(loss)}
