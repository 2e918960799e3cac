"""The command line: options and exit codes of the contract, with messages people can act on."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from workbench import cities, cli, plans, runs
from workbench.errors import ConvergenceError, SchemaError

OPTIONS = {
    "cities": ["--raw"],
    "check": ["--raw"],
    "evaluate": [
        "--raw", "--out", "--item", "--project", "--comparison", "--checks", "--lang", "--prior-from", "--discount", "-p",
    ],
    "register": ["--project", "--raw", "--out", "--question", "--decision", "-p"],
    "card": ["--out", "--raw"],
    "pool": ["--out", "--lang", "-p"],
    "simulate": [
        "--out", "--areas", "--treated", "--waves", "--respondents", "--projects", "--effect-pp", "--baseline-unsafe",
        "--baseline-gap-pp", "--trend", "--shock-sd", "--shock-rho", "--seed", "--shares", "--no-cohesion", "--no-incidents",
        "--cohesion-effect", "--cohesion-pull", "--confounding", "--irr", "--irr-neighbours", "--reporting",
    ],
    "import": ["--out", "--projects"],
    "run": ["--out", "--jobs", "--scheduler", "--resume", "--only", "--keep-going", "--minutes"],
    "index": ["--lang"],
    "share": ["--out", "--suppress", "--earlier", "--raw"],
}  # fmt: skip


def workbench(*arguments: str):
    return CliRunner().invoke(cli.app, list(arguments))


@pytest.fixture
def evaluation(tmp_path, monkeypatch):
    """Stand in for everything below the command line; returns what it was called with, and lets a test set the end."""
    seen = SimpleNamespace(
        status={"state": "done", "reason": "", "files": ["report.html", "result.json"]}, build=None, run=None
    )
    monkeypatch.setattr(plans, "load_city", lambda city, raw: SimpleNamespace(city=city, data_hash="abc"))
    monkeypatch.setattr(cities, "write_processed", lambda city, panel: None)

    def build(city, **options):
        seen.build = options

    def run(notebook, parameters, *, out, data_hash, say):
        seen.run = dict(parameters)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "result.json").write_text(json.dumps({"sentence": "We cannot tell."}))
        return seen.status

    monkeypatch.setattr(plans, "build_panel", build)
    monkeypatch.setattr(runs, "run_notebook", run)
    seen.out = ["--out", str(tmp_path / "out")]
    return seen


def test_help_answers_in_under_a_second_and_names_every_command():
    seconds = []
    while not seconds or (seconds[-1] >= 1 and len(seconds) < 5):  # a busy machine gets another try
        start = time.monotonic()
        answer = subprocess.run(
            [sys.executable, "-m", "workbench.cli", "--help"], capture_output=True, text=True, check=True, timeout=60
        )
        seconds.append(time.monotonic() - start)
    assert min(seconds) < 1
    assert all(f"  {command} " in answer.stdout for command in OPTIONS)


@pytest.mark.parametrize("command", OPTIONS)
def test_each_command_explains_exactly_the_options_of_the_contract(command):
    answer = workbench(command, "--help")
    assert answer.exit_code == 0
    named = {
        word.strip(",") for line in answer.stdout.splitlines() for word in line.split()[:2] if word.startswith("-")
    }
    assert named - {"-h", "--help", "--parameter"} == set(OPTIONS[command])


@pytest.mark.parametrize(
    "arguments",
    [
        ["evalate", "demo"],
        ["evaluate"],
        ["evaluate", "demo", "--lang", "de"],
        ["evaluate", "demo", "--checks", "some"],
        ["evaluate", "demo", "-p", "draws"],
        ["evaluate", "demo", "-p", "draws=many"],
        ["evaluate", "../demo"],
        ["evaluate", "demo", "--lang", "nl", "-p", "lang=fr"],
        ["simulate", "--out", "data/raw/x", "--areas", "many"],
        ["simulate", "--out", "data/raw/Not Allowed"],
        ["register", "demo"],
        ["register", "demo", "--project", "no-such"],
        ["import", "stadsmonitr", "pyproject.toml", "--out", "data/raw/x"],
        ["import", "stadsmonitor", "absent.xlsx", "--out", "data/raw/x"],
        ["check", "No-Such"],
        ["evaluate", "demo", "--prior-from", "no-such-folder"],
        ["evaluate", "demo", "--discount", "2"],
        ["card", "data/raw"],
        ["card", "reports/demo", "--out", "data/raw/demo/survey.csv"],
        ["pool", "no-such-folder", "--out", "reports/x"],
        ["pool", "absent.json", "--out", "reports/x"],
    ],
)
def test_bad_use_ends_with_2_and_no_traceback(arguments):
    answer = workbench(*arguments)
    assert answer.exit_code == 2, answer.output
    assert "Traceback" not in answer.output and answer.stderr.strip()


def test_an_unknown_parameter_is_refused_with_the_nearest_name(evaluation):
    answer = workbench("evaluate", "demo", *evaluation.out, "-p", "drawz=500")
    assert answer.exit_code == 2 and "did you mean 'draws'?" in answer.stderr
    assert evaluation.run is None


def test_an_unknown_city_is_refused_with_the_nearest_name(write_city_files, city_files):
    answer = workbench("check", "twon", "--raw", str(write_city_files(city_files)))
    assert answer.exit_code == 2 and "did you mean 'town'?" in answer.stderr


def test_an_unknown_layout_is_refused_with_the_nearest_name():
    answer = workbench("import", "stadsmonitr", "pyproject.toml", "--out", "data/raw/x")
    assert "did you mean 'stadsmonitor'?" in answer.stderr


def test_data_that_break_the_contract_end_with_2_all_faults_shown_and_nothing_run(evaluation, monkeypatch):
    def refused(city, raw):
        raise SchemaError("survey.csv line 3: weight -1\nsurvey.csv line 9: area 'x' is unknown")

    monkeypatch.setattr(plans, "load_city", refused)
    answer = workbench("evaluate", "demo", *evaluation.out)
    assert answer.exit_code == 2 and "line 3" in answer.stderr and "line 9" in answer.stderr
    assert evaluation.run is None


def test_options_reach_the_notebook_as_its_parameters(evaluation):
    answer = workbench(
        "evaluate", "demo", *evaluation.out, "--item", "unsafe_neighbourhood", "--project", "a", "--project", "b",
        "--comparison", "north; south", "--lang", "nl", "-p", "draws=250", "-p", "minimum_pp=1.5",
    )  # fmt: skip
    assert answer.exit_code == 0, answer.output
    expected = {"city": "demo", "item": "unsafe_neighbourhood", "projects": "a;b", "comparison": "north; south"}
    assert expected | {"lang": "nl", "draws": "250", "minimum_pp": "1.5"} == {
        name: value for name, value in evaluation.run.items() if name not in ("raw", "out")
    }
    assert evaluation.build["projects"] == "a;b"
    assert evaluation.build["comparison"] == "north; south"
    assert evaluation.build["minimum_pp"] == 1.5


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("blocked", 1), ("failed", 1)])
def test_the_exit_code_follows_the_state_and_the_sentence_and_report_are_printed(evaluation, state, code):
    evaluation.status |= {"state": state, "reason": "because"}
    answer = workbench("evaluate", "demo", *evaluation.out)
    assert answer.exit_code == code
    assert "We cannot tell." in answer.stdout and "report.html" in answer.stdout
    assert ("because" in answer.stderr) == (code == 1)


def test_check_says_what_was_found(write_city_files, city_files):
    raw = write_city_files(city_files)
    answer = workbench("check", "town", "--raw", str(raw))
    assert answer.exit_code == 0, answer.output
    for text in ("Little town", "2021, 2022, 2023", "48", "weighted", "unsafe_neighbourhood", "meet (1 area)"):
        assert text in answer.stdout, text


def test_check_lists_every_fault_and_ends_with_2(write_city_files, city_files):
    broken = city_files["survey.csv"].replace("1.0", "-1.0", 1).replace(",south,2022", ",sotuh,2022", 1)
    answer = workbench("check", "town", "--raw", str(write_city_files(city_files | {"survey.csv": broken})))
    assert answer.exit_code == 2
    assert "-1.0" in answer.stderr and "sotuh" in answer.stderr


def test_cities_lists_what_there_is(write_city_files, city_files, tmp_path):
    raw = write_city_files(city_files)
    answer = workbench("cities", "--raw", str(raw))
    assert answer.exit_code == 0 and "town" in answer.stdout and "Little town" in answer.stdout
    (tmp_path / "none").mkdir()
    assert "No city" in workbench("cities", "--raw", str(tmp_path / "none")).stdout


def test_simulate_passes_every_option_on(monkeypatch, tmp_path):
    from workbench import simulate

    seen = {}
    monkeypatch.setattr(simulate, "simulate_city", lambda out, **options: seen.update(options, out=out))
    given = [
        "--effect-pp",
        "0",
        "--trend",
        "-0.08",
        "--shares",
        "--no-incidents",
        "--cohesion-pull",
        "-0.4",
        "--irr",
        "1",
    ]
    answer = workbench("simulate", "--out", str(tmp_path / "x"), *given)
    assert answer.exit_code == 0, answer.output
    assert seen == {
        "out": tmp_path / "x", "areas": 24, "treated": 8, "waves": 5, "respondents": 6000, "projects": 4, "effect_pp": 0.0,
        "baseline_unsafe": 0.2, "baseline_gap_pp": 6.0, "trend": -0.08, "shock_sd": 0.1, "shock_rho": 0.0, "seed": 1,
        "shares": True, "no_cohesion": False, "no_incidents": True, "cohesion_effect": 0.15, "cohesion_pull": -0.4,
        "confounding": 0.0, "irr": 1.0, "irr_neighbours": 1.0, "reporting": 1.0,
    }  # fmt: skip


def test_a_prior_from_other_cities_and_no_prior_at_all_exclude_each_other():
    answer = workbench("evaluate", "demo", "--prior-from", "no-such-folder", "-p", "prior=flat")
    assert answer.exit_code == 2 and "leave one of them out" in answer.stderr


def test_a_card_whose_refit_does_not_settle_ends_with_1_and_its_reason(monkeypatch):
    from workbench import cards

    def unsettled(*_, **__):
        raise ConvergenceError("demo: the refit for the card did not settle")

    monkeypatch.setattr(cards, "build_card", unsettled)
    answer = workbench("card", "reports/demo")
    assert answer.exit_code == 1 and "did not settle" in answer.stderr and "Traceback" not in answer.stderr


@pytest.fixture
def planned(tmp_path, monkeypatch):
    """A plan of two rows whose runs end as the test says; returns a function that runs `workbench run` on it."""

    def run(*states, options=(), text="id,notebook,city\na,01-check-city,demo\nb,01-check-city,demo\n"):
        (tmp_path / "plan.csv").write_text(text)
        ends = iter(states)
        begun = {"files": [], "started": "2026-01-01T10:00:00+00:00", "finished": "2026-01-01T10:00:07+00:00"}

        def ended(*_, out, **__):
            state = next(ends)
            status = begun | {"state": state, "reason": "" if state == "done" else f"it is {state}", "parameters": {}}
            runs.provenance.write_json(Path(out) / "status.json", status)
            return status

        monkeypatch.setattr(runs, "run_notebook", ended)
        return workbench("run", str(tmp_path / "plan.csv"), "--out", str(tmp_path / "out"), "--jobs", "1", *options)

    return run


@pytest.mark.parametrize("states, code", [(("done", "done"), 0), (("done", "failed"), 1), (("blocked", "done"), 1)])
def test_a_plan_ends_with_0_only_when_every_run_is_done_and_writes_an_index(planned, tmp_path, states, code):
    answer = planned(*states)
    assert answer.exit_code == code, answer.output
    rows = [line.split() for line in answer.stdout.splitlines() if line.startswith((" a", " b", "a", "b"))]
    assert [row[:3] for row in rows] == [
        [name, "01-check-city", state] for name, state in zip("ab", states, strict=True)
    ]
    assert all("7" in row for row in rows)
    assert "s  a: done" in answer.stderr or "s  a: blocked, it is blocked" in answer.stderr
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_faulty_plan_ends_with_2_and_nothing_is_written(planned, tmp_path):
    answer = planned(text="id,notebook,city\na,01-check-city,demo\nb,01-check-city,dem\n")
    assert answer.exit_code == 2 and "plan.csv, line 3: no city 'dem'" in answer.stderr
    assert not (tmp_path / "out").exists()


def test_with_keep_going_the_refused_row_is_named_and_the_exit_code_is_1(planned):
    text = "id,notebook,city\na,01-check-city,demo\nb,01-check-city,dem\n"
    answer = planned("done", text=text, options=["--keep-going"])
    assert answer.exit_code == 1 and "refused: b: no city 'dem'" in answer.stdout


def test_an_index_of_a_folder_that_is_not_there_is_refused(tmp_path):
    assert workbench("index", str(tmp_path / "none")).exit_code == 2
