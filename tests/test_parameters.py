"""What a notebook may be told, and what is refused, before anything runs."""

from pathlib import Path

import pytest
from small_notebook import notebook, project_folder

from workbench import parameters
from workbench.errors import ParameterError

root = pytest.fixture(project_folder, name="root")


def refusal(path: Path, **given: object) -> str:
    with pytest.raises(ParameterError) as refused:
        parameters.validate_parameters(path, given)
    return str(refused.value)


def test_defaults_come_from_the_notebook_and_text_is_turned_into_numbers(root):
    values = parameters.validate_parameters(notebook(root), {"draws": "250", "minimum_pp": "1.5"})
    assert values == {
        "city": "demo", "raw": "data/raw", "out": "", "minimum_pp": 1.5, "draws": 250, "prior": "sceptical", "lang": "en",
    }  # fmt: skip


def test_an_empty_minimum_means_the_default_rule(root):
    assert parameters.validate_parameters(notebook(root), {"minimum_pp": ""})["minimum_pp"] is None


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("draws", "many", "whole number"),
        ("draws", "0", "from 1"),
        ("draws", 2.5, "whole number"),
        ("minimum_pp", "nan", "above 0"),
        ("minimum_pp", -1, "above 0"),
        ("prior", "sceptic", "did you mean 'sceptical'?"),
        ("lang", "de", "one of en"),
        ("city", "../demo", "lower-case"),
        ("city", "demo\n", "lower-case"),
        ("raw", "a\nb", "folder"),
        ("raw", 3, "folder"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_and_named(root, name, value, words):
    message = refusal(notebook(root), **{name: value})
    assert message.startswith(f"parameter {name}: ") and words in message


def test_all_faults_come_at_once_one_per_line(root):
    assert len(refusal(notebook(root), draws="x", prior="y", zzz=1).splitlines()) == 3


def test_a_parameters_cell_that_computes_is_refused_without_running_it(root, tmp_path):
    path = notebook(root, parameters=f"draws = open({str(tmp_path / 'planted')!r}, 'w')")
    assert "plain values" in refusal(path)
    assert not (tmp_path / "planted").exists()


def test_an_absent_notebook_is_refused_with_the_nearest_name(root):
    notebook(root, name="03-evaluate-projects")
    assert "did you mean '03-evaluate-projects'?" in refusal(root / "notebooks" / "03-evaluate-project.ipynb")


def test_a_notebook_s_own_parameter_has_the_type_of_its_default(root):
    path = notebook(root, parameters="radius = 5\nlabel = 'x'")
    assert parameters.validate_parameters(path, {"radius": "7"}) == {"radius": 7, "label": "x"}
    assert "radius" in refusal(path, radius="wide")
