"""M2, cohesion and insecurity together: two outcomes of the same areas and projects.

    insecurity[area, wave], cohesion[area, wave] = level[cohort] + area + wave + shock[area, wave] + sum(design * delta)
    area ~ N2(0, Sigma_area)      shock ~ N2(0, Sigma_shock), AR(1) over waves with one rho for both
    delta[project, event time] = mu + tau * project + sd_event * deviation     for each outcome; project ~ N2(0, R)
    answers on insecurity: M1's likelihood, exactly, with insecurity[area, wave] as M1's latent index (logit)
    index | answers ~ N(cohesion + r se s, se^2 (1 - r^2))     s: the standardised score of the same area-wave's answers

What makes it causal is what makes M1 causal, for both outcomes: without the project, treated areas would have moved in
parallel with those not (yet) treated on either scale, apart from shocks that treat both alike. That one outcome's
effect goes with the other's (R) says nothing of which leads to which: see `workbench.cohesion.mechanism`.

`index` and `se` come from `workbench.measurement` in sd of residents within an area; the same people gave both
answers, so its sampling error goes with theirs (correlation r, given). One rho serves both outcomes: few waves could not
tell two apart. `tests/test_cohesion.py` holds the density to its equation in numpy."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt

from workbench.models import perceived
from workbench.models.perceived import autocorrelation, gaussian_rows, half_normal, model_data

PRIORS = {"sceptical": (0.17, 0.15), "wide": (0.34, 0.3)}
"""Scale of project effects on insecurity (logit, as M1) and cohesion (sd of residents). 0.15 lets 95 % of projects move
the typical resident within about 0.35 sd, from the middle of his neighbours to the 36th or the 64th of a hundred."""
OUTCOMES = ("insecurity", "cohesion")


def build_model(panel, index, *, prior="sceptical", whiten=True, keep_empty=False):
    """A PyMC model of one panel and its `index` (see `workbench.measurement.cohesion_index`). Draws hold `latent` and
    `delta` as M1 does (logit), and `cohesion` (area, wave) and `delta_cohesion` (effect) in sd of residents; `prior`,
    `whiten` and `keep_empty` are M1's."""
    data = model_data(panel, keep_empty=keep_empty) | index_data(index)
    coords = {d: panel[d].values for d in ("area", "wave", "stratum", "effect", "project")}
    coords |= {"cohort": np.unique(panel["cohort"].values), "threshold": panel["category"].values[1:]}
    coords["column"] = [f"{outcome} {wave}" for outcome in OUTCOMES for wave in panel["wave"].values]
    with pm.Model(coords=coords) as model:
        given = {name: pm.Data(name, value) for name, value in data.items()}
        threshold = perceived._thresholds(coords["threshold"], data["unsafe_cut"])
        latent, cohesion = _latent(given, _deltas(given, pm.Data("prior_scale", PRIORS[prior])), whiten=whiten)
        strata = pm.ZeroSumNormal("strata", 0.5, dims="stratum") if len(coords["stratum"]) > 1 else pt.zeros(1)
        eta = latent[given["cell_area"], given["cell_wave"]] + strata[given["cell_stratum"]]
        pm.Potential("answers", perceived.log_likelihood(threshold, eta, given))
        pm.Potential("measured", _measured(cohesion, eta, threshold, given))
    return model


def index_data(index) -> dict:
    """What the model reads of an index, by the names of its pm.Data: zeros where nobody answered."""
    known = index["information"].values > 0
    found = {"index": np.where(known, index["index"].values, 0.0), "precision": index["information"].values}
    return found | {"overlap": float(index["overlap"])}


def _measured(cohesion, eta, threshold, given):
    """Log-density of the index given cohesion and the answers on insecurity of the same people."""
    tall = pt.exp(threshold)[None, :]
    chance = tall / (tall + pt.exp(eta)[:, None])  # P(answer <= threshold)
    score = pt.sum((given["up"] + given["lo"]) * chance, axis=1) - pt.sum(given["up"], axis=1)
    total = pt.zeros_like(cohesion)
    total = pt.inc_subtensor(total[given["cell_area"], given["cell_wave"]], score)
    standard = total / pt.sqrt(pt.maximum(given["information"], 1e-9))
    off = pt.sqrt(given["precision"]) * (given["index"] - cohesion) - given["overlap"] * standard
    off, left = pt.where(given["precision"] > 0, off, 0.0), 1 - given["overlap"] ** 2
    return -0.5 * pt.sum(off**2) / left - 0.5 * pt.log(left) * pt.sum(given["precision"] > 0)


def _deltas(given, scales):
    """Effects per project and event time on both outcomes, a list by outcome; projects' deviations correlated."""
    made, first = [], pm.Normal("project_raw", 0, 1, dims="project")
    together = _correlation("corr_project")
    second = together * first + pt.sqrt(1 - together**2) * pm.Normal("project_cohesion_raw", 0, 1, dims="project")
    for k, (tail, project) in enumerate((("", first), ("_cohesion", second))):
        scale = scales[k]
        mu = pm.Deterministic(f"mu{tail}", scale * pm.Normal(f"mu{tail}_raw", 0, 1))
        tau, sd_event = half_normal(f"tau{tail}", scale), half_normal(f"sd_event{tail}", scale / 2)
        event = pm.Normal(f"event{tail}_raw", 0, 1, dims="effect")
        pooled = mu + tau * project[given["effect_project"]] + sd_event * event
        # Before full start and after a stop an effect is its own, as in M1.
        made.append(
            pm.Deterministic(f"delta{tail}", pt.where(given["effect_pooled"], pooled, scale * event), dims="effect")
        )
    return made


def _correlation(name):
    """A correlation with prior 2 Beta(2, 2) - 1: flat-topped, and shy of the ends."""
    return pm.Deterministic(name, 2 * pm.Beta(f"{name}_raw", 2, 2) - 1)


def _latent(given, deltas, *, whiten):
    """Both indices (area, wave): insecurity on the logit, cohesion in sd of residents."""
    sd_area, sd_shock = half_normal("sd_area", 0.7), half_normal("sd_shock", 0.17)
    sd_area_cohesion, sd_shock_cohesion = half_normal("sd_area_cohesion", 0.5), half_normal("sd_shock_cohesion", 0.15)
    areas = _pair(sd_area, sd_area_cohesion, _correlation("corr_area"))
    shocks = _pair(sd_shock, sd_shock_cohesion, _correlation("corr_shock"))
    lags = autocorrelation(pm.Beta("rho", 2, 2), given["lag"])
    waves = len(pm.modelcontext(None).coords["wave"])
    blocks = [pt.concatenate([areas[k][j] + shocks[k][j] * lags for j in range(2)], axis=1) for k in range(2)]
    covariance = pt.concatenate(blocks, axis=0) + 1e-9 * np.eye(2 * waves)
    means = []
    for k, (tail, level, spread) in enumerate((("", 1.5, 1.0), ("_cohesion", 1.0, 0.5))):
        start = pm.Normal(f"level{tail}", 0, level, dims="cohort")[given["area_cohort"]][:, None]
        wave = pm.ZeroSumNormal(f"wave_effect{tail}", spread, dims="wave")
        means.append(start + wave + pt.tensordot(given["design"], deltas[k], axes=[[2], [0]]))
    pairs = (("working", "index"), ("information", "precision"))
    seen = [pt.concatenate([given[name] for name in names], axis=1) for names in pairs] if whiten else None
    rows = gaussian_rows(pt.concatenate(means, axis=1), covariance, seen=seen, dims=("area", "column"))
    latent = pm.Deterministic("latent", rows[:, :waves], dims=("area", "wave"))
    return latent, pm.Deterministic("cohesion", rows[:, waves:], dims=("area", "wave"))


def _pair(first, second, correlation):
    """The 2 x 2 covariance of two scales and their correlation."""
    both = correlation * first * second
    return (first**2, both), (both, second**2)
