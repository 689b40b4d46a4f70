"""Near-copies: what counts as one, which is kept, and that a split never separates two."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qfedfm.core.key import Key
from qfedfm.tasks.near_copies import distinct, normal_form
from qfedfm.tasks.partition import Iid
from qfedfm.tasks.records import Records
from qfedfm.tasks.split import Limits, divide, pool

words = st.lists(st.sampled_from(["good", "bad", "plane", "late", "größe", "飛行機", "हिन्दी"]), min_size=1, max_size=4)


@st.composite
def disguises(draw, said):
    """The same words with other case, links, names, marks and spaces around them."""
    noise = st.sampled_from(["", " ", "!!", " @ann ", " http://t.co/Ab1 ", "\t", " RT ", " \N{REPLACEMENT CHARACTER} "])
    shown = [draw(st.sampled_from([str.lower, str.upper, str.title]))(word) for word in said]
    return " ".join(draw(noise) + " " + word + " " + draw(noise) for word in shown)


@given(st.data(), words)
def test_a_disguised_copy_has_the_same_normal_form(data, said):
    assert normal_form(data.draw(disguises(said))) == normal_form(" ".join(said))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("good", "goods"),
        ("not good", "good"),
        ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"),
        ("हिन्दी", "हिन्दा"),
        ("start", "sta"),
        ("@ann", "@bob"),
    ],
)
def test_other_words_have_other_normal_forms(a, b):
    assert normal_form(a) != normal_form(b)


def test_html_entities_are_read():
    assert normal_form("you &amp; me") == normal_form("you & me")


@given(st.lists(st.tuples(words, st.integers(0, 1)), min_size=1, max_size=30))
def test_one_row_of_each_group_is_kept_and_none_where_labels_differ(rows):
    texts = [" ".join(said) for said, _ in rows]
    labels = np.array([label for _, label in rows], np.int64)
    kept = distinct(texts, labels).tolist()
    expected = [
        row
        for row, text in enumerate(texts)
        if text not in texts[:row] and len({int(labels[i]) for i, other in enumerate(texts) if other == text}) == 1
    ]
    assert kept == expected


def test_empty_texts_are_dropped():
    assert distinct(["", "  ", "a"], np.array([0, 0, 1])).tolist() == [2]


@given(st.data(), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_no_two_near_copies_are_on_different_sides_of_a_split(data, seed):
    texts, labels = [], []
    for number in range(40):
        for _ in range(data.draw(st.integers(1, 3), label=f"copies of {number}")):
            texts.append(data.draw(disguises([f"text{number}", "good"])))
            labels.append(number % 2)
    order = Key.of(seed).fold("order").numpy().permutation(len(texts))
    records = Records(
        tuple(texts[i] for i in order), np.array(labels, np.int64)[order], ("no", "yes")
    ).without_near_copies()
    none, partition, limits = np.zeros(len(records.texts), np.int64), Iid(clients=3, minimum=2), Limits(6, 3, 3, 3)
    records = records.take(pool(records.labels, none, partition, limits, Key.of(seed)))
    split = divide(records.labels, none[: len(records.texts)], (), partition, limits, Key.of(seed))
    sides = [*split.train.values(), *split.test.values(), split.validation, split.tuning]
    forms = [normal_form(records.texts[row]) for side in sides for row in side]
    assert len(forms) == len(set(forms)) == 33
