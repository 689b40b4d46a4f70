"""What the laws are checked on: parts with their options, cohorts, objectives, and the saving of state."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from qfedfm.core.cohort import Cohort, State
from qfedfm.core.float32 import Float32Codec
from qfedfm.core.key import Key
from qfedfm.core.layout import Layout
from qfedfm.core.parts import At, Objective, Reduce, ServerAt
from qfedfm.core.registry import Entry, build, entries
from qfedfm.incentives.selector import SKETCH, Seen

QUICK = {"steps": 4, "gradients": 1}
SLOW = ("born", "born-no-entangler", "amplitudes", "softmax", "simplex")
OPTIONS: dict[tuple[str, str], tuple[dict[str, Any], ...]] = {
    **{("reduce", name): (QUICK,) for name in SLOW},
    ("reduce", "born"): (
        QUICK,
        {"steps": 2, "gradients": 1, "shots": 64},
        {"steps": 2, "gradients": 1, "executor": {"name": "shots", "shots": 16}},
    ),
    ("reduce", "fidelity"): ({"qubits": 3}, {"qubits": 2, "shots": 100}, {"qubits": 1, "test": "swap"}),
    ("reduce", "fidelity-unsigned"): ({"qubits": 3},),
    ("reduce", "fidelity-outlier"): ({"qubits": 3},),
    ("reduce", "fidelity-cluster"): ({"qubits": 3}, {"qubits": 2, "models": "each"}),
    ("reduce", "cosine-cluster"): ({}, {"models": "each", "warm": 0}),
    ("reduce", "qaoa-selection"): ({"depth": 1, "steps": 3}, {"depth": 1, "steps": 2, "mixer": "x"}),
    ("reduce", "exact-selection"): ({}, {"objective": "diameter"}),
    ("reduce", "krum"): ({}, {"hostile": 0}, {"hostile": 3}),
    ("reduce", "multi-krum"): ({}, {"hostile": 2, "select": 2}),
    ("reduce", "trimmed-mean"): ({}, {"hostile": 0}, {"hostile": 3}),
    ("selector", "qaoa-choice"): ({"depth": 1, "steps": 2, "shots": 16, "candidates": 5},),
    ("selector", "greedy-choice"): ({}, {"candidates": 4}),
    ("executor", "readout"): ({"inner": {"name": "shots", "shots": 400}},),
    ("executor", "zne"): (
        {"inner": {"name": "shots", "shots": 4000}},
        {"inner": {"name": "shots", "shots": 4000}, "extrapolation": "exponential"},
        {"inner": {"name": "aer", "shots": 4000, "noise": "manila"}, "factors": (1, 3), "extrapolation": "richardson"},
    ),
    ("executor", "twirl"): ({"inner": {"name": "shots", "shots": 400}, "instances": 2},),
    ("executor", "cache"): (
        {"inner": {"name": "shots", "shots": 400}},
        {"inner": {"name": "readout", "inner": {"name": "shots", "shots": 400}}},
    ),
    ("executor", "retry"): ({"inner": {"name": "shots", "shots": 400}},),
    ("executor", "budget"): ({"inner": {"name": "shots", "shots": 400}, "shots": 10**9},),
    ("executor", "shots"): ({"shots": 400},),
    ("contribution", "amplitude-estimation"): ({"depth": 1}, {"depth": 0, "executor": "exact"}),
    ("executor", "pennylane"): ({}, {"shots": 400}, {"device": "lightning.qubit", "shots": 400}),
    ("executor", "braket"): ({}, {"shots": 400}),
    ("executor", "ibm"): ({"shots": 400},),
    ("executor", "ionq"): (),  # runs in a cloud only; tests/quantum/test_ionq.py holds it to a stand-in of the service
    ("executor", "aer"): ({}, {"shots": 400}, {"noise": "manila"}, {"noise": "manila", "shots": 400}),
    ("codec", "fixed-point"): ({"reach": 1.0}, {"reach": 0.3, "bits": 5, "rounding": "nearest"}),
    ("codec", "ecdq"): ({"bits": 1.0}, {"nmse": 0.2}),
    ("codec", "error-feedback"): (
        {"codec": "float32"},
        {"codec": "bfloat16"},
        {"codec": {"name": "powersgd", "rank": 1}},
    ),
    ("codec", "drive"): ({}, {"scale": "biased"}),
    ("codec", "eden"): ({}, {"bits": 0.4}, {"bits": 1.5}, {"bits": 4}, {"bits": 8}),
    ("codec", "block-dropout"): ({}, {"keep": 0.3, "values": "nnadq"}, {"keep": 0.9, "values": "bfloat16"}),
    ("codec", "ef21"): ({"codec": "float32"}, {"codec": "bfloat16"}),
    ("codec", "top-k"): (
        {},
        {"fraction": 0.4},
        {"fraction": 0.4, "per": "tensor", "values": "bfloat16"},
        {"fraction": 1.0},
    ),
    ("codec", "random-k"): (
        {},
        {"fraction": 0.5},
        {"fraction": 0.5, "unbiased": False, "values": "bfloat16"},
    ),
    ("codec", "magnitude-pruning"): (
        {},
        {"initial": 0.7, "final": 0.3, "begin": 2, "end": 4, "per": "tensor", "values": "bfloat16"},
    ),
    ("codec", "rank-pruning"): ({}, {"rank": 1, "values": "bfloat16"}),
    ("codec", "qsgd"): (
        {"bucket": 3, "levels": 5},
        {"norm": "l2", "bucket": "vector", "levels": 1},
        {"norm": "l2", "bucket": 2, "levels": 20, "coding": "entropy"},
    ),
    ("codec", "nnadq"): ({}, {"weight": 1e-9}),
    ("codec", "dynamic-qsgd"): ({}, {"bits": 17.0}, {"nmse": 0.05}),
    ("codec", "terngrad"): ({}, {"coding": "entropy"}),
    ("codec", "natural"): ({}, {"coding": "entropy"}),
    ("codec", "tensor-train"): (
        {},
        {"bits": 20.0, "precision": "int8"},
        {"error": 0.05, "precision": "int8", "order": "paired"},
        {"error": 1e-6, "precision": "float32", "factors": 3},
    ),
    ("codec", "truncated-svd"): ({}, {"bits": 0.5}, {"bits": 9.0, "precision": "int8"}, {"error": 0.01}),
    ("codec", "powersgd"): ({}, {"rank": 1}, {"rank": 1, "precision": "bfloat16"}),
    ("seal", "aes-gcm"): ({}, {"messages": 1}, {"messages": 3}),
    ("summed layer", "secure-sum"): (
        {},
        {"colluders": 0, "graph": 4, "ring": 64, "stream": "chacha20"},
        {"topology": "direct", "agreement": False},
    ),
    ("cohort layer", "nnm"): ({}, {"hostile": 0}, {"hostile": 3}),
    ("server optimiser", "sgd"): ({}, {"lr": 0.5, "momentum": 0.9}),
}
"""The options that a part is tested with, where the defaults are slow, do not exist, or are not all there is."""


@dataclass(frozen=True)
class Subject:
    """A part with options."""

    entry: Entry
    options: Mapping[str, Any]

    @property
    def part(self) -> Any:
        if self.entry.part is Float32Codec:
            return Float32Codec()
        return build(self.entry.kind, {"name": self.entry.name, **self.options})

    def __str__(self) -> str:
        options = ",".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.entry.kind}-{self.entry.name}".replace(" ", "-") + (f"[{options}]" if options else "")


def all_entries() -> list[Entry]:
    """The register, and the codec of a stack that names none."""
    default = Entry("codec", Float32Codec.name, Float32Codec, "none: exact", False, (), "")
    return [*(entry for entry in entries() if entry.part is not Float32Codec), default]


def subjects() -> list[Subject]:
    """All parts, each with all its options of the table."""
    return [
        Subject(entry, options) for entry in all_entries() for options in OPTIONS.get((entry.kind, entry.name), ({},))
    ]


@dataclass(frozen=True)
class Case:
    """One example: ``extra`` rows above a part's minimum, d columns of a magnitude, an offset, some equal rows."""

    seed: int
    extra: int
    d: int
    exponent: int
    offset: bool
    equal: bool
    factor: float

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng(self.seed)

    @property
    def layout(self) -> Layout:
        return Layout.of({"a": (1,), "b": (self.d,)})

    def vector(self) -> np.ndarray:
        return (self.rng.normal(size=self.layout.size) * 10.0**self.exponent).astype(np.float32)

    def cohort(self, minimum: int) -> Cohort:
        rng, n = self.rng, minimum + self.extra
        X = rng.normal(size=(n, self.layout.size)) + (rng.normal(size=self.layout.size) if self.offset else 0)
        if self.equal and n > 1:
            X[rng.integers(n)] = X[rng.integers(n)]
        clients = tuple(int(client) for client in rng.permutation(3 * n)[:n])
        return Cohort((X * 10.0**self.exponent).astype(np.float32), rng.integers(1, 50, n) * 1.0, clients, self.layout)

    def population(self, cohort: Cohort) -> tuple[int, ...]:
        return tuple(range(3 * cohort.n))

    def invitations(self) -> tuple[tuple[int, ...], int]:
        """A population, and how many of it a round invites."""
        population = tuple(sorted(self.rng.permutation(30)[: 3 + self.extra].tolist()))
        return population, int(self.rng.integers(1, 4))

    def seen(self, invited: tuple[int, ...]) -> Seen:
        """What a server could see of a round that invited these clients; one of them may be silent."""
        sketches = self.rng.normal(size=(len(invited) + 1, SKETCH)) * 10.0**self.exponent
        loud = invited[1:] if self.equal else invited
        aggregate = None if self.offset and self.equal else sketches[-1]
        return Seen(invited, dict(zip(loud, sketches, strict=False)), aggregate)

    def server_at(self, part: Reduce | None = None) -> ServerAt:
        model = np.zeros(self.layout.size, np.float32)
        wanted = part is not None and part.needs_objective
        objective = Objective(self.objective, lambda delta: self.objective(delta)[0]) if wanted else None
        return ServerAt(3, Key.of(self.seed).fold("reduce"), self.layout, model, objective)

    def objective(self, delta: np.ndarray) -> tuple[float, np.ndarray]:
        """½‖δ − t‖² around a target of the updates' magnitude."""
        target = np.random.default_rng(self.seed + 1).normal(size=self.layout.size) * 10.0**self.exponent
        difference = delta.astype(np.float64) - target
        return float(difference @ difference / 2), difference.astype(np.float32)

    def at(self) -> At:
        return next(self.ats(1))

    def ats(self, count: int) -> Iterator[At]:
        """As many places with different keys, the first that of `at`."""
        for number in range(count):
            yield At(0, 3 + number, 2, Key.of(self.seed).fold("layers", 3 + number, 2), self.layout, 10)


cases = st.builds(
    Case,
    seed=st.integers(0, 10**6),
    extra=st.integers(0, 5),
    d=st.integers(1, 10),
    exponent=st.integers(-6, 4),
    offset=st.booleans(),
    equal=st.booleans(),
    factor=st.sampled_from([1e-3, 0.5, 2.0, 3.0, 100.0]),
)


def reloaded(state: State) -> State:
    """The state through ``np.savez`` and back."""
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files}


def same_state(one: State, other: State) -> bool:
    return set(one) == set(other) and all(
        one[name].dtype == other[name].dtype and np.array_equal(one[name], other[name]) for name in one
    )
