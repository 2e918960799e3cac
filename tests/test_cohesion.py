"""M2: its density against the equation in numpy, corners and mechanism by hand, and one fit of a simulated city."""

from dataclasses import replace

import cohesion as bench
import jax
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit
from scipy.stats import norm
from small_panel import draws as made_draws
from small_panel import panel as small

from workbench import cohesion
from workbench.errors import ParameterError
from workbench.figures_outcomes import plot_mechanism, plot_quadrants
from workbench.inference import jax_function
from workbench.measurement import cohesion_index
from workbench.models.joint import build_model, index_data
from workbench.panel import build_panel


def of_values(model, *outputs):
    """A function of the values of the model's parameters that gives these named quantities as arrays."""
    data = {v.name: v.get_value() for v in model.data_vars}
    found = jax.jit(jax_function(model, model.replace_rvs_by_values([model[name] for name in outputs])))
    return lambda values: dict(zip(outputs, map(np.asarray, found(values, data)), strict=True))


@pytest.fixture(scope="module")
def built():
    """A small city with its panel, its index, and the plain and the whitened model."""
    city, panel, _truth = bench.city_of(4, areas=5, treated=2, waves=3, projects=2, respondents=900)
    index = cohesion_index(city, panel)
    index["information"][0, 1] = 0  # nobody answered there
    return city, panel, index, build_model(panel, index, whiten=False), build_model(panel, index)


NAMES = (
    "latent",
    "cohesion",
    "delta",
    "delta_cohesion",
    "cut",
    "answers",
    "measured",
    "corr_area",
    "corr_shock",
    "rho",
)
SCALES = tuple(
    f"{name}{tail}" for name in ("sd_area", "sd_shock", "level", "wave_effect") for tail in ("", "_cohesion")
)


@pytest.fixture(scope="module")
def at_random(built):
    model, rng = built[3], np.random.default_rng(1)
    values = {k: rng.normal(0, 0.5, np.shape(v)) for k, v in model.initial_point().items()}
    values["rho_logodds__"] = np.array(0.3)
    return values, of_values(model, *NAMES, *SCALES)(values)


def test_both_indices_are_levels_waves_effects_and_a_correlated_row(built, at_random):
    panel, (values, found) = built[1], at_random
    cohort = np.unique(panel["cohort"].values, return_inverse=True)[1]
    design = panel["design"].transpose("area", "wave", "effect").values
    lag = abs(np.subtract.outer(panel["year"].values, panel["year"].values)) / np.median(np.diff(panel["year"]))
    areas, shocks = (
        np.array([[a**2, r * a * b], [r * a * b, b**2]])
        for a, b, r in (
            (found["sd_area"], found["sd_area_cohesion"], found["corr_area"]),
            (found["sd_shock"], found["sd_shock_cohesion"], found["corr_shock"]),
        )
    )
    covariance = np.kron(areas, np.ones((3, 3))) + np.kron(shocks, found["rho"] ** lag) + 1e-9 * np.eye(6)
    row = values["z"] @ np.linalg.cholesky(covariance).T
    for tail, name, part in (("", "latent", row[:, :3]), ("_cohesion", "cohesion", row[:, 3:])):
        mean = found[f"level{tail}"][cohort][:, None] + found[f"wave_effect{tail}"] + design @ found[f"delta{tail}"]
        np.testing.assert_allclose(found[name], mean + part, atol=1e-9)


def test_answers_and_index_have_the_density_of_the_equation(built, at_random):
    _city, panel, index, _plain, _white = built
    _values, found = at_random
    counts = panel["counts"].sum("stratum").transpose("area", "wave", "answer").values
    above = expit(found["latent"][..., None] - found["cut"])
    chance = -np.diff(np.concatenate([np.ones((5, 3, 1)), above, np.zeros((5, 3, 1))], axis=-1), axis=-1)
    assert found["answers"] == pytest.approx((counts * np.log(chance)).sum(), rel=1e-9)
    # d log-likelihood / d latent by finite differences, over its sd by the panel's information.
    from workbench.models.perceived import working_response

    def loglik(latent):
        above = expit(latent[..., None] - found["cut"])
        chance = -np.diff(np.concatenate([np.ones((5, 3, 1)), above, np.zeros((5, 3, 1))], axis=-1), axis=-1)
        return (counts * np.log(chance)).sum(-1)

    score = (loglik(found["latent"] + 1e-5) - loglik(found["latent"] - 1e-5)) / 2e-5
    standard, r = score / np.sqrt(working_response(panel)[1]), float(index["overlap"])
    known, information = index["information"].values > 0, index["information"].values
    se = information[known] ** -0.5
    mean, sd = found["cohesion"][known] + r * se * standard[known], se * np.sqrt(1 - r**2)
    expected = norm.logpdf(index["index"].values[known], mean, sd)
    constants = -0.5 * np.log(2 * np.pi) + 0.5 * np.log(information[known])
    assert r < -0.1 and known.sum() == 14
    assert found["measured"] == pytest.approx((expected - constants).sum(), rel=1e-6)


def test_whitening_changes_the_coordinates_and_not_the_posterior(built):
    plain, white = built[3:]
    data = {v.name: v.get_value() for v in white.data_vars}
    logp = [jax.jit(jax_function(model, [model.logp()])) for model in (white, plain)]
    rows = [of_values(m, "latent", "cohesion") for m in (white, plain)]
    rng, point = np.random.default_rng(2), white.initial_point()
    values = {k: rng.normal(0, 0.3, np.shape(v)) for k, v in point.items()}
    flat = lambda found: np.concatenate([found["latent"], found["cohesion"]], axis=1)
    zero = values | {"z": np.zeros_like(values["z"])}
    wave = values["z"].shape[1]
    into = np.stack([flat(rows[1](zero | {"z": np.eye(wave)[[k] * 5]}))[0] for k in range(wave)], axis=1)
    into = into - flat(rows[1](zero))[0][:, None]
    v = np.linalg.solve(into, (flat(rows[0](values)) - flat(rows[1](zero))).T).T
    step, jacobian = 1e-5, 0.0
    for area in range(5):
        columns = []
        for k in range(wave):
            moved = [values["z"].copy() for _ in range(2)]
            moved[0][area, k] += step
            moved[1][area, k] -= step
            up, down = (flat(rows[0](values | {"z": z}))[area] for z in moved)
            columns.append((up - down) / (2 * step))
        jacobian += np.linalg.slogdet(np.stack(columns, 1))[1] - np.linalg.slogdet(into)[1]
    found = float(logp[0](values, data)[0] - logp[1](values | {"z": v}, data)[0])
    assert found == pytest.approx(jacobian, abs=1e-4)


def test_an_index_enters_with_zeros_where_nobody_answered(built):
    data = index_data(built[2])
    assert data["precision"][0, 1] == data["index"][0, 1] == 0 and np.isfinite(data["index"]).all()


# --- corners, by hand -----------------------------------------------------------------------------------------------


def test_corners_are_shares_of_joint_draws():
    social = [[0.1, 0.2, -0.1, -0.2, 0.3, 0.3, 0.3, -0.3, 0.1, 0.1]]
    unsafe = [[-1.0, 2.0, -1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, -1.0]]
    dims = ("project", "chain", "draw")
    found = xr.Dataset({"cohesion": (dims, [social]), "insecurity": (dims, [unsafe])}, {"project": ["p"]})
    row = cohesion.quadrants(found).iloc[0].to_dict()
    assert row == {
        "project": "p", "more cohesive, safer": 0.5, "more cohesive, less safe": 0.2,
        "less cohesive, safer": 0.2, "less cohesive, less safe": 0.1,
    }  # fmt: skip


@pytest.fixture
def by_hand():
    """Three areas, two waves, one project in the first area and second wave; every draw the same."""
    panel = small([[30, 20], [40, 40], [30, 30]], treated=(0,), first=1)
    panel = panel.assign(effect_project=("effect", [0]))
    draws = made_draws(panel)["posterior"].to_dataset()
    draws["latent"] = draws["latent"] * 0 - 1.0
    fixed = {"delta": -0.5, "delta_cohesion": 0.4}
    draws = draws.assign({k: draws["delta"] * 0 + value for k, value in fixed.items()})
    scalar = {"corr_shock": -0.5, "sd_shock": 0.2, "sd_shock_cohesion": 0.25, "sd_area_cohesion": 0.35}
    return panel, draws.assign({k: draws["sd_shock"] * 0 + value for k, value in scalar.items()})


def test_changes_are_the_effects_of_the_window_in_both_units(by_hand):
    panel, draws = by_hand
    found = cohesion.changes(panel, draws)
    assert found["project"].values.tolist() == ["", "p"]
    np.testing.assert_allclose(found["cohesion"], 0.4)
    np.testing.assert_allclose(found["insecurity"], 100 * (expit(-1) - expit(-0.5)))


def test_reliability_is_the_share_of_variance_that_is_the_areas(by_hand):
    index = xr.Dataset({"se": (("area", "wave"), [[0.2, np.nan]])})
    found = cohesion.reliability(index, by_hand[1])
    between = 0.35**2 + 0.25**2
    assert found[0, 0].item() == pytest.approx(between / (between + 0.04)) and np.isnan(found[0, 1])


# --- mechanism, by hand ---------------------------------------------------------------------------------------------


def test_without_confounding_the_slope_is_the_regression_of_one_shock_on_the_other(by_hand):
    assert cohesion.slope(by_hand[1]).values == pytest.approx(-0.5 * 0.2 / 0.25)
    shocks = np.random.default_rng(1).multivariate_normal([0, 0], [[0.04, -0.025], [-0.025, 0.0625]], 200_000)
    assert np.polyfit(shocks[:, 1], shocks[:, 0], 1)[0] == pytest.approx(-0.4, abs=0.005)


@pytest.mark.parametrize("rho", [-0.6, 0.0, 0.3, 0.8])
def test_the_slope_is_that_which_the_confounded_shocks_were_made_with(by_hand, rho):
    """Shocks as u = pull * c + e with corr(c, e) = rho: the formula must give the pull back from sd and correlation."""
    pull, sd_c, sd_e = -0.3, 0.25, 0.18
    sd_u = np.sqrt(pull**2 * sd_c**2 + sd_e**2 + 2 * pull * rho * sd_c * sd_e)
    r = (pull * sd_c + rho * sd_e) / sd_u
    draws = by_hand[1].assign(corr_shock=r, sd_shock=sd_u, sd_shock_cohesion=sd_c)
    assert float(cohesion.slope(draws, rho)) == pytest.approx(pull)


def test_the_slope_vanishes_where_confounding_is_the_whole_correlation(by_hand):
    np.testing.assert_allclose(cohesion.slope(by_hand[1], -0.5), 0, atol=1e-12)


def test_the_indirect_effect_is_what_taking_the_mediated_part_out_changes(by_hand):
    panel, draws = by_hand
    expected = 100 * (expit(-1) - expit(-1 + 0.4 * 0.4))  # slope -0.4 times 0.4 sd
    np.testing.assert_allclose(cohesion.through(panel, draws, cohesion.slope(draws)), expected)
    table = cohesion.curve(panel, draws).set_index("rho")
    assert table.index.tolist() == [round(x, 1) for x in np.linspace(-0.9, 0.9, 19)]
    assert table.loc[-0.5, "median"] == pytest.approx(0, abs=1e-9) and table.loc[0, "median"] == pytest.approx(expected)
    assert table["median"].is_monotonic_decreasing, "the more confounding raises both, the more is left to cohesion"


def test_each_respondent_of_a_split_sample_gives_one_of_the_two(built):
    city, panel = built[:2]
    half = cohesion.split(city, panel, seed=1).respondents
    social, unsafe = half[list(bench.ITEMS)].notna().any(axis=1), half["unsafe_neighbourhood"].notna()
    assert not (social & unsafe).any() and (social | unsafe).all()
    sizes = pd.crosstab([half["area"], half["wave"]], social)
    assert (sizes[True] - sizes[False]).abs().max() <= 1
    again, other = (cohesion.split(city, panel, seed=s).respondents for s in (1, 2))
    assert half.equals(again) and not half.equals(other)
    assert float(cohesion_index(replace(city, respondents=half), panel)["overlap"]) == pytest.approx(0)


def test_a_mechanism_of_published_shares_is_refused_in_one_message(built):
    city, panel = built[:2]
    with pytest.raises(
        ParameterError, match="published shares only: a mechanism needs cohesion from other respondents"
    ):
        cohesion.mechanism(replace(city, respondents=None), panel, seed=1)


def test_a_city_without_cohesion_items_has_nothing_to_evaluate(built):
    city, panel = built[:2]
    assert cohesion.evaluate(replace(city, items=("unsafe_neighbourhood",)), panel, seed=1, lang="en") is None


def test_a_project_whose_areas_were_asked_on_one_side_only_is_named(built):
    panel, index = built[1:3]
    assert cohesion.not_compared(panel, index) == []
    first = panel["design"].any("effect").values.argmax(1)  # of an area, the first wave with its project
    before = np.arange(panel.sizes["wave"]) < first[:, None]
    for gone in (before, ~before):
        known = index["information"].where(~(gone & panel["treated"].values[:, None]), 0.0)
        half = index.assign(information=known)
        assert cohesion.not_compared(panel, half) == panel["project"].values.tolist()
        told = cohesion._warnings(panel, half.assign(reliability=known + 1.0), lang="en")
        assert "not asked both before and while" in told[0] and str(panel["project"].values[0]) in told[0]


def test_a_prior_that_the_joint_model_does_not_have_is_refused(built):
    with pytest.raises(ParameterError, match="prior 'flat': .* allowed are sceptical, wide"):
        cohesion.evaluate(*built[:2], seed=1, prior="flat", lang="en")


# --- pictures -------------------------------------------------------------------------------------------------------


def test_the_picture_of_corners_tells_where_each_project_lies_and_how_likely(ax):
    lot = np.random.default_rng(1)
    draws = lot.normal(size=(2, 2, 1, 2000)) * np.array([0.05, 1.0])[:, None, None, None]
    draws = draws + np.array([[0.2, -0.1], [-3.0, 0.5]])[:, :, None, None]
    dims = ("project", "chain", "draw")
    found = {"cohesion": (dims, draws[0]), "insecurity": (dims, draws[1])}
    found = xr.Dataset(found, {"project": ["meet", "host"]})
    alt = plot_quadrants(found, cohesion.quadrants(found), ax=ax, names={"meet": "Meeting house"}, lang="en")
    assert (
        "Meeting house: cohesion 0.20 standard deviations, insecurity −3.0 points; most likely more cohesive, safer"
        in alt
    )
    assert "host: cohesion −0.10 standard deviations" in alt
    assert len(ax.patches) == 4, "half and nine tenths of each project"
    outer = ax.patches[0].get_path().transformed(ax.patches[0].get_patch_transform())
    inside = outer.contains_points(draws[:, 0, 0].T)
    assert inside.mean() == pytest.approx(0.9, abs=0.02)
    corners = {text.get_text(): text.get_position() for text in ax.texts if "cohesive" in text.get_text()}
    assert corners["more cohesive, safer"] == (0.98, 0.02) and corners["less cohesive, less safe"] == (0.02, 0.98)


def test_the_picture_of_the_mechanism_says_that_it_is_exploratory_and_where_nothing_is_left(ax, by_hand):
    table = cohesion.curve(*by_hand)
    alt = plot_mechanism(table, ax=ax, vanishes={"median": -0.5, "lower90": -0.7, "upper90": -0.2}, lang="en")
    assert (
        alt.startswith("Exploratory. Without confounders −")
        and "is nothing at −0.50 (90 % interval −0.70 to −0.20)" in alt
    )
    assert ax.get_title(loc="left") == "Exploratory"
    np.testing.assert_allclose(ax.lines[0].get_ydata(), table["median"])


# --- one fit --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def evaluated():
    """A city in which every project makes areas 0.5 sd more cohesive and about 10 points safer, fitted once (so few
    draws that a fit is not repeated)."""
    from workbench.simulate import draw_city

    options = {"areas": 12, "treated": 6, "waves": 4, "projects": 2, "respondents": 6000, "seed": 3}
    city, truth = draw_city(**options, cohesion_effect=0.5, effect_pp=-10.0)
    city = replace(city, respondents=city.respondents.drop(columns=["sex", "age_band"]), population=None)
    panel = build_panel(city)
    return panel, truth, cohesion.evaluate(city, panel, seed=1, draws=190, tune=250, chains=2, lang="nl")


@pytest.mark.slow
def test_the_planted_change_lies_in_the_interval_and_in_its_corner(evaluated):
    _panel, truth, (_idata, summary, rows) = evaluated
    att = summary["att_sd"]
    assert att["lower90"] < truth["cohesion"]["att_sd"] < att["upper90"] and att["p_rise"] > 0.9
    assert summary["quadrants"]["more cohesive, safer"] > 0.8
    assert sum(summary["quadrants"].values()) == pytest.approx(1)
    assert rows["estimand"].eq("cohesion_att").all() and rows["scale"].eq("sd").all()
    assert rows["project"].tolist() == ["", *summary["by_project"]] and rows["mean"].iloc[0] == att["mean"]
    assert 0 < att["sd"] < att["prior_sd"]


@pytest.mark.slow
def test_the_summary_is_plain_json_and_tells_reliability_and_settled_computation(evaluated):
    import json

    _panel, _truth, (idata, summary, _rows) = evaluated
    json.dumps({k: v for k, v in summary.items() if k != "att_sd"}, allow_nan=False)
    low, middle = (summary["reliability"][k] for k in ("min", "median"))
    assert 0 < low <= middle < 1
    assert float(idata["measurement"]["reliability"].median()) == pytest.approx(middle)
    assert summary["diagnostics"]["divergences"] == 0 and summary["warnings"] == []


@pytest.mark.slow
def test_more_cohesive_areas_are_found_safer_where_they_were_made_so(evaluated):
    panel, _truth, (idata, _summary, _rows) = evaluated
    table = cohesion.between_areas(panel, idata["posterior"].to_dataset())
    assert table["wave"].tolist() == panel["wave"].values.tolist()
    assert (table["mean"] < 0).all() and (table["upper90"] - table["lower90"] > 0.05).all()
