"""Flower's simulation: federated averaging over the adapter's tensors, the clients played by Ray actors."""

from __future__ import annotations

import json
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from qfedfm.bench.child import Laps, answer, options, startup_seconds
from qfedfm.bench.peers import plain
from qfedfm.bench.peers.flower_client import app, of_seed, record, values_of


class Played:
    """What the server saw, over all seeds."""

    def __init__(self) -> None:
        self.startup = 0.0
        self.seconds: list[float] = []
        self.accuracy = 0.0


def play(grid: Grid, given: dict[str, Any], seed: int, played: Played) -> None:
    """One run: every client loads its model, then the rounds are timed."""
    federation, model = of_seed(json.dumps({**given, "threads": given["actors"] * given["threads"]}), seed)
    text = json.dumps(given)
    config = RecordDict({"config": ConfigRecord({"given": text, "seed": seed})})
    nodes = list(grid.get_node_ids())
    replies = grid.send_and_receive([Message(config, node, MessageType.QUERY) for node in nodes])
    failed = [reply.error.reason for reply in replies if reply.has_error()]
    if failed:
        raise RuntimeError(f"clients that could not load: {failed[0]}")
    played.startup = played.startup or startup_seconds(given)
    laps = Laps()

    def after(round_: int, arrays: ArrayRecord) -> MetricRecord:
        if round_ == 0:  # before training
            return MetricRecord({"accuracy": 0.0})
        plain.load(model, values_of(arrays))
        played.accuracy = plain.evaluate(model, federation, federation.test)
        laps.lap()
        return MetricRecord({"accuracy": played.accuracy})

    FedAvg(fraction_evaluate=0.0, min_train_nodes=len(nodes), min_available_nodes=len(nodes)).start(
        grid=grid,
        initial_arrays=record(plain.values(federation.model())),
        num_rounds=federation.rounds,
        train_config=ConfigRecord({"given": text, "seed": seed}),
        evaluate_fn=after,
    )
    played.seconds += laps.seconds


def main() -> None:
    """All runs in one simulation, one after the other."""
    given = options()
    settings = given["experiment"]
    played, server = Played(), ServerApp()

    @server.main()
    def serve(grid: Grid, _: Context) -> None:
        for seed in settings["seeds"]:
            play(grid, given, seed, played)

    run_simulation(
        server,
        app,
        num_supernodes=given["clients"],
        backend_config={
            "client_resources": {"num_cpus": given["threads"], "num_gpus": 0.0},
            "init_args": {"num_cpus": given["actors"] * given["threads"], "include_dashboard": False},
        },
    )
    steps = given["clients"] * settings["training"]["steps"] * len(played.seconds)
    answer(
        startup_seconds=played.startup, round_seconds=played.seconds, client_steps=steps,
        accuracy=played.accuracy, threads=given["threads"], actors=given["actors"],
    )  # fmt: skip


if __name__ == "__main__":
    main()
