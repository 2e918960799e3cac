"""Strict papermill: parameters are checked before a kernel starts, and a folder is published whole or not at all.

papermill leaves cells that say "completed" when the kernel was killed: status.json, written last, tells the end."""

import glob
import hashlib
import importlib
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from workbench import provenance
from workbench.errors import ParameterError
from workbench.parameters import notebook_parameters, validate_parameters
from workbench.paths import project_root, redactor, relative, resolve

FINISHED = ("done", "blocked")
PLACES = ("raw", "out", "cards", "prior_from", "run")  # parameters that are folders or files, lists separated by ';'
# One thread per linear-algebra call: chains already fill the cores, and more threads make each other wait.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PYDEVD_DISABLE_FILE_VALIDATION")


def run_notebook(notebook, parameters, *, out, data_hash=None, cores=None, minutes=None, say=lambda text: None) -> dict:
    """Run a notebook, publish what it made in the folder `out`, and return the content of status.json.

    `say` gets each section's heading as it begins; `cores` (all) is for a fit, `minutes` (no limit) for the notebook. A
    cell error, a dead kernel, too long a run or a report that cannot be made is state "failed", the reason in words.
    Before anything is written: ParameterError, also where another run is writing `out`; OSError where the disk is full.
    """
    source, target = resolve(notebook), resolve(out)
    values, places, status = _identity(source, parameters, out=out, data_hash=data_hash)
    hashes = status["hashes"]
    with _work_folder(target) as work:
        private = redactor({
            str(work): relative(target), str(target): relative(target),
            **{str(resolve(place)): relative(place) for given in places.values() for place in given if place},
        })  # fmt: skip
        failure = _execute(source, values, work=work, cores=cores, minutes=minutes, say=say)
        _clean(work / "notebook.ipynb", private)
        result = _clean(work / "result.json", private) or _clean(work / "pooled.json", private)
        failure = _render(work, lang=values.get("lang") or "en", result=result, say=say) or failure
        status |= _outcome(private(failure) if failure else None, result)
        draws = work / "posterior.nc"
        hashes["posterior"] = hashlib.sha256(draws.read_bytes()).hexdigest() if draws.is_file() else None
        status |= {"files": sorted(file.name for file in work.iterdir() if file.is_file()), "finished": _now()}
        _publish(work, target, status)
    return status


def finished(notebook, parameters, *, out, data_hash=None) -> dict | None:
    """Return status.json of `out` if it is what this run would make: parameters, data, notebook, code; else None."""
    wanted = _identity(resolve(notebook), parameters, out=out, data_hash=data_hash)[-1]["hashes"]
    status = _status(target := resolve(out))
    there = all((target / str(name)).is_file() for name in status.get("files", ()))
    same = wanted.items() <= status.get("hashes", {}).items()
    return status if there and same and status["state"] in FINISHED else None


def _status(folder: Path) -> dict:
    """status.json of a folder; {} where there is none or it cannot be read."""
    try:
        found = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def record_failure(out: str | os.PathLike[str], reason: str) -> None:
    """Write into status.json of `out` that a run ended before it could do so itself."""
    about = {"state": "failed", "reason": reason, "files": _status(resolve(out)).get("files", []), "finished": _now()}
    provenance.write_json(resolve(out) / "status.json", about)


def _identity(source: Path, parameters: Mapping[str, object], *, out: object, data_hash: str | None) -> tuple:
    """Return all values of a run, its folders and files, and the status it begins with: what makes it the same run."""
    own = {"out": str(out)} if "out" in notebook_parameters(source).model_fields else {}
    values = validate_parameters(source, {**parameters, **own})
    places = {name: values[name].split(";") for name in PLACES if values.get(name)}
    shown = values | {name: ";".join(map(relative, given)) for name, given in places.items()}
    hashed = {name: value for name, value in shown.items() if name not in ("raw", "out")} | {"notebook": source.stem}
    # Cards and an earlier run are named by a folder, but it is their content that counts.
    read = [resolve(place) for name in ("cards", "prior_from", "run") for place in places.get(name, ())]
    files = [file for place in read for file in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    hashed |= {"read": provenance.hash_files(filter(Path.is_file, files))} if files else {}
    hashes = {"parameters": provenance.hash_parameters(hashed), "data": data_hash, "code": provenance.code_hash()}
    begin = {"state": "done", "reason": "", "notebook": source.stem, "parameters": shown, "hashes": hashes}
    return values, places, begin | {"started": _now(), "finished": None}


@contextmanager
def _work_folder(target: Path) -> Iterator[Path]:
    """Lock a run's folder and make the one it works in, beside it: publishing is a rename. Clear what was killed."""
    if target.exists() and not target.is_dir():
        raise ParameterError(f"out: {target.name} is a file, not a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.parent / f".{target.name}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise ParameterError(f"out: {relative(target)} is being written by another run") from None
    except OSError as error:
        raise ParameterError(f"out: cannot write beside {target.name} ({error.strerror})") from None
    try:
        _clear(target)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".part", dir=target.parent))
        yield work
    finally:
        _clear(target)
        Path(lock.lock_file).unlink(missing_ok=True)  # those who wait for it see that it is gone, and make a new one
        lock.release()


def _clear(target: Path) -> None:
    """Remove work folders of this target: whoever holds its lock is the only one who may have one."""
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    for left in target.glob(".*.part"):  # a file that was being written
        left.unlink(missing_ok=True)


def _execute(source: Path, values: dict, *, work: Path, cores=None, minutes=None, say: Callable) -> str | None:
    """Run the notebook into work/notebook.ipynb; return None, or in words why it stopped."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    injected = values | {"out": str(work)} | ({"raw": str(resolve(values["raw"]))} if values.get("raw") else {})
    place, ends = {"cell": 0, "section": ""}, time.monotonic() + 60 * (minutes or 0)

    def on_cell_start(cell, **_) -> None:
        heading = re.match(r"#+ +(.+)", cell.source) if cell.cell_type == "markdown" else None
        place["cell"] += cell.cell_type == "code" and bool(cell.source.strip())
        if heading:
            place["section"] = heading[1].strip()
            say(place["section"])

    say("starting the notebook")
    # Its own reading of the parameters cell warns about what `parameters` has already accepted.
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # The report's packages take seconds to import; meanwhile this process would only wait for the kernel.
    threading.Thread(target=importlib.import_module, args=("workbench.report",), daemon=True).start()
    # papermill formats its paths.
    read, written = (str(path).replace("{", "{{").replace("}", "}}") for path in (source, work / "notebook.ipynb"))
    try:
        papermill.execute_notebook(
            read, written, parameters={name: injected[name] for name in values},
            kernel_name="python3", language="python", progress_bar=False, on_cell_start=on_cell_start,
            kernel_manager_class=_kernel_manager(cores), resources={"metadata": {"path": str(project_root())}},
            timeout_func=lambda cell: max(1, round(ends - time.monotonic())) if minutes else None,
            iopub_timeout=60, shutdown_kernel="immediate",
        )  # fmt: skip
        return None
    except papermill.PapermillExecutionError as error:
        why = f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        why = "the Python process that ran the notebook died; too little memory is the usual cause"
    except TimeoutError as error:
        late = minutes and time.monotonic() >= ends - 1
        why = f"not finished after {minutes:g} minutes, so it was stopped" if late else f"{error}".splitlines()[0]
    except (OSError, RuntimeError) as error:
        return f"the notebook could not be run: {type(error).__name__}: {error}"
    return f"'{place['section']}', cell [{place['cell']}]: {why}"


def _kernel_manager(cores: int | None) -> type:
    """A kernel manager that always starts this interpreter; a kernelspec in the home folder would win otherwise."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    chosen = {name: os.environ.get(name, "1") for name in THREADS}
    chosen |= {"WORKBENCH_CORES": str(cores)} if cores else {}
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    metadata = {"supported_encryption": ["curve"]}
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python", env=chosen, metadata=metadata)

    class OwnKernel(AsyncKernelManager):
        kernel_spec = property(lambda self: spec)
        # Answers of respondents may pass here, and another user of the machine could listen.
        transport_encryption = "auto"

    return OwnKernel


def _clean(path: Path, private: Callable[[str], str]) -> dict:
    """Take this machine's folders out of a JSON file and return what it then holds; {} if there is none."""

    def cleaned(value, key=""):
        if isinstance(value, dict):
            return {name: cleaned(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        picture = key.startswith("image/") and "svg" not in key
        return private(value) if isinstance(value, str) and not picture else value

    try:
        content = cleaned(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except ValueError:  # half written, on a full disk
        return path.unlink() or {}
    if content:
        provenance.write_json(path, content)
    return content


def _render(work: Path, *, lang: str, result: Mapping, say: Callable[[str], None]) -> str | None:
    """Write work/report.html, where there is a notebook; return None, or in words why it could not be made."""
    if not (work / "notebook.ipynb").is_file():
        return None
    import nbformat

    from workbench import report

    say("writing the report")
    nb = nbformat.read(work / "notebook.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    title = result.get("sentence") or next(iter(re.findall(r"^# +(.+)", text, re.MULTILINE)), "Report")
    try:
        provenance.write_text(work / "report.html", report.render(nb, lang=lang, title=title))
    except Exception as error:  # noqa: BLE001 whatever went wrong in rendering, the draws are worth keeping
        return f"the report could not be made: {type(error).__name__}: {error}"
    return None


def _outcome(failure: str | None, result: Mapping) -> dict[str, str]:
    """Return state and reason: failed, blocked by a check, or done whatever the verdict."""
    if failure:
        return {"state": "failed", "reason": failure}
    if result.get("verdict") == "blocked":
        failed = [f"{check['name']}: {check['message']}" for check in result["checks"] if check["status"] == "fail"]
        return {"state": "blocked", "reason": "; ".join(failed) or "a check failed"}
    return {"state": "done", "reason": ""}


def _publish(work: Path, target: Path, status: dict) -> None:
    """Move a run's files into place; status.json, without which a folder is unfinished, goes first and comes last."""
    target.mkdir(exist_ok=True)
    before, record = _status(target).get("files", []), target / "status.json"
    record.unlink(missing_ok=True)
    for name in status["files"]:
        os.replace(work / name, target / name)
    for name in set(before) - set(status["files"]):
        if name == Path(name).name:
            (target / name).unlink(missing_ok=True)
    provenance.write_json(record, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
