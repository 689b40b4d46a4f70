"""Fails when less than 90 % of the lines or of the branches of a folder of the library ran in the tests."""

import json
import sys
import tempfile
from pathlib import Path

import coverage

LEAST = 90.0


def shares(folder: str, scratch: Path) -> dict[str, float]:
    """Per cent of lines and of branches of ``qfedfm/<folder>`` that ran."""
    measured = coverage.Coverage()
    measured.load()
    out = scratch / f"{folder}.json"
    measured.json_report(include=[f"qfedfm/{folder}/*"], outfile=str(out))
    totals = json.loads(out.read_text())["totals"]
    branches = totals["num_branches"]
    return {
        "lines": 100 * totals["covered_lines"] / max(totals["num_statements"], 1),
        "branches": 100 * totals["covered_branches"] / branches if branches else 100.0,
    }


def main(folders: list[str]) -> int:
    """Prints the shares of each folder; 1 when one is too small."""
    short = False
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            found = shares(folder, Path(scratch))
            short |= min(found.values()) < LEAST
            print(f"qfedfm/{folder}: " + ", ".join(f"{share:.1f} % of {what}" for what, share in found.items()))
    if short:
        print(f"expected at least {LEAST:.0f} % of each", file=sys.stderr)
    return int(short)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
