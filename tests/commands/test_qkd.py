"""``qfedfm qkd link`` as a user types it."""

import json
import re
import subprocess
import sys

import pytest

KEYLIKE = re.compile(r"[01]{24,}|[0-9a-f]{24,}")


def test_a_whole_chain_and_its_account(terminal, tmp_path):
    told = ("qkd", "link", "--pulses", 200_000, "--distance", 5, "--efficiency", 0.8, "--reconciliation", "cascade")
    status, out, err = terminal(*told, "--seed", 3, "--json", "link.json")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "link.json").read_text())
    (point,) = found["points"]
    run = point["run"]
    assert found["setting"]["link"]["efficiency"] == 0.8
    assert point["distance"] == 5
    assert run["reason"] is None
    assert run["net"] == run["bits"] - run["authentication"] > 0
    assert run["rate"] == pytest.approx(run["net"] / 200_000)
    assert point["promised_bits"] == run["bits"]
    shown = {m[0].strip(): m[1] for m in re.findall(r"^([a-zA-Zε ]+?)  .*?([\d.,e-]+)(?: %)?\s*$", out, re.MULTILINE)}
    assert shown["pulses"] == "200,000"
    assert shown["clicks that Bob announced"] == f"{run['clicks']:,}"
    assert f"{run['sifted']:,}" in out
    assert shown["key"] == f"{run['bits']:,}"
    assert shown["authentication"] == f"{run['authentication']:,}"
    assert f"{100 * run['qber']:.2f} %" in out
    assert "INSECURE" in out
    assert "Tomamichel" in out
    assert not KEYLIKE.search(out + (tmp_path / "link.json").read_text())
    again = terminal(*told, "--seed", 3)[1]
    assert again == out


def test_randomness_is_the_operating_systems_by_default(terminal):
    status, out, _ = terminal("qkd", "link", "--protocol", "b92", "--pulses", 5000)
    assert status == 0
    assert "Randomness: randomness of the operating system." in out
    assert "No key: no proof" in out


def test_why_there_is_no_key(terminal):
    for who, why in (("intercept-resend:0.3", "error rate too high"), ("man-in-the-middle", "not authentic")):
        status, out, _ = terminal("qkd", "link", "--pulses", 200_000, "--eavesdropper", who, "--efficiency", 0.8)
        assert status == 0
        assert re.search(f"^No key: .*{why}", out, re.MULTILINE)


def test_a_key_that_does_not_pay_for_its_tags(terminal, tmp_path):
    options = ["--efficiency", 0.8, "--distance", 10, "--seed", 1, "--reconciliation", "cascade", "--pulses", 20_000]
    status, out, _ = terminal("qkd", "link", *options, "--json", "x.json")
    run = json.loads((tmp_path / "x.json").read_text())["points"][0]["run"]
    assert status == 0
    assert 0 < run["bits"] < run["authentication"]
    assert "net loss" in out


def test_a_table_and_a_figure_over_distances(terminal, tmp_path):
    options = ["--efficiency", 0.8, "--seed", 1, "--reconciliation", "cascade", "--pulses", 100_000]
    status, out, _ = terminal("qkd", "link", *options, "--distances", "0,10,90", "--plot", "a.png", "--json", "a.json")
    assert status == 0
    rows = re.findall(r"^ *(0|10|90) (.*)$", out, re.MULTILINE)
    assert len(rows) == 3
    points = json.loads((tmp_path / "a.json").read_text())["points"]
    assert [point["distance"] for point in points] == [0, 10, 90]
    assert points[0]["run"]["rate"] > points[1]["run"]["rate"] > 0
    assert "too few bits" in rows[2][1]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_theory_simulates_nothing(terminal, tmp_path):
    options = ["--theory", "--pulses", 10**11, "--distances", "0,100", "--plot", "t.svg", "--json", "t.json"]
    status, out, _ = terminal("qkd", "link", "--protocol", "bb84", *options)
    assert status == 0
    assert "Nothing was simulated" in out
    found = json.loads((tmp_path / "t.json").read_text())["points"]
    assert [point["run"] for point in found] == [None, None]
    assert found[0]["promised_rate"] > found[1]["promised_rate"] > 0
    assert (tmp_path / "t.svg").read_text().startswith("<?xml")
    assert "Promised" in terminal("qkd", "link", "--theory")[1]


def test_the_figure_shows_what_was_simulated():
    from qfedfm.commands.qkd_figure import draw
    from qfedfm.core.key import Key
    from qfedfm.qkd.entropy import Seeded
    from qfedfm.qkd.link import Link
    from qfedfm.qkd.sweep import Setting, sweep

    setting = Setting("bb84", Link(efficiency=0.8, misalignment=0.01), 100_000, reconciliation="cascade")
    points = sweep(setting, [0.0, 60.0], Seeded(Key.of(1)), lambda distance: None)
    rates, errors = draw(setting, points).axes
    lines = {line.get_label(): line.get_xydata() for line in rates.lines}
    assert lines["simulated, tags paid"].tolist() == [[0.0, points[0].rate]]
    assert lines["no key"][:, 0].tolist() == [60.0]
    assert rates.get_yscale() == "log"
    seen = {line.get_label(): line.get_ydata() for line in errors.lines}
    assert seen["in the test"].tolist() == pytest.approx([100 * point.account.qber for point in points])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--protocol bb48", "did you mean 'bb84'"),
        ("--link lob", "did you mean 'lab'"),
        ("--eavesdropper intercept-resent", "did you mean 'intercept-resend'"),
        ("--eavesdropper unambiguous-discrimination", "b92"),
        ("--distance -3", "distance -3"),
        ("--distance nan", "distance nan"),
        ("--distances 1,x", "numbers of km"),
        ("--distances 1,2 --distance 3", "one of them"),
        ("--pulses 10", "at least 1000"),
        ("--pulses 99999999999", "at most 4294967295"),
        ("--reconciliation turbo", "cascade or ldpc"),
        ("--efficiency 2", "efficiency 2"),
        ("--protocol b92 --variable", "variable length"),
        ("--plot nowhere/a.png", "make nowhere first"),
        ("--json nowhere/a.json", "make nowhere first"),
        ("--theory --plot a.doc", ".png, .svg, .pdf"),
    ],
    ids=lambda value: None if " " not in value else value.split()[0].strip("-") + value.split()[1].strip("-")[:6],
)
def test_mistakes_are_one_line(terminal, options, said):
    status, out, err = terminal("qkd", "link", *options.split())
    assert status == 2
    assert len(err.strip().splitlines()) == 1
    assert said in err
    assert "key" not in out


def test_help_loads_neither_numpy_nor_the_library():
    code = "import sys; import qfedfm.cli; print([m for m in ('numpy', 'scipy', 'matplotlib') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
