"""A city's own files as they stand: what city.toml may say, checked key by key, and each table as text."""

import csv
import io
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS, LANGUAGES
from workbench.schema import CONTRACT, DISCRETION, SEEN, STRATA, TABLES, Faults, Sheet, lines_of, readable, shown

FILES = {table: said["file"] for table, said in CONTRACT.items()}
RECODABLE = {"area", "wave", *STRATA, "kind", "item", "category", "focus", "condition", "dimension"}
ROUTED = {"column": str, "answer": str}  # both needed
KINDS = {str: "a text in quotes", bool: "true or false", list: "a list [...]", dict: "a table"}
MOST_COLUMNS = 5000  # what reads tables takes minutes for millions


def _allowed_in(table: str) -> dict:
    """Return the keys of a [table] with the type of each value; a dict stands for a table of these keys."""
    codes = [*(ITEMS if table in ("respondents", "shares") else ()), *(c for c in TABLES[table] if c in RECODABLE)]
    allowed = dict.fromkeys(("file", "separator", "encoding", "decimal"), str) | {"missing": list}
    return allowed | {"columns": dict.fromkeys(TABLES[table], str), "codes": dict.fromkeys(codes, dict)}


ALLOWED = {"name": str, "language": str, "simulated": bool, "notes": list, "made_by": str}
ALLOWED |= {table: _allowed_in(table) for table in TABLES}
ALLOWED["shares"]["assumed_n"] = (int, float, dict)
ALLOWED["incidents"]["discretion"] = dict
ALLOWED["areas"] |= {"geometry": str, "geometry_area": str}
ALLOWED["respondents"]["routed"] = {name: ROUTED for name, item in ITEMS.items() if item.routed_out}


def read_manifest(folder: Path, *, faults: Faults) -> dict:
    """city.toml as a dict, every key checked, and the `path` of each table that can be read; SchemaError if no TOML."""
    try:
        said = tomllib.loads((folder / "city.toml").read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        why = getattr(error, "strerror", None) or error  # without the path
        raise SchemaError(f"{folder.name}: city.toml cannot be read: {why}; allowed: TOML in UTF-8") from None
    good = {"language": "en", "simulated": False} | _known("", said, ALLOWED, faults=faults)
    if not good.get("name"):
        faults.say('city.toml: name is missing; allowed: name = "what the city is called"')
    if not readable(good.get("name", "")):
        faults.say(f"city.toml: name {shown([good['name']])}; allowed: one line of at most 100 {SEEN}")
    if endless := [note for note in good.get("notes", ()) if not readable(str(note), 2000, lines=True)]:
        faults.say(f"city.toml: notes {shown(endless)}; allowed: texts of at most 2000 {SEEN}")
    if good["language"] not in LANGUAGES:
        faults.say(f"city.toml: language {good['language']!r}; allowed: {', '.join(LANGUAGES)}")
    for table in [table for table in TABLES if table in good]:
        _check_table(table, good[table], faults=faults)
    _find_files(folder, good, faults=faults)
    return good


def file_of(said: Mapping, table: str, folder: Path) -> str:
    """Return the file name of a table, or "" when the city has none; an unnamed file may carry the usual name."""
    entry = said.get(table)
    name = entry.get("file", FILES[table]) if isinstance(entry, dict) else FILES[table]
    return name if isinstance(entry, dict) or (folder / name).is_file() else ""


def _known(where: str, entry: Mapping, allowed: Mapping, *, faults: Faults) -> dict:
    """Return the known keys of the right type, table in table; every other one is a fault."""
    place = f"city.toml [{where}]" if where else "city.toml"
    good = {}
    if allowed is ROUTED and (missing := [key for key in ROUTED if key not in entry]):
        faults.say(f"{place}: {', '.join(missing)} missing")
    for key, value in entry.items():
        kind = allowed.get(key)
        types = (dict,) if isinstance(kind, dict) else kind if isinstance(kind, tuple) else (kind,)
        if key not in allowed:
            faults.say(f"{place}: unknown key {key!r}{nearest(key, allowed)}; allowed: {', '.join(allowed)}")
        elif not isinstance(value, types):
            words = " or ".join(dict.fromkeys(KINDS.get(one, "a number") for one in types))
            faults.say(f"{place}: {key} = {value!r} has the wrong type; allowed: {words}")
        elif isinstance(kind, dict):
            good[key] = _known(f"{where}.{key}".strip("."), value, kind, faults=faults)
        else:
            good[key] = value
    return good


def _check_table(table: str, entry: dict, *, faults: Faults) -> None:
    """Check the values of a [table]; what cannot be used is taken out of `entry`, the rest made text."""
    if len(entry.get("separator", ",").encode()) != 1:
        faults.say(f"city.toml [{table}]: separator {entry.pop('separator')!r}; allowed: one character of ASCII")
    if entry.get("decimal", ".") not in (".", ","):
        faults.say(f"city.toml [{table}]: decimal {entry.pop('decimal')!r}; allowed: '.' or ','")
    entry["missing"] = [str(value) for value in entry.get("missing", [])]
    own = list(entry.get("columns", {}).values())
    if twice := {heading for heading in own if own.count(heading) > 1}:
        faults.say(f"city.toml [{table}.columns]: {', '.join(sorted(twice))} named twice; allowed: each heading once")
    for column, codes in entry.get("codes", {}).items():
        entry["codes"][column] = {str(code): str(label) for code, label in codes.items()}
        labels = (*ITEMS[column].categories, *ITEMS[column].off_scale) if column in ITEMS else codes.values()
        for code, label in ((code, label) for code, label in codes.items() if label not in labels):
            hint = f"{nearest(label, labels)}; allowed: {', '.join(labels)}"
            faults.say(f"city.toml [{table}.codes.{column}]: code {code!r} = {label!r}{hint}")
    if "routed" in entry:
        entry["routed"] = {item: routed for item, routed in entry["routed"].items() if len(routed) == len(ROUTED)}
    if len(drawn := {"geometry", "geometry_area"} - set(entry)) == 1:
        allowed = "geometry, a GeoJSON file, with geometry_area, its property that holds the area"
        faults.say(f"city.toml [{table}]: {drawn.pop()} is missing; allowed: {allowed}")
    for kind in [kind for kind, said in entry.get("discretion", {}).items() if said not in DISCRETION]:
        said, allowed = entry["discretion"].pop(kind), ", ".join(DISCRETION)
        faults.say(f"city.toml [{table}.discretion]: {kind} = {said!r}; allowed: {allowed}")
    assumed = entry.get("assumed_n", 1)
    for n in assumed.values() if isinstance(assumed, dict) else [assumed]:
        if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < float("inf"):
            faults.say(f"city.toml [{table}]: assumed_n {n!r}; allowed: a number above 0, or one for each wave")


def _find_files(folder: Path, said: dict, *, faults: Faults) -> None:
    """Add the `path` of each table; every needed file must exist, inside the city's own folder."""
    here = sorted(file.name for file in folder.iterdir() if file.is_file())
    names = {table: name for table in FILES if (name := file_of(said, table, folder))}
    given = [table for table in ("respondents", "shares") if table in names]
    alone = "incidents" in names and not given  # recorded incidents need no survey
    for table in [table for table in ("areas", "waves")[: 1 if alone else 2] if table not in names]:
        faults.say(f"{FILES[table]}: no such file and no [{table}] in city.toml; files here: {', '.join(here)}")
    for table, name in names.items():
        if name in here:
            said.setdefault(table, {})["path"] = folder / name
        else:
            hint = f"{nearest(name, here)}; allowed: a file in the city's own folder: {', '.join(here)}"
            faults.say(f"city.toml [{table}]: no file {name!r}{hint}")
    if len(given) != 1 and not alone:
        what = "both survey and shares" if given else "neither survey nor shares, and no incidents"
        allowed = "either [respondents] (rows) or [shares] (published percentages), or [incidents] alone"
        faults.say(f"city.toml: {what}; allowed: {allowed}")


def read_sheet(file: Path, table: str, entry: Mapping, *, faults: Faults) -> Sheet | None:
    """Read one file as text with its line numbers; None when nothing can be made of it (a fault then says why)."""
    try:
        text = _decode(file, entry.get("encoding", ""), notices=faults.notices)
        # Else the separator is the one that the line of headings uses most.
        first = io.StringIO(text, newline=None).readline()
        separator = entry.get("separator") or max(",;\t", key=first.count)
        if "separator" not in entry and separator != ",":
            between = "tab" if separator == "\t" else repr(separator)
            faults.notices.append(f"{file.name}: read with {between} between the columns")
        if first.count(separator) >= MOST_COLUMNS:
            raise SchemaError(f", line 1: {first.count(separator) + 1:,} columns; allowed: fewer than {MOST_COLUMNS:,}")
        raw = _cells(text, separator)
    except SchemaError as fault:
        faults.say(f"{file.name}{fault}")
        return None
    columns = entry.get("columns", {})
    for canonical, own in columns.items():
        if own not in raw:
            hint = f"{nearest(own, raw.columns)}; headings here: {', '.join(map(repr, raw.columns))}"
            faults.say(f"{file.name}, line 1, column {own!r} (named in [{table}.columns] {canonical}) is missing{hint}")
    # A heading that happens to be a canonical name, while the manifest takes that name from elsewhere, is not used.
    given = {name: f"{name} (unused)" for name in columns} | {own: canonical for canonical, own in columns.items()}
    text = {name: column.str.strip() for name, column in raw.rename(columns=given).items()}
    # Columns that must have a value know no missing code: a respondent or district numbered 9 is not a "9 = no answer".
    keys, missing = {name for name, column in TABLES.get(table, {}).items() if column.filled}, entry.get("missing", [])
    frame = pd.DataFrame({name: x.mask(x.isin([""] if name in keys else ["", *missing])) for name, x in text.items()})
    for item, filtered in entry.get("routed", {}).items():
        if absent := [name for name in (filtered["column"], item) if name not in frame]:
            faults.say(f"{file.name}, line 1, column {absent[0]!r} (named in [respondents.routed.{item}]) is missing")
        else:  # those whom a filter question spared the item give the answer that this means ("no, never")
            spared = frame[filtered["column"]].eq(filtered["answer"]) & frame[item].isna()
            frame[item] = frame[item].mask(spared, ITEMS[item].routed_out)
    return Sheet(table, file.name, frame, faults, columns, entry.get("decimal", "."), entry.get("codes", {}))


def _decode(file: Path, declared: str, *, notices: list[str]) -> str:
    """Return the text of a file in the declared encoding, else in UTF-8 (byte order mark or not), else in cp1252."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise SchemaError(f": cannot be read ({error.strerror}); allowed: a file that you may read") from None
    if not content.strip():
        raise SchemaError(": the file is empty; allowed: a line of headings and at least one row")
    for encoding in (declared,) if declared else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except (ValueError, LookupError):
            continue
        if "\0" in text:
            break
        if encoding == "utf-8-sig" and content.startswith(b"\xef\xbb\xbf"):
            notices.append(f"{file.name}: begins with a byte order mark, which was skipped")
        if encoding == "cp1252" and not declared:
            notices.append(f"{file.name}: is not UTF-8 and was read as Windows cp1252; look whether accents are right")
        return text
    known = repr(declared) if declared else "UTF-8 or cp1252"
    raise SchemaError(f": cannot be read as {known} text; allowed: a text file, best UTF-8")


def _cells(text: str, separator: str) -> pd.DataFrame:
    """Return every cell as text; the index is the line in the file, the headings being line 1."""
    as_text = {"dtype": str, "header": None, "keep_default_na": False, "na_filter": False, "skip_blank_lines": False}
    try:
        raw = pd.read_csv(io.StringIO(text), sep=separator, **as_text)
    except (pd.errors.ParserError, ValueError) as error:
        raise SchemaError(_what_is_ragged(text, separator, error)) from None
    raw.index += 1
    if text.rstrip("\r\n").count("\n") >= len(raw):  # line breaks inside quoted cells move the rows after them
        raw.index += sum(raw[column].str.count("\n") for column in raw).cumsum().shift(fill_value=0).to_numpy()
    headings = raw.iloc[0].str.strip()
    raw = raw.iloc[1:].set_axis(headings.tolist(), axis=1)
    raw = raw.loc[(raw != "").any(axis=1), (headings != "").tolist()]  # what has no heading says nothing to us
    if raw.columns.has_duplicates:
        doubled = ", ".join(map(repr, raw.columns[raw.columns.duplicated()].unique()))
        raise SchemaError(f", line 1: heading {doubled} twice; allowed: each heading once")
    if raw.empty:
        raise SchemaError(": only headings, no rows; allowed: at least one row")
    return raw


def _what_is_ragged(text: str, separator: str, error: Exception) -> str:
    """Name the lines with more cells than headings: a decimal comma without quotes is the usual cause."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        width = len(next(rows))
        lines, values = zip(*((rows.line_num, separator.join(row)) for row in rows if len(row) > width), strict=True)
    except (csv.Error, ValueError):  # not told by csv either, or no line is too long
        said = str(error).strip().splitlines()[-1]
        return f": rows cannot be told apart: {said}; allowed: as many cells as headings"
    allowed = f"{width} cells, so a value that holds {separator!r}, such as a decimal comma, stands in quotes"
    return f", {lines_of(lines)}: more cells than headings: {shown(values)}; allowed: {allowed}"
