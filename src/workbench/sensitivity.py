"""Checks that ask what the finding leans on: trends that part, the date, the choice of areas, one area, the neighbours.

Least squares on the latent index (`linear`, `honest`): no prior on the effect, no new draws, shocks as the fit has
them, pp at the observed share in the window. Each check can only warn, and has a tidy frame beside it for a picture."""

import math

import numpy as np
import pandas as pd

from workbench import honest, linear
from workbench.language import said

EXACT, AT_RANDOM, FEWEST = 2_000, 999, 10  # assignments of projects to areas
Z95 = 1.96
REACH = {"mean": 0, "lower90": -1.645, "upper90": 1.645}  # a column -> standard errors from the estimate


def honest_did(panel, idata, *, lang) -> tuple[str, str]:
    """How much faster than before areas may part until the effect could be none; warns if a finding breaks below 1."""
    table = robust_intervals(panel, idata, smooth_pp=(0,))
    if table is None:
        return "not possible", said("unknown_trend", lang)
    rows = table.set_index("name")
    most, ends = rows["bound"].get("breakdown", 0.0), rows[["lower90", "upper90"]].T
    text = said("honest_did", lang, parallel=ends["parallel"], straight=ends["straight"], most=most, beyond=honest.MOST)
    return ("warn" if 0 < most < 1 else "pass"), text


def event_study(panel, idata) -> pd.DataFrame | None:
    """By event time (-1 the reference): event_time, mean, lower90, upper90 in pp, and with `_logit` after the name."""
    study = honest.event_study(panel, **linear.shocks(idata))
    if study is None:
        return None
    at, data = study["pre"], linear.summaries(panel)
    mean, sd = (np.insert(x, at, 0.0) for x in (study["beta"], np.sqrt(np.diag(study["covariance"]))))
    logits = {f"{name}_logit": mean + z * sd for name, z in REACH.items()}
    table = pd.DataFrame({"event_time": np.arange(len(mean)) - at - 1} | _ends(data, mean, sd) | logits)
    return table[(sd > 0) | (table["event_time"] == -1)].reset_index(drop=True)


def robust_intervals(panel, idata, *, smooth_pp=(0, 0.5, 1, 1.5, 2)) -> pd.DataFrame | None:
    """Robust 90 % intervals in pp: group "relative" (bound Mbar) or "smoothness" (bound M, pp a wave), name, bound,
    ends; None where no trend before is known. Names: "breakdown" for the largest Mbar that leaves out 0, if any,
    "parallel" and "straight" for bounds of 0, else the group."""
    study = honest.event_study(panel, **linear.shocks(idata))
    if study is None or not study["pre"]:
        return None
    share, most = linear.window_share(linear.summaries(panel)), honest.breakdown(**study)
    logits = [bound / 100 / (share * (1 - share)) for bound in smooth_pp]
    smooth = honest.smoothness(**study, bounds=logits).assign(bound=smooth_pp)
    first = honest.relative_magnitudes(**study, bounds=sorted({0, 0.5, 1, 1.5, 2, most}))
    table = pd.concat([first, smooth], ignore_index=True).rename(columns={"kind": "group"})
    found = (table["group"] == "relative") & (table["bound"] == most) & (most > 0)
    names, plain = table["group"].mask(found, "breakdown"), {"relative": "parallel", "smoothness": "straight"}
    table.insert(1, "name", names.mask(table["bound"] == 0, table["group"].map(plain)))
    for end in ("lower", "upper"):
        table[f"{end}90"] = linear.as_points(table.pop(end), share=share)
    return table


def placebo_date(panel, idata, *, lang) -> tuple[str, str]:
    """The effect had projects begun at the last wave before their announcement; warns when beyond chance (5 %)."""
    table = placebo_dates(panel, idata).set_index("name")
    if table.empty:
        return "not possible", said("placebo_date", lang, status="not possible")
    row = table.loc["one wave earlier"]
    status = "warn" if abs(row["ratio"]) > Z95 else "pass"
    return status, said("placebo_date", lang, status=status, **row[[*REACH]])


def placebo_dates(panel, idata) -> pd.DataFrame:
    """The imputed effect in pp for the "actual dates" and "one wave earlier": name, mean, lower90, upper90, ratio to
    its error; empty where no area was asked in two waves before."""
    data, shocks = linear.summaries(panel), linear.shocks(idata)
    free, asked = data["free"], data["free"].sum(1, keepdims=True)
    earlier = free & (free.cumsum(1) == asked) & (asked > 1) & data["treated"][:, None]
    windows = {"actual dates": data["window"], "one wave earlier": earlier}
    found = [linear.effect_of(data, free=free & ~window, window=window, **shocks) for window in windows.values()]
    effect, error = np.transpose(found)
    table = pd.DataFrame({"name": [*windows], **_ends(data, effect, error), "ratio": effect / error})
    return table if np.isfinite(table["mean"]).all() else table[:0]


def placebo_areas(panel, idata, att, *, lang) -> tuple[str, str]:
    """How many assignments of the projects to areas show as much; warns when over 10 % do and the 90 % leaves out 0."""
    table = placebo_effects(panel, idata)
    if table.empty:
        return "not possible", said("placebo_areas", lang, status="not possible")
    share, found = table["as_large"].mean(), att["lower90"] > 0 or att["upper90"] < 0
    status = "warn" if share > 0.1 and found else "pass"
    return status, said("placebo_areas", lang, status=status, n=len(table), share=share)


def placebo_effects(panel, idata) -> pd.DataFrame:
    """The imputed effect for assignments of whole exposure rows to areas: mean (pp), ratio to its error, actual (once),
    as_large (the ratio as far from 0 or further: by it areas with few answers weigh no more than they tell; MacKinnon
    and Webb 2020, Journal of Econometrics 218). Every distinct assignment up to `EXACT`, else the actual one and
    `AT_RANDOM` drawn ones; empty where the effect is known for fewer than `FEWEST`, or not for the actual one."""
    data, shocks = linear.summaries(panel), linear.shocks(idata)
    window = panel["window"].any("project").transpose("area", "wave").values
    rows, kind = np.unique(np.stack([~data["begun"], window], axis=1), axis=0, return_inverse=True)
    drawn = [kind, *(other for other in _assignments(kind, np.random.default_rng(0)) if (other != kind).any())]
    exposed = ((data["answers"] > 0)[:, None] & rows[order] for order in drawn)
    found = [linear.effect_of(data, free=row[:, 0], window=row[:, 1], **shocks) for row in exposed]
    effect, error = np.transpose(found)
    table = pd.DataFrame({"mean": _ends(data, effect, error)["mean"], "ratio": effect / error})
    table = table.assign(actual=table.index == 0, as_large=table["ratio"].abs() >= abs(table["ratio"][0]) - 1e-9)
    table = table[np.isfinite(table["ratio"])].reset_index(drop=True)
    return table if len(table) >= FEWEST and table["actual"].any() else table[:0]


def _assignments(kind, rng) -> list[np.ndarray]:
    """Ways to hand the kinds of rows (0, 1, ...) to the areas: every distinct one if few, else drawn at random."""
    sizes = np.bincount(kind).tolist()
    if math.factorial(len(kind)) // math.prod(map(math.factorial, sizes)) > EXACT:
        return [rng.permutation(kind) for _ in range(AT_RANDOM)]
    made = [[]]
    for _place in kind:
        made = [[*row, which] for row in made for which, size in enumerate(sizes) if row.count(which) < size]
    return [np.array(row) for row in made]


def leave_one_out(panel, idata, *, lang) -> tuple[str, str]:
    """How far the effect moves without each comparison area; warns, and names it, when one moves it by the minimum."""
    table = without_each(panel, idata)
    if table.empty:
        return "not possible", said("leave_one_out", lang, status="not possible")
    whole, means = table["mean"].iloc[0], table["mean"][1:]
    moved = (means - whole).abs()
    status = "warn" if moved.max() > panel.attrs["minimum_pp"] else "pass"
    about = {"low": means.min(), "high": means.max(), "all": whole, "name": table["name"][moved.idxmax()]}
    return status, said("leave_one_out", lang, status=status, **about)


def without_each(panel, idata) -> pd.DataFrame:
    """The imputed effect in pp (area, name, mean): all areas, then without each comparison area; empty below three."""
    data, shocks = linear.summaries(panel), linear.shocks(idata)
    others, index = np.flatnonzero(~data["treated"] & data["free"].any(1)), np.arange(panel.sizes["area"])
    found = [linear.both_scales(linear.rows(data, index != area), **shocks)[1] for area in others]
    names = {"area": panel["area"].values[others], "name": panel["area_name"].values[others]}
    table = pd.DataFrame(names | {"mean": np.array(found, float)}).dropna().sort_values("mean", kind="stable")
    whole = pd.DataFrame({"area": [""], "name": "all areas", "mean": linear.both_scales(data, **shocks)[1]})
    return pd.concat([whole, table] if len(table) > 2 else [whole[:0]], ignore_index=True)


def spillover(city, panel, idata, *, lang) -> tuple[str, str] | None:
    """Change in comparison areas beside project areas; warns when beyond chance (5 %) and the minimum. Two areas are
    neighbours if either names the other. None where the city's areas.csv names none."""
    listed = city.areas.set_index("area").get("neighbours", pd.Series(dtype=str)).fillna("")
    if not (listed != "").any():
        return None
    areas, listed = panel["area"].values, listed.reindex(panel["area"].values, fill_value="")
    named = [np.isin(areas, [name.strip() for name in text.split(";")]) for text in listed]
    beside = np.array(named) | np.array(named).T
    treated, data = panel["treated"].values, linear.summaries(panel)
    running = panel["exposure"].any("project").transpose("area", "wave").values
    begun = np.maximum.accumulate(beside[:, treated] @ data["begun"][treated], axis=1) & ~treated[:, None]
    if not begun.any():
        return "pass", said("spillover", lang, beside="none")
    if (begun.any(1) | treated).all():
        return "not possible", said("spillover", lang, beside="all")
    free = data["free"] & ~treated[:, None] & ~begun
    window = begun & (beside[:, treated] @ running[treated]) & (data["answers"] > 0)
    effect, error = linear.effect_of(data, free=free, window=window, **linear.shocks(idata))
    ends = _ends(data, effect, error)
    beyond = abs(ends["mean"]) > panel.attrs["minimum_pp"] and abs(effect) > Z95 * error
    status = "not possible" if np.isnan(effect) else "warn" if beyond else "pass"
    return status, said("spillover", lang, status=status, beside="some", **ends)


def _ends(data, effect, error) -> dict[str, float]:
    """Estimate and 90 % interval in pp of an effect on the logit, by name."""
    share = linear.window_share(data)
    return {name: linear.as_points(effect + z * error, share=share) for name, z in REACH.items()}
