import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import logit
from small_panel import by_sex, city, draws, panel

from workbench import checks
from workbench.language import languages

STEADY = [[24, 23, 20], [22, 24, 21], [18, 19, 18], [20, 19, 20]]
SOUND = {"rhat_max": 1.004, "ess_bulk_min": 900.0, "ess_tail_min": 800.0, "divergences": 0}
ATT = {"mean": -3.0, "sd": 1.5}
ORDER = [
    "data contract", "wave break", "design grade", "baseline gap", "composition", "prior predictive", "convergence",
    "posterior predictive", "pre-trends", "linear scale", "plausibility", "effective n", "shock correlation",
]  # fmt: skip


def effects(mean=-3.0, sd=1.5):
    rows = [
        {"estimand": "att", "scale": "pp", "mean": mean, "sd": sd},
        {"estimand": "att", "scale": "latent", "mean": -9},
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize("lang", languages())
def test_every_check_answers_in_its_order_and_in_every_language(lang):
    made = by_sex(panel(STEADY, first=2, n_assumed=100.0), 0.5)
    idata = draws(made, att_half_n=-2.0, att_half_n_sd=2.0, att_double_n=-3.5, att_double_n_sd=1.5)
    idata.attrs |= {"att_rho_0": -3.0, "att_rho_05": -2.9, "att_rho_09": -2.8}
    table = checks.run_checks(city(made), made, idata, effects(), lang=lang)
    assert list(table["name"]) == ORDER
    assert set(table["status"]) <= {"pass", "warn"}
    assert not table["message"].str.contains("[{}]").any()
    assert table.attrs["design_level"] == 3
    assert table.attrs["diagnostics"]["divergences"] == 0
    assert {"rhat_max", "ess_bulk_min", "ess_tail_min"} <= set(table.attrs["diagnostics"])


def test_a_check_without_a_question_has_no_row():
    made = panel(STEADY, first=2)
    table = checks.run_checks(city(made), made, draws(made), effects(), lang="en")
    assert "effective n" not in set(table["name"])


def test_ordinary_shares_were_held_possible_by_the_prior_and_freakish_ones_were_not():
    made = panel(STEADY)
    assert checks.prior_predictive(made, draws(made), lang="en")[0] == "pass"
    made = panel(np.full((4, 3), 0.02), n=100_000)
    found, message = checks.prior_predictive(made, draws(made), lang="en")
    assert found == "warn" and "12 of 12" in message


def test_the_prior_of_the_effect_is_told_in_points_at_this_baseline():
    made = panel(np.full((2, 2), 50.0))
    _found, message = checks.prior_predictive(made, draws(made, size=5000), lang="en")
    low, high = (float(x.replace("−", "-")) for x in message.split("effect of ")[1].split(" points")[0].split(" to "))
    # 1.96 x 0.17 on the logit is 8.3 points at 50 %.
    assert low == pytest.approx(-8.3, abs=0.4) and high == pytest.approx(8.3, abs=0.4)


@pytest.mark.parametrize(
    "change, expected",
    [
        ({}, "pass"),
        ({"rhat_max": 1.02}, "fail"),
        ({"ess_bulk_min": 399.0}, "fail"),
        ({"ess_tail_min": 399.0}, "fail"),
        ({"divergences": 1}, "fail"),
        ({"rhat_max": float("nan")}, "fail"),
    ],
)
def test_draws_that_have_not_settled_block(change, expected):
    assert checks.convergence(SOUND | change, lang="en")[0] == expected


@pytest.mark.parametrize("n, expected", [(7.0, False), (8.0, True)])
def test_a_cell_is_outside_when_its_tail_is_below_half_a_percent(n, expected):
    # Nobody of n at a chance of one half: 1/128 = 0.8 %, 1/256 = 0.4 %.
    for share in (0.0, 1.0):
        outside = checks._outside(np.array([share]), np.array([n]), np.array([[0.5]]))
        assert outside.tolist() == [expected]


def test_a_model_that_fits_passes_and_one_that_misses_every_share_warns():
    made = panel(STEADY)
    assert checks.posterior_predictive(made, draws(made), lang="en")[0] == "pass"
    missed = draws(made, latent=logit(made["share_unsafe"].values) + 1.5)
    found, message = checks.posterior_predictive(made, missed, lang="en")
    assert found == "warn" and message.endswith("12 of 12.")


def test_strata_are_mixed_as_they_answered():
    made = panel([[20.0, 20.0]] * 2)
    counts = made["counts"].isel(stratum=0)
    two = xr.concat([0.75 * counts, 0.25 * counts], dim="stratum").transpose("area", "wave", "stratum", "answer")
    made = made.drop_dims("stratum").assign(counts=two)
    idata = draws(made, latent=np.zeros((2, 2)))
    shift = np.broadcast_to([logit(0.2), logit(0.6)], (4, 250, 2))
    idata["posterior"] = idata["posterior"].assign(strata=xr.DataArray(shift, dims=("chain", "draw", "stratum")))
    share = checks._modelled(made, idata["posterior"])
    assert share.mean() == pytest.approx(0.75 * 0.2 + 0.25 * 0.6, abs=0.001)


@pytest.mark.parametrize(
    "treated, first, att, expected",
    [
        ([24, 23, 24, 20], 3, -3.0, "pass"),
        ([40, 30, 21, 14], 3, -3.0, "fail"),
        ([40, 30, 21, 14], 3, -30.0, "warn"),
        ([24, 20, 16, 12], 1, -3.0, "not possible"),
    ],
)
def test_a_trend_before_blocks_only_if_it_could_be_the_whole_effect(treated, first, att, expected):
    others = [[20, 20.5, 20, 20], [18, 18, 18.5, 18], [19, 19, 19, 19.5]]
    made = panel([treated, treated, *others], treated=(0, 1), first=first, n=1000)
    assert checks.pre_trends(made, draws(made), ATT | {"mean": att}, lang="en")[0] == expected


def test_the_pre_trend_says_in_points_a_wave_what_it_could_have_seen():
    made = panel([[50, 50, 40], [50, 50, 50]], first=2, n=400)
    idata = draws(made)
    idata["posterior"] = idata["posterior"].assign(sd_shock=0.0 * idata["posterior"]["sd_shock"])
    _found, message = checks.pre_trends(made, idata, ATT, lang="en")
    # Four cells of 400 answers at one half: se = sqrt(4 / 100) = 0.2; 2.8 x 0.2 on the logit is 13.6 points.
    assert "only a trend of 13.6 points" in message


def test_scales_that_agree_pass_and_a_gap_that_percentages_make_warns():
    made = panel(STEADY, treated=(0, 1))
    assert checks.linear_scale(made, draws(made), ATT, lang="en")[0] == "pass"
    made = panel([[50, 40], [50, 40], [10, 8], [10, 8]], treated=(0, 1), n=1000)
    found, message = checks.linear_scale(made, draws(made), ATT, lang="en")
    assert found == "warn"
    assert "−8.0 points by comparing percentages, −3.9 on the model's scale; this report says −3.0" in message


def test_classes_that_hide_the_share_unsafe_leave_nothing_to_compare():
    made = panel(STEADY, first=2)
    made["share_unsafe"][:, 2] = np.nan
    assert checks.linear_scale(made, draws(made), ATT, lang="en")[0] == "not possible"


@pytest.mark.parametrize("mean, expected", [(-9.9, "pass"), (-10.1, "warn"), (10.1, "warn")])
def test_an_effect_above_ten_points_is_looked_at_twice(mean, expected):
    assert checks.plausibility(ATT | {"mean": mean}, lang="en")[0] == expected


@pytest.mark.parametrize("half, half_sd, expected", [(-2.0, 1.4, "warn"), (-2.5, 1.5, "pass"), (-0.9, 0.5, "warn")])
def test_an_assumed_number_of_answers_may_neither_move_nor_settle_the_effect(half, half_sd, expected):
    made = panel(STEADY, n_assumed=100.0)
    idata = draws(made, att_half_n=half, att_half_n_sd=half_sd, att_double_n=-3.2, att_double_n_sd=1.4)
    found, message = checks.effective_n(made, idata, ATT, lang="en")
    assert found == expected and ("depends on that assumption" in message) == (expected == "warn")


@pytest.mark.parametrize("most, expected", [(-2.0, "pass"), (-0.9, "warn")])
def test_with_three_waves_three_shock_correlations_stand_side_by_side(most, expected):
    made = panel(STEADY, first=2)
    idata = draws(made, att_rho_0=-3.0, att_rho_05=-2.8, att_rho_09=most)
    assert checks.shock_correlation(made, idata, lang="en")[0] == expected
    assert checks.shock_correlation(made, draws(made), lang="en")[0] == "not possible"


def test_with_four_waves_the_correlation_is_told_as_learned():
    made = panel(np.full((3, 4), 20.0), first=2)
    found, message = checks.shock_correlation(made, draws(made, rho=0.3), lang="en")
    assert found == "pass" and "by 0.3 (90 % interval 0.3 to 0.3" in message
