"""What must hold between the rows and tables of one city, once every column by itself is in order."""

import pandas as pd

from workbench.errors import nearest
from workbench.items import ITEMS
from workbench.schema import STRATA, Faults, Sheet

Tables = dict[str, pd.DataFrame]
Sheets = dict[str, Sheet]
PROJECT_DATES = ("announced", "start", "full", "stop")
TOTALS_DIFFER = 0.05


def check_areas(tables: Tables, sheets: Sheets, *, faults: Faults) -> None:
    """At least two areas; ids usable in lists; population for all areas or for none; neighbours known."""
    areas, sheet = tables["areas"], sheets["areas"]
    ids = areas["area"]
    if ids.nunique() == 1:
        faults.add(sheet, "area", ids, "two areas or more: one area alone has nothing to be compared with")
    faults.add(sheet, "area", ids[ids.str.contains(";", na=False)], "no ';' in an area, it separates lists")
    if "population" in areas and areas["population"].notna().any() and "population" in sheet.frame:
        text = sheet.frame["population"]
        faults.add(sheet, "population", text[text.isna()], "a number above 0 for every area, or for none")
    _check_lists(sheet, areas, "neighbours", known=ids, faults=faults)


def check_waves(tables: Tables, sheets: Sheets, *, faults: Faults) -> None:
    """Each wave ends after it starts, and no two overlap; areas of a break are known."""
    waves, sheet = tables["waves"], sheets["waves"]
    dated = waves.dropna(subset=["start", "end"]).sort_values("start")
    inverted = dated["end"] < dated["start"]
    faults.add(sheet, "end", dated.loc[inverted, "end"], "a date on or after start")
    earlier_end = dated["end"].cummax().shift()
    overlap = (dated["start"] <= earlier_end) & ~inverted
    faults.add(sheet, "start", dated.loc[overlap, "start"], "a date after the wave before has ended")
    _check_lists(sheet, waves, "break_areas", known=tables["areas"]["area"], faults=faults)


def _check_lists(sheet: Sheet, table: pd.DataFrame, column: str, *, known: pd.Series, faults: Faults) -> None:
    """Every part of a `;` list must be a known area."""
    if column not in table:
        return
    parts = table[column].dropna().str.split(";").explode().str.strip()
    parts = parts[(parts != "") & ~parts.isin(known)]
    faults.add(sheet, column, parts, _names(known, parts))


def check_projects(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Project ids, areas and dates; return the notices on projects that cannot be evaluated (yet)."""
    projects, sheet = tables["projects"], sheets["projects"]
    ids, areas = projects["project"], tables["areas"]["area"]
    bad = ids[ids.notna() & ~ids.str.fullmatch(r"[a-z0-9_-]{1,100}").fillna(False).astype(bool)]
    faults.add(sheet, "project", bad, "lower-case letters, digits, - and _, for it names files")
    _check_known(sheet, projects, "area", areas, faults=faults)
    dates = projects[[name for name in PROJECT_DATES if name in projects]]
    latest = dates.cummax(axis=1).ffill(axis=1).shift(axis=1)
    for name in dates.columns[1:]:
        early = dates[name] < latest[name]
        faults.add(sheet, name, dates.loc[early, name], "a date in the order announced, start, full, stop")
    return _check_before_and_after(tables, sheet, faults=faults)


def _check_before_and_after(tables: Tables, sheet: Sheet, *, faults: Faults) -> list[str]:
    """A project needs a wave before it and one after it, and areas that at that time had none."""
    projects, waves = tables["projects"], tables["waves"].dropna(subset=["start", "end"])
    dated = projects.dropna(subset=["project", "area", "start"])
    if dated.empty or waves.empty:
        return []
    running = dated["start"] <= waves["end"].min()
    future = dated["start"] > waves["end"].max()
    notices = [
        f"project {name} was already running in the first wave: it cannot be evaluated, and its areas "
        f"({', '.join(rows['area'])}) leave the comparison"
        for name, rows in dated[running].groupby("project")
    ]
    notices += [
        f"project {name} starts after the last wave: it cannot be evaluated yet"
        for name in dated.loc[future, "project"].unique()
    ]
    usable = dated[~running & ~future]
    if usable.empty and running.any():
        allowed = f"at least one project that starts after the first wave ({waves['end'].min():%Y-%m-%d})"
        faults.add(sheet, "start", dated.loc[running, "start"], allowed)
    elif len(usable) and not _comparison_exists(tables, dated, usable):
        faults.add(
            sheet,
            "area",
            usable["area"],
            "in some wave after a start at least one surveyed area without a project: here no comparison area is left",
        )
    return notices


def _comparison_exists(tables: Tables, dated: pd.DataFrame, usable: pd.DataFrame) -> bool:
    """Is there a wave with answers both from areas where an evaluable project runs and from untreated ones?"""
    answers = tables.get("respondents", tables.get("shares"))
    surveyed = answers[["area", "wave"]].dropna().drop_duplicates()
    surveyed = surveyed.merge(tables["waves"][["wave", "end"]], on="wave")
    first_start = surveyed["area"].map(dated.groupby("area")["start"].min())
    surveyed["untreated"] = first_start.isna() | (first_start > surveyed["end"])
    usable_start = surveyed["area"].map(usable.groupby("area")["start"].min())
    surveyed["treated"] = (usable_start <= surveyed["end"]) & ~surveyed["untreated"]
    by_wave = surveyed.groupby("wave")[["treated", "untreated"]].any()
    # A treated area that is not surveyed after the start is build_panel's business, not a missing comparison.
    return bool(by_wave.all(axis=1).any() or not by_wave["treated"].any())


def check_respondents(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Areas and waves known, answers in every wave, answers that differ; return notices on off-scale answers."""
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
    if len(rows):
        for name in items:
            _check_varied(sheet, name, rows[name], faults=faults)
        answered = rows.loc[rows[items].notna().any(axis=1), "wave"].unique()
        _check_no_empty_wave(tables, sheets, answered, sheet.file, faults=faults)
    return [notice for name in items if (notice := _off_scale(sheet, name))]


def _off_scale(sheet: Sheet, name: str) -> str:
    """Return a notice on answers such as "never goes out", which are informative but not on the scale."""
    item, codes = ITEMS[name], sheet.codes.get(name, {})
    theirs = [*item.off_scale, *(code for code, label in codes.items() if label in item.off_scale)]
    text = sheet.frame[name]
    count = int(text.isin(theirs).sum()) if theirs else 0
    if not count:
        return ""
    share = 100 * count / max(int(text.notna().sum()), 1)
    what = ", ".join(item.off_scale)
    return f"{name}: {share:.1f} % answered {what}: off the scale and left out, though not missing at random"


def _check_varied(sheet: Sheet, name: str, answers: pd.Series, *, faults: Faults) -> None:
    given = answers.dropna()
    if given.nunique() <= 1:
        shown = given if len(given) else answers
        faults.add(sheet, name, shown, "at least two different answers to an item")


def _check_no_empty_wave(tables: Tables, sheets: Sheets, answered: object, file: str, *, faults: Faults) -> None:
    waves = tables["waves"]["wave"]
    faults.add(
        sheets["waves"],
        "wave",
        waves[waves.notna() & ~waves.isin(answered)],
        f"a wave with answers in {file}",
    )


def _check_known(sheet: Sheet, table: pd.DataFrame, column: str, known: pd.Series, *, faults: Faults) -> None:
    values = table[column]
    bad = values[values.notna() & ~values.isin(known)]
    faults.add(sheet, column, bad, _names(known, bad))


def _names(known: pd.Series, bad: pd.Series) -> str:
    names = known.dropna().unique().tolist()
    some = ", ".join(names[:10]) + (f", ... ({len(names)} in all)" if len(names) > 10 else "")
    return some + (nearest(bad.iloc[0], names) if len(bad) else "")


def check_population(tables: Tables, sheets: Sheets, *, faults: Faults) -> list[str]:
    """Residents in every area and for every kind of respondent; return notices on totals and on who was not asked."""
    cells, sheet, areas = tables["population"], sheets["population"], tables["areas"]
    _check_known(sheet, cells, "area", areas["area"], faults=faults)
    strata = [name for name in STRATA if name in cells]
    if not strata:
        faults.say(f"{sheet.file}, line 1: residents by nothing but area; allowed: one or more of {', '.join(STRATA)}")
    rows, notices = tables.get("respondents", pd.DataFrame()), []
    for name in strata:
        faults.add(sheet, name, cells.loc[cells[name].isna(), name], "a value in every row")
        if name in rows:
            bad = rows.loc[rows[name].notna() & ~rows[name].isin([*cells[name], "unknown"]), name]
            faults.add(sheets["respondents"], name, bad, f"{_names(cells[name], bad)}, as in {sheet.file}, or unknown")
            absent = cells[name].notna() & ~cells[name].isin(rows[name]) & rows[name].notna().any()
            if absent.any():
                share = 100 * cells.loc[absent, "population"].sum() / cells["population"].sum()
                notices.append(
                    f"{sheet.file}: {share:.1f} % of residents have a {name} that nobody in the survey has "
                    f"({', '.join(cells.loc[absent, name].unique())}): the effect does not speak for them"
                )
    here = areas["area"].map(cells.groupby("area")["population"].sum())
    faults.add(sheets["areas"], "area", areas["area"][~(here > 0)], f"areas with residents in {sheet.file}")
    gap = (here / areas["population"] - 1).abs()
    if (gap > TOTALS_DIFFER).any():
        area, one, other = areas["area"][gap.idxmax()], here[gap.idxmax()], areas["population"][gap.idxmax()]
        notices.append(
            f"{sheet.file} and {sheets['areas'].file} differ in residents by more than {100 * TOTALS_DIFFER:.0f} % "
            f"(most in {area}: {one:,.0f} and {other:,.0f}); the effect counts those of {sheet.file}"
        )
    return notices


def check_shares(tables: Tables, sheets: Sheets, *, faults: Faults) -> None:
    """Areas, waves and categories known; shares of one area, wave and item sum to 100 as far as rounding explains."""
    rows, sheet = tables["shares"], sheets["shares"]
    _check_known(sheet, rows, "area", tables["areas"]["area"], faults=faults)
    _check_known(sheet, rows, "wave", tables["waves"]["wave"], faults=faults)
    for name, part in rows.groupby("item"):
        categories = pd.Series(ITEMS[name].categories)
        _check_known(sheet, part, "category", categories, faults=faults)
        counted = part[part["share"] > 0]
        if counted["category"].nunique() <= 1 and (counted["share"] >= 100).all() and len(counted):
            faults.add(sheet, "category", counted["category"], f"at least two different answers to {name}")
    complete = rows.dropna(subset=["area", "wave", "item", "category", "share"])
    if len(rows):
        _check_no_empty_wave(tables, sheets, complete["wave"].unique(), sheet.file, faults=faults)
    _check_sums(sheet, complete, faults=faults)


def _check_sums(sheet: Sheet, rows: pd.DataFrame, *, faults: Faults) -> None:
    """A wave that lists only some classes leaves the rest implied: then the sum may not exceed 100."""
    if rows.empty or "share" not in sheet.frame:
        return
    decimals = sheet.frame["share"].str.replace(",", ".").str.extract(r"\.(\d+)$")[0].str.len().fillna(0)
    rows = rows.assign(line=rows.index, decimals=decimals.reindex(rows.index))
    # The precision of a wave and item is that of its most precise share: "8" among "7.5" is exact to 0.1 as well.
    rows["step"] = 10.0 ** -rows.groupby(["wave", "item"])["decimals"].transform("max")
    cells = rows.groupby(["area", "wave", "item"], sort=False).agg(
        line=("line", "first"), total=("share", "sum"), listed=("category", "nunique"), step=("step", "first")
    )
    sizes = {name: len(item.categories) for name, item in ITEMS.items()}
    full = cells["listed"] == cells.index.get_level_values("item").map(sizes)
    slack = (0.5 * cells["step"] * cells["listed"]).clip(lower=0.01) + 1e-9
    off = (cells["total"] > 100 + slack) | (full & (cells["total"] < 100 - slack))
    if not off.any():
        return
    bad = cells[off].reset_index()
    shown = [f"sum {total:.6g} of {', '.join(key)}" for total, *key in bad[["total", "area", "wave", "item"]].values]
    allowed = f"shares that sum to 100 within {slack[off].max():.2g}, which is what rounding explains"
    faults.add(sheet, "share", pd.Series(shown, index=bad["line"]), allowed)
