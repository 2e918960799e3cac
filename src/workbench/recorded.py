"""Recorded incidents: fits of M3, what was recorded with and without the projects, next door, and what reporting can do.

IRR: expected counts with the projects over those without, both sums over the area-periods of the window; the projects'
terms are removed from the linear predictor and all else is kept as drawn. Below 1 means fewer recorded incidents."""

from functools import partial

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from workbench import inference
from workbench.answers import count_answers
from workbench.disclosure import K
from workbench.errors import ParameterError
from workbench.estimands import COLUMNS, QUANTILES, summarise
from workbench.incidents import build_panels
from workbench.language import said
from workbench.models.recorded import build_model, model_data

MINIMUM = 5.0  # percent: the smallest worthwhile change of the count
SURE, CLEAR = 0.95, 0.9  # from when on a change is called one, as in `verdict.decide`
REPORTING = {"low": 0.03, "some": 0.10, "high": 0.25}
"""Sd of a change in log reporting while projects run, by discretion: with 0.25, two in three changes of reporting lie
within -22 and +28 percent; with 0.03 within 3 percent."""
ACCEPT = (0.6, 0.8, 0.95)  # targets of a fit and of its repeats
FACTORS = np.round(np.arange(0.70, 1.501, 0.05), 2)


def evaluate(
    city, *, projects=(), comparison=(), window_months="6-24", neighbours=True, reporting=False, spatial=False,
    prior="sceptical", seed, draws=1500, tune=300, chains=4, lang="en",
) -> tuple[dict[str, xr.DataTree], dict, pd.DataFrame] | None:  # fmt: skip
    """Fits by kind, a summary as plain JSON, and rows for effects.csv; None where a city has no incidents. With
    `reporting` all numbers of project areas are of what happened, as far as can be told, not of what was recorded.
    Where no kind can be evaluated the summary has `not_possible`, why, and nothing else: the register of a city must
    not keep its survey from being evaluated."""
    if city.incidents is None:
        return None
    chosen = {"projects": projects, "comparison": comparison, "window_months": window_months, "neighbours": neighbours}
    try:
        panels, faults = build_panels(city, lang=lang, **chosen)
    except ParameterError as error:
        return {}, {"not_possible": str(error).replace("\n", " ")}, pd.DataFrame(columns=COLUMNS)
    fits = fit(panels, spatial=spatial, prior=prior, seed=seed, draws=draws, tune=tune, chains=chains)
    warnings = [*(line for panel in panels.values() for line in panel.attrs["notices"].split("\n") if line), *faults]
    summary, effects = summarise_all(
        panels, fits, survey=survey_change(city, panels), reporting=reporting, seed=seed, lang=lang
    )
    return fits, summary | {"warnings": list(dict.fromkeys([*warnings, *summary["warnings"]]))}, effects


def rates(panels) -> pd.DataFrame:
    """Incidents of all kinds recorded per 1,000 residents and year: `group` (treated, neighbours, comparison), `year`."""
    parts = []
    for panel in panels.values():
        group = np.where(panel["treated"], "treated", np.where(panel["neighbour"], "neighbours", "comparison"))
        people = panel["residents"].where(panel["counts"].notnull())
        cells = pd.DataFrame({"count": panel["counts"].values.ravel(), "people": people.values.ravel()})
        cells["group"], cells["year"] = group.repeat(panel.sizes["period"]), np.tile(panel["year"].values, len(group))
        by = cells.groupby(["group", "year"])[["count", "people"]].sum()
        parts.append((1000 * by["count"] / by["people"]).rename("rate"))
    every = pd.concat(
        parts, axis=1
    ).dropna()  # years that all kinds cover, else a kind that begins later looks like a rise
    return every.sum(axis=1).rename("rate").reset_index()


def fit(panels, *, spatial=False, prior="sceptical", seed, draws=1500, tune=300, chains=4) -> dict[str, xr.DataTree]:
    """Draws by kind, each with the prior of its effects. Kinds of one shape share a model, but each has its counts built into
    the compiled function: compiling takes 3 s, and a fit of many areas is a third quicker."""
    built, fits = {}, {}
    for number, (kind, panel) in enumerate(panels.items()):
        shape = tuple(tuple(panel[dim].values) for dim in ("area", "period", "effect", "project"))
        data = model_data(panel)
        if shape not in built:
            model = build_model(panel, prior=prior, spatial=spatial, data=data)
            plain = build_model(panel, prior=prior, data=data, whiten=False)
            prior_draws = pm.draw(plain["delta"], 1000 * len(panels), random_seed=seed, mode="FAST_COMPILE")
            built[shape] = partial(_sampler, model), prior_draws.reshape(len(panels), 1, 1000, -1)
        build, delta = built[shape]
        settings = {"draws": draws, "tune": tune, "chains": chains}
        fits[kind] = inference.settle(build, seed + 100 * number, accept=ACCEPT, **settings, **data)
        fits[kind]["prior"] = xr.DataTree(xr.Dataset({"delta": (("chain", "draw", "effect"), delta[number])}))
        fits[kind].attrs |= {"model": "M3 recorded", "kind": kind, "prior": prior}
    return fits


def _sampler(model, *, target_accept, **settings):
    """At the first target at most 7 steps a draw, half a turn around a standard normal: half the cost of the 15 that
    many areas would take, with effective samples enough. A repeat takes what it needs."""
    maxdepth = 3 if target_accept == ACCEPT[0] else 10
    return inference.sampler(model, target_accept=target_accept, maxdepth=maxdepth, **settings)


def expected(panel, draws) -> dict[tuple, np.ndarray]:
    """Expected counts with and without the projects' terms (2, draws), summed over recorded area-periods. Keys: where
    ("treated", "neighbours"), project ("" = all, else its own terms only), full years since full start ("" = the
    window)."""
    flat = {name: draws[name].values.reshape(-1, *draws[name].shape[2:]) for name in ("index", "time", "delta")}
    seasonal = draws["seasonal"].values.reshape(-1, draws["seasonal"].shape[-1]) if "seasonal" in draws else None
    year, seen = np.unique(panel["year"].values, return_inverse=True)[1], np.isfinite(panel["counts"].values)

    def total(cells, effects):
        area, period = np.nonzero(cells & seen)
        design = panel["design"].values[area, period]
        log = panel["offset"].values[area, period] + flat["index"][:, area, year[period]] + flat["time"][:, period]
        log = log + (0.0 if seasonal is None else seasonal[:, panel["season"].values[period]])
        log = log + flat["delta"] @ design.T
        return np.stack([np.exp(log).sum(1), np.exp(log - (flat["delta"] * effects) @ design.T).sum(1)])

    everything, found = np.ones(panel.sizes["effect"]), {}
    for where, cells in (("treated", panel["window"].values), ("neighbours", panel["beside"].values)):
        if cells.any():
            found[where, "", ""] = total(cells.any(0), everything)
        for k, project in enumerate(panel["project"].values):
            if cells[k].any():
                found[where, project, ""] = total(cells[k], panel["effect_project"].values == k)
    since = panel["since"].values
    for years in np.unique(since[since >= 0]):
        found["treated", "", int(years)] = total((since == years).any(0), everything)
    return found


def log_reporting(panels, *, survey, seed, size) -> dict[str, np.ndarray]:
    """Draws of the change in log reporting in project areas, by kind: N(0, `REPORTING`) by its discretion, combined with
    what the survey found. One standard normal serves all kinds: whoever reports more, reports more of everything."""
    z, found = np.random.default_rng(seed).standard_normal(size), {}
    for kind, panel in panels.items():
        sd, mean = REPORTING[panel.attrs["discretion"]], 0.0
        if survey:
            weight = sd**2 / (sd**2 + survey["se"] ** 2)
            sd, mean = sd * np.sqrt(1 - weight), weight * survey["log_change"]
        found[kind] = mean + sd * z
    return found


def survey_change(city, panels) -> dict | None:
    """Change in the log share of victims who told the police, in project areas while projects run, less that elsewhere:
    `log_change`, `se`, the same in percent (`mean`, `lower90`, `upper90`), `answers`, and
    shares by group. A regression on start cohorts, waves and `running`, weighted by the binomial information; None where
    the survey does not ask it or cannot tell."""
    if "victim_reported" not in city.items:
        return None
    counts = count_answers(city, item="victim_reported").sum("stratum")
    waves = city.waves.assign(date=city.waves["start"] + (city.waves["end"] - city.waves["start"]) / 2)
    kept = set().union(*(panel["area"].values for panel in panels.values()))
    chosen = set().union(*(panel["project"].values for panel in panels.values()))
    own = city.projects[city.projects["project"].isin(chosen)].groupby("area")[["announced", "full", "stop"]].min()
    cells = pd.DataFrame({"reported": counts.isel(answer=0).to_series(), "n": counts.sum("answer").to_series()})
    cells = cells.reset_index().merge(waves[["wave", "date"]]).merge(own, "left", on="area")
    cells = cells[cells["area"].isin(kept)]
    running = (cells["date"] >= cells["full"]) & ~(cells["date"] >= cells["stop"])
    cells = cells.assign(running=running, cohort=cells["full"].rank(method="dense").fillna(0))
    free = running | ~(cells["date"] >= cells["announced"])
    cells = cells[free].groupby(["cohort", "wave", "running"])[["reported", "n"]].sum().query("n > 0").reset_index()
    overall = cells["reported"].sum() / max(cells["n"].sum(), 1)
    if not 0 < overall < 1:
        return None
    dummies = pd.get_dummies(cells[["cohort", "wave"]].astype(str), drop_first=True, dtype=float)
    scale = np.sqrt(cells["n"].to_numpy() * overall / (1 - overall))  # 1 / sd of a log share
    design = scale[:, None] * np.c_[cells["running"].astype(float), np.ones(len(cells)), dummies]
    if np.linalg.matrix_rank(design) < design.shape[1] or not cells["running"].any():
        return None
    y = np.log((cells["reported"] + overall) / (cells["n"] + 1) / overall)
    parts = np.linalg.pinv(design)[0] * scale  # least squares: the change is the sum of parts times y
    change, se = float(parts @ y), float(np.linalg.norm(parts / scale))
    group = np.where(cells["cohort"] == 0, "comparison", np.where(cells["running"], "running", "before"))
    by = cells.groupby(group)[["reported", "n"]].sum()
    ends = {"mean": change, "lower90": change - 1.645 * se, "upper90": change + 1.645 * se}
    told = {name: float(100 * np.expm1(x)) for name, x in ends.items()}
    # One group of few victims would tell of them, and hiding it alone would leave it to be worked out.
    shares = (100 * by["reported"] / by["n"]).to_dict() if by["n"].min() >= K else {}
    return {"log_change": change, "se": se, "answers": float(cells["n"].sum()), "shares": shares} | told


def weighted_displacement_difference(counts, weights) -> dict[str, float]:
    """Sum of weights x counts and its Poisson error, the root of the sum of weights^2 x counts (Wheeler and Ratcliffe
    2018, Crime Science 7:11): +1 for project areas and their neighbours after and -1 before, the other way round for
    comparison areas, whose weights may scale them to the same counts before. Below 0: fewer than elsewhere."""
    counts, weights = np.asarray(counts, float), np.asarray(weights, float)
    value, se = float((weights * counts).sum()), float(np.sqrt((weights**2 * counts).sum()))
    return {"wdd": value, "se": se, "lower90": value - 1.645 * se, "upper90": value + 1.645 * se}


def displacement_weights(panel) -> np.ndarray:
    """Weights (area, period) of that difference: window periods of each project area, and of its neighbours, against as
    many recorded ones before its announcement; comparison areas without such a neighbour in the same periods, scaled to
    its own count in those before."""
    seen, counts = np.isfinite(panel["counts"].values), np.nan_to_num(panel["counts"].values)
    free = panel["design"].values.any(-1).cumsum(1) == 0
    comparison = ~panel["treated"].values & ~panel["neighbour"].values
    others = counts[comparison].sum(0)
    weights = np.zeros(seen.shape)
    for area, cells in enumerate((panel["window"] | panel["beside"]).any("project").values):
        after, before = np.flatnonzero(cells & seen[area]), np.flatnonzero(free[area] & seen[area])
        pairs = min(len(after), len(before)) if others.any() else 0
        before = before[len(before) - pairs :]
        scale = counts[area, before].sum() / max(others[before].sum(), 1.0)
        for sign, periods in ((1.0, after[:pairs]), (-1.0, before)):
            weights[area, periods] += sign
            weights[np.ix_(comparison, periods)] -= sign * scale * seen[np.ix_(comparison, periods)]
    return weights


def summarise_all(panels, fits, *, survey=None, reporting=False, seed=0, lang="en") -> tuple[dict, pd.DataFrame]:
    """Summary and rows for effects.csv of fits by kind, all kinds together first."""
    parts = {kind: expected(panel, fits[kind]["posterior"].to_dataset()) for kind, panel in panels.items()}
    size = min(part["treated", "", ""].shape[1] for part in parts.values())
    thinned = lambda x: x[:, np.linspace(0, x.shape[1] - 1, size).astype(int)]
    parts = {kind: {key: thinned(x) for key, x in part.items()} for kind, part in parts.items()}
    change = log_reporting(panels, survey=survey, seed=seed, size=size)
    happened = {kind: {key: _happened(x, key, change[kind]) for key, x in part.items()} for kind, part in parts.items()}
    whole, whole_happened, prior = _together(parts), _together(happened), _together(_prior(panels, fits))
    used, told = (happened, whole_happened) if reporting else (parts, whole)
    rows = [row for kind, part in ({"all": told} | used).items() for row in _rows(part, kind)]
    irr, recorded_irr = (_ratio(x["treated", "", ""]) for x in (told, whole))
    gap = np.log(recorded_irr) - np.log(_ratio(whole_happened["treated", "", ""]))
    sd = float(_ratio(prior["treated", "", ""]).std() * 100)
    counts, weights = (np.concatenate([of(panel).ravel() for panel in panels.values()]) for of in (
        lambda panel: np.nan_to_num(panel["counts"].values), displacement_weights))  # fmt: skip
    about_reporting = {
        "used": bool(reporting), "log_mean": float(gap.mean()), "log_sd": float(gap.std()), "survey": survey,
        "tipping": _tipping(recorded_irr), "curve": reporting_curve(recorded_irr), "recorded": _percent(recorded_irr),
        "happened": _percent(_ratio(whole_happened["treated", "", ""])) | {"prior_sd": sd},
    }  # fmt: skip
    told_of = {name: about_reporting[name] for name in ("used", "survey", "tipping", "recorded", "happened")}
    about_reporting["text"] = said("reporting", lang, sure=SURE, clear=CLEAR, **told_of)
    found = pd.DataFrame([tree.attrs for tree in fits.values()])
    worst = {"rhat_max": "max", "ess_bulk_min": "min", "ess_tail_min": "min", "divergences": "sum"}
    of = lambda part, where, project="": (
        _by_ratio(_ratio(part[where, project, ""])) if (where, project, "") in part else None
    )
    summary = {
        "irr": of(told, "treated"), "change_pct": _percent(irr) | {"prior_sd": sd},
        "by_kind": {
            kind: {"irr": of(part, "treated"), "change_pct": _percent(_ratio(part["treated", "", ""])),
                   "discretion": panels[kind].attrs["discretion"]}
            for kind, part in used.items()
        },
        "by_project": {
            p: {"irr": of(told, "treated", p), "change_pct": _percent(_ratio(told["treated", p, ""]))}
            for where, p, since in told if where == "treated" and p
        },
        "averted": _averted(told["treated", "", ""]), "irr_neighbours": of(told, "neighbours"),
        "irr_net": _by_ratio(_ratio(_net(told))) if ("neighbours", "", "") in told else None,
        "reporting": about_reporting, "wdd": weighted_displacement_difference(counts, weights) if np.any(weights) else None,
        "window_months": next(iter(panels.values())).attrs["window_months"],
        "warnings": [about_reporting["text"]] if about_reporting["text"] else [],
        "diagnostics": {name: found[name].agg(how).item() for name, how in worst.items()},
        "seconds": float((found["seconds_compile"] + found["seconds_sample"]).sum()),
    }  # fmt: skip
    return summary, pd.DataFrame(rows).reindex(columns=COLUMNS).astype({"event_time": "Int64"})


def reporting_curve(irr) -> list[dict]:
    """The IRR of what happened if the share that gets recorded had changed by `factor` in project areas."""
    ends = {name: np.quantile(irr, QUANTILES[name]) for name in ("lower90", "upper90")} | {"mean": irr.mean()}
    return [{"factor": float(f)} | {name: float(x / f) for name, x in ends.items()} for f in FACTORS]


def _tipping(irr) -> dict:
    """Factor on reporting at which a rise or fall is a coin toss (`even`), and at which 95 % of the chance for the side that
    the recorded count is on is just left (`sure`; None where it is not there to begin with)."""
    even, rises = float(np.median(irr)), np.median(irr) > 1
    edge = float(np.quantile(irr, 1 - SURE if rises else SURE))
    return {"even": even, "sure": edge if (edge > 1) == rises and edge != 1 else None}


def _happened(x, key, change):
    """Reporting changes what is recorded of the expected counts with projects, in project areas."""
    return np.stack([x[0] / np.exp(change), x[1]]) if key[0] == "treated" else x


def _together(parts) -> dict:
    """Sums over kinds of what `expected` found."""
    keys = dict.fromkeys(key for part in parts.values() for key in part)
    return {key: sum(part[key] for part in parts.values() if key in part) for key in keys}


def _prior(panels, fits) -> dict:
    """`expected` with effects from their prior, in the mean world of the posterior."""
    found = {}
    for kind, panel in panels.items():
        delta, world = fits[kind]["prior"]["delta"], fits[kind]["posterior"].to_dataset()
        world = world[[name for name in ("index", "time", "seasonal") if name in world]].mean(("chain", "draw"))
        found[kind] = expected(panel, world.expand_dims(chain=1, draw=delta.sizes["draw"]).assign(delta=delta))
    return found


def _net(part):
    return part["treated", "", ""] + part["neighbours", "", ""]


def _ratio(x) -> np.ndarray:
    return x[0] / x[1]


def _summary(values, **minimum) -> dict[str, float]:
    return summarise(xr.DataArray(values), **minimum)


def _percent(ratio) -> dict[str, float]:
    """Summary of the change that a ratio is, in percent, beside the smallest worthwhile one."""
    return _summary(100 * (ratio - 1), minimum_pp=MINIMUM)


def _by_ratio(ratio) -> dict[str, float]:
    """Summary of a ratio; its chances are those of fewer and more recorded incidents."""
    return _summary(ratio) | {name: value for name, value in _percent(ratio).items() if name.startswith("p_")}


def _averted(x) -> dict[str, float]:
    """Summary of expected counts without less with; `p_fall` is the chance that there were fewer incidents."""
    found = {name: value for name, value in _summary(x[1] - x[0]).items() if not name.endswith("minimum")}
    return found | {"p_fall": found["p_rise"], "p_rise": found["p_fall"]}


def _rows(part, kind) -> list[dict]:
    """Rows of effects.csv for one kind, or all."""
    rows = []
    for (where, project, since), x in part.items():
        name = "irr" if where == "treated" else "irr_neighbours"
        about = {"project": project or None, "item": kind, "event_time": None if since == "" else since}
        rows.append({"estimand": name, "scale": "ratio"} | about | _by_ratio(_ratio(x)))
        if where == "treated" and since == "":
            rows.append({"estimand": "incidents_averted", "scale": "incidents"} | about | _averted(x))
    if ("neighbours", "", "") in part:
        rows.append({"estimand": "irr_net", "scale": "ratio", "item": kind} | _by_ratio(_ratio(_net(part))))
    return rows
