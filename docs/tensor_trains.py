"""Measures what docs/tensor-trains.md shows and writes its tables: `python docs/tensor_trains.py`, about a minute."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch

import qfedfm as qf
from qfedfm.adapters.compression import compress_weights
from qfedfm.adapters.models import load_classifier
from qfedfm.adapters.peft import Adapter
from qfedfm.clients.jobs import Job, LocalOptimizer
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.folding import Folding
from qfedfm.core.parts import At, Codec
from qfedfm.core.ranks import Spectra, numbers
from qfedfm.core.tensortrain import TensorTrain, add, average, decompose, of_ranks
from qfedfm.tasks.text import TextClassification

PAGE = Path(__file__).with_name("tensor-trains.md")
TARGETS = ["query", "key", "value", "attention.output.dense"]
CLIENTS, STEPS, TEXTS, ERROR = 3, 10, 64, 0.05
BITS, SHARES, COHORTS = (1.0, 2.0, 4.0, 6.0), (0.1, 0.25, 0.5, 0.75), (2, 5, 10, 20)
FOLDINGS: Mapping[str, tuple[int, str]] = {
    "truncated SVD": (1, "plain"),
    "tensor train, 2 factors": (2, "plain"),
    "tensor train, 3 factors": (3, "plain"),
    "tensor train, 2 factors, paired": (2, "paired"),
    "tensor train, 3 factors, paired": (3, "paired"),
}


@cache
def task() -> TextClassification:
    """MiniLM with LoRA of rank 8 on all projections of attention, on tweets."""
    options = {"r": 8, "lora_alpha": 16, "target_modules": TARGETS}
    return TextClassification(base_model="minilm", data="tweets", adapter=Adapter(kind="lora", options=options))


@cache
def updates() -> tuple[qf.Layout, np.ndarray]:
    """What some clients change in some local steps of AdamW."""
    engine, split = SequentialEngine(task(), qf.Key.of(0)), task().split(qf.Key.of(0))
    jobs = []
    for client in split.clients[:CLIENTS]:
        rng = qf.Key.of(0).fold("tensor trains page", client).numpy()
        rows = tuple(rng.choice(split.train[client], 8, replace=False) for _ in range(STEPS))
        jobs.append(Job(client, engine.first, rows, np.full(STEPS, 3e-3), LocalOptimizer()))
    return engine.layout, np.stack([trained.delta for trained in engine.train(jobs)])


def off(x: np.ndarray, y: np.ndarray) -> float:
    """‖y − x‖/‖x‖."""
    return float(np.linalg.norm(y.astype(np.float64) - x) / np.linalg.norm(x.astype(np.float64)))


def table(head: list[str], lines: Mapping[str, list[str]]) -> str:
    """A table whose lines have names."""
    rows = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    return "\n".join([*rows, *(f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items())])


def sent() -> str:
    """Errors of the codecs at equal bytes."""
    layout, X = updates()
    at = At(0, 1, 0, qf.Key.of(0), layout, 10)

    def codec(folding: tuple[int, str], bits: float, precision: str) -> Codec:
        if folding == (1, "plain"):
            return qf.layers.TruncatedSvd(bits=bits, precision=precision)
        return qf.layers.TensorTrainCodec(bits=bits, precision=precision, factors=folding[0], order=folding[1])

    def cell(folding: tuple[int, str], bits: float, precision: str) -> str:
        part = codec(folding, bits, precision)
        return f"{np.mean([off(x, part.decode(part.encode(x, at), at)) for x in X]):.3f}"

    lines = {}
    for precision in ("int8", "bfloat16"):
        for name, folding in FOLDINGS.items():
            if precision == "int8" or name in ("truncated SVD", "tensor train, 2 factors"):
                lines[f"{name}, {precision}"] = [cell(folding, bits, precision) for bits in BITS]
    return table(["error at", *(f"{bits:g} bits" for bits in BITS)], lines)


def tree(tensors: list[np.ndarray], share: float) -> float:
    """The error of hierarchical Tucker trees over four axes each, as ((1, 2), (3, 4)), at a share of the numbers.

    Grasedyck, SIAM J. Matrix Anal. Appl. 31, 2029, 2010; a threshold on σ² per number that a rank costs, as for trains.
    """
    axes = np.array([tensor.shape for tensor in tensors])
    unfoldings = [[np.moveaxis(x, k, 0).reshape(x.shape[k], -1) for k in range(4)] for x in tensors]
    for x, found in zip(tensors, unfoldings, strict=True):
        found.append(x.reshape(x.shape[0] * x.shape[1], -1))
    most = np.array([[min(matrix.shape) for matrix in found] for found in unfoldings])
    middle = most[:, 4:]
    costs = axes + most[:, [1, 0, 3, 2]] * middle
    costs = np.concatenate([costs, most[:, :1] * most[:, 1:2] + most[:, 2:3] * most[:, 3:4]], axis=1)
    values = [
        (value**2 / costs[t, k], t, k)
        for t, found in enumerate(unfoldings)
        for k, matrix in enumerate(found)
        for value in np.linalg.svd(matrix, compute_uv=False)
    ]
    places = np.array([place for _, *place in sorted(values, key=lambda line: -line[0])])

    def ranks(kept: int) -> np.ndarray:
        found = np.bincount(places[:kept] @ [5, 1], minlength=5 * len(tensors)).reshape(-1, 5)
        return np.maximum(found, found.any(axis=1, keepdims=True))

    def size(r: np.ndarray) -> float:
        leaves = (axes * r[:, :4]).sum()
        return float(leaves + ((r[:, 0] * r[:, 1] + r[:, 2] * r[:, 3]) * r[:, 4]).sum())

    budget, low, high = share * float(axes.prod(axis=1).sum()), 0, len(places)
    while low < high:
        centre = (low + high + 1) // 2
        low, high = (centre, high) if size(ranks(centre)) <= budget else (low, centre - 1)
    lost = sum(_tree_error(x, found, r) for x, found, r in zip(tensors, unfoldings, ranks(low), strict=True))
    return math.sqrt(lost / sum(float((x**2).sum()) for x in tensors))


def _tree_error(x: np.ndarray, unfoldings: list[np.ndarray], ranks: np.ndarray) -> float:
    """The squared error after the leaves' and then the middle's orthogonal projections."""
    y = x
    for k in range(4):
        u = np.linalg.svd(unfoldings[k], full_matrices=False)[0][:, : ranks[k]]
        y = np.moveaxis(np.tensordot(u @ u.T, y, axes=(1, k)), 0, k)
    flat = y.reshape(unfoldings[4].shape)
    u = np.linalg.svd(flat, full_matrices=False)[0][:, : ranks[4]]
    return float(((x.reshape(flat.shape) - u @ (u.T @ flat)) ** 2).sum())


def within(tensors: list[np.ndarray], share: float) -> float:
    """The error of trains that take a share of the numbers."""
    axes = np.array([tensor.shape for tensor in tensors])
    dense = axes.prod(axis=1, dtype=np.float64)

    def cost(ranks: np.ndarray) -> np.ndarray:
        return numbers(ranks, axes).astype(np.float64)

    chosen = Spectra.of(tensors).within(share * float(dense.sum()), cost, dense)
    lost = 0.0
    for tensor, ranks, whole in zip(tensors, chosen.ranks, chosen.dense, strict=True):
        if not whole:
            lost += float((tensor**2).sum()) - of_ranks(tensor, ranks.tolist()).norm ** 2
    return math.sqrt(lost / sum(float((tensor**2).sum()) for tensor in tensors))


def trees() -> str:
    """SVD, train and tree of the same four axes at equal numbers, of an update and of MiniLM's attention."""
    layout, X = updates()
    pairs = [[X[0][entry.start : entry.stop].reshape(entry.shape) for entry in pair] for pair in layout.lora_pairs]
    lora = [matrix.astype(np.float64) for pair in pairs for matrix in pair]
    stacks = [np.stack(lora[::2]), np.stack([b.T for b in lora[1::2]])]
    wanted = tuple(f"layer.{k}.attention.self.{name}.weight" for k in (0, 3, 5) for name in ("query", "value"))
    parameters = load_classifier("minilm", 3)[0].named_parameters()
    weights = [value.detach().double().numpy() for name, value in parameters if name.endswith(wanted)]
    lines: dict[str, list[str]] = {}
    for name, make in {
        "truncated SVD": within,
        "tensor train, 2 factors": lambda matrices, share: within(folded(matrices), share),
        "tree, 2 factors": lambda matrices, share: tree(folded(matrices), share),
        "tensor train of modules × r × width": lambda m, share: within(stacks, share) if m is lora else None,
    }.items():
        found = [make(matrices, share) for matrices in (lora, weights) for share in SHARES]
        lines[name] = ["" if error is None else f"{error:.3f}" for error in found]
    head = [f"{what}, {share:.0%}" for what in ("LoRA update", "weights") for share in SHARES]
    return table(["error at", *head], lines)


def folded(matrices: list[np.ndarray]) -> list[np.ndarray]:
    """As tensors of four axes."""
    return [Folding.of(matrix.shape, 2, "plain").fold(matrix) for matrix in matrices]


@cache
def _tokens() -> Mapping[str, torch.Tensor]:
    inputs = task().collate(np.arange(TEXTS)).inputs
    return {name: value for name, value in inputs.items() if name != "labels"}


def _embeddings(model: torch.nn.Module) -> torch.Tensor:
    """Mean-pooled last hidden states of some tweets, of length 1: what MiniLM was trained for."""
    with torch.no_grad():
        hidden = model.base_model(**_tokens()).last_hidden_state
    mask = _tokens()["attention_mask"][..., None]
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def weights() -> str:
    """The projections of MiniLM's attention at equal numbers: the error, and what becomes of the embeddings."""
    before = _embeddings(load_classifier("minilm", 3)[0])
    lines: dict[str, list[str]] = {}
    for name in list(FOLDINGS)[:4]:
        factors, order = FOLDINGS[name]
        lines[name] = []
        for share in SHARES[1:]:
            model, _ = load_classifier("minilm", 3)
            found = compress_weights(model, ratio=share, targets=TARGETS, factors=factors, order=order)
            cosine = float((before * _embeddings(model)).sum(1).mean())
            lines[name].append(f"{found.error:.3f} ({cosine:.2f})".replace("-", "−"))
    return table(["error (mean cosine) at", *(f"{share:.0%}" for share in SHARES[1:])], lines)


def _clients(shape: tuple[int, ...], rank: int, count: int) -> list[TensorTrain]:
    """Random trains: a part that all have, and a tenth as much that each has alone."""
    rng = qf.Key.of(0).fold("tensor trains page", rank, len(shape)).numpy()

    def random() -> TensorTrain:
        ends = [1, *(rank,) * (len(shape) - 1), 1]
        cores = [rng.normal(size=(r, n, s)) / math.sqrt(r) for r, n, s in zip(ends, shape, ends[1:], strict=False)]
        return decompose(TensorTrain(tuple(cores)).dense(), 0.0)

    common = random()
    return [add([common, random()], [1.0, 0.1]) for _ in range(count)]


def _milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def _mean(trains: list[TensorTrain]) -> np.ndarray:
    return np.sum([train.dense() for train in trains], axis=0) / len(trains)


def averaging() -> str:
    """Averaging trains as trains beside contracting each, averaging, and decomposing the mean."""
    layout, X = updates()
    first = layout.lora_pairs[0][0]
    real = [Folding.of(first.shape, 2, "plain").fold(x[first.start : first.stop]) for x in X]
    cases = {f"LoRA A, 8 × 384, real, {CLIENTS} clients": [decompose(x, ERROR) for x in real]}
    for name, shape, rank in (
        ("384 × 384, 4 axes, made up", Folding.of((384, 384), 2, "plain").shape, 4),
        ("1024 × 1024, 20 axes, made up", Folding.of((1024, 1024), 10, "plain").shape, 2),
    ):
        trains = _clients(shape, rank, max(COHORTS))
        cases |= {f"{name}, {n} clients": trains[:n] for n in COHORTS}
    lines = {}
    for name, some in cases.items():
        weights = [1 / len(some)] * len(some)
        ours = _milliseconds(lambda some=some, weights=weights: average(some, weights, ERROR))
        dense = _milliseconds(lambda some=some: _mean(some))
        again = _milliseconds(lambda some=some: decompose(_mean(some), ERROR))
        lines[name] = [
            f"{some[0].size:,}", f"{add(some, weights).size:,}", f"{average(some, weights, ERROR).size:,}",
            f"{math.prod(some[0].shape):,}", f"{ours:.1f} ms", f"{dense:.1f} ms", f"{again:.1f} ms",
        ]  # fmt: skip
    head = [
        "", "numbers of a client", "of the exact sum", "of the average", "dense",
        "averaged as trains", "contracted, averaged", "and decomposed again",
    ]  # fmt: skip
    return table(head, lines)


TABLES = {"sent": sent, "trees": trees, "weights": weights, "averaging": averaging}


def page(text: str) -> str:
    """The page with its tables made anew."""
    for name, make in TABLES.items():
        made = make()
        text = re.sub(
            rf"(<!-- {name} -->)\n.*?<!-- end -->",
            lambda match, made=made: f"{match[1]}\n{made}\n<!-- end -->",
            text,
            flags=re.DOTALL,
        )
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
