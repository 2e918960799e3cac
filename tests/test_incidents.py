"""The panel of recorded incidents: which month is which, who is compared with whom, and what is not recorded."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from workbench.errors import ParameterError
from workbench.incidents import build_incidents

# mill and port have project p, port's begins a year later; hill lies beside mill, lake and wood beside nobody's project.
AREAS = ("mill", "port", "hill", "lake", "wood")
BESIDE = ("hill;port", "mill", "", "wood", "")


def months(first="2020-01", last="2024-12", freq="M"):
    return [str(p) for p in pd.period_range(first, last, freq=freq)]


def town(periods=None, *, announced="2021-02-15", full="2021-04-01", stop=None, beside=BESIDE, count=2, drop=(), **own):
    """A City as far as incidents read it: `count` burglaries everywhere in each period, but not in `drop`."""
    rows = [(a, m, "burglary", count) for a in AREAS for m in periods or months() if (a, m) not in drop]
    later = pd.Timestamp(full) + pd.DateOffset(years=1)
    projects = pd.DataFrame({
        "project": "p", "area": ["mill", "port"], "announced": pd.to_datetime([announced, later]),
        "full": pd.to_datetime([full, later]), "stop": pd.to_datetime([stop, None]),
    })  # fmt: skip
    return SimpleNamespace(**{
        "city": "town", "simulated": True, "discretion": {"burglary": "low"}, "projects": projects,
        "areas": pd.DataFrame({"area": AREAS, "population": [1000.0, 2000, 3000, 4000, 5000], "neighbours": beside}),
        "incidents": pd.DataFrame(rows, columns=["area", "month", "kind", "count"]).assign(population=np.nan),
    } | own)  # fmt: skip


def effects(panel, area):
    """Period -> the effects that act there."""
    design = panel["design"].sel(area=area)
    return {p: panel["effect"].values[design.sel(period=p).values > 0].tolist() for p in panel["period"].values}


def test_a_month_that_holds_announcement_or_full_start_is_announced_and_one_that_begins_with_it_runs():
    panel = build_incidents(town(), kind="burglary")
    mill = effects(panel, "mill")
    assert mill["2021-01"] == [] and mill["2021-02"] == mill["2021-03"] == ["p announced"]
    assert mill["2021-04"] == ["p 0"]
    assert effects(build_incidents(town(full="2021-04-02"), kind="burglary"), "mill")["2021-04"] == ["p announced"]


def test_years_since_full_start_are_full_years_and_the_fourth_holds_all_later_ones():
    mill = effects(build_incidents(town(), kind="burglary"), "mill")
    assert [mill[m] for m in ("2022-03", "2022-04", "2023-04", "2024-04", "2024-12")] == [
        ["p 0"], ["p 1"], ["p 2"], ["p 3"], ["p 3"]]  # fmt: skip


def test_a_month_that_holds_the_stop_and_all_after_it_have_an_effect_of_their_own():
    panel = build_incidents(town(stop="2023-06-10"), kind="burglary")
    mill = effects(panel, "mill")
    assert mill["2023-05"] == ["p 2"] and mill["2023-06"] == mill["2024-12"] == ["p stopped"]
    assert dict(zip(panel["effect"].values, panel["effect_kind"].values, strict=True))["p stopped"] == "stopped"


def test_the_window_is_the_months_whose_middle_lies_6_to_24_months_after_full_start():
    panel = build_incidents(town(), kind="burglary")
    inside = panel["period"].values[panel["window"].sel(project="p", area="mill").values]
    assert inside[[0, -1]].tolist() == ["2021-10", "2023-03"] and len(inside) == 18
    assert "no recorded period lies" not in panel.attrs["notices"]


def test_where_no_month_lies_in_the_window_all_running_ones_count_and_the_panel_says_so():
    panel = build_incidents(town(months(last="2022-07")), kind="burglary")
    port = panel["window"].sel(project="p", area="port").values
    assert panel["period"].values[port].tolist() == ["2022-04", "2022-05", "2022-06", "2022-07"]
    assert "burglary: where no recorded period lies 6 to 24 months" in panel.attrs["notices"]


def test_an_area_beside_a_project_leaves_the_comparison_from_its_full_start_on():
    panel = build_incidents(town(), kind="burglary")
    hill = effects(panel, "hill")
    assert hill["2021-03"] == [] and hill["2021-04"] == hill["2024-12"] == ["neighbours of p"]
    assert panel["neighbour"].values.tolist() == [False, False, True, False, False]
    # port lies beside mill too, until it is announced there itself
    assert effects(panel, "port")["2021-05"] == ["neighbours of p"] and effects(panel, "port")["2022-04"] == ["p 0"]
    beside = panel["period"].values[panel["beside"].sel(project="p", area="hill").values]
    assert beside[[0, -1]].tolist() == ["2021-10", "2023-03"]
    alone = build_incidents(town(), kind="burglary", neighbours=False)
    assert not alone["neighbour"].any() and "neighbours" not in alone["effect_kind"].values


def test_two_areas_are_neighbours_if_either_names_the_other():
    panel = build_incidents(town(beside=("", "", "mill", "", "")), kind="burglary")
    assert panel["neighbour"].values.tolist() == [False, False, True, False, False]
    assert panel["adjacency"].values.sum() == 2 and panel["adjacency"].values[0, 2] and panel["adjacency"].values[2, 0]


def test_displacement_that_cannot_be_seen_is_told():
    unknown = build_incidents(town(beside=("",) * 5), kind="burglary")
    assert "not known" in unknown.attrs["notices"] and not unknown["neighbour"].any()
    crowded = build_incidents(town(beside=("hill;lake;wood", "", "", "", "")), kind="burglary")
    assert "Every comparison area" in crowded.attrs["notices"] and not crowded["neighbour"].any()


@pytest.mark.parametrize(("freq", "first", "season"), [("Q", "2021-Q2", 4), ("Y", "2022", 1)])
def test_quarters_and_years_follow_the_same_rules(freq, first, season):
    periods = [p.replace("Q", "-Q") for p in months(freq=freq)]
    panel = build_incidents(town(periods), kind="burglary")
    running = [p for p, found in effects(panel, "mill").items() if found == ["p 0"]]
    assert running[0] == first and len(np.unique(panel["season"])) == season
    assert panel["residents"].values[0, 0] == 1000 / season


def test_a_period_without_a_row_is_left_out_and_counted_and_is_no_zero():
    panel = build_incidents(town(drop=[("lake", "2020-05"), ("mill", "2022-01")]), kind="burglary")
    assert np.isnan(panel["counts"].sel(area="lake", period="2020-05"))
    assert panel["counts"].isnull().sum() == 2 and "2 of 300" in panel.attrs["notices"]


def test_the_offset_expects_in_all_what_was_recorded_in_all_by_residents():
    panel = build_incidents(town(drop=[("lake", "2020-05")]), kind="burglary")
    expected = np.exp(panel["offset"]).where(panel["counts"].notnull())
    assert float(expected.sum()) == pytest.approx(598)
    assert (expected.sel(area="wood") / expected.sel(area="mill")).values == pytest.approx(5.0)


def test_residents_of_the_rows_themselves_come_first():
    place = town()
    place.incidents["population"] = place.incidents["month"].str[:4].astype(int) * 1.0
    assert build_incidents(place, kind="burglary")["residents"].sel(period="2023-07").values == pytest.approx(2023 / 12)
    place.areas["population"] = np.nan
    place.incidents["population"] = np.nan
    assert build_incidents(place, kind="burglary")["residents"].values == pytest.approx(1 / 12)


def test_areas_of_a_project_that_was_not_chosen_leave_and_so_do_those_that_began_too_early():
    place = town()
    place.projects = pd.concat([place.projects, place.projects.iloc[[0]].assign(project="q", area="wood")])
    assert build_incidents(place, kind="burglary", projects="p")["area"].values.tolist() == [
        "mill",
        "port",
        "hill",
        "lake",
    ]
    place.projects.loc[place.projects["project"] == "q", ["announced", "full"]] = pd.Timestamp("2020-01-20")
    panel = build_incidents(place, kind="burglary")
    assert "wood" not in panel["area"].values and "q was already announced" in panel.attrs["notices"]


def test_a_comparison_area_beside_a_project_that_was_not_chosen_leaves_if_another_is_left():
    place = town(beside=("", "", "", "wood", ""))
    place.projects = pd.concat([place.projects, place.projects.iloc[[0]].assign(project="q", area="wood")])
    chosen = build_incidents(place, kind="burglary", projects="p")
    assert chosen["area"].values.tolist() == ["mill", "port", "hill"]
    named = build_incidents(place, kind="burglary", projects="p", comparison="lake")
    assert named["area"].values.tolist() == ["mill", "port", "lake"]


def test_neighbours_have_their_own_effect_although_comparison_names_other_areas():
    panel = build_incidents(town(), kind="burglary", comparison="lake;wood")
    assert panel["neighbour"].values.tolist() == [False, False, True, False, False]


def test_a_project_counts_only_where_it_was_recorded_before_and_after():
    after = [("mill", m) for m in months() if m >= "2021-04"]
    panel = build_incidents(town(drop=after), kind="burglary")
    assert not panel["window"].sel(area="mill").any() and panel["window"].sel(area="port").any()
    before = [("mill", m) for m in months() if m < "2021-04"]
    assert "mill" not in build_incidents(town(drop=before), kind="burglary")["area"].values
    nowhere = [(a, m) for a in ("mill", "port") for m in months() if m >= "2021-04"]
    with pytest.raises(ParameterError, match="p was not in full operation"):
        build_incidents(town(drop=nowhere), kind="burglary")


def test_whether_a_year_counts_does_not_hang_on_leap_years():
    counts = {}
    for year in (2023, 2024):
        place = town([str(y) for y in range(2019, 2028)], announced=f"{year}-01-01", full=f"{year}-01-01")
        window = build_incidents(place, kind="burglary")["window"].sel(project="p", area="mill").values
        counts[year] = [int(y) - year for y, inside in zip(range(2019, 2028), window, strict=True) if inside]
    assert counts[2023] == counts[2024] == [0, 1]


def test_every_fault_of_the_choices_is_told_at_once():
    with pytest.raises(ParameterError) as error:
        build_incidents(town(), kind="burglry", projects="r", comparison="lakes", window_months="24-6")
    said = str(error.value)
    assert (
        "did you mean 'burglary'" in said and "project 'r'" in said and "did you mean 'lake'" in said and "24-6" in said
    )
    with pytest.raises(ParameterError, match="'hill'|'mill'.*has a project"):
        build_incidents(town(), kind="burglary", comparison="mill")
    with pytest.raises(ParameterError, match="one after its full start"):
        build_incidents(town(months(last="2021-03")), kind="burglary")
    with pytest.raises(ParameterError, match="no incident of kind"):
        build_incidents(town(count=0), kind="burglary")
    with pytest.raises(ParameterError, match=r"incidents\.csv"):
        build_incidents(town(incidents=None), kind="burglary")
