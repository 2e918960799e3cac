"""Cohesion and recorded incidents of a simulated city, beside the insecurity of `simulate`; constants in simulate.toml.

    cohesion[area, wave] = area + wave + shock[area, wave] + running * effect[project]     in sd of residents
    theta                = cohesion + N(0, 1);  answer = category of -discrimination * theta + logistic noise
    log rate[kind, area, month] = kind + season + area + city month + area-year + running * log irr[project]
                                  + beside * log irr_neighbours
    count                = negative binomial around population * rate * share recorded

Standing levels, area-wave shocks and the noise of one respondent's answers are in part those of insecurity: cohesion
moves insecurity (`cohesion_pull`), and both may have a cause in common (`confounding`)."""

import tomllib
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit, ndtri

from workbench.items import ITEMS

CONTENT = tomllib.loads(Path(__file__).with_name("simulate.toml").read_text(encoding="utf-8"))
COHESION, INCIDENTS = CONTENT["cohesion"], CONTENT["incidents"]
REPORTED = "victim_reported"
CELL = ("area", "wave")


def draw_shocks(rng, shape, *, sd, rho) -> np.ndarray:
    """Stationary AR(1) along the last dim: every wave has spread `sd`, neighbouring waves correlation `rho`."""
    shock = sd * rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        shock[..., t] = rho * shock[..., t - 1] + np.sqrt(1 - rho**2) * shock[..., t]
    return shock


def draw_spread(rng, projects) -> np.ndarray:
    """Factors of the mean effect, one a project: evenly from a half to one and a half, in random order."""
    return 1 + rng.permutation(np.linspace(-0.5, 0.5, projects)) if projects > 1 else np.ones(1)


def most_pull(shock_sd) -> float:
    """The largest `cohesion_pull` that insecurity shocks of this sd leave room for (see `shock_correlation`)."""
    return 0.99 * max(1.0, shock_sd / COHESION["shock_sd"])


def shock_correlation(pull, confounding, ratio) -> float:
    """Correlation r of the shocks of cohesion and insecurity that makes insecurity's a `pull` times cohesion's, plus a
    rest whose correlation with cohesion's is `confounding`; `ratio` is sd of cohesion's over sd of insecurity's.

    Solves r = pull * ratio + confounding * sqrt((1 - r^2) / (1 - confounding^2)) (Imai, Keele and Yamamoto 2010)."""
    own = (1 - confounding**2) * pull * ratio
    return own + confounding * np.sqrt(1 - own * pull * ratio)


def draw_cohesion(world, options, rng) -> xr.Dataset:
    """`cohesion` (area, wave), projects included, and `effect` (project), in sd of residents. Shocks are no larger than
    those of insecurity, or the pull could not be all that they have in common."""
    areas, waves = (world.sizes[dim] for dim in CELL)
    spread = draw_spread(rng, world.sizes["project"])
    level, own = world["level"].values, rng.standard_normal(areas)
    shared, sd = COHESION["levels"], min(COHESION["shock_sd"], options["shock_sd"])
    area = shared * (level - level.mean()) / level.std() + np.sqrt(1 - shared**2) * own
    wave = rng.normal(0, COHESION["wave_sd"], waves)
    shock = draw_shocks(rng, (areas, waves), sd=1.0, rho=options["shock_rho"])
    if sd:
        r = shock_correlation(options["cohesion_pull"], options["confounding"], sd / options["shock_sd"])
        shock = r * world["shock"].values / options["shock_sd"] + np.sqrt(1 - r**2) * shock
    effect = xr.DataArray(options.get("cohesion_effects", options["cohesion_effect"] * spread), dims="project")
    index = xr.DataArray(COHESION["area_sd"] * area[:, None] + wave + sd * shock, dims=CELL)
    return xr.Dataset({"cohesion": index + (world["running"] * effect).sum("project"), "effect": effect})


def texts(values, codes) -> pd.api.extensions.ExtensionArray:
    """The text of each code, missing where it is -1; much quicker than to hand pandas one text after the other."""
    return pd.array(list(values), dtype="str").take(codes, allow_fill=True)


def cohesion_answers(drawn, place, noise, rng) -> dict:
    """Answers to each item by the graded response model, for respondents of `place` (area, wave). Their own distance
    from their area's cohesion is correlated with the logistic `noise` of their insecurity answer."""
    cohesion = drawn["cohesion"].values[place]
    shared = COHESION["noise"]
    own = shared * ndtri(expit(noise)) + np.sqrt(1 - shared**2) * rng.standard_normal(len(noise))
    answers = {}
    for item, about in COHESION["items"].items():
        score = rng.logistic(size=len(noise)) - about["discrimination"] * (cohesion + own)
        answers[item] = texts(ITEMS[item].categories, np.searchsorted(about["cuts"], score))
    return answers


def victim_answers(world, place, reporting, rng):
    """Did a respondent who was a victim tell the police? Missing for others; `place` (area, wave) by respondent."""
    running = world["running"].any("project").values[place]
    victim, chance = rng.random(len(running)) < INCIDENTS["victims"], rng.random(len(running))
    reported = chance < INCIDENTS["reported"] * np.where(running, reporting, 1.0)
    return texts(ITEMS[REPORTED].categories, np.where(victim, 1 - reported, -1))


def draw_incidents(world, projects, neighbours, options, rng) -> xr.Dataset:
    """Incidents by month before anyone counts: `expected` (kind, area, month) without projects, `effect` (area, month)
    on its log, `recorded` (area, month) the factor on what gets recorded, `window` and `beside` (project, area, month)
    where a project's effect counts, in its areas and beside them. Effects begin with the month of full start. Areas
    beside a project's (`neighbours`, area by area) are those where none ever runs; beside two they get both effects."""
    years = world["wave"].values.astype(int)
    month = pd.period_range(f"{years[0]}-01", f"{years[-1]}-12", freq="M")
    kinds, areas = INCIDENTS["kinds"], world.sizes["area"]
    log_irr = options.get("log_irr", np.log(options["irr"]) * draw_spread(rng, world.sizes["project"]))
    rate = np.log([kind["rate"] / 1000 for kind in kinds])[:, None, None] + np.log(world["population"].values)[:, None]
    turn = 2 * np.pi * (month.month.to_numpy() - np.array([[kind["peak"]] for kind in kinds])) / 12
    season = np.array([[kind["season"]] for kind in kinds]) * np.cos(turn)
    area = rng.normal(0, INCIDENTS["area_sd"], (len(kinds), areas, 1))
    city_month = rng.normal(0, INCIDENTS["month_sd"], (len(kinds), 1, len(month)))
    by_year = (len(kinds), areas, len(years))
    year = draw_shocks(rng, by_year, sd=INCIDENTS["year_sd"], rho=INCIDENTS["year_rho"]).repeat(12, -1)
    runs = world["running"].any("wave").values
    beside = (runs @ neighbours) & ~runs.any(0)
    full = projects.drop_duplicates("project").set_index("project")["full"].loc[world["project"].values]
    first = (full.dt.year - years[0]) * 12 + full.dt.month - 1
    since = np.arange(len(month)) - first.to_numpy()[:, None]
    effect = (runs.T * log_irr + beside.T * np.log(options["irr_neighbours"])) @ (since >= 0)
    inside = (INCIDENTS["window"][0] <= since) & (since < INCIDENTS["window"][1])
    return xr.Dataset(
        {
            "expected": (("kind", "area", "month"), np.exp(rate + season[:, None] + area + city_month + year)),
            "effect": (("area", "month"), effect),
            "recorded": (("area", "month"), np.where(runs.T @ (since >= 0), options["reporting"], 1.0)),
            "window": (("project", "area", "month"), runs[:, :, None] & inside[:, None]),
            "beside": (("project", "area", "month"), beside[:, :, None] & inside[:, None]),
        },
        coords={"kind": [kind["kind"] for kind in kinds], "month": month.astype(str).to_numpy(object)}
        | {"area": world["area"].values, "project": world["project"].values},
    )


def count_incidents(drawn, rng) -> pd.DataFrame:
    """Rows of incidents.csv: what was recorded in each area and month, by kind."""
    mean = drawn["expected"] * np.exp(drawn["effect"]) * drawn["recorded"]
    spread = INCIDENTS["overdispersion"]
    mean.values = rng.poisson(mean.values * rng.gamma(1 / spread, spread, mean.shape))
    return mean.rename("count").to_dataframe().reset_index().assign(source="simulated")


def incidents_truth(drawn, options) -> dict:
    """The truth of incidents: ratios and differences of expected counts in the window of projects' areas (`irr` of what
    happened, `irr_recorded` of what was recorded), of the areas beside them, and of both (`irr_net`)."""
    without, effect, recorded = (drawn[name].values for name in ("expected", "effect", "recorded"))
    happened = without * np.exp(effect)
    windows, window, beside = drawn["window"].values, drawn["window"].values.any(0), drawn["beside"].values.any(0)
    compare = lambda top, below, where: round(float(top[..., where].sum() / below[..., where].sum()), 6)
    ratio = partial(compare, happened, without)
    return {
        "irr": ratio(window),
        "irr_recorded": compare(happened * recorded, without, window),
        "irr_by_kind": {
            kind: compare(*both, window)
            for kind, *both in zip(drawn["kind"].values.tolist(), happened, without, strict=True)
        },
        "irr_by_project": {p: ratio(one) for p, one in zip(drawn["project"].values.tolist(), windows, strict=True)},
        "irr_neighbours": ratio(beside),
        "irr_net": ratio(window | beside),
        "incidents_averted": round(float((without - happened)[:, window].sum()), 3),
        "reporting": options["reporting"],
    }
