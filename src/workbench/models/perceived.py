"""M1, perceived insecurity: an ordinal difference-in-differences with staggered starts.

    P(answer <= k)             = logistic(threshold[k] - eta),   threshold[unsafe cut] = 0
    eta[area, wave, stratum]   = latent[area, wave] + strata[stratum]
    latent[area, wave]         = level[cohort] + area + wave + shock[area, wave] + sum(design * delta)
    area ~ N(0, sd_area)         shock ~ AR(1) over waves with scale sd_shock and correlation rho
    delta[project, event time] = mu + tau * project + sd_event * deviation        (logit scale)
    or, for an evidence card:    theta[project] + sd_event * (deviation - its mean over the window)

What makes it causal: without the project, the treated areas' latent index would have moved in parallel with that of
the areas not (yet) treated, apart from shocks that treat both groups alike; nobody changed before the announcement;
one area's project does not change its comparison areas. Levels are free by cohort (never treated, and each start
wave), so that a standing gap between treated and comparison areas cannot leak into `delta`.

The likelihood works on counts per cell and answer, exactly: with z[k] = threshold[k] - eta,

    log L = sum_k up[k] z[k] - (up[k] + lo[k]) softplus(z[k])  +  sum over answers between two thresholds of
            n log(1 - exp(-(threshold[upper] - threshold[lower])))

where up[k] counts the answers whose upper bound is threshold k and lo[k] those whose lower bound it is. An answer
that covers several categories (a wave that publishes only "often/always") is just an answer with other bounds."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.special import expit

PRIORS = {"sceptical": 0.17, "wide": 0.34, "flat": 10.0}
"""Scale of project effects on the logit. 0.17 lets 95 % of projects lie within about -8 to +10 percentage points at a
base of 24 % unsafe and within -3 to +5 at 6-9 %; 0.34 is twice as open; 10 leaves the likelihood alone."""


def build_model(panel, *, prior="sceptical", mean=None, theta=None, rho=None, whiten=True, keep_empty=False):
    """A PyMC model of one panel (see `workbench.panel.build_panel`).

    `prior` names the scale of project effects in `PRIORS`; "flat" gives every project and event time its own
    coefficient, "window" only every project's mean over the window (`theta`), event times differing as under the
    sceptical prior: what a card carries. `theta` (project) may come from a model around this one. `mean` (location, sd)
    is a prior of its own for the mean of projects: what other cities found. `rho` fixes the shock correlation one
    median gap apart; None gives a Beta(2, 2). Without `whiten` (see `_latent`) the model is non-centred: the prior can
    be drawn. `keep_empty` keeps cells without answers: cities of one design share a compiled function."""
    data = model_data(panel, keep_empty=keep_empty)
    coords = {d: panel[d].values for d in ("area", "wave", "stratum", "effect", "project")}
    coords |= {"cohort": np.unique(panel["cohort"].values), "threshold": panel["category"].values[1:]}
    with pm.Model(coords=coords) as model:
        given = {name: pm.Data(name, value) for name, value in data.items()}
        threshold = _thresholds(coords["threshold"], data["unsafe_cut"])
        effect = pt.tensordot(given["design"], _delta(given, prior=prior, mean=mean, theta=theta), axes=[[2], [0]])
        latent = _latent(given, effect, rho=rho, whiten=whiten)
        strata = pm.ZeroSumNormal("strata", 0.5, dims="stratum") if len(coords["stratum"]) > 1 else pt.zeros(1)
        eta = latent[given["cell_area"], given["cell_wave"]] + strata[given["cell_stratum"]]
        pm.Potential("answers", log_likelihood(threshold, eta, given))
    return model


def log_likelihood(threshold, eta, given):
    """Log-probability of the counts, summed; `eta` per cell, `threshold` increasing. Multinomial constants left out.
    exp(threshold - eta) is an outer product: one logarithm per cell and threshold, no exponential."""
    up, both = given["up"], given["up"] + given["lo"]
    linear = pt.dot(up.sum(0), threshold) - pt.dot(up.sum(1), eta)
    softplus = pt.log1p(pt.exp(-eta)[:, None] * pt.exp(threshold)[None, :])
    gap = threshold[given["inner_upper"]] - threshold[given["inner_lower"]]
    return linear - pt.sum(both * softplus) + pt.sum(given["inner_total"] * pt.log1mexp(-gap))


def _thresholds(names, unsafe_cut):
    """Increasing thresholds, zero where answers start to count as unsafe; neighbours a log-normal(0, 1) gap apart."""
    if len(names) == 1:
        return pt.zeros(1)
    gap = pm.LogNormal("gap", 0, 1, shape=len(names) - 1)
    steps = pt.concatenate([pt.zeros(1), pt.cumsum(gap)])
    return pm.Deterministic("cut", steps - steps[int(unsafe_cut)], dims="threshold")


def _delta(given, *, prior, mean, theta):
    """Effects per project and event time (dim effect), on the logit; negative means fewer residents feel unsafe."""
    if prior == "flat":
        assert mean is None, "without a prior of effects there is none of their mean"
        return pm.Normal("delta", 0, PRIORS["flat"], dims="effect")
    scale = pm.Data("prior_scale", PRIORS["sceptical" if prior == "window" else prior])
    sd_event = half_normal("sd_event", scale / 2)
    event = pm.Normal("event_raw", 0, 1, dims="effect")
    if prior == "window":
        theta = pm.Normal("theta", 0, PRIORS["flat"], dims="project") if theta is None else theta
        around = event - pt.dot(given["window_weight"], event)[given["effect_project"]]
        pooled = theta[given["effect_project"]] + sd_event * around
    else:
        at, spread = (pm.Data(*x) for x in zip(("mean_at", "mean_scale"), mean or (0.0, PRIORS[prior]), strict=True))
        mu = pm.Deterministic("mu", at + spread * pm.Normal("mu_raw", 0, 1))
        tau = half_normal("tau", scale)
        pooled = mu + tau * pm.Normal("project_raw", 0, 1, dims="project")[given["effect_project"]] + sd_event * event
    # Before full start and after a stop an effect may be anything between none and all: its own, not pooled.
    return pm.Deterministic("delta", pt.where(given["effect_pooled"], pooled, scale * event), dims="effect")


def half_normal(name, scale):
    """HalfNormal(scale) as a function of a standard normal: unlike a log scale it has no sharp edge or long tail."""
    raw = pm.Normal(f"{name}_raw", 0, 1)
    return pm.Deterministic(name, scale * np.sqrt(2) * pt.erfinv(pt.erfc(-raw / np.sqrt(2)) / 2))


def _latent(given, effect, *, rho, whiten):
    """Area-wave index (area, wave): level of the cohort, area, wave, shock and `effect`, on the logit."""
    sd_area, sd_shock = half_normal("sd_area", 0.7), half_normal("sd_shock", 0.17)
    rho = pm.Beta("rho", 2, 2) if rho is None else pm.Data("rho_fixed", float(rho))
    level = pm.Normal("level", 0, 1.5, dims="cohort")
    wave = pm.ZeroSumNormal("wave_effect", 1.0, dims="wave") if len(pm.modelcontext(None).coords["wave"]) > 1 else 0.0
    mean = level[given["area_cohort"]][:, None] + wave + effect
    covariance = sd_area**2 + sd_shock**2 * autocorrelation(rho, given["lag"]) + 1e-9 * pt.eye(given["lag"].shape[0])
    seen = (given["working"], given["information"]) if whiten else None
    latent = gaussian_rows(mean, covariance, seen=seen, dims=("area", "wave"))
    return pm.Deterministic("latent", latent, dims=("area", "wave"))


def autocorrelation(rho, lag):
    """rho ** lag, an AR(1)'s correlations. 0 ** 0 has no gradient: an exact zero correlation is nudged."""
    return pt.exp(lag * pt.log(pt.maximum(rho, 1e-6)))


def gaussian_rows(mean, covariance, *, seen, dims):
    """Rows of `dims`, each N(mean, covariance), whose coordinates `z` NUTS sees are close to independent standard normals.

    Given the scales, a row less its mean is `C v` with `v` standard normal. With few answers `v` is what to
    sample (non-centred); with many, the row itself (centred). What was `seen`, a working response and its information
    per entry, gives the Gaussian that lies between: v = K^-T (K^-1 C' W (y - mean) + z), K K' = I + C' W C. The term
    added to the log-density makes the change of variables exact, however good that approximation is. Without `seen`
    it is non-centred: the prior can be drawn."""
    z, scale = pm.Normal("z", 0, 1, dims=dims), pt.linalg.cholesky(covariance)
    if seen is None:
        return mean + z @ scale.T
    working, information = seen
    inner = pt.eye(scale.shape[0])[None] + pt.matmul(scale.T[None], information[:, :, None] * scale[None])
    root = pt.linalg.cholesky(inner)
    pull = pt.matmul((information * (working - mean))[:, None, :], scale[None])[:, 0]
    half = pt.linalg.solve_triangular(root, pull[..., None], lower=True, b_ndim=2)[..., 0]
    v = pt.linalg.solve_triangular(pt.swapaxes(root, 1, 2), (half + z)[..., None], lower=False, b_ndim=2)[..., 0]
    log_det = pt.sum(pt.log(pt.diagonal(root, axis1=1, axis2=2)))
    pm.Potential("change_of_variables", 0.5 * pt.sum(z**2) - 0.5 * pt.sum(v**2) - log_det)
    return mean + v @ scale.T


def model_data(panel, *, keep_empty=False) -> dict:
    """Everything the model reads from a panel, by the names of its pm.Data: arrays in a fixed dim order."""
    counts = panel["counts"].transpose("area", "wave", "stratum", "answer").values
    lower, upper = panel["lower"].values, panel["upper"].values
    cuts = panel.sizes["category"] - 1
    up = np.stack([counts[..., upper == k].sum(-1) for k in range(cuts)], axis=-1)
    lo = np.stack([counts[..., lower == k + 1].sum(-1) for k in range(cuts)], axis=-1)
    cell = np.nonzero(np.ones(counts.shape[:3], bool) if keep_empty else counts.sum(-1) > 0)
    inner = (lower > 0) & (upper < cuts)
    working, information = working_response(panel)
    years = panel["year"].values
    lag = np.abs(years[:, None] - years[None, :]) / (np.median(np.diff(years)) if len(years) > 1 else 1.0)
    # As `estimands.latent_att`: areas by residents, an area's window waves equally, one row per project.
    share = (panel["window"] * panel["population"].sum("stratum") / panel["window"].sum("wave").clip(1)).values
    own = panel["effect_project"].values == np.arange(panel.sizes["project"])[:, None]
    window_weight = np.einsum("paw,awe->pe", share, panel["design"].transpose("area", "wave", "effect").values) * own
    return {
        "up": up[cell], "lo": lo[cell], "cell_area": cell[0], "cell_wave": cell[1], "cell_stratum": cell[2],
        "inner_lower": lower[inner] - 1, "inner_upper": upper[inner],
        "inner_total": counts.sum((0, 1, 2))[inner], "unsafe_cut": int(panel.attrs["unsafe_index"]) - 1,
        "design": panel["design"].transpose("area", "wave", "effect").values.astype(float),
        "effect_project": panel["effect_project"].values.astype(int),
        "effect_pooled": panel["effect_pooled"].values.astype(bool),
        "window_weight": window_weight / window_weight.sum(1, keepdims=True),
        "area_cohort": np.unique(panel["cohort"].values, return_inverse=True)[1],
        "lag": lag, "working": working, "information": information,
    }  # fmt: skip


def working_response(panel, *, steps=25):
    """Estimate and information of the latent index per area-wave (area, wave), thresholds and strata aside. Thresholds
    come from the pooled answers, zero at the unsafe cut; each area-wave is an ordinal regression by Fisher scoring
    under a N(0, 1) prior that keeps 0 % and 100 % finite. Information is 0 where nobody was asked."""
    counts = panel["counts"].sum("stratum").transpose("area", "wave", "answer").values
    lower, upper, cuts = panel["lower"].values, panel["upper"].values, np.arange(panel.sizes["category"] - 1)
    given = panel["counts"].sum(("area", "wave", "stratum")).values
    below = np.array([given[upper <= k].sum() for k in cuts]) + 0.5
    above = np.array([given[lower > k].sum() for k in cuts]) + 0.5
    cut = np.maximum.accumulate(np.log(below / above) + 1e-3 * cuts)
    bound = np.r_[-np.inf, cut - cut[int(panel.attrs["unsafe_index"]) - 1], np.inf]
    latent = np.zeros(counts.shape[:2])
    total, listed = counts.sum(-1), (counts > 0).any(0, keepdims=True)  # the classes that a wave lists
    for _ in range(steps):
        left = expit(bound[lower][None, None] - latent[..., None])
        right = expit(bound[upper + 1][None, None] - latent[..., None])
        # d log(right - left) / d latent = left + right - 1 for a logistic; the rest is the expected information.
        score = (counts * (left + right - 1.0)).sum(-1) - latent
        probability = np.where(listed, np.clip(right - left, 1e-12, 1.0), 0.0)
        information = total * (probability * (left + right - 1.0) ** 2).sum(-1)
        latent = latent + score / (information + 1.0)
    return latent, information
