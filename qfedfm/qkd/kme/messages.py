"""The messages of ETSI GS QKD 014 V1.1.1 (2019-02), clause 6, and those that key managers send each other.

Names are the standard's. A body is limited before it is read (`BODY`, `ANSWER`), and what does not fit is refused in
words that never repeat it: a body may hold a key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from qfedfm.core.errors import PayloadError

BODY = 1 << 17
"""Bytes of a request at most."""
ANSWER = 1 << 20
"""Bytes of an answer at most."""
ANSWER_BITS = 1 << 22
"""Bits of the keys in an answer at most: as base64, with 1000 ids and a label, they stay within `ANSWER`."""
LABEL = 1000
"""Characters of the labels in an answer at most."""
NOT_MULTIPLE = "size shall be a multiple of 8"
UNSUPPORTED = "not all extension_mandatory parameters are supported"
NOT_FOUND = "one or more keys specified are not found on KME"

Name = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]
Number = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""Of a unit: a fast link must not use up its numbers. As many as SQLite can count."""


class Body(BaseModel):
    """A message: types are exact, unknown fields are left alone, and errors do not show what was given."""

    model_config = ConfigDict(frozen=True, strict=True, hide_input_in_errors=True)


class Status(Body):
    """Clause 6.1. ``status_extension`` holds ``label``: what the link is, and is not; and ``link``: how it is."""

    source_KME_ID: str
    target_KME_ID: str
    master_SAE_ID: str
    slave_SAE_ID: str
    key_size: Count
    stored_key_count: Count
    max_key_count: Count
    max_key_per_request: Count
    max_key_size: Count
    min_key_size: Count
    max_SAE_ID_count: Count
    status_extension: Any = None


class KeyRequest(Body):
    """Clause 6.2; the sizes are checked against the limits of a service by `Limits.check`."""

    number: int = 1
    size: int | None = None
    additional_slave_SAE_IDs: tuple[Name, ...] = Field(default=(), max_length=1000)
    extension_mandatory: Any = None
    extension_optional: Any = None


class Key(Body):
    """One key of clause 6.3."""

    key_ID: UUID
    key: str = Field(repr=False)

    @property
    def secret(self) -> bytes:
        """The key itself.

        Raises:
            PayloadError: it is not base64.
        """
        return unpacked(self.key)


class KeyContainer(Body):
    """Clause 6.3. ``key_container_extension`` holds ``label``: what the link is, and is not."""

    keys: tuple[Key, ...]
    key_container_extension: Any = None


class KeyIdEntry(Body):
    """One id of clause 6.4."""

    key_ID: UUID


class KeyIds(Body):
    """Clause 6.4."""

    key_IDs: tuple[KeyIdEntry, ...] = Field(min_length=1, max_length=1000)


class Problem(Body):
    """Clause 6.5: an error."""

    message: str
    details: Any = None


class UnitMessage(Body):
    """One unit of a link."""

    number: Number
    key: Annotated[str, Field(repr=False, max_length=64)]


class Feed(Body):
    """New units, from the end that owns them."""

    label: Annotated[str, StringConstraints(max_length=200)]
    units: tuple[UnitMessage, ...] = Field(min_length=1, max_length=1024)


class KeyPlan(Body):
    """The units that become one key."""

    key_ID: UUID
    units: tuple[Number, ...] = Field(min_length=1, max_length=1024)


class Assign(Body):
    """Units that become keys, from the end that owns them."""

    master_SAE_ID: Name
    slave_SAE_IDs: tuple[Name, ...] = Field(min_length=1, max_length=1001)
    size: Annotated[int, Field(ge=8, le=2**20, multiple_of=8)]
    keys: tuple[KeyPlan, ...] = Field(min_length=1, max_length=1024)


class Alive(Body):
    """Numbers of units that are there, as first and last of each run, and whether the sender's end of the link is."""

    runs: tuple[tuple[Number, Number], ...] = Field(max_length=4096)
    link: Literal["up", "down"] = "up"

    @classmethod
    def of(cls, numbers: Sequence[int], link: Literal["up", "down"] = "up") -> Alive:
        """The runs of ascending numbers.

        Example:
            >>> Alive.of([1, 2, 3, 7]).runs
            ((1, 3), (7, 7))
        """
        runs: list[list[int]] = []
        for number in numbers:
            if runs and number == runs[-1][1] + 1:
                runs[-1][1] = number
            else:
                runs.append([number, number])
        return cls(runs=tuple((first, last) for first, last in runs), link=link)

    def among(self, numbers: Iterable[int]) -> list[int]:
        """Those of the numbers that are in a run: a peer's claim of a long run allocates nothing.

        Example:
            >>> Alive(runs=((0, 2**31 - 1),)).among([1, 2])
            [1, 2]
        """
        ascending, runs, found = sorted(numbers), sorted(self.runs), []
        at = 0
        for number in ascending:
            while at < len(runs) and runs[at][1] < number:
                at += 1
            if at < len(runs) and runs[at][0] <= number:
                found.append(number)
        return found


_Body = TypeVar("_Body", bound=Body)


def parsed(kind: type[_Body], body: bytes) -> _Body:
    """A message from JSON.

    Raises:
        PayloadError: it is malformed or something does not fit; the message names the field and never its value.

    Example:
        >>> parsed(KeyRequest, b'{"number": 2}').number
        2
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise PayloadError(f"{where or 'body'}: {first['msg'].split(' at line')[0]}") from None


def packed(secret: bytes) -> str:
    """Base64."""
    return base64.b64encode(secret).decode("ascii")


def unpacked(text: str) -> bytes:
    """What `packed` packed.

    Raises:
        PayloadError: it is not base64.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PayloadError("a key that is not base64", "RFC 4648, clause 4") from None
