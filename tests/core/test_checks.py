from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field

import qfedfm as qf
from qfedfm.core.checks import check_fields, require_rows
from qfedfm.core.cohort import EMPTY
from qfedfm.core.errors import ConfigError, StackError
from qfedfm.core.parts import Part
from qfedfm.core.registry import build
from tests.reduces.cohorts import cohort_of, normal, server_at


@dataclass(frozen=True)
class Sample(Part):
    """A part outside the library, whose types nothing but `check_fields` looks at."""

    name = "sample"
    count: Annotated[int, Field(ge=0)] = 0
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    most: Annotated[int, Field(ge=1)] | None = None

    def __post_init__(self) -> None:
        check_fields(self)


@pytest.mark.parametrize(
    "options",
    [
        {"count": -1}, {"count": "2"}, {"count": 1.5}, {"count": True}, {"count": None},
        {"rate": 0.0}, {"rate": float("nan")}, {"rate": float("inf")}, {"rate": "fast"}, {"most": 0}, {"most": 2.0},
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_name_and_itself(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(ConfigError) as caught:
        Sample(**options)
    assert caught.value.given == f"part 'sample': {name} = {value!r}"
    assert caught.value.expected


def test_right_values_pass() -> None:
    assert Sample(count=3, rate=2, most=None) == Sample(3, 2.0)


def test_direct_construction_refuses_what_a_configuration_would() -> None:
    with pytest.raises(ConfigError, match="'krum': hostile = -1; expected greater than or equal to 0"):
        qf.reduces.Krum(hostile=-1)
    with pytest.raises(ConfigError, match="hostile = -1; expected"):
        build("reduce", {"name": "krum", "hostile": -1})


def test_too_few_updates_are_refused_with_the_number_that_is_needed() -> None:
    cohort = cohort_of(normal(4, 3))
    with pytest.raises(StackError, match="4 updates for reduce 'krum'; expected at least 5"):
        qf.reduces.Krum(hostile=1).reduce(cohort, EMPTY, server_at(3))
    require_rows(qf.reduces.TrimmedMean(hostile=1), cohort)
