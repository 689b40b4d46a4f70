import pytest

from qfedfm.bench.cases import both, case, rounded


@pytest.mark.parametrize(
    ("unit", "ratio"), [("seconds", 2.0), ("MB", 2.0), ("% of training", 2.0), ("client-steps/s", 0.5), ("rows/s", 0.5)]
)
def test_above_one_is_better_whatever_the_unit(unit, ratio):
    assert case("it", unit, [2.0], [4.0], "peer")["ratio"] == ratio


def test_a_line_has_medians_and_the_ratios_of_what_ran_side_by_side():
    line = case("it", "seconds", [1.0, 4.0, 2.0], [8.0, 8.0, 4.0], "a loop", note="n")
    assert line == {
        "case": "it", "unit": "seconds", "ours": 2.0, "peer": 8.0, "peer_name": "a loop", "ratio": 4.0,
        "spread": {"ours": [1.0, 4.0], "peer": [4.0, 8.0], "ratio": [2.0, 8.0]}, "repetitions": 3, "note": "n",
    }  # fmt: skip


def test_numbers_have_four_digits():
    assert [rounded(number) for number in (123456.0, 0.000123456, 0.0)] == [123500.0, 0.0001235, 0.0]


def test_fields_of_both_sides():
    found = both([{"a": 1}, {"a": 3}, {"a": 2}], [{"a": 5}], "a")
    assert found == {"a": {"ours": 2.0, "peer": 5.0}}
