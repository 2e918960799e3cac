"""Fast regressions on area-wave summaries, beside the model: a second opinion in milliseconds.

    y[area, wave] = area + wave + error,   error ~ N(0, 1 / information + AR(1) shock)   (cells without a project)

Its generalised least squares say what treated cells would have been: the imputation of Borusyak, Jaravel and Spiess
(2024, Review of Economic Studies 91). Arrays are (area, wave); an area that is not used has a precision of zero."""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t

from workbench.models.perceived import working_response


def summaries(panel) -> dict[str, np.ndarray]:
    """What the regressions read, by name; (area, wave) unless said otherwise: `latent` (logit, NaN without answers),
    `percent` unsafe (NaN where answers straddle the cut), `information`, `answers`, `begun` (announced or later),
    `free` (answers, and no project yet), `window`, `treated` (area; where all are, all but those that start last),
    `residents` (area), `year` (wave)."""
    latent, information = working_response(panel)
    answers = panel["counts"].sum(("stratum", "answer")).values
    seen, begun = answers > 0, panel["design"].sum("effect").values > 0
    treated, start = panel["treated"].values, begun.argmax(1)
    # The working response is shrunk by a N(0, 1) prior to keep 0 % and 100 % finite; here that would be a bias.
    latent = np.where(seen, latent * (1 + 1 / np.where(seen, information, np.inf)), np.nan)
    # A cell's own information would weigh its own noise: it is answers times an area and a wave effect.
    each = lambda axis: information.sum(axis, keepdims=True) / np.maximum(answers.sum(axis, keepdims=True), 1e-9)
    return {
        "latent": latent,
        "percent": 100 * panel["share_unsafe"].values,
        "information": answers * each(1) * each(0) / np.maximum(each(None), 1e-9),
        "answers": answers,
        "begun": begun,
        "free": ~begun & seen,
        "window": panel["window"].any("project").values & seen,
        "treated": start < start.max() if treated.all() else treated,
        "residents": panel["population"].sum("stratum").values,
        "year": panel["year"].values,
    }


def shocks(idata) -> dict[str, float]:
    """Scale and correlation of area-wave shocks as the functions below take them: posterior means."""
    return {name: float(idata["posterior"][name].mean()) for name in ("sd_shock", "rho")}


def covariance(data, used, *, sd_shock, rho) -> tuple[np.ndarray, np.ndarray]:
    """Covariance of areas' errors (area, wave, wave), sampling and AR(1) shocks; its inverse, 0 where not `used`."""
    information, year = data["information"], data["year"]
    lag = np.abs(year[:, None] - year[None, :]) / (np.median(np.diff(year)) if len(year) > 1 else 1.0)
    sampling = np.divide(1.0, information, out=np.zeros(information.shape), where=information > 0)  # 0: nobody answered
    errors = sampling[:, :, None] * np.eye(len(year)) + sd_shock**2 * max(rho, 1e-9) ** lag
    keep = used & (information > 0)
    both = keep[:, :, None] & keep[:, None, :]
    return errors, np.where(both, np.linalg.inv(np.where(both, errors, np.eye(len(year)))), 0.0)


def weights(where, residents) -> np.ndarray:
    """Weights of the chosen cells (area, wave), summing to 1: areas by residents, an area's waves alike."""
    size = where * (residents / np.maximum(where.sum(1), 1))[:, None]
    return size / size.sum()


def imputed(y, inverse, *, window, residents, errors=None) -> tuple[float, float]:
    """Mean of observed minus counterfactual (area + wave as used cells have it) over `window`, areas by `residents`,
    and its error where `errors` are told; NaN if none. Window cells for which used cells cannot say are left out."""
    part, within = _swept(inverse)
    pooled = within.sum(0)
    solved = np.linalg.pinv(pooled, hermitian=True, rcond=1e-10)
    contrast = np.eye(y.shape[1])[None] - part[:, None, :]
    known = (np.abs(contrast @ (pooled @ solved) - contrast).max(-1) < 1e-6) & part.any(1, keepdims=True)
    known &= window & np.isfinite(y)
    if not known.any():
        return np.nan, np.nan
    share = weights(known, residents)
    share = share - share.sum(1, keepdims=True) * part
    share = share - np.einsum("v,avu->au", share.sum(0) @ solved, within)
    variance = np.nan if errors is None else np.einsum("au,auv,av->", share, errors, share, optimize=True)
    return float((share * np.nan_to_num(y)).sum()), float(np.sqrt(variance))


def effect_of(data, *, free, window, sd_shock, rho) -> tuple[float, float]:
    """Imputed effect (logit) and its standard error where `free` cells are taken as without a project."""
    errors, inverse = covariance(data, free, sd_shock=sd_shock, rho=rho)
    return imputed(data["latent"], inverse, window=window, residents=data["residents"], errors=errors)


def window_share(data) -> float:
    """Observed share unsafe (0-1) in the window, by residents; where classes hide it, as the latent index has it."""
    for share in (data["percent"] / 100, expit(data["latent"])):
        known = data["window"] & np.isfinite(share)
        if known.any():
            mean = (weights(known, data["residents"]) * np.nan_to_num(share)).sum()
            return float(np.clip(mean, 1e-3, 1 - 1e-3))
    return np.nan


def as_points(latent, *, share):
    """What a change on the logit that led to the `share` unsafe (0-1) is in pp."""
    return 100 * (share - expit(logit(share) - latent))


def both_scales(data, *, sd_shock, rho) -> tuple[float, float]:
    """The imputed effect on percentages and on the logit, in pp, the latter at the observed share in the window."""
    _errors, inverse = covariance(data, data["free"], sd_shock=sd_shock, rho=rho)
    weigh = {"window": data["window"], "residents": data["residents"]}
    told = np.isfinite(data["percent"])
    percent = imputed(data["percent"], inverse * told[:, :, None] * told[:, None, :], **weigh)[0]
    latent = imputed(data["latent"], inverse, **weigh)[0]
    return percent, float(as_points(latent, share=window_share(data)))


def sd_by_areas(data, figure, *, most=24):
    """Standard deviation of `figure(data)` (a number or array) leaving out one area, or one of `most` sets, at a time.
    A lone treated area cannot be left out: then comparison areas in turn play the treated one, about zero."""
    acting = data["window"].any(1)
    order, number = np.argsort(~acting, kind="stable"), len(acting)
    if lone := acting.sum() == 1:
        parts = (placebo(data, area) for area in order[1 :: -(-(number - 1) // most) or 1])
    else:
        parts = (rows(data, ~np.isin(np.arange(number), order[k::most])) for k in range(min(most, number)))
    found = np.array([figure(part) for part in parts])
    found = found[np.isfinite(found).reshape(len(found), -1).all(1)]
    if len(found) < 2:
        return np.nan
    return np.sqrt(np.mean(found**2, axis=0) if lone else (len(found) - 1) * found.var(0))


def placebo(data, area) -> dict[str, np.ndarray]:
    """The same summaries without the treated area, comparison `area` playing its part; for one treated area."""
    acting = int(np.flatnonzero(data["window"].any(1))[0])
    made = data | {"free": data["free"].copy(), "window": np.zeros_like(data["window"])}
    made["window"][area] = data["window"][acting] & data["free"][area]
    made["free"][area] &= data["free"][acting]
    return rows(made, np.arange(len(data["residents"])) != acting)


def pre_trend(data, *, sd_shock, rho) -> dict[str, float] | None:
    """Slope of treated areas against the others before any project, logit a year: slope, se (at least that of sampling
    and shocks, more when residuals say so), p (two-sided). None where waves or comparison before leave it unknown."""
    treated, free = data["treated"], data["free"]
    used = free & (free & treated[:, None]).any(0)[None, :]
    _errors, inverse = covariance(data, used, sd_shock=sd_shock, rho=rho)
    year = data["year"] - data["year"].mean()
    solved, estimate, known, left, df = regress(data["latent"], inverse, (year * treated[:, None])[..., None])
    if not known[-1]:
        return None
    slope, se = float(estimate[-1]), float(np.sqrt(solved[-1, -1] * max(1.0, left)))
    above = t.sf(abs(slope) / se, df) if df > 0 else norm.sf(abs(slope) / se)
    return {"slope": slope, "se": se, "p": float(2 * above)}


def years_ahead(data) -> float:
    """Years from the middle of an area's free waves to the middle of its window, a mean by residents."""
    both = (data["window"].any(1) & data["free"].any(1))[:, None]
    if not both.any():
        return np.nan
    after, before = (weights(data[name] & both, data["residents"]).sum(0) @ data["year"] for name in ("window", "free"))
    return float(after - before)


def regress(y, inverse, columns):
    """Generalised least squares of y on area, wave and `columns` (area, wave, column), area effects swept out:
    covariance and estimate of the columns, which of them the used cells can tell apart from the rest, the weighted
    square left per degree of freedom (0 without any), and their number."""
    part, within = _swept(inverse)
    y = np.where(inverse.any(2), np.nan_to_num(y), 0.0)
    waves = y.shape[1]
    columns = np.concatenate([np.repeat(np.eye(waves)[None], len(y), axis=0), columns], axis=2)
    weighted = within @ columns
    pooled = np.einsum("auk,aul->kl", columns, weighted, optimize=True)
    right = np.einsum("auk,au->k", weighted, y)
    solved = np.linalg.pinv(pooled, hermitian=True, rcond=1e-10)
    known = np.abs(pooled @ solved - np.eye(len(pooled))).max(0) < 1e-6
    estimate = solved @ right
    left = np.einsum("au,auv,av->", y, within, y, optimize=True) - right @ estimate
    df = int((inverse.sum(2) != 0).sum() - part.any(1).sum() - np.linalg.matrix_rank(pooled, tol=1e-8 * pooled.max()))
    return solved[waves:, waves:], estimate[waves:], known[waves:], left / df if df > 0 else 0.0, df


def _swept(inverse) -> tuple[np.ndarray, np.ndarray]:
    """Each area's weights for its mean (area, wave), and its precision once that mean is swept out."""
    row = inverse.sum(2)
    total = row.sum(1)
    part = np.divide(row, total[:, None], out=np.zeros_like(row), where=total[:, None] > 0)
    return part, inverse - total[:, None, None] * part[:, :, None] * part[:, None, :]


def rows(data, keep) -> dict[str, np.ndarray]:
    """The same summaries of fewer areas."""
    return {name: value if name == "year" else value[keep] for name, value in data.items()}
