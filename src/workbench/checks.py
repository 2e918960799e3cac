"""The check battery: a status and one sentence each, in the reader's language.

A check says `pass`, `warn`, `fail` or `not possible`. Only the data contract, a wave break, composition, convergence and
pre-trends may fail, and a fail blocks the verdict; so each is tuned to cry at most twice in a hundred sound evaluations.
"""

import numpy as np
import pandas as pd
from scipy.special import betainc, expit, logit
from scipy.stats import binom

from workbench import design, estimands, linear, robustness, sensitivity
from workbench.inference import diagnostics, sound
from workbench.language import number, percent, points, short, translator

IMPLAUSIBLE = 10.0  # pp
RHO_PRIOR_SD = 0.05**0.5  # of Beta(2, 2)
BLOCK, NOTICE = 0.005, 0.05  # two-sided p of the pre-trend
POWER = 2.8  # standard errors at which 80 % of trends are noticed at the 5 % level: 1.96 + 0.84


def run_checks(city, panel, idata, effects, *, checks="core", lang) -> pd.DataFrame:
    """Every check of one evaluation: name, status, message, in a fixed order; some with `checks` "full" only.

    `attrs` holds `design_level` (Maryland 1-5, before any check lowers the grade) and `diagnostics` of the draws.
    Rows for which there is no question (an assumed number of answers where none is assumed) are left out.
    """
    att = effects[(effects["estimand"] == "att") & (effects["scale"] == "pp")].iloc[0]
    found, level = diagnostics(idata), design.design_level(city, panel)
    rows = {
        "data contract": design.data_contract(city, panel, lang=lang),
        "wave break": design.wave_break(city, panel, lang=lang),
        "design grade": design.design_grade(panel, level, lang=lang),
        "baseline gap": design.baseline_gap(panel, lang=lang),
        "composition": design.composition(panel, idata["posterior"], lang=lang),
        "prior predictive": prior_predictive(panel, idata, lang=lang),
        "convergence": convergence(found, reruns=int(idata.attrs.get("reruns", 0)), lang=lang),
        "posterior predictive": posterior_predictive(panel, idata, lang=lang),
        "pre-trends": pre_trends(panel, idata, att, lang=lang),
        "linear scale": linear_scale(panel, idata, att, lang=lang),
        "plausibility": plausibility(att, lang=lang),
        "effective n": effective_n(panel, idata, att, lang=lang),
        "shock correlation": shock_correlation(panel, idata, lang=lang),
    }
    if checks == "full":
        rows |= {
            "prior panel": robustness.prior_panel(panel, idata, lang=lang),
            "scale panel": robustness.scale_panel(panel, idata, lang=lang),
            "form panel": robustness.form_panel(panel, lang=lang),
            "honest DiD": sensitivity.honest_did(panel, idata, lang=lang),
            "placebo date": sensitivity.placebo_date(panel, idata, lang=lang),
            "placebo areas": sensitivity.placebo_areas(panel, idata, att, lang=lang),
            "leave one out": sensitivity.leave_one_out(panel, idata, lang=lang),
            "spillover": sensitivity.spillover(city, panel, idata, lang=lang),
        }
    table = pd.DataFrame([[k, *v] for k, v in rows.items() if v], columns=["name", "status", "message"])
    table.attrs = {"design_level": level, "diagnostics": found}
    return table


def prior_predictive(panel, idata, *, lang) -> tuple[str, str]:
    """Whether the prior held the observed shares possible; warns when more than 5 % lie outside its central 99 %."""
    _ = translator(lang).gettext
    rng, size = np.random.default_rng(0), 1000
    spread = np.hypot(0.7 * rng.standard_normal(size), 0.17 * rng.standard_normal(size))  # sd_area, sd_shock
    wave = np.sqrt(1 - 1 / panel.sizes["wave"])
    prior = expit(rng.normal(0, 1.5, size) + rng.normal(0, wave, size) + spread * rng.standard_normal(size))
    share, n = _observed(panel)
    outside = _outside(share, n, prior[:, None])
    low, high = np.quantile(estimands.att(panel, estimands.prior_draws(panel, idata)), [0.025, 0.975])
    text = _(
        "Before the data, the model held an effect of {low} to {high} points possible (95 %); {outside} of {n} observed "
        "shares lie outside what it held possible."
    ).format(low=points(low, lang), high=points(high, lang), outside=int(outside.sum()), n=outside.size)
    return ("warn" if outside.sum() > 0.05 * outside.size else "pass"), text


def convergence(found, *, reruns=0, lang) -> tuple[str, str]:
    """Fails when R-hat, effective samples or divergences (`found`, see `inference.diagnostics`) miss their bounds."""
    _ = translator(lang).gettext
    settled, ess = sound(found), min(found["ess_bulk_min"], found["ess_tail_min"])
    values = {
        "rhat": number(found["rhat_max"], lang, 3),
        "ess": number(ess, lang, 0),
        "bad": found["divergences"],
    }
    if settled:
        text = _("The computation agrees with itself (R-hat {rhat}, effective sample {ess}, divergences {bad}).")
    else:
        text = _(
            "The computation has not settled (R-hat {rhat}, sound up to 1.01; effective sample {ess}, sound from 400; "
            "divergences {bad}, sound at 0; attempts {runs}): more draws are needed."
        )
    return ("pass" if settled else "fail"), text.format(**values, runs=1 + reruns)


def posterior_predictive(panel, idata, *, lang) -> tuple[str, str]:
    """Whether the fitted model could have produced each observed share; warns when more lie outside 99 % than by chance."""
    _ = translator(lang).gettext
    share, n = _observed(panel)
    outside = _outside(share, n, _modelled(panel, idata["posterior"]))
    text = _(
        "{outside} of {n} observed shares (area by wave) lie outside what the fitted model expects in 99 of 100 cases."
    )
    text = text.format(outside=int(outside.sum()), n=outside.size)
    surprising = binom.sf(outside.sum() - 1, outside.size, 0.01) < 0.01
    return ("warn" if surprising else "pass"), text


def _modelled(panel, posterior, *, most=400):
    """P(unsafe) of those asked, by draw and observed cell, strata mixed as they answered; at most `most` draws."""
    latent = posterior["latent"].stack(sample=("chain", "draw")).transpose("sample", "area", "wave").values
    step = max(len(latent) // most, 1)
    counts = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values
    mix = counts / np.maximum(counts.sum(-1, keepdims=True), 1e-9)
    shift = np.zeros((len(latent), counts.shape[2]))
    if "strata" in posterior:
        shift = posterior["strata"].stack(sample=("chain", "draw")).transpose("sample", "stratum").values
    shift, latent = shift[::step], latent[::step]
    share = sum(mix[..., s] * expit(latent + shift[:, s, None, None]) for s in range(counts.shape[2]))
    return share[:, np.isfinite(panel["share_unsafe"].transpose("area", "wave").values)]


def _observed(panel) -> tuple[np.ndarray, np.ndarray]:
    """Share unsafe (0-1) and effective answers of every cell that tells it."""
    share = panel["share_unsafe"].transpose("area", "wave").values
    n = panel["counts"].sum(("stratum", "answer")).transpose("area", "wave").values
    return share[np.isfinite(share)], n[np.isfinite(share)]


def _outside(share, n, probability) -> np.ndarray:
    """Cells whose count lies in the outer 1 % of its predictive: binomial (n need not be whole), mixed over draws."""
    k = share * n
    below = np.where(n - k > 1e-6, betainc(np.maximum(n - k, 1e-6), k + 1, 1 - probability), 1.0).mean(0)
    above = np.where(k > 1e-6, betainc(np.maximum(k, 1e-6), n - k + 1, probability), 1.0).mean(0)
    return np.minimum(below, above) < 0.005


def pre_trends(panel, idata, att, *, lang) -> tuple[str, str]:
    """Whether treated areas already moved apart before; fails when clearly so, and enough to make up the effect.

    p < 0.005 and a trend that would move the share by at least the estimated effect between before and the window.
    """
    _ = translator(lang).gettext
    data = linear.summaries(panel)
    found = linear.pre_trend(data, **linear.shocks(idata))
    if found is None:
        return "not possible", _(
            "Fewer than two waves before the projects with answers both in their areas and in others: whether these were "
            "already moving apart is unknown."
        )
    shares = design.before(panel)
    base = logit(np.clip((shares[0] if shares else 100 * _modelled_base(panel, idata)) / 100, 0.001, 0.999))
    shift = lambda size: 100 * float(expit(base + size) - expit(base))
    years = float(np.median(np.diff(panel["year"].values)))
    carried = shift(found["slope"] * linear.years_ahead(data))
    values = {"slope": points(shift(found["slope"] * years), lang)}
    values |= {"power": number(shift(POWER * found["se"] * years), lang), "carried": points(carried, lang)}
    values |= {"effect": points(att["mean"], lang), "chance": percent(found["p"], lang)}
    if found["p"] < BLOCK and abs(carried) >= abs(att["mean"]):
        text = _(
            "Project areas were already moving apart before the projects ({slope} points a wave); carried on, that alone "
            "is {carried} points, no less than the effect found ({effect})."
        )
        return "fail", text.format(**values)
    if found["p"] < NOTICE:
        text = _(
            "Project areas seem to have moved apart already before the projects ({slope} points a wave; by chance alone in "
            "{chance} of cases); carried on, that is {carried} points."
        )
        return "warn", text.format(**values)
    text = _(
        "No sign that project areas were moving apart before the projects ({slope} points a wave), but only a trend of "
        "{power} points a wave or more would have been noticed four times in five."
    )
    return "pass", text.format(**values)


def _modelled_base(panel, idata) -> float:
    """Mean modelled share unsafe of treated areas before, for panels in which no such cell tells its share."""
    before = panel["treated"] & (panel["design"].sum("effect") == 0)
    return float(expit(idata["posterior"]["latent"].mean(("chain", "draw"))).where(before).mean())


def linear_scale(panel, idata, att, *, lang) -> tuple[str, str]:
    """The imputation estimate on percentages and on the logit; warns when they differ by the minimum and by 2 sd."""
    _ = translator(lang).gettext
    data, shocks = linear.summaries(panel), linear.shocks(idata)
    on_percent, on_logit = linear.both_scales(data, **shocks)
    if not np.isfinite(on_percent - on_logit):
        return "not possible", _(
            "The published classes do not give the share that feels unsafe before and after: no comparison of scales."
        )
    difference = lambda part: np.subtract(*linear.both_scales(part, **shocks))
    gap, sd = abs(on_percent - on_logit), linear.sd_by_areas(data, difference)
    text = _(
        "Without the model and its prior: {percentages} points by comparing percentages, {logit} on the model's scale; this "
        "report says {effect}."
    ).format(percentages=points(on_percent, lang), logit=points(on_logit, lang), effect=points(att["mean"], lang))
    if gap > panel.attrs["minimum_pp"] and not gap <= 2 * sd:
        return "warn", text + " " + _(
            "The first two differ by more than what counts as worthwhile: the answer depends on the scale."
        )
    return "pass", text


def plausibility(att, *, lang) -> tuple[str, str]:
    """Warns about an effect above 10 pp."""
    _ = translator(lang).gettext
    if abs(att["mean"]) > IMPLAUSIBLE:
        text = _("{effect} points is more than such projects are known to do: look for a break in the survey first.")
        return "warn", text.format(effect=points(att["mean"], lang))
    return "pass", _("{effect} points is of a size that such projects can have.").format(
        effect=points(att["mean"], lang)
    )


def effective_n(panel, idata, att, *, lang) -> tuple[str, str] | None:
    """Whether half or double the assumed number of answers moves the effect by the minimum or changes what is certain."""
    _ = translator(lang).gettext
    if not {"att_half_n", "att_double_n"} <= set(idata.attrs):
        return None
    other = {name: idata.attrs[f"att_{name}_n"] for name in ("half", "double")}
    moved = max(abs(value - att["mean"]) for value in other.values()) > panel.attrs["minimum_pp"]
    turned = any(_sure(v, idata.attrs[f"att_{k}_n_sd"]) != _sure(att["mean"], att["sd"]) for k, v in other.items())
    text = _(
        "The survey does not publish how many people answered; {n} per area and wave is assumed. With half as many the effect "
        "is {half} points, with twice as many {double} (here {effect})."
    ).format(
        n=number(panel.attrs["n_assumed"], lang, 0),
        effect=points(att["mean"], lang),
        **{k: points(v, lang) for k, v in other.items()},
    )
    if turned:
        text += " " + _("Whether the effect can be told from none then depends on that assumption.")
    elif moved:
        text += " " + _("The size of the effect depends on that assumption.")
    return ("warn" if moved or turned else "pass"), text


def _sure(mean, sd) -> int:
    """Direction of an effect whose 90 % interval leaves zero out, else 0."""
    return int(np.sign(mean)) if abs(mean) > 1.645 * sd else 0


def shock_correlation(panel, idata, *, lang) -> tuple[str, str]:
    """How lasting an area's own ups and downs are: learned from four waves on, below that three guesses side by side."""
    _ = translator(lang).gettext
    waves, names = panel.sizes["wave"], ("att_rho_0", "att_rho_05", "att_rho_09")
    if waves >= 4 and "rho" in idata["posterior"]:
        rho = idata["posterior"]["rho"].values
        low, high = np.quantile(rho, [0.05, 0.95])
        text = _(
            "An area's own ups and downs carry over to the next wave by {mean} (90 % interval {low} to {high}; 0 is not at all, "
            "1 is wholly); the effect allows for that."
        )
        if rho.std() > 0.8 * RHO_PRIOR_SD:
            text += " " + _("These data say little about it: that is mostly what was assumed.")
        return "pass", text.format(mean=number(rho.mean(), lang), low=number(low, lang), high=number(high, lang))
    if not set(names) <= set(idata.attrs):
        return "not possible", _("With {n} waves it is unknown how lasting an area's own ups and downs are.").format(
            n=waves
        )
    values = [idata.attrs[name] for name in names]
    text = _(
        "With {n} waves it is unknown how lasting an area's own ups and downs are; the effect is {none} points if they fade at "
        "once, {half} if half carries over, {most} if nearly all does (smallest worthwhile: {minimum})."
    ).format(
        n=waves,
        minimum=short(panel.attrs["minimum_pp"], lang),
        **dict(zip(("none", "half", "most"), [points(v, lang) for v in values], strict=True)),
    )
    return ("warn" if np.ptp(values) > panel.attrs["minimum_pp"] else "pass"), text
