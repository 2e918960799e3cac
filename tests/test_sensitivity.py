import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from small_panel import city, draws, panel
from test_honest import tilted

from workbench import checks, linear, sensitivity, verdict
from workbench.language import languages
from workbench.panel import build_panel
from workbench.simulate import draw_city

OTHERS = [[20, 20.5, 20, 20], [18, 18, 18.5, 18], [19, 19, 19, 19.5], [21, 21, 20.5, 21]]
FALL = {"mean": -3.0, "lower90": -5.0, "upper90": -1.0}
NOTHING = {"mean": -1.0, "lower90": -3.0, "upper90": 1.0}


def two_treated(row, *, first=3, n=2000):
    return panel([row, row, *OTHERS], treated=(0, 1), first=first, n=n)


def certain(rows, **options):
    """A panel with so many answers that every area-wave weighs the same: only shocks are left."""
    made = panel(rows, n=1e9, **options)
    return made, draws(made, rho=0.5)


def points_of(made, latent):
    return linear.as_points(latent, share=linear.window_share(linear.summaries(made)))


@pytest.mark.parametrize(
    "row, first, expected, words",
    [
        ([24, 24.3, 24, 14], 3, "pass", "The finding would no longer stand if"),
        ([24, 31, 24, 19], 3, "warn", "drifted apart after the start 0."),
        ([24, 24.3, 24, 23.5], 3, "pass", "room for no change"),
        ([24, 20, 20, 20], 1, "not possible", "Fewer than two waves"),
    ],
)
def test_a_finding_is_honest_about_the_drift_that_it_bears(row, first, expected, words):
    made = two_treated(row, first=first)
    found, message = sensitivity.honest_did(made, draws(made), lang="en")
    assert found == expected and words in message


def test_a_steady_drift_carried_on_is_told_in_points():
    steps = logit(0.3) - 0.2 * np.arange(4)
    made = two_treated(100 / (1 + np.exp(-steps)), n=5000)
    table = sensitivity.robust_intervals(made, draws(made), smooth_pp=(0, 1))
    table = table[table["bound"].isin([0, 1])]
    assert table["group"].tolist() == ["relative"] * 2 + ["smoothness"] * 2 and table["bound"].tolist() == [0, 1, 0, 1]
    parallel, line = table.iloc[0], table.iloc[2]
    share = linear.window_share(linear.summaries(made))
    # One wave further is a drift of -0.2 from the last wave before, and none from the line.
    assert parallel[["lower90", "upper90"]].mean() == pytest.approx(linear.as_points(-0.2, share=share), abs=0.5)
    assert line["lower90"] < 0 < line["upper90"]
    assert (table.iloc[1]["lower90"] < parallel["lower90"]) and (table.iloc[3]["lower90"] < line["lower90"])


def test_the_event_study_for_a_picture_has_leads_the_reference_and_the_effect():
    made = two_treated([24, 26, 24, 20])
    table = sensitivity.event_study(made, draws(made))
    assert table["event_time"].tolist() == [-3, -2, -1, 0]
    assert (table.loc[2].drop("event_time") == 0).all()
    assert table["mean"].tolist()[1] > 0 > table["mean"].tolist()[3]
    share = linear.window_share(linear.summaries(made))
    np.testing.assert_allclose(table["mean"], linear.as_points(table["mean_logit"], share=share))
    assert (table["lower90"] <= table["mean"]).all() and (table["mean"] <= table["upper90"]).all()


@pytest.mark.parametrize(
    "row, first, expected",
    [([24, 24, 24, 14], 3, "pass"), ([24, 24, 32, 24], 3, "warn"), ([24, 20], 1, "not possible")],
)
def test_an_effect_before_there_was_a_project_is_noticed(row, first, expected):
    made = panel([row, row, *(other[: len(row)] for other in OTHERS)], treated=(0, 1), first=first, n=2000)
    assert sensitivity.placebo_date(made, draws(made), lang="en")[0] == expected


def test_the_effect_at_the_earlier_date_is_that_of_paper():
    made, idata = certain([[24, 28, 20], [20, 20, 20]], first=2)
    _found, message = sensitivity.placebo_date(made, idata, lang="en")
    expected = points_of(made, logit(0.28) - logit(0.24))
    assert f"would be +{expected:.1f} points" in message


def test_every_distinct_assignment_comes_once_where_they_are_few_and_999_by_lot_where_they_are_many():
    made = sensitivity._assignments(np.array([0, 0, 1, 2]), np.random.default_rng(0))
    assert len({tuple(row) for row in made}) == len(made) == 12
    assert all(sorted(row) == [0, 0, 1, 2] for row in made)
    many = sensitivity._assignments(np.repeat([0, 1], [16, 8]), np.random.default_rng(0))
    assert len(many) == 999 and all(row.sum() == 8 for row in many)


def test_the_effects_by_lot_are_those_of_paper():
    rows = [[20, 14], [18, 19], [22, 21], *([20, 20 + step / 2] for step in range(7))]
    made, idata = certain(rows, treated=(0,))
    table = sensitivity.placebo_effects(made, idata)
    change = np.diff(logit(np.array(rows) / 100))[:, 0]
    expected = change - (change.sum() - change) / 9
    np.testing.assert_allclose(np.sort(table["mean"]), np.sort(points_of(made, expected)), atol=0.01)
    assert table["actual"].sum() == 1
    assert table.loc[table["actual"], "mean"].item() == pytest.approx(points_of(made, expected[0]), abs=0.01)
    # Equal errors: the ratios are in the order of the latent effects, and of no other.
    assert table.loc[table["mean"].argsort(), "ratio"].is_monotonic_increasing


@pytest.mark.parametrize(
    "others, att, expected", [([20, 20.4], FALL, "pass"), ([20, 12], FALL, "warn"), ([20, 12], NOTHING, "pass")]
)
def test_as_large_an_effect_by_lot_warns_only_where_a_finding_leans_on_it(others, att, expected):
    rows = [[20, 14], *[[20, 20]] * 5, *[others] * 4]
    made, idata = certain(rows, treated=(0,))
    found, message = sensitivity.placebo_areas(made, idata, att, lang="en")
    assert found == expected and "Of 10 ways" in message
    assert ("10 %" in message) == (others[1] > 14)


def test_fewer_than_ten_assignments_say_nothing():
    made, idata = certain([[20, 14], *[[20, 20]] * 8], treated=(0,))
    assert sensitivity.placebo_areas(made, idata, FALL, lang="en")[0] == "not possible"


def test_without_one_area_the_effect_is_that_of_paper_and_the_area_that_carries_it_is_named():
    rows = [[20, 18], [20, 20], [20, 20], [20, 29]]
    made, idata = certain(rows)
    table = sensitivity.without_each(made, idata)
    change = np.diff(logit(np.array(rows) / 100))[:, 0]
    expected = [change[0] - np.delete(change[1:], out).mean() for out in range(3)]
    expected = [change[0] - change[1:].mean(), *expected]
    np.testing.assert_allclose(table["mean"], points_of(made, np.array(expected)), atol=0.01)
    assert table["name"].tolist() == ["all areas", "South", "East", "West"]
    found, message = sensitivity.leave_one_out(made, idata, lang="en")
    assert found == "warn" and "leans on one area, West" in message
    calm, idata = certain([[20, 18], [20, 20], [20, 21], [20, 20.5]])
    assert sensitivity.leave_one_out(calm, idata, lang="en")[0] == "pass"
    assert sensitivity.leave_one_out(calm.isel(area=[0, 1, 2]), idata, lang="en")[0] == "not possible"


BESIDE = ["", "north", "north; Nowhere", "", ""]


@pytest.mark.parametrize(
    "beside, lang_words",
    [(14, ("warn", "hides part of their fall")), (27, ("warn", "look larger than it is")), (20, ("pass", "No sign"))],
)
def test_neighbours_that_move_along_warn_and_say_which_way(beside, lang_words):
    made = panel([[20, 16], [20, beside], [20, beside], [20, 20], [20, 20.3]], n=3000)
    found, message = sensitivity.spillover(city(made, neighbours=BESIDE), made, draws(made), lang="en")
    assert found == lang_words[0] and lang_words[1] in message


def test_the_change_beside_project_areas_is_that_of_paper():
    made, idata = certain([[20, 16], [20, 26], [20, 20], [24, 25]])
    _found, message = sensitivity.spillover(city(made, neighbours=["south", "", "", ""]), made, idata, lang="en")
    expected = logit(0.26) - logit(0.20) - (logit(0.25) - logit(0.24)) / 2
    assert f"changed by +{points_of(made, expected):.1f} points" in message


def test_neighbours_that_are_not_told_leave_no_question_and_none_or_all_of_them_no_answer():
    made = panel([[20, 16], [20, 20], [20, 20]], n=3000)
    assert sensitivity.spillover(city(made), made, draws(made), lang="en") is None
    assert sensitivity.spillover(city(made, neighbours=""), made, draws(made), lang="en") is None
    apart = city(made, neighbours=["", "east", "south"])
    assert sensitivity.spillover(apart, made, draws(made), lang="en")[0] == "pass"
    around = city(made, neighbours=["south;east", "", ""])
    assert sensitivity.spillover(around, made, draws(made), lang="en")[0] == "not possible"


@pytest.mark.parametrize("lang", languages())
def test_a_simulated_city_is_answered_in_every_language_and_drifting_before_it_is_caught(lang):
    place, _truth = draw_city(respondents=120_000, effect_pp=0, shock_sd=0.05, seed=2)
    sound = build_panel(place)
    made = tilted(sound, -0.3)
    idata = draws(made)
    att = pd.Series(FALL)
    rows = [
        sensitivity.honest_did(made, idata, lang=lang),
        sensitivity.placebo_date(made, idata, lang=lang),
        sensitivity.placebo_areas(made, idata, att, lang=lang),
        sensitivity.leave_one_out(made, idata, lang=lang),
        sensitivity.spillover(place, made, idata, lang=lang),
    ]
    assert [status for status, _message in rows] == ["warn", "warn", "pass", "pass", "pass"]
    assert not any("{" in message for _status, message in rows)
    assert sensitivity.honest_did(sound, idata, lang=lang)[0] == "pass"
    assert sensitivity.placebo_date(sound, idata, lang=lang)[0] == "pass"


def test_the_full_battery_asks_them_and_the_core_does_not():
    made = two_treated([24, 24.3, 24, 20])
    rows = [{"estimand": "att", "scale": "pp", "mean": -3.0, "sd": 1.2, "lower90": -5.0, "upper90": -1.0}]
    place = city(made, neighbours=["east"] + 5 * [""])
    ours = ["honest DiD", "placebo date", "placebo areas", "leave one out", "spillover"]
    full, core = (
        checks.run_checks(place, made, draws(made), pd.DataFrame(rows), checks=which, lang="en")
        for which in ("full", "core")
    )
    assert set(ours) <= set(full["name"]) and not set(ours) & set(core["name"])
    assert set(full.set_index("name").loc[ours, "status"]) <= {"pass", "warn"}
    for lang in languages():
        labels = {verdict.label(name, lang=lang) for name in ours}
        assert len(labels) == 5 and (lang == "en" or not labels & set(ours))
