"""What is written down before outcomes are opened, and what an evaluation does otherwise. All cities are simulated."""

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from workbench import cli, provenance, registration
from workbench.cities import load_city
from workbench.errors import ParameterError
from workbench.panel import build_panel
from workbench.registration import compare, plan, registered, save, sentence, summary

VALUES = {"item": "", "unsafe_from": "", "minimum_pp": None, "window_months": "6-24", "comparison": "", "prior": "wide"}
LATER = "project,area,kind,name,start,focus\nnext,west,meeting,Next door,2030-01-01,public-space\n"
SCORES = (
    "project,date,rater,condition,score\nmeet,2021-05-01,bob,backbone,1\nmeet,2021-08-01,bob,backbone,\n"
    "meet,2021-05-01,ann,backbone,3\nmeet,2021-05-01,ann,common-agenda,0\n"
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A project folder of its own, so that no registration of the repository is read or written."""
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path))
    notebooks = Path(cli.__file__).parents[2] / "notebooks"
    shutil.copytree(notebooks, tmp_path / "notebooks")
    return tmp_path


@pytest.fixture
def town(root, city_files, write_city_files):
    """Return a function that loads the city `town`, with some files replaced."""
    return lambda **files: load_city(
        "town", raw=write_city_files(city_files | {f"{name}.csv": text for name, text in files.items()})
    )


def kept(city, *, project="meet", change=None, **values):
    """Register with those values, then change the file's content without sealing it anew."""
    file = save(plan(city, VALUES | values, project=project), out=None, raw="data/raw")
    if change:
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
    return json.loads(file.read_text())


def deviations(city, *, prior="wide", **options):
    """Field -> what was registered and what is used."""
    rows = compare(city, build_panel(city, **options), prior=prior, lang="en")
    return {row.field: (row.registered_value, row.used_value) for row in rows.itertuples()}


def test_a_registration_holds_what_will_be_done_and_is_sealed(town):
    city = town(collective_impact=SCORES)
    made = plan(city, VALUES, project="meet")
    assert set(made) == {
        "schema", "made", "city", "city_name", "simulated", "project", "question", "decision", "item", "unsafe_from",
        "minimum_pp", "window_months", "comparison", "prior", "collective_impact", "data_hash", "waves_after_start",
        "notes", "workbench", "sha256",
    }  # fmt: skip
    assert made["project"] == {
        "id": "meet", "name": "Meeting house", "kind": "meeting", "focus": "", "areas": ["north"], "start": "2021-09-01",
        "full": "2021-12-01",
    }  # fmt: skip
    assert (made["schema"], made["simulated"], made["prior"]) == ("registration-1", True, "wide")
    assert made["made"] == datetime.now(UTC).date().isoformat() and made["data_hash"] == city.data_hash
    assert (made["item"], made["unsafe_from"], made["minimum_pp"]) == ("unsafe_neighbourhood", "sometimes", 2.0)
    assert made["comparison"] == ["east", "south", "west"]
    assert made["question"].startswith("Meeting house: ") and "sometimes, often, always" in made["question"]
    assert made["decision"] == "whether to go on with the project"
    # Bob no longer knows about the backbone: ann's 3 is left, and her 0 for the agenda.
    assert made["collective_impact"]["conditions"] == {"common-agenda": 0.0, "backbone": 3.0}
    assert made["collective_impact"]["score"] == 1.5
    assert provenance.sealed(json.loads(json.dumps(made)))


def test_waves_that_ended_after_the_start_are_named_because_outcomes_may_have_been_seen(town):
    made = plan(town(), VALUES, project="meet")
    assert made["waves_after_start"] == ["2022", "2023"]
    assert [note for note in made["notes"] if "2022, 2023" in note and "outcomes may have been seen" in note]


def test_a_project_that_starts_after_the_last_wave_can_be_registered(town):
    made = plan(town(projects=LATER), VALUES, project="next", question="Why?", decision="to stop or not")
    assert made["waves_after_start"] == [] and made["collective_impact"] is None
    assert (made["project"]["focus"], made["project"]["full"]) == ("public-space", "2030-01-01")
    assert (made["question"], made["decision"]) == ("Why?", "to stop or not")
    assert made["minimum_pp"] is None and made["notes"] == [
        "minimum_pp: 2 points, or a quarter of the baseline share if that is less"
    ]


def test_areas_in_which_the_item_was_not_asked_are_no_comparison_areas_unless_named(town, city_files):
    city = town(survey="\n".join(line for line in city_files["survey.csv"].split("\n") if ",west," not in line))
    assert plan(city, VALUES, project="meet")["comparison"] == ["east", "south"]
    assert plan(city, VALUES | {"comparison": "west; east"}, project="meet")["comparison"] == ["east", "west"]


def test_every_fault_is_told_at_once(town):
    city = town()
    with pytest.raises(ParameterError) as caught:
        plan(city, VALUES | {"item": "unsafe", "comparison": "wets", "window_months": "9-6"}, project="meat")
    for part in ("'unsafe'", "'meat'", "did you mean 'meet'", "'wets'", "did you mean 'west'", "'9-6'"):
        assert part in str(caught.value)
    with pytest.raises(ParameterError) as caught:
        plan(city, VALUES | {"comparison": "north;west", "minimum_pp": 3.0}, project="meet")
    assert "'north' has the project" in str(caught.value) and "minimum_pp 3: the project states 2" in str(caught.value)


def test_it_is_written_once_for_a_project_whatever_the_file_is_called(town, root):
    content = kept(town())
    assert registered("town") == {"meet": content} and registered("other") == {}
    before = (root / "registrations" / "town-meet.json").read_bytes()
    for out in (None, "registrations/second.json"):
        with pytest.raises(ParameterError, match="project meet is registered"):
            save(content, out=out, raw="data/raw")
    assert (root / "registrations" / "town-meet.json").read_bytes() == before
    assert [file.name for file in (root / "registrations").iterdir()] == ["town-meet.json"]


@pytest.mark.parametrize("out", ["raw/town/r.json", "raw/r.json", "data/raw/r.json", "link/r.json"])
def test_it_is_never_written_among_the_cities_own_files(out, town, root):
    content = plan(town(), VALUES, project="meet")
    (root / "link").symlink_to(root / "raw")
    before = sorted(root.rglob("*"))
    with pytest.raises(ParameterError, match="own files"):
        save(content, out=out, raw="raw")
    assert sorted(root.rglob("*")) == before


def test_files_that_are_no_registration_are_passed_over(town, root):
    content = kept(town())
    for name, text in {"a": "{", "b": "[1]", "c": '{"schema": "registration-1"}', "d": "\udcff"}.items():
        (root / "registrations" / f"{name}.json").write_bytes(text.encode(errors="surrogateescape"))
    assert registered("town") == {"meet": content}


def test_an_evaluation_as_registered_deviates_only_in_that_outcomes_were_known(town):
    city = town()
    kept(city)
    assert deviations(city) == {"outcomes_known": ("", "")}


def test_each_choice_that_differs_is_told_with_both_values(town):
    city = town()
    kept(city)
    told = deviations(city, prior="flat", comparison="east;west", window_months="0-24", unsafe_from="often")
    assert told == {
        "outcomes_known": ("", ""), "prior": ("wide", "flat"), "comparison": ("south", ""),
        "window_months": ("6-24", "0-24"), "unsafe_from": ("sometimes", "often"),
    }  # fmt: skip


def test_a_project_that_was_changed_afterwards_deviates(town, city_files):
    kept(town())
    rows = "meet,north,m,Meeting house,,2021-10-01,,,,,3,,\nmeet,west,m,Meeting house,,2021-10-01,,,,,3,,\n"
    city = town(projects=city_files["projects.csv"].split("\n")[0] + "\n" + rows)
    assert deviations(city) == {
        "outcomes_known": ("", ""), "areas": ("", "west"), "comparison": ("west", ""), "minimum_pp": ("2.00", "3.00"),
        "start": ("2021-09-01", "2021-10-01"), "full": ("2021-12-01", "2021-10-01"),
    }  # fmt: skip


def test_a_minimum_left_to_the_rule_is_compared_with_the_rule(town, city_files):
    city = town(projects=city_files["projects.csv"].replace(",300,2,", ",300,,"))
    assert kept(city)["minimum_pp"] is None
    assert "minimum_pp" not in deviations(city)
    # Half of all answers are unsafe, so the rule says 2 points.
    assert deviations(city, minimum_pp=1.0)["minimum_pp"] == ("2.00", "1.00")


def test_an_area_whose_own_project_has_not_begun_may_serve_as_comparison(town, city_files):
    city = town(projects=city_files["projects.csv"] + "next,west,m,Next,,2030-01-01,,,,,,,\n")
    assert kept(city)["comparison"] == ["east", "south"]
    panel = build_panel(city, projects="meet")
    assert "west" in panel["area"].values and not panel["treated"].sel(area="west")
    assert "comparison" not in deviations(city, projects="meet")


def test_a_changed_registration_is_told_and_nothing_else_in_it_is_believed(town):
    city = town()
    changed = kept(city, change={"prior": "flat", "waves_after_start": []})
    assert deviations(city, prior="flat") == {"changed": ("", "")}
    told = summary(compare(city, build_panel(city), prior="flat", lang="en"))
    assert told == {
        "meet": {"registered": changed["made"], "sha256": changed["sha256"], "deviations": ["changed"]},
    }


def test_a_project_without_registration_has_none(town):
    city = town()
    rows = compare(city, build_panel(city), prior="wide", lang="en")
    assert list(rows) == registration.COLUMNS and rows.iloc[0].tolist() == ["meet", "", "", "", "", ""]
    assert summary(rows) == {"meet": {"registered": None, "sha256": None, "deviations": []}}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([(None, [])], "Not registered in advance."),
        ([("2026-01-01", [])], "Registered in advance, and evaluated as registered."),
        (
            [("2026-01-01", ["prior", "start"])],
            "Registered projects: 1 of 1 (0 after outcomes were in); evaluated otherwise than registered: 1.",
        ),
        (
            [("2026-01-01", ["outcomes_known"]), (None, [])],
            "Registered projects: 1 of 2 (1 after outcomes were in); evaluated otherwise than registered: 0.",
        ),
        ([], "Not registered in advance."),
    ],
)
def test_page_1_says_in_a_sentence_whether_projects_were_registered(rows, expected):
    told = {str(n): {"registered": date, "deviations": found} for n, (date, found) in enumerate(rows)}
    assert sentence(told, lang="en") == expected


def register(*options: str, raw="raw"):
    return CliRunner().invoke(cli.app, ["register", "town", "--raw", raw, "--project", "meet", *options])


def test_the_command_writes_the_file_and_says_what_to_know(town, root):
    town()
    answer = register("-p", "prior=flat", "-p", "window_months=0-12", "--decision", "whether to extend it")
    assert answer.exit_code == 0, answer.output
    file = root / "registrations" / "town-meet.json"
    assert answer.stdout.startswith(f"Registered: {file}\n") and "2022, 2023" in answer.stdout
    content = json.loads(file.read_text(encoding="utf-8"))
    assert (content["prior"], content["window_months"]) == ("flat", "0-12")
    assert content["decision"] == "whether to extend it" and provenance.sealed(content)
    again = register()
    assert again.exit_code == 2 and "never replaced" not in again.stdout and "registered" in again.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-p", "draws=100"], "not registered"),
        (["-p", "drawz=100"], "did you mean 'draws'"),
        (["-p", "minimum_pp=-1"], "minimum_pp"),
        (["-p", "projects=x"], "given twice"),
        (["-p", "comparison=nowhere"], "'nowhere'"),
        (["--out", "raw/town/r.json"], "own files"),
        (["--out", "raw"], "own files"),
        (["--out", "notebooks"], "exists"),
        (["--out", "notebooks/README.md/r.json"], "cannot be written"),
    ],
)
def test_bad_use_ends_with_2_and_writes_nothing(options, told, town, root):
    town()
    before = sorted(root.rglob("*"))
    answer = register(*options)
    assert answer.exit_code == 2 and told in answer.stderr and "Traceback" not in answer.output
    assert sorted(root.rglob("*")) == before
