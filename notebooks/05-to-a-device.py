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
# # To a device and back
#
# A trained circuit is sent to a device and its result read back. The device here is a fake one: gates, wiring and noise
# of IBM's five-qubit Manila as they once were, simulated on this machine. A real one differs by its name:
# `ibm:ibm_torino`, `braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet`, `ionq:qpu.forte-1`.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from qiskit.quantum_info import Statevector

import qfedfm as qf
from qfedfm.core.parts import Objective, ServerAt
from qfedfm.quantum.cloud.fake import Device
from qfedfm.quantum.cloud.follow import wait
from qfedfm.quantum.cloud.ledger import Ledger
from qfedfm.quantum.cloud.prices import prices
from qfedfm.quantum.cloud.submit import Request, plan, submit

# %% [markdown]
# ## A trained circuit
#
# One round of Born aggregation: eight clients, of which the last two send the opposite of what they learned.

# %%
rng = qf.Key.of(7).fold("notebook", "updates").numpy()
n, d = 8, 40
target = rng.normal(size=d) / np.sqrt(d)
X = (0.6 * target + 0.8 * rng.normal(size=(n, d)) / np.sqrt(d)).astype(np.float32)
X[6:] *= -2


def loss(delta):
    """Half the squared distance to the best change."""
    return float(0.5 * np.square(delta - target).sum())


objective = Objective(lambda delta: (loss(delta), (delta - target).astype(np.float32)), loss)
layout = qf.Layout.of({"adapter": (d,)})
cohort = qf.Cohort(X, weights=np.ones(n), clients=tuple(range(n)), layout=layout)
at = ServerAt(1, qf.Key.of(1), layout, np.zeros(d, np.float32), objective)
reduce = qf.reduces.Born(layers=2)
reduced, state = reduce.reduce(cohort, reduce.init(layout, cohort.clients), at)
circuit = reduce.circuit(n).assign_parameters(state["theta"])
exact = Statevector(circuit).probabilities()
circuit.draw("mpl")

# %% [markdown]
# ## What it takes and what it costs
#
# The circuit in the device's own gates. Three qubits in a ring do not fit on a line, so that the transpiler swaps.

# %%
folder = Path(tempfile.mkdtemp())
ledger, device = Ledger(folder / "jobs.sqlite"), Device("manila", folder / "fake-jobs.sqlite")
request = Request(circuit, "fake:manila", shots=2000, about={"name": "born in a notebook"})
planned = plan(request, device, prices().find(request.backend), ledger)
native = planned.native
print(f"{native.qubits} qubits, depth {native.depth}, {native.two_qubit_gates} two-qubit gates")
print(f"expected fidelity {native.fidelity:.3f}, price ${planned.dollars:.2f}")
garnet = prices().find("braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet")
print(f"the same shots on IQM's Garnet: ${garnet.of(2000):.2f} (as of {garnet.as_of})")
native.circuit.draw("mpl", idle_wires=False, fold=30)

# %% [markdown]
# ## There and back
#
# First an X gate on each qubit, then the circuit. The ledger knows both before they are sent; from another process
# `qfedfm jobs` would show them.

# %%
entry = submit(request, planned, device, ledger, say=print)
entry = wait(Ledger(folder / "jobs.sqlite").get(entry.uuid[:8]), device, ledger)
counts = np.array([entry.counts.get(format(k, "03b"), 0) for k in range(n)])
on_device = counts / counts.sum()
drawn = rng.multinomial(counts.sum(), exact / exact.sum()) / counts.sum()
fig, ax = plt.subplots(figsize=(7, 3), layout="constrained")
for shift, (name, weights) in enumerate({"exact": exact, "2000 shots": drawn, "noisy device": on_device}.items()):
    ax.bar(np.arange(n) + 0.27 * (shift - 1), weights, 0.27, label=name)
ax.set(xlabel="client (6 and 7 are hostile)", ylabel="weight", xticks=range(n))
ax.legend()
plt.show()

# %% [markdown]
# ## What the twin did
#
# The twin has no circuit, so that nothing of it can be lost on a device.

# %%
twin, _ = qf.reduces.Amplitudes().reduce(cohort, qf.reduces.Amplitudes().init(layout, cohort.clients), at)
table = {
    name: {
        "loss": round(loss(weights @ X), 4),
        "weight of the hostile": round(float(weights[6:].sum()), 3),
        "total variation from exact": round(float(np.abs(weights - exact).sum() / 2), 3),
    }
    for name, weights in {
        "mean": np.full(n, 1 / n),
        "born, exact": exact,
        "born, noisy device": on_device,
        "amplitudes (twin)": twin.row_weights,
    }.items()
}
better = table["born, noisy device"]["loss"] < table["amplitudes (twin)"]["loss"] - 0.001
verdict = "Here it does." if better else "Not here: the twin is as good and needs no device."
print("Does the quantum module earn its place?", verdict)
pd.DataFrame(table).T
