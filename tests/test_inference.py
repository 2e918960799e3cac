"""The sampler and the fit. Slow tests share two fits: a city with a true effect in three waves, and one without any."""

import numpy as np
import pytensor
import pytest

from workbench import estimands, verdict
from workbench.inference import diagnostics, fit, jax_function, sampler
from workbench.models.perceived import build_model
from workbench.panel import build_panel
from workbench.simulate import draw_city

TINY = {"areas": 5, "treated": 2, "waves": 3, "projects": 2, "respondents": 900, "seed": 4}


@pytest.fixture(scope="module")
def tiny():
    panel = build_panel(draw_city(**TINY)[0])
    return panel, build_model(panel)


def test_the_compiled_log_density_is_the_models_own(tiny):
    model = tiny[1]
    rng = np.random.default_rng(1)
    values = {k: rng.normal(0, 0.5, np.shape(v)) for k, v in model.initial_point().items()}
    given = {v.name: v.get_value() for v in model.data_vars}
    ours = jax_function(model, [model.logp()])(values, given)[0]
    theirs = pytensor.function(model.value_vars, model.logp(), mode="FAST_COMPILE")
    assert float(ours) == pytest.approx(float(theirs(*(values[v.name] for v in model.value_vars))), abs=1e-8)


@pytest.mark.slow
def test_same_seed_same_draws_and_new_data_need_no_new_model(tiny):
    panel, model = tiny
    sample = sampler(model, draws=30, tune=50, chains=2, many=True)
    first, again, other = sample(1), sample(1), sample(2)
    np.testing.assert_array_equal(first["posterior"]["latent"], again["posterior"]["latent"])
    assert not np.array_equal(first["posterior"]["latent"], other["posterior"]["latent"])
    counts = {v.name: v.get_value() for v in model.data_vars}
    fewer = sample(1, **{k: 0.01 * counts[k] for k in ("up", "lo", "inner_total", "information")})
    assert float(fewer["posterior"]["gap"].std()) > 1.5 * float(first["posterior"]["gap"].std())
    assert first["posterior"]["latent"].dims == ("chain", "draw", "area", "wave")
    assert list(first["posterior"]["area"].values) == list(panel["area"].values)
    with pytest.raises(KeyError, match="the model has no data"):
        sample(1, answers=np.zeros(3))


@pytest.fixture(scope="module")
def three_waves():
    """A true effect of -8 pp, many answers and small shocks: the design can tell."""
    options = {"areas": 16, "treated": 8, "waves": 3, "projects": 2, "respondents": 60_000}
    city, truth = draw_city(**options, effect_pp=-8.0, shock_sd=0.05, seed=11)
    panel = build_panel(city)
    return panel, truth, fit(panel, build_model(panel), draws=500, tune=300, chains=4, seed=1)


@pytest.mark.slow
def test_a_large_effect_is_found_and_the_fit_is_sound(three_waves):
    panel, truth, idata = three_waves
    att = idata["posterior"]["att"]
    assert abs(float(att.mean()) - truth["att_pp"]) < 3 * float(att.std())
    assert float(att.std()) < 2
    found = diagnostics(idata)
    assert found["rhat_max"] <= 1.01 and found["ess_bulk_min"] >= 400 and found["divergences"] == 0
    inputs = estimands.evaluate_verdict_inputs(panel, idata, lang="en")
    called = verdict.decide(inputs["att"], minimum_pp=panel.attrs["minimum_pp"], blocked=False)
    assert called == "clear fall"


@pytest.mark.slow
def test_with_three_waves_the_shock_correlation_is_shown_at_three_values(three_waves):
    attrs = three_waves[2].attrs
    means = [attrs[f"att_{label}"] for label in ("rho_0", "rho_05", "rho_09")]
    assert len(set(means)) == 3 and all(-12 < m < -4 for m in means)
    assert attrs["att_rho_0_lower90"] < means[0] < attrs["att_rho_0_upper90"]


@pytest.mark.slow
def test_every_setting_and_second_is_kept_with_the_draws(three_waves):
    attrs = three_waves[2].attrs
    assert attrs["prior"] == "sceptical" and attrs["seed"] in (1, 2, 3) and attrs["chains"] == 4
    assert attrs["seconds_total"] >= attrs["seconds_sample"] > 0 and attrs["seconds_compile"] > 0


@pytest.mark.slow
def test_no_worthwhile_change_is_said_only_after_both_priors_agree():
    options = {"areas": 40, "treated": 20, "waves": 5, "projects": 4, "respondents": 200_000}
    city, _ = draw_city(**options, effect_pp=0.0, baseline_gap_pp=0.0, shock_sd=0.03, seed=3)
    panel = build_panel(city)
    idata = fit(panel, build_model(panel), draws=90, tune=250, chains=4, seed=1)  # too few to be repeated
    assert idata["other_prior"].attrs["prior"] == "wide"
    inputs = estimands.evaluate_verdict_inputs(panel, idata, lang="en")
    assert 0.8 <= inputs["att"]["p_within_minimum_wide"] <= 1
    called = verdict.decide(inputs["att"], minimum_pp=panel.attrs["minimum_pp"], blocked=False)
    assert called == "no worthwhile change"
    del inputs["att"]["p_within_minimum_wide"]
    assert verdict.decide(inputs["att"], minimum_pp=panel.attrs["minimum_pp"], blocked=False) != called
