"""The Flemish Gemeente-Stadsmonitor as published: the panel xlsx (2011-2017) and the long csv of 2023.

Layout of the xlsx: Gemeente, Indicator, Item, an unnamed year column (an Excel date, or a plain year), an empty
column, three percentages; a blank percentage means 0; then footer lines from "Selectiestatus:" on. The csv has one
row per municipality and indicator and gives only the percentage that answered often or always, in whole percents.
Areas are municipalities under their published names. What the publisher does not say is assumed in NOTES and ends up
in the city's notices: read them before you believe a small change.
"""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from workbench import cities
from workbench.schema import Faults, Sheet, lines_of

CLASSES = {
    "Nooit/zelden (%)": "never-rarely",
    "Af en toe (%)": "sometimes",
    "Vaak/altijd (%)": "often-always",
}
ITEM_BY_NAME = {
    "Onveiligheidsgevoel buurt/wijk": "stadsmonitor_neighbourhood",
    "Onveiligheidsgevoel gemeente/stad": "stadsmonitor_municipality",
    "Lastig gevallen op straat": "stadsmonitor_harassed",
}
# The sheet number alone could be reused by a later edition for something else, so the published name is checked too.
ITEM_BY_SHEET = {
    ("SA_S_33", "Onveiligheidsgevoel in de buurt"): "stadsmonitor_neighbourhood",
    ("SA_S_32", "Onveiligheidsgevoel in de gemeente"): "stadsmonitor_municipality",
    ("WO_S_37", "Buurthinder: lastiggevallen worden op straat"): "stadsmonitor_harassed",
}
LONG_COLUMNS = ("gemeente", "indicator_nl", "pct", "source_sheet", "jaar")
COLUMNS = ["area", "wave", "item", "category", "share"]
FOOTER = "Selectiestatus"
ASSUMED_N = 1000
# Fieldwork as published: postal surveys "in spring" since 2008, a web questionnaire since 2014, the 13 cities in May
# and June 2017 and the others from March to May (gemeente-en-stadsmonitor.vlaanderen.be/surveys,
# statistiekvlaanderen.be/survey-stadsmonitor); from 22 March 2023 (kasterlee.be, news of that day). The other ends
# are ours: late enough that no answer is dated before it was given.
WAVES = {
    "2011": ("2011-03-01", "2011-06-30", "post", "the exact days are not published: spring is taken as March to June"),
    "2014": ("2014-03-01", "2014-06-30", "post and web", "the exact days are not published: March to June is assumed"),
    "2017": ("2017-03-01", "2017-06-30", "post and web", "13 centre cities May-June, other municipalities March-May"),
    "2023": (
        "2023-03-22",
        "2023-06-30",
        "post and web",
        "started 22 March; the end is assumed as in 2020 (end of June)",
    ),
}
NOTES = {
    "n": "The Stadsmonitor publishes no number of answers by municipality. In 2017 about 362 answered in an average "
    "municipality (39 % of 274,136 invited in 295) and more in the 13 centre cities; in 2023 135,000 took part in "
    f"300 municipalities of nearly 400,000 invited. {ASSUMED_N:,} is assumed, on the high side on purpose: too many is "
    "absorbed by the area-wave shocks, too few cannot be corrected.",
    "dates": "The Stadsmonitor publishes its fieldwork to the season: see the notes of the waves for what is assumed.",
    "2023": "2023 lists only often-always, in whole percents; the other classes are implied, not invented.",
}


def import_files(files: Sequence[os.PathLike[str] | str], *, out: Path, projects: Path | None = None) -> Path:
    """Write the published files as a city folder `out`, its name being the folder's, and return it.

    Takes any number of the publisher's xlsx files and its long csv. `projects` is copied in as projects.csv once the
    whole city passes. Raises SchemaError with every fault, and then nothing is written.
    """
    faults = Faults()
    shares = pd.concat([_read(Path(file), faults=faults) for file in files], ignore_index=True)
    doubled = shares[shares.duplicated(["area", "wave", "item", "category"])]
    if len(doubled):
        first = doubled.iloc[0]
        faults.say(
            f"{', '.join(Path(file).name for file in files)}: {len(doubled):,} shares are given twice, the first for "
            f"{first['area']}, {first['wave']}, {first['item']}; allowed: each published table once"
        )
    faults.raise_if_any(Path(out).name)
    shares, notes = _keep_repeated_items(shares)
    areas, waves = sorted(shares["area"].unique()), sorted(shares["wave"].unique())
    fieldwork = [(wave, *WAVES[wave], "false") for wave in waves]
    tables = {
        "areas": pd.DataFrame({"area": areas, "name": areas}),
        "waves": pd.DataFrame(fieldwork, columns=["wave", "start", "end", "mode", "note", "known_break"]),
        "shares": shares,
    }
    if projects is not None:
        tables["projects"] = _read_text(Path(projects))  # what is in it is validated with the whole city
    coarse = [NOTES["2023"]] if "2023" in waves else []
    manifest = {
        "name": "Flanders" if Path(out).name == "flanders" else Path(out).name,
        "language": "nl",
        "simulated": False,
        "made_by": "workbench import stadsmonitor",
        "notes": [NOTES["n"], NOTES["dates"], *coarse, *notes, *_unmatched(shares)],
        "shares": {"assumed_n": ASSUMED_N},
    }
    return cities.write_city(Path(out), manifest=manifest, tables=tables)


def _read(file: Path, *, faults: Faults) -> pd.DataFrame:
    """Return area, wave, item, category, share of one published file."""
    panel = file.suffix.lower() == ".xlsx"
    try:
        if panel:
            raw = pd.read_excel(file, header=None, dtype=object, keep_default_na=False, engine="openpyxl")
        else:
            raw = _read_text(file)
    except (zipfile.BadZipFile, SyntaxError, KeyError, ValueError) as error:  # not a zip, not its xml, no table
        faults.say(f"{file.name}: cannot be read as {'xlsx' if panel else 'csv'}: {error}")
        return pd.DataFrame(columns=COLUMNS)
    rows = (_read_panel if panel else _read_long)(file.name, raw, faults=faults)
    return pd.DataFrame(columns=COLUMNS) if rows is None else rows[COLUMNS]


def _read_text(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _read_panel(file: str, raw: pd.DataFrame, *, faults: Faults) -> pd.DataFrame | None:
    """Return the shares of the xlsx, whose cells are `raw`, headings included."""
    headings = [str(cell).strip() for cell in raw.head(1).to_numpy().ravel()]
    wanted = ["Gemeente", "Indicator", "Item", "", "", *CLASSES]
    if headings[: len(wanted)] != wanted:
        faults.say(f"{file}, line 1: headings {headings}; allowed: {wanted}, the layout of the insecurity tables")
        return None
    raw.index += 1
    footer = raw[0].astype(str).str.startswith(FOOTER).cummax()
    rows = raw[~footer & (raw != "").any(axis=1)].iloc[1:]
    name = rows[2].astype(str).str.strip()
    for _one, same in name.rename("Item").groupby(name, sort=False):
        Sheet("shares", file, rows, faults).refuse_unknown(same, ITEM_BY_NAME)
    rows = rows[name.isin(ITEM_BY_NAME)]
    year = rows[3].map(lambda cell: str(getattr(cell, "year", cell)))
    shares = rows[[5, 6, 7]].replace("", 0.0)  # a blank is a zero
    shares = shares.where(shares.map(lambda cell: isinstance(cell, int | float))).astype(float)
    whole = (shares.sum(axis=1, skipna=False) - 100).abs() < 0.01
    wrong = rows[(rows[0] == "") | ~year.isin(WAVES) | ~whole]
    if len(wrong):
        faults.say(
            f"{file}, {lines_of(wrong.index)}: {tuple(wrong.iloc[0])}; allowed: a municipality, a year "
            f"of {', '.join(WAVES)}, and three percentages that sum to 100 (blank = 0)"
        )
    keys = {"area": rows[0].astype(str).str.strip(), "wave": year, "item": name[rows.index].map(ITEM_BY_NAME)}
    shares = shares.set_axis(pd.Index(CLASSES.values(), name="category"), axis=1).assign(**keys)
    return shares.set_index(list(keys)).rename_axis(columns="category").stack().rename("share").reset_index()


def _read_long(file: str, raw: pd.DataFrame, *, faults: Faults) -> pd.DataFrame | None:
    """Return the shares of the long csv; other tables and items in it are passed over."""
    if missing := [name for name in LONG_COLUMNS if name not in raw]:
        faults.say(f"{file}, line 1: no column {', '.join(missing)}; allowed: {', '.join(LONG_COLUMNS)}")
        return None
    raw.index += 2
    items = [ITEM_BY_SHEET.get(key) for key in zip(raw["source_sheet"], raw["indicator_nl"], strict=True)]
    rows = raw.assign(item=items, share=pd.to_numeric(raw["pct"], errors="coerce")).dropna(subset="item")
    if rows.empty:
        wanted = "; ".join(f"{sheet} {name}" for sheet, name in ITEM_BY_SHEET)
        faults.say(f"{file}, column 'source_sheet': no survey item that we know; allowed: {wanted}")
        return None
    sheet = Sheet("shares", file, rows, faults)
    sheet.refuse(rows["pct"][~rows["share"].between(0, 100)], "a percentage from 0 to 100")
    sheet.refuse(rows["jaar"][rows["jaar"] != "2023"], "2023")
    return rows.assign(area=rows["gemeente"].str.strip(), wave=rows["jaar"], category="often-always")


def _keep_repeated_items(shares: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out items of a single wave when others have more: nothing can be compared with them."""
    waves = shares.groupby("item")["wave"].nunique()
    once = sorted(waves.index[waves == 1]) if waves.max() > 1 else []
    note = [f"{', '.join(once)}: published for one wave only in these files, left out"] if once else []
    return shares[~shares["item"].isin(once)], note


def _unmatched(shares: pd.DataFrame) -> list[str]:
    """Say which municipalities the last two waves do not share: mergers, or names that are spelt differently."""
    waves = sorted(shares["wave"].unique())[-2:]
    if len(waves) < 2:
        return []
    before, after = (set(shares.loc[shares["wave"] == wave, "area"]) for wave in waves)
    return [
        f"{len(names)} municipalities are in {one} and not in {other} (merged in 2019, or not published): {', '.join(sorted(names))}"
        for one, other, names in ((waves[0], waves[1], before - after), (waves[1], waves[0], after - before))
        if names
    ]
