"""From draws to answers: effects in percentage points of residents, kept as draws until one function summarises.

The effect of projects in an area-wave is P(unsafe | as it was) - P(unsafe | the same without the projects' terms),
everything else as drawn, shocks included (Puhani 2012; Wooldridge 2023): terms are removed from the linear predictor
and transformed, predicted probabilities are never cross-differenced. Negative means fewer residents feel unsafe."""

from itertools import product

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit

from workbench.language import said

QUANTILES = {"lower50": 0.25, "upper50": 0.75, "lower90": 0.05, "upper90": 0.95}
COLUMNS = ["estimand", "project", "area", "item", "scale", "event_time", "category", "mean", "sd", *QUANTILES]
COLUMNS += ["p_fall", "p_fall_minimum", "p_rise"]


def att(panel, draws) -> xr.DataArray:
    """Effect on residents of treated areas in the window, in pp, dims (chain, draw), by residents and an area's window
    waves equally. `draws` is a Dataset of the form of the posterior: `latent` and `delta` (and `strata`)."""
    return _mean_change(panel, draws, panel["window"].any("project"), _removed(panel, draws))


def att_by(panel, draws, by) -> xr.DataArray:
    """The same by "project" (only its own terms removed), "area", "event_time" (every running wave, in or out of the
    window) or "category" (the change in the share who give that answer); dims (chain, draw, by)."""
    window, removed = panel["window"].any("project"), _removed(panel, draws)
    if by == "project":
        inside = {p: panel["window"].sel(project=p) for p in panel["project"].values}
        parts = {p: _mean_change(panel, draws, inside[p], _removed(panel, draws, p)) for p in inside}
    elif by == "area":
        areas = panel["area"].values[window.any("wave")]
        parts = {a: _mean_change(panel, draws, window & (panel["area"] == a), removed) for a in areas}
    elif by == "event_time":
        times = np.unique(panel["event_time"].values[panel["exposure"].values > 0])
        parts = {int(t): _event(panel, draws, t) for t in times}
    elif by == "category":
        shift = [_mean_change(panel, draws, window, removed, above=k) for k in range(1, panel.sizes["category"])]
        edges = [0 * shift[0], *shift, 0 * shift[0]]
        parts = {level: edges[k] - edges[k + 1] for k, level in enumerate(panel["category"].values)}
    else:
        raise ValueError(f"by {by!r}: allowed are project, area, event_time, category")
    return xr.concat(list(parts.values()), dim=pd.Index(list(parts), name=by), coords="minimal", compat="override")


def latent_att(panel, draws, project=None) -> xr.DataArray:
    """Mean of the removed terms on the logit scale over the window, weighted as `att`; dims (chain, draw)."""
    window = panel["window"].any("project") if project is None else panel["window"].sel(project=project)
    area, wave, weight = _cells(panel, window)
    return (_removed(panel, draws, project).isel(area=area, wave=wave) * weight).sum("cell")


def without(panel, draws, project) -> xr.DataArray:
    """Percent of residents of a project's areas unsafe without it, over its window; dims (chain, draw)."""
    return _level(panel, draws, panel["window"].sel(project=project), _removed(panel, draws, project))


def summarise(draws, *, minimum_pp=np.nan) -> dict[str, float]:
    """Mean, sd, 50 % and 90 % equal-tailed intervals, chances of a fall, a rise, a worthwhile one, and neither."""
    x, least, known = draws.values, minimum_pp, 1.0 if np.isfinite(minimum_pp) else np.nan
    found = {"mean": x.mean(), "sd": x.std(), **{name: np.quantile(x, q) for name, q in QUANTILES.items()}}
    found |= {"p_fall": (x < 0).mean(), "p_fall_minimum": known * (x < -least).mean(), "p_rise": (x > 0).mean()}
    found |= {"p_rise_minimum": known * (x > least).mean(), "p_within_minimum": known * (abs(x) < least).mean()}
    return {name: float(value) for name, value in found.items()}


def effects_table(panel, idata, *, by=("project", "area", "event_time", "category"), draws=None) -> pd.DataFrame:
    """Every estimand as a tidy frame with the columns of effects.csv; pp unless `scale` says latent (logit)."""
    draws, minimum = idata["posterior"].to_dataset() if draws is None else draws, float(panel.attrs["minimum_pp"])
    own = dict(zip(panel["project"].values, project_minimum(panel), strict=True))
    rows = [{"estimand": "att", "scale": "pp"} | summarise(att(panel, draws), minimum_pp=minimum)]
    rows.append({"estimand": "att", "scale": "latent"} | summarise(latent_att(panel, draws)))
    for dim in by:
        values = att_by(panel, draws, dim)
        for key in values[dim].values:
            about, size = {"estimand": f"att_by_{dim}", dim: key}, own[key] if dim == "project" else minimum
            rows.append(about | {"scale": "pp"} | summarise(values.sel({dim: key}), minimum_pp=size))
            if dim == "project":
                rows.append(about | {"scale": "latent"} | summarise(latent_att(panel, draws, key)))
    return pd.DataFrame(rows).reindex(columns=COLUMNS).assign(item=panel.attrs["item"]).astype({"event_time": "Int64"})


def prior_effects(panel, idata) -> pd.DataFrame:
    """Rows `att` and `att_by_project` of the same table under the prior of the effects, at this city's baseline."""
    return effects_table(panel, idata, by=("project",), draws=prior_draws(panel, idata))


def prior_draws(panel, idata) -> xr.Dataset:
    """Draws in which the effects come from their prior and all else, the world without projects, from the posterior."""
    posterior, delta = idata["posterior"].to_dataset(), idata["prior"]["delta"]
    world = posterior[[name for name in ("latent", "strata", "cut") if name in posterior]]
    world["latent"] = posterior["latent"] - _removed(panel, posterior)
    flat = lambda x: x.drop_vars(("chain", "draw"), errors="ignore").stack(sample=("chain", "draw"), create_index=False)
    world, delta = flat(world), flat(delta)
    pick = np.random.default_rng(0).integers(0, world.sizes["sample"], delta.sizes["sample"])
    made = world.isel(sample=pick).assign(delta=delta).rename(sample="draw").expand_dims("chain")
    return made.assign(latent=made["latent"] + _removed(panel, made))


def trends(panel, idata) -> pd.DataFrame:
    """Percent unsafe by group and wave: `series` observed, modelled, and for treated areas without the projects. Areas
    weigh by residents; only area-waves with answers count. Observed has a mean, the others intervals too."""
    draws = idata["posterior"].to_dataset()
    removed, rows = _removed(panel, draws), []
    groups = {"treated": panel["treated"], "comparison": ~panel["treated"]}
    for group, wave in product(groups, panel["wave"].values):
        at = groups[group] & (panel["respondents"] > 0) & (panel["wave"] == wave)
        if not at.any():
            continue
        seen = panel["share_unsafe"].where(at).sel(wave=wave)
        share = float(100 * seen.weighted(panel["population"].sum("stratum")).mean())
        base = {"group": group, "wave": wave, "year": float(panel["year"].sel(wave=wave))}
        if np.isfinite(share):
            rows.append(base | {"series": "observed", "mean": share})
        rows.append(base | {"series": "modelled"} | summarise(_level(panel, draws, at, 0 * removed)))
        if group == "treated":
            rows.append(base | {"series": "without"} | summarise(_level(panel, draws, at, removed)))
    return pd.DataFrame(rows).reindex(columns=["group", "series", "wave", "year", "mean", *QUANTILES])


def evaluate_verdict_inputs(panel, idata, *, lang) -> dict:
    """What the verdict reads: `att`, `by_project` (summaries with the chances of a worthwhile rise and of no
    worthwhile change, also under the other prior where it was fitted, and the prior sd), and `needed`."""
    draws, prior = idata["posterior"].to_dataset(), prior_draws(panel, idata)
    other = [idata["other_prior"].to_dataset()] if "other_prior" in idata.children else []
    whole = [att(panel, draws), att(panel, prior), *(x["att"] for x in other)]
    parts = [*(att_by(panel, x, "project") for x in (draws, prior)), *(x["att_by_project"] for x in other)]
    of_all, least = _inputs(*whole, minimum=panel.attrs["minimum_pp"]), enumerate(project_minimum(panel))
    by = [_inputs(*(x.isel(project=k) for x in parts), minimum=minimum) for k, minimum in least]
    by_project = dict(zip(panel["project"].values, by, strict=True))
    return {"att": of_all, "by_project": by_project, "needed": needed(panel, of_all, lang=lang)}


def project_minimum(panel) -> np.ndarray:
    """Smallest worthwhile effect per project in pp: its own, where it states one, else the evaluation's."""
    own = panel["project_minimum"].values
    return np.where(np.isnan(own), panel.attrs["minimum_pp"], own)


def needed(panel, summary, *, lang) -> str:
    """What would settle an open question: at how many treated areas P(fall) reaches 95 % for a change of the minimum
    size. That is when the minimum is 1.645 of the data's own spread, 1/sd^2 = 1/posterior - 1/prior, which shrinks with
    the root of the number of treated areas."""
    information = 1 / summary["sd"] ** 2 - 1 / summary["prior_sd"] ** 2
    treated, minimum = int(panel["treated"].sum()), panel.attrs["minimum_pp"]
    target = (1.645 / minimum) ** 2
    times = target / max(information, 1e-12)
    areas = max(int(np.ceil(treated * times)), treated + 1)
    about = {"hopeless": information < 0.05 * target, "times": max(int(np.ceil(times)), 2), "areas": areas}
    return said("needed", lang, minimum=minimum, n=treated, **about)


def _inputs(draws, prior, other=None, *, minimum) -> dict[str, float]:
    wide = {} if other is None else {"p_within_minimum_wide": float((abs(other) < minimum).mean())}
    return summarise(draws, minimum_pp=minimum) | wide | {"prior_sd": float(prior.std())}


def _removed(panel, draws, project=None) -> xr.DataArray:
    """The projects' terms of the linear predictor (chain, draw, area, wave): all, or one project's."""
    design = panel["design"]
    if project is not None:
        number = list(panel["project"].values).index(project)
        design = design.where(panel["effect_project"] == number, 0.0)
    return xr.dot(draws["delta"].drop_vars("effect"), design.drop_vars("effect"), dim="effect")


def _event(panel, draws, time) -> xr.DataArray:
    """Change at one event time: projects in turn, weighted by the residents of their areas."""
    at, residents = (panel["event_time"] == time) & (panel["exposure"] > 0), panel["population"].sum("stratum")
    cells = {p: at.sel(project=p) for p in panel["project"].values if at.sel(project=p).any()}
    size = {p: float((residents * here.any("wave")).sum()) for p, here in cells.items()}
    parts = (size[p] * _mean_change(panel, draws, cells[p], _removed(panel, draws, p)) for p in cells)
    return sum(parts) / sum(size.values())


def _cells(panel, where):
    """Positions of the chosen area-waves and their weights: residents of the area over its number of waves."""
    chosen = where.transpose("area", "wave").values.astype(bool)
    area, wave = np.nonzero(chosen)
    residents = panel["population"].sum("stratum").values
    weight = (residents / np.maximum(chosen.sum(1), 1))[area]
    return [xr.DataArray(x, dims="cell") for x in (area, wave, weight / weight.sum())]


def _mean_change(panel, draws, where, removed, above=None) -> xr.DataArray:
    """Weighted mean over area-waves and strata of the change in P(answer >= `above`) in pp; default the unsafe cut."""
    return _level(panel, draws, where, 0 * removed, above) - _level(panel, draws, where, removed, above)


def _level(panel, draws, where, removed, above=None) -> xr.DataArray:
    """P(answer >= `above`) in percent with `removed` taken out of the linear predictor; dims (chain, draw)."""
    area, wave, weight = _cells(panel, where)
    eta = draws["latent"].isel(area=area, wave=wave) - removed.isel(area=area, wave=wave)
    if above not in (None, panel.attrs["unsafe_index"]):
        eta = eta - draws["cut"].isel(threshold=above - 1)
    eta = eta.transpose("chain", "draw", "cell")
    if "strata" not in draws:
        return 100 * (expit(eta) * weight).sum("cell")
    residents = panel["population"].isel(area=area).transpose("cell", "stratum").values
    mix = residents / residents.sum(1, keepdims=True) * weight.values[:, None]
    shift = draws["strata"].sel(stratum=panel["stratum"].values).transpose("chain", "draw", "stratum").values
    # One stratum at a time keeps a large city in memory; plain arrays, because estimands spend their time here.
    total = sum(expit(eta.values + shift[..., s, None]) @ mix[:, s] for s in range(mix.shape[1]))
    kept = {d: eta[d] for d in ("chain", "draw") if d in eta.coords}
    return xr.DataArray(100 * total, dims=("chain", "draw"), coords=kept)
