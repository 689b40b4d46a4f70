import itertools
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from qfedfm.core.threads import over_columns, over_strips, threads


def blas() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize(("d", "align"), [(1, 1), (5000, 7), (16_384, 1), (16_385, 1), (300_000, 2048), (10**6, 999)])
def test_strips_cover_every_column_once_and_in_order(d: int, align: int, limit: int) -> None:
    with threadpool_limits(limit):
        strips = over_strips(d, lambda start, stop: (start, stop), align)
        seen = np.zeros(d, int)

        def count(columns: slice) -> None:
            seen[columns] += 1

        over_columns(d, align, count)
    assert strips[0][0] == 0
    assert strips[-1][1] == d
    assert all(before[1] == after[0] for before, after in itertools.pairwise(strips))
    assert all(start % align == 0 and start < stop for start, stop in strips)
    assert len(strips) <= 16
    assert (seen == 1).all()


def test_strips_do_not_depend_on_the_number_of_threads_and_run_in_as_many() -> None:
    meeting = threading.Barrier(2, timeout=20)
    with threadpool_limits(2):
        assert threads() == 2
        many = over_strips(32_768, lambda start, stop: (start, stop, meeting.wait())[:2])
    with threadpool_limits(1):
        assert threads() == 1
        assert over_strips(32_768, lambda start, stop: (start, stop)) == many == [(0, 16_384), (16_384, 32_768)]


def test_blas_has_one_thread_inside_and_its_own_number_afterwards() -> None:
    with threadpool_limits(2):
        before = blas()
        inside = over_strips(100_000, lambda start, stop: blas())
        assert {number for numbers in inside for number in numbers} == {1}
        assert blas() == before
        with pytest.raises(ZeroDivisionError):
            over_strips(100_000, lambda start, stop: 1 // 0)
        assert blas() == before


@pytest.mark.parametrize("limit", [1, 2])
def test_work_may_itself_use_strips(limit: int) -> None:
    with threadpool_limits(limit):
        inner = over_strips(40_000, lambda start, stop: sum(over_strips(stop - start, lambda a, b: b - a)))
    assert sum(inner) == 40_000


def test_callers_in_several_threads_do_not_disturb_each_other() -> None:
    results: list[int] = []
    with threadpool_limits(2):
        before = blas()
        callers = [
            threading.Thread(target=lambda: results.append(sum(over_strips(90_000, lambda a, b: b - a))))
            for _ in range(8)
        ]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert blas() == before
    assert results == [90_000] * 8
