import numpy as np
import pytest
import torch

from qfedfm.bench.ours.generated import ROWS, make
from qfedfm.bench.scale import settings
from qfedfm.core.key import Key
from qfedfm.engine.experiment import Experiment


def test_a_row_is_the_same_in_whatever_company():
    task = make(clients=50)
    rows = np.array([5, 17, 16, 799, 17])
    together = task.collate(rows)
    for i, row in enumerate(rows):
        alone = task.collate(np.array([row]))
        assert torch.equal(alone.inputs["input"][0], together.inputs["input"][i])
        assert together.labels[i] == task.labels()[row]


def test_the_size_of_the_population_changes_no_client():
    rows = np.arange(40, 56)
    few, many = (make(clients=n).collate(rows).inputs["input"] for n in (10, 100_000))
    assert torch.equal(few, many)


def test_clients_hold_their_own_rows_and_a_hundred_are_tested():
    split = make(clients=1000).split(Key.of(1))
    assert len(split.train) == len(split.clients) == 1000
    taken = np.concatenate([np.concatenate([split.train[c], split.test[c]]) for c in range(100)])
    np.testing.assert_array_equal(taken, np.arange(100 * ROWS))
    assert sum(len(rows) > 0 for rows in split.test.values()) == 100
    assert split.names[7] == "client 7"
    assert list(split.names)[-1] == 999
    for mapping in (split.train, split.names):
        with pytest.raises(KeyError):
            mapping[1000]


def test_the_model_has_the_parameters_that_are_said():
    model = make(clients=10, hidden=4096).model(Key.of(1))
    assert sum(parameter.numel() for parameter in model.parameters()) == 282_628


def test_clients_learn_from_generated_rows():
    made = settings(200, 20, 5, 16)
    made["training"]["rate"] = 0.5
    made["engine"] = {"mode": "sequential", "device": "cpu"}
    records = [one.record for one in Experiment.of(made).rounds()]
    assert records[-1]["loss"] < records[0]["loss"] - 0.1
    assert len(records[-1]["participants"]) == 20
