"""One file of a city, read as text: encoding, separator, headings, missing codes, and the line each value stands in."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from workbench.errors import nearest
from workbench.items import ITEMS
from workbench.manifest import is_plain
from workbench.schema import TABLES, Faults, Sheet


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
    frame = _name_columns(file, table, raw, columns, faults=faults)
    frame = _trim(frame, table, set(entry.get("missing", [])))
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
    try:
        raw = pd.read_csv(
            io.BytesIO(content),
            sep=separator,
            encoding=encoding,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            header=None,
            na_filter=False,
        )
    except (pd.errors.ParserError, ValueError) as error:
        _say_what_is_ragged(file, content.decode(encoding), separator, error, faults=faults)
        return None
    headings = raw.iloc[0].str.strip()
    breaks = _breaks_inside_cells(content, raw)
    raw.index = raw.index + 1 + breaks
    raw = raw.iloc[1:].set_axis(headings.tolist(), axis=1)
    raw = raw[(raw != "").any(axis=1)] if _has_blank_lines(content) else raw
    raw = raw.loc[:, (headings != "").tolist()]  # a column without a heading can have no meaning for us
    doubled = headings[headings.duplicated() & (headings != "")]
    if len(doubled):
        faults.say(
            f"{file}, line 1: heading {', '.join(map(repr, doubled.unique()))} twice; allowed: each heading once"
        )
        return None
    if raw.empty:
        faults.say(f"{file}: only headings, no rows; allowed: at least one row")
        return None
    return raw


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
    lines = ", ".join(str(line) for line, _ in long[:3]) + (f" and {len(long) - 3:,} more" if len(long) > 3 else "")
    shown = ", ".join(repr(row if len(row) <= 60 else f"{row[:60]}...") for _, row in long[:3])
    faults.say(
        f"{file}, line{'s' * (len(long) > 1)} {lines}: more cells than headings: {shown}; allowed: {width} cells, so a value "
        f"that holds {separator!r}, such as a decimal comma, stands in quotes"
    )


def _has_blank_lines(content: bytes) -> bool:
    return any(mark in content for mark in (b"\n\n", b"\n\r\n", b"\n ", b"\n,", b"\n;", b"\n\t"))


def _breaks_inside_cells(content: bytes, raw: pd.DataFrame) -> object:
    """Return by how much each row's line number is moved by line breaks inside quoted cells before it."""
    if content.rstrip(b"\r\n").count(b"\n") + 1 <= len(raw):
        return 0
    inside = sum(raw[column].str.count("\n") for column in raw)
    return inside.cumsum().shift(fill_value=0).to_numpy()


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
    names = [given.get(own, f"{own} (unused)" if own in columns else own) for own in raw.columns]
    return raw.set_axis(names, axis=1)


def _trim(frame: pd.DataFrame, table: str, missing: set[str]) -> pd.DataFrame:
    """Strip blanks round every cell; empty cells and declared missing codes become NA.

    Columns that must have a value know no missing code: a respondent or district numbered 9 is not a "9 = no answer".
    """
    columns = TABLES[table]
    keys = {name for name in columns if columns[name].required}
    return pd.DataFrame({name: _trim_column(frame[name], set() if name in keys else missing) for name in frame})


def _trim_column(text: pd.Series, missing: set[str]) -> pd.Series:
    text = text.str.strip()
    return text.mask(text.isin({"", *missing}))


def _route(file: str, frame: pd.DataFrame, routed: Mapping, *, faults: Faults) -> pd.DataFrame:
    """Give those whom a filter question spared the item the category that this means ("no, never")."""
    for item, entry in routed.items():
        if entry["column"] not in frame or item not in frame:
            missing = entry["column"] if entry["column"] not in frame else item
            faults.say(f"{file}, line 1, column {missing!r} (named in [respondents.routed.{item}]) is missing")
            continue
        spared = frame[entry["column"]].eq(entry["answer"]).fillna(False).astype(bool) & frame[item].isna()
        frame = frame.assign(**{item: frame[item].mask(spared, ITEMS[item].routed_out)})
    return frame
