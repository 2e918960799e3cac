"""The notebooks as they are kept: readable, parameterised, without outputs."""

import ast
import json
from pathlib import Path

import pytest

from workbench import parameters

FOLDER = Path(__file__).resolve().parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return json.loads(request.param.read_text(encoding="utf-8"))


def code(notebook: dict) -> list[dict]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def test_the_four_notebooks_of_the_main_path_are_there():
    names = {path.stem for path in NOTEBOOKS}
    assert {"01-check-city", "02-describe-insecurity", "03-evaluate-projects", "04-check-sensitivity"} <= names


def test_the_same_parameter_is_written_the_same_way_in_the_two_that_fit():
    first, second = [
        {name: field.default for name, field in parameters.notebook_parameters(path).model_fields.items()}
        for path in NOTEBOOKS
        if path.stem[:2] in ("03", "04")
    ]
    assert set(second) <= set(first) and [name for name in first if name in second] == list(second)
    assert first | second | {"checks": ""} == first | {"checks": ""}


def test_no_output_is_kept(notebook):
    for cell in code(notebook):
        assert cell["outputs"] == [] and cell["execution_count"] is None, source(cell)[:80]
        assert "execution" not in cell["metadata"]
    assert "papermill" not in notebook["metadata"] and "widgets" not in notebook["metadata"]


def test_it_opens_with_a_title_and_says_something_before_it_computes(notebook):
    first = notebook["cells"][0]
    assert first["cell_type"] == "markdown" and source(first).startswith("# ")


def test_it_has_one_parameters_cell_of_known_names(notebook):
    tagged = [cell for cell in code(notebook) if "parameters" in cell["metadata"].get("tags", [])]
    assert len(tagged) == 1
    names = [
        target.id
        for step in ast.parse(source(tagged[0])).body
        for target in (step.targets if isinstance(step, ast.Assign) else [step.target])
    ]
    assert set(names) <= set(parameters.PARAMETERS), set(names) - set(parameters.PARAMETERS)
    assert {"city", "raw"} <= set(names) or "cards" in names


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_defaults_are_values_that_it_would_accept(path):
    defaults = {name: field.default for name, field in parameters.notebook_parameters(path).model_fields.items()}
    assert parameters.validate_parameters(path, defaults) == defaults


def test_it_is_short_and_defines_no_function(notebook):
    cells = code(notebook)
    lines = [line for cell in cells for line in source(cell).splitlines() if line.strip()]
    assert len(cells) <= 25
    assert len(lines) <= 90
    for cell in cells:
        tree = ast.parse("\n".join(line for line in source(cell).splitlines() if not line.startswith(("%", "!"))))
        named = [
            node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef))
        ]
        assert not named, source(cell)


def test_notebooks_readme_names_every_notebook():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [path.stem for path in NOTEBOOKS if f"`{path.stem}`" not in text] == []
