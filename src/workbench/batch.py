"""Running a plan: several notebooks at a time, each by itself, so that what ends one run leaves the others alone.

Cores are shared out between threads here, or workers that see the same folders; draws do not depend on how many."""

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
import psutil

from workbench import runs
from workbench.errors import ParameterError

MEMORY = 2e9  # bytes that one evaluation may need
CORES = os.process_cpu_count() or 1
PATIENCE = 60  # seconds to wait for a scheduler and its first worker


def run_plan(plan, *, jobs=None, scheduler="", resume=False, minutes=None, tell=lambda row: None) -> pd.DataFrame:
    """Run a plan (`plans.read_plan`) and return how each run ended: id, notebook, state, verdict, seconds, reason.

    `jobs` at a time (as many as cores and memory allow), by threads or the workers of a `scheduler`: an address, or
    `local`. `resume` leaves what is finished; `tell` gets each row as it ends. A run's own trouble is its row: state
    failed, and why. ParameterError when no scheduler answers."""
    rows = {}
    for run in plan if resume else ():
        if status := runs.finished(**run["asked"]):
            rows[run["id"]] = _row(run, status, "as before")
            tell(rows[run["id"]])
    todo = [run for run in plan if run["id"] not in rows]
    with _executor(scheduler, jobs, len(todo)) as (executor, sharing):
        futures = {executor.submit(_run, run["asked"], sharing=sharing, minutes=minutes): run for run in todo}
        for future in as_completed(futures):
            run = futures[future]
            rows[run["id"]] = _row(run, _ended(future, run))
            tell(rows[run["id"]])
    return pd.DataFrame([rows[run["id"]] for run in plan])


def _run(asked: dict, *, sharing: int, minutes: float | None) -> dict:
    """Run one notebook where this is called, a thread or a worker, with its part of that machine's cores."""
    from jupyter_core.utils import ensure_event_loop

    try:
        return runs.run_notebook(**asked, cores=max(1, CORES // sharing), minutes=minutes)
    finally:
        ensure_event_loop().close()  # one was made for this thread, and nobody else closes it


@contextmanager
def _executor(scheduler: str, jobs: int | None, most: int) -> Iterator[tuple[Executor, int]]:
    """Start what runs notebooks; yield it and how many of them one machine runs at a time."""
    jobs = jobs or max(1, min(most, CORES, int(psutil.virtual_memory().available / MEMORY)))
    if not scheduler or not most:
        threads = ThreadPoolExecutor(jobs)
        try:
            yield threads, jobs
        finally:
            threads.shutdown(wait=False, cancel_futures=True)  # after an interrupt nobody waits for kernels
        return
    from distributed import Client, LocalCluster

    quiet = {"dashboard_address": None, "memory_limit": 0, "host": "127.0.0.1"}
    try:
        address = LocalCluster(n_workers=jobs, threads_per_worker=1, **quiet) if scheduler == "local" else scheduler
        client = Client(address, timeout=PATIENCE)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        words = f"scheduler: no worker at {scheduler} after {PATIENCE} seconds ({type(error).__name__})"
        raise ParameterError(f"{words}; allowed: local, or an address such as tcp://127.0.0.1:8786") from None
    workers = pd.DataFrame(client.scheduler_info(n_workers=-1)["workers"].values())
    with client:
        yield client.get_executor(pure=False), int(workers.groupby("host")["nthreads"].sum().max())
    if scheduler == "local":
        address.close()


def _ended(future: Future, run: Mapping) -> dict:
    """Return the status of a run that ended, however it did; one that left none gets a status that says why."""
    try:
        return future.result()
    except ParameterError as error:  # another run is writing there: its folder is not ours to touch
        return {"state": "failed", "reason": str(error)}
    except CancelledError:
        reason = "the scheduler was lost"
    except OSError as error:
        reason = f"the disk or folder took no more: {error.strerror or error}"
    except Exception as error:  # noqa: BLE001 whatever ended this run, the others go on
        lost = "the worker that ran it died, and so did those that tried again"
        reason = lost if type(error).__name__ == "KilledWorker" else f"{type(error).__name__}: {error}"
    with suppress(OSError):
        runs.record_failure(run["asked"]["out"], reason)
    return {"state": "failed", "reason": reason}


def _row(run: Mapping, status: Mapping, how: str = "") -> dict:
    """Return one line of the summary."""
    result, took = {}, pd.NA
    with suppress(OSError, ValueError):
        result = json.loads((Path(run["asked"]["out"]) / "result.json").read_text(encoding="utf-8"))
    if status.get("finished") and not how:
        took = round((pd.Timestamp(status["finished"]) - pd.Timestamp(status["started"])).total_seconds())
    named = {"id": run["id"], "notebook": Path(run["asked"]["notebook"]).stem, "state": (state := status["state"])}
    verdict = result.get("verdict", "") if state in runs.FINISHED else ""
    return named | {"verdict": verdict, "seconds": took, "reason": status["reason"] or how}
