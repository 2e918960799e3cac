"""Value for money: the cost per resident who no longer feels unsafe, and what knowing the effect better is worth."""

import numpy as np
import pandas as pd
import xarray as xr

from workbench import estimands
from workbench.language import said

PRICE = {"median": 0.5, "lower90": 0.05, "upper90": 0.95}


def fewer_unsafe(panel, idata) -> xr.DataArray:
    """How many fewer residents feel unsafe because of each project, dims (project, sample); below 0 is more.
    `residents` counts those of the project's areas with a wave that counts; all NaN where the city gives none."""
    att = estimands.att_by(panel, idata["posterior"].to_dataset(), "project")
    residents = (panel["population"].sum("stratum") * panel["window"].any("wave")).sum("area")
    residents = residents.where(not panel.attrs["equal_areas"])
    fewer = (-att / 100 * residents).assign_coords(residents=residents)
    return fewer.stack(sample=("chain", "draw"), create_index=False).transpose("project", "sample")


def value(place, panel, fewer, result, *, worth_eur=None, lang) -> pd.DataFrame:
    """One row per project: `cost_eur` over all its areas, quantiles of the cost per resident no longer unsafe, `told`.
    inf is no benefit, as at every rise; NaN is no price: cost or residents not given, or blocked. `at_minimum` is the
    price at the smallest worthwhile effect. With `worth_eur` (of one such resident to the city) also `p_worth`, and in
    euro `net_benefit` and, before deciding to go on like this or not, `evpi` and `evsi` (one more wave)."""
    frame = pd.DataFrame.from_dict(result["by_project"], orient="index")[["verdict", "sd", "prior_sd"]]
    frame["name"], frame["residents"] = panel["project_name"].values, fewer["residents"].values
    frame["cost_eur"] = place.projects.groupby("project")["cost_eur"].sum().reindex(frame.index).replace(0, np.nan)
    cost, rises = frame["cost_eur"].to_numpy()[:, None], frame["verdict"].str.endswith("rise")
    draws = np.where(frame[["verdict"]] == "blocked", np.nan, fewer.values)
    each = np.inf + 0 * cost * draws  # what is missing stays missing
    np.divide(cost, draws, out=each, where=(draws > 0) & ~rises.to_numpy()[:, None])
    for name, q in PRICE.items():
        frame[f"fewer_{name}"] = np.quantile(draws, q, axis=1)
        frame[name] = np.quantile(each, q, axis=1, method="inverted_cdf")
    at_minimum = 100 * frame["cost_eur"] / frame["residents"] / estimands.project_minimum(panel)
    frame["at_minimum"] = at_minimum.where(known := frame["median"].notna() & ~rises)
    if worth_eur:
        net = worth_eur * draws - cost
        more = evsi(net, shrink=_one_more_wave(panel, frame)[:, None])
        found = {"p_worth": (net > 0).mean(1), "net_benefit": net.mean(1), "evpi": evpi(net), "evsi": more}
        frame = frame.join(pd.DataFrame(found, frame.index).where(known))
    return frame.assign(told=[said("price", lang, row=row) for row in frame.to_dict("records")])


def priced(result, frame) -> dict:
    """The result with `cost_per_resident_eur` (None: no price; in it None: no benefit) and `cost_told` by project."""
    price, known = frame[[*PRICE]].astype(object), frame["median"].notna()
    price = price.where(price < np.inf, None).to_dict("index")
    new = {p: {"cost_per_resident_eur": price[p] if known[p] else None, "cost_told": frame["told"][p]} for p in price}
    return result | {"by_project": {p: row | new[p] for p, row in result["by_project"].items()}}


def chances(fewer, frame) -> pd.DataFrame:
    """Chance that projects with a price (columns) are worth it, by what a city would pay per resident (index, euro)."""
    worth, some = np.linspace(0, 2 * frame["at_minimum"].max(), 201), frame[frame["at_minimum"].notna()]
    draws = {p: fewer.sel(project=p).values for p in some.index}
    return pd.DataFrame({p: [(w * draws[p] > some.loc[p, "cost_eur"]).mean() for w in worth] for p in draws}, worth)


def evpi(net_benefit) -> np.ndarray:
    """Expected value of perfect information over the last axis, draws: E[max(0, nb)] - max(0, E[nb]), in their unit."""
    return np.maximum(net_benefit, 0).mean(-1) - np.maximum(np.mean(net_benefit, -1), 0)


def evsi(net_benefit, *, shrink) -> np.ndarray:
    """Expected value of a further survey by moment matching: its means are mean + shrink * (nb - mean) (Jalal and
    Alarid-Escudero 2018, Med Decis Making 38), shrink = sqrt(v0 / (v0 + v1)), v0 the variance now, v1 the survey's."""
    mean = np.mean(net_benefit, -1, keepdims=True)
    return evpi(mean + shrink * (net_benefit - mean))


def _one_more_wave(panel, frame) -> np.ndarray:
    """`shrink` for one more wave in each project's window: the data's information, 1/sd^2 - 1/prior_sd^2, is taken to
    grow as 1 / (1/pre + 1/post), waves before and in the window (mean over areas), all else being as it was."""
    inside, own = panel["window"], panel["effect_project"] == xr.DataArray(np.arange(len(frame)), dims="project")
    before = panel["design"].where(own, 0).sum("effect") == 0
    pre, post = (waves.sum("wave").where(inside.any("wave")).mean("area").values for waves in (before, inside))
    more = (1 / pre + 1 / post) / (1 / pre + 1 / (post + 1)) - 1
    ratio = np.maximum(1 - (frame["sd"] / frame["prior_sd"]).to_numpy(float) ** 2, 0) * more  # v0 / v1
    return np.sqrt(ratio / (1 + ratio))
