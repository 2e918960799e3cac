"""What must hold between the rows and tables of one city, once every column by itself is in order.

Each check takes all tables and sheets, adds faults, and returns notices for the reader.
"""

import pandas as pd

from workbench.errors import nearest
from workbench.items import ITEMS
from workbench.schema import STRATA, Faults, Sheet

Tables = dict[str, pd.DataFrame]
Sheets = dict[str, Sheet]
PROJECT_DATES = ("announced", "start", "full", "stop")
TOTALS_DIFFER = 0.05


def check_areas(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """At least two areas; ids usable in lists; population for all areas or for none; neighbours known."""
    areas, sheet = tables["areas"], sheets["areas"]
    ids = areas["area"]
    if ids.nunique() == 1:
        faults.add(sheet, "area", ids, "two areas or more: one area alone has nothing to be compared with")
    faults.add(sheet, "area", ids[ids.str.contains(";", na=False)], "no ';' in an area, it separates lists")
    if "population" in areas and areas["population"].notna().any():
        text = sheet.frame["population"]
        faults.add(sheet, "population", text[text.isna()], "a number above 0 for every area, or for none")
    _check_lists(sheet, areas, "neighbours", known=ids, faults=faults)
    return []


def check_waves(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Each wave ends after it starts, and no two overlap; areas of a break are known; someone answered."""
    waves, sheet = tables["waves"], sheets["waves"]
    dated = waves.dropna(subset=["start", "end"]).sort_values("start")
    inverted = dated["end"] < dated["start"]
    faults.add(sheet, "end", dated.loc[inverted, "end"], "a date on or after start")
    overlap = (dated["start"] <= dated["end"].cummax().shift()) & ~inverted
    faults.add(sheet, "start", dated.loc[overlap, "start"], "a date after the wave before has ended")
    _check_lists(sheet, waves, "break_areas", known=tables["areas"]["area"], faults=faults)
    return []


def check_respondents(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Areas and waves known, answers in every wave, answers that differ; notices on off-scale answers."""
    rows, sheet = tables["respondents"], sheets["respondents"]
    _check_known(sheet, rows, "area", tables["areas"]["area"], faults=faults)
    _check_known(sheet, rows, "wave", tables["waves"]["wave"], faults=faults)
    items = [name for name in rows.columns if name in ITEMS]
    if not items:
        own = [name for name in sheet.frame.columns if name not in rows.columns]
        hint = next((found for name in own if (found := nearest(name, ITEMS))), "")
        faults.say(
            f"{sheet.file}, line 1: no column holds a survey item{hint}; allowed: {', '.join(ITEMS)}, or map "
            "one of your columns under [respondents.columns]"
        )
        return []
    for name in items:
        if rows[name].nunique() <= 1:
            given = rows[name].dropna()
            shown = given if len(given) else rows[name]
            faults.add(sheet, name, shown, "at least two different answers to an item")
    answered = rows.loc[rows[items].notna().any(axis=1), "wave"]
    _check_no_empty_wave(tables, sheets, answered, sheet.file, faults=faults)
    return [notice for name in items if (notice := _off_scale(sheet, name))]


def _off_scale(sheet: Sheet, name: str) -> str:
    """Return a notice on answers such as "never goes out", which are informative but not on the scale."""
    item, codes, text = ITEMS[name], sheet.codes.get(name, {}), sheet.frame[name]
    off = text.isin([*item.off_scale, *(code for code, label in codes.items() if label in item.off_scale)])
    if not off.any():
        return ""
    share, what = 100 * off.sum() / text.notna().sum(), ", ".join(item.off_scale)
    return f"{name}: {share:.1f} % answered {what}: off the scale and left out, though not missing at random"


def check_shares(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Areas, waves and categories known; shares of one area, wave and item sum to 100 as far as rounding explains."""
    rows, sheet = tables["shares"], sheets["shares"]
    _check_known(sheet, rows, "area", tables["areas"]["area"], faults=faults)
    _check_known(sheet, rows, "wave", tables["waves"]["wave"], faults=faults)
    for name, part in rows.groupby("item"):
        _check_known(sheet, part, "category", pd.Series(ITEMS[name].categories), faults=faults)
        counted = part[part["share"] > 0]
        if counted["category"].nunique() <= 1 and (counted["share"] >= 100).all():
            faults.add(sheet, "category", counted["category"], f"at least two different answers to {name}")
    complete = rows.dropna(subset=["area", "wave", "item", "category", "share"])
    if len(rows):
        _check_no_empty_wave(tables, sheets, complete["wave"], sheet.file, faults=faults)
    if len(complete) and "share" in sheet.frame:
        _check_sums(sheet, complete, faults=faults)
    return []


def _check_sums(sheet: Sheet, rows: pd.DataFrame, *, faults: Faults) -> None:
    """A wave that lists only some classes leaves the rest implied: then the sum may not exceed 100."""
    decimals = sheet.frame["share"].str.replace(",", ".").str.extract(r"\.(\d+)$")[0].str.len().fillna(0)
    rows = rows.assign(line=rows.index, decimals=decimals.reindex(rows.index))
    # The precision of a wave and item is that of its most precise share: "8" among "7.5" is exact to 0.1 as well.
    rows["step"] = 10.0 ** -rows.groupby(["wave", "item"])["decimals"].transform("max")
    cells = rows.groupby(["area", "wave", "item"], sort=False, as_index=False).agg(
        line=("line", "first"), total=("share", "sum"), listed=("category", "nunique"), step=("step", "first")
    )
    full = cells["listed"] == cells["item"].map({name: len(item.categories) for name, item in ITEMS.items()})
    slack = (0.5 * cells["step"] * cells["listed"]).clip(lower=0.01) + 1e-9
    off = cells[(cells["total"] > 100 + slack) | (full & (cells["total"] < 100 - slack))].set_index("line")
    if len(off):
        shown = [f"sum {row.total:.6g} of {row.area}, {row.wave}, {row.item}" for row in off.itertuples()]
        allowed = f"shares that sum to 100 within {slack[cells['line'].isin(off.index)].max():.2g}, which is what rounding explains"
        faults.add(sheet, "share", pd.Series(shown, index=off.index), allowed)


def check_population(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Residents in every area and for every kind of respondent; notices on totals and on who was not asked."""
    cells, sheet, areas = tables["population"], sheets["population"], tables["areas"]
    _check_known(sheet, cells, "area", areas["area"], faults=faults)
    strata = [name for name in STRATA if name in cells]
    if not strata:
        faults.say(f"{sheet.file}, line 1: residents by nothing but area; allowed: one or more of {', '.join(STRATA)}")
    rows, notices = tables.get("respondents", pd.DataFrame()), []
    for name in strata:
        faults.add(sheet, name, cells.loc[cells[name].isna(), name], "a value in every row")
        if name in rows and rows[name].notna().any():
            bad = rows.loc[rows[name].notna() & ~rows[name].isin([*cells[name], "unknown"]), name]
            faults.add(sheets["respondents"], name, bad, f"{_names(cells[name], bad)}, as in {sheet.file}, or unknown")
            absent = cells[name].notna() & ~cells[name].isin(rows[name].unique())
            if absent.any():
                share = 100 * cells.loc[absent, "population"].sum() / cells["population"].sum()
                notices.append(
                    f"{sheet.file}: {share:.1f} % of residents have a {name} that nobody in the survey has "
                    f"({', '.join(cells.loc[absent, name].unique())}): the effect does not speak for them"
                )
    sums = pd.DataFrame({"here": areas["area"].map(cells.groupby("area")["population"].sum())}).join(areas)
    faults.add(sheets["areas"], "area", sums.loc[~(sums["here"] > 0), "area"], f"areas with residents in {sheet.file}")
    if "population" in sums and (gap := (sums["here"] / sums["population"] - 1).abs()).max() > TOTALS_DIFFER:
        most = sums.loc[gap.idxmax()]
        notices.append(
            f"{sheet.file} and {sheets['areas'].file} differ in residents by more than {100 * TOTALS_DIFFER:.0f} % "
            f"(most in {most['area']}: {most['here']:,.0f} and {most['population']:,.0f}); the effect counts those of {sheet.file}"
        )
    return notices


def check_projects(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Project ids, areas and dates; notices on projects that cannot be evaluated (yet)."""
    projects, sheet = tables["projects"], sheets["projects"]
    ids = projects["project"].dropna()
    bad = ids[~ids.str.fullmatch(r"[a-z0-9_-]{1,100}").astype(bool)]
    faults.add(sheet, "project", bad, "lower-case letters, digits, - and _, for it names files")
    _check_known(sheet, projects, "area", tables["areas"]["area"], faults=faults)
    dates = projects[[name for name in PROJECT_DATES if name in projects]]
    latest = dates.cummax(axis=1).ffill(axis=1).shift(axis=1)
    for name in dates.columns[1:]:
        early = dates[name] < latest[name]
        faults.add(sheet, name, dates.loc[early, name], "a date in the order announced, start, full, stop")
    return _check_before_and_after(tables, sheet, faults=faults)


def check_collective_impact(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Projects known; a column of scores, though any of them may be empty ("don't know")."""
    rows, sheet = tables["collective_impact"], sheets["collective_impact"]
    known = tables.get("projects", pd.DataFrame(columns=["project"]))["project"]
    _check_known(sheet, rows, "project", known, faults=faults)
    if "score" not in rows:
        faults.say(f"{sheet.file}, line 1, column 'score' is missing; allowed: a heading score, its cells may be empty")
    return []


def check_indicators(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Areas known; no area means the whole city."""
    if "area" in tables["indicators"]:
        known = tables["areas"]["area"]
        _check_known(sheets["indicators"], tables["indicators"], "area", known, faults=faults)
    return []


def _check_before_and_after(tables: Tables, sheet: Sheet, *, faults: Faults) -> list[str]:
    """A project needs a wave before it and one after it, and areas that at that time had none."""
    waves = tables["waves"].dropna(subset=["start", "end"])
    dated = tables["projects"].dropna(subset=["project", "area", "start"])
    if dated.empty or waves.empty:
        return []
    running = dated["start"] <= waves["end"].min()
    future = dated["start"] > waves["end"].max()
    notices = [
        f"project {name} was already running in the first wave: it cannot be evaluated, and its areas "
        f"({', '.join(rows['area'])}) leave the comparison"
        for name, rows in dated[running].groupby("project")
    ]
    late = dated.loc[future, "project"].unique()
    notices += [f"project {name} starts after the last wave: it cannot be evaluated yet" for name in late]
    usable = dated[~running & ~future]
    if usable.empty and running.any():
        allowed = f"at least one project that starts after the first wave ({waves['end'].min():%Y-%m-%d})"
        faults.add(sheet, "start", dated.loc[running, "start"], allowed)
    elif len(usable) and not _comparison_exists(tables, dated, usable):
        allowed = (
            "in some wave after a start at least one surveyed area without a project: here no comparison area is left"
        )
        faults.add(sheet, "area", usable["area"], allowed)
    return notices


def _comparison_exists(tables: Tables, dated: pd.DataFrame, usable: pd.DataFrame) -> bool:
    """Is there a wave with answers both from areas where an evaluable project runs and from untreated ones?"""
    answers = tables.get("respondents", tables.get("shares"))
    surveyed = answers[["area", "wave"]].dropna().drop_duplicates().merge(tables["waves"][["wave", "end"]], on="wave")
    first, first_usable = (surveyed["area"].map(rows.groupby("area")["start"].min()) for rows in (dated, usable))
    surveyed["untreated"] = first.isna() | (first > surveyed["end"])
    surveyed["treated"] = (first_usable <= surveyed["end"]) & ~surveyed["untreated"]
    by_wave = surveyed.groupby("wave")[["treated", "untreated"]].any()
    # A treated area that is not surveyed after the start is build_panel's business, not a missing comparison.
    return bool(by_wave.all(axis=1).any() or not by_wave["treated"].any())


def _check_lists(sheet: Sheet, table: pd.DataFrame, column: str, *, known: pd.Series, faults: Faults) -> None:
    """Every part of a `;` list must be a known area."""
    if column in table:
        parts = table[column].dropna().str.split(";").explode().str.strip().replace("", None)
        _check_known(sheet, parts.to_frame(), column, known, faults=faults)


def _check_no_empty_wave(tables: Tables, sheets: Sheets, answered: pd.Series, file: str, *, faults: Faults) -> None:
    waves = tables["waves"]["wave"].dropna()
    faults.add(sheets["waves"], "wave", waves[~waves.isin(answered.unique())], f"a wave with answers in {file}")


def _check_known(sheet: Sheet, table: pd.DataFrame, column: str, known: pd.Series, *, faults: Faults) -> None:
    bad = table.loc[table[column].notna() & ~table[column].isin(known), column]
    faults.add(sheet, column, bad, _names(known, bad))


def _names(known: pd.Series, bad: pd.Series) -> str:
    names = known.dropna().unique().tolist()
    some = ", ".join(names[:10]) + (f", ... ({len(names)} in all)" if len(names) > 10 else "")
    return some + (nearest(bad.iloc[0], names) if len(bad) else "")


CHECKS = {
    "areas": check_areas, "waves": check_waves, "respondents": check_respondents, "shares": check_shares,
    "population": check_population, "projects": check_projects,
    "collective_impact": check_collective_impact, "indicators": check_indicators,
}  # fmt: skip
