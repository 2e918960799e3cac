import numpy as np
import pytest
import xarray as xr
from scipy.special import expit
from small_panel import by_sex, city, draws, panel

from workbench import design

STEADY = [[24, 23, 20], [22, 24, 21], [18, 19, 18], [20, 19, 20]]


def status(found):
    return found[0]


def test_a_complete_survey_keeps_to_the_contract_and_says_how_many_answered():
    made = panel(STEADY, first=2)
    assert design.data_contract(city(made, notices=["a", "b"]), made, lang="en") == (
        "pass",
        "The tables of 4 areas and 3 waves keep the contract: 1,200 answers; notices on the files: 2.",
    )


def test_a_treated_area_never_asked_before_is_named():
    made = panel([[np.nan, 20], [24, 20], [18, 18]], treated=(0, 1))
    found, message = design.data_contract(city(made), made, lang="en")
    assert found == "warn" and "North" in message and "South" not in message


def test_what_the_panel_had_to_leave_out_is_repeated_but_not_what_the_files_said():
    assumed = panel(STEADY, first=2, n_assumed=1000.0)
    message = design.data_contract(city(assumed), assumed, lang="en")[1]
    assert "number of answers not published (1,000 per area and wave assumed)" in message and "1,200" not in message
    made = panel(STEADY, notices="Simulated.\nProject late cannot be evaluated yet.")
    found, message = design.data_contract(city(made, notices=["Simulated."]), made, lang="en")
    assert found == "warn" and "Project late" in message and "Simulated" not in message


@pytest.mark.parametrize("share", [[[np.nan, 20], [18, 18]], [[20, np.nan], [18, 18]]])
def test_without_any_treated_area_before_and_after_the_evaluation_is_blocked(share):
    made = panel(share)
    assert status(design.data_contract(city(made), made, lang="en")) == "fail"


def test_no_declared_change_passes():
    made = panel(STEADY, first=2)
    assert status(design.wave_break(city(made, mode="web"), made, lang="en")) == "pass"


def test_a_break_that_treated_areas_alone_met_blocks():
    made = panel(STEADY, first=2)
    town = city(made, known_break=[False, False, True], break_areas=["", "", "north"])
    found, message = design.wave_break(town, made, lang="en")
    assert found == "fail" and "wave 2022 touched 1 of 1 project areas and 0 of 3" in message


@pytest.mark.parametrize("areas, expected", [("north; east", "pass"), ("north", "fail"), ("east", "fail")])
def test_a_partial_break_passes_only_if_it_meets_the_same_share_of_both_groups(areas, expected):
    made = panel(STEADY, treated=(0, 1), first=2)
    town = city(made, known_break=[False, True, False], break_areas=["", areas, ""])
    assert status(design.wave_break(town, made, lang="en")) == expected


def test_a_break_of_areas_outside_the_evaluation_does_not_count():
    made = panel(STEADY, first=2)
    town = city(made, known_break=[False, False, True], break_areas=["", "", "elsewhere"])
    assert status(design.wave_break(town, made, lang="en")) == "pass"


@pytest.mark.parametrize(
    "modes, expected",
    [
        (["web", "web", "paper"], "warn"),
        (["web", "Web", "web"], "pass"),
        (["web", "paper", "paper"], "pass"),
        (["", "web", "web"], "pass"),
    ],
)
def test_a_change_of_mode_for_all_warns_only_between_before_and_after(modes, expected):
    made = panel(STEADY, first=2)
    assert status(design.wave_break(city(made, mode=modes), made, lang="en")) == expected


def test_a_break_in_a_wave_that_skipped_the_item_counts_at_the_next_one():
    town = city(panel(STEADY, first=2), known_break=[False, True, False])
    made = panel(STEADY, first=2).isel(wave=[0, 2])
    assert list(design.breaks(town, made)) == ["2022"]


def test_a_break_before_the_first_wave_is_none():
    made = panel(STEADY, first=2)
    assert design.breaks(city(made, known_break=[True, False, False]), made) == {}


@pytest.mark.parametrize(
    "shape, treated, first, assignment, expected",
    [
        ((8, 3), 4, 2, None, 4),
        ((8, 3), 4, 1, None, 3),
        ((8, 3), 3, 2, None, 3),
        ((7, 3), 4, 2, None, 3),
        ((2, 2), 1, 1, None, 3),
        ((8, 3), 4, 1, "random", 5),
        ((8, 3), 4, 1, "", 3),
    ],
)
def test_the_maryland_level_follows_from_areas_waves_and_assignment(shape, treated, first, assignment, expected):
    made = panel(np.full(shape, 20.0), treated=range(treated), first=first)
    level = design.design_level(city(made, assignment=assignment), made)
    assert level == expected
    assert status(design.design_grade(made, level, lang="en")) == "pass"


def test_a_comparison_asked_only_once_makes_no_design_and_is_warned_about():
    made = panel([[24, 20], [np.nan, 18]])
    level = design.design_level(city(made), made)
    assert level == 2
    assert status(design.design_grade(made, level, lang="en")) == "warn"


def test_the_baseline_gap_weighs_waves_by_the_answers_of_project_areas():
    made = panel([[30, 30, 20], [20, 22, 15], [20, np.nan, 15]], first=2)
    assert design.before(made) == pytest.approx((30.0, 21.0))
    assert status(design.baseline_gap(made, lang="en")) == "pass"


def test_a_wide_baseline_gap_warns_and_no_known_share_is_not_possible():
    made = panel([[40, 30], [20, 20]])
    found, message = design.baseline_gap(made, lang="en")
    assert found == "warn" and "+20.0 points" in message
    made["share_unsafe"][:] = np.nan
    assert status(design.baseline_gap(made, lang="en")) == "not possible"


FLAT = np.full((4, 3), 20.0)


def asked(*north, n=400.0, residents=0.5):
    """North, treated in the last wave, with these shares of women among 400 answers a wave; half elsewhere."""
    return by_sex(panel(FLAT, n=n, first=2), np.array([north, [0.5] * 3, [0.5] * 3, [0.5] * 3]), residents=residents)


def composition(made, strata=None):
    idata = draws(made, latent=np.zeros((4, made.sizes["wave"])))["posterior"].to_dataset()
    if strata is not None:
        idata["strata"] = xr.DataArray(np.broadcast_to(strata, (4, 250, 2)), dims=("chain", "draw", "stratum"))
    return design.composition(made, idata, lang="en")


def test_the_same_kinds_of_people_pass():
    found, message = composition(asked(0.5, 0.5, 0.52))
    assert found == "pass" and "(most: sex m, −2.0 points)" in message


def test_a_shift_beyond_chance_warns_with_what_it_would_do_alone():
    found, message = composition(asked(0.5, 0.5, 0.6), strata=[0.2, -0.2])
    alone = 100 * 0.1 * (expit(0.2) - expit(-0.2))
    assert found == "warn" and "share of sex m among" in message and "moved by −10.0 points" in message
    assert f"change the share unsafe by +{alone:.1f} points" in message and alone > 0.9


def test_other_people_altogether_block_but_not_where_chance_could_do_it():
    assert status(composition(asked(0.5, 0.5, 0.7))) == "fail"
    assert status(composition(asked(0.5, 0.5, 0.7, n=40.0))) == "pass"


def test_a_shift_of_everyone_alike_is_none():
    made = by_sex(panel(FLAT, n=400.0, first=2), np.array([0.5, 0.5, 0.7]))
    found, message = composition(made)
    assert found == "pass" and "sex m, 0.0 points" in message


def test_areas_that_wobble_by_themselves_make_a_shift_less_surprising():
    north, calm = [0.5, 0.5, 0.6], [0.5] * 3
    wobbly = by_sex(panel(FLAT, n=400.0, first=2), np.array([north, [0.6, 0.4, 0.5], [0.4, 0.6, 0.5], calm]))
    assert status(composition(asked(*north))) == "warn" and status(composition(wobbly)) == "pass"


def test_who_answered_unknown_or_never_asked_before_is_not_possible():
    assert status(composition(panel(FLAT, first=2))) == "not possible"
    assert status(composition(asked(0.5, 0.5, 0.5).isel(wave=[2]))) == "not possible"


def test_respondents_unlike_residents_are_told_with_the_level_and_the_gap():
    assert "differ from residents" not in composition(asked(0.5, 0.5, 0.5))[1]
    message = composition(asked(0.5, 0.5, 0.5, residents=0.42))[1]
    assert "differ from residents, most in sex m (−8.0 points); the effect is that on residents." in message
