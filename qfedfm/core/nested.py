"""Parts inside parts: the type of a field that holds one, given as an object, by name, or as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, InstanceOf

from qfedfm.core.parts import Codec
from qfedfm.core.registry import build


def _codec(value: Any) -> Any:
    return build(Codec.kind, value) if isinstance(value, str | Mapping) else value


def _of_updates(codec: Codec) -> Codec:
    if codec.needs_model:
        raise ValueError(f"a codec of updates; {codec.name!r} encodes the model that they lead to")
    return codec


CodecField = Annotated[InstanceOf[Codec], BeforeValidator(_codec), AfterValidator(_of_updates)]
"""A codec of updates: one, its name, or a table of its name and options."""
