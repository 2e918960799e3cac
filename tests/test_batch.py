"""A plan's runs: what ends one leaves the others alone, what is finished is not run again, and cores are shared out."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from small_notebook import notebook, project_folder

from workbench import batch, plans, runs
from workbench.errors import ParameterError

root = pytest.fixture(project_folder, name="root")

WORK = 'import os\nopen(out + "/effects.csv", "w").write(f"{seed} {os.environ[\'WORKBENCH_CORES\']}")'
PARAMETERS = 'out = ""\nseed: int = 1\nhow: str = ""\nlang = "en"'


@pytest.fixture
def make_plan(root):
    """Return a function that makes the runs of a plan: a notebook that writes its seed, or ends as `how` says."""
    dies = "if how == 'dies':\n    import os; os._exit(9)"
    notebook(root, dies, "if how == 'wrong':\n    raise ValueError('no such thing')", WORK, parameters=PARAMETERS)

    def make(*hows, notebook="01-try"):
        rows = [f"r{k},{notebook},{k},{how}" for k, how in enumerate(hows)]
        (root / "plan.csv").write_text("\n".join(["id,notebook,seed,how", *rows]) + "\n")
        return plans.read_plan("plan.csv", out="reports")[0]

    return make


@pytest.fixture
def instead(monkeypatch):
    """Return a function that replaces the running of a notebook."""
    return lambda ends: monkeypatch.setattr(runs, "_execute", ends)


def test_what_ends_one_run_leaves_the_others_alone(root, make_plan):
    told = []
    table = batch.run_plan(make_plan("", "dies", "wrong", ""), jobs=2, tell=told.append).set_index("id")
    assert table["state"].tolist() == ["done", "failed", "failed", "done"]
    assert "died; too little memory is the usual cause" in table.loc["r1", "reason"]
    assert table.loc["r2", "reason"].endswith("ValueError: no such thing")
    assert sorted(row["id"] for row in told) == ["r0", "r1", "r2", "r3"]
    cores = max(1, (os.process_cpu_count() or 1) // 2)
    assert (root / "reports" / "r3" / "effects.csv").read_text() == f"3 {cores}"
    assert json.loads((root / "reports" / "r1" / "status.json").read_text())["state"] == "failed"
    left = {file.name for file in (root / "reports").iterdir()}
    assert left == {"r0", "r1", "r2", "r3"}


def test_a_finished_run_is_not_run_again_and_a_failed_one_is(root, make_plan, instead):
    ran = []

    def ends(_source, values, *, work, **_):
        ran.append(values["seed"])
        (work / "effects.csv").write_text("x")
        return "stopped" if values["how"] == "wrong" else None

    instead(ends)
    plan = make_plan("", "wrong", "")
    batch.run_plan(plan, jobs=1)
    table = batch.run_plan(plan, jobs=1, resume=True)
    assert ran == [0, 1, 2, 1]
    assert table["reason"].tolist() == ["as before", "stopped", "as before"]
    batch.run_plan(plan, jobs=1)
    assert ran == [0, 1, 2, 1, 0, 1, 2]


def test_a_full_disk_fails_the_run_in_words(root, make_plan, monkeypatch):
    plan, disk = make_plan("", ""), iter([OSError(28, "No space left on device")])
    really = runs._execute

    def ends(_source, _values, *, work, **_):
        for error in disk:
            raise error

    monkeypatch.setattr(runs, "_execute", ends)
    table = batch.run_plan(plan, jobs=1)
    assert really is not ends and table["state"].tolist() == ["failed", "done"]
    assert table["reason"][0] == "the disk or folder took no more: No space left on device"
    assert json.loads((root / "reports" / "r0" / "status.json").read_text())["reason"] == table["reason"][0]


def test_a_notebook_half_written_on_a_full_disk_fails_the_run_and_is_not_published(root, make_plan, instead):
    def ends(_source, _values, *, work, **_):
        (work / "notebook.ipynb").write_text('{"cells": [')
        return "the notebook could not be run: OSError: No space left on device"

    instead(ends)
    table = batch.run_plan(make_plan(""), jobs=1)
    assert table["reason"].tolist() == ["the notebook could not be run: OSError: No space left on device"]
    assert [file.name for file in (root / "reports" / "r0").iterdir()] == ["status.json"]


def test_a_run_whose_folder_is_being_written_fails_and_does_not_touch_it(root, make_plan, instead):
    instead(lambda *_, **__: None)
    plan = make_plan("")
    with runs._work_folder(root / "reports" / "r0"):
        table = batch.run_plan(plan, jobs=1)
    assert table["reason"].tolist() == ["out: reports/r0 is being written by another run"]
    assert not (root / "reports" / "r0").exists()


def test_runs_at_a_time_never_need_more_cores_or_memory_than_there_are(monkeypatch):
    monkeypatch.setattr(batch, "CORES", 4)
    for memory, jobs, most, expected in (
        (64e9, None, 40, 4),
        (64e9, None, 2, 2),
        (5e9, None, 40, 2),
        (1e9, None, 40, 1),
        (64e9, 3, 40, 3),
    ):
        monkeypatch.setattr(psutil, "virtual_memory", lambda memory=memory: type("Memory", (), {"available": memory}))
        with batch._executor("", jobs, most) as (executor, sharing):
            assert executor._max_workers == sharing == expected


def test_a_scheduler_that_does_not_answer_is_refused(make_plan, monkeypatch):
    monkeypatch.setattr(batch, "PATIENCE", 1)
    with pytest.raises(ParameterError, match="scheduler: no worker at tcp://127.0.0.1:1 after 1 seconds"):
        batch.run_plan(make_plan(""), scheduler="tcp://127.0.0.1:1")


@contextlib.contextmanager
def started(*command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in (*psutil.Process(process.pid).children(recursive=True), process):
                one.kill()
        process.wait(timeout=30)


@pytest.mark.slow
def test_a_scheduler_and_two_workers_started_by_hand_run_a_plan_and_a_killed_worker_loses_nothing(root, make_plan):
    """docs/batch.md shows these commands."""
    address = root / "scheduler.json"
    make_plan("")
    notebook(root, "import time; time.sleep(6)", WORK, parameters=PARAMETERS, name="02-slow")
    plan = make_plan("", "", "", "", notebook="02-slow")
    dask = str(Path(sys.executable).with_name("dask"))
    about = ("--scheduler-file", str(address), "--no-dashboard")
    scheduler = (dask, "scheduler", "--host", "127.0.0.1", "--port", "0", *about)
    worker = (dask, "worker", "--nthreads", "1", "--no-nanny", *about)
    with started(*scheduler), started(*worker) as first, started(*worker):
        deadline = time.monotonic() + 60
        while not address.is_file() and time.monotonic() < deadline:
            time.sleep(0.2)
        where = json.loads(address.read_text())["address"]

        def kill_first(row):
            if first.poll() is None:
                first.send_signal(signal.SIGKILL)

        table = batch.run_plan(plan, scheduler=where, tell=kill_first)
    assert table["state"].tolist() == ["done"] * 4, table
    assert [(root / "reports" / f"r{k}" / "effects.csv").read_text().split()[0] for k in range(4)] == list("0123")
    assert not list((root / "reports").glob(".*.part"))
