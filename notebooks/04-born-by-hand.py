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
# # Born aggregation by hand, with its loss landscape
#
# A server has eight updates and wants a weight for each. The Born aggregator reads the weights off a circuit: three
# qubits have eight outcomes, outcome k has the probability |⟨k|U(θ)|0⟩|², and that is client k's weight. θ goes down
# the loss on the server's own validation data. This notebook makes every step by hand, then lets the library do it,
# and then asks the classical twin.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import qfedfm as qf
from qfedfm.core.parts import Objective, ServerAt
from qfedfm.quantum.ansatz import born_circuit, uniform_start
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.executors.ideal import Shots
from qfedfm.quantum.gradients import exact, parameter_shift

# %% [markdown]
# ## A round one can see
#
# The model has 40 numbers; the best change of them is known here. Six clients went part of the way, with noise. Two
# sent twice the opposite.

# %%
rng = qf.Key.of(7).fold("notebook", "updates").numpy()
n, d = 8, 40
target = rng.normal(size=d) / np.sqrt(d)
X = (0.6 * target + 0.8 * rng.normal(size=(n, d)) / np.sqrt(d)).astype(np.float32)
X[6:] *= -2
root = rng.normal(size=(d, d)) / np.sqrt(d)
H = root @ root.T + 0.2 * np.eye(d)


def loss(delta):
    """Half the squared distance to the best change, in the metric H."""
    return float(0.5 * (delta - target) @ H @ (delta - target))


def slope(delta):
    """The loss and its gradient."""
    return loss(delta), (H @ (delta - target)).astype(np.float32)


print(f"loss without an update {loss(0 * target):.3f}, with the mean {loss(X.mean(0)):.3f}")

# %% [markdown]
# ## The circuit
#
# A rotation of each qubit, then twice a ring of CNOTs and a rotation of each qubit. The first angles make every weight
# 1/8: the mean.

# %%
layers = 2
circuit = Circuit(born_circuit(3, layers))
theta = uniform_start(3, layers)
print("weights at the start:", exact(circuit, theta).probabilities.round(3))
circuit.qiskit.draw("mpl")

# %% [markdown]
# ## One step by hand
#
# The slope of the loss in client k's weight is ⟨∇L, Δ_k⟩. The chain rule takes it to the angles: by the adjoint of the
# simulation, or from the circuit run with each angle shifted by ±π/2, which a device can do too. With shots the shifted
# runs scatter around the exact gradient.

# %%
weights = exact(circuit, theta).probabilities
slopes = X @ slope(weights @ X)[1]
adjoint = exact(circuit, theta).pullback(slopes)
shifted = parameter_shift(circuit, theta, Shots(2000), qf.Key.of(1))
print(f"{shifted.outcome.circuits} circuits, {shifted.outcome.shots} shots")
fig, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.bar(np.arange(len(theta)) - 0.2, adjoint, 0.4, label="adjoint")
ax.bar(np.arange(len(theta)) + 0.2, shifted.pullback(slopes), 0.4, label="parameter shift, 2000 shots")
ax.set(xlabel="angle", ylabel="∂L/∂θ")
ax.legend()
plt.show()

# %% [markdown]
# ## The descent
#
# Plain gradient descent on the loss, everything in sight.

# %%
path = [theta]
for _ in range(60):
    here = exact(circuit, path[-1])
    path.append(path[-1] - 0.3 * here.pullback(X @ slope(here.probabilities @ X)[1]))
path = np.array(path)
history, _ = circuit.program.evaluate(path)
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
left.plot([loss(line @ X) for line in history])
left.axhline(loss(X.mean(0)), color="0.6", label="mean of all")
left.set(xlabel="step", ylabel="loss")
left.legend()
for client, line in enumerate(history.T):
    right.plot(line, color="C3" if client >= 6 else "C0")
right.set(xlabel="step", ylabel="weight (red: hostile)")
plt.show()

# %% [markdown]
# ## The landscape
#
# The loss in the plane through the end of the descent that its first and last moves span. The dots are the descent.

# %%
end, first = path[-1], path[1] - path[0]
one = first / np.linalg.norm(first)
two = path[0] - end - ((path[0] - end) @ one) * one
two = two / np.linalg.norm(two)
reach = 1.4 * np.abs((path - end) @ np.stack((one, two)).T).max()
axis = np.linspace(-reach, reach, 61)
across, along = np.meshgrid(axis, axis)
points = end + across[..., None] * one + along[..., None] * two
probabilities, _ = circuit.program.evaluate(points.reshape(-1, len(end)))
surface = np.array([loss(line @ X) for line in probabilities]).reshape(across.shape)
fig, ax = plt.subplots(figsize=(5.4, 4.2), layout="constrained")
image = ax.contourf(axis, axis, surface, 24)
ax.plot((path - end) @ one, (path - end) @ two, "w.-", markersize=3)
ax.set(xlabel="along the first move", ylabel="across it")
fig.colorbar(image, ax=ax, label="loss")
plt.show()

# %% [markdown]
# ## What the twin did
#
# The library's aggregator takes a few validation gradients and many circuit steps on each, holds the weights near the
# sample counts, and keeps the best it saw. Its twin `amplitudes` trains eight numbers a and takes a²/‖a‖²: the same
# weights without a circuit.

# %%
layout = qf.Layout.of({"adapter": (d,)})
cohort = qf.Cohort(X, weights=np.ones(n), clients=tuple(range(n)), layout=layout)
at = ServerAt(1, qf.Key.of(1), layout, np.zeros(d, np.float32), Objective(slope, loss))
table = {}
for reduce in (
    qf.reduces.Born(layers=layers),
    qf.reduces.Born(layers=layers, shots=1000),
    qf.reduces.Amplitudes(),
    qf.reduces.Softmax(),
    qf.reduces.BornNoEntangler(layers=layers),
    qf.reduces.BornRandom(layers=layers),
):
    reduced, _ = reduce.reduce(cohort, reduce.init(layout, cohort.clients), at)
    shots = int(reduced.diagnostics["shots"])
    table[reduce.name + (" with shots" if shots else "")] = {
        "loss": round(loss(reduced.vector), 4),
        "weight of the hostile": round(float(reduced.row_weights[6:].sum()), 3),
        "parameters": int(reduced.diagnostics["reduce_parameters"]),
        "circuits": int(reduced.diagnostics["circuits"]),
        "shots": shots,
    }
twin = min(table["amplitudes"]["loss"], table["softmax"]["loss"])
better = table["born"]["loss"] < twin - 0.001
verdict = "In this one round it does." if better else "Not here: a twin is as good without a circuit."
print("Does the quantum module earn its place?", verdict)
pd.DataFrame(table).T
