"""What is left of a plan when its runs are killed: `python benchmarks/survive.py kill|workers|parallel [--work DIR]`.

kill      40 runs (8 simulated cities x 5 notebooks, short fits) are killed with SIGKILL at 10 random moments and resumed:
          is anything finished run again, is any file half written, are the effects those of a run that nobody killed?
workers   the same plan on a distributed scheduler with two workers started by hand; a kernel and a worker are killed
parallel  four evaluations one after the other and as many at a time as there are cores: ratio of the times
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil

BIN = Path(sys.executable).parent
NOTEBOOKS = (
    "00-map-projects",
    "01-check-city",
    "02-describe-insecurity",
    "03-evaluate-projects",
    "08-collective-impact",
)
SHORT = {"draws": 250, "tune": 200, "chains": 2, "seed": 7}


def workbench(*words: object, **options) -> subprocess.Popen:
    return subprocess.Popen([BIN / "workbench", *map(str, words)], **options)


def make_cities(raw: Path, *, n: int) -> list[str]:
    for k in range(n):
        if not (raw / f"c{k}" / "city.toml").is_file():
            size = ("--areas", 8, "--treated", 3, "--waves", 4, "--projects", 2, "--respondents", 1600)
            workbench("simulate", "--out", raw / f"c{k}", *size, "--seed", k, stdout=subprocess.DEVNULL).wait()
    return [f"c{k}" for k in range(n)]


def write_plan(file: Path, *, cities: list[str], notebooks: tuple[str, ...], raw: Path, **fit) -> Path:
    rows = [
        {"id": f"{city}-{name[:2]}", "notebook": name, "city": city, "raw": raw}
        for city in cities
        for name in notebooks
    ]
    fitted = [row | (fit if row["notebook"].startswith("03") else {}) for row in rows]
    pd.DataFrame(fitted).astype("object").to_csv(file, index=False)
    return file


def states(out: Path) -> dict[str, dict]:
    return {file.parent.name: json.loads(file.read_text()) for file in sorted(out.glob("*/status.json"))}


def faults(out: Path, *, unfinished: int = 0) -> list[str]:
    """What should not be there: work folders, files without a run, runs without their files, files cut short."""
    found = [f"left over: {part.name}" for part in out.glob(".*.part")]
    found += [f"no status: {run.name}" for run in out.iterdir() if run.is_dir() and not (run / "status.json").is_file()]
    for name, status in states(out).items():
        found += [f"missing: {name}/{file}" for file in status["files"] if not (out / name / file).is_file()]
        found += [
            f"cut short: {name}/report.html"
            for page in (out / name).glob("report.html")
            if "</html>" not in page.read_text()[-50:]
        ]
        for file in (out / name).glob("*.json"):
            json.loads(file.read_text())
    return found


def same_effects(one: Path, other: Path) -> tuple[int, list[str]]:
    files = sorted(file.relative_to(one) for file in one.glob("*/*.csv"))
    return len(files), [str(file) for file in files if (one / file).read_bytes() != (other / file).read_bytes()]


def kill(work: Path, *, moments: int = 10) -> None:
    plan = write_plan(
        work / "plan.csv", cities=make_cities(work / "raw", n=8), notebooks=NOTEBOOKS, raw=work / "raw", **SHORT
    )
    start = time.monotonic()
    workbench("run", plan, "--out", work / "whole").wait()
    whole = time.monotonic() - start
    print(f"uninterrupted: {len(states(work / 'whole'))} runs in {whole:.0f} s", flush=True)
    chance, again, out = random.Random(6), [], work / "killed"
    for moment in range(moments):
        before = {
            name: status["started"] for name, status in states(out).items() if status["state"] in ("done", "blocked")
        }
        process = workbench("run", plan, "--out", out, "--resume", stderr=subprocess.DEVNULL)
        wait = chance.uniform(6, max(12, 1.6 * whole / moments))
        time.sleep(wait)
        process.kill()
        ended = process.wait()
        now = states(out)
        again += [name for name, started in before.items() if now[name]["started"] != started]
        left = [part.name for part in out.glob(".*.part")]
        print(
            f"kill {moment + 1} after {wait:.1f} s (exit {ended}): {len(now)} of 40 finished, {len(left)} cut off",
            flush=True,
        )
    before = {name: status["started"] for name, status in states(out).items()}
    workbench("run", plan, "--out", out, "--resume").wait()
    now = states(out)
    again += [name for name, started in before.items() if now[name]["started"] != started]
    files, differing = same_effects(work / "whole", out)
    print(f"finished {len(now)} of 40; run again though finished: {again or 'none'}; faults: {faults(out) or 'none'}")
    print(f"{files} CSV files compared bit for bit, different: {differing or 'none'}")


def workers(work: Path) -> None:
    plan = write_plan(
        work / "plan.csv", cities=make_cities(work / "raw", n=8), notebooks=NOTEBOOKS, raw=work / "raw", **SHORT
    )
    address, out, began = work / "scheduler.json", work / "workers", time.monotonic()
    address.unlink(missing_ok=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    about = ("--scheduler-file", str(address), "--no-dashboard")
    scheduler = subprocess.Popen([BIN / "dask", "scheduler", "--host", "127.0.0.1", "--port", "0", *about], **quiet)
    pair = [
        subprocess.Popen([BIN / "dask", "worker", "--nthreads", "1", "--no-nanny", *about], **quiet) for _ in range(2)
    ]
    try:
        while not address.is_file():
            time.sleep(0.5)
        process = workbench("run", plan, "--out", out, "--scheduler", json.loads(address.read_text())["address"])
        while len(states(out)) < 8:
            time.sleep(0.5)
        kernels = psutil.Process(pair[0].pid).children()
        while not kernels:
            time.sleep(0.2)
            kernels = psutil.Process(pair[0].pid).children()
        kernels[0].kill()
        print(f"{time.monotonic() - began:.0f} s: a kernel killed", flush=True)
        while len(states(out)) < 16:
            time.sleep(0.5)
        pair[1].send_signal(signal.SIGKILL)
        print(f"{time.monotonic() - began:.0f} s: a worker killed", flush=True)
        code = process.wait()
    finally:
        for each in (*pair, scheduler):
            each.kill()
            each.wait()
    now = states(out)
    print(
        f"exit {code}, {time.monotonic() - began:.0f} s; {pd.Series([status['state'] for status in now.values()]).value_counts().to_dict()}"
    )
    print(*(f"{name}: {status['reason']}" for name, status in now.items() if status["state"] == "failed"), sep="\n")
    print(f"faults: {faults(out) or 'none'}")
    if (work / "whole").is_dir():
        lost = [name for name, status in now.items() if status["state"] == "failed"]
        done = [name for name in now if name not in lost]
        differing = [
            name
            for name in done
            for file in (work / "whole" / name).glob("*.csv")
            if file.read_bytes() != (out / name / file.name).read_bytes()
        ]
        print(f"CSV files of {len(done)} runs compared with those of threads, different: {differing or 'none'}")


def parallel(work: Path) -> None:
    cities = make_cities(work / "raw", n=4)
    plan = write_plan(work / "four.csv", cities=cities, notebooks=("03-evaluate-projects",), raw=work / "raw")
    took = {}
    for jobs in (1, os.process_cpu_count()):
        start = time.monotonic()
        workbench("run", plan, "--out", work / f"jobs{jobs}", "--jobs", jobs, stdout=subprocess.DEVNULL).wait()
        took[jobs] = time.monotonic() - start
        print(f"{jobs} at a time: {took[jobs]:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    first, last = took.values()
    print(f"ratio {last / first:.2f}; different: {same_effects(*(work / f'jobs{jobs}' for jobs in took))[1] or 'none'}")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("what", choices=("kill", "workers", "parallel"))
    asked.add_argument("--work", type=Path, help="folder to work in; kept, and used again")
    given = asked.parse_args()
    folder = given.work or Path(tempfile.mkdtemp(prefix="survive-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"in {folder}")
    {"kill": kill, "workers": workers, "parallel": parallel}[given.what](folder)
