"""Estimands on posteriors written by hand, where the answer is one line of arithmetic."""

import numpy as np
import pytest
import xarray as xr
from scipy.special import expit
from small_panel import panel as small

from workbench import estimands


def two_projects():
    """Three areas, three waves: "p" in area north from wave 1, "q" in south from wave 2; three answers, two strata."""
    exposure = np.zeros((2, 3, 3))
    exposure[0, 0, 1:] = exposure[1, 1, 2:] = 1
    event = np.full((2, 3, 3), -1)
    event[0, 0, 1:], event[1, 1, 2] = [0, 1], 0
    design = np.zeros((3, 3, 3))
    design[0, 1, 0] = design[0, 2, 1] = design[1, 2, 2] = 1
    return xr.Dataset(
        {
            "counts": (("area", "wave", "stratum", "answer"), np.full((3, 3, 2, 3), 10.0)),
            "respondents": (("area", "wave"), np.full((3, 3), 60.0)),
            "share_unsafe": (("area", "wave"), np.array([[0.5, 0.4, 0.3], [0.6, 0.5, 0.2], [0.2, 0.2, 0.2]])),
            "population": (("area", "stratum"), np.array([[600.0, 400.0], [1500.0, 1500.0], [500.0, 500.0]])),
            "treated": ("area", [True, True, False]),
            "exposure": (("project", "area", "wave"), exposure),
            "event_time": (("project", "area", "wave"), event),
            "window": (("project", "area", "wave"), exposure > 0),
            "design": (("area", "wave", "effect"), design),
            "effect_project": ("effect", [0, 0, 1]),
            "year": ("wave", [2020.0, 2021.0, 2022.0]),
            "project_minimum": ("project", [np.nan, 4.0]),
        },
        coords={
            "area": ["north", "south", "east"],
            "wave": ["2020", "2021", "2022"],
            "stratum": ["young", "old"],
            "project": ["p", "q"],
            "effect": ["p 0", "p 1", "q 0"],
            "category": ["never", "sometimes", "often"],
        },
        attrs={"unsafe_index": 1, "minimum_pp": 2.0, "item": "x"},
    )


LATENT = np.array([[-1.0, -1.3, -1.1], [-0.6, -0.5, -0.9], [-1.6, -1.5, -1.7]])
DELTA = np.array([-0.4, -0.2, -0.6])
STRATA = np.array([0.3, -0.3])
CUT = np.array([0.0, 1.2])


def draws(*, shift=(0.0, 0.0)):
    """One chain of two draws; the second moves the latent index and the effects by `shift`."""
    both = lambda x, d: np.stack([x, x + d])[None]
    return xr.Dataset(
        {
            "latent": (("chain", "draw", "area", "wave"), both(LATENT, shift[0])),
            "delta": (("chain", "draw", "effect"), both(DELTA, shift[1])),
            "strata": (("chain", "draw", "stratum"), both(STRATA, 0.0)),
            "cut": (("chain", "draw", "threshold"), both(CUT, 0.0)),
        },
        coords={
            "area": ["north", "south", "east"],
            "wave": ["2020", "2021", "2022"],
            "stratum": ["young", "old"],
            "effect": ["p 0", "p 1", "q 0"],
            "threshold": ["sometimes", "often"],
        },
    )


def unsafe(eta, mix, cut=0.0):
    """Percent at or above a threshold, by hand: strata mixed by residents."""
    return 100 * (mix[0] * expit(eta + STRATA[0] - cut) + mix[1] * expit(eta + STRATA[1] - cut))


def change(area, wave, delta, cut=0.0):
    mix = [(0.6, 0.4), (0.5, 0.5)][area]
    return unsafe(LATENT[area, wave], mix, cut) - unsafe(LATENT[area, wave] - delta, mix, cut)


NORTH = (change(0, 1, DELTA[0]) + change(0, 2, DELTA[1])) / 2
SOUTH = change(1, 2, DELTA[2])
ALL = (1000 * NORTH + 3000 * SOUTH) / 4000


def test_the_att_is_the_formula_of_the_method():
    found = estimands.att(two_projects(), draws())
    assert found.dims == ("chain", "draw")
    np.testing.assert_allclose(found.values, ALL, atol=1e-12)


def test_each_draw_has_its_own_effect():
    found = estimands.att(two_projects(), draws(shift=(0.5, -0.3)))
    assert found.values[0, 0] == pytest.approx(ALL)
    assert found.values[0, 1] != pytest.approx(ALL, abs=0.5)


def test_no_effect_is_exactly_zero():
    nothing = draws()
    nothing["delta"] = 0 * nothing["delta"]
    assert (estimands.att(two_projects(), nothing) == 0).all()


def test_effects_by_project_area_and_event_time_are_their_parts():
    made, posterior = two_projects(), draws()
    by = {
        dim: estimands.att_by(made, posterior, dim).isel(chain=0, draw=0) for dim in ("project", "area", "event_time")
    }
    assert by["project"].sel(project="p") == pytest.approx(NORTH)
    assert by["project"].sel(project="q") == pytest.approx(SOUTH)
    assert list(by["area"]["area"].values) == ["north", "south"]
    assert by["area"].sel(area="south") == pytest.approx(SOUTH)
    at_start = (1000 * change(0, 1, DELTA[0]) + 3000 * SOUTH) / 4000
    assert by["event_time"].sel(event_time=0) == pytest.approx(at_start)
    assert by["event_time"].sel(event_time=1) == pytest.approx(change(0, 2, DELTA[1]))


def test_where_two_projects_overlap_each_is_taken_out_alone():
    made = two_projects()
    made["exposure"][1, 0, 2], made["window"][1, 0, 2], made["event_time"][1, 0, 2] = 1, True, 0
    made["design"][0, 2, 2] = 1
    mix = (0.6, 0.4)
    alone = unsafe(LATENT[0, 2], mix) - unsafe(LATENT[0, 2] - DELTA[1], mix)
    together = unsafe(LATENT[0, 2], mix) - unsafe(LATENT[0, 2] - DELTA[1] - DELTA[2], mix)
    first = change(0, 1, DELTA[0])
    found = estimands.att_by(made, draws(), "project").isel(chain=0, draw=0)
    assert found.sel(project="p") == pytest.approx((first + alone) / 2)
    area = estimands.att_by(made, draws(), "area").isel(chain=0, draw=0)
    assert area.sel(area="north") == pytest.approx((first + together) / 2)


def test_the_shift_of_categories_sums_to_zero_and_matches_every_cut():
    found = estimands.att_by(two_projects(), draws(), "category").isel(chain=0, draw=0)
    often = (
        1000 * (change(0, 1, DELTA[0], 1.2) + change(0, 2, DELTA[1], 1.2)) / 2 + 3000 * change(1, 2, DELTA[2], 1.2)
    ) / 4000
    assert float(found.sum()) == pytest.approx(0, abs=1e-12)
    assert float(found.sel(category="often")) == pytest.approx(often)
    assert float(found.sel(category="never")) == pytest.approx(-ALL)


def test_the_latent_effect_is_the_weighted_mean_of_the_removed_terms():
    found = estimands.latent_att(two_projects(), draws()).values[0, 0]
    assert found == pytest.approx((1000 * (-0.4 - 0.2) / 2 + 3000 * -0.6) / 4000)
    assert estimands.latent_att(two_projects(), draws(), "q").values[0, 0] == pytest.approx(-0.6)


def test_a_summary_has_equal_tailed_intervals_and_chances():
    x = xr.DataArray(np.linspace(-4, 2, 601)[None], dims=("chain", "draw"))
    found = estimands.summarise(x, minimum_pp=2.0)
    assert found["mean"] == pytest.approx(-1)
    assert (found["lower90"], found["upper90"]) == pytest.approx((-3.7, 1.7))
    assert (found["lower50"], found["upper50"]) == pytest.approx((-2.5, 0.5))
    assert found["p_fall"] == pytest.approx(400 / 601) and found["p_rise"] == pytest.approx(200 / 601)
    assert found["p_fall_minimum"] == pytest.approx(200 / 601)


def test_a_project_with_a_minimum_of_its_own_is_judged_by_it():
    assert list(estimands.project_minimum(two_projects())) == [2.0, 4.0]


def tree():
    prior = xr.Dataset(
        {"delta": (("chain", "draw", "effect"), np.random.default_rng(1).normal(0, 0.2, (1, 500, 3)))},
        coords={"effect": ["p 0", "p 1", "q 0"]},
    )
    return xr.DataTree.from_dict({"posterior": draws(shift=(0.1, -0.1)), "prior": prior})


def test_effects_table_has_the_columns_and_estimands_of_the_contract():
    table = estimands.effects_table(two_projects(), tree())
    assert list(table.columns) == [
        "estimand", "project", "area", "item", "scale", "event_time", "category", "mean", "sd",
        "lower50", "upper50", "lower90", "upper90", "p_fall", "p_fall_minimum", "p_rise",
    ]  # fmt: skip
    assert set(table["estimand"]) == {"att", "att_by_project", "att_by_area", "att_by_event_time", "att_by_category"}
    assert set(table["scale"]) == {"pp", "latent"}
    assert table[["mean", "sd", "lower90", "upper90", "p_fall"]].notna().all().all()
    assert len(table[table["estimand"] == "att_by_category"]) == 3


def test_the_prior_of_an_effect_is_taken_at_this_citys_baseline():
    made, idata = two_projects(), tree()
    prior = estimands.prior_effects(made, idata).query("estimand == 'att' and scale == 'pp'").iloc[0]
    # Around 25 % unsafe a logit effect with sd 0.2 moves about 0.2 * 0.25 * 0.75 = 3.7 points in one area-wave;
    # north averages two draws and south has three quarters of the weight.
    assert 2.0 < prior["sd"] < 4.0
    assert prior["mean"] == pytest.approx(0, abs=0.6)


def test_trends_show_what_was_seen_and_what_would_have_been():
    table = estimands.trends(two_projects(), tree()).set_index(["group", "series", "wave"])
    seen = table.loc[("treated", "observed", "2022"), "mean"]
    assert seen == pytest.approx((1000 * 30 + 3000 * 20) / 4000)
    before = table.loc[("treated", "without", "2020")], table.loc[("treated", "modelled", "2020")]
    assert before[0]["mean"] == pytest.approx(before[1]["mean"])
    after = table.loc[("treated", "without", "2022"), "mean"] - table.loc[("treated", "modelled", "2022"), "mean"]
    assert after > 0
    assert ("comparison", "without", "2022") not in table.index


def test_what_would_be_needed_grows_with_what_the_data_leave_open():
    made = small([[25, 24], [24, 23], [20, 20]], treated=(0, 1), minimum_pp=2.0)
    said = estimands.needed(made, {"sd": 1.5, "prior_sd": 3.0}, lang="en")
    information = 1 / 1.5**2 - 1 / 3.0**2
    areas = int(np.ceil(2 * (1.645 / 2.0) ** 2 / information))
    assert f"about {areas} " in said and areas > 2
    assert "almost nothing" in estimands.needed(made, {"sd": 2.99, "prior_sd": 3.0}, lang="en")


def test_one_area_is_never_told_to_find_more_areas_like_itself():
    made = small([[25, 24], [24, 23], [20, 20]], treated=(0,), minimum_pp=2.0)
    said = estimands.needed(made, {"sd": 1.5, "prior_sd": 3.0}, lang="en")
    assert "about 3 times as much information" in said and "areas like these" not in said
    assert "wait for more waves" in estimands.needed(made, {"sd": 2.99, "prior_sd": 3.0}, lang="en")


def test_an_unknown_breakdown_is_refused():
    with pytest.raises(ValueError, match="allowed are project, area"):
        estimands.att_by(two_projects(), draws(), "street")
