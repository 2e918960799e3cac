"""What cities found together: cards pooled (M4), and what the pool says of the next city.

Latent numbers are logits; percentage points are those at a stated base, the percent who would feel unsafe without the
project: 100 (expit(logit(base) + theta) - base). Negative means fewer residents feel unsafe."""

from datetime import UTC, datetime
from functools import partial

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit, logit
from scipy.stats import t as student_t

from workbench import cards, checks, provenance
from workbench.errors import ConvergenceError
from workbench.estimands import QUANTILES, summarise
from workbench.inference import diagnostics, settle, small_sampler, sound
from workbench.items import ITEMS
from workbench.language import said
from workbench.models import evidence
from workbench.models.perceived import PRIORS

COLUMNS = ["estimand", "city", "project", "scale", "mean", "sd", *QUANTILES, "p_fall", "p_rise"]
DOMINATED = 0.8  # posterior sd over prior sd, above which a slope is the prior's
ACCEPT = (0.95, 0.99)  # a small heterogeneity leaves a narrow neck
FEW = 10  # projects, below which a small-study check says nothing


def pool_sampler(pool, **options):
    """The compiled sampler of M4 for pools of this shape; `options` are those of `evidence.build_model`."""
    return small_sampler(evidence.build_model(pool, **options))


def fit_pool(
    pool, build, *, prior="sceptical", scale=None, draws=1000, tune=1000, chains=4, seed=2026, discount=1.0
) -> xr.DataTree:
    """Draws of M4 for stacked cards, with `next` (the effect of one project in a next city) and `next_mean` (of its
    projects). `build` of `pool_sampler`. `scale` takes the place of the named prior's. `discount` weighs every card's
    likelihood (a power prior: 0.5 counts a card as half as many answers). attrs hold diagnostics and settings."""
    data = evidence.model_data(pool) | {"prior_scale": np.asarray(scale or PRIORS[prior])}
    data["weight"] = np.full(pool.sizes["project"], float(discount))
    add, length = partial(_with_next, seed=seed), {"draws": draws, "tune": tune, "chains": chains}
    idata = settle(build, seed, accept=ACCEPT, add=add, **length, **data)
    idata.attrs |= {"model": "M4 evidence", "prior": prior, "discount": discount}
    return idata


def refits(pool, build, idata, *, draws=500, seed=2026) -> pd.DataFrame:
    """The pooled mean under every prior and without each city in turn, and what each kind of project differs from it
    by. Columns kind (prior, without, project), name, mean, sd, lower90, upper90 (logit)."""
    again = build(draws=draws, tune=1000, chains=4, target_accept=ACCEPT[0])
    cities = list(dict.fromkeys(pool["city"].values.tolist()))
    ways = [("prior", name, {"prior_scale": np.asarray(scale)}) for name, scale in PRIORS.items()]
    left = lambda city: (pool["city"].values != city).astype(float)
    ways += [("without", city, {"weight": left(city)}) for city in cities if len(cities) > 2]
    usual = evidence.model_data(pool) | {"prior_scale": np.asarray(PRIORS[idata.attrs["prior"]])}
    rows = [(kind, name, summarise(again(seed, **usual | data)["posterior"]["mu"])) for kind, name, data in ways]
    kinds = idata["posterior"].to_dataset().get("kind_effect", xr.DataArray([], coords={"kind": []}))
    rows += [("project", str(name), summarise(kinds.sel(kind=name))) for name in kinds["kind"].values]
    keys = ("mean", "sd", "lower90", "upper90")
    return pd.DataFrame([{"kind": kind, "name": name} | {k: found[k] for k in keys} for kind, name, found in rows])


def effects_table(pool, idata) -> pd.DataFrame:
    """Pooled mean, heterogeneity, next city, each project and each city's base, tidy: latent, and pp at the base."""
    posterior, common = idata["posterior"].to_dataset(), reference_base(pool)
    rows = [{"estimand": "heterogeneity", "scale": "latent"} | summarise(posterior["tau"])]
    for estimand, name in (("pooled_mean", "mu"), ("next_city", "next")):
        rows += _both({"estimand": estimand}, posterior[name], common)
    if "slope" in posterior:
        rows.append({"estimand": "collective_impact_slope", "scale": "latent"} | summarise(posterior["slope"]))
    for city, base in pool["base_pp"].groupby("city"):
        rows += _both({"estimand": "pooled_mean_at_base", "city": city}, posterior["mu"], float(base.mean()))[1:]
    for i, (project, city) in enumerate(zip(pool["project"].values, pool["city"].values, strict=True)):
        about = {"estimand": "pooled_by_project", "city": city, "project": project.split("/", 1)[1]}
        rows += _both(about, posterior["theta"].isel(project=i), float(pool["base_pp"][i]))
    return pd.DataFrame(rows).reindex(columns=COLUMNS)


def reference_base(pool) -> float:
    """The percent unsafe at which a pooled effect is told in points: the median over the cards' projects."""
    return float(pool["base_pp"].median())


def to_pp(theta, base):
    """Change in percentage points when `theta` (logit) is added at a base in percent."""
    return 100 * (expit(logit(base / 100) + theta) - base / 100)


def small_studies(pool, idata) -> dict | None:
    """Whether less certain cards found larger effects (Egger): slope per logit of standard error, and two-sided p.
    Weighted by 1 / (se^2 + tau^2); None with fewer than ten projects, or when all are as certain."""
    y, se = pool["estimate"].values, np.sqrt(np.diag(pool["covariance"].values))
    if len(y) < FEW or np.ptp(se) < 1e-9:
        return None
    root = 1 / np.sqrt(se**2 + float(idata["posterior"]["tau"].median()) ** 2)
    (slope, _), spread = np.polyfit(se, y, 1, w=root, cov=True)
    return {"slope": float(slope), "p": float(2 * student_t.sf(abs(slope) / np.sqrt(spread[0, 0]), len(y) - 2))}


def slope_sentence(idata, *, lang) -> str:
    """What the cards say of Collective Impact; *prior-dominated* where that is mostly what was assumed."""
    found = summarise(idata["posterior"]["slope"]) if "slope" in idata["posterior"] else {}
    return said("slope", lang, found=found, dominated=found.get("sd", 0) > DOMINATED * evidence.SLOPE_SD)


def sentence(pool, idata, *, lang) -> str:
    """The pool's headline in plain words: mean, how different places are, and what a next city may expect."""
    found, base = diagnostics(idata), reference_base(pool)
    mean, ahead = (summarise(to_pp(idata["posterior"][name], base)) for name in ("mu", "next"))
    about = {"base": base, "n": pool.sizes["project"], "cities": len(set(pool["city"].values.tolist()))}
    return said("pooled", lang, settled=sound(found), rhat=found["rhat_max"], mean=mean, ahead=ahead, **about)


def build_result(pool, chosen, left_out, idata, effects, other, *, lang) -> dict:
    """pooled.json as a plain dict (docs/evidence.md)."""
    by_scale = effects.set_index(["estimand", "scale"])[COLUMNS[4:]]
    pick = lambda name: by_scale.loc[name].to_dict("index")
    found, keys = diagnostics(idata), ("model", "prior", "discount", "draws", "tune", "chains", "seed", "sampler")
    status, message = checks.convergence(found, reruns=int(idata.attrs.get("reruns", 0)), lang=lang)
    return {
        "sentence": sentence(pool, idata, lang=lang), "verdict": "pooled" if status == "pass" else "blocked",
        "checks": [{"name": "convergence", "status": status, "message": message}], "diagnostics": found,
        "simulated": chosen[0]["simulated"], "family": chosen[0]["family"], "base_pp": reference_base(pool),
        "mean": pick("pooled_mean"), "heterogeneity": pick("heterogeneity"), "next_city": pick("next_city"),
        "collective_impact": slope_sentence(idata, lang=lang), "small_studies": small_studies(pool, idata),
        "refits": other.to_dict("records"), "left_out": left_out, "made": f"{datetime.now(UTC):%Y-%m-%d}",
        "cards": [{k: card[k] for k in ("file", "city", "sha256", "made", "grade", "verdict")} for card in chosen],
        "provenance": {k: idata.attrs[k] for k in keys} | {"code_hash": provenance.code_hash()} | provenance.versions(),
    }  # fmt: skip


def others(place, *, city, panel) -> tuple[list[dict], list[dict]]:
    """Cards in the folder `place` that may serve this city as prior, and those left out; ParameterError if none may."""
    return cards.choose(cards.read_cards([place]), family=ITEMS[panel.attrs["item"]].family, own=city)


def evidence_prior(place, *, city, panel, discount) -> dict:
    """A prior for the mean of a city's projects from other cities' cards in the folder `place`; {} without one. The
    power prior: every card's likelihood to the power `discount` (0 to 1), pooled under the sceptical prior; then the
    mean of a next city's projects: `mean` = (location, sd) on the logit. `cards` and `left_out` tell which entered."""
    if not place:
        return {}
    chosen, left_out = others(place, city=city, panel=panel)
    pool = cards.stack(chosen)
    idata = fit_pool(pool, pool_sampler(pool), discount=discount)
    if not sound(diagnostics(idata)):
        raise ConvergenceError(f"prior_from: pooling the cards did not settle ({diagnostics(idata)})")
    drawn = idata["posterior"]["next_mean"].values
    about = {"cards": [card["file"] for card in chosen], "left_out": left_out, "discount": discount}
    return about | {"mean": (float(drawn.mean()), float(drawn.std()))}


def without_evidence(evidence, idata, *, lang) -> dict:
    """Other cities' part in the effect for result.json: `evidence`, the effect `alone` in pp, a sentence; {} for {}."""
    if not evidence:
        return {}
    alone = {key: idata.attrs[f"att_alone_{key}".removesuffix("_mean")] for key in ("mean", "sd", "lower90", "upper90")}
    told = said("without_evidence", lang, n=len(evidence["cards"]), discount=evidence["discount"], alone=alone)
    return evidence | {"alone": alone, "told": told}


def _with_next(posterior, *, seed) -> xr.Dataset:
    """Adds draws of a next city's mean and of one project there, with the same tails as the projects seen."""
    rng, shape = np.random.default_rng(seed), posterior["mu"].shape
    city, tails = rng.standard_normal(shape), rng.standard_t(evidence.TAILS, shape) * np.sqrt(1 - 2 / evidence.TAILS)
    mean = posterior["mu"] + posterior["tau"] * np.sqrt(posterior["between"]) * city
    own = posterior["tau"] * np.sqrt(1 - posterior["between"]) * tails
    return posterior.assign(next_mean=mean, next=mean + own)


def _both(about, theta, base) -> list[dict]:
    scales = {"latent": theta, "pp": to_pp(theta, base)}
    return [about | {"scale": scale} | summarise(draws) for scale, draws in scales.items()]
