"""The search for an interpreter: every candidate is run, and the answer is one that works."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "find_python.py"
FITS = "cpython|3.13|0|{path}"


def interpreter(path: Path, answer: str, code: int = 0) -> Path:
    """Write a stand-in for a Python that answers the probe with a given line and exit code."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{answer.format(path=path)}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def searched(home: Path, *, path: Path | None = None, **environ: str) -> subprocess.CompletedProcess:
    """Run the search as an interpreter that does not fit, with nothing else on the machine."""
    code = f"import sys, runpy; sys.executable = '/nonexistent'; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    clean = {"HOME": str(home), "PATH": str(path or home / "empty")} | environ
    return subprocess.run(
        [sys.executable, "-I", "-c", code], env=clean, capture_output=True, text=True, check=False, timeout=60
    )


def test_a_python_on_the_path_is_found(tmp_path):
    expected = interpreter(tmp_path / "bin" / "python3.12", FITS.replace("3.13", "3.12"))
    assert searched(tmp_path, path=tmp_path / "bin").stdout.strip() == str(expected)


def test_a_shim_that_leads_nowhere_is_passed_over_for_pyenv_s_newest(tmp_path):
    interpreter(tmp_path / "bin" / "python3.13", "pyenv: python3.13: command not found", 127)
    versions = tmp_path / "pyenv" / "versions"
    interpreter(versions / "3.9.18" / "bin" / "python3", "cpython|3.9|0|{path}")
    interpreter(versions / "3.12.1" / "bin" / "python3", "cpython|3.12|0|{path}")
    newest = interpreter(versions / "3.13.0" / "bin" / "python3", FITS)
    found = searched(tmp_path, path=tmp_path / "bin", PYENV_ROOT=str(tmp_path / "pyenv"))
    assert found.stdout.strip() == str(newest)


def test_uv_s_own_python_is_found_under_the_home_folder(tmp_path):
    expected = interpreter(tmp_path / ".local/share/uv/python/cpython-3.13.1-linux/bin/python3", FITS)
    assert searched(tmp_path).stdout.strip() == str(expected)


@pytest.mark.parametrize(
    "answer", ["pypy|3.13|0|{path}", "cpython|3.13|1|{path}", "cpython|3.15|0|{path}", "cpython|2.7|0|{path}"]
)
def test_an_interpreter_the_packages_do_not_support_is_not_taken(tmp_path, answer):
    interpreter(tmp_path / "bin" / "python3.13", answer)
    found = searched(tmp_path, path=tmp_path / "bin")
    assert found.returncode == 1 and found.stdout == ""


def test_the_variable_wins_and_is_named_when_it_does_not_fit(tmp_path):
    chosen = interpreter(tmp_path / "mine", FITS)
    interpreter(tmp_path / "bin" / "python3.13", FITS)
    assert searched(tmp_path, path=tmp_path / "bin", PYTHON=str(chosen)).stdout.strip() == str(chosen)
    other = searched(tmp_path, path=tmp_path / "bin", PYTHON="/nonexistent")
    assert other.stdout.strip().endswith("python3.13")
    assert "/nonexistent" in other.stderr


def test_with_nothing_to_find_one_sentence_says_what_to_install(tmp_path):
    found = searched(tmp_path)
    assert found.returncode == 1 and found.stdout == ""
    assert found.stderr.count("\n") == 1 and "install 3.13" in found.stderr


def test_it_needs_no_syntax_newer_than_python_3_6():
    import ast

    ast.parse(SCRIPT.read_text(encoding="utf-8"), feature_version=(3, 6))
    old = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    for python in sorted(old.glob("3.[6-9].*/bin/python3")):
        subprocess.run([python, "-I", "-m", "py_compile", SCRIPT], check=True, env={"PYTHONDONTWRITEBYTECODE": "1"})
