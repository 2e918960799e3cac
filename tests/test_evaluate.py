"""One evaluation from the command line, and what docs/data.md and README.md promise of its files. Few runs serve all claims."""

import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import in_chromium
import nbformat
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from workbench import provenance, runs, verdict
from workbench.cities import load_city
from workbench.simulate import simulate_city

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parent.parent
FILES = {"report.html", "notebook.ipynb", "posterior.nc", "effects.csv", "result.json", "status.json"}
SUMMARY = ["mean", "sd", "lower50", "upper50", "lower90", "upper90", "p_fall", "p_fall_minimum", "p_rise"]
COLUMNS = ["estimand", "project", "area", "item", "scale", "event_time", "category", *SUMMARY]
LENGTH = ["-p", "draws=600", "-p", "tune=400", "-p", "seed=5"]
SHORT = [*LENGTH, "-p", "outcomes=perceived"]


def workbench(project: Path, *words: str) -> SimpleNamespace:
    """Run a command as a user would, in another folder, with `project` as the project root."""
    env = os.environ | {"WORKBENCH_ROOT": str(project)}
    answer = subprocess.run(
        [sys.executable, "-m", "workbench.cli", *words],
        check=False, capture_output=True, text=True, env=env, cwd=project.parent, timeout=600,
    )  # fmt: skip
    folder = project / (words[words.index("--out") + 1] if "--out" in words else "reports/town")
    return SimpleNamespace(code=answer.returncode, told=answer.stdout, error=answer.stderr, folder=folder)


def evaluate(project: Path, *options: str) -> SimpleNamespace:
    return workbench(project, "evaluate", "town", *options)


def of_json(run: SimpleNamespace, name: str) -> dict:
    def refused(word):
        raise AssertionError(f"{name} holds {word}, which is no JSON")

    return json.loads((run.folder / name).read_text(encoding="utf-8"), parse_constant=refused)


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A project folder with the notebooks and one small simulated city, `town`."""
    root = tmp_path_factory.mktemp("evaluate") / "project"
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks")
    shutil.copy(REPOSITORY / "pyproject.toml", root)
    simulate_city(
        root / "data" / "raw" / "town", areas=10, treated=4, waves=4, respondents=4000, projects=2, effect_pp=-4.0,
        baseline_unsafe=0.2, baseline_gap_pp=6.0, trend=0.0, shock_sd=0.1, shock_rho=0.0, seed=11, shares=False,
    )  # fmt: skip
    return root


@pytest.fixture(scope="session")
def done(project) -> SimpleNamespace:
    return evaluate(project, *LENGTH)


@pytest.fixture(scope="session")
def dutch(project, done) -> SimpleNamespace:
    return evaluate(project, *SHORT, "--lang", "nl", "--out", "reports/dutch")


@pytest.fixture(scope="session")
def blocked(project, done) -> SimpleNamespace:
    """The same city with a new questionnaire in some of the areas without a project, few draws."""
    folder = project / "elsewhere" / "town"
    shutil.copytree(project / "data" / "raw" / "town", folder)
    waves = pd.read_csv(folder / "waves.csv", dtype=str, keep_default_na=False)
    treated = set(pd.read_csv(folder / "projects.csv")["area"])
    others = [area for area in pd.read_csv(folder / "areas.csv")["area"] if area not in treated]
    waves.loc[waves.index[-1], ["known_break", "break_areas"]] = ["true", ";".join(others[:3])]
    waves.to_csv(folder / "waves.csv", index=False)
    few = ["-p", "chains=2", "-p", "draws=40", "-p", "tune=60", "-p", "outcomes=perceived"]
    return evaluate(project, "--raw", str(folder.parent), "--out", "reports/blocked", *few)


def test_it_ends_with_0_and_tells_the_sentence_and_where_the_report_is(done):
    assert done.code == 0, done.error
    assert of_json(done, "result.json")["sentence"] in done.told.splitlines()
    assert "reports/town/report.html" in done.told
    assert "Traceback" not in done.error and "Warning" not in done.error


def test_it_leaves_the_six_files_of_an_evaluation_and_no_other(done, project):
    assert {file.name for file in done.folder.iterdir()} == FILES
    assert [folder.name for folder in (project / "reports").glob(".*")] == []
    kept = {file.name for file in (project / "data" / "processed" / "town").iterdir()}
    assert kept == {
        "respondents.csv",
        "areas.csv",
        "waves.csv",
        "projects.csv",
        "population.csv",
        "collective_impact.csv",
        "indicators.csv",
        "incidents.csv",
        "panel.nc",
        "city.json",
    }


def test_status_says_how_it_ended_with_hashes_of_what_went_in_and_came_out(done, project):
    status = of_json(done, "status.json")
    assert set(status) == {"state", "reason", "notebook", "parameters", "hashes", "files", "started", "finished"}
    assert (status["state"], status["reason"]) == ("done", "")
    assert status["parameters"]["draws"] == 600 and status["parameters"]["seed"] == 5
    assert (status["parameters"]["raw"], status["parameters"]["out"]) == ("data/raw", "reports/town")
    assert set(status["files"]) == FILES - {"status.json"}
    assert set(status["hashes"]) == {"parameters", "data", "code", "posterior"}
    assert status["hashes"]["posterior"] == hashlib.sha256((done.folder / "posterior.nc").read_bytes()).hexdigest()
    processed = json.loads((project / "data" / "processed" / "town" / "city.json").read_text())
    result = of_json(done, "result.json")["provenance"]
    assert status["hashes"]["data"] == processed["data_hash"] == result["data_hash"]
    assert status["hashes"]["code"] == result["code_hash"]


def test_result_has_exactly_the_keys_of_the_contract(done):
    result = of_json(done, "result.json")
    assert set(result) == {
        "city", "simulated", "item", "unsafe_from", "minimum_pp", "window", "verdict", "sentence", "grade", "att_pp",
        "by_project", "checks", "diagnostics", "n", "registration", "evidence", "seconds", "provenance", "cohesion",
        "recorded", "outcomes",
    }  # fmt: skip
    assert list(result["att_pp"]) == SUMMARY
    assert len(result["by_project"]) == 2
    assert all(list(row) == [*SUMMARY, "verdict", "cost_per_resident_eur"] for row in result["by_project"].values())
    assert all(set(check) == {"name", "status", "message"} for check in result["checks"])
    assert {check["status"] for check in result["checks"]} <= {"pass", "warn", "not possible"}
    assert set(result["diagnostics"]) == {"rhat_max", "ess_bulk_min", "ess_tail_min", "divergences"}
    assert result["n"] == {"respondents": 4000, "areas": 10, "treated_areas": 4, "waves": 4}
    assert set(result["seconds"]) == {"load", "compile", "sample", "total"}
    assert result["seconds"]["total"] >= result["seconds"]["compile"] + result["seconds"]["sample"] > 0


def test_effects_has_exactly_the_columns_and_estimands_of_the_contract(done):
    effects = pd.read_csv(done.folder / "effects.csv")
    assert list(effects) == COLUMNS
    felt, recorded = (
        {"att", "att_by_project", "att_by_area", "att_by_event_time", "att_by_category"},
        {"irr", "irr_net"},
    )
    recorded |= {"irr_neighbours", "incidents_averted"}
    assert set(effects["estimand"]) == felt | {"cohesion_att"} | recorded
    assert set(effects["scale"]) == {"pp", "latent", "sd", "ratio", "incidents"}
    assert set(effects.loc[effects["estimand"].isin(recorded), "item"]) == {"all", "burglary", "vandalism", "nuisance"}
    rows = effects[effects["scale"] == "pp"]
    assert rows[SUMMARY[:-3]].notna().all(axis=None)
    assert (rows["lower90"] <= rows["lower50"]).all() and (rows["upper50"] <= rows["upper90"]).all()
    by_category = rows[(rows["estimand"] == "att_by_category") & rows["project"].isna()]
    assert by_category["mean"].sum() == pytest.approx(0, abs=1e-6)


def test_result_effects_and_draws_say_the_same(done):
    result, effects = of_json(done, "result.json"), pd.read_csv(done.folder / "effects.csv")
    row = effects[(effects["estimand"] == "att") & (effects["scale"] == "pp")].iloc[0]
    with xr.open_datatree(done.folder / "posterior.nc", engine="h5netcdf") as tree:
        draws = tree["posterior"]["att"].values.astype(float)
    assert [result["att_pp"][name] for name in SUMMARY] == pytest.approx([row[name] for name in SUMMARY], rel=1e-12)
    assert row["mean"] == pytest.approx(draws.mean(), rel=1e-4)
    assert row["p_fall_minimum"] == pytest.approx((draws < -result["minimum_pp"]).mean(), abs=1e-3)
    assert [row["lower90"], row["upper90"]] == pytest.approx(list(np.quantile(draws, [0.05, 0.95])), rel=1e-4)


def test_draws_are_kept_as_float32(done):
    with xr.open_datatree(done.folder / "posterior.nc", engine="h5netcdf") as tree:
        kinds = {str(array.dtype) for node in tree.subtree for array in node.data_vars.values()}
    assert "float64" not in kinds and "float32" in kinds


def test_no_output_holds_a_path_of_this_machine(done, project):
    for file in done.folder.iterdir():
        text = re.sub(r"[A-Za-z0-9+/=\\n]{400,}", "", file.read_bytes().decode("latin-1"))  # pictures
        for private in (str(project), str(REPOSITORY), sys.prefix, sys.base_prefix, f"{Path.home()}/", ".part"):
            assert private not in text, (file.name, private)
        found = re.search(r"(?<![\w.~:<-])/(?:home|root|tmp|usr|opt|var|mnt|Users|private|work)/[\w.]", text)
        assert not found, (file.name, text[max(0, found.start() - 60) : found.end() + 60])


def test_the_notebook_is_valid_and_ran_to_its_end_without_an_error(done):
    nb = nbformat.read(done.folder / "notebook.ipynb", as_version=4)
    nbformat.validate(nb)
    of_json(done, "notebook.ipynb")
    cells = [cell for cell in nb.cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or (o.output_type == "stream" and o.name == "stderr")]


def test_the_sentence_stands_unbroken_in_the_report(done, dutch):
    for run in (done, dutch):
        page = (run.folder / "report.html").read_text(encoding="utf-8")
        assert html.escape(of_json(run, "result.json")["sentence"], quote=False) in page


def test_the_report_is_one_file_that_fetches_and_runs_nothing(done):
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower() and "@import" not in page and "url(" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:image/|#)""", page)
    images = re.findall(r"<img\b[^>]*>", page)
    assert len(images) >= 5
    assert all(re.search(r'alt="[^"]{20,}"', image) for image in images)


def test_simulated_is_said_in_the_report_its_pictures_and_the_result(done):
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert of_json(done, "result.json")["simulated"] is True
    assert "simulated" in re.sub(r"<[^>]+>", " ", page).lower()
    alts = re.findall(r'<img\b[^>]*alt="([^"]*)"', page)
    assert [alt for alt in alts if "simulated" not in alt.lower()] == []


def test_the_same_seed_gives_the_same_effects_to_the_last_bit_in_any_language_with_or_without_other_outcomes(
    done, dutch
):
    assert dutch.code == 0, dutch.error
    alone, beside = ((run.folder / "effects.csv").read_text(encoding="utf-8").splitlines() for run in (dutch, done))
    assert alone == beside[: len(alone)] and len(beside) > len(alone)
    assert of_json(done, "result.json")["att_pp"] == of_json(dutch, "result.json")["att_pp"]


def test_felt_lived_and_recorded_stand_side_by_side_on_page_one(done, dutch):
    result, page = (
        of_json(done, "result.json"),
        html.unescape((done.folder / "report.html").read_text(encoding="utf-8")),
    )
    for row in (*result["outcomes"]["told"].values(), {"head": result["outcomes"]["together"], "text": ""}):
        assert row["head"] in page and row["text"] in page
    effects = pd.read_csv(done.folder / "effects.csv")
    for name, estimand, key in (("cohesion", "cohesion_att", "att_sd"), ("recorded", "irr", "irr")):
        whole = effects["project"].isna() & effects["event_time"].isna() & effects["item"].ne("burglary")
        row = effects[whole & (effects["estimand"] == estimand)].iloc[0]
        assert result[name][key]["mean"] == pytest.approx(row["mean"], rel=1e-9)
        assert result[name]["verdict"] in (*verdict.VERDICTS, "blocked")
    assert sum(result["cohesion"]["quadrants"].values()) == pytest.approx(1)
    assert not {"cohesion", "recorded"} & set(of_json(dutch, "result.json"))
    assert "Gevoeld, beleefd" not in (dutch.folder / "report.html").read_text(encoding="utf-8")


def test_the_report_is_in_the_language_asked_for(done, dutch):
    page = (dutch.folder / "report.html").read_text(encoding="utf-8")
    assert '<html lang="nl"' in page and "gesimuleerd" in page.lower()
    assert of_json(dutch, "result.json")["sentence"] != of_json(done, "result.json")["sentence"]
    assert of_json(dutch, "result.json")["verdict"] == of_json(done, "result.json")["verdict"]


def test_a_break_in_some_areas_blocks_and_a_report_says_so(blocked):
    assert blocked.code == 1, blocked.error
    status, result = of_json(blocked, "status.json"), of_json(blocked, "result.json")
    assert status["state"] == "blocked" and "wave break" in status["reason"]
    assert status["parameters"]["raw"] == "elsewhere"
    assert (result["verdict"], result["grade"]) == ("blocked", 1)
    assert {"name": "wave break", "status": "fail"}.items() <= next(
        c for c in result["checks"] if c["name"] == "wave break"
    ).items()
    assert {file.name for file in blocked.folder.iterdir()} == FILES
    assert html.escape(result["sentence"], quote=False) in (blocked.folder / "report.html").read_text(encoding="utf-8")
    assert "blocked: " in blocked.error


def test_the_sensitivity_notebook_runs_beside_an_evaluation_and_leaves_it_alone(done, project, monkeypatch):
    monkeypatch.setenv("WORKBENCH_ROOT", str(project))
    before = {file.name: file.read_bytes() for file in done.folder.iterdir()}
    few = {"city": "town", "chains": 2, "draws": 40, "tune": 60, "seed": 5}
    notebook = project / "notebooks" / "04-check-sensitivity.ipynb"
    status = runs.run_notebook(notebook, few, out=project / "reports" / "town-sensitivity")
    folder = project / "reports" / "town-sensitivity"
    # So few draws have not settled, and a page whose verdict is blocked says so.
    assert (status["state"], status["files"]) == ("done", ["notebook.ipynb", "report.html", "sensitivity.csv"])
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "No verdict" in page and "Blocked: a check failed" in page and "Simulated city" in page
    alts = re.findall(r'<img\b[^>]*alt="([^"]*)"', page)
    assert len(alts) == 6 and all("simulated" in alt and re.search(r"\d", alt) for alt in alts)
    table = pd.read_csv(folder / "sensitivity.csv")
    assert set(table["picture"]) >= {"leads", "bounds", "placebo date", "placebo areas", "leave one out", "other ways"}
    assert {file.name: file.read_bytes() for file in done.folder.iterdir()} == before


def test_a_refusal_touches_nothing(done, project):
    there = {file: file.stat().st_mtime_ns for file in project.rglob("*")}
    for options in (["-p", "drws=100"], ["--comparison", "nowhere"], ["--item", "unsafe"], ["--project", "x"]):
        again = evaluate(project, *options)
        assert again.code == 2 and "Traceback" not in again.error, again.error
    (project.parent / "file").write_text("")
    assert evaluate(project, "--out", str(project.parent / "file" / "x")).code == 2
    assert {file: file.stat().st_mtime_ns for file in project.rglob("*")} == there


@in_chromium.needs_chromium
def test_the_report_is_accessible_asks_for_nothing_and_fits_a_phone_and_paper(done, dutch):
    with in_chromium.chromium() as browser:
        for run in (done, dutch):
            with in_chromium.opened(browser, run.folder / "report.html", width=390) as (shown, asked):
                assert in_chromium.violations(shown) == [] and asked == []
                assert in_chromium.wider_than_the_screen(shown) == []
            with in_chromium.opened(browser, run.folder / "report.html", width=717) as (shown, asked):
                shown.emulate_media(media="print")
                assert in_chromium.cut_off(shown) == [] and in_chromium.wider_than_the_screen(shown) == []


@pytest.fixture(scope="session")
def cards(project, done) -> SimpleNamespace:
    """The run's card, and in the same folder that of a neighbour: the same numbers under another name, sealed anew."""
    made = workbench(project, "card", "reports/town", "--out", "evidence/town.json")
    assert made.code == 0, made.error
    own = json.loads((project / "evidence" / "town.json").read_text(encoding="utf-8"))
    other = own | {
        "city": "neighbour",
        "city_name": "Neighbour (simulated)",
        "hashes": own["hashes"] | {"data": "0" * 64},
    }
    provenance.write_json(project / "evidence" / "neighbour.json", provenance.seal(other))
    return SimpleNamespace(folder=project / "evidence", own=own)


def test_a_card_says_what_the_data_say_beside_the_prior(cards, done):
    posterior = of_json(done, "result.json")["by_project"]
    for i, project in enumerate(cards.own["projects"]):
        own_sd = cards.own["pp"]["covariance"][i][i] ** 0.5
        assert own_sd > 1.2 * posterior[project["project"]]["sd"]  # nothing pulls the estimate to zero
    assert cards.own["posterior_pp"] == of_json(done, "result.json")["att_pp"]


def test_a_card_holds_no_respondent_and_no_area(cards, project):
    text = (cards.folder / "town.json").read_text(encoding="utf-8")
    areas = pd.read_csv(project / "data" / "raw" / "town" / "areas.csv", dtype=str)
    told = re.findall(r'"([^"]*)"', text)
    assert not set(told) & (set(areas["area"]) | set(areas["name"])) and "r000001" not in text


def test_cards_are_pooled_into_a_report(cards, project):
    pooled = workbench(project, "pool", "evidence", "--out", "reports/pool", "-p", "draws=500", "--lang", "fr")
    assert pooled.code == 0, pooled.error
    assert {file.name for file in pooled.folder.iterdir()} == {
        "report.html", "notebook.ipynb", "effects.csv", "pooled.json", "status.json",
    }  # fmt: skip
    result = of_json(pooled, "pooled.json")
    assert result["sentence"] in html.unescape((pooled.folder / "report.html").read_text(encoding="utf-8"))
    assert [card["city"] for card in result["cards"]] == ["neighbour", "town"]
    # Two cards that say the same: the pooled mean lies between what they say and nothing.
    mean = np.mean(cards.own["latent"]["mean"])
    assert 0 < result["mean"]["latent"]["mean"] / mean < 1


def test_other_cities_cards_can_be_the_prior_and_the_result_without_them_is_told(cards, project):
    leaned = evaluate(project, *SHORT, "--prior-from", "evidence", "--out", "reports/leaned")
    assert leaned.code == 0, leaned.error
    evidence = of_json(leaned, "result.json")["evidence"]
    assert evidence["cards"] == ["neighbour.json"]
    assert evidence["left_out"] == [
        {"file": "town.json", "city_name": "Town (simulated)", "reason": "the city's own card"}
    ]
    assert evidence["told"] in html.unescape((leaned.folder / "report.html").read_text(encoding="utf-8"))
    assert evidence["alone"]["mean"] > of_json(leaned, "result.json")["att_pp"]["mean"]


def test_a_changed_card_and_a_small_cell_are_refused_and_nothing_is_written(cards, project, done):
    changed = (cards.folder / "town.json").read_text(encoding="utf-8").replace('"grade": 4', '"grade": 5')
    (project / "changed.json").write_text(changed, encoding="utf-8")
    refused = workbench(project, "pool", "changed.json", "evidence", "--out", "reports/refused")
    assert refused.code == 2 and "changed.json: its content is not what its sha256 says" in refused.error
    assert not refused.folder.exists()
    folder, run = project / "few" / "town", project / "reports" / "few"
    shutil.copytree(project / "data" / "raw" / "town", folder)
    shutil.copytree(done.folder, run)
    rows = pd.read_csv(folder / "survey.csv", dtype=str)
    here = (rows["area"] == rows["area"].iloc[0]) & (rows["wave"] == rows["wave"].iloc[0])
    rows.drop(rows.index[here][4:]).to_csv(folder / "survey.csv", index=False)
    status = json.loads((run / "status.json").read_text(encoding="utf-8"))
    status["hashes"]["data"] = load_city("town", raw=folder.parent).data_hash
    provenance.write_json(run / "status.json", status)
    small = workbench(project, "card", "reports/few", "--raw", str(folder.parent))
    assert small.code == 2 and "fewer than 10 respondents in" in small.error and "(4)" in small.error
    assert not (run / "card.json").exists()
