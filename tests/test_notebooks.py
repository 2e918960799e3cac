"""The notebooks as they are kept: readable, parameterised, without outputs; and the tables that they make themselves."""

import ast
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cards import card, project, write
from test_pooling import drawn

from workbench import parameters, pooling
from workbench.simulate import simulate_city

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
    does = [cell for cell in cells if "parameters" not in cell["metadata"].get("tags", [])]
    lines = [line for cell in does for line in source(cell).splitlines() if line.strip()]
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


# --- what notebooks make themselves -------------------------------------------------------------------------------------


def test_a_city_is_told_by_its_counts_and_areas_with_the_fewest_answers_stand_first(
    shown, city_files, write_city_files
):
    lines = city_files["survey.csv"].splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("rs20222") and not line.startswith("re2023")]
    kept = [line.replace("never", "") if ",2021," in line else line for line in kept]
    found = shown("01-check-city", city="town", raw=str(write_city_files(city_files | {"survey.csv": "".join(kept)})))
    facts = dict(found["What the files hold"].values.tolist())
    assert facts == {
        "areas": "4", "waves": "3", "respondents": "43", "projects": "1", "items": "unsafe_neighbourhood", "simulated": "yes"
    }  # fmt: skip
    counts = found["Answers by area and wave"]
    assert counts.columns.tolist() == ["area", "2021", "2022", "2023"]
    assert counts.values.tolist() == [["East", 4, 4, 0], ["South", 4, 3, 4], ["North", 4, 4, 4], ["West", 4, 4, 4]]
    items = [["unsafe_neighbourhood", "25.0 % missing", "0.0 % missing", "0.0 % missing"]]
    assert found["Items and missing answers"].values.tolist() == items


def test_published_shares_are_counted_as_such_and_an_assumed_number_of_answers_is_called_assumed(shown, tmp_path):
    size = {"areas": 4, "treated": 1, "waves": 3, "respondents": 500, "projects": 1, "seed": 4}
    simulate_city(tmp_path / "town", **size, shares=True, no_cohesion=True)
    table = pd.read_csv(tmp_path / "town" / "shares.csv", dtype=str).drop(columns="n")
    other = table[table["wave"] < table["wave"].max()].assign(item="flanders_neighbourhood")
    pd.concat([table, other]).to_csv(tmp_path / "town" / "shares.csv", index=False)
    manifest = tmp_path / "town" / "city.toml"
    manifest.write_text(manifest.read_text().replace("[shares]", "[shares]\nassumed_n = 300"))
    found = shown("01-check-city", city="town", raw=str(tmp_path), lang="nl")
    facts = dict(found["Wat de bestanden bevatten"].values.tolist())
    assert facts["gepubliceerde aandelen"] == str(len(table) + len(other)) and facts["gesimuleerd"] == "ja"
    counts = found["Aangenomen aantal antwoorden per gebied en meting, niet gepubliceerd"]
    assert counts.columns[0] == "gebied" and counts.iloc[:, 1:].eq(300).all(axis=None)
    items = found["Vragen en ontbrekende antwoorden"].set_index("vraag")
    assert items.loc["flanders_neighbourhood"].tolist() == ["ja", "ja", "nee"]
    assert items.loc["unsafe_neighbourhood"].tolist() == ["ja"] * 3


def test_project_areas_come_first_and_then_the_least_safe(shown, city_files, write_city_files):
    rows = city_files["survey.csv"].replace(",rarely", ",never").replace(",often", ",never").splitlines(keepends=True)
    unsafe = [line.replace(",never", ",often") if ",east," in line else line for line in rows]
    unsafe = [line.replace(",never", ",often") if ",north," in line and ",2023," in line else line for line in unsafe]
    unsafe = [line.replace(",sometimes", ",never") if ",south," in line else line for line in unsafe]
    raw = str(write_city_files(city_files | {"survey.csv": "".join(unsafe)}))
    table = shown("02-describe-insecurity", city="town", raw=raw)["Percent feeling unsafe, by area and wave"]
    assert table.columns.tolist() == ["area", "2021", "2022", "2023"]
    assert table["area"].tolist() == ["● North", "East", "West", "South"]
    assert table.iloc[1, 1:].tolist() == [100.0] * 3 and table["2023"].tolist()[::3] == [100.0, 0.0]


@pytest.fixture
def rated(city_files, write_city_files, tmp_path):
    """Meet: agenda 1 and 4, communication 2 twice, backbone once 0; its areas unsafe, and no effect to be seen."""
    rows = ["ann,common-agenda,1", "bob,common-agenda,4", "ann,continuous-communication,2", "ann,backbone,0"]
    rows = [f"meet,2021-05-01,{row}" for row in [*rows, "bob,continuous-communication,2", "bob,backbone,"]]
    scores = "\n".join(["project,date,rater,condition,score", *rows]) + "\n"
    manifest = city_files["city.toml"] + '\n[collective_impact]\nfile = "collective_impact.csv"\n'
    effect = {"mean": -0.5, "lower90": -2.0, "upper90": 1.0, "verdict": "cannot tell"}
    result = {
        "city": "town",
        "item": "unsafe_neighbourhood",
        "unsafe_from": "sometimes",
        "by_project": {"meet": effect},
    }
    (tmp_path / "result.json").write_text(json.dumps(result), encoding="utf-8")
    raw = write_city_files(city_files | {"city.toml": manifest, "collective_impact.csv": scores})
    return {"city": "town", "raw": str(raw), "run": str(tmp_path), "threshold": 17.5}


def test_scores_are_shown_with_their_range_where_two_rated_and_the_weakest_link_by_name(shown, rated):
    found = shown("08-collective-impact", **rated)
    table = found["Scores by condition, 0 to 4: mean (lowest – highest)"]
    row = ["Meeting house", "2.5 (1 – 4)", "not rated", "not rated", "2 (2 – 2)", "0", "backbone support"]
    assert table.values.tolist() == [row] and [table.columns[0], table.columns[-1]] == ["project", "weakest link"]
    rubric = found["The rubric of Collective Impact: what each level looks like, and what leads to the next"]
    assert rubric["level"].tolist() == [0, 1, 2, 3, 4] * 5 and rubric["condition"].nunique() == 5
    assert (rubric["next step"].eq("") == rubric["level"].eq(4)).all() and rubric["what it looks like"].ne("").all()


def test_the_gap_report_shows_what_a_gap_is_made_of_and_the_next_steps_of_it(shown, rated):
    found = shown("08-collective-impact", **rated)
    gap = ["Meeting house", "50.0 %", "17.5 %", "cannot tell: −0.5 (−2.0 to +1.0)", "yes"]
    assert found["Where insecurity is high and no fall is visible"].values.tolist() == [gap]
    steps = found["The lowest conditions and their next steps"]
    assert steps["condition"].tolist() == ["backbone support", "continuous communication"]
    assert steps["project"].tolist() == ["Meeting house"] * 2 and steps["score"].tolist() == ["0", "2"]


def test_a_gap_of_a_project_without_scores_asks_for_them(shown, rated):
    Path(rated["raw"], "town", "collective_impact.csv").unlink()
    manifest = Path(rated["raw"], "town", "city.toml")
    manifest.write_text(manifest.read_text().split("[collective_impact]")[0])
    steps = shown("08-collective-impact", **rated)["The lowest conditions and their next steps"]
    assert steps["next step"].tolist() == ["No scores yet: have two people score it by the rubric."]


def test_cards_pooled_and_left_out_are_told_apart_and_every_number_is_the_cards_or_the_draws(
    shown, tmp_path, monkeypatch
):
    write(tmp_path, card("aa"))
    write(tmp_path, card("bb", projects=(project("hosts", without_pp=50.0), project("greens", without_pp=50.0))))
    write(tmp_path, card("cc", made="2025-12-31", hashes=card("aa")["hashes"]))
    idata = drawn(-0.2)
    theta = np.broadcast_to([-0.1, -0.3, -0.2, -0.2], (4, 1000, 4)) + 0.0
    idata["posterior"] = idata["posterior"].to_dataset().assign(theta=(("chain", "draw", "project"), theta))
    idata.attrs |= dict.fromkeys(("model", "prior", "discount", "draws", "tune", "chains", "seed", "sampler"), "")
    refits = pd.DataFrame({"kind": ["prior", "without", "project"], "name": ["wide", "aa", "greening"]})
    refits = refits.assign(mean=-0.1, sd=0.05, lower90=-0.2, upper90=0.0)
    for name, made in {"pool_sampler": None, "fit_pool": idata, "refits": refits}.items():
        monkeypatch.setattr(pooling, name, lambda *_, made=made, **__: made)
    found = shown("07-compare-cities", cards=str(tmp_path))
    used = ["pooled", "pooled", "left out: the same data as another card"]
    cards = found["Evidence cards"]
    assert cards["card"].tolist() == ["aa.json", "bb.json", "cc.json"] and cards["in this pool"].tolist() == used
    assert cards["projects"].tolist() == ["2", "2", ""] and cards["made"].tolist()[0] == "2026-01", "months, not days"
    forest = found["Effects of projects in percentage points, by themselves and pooled"]
    assert forest["project"].tolist()[0] == "Street hosts, AA" and len(forest) == 6
    # 100 (expit(logit(0.25) - 0.1) - 0.25), and the same at -0.1 -+ 1.645 x 0.2
    assert forest.iloc[0, 1:3].tolist() == ["−1.8 (−7.2 to +4.5)", "−1.8 (−1.8 to −1.8)"]
    assert forest.iloc[4:, 1].tolist() == ["", ""]
    base = found["The mean effect at each city's base, in percentage points"]
    assert base.iloc[:, :3].values.tolist() == [["AA", "25.0 %", "−3.6"], ["BB", "50.0 %", "−5.0"]]
    others = found["The mean under other priors, and without each city"]
    assert others.iloc[:, 0].tolist() == ["wide prior", "without AA", "greening, against the mean"]
    assert others.iloc[0, 1:].tolist() == ["−0.10", "−0.20 to 0.00"]
