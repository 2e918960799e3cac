"""One file of a city, read as text: encoding, separator, headings, missing codes, and the line each value stands in."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workbench.errors import nearest
from workbench.items import ITEMS
from workbench.manifest import is_plain
from workbench.schema import TABLES, Faults, Sheet, lines_of, shown


def read_sheet(
    folder: Path, table: str, file: str, entry: Mapping, *, faults: Faults, notices: list[str]
) -> Sheet | None:
    """Read one file as text with its line numbers; None when nothing can be made of it (a fault then says why)."""
    if not is_plain(file) or not (folder / file).is_file():
        return None
    content = (folder / file).read_bytes()
    encoding = _encoding(file, content, entry.get("encoding", ""), faults=faults, notices=notices)
    if not encoding:
        return None
    separator = entry.get("separator") or _sniff(content, encoding)
    if "separator" not in entry and separator != ",":
        notices.append(f"{file}: read with {'tab' if separator == chr(9) else separator!r} between the columns")
    raw = _read_text(file, content, encoding, separator, faults=faults)
    if raw is None:
        return None
    columns = entry.get("columns", {})
    frame = _trim(_name_columns(file, table, raw, columns, faults=faults), table, entry.get("missing", []))
    frame = _route(file, frame, entry.get("routed", {}), faults=faults)
    return Sheet(table, file, frame, columns, entry.get("decimal", "."), entry.get("codes", {}))


def _encoding(file: str, content: bytes, declared: str, *, faults: Faults, notices: list[str]) -> str:
    """Return the encoding that reads the file: the declared one, UTF-8 (byte order mark or not), or cp1252."""
    if not content.strip():
        faults.say(f"{file}: the file is empty; allowed: a line of headings and at least one row")
        return ""
    for encoding in (declared,) if declared else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
        if "\0" in text:
            break
        if encoding == "utf-8-sig" and content.startswith(b"\xef\xbb\xbf"):
            notices.append(f"{file}: begins with a byte order mark, which was skipped")
        if encoding == "cp1252" and not declared:
            notices.append(f"{file}: is not UTF-8 and was read as Windows cp1252; look whether accents are right")
        return encoding
    faults.say(f"{file}: cannot be read as {declared or 'UTF-8 or cp1252'} text; allowed: a text file, best UTF-8")
    return ""


def _sniff(content: bytes, encoding: str) -> str:
    """Return the separator that the line of headings uses most: comma, semicolon or tab."""
    first = content.split(b"\n", 1)[0].decode(encoding, errors="replace")
    return max(",;\t", key=first.count)


def _read_text(file: str, content: bytes, encoding: str, separator: str, *, faults: Faults) -> pd.DataFrame | None:
    """Return every cell as text; the index is the line in the file, the headings being line 1."""
    as_text = {"dtype": str, "header": None, "keep_default_na": False, "na_filter": False, "skip_blank_lines": False}
    try:
        raw = pd.read_csv(io.BytesIO(content), sep=separator, encoding=encoding, **as_text)
    except (pd.errors.ParserError, ValueError) as error:
        _say_what_is_ragged(file, content.decode(encoding), separator, error, faults=faults)
        return None
    raw.index += 1
    if content.rstrip(b"\r\n").count(b"\n") >= len(raw):  # line breaks inside quoted cells move the rows after them
        raw.index += sum(raw[column].str.count("\n") for column in raw).cumsum().shift(fill_value=0).to_numpy()
    headings = raw.iloc[0].str.strip()
    raw = raw.iloc[1:].set_axis(headings.tolist(), axis=1)
    raw = raw.loc[
        (raw != "").any(axis=1), (headings != "").tolist()
    ]  # without a heading a column has no meaning for us
    if raw.columns.has_duplicates:
        doubled = ", ".join(map(repr, raw.columns[raw.columns.duplicated()].unique()))
        faults.say(f"{file}, line 1: heading {doubled} twice; allowed: each heading once")
    elif raw.empty:
        faults.say(f"{file}: only headings, no rows; allowed: at least one row")
    else:
        return raw
    return None


def _say_what_is_ragged(file: str, text: str, separator: str, error: Exception, *, faults: Faults) -> None:
    """Name the lines with more cells than headings: a decimal comma without quotes is the usual cause."""
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        width = len(next(rows))
        long = [(rows.line_num, separator.join(row)) for row in rows if len(row) > width]
    except csv.Error:
        long = []
    if not long:
        said = str(error).strip().splitlines()[-1]
        faults.say(f"{file}: rows cannot be told apart: {said}; allowed: as many cells as headings")
        return
    lines, values = zip(*long, strict=True)
    faults.say(
        f"{file}, {lines_of(lines)}: more cells than headings: {shown(values)}; allowed: {width} cells, so a value "
        f"that holds {separator!r}, such as a decimal comma, stands in quotes"
    )


def _name_columns(
    file: str, table: str, raw: pd.DataFrame, columns: Mapping[str, str], *, faults: Faults
) -> pd.DataFrame:
    """Give the columns their canonical names; a heading that the manifest names must be there, optional or not."""
    for canonical, own in columns.items():
        if own not in raw:
            faults.say(
                f"{file}, line 1, column {own!r} (named in [{table}.columns] {canonical}) is missing"
                f"{nearest(own, raw.columns)}; headings here: {', '.join(map(repr, raw.columns))}"
            )
    given = {own: canonical for canonical, own in columns.items()}
    # A heading that happens to be a canonical name, while the manifest takes that name from elsewhere, is not used.
    return raw.rename(columns={own: f"{own} (unused)" for own in columns} | given)


def _trim(frame: pd.DataFrame, table: str, missing: list[str]) -> pd.DataFrame:
    """Strip blanks round every cell; empty cells and declared missing codes become NA.

    Columns that must have a value know no missing code: a respondent or district numbered 9 is not a "9 = no answer".
    """
    keys = {name for name, column in TABLES[table].items() if column.required}
    text = {name: frame[name].str.strip() for name in frame}
    return pd.DataFrame({name: x.mask(x.isin([""] if name in keys else ["", *missing])) for name, x in text.items()})


def _route(file: str, frame: pd.DataFrame, routed: Mapping, *, faults: Faults) -> pd.DataFrame:
    """Give those whom a filter question spared the item the category that this means ("no, never")."""
    for item, entry in routed.items():
        if absent := [name for name in (entry["column"], item) if name not in frame]:
            faults.say(f"{file}, line 1, column {absent[0]!r} (named in [respondents.routed.{item}]) is missing")
            continue
        spared = frame[entry["column"]].eq(entry["answer"]) & frame[item].isna()
        frame = frame.assign(**{item: frame[item].mask(spared, ITEMS[item].routed_out)})
    return frame
