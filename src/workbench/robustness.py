"""Checks of `--checks full` that write the comparison otherwise and can only warn: other forms, scales and priors."""

import warnings

import arviz as az
import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import log_expit

from workbench import forms, linear
from workbench.language import said
from workbench.models.perceived import PRIORS

SENSITIVE = 0.05  # power-scaling sensitivity that Kallioinen et al. (2024) call notable


def parted(panel, data, *, gap, difference) -> tuple[str, bool]:
    """Status of two figures `gap` apart (pp), and whether chance explains it: warns beyond the minimum and 2 sd of
    `difference`, one area left out at a time: roughly sampling and areas' own ups and downs."""
    if np.isnan(gap):
        return "not possible", False
    large = abs(gap) > panel.attrs["minimum_pp"]
    chance = large and abs(gap) <= 2 * linear.sd_by_areas(data, difference)
    return ("warn" if large and not chance else "pass"), chance


def form_panel(panel, *, lang) -> tuple[str, str]:
    """The effect in the four ordinal forms of `forms`; warns when they part by more than the minimum and 2 sd."""
    data, unsafe = forms.summaries(panel)
    effects = lambda part: pd.Series(forms.by_form(part, unsafe=unsafe))
    found = effects(data)
    difference = lambda part: np.diff(effects(part)[[found.idxmin(), found.idxmax()]]).item()
    status, chance = parted(panel, data, gap=np.ptp(found.to_numpy()), difference=difference)
    about = {"forms": len(found), "low": found.min(), "high": found.max()}
    return status, said("form_panel", lang, status=status, chance=chance, **about)


def scale_panel(panel, idata, *, lang) -> tuple[str, str] | None:
    """The effect without a prior on the model's scale, on percentages and by an independent program; None without it.
    Warns when the first and the last part by more than the minimum and 2 sd of their difference."""
    if "att_flat" not in idata.attrs:
        return None
    shocks, data = linear.shocks(idata), forms.summaries(panel)[0]
    independent = lambda part: callaway_santanna(part, repeated=not panel.attrs.get("shares"))
    flat, percent, other = idata.attrs["att_flat"], linear.both_scales(data, **shocks)[0], independent(data)
    difference = lambda part: linear.both_scales(part, **shocks)[1] - independent(part)
    status, chance = parted(panel, data, gap=flat - other if np.isfinite(percent) else np.nan, difference=difference)
    about = {"latent": flat, "percentages": percent, "other": other}
    return status, said("scale_panel", lang, status=status, chance=chance, **about)


def callaway_santanna(data, *, repeated) -> float:
    """The effect in pp by `diff_diff.CallawaySantAnna` (2021), not-yet treated areas among the comparison; NaN if none.
    `data` as of `forms.summaries`; `repeated` takes each answer as a person asked once, else area shares as a panel. An
    area weighs by its mean answers in every wave; effects by start and wave are averaged over our window by residents.
    Unlike ours it compares with the last wave before only, without shocks or strata."""
    from diff_diff import CallawaySantAnna, SurveyDesign

    free, window, answers = data["free"], data["window"], data["classes"].sum(2)
    if not (free.any() and window.any()):
        return np.nan
    last = (free * np.arange(1, free.shape[1] + 1)).max(1)  # number, from 1, of the last wave without a project
    start = np.where(free[:, -1] | (last == 0), 0, last + 1)
    area, wave = np.nonzero((free | window) & free.any(1)[:, None])
    percent, weight = data["percent"][area, wave], (answers.sum(1) / np.maximum((answers > 0).sum(1), 1))[area]
    rows = pd.DataFrame({"unit": area, "wave": wave + 1, "start": start[area], "weight": weight, "percent": percent})
    if repeated:
        share = rows["percent"] / 100
        both = [rows.assign(percent=y, weight=rows["weight"] * p) for y, p in ((100.0, share), (0.0, 1 - share))]
        rows = pd.concat(both).query("weight > 0").assign(unit=lambda rows: np.arange(len(rows)))
    estimator = CallawaySantAnna(control_group="not_yet_treated", estimation_method="reg", panel=not repeated)
    names = {"outcome": "percent", "unit": "unit", "time": "wave", "first_treat": "start"}
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # it warns about each assumption, and each cell that it cannot give
            found = estimator.fit(rows, **names, survey_design=SurveyDesign(weights="weight")).group_time_effects
    except ValueError:  # no comparison, or no cell with answers
        return np.nan
    size = data["residents"] / np.maximum(window.sum(1), 1)
    cells = [(found.get((start[a], w + 1), {"effect": np.nan})["effect"], size[a]) for a, w in np.argwhere(window)]
    effect, size = np.transpose([cell for cell in cells if np.isfinite(cell[0])] or [[np.nan, 1.0]])
    return float(np.average(effect, weights=size))


def other_ways(panel, idata, att) -> pd.DataFrame:
    """The effect asked in other ways, in pp, as far as there: group ("", prior, scale, form), name, mean, lower90,
    upper90; first `att` itself. Priors have the interval of their draws, the others 1.645 `linear.sd_by_areas`."""
    shocks, repeated = linear.shocks(idata), not panel.attrs.get("shares")
    data, unsafe = forms.summaries(panel)
    rows = [fitted(idata, att, group="prior", names=PRIORS)]
    for group, names, figures in (
        ("scale", ("percentages", "latent scale"), lambda part: linear.both_scales(part, **shocks)),
        ("scale", ("Callaway and Sant'Anna",), lambda part: [callaway_santanna(part, repeated=repeated)]),
        ("form", [*forms.by_form(data, unsafe=unsafe)], lambda part: [*forms.by_form(part, unsafe=unsafe).values()]),
    ):
        mean, reach = np.array(figures(data)), 1.645 * linear.sd_by_areas(data, figures)
        ends = {"mean": mean, "lower90": mean - reach, "upper90": mean + reach}
        rows.append(pd.DataFrame({"group": group, "name": names} | ends))
    return pd.concat(rows, ignore_index=True).dropna(subset="mean", ignore_index=True)


def fitted(idata, att, *, group, names) -> pd.DataFrame:
    """The effect `att`, and under each named assumption that `inference.fit` tried, with the interval of its draws."""
    ends, there = ("mean", "lower90", "upper90"), [name for name in names if f"att_{name}" in idata.attrs]
    rows = [[group, name, *(idata.attrs[f"att_{name}{end}"] for end in ("", "_lower90", "_upper90"))] for name in there]
    return pd.DataFrame([["", "report", *att[[*ends]]], *rows], columns=["group", "name", *ends])


def prior_panel(panel, idata, *, lang) -> tuple[str, str] | None:
    """The effect under each prior, where `--checks full` fitted them, and what power-scaling says of the one in use.
    Warns when they part by more than the minimum, not for power-scaling: a sceptical prior is meant to be felt."""
    means = {name: idata.attrs.get(f"att_{name}") for name in ("sceptical", "wide", "flat")}
    if None in means.values():
        return None
    apart, felt = np.ptp([*means.values()]) > panel.attrs["minimum_pp"], power_scaling(panel, idata) or {"prior": 0.0}
    conflict, decides = min(felt.values()) >= SENSITIVE, felt["prior"] >= SENSITIVE
    about = {"apart": apart, "conflict": conflict, "decides": decides, "sd": idata.attrs["att_flat_sd"]}
    return ("warn" if apart else "pass"), said("prior_panel", lang, **means, **about)


def power_scaling(panel, idata, *, most=1000) -> dict[str, float] | None:
    """Sensitivity of the ATT to a slightly firmer or looser `prior` and `likelihood` (Kallioinen et al. 2024, Stat
    Comput 34), of `most` draws; None if flat. Both above `SENSITIVE`: they conflict; only the prior: it decides. The
    prior is that of mu, tau and sd_event as stated: effects given these are part of the model, as the paper advises."""
    posterior = idata["posterior"].to_dataset()
    scale = PRIORS.get(idata.attrs.get("prior"), np.nan)
    if "mu" not in posterior or not np.isfinite(scale):
        return None
    draws = posterior.isel(draw=slice(None, None, -(-posterior.sizes["chain"] * posterior.sizes["draw"] // most)))
    draws = draws.reset_coords(drop=True)  # labels that are no index would clash
    size = {"mu": scale, "tau": scale, "sd_event": scale / 2}
    prior, answers = sum(-0.5 * (draws[name] / s) ** 2 for name, s in size.items()), log_likelihood(panel, draws)
    made = {"log_prior": xr.Dataset({"effects": prior}), "log_likelihood": xr.Dataset({"answers": answers})}
    tree = xr.DataTree.from_dict({"posterior": draws[["att"]]} | made)
    return {group: float(az.psense(tree, var_names="att", group=group)["att"]) for group in ("prior", "likelihood")}


def log_likelihood(panel, draws) -> xr.DataArray:
    """Log-probability of all answers by draw (chain, draw), the same as the model's; one draw at a time in memory.
    log(F(u) - F(l)) = log F(u) + log F(-l) + log(1 - exp(l - u)) for the logistic F, infinite bounds included."""
    counts = panel["counts"].transpose("area", "wave", "stratum", "answer").values
    area, wave, stratum, answer = np.nonzero(counts)
    counts, lower, upper = counts[area, wave, stratum, answer], panel["lower"].values, panel["upper"].values + 1
    values = {name: draws[name].values for name in ("latent", "cut", "strata") if name in draws}
    found = np.empty(values["latent"].shape[:2])
    for at in np.ndindex(found.shape):
        bound = np.r_[-np.inf, values["cut"][at] if "cut" in values else 0.0, np.inf]
        eta = values["latent"][at][area, wave] + (values["strata"][at][stratum] if "strata" in values else 0.0)
        inside = np.log(-np.expm1(bound[lower] - bound[upper]))[answer]
        either = log_expit(bound[upper][answer] - eta) + log_expit(eta - bound[lower][answer])
        found[at] = counts @ (either + inside)
    return xr.DataArray(found, dims=("chain", "draw"))
