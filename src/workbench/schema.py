"""The contract of the canonical tables: which columns, which values, and how a fault is told.

A table arrives as a Sheet of text with the line numbers of its file as index. Every column is converted by itself,
vectorised, and every value that breaks the contract is collected in Faults; nothing is coerced in silence and
nothing stops at the first fault. A validation library would add only the checks, not the conversion and not the
words that a city needs, and costs half a second to import.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS


@dataclass(frozen=True)
class Column:
    """One column of a canonical table: what it holds and which values are allowed."""

    kind: str = "text"  # text | number | date | flag
    required: bool = False  # the heading must exist and every row must have a value
    above: float | None = None
    least: float | None = None
    most: float | None = None
    among: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        """Say in words which values the column takes."""
        if self.kind == "date":
            return "a date written YYYY-MM-DD"
        if self.kind == "flag":
            return "true or false"
        if self.among:
            return " or ".join(self.among)
        if self.kind == "text":
            return "a value in every row" if self.required else "any text"
        if self.above is not None:
            return f"a number above {self.above:g}"
        if self.least is not None:
            return f"a number from {self.least:g}" + (f" to {self.most:g}" if self.most is not None else " up")
        return "a number"


TEXT, NUMBER, DATE = Column(), Column("number"), Column("date")
KEY, PAST_ZERO, COUNT = Column(required=True), Column("number", above=0), Column("number", least=0)
STRATA = ("sex", "age_band", "education")
TABLES: dict[str, dict[str, Column]] = {
    "areas": {"area": KEY, "name": TEXT, "population": PAST_ZERO, "neighbours": TEXT},
    "waves": {
        "wave": KEY,
        "start": Column("date", required=True),
        "end": Column("date", required=True),
        "mode": TEXT,
        "questionnaire_version": TEXT,
        "known_break": Column("flag"),
        "break_areas": TEXT,
        "note": TEXT,
    },
    "projects": {
        "project": KEY,
        "area": KEY,
        "kind": TEXT,
        "name": TEXT,
        "announced": DATE,
        "start": Column("date", required=True),
        "full": DATE,
        "stop": DATE,
        "cost_eur": COUNT,
        "reached": COUNT,
        "min_worthwhile_pp": PAST_ZERO,
        "trigger": TEXT,
        "primary_item": Column(among=tuple(ITEMS)),
        "assignment": Column(among=("random",)),
    },
    "respondents": {
        "respondent": KEY,
        "area": KEY,
        "wave": KEY,
        "weight": Column("number", above=0, required=True),
        **dict.fromkeys((*STRATA, *ITEMS), TEXT),
    },
    "shares": {
        "area": KEY,
        "wave": KEY,
        "item": Column(required=True, among=tuple(ITEMS)),
        "category": KEY,
        "share": Column("number", least=0, most=100),
        "count": COUNT,
        "n": PAST_ZERO,
    },
    "population": {
        "area": KEY,
        **dict.fromkeys(STRATA, TEXT),
        "population": Column("number", least=0, required=True),
    },
}
MAY_BE_ABSENT = {"weight"}  # no such column is fine; a gap in it is not
UNIQUE = {
    "areas": ["area"],
    "waves": ["wave"],
    "projects": ["project", "area"],
    "respondents": ["respondent", "wave"],
    "shares": ["area", "wave", "item", "category"],
    "population": ["area", *STRATA],
}
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
DECIMAL_COMMA = r"[+-]?\d*,\d+"
SHOWN = 3


@dataclass(frozen=True)
class Sheet:
    """A text file as read: canonical headings, stripped text or NA, the file's line numbers as index."""

    table: str
    file: str
    frame: pd.DataFrame
    own: dict[str, str] = field(default_factory=dict)  # canonical name -> the city's own heading
    decimal: str = "."
    codes: dict[str, dict[str, str]] = field(default_factory=dict)  # column -> {their code: our label}

    def heading(self, column: str) -> str:
        """Return how a message should name the column: as the city knows it."""
        own = self.own.get(column, column)
        return f"column {own!r}" + (f" ({column})" if own != column else "")


class Faults:
    """Every fault found in one pass, one line each: file, lines, column, values, what was allowed."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        """Add a fault that belongs to a whole file or table."""
        self.lines.append(text)

    def add(self, sheet: Sheet, column: str, bad: pd.Series, allowed: str) -> None:
        """Add the values of `bad` (file line -> value) as one fault; nothing happens when there are none."""
        if bad.empty:
            return
        first = bad.index[:SHOWN].tolist()
        more = f" and {len(bad) - SHOWN:,} more" if len(bad) > SHOWN else ""
        lines = f"line{'s' if len(bad) > 1 else ''} {', '.join(map(str, first))}{more}"
        values = ", ".join(dict.fromkeys(_shown(value) for value in bad.iloc[:SHOWN]))
        self.say(f"{sheet.file}, {lines}, {sheet.heading(column)}: {values}; allowed: {allowed}")

    def raise_if_any(self, city: str) -> None:
        """Raise SchemaError with all faults, one per line."""
        if self.lines:
            count = f"{len(self.lines)} fault{'s' if len(self.lines) > 1 else ''}"
            raise SchemaError("\n".join([f"{city}: {count}, nothing was written", *dict.fromkeys(self.lines)]))


def _shown(value: object) -> str:
    if pd.isna(value):
        return "no value"
    text = f"{value:%Y-%m-%d}" if isinstance(value, pd.Timestamp) else str(value)
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


def convert(sheet: Sheet, *, faults: Faults) -> pd.DataFrame:
    """Return the table with typed canonical columns in the contract's order, faulty values as missing.

    Optional columns that the file lacks are absent, except that a table always has its required ones: their
    absence is a fault, and later checks need not ask again.
    """
    frame, done = sheet.frame, {}
    for name, column in TABLES[sheet.table].items():
        if name in frame:
            done[name] = _convert_column(sheet, name, column, faults=faults)
        elif column.required and name not in MAY_BE_ABSENT:
            headings = [sheet.own.get(heading, heading) for heading in frame.columns]
            hint = nearest(name, headings)
            faults.say(
                f"{sheet.file}, line 1, column {name!r} is missing{hint}; allowed: a heading {name}, or "
                f"[{sheet.table}.columns] {name} = one of {', '.join(map(repr, headings[:20]))}"
            )
            done[name] = pd.Series(pd.NaT if column.kind == "date" else None, index=frame.index, dtype=_dtype(column))
    table = pd.DataFrame(done, index=frame.index)
    if sheet.table == "shares":
        table["category"] = _recode_categories(table, sheet.codes)
    keys = [name for name in UNIQUE[sheet.table] if name in table]
    doubled = table.duplicated(keys) & table[keys].notna().all(axis=1)
    shown = table.loc[doubled, keys].astype(str).agg(", ".join, axis=1) if doubled.any() else pd.Series(dtype=str)
    faults.add(sheet, keys[0], shown, f"each {' and '.join(keys)} once")
    return table


def with_all_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with every column of its contract, absent ones as missing values."""
    columns = TABLES[name]
    given = {
        key: table[key] if key in table else pd.Series(index=table.index, dtype=_dtype(columns[key])) for key in columns
    }
    return pd.DataFrame(given, index=table.index)


def empty(name: str) -> pd.DataFrame:
    """Return the table without rows, with its columns and types."""
    return with_all_columns(pd.DataFrame(index=pd.RangeIndex(0)), name)


def _dtype(column: Column) -> str:
    return {"text": "str", "number": "float64", "date": "datetime64[us]", "flag": "bool"}[column.kind]


def _convert_column(sheet: Sheet, name: str, column: Column, *, faults: Faults) -> pd.Series:
    text = sheet.frame[name]
    if column.required:
        faults.add(sheet, name, text[text.isna()], column.allowed)
    if name in ITEMS:
        return _convert_answers(sheet, name, text, faults=faults)
    if codes := sheet.codes.get(name):
        text = _recode(text, codes)
    if column.among:
        bad = text[text.notna() & ~text.isin(column.among)]
        hint = nearest(bad.iloc[0], column.among) if len(bad) else ""
        few = column.allowed if len(column.among) < 4 else ", ".join(column.among)
        faults.add(sheet, name, bad, few + hint)
        return text.where(~text.index.isin(bad.index)) if len(bad) else text
    return {"text": _as_is, "number": _convert_numbers, "date": _convert_dates, "flag": _convert_flags}[column.kind](
        sheet, name, text, column, faults=faults
    )


def _as_is(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    return text


def _recode(text: pd.Series, codes: dict[str, str]) -> pd.Series:
    """Replace the codes that the manifest names, keep the rest; works on the distinct values, so it is quick."""
    places, distinct = pd.factorize(text)
    mapped = np.array([codes.get(value, value) for value in distinct] + [None], dtype=object)
    return pd.Series(mapped[places], index=text.index, dtype="str")


def _recode_categories(shares: pd.DataFrame, codes: dict[str, dict[str, str]]) -> pd.Series:
    """Apply [shares.codes.ITEM] to the rows of that item."""
    category = shares["category"]
    for item in shares["item"].dropna().unique():
        known = ITEMS[item].codes | codes.get(item, {})
        category = category.mask(shares["item"].eq(item), _recode(category, known)) if known else category
    return category


def _convert_answers(sheet: Sheet, name: str, text: pd.Series, *, faults: Faults) -> pd.Series:
    """Turn answer codes into the item's categories; an unknown code is a fault, never a missing answer."""
    item = ITEMS[name]
    known = {label: label for label in item.categories} | item.codes | sheet.codes.get(name, {})
    known |= {code: None for code in (*item.missing, *item.off_scale) if code not in sheet.codes.get(name, {})}
    known |= {code: None for code, label in known.items() if label in item.off_scale}
    places, distinct = pd.factorize(text)
    unknown = [place for place, value in enumerate(distinct) if value not in known]
    if unknown:
        bad = text[np.isin(places, unknown)]
        faults.add(sheet, name, bad, ", ".join(known) + nearest(bad.iloc[0], known))
    mapped = np.array([known.get(value) for value in distinct] + [None], dtype=object)
    return pd.Series(mapped[places], index=text.index, dtype="str")


def _convert_numbers(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    plain = text
    if sheet.decimal == ",":
        dotted = text[text.str.contains(".", regex=False, na=False)]
        faults.add(sheet, name, dotted, "a number with a decimal comma and no other mark, as city.toml declares")
        plain = text.where(~text.index.isin(dotted.index)).str.replace(",", ".", regex=False)
    values = pd.to_numeric(plain, errors="coerce").astype("float64")
    values = values.where(np.isfinite(values))
    wrong = plain[plain.notna() & values.isna()]
    comma = wrong.str.fullmatch(DECIMAL_COMMA) if len(wrong) else wrong.astype(bool)
    hint = f'{column.allowed}; this is a decimal comma: write a point, or decimal = "," under [{sheet.table}]'
    faults.add(sheet, name, wrong[comma], hint)
    faults.add(sheet, name, wrong[~comma], column.allowed)
    outside = pd.Series(False, index=values.index)
    if column.above is not None:
        outside |= values <= column.above
    if column.least is not None:
        outside |= values < column.least
    if column.most is not None:
        outside |= values > column.most
    faults.add(sheet, name, text[outside], column.allowed)
    return values.where(~outside)


def _convert_dates(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    iso = text.str.fullmatch(r"(19|20)\d\d-\d\d-\d\d").fillna(False).astype(bool)
    values = pd.to_datetime(text.where(iso), format="%Y-%m-%d", errors="coerce").astype("datetime64[us]")
    wrong = text[text.notna() & values.isna()]
    mixed = wrong.str.fullmatch(r"\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4}") if len(wrong) else wrong.astype(bool)
    faults.add(sheet, name, wrong[mixed], f"{column.allowed}; day and month cannot be told apart here")
    faults.add(sheet, name, wrong[~mixed], f"{column.allowed}, between 1900 and 2099")
    return values


def _convert_flags(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    values = text.str.lower().map(FLAGS)
    faults.add(sheet, name, text[text.notna() & values.isna()], column.allowed)
    return values.fillna(False).astype(bool)
