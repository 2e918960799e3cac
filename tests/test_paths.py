"""Where files live, and what may be shown of it."""

import sys
from pathlib import Path

import pytest

from workbench import paths
from workbench.errors import ParameterError, nearest


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path))
    return tmp_path


def test_without_the_variable_the_root_is_the_folder_of_this_checkout(monkeypatch, tmp_path):
    monkeypatch.delenv("WORKBENCH_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.project_root() == Path(__file__).resolve().parent.parent


def test_a_relative_path_means_the_same_from_any_working_folder(root, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert paths.resolve("data/raw") == root / "data" / "raw"
    assert paths.resolve("data/../reports") == root / "reports"


def test_relative_is_the_inverse_of_resolve_inside_the_project(root):
    assert paths.relative(paths.resolve("data/raw/demo")) == "data/raw/demo"
    assert paths.relative("data/raw/demo") == "data/raw/demo"


def test_a_path_outside_the_project_shows_only_its_last_part(root):
    assert paths.relative("/home/jan.peeters/secret/survey") == "survey"
    assert paths.relative("../survey") == "survey"


@pytest.mark.parametrize("name", ["demo", "2024-wave_2", "a" * 100])
def test_a_plain_name_is_returned_as_it_is(name):
    assert paths.validate_name(name, "city") == name


@pytest.mark.parametrize("name", ["", "Demo", "../x", "a/b", "a b", "a\n", "a.b", "é", "a" * 101, "<script>", None])
def test_any_other_name_is_refused(name):
    with pytest.raises(ParameterError, match="city"):
        paths.validate_name(name, "city")


def test_a_long_name_is_not_repeated_in_full():
    with pytest.raises(ParameterError) as refusal:
        paths.validate_name("A" * 10_000, "city")
    assert len(str(refusal.value)) < 250


def test_nearest_suggests_a_close_name_and_is_silent_about_others():
    assert nearest("dmo", ["demo", "ghent"]) == ", did you mean 'demo'?"
    assert nearest("DEMO", ["demo"]) == ", did you mean 'demo'?"
    assert nearest("xyz", ["demo", "ghent"]) == ""
    assert nearest("demo", []) == ""


def test_the_redactor_takes_out_every_folder_of_this_machine(root, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/home/jan"))
    redact = paths.redactor({"/data/cities": "cities", "/home/jan/raw": "raw"})
    assert redact(f"File {root}/src/model.py:12 in fit") == "File src/model.py:12 in fit"
    assert redact(f"cd {root}") == "cd ."
    assert redact("raw='/home/jan/raw', '/home/jan/raw2'") == "raw='raw', '~/raw2'"
    assert redact("~/raw/demo/survey.csv") == "raw/demo/survey.csv"
    assert redact("/data/cities/demo") == "cities/demo"
    assert redact(f"{sys.prefix}/lib/site-packages/x.py").startswith("python/lib")
    assert redact(f"\x1b[32m{root}/a.py\x1b[39m") == "\x1b[32ma.py\x1b[39m"


def test_the_redactor_leaves_addresses_and_other_paths_alone(root, monkeypatch):
    monkeypatch.setattr(Path, "home", lambda: Path("/root"))
    redact = paths.redactor({})
    for text in ("https://example.org/root/page", "/rooted/x", "data/root/x", "3/4", "<b>bold</b>"):
        assert redact(text) == text
