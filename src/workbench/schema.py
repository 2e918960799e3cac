"""The contract of the canonical tables (contract.toml): which columns, which values, and how a fault is told.

Nothing is coerced in silence, no check stops at the first fault; libraries bring neither conversion nor words."""

import re
import tomllib
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS, Item


@dataclass(frozen=True)
class Column:
    """One column of a canonical table: what it holds, which values are allowed, and how a message says so."""

    kind: str = "text"  # text | number | date | flag
    allowed: str = ""
    between: tuple = (-np.inf, np.inf)  # for numbers: lowest, highest, and which of the two belong if not both
    whole: bool = False
    among: tuple[str, ...] = ()  # for text
    pattern: str = ""  # for text, the whole of it
    longest: int = 100  # characters
    lines: bool = False  # more than one
    heading: bool = False  # the file must have this column
    filled: bool = False  # and, where it has, every row must have a value


def _columns(said: dict) -> dict[str, Column]:
    """Return the columns of one table of contract.toml."""
    heading, filled = ([*said["needed"], *said.get(key, ())] for key in ("heading", "filled"))
    columns = {}
    for name, holds in said["columns"].items():
        about = KINDS[holds] if isinstance(holds, str) else {"among": tuple(holds)}
        columns[name] = Column(**about, heading=name in heading, filled=name in filled)
    return columns


CONTRACT = tomllib.loads(Path(__file__).with_name("contract.toml").read_text(encoding="utf-8"))
MISTAKES = CONTRACT.pop("mistakes")
KINDS = CONTRACT.pop("kinds") | {"item": {"among": tuple(ITEMS)}}
TABLES = {table: _columns(said) for table, said in CONTRACT.items()}
TABLES["respondents"] |= dict.fromkeys(ITEMS, Column(**KINDS["text"]))
INCIDENTS = tomllib.loads(Path(__file__).with_name("incidents.toml").read_text(encoding="utf-8"))["kinds"]
DISCRETION = ("low", "some", "high")
STRATA = ("sex", "age_band", "education")
FOCUS = TABLES["projects"]["focus"].among
CONDITIONS = TABLES["collective_impact"]["condition"].among
DTYPES = {"text": "str", "number": "float64", "date": "datetime64[us]", "flag": "bool"}
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
SHOWN = 3
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
SEEN = "characters, all of which can be seen"


@dataclass(frozen=True)
class Sheet:
    """A text file as read: canonical headings, stripped text or NA, the file's line numbers as index."""

    table: str
    file: str
    frame: pd.DataFrame
    faults: "Faults"
    own: dict[str, str] = field(default_factory=dict)  # canonical name -> the city's own heading
    decimal: str = "."
    codes: dict[str, dict[str, str]] = field(default_factory=dict)  # column -> {their code: our label}

    def refuse(self, bad: pd.Series, allowed: str) -> None:
        """Add values of the column `bad.name` (file line -> value) as one fault; if there are none, nothing."""
        if len(bad):
            own = self.own.get(bad.name, bad.name)  # the city's heading, then ours
            column = f"column {own!r}" + (f" ({bad.name})" if own != bad.name else "")
            self.faults.say(f"{self.file}, {lines_of(bad.index)}, {column}: {shown(bad)}; allowed: {allowed}")

    def refuse_unknown(self, values: pd.Series, known, *, most: int = 99, more: str = "") -> pd.Series:
        """Refuse the values that are none of `known`, with the nearest name; return the others, those missing too."""
        names = list(dict.fromkeys(known))
        bad = values[values.notna() & ~values.isin(names)]
        if len(bad):
            some = f", ... ({len(names)} in all)" if len(names) > most else ""
            self.refuse(bad, ", ".join(names[:most]) + some + nearest(bad.iloc[0], names) + more)
        return values.drop(bad.index) if len(bad) else values


@dataclass
class Faults:
    """What is found in a city's files in one pass: faults, one line each, and notices, which a reader must know."""

    lines: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        """Add a fault that belongs to a whole file or table."""
        self.lines.append(text)

    def raise_if_any(self, city: str) -> None:
        """Raise SchemaError with all faults, one per line."""
        if self.lines:
            count = f"{len(self.lines)} fault{'s' if len(self.lines) > 1 else ''}"
            raise SchemaError("\n".join([f"{city}: {count}, nothing was written", *dict.fromkeys(self.lines)]))


def lines_of(numbers) -> str:
    """Return line numbers as a message gives them: the first three, and how many more."""
    more = f" and {len(numbers) - SHOWN:,} more" if len(numbers) > SHOWN else ""
    return f"line{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:SHOWN]))}{more}"


def shown(values) -> str:
    """Return the first three values as a message gives them: in quotes, long ones cut, each once."""
    some = list(islice(values, SHOWN))
    texts = [f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value) for value in some]
    quoted = [repr(text if len(text) <= 60 else f"{text[:60]}...") for text in texts]
    return ", ".join(dict.fromkeys("no value" if pd.isna(v) else text for v, text in zip(some, quoted, strict=True)))


def convert(sheet: Sheet) -> pd.DataFrame:
    """The table with typed columns in the contract's order, faulty values missing. Of columns that the file lacks only
    the required ones are there: their absence is a fault, and later checks need not ask again."""
    frame, done, columns = sheet.frame, {}, TABLES[sheet.table]
    for name, column in columns.items():
        if name in frame:
            done[name] = _convert_column(sheet, frame[name], column)
        elif column.heading:
            own = [sheet.own.get(heading, heading) for heading in frame.columns]
            allowed = f"[{sheet.table}.columns] {name} = one of {', '.join(map(repr, own[:20]))}"
            hint = f"{nearest(name, own)}; allowed: a heading {name}, or {allowed}"
            sheet.faults.say(f"{sheet.file}, line 1, column {name!r} is missing{hint}")
            done[name] = pd.Series(index=frame.index, dtype=DTYPES[column.kind])
    table = pd.DataFrame(done, index=frame.index)
    if sheet.table == "shares":
        for item in table["item"].dropna().unique():  # [shares.codes.ITEM] is for the rows of that item
            known = ITEMS[item].codes | sheet.codes.get(item, {})
            table["category"] = table["category"].mask(table["item"].eq(item), table["category"].replace(known))
    keys = [name for name in CONTRACT[sheet.table]["unique"] if name in table]
    doubled = table.loc[table.duplicated(keys), keys].dropna(subset=[name for name in keys if columns[name].filled])
    told = [", ".join(row) for row in doubled.astype(str).fillna("").to_numpy()]
    sheet.refuse(pd.Series(told, index=doubled.index, name=keys[0]), f"each {' and '.join(keys)} once")
    return table


def readable(text: str, longest: int = 100, *, lines: bool = False) -> bool:
    """Is a text short enough for a page, and can all of it be seen: no control character, none that turns it round?"""
    return len(text) <= longest and not HIDDEN.search(re.sub(r"[\t\r\n]", " ", text) if lines else text)


def with_all_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with every column of its contract, absent ones as missing values (a flag as false)."""
    columns = TABLES[name]
    flags = {key: False for key, column in columns.items() if column.kind == "flag" and key not in table}
    return table.assign(**flags).reindex(columns=list(columns)).astype({k: DTYPES[c.kind] for k, c in columns.items()})


def _convert_column(sheet: Sheet, text: pd.Series, column: Column) -> pd.Series:
    """Return a column as what it holds; an answer that is not known is a fault, never a missing one."""
    own = sheet.codes.get(text.name, {})
    if column.filled:
        sheet.refuse(text[text.isna()], column.allowed or ", ".join(column.among))
    if text.name in ITEMS:
        known = _answers(ITEMS[text.name], own)
        sheet.refuse_unknown(text, known)
        return text.map(known).astype("str")
    text = text.replace(own)
    if column.among:
        return sheet.refuse_unknown(text, column.among).reindex(text.index)
    if column.kind == "text":
        hidden = [one for one in text.dropna().unique() if not readable(one, column.longest, lines=column.lines)]
        bad, lines = text.isin(hidden), "text" if column.lines else "one line"
        sheet.refuse(text[bad], f"{lines} of at most {column.longest} {SEEN}")
        text = text.mask(bad)
        wrong = text.notna() & ~text.str.fullmatch(column.pattern or "(?s:.*)", na=False).astype(bool)
        sheet.refuse(text[wrong], column.allowed)
        return text.mask(wrong)
    values = _read(text, column.kind, decimal=sheet.decimal)
    wrong = text[text.notna() & values.isna()]
    pattern, why = MISTAKES.get(column.kind.replace("number", f"number{sheet.decimal}"), ("", ""))
    mistaken = wrong.str.fullmatch(pattern).astype(bool)
    sheet.refuse(wrong[mistaken], f"{column.allowed}; {why.format(table=sheet.table)}")
    sheet.refuse(wrong[~mistaken], column.allowed)
    if column.kind == "number":
        outside = values.notna() & ~values.between(*column.between) | column.whole & (values % 1 > 0)
        sheet.refuse(text[outside], column.allowed)
        values = values.mask(outside)
    return values.eq(True) if column.kind == "flag" else values


def _answers(item: Item, own: dict[str, str]) -> dict[str, str | None]:
    """Return code -> category, the city's own codes first; None for no answer and for answers off the scale."""
    known = dict(zip(item.categories, item.categories, strict=True)) | item.codes | own
    known |= dict.fromkeys(code for code in (*item.missing, *item.off_scale) if code not in own)
    return known | {code: None for code, label in known.items() if label in item.off_scale}


def _read(text: pd.Series, kind: str, *, decimal: str) -> pd.Series:
    """Return numbers, dates or flags, missing where the text is none."""
    if kind == "flag":
        return text.str.lower().map(FLAGS)
    if kind == "date":
        iso = text.where(text.str.fullmatch(r"(19|20)\d\d-\d\d-\d\d", na=False))
        return pd.to_datetime(iso, format="%Y-%m-%d", errors="coerce").astype(DTYPES[kind])
    if decimal == ",":
        text = text.mask(text.str.contains(".", regex=False, na=False)).str.replace(",", ".", regex=False)
    values = pd.to_numeric(text, errors="coerce").astype(DTYPES[kind])
    return values.where(np.isfinite(values))
