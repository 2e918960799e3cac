"""Simulated cities through the whole command line: does `workbench evaluate` find the truth it was given?

    .venv/bin/python benchmarks/through_evaluate.py [CITIES] [PRIOR]        default 5 wide

Simulates city after city (seeds 1, 2, ...) with an effect of -4 pp in a temporary folder, evaluates it as a user would, and
prints estimate, interval, truth and seconds.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

WORKBENCH = Path(sys.executable).with_name("workbench")


def main(cities, prior):
    inside = 0
    for seed in range(1, cities + 1):
        with tempfile.TemporaryDirectory() as folder:
            city, out = Path(folder) / f"city{seed}", Path(folder) / "out"
            subprocess.run([WORKBENCH, "simulate", "--out", city, "--seed", str(seed)], check=True, capture_output=True)
            command = [WORKBENCH, "evaluate", city.name, "--raw", folder, "--out", out, "-p", f"prior={prior}"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            truth = json.loads((city / "truth.json").read_text())["att_pp"]
            result = json.loads((out / "result.json").read_text())
            att, status = result["att_pp"], json.loads((out / "status.json").read_text())["state"]
            inside += att["lower90"] <= truth <= att["upper90"]
            print(f"seed {seed}: exit {done.returncode}, {status}, {result['verdict']}; truth {truth:+.2f}, mean {att['mean']:+.2f}, "
                  f"90 % {att['lower90']:+.2f} to {att['upper90']:+.2f}; {result['seconds']['total']:.0f} s; "
                  f"checks not passed: {[c['name'] for c in result['checks'] if c['status'] != 'pass']}", flush=True)  # fmt: skip
    print(f"{prior}: 90 % intervals cover the truth in {inside} of {cities}")


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["5"])[0]), (sys.argv[2:] or ["wide"])[0])
