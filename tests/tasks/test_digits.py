"""The digits task: the data as scikit-learn gives them, the model as transformers makes it, and its two halves."""

import numpy as np
import pydantic
import pytest
import torch
from sklearn.datasets import load_digits
from transformers import ViTForImageClassification

from qfedfm.adapters.tensors import layout_of, vector_of
from qfedfm.clients.fused import FusedEngine
from qfedfm.clients.jobs import Job, LocalOptimizer, Query
from qfedfm.clients.sequential import SequentialEngine
from qfedfm.core.errors import ConfigError, MissingExtraError
from qfedfm.core.key import Key
from qfedfm.engine.experiment import Experiment
from qfedfm.tasks import digits
from qfedfm.tasks.digits import Digits
from qfedfm.tasks.protocol import Task
from qfedfm.tasks.splittable import Splittable
from tests.engine.tiny import TinyTask

KEY = Key.of(1)


@pytest.fixture(scope="module")
def task():
    return Digits()


def test_it_is_a_task_that_can_be_cut(task):
    assert isinstance(task, Task)
    assert isinstance(task, Splittable)
    assert not isinstance(TinyTask(), Splittable)
    assert (task.name, task.classes, task.cuts) == ("digits", 10, 2)


def test_the_rows_are_those_of_scikit_learn(task):
    known = {(*image.astype(int), label) for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    images = task.collate(np.arange(len(task.labels()), dtype=np.int64)).inputs["pixel_values"].numpy()
    assert (images.min(), images.max()) == (-1, 1)
    pixels = np.rint((images.reshape(-1, 64) + 1) * 8).astype(int)
    found = {(*image, label) for image, label in zip(pixels.tolist(), task.labels().tolist(), strict=True)}
    assert len(found) == len(images) == 1540
    assert {tuple(map(int, row)) for row in found} <= {tuple(map(int, row)) for row in known}


@pytest.mark.parametrize(
    "partition", ["iid", {"name": "dirichlet", "alpha": 0.3}, "label", {"name": "quantity", "alpha": 1}]
)
def test_the_split_gives_each_row_to_one_place(partition):
    task = Digits(partition=partition)
    split = task.split(KEY)
    places = [*split.train.values(), *split.test.values(), split.validation, split.tuning]
    rows = np.concatenate(places)
    assert len(rows) == len(np.unique(rows)) == len(task.labels()) == 1540
    assert (len(split.clients), len(split.validation), len(split.tuning)) == (10, 120, 120)
    again = Digits(partition=partition).split(KEY)
    assert all(np.array_equal(split.train[client], again.train[client]) for client in split.clients)


def test_the_key_draws_the_whole_model(task):
    model = task.model(KEY)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert not model.training
    state = torch.random.get_rng_state()
    assert np.array_equal(vector_of(task.model(KEY)), vector_of(model))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not np.array_equal(vector_of(task.model(Key.of(2))), vector_of(model))


@pytest.mark.parametrize("cut", [0, 1, 2])
def test_the_halves_are_the_model(cut):
    task = Digits(layers=3)
    model = task.model(KEY)
    halves = task.halves(model, cut)
    batch = task.collate(np.arange(7))
    features = halves.shallow(**batch.inputs)
    assert tuple(features.shape) == (7, *halves.shape)
    assert torch.equal(halves.deep(features), task.forward(model, batch.inputs))
    shared = [{id(parameter) for parameter in half.parameters()} for half in (halves.shallow, halves.deep)]
    assert shared[0] | shared[1] == {id(parameter) for parameter in model.parameters()}
    assert not shared[0] & shared[1]
    assert layout_of(halves.shallow).size + layout_of(halves.deep).size == layout_of(model).size


@pytest.mark.parametrize("cut", [-1, 2])
def test_there_is_no_such_cut(task, cut):
    with pytest.raises(ConfigError, match="0 to 1"):
        task.halves(task.model(KEY), cut)


def test_clients_are_trained_in_one_pass_as_one_by_one(task):
    sequential, fused = SequentialEngine(task, KEY), FusedEngine(task, KEY, device="cpu", precision="float32")
    assert fused.plan()["engine"] == "fused"
    jobs = [
        Job(
            client,
            sequential.first,
            (np.arange(client, client + 5), np.arange(20, 23)),
            np.full(2, 0.05),
            LocalOptimizer("sgd"),
        )
        for client in range(3)
    ]
    for mine, other in zip(fused.train(jobs), sequential.train(jobs), strict=True):
        assert np.linalg.norm(mine.delta - other.delta) <= 1e-4 * np.linalg.norm(other.delta)


def test_a_saved_model_is_one_of_transformers(task, tmp_path):
    vector = vector_of(task.model(Key.of(3)))
    model = ViTForImageClassification.from_pretrained(task.save_adapter(vector, tmp_path)).eval()
    rows = np.arange(5)
    (outputs,) = SequentialEngine(task, KEY).outputs([Query(vector, rows)])
    with torch.no_grad():
        np.testing.assert_allclose(model(**task.collate(rows).inputs).logits.numpy(), outputs, rtol=1e-5, atol=1e-6)


def test_the_model_learns_the_digits(task):
    split, engine = task.split(KEY), SequentialEngine(task, KEY)
    rows = np.concatenate([split.train[client] for client in split.clients])
    steps = [Key.of(0).fold(number).numpy().permutation(rows) for number in range(6)]
    batches = tuple(batch for rows in steps for batch in np.array_split(rows, 30))
    job = Job(0, engine.first, batches, np.full(len(batches), 5e-3), LocalOptimizer("adamw"))
    trained = next(iter(engine.train([job])))
    (outputs,) = engine.outputs([Query(engine.first + trained.delta, split.tuning)])
    assert task.metrics(outputs, split.tuning)["accuracy"] > 0.9


@pytest.mark.parametrize(
    "wrong",
    [
        {"partition": "source"},
        {"hidden": 30},
        {"layers": 0},
        {"pixels": 8},
        {"train_rows": 0},
        {"partition": {"name": "iid", "client": 3}},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        Digits(**wrong)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"qfedfm\[demo\]"):
        Digits().split(KEY)


def test_an_experiment_names_it():
    table = {
        "kind": "digits",
        "partition": {"name": "dirichlet", "alpha": 0.5, "clients": 4},
        "train_rows": 20,
        "test_rows": 5,
    }
    settings = {
        "rounds": 1, "task": table, "training": {"steps": 1}, "engine": {"mode": "sequential", "device": "cpu"},
    }  # fmt: skip
    experiment = Experiment.of(settings)
    assert experiment.build_task() == Digits(**table)
    assert Experiment.of(experiment.settings) == experiment
    assert [round_.number for round_ in experiment.rounds()] == [0, 1]
    with pytest.raises(ConfigError, match=r"task\.trainrows"):
        Experiment.of({"task": {"kind": "digits", "trainrows": 3}})
