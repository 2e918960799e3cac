"""Every kind of bad input is refused, all at once, in a message that names file, line, column, value and allowed."""

import time

import pytest

from workbench.cities import load_city
from workbench.errors import SchemaError

SHARES_MANIFEST = 'name = "Shares"\n[shares]\nfile = "shares.csv"\nassumed_n = 800\n[areas]\nfile = "areas.csv"\n[waves]\nfile = "waves.csv"\n'


def refusal(raw) -> str:
    with pytest.raises(SchemaError) as caught:
        load_city("town", raw=raw)
    return str(caught.value)


def shares_csv(change=None) -> str:
    """Three classes for 2 areas x 3 waves; `change` replaces one line."""
    lines = ["area,wave,item,category,share"]
    for wave in ("2021", "2022", "2023"):
        for area in ("north", "south", "east", "west"):
            for label, share in (("never-rarely", "75.2"), ("sometimes", "18.3"), ("often-always", "6.5")):
                lines.append(f"{area},{wave},stadsmonitor_neighbourhood,{label},{share}")
    for number, line in (change or {}).items():
        lines[number - 1] = line
    return "\n".join(lines) + "\n"


# One planted fault each: file, line of the file, its new text, and what the message must hold.
LINE_FAULTS = {
    "unknown area": ("survey.csv", 3, "x1,nroth,2021,1,f,never", ["line 3", "'area'", "'nroth'", "north", "did you mean 'north'"]),
    "unknown answer": ("survey.csv", 4, "x1,north,2021,1,f,nver", ["line 4", "'unsafe_neighbourhood'", "'nver'", "never, rarely", "did you mean 'never'"]),
    "wave out of range": ("survey.csv", 5, "x1,north,2031,1,f,never", ["line 5", "'wave'", "'2031'", "2021, 2022, 2023"]),
    "negative weight": ("survey.csv", 6, "x1,south,2021,-2,f,never", ["line 6", "'weight'", "'-2'", "a number above 0"]),
    "zero weight": ("survey.csv", 6, "x1,south,2021,0,f,never", ["line 6", "'weight'", "'0'", "a number above 0"]),
    "no weight in a row": ("survey.csv", 6, "x1,south,2021,,f,never", ["line 6", "'weight'", "no value"]),
    "NaN as text": ("survey.csv", 6, "x1,south,2021,NaN,f,never", ["line 6", "'weight'", "'NaN'"]),
    "infinite": ("survey.csv", 6, "x1,south,2021,inf,f,never", ["line 6", "'weight'", "'inf'"]),
    "decimal comma": ("survey.csv", 7, 'x1,south,2021,"0,8",f,never', ["line 7", "'weight'", "'0,8'", "decimal comma", 'decimal = ","']),
    "duplicate respondent": ("survey.csv", 3, "rn20210,north,2021,1,f,never", ["line 3", "'respondent'", "'rn20210, 2021'", "once"]),
    "no area": ("survey.csv", 3, "x1,,2021,1,f,never", ["line 3", "'area'", "no value"]),
    "too many cells": ("survey.csv", 3, "x1,north,2021,1,f,never,7", ["survey.csv", "line 3", "'x1,north,2021,1,f,never,7'", "6 cells"]),
    "decimal comma without quotes": ("survey.csv", 7, "x1,south,2021,0,8,f,never", ["line 7", "'x1,south,2021,0,8,f,never'", "decimal comma"]),
    "ambiguous date": ("waves.csv", 3, "2022,03/02/2022,2022-04-30,web,1,false,", ["line 3", "'start'", "'03/02/2022'", "YYYY-MM-DD"]),
    "impossible date": ("waves.csv", 3, "2022,2022-02-30,2022-04-30,web,1,false,", ["line 3", "'start'", "'2022-02-30'", "YYYY-MM-DD"]),
    "inverted wave": ("waves.csv", 3, "2022,2022-05-01,2022-04-30,web,1,false,", ["line 3", "'end'", "'2022-04-30'", "on or after start"]),
    "overlapping waves": ("waves.csv", 3, "2022,2021-04-15,2022-04-30,web,1,false,", ["line 3", "'start'", "'2021-04-15'", "after the wave before"]),
    "wave twice": ("waves.csv", 5, "2021,2024-03-01,2024-04-30,web,1,false,", ["line 5", "'wave'", "'2021'", "once"]),
    "flag": ("waves.csv", 3, "2022,2022-03-01,2022-04-30,web,1,maybe,", ["line 3", "'known_break'", "'maybe'", "true or false"]),
    "area twice": ("areas.csv", 6, "north,South,6000", ["line 6", "'area'", "'north'", "once"]),
    "population of zero": ("areas.csv", 3, "south,South,0", ["line 3", "'population'", "'0'", "above 0"]),
    "population for some": ("areas.csv", 3, "south,South,", ["line 3", "'population'", "no value", "or for none"]),
    "project elsewhere": ("projects.csv", 2, "meet,nowhere,m,M,,2021-09-01,,,,,,,", ["line 2", "'area'", "'nowhere'", "north, south"]),
    "project name": ("projects.csv", 2, "../meet,north,m,M,,2021-09-01,,,,,,,", ["line 2", "'project'", "'../meet'", "lower-case"]),
    "project dates": ("projects.csv", 2, "meet,north,m,M,2021-10-01,2021-09-01,,,,,,,", ["line 2", "'start'", "'2021-09-01'", "announced, start"]),
    "stop before start": ("projects.csv", 2, "meet,north,m,M,,2021-09-01,,2021-08-01,,,,,", ["line 2", "'stop'", "'2021-08-01'"]),
    "unknown item": ("projects.csv", 2, "meet,north,m,M,,2021-09-01,,,,,,,unsafe_neighborhood", ["line 2", "'primary_item'", "did you mean 'unsafe_neighbourhood'"]),
    "no project left": ("projects.csv", 2, "meet,north,m,M,,2021-03-15,,,,,,,", ["line 2", "'start'", "'2021-03-15'", "at least one project"]),
}  # fmt: skip


SCORES = "project,date,rater,condition,score\nmeet,2021-05-01,ann,backbone,3\n"
INDICATORS = "dimension,indicator,area,date,value\nsocial-cohesion,trust,,2021-12-31,58\n"
# One more row each, or another text; what the message must hold.
EXTRA_FAULTS = {
    "score of 5": (SCORES + "meet,2021-05-01,bob,backbone,5\n", ["line 3", "'score'", "'5'", "whole number from 0 to 4"]),
    "half a score": (SCORES + "meet,2021-05-01,bob,backbone,2.5\n", ["line 3", "'score'", "'2.5'", "whole number"]),
    "unknown condition": (SCORES + "meet,2021-05-01,bob,bakbone,2\n", ["'bakbone'", "did you mean 'backbone'"]),
    "scored project unknown": (SCORES + "met,2021-05-01,bob,backbone,2\n", ["'met'", "did you mean 'meet'"]),
    "scored twice": (SCORES + "meet,2021-05-01,ann,backbone,2\n", ["'meet, 2021-05-01, ann, backbone'", "once"]),
    "no date of a score": (SCORES + "meet,,bob,backbone,2\n", ["line 3", "'date'", "no value"]),
    "no column of scores": (SCORES.replace(",score", ",points"), ["'score' is missing"]),
    "unknown dimension": (INDICATORS + "cohesion,trust,,2022-12-31,58\n", ["'dimension'", "'cohesion'", "social-cohesion"]),
    "indicator elsewhere": (INDICATORS + "social-cohesion,trust,nroth,2021-12-31,58\n", ["'area'", "'nroth'", "'north'"]),
    "no value of an indicator": (INDICATORS + "social-cohesion,trust,,2022-12-31,\n", ["line 3", "'value'", "no value"]),
    "city-wide indicator twice": (INDICATORS + "social-cohesion,trust,,2021-12-31,59\n", ["line 3", "'dimension'", "once"]),
}  # fmt: skip


@pytest.mark.parametrize("case", EXTRA_FAULTS.values(), ids=EXTRA_FAULTS)
def test_faults_of_scores_and_indicators_are_refused(case, city_files, write_city_files):
    text, expected = case
    file = "indicators.csv" if text.startswith("dimension") else "collective_impact.csv"
    message = refusal(write_city_files(city_files | {file: text}))
    assert message.startswith("town: 1 fault")
    for part in [file, *expected]:
        assert part in message


@pytest.mark.parametrize("case", LINE_FAULTS.values(), ids=LINE_FAULTS)
def test_one_bad_line_is_refused_with_file_line_column_value_and_allowed(case, city_files, write_city_files):
    file, line, text, expected = case
    lines = city_files[file].split("\n")
    lines[line - 1] = text
    message = refusal(write_city_files(city_files | {file: "\n".join(lines)}))
    assert message.startswith("town: 1 fault")
    for part in [file, *expected]:
        assert part in message


def test_every_fault_is_told_at_once(city_files, write_city_files):
    lines = city_files["survey.csv"].split("\n")
    lines[2], lines[3], lines[4] = (
        "x1,nroth,2021,-1,f,maybe",
        "x2,north,1999,1,f,never",
        "x3,north,2021,zero,f,never",
    )
    waves = city_files["waves.csv"].replace("2022-03-01", "01/03/2022")
    message = refusal(write_city_files(city_files | {"survey.csv": "\n".join(lines), "waves.csv": waves}))
    for part in ("'nroth'", "'-1'", "'maybe'", "'1999'", "'zero'", "waves.csv, line 3", "'01/03/2022'"):
        assert part in message
    assert len(message.splitlines()) == 1 + 6


def test_every_line_with_a_cell_too_many_is_told(city_files, write_city_files):
    areas = city_files["areas.csv"].replace("4000", "4,0").replace("5500", "5,5")
    assert "areas.csv, lines 2, 5: more cells than headings" in refusal(
        write_city_files(city_files | {"areas.csv": areas})
    )


def test_a_number_of_answers_that_is_refused_is_told_once(city_files, write_city_files):
    survey = (
        shares_csv()
        .replace("share\n", "share,n\n")
        .replace("75.2", "75.2,0")
        .replace("18.3", "18.3,9")
        .replace("6.5", "6.5,9")
    )
    manifest = SHARES_MANIFEST.replace("assumed_n = 800\n", "")
    files = {name: city_files[name] for name in ("areas.csv", "waves.csv")}
    message = refusal(write_city_files(files | {"city.toml": manifest, "shares.csv": survey}))
    assert message.splitlines()[1:] == [
        "shares.csv, lines 2, 5, 8 and 9 more, column 'n': '0'; allowed: a number above 0"
    ]


def test_many_equal_faults_are_one_line_with_a_count_and_the_first_three_lines(city_files, write_city_files):
    survey = city_files["survey.csv"].replace(",never", ",nevr")
    message = refusal(write_city_files(city_files | {"survey.csv": survey}))
    assert message.splitlines()[1].startswith("survey.csv, lines ") and " and 9 more" in message


def test_line_numbers_survive_blank_lines_and_line_breaks_inside_cells(city_files, write_city_files):
    lines = city_files["survey.csv"].rstrip("\n").split("\n")
    lines[1] = 'r1,north,2021,1,"f\nem",never'  # takes lines 2 and 3
    lines[5:5] = [""]
    lines += ["x1,nroth,2021,1,f,never"]
    text = "\n".join(lines) + "\n"
    bad = 1 + text.split("\n").index("x1,nroth,2021,1,f,never")
    assert f"line {bad}, column 'area'" in refusal(write_city_files(city_files | {"survey.csv": text}))


FILE_FAULTS = {
    "empty file": ({"survey.csv": ""}, ["survey.csv", "empty", "a line of headings"]),
    "only headings": ({"survey.csv": "respondent,area,wave,unsafe_neighbourhood\n"}, ["survey.csv", "only headings"]),
    "missing file": ({"city.toml": 'name = "T"\n[respondents]\nfile = "surveys.csv"\n'}, ["'surveys.csv'", "did you mean 'survey.csv'"]),
    "missing column": ({"areas.csv": "aera,name\nnorth,N\nsouth,S\neast,E\nwest,W\n"}, ["areas.csv, line 1", "'area' is missing", "did you mean 'aera'"]),
    "one area only": ({"areas.csv": "area\nnorth\n"}, ["areas.csv, line 2", "'north'", "two areas or more"]),
    "empty wave": ({"waves.csv": "wave,start,end\n2020,2020-03-01,2020-03-09\n2021,2021-03-01,2021-04-30\n2022,2022-03-01,2022-04-30\n"
                    "2023,2023-03-01,2023-04-30\n"}, ["waves.csv, line 2", "'wave'", "'2020'", "a wave with answers in survey.csv"]),
    "no comparison area": ({"projects.csv": "project,area,start\nmeet,north,2021-09-01\nmeet,south,2021-09-01\nmeet,east,2021-10-01\n"
                            "meet,west,2021-11-01\n"}, ["projects.csv, lines 2, 3, 4 and 1 more", "'area'", "no comparison area is left"]),
    "not a text": ({"survey.csv": b"\xff\xfea\x00b\x00"}, ["survey.csv", "cannot be read", "UTF-8"]),
    "heading twice": ({"areas.csv": "area,area\nnorth,N\nsouth,S\n"}, ["areas.csv, line 1", "'area' twice"]),
    "no item": ({"survey.csv": "respondent,area,wave,unsafe_neighborhood\nr1,north,2021,never\n"}, ["survey.csv, line 1", "did you mean 'unsafe_neighbourhood'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FILE_FAULTS.values(), ids=FILE_FAULTS)
def test_a_file_that_cannot_serve_is_refused_with_the_reason(case, city_files, write_city_files):
    files, expected = case
    message = refusal(write_city_files(city_files | files))
    for part in expected:
        assert part in message


CELLS = "area,sex,population\n" + "".join(f"{a},{s},2000\n" for a in ("north", "south", "east", "west") for s in "fm")
POPULATION_FAULTS = {
    "unknown area": (CELLS.replace("west,m", "wset,m"), ["population.csv, line 9", "'area'", "did you mean 'west'"]),
    "cell twice": (CELLS.replace("west,m", "west,f"), ["population.csv, line 9", "'west, f'", "each area and sex once"]),
    "negative": (CELLS.replace("west,m,2000", "west,m,-1"), ["population.csv, line 9", "'-1'", "a number from 0 up"]),
    "empty cell": (CELLS.replace("west,m", "west,"), ["population.csv, line 9", "'sex'", "a value in every row"]),
    "area missing": (CELLS.replace("west,f,2000\nwest,m,2000\n", ""), ["areas.csv, line 5", "'west'", "residents in population.csv"]),
    "respondents nowhere": (CELLS.replace(",m,", ",man,"), ["survey.csv, lines 3, 5, 7 and 21 more", "'sex'", "'m'", "as in population.csv"]),
    "no stratum": ("area,population\nnorth,1\nsouth,1\neast,1\nwest,1\n", ["population.csv, line 1", "sex, age_band, education"]),
}  # fmt: skip


@pytest.mark.parametrize("case", POPULATION_FAULTS.values(), ids=POPULATION_FAULTS)
def test_a_population_table_that_cannot_serve_is_refused(case, city_files, write_city_files):
    text, expected = case
    message = refusal(write_city_files(city_files | {"population.csv": text}))
    assert message.startswith("town: 1 fault")
    for part in expected:
        assert part in message


def test_unknown_respondents_need_no_cell_and_totals_that_differ_are_told(city_files, write_city_files):
    files = city_files | {"population.csv": CELLS, "survey.csv": city_files["survey.csv"].replace(",m,", ",,", 5)}
    city = load_city("town", raw=write_city_files(files))
    assert "unknown" in set(city.respondents["sex"]) and len(city.population) == 8
    (told,) = city.notices
    assert told.startswith(
        "population.csv and areas.csv differ in residents by more than 5 % (most in south: 4,000 and 6,000)"
    )


def test_all_answers_equal_is_refused(city_files, write_city_files):
    survey = city_files["survey.csv"]
    for label in ("rarely", "sometimes", "often"):
        survey = survey.replace(f",{label}", ",never")
    message = refusal(write_city_files(city_files | {"survey.csv": survey}))
    assert "'unsafe_neighbourhood': 'never'; allowed: at least two different answers" in message


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({4: "north,2021,stadsmonitor_neighbourhood,often-always,9.5"}, ["line 2", "'share'", "sum 103 of north, 2021", "sum to 100"]),
        ({4: "north,2021,stadsmonitor_neighbourhood,often-always,106"}, ["line 4", "'share'", "'106'", "from 0 to 100"]),
        ({4: "north,2021,stadsmonitor_neighbourhood,often-always,-1"}, ["line 4", "'share'", "'-1'", "from 0 to 100"]),
        ({4: "north,2021,stadsmonitor_neighbourhood,often,6.5"}, ["line 4", "'category'", "'often'", "often-always"]),
        ({4: "north,2021,stadsmonitor_neighborhood,often-always,6.5"}, ["line 4", "'item'", "did you mean 'stadsmonitor_neighbourhood'"]),
        ({4: "north,2021,stadsmonitor_neighbourhood,sometimes,6.5"}, ["line 4", "once"]),
    ],
)  # fmt: skip
def test_shares_that_cannot_be_right_are_refused(change, expected, city_files, write_city_files):
    files = city_files | {"city.toml": SHARES_MANIFEST, "shares.csv": shares_csv(change)}
    del files["survey.csv"]
    message = refusal(write_city_files(files))
    for part in ["shares.csv", *expected]:
        assert part in message


def test_shares_without_a_number_of_answers_are_refused_unless_one_is_assumed(city_files, write_city_files):
    files = city_files | {
        "city.toml": SHARES_MANIFEST.replace("assumed_n = 800\n", ""),
        "shares.csv": shares_csv(),
    }
    del files["survey.csv"]
    assert "[shares] assumed_n" in refusal(write_city_files(files))


@pytest.mark.parametrize("shares", [("75", "18", "6"), ("76", "18", "7")])
def test_whole_percents_may_miss_100_by_what_rounding_explains(shares, city_files, write_city_files):
    text = shares_csv()
    for old, new in zip(("75.2", "18.3", "6.5"), shares, strict=True):
        text = text.replace(old, new)
    files = city_files | {"city.toml": SHARES_MANIFEST, "shares.csv": text}
    del files["survey.csv"]
    city = load_city("town", raw=write_city_files(files))
    assert (city.shares["rounding"] == 1).all() and (city.shares["n"] == 800).all() and city.shares["assumed"].all()


def test_200_000_faulty_rows_are_refused_within_5_seconds(city_files, write_city_files):
    answers, areas = ("never", "often", "maybe"), ("north", "south", "atlantis")
    rows = [f"p{i},{areas[i % 3]},{2021 + i % 4},{(i % 7) - 1},f,{answers[i % 3]}" for i in range(200_000)]
    survey = "respondent,area,wave,weight,sex,unsafe_neighbourhood\n" + "\n".join(rows) + "\n"
    raw = write_city_files(city_files | {"survey.csv": survey})
    start = time.process_time()  # seconds of this process: what else the machine does is no fault of ours
    message = refusal(raw)
    assert time.process_time() - start < 5
    assert all(part in message for part in ("'atlantis'", "'2024'", "'maybe'", "66,663 more"))


def test_a_missing_code_never_eats_a_name(city_files, write_city_files):
    manifest = city_files["city.toml"].replace('"survey.csv"', '"survey.csv"\nmissing = ["north", "1.0"]')
    city = load_city("town", raw=write_city_files(city_files | {"city.toml": manifest}))
    assert (city.respondents["area"] == "north").sum() == 12 and (city.respondents["weight"] == 1).any()
