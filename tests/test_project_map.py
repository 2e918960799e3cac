"""The map of projects: what runs where and when, what it costs and reaches, and what a city measures."""

from dataclasses import replace

import pandas as pd
import pytest

from workbench import project_map
from workbench.cities import load_city
from workbench.language import languages, said
from workbench.schema import FOCUS, TABLES, with_all_columns

DIMENSIONS = TABLES["indicators"]["dimension"].among

PROJECTS = """project,area,name,kind,focus,announced,start,full,stop,cost_eur,reached
meet,north,Meeting house,meeting,public-space,2021-06-01,2021-09-01,2021-12-01,,1000,30
meet,south,Meeting house,meeting,public-space,2021-06-01,2021-09-01,2021-12-01,,500,
walk,north,Evening walks,presence,,2022-01-01,2022-02-01,2022-02-01,2022-08-01,,12
club,south,Club,meeting,radicalisation,2020-01-01,2020-02-01,2020-02-01,2021-09-01,900,9
"""
MAP, OVERLAPS = "00-map-projects", "Areas with more than one project at a time"


@pytest.fixture
def raw(city_files, write_city_files):
    """Four areas: in north the walks overlap the meeting house, in south the club stops the day the other begins."""
    areas = city_files["areas.csv"].replace("North,4000", "North,400").replace("South,6000", "South,100")
    return write_city_files(city_files | {"projects.csv": PROJECTS, "areas.csv": areas})


@pytest.fixture
def town(raw):
    return load_city("town", raw=raw)


def test_projects_stand_in_the_order_in_which_they_start_and_a_focus_leaves_only_its_own(shown, raw):
    rows = lambda focus: [
        text.get_text()
        for text in shown(MAP, city="town", raw=raw, focus=focus)["pictures"][0][0].axes[0].get_yticklabels()
    ]
    assert rows("") == ["South", "North", "South", "North"] and rows("public-space") == ["North", "South"]
    assert shown(MAP, city="town", raw=raw, focus="organised-crime")["sentences"][0].startswith("No project to show.")


def test_two_projects_overlap_from_the_later_start_to_the_earlier_stop_and_not_when_one_ends_as_the_other_begins(
    shown, raw
):
    table = shown(MAP, city="town", raw=raw)[OVERLAPS]
    assert table.values.tolist() == [["North", "Meeting house", "Evening walks", "Feb 2022", "Aug 2022"]]


def test_two_projects_without_a_stop_overlap_to_this_day(shown, raw):
    file = raw / "town" / "projects.csv"
    file.write_text(file.read_text().replace("2022-08-01", "").replace("2020-02-01,2021-09-01", "2020-02-01,"))
    table = shown(MAP, city="town", raw=raw)[OVERLAPS]
    assert table["to"].tolist() == ["still running"] * 2 and table["from"].tolist() == ["Feb 2022", "Sep 2021"]


def test_with_a_focus_overlaps_are_those_of_its_projects_with_any_other(shown, raw):
    assert len(shown(MAP, city="town", raw=raw, focus="public-space")[OVERLAPS]) == 1, "the other one has no focus"
    assert OVERLAPS not in shown(MAP, city="town", raw=raw, focus="radicalisation")


def test_cost_is_divided_by_all_residents_of_the_areas_and_reach_left_out_where_an_area_has_none(town):
    meet = project_map.reach(town.projects, town, by="project", lang="en").set_index("project").loc["Meeting house"]
    assert meet["residents of these areas"] == "500" and meet["cost in euro"] == "1,500"
    assert meet["euro per resident"] == "3.00"
    assert meet["people reached"] == "30" and meet["reached, % of residents"] == ""


def test_residents_of_an_area_with_two_projects_of_a_kind_count_once(town):
    kinds = project_map.reach(town.projects, town, by="kind", lang="en").set_index("kind")
    assert kinds.loc["meeting", "areas"] == 2 and kinds.loc["meeting", "residents of these areas"] == "500"
    assert kinds.loc["meeting", "cost in euro"] == "2,400" and kinds.loc["meeting", "euro per resident"] == "4.80"
    assert kinds.loc["presence", "cost in euro"] == "" == kinds.loc["presence", "euro per resident"]


def test_an_area_without_a_population_is_not_counted_as_empty(town):
    town.areas.loc[0, "population"] = None
    table = project_map.reach(town.projects, town, by="project", lang="en").set_index("project")
    assert table.loc["Meeting house", ["residents of these areas", "euro per resident"]].tolist() == ["", ""]
    assert table.loc["Club", "euro per resident"] == "9.00"


def test_every_focus_has_a_name_and_projects_without_one_are_counted_as_such(town):
    assert len({said("focus", "nl", name=name) for name in ("", *FOCUS)}) == 1 + len(FOCUS)
    table = project_map.reach(town.projects, town, by="focus", lang="en")
    assert table["focus"].tolist() == ["public space", "no focus named", "radicalisation"]


def test_the_timeline_names_projects_waves_and_overlaps_and_hatches_only_these(shown, raw):
    fig, alt = shown(MAP, city="town", raw=raw)["pictures"][0]
    assert "Meeting house (2): Sep 2021 – still running" in alt and "Evening walks (1): Feb 2022 – Aug 2022" in alt
    assert "Survey waves: 2021, 2022, 2023." in alt and alt.endswith("Areas with two projects at a time: 1.")
    hatched = [bar for bar in fig.axes[0].patches if bar.get_hatch()]
    heights = {round(bar.get_y() + bar.get_height() / 2) for bar in hatched}
    assert heights == {-1, -3}, "rows from the top: club, meeting house north and south, walks"
    assert {round(bar.get_width()) for bar in hatched} == {181}


def test_only_what_still_runs_has_an_arrow(shown, raw):
    fig, _alt = shown(MAP, city="town", raw=raw, lang="fr")["pictures"][0]
    arrows = [line.get_ydata().tolist() for line in fig.axes[0].lines if line.get_marker() == ">"]
    assert arrows == [[-1, -2]]


def test_a_city_without_projects_is_told_what_to_add():
    assert "projects.csv" in said("no_projects", "nl")


@pytest.mark.parametrize("lang", languages())
def test_the_catalogue_has_the_six_dimensions_with_a_handful_of_indicators_each_in_every_language(lang):
    table = project_map.catalogue(lang)
    assert table.groupby("dimension", sort=False).size().between(3, 8).all()
    assert tuple(table["dimension"].unique()) == DIMENSIONS and table["indicator"].is_unique
    assert table.notna().all().all() and table.ne("").all().all()


def indicators(*rows):
    about = {"dimension": "social-cohesion", "unit": "", "source": ""}
    made = pd.DataFrame(rows, columns=["indicator", "area", "date", "value"]).assign(**about)
    return with_all_columns(made.assign(date=pd.to_datetime(made["date"])), "indicators")


def test_a_citys_latest_value_stands_beside_the_catalogue_and_what_it_lacks_stays_empty(shown, raw):
    rows = "dimension,indicator,area,date,value\nsocial-cohesion,volunteers,,2020-12-31,20\n"
    (raw / "town" / "indicators.csv").write_text(rows + "social-cohesion,volunteers,,2022-12-31,23.4\n")
    manifest = raw / "town" / "city.toml"
    manifest.write_text(manifest.read_text() + '\n[indicators]\nfile = "indicators.csv"\n')
    found = shown(MAP, city="town", raw=raw)
    table = found["Indicators by the six dimensions of Action 1"]
    assert table.loc[table["value"] != "", ["value", "when"]].values.tolist() == [
        ["23.4", "Dec 2022"],
        ["asked", "Apr 2023"],
    ]
    text = found["sentences"][-1]
    assert text.startswith("Indicators that are there: 2 of 25.") and "quality of life" in text
    assert "social cohesion" not in text and "sense of safety" not in text


def test_values_of_areas_are_told_from_lowest_to_highest_unless_the_whole_city_has_one(town):
    both = [("volunteers", "north", "2022-12-31", 30), ("volunteers", "south", "2022-12-31", 10)]
    town = replace(town, indicators=indicators(*both))
    assert project_map.indicators(town, lang="en").set_index("indicator").loc["volunteers", "told"] == "10 – 30"
    town = replace(town, indicators=indicators(*both, ("volunteers", "", "2022-12-31", 22)))
    assert project_map.indicators(town, lang="en").set_index("indicator").loc["volunteers", "told"] == "22"


def test_an_indicator_of_the_citys_own_stands_under_its_dimension_and_so_does_a_survey_item(town):
    own = indicators(("street-parties", "", "2022-12-31", 7))
    table = project_map.indicators(replace(town, indicators=own), lang="en")
    assert tuple(table["dimension"].unique()) == DIMENSIONS
    own = table.set_index("indicator").loc[["street-parties", "unsafe_neighbourhood"]]
    assert own["dimension"].tolist() == ["social-cohesion", "sense-of-safety"] and own["told"].tolist() == [
        "7",
        "asked",
    ]


def test_the_catalogue_filled_in_by_a_city_can_be_read_as_its_indicators(city_files, write_city_files):
    filled = project_map.catalogue("en").reindex(columns=list(TABLES["indicators"])).assign(date="2022-12-31", value=5)
    place = load_city("town", raw=write_city_files(city_files | {"indicators.csv": filled.to_csv(index=False)}))
    table = project_map.indicators(place, lang="en")
    assert len(table) == 25 and table["told"].ne("").all(), "24 of the catalogue and the survey's own question"
