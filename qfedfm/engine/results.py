"""From the states of all runs to ``results.json``: a pure function of what the checkpoints hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from qfedfm.engine.arm import Arm
from qfedfm.engine.rounds import SELECTOR
from qfedfm.engine.setting import Setting
from qfedfm.engine.state import RunState
from qfedfm.reduces.cost import IN_COLUMN
from qfedfm.report.summary import conclude, declared, summarise

SCHEMA = 1
_FINAL = ("accuracy", "loss", "macro_f1", "worst_client", "spread")


def run_line(
    setting: Setting, seed: int, state: RunState, arms: Mapping[str, Arm], adapter: str | None
) -> dict[str, Any]:
    """One entry of ``runs``: sums over the rounds of a finished run."""
    arm, history = setting.arm, state.history
    arms = {} if arm.topology else {name: other for name, other in arms.items() if not other.topology}
    twins = _twins(arm, arms)
    return {
        "method": arm.name,
        "seed": seed,
        "rounds": state.round,
        "quantum": any(entry.quantum for entry in arm.roles),
        "twin": twins[0] if twins else None,
        "twins": twins,
        "control_of": _control_of(arm, arms),
        "final": {name: history[-1][name] for name in _FINAL if name in history[-1]},
        **{name: sum(record[name] for record in history) for name in (*_SUMS, *_EDGE) if name in history[-1]},
        **{name: int(_total(history, name)) for name in ("shots", "circuits")},
        "circuits_by_column": _by_column(history),
        "device_seconds": _total(history, "device_seconds"),
        **_averages(history),
        "trainable_parameters": setting.bound.layout.size,
        "reduce_parameters": int(history[-1]["diagnostics"].get("reduce_parameters", 0)),
        "sees_validation": setting.bound.stack.reduce.needs_objective,
        "refused": sum(len(record["refused"]) for record in history),
        **_keys(setting, history),
        "hostile": sorted(setting.hostile),
        "adapter": adapter,
    }


def _keys(setting: Setting, history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a run says of its keys besides sums; nothing without any."""
    if setting.ends is None:
        return {}
    aborted = [record["aborted"] for record in history if "aborted" in record]
    return {
        "keys": setting.ends.main,
        "predicted_key_bits": setting.ends.predicted,
        **({"aborted_sessions": sum(map(len, aborted))} if aborted else {}),
    }


_PREFIXES = ("", SELECTOR)
_SUMS = (
    "uplink_bytes", "downlink_bytes", "server_seconds", "train_seconds", "key_bits", "seal_bytes", "seal_seconds",
    "key_bytes", "fallback_keys", "link_sessions", "link_bits", "link_bytes", "link_seconds", "session_seconds",
    "simulation_seconds",
)  # fmt: skip
_EDGE = ("edge_uplink_bytes", "edge_downlink_bytes")
"""Bytes between clients and their mediators, where there are any."""


def _total(history: Sequence[Mapping[str, Any]], name: str) -> float:
    """What the reduce and the selector took in all rounds."""
    return float(sum(record["diagnostics"].get(prefix + name, 0) for record in history for prefix in _PREFIXES))


_AVERAGED = ("approximation_ratio", "random_ratio", "choice_ratio", "feasible", "projection_bias")
"""Diagnostics of which a run reports the mean over its rounds."""


def _averages(history: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    names = [prefix + name for prefix in _PREFIXES for name in _AVERAGED]
    found = {name: [r["diagnostics"][name] for r in history if name in r["diagnostics"]] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items() if values}


def _by_column(history: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Circuits of all rounds by where they ran."""
    found: Counter[str] = Counter()
    for record in history:
        for name, value in record["diagnostics"].items():
            cost = name.removeprefix(SELECTOR)
            if cost.startswith(IN_COLUMN):
                found[cost.removeprefix(IN_COLUMN)] += int(value)
    return dict(found)


def _twins(arm: Arm, arms: Mapping[str, Arm]) -> list[str]:
    """The methods that have a twin in the place of the reduce, of the selector, or of both, and else the same two."""
    names = [(entry.name, *entry.twins) for entry in arm.roles]
    found = []
    for name, other in arms.items():
        roles = [entry.name for entry in other.roles]
        if all(role in known for role, known in zip(roles, names, strict=True)):
            found.append((tuple(known.index(role) for role, known in zip(roles, names, strict=True)), name))
    return [name for places, name in sorted(found, key=lambda pair: pair[0]) if any(places)]


def _control_of(arm: Arm, arms: Mapping[str, Arm]) -> str | None:
    """The method that has, in the place of one part, what that part is an ablation of, and else the same."""
    reduce, selector = arm.roles
    wanted = {(reduce.control_of, selector.name), (reduce.name, selector.control_of)}
    return next((name for name, other in arms.items() if tuple(role.name for role in other.roles) in wanted), None)


def assemble(
    experiment: Mapping[str, Any],
    environment: Mapping[str, Any],
    runs: list[dict[str, Any]],
    clients: Mapping[str, Any],
    tuning: Mapping[str, Any] | None,
    complete: bool,
) -> dict[str, Any]:
    """The whole document.

    Args:
        experiment: `Experiment.settings`.
        environment: versions, machine, commit, configuration hash.
        runs: entries by `run_line`.
        clients: id → name and numbers of rows, of the first seed.
        tuning: what `tune` found, or None.
        complete: whether all runs are there.
    """
    twins, controls = declared(runs)
    summary = summarise(runs, twins, controls, tuning)
    return {
        "schema": SCHEMA,
        "complete": complete,
        "experiment": experiment,
        "environment": environment,
        "clients": clients,
        "runs": runs,
        "summary": summary,
        "tuning": tuning,
        "conclusion": conclude(summary, runs),
    }


def client_lines(setting: Setting) -> dict[str, Any]:
    """Who the clients are, by id; the share of the ranks that each holds, where these differ."""
    split, held = setting.split, setting.bound.held
    return {
        str(client): {
            "name": split.names[client],
            "train_rows": len(split.train[client]),
            "test_rows": len(split.test[client]),
            "hostile": client in setting.hostile,
            **({} if held is None else {"capacity": held.of(client).share}),
        }
        for client in split.clients
    }
