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
# # The first round
#
# Ten clients tune one small language model together without showing each other their data. Three of them are hostile.
# This notebook plays **one round by hand**, swaps the **aggregator** (the weighted mean, Multi-Krum, a quantum circuit,
# the circuit's classical twin), and then lets the library play a whole comparison.
#
# Everything is small, so that it runs in less than a minute on one core. The figures here show how things work, not
# which method is better: for that there are `experiments/quickstart.toml` and the studies.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import qfedfm as qf

# %% [markdown]
# ## Data: ten sources of tweets
#
# An experiment is a file. This one is the quickstart, with fewer rows, longer steps and one seed.

# %%
smaller = {
    "seeds": [1],
    "rounds": 4,
    "task.train_rows": 64,
    "task.test_rows": 32,
    "task.tuning": 0,
}
experiment = qf.Experiment.load(Path("../experiments/quickstart.toml"), smaller)
task = experiment.build_task()
list(experiment.methods)

# %% [markdown]
# All randomness comes from a `Key`, folded by what it is for: the same client draws the same numbers whoever else takes
# part. Here it decides which rows each client trains on, which ones test the result, and which ones the server keeps
# for validation. The clients are very different, which is what makes averaging them hard.

# %%
key = qf.Key.of(1)
split = task.split(key.fold("split"))
labels = task.labels()
pd.DataFrame(
    {
        "source": [split.names[client] for client in split.clients],
        "train rows": [len(split.train[client]) for client in split.clients],
        **{
            label: [f"{np.mean(labels[split.train[client]] == label):.0%}" for client in split.clients]
            for label in range(task.classes)
        },
    },
    index=pd.Index(split.clients, name="client"),
)

# %% [markdown]
# ## What travels
#
# Only the adapter (LoRA on the last two layers) and the head are trained. Their tensors lie in one flat vector; the
# layout says where. The engine trains all clients in one pass over the frozen model.

# %%
from qfedfm.adapters.tensors import vector_of
from qfedfm.clients.fused import FusedEngine

engine = FusedEngine(task, key.fold("engine"))
layout = engine.layout
for entry in layout:
    print(f"{entry.start:6d}  {entry.shape!s:10s} {entry.name.split('encoder.')[-1]}")
print(f"{layout.size} numbers, {4 * layout.size} bytes in float32")

# %% [markdown]
# ## Before: three quiet rounds
#
# A new head knows nothing, so let everyone be honest for three rounds: each client takes four steps of eight rows from
# the same model, and the server adds the mean of what they changed. That is federated averaging, in one line.

# %%
from qfedfm.clients.jobs import Job, Query
from qfedfm.clients.schedule import batches

rates = np.full(4, experiment.training.rate)
test = np.concatenate([split.test[client] for client in split.clients])


def train(model, round_):
    jobs = [
        Job(client, model, batches(split.train[client], 4, 8, key.fold("batches", round_, client)), rates)
        for client in split.clients
    ]
    return list(engine.train(jobs))


def score(model):
    found = task.metrics(engine.outputs([Query(model, test)])[0], test)
    return {"accuracy": round(found["accuracy"], 3), "loss": round(found["loss"], 3)}


model = vector_of(task.model(key.fold("adapter")))
print("untrained", score(model))
for round_ in (1, 2, 3):
    model = model + np.mean([one.delta for one in train(model, round_)], axis=0)
    print("round", round_, score(model))

# %% [markdown]
# ## One round by hand
#
# **1. The clients train**, all from the same model.

# %%
trained = train(model, 4)
deltas = {one.client: one.delta for one in trained}
pd.DataFrame(
    {"first step": [one.losses[0] for one in trained], "last step": [one.losses[-1] for one in trained]},
    index=[split.names[one.client] for one in trained],
).round(2).T

# %% [markdown]
# **2. Three of them are hostile** and send three times the opposite of what they learned.

# %%
from qfedfm.clients.attacks.sign_flip import SignFlip

hostile = (2, 5, 8)
honest_deltas = np.stack([deltas[client] for client in split.clients if client not in hostile])
own = np.stack([deltas[client] for client in hostile])
forged = SignFlip(scale=3.0).forge(honest_deltas, own, hostile, key.fold("attack", 4))
deltas |= dict(zip(hostile, forged, strict=True))

# %% [markdown]
# **3. Every update becomes bytes**, travels, and is decoded by the server. An aggregator is a `stack` of layers and a
# reduce; `bind` fits it to this layout and these clients and refuses what cannot work.

# %%
from qfedfm.core.errors import PayloadError
from qfedfm.core.parts import At
from qfedfm.core.stack import bind

sizes = {"cohort": len(deltas), "validation": len(split.validation)}
bound = bind(qf.stack(reduce=qf.reduces.Mean()), layout, split.clients, **sizes)
where = {
    client: At(epoch=0, round=4, client=client, key=key, layout=layout, samples=len(split.train[client]))
    for client in split.clients
}
payloads = {client: bound.encode(delta, where[client]) for client, delta in deltas.items()}
print(f"uplink: {sum(map(len, payloads.values()))} bytes, header of the first: {payloads[0][:24].hex(' ', 4)}")

broken = bytearray(payloads[0])
broken[100] ^= 1
try:
    bound.decode(bytes(broken), where[0])
except PayloadError as error:
    print("one flipped bit:", error)

# %% [markdown]
# **4. The server reduces** the cohort to one delta. The weighted mean takes everyone at their word.

# %%
from qfedfm.core.parts import Objective, ServerAt

X = np.stack([bound.decode(payloads[client], where[client]) for client in split.clients])
samples = np.array([len(split.train[client]) for client in split.clients], float)
cohort = qf.Cohort(X, samples, split.clients, layout)


def validate(delta):
    """Loss and gradient on the server's validation rows."""
    return engine.gradient(model + delta, split.validation)


server = ServerAt(
    round=4,
    key=key.fold("server"),
    layout=layout,
    model=model,
    objective=Objective(gradient=validate, loss=lambda delta: validate(delta)[0]),
)
reduced, _ = bound.reduce(cohort, bound.init(), server)
print("before the round      ", score(model))
print("after it              ", score(model + reduced.vector))
print("with the honest alone ", score(model + honest_deltas.mean(axis=0)))

# %% [markdown]
# ## Swapping the aggregator
#
# Nothing else changes. **Multi-Krum** keeps the updates that lie close together. The **Born aggregator** is quantum:
# each client is a basis state of a small circuit, and the probability of measuring it is the client's weight. Its
# parameters follow the loss on the server's validation rows; where no other weights lower it, the old ones stay. Its
# **twin** does the same without a circuit: squares of
# numbers, divided by their sum.

# %%
born = qf.reduces.Born()
circuit = born.circuit(len(split.clients))
print(f"{circuit.num_qubits} qubits, {circuit.num_parameters} parameters, depth {circuit.depth()}")
circuit.draw(fold=110)

# %%
reduces = {
    "mean": qf.reduces.Mean(),
    "multi-krum": qf.reduces.MultiKrum(hostile=len(hostile)),
    "born (quantum)": born,
    "amplitudes (its twin)": qf.reduces.Amplitudes(),
}
rows, weights = {}, {}
for name, reduce in reduces.items():
    swapped = bind(qf.stack(reduce=reduce), layout, split.clients, **sizes)
    found, _ = swapped.reduce(cohort, swapped.init(), server)
    weights[name] = [found.client_weights[client] for client in split.clients]
    rows[name] = {
        **score(model + found.vector),
        "weight of the hostile": round(sum(found.client_weights[client] for client in hostile), 3),
        "sees validation data": reduce.needs_objective,
    }
pd.DataFrame(rows).T

# %%
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
image = axes.imshow(np.array(list(weights.values())), cmap="Blues", vmin=0, aspect="auto")
axes.set_yticks(range(len(weights)), list(weights))
marks = [split.names[client] + (" ✗" if client in hostile else "") for client in split.clients]
axes.set_xticks(range(len(marks)), marks, rotation=45, ha="right")
axes.set_title("Weight of each client in this round (✗ hostile)")
figure.colorbar(image, ax=axes)
# %% [markdown]
# Notice who had more to go on: the Born aggregator and its twin see validation data, the other two do not. A comparison
# of the circuit with the mean would therefore say little about the circuit. The twin is the one to beat.
#
# ## A whole comparison
#
# `run` plays all methods over all rounds and seeds and writes tables, history, adapters and a report.

# %%
folder = Path(tempfile.mkdtemp()) / "first-round"
result = experiment.run(folder)
result.frame()

# %%
figure = result.plot()

# %% [markdown]
# ## What the twin did

# %%
for line in result.results["summary"]:
    if line["vs_twin"] is not None:
        print(line["vs_twin"]["sentence"])
print()
print(result.conclusion)

# %% [markdown]
# One seed cannot show a difference, and the library says so instead of guessing. The quickstart takes three seeds and
# more rows: `qfedfm run experiments/quickstart.toml`. A study takes at least five, and all controls: the circuit
# without its entangler, the same circuit with random parameters, and other ways to learn weights.
#
# Next: change `smaller` above, try `"hostile.attack": "alie"`, or write a reduce of your own
# (`docs/adding-a-part.md`).
