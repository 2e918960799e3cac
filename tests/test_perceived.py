"""Model M1: its log-density against PyMC's own on rows, coarsened answers, and the change of variables."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pymc as pm
import pytensor
import pytensor.tensor as pt
import pytest
from scipy.special import expit

from workbench.inference import jax_function
from workbench.models.perceived import (
    PRIORS,
    build_model,
    log_likelihood,
    working_response,
)
from workbench.panel import build_panel
from workbench.simulate import draw_city

CUT = np.array([-1.4, -0.5, 0.0, 1.1])


def compiled(inputs, outputs):
    return pytensor.function(inputs, outputs, mode="FAST_COMPILE", on_unused_input="ignore")


def sufficient(counts, lower, upper, *, cuts=4):
    """up, lo and inner totals of counts (cell, answer), as the model's docstring defines them."""
    inner = (lower > 0) & (upper < cuts)
    return {
        "up": np.stack([counts[:, upper == k].sum(1) for k in range(cuts)], 1),
        "lo": np.stack([counts[:, lower == k + 1].sum(1) for k in range(cuts)], 1),
        "inner_lower": lower[inner] - 1,
        "inner_upper": upper[inner],
        "inner_total": counts.sum(0)[inner],
    }


def on_counts(counts, lower, upper):
    """A function (eta per cell, thresholds) -> log-likelihood and its two gradients."""
    eta, cut = pt.dvector(), pt.dvector()
    given = {k: pt.as_tensor(v) for k, v in sufficient(counts, np.asarray(lower), np.asarray(upper)).items()}
    value = log_likelihood(cut, eta, given)
    return compiled([eta, cut], [value, *pytensor.grad(value, [eta, cut])])


def test_the_log_density_on_counts_is_that_of_ordered_logistic_on_rows():
    rng = np.random.default_rng(1)
    eta = rng.normal(-0.5, 1.2, 40)
    cell = rng.integers(0, 40, 3000)
    answer = (rng.logistic(size=3000)[:, None] + eta[cell][:, None] > CUT).sum(1)
    counts = np.zeros((40, 5))
    np.add.at(counts, (cell, answer), 1)

    free, cut = pt.dvector(), pt.dvector()
    rows = pm.OrderedLogistic.dist(eta=free[cell], cutpoints=cut)
    total = pm.logp(rows, answer).sum()
    expected = compiled([free, cut], [total, *pytensor.grad(total, [free, cut])])(eta, CUT)
    found = on_counts(counts, range(5), range(5))(eta, CUT)

    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-8)


def test_coarsened_answers_have_the_likelihood_of_their_classes_summed():
    counts = np.array([[30.0, 12.0, 8.0], [5.0, 20.0, 25.0]])
    lower, upper = [0, 2, 3], [1, 2, 4]  # "never to rarely", "sometimes", "often to always"
    eta = np.array([-0.7, 0.4])
    bound = np.concatenate([[-np.inf], CUT, [np.inf]])
    category = np.diff(expit(bound[None] - eta[:, None]), axis=1)
    by_hand = np.stack([category[:, 0] + category[:, 1], category[:, 2], category[:, 3] + category[:, 4]], 1)
    found = on_counts(counts, lower, upper)(eta, CUT)[0]
    assert found == pytest.approx((counts * np.log(by_hand)).sum(), abs=1e-10)


def test_a_class_listed_alone_leaves_the_rest_implied():
    counts, eta = np.array([[6.0, 94.0]]), np.array([0.3])
    found = on_counts(counts, [3, 0], [4, 2])(eta, CUT)[0]
    often = 1 - expit(CUT[2] - eta[0])
    assert found == pytest.approx(6 * np.log(often) + 94 * np.log(1 - often), abs=1e-10)


@pytest.fixture(scope="module")
def panel():
    return build_panel(draw_city(areas=5, treated=2, waves=3, projects=2, respondents=900, seed=4)[0])


def functions(model):
    """JAX functions of the values: log-density and the latent index."""
    data = {v.name: v.get_value() for v in model.data_vars}
    logp = jax_function(model, [model.logp()])
    index = jax_function(model, model.replace_rvs_by_values([model["latent"]]))
    return jax.jit(lambda x: logp(x, data)[0]), jax.jit(lambda x: index(x, data)[0])


def test_the_change_of_variables_leaves_the_posterior_as_it_is(panel):
    """log p(z) - log p(v) must be the log-Jacobian of v(z), at any point and whatever the working response."""
    whitened, plain = build_model(panel), build_model(panel, whiten=False)
    rng = np.random.default_rng(2)
    values = {k: rng.normal(0, 0.5, np.shape(v)) for k, v in whitened.initial_point().items()}
    logp_z, latent_z = functions(whitened)
    logp_v, latent_v = functions(plain)
    size = values["z"].size

    def at(z):
        return values | {"z": z.reshape(values["z"].shape)}

    zero = at(np.zeros(size))
    into_v = np.asarray(jax.jit(jax.jacfwd(lambda z: latent_v(at(z)).ravel()))(np.zeros(size)))
    v = np.linalg.solve(into_v, np.asarray(latent_z(values) - latent_v(zero)).ravel())
    into_z = np.asarray(jax.jit(jax.jacfwd(lambda z: latent_z(at(z)).ravel()))(values["z"].ravel()))
    log_jacobian = np.linalg.slogdet(into_z)[1] - np.linalg.slogdet(into_v)[1]
    assert float(logp_z(values) - logp_v(at(v))) == pytest.approx(log_jacobian, abs=1e-6)


def test_the_latent_index_follows_the_equation_and_its_prior_covariance(panel):
    """The plain model's linear map from v to latent has covariance sd_area^2 + sd_shock^2 rho^lag in one area."""
    model = build_model(panel, whiten=False, rho=0.5)
    values = {k: np.zeros(np.shape(v)) for k, v in model.initial_point().items()}
    index = functions(model)[1]
    waves = values["z"].shape[1]
    into = np.asarray(jax.jit(jax.jacfwd(lambda z: index(values | {"z": z})[0]))(values["z"]))[:, 0, :]
    median = 0.67448975  # a standard normal of zero is the median of the half-normal scale
    lag = np.abs(np.subtract.outer(np.arange(waves), np.arange(waves)))
    years = panel["year"].values
    assert np.diff(years) == pytest.approx(np.ones(waves - 1), abs=0.01)
    expected = (0.7 * median) ** 2 + (0.17 * median) ** 2 * 0.5**lag
    np.testing.assert_allclose(into @ into.T, expected, rtol=1e-3)


def test_the_prior_of_effects_has_the_scale_it_is_named_for(panel):
    for name in ("sceptical", "wide"):
        model = build_model(panel, prior=name)
        mu = pm.draw(model["mu"], draws=4000, random_seed=1, mode="FAST_COMPILE")
        tau = pm.draw(model["tau"], draws=4000, random_seed=2, mode="FAST_COMPILE")
        assert mu.std() == pytest.approx(PRIORS[name], rel=0.05)
        assert tau.mean() == pytest.approx(PRIORS[name] * np.sqrt(2 / np.pi), rel=0.05)
        assert tau.min() >= 0


def test_flat_gives_every_project_and_event_time_its_own_coefficient(panel):
    model = build_model(panel, prior="flat")
    assert "mu" not in model.named_vars
    draws = pm.draw(model["delta"], draws=4000, random_seed=1, mode="FAST_COMPILE")
    np.testing.assert_allclose(np.cov(draws.T), 100 * np.eye(panel.sizes["effect"]), atol=8)


def test_levels_are_free_by_cohort(panel):
    cohorts = set(panel["cohort"].values)
    assert set(build_model(panel).coords["cohort"]) == cohorts and len(cohorts) == 3


def test_the_working_response_is_the_logit_of_the_share_where_answers_are_many():
    city, _ = draw_city(areas=4, treated=1, waves=3, projects=1, respondents=400_000, seed=5)
    panel = build_panel(city)
    latent, information = working_response(panel)
    share = panel["share_unsafe"].values
    # One number summarises five ordered answers, so it agrees with the unsafe cut alone only nearly.
    np.testing.assert_allclose(expit(latent), share, atol=0.02)
    assert (information > panel["respondents"].values * share * (1 - share) * 0.9).all()


def test_the_published_mixed_model_of_wine_is_reproduced_by_the_likelihood():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "published.py"
    spec = importlib.util.spec_from_file_location("published", path)
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    table = published.wine()
    if table is None:
        pytest.skip(f"{published.WINE.name} is not here: the published mixed model is not compared")
    # Published to two decimals and by the same quadrature or Laplace's approximation, which move them by 0.01.
    np.testing.assert_allclose(table["estimate"], table["published"], atol=0.011)
