"""The contract of the canonical tables: which columns, which values, and how a fault is told.

A table arrives as a Sheet of text with the line numbers of its file as index. Every column is converted by itself,
vectorised, and every value that breaks the contract is collected in Faults; nothing is coerced in silence and
nothing stops at the first fault. A validation library would add only the checks, not the conversion and not the
words that a city needs, and costs half a second to import.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS


@dataclass(frozen=True)
class Column:
    """One column of a canonical table: what it holds, which values are allowed, and how a message says so."""

    kind: str = "text"  # text | number | date | flag
    allowed: str = "any text"
    holds: Callable[[pd.Series], pd.Series] | None = None  # for numbers: which of them are allowed
    required: bool = False  # the heading must exist and every row must have a value
    among: tuple[str, ...] = ()


def _one_of(names, *, required=False) -> Column:
    return Column(allowed=(" or " if len(names) < 4 else ", ").join(names), among=tuple(names), required=required)


TEXT, KEY = Column(), Column(allowed="a value in every row", required=True)
DATE = Column("date", "a date written YYYY-MM-DD")
DAY = replace(DATE, required=True)
PAST_ZERO = Column("number", "a number above 0", lambda x: x > 0)
WEIGHT = replace(PAST_ZERO, required=True)
COUNT = Column("number", "a number from 0 up", lambda x: x >= 0)
RESIDENTS = replace(COUNT, required=True)
PERCENT = Column("number", "a number from 0 to 100", lambda x: x.between(0, 100))
VALUE = Column("number", "a number", np.isfinite, required=True)
SCORE = Column("number", 'a whole number from 0 to 4, or empty for "don\'t know"', lambda x: x.isin(range(5)))
FLAG = Column("flag", "true or false")
STRATA = ("sex", "age_band", "education")
# Focus areas of IcARUS; conditions of Collective Impact (Kania and Kramer 2011); dimensions of the self-assessment
# framework of Action 1 of the EU Urban Agenda Partnership on Security in Public Spaces.
FOCUS = ("juvenile-delinquency", "radicalisation", "organised-crime", "public-space")
CONDITIONS = (
    "common-agenda", "shared-measurement", "reinforcing-activities", "continuous-communication", "backbone",
)  # fmt: skip
DIMENSIONS = (
    "quality-of-life", "social-cohesion", "public-space-liveability", "sense-of-safety", "urban-security",
    "background-conditions",
)  # fmt: skip
TABLES: dict[str, dict[str, Column]] = {
    "areas": {"area": KEY, "name": TEXT, "population": PAST_ZERO, "neighbours": TEXT},
    "waves": {
        "wave": KEY, "start": DAY, "end": DAY, "mode": TEXT, "questionnaire_version": TEXT, "known_break": FLAG,
        "break_areas": TEXT, "note": TEXT,
    },
    "projects": {
        "project": KEY, "area": KEY, "kind": TEXT, "name": TEXT, "announced": DATE, "start": DAY, "full": DATE,
        "stop": DATE, "cost_eur": COUNT, "reached": COUNT, "min_worthwhile_pp": PAST_ZERO, "trigger": TEXT,
        "primary_item": _one_of(ITEMS), "assignment": _one_of(["random"]), "focus": _one_of(FOCUS),
    },
    "respondents": {
        "respondent": KEY, "area": KEY, "wave": KEY, "weight": WEIGHT, **dict.fromkeys((*STRATA, *ITEMS), TEXT),
    },
    "shares": {
        "area": KEY, "wave": KEY, "item": _one_of(ITEMS, required=True), "category": KEY, "share": PERCENT,
        "count": COUNT, "n": PAST_ZERO,
    },
    "population": {"area": KEY, **dict.fromkeys(STRATA, TEXT), "population": RESIDENTS},
    "collective_impact": {
        "project": KEY, "date": DAY, "rater": KEY, "condition": _one_of(CONDITIONS, required=True), "score": SCORE,
        "evidence": TEXT,
    },
    "indicators": {
        "dimension": _one_of(DIMENSIONS, required=True), "indicator": KEY, "area": TEXT, "date": DAY, "value": VALUE,
        "unit": TEXT, "source": TEXT,
    },
}  # fmt: skip
MAY_BE_ABSENT = {"weight"}  # no such column is fine; a gap in it is not
UNIQUE = {
    "areas": ["area"],
    "waves": ["wave"],
    "projects": ["project", "area"],
    "respondents": ["respondent", "wave"],
    "shares": ["area", "wave", "item", "category"],
    "population": ["area", *STRATA],
    "collective_impact": ["project", "date", "rater", "condition"],
    "indicators": ["dimension", "indicator", "area", "date"],
}
DTYPES = {"text": "str", "number": "float64", "date": "datetime64[us]", "flag": "bool"}
FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
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
        if len(bad):
            self.say(f"{sheet.file}, {lines_of(bad.index)}, {sheet.heading(column)}: {shown(bad)}; allowed: {allowed}")

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
    return ", ".join(dict.fromkeys(_shown(value) for value in islice(values, SHOWN)))


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
            faults.say(
                f"{sheet.file}, line 1, column {name!r} is missing{nearest(name, headings)}; allowed: a heading {name}, or "
                f"[{sheet.table}.columns] {name} = one of {', '.join(map(repr, headings[:20]))}"
            )
            done[name] = pd.Series(index=frame.index, dtype=DTYPES[column.kind])
    table = pd.DataFrame(done, index=frame.index)
    if sheet.table == "shares":
        for item in table["item"].dropna().unique():  # [shares.codes.ITEM] is for the rows of that item
            known = ITEMS[item].codes | sheet.codes.get(item, {})
            table["category"] = table["category"].mask(table["item"].eq(item), _recode(table["category"], known))
    keys = [name for name in UNIQUE[sheet.table] if name in table]
    needed = [name for name in keys if TABLES[sheet.table][name].required]
    doubled = table.loc[table.duplicated(keys) & table[needed].notna().all(axis=1), keys]
    faults.add(sheet, keys[0], doubled.astype(str).fillna("").agg(", ".join, axis=1), f"each {' and '.join(keys)} once")
    return table


def with_all_columns(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the table with every column of its contract, absent ones as missing values (a flag as false)."""
    columns = TABLES[name]
    flags = {key: False for key, column in columns.items() if column.kind == "flag" and key not in table}
    return table.assign(**flags).reindex(columns=list(columns)).astype({k: DTYPES[c.kind] for k, c in columns.items()})


def _convert_column(sheet: Sheet, name: str, column: Column, *, faults: Faults) -> pd.Series:
    text = sheet.frame[name]
    if column.required:
        faults.add(sheet, name, text[text.isna()], column.allowed)
    if name in ITEMS:
        return _convert_answers(sheet, name, text, faults=faults)
    text = _recode(text, sheet.codes.get(name, {}))
    if column.among:
        bad = text[text.notna() & ~text.isin(column.among)]
        faults.add(sheet, name, bad, column.allowed + (nearest(bad.iloc[0], column.among) if len(bad) else ""))
        return text.mask(text.index.isin(bad.index))
    convert = {"number": _convert_numbers, "date": _convert_dates, "flag": _convert_flags}.get(column.kind)
    return convert(sheet, name, text, column, faults=faults) if convert else text


def _recode(text: pd.Series, codes: dict[str, str]) -> pd.Series:
    """Replace the codes that the manifest names, keep the rest."""
    return text.map(codes).astype("str").fillna(text) if codes else text


def _convert_answers(sheet: Sheet, name: str, text: pd.Series, *, faults: Faults) -> pd.Series:
    """Turn answer codes into the item's categories; an unknown code is a fault, never a missing answer."""
    item, own = ITEMS[name], sheet.codes.get(name, {})
    known = dict(zip(item.categories, item.categories, strict=True)) | item.codes | own
    known |= dict.fromkeys(code for code in (*item.missing, *item.off_scale) if code not in own)
    known |= {code: None for code, label in known.items() if label in item.off_scale}
    bad = text[text.notna() & ~text.isin(list(known))]
    faults.add(sheet, name, bad, ", ".join(known) + (nearest(bad.iloc[0], known) if len(bad) else ""))
    return text.map(known).astype("str")


def _convert_numbers(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    plain = text
    if sheet.decimal == ",":
        dotted = text.str.contains(".", regex=False, na=False)
        faults.add(sheet, name, text[dotted], "a number with a decimal comma and no other mark, as city.toml declares")
        plain = text.mask(dotted).str.replace(",", ".", regex=False)
    values = pd.to_numeric(plain, errors="coerce").astype("float64")
    values = values.where(np.isfinite(values))
    wrong = plain[plain.notna() & values.isna()]
    comma = wrong.str.fullmatch(r"[+-]?\d*,\d+").astype(bool)
    hint = f'{column.allowed}; this is a decimal comma: write a point, or decimal = "," under [{sheet.table}]'
    faults.add(sheet, name, wrong[comma], hint)
    faults.add(sheet, name, wrong[~comma], column.allowed)
    outside = values.notna() & ~column.holds(values)
    faults.add(sheet, name, text[outside], column.allowed)
    return values.mask(outside)


def _convert_dates(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    iso = text.where(text.str.fullmatch(r"(19|20)\d\d-\d\d-\d\d", na=False))
    values = pd.to_datetime(iso, format="%Y-%m-%d", errors="coerce").astype("datetime64[us]")
    wrong = text[text.notna() & values.isna()]
    mixed = wrong.str.fullmatch(r"\d{1,2}[/.\-]\d{1,2}[/.\-]\d{2,4}").astype(bool)
    faults.add(sheet, name, wrong[mixed], f"{column.allowed}; day and month cannot be told apart here")
    faults.add(sheet, name, wrong[~mixed], f"{column.allowed}, between 1900 and 2099")
    return values


def _convert_flags(sheet: Sheet, name: str, text: pd.Series, column: Column, *, faults: Faults) -> pd.Series:
    values = text.str.lower().map(FLAGS)
    faults.add(sheet, name, text[text.notna() & values.isna()], column.allowed)
    return values.eq(True)
