"""Set-up files agree with each other: pyproject.toml, environment.yml, requirements.lock."""

import importlib.util
import re
import tomllib
from pathlib import Path

from rattler import MatchSpec

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEEDED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


def script():
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts" / "environment.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def conda_lines() -> list[str]:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    return [line[4:] for line in text.split("dependencies:\n")[1].splitlines() if re.match(r"  - (?!pip:)", line)]


def test_environment_yml_follows_pyproject():
    assert script().main(["--check"]) == 0


def test_the_check_notices_a_dependency_that_was_added():
    changed = {**PROJECT, "project": {**PROJECT["project"], "dependencies": [*NEEDED, "geopandas>=1"]}}
    assert script().environment(changed) != (ROOT / "environment.yml").read_text(encoding="utf-8")


def test_every_line_of_environment_yml_is_a_conda_requirement():
    lines = conda_lines()
    assert len(lines) > len(NEEDED)
    for line in lines:
        spec = MatchSpec(line, strict=True)
        assert "[" not in spec.name.normalized, line


def test_every_dependency_has_its_line_with_the_same_bound():
    by_pip = [need for need in NEEDED if need.startswith(script().BY_PIP)]
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert text.partition("  - pip:\n")[2].splitlines() == [f"      - {line}" for line in ("-e .", *by_pip)]
    lines = {line.split()[0]: line.partition(" ")[2] for line in conda_lines()}
    for requirement in set(NEEDED) - set(by_pip):
        name, bound = re.fullmatch(r"([\w.-]+)(?:\[\w+\])?(.*)", requirement).groups()
        assert lines[name] == bound, requirement


def locked() -> dict[str, str]:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    return dict(re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE))


def test_everything_declared_is_locked_uv_and_the_build_tools_included():
    names = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in NEEDED}
    assert names <= set(locked()), names - set(locked())


def test_the_lock_holds_hashes_and_no_address():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"https?://|file://|^--|index-url|find-links", text, flags=re.MULTILINE)
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)


def test_no_other_lock_or_version_file_is_kept():
    for name in (".python-version", "uv.lock", "pylock.toml"):
        assert not (ROOT / name).exists(), name
