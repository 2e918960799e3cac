"""The panel: labelled counts, exposure and population of one evaluation. The one place that fixes dims and rules.

The rules are in docs/methods.md, "From dates to exposure"; waves are those that asked the item."""

import re

import numpy as np
import pandas as pd
import xarray as xr

from workbench.answers import count_answers, residents
from workbench.cities import validate_survey
from workbench.errors import ParameterError, nearest
from workbench.items import ITEMS
from workbench.language import number, translator

MONTH = pd.Timedelta(days=30.4375)
CHOICES = ("item", "unsafe_from", "projects", "comparison", "window_months", "minimum_pp")  # parameters of a panel


def build_panel(city, *, lang="en", **given) -> xr.Dataset:
    """The panel of one item and a choice of projects, dims (area, wave, stratum, answer, category, project, effect).
    `given` are those of `choices`. ParameterError, all faults at once, for names the city does not know and for a
    design without treated or comparison areas."""
    chosen = choices(city, **given) | {"lang": lang}
    counts = _answered(count_answers(city, item=chosen["item"]))
    while True:
        if counts.sizes["wave"] < 2:
            asked = f"the chosen areas ({', '.join(counts['wave'].values) or 'none'}); allowed: at least two"
            raise ParameterError(f"item {chosen['item']!r} was asked in too few waves of {city.city} in {asked}")
        phases = _phases(city, counts, window=chosen["window"])
        areas, selected, notices = _design(city, chosen, phases, surveyed=list(counts["area"].values))
        kept = _answered(counts.sel(area=areas))
        if kept.sizes["wave"] == counts.sizes["wave"]:
            break
        # A wave that only areas outside the analysis answered is no wave of this evaluation.
        counts = counts.sel(wave=kept["wave"].values)
    phases = phases[phases["project"].isin(selected) & phases["area"].isin(areas)]
    panel = _assemble(city, kept, phases, projects=selected)
    return _describe(panel, city, chosen, notices)


def answers_told(panel, *, lang) -> str:
    """How many answers there are, in words; where that is not published, the assumption and never a total."""
    _, assumed = translator(lang).gettext, panel.attrs["n_assumed"]
    told = _("published percentages, number of answers not published ({n} per area and wave assumed)")
    told = told if assumed else _("{n} answers")
    return told.format(n=number(assumed or float(panel["respondents"].sum()), lang, 0))


def answer_shares(panel) -> pd.DataFrame:
    """Observed answers by group and wave in percent: group, wave, year, answer, share, lower90, upper90 (binomial).
    Classes that a wave lumps together have one row."""
    lower, upper, rows = panel["lower"].values, panel["upper"].values, []
    covers = (lower[:, None] <= lower) & (upper[:, None] >= upper)
    for group, keep in (("treated", panel["treated"].values), ("comparison", ~panel["treated"].values)):
        count = panel["counts"].isel(area=keep).sum(("area", "stratum")).values
        given, total = count > 0, count.sum(1)
        # One category that nobody gave was still an answer, unless another one of that wave covers it.
        listed = given | ((lower == upper) & ~(given @ covers) & (total > 0)[:, None])
        for w, k in np.argwhere(listed):
            p, wave = count[w, k] / total[w], panel["wave"].values[w]
            spread = 1.645 * np.sqrt(p * (1 - p) / total[w])
            bounds = [100 * max(p - spread, 0), 100 * min(p + spread, 1)]
            rows.append([group, wave, panel["year"].values[w], str(panel["answer"].values[k]), 100 * p, *bounds])
    return pd.DataFrame(rows, columns=["group", "wave", "year", "answer", "share", "lower90", "upper90"])


def choices(city, *, item="", unsafe_from="", projects=(), comparison=(), window_months="6-24", minimum_pp=None):
    """The checked choices of an evaluation, defaults filled in; every fault in one ParameterError. `comparison`, which
    limits the never-treated areas, and `projects` are names or one text with `;` between; `unsafe_from` is the first
    category that counts as unsafe. `window_months` and `window` count from full start."""
    validate_survey(city)
    projects, comparison = names_in(projects), names_in(comparison)
    known = [i for i in city.items if ITEMS[i].construct == "insecurity"]
    rows = city.projects[city.projects["project"].isin(projects)] if projects else city.projects
    primary = [i for i in rows["primary_item"].dropna().unique() if i in known]
    item = item or (primary[0] if len(primary) == 1 else next(iter(known), ""))
    levels = ITEMS[item].categories[1:] if item in known else ()
    unsafe_from = unsafe_from or (ITEMS[item].unsafe_from if levels else "")
    own = [
        ("item", [item], f"an item of insecurity in {city.city}", known),
        ("unsafe_from", [unsafe_from] if levels else [], "a category", levels),
    ]
    odd = minimum_pp is not None and not 0 < minimum_pp <= 100
    faults = [f"minimum_pp {minimum_pp!r}: allowed is a number of points above 0"] if odd else []
    window = checked_window(
        city, own, projects=projects, comparison=comparison, window_months=window_months, faults=faults
    )
    return {
        "item": item, "unsafe_from": unsafe_from, "projects": projects, "comparison": comparison,
        "window": window, "minimum_pp": minimum_pp,
    }  # fmt: skip


def names_in(given) -> tuple[str, ...]:
    """Names given one by one, or as one text with `;` between them; each once."""
    parts = given.split(";") if isinstance(given, str) else given or ()
    return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))


def checked_window(city, own, *, projects, comparison, window_months, faults=()) -> tuple[int, int]:
    """The window in months. ParameterError with other `faults` and every name that the city does not know: of projects,
    of comparison areas and of `own` (what it is called, the names given, what they are not, the names allowed)."""
    wanted = [
        *own,
        ("project", projects, f"in {city.city}", city.projects["project"].unique()),
        ("comparison area", comparison, f"in {city.city}", city.areas["area"].unique()),
    ]
    found = []
    for what, names, lacking, allowed in wanted:
        some = (", ".join(allowed[:12]) or "none") + (", ..." if len(allowed) > 12 else "")
        unknown = [name for name in names if name not in allowed]
        found += [f"{what} {name!r} is not {lacking}{nearest(name, allowed)}; allowed: {some}" for name in unknown]
    match = re.fullmatch(r"\s*(\d+)\s*-\s*(\d+)\s*", str(window_months))
    if not match or int(match[1]) >= int(match[2]):
        found.append(f"window_months {window_months!r}: allowed are two whole numbers of months such as 6-24")
    found += faults
    if city.projects.empty:
        found.append(f"{city.city} has no projects: there is nothing to evaluate; allowed: a city with projects.csv")
    if found:
        raise ParameterError("\n".join(found))
    return int(match[1]), int(match[2])


def _answered(counts) -> xr.DataArray:
    """The counts without waves that nobody answered and areas where nobody did."""
    some = counts.sum(("stratum", "answer")) > 0
    return counts.isel(wave=some.any("area").values, area=some.any("wave").values)


def _phases(city, counts, *, window) -> pd.DataFrame:
    """One row per project, area and wave: date, phase, event time (waves since the first running one) and window."""
    waves = city.waves.set_index("wave").loc[list(counts["wave"].values)]
    waves = waves.assign(date=waves["start"] + (waves["end"] - waves["start"]) / 2, position=range(len(waves)))
    waves = waves[["date", "position"]].reset_index()
    table = city.projects[city.projects["area"].isin(counts["area"].values)].merge(waves, how="cross")
    date = table["date"]
    conditions = [date < table["announced"], date < table["full"], date >= table["stop"]]
    table["phase"] = np.select(conditions, ["before", "announced", "stopped"], "running")
    running = table["phase"] == "running"
    first = table["position"].where(running).groupby([table["project"], table["area"]]).transform("min")
    table["event_time"] = (table["position"] - first).where(running, -1).astype(int)
    return in_window(table, date, window=window)


def in_window(table, date, *, window) -> pd.DataFrame:
    """Rows of project, area and time with `window`, whether an effect counts there: running, with `date` between these
    months after full start or, where no time of that project and area is (`fallback`), running at all."""
    running = table["phase"] == "running"
    inside = running & ((date - table["full"]) / MONTH).between(*window)
    fallback = ~inside.groupby([table["project"], table["area"]]).transform("any")
    return table.assign(fallback=fallback, window=np.where(fallback, running, inside))


def _design(city, chosen, phases, *, surveyed):
    """Areas in the analysis, projects left to evaluate, and what the reader must be told; else ParameterError."""
    _ = translator(chosen["lang"]).gettext
    whys = (
        _("Project {project} has no area with answers to this item: it cannot be evaluated."),
        _("Project {project} was already announced or running in the first wave: its areas leave the comparison."),
        _("Project {project} was not in full operation in any wave: it cannot be evaluated."),
    )
    active, never, selected, notices = compare(
        city, phases, whys, projects=chosen["projects"], comparison=chosen["comparison"], areas=surveyed,
        lacking=f"no answers to {chosen['item']}", moment="survey wave", known=city.notices,
    )  # fmt: skip
    by_area = active.groupby("area")["project"].nunique()
    if shared := by_area.index[by_area > 1].tolist():
        text = _("More than one project runs in {areas}: what each did there is hard to tell apart.")
        notices.append(text.format(areas=", ".join(shared)))
    return [area for area in surveyed if area in {*active["area"], *never}], selected, notices


def compare(city, phases, whys, *, projects, comparison, areas, lacking, moment, where="", known=()):
    """Rows of `phases` (one per project, area and time) in treated areas from announcement on, the never-treated areas
    they are compared with, the projects left to evaluate and notices why others are not. `whys`: without a row, begun
    too early, never running; `known` notices are not repeated. ParameterError without treated or comparison areas."""
    active, first = phases[phases["phase"] != "before"], phases.groupby("area")["position"].min()
    early = set(active["area"][active["position"] == active["area"].map(first)])
    late, active = phases[~phases["area"].isin(early)], active[~active["area"].isin(early)]
    fit = [set(rows["project"]) for rows in (phases, late, late[late["phase"] == "running"])]
    notices, selected = [], []
    for project in projects or dict.fromkeys(city.projects["project"]):
        fault = next((why for why, others in zip(whys, fit, strict=True) if project not in others), "")
        if not fault:
            selected.append(project)
        elif not any(notice.startswith(f"project {project} ") for notice in known):
            notices.append(fault.replace("{project}", project))
    if not selected:
        told = [notice for notice in known if notice.startswith("project ")] + notices
        allowed = f"at least one project with a {moment} before its announcement and one after its full start"
        raise ParameterError(
            "\n".join([f"no project left to evaluate in {where}{city.city}; allowed: {allowed}", *told])
        )
    never = [area for area in areas if area not in early | set(active["area"])]
    if wrong := sorted(set(comparison) - set(never)):
        why = f"has a project or {lacking}; allowed: {', '.join(sorted(never)[:12]) or 'none'}"
        raise ParameterError(f"comparison area {', '.join(map(repr, wrong))} {why}")
    never = [area for area in never if area in comparison or not comparison]
    active = active[active["area"].isin(active["area"][active["project"].isin(selected)])]
    if not never and active.groupby("area")["position"].min().nunique() < 2:
        why = f"every area is treated from the same {moment} on; allowed: at least one area without a project"
        raise ParameterError(f"no comparison area in {city.city}: {why}")
    return active, never, selected, notices


def _assemble(city, counts, phases, *, projects) -> xr.Dataset:
    """Everything but the description, on the dims of the counts."""
    areas, waves = list(counts["area"].values), list(counts["wave"].values)
    active, stopped = phases[phases["phase"] != "before"], phases["phase"] == "stopped"
    label = active["event_time"].astype(str).where(active["phase"] == "running", active["phase"])
    active = active.assign(
        effect=active["project"] + " " + label,
        number=active["project"].map(projects.index),
        order=active["event_time"].mask(stopped, len(waves)),  # announced waves have -1
    )
    effects = active.sort_values(["number", "order"]).drop_duplicates("effect")
    design = active.assign(one=1.0).set_index(["area", "wave", "effect"])["one"].to_xarray()
    design = design.reindex(area=areas, wave=waves, effect=effects["effect"].tolist()).fillna(0.0)
    cells = phases.set_index(["project", "area", "wave"])[["phase", "window", "event_time"]].to_xarray()
    cells = cells.reindex(project=projects, area=areas, wave=waves)
    start, about_counts = active.groupby("area")["position"].min().reindex(areas), ["lower", "upper", "respondents"]
    date, table = phases.drop_duplicates("wave").set_index("wave")["date"], city.areas.set_index("area").loc[areas]
    rows = city.projects[city.projects["area"].isin(areas)].groupby("project")
    about = rows.agg({"name": "first", "min_worthwhile_pp": "first", "start": "min"}).loc[projects]
    return xr.Dataset(
        {
            **counts.rename("counts").reset_coords(about_counts)[["counts", *about_counts]],
            "population": residents(city, counts),
            "treated": ("area", start.notna().to_numpy()),
            "cohort": ("area", ["never" if np.isnan(s) else f"from {waves[int(s)]}" for s in start]),
            "exposure": (cells["phase"] == "running").astype(float),
            "event_time": cells["event_time"].fillna(-1).astype(int), "window": cells["window"].fillna(0).astype(bool),
            "design": design, "effect_project": ("effect", effects["number"].to_numpy()),
            "effect_pooled": ("effect", effects["phase"].eq("running").to_numpy()),
            "year": ("wave", (date.dt.year + (date.dt.day_of_year - 1) / 365.25).to_numpy(float)),
            "project_minimum": ("project", about["min_worthwhile_pp"].to_numpy(float)),
        },
        coords={
            "area": areas, "wave": waves, "project": projects,
            "effect": effects["effect"].tolist(),
            "area_name": ("area", table["name"].astype(str).to_numpy(object)),
            "project_name": ("project", about["name"].astype(str).to_numpy(object)),
            "project_start": ("project", about["start"].dt.strftime("%Y-%m").to_numpy(object)),
        },
        attrs={"fallback": int(active.loc[active["window"].astype(bool), "fallback"].any())},
    )  # fmt: skip


def _describe(panel, city, chosen, notices) -> xr.Dataset:
    """Add categories, observed shares and the attributes that report and model read."""
    item = ITEMS[chosen["item"]]
    index = item.categories.index(chosen["unsafe_from"])
    counts = panel["counts"].sum("stratum")
    straddles = (counts * ((panel["lower"] < index) & (panel["upper"] >= index))).sum("answer") > 0
    total = counts.sum("answer")
    unsafe = (counts * (panel["lower"] >= index)).sum("answer") / total.where(total > 0)
    panel = panel.assign_coords(category=list(item.categories)).assign(share_unsafe=unsafe.where(~straddles))
    if not panel["share_unsafe"].notnull().any():
        published = ", ".join(panel["answer"].values[(counts > 0).any(("area", "wave")).values])
        why = f"no wave of {chosen['item']} tells these answers from the ones before; published are: {published}"
        raise ParameterError(f"unsafe_from {chosen['unsafe_from']!r}: {why}")
    before = panel["treated"] & (panel["design"].sum("effect") == 0)
    seen = panel["share_unsafe"].where(before)
    # Where the treated areas' share is not published before the start, everybody's tells the order of size.
    baseline = float((seen if seen.notnull().any() else panel["share_unsafe"]).weighted(total).mean())
    low, high = chosen["window"]
    _ = translator(chosen["lang"]).gettext
    rule = _("The effect counts waves whose fieldwork lies {low} to {high} months after a project’s full start.")
    if panel.attrs["fallback"]:
        rule = _(
            "The effect counts waves whose fieldwork lies {low} to {high} months after a project’s full start, and "
            "where there is none, all waves after it."
        )
    minimum, own = chosen["minimum_pp"], panel["project_minimum"].values
    if minimum is None:  # what all projects state alike (never true where one states none), else the usual
        minimum = own[0] if own.min() == own.max() else usual_minimum(100 * baseline)
    shares = None if city.shares is None else city.shares[city.shares["item"] == chosen["item"]]
    n_assumed = [0.0] if shares is None or not shares["assumed"].any() else shares["n"][shares["assumed"]]
    panel.attrs = {
        "city": city.city, "city_name": city.name, "simulated": int(city.simulated), "item": chosen["item"],
        "question": item.question["en"], "categories": ";".join(item.categories), "unsafe_from": chosen["unsafe_from"],
        "unsafe_index": index, "minimum_pp": float(minimum),
        "baseline_pp": 100 * baseline, "window_rule": rule.format(low=low, high=high), "window_months": f"{low}-{high}",
        "shares": int(shares is not None), "n_assumed": float(np.median(n_assumed)),
        "weighted": int(city.weighted), "equal_areas": int(city.areas["population"].isna().any()),
        "notices": "\n".join([*city.notices, *notices]), "data_hash": city.data_hash,
    }  # fmt: skip
    return panel


def usual_minimum(baseline_pp: float) -> float:
    """Smallest worthwhile effect where nobody stated one: 2 points, or a quarter of the baseline if that is less."""
    return min(2.0, baseline_pp / 4)
