"""A task that is cut in milliseconds: two linear layers with a tanh between them on Gaussian classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qfedfm.core.errors import ConfigError
from qfedfm.core.key import Key
from qfedfm.tasks.splittable import Halves
from tests.engine.tiny import TinyTask

HIDDEN = 8


@dataclass
class TinySplit(TinyTask):
    """Its batches have features of 8 numbers a row."""

    cuts: int = 1

    def model(self, key: Key) -> torch.nn.Module:
        model = torch.nn.Sequential(torch.nn.Linear(4, HIDDEN), torch.nn.Tanh(), torch.nn.Linear(HIDDEN, self.classes))
        generator = torch.Generator().manual_seed(key.integer())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(0, 0.5, generator=generator)
        return model.eval()

    def halves(self, model: torch.nn.Module, cut: int) -> Halves:
        if cut != 0:
            raise ConfigError(f"cut {cut} of task 'tiny'", "0")
        return Halves(model[:2], model[2:], (HIDDEN,))
