"""Names, labels and notes that hold markup, formulas, paths or far too much: refused in words, or shown as they are."""

import base64
import csv
import json
import re
import shutil
import struct
from html.parser import HTMLParser
from pathlib import Path

import in_chromium
import nbformat
import pandas as pd
import pytest
import tomlkit

from workbench import index, runs
from workbench.cities import list_cities, load_city, write_processed
from workbench.errors import SchemaError
from workbench.simulate import simulate_city

REPOSITORY = Path(__file__).resolve().parent.parent
MARKUP = '<b onmouseover="alert(1)">x</b><script>alert(1)</script><img src=//x.example/y>'
FORMULA, SUM, UP = "=cmd|' /C calc'!A0", "@SUM(1)", "../../x"
BRACES, LONG = "{0.__class__} {{7*7}} %(x)s $\\frac{$ \\", "Longword" * 12
SHOWN_AS_THEY_ARE = (MARKUP, FORMULA, SUM, UP, BRACES, LONG)
REFUSED = {
    "a line break": "two\nlines",
    "a tab": "two\tcells",
    "an escape": "\x1b[2Jx",
    "right to left": "\u202egnp.exe",
    "10,000 characters": "x" * 10_000,
}
NAMES = [
    *(("areas.csv", column) for column in ("area", "name")),
    *(("waves.csv", column) for column in ("wave", "mode", "questionnaire_version")),
    *(("projects.csv", column) for column in ("project", "kind", "name", "trigger")),
    *(("survey.csv", column) for column in ("respondent", "sex")),
]


def change(folder, file, column, value):
    """Put `value` in the first row of that column, which is added where the file lacks it."""
    table = pd.read_csv(folder / file, dtype=str, keep_default_na=False)
    if column not in table:
        table[column] = ""
    table.loc[0, column] = value
    table.to_csv(folder / file, index=False)


def change_manifest(folder, **values):
    said = tomlkit.parse((folder / "city.toml").read_text(encoding="utf-8"))
    (folder / "city.toml").write_text(tomlkit.dumps({**said, **values}), encoding="utf-8")


# --- refused ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("file, column", NAMES)
def test_a_name_that_no_page_could_show_is_refused_with_its_place(write_city_files, city_files, file, column, text):
    raw = write_city_files(city_files)
    change(raw / "town", file, column, text)
    with pytest.raises(SchemaError) as refusal:
        load_city("town", raw=raw)
    told = [line for line in str(refusal.value).splitlines() if f"{file}, line 2, column '{column}'" in line]
    assert told and "one line" in "".join(told) or column == "project"
    assert all(len(line) < 1000 and line.isprintable() for line in str(refusal.value).splitlines())


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_citys_own_name_is_one_line_that_can_be_shown(write_city_files, city_files, text):
    raw = write_city_files(city_files)
    change_manifest(raw / "town", name=text)
    with pytest.raises(SchemaError, match="city.toml: name .*one line") as refusal:
        load_city("town", raw=raw)
    assert len(str(refusal.value)) < 1000
    assert all(str(name).isprintable() and len(str(name)) < 200 for name in list_cities(raw)["name"])


@pytest.mark.parametrize("text", [REFUSED["an escape"], REFUSED["right to left"], "x" * 10_000])
def test_a_note_may_be_long_but_not_endless_and_hides_nothing(write_city_files, city_files, text):
    raw = write_city_files(city_files)
    change(raw / "town", "waves.csv", "note", text)
    with pytest.raises(SchemaError, match="waves.csv, line 2, column 'note'"):
        load_city("town", raw=raw)
    change(raw / "town", "waves.csv", "note", "Fieldwork by web.\nThe letter came late." + " So it was." * 50)
    load_city("town", raw=raw)
    change_manifest(raw / "town", notes=[text])
    with pytest.raises(SchemaError, match="city.toml: notes"):
        load_city("town", raw=raw)


# --- shown as they are --------------------------------------------------------------------------------------------------


def hostile_city(folder):
    """A small simulated city in which every name that a city may choose is hostile."""
    simulate_city(
        folder, areas=8, treated=3, waves=4, respondents=2400, projects=2, effect_pp=-4.0, baseline_unsafe=0.2,
        baseline_gap_pp=6.0, trend=0.0, shock_sd=0.1, shock_rho=0.0, seed=11, shares=False,
    )  # fmt: skip
    tables = {file: pd.read_csv(file, dtype=str, keep_default_na=False) for file in sorted(folder.glob("*.csv"))}
    tables = {file.name: table for file, table in tables.items()}
    texts = [text.replace(";", ",") for text in SHOWN_AS_THEY_ARE]
    areas = dict(zip(tables["areas.csv"]["area"], texts, strict=False))
    waves = dict(zip(tables["waves.csv"]["wave"], [FORMULA, MARKUP], strict=False))
    for table in tables.values():
        for column, names in {"area": areas, "wave": waves}.items():
            if column in table:
                table[column] = table[column].replace(names)
    tables["areas.csv"]["neighbours"] = ""
    tables["areas.csv"].loc[: len(texts) - 1, "name"] = texts[::-1]
    projects = tables["projects.csv"]
    for column, texts in {"name": (MARKUP, LONG), "kind": (FORMULA, MARKUP), "trigger": (BRACES, UP)}.items():
        projects[column] = [texts[project == projects["project"][0]] for project in projects["project"]]
    tables["waves.csv"]["note"] = [MARKUP + "\nand a second line", FORMULA, LONG * 10, BRACES]
    tables["waves.csv"]["mode"] = MARKUP
    for file, column in (("survey.csv", "sex"), ("population.csv", "sex")):
        tables[file][column] = tables[file][column].replace({"f": MARKUP, "m": SUM})
    for name, table in tables.items():
        table.to_csv(folder / name, index=False)
    change_manifest(folder, name=MARKUP, notes=[MARKUP, FORMULA, LONG * 10])
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with the notebooks and the hostile city `town`."""
    root = tmp_path_factory.mktemp("hostile") / "project"
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    hostile_city(root / "data" / "raw" / "town")
    return root


class Page(HTMLParser):
    """Tags with their attributes, and all text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data


def check_page(text):
    """Nothing in the page runs, fetches or leads away, and its pictures are of a size that a reader can bear."""
    page = Page(text)
    assert not {"script", "iframe", "object", "embed", "form", "link", "base", "svg"} & {tag for tag, _ in page.tags}
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        assert attrs.get("href", "#").startswith("#"), attrs
        if tag == "img":
            assert attrs["src"].startswith("data:image/png;base64,")
            picture = base64.b64decode(attrs["src"].partition(",")[2])
            width, height = struct.unpack(">II", picture[16:24])
            assert width * height < 6e6 and max(width, height) < 4000, (width, height, attrs["alt"][:200])
    return page


def check_cells(folder):
    """No CSV of the folder holds a cell that a spreadsheet would run; a negative number is none."""
    number, found = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?"), 0
    for file in folder.glob("*.csv"):
        with file.open(encoding="utf-8", newline="") as rows:
            for cell in (cell for row in csv.reader(rows) for cell in row):
                found += cell.startswith(("'=", "'@"))
                assert not cell.startswith(("=", "+", "-", "@", "\t", "\r")) or number.fullmatch(cell), (file, cell)
    return found


def test_a_hostile_city_is_read_and_its_tables_run_nothing_in_a_spreadsheet(project):
    city = load_city("town", raw=project / "data" / "raw")
    assert city.name == f"{MARKUP} (simulated)" and set(SHOWN_AS_THEY_ARE[1:]) <= set(city.areas["area"])
    folder = write_processed(city, project / "processed")
    assert check_cells(folder) > 1000
    assert pd.read_csv(folder / "areas.csv")["population"].dtype.kind in "if"


def run(project, monkeypatch, notebook, **values):
    monkeypatch.setenv("WORKBENCH_ROOT", str(project))
    path = f"notebooks/{notebook}.ipynb"
    status = runs.run_notebook(path, {"city": "town"} | values, out=f"reports/{notebook}")
    assert status["state"] in ("done", "blocked"), status["reason"]
    folder = project / "reports" / notebook
    for cell in nbformat.read(folder / "notebook.ipynb", as_version=4).cells:
        for output in cell.get("outputs", []):
            assert not {"text/markdown", "text/latex", "application/javascript", "image/svg+xml"} & set(
                output.get("data", {})
            )
            check_page(output.get("data", {}).get("text/html", ""))
    check_cells(folder)
    return check_page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["00-map-projects", "01-check-city", "02-describe-insecurity"])
def test_a_notebook_shows_hostile_names_as_text(project, monkeypatch, notebook):
    assert MARKUP in run(project, monkeypatch, notebook).text


@pytest.mark.slow
def test_an_evaluation_and_the_index_show_hostile_names_as_text(project, monkeypatch):
    page = run(project, monkeypatch, "03-evaluate-projects", draws=50, tune=50, chains=2, outcomes="perceived;cohesion")
    assert MARKUP in page.text and LONG in page.text.replace("\n", "")
    made = json.loads((project / "reports" / "03-evaluate-projects" / "result.json").read_text(encoding="utf-8"))
    assert made["city"] == "town"
    if in_chromium.CHROMIUM:
        with in_chromium.chromium() as browser:
            for path in sorted((project / "reports").glob("*/report.html")):
                with in_chromium.opened(browser, path, width=390) as (shown, asked):
                    assert in_chromium.violations(shown) == [] and asked == []
                    assert in_chromium.wider_than_the_screen(shown) == []
    for path in index.write_index(project / "reports"):
        check_index = Page(path.read_text(encoding="utf-8"))
        assert not {"script", "b"} & {tag for tag, _attrs in check_index.tags}
