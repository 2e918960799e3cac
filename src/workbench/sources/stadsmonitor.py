"""The Flemish Gemeente-Stadsmonitor as published: the panel xlsx (2011-2017) and the long csv of 2023.

Layout of the xlsx: Gemeente, Indicator, Item, an unnamed year column (an Excel date, or a plain year), an empty
column, three percentages; a blank percentage means 0; then footer lines from "Selectiestatus:" on. The csv has one
row per municipality and indicator and gives only the percentage that answered often or always, in whole percents.
Areas are municipalities under their published names. What the publisher does not say is assumed in NOTES and ends up
in the city's notices: read them before you believe a small change.
"""

import datetime
import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import openpyxl
import pandas as pd

from workbench import cities, paths
from workbench.errors import ParameterError, SchemaError, nearest
from workbench.schema import SHOWN

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
FOOTER = "Selectiestatus"
ASSUMED_N = 1000
# Fieldwork as published: postal surveys "in spring" since 2008, a web questionnaire since 2014, the 13 cities in May
# and June 2017 and the others from March to May (gemeente-en-stadsmonitor.vlaanderen.be/surveys,
# statistiekvlaanderen.be/survey-stadsmonitor); from 22 March 2023 (kasterlee.be, news of that day). The other ends
# are ours: late enough that no answer is dated before it was given.
WAVES = {
    "2011": (
        "2011-03-01",
        "2011-06-30",
        "post",
        "the exact days are not published: spring is taken as March to June",
    ),
    "2014": (
        "2014-03-01",
        "2014-06-30",
        "post and web",
        "the exact days are not published: March to June is assumed",
    ),
    "2017": (
        "2017-03-01",
        "2017-06-30",
        "post and web",
        "13 centre cities May-June, other municipalities March-May",
    ),
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
    if not files:
        raise ParameterError("no file to import; allowed: the published xlsx and the long csv of 2023")
    faults: list[str] = []
    parts = [_read(Path(file), faults=faults) for file in files]
    if faults:
        raise SchemaError("\n".join(faults))
    shares = pd.concat(parts, ignore_index=True)
    doubled = shares.duplicated(["area", "wave", "item", "category"])
    if doubled.any():
        first = shares[doubled].iloc[0]
        raise SchemaError(
            f"{', '.join(Path(file).name for file in files)}: {int(doubled.sum()):,} shares are given twice, the first "
            f"for {first['area']}, {first['wave']}, {first['item']}; allowed: each published table once"
        )
    shares, notes = _keep_repeated_items(shares)
    tables = {"areas": _areas(shares), "waves": _waves(shares), "shares": shares}
    if projects is not None:
        tables["projects"] = _read_projects(Path(projects))
    manifest = {
        "name": "Flanders" if Path(out).name == "flanders" else Path(out).name,
        "language": "nl",
        "simulated": False,
        "made_by": "workbench import stadsmonitor",
        "notes": [
            NOTES["n"],
            NOTES["dates"],
            *([NOTES["2023"]] if "2023" in set(shares["wave"]) else []),
            *notes,
            *_unmatched(shares),
        ],
        "shares": {"assumed_n": ASSUMED_N},
    }
    return cities.write_city(Path(out), manifest=manifest, tables=tables)


def _read(file: Path, *, faults: list[str]) -> pd.DataFrame:
    """Return area, wave, item, category, share of one published file."""
    if not file.is_file():
        raise ParameterError(f"no file {paths.relative(file)}; allowed: the published xlsx or the long csv of 2023")
    rows = _read_panel(file, faults=faults) if file.suffix.lower() == ".xlsx" else _read_long(file, faults=faults)
    return pd.DataFrame(rows, columns=["area", "wave", "item", "category", "share"])


def _read_panel(file: Path, *, faults: list[str]) -> list[tuple]:
    try:
        sheet = openpyxl.load_workbook(io.BytesIO(file.read_bytes()), data_only=True).worksheets[0]
    except (zipfile.BadZipFile, SyntaxError, KeyError, ValueError) as error:  # not a zip, not its xml, no workbook
        faults.append(f"{file.name}: cannot be read as xlsx: {error}")
        return []
    lines = [tuple(row) for row in sheet.iter_rows(values_only=True)]
    headings = [str(cell).strip() if cell is not None else "" for cell in (lines[0] if lines else ())]
    wanted = ["Gemeente", "Indicator", "Item", "", "", *CLASSES]
    if headings[: len(wanted)] != wanted:
        faults.append(
            f"{file.name}, line 1: headings {headings}; allowed: {wanted}, the layout of the insecurity tables"
        )
        return []
    rows, unknown, wrong = [], {}, []
    for number, line in enumerate(lines[1:], start=2):
        if str(line[0] or "").startswith(FOOTER):
            break
        if not any(cell not in (None, "") for cell in line):
            continue
        item, year = ITEM_BY_NAME.get(str(line[2]).strip()), _year(line[3])
        shares = [0.0 if cell is None else cell for cell in line[5:8]]
        if item is None:
            unknown.setdefault(str(line[2]), []).append(number)
        elif not line[0] or year not in WAVES or not _is_whole(shares):
            wrong.append((number, line))
        else:
            area = str(line[0]).strip()
            rows += [(area, year, item, label, share) for label, share in zip(CLASSES.values(), shares, strict=True)]
    for name, where in unknown.items():
        faults.append(
            f"{file.name}, lines {_lines(where)}, column 'Item': {name!r}; allowed: {', '.join(ITEM_BY_NAME)}"
            f"{nearest(name, ITEM_BY_NAME)}"
        )
    if wrong:
        faults.append(
            f"{file.name}, lines {_lines([number for number, _ in wrong])}: {wrong[0][1]}; allowed: a municipality, a year "
            f"of {', '.join(WAVES)}, and three percentages that sum to 100 (blank = 0)"
        )
    return rows


def _year(cell: object) -> str:
    return str(cell.year) if isinstance(cell, datetime.date) else str(cell)


def _is_whole(shares: list) -> bool:
    return all(isinstance(share, int | float) for share in shares) and abs(sum(shares) - 100) < 0.01


def _lines(numbers: list[int]) -> str:
    more = f" and {len(numbers) - SHOWN:,} more" if len(numbers) > SHOWN else ""
    return ", ".join(map(str, numbers[:SHOWN])) + more


def _read_long(file: Path, *, faults: list[str]) -> list[tuple]:
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, pd.errors.ParserError) as error:
        faults.append(f"{file.name}: cannot be read as csv: {error}")
        return []
    if missing := [name for name in LONG_COLUMNS if name not in table]:
        faults.append(f"{file.name}, line 1: no column {', '.join(missing)}; allowed: {', '.join(LONG_COLUMNS)}")
        return []
    keys = list(zip(table["source_sheet"], table["indicator_nl"], strict=True))
    table = table.assign(item=[ITEM_BY_SHEET.get(key) for key in keys])
    table = table[table["item"].notna()]
    if table.empty:
        wanted = "; ".join(f"{sheet} {name}" for sheet, name in ITEM_BY_SHEET)
        faults.append(f"{file.name}, column 'source_sheet': no survey item that we know; allowed: {wanted}")
        return []
    share = pd.to_numeric(table["pct"], errors="coerce")
    for column, bad in (
        ("pct", share.isna() | (share < 0) | (share > 100)),
        ("jaar", table["jaar"] != "2023"),
    ):
        if bad.any():
            allowed = "a percentage from 0 to 100" if column == "pct" else "2023"
            where = _lines((table.index[bad] + 2).tolist())
            faults.append(
                f"{file.name}, lines {where}, column {column!r}: {table.loc[bad, column].iloc[0]!r}; allowed: {allowed}"
            )
    columns = (table["gemeente"].str.strip(), table["jaar"], table["item"], share)
    return [(area, year, item, "often-always", value) for area, year, item, value in zip(*columns, strict=True)]


def _keep_repeated_items(shares: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Leave out items of a single wave when others have more: nothing can be compared with them."""
    waves = shares.groupby("item")["wave"].nunique()
    if waves.max() == 1:
        return shares, []
    once = sorted(waves.index[waves == 1])
    note = [f"{', '.join(once)}: published for one wave only in these files, left out"] if once else []
    return shares[~shares["item"].isin(once)], note


def _areas(shares: pd.DataFrame) -> pd.DataFrame:
    names = sorted(shares["area"].unique())
    return pd.DataFrame({"area": names, "name": names})


def _waves(shares: pd.DataFrame) -> pd.DataFrame:
    rows = [(wave, *WAVES[wave]) for wave in sorted(shares["wave"].unique())]
    return pd.DataFrame(rows, columns=["wave", "start", "end", "mode", "note"]).assign(known_break="false")


def _unmatched(shares: pd.DataFrame) -> list[str]:
    """Say which municipalities the last two waves do not share: mergers, or names that are spelt differently."""
    waves = sorted(shares["wave"].unique())[-2:]
    if len(waves) < 2:
        return []
    before, after = (set(shares.loc[shares["wave"] == wave, "area"]) for wave in waves)
    notes = [
        f"{len(names)} municipalities are in {one} and not in {other} (merged in 2019, or not published): {', '.join(sorted(names))}"
        for one, other, names in ((waves[0], waves[1], before - after), (waves[1], waves[0], after - before))
        if names
    ]
    return notes


def _read_projects(file: Path) -> pd.DataFrame:
    """Read the table of projects as text; what is in it is validated with the whole city."""
    if not file.is_file():
        raise ParameterError(f"no file {paths.relative(file)} for --projects")
    return pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8-sig")
