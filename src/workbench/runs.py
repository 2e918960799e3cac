"""Strict papermill: parameters are checked before a kernel starts, and a folder is published whole or not at all.

papermill leaves a notebook in which every cell says "completed" when the kernel was killed. So a run happens in a
folder beside its target, and status.json, written last, is the only word on how it ended.
"""

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
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from workbench import provenance
from workbench.errors import ParameterError
from workbench.parameters import notebook_parameters, validate_parameters
from workbench.paths import project_root, redactor, relative, resolve

PLACES = ("raw", "out", "cards", "prior_from", "run")  # parameters that are folders or files, lists separated by ';'
# One thread per linear-algebra call: chains already fill the cores, and more threads make each other wait.
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
KERNEL_ENVIRONMENT = dict.fromkeys((*ONE_THREAD, "PYDEVD_DISABLE_FILE_VALIDATION"), "1")


def run_notebook(
    notebook: str | os.PathLike[str],
    parameters: Mapping[str, object],
    *,
    out: str | os.PathLike[str],
    data_hash: str | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run a notebook, publish what it made in the folder `out`, and return the content of status.json.

    `say` is called with the heading of each section as it begins. A cell error, a dead kernel or a report that cannot
    be made gives state "failed" with the reason in words; ParameterError is raised before anything is written.
    """
    source, target = resolve(notebook), resolve(out)
    own = {"out": str(out)} if "out" in notebook_parameters(source).model_fields else {}
    values = validate_parameters(source, {**parameters, **own})
    places = {name: values[name].split(";") for name in PLACES if values.get(name)}
    shown = values | {name: ";".join(map(relative, given)) for name, given in places.items()}
    hashed = {name: value for name, value in shown.items() if name not in ("raw", "out")} | {"notebook": source.stem}
    hashes = {"parameters": provenance.hash_parameters(hashed), "data": data_hash, "code": provenance.code_hash()}
    status = {"state": "done", "reason": "", "parameters": shown, "hashes": hashes, "started": _now(), "finished": None}
    with _work_folder(target) as folder:
        work = Path(folder)
        private = redactor({
            folder: relative(target), str(target): relative(target),
            **{str(resolve(place)): relative(place) for given in places.values() for place in given if place},
        })  # fmt: skip
        failure = _execute(source, values, work=work, say=say)
        _clean(work / "notebook.ipynb", private)
        result = _clean(work / "result.json", private) or _clean(work / "pooled.json", private)
        failure = _render(work, lang=values.get("lang") or "en", result=result, say=say) or failure
        status |= _outcome(private(failure) if failure else None, result)
        draws = work / "posterior.nc"
        hashes["posterior"] = hashlib.sha256(draws.read_bytes()).hexdigest() if draws.is_file() else None
        status |= {"files": sorted(file.name for file in work.iterdir() if file.is_file()), "finished": _now()}
        _publish(work, target, status)
    return status


def _work_folder(target: Path) -> tempfile.TemporaryDirectory:
    """Make the folder a run works in, beside its target so that publishing is a rename; clear those of killed runs."""
    if target.exists() and not target.is_dir():
        raise ParameterError(f"out: {target.name} is a file, not a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.part"):
            if not psutil.pid_exists(int(left.name.split(".")[-2].split("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
        named = {"prefix": f".{target.name}.{os.getpid()}-", "suffix": ".part", "dir": target.parent}
        return tempfile.TemporaryDirectory(**named, ignore_cleanup_errors=True)
    except OSError as error:
        raise ParameterError(f"out: cannot write beside {target.name} ({error.strerror})") from None


def _execute(source: Path, values: dict[str, Any], *, work: Path, say: Callable[[str], None]) -> str | None:
    """Run the notebook into work/notebook.ipynb; return None, or in words why it stopped."""
    import papermill
    from nbclient.exceptions import DeadKernelError

    injected = values | {"out": str(work)} | ({"raw": str(resolve(values["raw"]))} if values.get("raw") else {})
    place = {"cell": 0, "section": ""}

    def on_cell_start(cell: Any, **_: Any) -> None:
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
            read,
            written,
            parameters={name: injected[name] for name in values},
            kernel_name="python3",
            language="python",
            progress_bar=False,
            kernel_manager_class=_kernel_manager(),
            resources={"metadata": {"path": str(project_root())}},
            on_cell_start=on_cell_start,
            iopub_timeout=60,
            shutdown_kernel="immediate",
        )
    except (papermill.PapermillExecutionError, DeadKernelError) as error:
        died = "the Python process that ran the notebook died; too little memory is the usual cause"
        why = died if isinstance(error, DeadKernelError) else f"{error.ename}: {error.evalue}"
        return f"'{place['section']}', cell [{place['cell']}]: {why}"
    except (OSError, RuntimeError) as error:
        return f"the notebook could not be run: {type(error).__name__}: {error}"
    return None


def _kernel_manager() -> type:
    """Return a kernel manager that always starts this interpreter; a kernelspec in the home folder would win otherwise."""
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    chosen = {name: os.environ.get(name, value) for name, value in KERNEL_ENVIRONMENT.items()}
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    metadata = {"supported_encryption": ["curve"]}
    spec = KernelSpec(argv=argv, display_name="Python 3", language="python", env=chosen, metadata=metadata)

    class OwnKernel(AsyncKernelManager):
        kernel_spec = property(lambda self: spec)
        # Answers of respondents may pass here, and another user of the machine could listen.
        transport_encryption = "auto"

    return OwnKernel


def _clean(path: Path, private: Callable[[str], str]) -> dict[str, Any]:
    """Take this machine's folders out of a JSON file and return what it then holds; {} if there is none."""

    def cleaned(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: cleaned(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        picture = key.startswith("image/") and "svg" not in key
        return private(value) if isinstance(value, str) and not picture else value

    content = cleaned(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    if content:
        provenance.write_json(path, content)
    return content


def _render(work: Path, *, lang: str, result: Mapping[str, Any], say: Callable[[str], None]) -> str | None:
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


def _outcome(failure: str | None, result: Mapping[str, Any]) -> dict[str, str]:
    """Return state and reason: failed, blocked by a check, or done whatever the verdict."""
    if failure:
        return {"state": "failed", "reason": failure}
    if result.get("verdict") == "blocked":
        failed = [f"{check['name']}: {check['message']}" for check in result["checks"] if check["status"] == "fail"]
        return {"state": "blocked", "reason": "; ".join(failed) or "a check failed"}
    return {"state": "done", "reason": ""}


def _publish(work: Path, target: Path, status: dict[str, Any]) -> None:
    """Move a run's files into place. Without status.json a folder counts as unfinished, so it goes first and comes last."""
    target.mkdir(exist_ok=True)
    record = target / "status.json"
    before = json.loads(record.read_text(encoding="utf-8")).get("files", []) if record.is_file() else []
    record.unlink(missing_ok=True)
    for name in status["files"]:
        os.replace(work / name, target / name)
    for name in set(before) - set(status["files"]):
        if name == Path(name).name:
            (target / name).unlink(missing_ok=True)
    provenance.write_json(record, status)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
