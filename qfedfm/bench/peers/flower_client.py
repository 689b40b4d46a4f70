"""The client of the Flower simulation: its model stays loaded in the process that plays it."""

from __future__ import annotations

import functools
import json
from typing import Any

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from qfedfm.bench.peers import plain
from qfedfm.bench.workload import Federation

app = ClientApp()


@functools.cache
def loaded(text: str) -> tuple[Federation, torch.nn.Module]:
    """Data and model, read once in each process, and one step for warming up; every message brings its own values."""
    given = json.loads(text)
    torch.set_num_threads(given["threads"])
    federation = Federation.of(given["experiment"])
    model = plain.prepared(federation, given["precision"])
    plain.train(model, federation, federation.rows(1, federation.clients[0])[:1])
    return federation, model


@functools.cache
def of_seed(text: str, seed: int) -> tuple[Federation, torch.nn.Module]:
    """The same data and model with the split of a seed."""
    federation, model = loaded(text)
    return federation.of_seed(seed), model


def record(values: plain.Values) -> ArrayRecord:
    """What travels, as Flower carries it."""
    return ArrayRecord({str(i): value for i, value in enumerate(values)})


def values_of(arrays: ArrayRecord) -> plain.Values:
    """What travelled."""
    found = arrays.to_torch_state_dict()
    return [found[str(i)] for i in range(len(found))]


@app.query()
def prepare(message: Message, _: Context) -> Message:
    """Loads what is needed, so that the rounds are timed warm."""
    config: Any = message.content["config"]
    of_seed(str(config["given"]), int(config["seed"]))
    return Message(RecordDict({"ready": MetricRecord({"ready": 1})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One client's local training."""
    config: Any = message.content["config"]
    federation, model = of_seed(str(config["given"]), int(config["seed"]))
    client = federation.clients[int(context.node_config["partition-id"])]
    plain.load(model, values_of(message.content["arrays"]))
    loss = plain.train(model, federation, federation.rows(int(config["server-round"]), client))
    metrics = MetricRecord({"num-examples": federation.samples(client), "loss": loss})
    content = RecordDict({"arrays": record(plain.values(model)), "metrics": metrics})
    return Message(content, reply_to=message)
