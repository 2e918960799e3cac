"""Fast regressions on area-wave summaries, beside the model: a second opinion in milliseconds.

    y[area, wave] = area + wave + error,   error ~ N(0, 1 / information + AR(1) shock)   (cells without a project)

Fitted by generalised least squares on the cells without a project, the two-way fit says what treated cells would have
been: the imputation estimator of Borusyak, Jaravel and Spiess (2024, Review of Economic Studies 91), which staggered
starts do not bias. Arrays are (area, wave); an area that is not used has a precision of zero.
"""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student

from workbench.models.perceived import working_response


def summaries(panel) -> dict[str, np.ndarray]:
    """What the regressions read, by name; (area, wave) unless said otherwise.

    `latent` (logit, NaN without answers), `percent` unsafe (NaN where answers straddle the cut), `information`,
    `free` (answers, and no project yet), `window`, `treated` (area), `residents` (area), `year` (wave).
    """
    latent, information = working_response(panel)
    counts = panel["counts"].sum(("stratum", "answer")).transpose("area", "wave").values
    seen = counts > 0
    free = panel["design"].sum("effect").transpose("area", "wave").values == 0
    # The working response is shrunk by a N(0, 1) prior to keep 0 % and 100 % finite; here that would be a bias.
    latent = np.where(seen, latent * (1 + 1 / np.where(seen, information, np.inf)), np.nan)
    return {
        "latent": latent,
        "percent": 100 * panel["share_unsafe"].transpose("area", "wave").values,
        "information": _smooth(information, counts),
        "free": free & seen,
        "window": panel["window"].any("project").transpose("area", "wave").values & seen,
        "treated": contrasted(panel),
        "residents": panel["population"].sum("stratum").values,
        "year": panel["year"].values,
    }


def contrasted(panel) -> np.ndarray:
    """Areas held against the rest: the treated ones, or where all are treated, all but those that start last."""
    treated = panel["treated"].values
    start = (panel["design"].sum("effect") > 0).transpose("area", "wave").values.argmax(1)
    return treated if not treated.all() else start < start.max()


def _smooth(information, counts):
    """Information by area and wave effects times answers: a cell's own would weigh its own noise."""
    ratio = lambda axis: information.sum(axis, keepdims=True) / np.maximum(counts.sum(axis, keepdims=True), 1e-9)
    return counts * ratio(1) * ratio(0) / max(information.sum() / max(counts.sum(), 1e-9), 1e-9)


def precision(information, used, *, year, sd_shock, rho) -> np.ndarray:
    """Inverse covariance of each area's errors (area, wave, wave), zero for cells that are not `used`."""
    gap = np.median(np.diff(year)) if len(year) > 1 else 1.0
    lag = np.abs(year[:, None] - year[None, :]) / gap
    inverse = np.zeros((*information.shape, information.shape[1]))
    for area, keep in enumerate(used & (information > 0)):
        block = np.ix_(keep, keep)
        shock = sd_shock**2 * max(rho, 1e-9) ** lag[block]
        inverse[area][block] = np.linalg.inv(np.diag(1 / information[area, keep]) + shock)
    return inverse


def counterfactual(y, inverse) -> np.ndarray:
    """Area + wave as the used cells have it, for every cell (area, wave); NaN where they cannot say."""
    y, part, within = _swept(y, inverse)
    pooled = within.sum(0)
    solved = np.linalg.pinv(pooled, hermitian=True, rcond=1e-10)
    wave = solved @ np.einsum("auv,av->u", within, y)
    contrast = np.eye(y.shape[1])[None] - part[:, None, :]
    known = np.abs(contrast @ pooled @ solved - contrast).max(-1) < 1e-6
    known &= part.any(1, keepdims=True)
    return np.where(known, (part * y).sum(1, keepdims=True) + contrast @ wave, np.nan)


def imputed_effect(y, inverse, *, window, residents) -> float:
    """Mean of observed minus counterfactual over `window`: areas by residents, an area's waves alike; NaN if none."""
    return _mean(y - counterfactual(y, inverse), window=window, residents=residents)


def both_scales(data, *, sd_shock, rho) -> tuple[float, float]:
    """The imputed effect on percentages and on the logit, both in pp, the latter at the observed share in the window."""
    inverse = precision(data["information"], data["free"], year=data["year"], sd_shock=sd_shock, rho=rho)
    weigh = {"window": data["window"], "residents": data["residents"]}
    percent = imputed_effect(data["percent"], _without(inverse, data["percent"]), **weigh)
    latent = imputed_effect(data["latent"], inverse, **weigh)
    share = np.clip(_mean(data["percent"], **weigh) / 100, 1e-3, 1 - 1e-3)
    return percent, 100 * float(share - expit(logit(share) - latent))


def sd_of_difference(data, *, sd_shock, rho) -> float:
    """Standard deviation of percentages minus logit, in pp, by leaving out one area at a time.

    A lone treated area cannot be left out: then each comparison area in turn plays the treated one.
    """
    index = np.arange(len(data["residents"]))
    acting = data["window"].any(1)
    gap = lambda part: np.subtract(*both_scales(part, sd_shock=sd_shock, rho=rho))
    if acting.sum() > 1:
        gaps = np.array([gap(_rows(data, index != area)) for area in index])
        gaps = gaps[np.isfinite(gaps)]
        return float(np.sqrt((len(gaps) - 1) * gaps.var())) if len(gaps) > 1 else np.nan
    gaps = np.array([gap(placebo(data, area)) for area in index[~acting]])
    gaps = gaps[np.isfinite(gaps)]
    return float(np.sqrt(np.mean(gaps**2))) if len(gaps) > 1 else np.nan


def placebo(data, area) -> dict[str, np.ndarray]:
    """The same summaries without the treated area, comparison `area` playing its part; for one treated area."""
    acting = int(np.flatnonzero(data["window"].any(1))[0])
    made = data | {"free": data["free"].copy(), "window": np.zeros_like(data["window"])}
    made["window"][area] = data["window"][acting] & data["free"][area]
    made["free"][area] &= data["free"][acting]
    return _rows(made, np.arange(len(data["residents"])) != acting)


def pre_trend(data, *, sd_shock, rho) -> dict[str, float] | None:
    """Slope of treated areas against the others before any project, logit a year: slope, se, p (two-sided), df.

    Errors are at least those of sampling and shocks, more when the residuals say so. None where fewer than two waves
    before, or no comparison in them, leave the slope unknown.
    """
    treated, free = data["treated"], data["free"]
    used = free & (free & treated[:, None]).any(0)[None, :]
    inverse = precision(data["information"], used, year=data["year"], sd_shock=sd_shock, rho=rho)
    y, part, within = _swept(data["latent"], inverse)
    year = data["year"] - data["year"].mean()
    columns = np.repeat(np.eye(len(year))[None], len(treated), axis=0)
    columns = np.concatenate([columns, (year * treated[:, None])[..., None]], axis=2)
    pooled = np.einsum("auk,auv,avl->kl", columns, within, columns)
    right = np.einsum("auk,auv,av->k", columns, within, y)
    solved, last = np.linalg.pinv(pooled, hermitian=True, rcond=1e-10), np.eye(len(pooled))[-1]
    if np.abs(pooled @ solved @ last - last).max() > 1e-6:
        return None
    estimate = solved @ right
    left = np.einsum("au,auv,av->", y, within, y) - right @ estimate
    df = int((inverse.sum(2) != 0).sum() - part.any(1).sum() - np.linalg.matrix_rank(pooled, tol=1e-8 * pooled.max()))
    se = float(np.sqrt(solved[-1, -1] * max(1.0, left / df if df > 0 else 1.0)))
    ratio = abs(estimate[-1]) / se
    p = 2 * (student.sf(ratio, df) if df > 0 else norm.sf(ratio))
    return {"slope": float(estimate[-1]), "se": se, "p": float(p), "df": df}


def years_ahead(data) -> float:
    """Years from the middle of an area's free waves to the middle of its window, a mean by residents."""
    year = np.broadcast_to(data["year"], data["free"].shape)
    areas = data["window"].any(1) & data["free"].any(1)
    middle = lambda where: (year * where).sum(1) / np.maximum(where.sum(1), 1)
    ahead = middle(data["window"]) - middle(data["free"])
    return float(np.average(ahead[areas], weights=data["residents"][areas])) if areas.any() else np.nan


def _swept(y, inverse):
    """y with zeros where unused, each area's weights for its mean, and its precision once that mean is swept out."""
    row = inverse.sum(2)
    total = row.sum(1)
    part = np.divide(row, total[:, None], out=np.zeros_like(row), where=total[:, None] > 0)
    within = inverse - total[:, None, None] * part[:, :, None] * part[:, None, :]
    return np.where(inverse.any(2), np.nan_to_num(y), 0.0), part, within


def _without(inverse, y):
    """The precision with cells that have no outcome left out."""
    seen = np.isfinite(y)
    return inverse * seen[:, :, None] * seen[:, None, :]


def _mean(values, *, window, residents) -> float:
    known = window & np.isfinite(values)
    areas = known.any(1)
    if not areas.any():
        return np.nan
    mean = np.where(known, values, 0.0)[areas].sum(1) / known[areas].sum(1)
    return float(np.average(mean, weights=residents[areas]))


def _rows(data, keep):
    return {name: value if name == "year" else value[keep] for name, value in data.items()}
