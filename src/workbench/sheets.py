"""One file of a city, read as text: encoding, separator, headings, missing codes, and the line each value stands in."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS
from workbench.schema import TABLES, Faults, Sheet, lines_of, shown

MOST_COLUMNS = 5000  # what reads tables takes minutes for millions


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
