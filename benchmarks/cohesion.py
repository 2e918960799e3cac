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
    true = {
        "corr_project": correlation(),
        "corr_area": correlation(),
        "corr_shock": correlation(),
        "rho": rng.beta(2, 2),
    }
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
    if (
        confounding is not None
    ):  # sd large enough to be seen, a usual share unsafe, and both effects about their prior's size
        true |= {
            "sd_shock": rng.uniform(0.15, 0.3),
            "sd_shock_cohesion": rng.uniform(0.15, 0.3),
            "pull": rng.normal(-0.3, 0.15),
        }
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
    standing, shocks = rng.standard_normal((2, areas)), rng.standard_normal((2, areas, waves))
    for pair, r in ((standing, true["corr_area"]), (shocks, true["corr_shock"])):
        pair[1] = r * pair[0] + np.sqrt(1 - r**2) * pair[1]
    design, made = panel["design"].transpose("area", "wave", "effect").values, []
    for tail, area, shock in zip(("", "_cohesion"), standing, shocks, strict=True):
        walk = shock.copy()
        for t in range(1, waves):
            walk[:, t] = true["rho"] * walk[:, t - 1] + np.sqrt(1 - true["rho"] ** 2) * shock[:, t]
        level = true[f"level{tail}"][cohort] + true[f"sd_area{tail}"] * area
        made.append(
            level[:, None] + true[f"wave{tail}"] + true[f"sd_shock{tail}"] * walk + design @ true[f"delta{tail}"]
        )
    return made


def answered(city, panel, insecurity, cohesion, cut, rng, easier=None):
    """The City with an answer of every respondent to every item, from the equations of both measurement models. `easier`
    plants item functioning: item -> logits (area, wave) by which its answers are more cohesive than cohesion says."""
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
        higher = (a * theta + (easier or {}).get(item, 0 * cohesion)[area, wave] + rng.logistic(size=len(rows)))[
            :, None
        ] > b
        made[item], slopes[item] = np.array(levels[::-1], object)[higher.sum(1)], a
    return replace(city, respondents=rows.assign(**made)), slopes


def city_of(seed, *, confounding=None, easier=None, **options):
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
    city, slopes = answered(bare, first, insecurity, social, true["cut"], rng, easier)
    panel = build_panel(city, item="unsafe_neighbourhood")
    draws = {"latent": (("area", "wave"), insecurity), "cohesion": (("area", "wave"), social)}
    draws |= {name: (("effect",), true[name]) for name in ("delta", "delta_cohesion")}
    draws = {name: (("chain", "draw", *dims), value[None, None]) for name, (dims, value) in draws.items()}
    draws = xr.Dataset(draws, {name: first[name].values for name in ("area", "wave", "effect")})
    found = cohesion.changes(first, draws).isel(chain=0, draw=0)
    true |= {"changes": found.to_dataframe()[["cohesion", "insecurity"]], "draws": draws, "discrimination": slopes}
    return city, panel, true


def fitted(city, panel, *, draws=400, seed=1):
    """Draws of M2 by `cohesion`'s own model, compiled once for all panels of one shape; not repeated."""
    import numpy as np

    from workbench.inference import sampler
    from workbench.measurement import cohesion_index
    from workbench.models.joint import build_model, index_data
    from workbench.models.perceived import model_data

    index, shape = cohesion_index(city, panel), tuple(panel.sizes.values())
    if shape not in KEPT:
        model = build_model(panel, index, keep_empty=True)
        KEPT[shape] = sampler(model, draws=draws, tune=200, chains=2, target_accept=0.8, many=True, cores=1)
    data = {k: np.asarray(v) for k, v in (model_data(panel, keep_empty=True) | index_data(index)).items()}
    return index, KEPT[shape](seed, **data)


def calibrate(seed):
    """One city from the prior: truth and intervals of both effects, by project and of all, and of the four corners."""
    from workbench import cohesion, estimands
    from workbench.inference import diagnostics

    city, panel, truth = city_of(seed)
    index, idata = fitted(city, panel, seed=seed)
    found = cohesion.changes(panel, idata["posterior"].to_dataset())
    corners, rows = cohesion.quadrants(found).set_index("project"), []
    for project, true in truth["changes"].iterrows():
        row = {"seed": seed, "project": project, "se": float(index["se"].mean())}
        for name in ("cohesion", "insecurity"):
            summary = estimands.summarise(found[name].sel(project=project))
            row |= {f"{name}_{key}": summary[key] for key in ("mean", "sd", "lower50", "upper50", "lower90", "upper90")}
            row[f"{name}_truth"] = float(true[name])
        for corner, (more, safer) in cohesion.QUADRANTS.items():
            row[corner] = float(corners.loc[project, corner])
            row[f"is {corner}"] = int((true["cohesion"] > 0) == more and (true["insecurity"] < 0) == safer)
        rows.append(row | diagnostics(idata))
    return rows


def mechanism(seed):
    """One city with a planted pull, odd seeds without confounding and even ones with 0.3: the natural indirect effect
    at no confounding and at the planted one, by the split sample, and its truth."""
    import numpy as np

    from workbench import cohesion, estimands
    from workbench.inference import diagnostics
    from workbench.panel import build_panel

    confounding = 0.0 if seed % 2 else 0.3
    city, panel, truth = city_of(seed, confounding=confounding, respondents=8000)
    half = cohesion.split(city, panel, seed=seed)
    again = build_panel(half, item="unsafe_neighbourhood")
    _index, idata = fitted(half, again, seed=seed)
    draws = idata["posterior"].to_dataset()
    right = float(cohesion.through(panel, truth["draws"], truth["pull"]).item())
    row = {"seed": seed, "confounding": confounding, "pull": truth["pull"], "r": truth["corr_shock"], "truth": right}
    for name, rho in (("at_0", 0.0), ("at_planted", confounding)):
        summary = estimands.summarise(cohesion.through(again, draws, cohesion.slope(draws, rho)))
        row |= {f"{name}_{key}": summary[key] for key in ("mean", "sd", "lower90", "upper90")}
    row |= {f"r_{key}": float(np.quantile(draws["corr_shock"], q)) for key, q in (("lower90", 0.05), ("upper90", 0.95))}
    return [row | diagnostics(idata)]


def repeat(name, one, cities):
    """Rows of all cities, those of an earlier run kept."""
    import pandas as pd

    file = RESULTS / f"cohesion-{name}.csv"
    rows = pd.read_csv(file, keep_default_na=False).to_dict("records") if file.is_file() else []
    for seed in sorted(set(range(1, cities + 1)) - {row["seed"] for row in rows}):
        rows += one(seed)
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g")
        print(f"\r{name}: city {seed} of {cities}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return pd.read_csv(file, keep_default_na=False)


def report_calibrate(table):
    """Coverage of both effects, and the four corners' chances against how often they were so, by tenth."""
    import numpy as np

    from workbench.cohesion import QUADRANTS

    for project, rows in (
        ("all projects", table[table["project"] == ""]),
        ("each project", table[table["project"] != ""]),
    ):
        for name in ("cohesion", "insecurity"):
            inside = [
                rows[f"{name}_truth"].between(rows[f"{name}_lower{q}"], rows[f"{name}_upper{q}"]).mean()
                for q in (50, 90)
            ]
            error = rows[f"{name}_mean"] - rows[f"{name}_truth"]
            told = f"50 % {inside[0]:.1%}, 90 % {inside[1]:.1%}; mean error {error.mean():+.3f} ({error.sem():.3f})"
            print(
                f"{name}, {project} ({len(rows)}): {told}, its sd {error.std():.3f}, posterior sd {rows[f'{name}_sd'].mean():.3f}"
            )
    rows = table[table["project"] != ""]
    chance = np.concatenate([rows[corner] for corner in QUADRANTS])
    true = np.concatenate([rows[f"is {corner}"] for corner in QUADRANTS])
    tenth = np.minimum((10 * chance).astype(int), 9)
    for k in range(10):
        p, n = chance[tenth == k], (tenth == k).sum()
        if n:
            error = np.sqrt(max((p * (1 - p)).sum(), 1e-9)) / n
            print(f"chance {k / 10:.1f}-{(k + 1) / 10:.1f}: {n:4d}, said {p.mean():.3f}, was {true[tenth == k].mean():.3f}, "
                  f"off by {(true[tenth == k].mean() - p.mean()) / error:+.1f} binomial standard errors")  # fmt: skip


def report_mechanism(table):
    """Coverage of the natural indirect effect where nothing confounds, and at and beside the planted confounding."""
    for confounding, rows in table.groupby("confounding"):
        for name in ("at_0", "at_planted"):
            inside = rows["truth"].between(rows[f"{name}_lower90"], rows[f"{name}_upper90"]).mean()
            error = (rows[f"{name}_mean"] - rows["truth"]).mean()
            print(f"confounding {confounding}, {len(rows)} cities, curve {name}: 90 % holds the truth in {inside:.1%}, "
                  f"mean error {error:+.2f} pp, posterior sd {rows[f'{name}_sd'].mean():.2f}")  # fmt: skip


def flanders():
    """Social fabric against feeling unsafe over the 299 municipalities of 2023: published shares (in percent), with the
    uncertainty of which municipalities there are; and logits with their sampling and rounding errors taken out."""
    data = Path(__file__).resolve().parents[2] / "shared" / "data" / "stadsmonitor" / "survey_2023_samenleven_long.csv"
    if not data.is_file():
        sys.exit("The published Stadsmonitor files are not here (../shared/data): nothing was run.")
    import numpy as np
    import pandas as pd
    import pymc as pm
    import pytensor.tensor as pt

    from workbench.inference import diagnostics, sampler
    from workbench.sources.stadsmonitor import ABOUT

    table = pd.read_csv(data)
    table = table.assign(name=table["source_sheet"] + " " + table["indicator_nl"])
    wide = table.pivot_table(index="gemeente", columns="name", values="pct")
    fabric = [name for name in wide if name.startswith(("SA_S_15", "SA_S_28"))]
    unsafe, lot = [name for name in wide if name.startswith(("SA_S_32", "SA_S_33"))], np.random.default_rng(1)
    for one, other in ((a, b) for a in fabric for b in unsafe):
        pair = wide[[one, other]].dropna()
        again = [
            pair.sample(len(pair), replace=True, random_state=lot.integers(2**31)).corr().iloc[0, 1]
            for _ in range(1000)
        ]
        low, high = np.quantile(again, [0.05, 0.95])
        print(
            f"{one} x {other}: {len(pair)} municipalities, shares {pair.corr().iloc[0, 1]:+.3f} (90 % {low:+.3f} to {high:+.3f})",
            end="",
        )
        share = pair.to_numpy() / 100
        y, n = np.log(share / (1 - share)), ABOUT["assumed_n"]
        # A published whole percent: sampling of the assumed answers and rounding, on the logit.
        se = np.sqrt(1 / (n * share * (1 - share)) + (0.01**2 / 12) / (share * (1 - share)) ** 2)
        with pm.Model() as model:
            middle = pm.Normal("middle", 0, 2, shape=2)
            sd, r = pm.HalfNormal("sd", 1, shape=2), pm.Deterministic("r", 2 * pm.Beta("r_raw", 2, 2) - 1)
            v = [pt.sqr(sd[k]) + se[:, k] ** 2 for k in range(2)]
            both, off = r * sd[0] * sd[1], [y[:, k] - middle[k] for k in range(2)]
            det = v[0] * v[1] - both**2
            square = (v[1] * off[0] ** 2 - 2 * both * off[0] * off[1] + v[0] * off[1] ** 2) / det
            pm.Potential("municipalities", -0.5 * pt.sum(pt.log(det) + square))
        idata = sampler(model, draws=500, tune=300, chains=2)(1)
        found, worst = idata["posterior"]["r"].values, diagnostics(idata)["rhat_max"]
        low, high = np.quantile(found, [0.05, 0.95])
        print(
            f"; errors out, n = {n:g}: {found.mean():+.3f} ({low:+.3f} to {high:+.3f}), R-hat {worst:.3f}", flush=True
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["calibrate", "mechanism", "flanders", "time"])
    parser.add_argument("--cities", type=int, default=60)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    tasks = {"calibrate": (calibrate, report_calibrate), "mechanism": (mechanism, report_mechanism)}
    if chosen.what in tasks:
        one, report = tasks[chosen.what]
        report(repeat(chosen.what, one, chosen.cities))
    else:
        {"flanders": flanders, "time": measure}[chosen.what]()


def measure():
    """Seconds of one `cohesion.evaluate` at its usual length."""
    import time

    from workbench import cohesion
    from workbench.panel import build_panel
    from workbench.simulate import draw_city

    city, truth = draw_city(areas=24, treated=8, waves=5, projects=4, respondents=2000, seed=1)
    panel, began, spent = build_panel(city), time.perf_counter(), time.process_time()
    idata, summary, _rows = cohesion.evaluate(city, panel, seed=1, lang="en")
    told = f"{time.perf_counter() - began:.1f} s, {time.process_time() - spent:.1f} s of processor"
    print(f"cohesion.evaluate: {told}; repeated {idata.attrs.get('reruns', 0)} times; {summary['diagnostics']}")
    print(f"effect {summary['att_sd']['mean']:.3f} (true {truth['cohesion']['att_sd']:.3f})")


if __name__ == "__main__":
    main()
