"""The check battery: a status (pass, warn, fail, not possible) and one sentence each, in the reader's language.

A fail blocks the verdict: the few checks that may fail cry at most twice in a hundred sound evaluations."""

from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import betainc, expit, logit
from scipy.stats import binom

from workbench import design, estimands, linear, robustness, sensitivity
from workbench.inference import diagnostics, sound
from workbench.language import N_, said

IMPLAUSIBLE = 10.0  # pp
RHO_PRIOR_SD = 0.05**0.5  # of Beta(2, 2)
BLOCK, NOTICE = 0.005, 0.05  # two-sided p of the pre-trend
POWER = 2.8  # standard errors at which 80 % of trends are noticed at the 5 % level: 1.96 + 0.84


def run_checks(city, panel, idata, effects, *, checks="core", lang) -> pd.DataFrame:
    """Every check of one evaluation that has a question: name, status, message, in a fixed order; some with `checks`
    "full" only. attrs: `design_level` (Maryland 1-5, before a check lowers the grade), `diagnostics` of the draws."""
    att = effects[(effects["estimand"] == "att") & (effects["scale"] == "pp")].iloc[0]
    found, level = diagnostics(idata), design.design_level(city, panel)
    rows = {
        N_("data contract"): design.data_contract(city, panel, lang=lang),
        N_("wave break"): design.wave_break(city, panel, lang=lang),
        N_("design grade"): design.design_grade(panel, level, lang=lang),
        N_("baseline gap"): design.baseline_gap(panel, lang=lang),
        N_("composition"): design.composition(panel, idata["posterior"], lang=lang),
        N_("prior predictive"): prior_predictive(panel, idata, lang=lang),
        N_("convergence"): convergence(found, reruns=int(idata.attrs.get("reruns", 0)), lang=lang),
        N_("posterior predictive"): posterior_predictive(panel, idata, lang=lang),
        N_("pre-trends"): pre_trends(panel, idata, att, lang=lang),
        N_("linear scale"): linear_scale(panel, idata, att, lang=lang),
        N_("plausibility"): plausibility(att, lang=lang),
        N_("effective n"): effective_n(panel, idata, att, lang=lang),
        N_("shock correlation"): shock_correlation(panel, idata, lang=lang),
    }
    if checks == "full":
        rows |= {
            N_("prior panel"): robustness.prior_panel(panel, idata, lang=lang),
            N_("scale panel"): robustness.scale_panel(panel, idata, lang=lang),
            N_("form panel"): robustness.form_panel(panel, lang=lang),
            N_("honest DiD"): sensitivity.honest_did(panel, idata, lang=lang),
            N_("placebo date"): sensitivity.placebo_date(panel, idata, lang=lang),
            N_("placebo areas"): sensitivity.placebo_areas(panel, idata, att, lang=lang),
            N_("leave one out"): sensitivity.leave_one_out(panel, idata, lang=lang),
            N_("spillover"): sensitivity.spillover(city, panel, idata, lang=lang),
        }
    table = pd.DataFrame([[k, *v] for k, v in rows.items() if v], columns=["name", "status", "message"])
    table.attrs = {"design_level": level, "diagnostics": found}
    return table


def prior_predictive(panel, idata, *, lang) -> tuple[str, str]:
    """Whether the prior held the observed shares possible; warns when more than 5 % lie outside its central 99 %."""
    rng, size = np.random.default_rng(0), 1000
    spread = np.hypot(0.7 * rng.standard_normal(size), 0.17 * rng.standard_normal(size))  # sd_area, sd_shock
    wave = np.sqrt(1 - 1 / panel.sizes["wave"])
    prior = expit(rng.normal(0, 1.5, size) + rng.normal(0, wave, size) + spread * rng.standard_normal(size))
    outside = _outside(*_observed(panel), prior[:, None])
    low, high = np.quantile(estimands.att(panel, estimands.prior_draws(panel, idata)), [0.025, 0.975])
    text = said("prior_predictive", lang, low=low, high=high, outside=outside.sum(), n=outside.size)
    return ("warn" if outside.sum() > 0.05 * outside.size else "pass"), text


def convergence(found, *, reruns=0, lang) -> tuple[str, str]:
    """Fails when R-hat, effective samples or divergences (`found`, see `inference.diagnostics`) miss their bounds."""
    status, ess = "pass" if sound(found) else "fail", min(found["ess_bulk_min"], found["ess_tail_min"])
    about = {"rhat": found["rhat_max"], "ess": ess, "bad": found["divergences"], "runs": 1 + reruns}
    return status, said("convergence", lang, status=status, **about)


def posterior_predictive(panel, idata, *, lang) -> tuple[str, str]:
    """Whether the fit could have produced each observed share; warns when more lie outside 99 % than chance allows."""
    outside = _outside(*_observed(panel), _modelled(panel, idata["posterior"]))
    surprising = binom.sf(outside.sum() - 1, outside.size, 0.01) < 0.01
    return ("warn" if surprising else "pass"), said("posterior_predictive", lang, outside=outside.sum(), n=outside.size)


def _modelled(panel, posterior, *, most=400):
    """P(unsafe) of those asked, by draw and observed cell, strata mixed as they answered; of about `most` draws."""
    draws, counts = posterior.to_dataset(), panel["counts"].sum("answer")
    draws = draws.isel(draw=slice(None, None, max(draws.sizes["chain"] * draws.sizes["draw"] // most, 1)))
    mix = counts / np.maximum(counts.sum("stratum"), 1e-9)
    share = xr.dot(expit(draws["latent"] + draws.get("strata", 0.0)), mix, dim="stratum")
    known = np.isfinite(panel["share_unsafe"].transpose("area", "wave").values)
    return share.transpose("chain", "draw", "area", "wave").values.reshape(-1, *known.shape)[:, known]


def _observed(panel) -> tuple[np.ndarray, np.ndarray]:
    """Share unsafe (0-1) and effective answers of every cell that tells it."""
    data = linear.summaries(panel)
    known = np.isfinite(data["percent"])
    return data["percent"][known] / 100, data["answers"][known]


def _outside(share, n, probability) -> np.ndarray:
    """Cells whose count lies in the outer 1 % of its predictive: binomial (n need not be whole), mixed over draws."""
    k = share * n
    below = np.where(n - k > 1e-6, betainc(np.maximum(n - k, 1e-6), k + 1, 1 - probability), 1.0).mean(0)
    above = np.where(k > 1e-6, betainc(np.maximum(k, 1e-6), n - k + 1, probability), 1.0).mean(0)
    return np.minimum(below, above) < 0.005


def pre_trends(panel, idata, att, *, lang) -> tuple[str, str]:
    """Whether treated areas already moved apart before: fails at p < 0.005 and a trend that would move the share by at
    least the estimated effect between before and the window."""
    data, shares = linear.summaries(panel), design.before(panel)
    found = linear.pre_trend(data, **linear.shocks(idata))
    if found is None:
        return "not possible", said("unknown_trend", lang)
    before = data["latent"][data["free"] & data["treated"][:, None]]  # stands in where no cell tells its share
    base = logit(np.clip(shares[0] / 100 if shares else expit(before).mean(), 0.001, 0.999))
    shift = lambda size: 100 * (expit(base + size) - expit(base))
    years, carried = np.median(np.diff(panel["year"].values)), shift(found["slope"] * linear.years_ahead(data))
    blocks = found["p"] < BLOCK and abs(carried) >= abs(att["mean"])
    status = "fail" if blocks else "warn" if found["p"] < NOTICE else "pass"
    about = {"slope": shift(found["slope"] * years), "power": shift(POWER * found["se"] * years), "carried": carried}
    return status, said("pre_trends", lang, status=status, effect=att["mean"], chance=found["p"], **about)


def linear_scale(panel, idata, att, *, lang) -> tuple[str, str]:
    """The imputation estimate on percentages and on the logit; warns when they differ by the minimum and by 2 sd."""
    figures = partial(linear.both_scales, **linear.shocks(idata))
    percentages, on_logit = figures(data := linear.summaries(panel))
    difference = lambda part: np.subtract(*figures(part))
    status, chance = robustness.parted(panel, data, gap=percentages - on_logit, difference=difference)
    about = {"percentages": percentages, "on_logit": on_logit, "effect": att["mean"]}
    return status, said("linear_scale", lang, status=status, chance=chance, **about)


def plausibility(att, *, lang) -> tuple[str, str]:
    """Warns about an effect above 10 pp."""
    status = "warn" if abs(att["mean"]) > IMPLAUSIBLE else "pass"
    return status, said("plausibility", lang, status=status, effect=att["mean"])


def effective_n(panel, idata, att, *, lang) -> tuple[str, str] | None:
    """Whether half or double the assumed number of answers moves the effect by the minimum or changes what is sure."""
    other = {name: idata.attrs.get(f"att_{name}_n") for name in ("half", "double")}
    if None in other.values():
        return None
    sure = lambda mean, sd: np.sign(mean) * (abs(mean) > 1.645 * sd)  # direction where 90 % leave zero out, else 0
    turned = any(sure(v, idata.attrs[f"att_{k}_n_sd"]) != sure(att["mean"], att["sd"]) for k, v in other.items())
    moved = max(abs(value - att["mean"]) for value in other.values()) > panel.attrs["minimum_pp"]
    about = {"n": panel.attrs["n_assumed"], "effect": att["mean"], "turned": turned, "moved": moved}
    return ("warn" if moved or turned else "pass"), said("effective_n", lang, **other, **about)


def shock_correlation(panel, idata, *, lang) -> tuple[str, str]:
    """How lasting an area's own ups and downs are: learned from four waves on, else three guesses side by side."""
    waves, minimum = panel.sizes["wave"], panel.attrs["minimum_pp"]
    if waves >= 4 and "rho" in idata["posterior"]:
        rho = idata["posterior"]["rho"].values
        low, high = np.quantile(rho, [0.05, 0.95])
        learned = {"mean": rho.mean(), "low": low, "high": high, "assumed": rho.std() > 0.8 * RHO_PRIOR_SD}
        return "pass", said("shock_correlation", lang, learned=learned)
    guesses = [idata.attrs[name] for name in ("att_rho_0", "att_rho_05", "att_rho_09") if name in idata.attrs]
    status = "not possible" if len(guesses) < 3 else "warn" if np.ptp(guesses) > minimum else "pass"
    return status, said("shock_correlation", lang, status=status, n=waves, guesses=guesses, minimum=minimum)
