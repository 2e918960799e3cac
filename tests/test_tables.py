from types import SimpleNamespace

import numpy as np
import pandas as pd
import written_by_hand as hand

from workbench import tables
from workbench.language import month, said
from workbench.schema import CONDITIONS


def place(**waves):
    table = pd.DataFrame({"wave": ["2014", *hand.WAVES], "mode": "web", "questionnaire_version": "", "note": ""})
    start = pd.to_datetime(table["wave"] + "-03-01")
    table = table.assign(start=start, end=start + pd.Timedelta(days=50), known_break=False, **waves)
    rows = [
        ("hosts", "a00", "2020-10-01", 1000.0),
        ("hosts", "a01", "2020-09-01", np.nan),
        ("gone", "a39", "2010-01-01", 5.0),
    ]
    projects = pd.DataFrame(rows, columns=["project", "area", "start", "cost_eur"])
    dates = pd.to_datetime(projects["start"])
    projects = projects.assign(
        name=["Street hosts", "Street hosts", "Gone"], kind="presence", announced=dates, start=dates, full=dates,
        stop=pd.NaT, reached=np.nan, trigger="",
    )  # fmt: skip
    areas = pd.DataFrame({"area": [f"a{i:02d}" for i in range(40)], "name": [f"Area {i}" for i in range(40)]})
    return SimpleNamespace(waves=table, projects=projects, areas=areas)


def test_waves_without_answers_to_the_item_are_left_out_and_empty_columns_too():
    table = tables.waves(place(), panel=hand.panel(), lang="en")
    assert list(table.columns) == ["wave", "fieldwork", "mode", "answers, project areas", "answers, comparison areas"]
    assert list(table["wave"]) == list(hand.WAVES)
    assert list(table.iloc[0]) == ["2016", "Mar 2016 – Apr 2016", "web", "643", "1,193"]
    assert "answers, project areas" not in tables.waves(place(), lang="en")


def test_an_assumed_number_of_answers_is_called_assumed_and_no_total_is_made_of_it():
    panel = hand.panel().assign_attrs(n_assumed=1000.0)
    names = list(tables.waves(place(), panel=panel, lang="en").columns)
    assert "assumed answers, project areas" in names and "answers, project areas" not in names
    assert not [name for name in tables.design(panel, lang="en").columns if "answers" in name]


def test_weights_show_as_effective_answers():
    panel = hand.panel()
    panel["counts"] = panel["counts"] / 2
    assert tables.waves(place(), panel=panel, lang="nl")["effectieve antwoorden, alle gebieden"].iloc[0] == "918"


def test_projects_are_one_row_each_with_area_names_first_dates_and_sums():
    table = tables.projects(place(), panel=hand.panel(), lang="en")
    assert list(table.columns) == ["project", "kind", "areas", "announced", "start", "full start", "cost in euro"]
    first = month(pd.Timestamp("2020-09-01"), "en")
    assert table.to_numpy().tolist() == [["Street hosts", "presence", "Area 0, Area 1", *[first] * 3, "1,000"]]
    assert len(tables.projects(place(), lang="en")) == 2


def test_areas_are_listed_by_group_with_the_waves_that_count_for_them():
    table = tables.design(hand.panel(), lang="en")
    assert list(table["group"]) == ["project areas, from 2022", "project areas, from 2024", "comparison areas"]
    assert list(table["areas"]) == [10, 4, 26] and list(table["waves that count"]) == ["2022, 2024", "2024", ""]
    assert table["answers, all waves"].iloc[1] == "918"  # 4 areas x 5 waves x 45.9


def test_a_break_names_the_areas_it_touched():
    table = tables.waves(place(break_areas=["", "", "", "", "a01;a02", ""]), panel=hand.panel(), lang="en")
    assert list(table["break"]) == ["", "", "", "yes a01;a02", ""]


def test_waves_in_which_fewer_areas_were_asked_show_it():
    panel = hand.panel()
    assert "areas with answers" not in tables.waves(place(), panel=panel, lang="en")
    panel["respondents"][5:, 0] = 0
    assert list(tables.waves(place(), panel=panel, lang="en")["areas with answers"]) == [5, 40, 40, 40, 40]


def test_notices_are_text_and_no_notice_leaves_nothing():
    shown = lambda *texts: tables.notices(SimpleNamespace(notices=texts), lang="en").data
    assert "&lt;b&gt;" in shown("<b>") and shown() == ""


def test_what_the_reader_of_the_files_says_is_marked_as_english_and_what_the_panel_adds_is_not():
    made = hand.panel().assign_attrs(notices="no dates\nGeen gebied")
    shown = tables.notices(SimpleNamespace(notices=("no dates",)), panel=made, lang="nl").data
    assert '<li lang="en">no dates</li><li>Geen gebied</li>' in shown


def test_a_city_without_scores_is_told_how_to_add_them():
    text = said("no_scores", "nl", conditions=CONDITIONS)
    assert "collective_impact.csv" in text and "backbone" in text
