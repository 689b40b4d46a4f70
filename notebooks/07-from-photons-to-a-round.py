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
# # From photons to a protected training round
#
# Photons of simulated links become keys; the keys seal what a small federated run sends; masks then hide single updates
# from the server as well. On the way the notebook counts what that costs in bits of key and in seconds of link.
#
# It needs the extra `qkd`: `pip install "qfedfm[qkd]"`.

# %%
import tempfile
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import qfedfm as qf
from qfedfm.adapters.tensors import vector_of
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job
from qfedfm.clients.schedule import batches
from qfedfm.core.errors import KeyShortageError, KeyUnknownError
from qfedfm.core.parts import At
from qfedfm.core.ring import Ring
from qfedfm.qkd.authentication import AuthenticatedChannel
from qfedfm.qkd.bb84 import BB84
from qfedfm.qkd.cascade import Cascade
from qfedfm.qkd.channel import Channel
from qfedfm.qkd.eavesdroppers import Nobody
from qfedfm.qkd.entropy import System
from qfedfm.qkd.finite import VariableLength
from qfedfm.qkd.link import Link
from qfedfm.qkd.session import Session
from qfedfm.qkd.sifting import MATCHING
from qfedfm.secagg.client import Step
from qfedfm.secagg.identity import Identity
from qfedfm.secagg.messages import OVERHEAD
from qfedfm.secagg.plan import Plan
from qfedfm.secagg.protocol import Member, play

pd.set_option("display.max_colwidth", None)
key = qf.Key.of(7)

# %% [markdown]
# ## Photons
#
# Six clients, each with a fibre of 10 km to the server and a source that sends 10⁷ pulses a second, of exactly one
# photon each, which is better than what one can buy. Each link runs one session: 400 000 pulses, sifting, test,
# reconciliation, verification, privacy amplification. The bits come from the operating system, so that they differ from
# run to run; the physics is simulated, and so the keys are called *simulated, not QKD-secure*.

# %%
clients, pulses, pulse_rate = range(6), 400_000, 1e7
fibre = Link(distance=10.0, efficiency=0.8, misalignment=0.01, dark_counts=1e-6)
chain = Session(MATCHING, VariableLength(), Cascade("original"), errors_public=True)


def session():
    """Again, if there is no key: Cascade leaves an error now and then, and the verification finds it."""
    while True:
        initial = System().bytes(20_000)
        channel = AuthenticatedChannel(Channel(), initial, initial)
        outcome = chain.run(BB84(), pulses, fibre, Nobody(), channel, System())
        if outcome.account.bits:
            return outcome


outcomes = {f"client-{client}": session() for client in clients}
accounts = {name: outcome.account for name, outcome in outcomes.items()}
table = pd.DataFrame(
    {
        name: {
            "clicks": account.clicks,
            "sifted": account.sifted,
            "QBER": f"{account.qber:.3f}",
            "told in public": account.leaked,
            "key bits": account.bits,
            "net": account.net,
            "ε": f"{account.epsilon.total:.1e}",
        }
        for name, account in accounts.items()
    }
).T
secret_rate = min(table.net) / pulses * pulse_rate
print(f"at least {secret_rate:,.0f} secret bits a second and link, after what authentication takes")
table

# %% [markdown]
# ## Keys
#
# What wants keys asks a `KeySource`: `fresh` gives a new key and its id, `by_id` the other end's copy, each once. Here
# each end keeps its own half of the session and cuts keys off it; only ids and places are shared. Any object with these
# two methods does, such as `KmeClient` in front of a vendor's box ([key-service.md](../docs/key-service.md)).


# %%
@dataclass
class Photons:
    """The server's links; a pair of ends has the same bits, in the order in which they came."""

    halves: dict = field(repr=False)
    used: dict = field(default_factory=dict)
    places: dict = field(default_factory=dict)

    def end(self, party):
        return End(self, party)


@dataclass(frozen=True)
class End:
    links: Photons
    party: str
    label = "simulated, not QKD-secure"
    secret = True
    raw = True  # bits of a session as they are, never stretched

    def cut(self, peer, start, size):
        link = peer if self.party == "server" else self.party
        bits = self.links.halves[self.party, peer]
        if start + 8 * size > len(bits):
            raise KeyShortageError(f"{8 * size} bits on the link of {link}", f"at most {len(bits) - start}")
        return np.packbits(bits[start : start + 8 * size]).tobytes()

    def fresh(self, peer, size):
        link = frozenset((self.party, peer))
        start = self.links.used.get(link, 0)
        taken = self.cut(peer, start, size)
        self.links.used[link] = start + 8 * size
        key_id = str(uuid.uuid4())
        self.links.places[self.party, peer, key_id] = (start, size)
        return key_id, taken

    def by_id(self, peer, key_id):
        place = self.links.places.pop((peer, self.party, key_id), None)
        if place is None:
            raise KeyUnknownError(f"key {key_id}", "one that waits for this party, once")
        return self.cut(peer, *place)


halves = {}
for client, outcome in outcomes.items():
    halves["server", client], halves[client, "server"] = outcome.alice, outcome.bob
photons = Photons(halves)

# %% [markdown]
# ## A run whose messages are sealed
#
# The experiment is a small vision transformer that learns digits. In a file, `[security]` with `keys = "qkd"` is all
# that it takes. The seal is AES-256-GCM: a key for each client and direction, for the whole run. How many bits that
# takes is predicted before the first round; `key_bits` in `[security]` would refuse a run that may need more than the
# links give.

# %%
folder = Path(tempfile.mkdtemp())
settings = {
    "name": "sealed",
    "seeds": [7],
    "rounds": 3,
    "task": {
        "kind": "digits",
        "hidden": 8,
        "layers": 1,
        "heads": 2,
        "train_rows": 60,
        "test_rows": 20,
        "tuning": 0,
        "validation": 0,
        "partition": {"name": "iid", "clients": len(clients)},
    },
    "training": {"steps": 8, "batch_size": 16, "rate": 0.01},
    "method": {"layers": [{"name": "qsgd", "levels": 7}], "down": "bfloat16"},
}


def run(name, links=None, **security):
    experiment = qf.Experiment.of({**settings, "security": security})
    return experiment.run(folder / name, links=links)


aes = run("aes", photons.end, keys="qkd", key_bits=int(table.net.sum()))
pd.DataFrame(aes.history)[["round", "accuracy", "key_bits", "seal_bytes", "uplink_bytes", "keys"]]

# %% [markdown]
# ## What a one-time pad would take
#
# AES is a computation: whoever could break it would read the updates, whatever the keys are from. A one-time pad does
# not depend on that, and takes as many bits as it hides. It wants raw bits of a link; for this one the source is
# `SimulatedLinks`, which does not run short.

# %%
plain = run("plain")
runs = {
    "AES-256-GCM": aes,
    "AES, a key a message": run("fresh", keys="qkd", seal={"name": "aes-gcm", "messages": 1}),
    "one-time pad": run("pad", keys="qkd", seal="one-time-pad"),
    "classical (X25519 + ML-KEM)": run("classical", keys="classical"),
}
costs = pd.DataFrame(
    {
        name: {
            "predicted key bits": line["predicted_key_bits"],
            "used": line["key_bits"],
            "bytes added": line["seal_bytes"],
            "seconds of sealing": round(line["seal_seconds"], 3),
            "same model as unsealed": [one["accuracy"] for one in result.history]
            == [one["accuracy"] for one in plain.history],
            "keys": line["keys"],
        }
        for name, result in runs.items()
        for line in result.results["runs"]
    }
).T
costs["seconds of link"] = [
    0.0 if "ML-KEM" in source else bits / len(clients) / secret_rate
    for bits, source in zip(costs.used, costs["keys"], strict=True)
]
fig, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
names = [name for name in runs if "classical" not in name]
ax.barh(names, costs["seconds of link"][names])
ax.set(xscale="log", xlabel="seconds of link for three rounds, all links at once")
ax.invert_yaxis()
plt.show()
costs

# %% [markdown]
# ## Masks: what the server need not see
#
# A seal protects from the wire; the server opens every update. With secure aggregation it sees only the sum: each
# client adds masks that cancel against those of the others (`qfedfm.secagg`). Updates become whole numbers first, which
# add up exactly, without rounding, modulo 2³² or 2⁶⁴. Here one client falls silent before it sends anything masked,
# another one after it did, and one may be working with the server.

# %%
experiment = qf.Experiment.of(settings)
task = experiment.build_task()
split = task.split(key.fold("split"))
engine = FusedEngine(task, key.fold("engine"))
model = vector_of(task.model(key.fold("adapter")))
rates = np.full(8, experiment.training.rate)
jobs = [
    Job(client, model, batches(split.train[client], 8, 16, key.fold("batches", 1, client)), rates)
    for client in split.clients
]
updates = {one.client: one.delta for one in engine.train(jobs)}

codec, layout = qf.layers.FixedPoint(reach=0.1, bits=16), engine.layout
weights = {client: len(split.train[client]) for client in updates}
at = {client: At(0, 1, client, key.fold("mask", client), layout, weights[client]) for client in updates}
inputs = {client: (codec.integers(update, at[client]), weights[client]) for client, update in updates.items()}
most = max(weights.values())
plan = Plan(
    epoch=0,
    round=1,
    clients=tuple(sorted(updates)),
    layout=layout.digest,
    stack=bytes(8),
    length=layout.size,
    bound=codec.bound,
    max_weight=most,
    colluders=1,
    ring=Ring.holding(len(updates), codec.bound, most),
)
seen = {}


class Overheard(Member):
    """A member of which the notebook keeps the masked input, as the server receives it."""

    def join(self, plan, keys=None):
        client = super().join(plan, keys)
        mask = client.mask

        def masked(*given):
            body = memoryview(sent := mask(*given))[OVERHEAD:]
            seen[client.client] = np.frombuffer(body, plan.ring.dtype, plan.length)
            return sent

        client.mask = masked
        return client


identities = {client: Identity.new() for client in updates}
publics = {client: identity.public for client, identity in identities.items()}
members = {client: Overheard(client, identities[client], publics) for client in updates}
played = play(plan, members, inputs, silent={2: Step.MASK, 4: Step.CONSENT})
print("in the sum:", played.opened.survivors, "— client 4 sent its masked update, so it counts; client 2 did not")

# %% [markdown]
# Left: what client 0 learned, as whole numbers times its weight. Right: what the server receives from it, which is
# uniform over the ring. The sum that the server opens is exact, to the last bit.

# %%
by_hand = [
    sum(weights[client] * int(inputs[client][0][place]) for client in played.opened.survivors)
    for place in range(layout.size)
]
exact = played.opened.total.tolist() == by_hand
print(f"masked sum equals the plain sum in all {layout.size:,} coordinates: {exact}")
decoded = codec.real(played.opened.total, played.opened.weight)
shares = [weights[client] / played.opened.weight for client in played.opened.survivors]
mean = sum(share * updates[client] for share, client in zip(shares, played.opened.survivors, strict=True))
print(f"largest distance from the mean of the updates: {np.abs(decoded - mean).max():.1e}, a step is {codec.step:.1e}")
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
left.hist(inputs[0][0] * weights[0], bins=40)
left.set(xlabel="w·q of client 0", ylabel="coordinates")
right.hist(seen[0].astype(float) / plan.ring.modulus, bins=40, range=(0, 1), color="C1")
right.set(xlabel=f"masked, in units of 2^{plan.ring.bits}")
plt.show()
sent = sum(played.uplink.values())
raw = 4 * layout.size * len(updates)
print(f"uplink {sent:,} bytes with all messages of the protocol; the bare float32 updates are {raw:,}")

# %% [markdown]
# ## Who is protected from whom
#
# | an update is hidden from | nothing | seal, keys of a link | masks | both |
# |---|---|---|---|---|
# | someone on the wire | no | yes | yes, but not who sends when | yes |
# | other clients | no | yes | yes, but for the sum | yes, but for the sum |
# | the server | no | **no**, it opens the seal | yes, but for the sum | yes, but for the sum |
# | the server with up to c colluding clients | no | no | yes, but for the sum of the others | the same |
#
# Three things this does not give. Masks here come from keys that the *clients* agree on: links of a star, as above, end
# at the server, so masks made from them would hide nothing from it, and `Plan` refuses that. Nobody is protected from a
# client that sends nonsense: under a mask it cannot even be found. And the links here are simulated, in one process.
# [threat-model.md](../docs/threat-model.md) says more.

# %%
bits = costs["used"]
times = bits["one-time pad"] / bits["AES-256-GCM"]
verdict = (
    f"With AES the links give {bits['AES-256-GCM']:,} bits a run, and X25519 + ML-KEM gives the same without a link. "
    f"Only the one-time pad, with {times:,.0f} times as many, hides updates on the wire from any computer to come, as "
    "far as real links are what their model says."
)
print("Does the quantum module earn its place?", verdict)
