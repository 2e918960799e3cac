"""Strict papermill: a notebook runs only with parameters it declares, and a folder is published whole or not at all.

papermill itself only warns about an unknown parameter, pastes names raw into code, and leaves a notebook in which every
cell says "completed" when the kernel was killed. So parameters are checked against a table before a kernel starts, the
run happens in a folder beside its target, and status.json, written last, is the only word on how it ended.
"""

import ast
import hashlib
import importlib
import json
import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from workbench import provenance
from workbench.errors import ParameterError, nearest
from workbench.language import languages
from workbench.paths import NAME, project_root, redactor, relative, resolve

_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
_TEXT = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=5000)] | None
_TEXT_WORDS = "text on one line"

# Every parameter name has one type and one meaning in all notebooks (docs/data.md lists them).
PARAMETERS: dict[str, tuple[Any, str]] = {
    "city": (Annotated[str, Field(pattern=f"^{NAME.pattern}$")], "a name of lower-case letters, digits, '-' and '_'"),
    "raw": (_TEXT, "the folder that holds the cities"),
    "out": (_TEXT, "the folder to write to"),
    "item": (_TEXT, _TEXT_WORDS),
    "unsafe_from": (_TEXT, _TEXT_WORDS),
    "projects": (_TEXT, "a list separated by ';'"),
    "comparison": (_TEXT, "a list separated by ';'"),
    "window_months": (Annotated[str, Field(pattern=r"^\d{1,3}-\d{1,3}$")], "a range of months such as 6-24"),
    "minimum_pp": (
        Annotated[Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None, _EMPTY_IS_NONE],
        "a number of percentage points above 0",
    ),
    "prior": (Literal["sceptical", "wide", "flat"], "one of sceptical, wide, flat"),
    "checks": (Literal["core", "full"], "one of core, full"),
    "draws": (Annotated[int, Field(ge=1, le=100_000)], "a whole number from 1 to 100000"),
    "tune": (Annotated[int, Field(ge=0, le=100_000)], "a whole number from 0 to 100000"),
    "chains": (Annotated[int, Field(ge=1, le=64)], "a whole number from 1 to 64"),
    "seed": (Annotated[int, Field(ge=0, lt=2**32)], "a whole number from 0 to 4294967295"),
    "lang": (Literal[languages()], f"one of {', '.join(languages())}"),
}

# One thread per linear-algebra call: chains already fill the cores, and more threads make each other wait.
KERNEL_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def notebook_parameters(notebook: str | os.PathLike[str]) -> type[BaseModel]:
    """Return the typed model of a notebook's parameters, with the defaults of its cell tagged `parameters`.

    A name in PARAMETERS has its type there; any other has the type of its default. Raises ParameterError when the
    notebook is absent, has no such cell, or sets a parameter to something other than a plain value.
    """
    fields = {}
    for name, default in _defaults(resolve(notebook)).items():
        known = PARAMETERS.get(name, (type(default), f"a {type(default).__name__}"))
        fields[name] = (known[0], Field(default=default, description=known[1], validate_default=False))
    return create_model("Parameters", __config__=ConfigDict(extra="forbid"), **fields)


def validate_parameters(notebook: str | os.PathLike[str], parameters: Mapping[str, object]) -> dict[str, Any]:
    """Return all parameters of a run, typed, defaults filled in; raise ParameterError naming every fault at once."""
    model = notebook_parameters(notebook)
    try:
        return model(**parameters).model_dump()
    except ValidationError as error:
        faults = [_fault(model, detail) for detail in error.errors()]
        raise ParameterError("\n".join(dict.fromkeys(faults))) from None


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
    values = validate_parameters(source, {**parameters, **({"out": str(out)} if "out" in _defaults(source) else {})})
    status: dict[str, Any] = {"state": "done", "reason": "", "parameters": _published(values)}
    hashed = {name: value for name, value in status["parameters"].items() if name not in ("raw", "out")}
    hashes = {"parameters": provenance.hash_parameters(hashed), "data": data_hash, "code": provenance.code_hash()}
    status |= {"notebook": source.stem, "hashes": hashes, "started": _now()}
    work = _work_folder(target)
    try:
        private = redactor(_shown_folders(work, target, values))
        failure = _execute(source, values, work=work, say=say)
        nb = _clean_notebook(work / "notebook.ipynb", private)
        result = _clean_result(work / "result.json", private)
        failure = _render(nb, work, values=values, result=result, say=say) or failure
        status |= _outcome(private(failure) if failure else None, result)
        status["hashes"]["posterior"] = _file_hash(work / "posterior.nc")
        status |= {"files": sorted(file.name for file in work.iterdir() if file.is_file()), "finished": _now()}
        _publish(work, target, status)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return status


def _defaults(notebook: Path) -> dict[str, Any]:
    """Return name -> default of the cell tagged `parameters`, read without running or importing anything."""
    if not notebook.is_file():
        there = [file.stem for file in notebook.parent.glob("*.ipynb")]
        raise ParameterError(f"no notebook {relative(notebook)}{nearest(notebook.stem, there)}")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        body = ast.parse("".join(tagged[0]["source"])).body
        return {step.targets[0].id: ast.literal_eval(step.value) for step in body if isinstance(step, ast.Assign)} | {
            step.target.id: ast.literal_eval(step.value) for step in body if isinstance(step, ast.AnnAssign)
        }
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, SyntaxError) as error:
        raise ParameterError(
            f"notebook {relative(notebook)}: needs one cell tagged 'parameters' that sets plain values ({error})"
        ) from None


def _fault(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    """Return one line on one refused parameter."""
    name = str(detail["loc"][0])
    shown = repr(name if len(name) <= 60 else f"{name[:60]}...")
    if detail["type"] == "extra_forbidden":
        return f"parameter {shown} is unknown{nearest(name, model.model_fields)} (known: {', '.join(model.model_fields)})"
    value, words = str(detail["input"])[:60], model.model_fields[name].description
    options = words.removeprefix("one of ").split(", ") if words.startswith("one of ") else ()
    return f"parameter {name}: {value!r} is not {words}{nearest(value, options)}"


def _published(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as they may be shown: folders relative to the project."""
    return {name: relative(value) if name in ("raw", "out") and value else value for name, value in values.items()}


def _work_folder(target: Path) -> Path:
    """Make the folder a run works in, beside its target so that publishing is a rename; clear those of killed runs."""
    if target.exists() and not target.is_dir():
        raise ParameterError(f"out: {target.name} is a file, not a folder")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for left in target.parent.glob(f".{target.name}.*.part"):
            if not _alive(int(left.name.split(".")[-2].split("-")[0])):
                shutil.rmtree(left, ignore_errors=True)
        work = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
        work.mkdir()
    except OSError as error:
        raise ParameterError(f"out: cannot write beside {target.name} ({error.strerror})") from None
    return work


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


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
    # The report's packages take seconds to import; meanwhile this process would only wait for the kernel.
    threading.Thread(target=importlib.import_module, args=("workbench.report",), daemon=True).start()
    try:
        papermill.execute_notebook(
            _literal(source),
            _literal(work / "notebook.ipynb"),
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
    except papermill.PapermillExecutionError as error:
        return f"'{place['section']}', cell [{place['cell']}]: {error.ename}: {error.evalue}"
    except DeadKernelError:
        return (
            f"'{place['section']}', cell [{place['cell']}]: the Python process that ran the notebook died; "
            "too little memory is the usual cause"
        )
    except (OSError, RuntimeError) as error:
        return f"the notebook could not be run: {type(error).__name__}: {error}"
    return None


def _literal(path: Path) -> str:
    """Return a path that papermill, which formats its paths, reads as it stands."""
    return str(path).replace("{", "{{").replace("}", "}}")


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


def _shown_folders(work: Path, target: Path, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the folders of this run that a kernel had to know in full, with what to show instead."""
    shown = {str(work): relative(target), str(target): relative(target)}
    return shown | ({str(resolve(values["raw"])): relative(values["raw"])} if values.get("raw") else {})


def _clean_notebook(path: Path, private: Callable[[str], str]) -> Any:
    """Take this machine's folders out of an executed notebook, write it back and return it; None if there is none."""
    import nbformat

    if not path.is_file():
        return None

    def cleaned(value: Any, key: str = "") -> Any:
        if isinstance(value, str):
            return value if key.startswith("image/") and "svg" not in key else private(value)
        if isinstance(value, list):
            return [cleaned(each, key) for each in value]
        return {name: cleaned(each, name) for name, each in value.items()} if isinstance(value, dict) else value

    content = cleaned(json.loads(path.read_text(encoding="utf-8")))
    provenance.write_json(path, content)
    return nbformat.read(path, as_version=4)


def _clean_result(path: Path, private: Callable[[str], str]) -> dict[str, Any]:
    """Return result.json without this machine's folders, or {} for a notebook that writes none."""
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if (clean := private(text)) != text:
        provenance.write_text(path, clean)
    return json.loads(clean)


def _render(
    nb: Any, work: Path, *, values: Mapping[str, Any], result: Mapping[str, Any], say: Callable[[str], None]
) -> str | None:
    """Write work/report.html; return None, or in words why it could not be made."""
    if nb is None:
        return None
    from workbench import report

    say("writing the report")
    headings = (re.match(r"# +(.+)", cell.source) for cell in nb.cells if cell.cell_type == "markdown")
    title = result.get("sentence") or next((found[1] for found in headings if found), work.stem)
    try:
        provenance.write_text(work / "report.html", report.render(nb, lang=values.get("lang") or "en", title=title))
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


def _file_hash(path: Path) -> str | None:
    """Return the plain sha256 of a file, as sha256sum prints it, or None when there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
