"""The panel of one kind of recorded incidents: counts, exposure and the effects of projects and their neighbours.

Periods (months, quarters or years) stand where `panel` has waves; the rules are in docs/methods.md, "From dates to
exposure". A period that is not recorded is left out and never a zero."""

import numpy as np
import pandas as pd
import xarray as xr

from workbench.errors import ParameterError
from workbench.language import translator
from workbench.panel import MONTH, checked_window, compare, in_window, names_in

LENGTHS = {"M": 1, "Q": 3, "Y": 12}  # months in a period


def build_incidents(
    city, *, kind, projects=(), comparison=(), window_months="6-24", neighbours=True, lang="en"
) -> xr.Dataset:
    """Dims (area, period, effect, project): `counts` (NaN where not recorded), `residents` (times years), `offset` (log
    of the count to expect of an area's residents at the city's own rate), `design`, and per project the area-periods
    that an effect counts over: `window` in its own areas, `beside` in their neighbours. `projects` and `comparison` are
    names or one text with `;` between. ParameterError, all faults at once, for unknown names and for a design without
    treated or comparison areas."""
    rows = _recorded(city)
    named = {"projects": names_in(projects), "comparison": names_in(comparison)}
    own = [("kind", [kind], f"in {city.city}", rows["kind"].unique())]
    window, rows = checked_window(city, own, window_months=window_months, **named), rows[rows["kind"] == kind]
    table = rows.pivot(index="area", columns="month", values="count").dropna(how="all").sort_index(axis=1)
    areas = [area for area in city.areas["area"] if area in table.index]
    counts, periods = table.loc[areas].to_numpy(float), _periods(table.columns)
    recorded = table.stack().dropna().index.to_frame(index=False)[["area", "month"]].rename(columns={"month": "period"})
    phases = _phases(city.projects, periods, recorded=recorded, window=window)
    _ = translator(lang).gettext
    whys = (
        _("Project {project}: no {kind} are recorded in its areas."),
        _("Project {project} was already announced or running in the first period of {kind}: its areas leave the comparison."),
        _("Project {project} was not in full operation in any period of {kind}."),
    )  # fmt: skip
    active, never, selected, notices = compare(
        city, phases, [why.replace("{kind}", kind) for why in whys], **named, areas=areas,
        lacking=f"no recorded {kind}", moment="recorded period", where=f"{kind} of ",
    )  # fmt: skip
    adjacency, running = pairs(city), phases[phases["phase"] == "running"]
    own = phases[phases["area"].isin(active["area"]) & phases["project"].isin(selected)]
    # What moves next door does so whether or not it is recorded where the project runs.
    every = pd.MultiIndex.from_product([city.areas["area"], periods["period"]], names=["area", "period"])
    every = _phases(city.projects, periods, recorded=every.to_frame(index=False), window=window)
    source = every[every["area"].isin(own["area"]) & every["project"].isin(selected)]
    near = _beside(source, adjacency, every) if neighbours else own[:0]
    near = near[near["area"].isin(areas)]
    # Beside a project that was not chosen is no place for a comparison, as long as one apart from both is left.
    others = adjacency["near"][adjacency["area"].isin(running["area"][~running["project"].isin(selected)])]
    apart = [] if comparison or not neighbours else [area for area in never if area not in set(others)]
    never = apart if set(apart) - set(near["area"]) else never
    if neighbours and adjacency.empty:
        notices.append(
            _("Which areas lie beside each other is not known: incidents that moved next door cannot be seen.")
        )
    elif len(never) and set(near["area"]) >= set(never):
        text = _("Every comparison area lies beside a project area: what moved next door cannot be told apart.")
        notices, near = [*notices, text], near[:0]
    kept = np.isin(areas, [*active["area"], *never, *near["area"]])
    areas, counts = [area for area, keep in zip(areas, kept, strict=True) if keep], counts[kept]
    if missing := int(np.isnan(counts).sum()):
        text = _("{kind}: {n} of {all} area-periods are not recorded and left out.")
        notices.append(text.format(kind=kind, n=missing, all=counts.size))
    if own.loc[own["window"].astype(bool), "fallback"].any():
        text = _("{kind}: where no recorded period lies {low} to {high} months after full start, all later ones count.")
        notices.append(text.format(kind=kind, low=window[0], high=window[1]))
    if not np.nansum(counts) > 0:
        raise ParameterError(f"no incident of kind {kind!r} was recorded in the chosen areas of {city.city}")
    panel = _assemble(pd.concat([own, near]), areas=areas, periods=periods, projects=selected)
    people = _residents(city, rows, areas, periods) * periods["months"].to_numpy() / 12
    usual = people * np.nansum(counts) / people[np.isfinite(counts)].sum()
    beside = adjacency[adjacency["area"].isin(areas) & adjacency["near"].isin(areas)]
    return panel.assign(
        counts=(("area", "period"), counts),
        residents=(("area", "period"), people),
        offset=(("area", "period"), np.log(usual)),
        adjacency=(("area", "near"), pd.crosstab(beside["area"], beside["near"]).reindex(
            index=areas, columns=areas, fill_value=0).to_numpy(bool)),
    ).assign_attrs(
        city=city.city, kind=kind, discretion=city.discretion.get(kind, "some"), simulated=int(city.simulated),
        window_months="{}-{}".format(*window), notices="\n".join(notices),
    )  # fmt: skip


def build_panels(city, **chosen) -> tuple[dict[str, xr.Dataset], list[str]]:
    """The panel of each kind that can be evaluated, and why others cannot; ParameterError where none can."""
    panels, faults = {}, []
    for kind in _recorded(city)["kind"].unique():
        try:
            panels[kind] = build_incidents(city, kind=kind, **chosen)
        except ParameterError as error:
            faults += str(error).split("\n")
    if not panels:
        raise ParameterError("\n".join(dict.fromkeys(faults)))
    return panels, faults


def _recorded(city) -> pd.DataFrame:
    if city.incidents is None:
        raise ParameterError(f"{city.city} has no recorded incidents; allowed: a city with incidents.csv")
    return city.incidents


def pairs(city) -> pd.DataFrame:
    """Areas beside each other, `area` and `near`, both ways round: either may name the other."""
    listed = city.areas.get("neighbours", pd.Series("", city.areas.index)).fillna("").str.split(";")
    table = pd.DataFrame({"area": city.areas["area"], "near": listed}).explode("near")
    table = table.assign(near=table["near"].str.strip()).query("near != '' and near != area")
    both = pd.concat([table, table.rename(columns={"area": "near", "near": "area"})[["area", "near"]]])
    return both.drop_duplicates().reset_index(drop=True)


def _periods(texts) -> pd.DataFrame:
    """One row per period: first day, first day after it, months, calendar year, place in the year from 0."""
    length = "Y" if len(texts[0]) == 4 else "Q" if "Q" in texts[0] else "M"
    index = pd.PeriodIndex([text.replace("-Q", "Q") for text in texts], freq=length)
    starts, months = index.start_time, LENGTHS[length]
    about = {"period": list(texts), "begins": starts, "ends": starts + pd.DateOffset(months=months), "months": months}
    return pd.DataFrame(
        about | {"year": index.year, "season": (starts.month - 1) // months, "position": range(len(index))}
    )


def _phases(projects, periods, *, recorded, window) -> pd.DataFrame:
    """One row per project, area and recorded period: phase, full years since full start (3 = 3 and later), and window."""
    table = projects.merge(recorded, on="area").merge(periods, on="period")
    begins, ends, full = table["begins"], table["ends"], table["full"]
    conditions = [ends <= table["announced"], begins < full, ends > table["stop"]]
    table["phase"] = np.select(conditions, ["before", "announced", "stopped"], "running")
    running = table["phase"] == "running"
    months = 12 * (begins.dt.year - full.dt.year) + begins.dt.month - full.dt.month - (begins.dt.day < full.dt.day)
    table["since"] = (months // 12).clip(0, 3).where(running, -1)
    # Calendar months, so that whether a period counts does not hang on leap years.
    after = 12 * (begins.dt.year - full.dt.year) + begins.dt.month - full.dt.month + table["months"] / 2
    middle = full + (after - (full.dt.day - 1) / 30.4375) * MONTH
    suffix = table["since"].astype(str).where(running, table["phase"])
    return in_window(table.assign(role="treated", effect=table["project"] + " " + suffix), middle, window=window)


def _beside(own, adjacency, phases) -> pd.DataFrame:
    """The rows of areas beside a project from its full start on, as long as no project of `phases` is there or
    announced: an effect of their own."""
    rows = own[own["phase"].isin(["running", "stopped"])].merge(adjacency, on="area")
    busy = pd.MultiIndex.from_frame(phases.loc[phases["phase"] != "before", ["area", "period"]])
    rows = rows[~pd.MultiIndex.from_frame(rows[["near", "period"]]).isin(busy)]
    rows = rows.assign(area=rows["near"], role="neighbours", since=-1, effect="neighbours of " + rows["project"])
    rows["effect"] += np.where(rows["phase"] == "stopped", ", stopped", "")
    # Beside two areas of one project, the one that still runs counts.
    key = ["project", "area", "period"]
    rows["window"] = rows.groupby(key)["window"].transform("any")
    return rows.sort_values("phase").drop_duplicates(key)


def _assemble(rows, *, areas, periods, projects) -> xr.Dataset:
    """Exposure on the dims of the panel."""
    names = periods["period"].tolist()
    active = rows[rows["phase"] != "before"]
    order = active["since"].mask(active["phase"] == "stopped", 4) + 10 * (active["role"] == "neighbours")
    active = active.assign(number=active["project"].map(projects.index), order=order)
    effects = active.sort_values(["number", "order"]).drop_duplicates("effect")
    kinds = effects["role"].where(effects["phase"] == "running", effects["phase"]).replace("treated", "running")
    place = {"area": areas, "period": names, "project": projects, "effect": effects["effect"].tolist()}

    def grid(frame, *dims, value=True, empty=False):
        """A value per chosen row on `dims`."""
        made = np.full([len(place[dim]) for dim in dims], empty)
        made[tuple(pd.Index(place[dim]).get_indexer(frame[dim]) for dim in dims)] = value
        return dims, made

    treated, near = (active[active["role"] == role] for role in ("treated", "neighbours"))
    counted = lambda frame: grid(frame[frame["window"].astype(bool)], "project", "area", "period")
    first = treated.groupby("area")["position"].min().reindex(areas)
    return xr.Dataset(
        {
            "design": grid(active, "area", "period", "effect", value=1.0, empty=0.0),
            "window": counted(treated), "beside": counted(near),
            "since": grid(treated, "project", "area", "period", value=treated["since"].to_numpy(int), empty=-1),
            "treated": ("area", first.notna().to_numpy()), "neighbour": ("area", first.isna().to_numpy() & np.isin(areas, near["area"])),
            "cohort": ("area", ["never" if np.isnan(p) else f"from {names[int(p)]}" for p in first]),
            "effect_project": ("effect", effects["number"].to_numpy(int)),
            "effect_kind": ("effect", kinds.to_numpy(object)), "effect_since": ("effect", effects["since"].to_numpy(int)),
        },
        coords=place | {name: ("period", periods[name].to_numpy()) for name in ("year", "season", "months")},
    )  # fmt: skip


def _residents(city, rows, areas, periods) -> np.ndarray:
    """Residents by area and period: the rows' own where they are told, else the area's; without any, 1 everywhere."""
    general = city.areas.set_index("area").get("population", pd.Series(dtype=float)).reindex(areas).to_numpy(float)
    if "population" not in rows or rows["population"].isna().all():
        own = np.full((len(areas), len(periods)), np.nan)
    else:
        own = rows.pivot(index="area", columns="month", values="population").reindex(areas, columns=periods["period"])
        own = own.ffill(axis=1).bfill(axis=1).to_numpy(float)
    found = np.where(np.isnan(own), general[:, None], own)
    return np.ones_like(found) if np.isnan(found).any() else found
