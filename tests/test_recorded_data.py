"""Recorded incidents, the map of areas, and a city without a survey: what is read, what is refused, and in which words."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from workbench import schema
from workbench.cities import list_cities, load_city, validate_survey, write_city, write_processed
from workbench.cli import app
from workbench.errors import ParameterError, SchemaError
from workbench.panel import choices

FLANDERS = Path(__file__).parents[2] / "shared" / "data" / "geo" / "flanders_municipalities_2019.geojson"
INCIDENTS = """area,month,kind,count
north,2021-01,burglary,3
north,2021-02,burglary,0
south,2021-01,burglary,5
south,2021-02,burglary,4
"""
ALONE = {"city.toml": 'name = "Little town"\n', "areas.csv": "area,name\nnorth,North\nsouth,South\neast,East\n"}
DRAWN = ALONE["city.toml"] + '[areas]\ngeometry = "map.geojson"\ngeometry_area = "code"\n'


def square(x, y) -> dict:
    return {"type": "Polygon", "coordinates": [[[x, y], [x + 1, y], [x + 1, y + 1], [x, y + 1], [x, y]]]}


def drawn(**shapes) -> str:
    """A GeoJSON map with the area in the property `code`."""
    features = [{"type": "Feature", "properties": {"code": a, "n": 1}, "geometry": s} for a, s in shapes.items()]
    return json.dumps({"type": "FeatureCollection", "features": features})


IN_A_ROW = drawn(north=square(0, 0), south=square(1, 0), east=square(2, 0))


@pytest.fixture
def load(write_city_files):
    """Return a function that loads a city of three areas with incidents alone, some files changed."""
    return lambda **files: load_city("town", raw=write_city_files(ALONE | {"incidents.csv": INCIDENTS} | {
        name.replace("__", "."): text for name, text in files.items()
    }))  # fmt: skip


def test_counts_come_out_whole_with_the_period_as_text_and_the_areas_residents(load):
    areas = "area,population\nnorth,4000\nsouth,6000\neast,5000\n"
    own = "area,month,kind,count,population\nnorth,2021-Q1,fights,3,4100\nsouth,2021-Q1,fights,0,\n"
    rows = load(areas__csv=areas, incidents__csv=own).incidents
    assert rows["count"].tolist() == [3, 0] and rows["count"].dtype == "int64"
    assert rows["month"].tolist() == ["2021-Q1"] * 2 and rows["population"].tolist() == [4100, 6000]


def test_what_is_not_recorded_is_left_out_and_counted_never_a_zero(load):
    city = load(
        incidents__csv=INCIDENTS.replace("north,2021-02,burglary,0", "north,2021-02,burglary,")
        + "south,2021-04,burglary,7\n"
    )
    assert len(city.incidents) == 4 and (city.incidents["count"] > 0).all()
    # 2 areas x 4 months from January to April make 8, of which 4 have a number.
    gaps = "4 of 8 area-periods from 2021-01 to 2021-04 are not recorded: left out, none is a 0"
    assert f"incidents.csv: burglary: not recorded in 1 of 3 areas (east); {gaps}" in city.notices


@pytest.mark.parametrize(("periods", "all_of_them"), [(["2019", "2021"], 6), (["2020-Q4", "2021-Q2"], 6)])
def test_years_and_quarters_have_a_length_of_their_own(periods, all_of_them, load):
    rows = [f"{a},{p},fights,{n + len(a)}" for a in ("north", "east") for n, p in enumerate(periods)]
    city = load(incidents__csv="\n".join(["area,month,kind,count", *rows]))
    assert any(f"2 of {all_of_them} area-periods from" in notice for notice in city.notices)


def test_discretion_is_that_of_the_kind_unless_the_city_says_its_own_and_some_for_an_unknown_kind(load):
    more = "".join(INCIDENTS.replace("burglary", kind).split("\n", 1)[1] for kind in ("nuisance", "stray-dogs"))
    own = ALONE["city.toml"] + '[incidents.discretion]\nburglary = "high"\n'
    assert load(incidents__csv=INCIDENTS + more).discretion == {
        "burglary": "low",
        "nuisance": "high",
        "stray-dogs": "some",
    }
    assert load(incidents__csv=INCIDENTS + more, city__toml=own).discretion["burglary"] == "high"


def test_every_known_kind_has_a_word_for_its_discretion_and_a_name_in_every_language():
    for kind, about in schema.INCIDENTS.items():
        assert about["discretion"] in schema.DISCRETION, kind
        assert all(about["labels"][lang].strip() for lang in ("en", "nl", "fr")), kind


PEOPLE = "area,month,kind,count,population\nnorth,2021,fights,3,9\nsouth,2021,fights,5,8\n"
ROW = "south,2021-03,burglary,2\n"
# What is added to the file or stands in its place, and what the message must hold.
FAULTS = {
    "area unknown": (INCIDENTS + ROW.replace("south", "soth"), ["line 6", "'area'", "'soth'", "did you mean 'south'"]),
    "month 13": (INCIDENTS + ROW.replace("-03", "-13"), ["line 6", "'month'", "'2021-13'", "YYYY-MM, a quarter YYYY-Qn or a year YYYY"]),
    "month as a date": (INCIDENTS + ROW.replace("-03", "-03-01"), ["line 6", "'month'", "'2021-03-01'", "YYYY-MM"]),
    "quarter 5": (INCIDENTS + ROW.replace("-03", "-Q5"), ["line 6", "'month'", "'2021-Q5'"]),
    "day and month": (INCIDENTS + ROW.replace("2021-03", "03/2021"), ["line 6", "'month'", "'03/2021'"]),
    "no month": (INCIDENTS + ROW.replace("2021-03", ""), ["line 6", "'month'", "no value"]),
    "months and a year": (INCIDENTS + ROW.replace("-03", ""), ["line 6", "'month'", "'2021'", "one length of period for burglary, such as 2021-01"]),
    "capital": (INCIDENTS + ROW.replace("burglary", "Burglary"), ["line 6", "'kind'", "'Burglary'", "a lower-case word"]),
    "two words": (INCIDENTS + ROW.replace("burglary", "car theft"), ["line 6", "'kind'", "'car theft'", "letters a to z, digits and -"]),
    "less than none": (INCIDENTS + ROW.replace(",2\n", ",-2\n"), ["line 6", "'count'", "'-2'", "a whole number from 0 up"]),
    "half an incident": (INCIDENTS + ROW.replace(",2\n", ",2.5\n"), ["line 6", "'count'", "'2.5'", "a whole number from 0 up"]),
    "fewer than five": (INCIDENTS + ROW.replace(",2\n", ",<5\n"), ["line 6", "'count'", "'<5'"]),
    "twice": (INCIDENTS + ROW.replace("-03", "-02"), ["line 6", "'south, 2021-02, burglary'", "each area and month and kind once"]),
    "all alike": (INCIDENTS.replace(",0\n", ",3\n").replace(",5\n", ",3\n").replace(",4\n", ",3\n"), ["'count'", "'3'", "at least two different counts of burglary"]),
    "nothing recorded": ("area,month,kind,count\nnorth,2021-01,burglary,\nsouth,2021-01,burglary,\n", ["no value", "at least two different counts"]),
    "more kinds than a table holds": ("area,month,kind,count\n" + "".join(f"north,2021,k{k},1\n" for k in range(101)), ["line 102", "'k100'", "at most 100 kinds"]),
    "no column of counts": (INCIDENTS.replace(",count", ",number"), ["line 1", "'count' is missing", "'number'"]),
    "nobody lives there": (PEOPLE.replace(",9\n", ",0\n"), ["line 2", "'population'", "'0'", "a number above 0"]),
    "residents for some": (PEOPLE.replace(",9\n", ",\n"), ["line 2", "'population'", "no value", "or a population in areas.csv"]),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_a_fault_of_incidents_is_told_with_file_line_column_value_and_allowed(case, load):
    text, expected = case
    with pytest.raises(SchemaError) as caught:
        load(incidents__csv=text)
    for part in ["town: 1 fault", "incidents.csv", *expected]:
        assert part in str(caught.value)


SHAPELESS = {"type": "Polygon", "coordinates": [[[0, 0], [1, 1]]]}
POINT = {"type": "Point", "coordinates": [0, 0]}
# city.toml, the map, and what the message must hold
BROKEN_MAPS = {
    "file missing": (DRAWN.replace("map.", "mp."), IN_A_ROW, ["no file 'mp.geojson' for geometry", "did you mean 'map.geojson'"]),
    "file elsewhere": (DRAWN.replace("map.", "../map."), IN_A_ROW, ["no file '../map.geojson'", "in the city's own folder"]),
    "property unknown": (DRAWN.replace('"code"', '"cod"'), IN_A_ROW, ["geometry_area 'cod'", "did you mean 'code'", "code, n"]),
    "property not named": (DRAWN.replace('geometry_area = "code"\n', ""), IN_A_ROW, ["geometry_area is missing", "GeoJSON"]),
    "map not named": (DRAWN.replace('geometry = "map.geojson"\n', ""), IN_A_ROW, ["geometry is missing"]),
    "no JSON": (DRAWN, "area,shape\n", ["map.geojson: cannot be read", "GeoJSON, a FeatureCollection"]),
    "no features": (DRAWN, "{}", ["map.geojson: cannot be read", "GeoJSON, a FeatureCollection"]),
    "points": (DRAWN, drawn(north=POINT), ["map.geojson: holds 'Point'", "MultiPolygon or Polygon"]),
    "a line as a polygon": (DRAWN, drawn(north=SHAPELESS), ["map.geojson", "rings of four points or more"]),
    "another city's map": (DRAWN, drawn(ghent=square(0, 0)), ["code 'ghent'", "such as 'north', 'south', 'east'"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_MAPS.values(), ids=BROKEN_MAPS)
def test_a_map_that_cannot_serve_is_refused_with_the_reason(case, load):
    manifest, text, expected = case
    with pytest.raises(SchemaError) as caught:
        load(city__toml=manifest, map__geojson=text)
    for part in ["town: 1 fault", *expected]:
        assert part in str(caught.value)


def neighbours(city) -> dict[str, str]:
    return city.areas.set_index("area")["neighbours"].to_dict()


def test_areas_that_share_a_border_or_a_corner_are_neighbours_and_their_own_list_goes_first(load):
    city = load(city__toml=DRAWN, map__geojson=IN_A_ROW)
    assert neighbours(city) == {"north": "south", "south": "east;north", "east": "south"}
    corner = drawn(north=square(0, 0), south=square(1, 1), east=square(5, 5), harbour=square(1, 0))
    assert neighbours(load(city__toml=DRAWN, map__geojson=corner)) == {"north": "south", "south": "north", "east": ""}
    own = "area,neighbours\nnorth,east\nsouth,\neast,north\n"
    assert neighbours(load(city__toml=DRAWN, map__geojson=IN_A_ROW, areas__csv=own)) == {
        "north": "east",
        "south": "",
        "east": "north",
    }


def test_an_area_in_two_pieces_is_one_and_an_area_without_a_polygon_is_a_notice(load):
    pieces = json.loads(drawn(north=square(0, 0), south=square(5, 0)))
    pieces["features"].append({"type": "Feature", "properties": {"code": "north"}, "geometry": square(4, 0)})
    city = load(city__toml=DRAWN, map__geojson=json.dumps(pieces))
    assert neighbours(city) == {"north": "south", "south": "north", "east": ""}
    assert "map.geojson: no polygon for 1 of 3 areas (east): they have no neighbours" in city.notices


def test_the_hash_follows_the_map(load):
    hashes = {load(city__toml=DRAWN, map__geojson=text).data_hash for text in (IN_A_ROW, IN_A_ROW + "\n")}
    assert len(hashes) == 2


@pytest.mark.skipif(not FLANDERS.is_file(), reason="the map of Flanders (../shared/data/geo) is not here")
def test_mechelen_lies_beside_the_municipalities_that_it_lies_beside(tmp_path):
    names = [one["properties"]["gemeente"] for one in json.loads(FLANDERS.read_text(encoding="utf-8"))["features"]]
    folder = tmp_path / "flanders"
    folder.mkdir()
    (folder / "map.geojson").write_bytes(FLANDERS.read_bytes())
    (folder / "areas.csv").write_text("\n".join(["area", *names]), encoding="utf-8")
    rows = [f"{name},{year},fights,{len(name) + year % 2}" for name in names for year in (2018, 2019)]
    (folder / "incidents.csv").write_text("\n".join(["area,month,kind,count", *rows]), encoding="utf-8")
    (folder / "city.toml").write_text(DRAWN.replace('"code"', '"gemeente"'), encoding="utf-8")
    beside = neighbours(load_city("flanders", raw=tmp_path))
    around = ["Bonheiden", "Kapelle-op-den-Bos", "Rumst", "Sint-Katelijne-Waver", "Willebroek", "Zemst"]
    assert beside["Mechelen"] == ";".join(around)
    assert [name for name, others in beside.items() if not others] == ["Voeren"]  # Wallonia and abroad all around
    assert all(
        one in beside[other].split(";") for one, others in beside.items() for other in filter(None, others.split(";"))
    )


def test_a_city_of_incidents_alone_is_read_listed_written_and_checked(load, tmp_path):
    city = load()
    raw = tmp_path / "raw"
    assert city.respondents is None and city.shares is None and city.items == () and len(city.waves) == 0
    assert list(city.waves.columns) == list(schema.TABLES["waves"])
    assert list_cities(raw)["kind"].tolist() == ["incidents"]
    assert pd.read_csv(write_processed(city, tmp_path / "out") / "incidents.csv")["count"].tolist() == [3, 0, 5, 4]
    told = CliRunner().invoke(app, ["check", "town", "--raw", str(raw)])
    assert told.exit_code == 0 and "incidents:    4 counts from 2021-01 to 2021-02" in told.output
    assert "burglary (low discretion)" in told.output and "waves" not in told.output
    tables = {"areas": pd.read_csv(raw / "town" / "areas.csv"), "incidents": city.incidents.drop(columns="population")}
    said = {"name": "Copy", "language": "en", "simulated": True}
    assert load_city(write_city(tmp_path / "copy", manifest=said, tables=tables).name, raw=tmp_path).incidents.equals(
        city.incidents
    )


def test_waves_without_a_survey_are_nobodys_waves(load, city_files):
    city = load(waves__csv=city_files["waves.csv"], projects__csv="project,area,start\nmeet,north,2021-02-01\n")
    assert len(city.waves) == 0 and city.projects["project"].tolist() == ["meet"]


def test_how_residents_feel_cannot_be_told_from_incidents_and_the_refusal_says_what_can(load, tmp_path):
    city = load()
    for refuse in (validate_survey, choices):
        with pytest.raises(ParameterError, match="town has no survey, only incidents.*06-recorded-incidents"):
            refuse(city)
    asked = ["evaluate", "town", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 2 and told.stderr.count("has no survey") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("lacking", ["incidents.csv", "areas.csv"])
def test_a_city_with_neither_survey_nor_incidents_or_without_areas_is_refused(lacking, write_city_files):
    files = ALONE | {"incidents.csv": INCIDENTS}
    with pytest.raises(
        SchemaError, match="neither survey nor shares, and no incidents" if lacking[0] == "i" else "areas.csv: no such"
    ):
        load_city("town", raw=write_city_files({name: text for name, text in files.items() if name != lacking}))


def test_the_map_of_projects_is_drawn_without_a_survey_and_the_check_of_a_survey_refuses(shown, load, tmp_path):
    load(projects__csv="project,area,start\nmeet,north,2021-02-01\n")
    alts = [alt for _figure, alt in shown("00-map-projects", city="town", raw=str(tmp_path / "raw"))["pictures"]]
    assert len(alts) == 1 and "Survey waves: none." in alts[0]
    with pytest.raises(ParameterError, match="has no survey"):
        shown("01-check-city", city="town", raw=str(tmp_path / "raw"))
