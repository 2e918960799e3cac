"""The Flemish Gemeente-Stadsmonitor as published: the panel xlsx (2011-2017) and the long csv of 2023.

xlsx: Gemeente, Indicator, Item, an unnamed year (an Excel date, or plain), an empty column, three percentages (blank is
0), then a footer from "Selectiestatus:" on. csv: the whole percentage of a municipality that gave one class of answers.
What the publisher does not say is assumed in stadsmonitor.toml and told in the city's notices."""

import tomllib
import zipfile
from itertools import permutations
from pathlib import Path

import pandas as pd

from workbench import cities
from workbench.errors import SchemaError
from workbench.items import ITEMS
from workbench.schema import Faults, Sheet, lines_of

ABOUT = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WAVES = pd.DataFrame(ABOUT["waves"]).assign(known_break="false")
LONG_COLUMNS = ("gemeente", "indicator_nl", "pct", "source_sheet", "jaar")
COLUMNS = ["area", "wave", "item", "category", "share"]


def import_files(files, *, out: Path, projects: Path | None = None) -> Path:
    """Write the publisher's files, any number of xlsx and its long csv, as the city folder `out`, with `projects` as
    its projects.csv, and return it. SchemaError with every fault, and then nothing is written."""
    faults, out = Faults(), Path(out)
    shares = pd.concat([_read(Path(file), faults=faults) for file in files], ignore_index=True)
    doubled, named = shares[shares.duplicated(COLUMNS[:4])], ", ".join(Path(file).name for file in files)
    if len(doubled):
        first = f"the first for {', '.join(doubled.iloc[0, :3])}; allowed: each published table once"
        faults.say(f"{named}: {len(doubled):,} shares are given twice, {first}")
    faults.raise_if_any(out.name)
    times = shares.groupby("item")["wave"].nunique()
    once = sorted(times.index[times == 1]) if times.max() > 1 else []  # nothing can be compared with these
    shares = shares[~shares["item"].isin(once)]
    areas = sorted(shares["area"].unique())
    tables = {"areas": pd.DataFrame({"area": areas, "name": areas}), "waves": WAVES[WAVES["wave"].isin(shares["wave"])]}
    tables["shares"] = shares
    if projects is not None:
        tables["projects"] = _read_text(Path(projects))  # what is in it is validated with the whole city
    notes = [note for about, note in ABOUT["notes"].items() if about != "2023" or about in set(shares["wave"])]
    notes += [f"{', '.join(once)}: published for one wave only in these files, left out"] if once else []
    name, notes = "Flanders" if out.name == "flanders" else out.name, notes + _unmatched(shares)
    manifest = {"name": name} | ABOUT["manifest"] | {"notes": notes, "shares": {"assumed_n": ABOUT["assumed_n"]}}
    return cities.write_city(out, manifest=manifest, tables=tables)


def _read(file: Path, *, faults: Faults) -> pd.DataFrame:
    """Return area, wave, item, category, share of one published file."""
    kind = "xlsx" if file.suffix.lower() == ".xlsx" else "csv"
    try:
        if kind == "csv":
            return _read_long(file.name, _read_text(file), faults=faults)[COLUMNS]
        raw = pd.read_excel(file, header=None, dtype=object, keep_default_na=False, engine="openpyxl")
        return _read_panel(file.name, raw, faults=faults)[COLUMNS]
    except SchemaError as fault:
        faults.say(f"{file.name}, {fault}")
    except (zipfile.BadZipFile, SyntaxError, KeyError, ValueError) as error:  # not a zip, not its xml, no table
        faults.say(f"{file.name}: cannot be read as {kind}: {error}")
    return pd.DataFrame(columns=COLUMNS)


def _read_text(file: Path) -> pd.DataFrame:
    return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")


def _read_panel(file: str, raw: pd.DataFrame, *, faults: Faults) -> pd.DataFrame:
    """Return the shares of the xlsx, whose cells are `raw`, headings included."""
    headings = [str(cell).strip() for cell in raw.head(1).to_numpy().ravel()]
    wanted = ["Gemeente", "Indicator", "Item", "", "", *ABOUT["classes"]]
    if headings[: len(wanted)] != wanted:
        raise SchemaError(f"line 1: headings {headings}; allowed: {wanted}, the layout of the insecurity tables")
    raw.index += 1
    footer = raw[0].astype(str).str.startswith("Selectiestatus").cummax()
    rows = raw[~footer & (raw != "").any(axis=1)].iloc[1:]
    name = rows[2].astype(str).str.strip()
    for _one, same in name.rename("Item").groupby(name, sort=False):
        Sheet("shares", file, rows, faults).refuse_unknown(same, ABOUT["items"])
    rows = rows[name.isin(ABOUT["items"])]
    year = rows[3].map(lambda cell: str(getattr(cell, "year", cell)))
    shares = rows[[5, 6, 7]].replace("", 0.0)  # a blank is a zero
    shares = shares.where(shares.map(lambda cell: isinstance(cell, int | float))).astype(float)
    whole = (shares.sum(axis=1, skipna=False) - 100).abs() < 0.01
    wrong = rows[(rows[0] == "") | ~year.isin(WAVES["wave"]) | ~whole]
    if len(wrong):
        allowed = f"a year of {', '.join(WAVES['wave'])}, and three percentages that sum to 100 (blank = 0)"
        faults.say(f"{file}, {lines_of(wrong.index)}: {tuple(wrong.iloc[0])}; allowed: a municipality, {allowed}")
    keys = {"area": rows[0].astype(str).str.strip(), "wave": year, "item": name[rows.index].map(ABOUT["items"])}
    shares = shares.set_axis(pd.Index(ABOUT["classes"].values(), name="category"), axis=1).assign(**keys)
    return shares.set_index(list(keys)).rename_axis(columns="category").stack().rename("share").reset_index()


def _read_long(file: str, raw: pd.DataFrame, *, faults: Faults) -> pd.DataFrame:
    """Return the shares of the long csv; other tables and items in it are passed over."""
    if missing := [name for name in LONG_COLUMNS if name not in raw]:
        raise SchemaError(f"line 1: no column {', '.join(missing)}; allowed: {', '.join(LONG_COLUMNS)}")
    raw.index += 2
    item = (raw["source_sheet"] + " " + raw["indicator_nl"]).map(ABOUT["sheets"])
    rows = raw.assign(item=item, share=pd.to_numeric(raw["pct"], errors="coerce")).dropna(subset="item")
    if rows.empty:
        raise SchemaError(f"column 'source_sheet': no survey item that we know; allowed: {'; '.join(ABOUT['sheets'])}")
    sheet = Sheet("shares", file, rows, faults)
    sheet.refuse(rows["pct"][~rows["share"].between(0, 100)], "a percentage from 0 to 100")
    sheet.refuse(rows["jaar"][rows["jaar"] != "2023"], "2023")
    listed = rows["item"].map(lambda item: ABOUT["listed"][ITEMS[item].construct])
    return rows.assign(area=rows["gemeente"].str.strip(), wave=rows["jaar"], category=listed)


def _unmatched(shares: pd.DataFrame) -> list[str]:
    """Say which municipalities (the first 40) the last two waves do not share: mergers, or names spelt differently."""
    last = shares.groupby("wave")["area"].agg(set).tail(2)
    said = "{} municipalities are in {} and not in {} (merged in 2019, or not published): {}"
    pairs = ((one, other, last[one] - last[other]) for one, other in permutations(last.index, 2))
    listed = lambda gone: ", ".join(sorted(gone)[:40]) + ", ..." * (len(gone) > 40)
    return [said.format(len(gone), one, other, listed(gone)) for one, other, gone in pairs if gone]
