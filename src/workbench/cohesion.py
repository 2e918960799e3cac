"""Cohesion beside insecurity: M2 fitted, what projects changed in both, and, on request, a look at the mechanism.

Changes are those of residents of treated areas in the window, as `estimands` weighs them: cohesion in sd of residents
within an area (positive = more cohesive), insecurity in percentage points (negative = safer). Draws stay joint, so that
a quadrant's chance is that of both at once."""

import time
from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from workbench import estimands
from workbench.errors import ParameterError
from workbench.inference import diagnostics, sampler, settle, sound
from workbench.language import N_, said
from workbench.measurement import cohesion_index, shifted
from workbench.models.joint import PRIORS, build_model
from workbench.panel import build_panel

MINIMUM_SD = 0.1  # smallest change in cohesion worth while: from the middle of the neighbours to the 54th of a hundred
QUADRANTS = {
    N_("more cohesive, safer"): (True, True), N_("more cohesive, less safe"): (True, False),
    N_("less cohesive, safer"): (False, True), N_("less cohesive, less safe"): (False, False),
}  # fmt: skip
PARTS = ("total", "indirect", "direct", "vanishes", "blocked")  # of a mechanism's summary, what a sentence tells
RHOS = np.round(np.arange(-0.9, 0.91, 0.1), 1)


def evaluate(city, panel, *, seed, draws=1000, tune=300, chains=4, prior="sceptical", lang):
    """Draws of M2 (`measurement` holds the index with its reliability), a summary as plain JSON, and rows of
    effects.csv; None where the city asked no cohesion item in these areas and waves. The verdict is the caller's:
    `att_sd` has what `verdict.decide` reads for a minimum of MINIMUM_SD, and `blocked` says that the fit failed."""
    began, index = time.perf_counter(), cohesion_index(city, panel)
    if index is None:
        return None
    if prior not in PRIORS:
        raise ParameterError(f"prior {prior!r}: for cohesion and insecurity together allowed are {', '.join(PRIORS)}")
    model = build_model(panel, index, prior=prior)
    length = {"draws": draws, "tune": tune, "chains": chains}
    idata = _fitted(panel, model, seed, **length)
    posterior = idata["posterior"].to_dataset()
    index["reliability"] = reliability(index, posterior)
    idata["measurement"] = xr.DataTree(index)
    found = changes(panel, posterior)
    att = _prior_and_other(panel, model, found, seed, prior=prior, chains=chains)
    corners = quadrants(found).set_index("project").to_dict("index")
    by, least = {}, estimands.project_minimum(panel)
    for project, minimum in zip(panel["project"].values.tolist(), least, strict=True):
        social, unsafe = (found[name].sel(project=project) for name in ("cohesion", "insecurity"))
        by[project] = {"att_sd": estimands.summarise(social, minimum_pp=MINIMUM_SD)}
        by[project] |= {"insecurity_pp": estimands.summarise(unsafe, minimum_pp=minimum), "quadrants": corners[project]}
    checked, worth = diagnostics(idata), index["reliability"]
    summary = {
        "att_sd": att, "minimum_sd": MINIMUM_SD, "by_project": by, "quadrants": corners[""], "items": list(index["item"].values),
        "insecurity_pp": estimands.summarise(found["insecurity"].sel(project=""), minimum_pp=panel.attrs["minimum_pp"]),
        "reliability": {"min": float(worth.min()), "median": float(worth.median())}, "overlap": float(index["overlap"]),
        "warnings": _warnings(panel, index, lang=lang), "blocked": not sound(checked), "diagnostics": checked,
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    idata.attrs |= {"model": "M2 cohesion and insecurity", "prior": prior}
    rows = [{"project": "", **att}, *({"project": p, **row["att_sd"]} for p, row in by.items())]
    rows = pd.DataFrame(rows).assign(estimand="cohesion_att", scale="sd", item=index.attrs["items"])
    return idata, summary, rows.reindex(columns=estimands.COLUMNS).astype({"event_time": "Int64"})


def _fitted(panel, model, seed, **length) -> xr.DataTree:
    """Draws of M2, repeated where their diagnostics fail, with both effects among what is diagnosed."""
    both = lambda x: x.assign(att=estimands.att(panel, x), att_cohesion=cohesion_att(panel, x))
    return settle(partial(sampler, model), seed, **length, add=both)


def cohesion_att(panel, draws, project=None) -> xr.DataArray:
    """Change in cohesion of residents in the window in sd, of all or one project's areas; dims (chain, draw)."""
    return estimands.latent_att(panel, draws.assign(delta=draws["delta_cohesion"]), project)


def changes(panel, draws) -> xr.Dataset:
    """Both changes as joint draws, dims (chain, draw, project); project "" is all together."""
    names = panel["project"].values.tolist()
    of_all, each = estimands.att(panel, draws), estimands.att_by(panel, draws, "project")
    made = {
        "cohesion": [cohesion_att(panel, draws, name or None) for name in ["", *names]],
        "insecurity": [of_all, *(each.sel(project=name, drop=True) for name in names)],
    }
    return xr.Dataset({k: xr.concat(x, dim=pd.Index(["", *names], name="project")) for k, x in made.items()})


def quadrants(found) -> pd.DataFrame:
    """Chances of the four corners per project and of all together (""): columns project and QUADRANTS; `found` is of
    `changes`. They sum to one."""
    more, safer = found["cohesion"] > 0, found["insecurity"] < 0
    at = {name: ((more == up) & (safer == down)).mean(("chain", "draw")) for name, (up, down) in QUADRANTS.items()}
    return pd.DataFrame({"project": found["project"].values} | {name: chance.values for name, chance in at.items()})


def reliability(index, draws) -> xr.DataArray:
    """Of the variance of a measured area-wave, the share that is the areas' and not sampling (area, wave): between
    variance is that of areas and shocks, `draws`' means. NaN where nobody answered."""
    between = float((draws["sd_area_cohesion"] ** 2 + draws["sd_shock_cohesion"] ** 2).mean())
    return between / (between + index["se"] ** 2)


def between_areas(panel, draws) -> pd.DataFrame:
    """Correlation across areas of cohesion with insecurity by wave: wave, mean, sd, intervals. Of the areas as they
    are, sampling error taken out; negative = more cohesive areas are safer."""
    by_wave = xr.corr(draws["cohesion"], draws["latent"], dim="area")
    rows = [{"wave": wave} | estimands.summarise(by_wave.sel(wave=wave)) for wave in panel["wave"].values]
    return pd.DataFrame(rows)[["wave", "mean", "sd", *estimands.QUANTILES]]


def _prior_and_other(panel, model, found, seed, *, prior, chains) -> dict:
    """Summary of the whole effect on cohesion with its prior sd and, where *no worthwhile change* could hold, its
    chance under the other prior: what `verdict.decide` asks."""
    att = estimands.summarise(found["cohesion"].sel(project=""), minimum_pp=MINIMUM_SD)
    delta = pm.draw(model["delta_cohesion"], draws=2000, random_seed=2026, mode="FAST_COMPILE")
    before = xr.Dataset(
        {"delta_cohesion": (("chain", "draw", "effect"), delta[None])}, {"effect": panel["effect"].values}
    )
    att["prior_sd"] = float(cohesion_att(panel, before).std())
    if att["p_within_minimum"] >= 0.8 and att["sd"] <= 0.7 * att["prior_sd"]:
        other = PRIORS["wide" if prior == "sceptical" else "sceptical"]
        again = sampler(model, draws=400, chains=chains, many=True)(seed, prior_scale=np.array(other))
        within = abs(cohesion_att(panel, again["posterior"].to_dataset())) < MINIMUM_SD
        att["p_within_minimum_wide"] = float(within.mean())
    return att


def not_compared(panel, index) -> list[str]:
    """Projects in none of whose areas cohesion was asked both before the announcement and in the window."""
    asked, own = index["information"].values > 0, panel["effect_project"].values
    found = []
    for k, project in enumerate(panel["project"].values.tolist()):
        free = ~panel["design"].transpose("area", "wave", "effect").values[..., own == k].any(-1)
        after = panel["window"].values[k]
        if not ((asked & free).any(1) & (asked & after).any(1)).any():
            found.append(project)
    return found


def _warnings(panel, index, *, lang) -> list[str]:
    """What a reader must know of the measurement, as sentences."""
    rows, alone = shifted(index), not_compared(panel, index)
    told = [said("cohesion_not_compared", lang, projects=alone)] if alone else []
    told += [said("item_shift", lang, row=row) for row in rows[rows["warning"]].to_dict("records")]
    low = float(index["reliability"].median())
    told += [said("low_reliability", lang, median=low)] if low < 0.5 else []
    return told + ([said("cohesion_shares", lang)] if index.attrs["from_shares"] else [])


# --- mechanism, on request ------------------------------------------------------------------------------------------


def mechanism(city, panel, *, seed, draws=1000, tune=300, chains=4):
    """Exploratory: how much of the change in insecurity could have gone through cohesion. Draws of M2 on a split
    sample, a summary (total, indirect, direct in pp; `slope` in logit per sd; `vanishes`, the confounding at which
    nothing goes through cohesion) and the `curve` of the indirect effect over confounding (see `curve`).

    Cohesion is measured on other people than insecurity: in each area-wave a random half of the respondents gives the
    one, the rest the other. ParameterError for published shares, which have no people to divide."""
    if city.respondents is None:
        why = "has published shares only: a mechanism needs cohesion from other respondents"
        raise ParameterError(f"{city.city} {why}")
    half = split(city, panel, seed=seed)
    same = {name: panel.attrs[name] for name in ("item", "unsafe_from", "window_months", "minimum_pp")}
    compared = panel["area"].values[~panel["treated"].values]
    again = build_panel(half, **same, projects=panel["project"].values.tolist(), comparison=compared.tolist())
    index = cohesion_index(half, again)
    if index is None:
        raise ParameterError(f"{city.city} asked no cohesion item in these waves: there is no mechanism to look at")
    idata = _fitted(again, build_model(again, index), seed, draws=draws, tune=tune, chains=chains)
    posterior, checked = idata["posterior"].to_dataset(), diagnostics(idata)
    total, indirect = estimands.att(again, posterior), through(again, posterior, slope(posterior))
    named = {"total": total, "indirect": indirect, "direct": total - indirect}
    named |= {"slope": slope(posterior), "vanishes": posterior["corr_shock"]}
    summary = {name: _middle(x) for name, x in named.items()}
    return idata, summary | {"blocked": not sound(checked), "diagnostics": checked}, curve(again, posterior)


def split(city, panel, *, seed):
    """The city with each respondent in one half only: cohesion items of the one, insecurity's of the other, by lot
    within each area-wave."""
    rows = city.respondents.copy()
    lot = pd.Series(np.random.default_rng([seed, 7]).random(len(rows)), rows.index)
    first = (lot.groupby([rows["area"], rows["wave"]]).rank(method="first") % 2 == 0).to_numpy()
    for item in (name for name in city.items if name in rows):
        rows[item] = rows[item].where(first != (item == panel.attrs["item"]))
    return replace(city, respondents=rows)


def slope(draws, rho=0.0):
    """Change in insecurity (logit) per sd of cohesion that the shocks of area-waves imply where confounders that
    nobody measured correlate them by `rho` (Imai, Keele and Yamamoto 2010, Statistical Science 25): at zero the
    regression of one shock on the other, and none at all where rho is their whole correlation."""
    r, scale = draws["corr_shock"], draws["sd_shock"] / draws["sd_shock_cohesion"]
    return scale * (r - rho * np.sqrt((1 - r**2) / (1 - rho**2)))


def through(panel, draws, per_sd) -> xr.DataArray:
    """Natural indirect effect in pp: P(unsafe) as it was less that with the projects' change in cohesion, times
    `per_sd`, taken out; what is left of the whole effect is direct. Dims (chain, draw)."""
    return estimands.att(panel, draws.assign(delta=per_sd * draws["delta_cohesion"]))


def curve(panel, draws) -> pd.DataFrame:
    """The indirect effect in pp over the correlation `rho` that unmeasured confounders give the shocks."""
    rows = [{"rho": rho} | _middle(through(panel, draws, slope(draws, rho))) for rho in RHOS.tolist()]
    return pd.DataFrame(rows)


def _middle(draws) -> dict[str, float]:
    """Median and intervals: a slope has a small spread of shocks below its line, so that its mean may not exist."""
    quantiles = {"median": 0.5} | estimands.QUANTILES
    return {name: float(np.quantile(draws, q)) for name, q in quantiles.items()}
