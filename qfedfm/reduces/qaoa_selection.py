"""Selection of clients by the quantum approximate optimisation algorithm."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, final

import numpy as np
from jaxtyping import Bool, Float64
from pydantic import Field

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.core.registry import part
from qfedfm.quantum.executor import Executor, ExecutorField
from qfedfm.quantum.executors.ideal import Shots
from qfedfm.quantum.qaoa import Quadratic, approximation_ratio, qaoa_angles, qaoa_circuit, xy_qaoa_circuit
from qfedfm.reduces.choice import Choice
from qfedfm.reduces.cost import Cost
from qfedfm.reduces.selection import SelectionReduce

if TYPE_CHECKING:
    from qfedfm.quantum.circuit import Circuit

AnyMixer = Literal["ring", "complete", "x"]
"""The XY mixers, and the X mixer with a penalty."""
MOST_CLIENTS = 16
"""Qubits of a circuit whose angles are trained in every round."""
_RATE, _BETAS = 0.05, (0.8, 0.95)
"""Of Adam over the angles, in radians at a problem whose Ising coefficients have unit length."""


@part(
    "qaoa-selection",
    paper="Farhi, Goldstone & Gutmann, arXiv 1411.4028; Hadfield et al., Algorithms 12, 34 (2019) (XY mixer)",
    quantum=True,
    twins=("exact-selection", "annealed-selection", "greedy-selection"),
)
@final
@dataclass(frozen=True)
class QaoaSelection(SelectionReduce):
    """`SelectionReduce` by `xy_qaoa_circuit`: a qubit for each client; only choices of n − f clients have amplitude.
    With the mixer ``x`` by `qaoa_circuit`, where all choices have, and a penalty speaks against the other sizes.

    The 2p angles go down ⟨C⟩ by Adam from a linear ramp, with the exact gradient of a simulation: one circuit a step.
    Then the circuit is measured ``shots`` times, and the best choice of the right size that was seen is taken; noise
    gives other sizes too (``feasible`` is the share of the right ones), and where it gives nothing else, all clients
    are taken. With as many shots as
    there are choices, drawing at random finds the best one as well; so the history has the ``approximation_ratio`` of
    the whole distribution, and ``random_ratio``, that of all choices alike (depth 0).

    Args:
        hostile: f, how many updates are left out.
        objective: ``squares``, the sum of the squared distances, or ``diameter``, the largest distance.
        depth: p, layers of phase and mixer.
        mixer: ``ring`` or ``complete`` (XY), or ``x``.
        steps: of the angles' descent.
        shots: of the final circuit.
        executor: where the final circuit runs, in the place of ``shots``.

    Raises:
        ConfigError: a field is out of range, or (in `reduce`) there are more than 16 updates.
        StackError: fewer than 2f + 1 updates.
    """

    depth: Annotated[int, Field(ge=1)] = 2
    mixer: AnyMixer = "ring"
    steps: Annotated[int, Field(ge=0)] = 40
    shots: Annotated[int, Field(ge=1)] = 64
    executor: ExecutorField | None = None

    def choose(self, problem: Quadratic, size: int, key: Key) -> Choice:
        if problem.n > MOST_CLIENTS:
            remedy = "invite fewer clients, or take annealed-selection"
            raise ConfigError(f"a selection among {problem.n} clients by a circuit", f"at most {MOST_CLIENTS}", remedy)
        everyone, executor = np.ones(problem.n, bool), self.executor or Shots(self.shots)
        return measured_choice(problem, size, key, self.depth, self.mixer, self.steps, executor, everyone)


def measured_choice(
    problem: Quadratic,
    size: int,
    key: Key,
    depth: int,
    mixer: AnyMixer,
    steps: int,
    executor: Executor,
    otherwise: Bool[np.ndarray, " n"],
) -> Choice:
    """The best choice that a trained QAOA circuit shows; see `QaoaSelection`.

    Args:
        problem: C, of which not all values are equal.
        size: k.
        key: of the shots.
        depth: p.
        mixer: ``ring``, ``complete`` or ``x``.
        steps: of the angles' descent.
        executor: runs the final circuit.
        otherwise: the choice where no outcome has k ones.
    """
    from qfedfm.quantum.circuit import Circuit

    scaled = unit(problem.penalised(size) if mixer == "x" else problem)
    circuit = Circuit(qaoa_circuit(scaled, depth) if mixer == "x" else xy_qaoa_circuit(scaled, size, depth, mixer))
    theta, probabilities = trained(circuit, scaled, depth, steps)
    measured = executor.run(circuit, theta[None], key)
    found = np.where(uniform(problem.n, size) > 0, measured.probabilities[0], 0.0)
    start = np.full(2**problem.n, 0.5**problem.n) if mixer == "x" else uniform(problem.n, size)
    seen = np.flatnonzero(found)
    named = {
        "feasible": float(found.sum()),
        "approximation_ratio": approximation_ratio(problem, probabilities, size),
        "random_ratio": approximation_ratio(problem, start, size),
    }
    cost = Cost(Counter({"exact": steps + 1})) + Cost.of(measured)
    if not len(seen):
        return Choice(otherwise, cost, named)
    outcome = int(seen[problem.values()[seen].argmin()])
    return Choice((outcome >> np.arange(problem.n)) & 1 == 1, cost, named)


def unit(problem: Quadratic) -> Quadratic:
    """The same problem scaled so that Σ_{i<j} J_ij² + Σ_i h_i² = 1, which makes the same angles good at every size."""
    ising = problem.ising
    return Quadratic(problem.Q / float(np.sqrt((ising.J**2).sum() + (ising.h**2).sum())))


def uniform(n: int, size: int) -> Float64[np.ndarray, " k"]:
    """Equal probabilities of all outcomes with ``size`` ones: what a circuit of depth 0 gives."""
    ones = np.bitwise_count(np.arange(2**n)) == size
    return np.asarray(ones / ones.sum())


def trained(
    circuit: Circuit, problem: Quadratic, depth: int, steps: int
) -> tuple[Float64[np.ndarray, " p"], Float64[np.ndarray, " k"]]:
    """The angles with the lowest ⟨C⟩ on the way of a descent, and the outcome probabilities there.

    Adam from the ramp β_l ∝ 1 − t_l, −γ_l ∝ t_l with t_l = (l + ½)/p, the schedule of slow annealing (of which the
    Dicke state begins at the mixer's end). ``steps`` + 1 circuits.

    Args:
        circuit: `xy_qaoa_circuit` or `qaoa_circuit` of the problem.
        problem: C.
        depth: p.
        steps: of the descent; 0 keeps the ramp.
    """
    from qfedfm.quantum.gradients import exact

    ramp, values = (np.arange(depth) + 0.5) / depth, problem.values()
    theta = qaoa_angles(-ramp, 0.5 * (1 - ramp))
    first, second = np.zeros_like(theta), np.zeros_like(theta)
    best = (np.inf, theta, values)
    for step in range(steps + 1):
        now = exact(circuit, theta)
        value = float(now.probabilities @ values)
        best = min(best, (value, theta, now.probabilities), key=lambda found: found[0])
        gradient = now.pullback(values)
        first = _BETAS[0] * first + (1 - _BETAS[0]) * gradient
        second = _BETAS[1] * second + (1 - _BETAS[1]) * gradient**2
        ahead = (first / (1 - _BETAS[0] ** (step + 1))) / (np.sqrt(second / (1 - _BETAS[1] ** (step + 1))) + 1e-8)
        theta = theta - _RATE * ahead
    return best[1], best[2]
