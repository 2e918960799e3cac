"""Strict papermill: what is refused before a kernel starts, and what is left behind when one fails."""

import getpass
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from filelock import FileLock
from small_notebook import notebook, project_folder

from workbench import report, runs
from workbench.errors import ParameterError

root = pytest.fixture(project_folder, name="root")

FILES = {"notebook.ipynb", "report.html", "status.json"}


def published(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}


@pytest.fixture
def no_kernel(monkeypatch):
    def started(*_args, **_kwargs):
        raise AssertionError("a kernel was about to start")

    monkeypatch.setattr(runs, "_execute", started)


def test_an_unknown_parameter_is_refused_with_the_nearest_name_before_a_kernel_starts(root, no_kernel):
    with pytest.raises(ParameterError, match="'drawz' is unknown, did you mean 'draws'?"):
        runs.run_notebook(notebook(root), {"drawz": 500}, out="reports/demo")
    assert not (root / "reports").exists()


def test_a_name_that_holds_code_is_refused_and_never_run(root, no_kernel, tmp_path):
    crafted = f"draws = 1; open({str(tmp_path / 'planted')!r}, 'w').close(); x"
    with pytest.raises(ParameterError, match="unknown"):
        runs.run_notebook(notebook(root), {crafted: 1}, out="reports/demo")
    assert not (tmp_path / "planted").exists()


def test_no_value_can_leave_its_quotes(root, tmp_path):
    """papermill writes values into code; this one would run if quotes or backslashes got through."""
    planted = tmp_path / "planted"
    value = f'x"; open(r"{planted}", "w").close(); y = "\\'
    path = notebook(root, "print(item)", parameters='item = ""')
    status = runs.run_notebook(path, {"item": value}, out="reports/a")
    assert status["state"] == "done", status["reason"]
    assert not planted.exists()
    assert status["parameters"]["item"] == value


def test_a_finished_run_is_published_whole_and_without_a_path_of_this_machine(root, monkeypatch):
    told = []
    raw = root.parent / "elsewhere" / "cities"
    cells = (
        "import json, os, sys, warnings",
        "print(raw, out, os.getcwd(), sys.executable, __import__('tempfile').gettempdir())",
        "json.dump({'verdict': 'cannot tell', 'sentence': 'We cannot tell.', 'where': out}, open(out + '/result.json', 'w'))",
        "open(out + '/posterior.nc', 'wb').write(b'draws')",
        "warnings.warn('look here')",
        "sys.executable",
    )
    status = runs.run_notebook(
        notebook(root, *cells), {"raw": str(raw), "draws": 10}, out="reports/demo", data_hash="abc", say=told.append
    )
    folder = root / "reports" / "demo"
    texts = published(folder)
    assert (status["state"], status["reason"]) == ("done", "")
    assert set(texts) == FILES | {"result.json", "posterior.nc"}
    assert status["files"] == sorted(set(texts) - {"status.json"})
    assert json.loads(texts["status.json"]) == status
    assert status["parameters"]["raw"] == "cities" and status["parameters"]["out"] == "reports/demo"
    assert 'raw = "cities"' in texts["notebook.ipynb"].replace("\\", "")
    assert status["hashes"]["data"] == "abc"
    assert status["hashes"]["posterior"] == __import__("hashlib").sha256(b"draws").hexdigest()
    assert set(status["hashes"]) == {"parameters", "data", "code", "posterior"}
    assert status["started"] <= status["finished"]
    assert told[-1] == "writing the report" and "The work" in told
    for name, text in texts.items():
        for private in (
            str(root),
            str(raw),
            sys.prefix,
            sys.base_prefix,
            str(Path.home()) + "/",
            "ipykernel_",
            ".part",
        ):
            assert private not in text.replace("/ipykernel_launcher", ""), (name, private)
    if getpass.getuser() != "root":
        assert getpass.getuser() not in "".join(texts.values())
    assert [file.name for file in (root / "reports").iterdir()] == ["demo"]


def test_a_blocked_evaluation_is_blocked_with_its_failing_check_and_keeps_its_report(root):
    result = {"verdict": "blocked", "sentence": "Blocked.", "checks": [
        {"name": "wave break", "status": "fail", "message": "the wording changed in 2021"},
        {"name": "convergence", "status": "pass", "message": "fine"},
    ]}  # fmt: skip
    status = runs.run_notebook(
        notebook(root, f"import json; json.dump({result!r}, open(out + '/result.json', 'w'))"), {}, out="reports/demo"
    )
    assert (status["state"], status["reason"]) == ("blocked", "wave break: the wording changed in 2021")
    assert "report.html" in status["files"]


def test_an_error_in_a_cell_gives_failed_with_its_place_and_keeps_the_notebook_so_far(root):
    cells = (
        "print('before')",
        "from pathlib import Path\nraise ValueError(f'no draws in {Path.cwd()}/x')",
        "print('after')",
    )
    status = runs.run_notebook(notebook(root, *cells), {}, out="reports/demo")
    folder = root / "reports" / "demo"
    assert status["state"] == "failed"
    assert status["reason"] == "'The work', cell [4]: ValueError: no draws in x"
    ran = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert [cell.execution_count for cell in ran.cells if "raise" in cell.source] == [4]
    assert "before" in str(ran.cells) and str(root) not in str(ran)
    assert not any("after" in str(cell.get("outputs")) for cell in ran.cells)
    assert set(published(folder)) == FILES


def test_a_dying_kernel_gives_failed_in_words_and_replaces_what_an_earlier_run_left(root):
    folder = root / "reports" / "demo"
    folder.mkdir(parents=True)
    (folder / "posterior.nc").write_text("old draws")
    (folder / "notes.txt").write_text("a user's own")
    (folder / "status.json").write_text(json.dumps({"state": "done", "files": ["posterior.nc"]}))
    status = runs.run_notebook(notebook(root, "import os; os._exit(9)", "print('after')"), {}, out="reports/demo")
    assert status["state"] == "failed"
    assert "'The work', cell [3]" in status["reason"] and "died" in status["reason"]
    assert set(published(folder)) - {"report.html"} == {"notebook.ipynb", "status.json", "notes.txt"}


def test_a_report_that_cannot_be_made_fails_the_run_but_keeps_its_notebook(root, monkeypatch):
    def no_alt(*_args, **_kwargs):
        raise ValueError("a picture without alt text")

    monkeypatch.setattr(report, "render", no_alt)
    monkeypatch.setattr(runs, "_execute", lambda source, values, *, work, **_: (
        (work / "notebook.ipynb").write_text(source.read_text()) and None
    ))  # fmt: skip
    status = runs.run_notebook(notebook(root), {}, out="reports/demo")
    assert status["state"] == "failed" and "a picture without alt text" in status["reason"]
    assert status["files"] == ["notebook.ipynb"]


def test_a_killed_run_leaves_the_old_folder_alone_and_the_next_run_clears_up(root, monkeypatch):
    folder = root / "reports" / "demo"
    folder.mkdir(parents=True)
    (folder / "status.json").write_text('{"state": "done", "files": []}')
    path = notebook(root, "import time; open(out + '/effects.csv', 'w').write('half'); time.sleep(60)")
    code = f"from workbench import runs; runs.run_notebook({str(path)!r}, {{}}, out='reports/demo')"
    process = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not list((root / "reports").glob(".demo.*.part/effects.csv")) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert list((root / "reports").glob(".demo.*.part/effects.csv"))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert published(folder) == {"status.json": '{"state": "done", "files": []}'}
    monkeypatch.setattr(runs, "_execute", lambda source, values, *, work, **_: "stopped")
    runs.run_notebook(path, {}, out="reports/demo")
    assert [file.name for file in (root / "reports").iterdir()] == ["demo"]


def test_a_target_that_is_a_file_is_refused(root, no_kernel):
    (root / "reports").write_text("")
    for out in ("reports", "reports/demo"):
        with pytest.raises(ParameterError, match="out"):
            runs.run_notebook(notebook(root), {}, out=out)


def test_the_same_parameters_hash_alike_wherever_they_are_run(root, monkeypatch):
    monkeypatch.setattr(runs, "_execute", lambda source, values, *, work, **_: "stopped")
    path = notebook(root)
    hashes = [
        runs.run_notebook(path, {"raw": raw, "draws": draws}, out=out)["hashes"]["parameters"]
        for raw, out, draws in [
            ("data/raw", "reports/a", 5),
            ("/elsewhere", "reports/b", 5),
            ("data/raw", "reports/a", 6),
        ]
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_a_folder_that_another_run_is_writing_is_refused_and_left_alone(root, no_kernel):
    folder = root / "reports" / ".demo.working.part"
    folder.mkdir(parents=True)
    with FileLock(root / "reports" / ".demo.lock"), pytest.raises(ParameterError, match="written by another run"):
        runs.run_notebook(notebook(root), {}, out="reports/demo")
    assert folder.is_dir()


def test_a_run_that_takes_too_long_is_stopped_and_says_so(root):
    path = notebook(root, "import time; time.sleep(600)")
    status = runs.run_notebook(path, {}, out="reports/demo", minutes=0.1)
    assert status["state"] == "failed"
    assert status["reason"] == "'The work', cell [3]: not finished after 0.1 minutes, so it was stopped"


def test_a_kernel_is_told_how_many_cores_it_may_use(root):
    path = notebook(root, "import os; open(out + '/cores.txt', 'w').write(os.environ['WORKBENCH_CORES'])")
    runs.run_notebook(path, {}, out="reports/demo", cores=3)
    assert (root / "reports" / "demo" / "cores.txt").read_text() == "3"


@pytest.fixture
def finished(root, monkeypatch):
    """A finished run, and a function that asks whether it is one for these parameters."""

    def made(_source, _values, *, work, **_):
        (work / "effects.csv").write_text("estimand\n")

    monkeypatch.setattr(runs, "_execute", made)
    path = notebook(root)
    asked = {"parameters": {"draws": 5}, "out": "reports/demo", "data_hash": "abc"}
    runs.run_notebook(path, **asked)
    return lambda **change: runs.finished(path, **asked | change)


def test_a_run_is_finished_when_parameters_data_notebook_and_code_are_the_same(root, finished):
    assert finished()["state"] == "done"
    assert finished(data_hash="abd") is None
    assert finished(parameters={"draws": 6}) is None
    assert finished(out="reports/other") is None
    notebook(root, "print('another notebook')")
    assert finished() is None


@pytest.mark.parametrize("lost", ["status.json", "effects.csv"])
def test_a_run_that_lost_a_file_is_not_finished(root, finished, lost):
    (root / "reports" / "demo" / lost).unlink()
    assert finished() is None


def test_a_failed_run_is_not_finished_and_a_blocked_one_is(root, finished):
    record = root / "reports" / "demo" / "status.json"
    status = json.loads(record.read_text())
    for state, is_finished in {"blocked": True, "failed": False}.items():
        record.write_text(json.dumps(status | {"state": state}))
        assert bool(finished()) == is_finished


def test_other_cards_in_the_same_folder_make_it_another_run(root, monkeypatch):
    monkeypatch.setattr(runs, "_execute", lambda *_, **__: None)
    (root / "cards").mkdir()
    (root / "cards" / "a.json").write_text("{}")
    path = notebook(root, parameters='prior_from = ""')
    asked = {"parameters": {"prior_from": "cards"}, "out": "reports/demo"}
    runs.run_notebook(path, **asked)
    assert runs.finished(path, **asked)
    (root / "cards" / "b.json").write_text("{}")
    assert runs.finished(path, **asked) is None
