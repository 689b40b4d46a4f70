"""How an experiment asks for its clients to be trained on this machine."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, PlainValidator, WithJsonSchema


def _bytes(size: Any) -> int | Literal["auto"]:
    """A number of bytes from a text such as ``4 GB`` or ``512 MiB``, or the number itself."""
    if isinstance(size, str) and size != "auto":
        found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?\s*", size, re.IGNORECASE)
        unit = 1024 if found and found[3] else 1000
        size = int(float(found[1]) * unit ** " kmgt".index(found[2].lower() or " ")) if found else 0
    if size == "auto":
        return "auto"
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size
    raise ValueError('a size such as "4 GB", a number of bytes, or "auto"')


Memory = Annotated[
    int | Literal["auto"],
    PlainValidator(_bytes),
    WithJsonSchema({"anyOf": [{"minimum": 1, "type": "integer"}, {"type": "string"}]}),
]


class Engine(BaseModel):
    """How clients are trained on this machine.

    Args:
        mode: all clients of a round in one pass, or one after the other (the reference).
        device: ``cpu``, ``cuda`` …; ``auto`` takes CUDA where there is one.
        precision: of the frozen base; ``auto`` measures whether bfloat16 pays.
        memory: the most that the fused engine may use, in bytes or as a text such as ``4 GB``; ``auto`` is 4 GB, and on
            a GPU three quarters of its memory. Interpreter, libraries and data come on top.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mode: Literal["fused", "sequential"] = "fused"
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    memory: Memory = "auto"

    @property
    def memory_bytes(self) -> int | None:
        """The most that the fused engine may use; None where it decides."""
        return None if self.memory == "auto" else self.memory
