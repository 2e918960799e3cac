"""The panel of small cities written by hand: every count, phase and rule checked against paper."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from workbench.cities import load_city
from workbench.errors import ParameterError
from workbench.panel import answer_shares, build_panel
from workbench.simulate import draw_city

SURVEY = "respondent,area,wave,weight,sex,unsafe_neighbourhood\n"
WAVES = "wave,start,end\n" + "".join(f"{y},{y}-03-01,{y}-04-30\n" for y in range(2019, 2025))
PROJECTS = "project,area,announced,start,full,stop,min_worthwhile_pp\n"
SHARES = """name = "Little town"
language = "en"
[shares]
assumed_n = 400
"""


@pytest.fixture
def town(city_files, write_city_files):
    """Return a function that loads the small city with some of its files replaced; None leaves a file out."""

    def load(**files):
        changed = {f"{name}.csv": text for name, text in files.items()}
        if "shares" in files:
            changed |= {"survey.csv": None, "city.toml": SHARES}
        chosen = {name: text for name, text in (city_files | changed).items() if text is not None}
        return load_city("town", raw=write_city_files(chosen))

    return load


def rows(cells):
    """A survey from {(area, wave): [(answer, sex, weight), ...]}."""
    made = [
        f"{area[0]}{wave}{i},{area},{wave},{weight},{sex},{answer}"
        for (area, wave), people in cells.items()
        for i, (answer, sex, weight) in enumerate(people)
    ]
    return SURVEY + "\n".join(made) + "\n"


def filled(years=(2021, 2022, 2023), **changes):
    """Two answers in every area and wave, but for the cells in `changes` (area_year)."""
    usual = [("never", "f", 1), ("often", "m", 1)]
    cells = {(a, y): usual for y in years for a in ("north", "south", "east", "west")}
    return cells | {(k.split("_")[0], int(k.split("_")[1])): v for k, v in changes.items()}


def six_waves(projects, **kwargs):
    """Files of a city with yearly waves 2019 to 2024, fieldwork March and April."""
    return {
        "waves": WAVES,
        "survey": rows(filled(range(2019, 2025))),
        "projects": PROJECTS + projects,
    } | kwargs


def phases(panel, project, area):
    """The effect that stands in each wave of an area, "" before the announcement."""
    design = panel["design"].sel(area=area)
    names = [
        [e.removeprefix(f"{project} ") for e in panel["effect"].values if design.sel(wave=w, effect=e) > 0]
        for w in panel["wave"].values
    ]
    return [" ".join(n) for n in names]


def test_counts_are_exactly_the_answers_given(town):
    people = [("never", "f", 1), ("never", "f", 1), ("often", "m", 1), ("always", "f", 1), ("rarely", "m", 1)]
    panel = build_panel(town(survey=rows(filled(north_2021=people))))
    assert panel["counts"].dims == ("area", "wave", "stratum", "answer")
    assert panel["stratum"].values.tolist() == ["f", "m"]
    found = panel["counts"].sel(area="north", wave="2021").to_pandas()
    assert found.loc["f"].tolist() == [2, 0, 0, 0, 1] and found.loc["m"].tolist() == [0, 1, 0, 1, 0]
    assert float(panel["counts"].sum()) == 5 + 11 * 2
    assert float(panel["respondents"].sel(area="north", wave="2021")) == 5
    assert float(panel["share_unsafe"].sel(area="north", wave="2021")) == pytest.approx(2 / 5)
    assert panel["lower"].values.tolist() == panel["upper"].values.tolist() == [0, 1, 2, 3, 4]


def test_a_missing_answer_counts_nowhere_and_an_area_not_surveyed_in_a_wave_has_no_share(town):
    survey = filled(north_2021=[("never", "f", 1), ("", "f", 1)])
    del survey["east", 2022]
    panel = build_panel(town(survey=rows(survey)))
    assert float(panel["counts"].sel(area="north", wave="2021").sum()) == 1
    empty = panel.sel(area="east", wave="2022")
    assert float(empty["counts"].sum()) == 0 == float(empty["respondents"]) and np.isnan(empty["share_unsafe"])


def test_weights_give_kish_effective_answers_per_area_wave_spread_over_its_strata(town):
    people = [("never", "f", 3), ("often", "f", 1), ("often", "m", 2)]
    panel = build_panel(town(survey=rows(filled(north_2021=people))))
    kish = (3 + 1 + 2) ** 2 / (9 + 1 + 4)
    found = panel["counts"].sel(area="north", wave="2021").to_pandas()
    assert found.to_numpy().sum() == pytest.approx(kish)
    assert found.loc["f", "never"] == pytest.approx(kish * 3 / 6)
    assert found.loc["f", "often"] == pytest.approx(kish / 6) and found.loc["m", "often"] == pytest.approx(kish * 2 / 6)
    assert float(panel["share_unsafe"].sel(area="north", wave="2021")) == pytest.approx(3 / 6)
    assert float(panel["respondents"].sel(area="north", wave="2021")) == 3


def test_strata_combine_what_the_city_knows_and_skip_what_never_varies(town):
    lines = rows(filled()).splitlines()
    bands = ["16-34", "65+", "16-34"]
    extra = [line + (",age_band,education" if i == 0 else f",{bands[i % 3]},high") for i, line in enumerate(lines)]
    panel = build_panel(town(survey="\n".join(extra) + "\n"))
    assert panel["stratum"].values.tolist() == ["f | 16-34", "f | 65+", "m | 16-34", "m | 65+"]
    assert float(panel["counts"].sum()) == 24


def test_residents_are_those_of_the_area_in_the_proportions_of_the_sample(town):
    survey = filled(north_2021=[("never", "f", 1)] * 6)
    panel = build_panel(town(survey=rows(survey)))
    population = panel["population"].to_pandas()
    assert population.sum(axis=1).to_dict() == pytest.approx({"north": 4000, "south": 6000, "east": 5000, "west": 5500})
    assert population.loc["north", "f"] == pytest.approx(4000 * 8 / 10) and population.loc["south", "f"] == 3000
    assert panel.attrs["equal_areas"] == 0


def cells(text, *, columns="area,sex,population", areas=("north", "south", "east", "west")):
    """A population.csv with the same cells in every area: "f,700 m,300"."""
    return f"{columns}\n" + "".join(f"{area},{cell}\n" for area in areas for cell in text.split())


def test_residents_are_those_of_the_population_table_whoever_answered(town):
    survey = filled(north_2021=[("never", "f", 1)] * 6)
    panel = build_panel(town(survey=rows(survey), population=cells("f,700 m,300")))
    assert panel["population"].dims == ("area", "stratum")
    np.testing.assert_allclose(panel["population"], [[700, 300]] * 4)
    assert panel["sex"].values.tolist() == ["f", "m"]


def banded(people):
    """Rows of `filled` with an age band per person: [(answer, sex, weight, band), ...] in every area and wave but for north."""
    usual = [("never", "f", 1, "16-34"), ("often", "m", 1, "65+"), ("often", "f", 1, "65+")]
    lines = [SURVEY.replace("sex,", "sex,age_band,")]
    for year in (2021, 2022, 2023):
        for area in ("north", "south", "east", "west"):
            for i, (answer, sex, weight, band) in enumerate(people if area == "north" else usual):
                lines.append(f"{area[0]}{year}{i},{area},{year},{weight},{sex},{band},{answer}\n")
    return "".join(lines)


def test_what_the_table_does_not_tell_follows_the_areas_own_answers_in_each_cell(town):
    own = [("never", "f", 3, "16-34"), ("often", "f", 1, "65+"), ("often", "m", 1, "65+")]
    panel = build_panel(town(survey=banded(own), population=cells("f,800 m,200")))
    assert panel["stratum"].values.tolist() == ["f | 16-34", "f | 65+", "m | 65+"]
    np.testing.assert_allclose(panel["population"].sel(area="north"), [600, 200, 200])
    np.testing.assert_allclose(panel["population"].sel(area="east"), [400, 400, 200])


def test_a_cell_without_answers_in_an_area_is_spread_as_in_the_whole_city(town):
    men_only = [("never", "m", 1, "65+"), ("often", "m", 1, "65+")]
    panel = build_panel(town(survey=banded(men_only), population=cells("f,800 m,200")))
    np.testing.assert_allclose(panel["population"].sel(area="north"), [400, 400, 200])


def test_residents_of_a_group_that_nobody_belongs_to_are_left_out_with_a_notice(town):
    city = town(survey=rows(filled()), population=cells("f,700 m,300 x,250"))
    assert build_panel(city)["population"].sum("stratum").values.tolist() == [1000] * 4
    assert "20.0 % of residents have a sex that nobody in the survey has (x)" in "\n".join(city.notices)


def test_a_population_table_gives_areas_the_totals_that_areas_csv_lacks(town):
    bare = "area,name\nnorth,N\nsouth,S\neast,E\nwest,W\n"
    city = town(areas=bare, survey=rows(filled()), population=cells("f,700 m,300"))
    assert city.areas["population"].tolist() == [1000] * 4 and not any("counts alike" in n for n in city.notices)
    assert build_panel(city).attrs["equal_areas"] == 0


def test_of_published_shares_a_population_table_tells_the_totals_only(town):
    text = shares_csv(dict.fromkeys((2021, 2022, 2023), THREE))
    panel = build_panel(town(shares=text, projects=PLAIN, population=cells("f,700 m,300")))
    assert panel["population"].values.tolist() == [[1000]] * 4


def test_weights_decide_the_answers_of_a_stratum_and_the_table_how_many_residents_it_stands_for(town):
    people = [("never", "f", 3), ("often", "f", 1), ("often", "m", 2), ("never", "m", 2)]
    survey = rows(dict.fromkeys(filled(), people))
    lighter = survey.replace(",3,f", ",9,f").replace(
        ",1,f", ",3,f"
    )  # women weigh three times as much, alike among them
    for text in (survey, lighter):
        panel = build_panel(town(survey=text, population=cells("f,500 m,500")))
        np.testing.assert_allclose(panel["population"], 500)
        by_sex = panel["counts"].sel(area="north", wave="2021") / panel["counts"].sel(area="north", wave="2021").sum(
            "answer"
        )
        assert by_sex.sel(stratum="f", answer="never") == pytest.approx(0.75)


def test_without_populations_areas_count_alike(town):
    panel = build_panel(town(areas="area,name\nnorth,N\nsouth,S\neast,E\nwest,W\n", survey=rows(filled())))
    assert panel["population"].sum("stratum").values.tolist() == [1, 1, 1, 1] and panel.attrs["equal_areas"] == 1


def shares_csv(by_wave, *, area_shares=None):
    """Shares of the three classes of stadsmonitor_neighbourhood, the same in all areas; n stated where given."""
    lines = ["area,wave,item,category,share"]
    for wave, shares in by_wave.items():
        for area in ("north", "south", "east", "west"):
            chosen = (area_shares or {}).get((area, wave), shares)
            lines += [f"{area},{wave},stadsmonitor_neighbourhood,{c},{s}" for c, s in chosen.items()]
    return "\n".join(lines) + "\n"


THREE = {"never-rarely": "70.5", "sometimes": "20.5", "often-always": "9.0"}
PLAIN = "project,area,announced,start,full\nmeet,north,2021-06-01,2021-09-01,2021-12-01\n"


def test_the_assumed_number_is_that_of_the_cells_that_state_none(town):
    head, *lines = shares_csv(dict.fromkeys((2021, 2022, 2023), THREE)).splitlines()
    stated = [f"{line},{'' if line.startswith('south,2022') else 900}" for line in lines]
    panel = build_panel(town(shares="\n".join([f"{head},n", *stated]) + "\n", projects=PLAIN))
    assert panel.attrs["n_assumed"] == 400
    assert panel["respondents"].sel(wave="2022", area=["north", "south"]).values.tolist() == [900, 400]


def test_published_shares_become_counts_of_the_assumed_answers(town):
    panel = build_panel(town(shares=shares_csv(dict.fromkeys((2021, 2022, 2023), THREE)), projects=PLAIN))
    found = panel["counts"].sel(area="south", wave="2022", stratum="all").values
    np.testing.assert_allclose(found, [282, 82, 36])
    assert (
        panel.attrs["n_assumed"] == 400
        and panel.attrs["shares"] == 1
        and panel.attrs["baseline_pp"] == pytest.approx(29.5)
    )


def test_shares_that_sum_to_a_bit_less_than_100_still_count_n_answers(town):
    low = {"never-rarely": "70.4", "sometimes": "20.5", "often-always": "9.0"}
    panel = build_panel(town(shares=shares_csv({2021: THREE, 2022: low, 2023: THREE}), projects=PLAIN))
    found = panel["counts"].sel(area="south", wave="2022", stratum="all").values
    np.testing.assert_allclose(found, 400 * np.array([70.4, 20.5, 9.0]) / 99.9)


def test_a_wave_that_lists_one_class_has_one_answer_for_the_rest(town):
    city = town(shares=shares_csv({2021: THREE, 2022: THREE, 2023: {"often-always": "8.5"}}), projects=PLAIN)
    panel = build_panel(city, unsafe_from="often-always")
    rest = "never-rarely to sometimes"
    bounds = {a: (int(panel["lower"].sel(answer=a)), int(panel["upper"].sel(answer=a))) for a in panel["answer"].values}
    assert bounds == {"never-rarely": (0, 0), rest: (0, 1), "sometimes": (1, 1), "often-always": (2, 2)}
    found = panel["counts"].sel(area="north", wave="2023", stratum="all").to_series()
    assert found.to_dict() == pytest.approx({"never-rarely": 0, rest: 366, "sometimes": 0, "often-always": 34})
    assert float(panel["counts"].sel(wave="2022", answer=rest).sum()) == 0
    assert panel["share_unsafe"].sel(area="north").values.tolist() == pytest.approx([0.09, 0.09, 0.085])


def test_a_share_that_a_wave_does_not_tell_is_missing_and_not_invented(town):
    city = town(shares=shares_csv({2021: THREE, 2022: THREE, 2023: {"often-always": "8.5"}}), projects=PLAIN)
    panel = build_panel(city, unsafe_from="sometimes")
    assert np.isnan(panel["share_unsafe"].sel(wave="2023")).all()
    assert panel["share_unsafe"].sel(area="north", wave="2022") == pytest.approx(0.295)
    table = answer_shares(panel).set_index(["group", "wave", "answer"])["share"].sort_index()
    assert table["comparison", "2023"].to_dict() == pytest.approx(
        {"never-rarely to sometimes": 91.5, "often-always": 8.5}
    )
    assert set(table["treated", "2022"].index) == {"never-rarely", "sometimes", "often-always"}


def test_a_cut_that_no_wave_publishes_is_refused(town):
    city = town(shares=shares_csv({year: {"often-always": "8.5"} for year in (2021, 2022, 2023)}), projects=PLAIN)
    with pytest.raises(ParameterError, match="unsafe_from 'sometimes'.*never-rarely to sometimes, often-always"):
        build_panel(city, unsafe_from="sometimes")


def test_classes_left_out_on_both_sides_are_refused(town):
    city = town(shares=shares_csv({2021: THREE, 2022: THREE, 2023: {"sometimes": "20.5"}}), projects=PLAIN)
    with pytest.raises(ParameterError, match="wave 2023 of stadsmonitor_neighbourhood lists sometimes"):
        build_panel(city)


def test_whole_percents_are_worth_fewer_answers(town):
    whole = {"never-rarely": "71", "sometimes": "20", "often-always": "9"}
    panel = build_panel(town(shares=shares_csv({2021: THREE, 2022: whole, 2023: THREE}), projects=PLAIN))
    sampling = 0.71 * 0.29 + 0.20 * 0.80 + 0.09 * 0.91
    worth = sampling / (sampling / 400 + 3 * 0.01**2 / 12)
    assert worth < 400
    by_wave = panel["counts"].sel(area="east").sum(("stratum", "answer")).values
    np.testing.assert_allclose(by_wave, [400, worth, 400])
    assert panel["respondents"].sel(area="east").values.tolist() == [400, 400, 400]


def test_a_stated_n_is_not_called_assumed(town):
    text = shares_csv(dict.fromkeys((2021, 2022, 2023), THREE)).replace("share\n", "share,n\n", 1)
    text = "\n".join(line + ("" if i == 0 or not line else ",250") for i, line in enumerate(text.split("\n")))
    panel = build_panel(town(shares=text, projects=PLAIN))
    assert panel.attrs["n_assumed"] == 0 and float(panel["counts"].sel(area="east", wave="2021").sum()) == 250


def test_the_window_is_6_to_24_months_after_full_start_and_the_rest_runs_outside_it(town):
    panel = build_panel(town(**six_waves("meet,north,2020-06-01,2020-07-01,2020-09-01,,\n")))
    assert phases(panel, "meet", "north") == ["", "", "0", "1", "2", "3"]
    # From 1 September 2020 to the end of March: 7, 19, 31 and 43 months.
    assert panel["window"].sel(project="meet", area="north").values.tolist() == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert panel["event_time"].sel(project="meet", area="north").values.tolist() == [-1, -1, 0, 1, 2, 3]
    assert panel["exposure"].sel(project="meet", area="north").values.tolist() == [0, 0, 1, 1, 1, 1]
    assert panel.attrs["window_rule"] == (
        "The effect counts waves whose fieldwork lies 6 to 24 months after a project’s full start."
    )
    assert not panel["window"].sel(area="south").any() and panel["design"].sel(area="south").sum() == 0


def test_another_window_moves_which_waves_count(town):
    city = town(**six_waves("meet,north,2020-06-01,2020-07-01,2020-09-01,,\n"))
    window = build_panel(city, window_months="24-48")["window"].sel(project="meet", area="north").values
    assert window.tolist() == [False, False, False, False, True, True]


def test_without_a_wave_in_the_window_all_waves_after_full_start_count_and_the_report_says_so(town):
    panel = build_panel(town(**six_waves("meet,north,,2022-12-01,,,\n")), window_months="20-22")
    assert panel["window"].sel(project="meet", area="north").values.tolist() == [False] * 4 + [True] * 2
    assert panel.attrs["window_rule"].endswith(" and where there is none, all waves after it.")


def test_announced_and_stopped_waves_have_effects_of_their_own_outside_the_window(town):
    panel = build_panel(town(**six_waves("meet,north,2020-01-01,2020-06-01,2021-01-01,2023-01-01,\n")))
    assert phases(panel, "meet", "north") == ["", "announced", "0", "1", "stopped", "stopped"]
    window = panel["window"].sel(project="meet", area="north").values
    assert window.tolist() == [False, False, False, True, False, False], "2021 lies 3 months after full start"
    assert panel["exposure"].sel(project="meet", area="north").values.tolist() == [0, 0, 1, 1, 0, 0]
    assert panel["effect"].values.tolist() == ["meet announced", "meet 0", "meet 1", "meet stopped"]
    assert panel["effect_pooled"].values.tolist() == [False, True, True, False]


def test_cohorts_are_first_touched_waves_and_projects_keep_their_names_and_starts(town):
    two = "meet,north,2020-01-01,2020-06-01,2021-01-01,,3\nplay,south,,2022-06-01,,,\nmeet,east,,2021-06-01,,,3\n"
    panel = build_panel(town(**six_waves(two)))
    cohorts = dict(zip(panel["area"].values, panel["cohort"].values, strict=True))
    assert cohorts == {"north": "from 2020", "south": "from 2023", "east": "from 2022", "west": "never"}
    assert panel["treated"].values.tolist() == [True, True, True, False]
    assert panel["project"].values.tolist() == ["meet", "play"]
    assert panel["project_start"].values.tolist() == ["2020-06", "2022-06"]
    assert panel["project_name"].values.tolist() == ["meet", "play"]
    assert phases(panel, "meet", "east") == ["", "", "", "0", "1", "2"]
    np.testing.assert_allclose(panel["year"].values, np.arange(2019, 2025) + 0.245, atol=0.005)


def test_areas_of_projects_that_are_not_evaluated_leave_the_comparison(town):
    two = "meet,north,,2021-06-01,,,\nplay,south,,2022-06-01,,,\n"
    city = town(**six_waves(two))
    panel = build_panel(city, projects=("meet",))
    assert panel["area"].values.tolist() == ["north", "east", "west"] and panel["project"].values.tolist() == ["meet"]
    assert all(name.startswith("meet ") for name in panel["effect"].values)


def test_its_sentences_follow_the_language_and_a_list_may_be_one_text(town):
    two = "old,south,2018-01-01,2018-06-01,,,\nmeet,north,,2021-06-01,,,\n"
    panel = build_panel(town(**six_waves(two)), projects="old; meet", comparison="west", lang="nl")
    assert panel.attrs["window_rule"].startswith("Voor het effect tellen metingen")
    assert panel["area"].values.tolist() == ["north", "west"]


def test_comparison_restricts_the_untreated_areas(town):
    city = town(**six_waves("meet,north,,2021-06-01,,,\n"))
    assert build_panel(city, comparison=("west",))["area"].values.tolist() == ["north", "west"]
    with pytest.raises(ParameterError, match="comparison area 'north' has a project.*allowed: east, south, west"):
        build_panel(city, comparison=("north", "west"))


def test_a_project_announced_before_the_first_wave_is_left_out_with_its_areas(town):
    two = "old,south,2018-01-01,2018-06-01,,,\nmeet,north,,2021-06-01,,,\n"
    panel = build_panel(town(**six_waves(two)))
    assert panel["project"].values.tolist() == ["meet"] and "south" not in panel["area"].values
    told = [line for line in panel.attrs["notices"].splitlines() if "old" in line]
    assert len(told) == 1 and "first wave" in told[0]


def test_a_project_that_had_begun_in_one_area_is_evaluated_in_its_others(town):
    both = "meet,south,2019-01-01,2019-09-01,,,\nmeet,north,,2021-06-01,,,\n"
    panel = build_panel(town(**six_waves(both)))
    assert panel["area"].values.tolist() == ["north", "east", "west"]
    assert panel["project"].values.tolist() == ["meet"] and panel["project_start"].values.tolist() == ["2021-06"]


def test_a_project_that_starts_after_the_last_wave_is_named_and_its_area_still_compares(town):
    two = "meet,north,,2021-06-01,,,\nlater,south,,2030-06-01,,,\n"
    panel = build_panel(town(**six_waves(two)))
    assert panel["project"].values.tolist() == ["meet"] and "south" in panel["area"].values
    assert sum("later" in line for line in panel.attrs["notices"].splitlines()) == 1


def test_a_project_still_being_announced_in_the_last_wave_cannot_be_evaluated(town):
    two = "meet,north,,2021-06-01,,,\nslow,south,2023-06-01,2023-09-01,2030-01-01,,\n"
    panel = build_panel(town(**six_waves(two)))
    assert panel["project"].values.tolist() == ["meet"] and "south" not in panel["area"].values
    assert "Project slow was not in full operation in any wave" in panel.attrs["notices"]


def test_two_projects_in_one_area_are_told(town):
    two = "meet,north,,2021-06-01,,,\nplay,north,,2022-06-01,,,\n"
    panel = build_panel(town(**six_waves(two)))
    assert "More than one project runs in north" in panel.attrs["notices"]
    assert float(panel["design"].sel(area="north", wave="2024").sum()) == 2


def test_waves_that_did_not_ask_the_item_do_not_exist_for_it(town):
    lines = rows(filled(range(2019, 2025))).splitlines()
    survey = [lines[0] + ",stadsmonitor_harassed"]
    survey += [
        f"{line},{'' if ',2019,' in line or ',2022,' in line else 'sometimes' if ',f,' in line else 'never-rarely'}"
        for line in lines[1:]
    ]
    files = six_waves("meet,north,,2020-12-01,,,\nold,south,,2019-06-01,,,\n", survey="\n".join(survey) + "\n")
    panel = build_panel(town(**files), item="stadsmonitor_harassed")
    assert panel["wave"].values.tolist() == ["2020", "2021", "2023", "2024"]
    assert phases(panel, "meet", "north") == ["", "0", "1", "2"], "event time counts waves that asked"
    assert panel["project"].values.tolist() == ["meet"] and "south" not in panel["area"].values
    assert "Project old was already announced or running in the first wave" in panel.attrs["notices"]


def test_the_smallest_worthwhile_effect_is_asked_stated_or_a_quarter_of_the_baseline(town):
    # Baseline: of north's four answers before the start one is unsafe, 25 %, so min(2, 6.25).
    one = [("never", "f", 1), ("never", "m", 1), ("rarely", "m", 1), ("often", "m", 1)]
    few = [("never", "f", 1)] * 18 + [("often", "m", 1)]
    stated = "project,area,start,min_worthwhile_pp\nmeet,north,2021-09-01,3\n"
    blank = stated.replace(",3\n", ",\n")
    city = town(survey=rows(filled(north_2021=one)), projects=blank)
    panel = build_panel(city)
    assert panel.attrs["baseline_pp"] == pytest.approx(25) and panel.attrs["minimum_pp"] == 2
    assert build_panel(city, minimum_pp=1.5).attrs["minimum_pp"] == 1.5
    small = build_panel(town(survey=rows(filled(north_2021=few)), projects=blank))
    assert small.attrs["minimum_pp"] == pytest.approx(25 / 19)
    said = town(survey=rows(filled(north_2021=few)), projects=stated)
    assert build_panel(said).attrs["minimum_pp"] == 3 and build_panel(said, minimum_pp=1).attrs["minimum_pp"] == 1


def test_projects_that_state_different_smallest_effects_keep_their_own(town):
    panel = build_panel(town(**six_waves("meet,north,,2021-06-01,,,3\nplay,south,,2022-06-01,,,1\n")))
    assert panel["project_minimum"].values.tolist() == [3, 1] and panel.attrs["minimum_pp"] == 2


def test_every_wrong_name_is_refused_at_once_with_the_nearest(town):
    city = town()
    with pytest.raises(ParameterError) as refused:
        build_panel(
            city,
            item="unsafe_neighborhood",
            projects=("met",),
            comparison=("sotuh", "east"),
            window_months="24",
            minimum_pp=-1,
        )
    lines = str(refused.value).splitlines()
    for parts in (
        ("item 'unsafe_neighborhood'", "'unsafe_neighbourhood'?"), ("project 'met'", "'meet'?"),
        ("comparison area 'sotuh'", "'south'?"), ("window_months '24'", "6-24"), ("minimum_pp -1", "above 0"),
    ):  # fmt: skip
        assert any(all(part in line for part in parts) for line in lines), parts
    assert len(lines) == 5
    with pytest.raises(ParameterError, match="unsafe_from 'offen' is not a category, did you mean 'often'"):
        build_panel(city, unsafe_from="offen")


def test_a_cut_at_the_first_category_is_refused_because_everybody_would_be_unsafe(town):
    with pytest.raises(ParameterError, match="unsafe_from 'never'"):
        build_panel(town(), unsafe_from="never")


def test_another_cut_counts_other_answers_as_unsafe(town):
    people = [("never", "f", 1), ("rarely", "m", 1), ("sometimes", "m", 1), ("always", "m", 1)]
    city = town(survey=rows(filled(north_2021=people)))
    found = {
        cut: float(build_panel(city, unsafe_from=cut)["share_unsafe"].sel(area="north", wave="2021"))
        for cut in ("rarely", "often")
    }
    assert found == {"rarely": 0.75, "often": 0.25}


def test_a_city_without_projects_has_nothing_to_evaluate(town):
    with pytest.raises(ParameterError, match="town has no projects"):
        build_panel(replace(town(), projects=town().projects.iloc[:0]))


def test_one_wave_is_too_few(town):
    survey = {key: [("", "f", 1), ("", "m", 1)] if key[1] > 2021 else people for key, people in filled().items()}
    lines = rows(survey).replace("unsafe_neighbourhood", "unsafe_neighbourhood,stadsmonitor_harassed", 1).splitlines()
    survey = [lines[0], *(f"{line},{'sometimes' if ',f,' in line else 'never-rarely'}" for line in lines[1:])]
    city = town(survey="\n".join(survey) + "\n")
    with pytest.raises(ParameterError, match=r"'unsafe_neighbourhood' was asked in too few waves .*\(2021\)"):
        build_panel(city, item="unsafe_neighbourhood")


def test_no_comparison_and_nothing_to_evaluate_are_refused():
    city, _truth = draw_city(areas=4, treated=3, projects=1, waves=4, respondents=400)
    (left,) = set(city.areas["area"]) - set(city.projects["area"])
    extra = city.projects.iloc[[0]].assign(area=left)
    everywhere = replace(city, projects=pd.concat([city.projects, extra], ignore_index=True))
    with pytest.raises(ParameterError, match="no comparison area"):
        build_panel(everywhere)
    early = city.projects.assign(announced=pd.Timestamp("2000-01-01"))
    with pytest.raises(ParameterError, match="no project left to evaluate") as refused:
        build_panel(replace(city, projects=early))
    assert "street-hosts was already announced" in str(refused.value)
    with pytest.raises(ParameterError, match="no project left to evaluate"):
        build_panel(replace(city, respondents=city.respondents[city.respondents["area"] == left]))


def test_areas_treated_later_are_the_comparison_where_there_is_no_other():
    city, _truth = draw_city(areas=4, treated=3, projects=3, waves=6, respondents=400)
    areas = city.areas[city.areas["area"].isin(city.projects["area"])]
    rows_left = city.respondents[city.respondents["area"].isin(areas["area"])]
    panel = build_panel(replace(city, areas=areas, respondents=rows_left))
    assert panel["treated"].all() and len(set(panel["cohort"].values)) > 1


def test_a_wave_that_only_areas_outside_the_evaluation_answered_is_dropped():
    city, _truth = draw_city(areas=6, treated=2, projects=2, waves=6, respondents=1200)
    one, two = (set(rows["area"]) for _, rows in city.projects.groupby("project", sort=False))
    kept = city.respondents[(city.respondents["wave"] != "2022") | city.respondents["area"].isin(two)]
    first = city.projects["project"].iloc[0]
    panel = build_panel(replace(city, respondents=kept), projects=(first,))
    assert (
        "2022" not in panel["wave"].values and not set(panel["area"].values) & two and one <= set(panel["area"].values)
    )


def test_observed_answers_of_a_group_sum_to_100_with_binomial_bounds(town):
    table = answer_shares(build_panel(town(survey=rows(filled()))))
    sums = table.groupby(["group", "wave"])["share"].sum()
    assert len(sums) == 6 and sums.tolist() == pytest.approx([100] * 6)
    row = table[(table["group"] == "comparison") & (table["wave"] == "2021") & (table["answer"] == "never")].iloc[0]
    assert row["share"] == 50 and row["upper90"] - row["share"] == pytest.approx(100 * 1.645 * np.sqrt(0.25 / 6))
    assert table.loc[table["answer"] == "rarely", "share"].eq(0).all() and "rarely" in set(table["answer"])


def test_the_city_is_left_as_it_was(town):
    city = town()
    before = {name: getattr(city, name).copy() for name in ("areas", "waves", "projects", "respondents")}
    build_panel(city)
    for name, table in before.items():
        pd.testing.assert_frame_equal(getattr(city, name), table)
