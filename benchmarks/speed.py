"""Seconds by phase and memory of the whole main job, from CSV to HTML, at growing numbers of respondents.

    .venv/bin/python benchmarks/speed.py [N ...] [--outcomes perceived]        default 2000 200000

Simulates a city of 24 areas and 5 waves with N respondents in a temporary folder, runs `workbench evaluate` on it as a
user would (with all three outcomes, or those named), and prints wall time, phases, diagnostics and the largest memory of any process. Run it on a quiet machine.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORKBENCH = Path(sys.executable).with_name("workbench")


def main(sizes, outcomes):
    for n in sizes:
        with tempfile.TemporaryDirectory() as folder:
            city = Path(folder) / f"city{n}"
            out = Path(folder) / "out"
            subprocess.run(
                [WORKBENCH, "simulate", "--out", city, "--respondents", str(n)], check=True, capture_output=True
            )
            began = time.perf_counter()
            command = [WORKBENCH, "evaluate", city.name, "--raw", folder, "--out", out]
            command += ["-p", f"outcomes={outcomes}"] if outcomes else []
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            wall = time.perf_counter() - began
            result = json.loads((out / "result.json").read_text())
            seconds = {k: round(v, 1) for k, v in result["seconds"].items()}
            found = {k: round(v, 4) for k, v in result["diagnostics"].items()}
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
            print(f"{n} respondents: exit {done.returncode}, {wall:.1f} s from CSV to HTML; {seconds}; {found}; "
                  f"largest process so far {memory:.2f} GiB; verdict {result['verdict']}", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[2000, 200000], metavar="N")
    parser.add_argument("--outcomes", default="", help="perceived, cohesion, recorded, with ; between; default all")
    chosen = parser.parse_args()
    main(chosen.sizes, chosen.outcomes)
