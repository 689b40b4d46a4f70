"""The agreed schema of ``results.json`` and ``history.jsonl``, as docs/architecture.md writes it down.

Every field that is written there is required and has one type. A field may be added, none renamed, so further fields
are let through.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0)]
Finding = Literal["above", "below", "none", "undecided"]


class Agreed(BaseModel):
    """Types as they are in JSON, without conversion, and no infinities."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="ignore")


class Final(Agreed):
    accuracy: Fraction
    loss: float
    macro_f1: Fraction
    worst_client: Fraction
    spread: Seconds


class Run(Agreed):
    method: str
    seed: int
    quantum: bool
    twin: str | None
    final: Final
    uplink_bytes: Count
    downlink_bytes: Count
    server_seconds: Seconds
    train_seconds: Seconds
    shots: Count
    circuits: Count
    trainable_parameters: Annotated[int, Field(gt=0)]
    reduce_parameters: Count
    sees_validation: bool
    refused: Count
    hostile: list[int]
    adapter: str | None
    twins: list[str]
    control_of: str | None


class Interval(Agreed):
    mean: float
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None

    @model_validator(mode="after")
    def _holds_the_mean(self) -> Interval:
        if self.ci95 is not None and not self.ci95[0] <= self.mean <= self.ci95[1]:
            raise ValueError("an interval around its mean")
        return self


class Compared(Agreed):
    difference: float
    ci95: Annotated[list[float], Field(min_length=2, max_length=2)] | None
    seeds: Annotated[int, Field(gt=0)]
    detectable: Annotated[float, Field(gt=0)] | None
    equivalent: bool
    margin: Annotated[float, Field(gt=0)]
    finding: Finding
    sentence: str


class VersusTwin(Compared):
    twin: str
    strongest_by: str


class Line(Agreed):
    method: str
    quantum: bool
    seeds: Count
    accuracy: Interval
    loss: Interval
    macro_f1: Interval
    worst_client: Interval
    spread: Interval
    control_of: str | None
    vs_twin: VersusTwin | None


class QuantumLine(Line):
    """Of a quantum method that is no control."""

    vs_twin: VersusTwin | None
    vs_best_classical: Compared | None
    vs_controls: list[Compared]
    verdict: Literal["yes", "no", "not shown"] | None


class Trial(Agreed):
    method: str
    settings: dict[str, object]
    score: Fraction


class Tuning(Agreed):
    metric: str
    grid: dict[str, object]
    seeds: list[int]
    trials: list[Trial]
    chosen: dict[str, dict[str, object]]


class Client(Agreed):
    name: str
    train_rows: Annotated[int, Field(gt=0)]
    test_rows: Count
    hostile: bool


class Environment(Agreed):
    commit: str | None
    config_hash: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
    device: str
    precision: str


class Results(Agreed):
    schema_: Annotated[Literal[1], Field(alias="schema")]
    experiment: dict[str, object]
    environment: Environment
    runs: list[Run]
    summary: list[Line]
    tuning: Tuning | None
    clients: dict[Annotated[str, Field(pattern="^[0-9]+$")], Client]
    complete: bool
    conclusion: Annotated[list[str], Field(min_length=1)]


class Refused(Agreed):
    client: int
    reason: str


class Record(Agreed):
    method: str
    seed: int
    round: Count
    accuracy: Fraction
    loss: float
    macro_f1: Fraction
    client_accuracy: dict[Annotated[str, Field(pattern="^[0-9]+$")], Fraction]
    worst_client: Fraction
    spread: Seconds
    train_loss: float | None
    uplink_bytes: Count
    downlink_bytes: Count
    participants: list[int]
    hostile: list[int]
    dropped: list[int]
    late: list[int]
    refused: list[Refused]
    client_weights: dict[Annotated[str, Field(pattern="^[0-9]+$")], float] | None
    diagnostics: dict[str, float]
    server_seconds: Seconds
    train_seconds: Seconds


def check(folder: Path) -> tuple[dict, list[dict]]:
    """Validates every field of a folder's two files, and gives what they hold."""
    text = (folder / "results.json").read_text(encoding="utf-8")
    results = TypeAdapter(dict).validate_json(text)
    Results.model_validate_json(text)
    for line in results["summary"]:
        if line["quantum"] and line["control_of"] is None:
            QuantumLine.model_validate(line)
    lines = (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        Record.model_validate_json(line)
    return results, [TypeAdapter(dict).validate_json(line) for line in lines]


def check_sums(results: dict, history: list[dict]) -> None:
    """What a run says must follow from its rounds, and each method has each seed once."""
    methods, seeds = list(results["experiment"]["compare"] or [results["runs"][0]["method"]]), set()
    rounds = results["experiment"]["rounds"]
    for run in results["runs"]:
        records = [r for r in history if (r["method"], r["seed"]) == (run["method"], run["seed"])]
        assert [record["round"] for record in records] == list(range(rounds + 1))
        for name, value in run["final"].items():
            assert value == records[-1][name], name
        for name in ("uplink_bytes", "downlink_bytes"):
            assert run[name] == sum(record[name] for record in records) > 0
        for name in ("shots", "circuits"):
            assert run[name] == sum(record["diagnostics"].get(name, 0) for record in records)
        assert run["refused"] == sum(len(record["refused"]) for record in records)
        assert all(set(record["hostile"]) <= set(run["hostile"]) for record in records)
        seeds.add(run["seed"])
    assert seeds == set(results["experiment"]["seeds"])
    assert [(r["seed"], r["method"]) for r in results["runs"]] == [
        (seed, method) for seed in results["experiment"]["seeds"] for method in methods
    ]
    assert len(history) == len(results["runs"]) * (rounds + 1)
    for seed in seeds:  # a seed is the same clients, the same hostile ones and the same first model for all methods
        first = [r for r in history if r["seed"] == seed and r["round"] == 0]
        assert len({(r["accuracy"], r["loss"]) for r in first}) == 1
        assert len({tuple(run["hostile"]) for run in results["runs"] if run["seed"] == seed}) == 1
