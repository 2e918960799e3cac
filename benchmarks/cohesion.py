"""Cohesion and insecurity together (M2): do intervals, quadrants and the look at the mechanism say what is so?

    .venv/bin/python benchmarks/cohesion.py calibrate [--cities 60]
    .venv/bin/python benchmarks/cohesion.py mechanism [--cities 60]
    .venv/bin/python benchmarks/cohesion.py flanders
    .venv/bin/python benchmarks/cohesion.py time

`calibrate`: cities of 20 areas, 8 treated by 4 projects, 5 waves and 2,500 respondents, every parameter and effect drawn
from the prior of M2 and every answer of every respondent from its own equation, written here in numpy without the model's
code; four items with discriminations drawn from 1.2 to 2.2, and a person's noise in cohesion correlated -0.25 with that of
his answer on insecurity. `mechanism`: cities whose shocks hold a planted pull of cohesion on insecurity, half of them
without and half with confounding (0.3). `flanders`: the 299 municipalities of 2023 (../shared/data; else it says so and
stops). `time`: one `cohesion.evaluate` at 2,000 respondents in 24 areas and 5 waves. Fits of 2 chains of 400 draws,
compiled once. Results: benchmarks/results/cohesion-NAME.csv, a row per city; a stopped run goes on where it was.
"""

import argparse
import os
import sys
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
STANDARD = {"areas": 20, "treated": 8, "waves": 5, "projects": 4, "respondents": 2500}
ITEMS = ("dutch_known", "dutch_pleasant", "dutch_close", "dutch_home")
NOISE = -0.25  # correlation within a person
KEPT = {}


def skeleton(**options):
    """A simulated City without answers of its own: areas, waves, projects, and who was asked where and when."""
    from dataclasses import replace

    from workbench.simulate import draw_city

    city, _truth = draw_city(**STANDARD | {"seed": 0} | options)
    rows = city.respondents.drop(columns=["sex", "age_band"])
    items = ("unsafe_neighbourhood", *ITEMS)
    extra = [name for name in rows if name in city.items and name not in items]
    return replace(city, respondents=rows.drop(columns=extra), items=items, population=None)


def parameters(panel, rng, *, confounding=None):
    """True parameters and effects from the prior of M2. With `confounding` shocks are as the mechanism's equation has
    them: a pull on insecurity of N(-0.3, 0.15) logit per sd of cohesion, and so much correlation that it does not explain."""
    import numpy as np

    half = lambda sd: abs(sd * rng.standard_normal())
    centred = lambda sd, n: sd * (rng.standard_normal(n) @ (np.eye(n) - 1 / n))
    correlation = lambda: 2 * rng.beta(2, 2) - 1
    size, start = panel.sizes, np.unique(panel["cohort"].values)
    true = {"corr_project": correlation(), "corr_area": correlation(), "corr_shock": correlation(), "rho": rng.beta(2, 2)}
    project = rng.standard_normal(size["project"]), rng.standard_normal(size["project"])
    mixed = true["corr_project"] * project[0] + np.sqrt(1 - true["corr_project"] ** 2) * project[1]
    priors = {"": (0.17, 0.7, 0.17, 1.5, 1.0), "_cohesion": (0.15, 0.5, 0.15, 1.0, 0.5)}
    for (tail, (a, area, shock, level, wave)), deviation in zip(priors.items(), (project[0], mixed), strict=True):
        true |= {f"mu{tail}": a * rng.standard_normal(), f"tau{tail}": half(a), f"sd_event{tail}": half(a / 2)}
        true |= {f"sd_area{tail}": half(area), f"sd_shock{tail}": half(shock)}
        true |= {f"level{tail}": level * rng.standard_normal(len(start)), f"wave{tail}": centred(wave, size["wave"])}
        own = true[f"sd_event{tail}"] * rng.standard_normal(size["effect"])
        pooled = true[f"mu{tail}"] + true[f"tau{tail}"] * deviation[panel["effect_project"].values] + own
        alone = a * rng.standard_normal(size["effect"])
        true[f"delta{tail}"] = np.where(panel["effect_pooled"].values, pooled, alone)
    gap = np.exp(rng.standard_normal(size["category"] - 2))
    cut = np.concatenate([[0.0], gap.cumsum()])
    true["cut"] = cut - cut[panel.attrs["unsafe_index"] - 1]
    if confounding is not None:  # sd large enough to be seen, a usual share unsafe, and both effects about their prior's size
        true |= {"sd_shock": rng.uniform(0.15, 0.3), "sd_shock_cohesion": rng.uniform(0.15, 0.3), "pull": rng.normal(-0.3, 0.15)}
        true |= {"level": np.full(len(start), -1.2) + 0.2 * rng.standard_normal(len(start)), "wave": 0.1 * true["wave"]}
        ratio = true["pull"] * true["sd_shock_cohesion"] / true["sd_shock"]
        from scipy.optimize import brentq

        excess = lambda r: r - ratio - confounding * np.sqrt((1 - r**2) / (1 - confounding**2))
        true["corr_shock"] = brentq(excess, -0.999, 0.999) if excess(-0.999) < 0 < excess(0.999) else np.nan
    return true


def worlds(panel, true, rng):
    """Insecurity (logit) and cohesion (sd) by area and wave: level, area, wave, AR(1) shock and running effects."""
    import numpy as np

    areas, waves = panel.sizes["area"], panel.sizes["wave"]
    cohort = np.unique(panel["cohort"].values, return_inverse=True)[1]
    pair = lambda r, shape: (lambda x, y: (x, r * x + np.sqrt(1 - r**2) * y))(*rng.standard_normal((2, *shape)))
    standing, shocks = pair(true["corr_area"], (areas,)), pair(true["corr_shock"], (areas, waves))
    design, made = panel["design"].transpose("area", "wave", "effect").values, []
    for tail, area, shock in zip(("", "_cohesion"), standing, shocks, strict=True):
        walk = shock.copy()
        for t in range(1, waves):
            walk[:, t] = true["rho"] * walk[:, t - 1] + np.sqrt(1 - true["rho"] ** 2) * shock[:, t]
        level = true[f"level{tail}"][cohort] + true[f"sd_area{tail}"] * area
        made.append(level[:, None] + true[f"wave{tail}"] + true[f"sd_shock{tail}"] * walk + design @ true[f"delta{tail}"])
    return made


def answered(city, panel, insecurity, cohesion, cut, rng):
    """The City with an answer of every respondent to every item, from the equations of both measurement models."""
    from dataclasses import replace

    import numpy as np
    import pandas as pd
    from scipy.special import logit
    from scipy.stats import norm

    from workbench.items import ITEMS as KNOWN

    rows = city.respondents[city.respondents["area"].isin(panel["area"].values)].reset_index(drop=True)
    area, wave = (pd.Index(panel[name].values).get_indexer(rows[name]) for name in ("area", "wave"))
    noise, other = rng.standard_normal((2, len(rows)))
    own = logit(norm.cdf(NOISE * noise + np.sqrt(1 - NOISE**2) * other))
    unsafe = (insecurity[area, wave] + own)[:, None] > cut
    known = list(KNOWN["unsafe_neighbourhood"].categories)
    made = {"unsafe_neighbourhood": np.array(known, object)[unsafe.sum(1)]}
    theta, slopes = cohesion[area, wave] + noise, {}
    for item in ITEMS:
        a, middle, levels = rng.uniform(1.2, 2.2), rng.uniform(-0.5, 0.5), KNOWN[item].categories
        b = a * (middle + np.linspace(-1.8, 1.8, len(levels) - 1))
        higher = (a * theta + rng.logistic(size=len(rows)))[:, None] > b
        made[item], slopes[item] = np.array(levels[::-1], object)[higher.sum(1)], a
    return replace(city, respondents=rows.assign(**made)), slopes


def city_of(seed, *, confounding=None, **options):
    """City, panel and truth of one task: effects on both outcomes by project and of all, parameters, discriminations."""
    import numpy as np
    import xarray as xr

    from workbench import cohesion
    from workbench.panel import build_panel

    rng, bare = np.random.default_rng(seed), skeleton(**options)
    first = build_panel(bare, item="unsafe_neighbourhood")
    while True:
        true = parameters(first, rng, confounding=confounding)
        if np.isfinite(true["corr_shock"]):
            break
    insecurity, social = worlds(first, true, rng)
    city, slopes = answered(bare, first, insecurity, social, true["cut"], rng)
    panel = build_panel(city, item="unsafe_neighbourhood")
    draws = {"latent": (("area", "wave"), insecurity), "cohesion": (("area", "wave"), social)}
    draws |= {name: (("effect",), true[name]) for name in ("delta", "delta_cohesion")}
    draws = {name: (("chain", "draw", *dims), value[None, None]) for name, (dims, value) in draws.items()}
    draws = xr.Dataset(draws, {name: first[name].values for name in ("area", "wave", "effect")})
    found = cohesion.changes(first, draws).isel(chain=0, draw=0)
    true |= {"changes": found.to_dataframe()[["cohesion", "insecurity"]], "draws": draws, "discrimination": slopes}
    return city, panel, true
