import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit, logit
from scipy.stats import norm
from small_panel import city, draws, panel
from test_forms import answers, ordinal

from workbench import checks, forms, robustness
from workbench.language import languages
from workbench.models import perceived

STEADY = [[24, 23, 20], [22, 24, 21], [18, 19, 18], [20, 19, 20]]


# --- forms ----------------------------------------------------------------------------------------------------------------


def test_a_shift_of_everyone_passes_in_every_form():
    rows = [[answers(0.8), answers(0.4)]] * 2 + [[answers(0.0), answers(0.1)]] * 3
    found, message = robustness.form_panel(ordinal(rows, treated=(0, 1)), lang="en")
    assert found == "pass" and message.startswith("Four ways of writing the comparison")


def one_part_moves():
    """Nobody crosses the unsafe cut, but three in four of the most unsafe answers soften: no effect on the share unsafe."""
    soft = np.array([0.2, 0.2, 0.55, 0.05])
    rows = [[[0.2, 0.2, 0.25, 0.35], soft]] * 3 + [[[0.3, 0.3, 0.3, 0.1]] * 2] * 4
    return ordinal(rows, treated=(0, 1, 2))


def test_an_effect_in_one_part_of_the_scale_makes_the_forms_disagree():
    found, message = robustness.form_panel(one_part_moves(), lang="en")
    assert found == "warn" and "one part of the answers" in message


def test_a_disagreement_that_chance_explains_is_called_chance():
    rng, made = np.random.default_rng(5), one_part_moves()
    counts = rng.multinomial(12, made["counts"].values[:, :, 0] / 1e6)[:, :, None]
    made["counts"] = (("area", "wave", "stratum", "answer"), 1.0 * counts)
    found, message = robustness.form_panel(made, lang="en")
    assert found == "pass" and message.endswith("By chance alone they could differ as much.")


def test_two_answers_compare_two_forms_and_no_comparison_is_not_possible():
    found, message = robustness.form_panel(panel(STEADY, first=2), lang="en")
    assert found == "pass" and message.startswith("Two ways")
    everywhere = panel([[20, 25], [20, 25]], treated=(0, 1))
    assert robustness.form_panel(everywhere, lang="en")[0] == "not possible"


# --- scales ---------------------------------------------------------------------------------------------------------------


def summaries(made):
    return forms.summaries(made)[0]


@pytest.mark.parametrize("repeated", [True, False])
def test_the_independent_program_compares_with_the_last_wave_before(repeated):
    data = summaries(panel(STEADY, first=2, residents=[1, 1, 1, 5]))
    by_hand = (20 - 23) - ((21 - 24) + (18 - 19) + (20 - 19)) / 3
    assert robustness.callaway_santanna(data, repeated=repeated) == pytest.approx(by_hand)


@pytest.mark.parametrize("repeated", [True, False])
def test_its_effects_by_start_are_averaged_by_our_residents_over_our_window(repeated):
    made = panel([[30, 24, 22], [30, 31, 25], [20, 22, 21], [20, 20, 23]], treated=(0, 1), residents=[1000, 3000, 1, 1])
    made["design"][1, 1] = 0.0
    made["window"][:, 1, 1] = False
    first = [(24 - 30) - (31 + 22 + 20 - 30 - 20 - 20) / 3, (22 - 30) - (21 + 23 - 20 - 20) / 2]
    second = (25 - 31) - (21 + 23 - 22 - 20) / 2
    found = robustness.callaway_santanna(summaries(made), repeated=repeated)
    assert found == pytest.approx((np.mean(first) + 3 * second) / 4)


def test_without_comparison_the_program_is_not_asked_to_guess():
    data = summaries(panel([[20, 25], [20, 25]], treated=(0, 1)))
    assert np.isnan(robustness.callaway_santanna(data, repeated=True))


def test_scales_that_agree_pass_and_only_a_full_run_asks():
    made = panel(STEADY, first=2)
    assert robustness.scale_panel(made, draws(made), lang="en") is None
    found, message = robustness.scale_panel(made, draws(made, att_flat=-2.5), lang="en")
    assert found == "pass" and "\N{MINUS SIGN}2.0 by an independent program" in message


def test_a_gap_of_12_points_and_a_common_trend_part_the_scales():
    # Everyone moves by 0.5 a wave on the logit: nothing happened, but percentages fall more where they are higher.
    rng, start = np.random.default_rng(1), np.array([32, 30, 34, 20, 19, 21, 20, 18, 22, 20])
    eta = logit(start / 100)[:, None] - 0.5 * np.arange(4) + 0.02 * rng.standard_normal((10, 4))
    made = panel(100 * expit(eta), n=2000, treated=(0, 1, 2), first=2)
    found, message = robustness.scale_panel(made, draws(made, att_flat=0.1), lang="en")
    assert found == "warn" and "depends on the scale" in message


def test_a_lone_treated_area_among_noisy_ones_is_left_to_chance():
    noisy = [[30, 28, 20], [22, 29, 21], [18, 12, 19], [20, 28, 21], [25, 19, 24]]
    made = panel(noisy, first=2)
    found, message = robustness.scale_panel(made, draws(made, att_flat=-14.0), lang="en")
    assert found == "pass" and message.endswith("By chance alone they could differ as much.")


def test_shares_that_no_wave_publishes_leave_no_scales_to_compare():
    made = panel(STEADY, first=2)
    idata = draws(made, att_flat=-2.5)
    made["share_unsafe"] = xr.full_like(made["share_unsafe"], np.nan)
    assert robustness.scale_panel(made, idata, lang="en")[0] == "not possible"


def test_ways_that_such_shares_cannot_give_are_left_out_of_the_table():
    made = panel(STEADY, first=2)
    idata, att = draws(made), pd.Series({"mean": -2.0, "lower90": -4.0, "upper90": 0.0})
    made["share_unsafe"][:, 2] = np.nan
    assert robustness.other_ways(made, idata, att)["name"].tolist() == ["report"]


# --- priors ---------------------------------------------------------------------------------------------------------------


def posterior_of_one_cell(unsafe, n):
    """Exact draws for one area-wave: 50 % unsafe without the project, `unsafe` of `n` with it, prior N(0, 0.17)."""
    made = panel([[50.0, 100 * unsafe], [50.0, 50.0]], n=n)
    grid = np.linspace(-3, 3, 60_001)
    density = norm.logpdf(grid, 0, 0.17) + n * (unsafe * np.log(expit(grid)) + (1 - unsafe) * np.log(expit(-grid)))
    mass = np.cumsum(np.exp(density - density.max()))
    mu = np.interp((np.arange(1000) + 0.5) / 1000, mass / mass[-1], grid)
    mu = np.random.default_rng(2).permutation(mu).reshape(4, 250)
    idata, latent = draws(made), np.zeros((4, 250, 2, 2))
    latent[:, :, 0, 1] = mu
    one = lambda x: xr.DataArray(x, dims=("chain", "draw"))
    posterior = idata["posterior"].to_dataset().assign(
        mu=one(mu), tau=one(0 * mu + 0.1), sd_event=one(0 * mu + 0.05), att=one(100 * expit(mu) - 50),
        latent=(("chain", "draw", "area", "wave"), latent),
    )  # fmt: skip
    idata["posterior"] = xr.DataTree(posterior)
    idata.attrs |= {"prior": "sceptical", "att_sceptical": -2.0, "att_wide": -2.4, "att_flat": -3.0, "att_flat_sd": 1.2}
    return made, idata


@pytest.mark.parametrize(
    "unsafe, n, prior, likelihood, words",
    [
        (0.2, 150, True, True, "pull in different directions"),
        (0.5, 3, True, False, "weighs more than the data"),
        (0.47, 20_000, False, True, "(sd 1.2)."),
    ],
)
def test_power_scaling_tells_conflict_from_a_prior_that_decides_and_from_one_that_does_not(
    unsafe, n, prior, likelihood, words
):
    made, idata = posterior_of_one_cell(unsafe, n)
    found = robustness.power_scaling(made, idata)
    assert (found["prior"] >= robustness.SENSITIVE, found["likelihood"] >= robustness.SENSITIVE) == (prior, likelihood)
    status, message = robustness.prior_panel(made, idata, lang="en")
    assert status == "pass" and words in message


def test_power_scaling_reads_at_most_the_draws_it_is_told_and_leaves_a_flat_prior_alone():
    made, idata = posterior_of_one_cell(0.2, 150)
    assert robustness.power_scaling(made, idata, most=200)["prior"] >= robustness.SENSITIVE
    idata.attrs["prior"] = "unheard"
    assert robustness.power_scaling(made, idata) is None
    assert robustness.power_scaling(made, draws(made, prior="flat")) is None


def test_the_log_likelihood_is_the_models_own():
    made = ordinal([[answers(0.8), answers(0.3)], [answers(0.0), answers(0.1)]], n=50)
    two = xr.concat([made["counts"].isel(stratum=0), 0.3 * made["counts"].isel(stratum=0)], dim="stratum")
    made = made.drop_dims("stratum").assign(counts=two.transpose("area", "wave", "stratum", "answer"))
    made = made.drop_dims("answer").assign(
        counts=(("area", "wave", "stratum", "answer"), made["counts"].values),
        lower=("answer", [0, 1, 2, 2]),  # the third is "c to d"
        upper=("answer", [0, 1, 3, 3]),
    )
    made = made.assign_coords(cohort=("area", ["new", "never"])).assign(effect_project=("effect", [0]))
    made = made.assign(effect_pooled=("effect", [True]), population=(("area", "stratum"), np.ones((2, 2))))
    rng, cut = np.random.default_rng(4), np.array([-1.1, 0.0, 1.3])
    latent, strata = rng.normal(size=(2, 2)), np.array([0.2, -0.2])
    drawn = xr.Dataset(
        {
            "latent": (("chain", "draw", "area", "wave"), latent[None, None]),
            "cut": (("chain", "draw", "threshold"), cut[None, None]),
            "strata": (("chain", "draw", "stratum"), strata[None, None]),
        }
    )
    data = perceived.model_data(made)
    eta = latent[data["cell_area"], data["cell_wave"]] + strata[data["cell_stratum"]]
    theirs = perceived.log_likelihood(cut, eta, data).eval()
    np.testing.assert_allclose(robustness.log_likelihood(made, drawn).values, theirs, rtol=1e-10)


def test_the_effect_under_every_prior_is_shown_when_it_was_fitted_and_warns_when_it_parts():
    made = panel(STEADY)
    assert robustness.prior_panel(made, draws(made), lang="en") is None
    close = draws(made, att_sceptical=-2.0, att_wide=-2.4, att_flat=-3.0, att_flat_sd=1.2)
    assert robustness.prior_panel(made, close, lang="en")[0] == "pass"
    apart = draws(made, att_sceptical=-1.0, att_wide=-1.9, att_flat=-6.0, att_flat_sd=4.0)
    found, message = robustness.prior_panel(made, apart, lang="en")
    assert found == "warn" and "\N{MINUS SIGN}6.0 from the data alone (sd 4.0)" in message
    assert message.endswith("these data say little by themselves.")
    made, conflict = posterior_of_one_cell(0.2, 150)
    conflict.attrs |= {"att_flat": -30.0}
    found, message = robustness.prior_panel(made, conflict, lang="en")
    assert found == "warn" and message.endswith("pull in different directions.")


@pytest.mark.parametrize("lang", languages())
def test_every_sentence_is_whole_in_every_language(lang):
    made, idata = posterior_of_one_cell(0.2, 150)
    said = [
        robustness.form_panel(one_part_moves(), lang=lang)[1],
        robustness.scale_panel(made, idata, lang=lang)[1],
        robustness.prior_panel(made, idata, lang=lang)[1],
    ]
    assert not any("{" in text for text in said)


def test_only_a_full_battery_holds_these_panels():
    made = panel(STEADY, first=2)
    idata = draws(made, att_sceptical=-2.0, att_wide=-2.4, att_flat=-3.0, att_flat_sd=1.2)
    att = pd.DataFrame([{"estimand": "att", "scale": "pp", "mean": -2.0, "sd": 1.0}])
    table = checks.run_checks(city(made), made, idata, att, checks="full", lang="en").set_index("name")
    assert set(table.loc[["prior panel", "scale panel", "form panel"], "status"]) == {"pass"}
    assert "form panel" not in set(checks.run_checks(city(made), made, idata, att, lang="en")["name"])
