"""Sizes of memory as people write them."""

import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.engine.experiment import Experiment


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("4 GB", 4 * 10**9), ("4gb", 4 * 10**9), ("1.5 GiB", 3 * 2**29), ("512MiB", 2**29), ("800 M", 800 * 10**6),
        ("20000 B", 20_000), ("64", 64), (123, 123), ("auto", None),
    ],
)  # fmt: skip
def test_a_size(written, size):
    experiment = Experiment.of({"engine": {"memory": written}})
    assert experiment.engine.memory_bytes == size
    assert Experiment.of(experiment.settings) == experiment


@pytest.mark.parametrize("written", ["", "lots", "GB", "-4 GB", "4 PB", "4 GBs", "nan GB", 0, -1, 1.5, True, [], "0"])
def test_no_size(written):
    with pytest.raises(ConfigError, match=r"engine\.memory = .* such as \"4 GB\", a number of bytes, or \"auto\""):
        Experiment.of({"engine": {"memory": written}})
