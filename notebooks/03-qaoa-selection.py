# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Choosing clients with QAOA, on a graph one can see
#
# Which n − f updates lie closest together? That is a quadratic problem over n bits: xᵀQx is the sum of the distances
# between the chosen clients, and exactly n − f bits are 1. The quantum approximate optimisation algorithm (QAOA) gives
# each client a qubit, begins with all choices of the right size at once (a Dicke state), and alternates phases by the
# cost with a mixer that swaps one chosen client for another. This notebook does it for eight clients whose updates are
# points in a plane.

# %%
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import qfedfm as qf
from qfedfm.core.parts import ServerAt
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.qaoa import approximation_ratio, brute_force, qaoa_angles, xy_qaoa_circuit
from qfedfm.reduces.qaoa_selection import trained, uniform, unit
from qfedfm.reduces.selection import closeness

# %% [markdown]
# ## The graph
#
# Six honest clients and two that lie apart. A thick edge is a short distance.

# %%
rng = qf.Key.of(3).fold("notebook", "updates").numpy()
n, f = 8, 2
X = rng.normal(size=(n, 2)).astype(np.float32)
X[6:] += (3.5, 2.0)
squares = np.square(X[:, None] - X).sum(-1).astype(np.float64)
problem = unit(closeness(squares))
best = brute_force(problem, n - f).outcome
chosen = [bool(best >> client & 1) for client in range(n)]

fig, ax = plt.subplots(figsize=(5, 4), layout="constrained")
for i, j in combinations(range(n), 2):
    width = 2.5 / (1 + 3 * squares[i, j] / np.median(squares))
    ax.plot(*X[[i, j]].T, color="0.75", linewidth=width, zorder=1)
ax.scatter(*X.T, c=["C0" if taken else "C3" for taken in chosen], s=220, zorder=2)
for client, (x, y) in enumerate(X):
    ax.text(x, y, client, ha="center", va="center", color="white", zorder=3)
ax.set(title="blue: the best six of eight", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## One layer: the landscape of its two angles
#
# With p = 1 there are two angles, γ for the phase and β for the mixer. The colour is the approximation ratio: 1 is the
# best choice for certain.

# %%
circuit = Circuit(xy_qaoa_circuit(problem, n - f, depth=1))
gammas, betas = np.linspace(-6, 6, 41), np.linspace(0, np.pi, 31)
grid = qaoa_angles(*(part.reshape(-1, 1) for part in np.meshgrid(gammas, betas)))
probabilities, _ = circuit.program.evaluate(grid)
ratios = np.array([approximation_ratio(problem, line, n - f) for line in probabilities])
fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
image = ax.pcolormesh(gammas, betas, ratios.reshape(len(betas), -1))
ax.set(xlabel="γ", ylabel="β")
fig.colorbar(image, ax=ax, label="approximation ratio")
plt.show()
chance = approximation_ratio(problem, uniform(n, n - f), n - f)
print(f"at random: {chance:.3f}, best of the landscape: {ratios.max():.3f}")

# %% [markdown]
# ## More layers
#
# The angles are trained by gradient descent on the exact expectation. Right: what the circuit of depth 3 gives, each of
# the 28 choices a dot.

# %%
found = {}
for depth in (1, 2, 3):
    layers = Circuit(xy_qaoa_circuit(problem, n - f, depth))
    found[depth] = trained(layers, problem, depth, steps=60)[1]
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.plot(list(found), [approximation_ratio(problem, line, n - f) for line in found.values()], "o-", label="QAOA")
left.axhline(chance, color="0.6", label="at random")
left.set(xlabel="layers p", ylabel="approximation ratio", xticks=list(found))
left.legend()
allowed = uniform(n, n - f) > 0
right.plot(problem.values()[allowed], found[3][allowed], "o")
right.set(xlabel="cost of the choice", ylabel="probability")
plt.show()

# %% [markdown]
# ## What the twins did
#
# The same choice as an aggregator, beside its twins: trying all choices, simulated annealing, and leaving out the
# farthest client one at a time.

# %%
layout = qf.Layout.of({"adapter": (2,)})
cohort = qf.Cohort(X, weights=np.ones(n), clients=tuple(range(n)), layout=layout)
at = ServerAt(round=1, key=qf.Key.of(1), layout=layout, model=np.zeros(2, np.float32))
table = {}
for reduce in (
    qf.reduces.QaoaSelection(hostile=f),
    qf.reduces.ExactSelection(hostile=f),
    qf.reduces.AnnealedSelection(hostile=f),
    qf.reduces.GreedySelection(hostile=f),
):
    reduced, _ = reduce.reduce(cohort, {}, at)
    left_out = np.flatnonzero(reduced.row_weights == 0).tolist()
    table[reduce.name] = {
        "left out": left_out,
        "cost": round(reduced.diagnostics["selection_value"], 3),
        "circuits": int(reduced.diagnostics["circuits"]),
        "shots": int(reduced.diagnostics["shots"]),
    }
cheapest = min(line["cost"] for name, line in table.items() if name != "qaoa-selection")
better = table["qaoa-selection"]["cost"] < cheapest
verdict = "Here it does." if better else "Not here: a twin is as good for less."
print("Does the quantum module earn its place?", verdict)
pd.DataFrame(table).T
