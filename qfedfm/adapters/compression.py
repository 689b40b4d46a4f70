"""Base weights as truncated SVDs or tensor trains, before an adapter is attached."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from qfedfm.core.errors import ConfigError, nearest
from qfedfm.core.folding import Folding, Order
from qfedfm.core.ranks import Ranks, Spectra, numbers
from qfedfm.core.tensortrain import TensorTrain, of_ranks


@dataclass(frozen=True)
class Compression:
    """What `compress_weights` made of a model's weights.

    Args:
        trains: the folding and the factors of each weight that was replaced, by its parameter's name; all that has to
            be stored or sent of it.
        stored: numbers in them, and in the chosen weights that stayed as they were because factors are no fewer.
        numbers: in the chosen weights before.
        errors: ‖W − Ŵ‖_F / ‖W‖_F of each chosen weight.
        error: the same of all of them together.
    """

    trains: Mapping[str, tuple[Folding, TensorTrain]]
    stored: int
    numbers: int
    errors: Mapping[str, float]
    error: float


def compress_weights(
    model: torch.nn.Module,
    *,
    error: float | None = None,
    ratio: float | None = None,
    targets: Collection[str] = (),
    factors: int = 1,
    order: Order = "plain",
) -> Compression:
    """Replaces weights of linear layers by their approximations of low rank, in place, without further training.

    The ranks of all of them come from one threshold, see `Spectra`. With one plain factor an approximation is a
    truncated SVD, with more a tensor train (Tomut et al. 2024, arXiv 2401.14109).

    What shrinks is what is stored or sent: ``stored`` numbers. In the model the approximations are dense again, so that
    its memory, its time and whatever is done with its modules stay as they were.

    Args:
        model: whose adapter is not attached yet.
        error: the most that ‖W − Ŵ‖_F / ‖W‖_F of all chosen weights together may be; or
        ratio: the most that ``stored`` may be, as a share of the numbers in the chosen weights.
        targets: names, or last parts of names, of linear layers; all of the model's where none is given.
        factors: of the rows and of the columns, see `Folding`.
        order: see `Folding`.

    Raises:
        ConfigError: not exactly one of error and ratio is given, it is not in (0, 1), or a target is no linear layer.

    Differs from the paper: ranks follow the weights, and nothing is trained to heal what was cut off.
    """
    given = [value for value in (error, ratio) if value is not None]
    if len(given) != 1 or not 0 < given[0] < 1:
        raise ConfigError(f"error = {error} and ratio = {ratio}", "one of the two, between 0 and 1")
    weights = _weights(model, targets)
    matrices = {name: weight.detach().to("cpu", torch.float64).numpy() for name, weight in weights.items()}
    foldings = [Folding.of(matrix.shape, factors, order) for matrix in matrices.values()]
    tensors = [folding.fold(matrix) for folding, matrix in zip(foldings, matrices.values(), strict=True)]
    chosen = _choose(tensors, error, ratio)
    trains, errors = {}, dict.fromkeys(matrices, 0.0)
    for number, (name, matrix) in enumerate(matrices.items()):
        if chosen.dense[number]:
            continue
        train = of_ranks(tensors[number], chosen.ranks[number].tolist())
        found = foldings[number].unfold(train.dense()).reshape(matrix.shape)
        errors[name] = float(np.linalg.norm(found - matrix) / (np.linalg.norm(matrix) or 1.0))
        trains[name] = foldings[number], train
        with torch.no_grad():
            weights[name].copy_(torch.from_numpy(found))
    square = {name: float((matrix**2).sum()) for name, matrix in matrices.items()}
    lost = sum(errors[name] ** 2 * square[name] for name in matrices)
    return Compression(
        trains,
        stored=sum(trains[name][1].size if name in trains else matrix.size for name, matrix in matrices.items()),
        numbers=sum(matrix.size for matrix in matrices.values()),
        errors=errors,
        error=math.sqrt(lost / (sum(square.values()) or 1.0)),
    )


def _choose(tensors: list[np.ndarray], error: float | None, ratio: float | None) -> Ranks:
    axes = np.array([tensor.shape for tensor in tensors])
    dense = axes.prod(axis=1, dtype=np.float64)
    spectra = Spectra.of(tensors)

    def cost(ranks: np.ndarray) -> np.ndarray:
        return numbers(ranks, axes).astype(np.float64)

    if ratio is not None:
        return spectra.within(ratio * float(dense.sum()), cost, dense)
    square = sum(float((tensor**2).sum()) for tensor in tensors)
    return spectra.cheapest((error or 0.0) ** 2 * square, cost, dense)


def _weights(model: torch.nn.Module, targets: Collection[str]) -> dict[str, torch.Tensor]:
    linear = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    for target in targets:
        if not any(_is(name, target) for name in linear):
            last = {name.rpartition(".")[2] for name in linear}
            raise ConfigError(f"target {target!r}", "a linear layer of the model", nearest(target, last))
    return {
        f"{name}.weight": module.weight
        for name, module in linear.items()
        if not targets or any(_is(name, target) for target in targets)
    }


def _is(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
