"""Text classification as a whole: tokens as the tokenizer gives them, splits, the user's own files, what is refused."""

import json

import numpy as np
import pandas as pd
import pydantic
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from qfedfm.adapters.models import resolve_model
from qfedfm.adapters.tensors import layout_of, load_vector, vector_of
from qfedfm.core.errors import ConfigError, DataError
from qfedfm.core.key import Key
from qfedfm.tasks.near_copies import normal_form
from qfedfm.tasks.packed import Packed, tokenise
from qfedfm.tasks.protocol import Task
from qfedfm.tasks.text import TextClassification

SMALL = {"train_rows": 12, "test_rows": 6, "validation": 9, "tuning": 6, "adapter": {"layers": 1}}


@pytest.fixture(scope="module")
def task():
    return TextClassification(**SMALL)


@pytest.fixture
def file(tmp_path):
    rng = Key.of(1).fold("file").numpy()
    words = np.array(["the", "plane", "was", "late", "and", "we", "had", "no", "food", "but", "kind"])
    frame = pd.DataFrame(
        {
            "said": [f"{' '.join(rng.choice(words, 6))} {number}" for number in range(300)],
            "mood": rng.choice(["up", "down"], 300),
            "office": rng.choice(["north", "south", "west"], 300),
        }
    )
    frame.to_csv(tmp_path / "moods.csv", index=False)
    return {"data": str(tmp_path / "moods.csv"), "text_column": "said", "label_column": "mood", **SMALL}


def test_it_is_a_task(task):
    assert isinstance(task, Task)
    assert (task.name, task.classes) == ("tweets", 3)


@given(st.lists(st.integers(0, 194), min_size=1, max_size=12))
@settings(max_examples=30, deadline=None)
def test_collate_gives_what_the_tokenizer_gives(task, rows):
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("minilm"))
    texts = [task.records.texts[row] for row in rows]
    expected = tokenizer(texts, truncation=True, max_length=64, padding="longest", return_tensors="pt")
    batch = task.collate(np.array(rows, np.int64))
    assert set(batch.inputs) == set(expected) == {"input_ids", "attention_mask", "token_type_ids"}
    for name, tensor in batch.inputs.items():
        assert torch.equal(tensor, expected[name])
    assert batch.labels.tolist() == task.labels()[rows].tolist()
    assert task.lengths()[rows].tolist() == expected["attention_mask"].sum(1).tolist()


def test_rows_without_token_types_give_none():
    packed = Packed(np.arange(1, 6, dtype=np.int32), np.array([0, 2, 5]), None, 9)
    inputs = packed.inputs(np.array([1, 0]))
    assert inputs["input_ids"].tolist() == [[3, 4, 5], [1, 2, 9]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert set(inputs) == {"input_ids", "attention_mask"}


class Letters:
    """A tokenizer without token types: one token a letter, none for a space."""

    model_input_names = ("input_ids", "attention_mask")

    def __init__(self, pad, eos):
        self.pad_token_id, self.eos_token_id = pad, eos

    def __call__(self, texts, truncation, max_length, padding):
        return {"input_ids": [[ord(letter) for letter in text if letter != " "][:max_length] for text in texts]}


@pytest.mark.parametrize(("pad", "eos", "expected"), [(7, 8, 7), (None, 8, 8), (None, None, 0), (0, 8, 0)])
def test_padding_is_the_tokenizers_own_where_it_has_one(pad, eos, expected):
    packed = tokenise(Letters(pad, eos), ["a b", "c"], 4)
    assert packed.inputs(np.array([1, 0]))["input_ids"].tolist() == [[99, expected], [97, 98]]


def test_a_text_without_a_token_is_refused():
    with pytest.raises(DataError, match="text '  ' gives no token"):
        tokenise(Letters(0, 0), ["a", "  "], 4)


def test_the_split_of_the_tweets(task):
    split = task.split(Key.of(1))
    assert split.names[0] == "united"
    assert split.clients == tuple(range(10))
    assert all((len(split.train[client]), len(split.test[client])) == (12, 6) for client in split.clients)
    assert (len(split.validation), len(split.tuning)) == (9, 6)
    sides = [*split.train.values(), *split.test.values(), split.validation, split.tuning]
    assert sorted(row for side in sides for row in side.tolist()) == list(range(len(task.labels())))
    forms = [normal_form(text) for text in task.records.texts]
    assert len(set(forms)) == len(forms)


def test_the_pool_depends_on_the_task_only(task):
    again = TextClassification(**SMALL)
    assert again.records.texts == task.records.texts
    assert TextClassification(**SMALL, pool_seed=1).records.texts != task.records.texts
    assert [a.tolist() for a in task.split(Key.of(2)).train.values()] == [
        a.tolist() for a in again.split(Key.of(2)).train.values()
    ]


def test_padding_and_company_do_not_change_a_row(task):
    model = task.model(Key.of(1))
    order = np.argsort(task.lengths(), kind="stable")
    short, long = order[:1], order[-1:]
    with torch.no_grad():
        alone = task.forward(model, task.collate(short).inputs)
        together = task.forward(model, task.collate(np.concatenate([long, short])).inputs)
    assert together[1].numpy() == pytest.approx(alone[0].numpy(), abs=1e-5)


def test_losses_are_the_cross_entropy_of_the_metrics(task):
    rows = np.arange(20)
    model = task.model(Key.of(1))
    batch = task.collate(rows)
    with torch.no_grad():
        outputs = task.forward(model, batch.inputs)
    mean = task.losses(outputs, batch.labels).mean().item()
    assert task.metrics(outputs.numpy(), rows)["loss"] == pytest.approx(mean, rel=1e-5)


def test_a_few_steps_lower_the_loss(task):
    model, rows = task.model(Key.of(1)), np.arange(24)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=5e-3)
    batch, losses = task.collate(rows), []
    for _ in range(6):
        loss = task.losses(task.forward(model, batch.inputs), batch.labels).mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_the_saved_adapter_is_the_vector(task, tmp_path):
    import peft
    from safetensors.numpy import load_file

    model = task.model(Key.of(4))
    vector = np.arange(layout_of(model).size, dtype=np.float32)
    task.save_adapter(vector, tmp_path)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert sum(tensor.size for tensor in saved.values()) == len(vector)
    assert sorted(np.concatenate([tensor.ravel() for tensor in saved.values()])) == vector.tolist()
    load_vector(model, vector)
    assert (vector_of(model) == vector).all()
    assert peft.PeftConfig.from_pretrained(str(tmp_path)).task_type == "SEQ_CLS"


def test_a_file_with_a_client_column(file):
    task = TextClassification(**file, client_column="office", partition="source")
    assert (task.name, task.records.classes) == ("moods", ("down", "up"))
    assert list(task.split(Key.of(1)).names.values()) == ["north", "south", "west"]
    assert task.model(Key.of(1)).config.id2label == {0: "down", 1: "up"}


@pytest.mark.parametrize(
    "partition",
    [
        {"name": "iid", "clients": 4},
        {"name": "dirichlet", "alpha": 0.5, "clients": 4, "minimum": 4},
        {"name": "label", "clients": 4},
        {"name": "quantity", "alpha": 3, "clients": 4, "minimum": 4},
    ],
    ids=lambda partition: partition["name"],
)
def test_a_file_with_a_drawn_partition(file, partition):
    task = TextClassification(**file, partition=partition)
    split = task.split(Key.of(1))
    assert len(split.clients) == 4
    assert sum(map(len, split.train.values())) + sum(map(len, split.test.values())) == 4 * 18


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"text_column": "sayd"}, DataError, r"no column 'sayd'.*did you mean 'said'"),
        ({"data": "nowhere.csv"}, DataError, "no data file 'nowhere.csv'"),
        ({"partition": {"name": "iid", "clients": 40}}, DataError, "rows for 40 clients of at least 10 rows"),
        ({"validation": 290, "tuning": 20}, DataError, "310 validation and tuning rows of 300 rows"),
    ],
)
def test_data_that_do_not_fit_are_refused(file, change, error, message):
    task = TextClassification(**{**file, "partition": {"name": "iid", "clients": 4}, **change})
    with pytest.raises(error, match=message):
        task.split(Key.of(1))


def test_more_tokens_than_the_model_reads_are_refused():
    with pytest.raises(ConfigError, match="max_tokens = 600; expected at most 512"):
        TextClassification(**SMALL, max_tokens=600).model(Key.of(1))


@pytest.mark.parametrize(
    "wrong",
    [
        {"train_rows": 0},
        {"validation": -1},
        {"max_tokens": 2},
        {"trian_rows": 3},
        {"partition": "sauce"},
        {"data": "x.csv", "partition": "source"},
    ],
)
def test_a_wrong_configuration_is_refused(wrong):
    with pytest.raises(pydantic.ValidationError):
        TextClassification(**wrong)


def test_a_copy_is_checked_and_reads_anew(task):
    assert len(task.records.texts) == 195
    other = task.model_copy(update={"train_rows": 20})
    assert len(other.records.texts) == 275
    assert task.model_copy() == task
    with pytest.raises(pydantic.ValidationError):
        task.model_copy(update={"train_rows": 0})


def test_a_configuration_survives_json(task):
    text = task.model_dump_json()
    assert TextClassification(**json.loads(text)) == TextClassification(**SMALL)
    assert "partition" in TextClassification.model_json_schema()["properties"]
