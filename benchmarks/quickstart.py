"""Times `qfedfm run experiments/quickstart.toml` as a user types it: fresh process, empty folder, start-up included."""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = 120.0
"""Seconds on two cores."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the result")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out"
        program = str(Path(sys.executable).with_name("qfedfm"))
        command = [program, "run", "experiments/quickstart.toml", "--out", str(out)]
        begin = time.perf_counter()
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
        results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    case = {
        "case": "quickstart",
        "unit": "seconds",
        "ours": round(seconds, 1),
        "target": TARGET,
        "ratio": round(TARGET / seconds, 2),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_megabytes": round(used.ru_maxrss / 1024),
        "training_seconds": round(sum(run["train_seconds"] for run in results["runs"]), 1),
        "server_seconds": round(sum(run["server_seconds"] for run in results["runs"]), 1),
    }
    report = {"schema": 1, "name": "quickstart", "environment": results["environment"], "cases": [case]}
    text = json.dumps(report, indent=1) + "\n"
    if options.json:
        options.json.write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
