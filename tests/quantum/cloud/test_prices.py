"""Prices: dated, overridable, and what they come to."""

import pytest

from qfedfm.core.errors import ConfigError
from qfedfm.quantum.cloud.prices import VARIABLE, prices


def test_the_shipped_list_has_a_date_for_everything():
    for line in prices().lines:
        assert line.as_of[:2] == "20"


@pytest.mark.parametrize(
    ("backend", "shots", "dollars"),
    [
        ("fake:manila", 1000, 0.0),
        ("braket:arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1", 1000, 80.30),
        ("braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet", 1000, 1.75),
        ("braket:arn:aws:braket:us-west-1::device/qpu/rigetti/Ankaa-3", 1000, 1.20),
        ("ionq:qpu.forte-1", 10, 12.42),
        ("ionq:simulator", 1000, 0.0),
    ],
)
def test_what_a_job_costs(backend, shots, dollars):
    assert prices().find(backend).of(shots) == pytest.approx(dollars)


def test_a_training_step_costs_what_was_worked_out_by_hand():
    step = 49  # circuits of a parameter-shift step with 24 parameters, 1000 shots each
    garnet = prices().find("braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet")
    forte = prices().find("braket:arn:aws:braket:us-east-1::device/qpu/ionq/Forte-1")
    assert step * garnet.of(1000) == pytest.approx(86, abs=0.5)
    assert step * forte.of(1000) == pytest.approx(3935, abs=1)


def test_seconds_on_ibm_cost_a_minute_s_price():
    ibm = prices().find("ibm:ibm_torino")
    assert ibm.of(1000) == pytest.approx(96 / 60 * ibm.seconds(1000))
    assert ibm.seconds(2000) > ibm.seconds(1000) > 0


def test_a_list_of_one_s_own_goes_first(tmp_path, monkeypatch):
    path = tmp_path / "mine.toml"
    path.write_text('[[price]]\ndevice = "Garnet"\nas_of = "2027-01"\ntask = 1.0\n')
    garnet = "braket:arn:aws:braket:eu-north-1::device/qpu/iqm/Garnet"
    assert prices(path).find(garnet).of(1000) == 1.0
    monkeypatch.setenv(VARIABLE, str(path))
    assert prices().find(garnet).as_of == "2027-01"
    assert prices().find("fake:manila").of(5) == 0
    assert prices().find("unheard:of") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[price]]\ndevice = 3\n", "device"),
        ("not toml", "prices in"),
        ('[[price]]\ndevice = "x"\nas_of = "y"\nshott = 1', "shott"),
    ],
)
def test_a_list_that_cannot_be_read(tmp_path, text, said):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        prices(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        prices(tmp_path / "missing.toml")
