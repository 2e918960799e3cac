"""What must hold between the rows and tables of one city, once every column by itself is in order."""

from itertools import product

import pandas as pd

from workbench.errors import nearest
from workbench.items import ITEMS
from workbench.schema import STRATA, Sheet

Tables = dict[str, pd.DataFrame]
Sheets = dict[str, Sheet]
HOMES = {"area": "areas", "wave": "waves", "project": "projects", "neighbours": "areas", "break_areas": "areas"}
PROJECT_DATES = ("announced", "start", "full", "stop")
MOST_NAMES = 10  # of a city's own areas and waves, as many as a message lists
TOTALS_DIFFER = 0.05
MOST_KINDS = 100  # of incidents


def check(tables: Tables, sheets: Sheets) -> None:
    """Add every fault and notice of the tables that are there."""
    check_names(tables, sheets)
    checks = {"areas": check_areas, "waves": check_waves, "respondents": check_respondents, "shares": check_shares}
    checks |= {"population": check_population, "projects": check_projects, "incidents": check_incidents}
    for table in [table for table in checks if table in tables]:
        checks[table](tables, sheets)


def check_names(tables: Tables, sheets: Sheets) -> None:
    """Areas, waves and projects stand in the table of their own, and so does each part of a `;` list of areas."""
    for (table, rows), (column, home) in product(tables.items(), HOMES.items()):
        if column in rows:
            names = rows[column]
            if column not in ("area", "wave", "project"):
                names = names.dropna().str.split(";").explode().str.strip().replace("", None)
            known = tables[home].iloc[:, 0].dropna() if home in tables else ()
            sheets[table].refuse_unknown(names, known, most=MOST_NAMES)


def check_areas(tables: Tables, sheets: Sheets) -> None:
    """At least two areas; ids usable in lists; population for all areas or for none."""
    ids, sheet = tables["areas"]["area"], sheets["areas"]
    if ids.nunique() == 1:
        sheet.refuse(ids, "two areas or more: one area alone has nothing to be compared with")
    sheet.refuse(ids[ids.str.contains(";", na=False)], "no ';' in an area, it separates lists")
    if "population" in tables["areas"] and tables["areas"]["population"].notna().any():
        text = sheet.frame["population"]
        sheet.refuse(text[text.isna()], "a number above 0 for every area, or for none")


def check_waves(tables: Tables, sheets: Sheets) -> None:
    """Each wave ends after it starts, no two overlap, and in each one somebody answered."""
    waves, sheet = tables["waves"], sheets["waves"]
    dated = waves.dropna(subset=["start", "end"]).sort_values("start")
    inverted = dated["end"] < dated["start"]
    sheet.refuse(dated["end"][inverted], "a date on or after start")
    overlapping = (dated["start"] <= dated["end"].cummax().shift()) & ~inverted
    sheet.refuse(dated["start"][overlapping], "a date after the wave before has ended")
    names = waves["wave"].dropna()
    for table in {"respondents", "shares"} & set(tables):
        answers = tables[table].set_index("wave").filter([*ITEMS, "share"])
        if answers.size:
            answered = answers.index[answers.notna().any(axis=1)].unique()
            sheet.refuse(names[~names.isin(answered)], f"a wave with answers in {sheets[table].file}")


def check_respondents(tables: Tables, sheets: Sheets) -> None:
    """At least one item, and answers that differ; notices on those off the scale, such as "never goes out"."""
    rows, sheet = tables["respondents"], sheets["respondents"]
    items = [name for name in rows.columns if name in ITEMS]
    if not items:
        own = [name for name in sheet.frame.columns if name not in rows.columns]
        hint = next((found for name in own if (found := nearest(name, ITEMS))), "")
        allowed = f"{', '.join(ITEMS)}, or map one of your columns under [respondents.columns]"
        sheet.faults.say(f"{sheet.file}, line 1: no column holds a survey item{hint}; allowed: {allowed}")
    for name in items:
        if rows[name].nunique() <= 1:
            given = rows[name].dropna()
            sheet.refuse(given if len(given) else rows[name], "at least two different answers to an item")
        item, codes, text = ITEMS[name], sheet.codes.get(name, {}), sheet.frame[name]
        off = text.isin([*item.off_scale, *(code for code, label in codes.items() if label in item.off_scale)])
        if off.any():
            told = f"{name}: {100 * off.sum() / text.notna().sum():.1f} % answered {', '.join(item.off_scale)}"
            sheet.faults.notices.append(f"{told}: off the scale and left out, though not missing at random")


def check_shares(tables: Tables, sheets: Sheets) -> None:
    """Categories known; shares of one area, wave and item sum to 100 as far as rounding explains."""
    rows, sheet = tables["shares"], sheets["shares"]
    for name, part in rows.groupby("item"):
        sheet.refuse_unknown(part["category"], ITEMS[name].categories)
        counted = part[part["share"] > 0]
        if counted["category"].nunique() <= 1 and (counted["share"] >= 100).all():
            sheet.refuse(counted["category"], f"at least two different answers to {name}")
    complete = rows.dropna(subset=["area", "wave", "item", "category", "share"])
    if len(complete) and "share" in sheet.frame:
        _check_sums(sheet, complete)


def _check_sums(sheet: Sheet, rows: pd.DataFrame) -> None:
    """A wave that lists only some classes leaves the rest implied: then the sum may not exceed 100."""
    decimals = sheet.frame["share"].str.replace(",", ".").str.extract(r"\.(\d+)$")[0].str.len().fillna(0)
    rows = rows.assign(line=rows.index, decimals=decimals.reindex(rows.index))
    # The precision of a wave and item is that of its most precise share: "8" among "7.5" is exact to 0.1 as well.
    rows["step"] = 10.0 ** -rows.groupby(["wave", "item"])["decimals"].transform("max")
    cells = rows.groupby(["area", "wave", "item"], sort=False, as_index=False).agg(
        line=("line", "first"), total=("share", "sum"), listed=("category", "nunique"), step=("step", "first")
    )
    full = cells["listed"] == cells["item"].map({name: len(item.categories) for name, item in ITEMS.items()})
    cells["slack"] = (0.5 * cells["step"] * cells["listed"]).clip(lower=0.01) + 1e-9
    off = cells[(cells["total"] > 100 + cells["slack"]) | (full & (cells["total"] < 100 - cells["slack"]))]
    told = [f"sum {row.total:.6g} of {row.area}, {row.wave}, {row.item}" for row in off.itertuples()]
    allowed = f"shares that sum to 100 within {off['slack'].max():.2g}, which is what rounding explains"
    sheet.refuse(pd.Series(told, index=off["line"], name="share"), allowed)


def check_population(tables: Tables, sheets: Sheets) -> None:
    """Residents in every area and for every kind of respondent; notices on totals and on who was not asked."""
    cells, sheet, areas = tables["population"], sheets["population"], tables["areas"]
    strata = [name for name in STRATA if name in cells]
    if not strata:
        sheet.faults.say(f"{sheet.file}, line 1: residents by area only; allowed: one or more of {', '.join(STRATA)}")
    rows, notices = tables.get("respondents", pd.DataFrame()), sheet.faults.notices
    for name in strata:
        sheet.refuse(cells[name][cells[name].isna()], "a value in every row")
        if name in rows and rows[name].notna().any():
            known = [*cells[name].dropna(), "unknown"]
            sheets["respondents"].refuse_unknown(rows[name], known, most=MOST_NAMES, more=f", as in {sheet.file}")
            absent = cells[name].notna() & ~cells[name].isin(rows[name].unique())
            if absent.any():
                share = 100 * cells.loc[absent, "population"].sum() / cells["population"].sum()
                told = f"{sheet.file}: {share:.1f} % of residents have a {name} that nobody in the survey has"
                which = ", ".join(cells.loc[absent, name].unique())
                notices.append(f"{told} ({which}): the effect does not speak for them")
    sums = pd.DataFrame({"here": areas["area"].map(cells.groupby("area")["population"].sum())}).join(areas)
    sheets["areas"].refuse(sums["area"][~(sums["here"] > 0)], f"areas with residents in {sheet.file}")
    if "population" in sums and (gap := (sums["here"] / sums["population"] - 1).abs()).max() > TOTALS_DIFFER:
        most = sums.loc[gap.idxmax()]
        told = f"{sheet.file} and {sheets['areas'].file} differ in residents by more than {100 * TOTALS_DIFFER:.0f} %"
        where = f"most in {most['area']}: {most['here']:,.0f} and {most['population']:,.0f}"
        notices.append(f"{told} ({where}); the effect counts those of {sheet.file}")


def check_projects(tables: Tables, sheets: Sheets) -> None:
    """Project ids and dates; a wave before and one after a project, and areas that at that time had none."""
    projects, sheet = tables["projects"], sheets["projects"]
    ids = projects["project"].dropna()
    bad = ids[~ids.str.fullmatch(r"[a-z0-9_-]{1,100}").astype(bool)]
    sheet.refuse(bad, "lower-case letters, digits, - and _, for it names files")
    dates = projects[[name for name in PROJECT_DATES if name in projects]]
    latest = dates.cummax(axis=1).ffill(axis=1).shift(axis=1)
    for name in dates.columns[1:]:
        sheet.refuse(dates[name][dates[name] < latest[name]], "a date in the order announced, start, full, stop")
    dated = projects.dropna(subset=["project", "area", "start"])
    if dated.empty or "waves" not in tables or (waves := tables["waves"].dropna(subset=["start", "end"])).empty:
        return
    running, future = dated["start"] <= waves["end"].min(), dated["start"] > waves["end"].max()
    for name, rows in dated[running].groupby("project"):
        told = f"project {name} was already running in the first wave: it cannot be evaluated"
        sheet.faults.notices.append(f"{told}, and its areas ({', '.join(rows['area'])}) leave the comparison")
    for name in dated["project"][future].unique():
        sheet.faults.notices.append(f"project {name} starts after the last wave: it cannot be evaluated yet")
    usable = dated[~running & ~future]
    if usable.empty:
        allowed = f"at least one project that starts after the first wave ({waves['end'].min():%Y-%m-%d})"
        sheet.refuse(dated["start"][running], allowed)
    elif not _comparison_exists(tables, dated, usable):
        allowed = "in some wave after a start at least one surveyed area without a project"
        sheet.refuse(usable["area"], f"{allowed}: here no comparison area is left")


def check_incidents(tables: Tables, sheets: Sheets) -> None:
    """One length of period for a kind, and counts that differ; notices on what is not recorded, which is never a 0."""
    rows, sheet, areas, notices = tables["incidents"], sheets["incidents"], tables["areas"], []
    if "population" in rows and "population" not in areas and "population" not in tables:
        text = sheet.frame["population"]
        sheet.refuse(text[text.isna()], f"a number above 0 in every row, or a population in {sheets['areas'].file}")
    extra = rows["kind"].dropna().drop_duplicates().iloc[MOST_KINDS:]
    sheet.refuse(extra, f"at most {MOST_KINDS} kinds")
    if len(extra) or "count" not in sheet.frame:
        return
    length = rows["month"].str.len().map({4: "Y", 7: "M"}).mask(rows["month"].str.contains("Q", na=False), "Q")
    for kind, part in rows.assign(length=length).dropna(subset=["area", "month"]).groupby("kind"):
        usual, counted = part["length"].mode().iloc[0], part.dropna(subset="count")
        example = part.loc[part["length"] == usual, "month"].iloc[0]
        sheet.refuse(part["month"][part["length"] != usual], f"one length of period for {kind}, such as {example}")
        if counted["count"].nunique() <= 1:
            sheet.refuse(sheet.frame["count"][part.index], f"at least two different counts of {kind}")
        elif (part["length"] == usual).all():
            notices.append(_not_recorded(f"{sheet.file}: {kind}", counted, usual, areas["area"].dropna()))
    sheet.faults.notices += [told for told in notices if told]


def _not_recorded(what: str, rows: pd.DataFrame, length: str, areas: pd.Series) -> str:
    """Say in which areas and in how many area-periods of the others something is not recorded; "" if it all is."""
    periods, never = pd.PeriodIndex(rows["month"], freq=length), areas[~areas.isin(rows["area"])]
    whole = ((periods.max() - periods.min()).n + 1) * rows["area"].nunique()
    some = ", ".join(never[:MOST_NAMES]) + ", ..." * (len(never) > MOST_NAMES)
    told = [f"not recorded in {len(never)} of {len(areas)} areas ({some})"] * (len(never) > 0)
    if gap := whole - len(rows):
        of = f"{whole:,} area-periods from {periods.min()} to {periods.max()}"
        told.append(f"{gap:,} of {of} are not recorded: left out, none is a 0")
    return f"{what}: {'; '.join(told)}" if told else ""


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
