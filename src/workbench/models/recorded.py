"""M3, recorded incidents of one kind: negative binomial counts with staggered starts.

    count[area, period] ~ NegativeBinomial(mu, phi)           1 / sqrt(phi) ~ HalfNormal(0.5)
    log mu = offset + index[area, year] + season[month of the year] + time[period] + sum(design * delta)
    index[area, year] = level[cohort] + area + AR(1) noise of the area-year
    delta[project, years since full start] = mu + tau * project + sd_event * deviation            (log IRR)

`offset` is the log of the count to expect at the city's own rate. What makes it causal: without the project, the rate
in treated areas would have moved by the same factor as in areas not (yet) treated, apart from ups and downs of single
area-years; nothing changed before the announcement; the share of incidents that gets recorded did not change. What
spills over to neighbours has an effect of its own. Time's yearly part and the area-years' common part cannot be told
apart, nor need they be.

    log L = sum y eta - (y + phi) log(mu + phi) + phi log phi  +  sum over j of log(phi + j) x cells with count > j

The last sum is lgamma(y + phi) - lgamma(phi), as often as there are counts. Levels are free by cohort, as in M1."""

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from scipy.sparse.csgraph import connected_components

from workbench.models.perceived import autocorrelation, half_normal

PRIORS = {"sceptical": 0.2, "wide": 0.4, "flat": 10.0}
"""Scale of project effects on the log IRR. 0.2 lets 95 % of projects lie between about -40 and +70 percent; flat leaves
the likelihood alone. Neighbours have half of it: what moves next door, or spreads there, is usually the smaller part."""


def build_model(panel, *, prior="sceptical", spatial=False, data=None, whiten=True):
    """A PyMC model of one panel (see `workbench.incidents.build_incidents`); `prior` names the scale of effects in
    `PRIORS`, where "flat" gives every one its own coefficient. `spatial` splits areas into a part that neighbours share
    and one of their own (BYM2). `data`, default `model_data`, is what fits of the same shape replace. Without `whiten` the
    model is non-centred: the prior of effects can be drawn."""
    data = model_data(panel) if data is None else data
    coords = {d: panel[d].values for d in ("area", "period", "effect", "project")}
    coords |= {"cohort": np.unique(panel["cohort"].values), "year": np.unique(panel["year"].values)}
    coords["season"] = np.arange(12 // int(panel["months"][0]))
    with pm.Model(coords=coords) as model:
        given = {name: pm.Data(name, value) for name, value in data.items()}
        delta = _delta(panel, given, prior=prior, whiten=whiten)
        within = pt.dot(given["patterns"], delta)[given["pattern"]] + _time(given, len(coords["season"]))
        yearly = within @ given["mean_of_year"]
        structured = spatial_part(panel["adjacency"].values) if spatial else None
        # Rows with the yearly part of all else are what the counts of an area-year tell, whatever made them.
        index = _rows(given, yearly, structured) - yearly
        pm.Deterministic("index", index, dims=("area", "year"))
        eta = given["offset"] + index @ given["in_year"] + within
        noise = half_normal("sd_count", 0.5)
        pm.Potential("counts", log_likelihood(eta, -pt.log(noise**2 + 1e-6), given))  # at most phi = 10^6: Poisson
    return model


def log_likelihood(eta, log_phi, given):
    """Log-probability of the counts given log mu `eta` (area, period), summed; the counts' own factorials left out."""
    phi, count, recorded = pt.exp(log_phi), given["count"], given["recorded"]
    cells = pt.sum(count * eta - (count + phi * recorded) * pt.log(pt.exp(eta) + phi))
    return cells + phi * log_phi * pt.sum(recorded) + pt.sum(given["exceeding"] * pt.log(phi + given["up_to"]))


def spatial_part(adjacency, name="structured", dims="area"):
    """What neighbours share, per area: an intrinsic autoregression (ICAR) over each connected part of the map, scaled to
    a variance of 1 in the geometric mean (Riebler et al. 2016), and N(0, 1) for an area without neighbours."""
    joined = np.asarray(adjacency, int)
    parts, of_area = connected_components(joined, directed=False)
    pieces, order = [], []
    for part in range(parts):
        inside = np.flatnonzero(of_area == part)
        order.append(inside)
        if len(inside) == 1:
            pieces.append(pm.Normal(f"{name}_{part}", 0, 1, shape=1))
            continue
        own = joined[np.ix_(inside, inside)]
        variance = np.diag(np.linalg.pinv(np.diag(own.sum(1)) - own, hermitian=True))
        # The mean is the level's to say: it is held near zero, and no firmer than the rest is.
        pieces.append(pm.ICAR(f"{name}_{part}", own, zero_sum_stdev=0.1) / np.exp(np.log(variance).mean() / 2))
    return pm.Deterministic(name, pt.concatenate(pieces)[np.argsort(np.concatenate(order))], dims=dims)


def bym2(sd, structured):
    """Share of an area's variance that neighbours have in common (uniform prior): the areas' structured part, and the
    variance of what is their own."""
    mix = pm.Beta("mix", 1, 1)
    return sd * pt.sqrt(mix) * structured, sd**2 * (1 - mix)


def _delta(panel, given, *, prior, whiten):
    """Log IRR per effect; negative means fewer recorded incidents."""
    if prior == "flat":
        return pm.Normal("delta", 0, PRIORS["flat"], dims="effect")
    scale, kind = pm.Data("prior_scale", PRIORS[prior]), panel["effect_kind"].values
    seen = (given["project_working"], given["project_information"]) if whiten else None
    deviation = pm.Normal("event_raw", 0, 1, dims="effect")
    mu, tau = pm.Deterministic("mu", scale * pm.Normal("mu_raw", 0, 1)), half_normal("tau", scale)
    project = _between("project", mu, tau, seen=seen)
    pooled = project[given["effect_project"]] + half_normal("sd_event", scale / 2) * deviation
    # Before full start and after a stop an effect may be anything between none and all: its own, not pooled.
    effect = pt.where(given["running"], pooled, scale * deviation)
    if (kind == "neighbours").any():
        mean = pm.Deterministic("mu_neighbours", scale / 2 * pm.Normal("mu_neighbours_raw", 0, 1))
        seen = (given["near_working"], given["near_information"]) if whiten else None
        near = _between("neighbours", mean, half_normal("tau_neighbours", scale / 2), seen=seen, dims="project")
        effect = pt.where(given["near"], near[given["effect_project"]], effect)
    return pm.Deterministic("delta", effect, dims="effect")


def _between(name, mean, sd, *, seen, dims=None):
    """N(mean, sd) along `dims` (default: called `name`), as a function of what is left of it given what the counts say
    by themselves, a rough estimate and its information: `NAME_raw` is then close to standard normal whether that is
    little or much. The added term makes the change of variables exact, however rough the estimate. Without `seen` it is
    non-centred: the prior can be drawn."""
    raw = pm.Normal(f"{name}_raw", 0, 1, dims=dims or name)
    if seen is None:
        return mean + sd * raw
    (working, known), precision = seen, 1 / (sd**2 + 1e-9)
    variance = 1 / (known + precision)
    value = variance * (known * working + precision * mean) + pt.sqrt(variance) * raw
    change = raw**2 - precision * (value - mean) ** 2 + pt.log(variance) + pt.log(precision)
    pm.Potential(f"change_of_{name}", 0.5 * pt.sum(change))
    return value


def _time(given, seasons, *, whiten=True):
    """What all areas have in common in a period: the season, where a year has several, and time's own N(0, sd_time)."""
    season = pm.ZeroSumNormal("seasonal", 0.3, dims="season")[given["season_of"]] if seasons > 1 else 0.0
    seen = (given["period_working"] - season, given["period_information"]) if whiten else None
    time = _between("period", 0.0, half_normal("sd_time", 0.2), seen=seen)
    return pm.Deterministic("time", time, dims="period") + season


def _rows(given, yearly, structured):
    """Log rate by area and year less the offset, `yearly` included."""
    sd_area, sd_year, rho = half_normal("sd_area", 0.7), half_normal("sd_year", 0.15), pm.Beta("rho", 2, 2)
    mean = pm.Normal("level", 0, 1.5, dims="cohort")[given["area_cohort"]][:, None] + yearly
    variance = sd_area**2
    if structured is not None:
        common, variance = bym2(sd_area, structured)
        mean = mean + common[:, None]
    # Each area-year has 0.1 % of its own at least: the covariance is inverted, and must not be singular.
    covariance = variance + sd_year**2 * autocorrelation(rho, given["lag"]) + 1e-6 * pt.eye(given["lag"].shape[0])
    return mean + _deviations(given, mean, covariance)


def _deviations(given, mean, covariance):
    """Rows (area, year), each N(0, covariance), as `perceived.gaussian_rows` but with one factor for all areas: what
    counts and prior know of a row is taken to be independent along the directions of `basis`, which nearly holds, and
    the added term makes the change of variables exact. It spares a factorisation per area."""
    z, basis = pm.Normal("z", 0, 1, dims=("area", "year")), given["basis"]
    precision = pt.linalg.inv(covariance)
    variance = 1 / (given["basis_information"] + pt.sum(basis * (precision @ basis), axis=0))
    pull = (given["information"] * (given["working"] - mean)) @ basis
    rows = (variance * pull + pt.sqrt(variance) * z) @ basis.T
    log_prior = 0.5 * z.shape[0] * pt.linalg.slogdet(precision)[1] - 0.5 * pt.sum((rows @ precision) * rows)
    pm.Potential("change_of_variables", 0.5 * pt.sum(z**2) + log_prior + 0.5 * pt.sum(pt.log(variance)))
    return rows


def model_data(panel) -> dict:
    """Everything the model reads from a panel, by the names of its pm.Data."""
    counts = panel["counts"].values
    recorded = np.isfinite(counts)
    count, offset = np.where(recorded, counts, 0.0), np.where(recorded, panel["offset"].values, 0.0)
    years = np.unique(panel["year"].values)
    in_year = (panel["year"].values == years[:, None]).astype(float)
    usual = np.where(recorded, np.exp(offset), 0.0)  # counts at the city's own rate
    expected = usual @ in_year.T
    rate = (count @ in_year.T + 0.5) / np.maximum(expected, 1e-9)
    mean = usual * (rate @ in_year)
    information = mean / (1 + 0.03 * mean)  # with 1 / phi = 0.03
    below, lag = np.arange(count.max()), np.abs(years[:, None] - years).astype(float)
    basis = np.linalg.eigh(1e6 + 0.5**lag)[1]  # an area's mean, and how its years differ at rho 0.5
    design, kind = panel["design"].values, panel["effect_kind"].values
    patterns, pattern = np.unique(design.reshape(-1, design.shape[-1]), axis=0, return_inverse=True)
    common = count.sum(0) / np.maximum(usual.sum(0), 1e-9)
    rough = [_rough(panel, kind == sort, count=count, usual=usual * common) for sort in ("running", "neighbours")]
    return {
        "count": count, "recorded": recorded.astype(float), "offset": offset,
        "up_to": below, "exceeding": count.size - np.searchsorted(np.sort(count.ravel()), below, "right"),
        # The few different rows of the design, and which of them a cell has.
        "patterns": patterns, "pattern": pattern.reshape(design.shape[:2]),
        "effect_project": panel["effect_project"].values, "running": panel["effect_kind"].values == "running",
        "near": panel["effect_kind"].values == "neighbours", "season_of": panel["season"].values,
        "area_cohort": np.unique(panel["cohort"].values, return_inverse=True)[1],
        "in_year": in_year, "mean_of_year": (in_year / in_year.sum(1, keepdims=True)).T,
        "lag": lag, "basis": basis, "basis_information": information @ in_year.T @ basis**2,
        # What the counts of an area-year tell of its log rate, those of a period of time's part, and how much.
        "working": np.log(rate) * (expected > 0), "information": information @ in_year.T,
        "project_working": rough[0][0], "project_information": rough[0][1],
        "near_working": rough[1][0], "near_information": rough[1][1],
        "period_working": np.log((count.sum(0) + 0.5) / (mean.sum(0) + 0.5)), "period_information": information.sum(0),
    }  # fmt: skip


def _rough(panel, effects, *, count, usual) -> tuple[np.ndarray, np.ndarray]:
    """Per project a rough log ratio of counts while these effects act to those before, each over `usual`, and its
    information, with 1 / phi and noise of area-years as they often are; no information where there is nothing."""
    estimate, information = np.zeros((2, panel.sizes["project"]))
    design, before = panel["design"].values, panel["design"].values.sum(-1) == 0
    for k in range(panel.sizes["project"]):
        acts = design[..., effects & (panel["effect_project"].values == k)].any(-1)
        free = before & acts.any(1)[:, None]
        y, e = (np.array([x[cells].sum() for cells in (acts, free)]) for x in (count, usual))
        if e.min() > 0:
            estimate[k] = np.subtract(*np.log((y + 0.5) / (e + 0.5)))
            information[k] = 1 / (0.02 / acts.any(1).sum() + (1 / (y + 0.5)).sum())
    return estimate, information
