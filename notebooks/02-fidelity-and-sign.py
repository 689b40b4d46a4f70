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
# # When fidelity fails, and how one constant mends it
#
# Two updates can be compared as quantum states: encode both as amplitudes, run one circuit forwards and the other
# backwards, and count how often all qubits read 0. That frequency is the **fidelity** F = ⟨u|v⟩². It has a blind spot:
# a state has no sign, so an attacker who sends the exact opposite of what was learned looks *perfectly* honest.
#
# This notebook shows the failure, the fix, the price in shots, and what the classical twin does.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import qfedfm as qf
from qfedfm.core.parts import ServerAt
from qfedfm.quantum.circuit import Circuit
from qfedfm.quantum.encoding import encoding_angles, inversion_fidelity, inversion_test
from qfedfm.quantum.executors.ideal import Shots

# %% [markdown]
# ## Ten clients, three of them hostile
#
# Seven clients move in about the same direction. Three send minus three times what they learned.

# %%
rng = qf.Key.of(1).fold("notebook", "updates").numpy()
n, d, hostile = 10, 400, (7, 8, 9)
X = (rng.normal(size=d) + rng.normal(size=(n, d))).astype(np.float32)
X[list(hostile)] *= -3
layout = qf.Layout.of({"adapter": (d,)})
cohort = qf.Cohort(X, weights=np.ones(n), clients=tuple(range(n)), layout=layout)
at = ServerAt(round=1, key=qf.Key.of(1), layout=layout, model=np.zeros(d, np.float32))

# %% [markdown]
# ## What plain fidelity sees
#
# Each update is sketched to a few numbers (a signed count sketch, the same for all clients), normalised, and encoded on
# six qubits. One circuit for each pair: 45 of them.

# %%
reduces = {
    "plain fidelity": qf.reduces.FidelityUnsigned(),
    "with the constant": qf.reduces.Fidelity(),
    "twin: ((1 + cos)/2)²": qf.reduces.Cosine(),
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
for ax, (name, reduce) in zip(axes, reduces.items(), strict=True):
    image = ax.imshow(reduce.compare(cohort, at).values, vmin=0, vmax=1, cmap="viridis")
    ax.set(title=name, xlabel="client", ylabel="client")
fig.colorbar(image, ax=axes, label="similarity")
plt.show()

# %% [markdown]
# On the left the hostile clients 7 to 9 are as like the honest ones as these are among themselves. In the middle a
# constant 1 was appended to each normalised update before it was encoded: opposite updates then overlap as
# (−1 + 1)/2 = 0, and F = ((1 + cos)/2)². The lengths travel beside the state, as numbers.
#
# ## What the aggregators make of it

# %%
weights = {name: reduce.reduce(cohort, {}, at)[0].row_weights for name, reduce in reduces.items()}
pd.DataFrame(weights, index=pd.Index(range(n), name="client")).round(3)

# %% [markdown]
# ## What it costs in shots
#
# A device gives counts. With M shots the inversion test has the variance F(1 − F)/M; here is one pair, measured two
# hundred times at each M.

# %%
states = np.stack([np.append(x / np.linalg.norm(x), 1) / np.sqrt(2) for x in X[:2, :63]])
circuit = Circuit(inversion_test(6))
angles = np.concatenate([encoding_angles(state) for state in states])
exact = (states[0] @ states[1]) ** 2
shots, spread = [16, 64, 256, 1024, 4096], []
for M in shots:
    outcome = Shots(M).run(circuit, np.tile(angles, (200, 1)), qf.Key.of(2).fold("shots", M))
    spread.append(inversion_fidelity(outcome.probabilities).std())
fig, ax = plt.subplots(figsize=(5, 3.4), layout="constrained")
ax.loglog(shots, spread, "o", label="measured")
ax.loglog(shots, np.sqrt(exact * (1 - exact) / np.array(shots)), label="√(F(1 − F)/M)")
ax.set(xlabel="shots of the circuit", ylabel="standard deviation of F")
ax.legend()
plt.show()

# %% [markdown]
# ## What the twin did
#
# The twin computes ((1 + cos)/2)² from the whole updates: no sketch, no circuit, no shots. It is the number that the
# circuit estimates, so that the circuit can only come near it.

# %%
fidelity, twin = weights["with the constant"], weights["twin: ((1 + cos)/2)²"]
diagnostics = reduces["with the constant"].reduce(cohort, {}, at)[0].diagnostics
print(f"largest difference between the weights of circuit and twin: {np.abs(fidelity - twin).max():.3f}")
print(f"circuits: {diagnostics['circuits']:.0f} (exact amplitudes), twin: 0")
caught = {name: bool(w[list(hostile)].sum() < 1e-9) for name, w in weights.items()}
print("hostile clients get no weight:", caught)
better = caught["with the constant"] and not caught["twin: ((1 + cos)/2)²"]
verdict = "Here it does." if better else "Not here: its twin does as well for less."
print("Does the quantum module earn its place?", verdict)
