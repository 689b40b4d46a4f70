"""Reading the body of a payload: every length is checked before anything is allocated."""

from __future__ import annotations

import numpy as np

from qfedfm.core.errors import PayloadError


class Reader:
    """Takes a body apart from its beginning to its end.

    Args:
        body: what arrived.

    Example:
        >>> reader = Reader(np.array([3, 1, 2, 3], "<u2").tobytes())
        >>> reader.numbers("<u2", int(reader.number("<u2"))).tolist()
        [1, 2, 3]
        >>> reader.end()
    """

    def __init__(self, body: bytes | memoryview) -> None:
        self._rest = memoryview(body)

    def take(self, count: int) -> memoryview:
        """The next bytes, without a copy.

        Raises:
            PayloadError: there are not as many.
        """
        if count < 0 or count > len(self._rest):
            raise PayloadError(f"a body that ends {count - len(self._rest)} bytes early", "all that it claims")
        taken, self._rest = self._rest[:count], self._rest[count:]
        return taken

    def numbers(self, dtype: str, count: int) -> np.ndarray:
        """The next numbers, read-only; see `take`."""
        return np.frombuffer(self.take(count * np.dtype(dtype).itemsize), dtype)

    def number(self, dtype: str) -> np.generic:
        """The next number; see `take`."""
        found: np.generic = self.numbers(dtype, 1)[0]
        return found

    def finite(self, count: int) -> np.ndarray:
        """The next float32 numbers.

        Raises:
            PayloadError: there are not as many, or one is NaN or infinite.
        """
        found = self.numbers("<f4", count)
        if not np.isfinite(found).all():
            raise PayloadError("a body with a number that is not finite", "finite numbers only")
        return found

    def rest(self) -> memoryview:
        """All that is left."""
        return self.take(len(self._rest))

    def end(self) -> None:
        """Refuses bytes that are left.

        Raises:
            PayloadError: there are some.
        """
        if len(self._rest):
            raise PayloadError(f"a body with {len(self._rest)} bytes too many", "nothing after its end")
