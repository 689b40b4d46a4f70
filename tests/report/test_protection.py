"""Keys and seals on the page: means over runs, sessions that gave no key, and nothing where there are no keys."""

from qfedfm.report import protection
from qfedfm.report.numbers import duration
from qfedfm.report.page import write_report
from qfedfm.report.study import study
from tests.report import synthetic

SMALL = {"methods": ("mean", "born"), "seeds": (1, 2), "rounds": 2}


def protected(tmp_path, link):
    """``mean`` has keys; its first client's link is disturbed in round 2."""
    history = synthetic.history_of(**SMALL)
    results = synthetic.results_of(history, **SMALL)
    for number, run in enumerate(run for run in results["runs"] if run["method"] == "mean"):
        run |= {
            "keys": "simulated <b>", "key_bits": 1000 + 2000 * number, "predicted_key_bits": 4096, "seal_bytes": 80,
            "seal_seconds": 0.25, "key_bytes": 0, "fallback_keys": 3,
        }  # fmt: skip
        if link:
            run |= {
                "link_seconds": 0.002, "session_seconds": 0.03, "link_sessions": 40, "aborted_sessions": 2,
                "link_bytes": 9000,
            }  # fmt: skip
    for line in history if link else []:
        if line["method"] == "mean" and line["round"] == 2:
            line["aborted"] = [{"client": 0, "reason": "errors", "detail": "", "qber": q} for q in (0.25, 0.27, None)]
    return synthetic.write(tmp_path / "run", results, history)


def test_costs_are_means_over_the_runs_of_methods_that_had_keys(tmp_path):
    (row,) = protection.costs(study(protected(tmp_path, True))).rows
    assert row == (
        "mean", "simulated <b>", "2\u2009000", "4\u2009096", "3", "2 ms", "30 ms", "40", "2", "80 B", "0 B", "9.0 kB",
        "0.250",
    )  # fmt: skip


def test_aborted_sessions_are_gathered(tmp_path):
    (row,) = protection.aborted(study(protected(tmp_path, True))).rows
    assert row == ("mean", synthetic.NAMES[0], "errors", "2 (seed 1), 2 (seed 2)", "26.0", "6")


def test_keys_without_a_simulated_link(tmp_path):
    found = study(protected(tmp_path, False))
    (row,) = protection.costs(found).rows
    assert row[5:9] == ("–", "–", "–", "–")
    assert not protection.aborted(found).rows
    text = write_report(protected(tmp_path, False)).read_text(encoding="utf-8")
    assert "simulated &lt;b&gt;" in text
    assert "Sessions that gave no key" not in text


def test_the_section_is_there_only_with_keys(tmp_path):
    text = write_report(protected(tmp_path, True)).read_text(encoding="utf-8")
    assert "Sessions that gave no key" in text
    plain = write_report(synthetic.write(tmp_path / "plain", **SMALL)).read_text(encoding="utf-8")
    assert "Keys and seals" not in plain


def test_durations():
    assert [duration(x) for x in (0, 5e-8, 2.5e-6, 0.0123, 59.94, 1000, None, float("nan"))] == [
        "0 s", "5e-08 s", "2.5 µs", "12.3 ms", "59.9 s", "1\u2009000 s", "–", "–",
    ]  # fmt: skip
