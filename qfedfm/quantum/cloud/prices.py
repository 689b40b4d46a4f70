"""What a job will cost, from dated prices."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qfedfm.core.errors import ConfigError
from qfedfm.core.validation import explain

_NUMBER = Annotated[float, Field(ge=0, allow_inf_nan=False)]
VARIABLE = "QFEDFM_PRICES"


class Price(BaseModel):
    """A line of the list of prices, in US dollars.

    Args:
        device: what occurs in the name of the backend.
        as_of: when the price was read.
        task: for each job.
        shot: for each shot.
        second: for each second on the device.
        minimum: for a job.
        job_seconds: that a job takes besides its shots, by estimate.
        shot_seconds: that a shot takes, by estimate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: str
    as_of: str
    task: _NUMBER = 0.0
    shot: _NUMBER = 0.0
    second: _NUMBER = 0.0
    minimum: _NUMBER = 0.0
    job_seconds: _NUMBER = 0.0
    shot_seconds: _NUMBER = 0.0

    def of(self, shots: int) -> float:
        """Dollars for a job.

        Example:
            >>> Price(device="garnet", as_of="2026-11", task=0.3, shot=0.00145).of(1000)
            1.75
        """
        return round(max(self.minimum, self.task + shots * self.shot + self.seconds(shots) * self.second), 4)

    def seconds(self, shots: int) -> float:
        """Seconds on the device, by estimate."""
        return self.job_seconds + shots * self.shot_seconds


class _Prices(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    price: tuple[Price, ...]


@dataclass(frozen=True)
class Prices:
    """A list in the order in which it is asked."""

    lines: tuple[Price, ...]

    def find(self, backend: str) -> Price | None:
        """The price of a backend such as ``braket:arn:…``, or None where the list does not say."""
        return next((line for line in self.lines if line.device in backend), None)


def prices(own: Path | None = None) -> Prices:
    """The user's prices, if there are any, before those that come with the library.

    Raises:
        ConfigError: a list cannot be read.
    """
    shipped = files("qfedfm.quantum.cloud").joinpath("prices.toml").read_text(encoding="utf-8")
    path = own or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    mine: tuple[Price, ...] = ()
    if path is not None:
        try:
            mine = _parsed(path.read_text(encoding="utf-8"), str(path))
        except OSError as error:
            raise ConfigError(f"the prices in {path} cannot be read ({error.strerror})", "a TOML file") from None
    return Prices((*mine, *_parsed(shipped, "prices.toml")))


def _parsed(text: str, where: str) -> tuple[Price, ...]:
    try:
        return _Prices.model_validate(tomllib.loads(text)).price
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"the prices in {where}: {error}", "TOML") from None
    except ValidationError as error:
        raise explain(error, _Prices, f"the prices in {where}") from None
