"""Near-copies: texts that say the same but for links, names, retweet marks, punctuation and case."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int64

_NOISE = re.compile(r"https?://\S+|www\.\S+|@\w+|\brt\b")


class _Words(dict[int, str]):
    """Maps characters for ``str.translate``: punctuation, symbols, controls and spaces become a space."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = " " if unicodedata.category(character)[0] in "PSCZ" else character
        return self[code]


_WORDS = _Words()


def normal_form(text: str) -> str:
    """What two near-copies have in common; of a text without any word, the text itself in lower case.

    Example:
        >>> normal_form("RT @ann: So   GOOD!! http://t.co/x") == normal_form("so good")
        True
        >>> normal_form(":-)")
        ':-)'
    """
    lower = unicodedata.normalize("NFKC", html.unescape(text)).casefold()
    words = " ".join(_NOISE.sub(" ", lower).translate(_WORDS).split())
    return words or " ".join(lower.split())


def distinct(texts: Sequence[str], labels: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    """The rows to keep, ascending: the first of each group of near-copies, and none of a group whose labels differ.

    A group with two labels is dropped whole: whichever row were kept, its label would be a coin toss. Rows with an
    empty text are dropped as well.

    Example:
        >>> distinct(["Good!", "good", "Bad", "bad.", ""], np.array([1, 1, 0, 1, 0])).tolist()
        [0]
    """
    groups: dict[str, list[int]] = {}
    for row, text in enumerate(texts):
        if text.strip():
            groups.setdefault(normal_form(text), []).append(row)
    kept = [rows[0] for rows in groups.values() if len(set(labels[rows].tolist())) == 1]
    return np.array(sorted(kept), np.int64)
