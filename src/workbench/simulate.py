"""A city with a known true effect, drawn from the equation that `models.perceived` assumes.

    latent[area, wave] = level[treated or not] + area + trend * wave + shock[area, wave] + running * delta[project]
    answer             = category of latent + strata[sex, age band] + logistic noise, thresholds `CUTS`

All on the logit scale. `shock` is a stationary AR(1) over waves. An effect is constant from full start on, and solved
so that it moves the share of residents who feel unsafe by a drawn number of percentage points in the window."""

from functools import partial
from itertools import product
from numbers import Integral, Real
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import brentq
from scipy.special import expit

from workbench import provenance, schema
from workbench import simulate_outcomes as outcomes
from workbench.cities import City, canonical, write_city
from workbench.errors import ParameterError
from workbench.items import ITEMS

OPTIONS, NAMES = outcomes.CONTENT["options"], outcomes.CONTENT["names"]
ITEM = "unsafe_neighbourhood"
CUTS = np.array([-1.4, 0.0, 1.2, 2.4])  # zero where answers start to count as unsafe
BY_SEX, BY_AGE = {"f": 0.15, "m": -0.15}, {"16-34": 0.1, "35-64": 0.0, "65+": -0.1}
STRATA = list(product(BY_SEX, BY_AGE))
STRATUM_EFFECT = np.array([BY_SEX[sex] + BY_AGE[age] for sex, age in STRATA])
COMPOSITION = np.array([0.14, 0.25, 0.12, 0.14, 0.25, 0.10])  # of residents, each area a little different
AREA_SD = 0.4  # standing differences; Flemish cities differ by 0.4 to 0.6 (Gemeente-Stadsmonitor shares)
LAST_YEAR = 2025
BY_PROJECT = ("latent_effects", "cohesion_effects", "log_irr")  # a list with an effect for each, instead of their mean
NOTE = "Simulated: no real people, places or projects. The true effect is in truth.json."


def simulate_city(out, **options) -> Path:
    """Write a city folder with truth.json, return it; `options` and errors as `draw_city`. truth.json has att_pp and
    by_project in percentage points (negative is safer), latent on the logit scale, cohesion, incidents (docs/data.md)
    and the parameters of the call."""
    out = Path(out)
    city, truth = draw_city(**options, city=out.name, name=out.name.capitalize())
    # What the reader of the folder fills in is left out; whole numbers are written without a point.
    filled_in = {"respondents": ["weight"], "shares": ["assumed", "rounding"], "incidents": ["population"]}
    there = {name: table for name in schema.TABLES if (table := getattr(city, name)) is not None}
    tables = {name: table.drop(columns=filled_in.get(name, [])).convert_dtypes() for name, table in there.items()}
    manifest = {"name": city.name, "language": city.language, "simulated": True, "notes": list(city.notices)}
    folder = write_city(out, manifest=manifest, tables=tables)
    provenance.write_json(folder / "truth.json", truth)
    return folder


def draw_city(*, city="simulated", name="Simulated city", area_drift=0.0, **options) -> tuple[City, dict]:
    """A City in memory, as `load_city` would give it, and its truth; simulate.toml lists `options` and their defaults.
    `effect_pp` is the mean over projects; `baseline_unsafe` and `baseline_gap_pp` are of expected shares in the first
    wave, shocks included, mean over areas. The world follows the seed, not `respondents` or `shares`; insecurity not
    what else is drawn. Not in simulate.toml: `area_drift`, the spread of areas' own steady drifts per wave, logit
    scale (the method assumes none), and effects project by project instead of their means: `latent_effects` (logit
    scale), `cohesion_effects` (sd), `log_irr`. Raises ParameterError."""
    options = _checked(options) | ({"area_drift": area_drift} if area_drift else {})
    # A stream for each part: more draws in one move no other. A new part takes the next one.
    first, *seeds = np.random.SeedSequence(options["seed"]).spawn(8)
    answers, starts, raters, cohesion, items, incidents, victims = map(np.random.default_rng, seeds)
    world = draw_world(options, first)
    rows, place, noise = _draw_respondents(world, options["respondents"], answers)
    areas, projects = _areas_table(world), _projects_table(world, starts)
    wave, last = pd.Series(world["wave"].values.astype(object)), pd.Timestamp(LAST_YEAR, 12, 31)
    waves = pd.DataFrame({"wave": wave, "start": wave + "-03-01", "end": wave + "-04-30", "questionnaire_version": "1"})
    tables, truth = {
        "areas": areas, "waves": waves.assign(mode="web and paper"), "projects": projects,
        "collective_impact": _scores_table(projects, raters),
        "indicators": pd.DataFrame(NAMES["indicators"]).assign(date=last, source="simulated"),
    }, _truth(world)  # fmt: skip
    if not options["no_cohesion"]:
        drawn = outcomes.draw_cohesion(world, options, cohesion)
        rows = rows.assign(**outcomes.cohesion_answers(drawn, place, noise, items))
        truth["cohesion"] = _cohesion_truth(world, drawn, options["cohesion_pull"])
    if not options["no_incidents"]:
        drawn = outcomes.draw_incidents(world, projects, _beside(len(areas)), options, incidents)
        tables["incidents"] = outcomes.count_incidents(drawn, incidents)
        rows[outcomes.REPORTED] = outcomes.victim_answers(world, place, options["reporting"], victims)
        truth["incidents"] = outcomes.incidents_truth(drawn, options)
    # What a handful of respondents answer all alike is no question that a city's reader accepts.
    alike = [item for item in rows.columns.intersection(list(ITEMS)) if item != ITEM and rows[item].nunique() < 2]
    asked = {"respondents": rows.drop(columns=alike), "population": _residents(world)}
    asked = {"shares": _published(asked["respondents"])} if options["shares"] else asked
    answered = asked["shares"]["item"].unique() if options["shares"] else asked["respondents"].columns
    tables, kinds = canonical(tables | asked), tables["incidents"]["kind"].unique() if "incidents" in tables else ()
    made = City(
        city=city, name=name if "simulated" in name.lower() else f"{name} (simulated)", language="en", simulated=True,
        notices=(NOTE,), data_hash=provenance.hash_parameters(options), weighted=False,
        items=tuple(item for item in ITEMS if item in answered),
        discretion={kind: schema.INCIDENTS[kind]["discretion"] for kind in kinds},
        **{table: tables.get(table) for table in schema.TABLES},
    )  # fmt: skip
    return made, truth | {"parameters": options}


def draw_world(options, seed) -> xr.Dataset:
    """What is true before anyone is asked: `latent` without projects, the `shock` in it and `effect` (area, wave), the
    areas' standing `level`, `delta` (project), `running` and `window` (project, area, wave), `population` (area),
    `composition` (area, stratum)."""
    rng = np.random.default_rng(seed)
    areas, waves, projects = options["areas"], options["waves"], options["projects"]
    groups = np.array_split(rng.permutation(areas)[: options["treated"]], projects)
    population = 100 * np.round(np.exp(rng.normal(np.log(60), 0.4, areas))).clip(5)
    composition = rng.dirichlet(80 * COMPOSITION, areas)
    shock = outcomes.draw_shocks(rng, (areas, waves), sd=options["shock_sd"], rho=options["shock_rho"])
    latent = rng.normal(0, AREA_SD, areas)[:, None] + options["trend"] * np.arange(waves) + shock
    if options.get("area_drift"):
        slope = np.random.default_rng(seed.spawn(1)[0]).normal(0, options["area_drift"], (areas, 1))
        latent += slope * np.arange(waves)
    is_treated = np.isin(np.arange(areas), np.concatenate(groups))
    miss = lambda x, level, parts, share: expected_share(level + x, parts).mean() - share
    for group, gap in ((is_treated, options["baseline_gap_pp"] / 100), (~is_treated, 0.0)):
        asked = (latent[group, :1], composition[group], options["baseline_unsafe"] + gap)
        latent[group] += brentq(miss, -60, 60, args=asked, xtol=1e-12)
    # First running waves are staggered, with two waves before and two in the window if possible.
    earliest, latest = 1 if waves == 3 and projects > 1 else 2, waves - 2 if waves >= 5 else waves - 1
    running = np.zeros((projects, areas, waves), bool)
    for project, first in enumerate(np.linspace(earliest, latest, projects).round().astype(int)):
        running[project, groups[project], first:] = True
    window = running & (running.cumsum(-1) <= 2)  # yearly waves 7 to 10 and 19 to 22 months after full start
    spread = outcomes.draw_spread(rng, projects)
    names = [f"{place} {quarter}" for quarter, place in product(NAMES["quarters"], NAMES["places"])]
    world = xr.Dataset(
        {
            "latent": (("area", "wave"), latent), "shock": (("area", "wave"), shock),
            "level": ("area", latent[:, 0] - shock[:, 0]), "population": ("area", population),
            "composition": (("area", "stratum"), composition),
            "running": (("project", "area", "wave"), running), "window": (("project", "area", "wave"), window),
        },
        coords={
            "area": [f"a{k + 1:0{len(str(areas))}d}" for k in range(areas)],
            "name": ("area", [*names, *(f"Area {k + 1}" for k in range(len(names), areas))][:areas]),
            "wave": [str(LAST_YEAR - waves + 1 + k) for k in range(waves)],
            "project": [_project(k)["project"] for k in range(projects)],
        },
    )  # fmt: skip
    solved = options.get("latent_effects") or _solve(world, options["effect_pp"] * spread)
    world["delta"] = ("project", solved)
    world["effect"] = (world["running"] * world["delta"]).sum("project")
    return world


def expected_share(latent, composition) -> np.ndarray:
    """Expected share (0-1) of residents who feel unsafe, (area, wave), from the latent index and the area's strata."""
    return (expit(latent[..., None] + STRATUM_EFFECT) * composition[:, None, :]).sum(-1)


def true_att(latent, effect, *, window, population, composition) -> float:
    """The estimand's truth in percentage points: what `effect` changes for residents of areas with a window wave,
    weighted as in `estimands.att`. `latent` (without projects, shocks kept), `effect`, `window` (area, wave);
    `composition` (area, stratum) sums to 1."""
    change = expected_share(latent + effect, composition) - expected_share(latent, composition)
    return 100 * _over_window(change, window=window, population=population)


def _over_window(change, *, window, population) -> float:
    """Mean of `change` (area, wave) over each area's window waves, then over residents."""
    inside = window.any(1)
    by_area = np.where(window, change, 0.0)[inside].sum(1) / window[inside].sum(1)
    return float(np.average(by_area, weights=population[inside]))


def _att(world):
    """`true_att` of this world, still without `effect` and `window`."""
    return partial(true_att, world["latent"].values, **{x: world[x].values for x in ("population", "composition")})


def _solve(world, targets) -> list[float]:
    """Latent effect of each project that gives its target in pp; ParameterError where no effect can."""
    att, found, faults = _att(world), [], []
    miss = lambda delta, running, window, target: att(delta * running, window=window) - target
    arrays = (world[name].values for name in ("project", "running", "window"))
    for project, running, window, target in zip(*arrays, targets, strict=True):
        least, most = (miss(bound, running, window, 0.0) for bound in (-60.0, 60.0))
        if target == 0 or least < target < most:
            found.append(brentq(miss, -60, 60, args=(running, window, target), xtol=1e-12) if target else 0.0)
        else:
            allowed = f"between {least:.3g} and {most:.3g}, as {-least:.3g} % would feel unsafe without it"
            faults.append(f"effect_pp: {target:.3g} pp is impossible for {project}; allowed: {allowed}")
    if faults:
        raise ParameterError("\n".join(faults))
    return found


def _truth(world) -> dict:
    """The content of truth.json; no area has two projects, so an area's effect is that of its project."""
    att, projects = partial(_att(world), world["effect"].values), world["project"].values.tolist()
    return {
        "att_pp": round(att(window=world["window"].any("project").values), 6),
        "by_project": {p: round(att(window=one), 6) for p, one in zip(projects, world["window"].values, strict=True)},
        "latent": dict(zip(projects, world["delta"].values.round(6).tolist(), strict=True)),
    }


def _cohesion_truth(world, drawn, pull) -> dict:
    """What projects did to cohesion, in sd, and how much of the effect on insecurity, in pp, that explains."""
    running, effect = world["running"], drawn["effect"]
    change, total = (running * effect).sum("project").values, world["effect"].values
    where = {"window": world["window"].any("project").values, "population": world["population"].values}
    part = partial(true_att, effect=pull * change, composition=world["composition"].values, **where)
    indirect = round(part(world["latent"].values + total - pull * change), 6)
    return {
        "att_sd": round(_over_window(change, **where), 6),
        "by_project": dict(zip(world["project"].values.tolist(), effect.values.round(6).tolist(), strict=True)),
        "indirect_pp": indirect,
        "direct_pp": round(_truth(world)["att_pp"] - indirect, 6),
    }


def _draw_respondents(world, respondents, rng) -> tuple[pd.DataFrame, tuple, np.ndarray]:
    """Rows of survey.csv, wave by wave; each area-wave has the same number, give or take one. With each row's place
    (area, wave) and the logistic noise of its answer."""
    areas, waves = world.sizes["area"], world.sizes["wave"]
    per_cell = np.full(areas * waves, respondents // (areas * waves))
    per_cell[rng.choice(areas * waves, respondents % (areas * waves), replace=False)] += 1
    wave, area = np.divmod(np.repeat(np.arange(areas * waves), per_cell), areas)
    edges = world["composition"].values.cumsum(1)[:, :-1]
    stratum = (rng.random(respondents)[:, None] > edges[area]).sum(1)
    index = (world["latent"] + world["effect"]).transpose("area", "wave").values[area, wave]
    noise = rng.logistic(size=respondents)
    answer = np.searchsorted(CUTS, index + STRATUM_EFFECT[stratum] + noise)
    sex, age = zip(*STRATA, strict=True)
    rows = pd.DataFrame({
        "respondent": [f"r{k + 1:06d}" for k in range(respondents)],
        "area": outcomes.texts(world["area"].values, area),
        "wave": outcomes.texts(world["wave"].values, wave),
        "weight": 1.0, "sex": outcomes.texts(sex, stratum), "age_band": outcomes.texts(age, stratum),
        ITEM: outcomes.texts(ITEMS[ITEM].categories, answer),
    })  # fmt: skip
    return rows, (area, wave), noise


def _published(rows) -> pd.DataFrame:
    """The same answers as a city that publishes percentages with one decimal would show them, but for those of victims,
    of whom an area and wave has too few."""
    tables = []
    for item in (name for name in ITEMS if name in rows and ITEMS[name].construct != "reporting"):
        levels = pd.Index(ITEMS[item].categories, name="category")
        counts = pd.crosstab([rows["wave"], rows["area"]], rows[item]).reindex(columns=levels, fill_value=0)
        n = counts.sum(axis=1)
        table = (100 * counts).div(n, axis=0).round(1).stack().rename("share").reset_index()
        tables.append(table.assign(item=item, n=n.repeat(len(levels)).to_numpy(float), assumed=False))
    return pd.concat(tables, ignore_index=True)


def _areas_table(world) -> pd.DataFrame:
    """Areas lie row by row on a square grid, and those that share a side are neighbours."""
    table = world["population"].to_dataframe().reset_index()
    return table.assign(neighbours=[";".join(table["area"][near]) for near in _beside(len(table))])


def _beside(areas) -> np.ndarray:
    """Which areas share a side: (area, area)."""
    row, column = np.divmod(np.arange(areas), int(np.ceil(np.sqrt(areas))))
    return np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1


def _residents(world) -> pd.DataFrame:
    """Residents by area, sex and age band: the composition from which respondents are drawn, in whole people."""
    size = (world["population"] * world["composition"]).transpose("area", "stratum").values.round()
    cells = [(area, *stratum) for area, stratum in product(world["area"].values, STRATA)]
    return pd.DataFrame(cells, columns=["area", "sex", "age_band"]).assign(population=size.ravel())


def _projects_table(world, rng) -> pd.DataFrame:
    """Start in June to August between two waves, announced weeks before, full at once or a month later."""
    rows = []
    for k, running in enumerate(world["running"]):
        first = int(world["wave"].values[running.any("area").values.argmax()])
        start = pd.Timestamp(first - 1, 6 + int(rng.integers(3)), 1)
        row = _project(k) | {"start": start, "announced": start - pd.Timedelta(days=int(rng.integers(14, 29)))}
        row |= {"full": start + pd.DateOffset(months=int(rng.integers(2))), "trigger": "council programme"}
        for area in world["area"].values[running.any("wave").values]:
            reached = round(float(world["population"].sel(area=area)) * rng.uniform(0.03, 0.1))
            rows.append(row | {"area": area, "reached": float(reached), "cost_eur": 1000.0 * rng.integers(20, 90)})
    return pd.DataFrame(rows).assign(primary_item=ITEM)


def _scores_table(projects, rng) -> pd.DataFrame:
    """Two raters score each project on the day it starts, before any outcome; a tenth is "don't know"."""
    table = projects.drop_duplicates("project")[["project", "start"]].rename(columns={"start": "date"})
    table = table.merge(pd.DataFrame({"condition": schema.CONDITIONS}), how="cross")
    table["level"] = rng.normal(2, 1, len(table))
    table = table.merge(pd.DataFrame({"rater": ["first", "second"]}), how="cross")
    score = (table["level"] + rng.normal(0, 0.6, len(table))).round().clip(0, 4)
    return table.assign(score=score.where(rng.random(len(table)) > 0.1))


def _project(k) -> dict[str, str]:
    """Id, name, kind and focus of the k-th project; when the names are used up they come again with a number."""
    again, place = divmod(k, len(NAMES["projects"]))
    one = NAMES["projects"][place]
    return one | ({"project": f"{one['project']}-{again + 1}", "name": f"{one['name']} {again + 1}"} if again else {})


def _checked(given) -> dict:
    """The options with their defaults, and any `BY_PROJECT`; impossible ones are refused in one ParameterError."""
    if unknown := given.keys() - OPTIONS.keys() - set(BY_PROJECT):
        raise ParameterError(f"no option {', '.join(sorted(unknown))}; allowed: {', '.join(OPTIONS)}")
    options = {name: given.get(name, option["default"]) for name, option in OPTIONS.items()}
    if odd := [name for name, value in options.items() if not isinstance(value, Real) or not np.isfinite(value)]:
        raise ParameterError("\n".join(f"{name} is {options[name]!r}; allowed: a number" for name in sorted(odd)))
    areas, start, faults = options["areas"], 100 * options["baseline_unsafe"], []
    limits = {name: (about["from"], about["to"]) for name, about in OPTIONS.items() if "from" in about}
    limits |= {"treated": (1, areas - 1), "projects": (1, options["treated"])}  # treated areas may begin at 0.5 to 95 %
    limits |= {"respondents": (areas * options["waves"], 5_000_000), "baseline_gap_pp": (0.5 - start, 95.0 - start)}
    limits["cohesion_pull"] = -outcomes.most_pull(options["shock_sd"]), outcomes.most_pull(options["shock_sd"])
    for name, (least, most) in limits.items():
        kind, words = (Integral, "a whole number") if isinstance(most, Integral) else (Real, "a number")
        if not isinstance(options[name], kind) or not least <= options[name] <= most:
            faults.append(f"{name} is {options[name]!r}; allowed: {words} from {round(least, 3)} to {round(most, 3)}")
    by_project = {name: [*map(float, given[name])] for name in BY_PROJECT if given.get(name) is not None}
    for name, values in by_project.items():
        if len(values) != options["projects"] or not np.isfinite(values).all():
            faults.append(f"{name} is {values}; allowed: a number for each of {options['projects']} projects")
    if faults:
        raise ParameterError("\n".join(faults))
    return options | by_project
