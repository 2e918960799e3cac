"""A plan is checked whole before anything runs: every fault of every row, each with its line."""

import shutil

import pytest
from small_notebook import notebook, project_folder

from workbench import plans
from workbench.errors import ParameterError

root = pytest.fixture(project_folder, name="root")

READS = 'city: str = "town"\nraw = "data/raw"\nout = ""\ndraws: int = 1000\nlang = "en"'


@pytest.fixture
def write_plan(root, city_files, write_city_files):
    """Return a function that writes a plan for a project with two notebooks and the city `town`."""
    (root / "data").mkdir()
    shutil.move(write_city_files(city_files), root / "data" / "raw")
    notebook(root, name="01-look", parameters=READS)
    notebook(root, name="02-try", parameters='out = ""\nlang = "en"')

    def write(text):
        (root / "plan.csv").write_text(text, encoding="utf-8")
        return "plan.csv"

    return write


def read(file, **options):
    return plans.read_plan(file, out="reports", **options)


def refusal(file, **options):
    with pytest.raises(ParameterError) as caught:
        read(file, **options)
    return str(caught.value).splitlines()


def test_a_row_becomes_a_run_with_what_its_cells_say_and_the_hash_of_its_data(root, write_plan):
    runs, refused = read(write_plan("id,notebook,city,draws\na,01-look,town,50\nb,02-try,,\n"))
    assert refused == {}
    assert [run["id"] for run in runs] == ["a", "b"]
    first, last = (run["asked"] for run in runs)
    assert first["parameters"] == {"city": "town", "draws": "50"} and last["parameters"] == {}
    assert first["notebook"] == root / "notebooks" / "01-look.ipynb" and first["out"] == root / "reports" / "a"
    assert len(first["data_hash"]) == 64 and last["data_hash"] is None
    assert not (root / "reports").exists()


def test_a_plan_saved_by_a_spreadsheet_with_semicolons_reads_the_same(write_plan):
    runs, _refused = read(write_plan("\ufeffid;notebook;city;draws\r\na;01-look;town;50\r\n"))
    assert runs[0]["asked"]["parameters"] == {"city": "town", "draws": "50"}


def test_faults_of_all_rows_are_told_at_once_each_with_its_line(write_plan):
    told = refusal(write_plan("id,notebook,city,draws\na,01-look,town,many\nb,01-look,twn,5\nc,02-try,,5\n"))
    assert told == [
        "plan.csv: refused, nothing was run",
        "plan.csv, line 2: parameter draws: 'many' is not a whole number from 1 to 100000",
        "plan.csv, line 3: no city 'twn' in data/raw, did you mean 'town'?; allowed: town",
        "plan.csv, line 4: parameter 'draws' is unknown (known: out, lang)",
    ]


def test_ids_notebooks_and_headings_are_refused_with_the_nearest_name(write_plan):
    told = refusal(write_plan("id,notebook,drawz,out\na,01-lok,,\na,01-look,,\n../x,02-try,,\n"))
    assert told[1:] == [
        "plan.csv, line 2, column 'notebook': '01-lok'; allowed: 01-look, 02-try, did you mean '01-look'?",
        "plan.csv, line 4, column 'id': '../x'; allowed: lower-case letters, digits, '-' and '_', at most 100",
        "plan.csv, line 3, column 'id': 'a'; allowed: each id once",
        "plan.csv, line 1, column 'drawz' is unknown, did you mean 'draws'?; allowed: city, raw, draws, lang",
        "plan.csv, line 1, column 'out': a run's folder is its id in the folder of the plan's runs",
    ]


def test_a_wrong_notebook_or_heading_hides_no_fault_of_the_other_rows(write_plan):
    told = refusal(write_plan("id,notebook,city,drawz\na,01-lok,town,\nb,01-look,twn,\n"))
    assert any("'01-lok'" in line for line in told) and any("'drawz' is unknown" in line for line in told)
    assert "plan.csv, line 3: no city 'twn' in data/raw, did you mean 'town'?; allowed: town" in told


def test_a_folder_among_the_cities_of_the_plan_or_a_file_is_refused(root, write_plan):
    (root / "elsewhere").mkdir()
    shutil.move(root / "data" / "raw" / "town", root / "elsewhere" / "town")
    file = write_plan("id,notebook,city,raw\na,01-look,town,elsewhere\n")
    with pytest.raises(ParameterError, match="lies among the cities' own files"):
        plans.read_plan(file, out="elsewhere/town/runs")
    with pytest.raises(ParameterError, match="plan.csv is a file, not a folder"):
        plans.read_plan(file, out="plan.csv")


def test_a_fault_of_a_city_is_told_once_for_all_its_rows(root, write_plan):
    (root / "data" / "raw" / "town" / "areas.csv").write_text("area,name,population\nnorth,North,-5\n")
    told = refusal(write_plan("id,notebook,city\na,01-look,town\nb,01-look,town\n"))
    assert any(line.startswith("plan.csv, lines 2, 3: areas.csv, line 2, column 'population': '-5'") for line in told)
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    "text, words",
    [
        ("notebook,city\n01-look,town\n", "column 'id' is missing"),
        ("id,notebok\na,01-look\n", "column 'notebook' is missing, did you mean 'notebok'?"),
        ("id,notebook\n", "only headings, no rows"),
        ("", "the file is empty"),
        ("id,notebook,city\na,01-look,town,x\n", "line 2: more cells than headings"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(write_plan, text, words):
    assert words in "\n".join(refusal(write_plan(text)))


def test_an_absent_plan_is_refused_with_the_nearest_file(write_plan):
    write_plan("id,notebook\n")
    assert refusal("plans.csv") == ["no plan plans.csv, did you mean 'plan.csv'?"]


def test_only_these_ids_are_checked_and_run(write_plan):
    file = write_plan("id,notebook,city\na,01-look,nowhere\nb,01-look,town\n")
    assert [run["id"] for run in read(file, only=["b"])[0]] == ["b"]
    assert refusal(file, only=["bb"])[1:] == ["plan.csv: no run 'bb', did you mean 'b'?; allowed: an id of the plan"]


def test_with_keep_going_a_faulty_row_is_refused_alone(write_plan):
    file = write_plan("id,notebook,city\na,01-look,nowhere\nb,01-look,town\n")
    runs, refused = read(file, keep_going=True)
    assert [run["id"] for run in runs] == ["b"] and list(refused) == ["a"] and "no city 'nowhere'" in refused["a"]
    assert "no city" in "\n".join(refusal(write_plan("id,notebook,city\na,01-look,nowhere\n"), keep_going=True))


def test_the_plan_that_comes_with_the_project_is_in_order():
    runs, refused = plans.read_plan("plans/demo.csv", out="reports/demo-plan")
    assert len(runs) == 4 and not refused


def test_a_plan_without_end_is_refused_at_once(write_plan, monkeypatch):
    monkeypatch.setattr(plans, "MOST", 2)
    told = refusal(write_plan("id,notebook\na,02-try\nb,02-try\nc,02-try\n"))
    assert told[1:] == ["plan.csv, line 4, column 'id': 'c'; allowed: at most 2 rows"]


def test_a_city_without_what_a_notebook_is_about_is_refused_before_anything_runs(root, write_plan):
    file = write_plan("id,notebook,city\na,05-cohesion,town\nb,06-incidents,town\n")
    asked = 'projects = ""\ncomparison = ""\nwindow_months = "6-24"\n'
    notebook(root, name="05-cohesion", parameters=f"{READS}\nmechanism: bool = False")
    notebook(root, name="06-incidents", parameters=f"{READS}\n{asked}neighbours: bool = True\nspatial: bool = False")
    told = refusal(file)
    assert told[1].startswith(
        "plan.csv, line 2: town asked no item of cohesion; allowed: a city with one of dutch_known"
    )
    assert told[2] == "plan.csv, line 3: town has no recorded incidents; allowed: a city with incidents.csv"
