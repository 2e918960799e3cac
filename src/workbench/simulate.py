"""A city with a known true effect, drawn from the equation that `models.perceived` assumes.

    latent[area, wave] = level[treated or not] + area + trend * wave + shock[area, wave] + running * delta[project]
    answer             = category of latent + strata[sex, age band] + logistic noise, thresholds `CUTS`

All on the logit scale. `shock` is a stationary AR(1) over waves. An effect is constant from full start on, and solved
so that it moves the share of residents who feel unsafe by a drawn number of percentage points in the window.
"""

from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.special import expit

from workbench import provenance, schema
from workbench.cities import City, write_city
from workbench.errors import ParameterError
from workbench.items import ITEMS

ITEM = "unsafe_neighbourhood"
CUTS = np.array([-1.4, 0.0, 1.2, 2.4])  # zero where answers start to count as unsafe
STRATA = {
    (sex, age): by_sex + by_age
    for sex, by_sex in (("f", 0.15), ("m", -0.15))
    for age, by_age in (("16-34", 0.1), ("35-64", 0.0), ("65+", -0.1))
}
STRATUM_EFFECT = np.array(list(STRATA.values()))
COMPOSITION = np.array([0.14, 0.25, 0.12, 0.14, 0.25, 0.10])  # of residents, each area a little different
AREA_SD = 0.4  # standing differences; Flemish cities differ by 0.4 to 0.6 (Gemeente-Stadsmonitor shares)
LAST_YEAR = 2025
PROJECTS = (  # id, name, kind, focus
    ("street-hosts", "Street hosts", "presence", "public-space"),
    ("kitchens", "Neighbourhood kitchens", "meeting", ""),
    ("youth-square", "Youth in the square", "youth work", "juvenile-delinquency"),
    ("green-courts", "Green courtyards", "greening", "public-space"),
    ("dialogue", "Neighbours in dialogue", "dialogue", "radicalisation"),
    ("repair-cafe", "Repair café", "meeting", ""),
)
INDICATORS = (  # of the whole city, in indicators.toml; other dimensions are left empty, as in real cities
    ("quality-of-life", "satisfied-residents", 78, "% of residents"),
    ("social-cohesion", "trust-in-neighbours", 61, "% of residents"),
    ("public-space-liveability", "litter-reports", 34, "per 1,000 residents a year"),
    ("urban-security", "theft", 22, "per 1,000 residents a year"),
)
PLACES = ("Mill", "Station", "River", "Harbour", "Castle", "Garden", "Market", "Bridge", "Orchard", "Canal")
QUARTERS = ("Quarter", "Fields", "Heights", "Side", "Gate", "End")
PLACE_NAMES = [f"{place} {quarter}" for quarter in QUARTERS for place in PLACES]
NOTE = "Simulated: no real people, places or projects. The true effect is in truth.json."


def simulate_city(out, *, name=None, **options) -> Path:
    """Write a city folder with truth.json and return it; `options` are those of `draw_city`.

    truth.json: att_pp and by_project in percentage points (negative is safer), latent on the logit scale, and the
    parameters of the call. Raises ParameterError as `draw_city` does, and for a folder no program made.
    """
    out = Path(out)
    city, truth = draw_city(**options, city=out.name, name=name or out.name.capitalize())
    # Whole numbers are written without a point.
    there = {name: table for name in schema.TABLES if (table := getattr(city, name)) is not None}
    filled_in = ["weight", "assumed", "rounding"]  # by the reader of the folder
    tables = {name: table.drop(columns=filled_in, errors="ignore").convert_dtypes() for name, table in there.items()}
    manifest = {"name": city.name, "language": city.language, "simulated": True, "notes": list(city.notices)}
    folder = write_city(out, manifest=manifest, tables=tables)
    provenance.write_json(folder / "truth.json", truth)
    return folder


def draw_city(
    *, areas=24, treated=8, waves=5, respondents=6000, projects=4, effect_pp=-4.0, baseline_unsafe=0.2,
    baseline_gap_pp=6.0, trend=0.0, shock_sd=0.1, shock_rho=0.0, seed=1, shares=False, area_drift=0.0,
    city="simulated", name="Simulated city",
) -> tuple[City, dict]:  # fmt: skip
    """A City in memory, as `load_city` would give it, and its truth.

    `effect_pp` is the mean over projects in percentage points; 0 is no effect at all. Treated areas start
    `baseline_gap_pp` above the comparison areas' `baseline_unsafe`: expected shares in the first wave, shocks
    included, mean over areas. `trend` is everyone's change per wave and `shock_sd`, `shock_rho` the spread and
    correlation of area-wave shocks, logit scale; `area_drift` is the spread of areas' own steady drifts, per wave (the
    method assumes none). The world depends on the seed but not on `respondents` or `shares`.
    Raises ParameterError, all faults at once.
    """
    options = {key: x for key, x in locals().items() if key not in ("city", "name") and (x or key != "area_drift")}
    _check(options)
    seeds = np.random.SeedSequence(seed).spawn(4)  # a stream for each part: more draws in one move no other
    world = draw_world(options, seeds[0])
    rows = _draw_respondents(world, respondents, np.random.default_rng(seeds[1]))
    projects = _projects_table(world, np.random.default_rng(seeds[2]))
    indicators = pd.DataFrame(INDICATORS, columns=["dimension", "indicator", "value", "unit"])
    indicators = indicators.assign(area="", date=pd.Timestamp(LAST_YEAR, 12, 31), source="simulated")
    made = City(
        city=city, name=name if "simulated" in name.lower() else f"{name} (simulated)", language="en", simulated=True,
        notices=(NOTE,), data_hash=provenance.hash_parameters(options), items=(ITEM,), weighted=False,
        respondents=None if shares else rows, shares=_published(rows) if shares else None,
        areas=_areas_table(world), population=None if shares else _population_table(world),
        waves=_waves_table(world), projects=projects,
        collective_impact=_scores_table(projects, np.random.default_rng(seeds[3])),
        indicators=schema.with_all_columns(indicators, "indicators"),
    )  # fmt: skip
    return made, _truth(world) | {"parameters": options}


def draw_world(options, seed) -> xr.Dataset:
    """What is true before anyone is asked, from the options of `draw_city`.

    `latent` without projects, `shock`, `effect` (area, wave); `delta` (project); `running`, `window` (project, area,
    wave); `population` (area); `composition` (area, stratum).
    """
    rng = np.random.default_rng(seed)
    areas, waves, projects = options["areas"], options["waves"], options["projects"]
    groups = np.array_split(rng.permutation(areas)[: options["treated"]], projects)
    population = 100 * np.round(np.exp(rng.normal(np.log(60), 0.4, areas))).clip(5)
    composition = rng.dirichlet(80 * COMPOSITION, areas)
    shock = draw_shocks(rng, (areas, waves), sd=options["shock_sd"], rho=options["shock_rho"])
    latent = rng.normal(0, AREA_SD, areas)[:, None] + options["trend"] * np.arange(waves) + shock
    if options.get("area_drift"):
        slope = np.random.default_rng(seed.spawn(1)[0]).normal(0, options["area_drift"], (areas, 1))
        latent += slope * np.arange(waves)
    is_treated = np.isin(np.arange(areas), np.concatenate(groups))
    miss = lambda x, level, parts, share: expected_share(level + x, parts).mean() - share
    for group, gap in ((is_treated, options["baseline_gap_pp"] / 100), (~is_treated, 0.0)):
        asked = (latent[group, :1], composition[group], options["baseline_unsafe"] + gap)
        latent[group] += brentq(miss, -60, 60, args=asked, xtol=1e-12)
    running = np.zeros((projects, areas, waves), bool)
    for project, first in enumerate(_first_waves(waves, projects)):
        running[project, groups[project], first:] = True
    window = running & (running.cumsum(-1) <= 2)  # yearly waves 7 to 10 and 19 to 22 months after full start
    spread = rng.permutation(np.linspace(-0.5, 0.5, projects)) if projects > 1 else np.zeros(1)  # half the mean
    world = xr.Dataset(
        {
            "latent": (("area", "wave"), latent), "shock": (("area", "wave"), shock),
            "population": ("area", population), "composition": (("area", "stratum"), composition),
            "running": (("project", "area", "wave"), running), "window": (("project", "area", "wave"), window),
        },
        coords={
            "area": [f"a{k + 1:0{len(str(areas))}d}" for k in range(areas)],
            "name": ("area", [*PLACE_NAMES, *(f"Area {k + 1}" for k in range(len(PLACE_NAMES), areas))][:areas]),
            "wave": [str(LAST_YEAR - waves + 1 + k) for k in range(waves)],
            "project": [_project(k)[0] for k in range(projects)],
        },
    )  # fmt: skip
    world["delta"] = ("project", _solve(world, options["effect_pp"] * (1 + spread)))
    world["effect"] = (world["running"] * world["delta"]).sum("project")
    return world


def draw_shocks(rng, shape, *, sd, rho) -> np.ndarray:
    """Stationary AR(1) along the last dim: every wave has spread `sd`, neighbouring waves correlation `rho`."""
    shock = sd * rng.standard_normal(shape)
    for t in range(1, shape[-1]):
        shock[..., t] = rho * shock[..., t - 1] + np.sqrt(1 - rho**2) * shock[..., t]
    return shock


def expected_share(latent, composition) -> np.ndarray:
    """Expected share (0-1) of residents who feel unsafe, (area, wave), from the latent index and the area's strata."""
    return (expit(latent[..., None] + STRATUM_EFFECT) * composition[:, None, :]).sum(-1)


def true_att(latent, effect, *, window, population, composition) -> float:
    """The estimand's truth in percentage points: what `effect` changes for residents of areas with a window wave.

    `latent` (without projects, shocks kept), `effect` and `window` have dims (area, wave), `composition` (area,
    stratum) sums to 1. An area's window waves count equally, areas by residents: as `estimands.att`.
    """
    change = expected_share(latent + effect, composition) - expected_share(latent, composition)
    inside = window.any(1)
    by_area = np.where(window, change, 0.0)[inside].sum(1) / window[inside].sum(1)
    return float(100 * np.average(by_area, weights=population[inside]))


def _first_waves(waves, projects) -> list[int]:
    """Position of each project's first running wave: staggered, two before it and two in the window if possible."""
    earliest = 1 if waves == 3 and projects > 1 else 2
    latest = waves - 2 if waves >= 5 else waves - 1
    return np.linspace(earliest, latest, projects).round().astype(int).tolist()


def _att(times, world, effect, window, target=0.0) -> float:
    """The estimand in pp when `effect` (area, wave) is multiplied by `times`, less `target`."""
    fixed = {key: world[key].values for key in ("population", "composition")}
    return true_att(world["latent"].values, times * effect, window=window, **fixed) - target


def _solve(world, targets) -> list[float]:
    """Latent effect of each project that gives its target in pp; ParameterError where no effect can."""
    found, faults = [], []
    for project, target in zip(world["project"].values, targets, strict=True):
        running, window = (world[key].sel(project=project).values for key in ("running", "window"))
        least, most = (_att(bound, world, running, window) for bound in (-60.0, 60.0))
        if target == 0 or least < target < most:
            found.append(brentq(_att, -60, 60, args=(world, running, window, target), xtol=1e-12) if target else 0.0)
        else:
            allowed = f"between {least:.3g} and {most:.3g}, as {-least:.3g} % would feel unsafe without it"
            faults.append(f"effect_pp: {target:.3g} pp is impossible for {project}; allowed: {allowed}")
    if faults:
        raise ParameterError("\n".join(faults))
    return found


def _truth(world) -> dict:
    """The content of truth.json; no area has two projects, so an area's effect is that of its project."""
    effect, projects = world["effect"].values, world["project"].values.tolist()
    att = lambda window: round(_att(1.0, world, effect, window.values), 6)
    return {
        "att_pp": att(world["window"].any("project")),
        "by_project": dict(zip(projects, map(att, world["window"]), strict=True)),
        "latent": dict(zip(projects, world["delta"].values.round(6).tolist(), strict=True)),
    }


def _draw_respondents(world, respondents, rng) -> pd.DataFrame:
    """Rows of survey.csv, wave by wave; each area-wave has the same number, give or take one."""
    areas, waves = world.sizes["area"], world.sizes["wave"]
    per_cell = np.full(areas * waves, respondents // (areas * waves))
    per_cell[rng.choice(areas * waves, respondents % (areas * waves), replace=False)] += 1
    wave, area = np.divmod(np.repeat(np.arange(areas * waves), per_cell), areas)
    edges = world["composition"].values.cumsum(1)[:, :-1]
    stratum = (rng.random(respondents)[:, None] > edges[area]).sum(1)
    index = (world["latent"] + world["effect"]).transpose("area", "wave").values[area, wave]
    answer = np.searchsorted(CUTS, index + STRATUM_EFFECT[stratum] + rng.logistic(size=respondents))
    sex, age = (np.array(labels, object) for labels in zip(*STRATA, strict=True))
    return pd.DataFrame({
        "respondent": [f"r{k + 1:06d}" for k in range(respondents)],
        "area": world["area"].values.astype(object)[area],
        "wave": world["wave"].values.astype(object)[wave],
        "weight": 1.0, "sex": sex[stratum], "age_band": age[stratum],
        ITEM: np.array(ITEMS[ITEM].categories, object)[answer],
    })  # fmt: skip


def _published(rows) -> pd.DataFrame:
    """The same answers as a city that publishes percentages with one decimal would show them."""
    levels = list(ITEMS[ITEM].categories)
    counts = pd.crosstab([rows["wave"], rows["area"]], rows[ITEM]).reindex(columns=levels, fill_value=0)
    n = counts.sum(axis=1)
    table = (100 * counts).div(n, axis=0).round(1).stack().rename("share").reset_index()
    table["n"] = n.repeat(len(levels)).to_numpy(float)
    whole = (table["share"] == table["share"].round()).groupby(table["wave"]).transform("all")
    table = table.assign(item=ITEM, assumed=False, rounding=whole.astype(float))
    table = table.rename(columns={ITEM: "category"})
    return table[["area", "wave", "item", "category", "share", "n", "assumed", "rounding"]]


def _areas_table(world) -> pd.DataFrame:
    """Areas lie row by row on a square grid, and those that share a side are neighbours."""
    table = world["population"].to_dataframe().reset_index()[["area", "name", "population"]]
    row, column = np.divmod(np.arange(len(table)), int(np.ceil(np.sqrt(len(table)))))
    beside = np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1
    return table.assign(neighbours=[";".join(table["area"][near]) for near in beside])


def _population_table(world) -> pd.DataFrame:
    """Residents by area, sex and age band: the composition from which respondents are drawn, in whole people."""
    size = (world["population"] * world["composition"]).transpose("area", "stratum").values.round()
    cells = [(area, *stratum) for area in world["area"].values for stratum in STRATA]
    return pd.DataFrame(cells, columns=["area", "sex", "age_band"]).assign(population=size.ravel())


def _waves_table(world) -> pd.DataFrame:
    wave = pd.Series(world["wave"].values.astype(object))
    table = pd.DataFrame({"wave": wave, "start": wave + "-03-01", "end": wave + "-04-30", "questionnaire_version": "1"})
    return schema.with_all_columns(table.assign(mode="web and paper", note="", break_areas=""), "waves")


def _projects_table(world, rng) -> pd.DataFrame:
    """Start in June to August between two waves, announced weeks before, full at once or a month later."""
    rows = []
    for k, running in enumerate(world["running"]):
        first = int(world["wave"].values[running.any("area").values.argmax()])
        start = pd.Timestamp(first - 1, 6 + int(rng.integers(3)), 1)
        row = dict(zip(("project", "name", "kind", "focus"), _project(k), strict=True)) | {"start": start}
        row |= {"announced": start - pd.Timedelta(days=int(rng.integers(14, 29)))}
        row |= {"full": start + pd.DateOffset(months=int(rng.integers(2))), "trigger": "council programme"}
        for area in world["area"].values[running.any("wave").values]:
            reached = round(float(world["population"].sel(area=area)) * rng.uniform(0.03, 0.1))
            rows.append(row | {"area": area, "reached": float(reached), "cost_eur": 1000.0 * rng.integers(20, 90)})
    return schema.with_all_columns(pd.DataFrame(rows).assign(primary_item=ITEM, assignment=""), "projects")


def _scores_table(projects, rng) -> pd.DataFrame:
    """Two raters score each project on the day it starts, before any outcome; a tenth is "don't know"."""
    table = projects.drop_duplicates("project")[["project", "start"]].rename(columns={"start": "date"})
    table = table.merge(pd.DataFrame({"condition": schema.CONDITIONS}), how="cross")
    table["level"] = rng.normal(2, 1, len(table))
    table = table.merge(pd.DataFrame({"rater": ["first", "second"]}), how="cross")
    score = (table["level"] + rng.normal(0, 0.6, len(table))).round().clip(0, 4)
    table["score"] = score.where(rng.random(len(table)) > 0.1)
    return schema.with_all_columns(table.assign(evidence=""), "collective_impact")


def _project(k) -> tuple[str, str, str, str]:
    """Id, name, kind and focus of the k-th project; after the first six the names come again with a number."""
    again, place = divmod(k, len(PROJECTS))
    project, name, *rest = PROJECTS[place]
    return (f"{project}-{again + 1}", f"{name} {again + 1}", *rest) if again else PROJECTS[place]


def _check(options) -> None:
    """Refuse impossible options, all in one ParameterError."""
    odd = {name: value for name, value in options.items() if not isinstance(value, Real) or not np.isfinite(value)}
    if faults := [f"{name} is {value!r}; allowed: a number" for name, value in odd.items()]:
        raise ParameterError("\n".join(faults))
    start = 100 * options["baseline_unsafe"]  # treated areas may begin at 0.5 to 95 %
    limits = {  # whole numbers where the bounds are
        "areas": (2, 2000), "treated": (1, options["areas"] - 1), "projects": (1, options["treated"]), "waves": (3, 40),
        "respondents": (options["areas"] * options["waves"], 5_000_000), "seed": (0, 2**63), "trend": (-1.0, 1.0),
        "shock_sd": (0.0, 2.0), "shock_rho": (0.0, 0.99), "baseline_unsafe": (0.005, 0.95),
        "baseline_gap_pp": (0.5 - start, 95.0 - start),
    }  # fmt: skip
    for key, (least, most) in limits.items():
        whole = isinstance(most, Integral)
        if not least <= options[key] <= most or (whole and not isinstance(options[key], Integral)):
            kind = "a whole number" if whole else "a number"
            faults.append(f"{key} is {options[key]!r}; allowed: {kind} from {round(least, 3)} to {round(most, 3)}")
    if faults:
        raise ParameterError("\n".join(faults))
