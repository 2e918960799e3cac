"""ARCHITECTURE.md is true: imports go down its table of rooms, and nothing grows past its bounds."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "workbench"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
FILES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"pymc", "pytensor", "jax", "arviz", "xarray", "matplotlib", "seaborn", "papermill", "nbconvert"}
HEAVY |= {"nbformat", "pandas", "scipy", "numpy", "openpyxl", "nutpie", "jupyterlab"}


def table() -> dict[str, int]:
    """Return room -> level in the order of the table in ARCHITECTURE.md."""
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", PAGE, flags=re.MULTILINE)
    return {room: int(level) for level, names in rows for room in re.findall(r"`(\w+)`", names)}


LEVELS = table()
ORDER = list(LEVELS)


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(nodes) -> set[str]:
    """Return the dotted modules that these import statements name."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it goes"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return found


def own_rooms(tree: ast.AST) -> set[str]:
    """Return the rooms of ours that a file imports, at its top or inside functions."""
    dotted = [name.split(".") for name in imported(ast.walk(tree))]
    return {parts[1] for parts in dotted if parts[0] == "workbench" and len(parts) > 1} & set(LEVELS)


def test_every_room_stands_in_the_table_and_the_other_way_round():
    there = {room(path) for path in FILES} - {"__init__", "__main__"}
    assert there == set(LEVELS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_only_rooms_named_before_it(path):
    here = room(path)
    if here == "__init__":
        return
    tree = ast.parse(path.read_text(encoding="utf-8"))
    above = sorted(other for other in own_rooms(tree) - {here} if ORDER.index(other) > ORDER.index(here))
    assert above == [], f"{here} imports what stands after it in ARCHITECTURE.md"


def test_the_table_counts_its_levels_upwards():
    assert list(LEVELS.values()) == sorted(LEVELS.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_level_0_and_the_command_line_import_nothing_heavy_at_their_top(path):
    here = room(path)
    if here not in ("__init__", "cli") and LEVELS[here] != 0:
        return
    tops = {name.split(".")[0] for name in imported(ast.parse(path.read_text(encoding="utf-8")).body)}
    assert not tops & HEAVY


def test_asking_for_help_loads_no_heavy_package():
    code = "import sys, workbench.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(answer.stdout.split()) & HEAVY


def test_a_model_imports_nothing_of_ours_but_other_models():
    for path in (PACKAGE / "models").glob("*.py"):
        assert own_rooms(ast.parse(path.read_text(encoding="utf-8"))) <= {"models"}, path.name


def lines_of_code(path):
    """Return how many lines of a file hold code: no docstring, no comment, none empty."""
    lines, defined = path.read_text(encoding="utf-8").splitlines(), (ast.Module, ast.ClassDef, ast.FunctionDef)
    told = [node.body[0] for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, defined) and node.body]
    told = [one for one in told if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)]
    docstrings = {number for one in told for number in range(one.lineno, one.end_lineno + 1)}
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1)]
    return sum(bool(line) and line[0] != "#" and number not in docstrings for number, line in numbered)


def test_a_line_of_code_is_one_that_does_something(tmp_path):
    file = tmp_path / "one.py"
    file.write_text('"""Two\nlines."""\n\n# why\ndef f(x):\n    """What."""\n\n    return x\n', encoding="utf-8")
    assert lines_of_code(file) == 2


def test_nothing_grows_past_its_bound():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path.name: n for path, n in lines.items() if n > 350} == {}
    assert sum(map(lines_of_code, FILES)) <= 6600
    assert len(PAGE.splitlines()) <= 110


def test_no_name_says_nothing():
    vague = {"utils", "helpers", "manager", "common", "misc"}
    assert not {path.stem for path in FILES} & vague
