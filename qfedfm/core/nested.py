"""Parts inside parts: the type of a field that holds one, given as an object, by name, or as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, InstanceOf

from qfedfm.core.parts import Codec
from qfedfm.core.registry import build


def _codec(value: Any) -> Any:
    return build(Codec.kind, value) if isinstance(value, str | Mapping) else value


CodecField = Annotated[InstanceOf[Codec], BeforeValidator(_codec)]
"""A codec: one, its name, or a table of its name and options."""
