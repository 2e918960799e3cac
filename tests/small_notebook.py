"""A tiny project folder with a notebook of a few cells, for tests of what runs notebooks."""

from pathlib import Path

import nbformat

PARAMETERS_CELL = """
city: str = "demo"  # the folder of the city
raw = "data/raw"
out = ""
minimum_pp = None
draws: int = 1000
prior = "sceptical"
lang = "en"
"""


def project_folder(tmp_path, monkeypatch):
    """Make an empty project the root of this test (a fixture; each test file names it `root`)."""
    (tmp_path / "project" / "notebooks").mkdir(parents=True)
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path / "project"))
    return tmp_path / "project"


def notebook(root: Path, *cells: str, parameters: str = PARAMETERS_CELL, name: str = "01-try") -> Path:
    """Write a notebook: a title, the parameters cell, and a section with these code cells."""
    tagged = nbformat.v4.new_code_cell(parameters.strip(), metadata={"tags": ["parameters"]})
    body = [nbformat.v4.new_code_cell(cell) for cell in cells]
    texts = [nbformat.v4.new_markdown_cell(text) for text in ("# A small try", "## The work")]
    nb = nbformat.v4.new_notebook(cells=[texts[0], tagged, texts[1], *body])
    path = root / "notebooks" / f"{name}.ipynb"
    nbformat.write(nb, path)
    return path
