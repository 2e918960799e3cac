"""Spoilt city folders and plans through what the command line does: `python benchmarks/fuzz.py N [--to-the-end M]`.

Small simulated cities and plans are spoilt (hypothesis, the same cases every time): bytes, encodings, headings, rows, cells,
city.toml, files that are folders or links. Each of N cases goes through `workbench check`, `workbench cities` and the
validation of a plan. It must be accepted or refused in clear words: never another exception or a warning, never longer than
20 seconds, never anything written. M accepted cities are then evaluated with few draws; all must end in words.
"""

import argparse
import codecs
import copy
import csv
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import tomlkit
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from workbench import batch, cli, plans
from workbench.cities import write_processed
from workbench.errors import ParameterError, SchemaError
from workbench.runs import FINISHED
from workbench.simulate import simulate_city

REPOSITORY, SECONDS, EVALUATE = Path(__file__).resolve().parent.parent, 20, "03-evaluate-projects"
NOTEBOOK = f"notebooks/{EVALUATE}.ipynb"
SETTINGS = {
    "derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck),
}  # fmt: skip
SIZE = {"areas": 6, "treated": 2, "waves": 4, "projects": 2, "respondents": 960, "seed": 3, "baseline_unsafe": 0.3}
HUGE = 5_000_000  # characters of the largest files

TEXTS = [
    "", " ", "NaN", "nan", "NA", "None", "null", "inf", "-inf", "Infinity", "-", "?", "#N/A", "#REF!", "x" * 10_000,
    "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(1)", "../../x", "/etc/passwd", "C:\\x", "two\nlines", "two\r\nlines", "\r",
    "tab\there", "<script>alert(1)</script>", "<b>x</b>", "&amp;", "\u202egnp.exe", "\u2066x\u2069", "\u200b", "\ufeff",
    "🏙️🔥", "e\u0301", "İ", "ß", "中文", "عربى", "\u00a0", "a;b", ";", ",", '"', "''", "\\", "\x1b[31mred", "\x00", "\x7f", "\ud7ff",
    "{0.__class__}", "{{7*7}}", "{", "%s", "$x$", "a_b", "A1", "a1 ", "true", "false", "unknown", "never", "always", "m", "other",
]  # fmt: skip
NUMBERS = [
    "0", "-0", "-1", "1", "0.5", "1e308", "-1e308", "1e309", "1e-308", "1e-320", "1e15", "1e300", "123456789012345678901234567890",
    "9" * 5000, "1,5", "1.234,5", "1_000", "1 000", "0x10", "1e", "٣", "½", "12%", "€5", "+5", ".5", "5.", "1.0000000000000000001",
    "3.7", "99.9", "100", "100.01", "1000000", "2147483648", "9007199254740993", "18446744073709551616", "1/2", "1:2",
]  # fmt: skip
DATES = [
    "2023-02-30", "2023-13-01", "0001-01-01", "1899-12-31", "1900-01-01", "2099-12-31", "9999-12-31", "10000-01-01", "-0001-01-01",
    "2023-1-1", "01/02/2023", "1.2.23", "20230101", "2023-01-01T10:00", "2023-01-01 00:00:00", "2023-01-01T00:00:00+02:00", "2023W05",
    "Jan 2023", "2023", "45000", "today", "2022-06-15", "2021-07-01", "2024-08-01", "2025-03-02", "2025-12-31", "２０２３-01-01",
]  # fmt: skip
CELLS = TEXTS + NUMBERS + DATES
VALUES = [  # of city.toml
    "", "x", "x" * 10_000, "two\nlines", "<script>", "=cmd", "../areas.csv", "/etc/passwd", ".", "..", "city.toml", "survey.csv",
    "areas.csv", "AREAS.CSV", "waves.csv/", "a\\b", "con", "\x1b[2J", "\u202ex", "🏙️", "en", "nl", "xx", ";", "\t", "\n", '"', "|", "\\s+",
    "é", "utf-8", "utf-16", "cp1252", "utf-7", "idna", "punycode", "undefined", "unicode_escape", "raw_unicode_escape", "rot13", "zlib",
    "hex", "mbcs", "no-such", "utf\x008", "utf_8_sig", "area", "wave", "respondent", "weight", "never", "always", "sometimes", "1", "0",
    0, 1, -1, 2**63, 10**30, 0.0, -0.5, 1e308, float("nan"), float("inf"), True, False, [], {}, [[]], [{}], ["x"], ["1", 2, 3.0, True],
    ["never", "often"], ["", " "], [["x"] * 3], {"x": "y"}, {"": ""}, {"never": "always"}, {"1": 1}, {"a": {"b": {"c": {}}}},
    {"column": "sex", "answer": "f"}, {"column": "x"}, {str(k): "never" for k in range(300)}, ["x" * 3000],
]  # fmt: skip
ENCODINGS = [
    "utf-8-sig",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "cp1252",
    "latin-1",
    "utf-7",
    "cp037",
    "shift_jis",
    "gb18030",
]
KEYS = [
    "separator", "encoding", "decimal", "missing", "columns", "codes", "file", "routed", "assumed_n", "notes", "made_by", "x",
    "geometry", "geometry_area", "discretion",
]  # fmt: skip
RENAMED = ["x", "areas", "shares", "x" * 10_000, "", "=cmd", "a.b"]
TOML = [  # that is none, or more of it than anyone writes
    b"a = " + b"[" * 20_000, b"a = " + b"[" * 20_000 + b"]" * 20_000, b"a = " + b"{b = " * 5000, b"[" + b"a." * 20_000 + b"a]",
    b"a = " + b"9" * 5000, b"a = 1e9999", b"a = nan", b"a = 0001-01-01", b"a = 9999-12-31T23:59:60Z", b"[[areas]]", b"[areas.x.y]",
    b"[areas]", b"a.b.c = 1", b'"" = 1', b"a = '''", b'name = "\\uD800"', b'a = "\\u202e"', b"\xff", b"\x00", b"areas = 1", b"a = 1\r\r",
]  # fmt: skip
PIECES = [b'"', b"\n", b"\r", b"\x00", b"\xff", b"\xc3", b"'''", b"[", b"=", b"#"]
UNITS = [
    b"x", b",", b'"', b"\n", b";", b"a,", b"\xff", b'x = "y"\n', b"[", b"9", b"1\n", b'"\n', b"a\n,",
]  # fmt: skip
PLACES = [
    "absent", "absent", "folder", "/etc/passwd", "/dev/null", "/proc/self/mem", "/", ".", "city.toml", "areas.csv", "no-such-file",
    "../beside.csv",
]  # fmt: skip
NAMES = [
    "", "Spoilt", "../spoilt", "spoilt/", ".", "..", "spoilt\n", "t" * 300, "spolit", "tówn", "-1", "\x00", "a b", "/etc",
]  # fmt: skip


class Hang(BaseException):
    """A case took longer than it may; no `except Exception` stops this."""


@dataclass
class Case:
    """A city folder, or a plan, before it is written: what is spoilt in its tables, then in how they are written."""

    base: str
    manifest: dict
    tables: dict[str, list[list[str]]]  # file -> rows of cells, headings first
    form: dict[str, dict] = field(default_factory=dict)  # file -> how it is written
    late: list[tuple] = field(default_factory=list)  # (file, function of its bytes), in this order
    special: dict[str, str] = field(default_factory=dict)  # file -> absent, folder, or where a link leads
    call: dict = field(default_factory=dict)  # what the command is given
    told: list[str] = field(default_factory=list)  # what was done to it

    def files(self) -> dict[str, bytes]:
        """File -> its content."""
        made = {file: _written(rows, **self.form.get(file, {})) for file, rows in self.tables.items()}
        if self.base != "plan":
            made["city.toml"] = tomlkit.dumps(self.manifest).encode("utf-8", "replace")
        for file, change in self.late:
            made[file] = change(made[file])
        return made


def _written(rows, *, separator=",", encoding="utf-8", end="\n", quoting=csv.QUOTE_MINIMAL) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=quoting).writerows(rows)
    return text.getvalue().encode(encoding, "replace")


@cache
def bases() -> dict[str, tuple[dict, dict[str, list[list[str]]]]]:
    """The sound cities: of respondents, of shares, of recorded incidents alone, and of respondents and incidents in a
    city's own words; manifest and tables of each."""
    found = {}
    with tempfile.TemporaryDirectory() as place:
        for name in ("respondents", "shares"):
            folder = simulate_city(Path(place) / name, **SIZE, shares=name == "shares")
            rows = {
                file.name: list(csv.reader(io.StringIO(file.read_text(encoding="utf-8"))))
                for file in folder.glob("*.csv")
            }
            found[name] = tomlkit.parse((folder / "city.toml").read_text(encoding="utf-8")).unwrap(), rows
    manifest, tables = copy.deepcopy(found["respondents"])
    survey = tables["survey.csv"]
    weights = ["weight", *(f"{0.5 + k % 7 / 4:g}".replace(".", ",") for k in range(len(survey) - 1))]
    tables["survey.csv"] = survey = [[*row[:6], weight] for row, weight in zip(survey, weights, strict=True)]
    survey[0] = ["Nr", "Wijk", "Golf", "Geslacht", "Leeftijd", "Onveilig", "Gewicht"]
    codes = {"1": "never", "2": "rarely", "3": "sometimes", "4": "often", "5": "always"}
    own = {label: code for code, label in codes.items()}
    for row in survey[1:]:
        row[5] = own[row[5]]
    names = ("respondent", "area", "wave", "sex", "age_band", "unsafe_neighbourhood", "weight")
    about = {
        "columns": dict(zip(names, survey[0], strict=True)),
        "codes": {"unsafe_neighbourhood": codes},
        "decimal": ",",
    }
    manifest["respondents"] |= about | {"separator": ";", "encoding": "cp1252", "missing": ["9", "99"]}
    tables["incidents.csv"][0][:4] = ["Wijk", "Maand", "Soort", "Aantal"]
    columns = dict(zip(("area", "month", "kind", "count"), tables["incidents.csv"][0], strict=False))
    codes = {"kind": {"nuisance": "street-noise", "vandalism": "vandalism"}}
    manifest["incidents"] |= {"columns": columns, "codes": codes, "discretion": {"street-noise": "high"}}
    alone, files = copy.deepcopy(found["respondents"])
    files = {name: rows for name, rows in files.items() if name not in ("survey.csv", "waves.csv")}
    found["incidents"] = {name: said for name, said in alone.items() if name not in ("respondents", "waves")}, files
    found["own words"] = manifest, tables
    return found


# --- what is done to tables -------------------------------------------------------------------------------------------


def _pick(draw, options):
    return draw(st.sampled_from(list(options)))


def _file(case, draw) -> str:
    """A table that still has rows and columns."""
    return _pick(draw, [file for file, rows in case.tables.items() if len(rows) > 1 and rows[0]] or case.tables)


def _any_file(case, draw) -> str:
    return _pick(draw, [*case.tables, *(["city.toml"] if case.base != "plan" else [])])


def _any_text(draw) -> str:
    return draw(st.sampled_from(CELLS) | st.text(max_size=8))


def _lines(draw, rows) -> list[int]:
    """Some of the rows below the headings: one, a few, every other one, or all."""
    last = max(len(rows) - 1, 1)
    one = draw(st.integers(1, last))
    return _pick(draw, [[one], [one], range(one, min(one + 4, last + 1)), range(1, last + 1, 2), range(1, last + 1)])


def cells(case, draw):
    file = _file(case, draw)
    rows, value = case.tables[file], _any_text(draw)
    column, lines = draw(st.integers(0, max(len(rows[0]) - 1, 0))), _lines(draw, rows)
    for line in lines:
        if line < len(rows) and column < len(rows[line]):
            rows[line][column] = value
    case.told.append(f"{file}: column {rows[0][column : column + 1]}, {len(lines)} rows = {value[:40]!r}")


def everywhere(case, draw):
    """One name, in all the tables that use it."""
    file = _file(case, draw)
    rows, value = case.tables[file], _any_text(draw)
    heading = draw(st.integers(0, max(len(rows[0]) - 1, 0)))
    old = rows[draw(st.integers(1, max(len(rows) - 1, 1))) % len(rows)][heading : heading + 1]
    for table in case.tables.values():
        table[1:] = [[value if [cell] == old and old != [""] else cell for cell in row] for row in table[1:]]
    case.told.append(f"{file}: {old} is {value[:40]!r} everywhere")


def headings(case, draw):
    file, what = _file(case, draw), _pick(draw, ["rename", "swap", "drop", "double", "add", "shift", "case"])
    rows = case.tables[file]
    known = [name for table in case.tables.values() for name in table[0]]
    new, k = draw(st.sampled_from(known) | st.sampled_from(CELLS)), draw(st.integers(0, max(len(rows[0]) - 1, 0)))
    changes = {
        "swap": lambda row: [*row[k:], *row[:k]],
        "drop": lambda row: row[:k] + row[k + 1 :],
        "double": lambda row: row + row[k : k + 1],
        "add": lambda row: [*row, new],
    }
    case.told.append(f"{file}: heading {rows[0][k : k + 1]}: {what} {new[:40]!r}")
    if what in changes:
        case.tables[file] = [changes[what](row) for row in rows]
    elif what == "shift":  # the cells, under the same headings
        rows[1:] = [["", *row[:-1]] for row in rows[1:]]
    else:
        rows[0][k : k + 1] = [new if what == "rename" else name.upper() + " " for name in rows[0][k : k + 1]]


def lines(case, draw):
    file = _file(case, draw)
    what = _pick(
        draw, ["drop", "double", "keep", "none", "shuffle", "longer", "shorter", "blank", "headings", "sort", "numbers"]
    )
    rows = case.tables[file]
    some = set(_lines(draw, rows))
    case.told.append(f"{file}: {what} {len(some)} rows")
    if what in ("drop", "keep"):
        rows[1:] = [row for line, row in enumerate(rows) if line and (line in some) == (what == "keep")]
    elif what == "none":
        rows[1:] = []
    elif what == "shuffle":
        below = rows[1:]
        random.Random(len(some)).shuffle(below)
        rows[1:] = below
    elif what == "sort":
        rows.sort()
    elif what in ("longer", "shorter", "blank"):
        change = {
            "longer": lambda row: [*row, "x"],
            "shorter": lambda row: row[:-1],
            "blank": lambda row: [""] * len(row),
        }[what]
        rows[1:] = [change(row) if line in some else row for line, row in enumerate(rows) if line]
    elif what == "numbers":
        rows[:] = [[str(line), *row] for line, row in enumerate(rows)]
    else:
        rows += [copy.copy(rows[0 if what == "headings" else line]) for line in sorted(some) if line < len(rows)]


def where(case, draw):
    """Rows of one area, wave, project or answer: left out everywhere, or one of them alone left."""
    file = _file(case, draw)
    column = draw(st.integers(0, max(len(case.tables[file][0]) - 1, 0)))
    heading = "".join(case.tables[file][0][column : column + 1])
    values = sorted({row[column] for row in case.tables[file][1:] if column < len(row)} - {""})
    value, keep = _pick(draw, values or [""]), draw(st.booleans())
    for table in case.tables.values():
        if heading in table[0]:
            at = table[0].index(heading)
            table[1:] = [row for row in table[1:] if at >= len(row) or row[at] == "" or (row[at] == value) == keep]
    case.told.append(f"{heading} {value[:40]!r}: {'nothing else left' if keep else 'left out'} everywhere")


def sense(case, draw):
    """Designs that a city could have and that leave little or nothing to evaluate."""
    if "projects.csv" not in case.tables or "areas.csv" not in case.tables:
        return
    rows, areas = case.tables["projects.csv"], [row[0] for row in case.tables["areas.csv"][1:] if row]
    what = _pick(draw, ["all treated", "early", "late", "one date", "stopped", "same area", "many projects", "item"])
    case.told.append(f"projects: {what}")
    if len(rows) < 2 or "start" not in rows[0] or "area" not in rows[0]:
        return
    index = {name: rows[0].index(name) for name in rows[0]}
    dates = [index[name] for name in ("announced", "start", "full", "stop") if name in index]
    date = {"early": "1950-01-01", "late": "2050-01-01", "one date": _pick(draw, DATES), "stopped": "2023-06-01"}.get(
        what
    )
    first, whole = list(rows[1]), [row for row in rows[1:] if len(row) == len(rows[0])]
    if what == "all treated":
        rows[1:] = [[area if k == index["area"] else cell for k, cell in enumerate(first)] for area in areas]
    elif what == "stopped" and "stop" in index:
        for row in whole:
            row[index["stop"]] = date
    elif date:
        for row in whole[: draw(st.integers(1, 4))]:
            for k in dates[:3]:
                row[k] = date
    elif what == "same area":
        for row in whole:
            row[index["area"]] = first[index["area"]] if index["area"] < len(first) else ""
    elif what == "many projects" and "project" in index:
        for k, row in enumerate(whole):
            row[index["project"]] = f"p{k}"
    elif what == "item" and "primary_item" in index:
        for row in whole:
            row[index["primary_item"]] = _pick(draw, ["", "sdg_16_1_4", "trust_neighbours", "x"])


GENTLE = {  # what a city could well write
    "weight": ["1e-12", "1e12", "0.001", "7"], "n": ["1", "2", "1e9", "400", "33.5"], "count": ["0", "1e9"], "share": ["20", "0", "20.0"],
    "population": ["1", "1e9", "0.5", "12"], "cost_eur": ["0", "1e300", "12.5", ""], "reached": ["0", "1e12", ""], "score": ["0", "4", ""],
    "min_worthwhile_pp": ["1e-6", "100", "3"], "stop": ["2024-06-30", "2099-12-31", "2025-05-01"], "known_break": ["true", "no", "1"],
    "announced": ["1900-01-01", "2022-12-01", ""], "full": ["2099-12-31", "", "2024-08-01"], "start": ["2023-08-01", "2024-12-31"],
    "break_areas": ["a1", "a1;a2", "a1;;a3;"], "neighbours": ["", "a2;a3", "a1;a2;a3;a4;a5;a6"], "value": ["0", "-1e300", "1e-300"],
    "assignment": ["random"], "focus": ["radicalisation", "", "public-space"], "primary_item": [""], "date": ["1900-01-01", "2099-12-31"],
    "unsafe_neighbourhood": ["never", "always", ""], "Onveilig": ["1", "5", "99"], "sex": ["f", "x", ""], "education": ["low", "🎓", ""],
    "mode": ["web", "<b>web</b>", "=1+1"], "kind": ["meeting", "{x}", "$a_b$"], "name": ["<script>x</script>", "=cmd", "%", "$\\frac{", "é"],
    "month": ["2023", "2023-Q1", "2024-02", "1900-01", "2099"], "trigger": ["", "x" * 100], "note": ["line\nline", "x" * 2000], "unit": ["%", "€/m²"], "questionnaire_version": ["2", "b"],
}  # fmt: skip


def gently(case, draw):
    """A value that a column may hold; in one row, several or all."""
    name = _pick(draw, GENTLE)
    tables = [file for file, rows in case.tables.items() if name in rows[0] and len(rows) > 1]
    if not tables:  # a column that the contract knows and these files lack
        tables = [
            {"weight": "survey.csv", "education": "survey.csv", "n": "shares.csv", "count": "shares.csv"}.get(
                name, "projects.csv"
            )
        ]
        tables = [file if file in case.tables else "areas.csv" for file in tables]
        case.tables[tables[0]] = [[*row, "1" if line else name] for line, row in enumerate(case.tables[tables[0]])]
    file, value = _pick(draw, tables), _pick(draw, GENTLE[name])
    rows = case.tables[file]
    at, some = rows[0].index(name), _lines(draw, rows)
    for line in (line for line in some if line < len(rows) and at < len(rows[line])):
        rows[line][at] = value
    case.told.append(f"{file}: {name} = {value[:40]!r} in {len(some)} rows")


def sample(case, draw):
    """Fewer answers, evenly or not at all in some areas and waves."""
    file = next((name for name in ("survey.csv", "shares.csv") if name in case.tables), "areas.csv")
    rows, every, at = case.tables[file], draw(st.integers(2, 12)), draw(st.integers(0, 3))
    values = sorted({row[at] for row in rows[1:] if at < len(row)})[:3]
    group = draw(st.booleans())
    wanted = lambda line, row: row[at : at + 1] != [] and row[at] not in values if group else line % every
    rows[1:] = [row for line, row in enumerate(rows) if line and wanted(line, row)]
    case.told.append(f"{file}: {'without ' + str(values) if group else f'without every {every}th row'}")


# --- what is done to how they are written -----------------------------------------------------------------------------


def form(case, draw):
    file, what = _file(case, draw), _pick(draw, ["separator", "encoding", "end", "quoting"])
    choice = {
        "separator": [";", "\t", "|", " ", "\x01"], "encoding": ENCODINGS, "end": ["\r\n", "\r", "\n\r", "\n\n"],
        "quoting": [csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC],
    }  # fmt: skip
    value = _pick(draw, choice[what])
    case.form.setdefault(file, {})[what] = value
    if case.base != "plan" and what == "encoding" and draw(st.booleans()):
        for entry in (
            entry for entry in case.manifest.values() if isinstance(entry, dict) and entry.get("file") == file
        ):
            entry["encoding"] = value
    case.told.append(f"{file}: {what} {value!r}")


def content(case, draw):
    """Bytes anywhere, of any file."""
    file = _any_file(case, draw)
    at, length = draw(st.floats(0, 1)), draw(st.integers(1, 40))
    what = _pick(
        draw, ["flip", "cut", "insert", "quote", "end", "bom", "nul", "empty", "blank", "doubled", "upside down"]
    )
    more = draw(st.binary(min_size=1, max_size=8) | st.sampled_from(PIECES))
    case.told.append(f"{file}: {what} at {at:.2f}, {length} bytes, {more!r}")
    place = lambda old: int(at * len(old))
    changes = {
        "flip": lambda old: (
            old[: place(old)] + bytes(255 - b for b in old[place(old) :][:length]) + old[place(old) + length :]
        ),
        "cut": lambda old: old[: place(old)] + old[place(old) + length :],
        "insert": lambda old: old[: place(old)] + more + old[place(old) :],
        "quote": lambda old: old[: place(old)] + b'"' + old[place(old) :],
        "end": lambda old: old[: place(old)],
        "bom": lambda old: codecs.BOM_UTF8 * 2 + old,
        "nul": lambda old: old.replace(b"\n", b"\0", length),
        "empty": lambda old: b"",
        "blank": lambda old: b" \r\n\t\n" * length,
        "doubled": lambda old: old + old,
        "upside down": lambda old: b"\n".join(old.split(b"\n")[::-1]),
    }
    case.late.append((file, changes[what]))


def large(case, draw):
    """A file of five million characters: its own rows again and again, or one thing after them or alone."""
    file, unit, after = _any_file(case, draw), _pick(draw, [b"", *UNITS]), draw(st.booleans())
    rows = lambda old: old + old.split(b"\n", 1)[-1] * (HUGE // max(len(old), 1))
    other = lambda old: (old if after else b"") + unit * (HUGE // len(unit))
    case.told.append(f"{file}: {HUGE} characters of {unit or 'rows'!r}, {'after its own' if after else 'alone'}")
    case.late.append((file, other if unit else rows))


def place(case, draw):
    """Files that are not there, are no files, or lie elsewhere."""
    file = _any_file(case, draw)
    case.special[file] = _pick(draw, [*PLACES, file])
    case.told.append(f"{file} is {case.special[file]}")


# --- what is done to city.toml ----------------------------------------------------------------------------------------


def said(case, draw):
    """A key of city.toml that goes, or has another name or value."""
    entry, path = case.manifest, []
    while (inside := [key for key in entry if isinstance(entry[key], dict)]) and draw(st.booleans()):
        path.append(_pick(draw, inside))
        entry = entry[path[-1]]
    what = _pick(draw, ["remove", "rename", "set", "set", "set", "wrap", "option", "option"])
    key = _pick(draw, KEYS if what == "option" else list(entry) or KEYS)
    value = copy.deepcopy(draw(st.sampled_from(VALUES) | st.text(max_size=5)))
    if what == "remove":
        entry.pop(key, None)
    elif what == "rename":
        new = _pick(draw, [*RENAMED, key.upper(), key[:-1]])
        entry[new] = entry.pop(key, value)
    else:
        entry[key] = [entry.get(key, value)] if what == "wrap" else value
    case.told.append(f"city.toml {path}: {what} {key[:40]!r}: {str(value)[:60]!r}")


def toml(case, draw):
    text, before = _pick(draw, TOML), draw(st.booleans())
    case.late.append(("city.toml", lambda old: text + b"\n" + old if before else old + b"\n" + text))
    case.told.append(f"city.toml: {text[:40]!r} {'before' if before else 'after'} the rest")


def call(case, draw):
    case.call = {"city": draw(st.sampled_from(NAMES) | st.text(max_size=5))}
    case.told.append(f"city {case.call['city'][:40]!r}")


TABLE_STEPS = [cells, cells, cells, everywhere, headings, lines, where, form, content]
CITY_STEPS = [*TABLE_STEPS, *[gently] * 9, *[sample, everywhere, sense] * 2, *[said] * 3, toml, place, call]


def _steps(case, draw, steps):
    for _ in range(_pick(draw, [1, 1, 2, 2, 3, 4])):
        draw(st.sampled_from(steps))(case, draw)
    if draw(st.integers(0, 39)) == 39:
        large(case, draw)
    return case


@st.composite
def city_cases(draw):
    """A spoilt city."""
    base = draw(st.sampled_from(["respondents", "shares", "incidents", "own words"]))
    manifest, tables = copy.deepcopy(bases()[base])
    form = {"survey.csv": {"separator": ";", "encoding": "cp1252"}} if base == "own words" else {}
    return _steps(Case(base, manifest, tables, form, call={"city": "spoilt"}), draw, CITY_STEPS)


# --- plans ------------------------------------------------------------------------------------------------------------

PLAN = [
    ["id", "notebook", "city", "item", "projects", "draws", "seed", "lang", "prior", "minimum_pp"],
    ["a", EVALUATE, "town", "unsafe_neighbourhood", "", "100", "7", "en", "", "2"],
    ["b", EVALUATE, "shares", "", "street-hosts", "50", "", "nl", "wide", ""],
    ["c", "00-map-projects", "town", "", "", "", "", "fr", "", ""],
    ["d", "08-collective-impact", "town", "", "", "", "", "", "", ""],
    ["e", "04-check-sensitivity", "town", "", "", "", "", "", "", ""],
]
PARAMETERS = {
    "id": ["a", "A", "", "../x", "a/b", "x" * 101, "status.json", ".", "con", "-"],
    "notebook": ["", "03", "03-evaluate-project", "../notebooks/01-check-city", "01-check-city.ipynb", "README", "07-compare-cities", "/x"],
    "city": ["", "twon", "Town", "shares", "../raw/town", "town;shares"],
    "raw": ["data/raw", "..", "/", "~", "~nobody-here/x", "/proc/self/mem", "x" * 5000, "x" * 300, "no/such", "plan.csv", "\x00", "data/raw/"],
    "item": ["sdg_16_1_4", "trust_neighbours", "unsafe"], "unsafe_from": ["never", "always", "rarely", "x"],
    "projects": ["street-hosts;kitchens", ";", "kitchen", "kitchens;kitchens"], "comparison": ["a1", "a1;a2", "a6;a5;a4;a3", "zz"],
    "window_months": ["6-24", "24-6", "0-0", "0-999", "-1-5", "6–24", "1-1000"], "minimum_pp": ["0", "1e-300", "100", "nan", "inf", "1e999"],
    "worth_eur": ["0", "1e308", "inf", "-5"], "prior": ["flat", "Wide"], "discount": ["0", "1", "1.01", "nan"], "checks": ["full", "FULL"],
    "prior_from": ["evidence", "data/raw", "/proc", "~nobody-here", "/etc/passwd", "plan.csv"], "focus": ["radicalisation", "x"],
    "cards": ["evidence", "evidence;evidence", "/dev", "/etc/passwd", ";", "x" * 4000, "~nobody-here", "plan.csv"],
    "run": ["reports/x", "/", "..", "x" * 400, "plan.csv", "~nobody-here"], "threshold": ["0", "100", "50", "-1"], "lang": ["de", "EN"],
    "draws": ["0", "1", "100000", "1e3", "1.5", "1_000", "10**9"], "tune": ["0", "-1"], "chains": ["0", "64", "65"], "seed": ["-1", "4294967296", "0"],
    "out": ["reports"], "": ["x"], "x": [""],
}  # fmt: skip


FINE = {  # what an evaluation may be told
    "seed": ["0", "4294967295"], "draws": ["1", "100000"], "tune": ["0", "1000"], "chains": ["1", "64"], "lang": ["nl", "fr", ""],
    "prior": ["flat", "wide", ""], "minimum_pp": ["1e-300", "100", ""], "window_months": ["0-999", "11-12"], "unsafe_from": ["always"],
    "projects": ["street-hosts", "kitchens;street-hosts", " ; "], "checks": ["full", ""], "worth_eur": ["1e308", ""], "raw": ["data/raw/"],
    "id": ["-", "_", "x" * 100], "discount": ["1", "1e-300"], "city": ["shares", "town"],
}  # fmt: skip


def finely(case, draw):
    """A column of a plan with a value that is right; in one row or several."""
    _column(case, draw, _pick(draw, FINE), FINE, only=EVALUATE)


def parameter(case, draw):
    """The same with one that may be right, nearly right or hostile."""
    name = _pick(draw, PARAMETERS)
    _column(case, draw, name, {name: [*PARAMETERS[name], *PARAMETERS[name], *CELLS]}, only="")


def _column(case, draw, name, values, *, only) -> None:
    rows, value = case.tables["plan.csv"], _pick(draw, values[name])
    if name not in rows[0]:
        rows[:] = [[*row, "" if line else name] for line, row in enumerate(rows)]
    at, some = rows[0].index(name), _lines(draw, rows)
    for line in (line for line in some if line < len(rows) and at < len(rows[line])):
        if only in ("", *rows[line]):
            rows[line][at] = value
    case.told.append(f"{name} = {value[:40]!r} in {len(some)} rows")


@st.composite
def plan_cases(draw):
    """A spoilt plan."""
    options = {
        "keep_going": draw(st.booleans()),
        "only": draw(st.sampled_from([(), (), ("a",), ("zz",), ("a", "\x00")])),
    }
    case = Case("plan", {}, {"plan.csv": copy.deepcopy(PLAN[: draw(st.integers(2, len(PLAN)))])}, call=options)
    return _steps(case, draw, [*[finely] * 12, *[parameter] * 8, *TABLE_STEPS, place])


# --- what must come of it ---------------------------------------------------------------------------------------------


def make_root(root: Path) -> Path:
    """A project folder of its own, with the notebooks and the sound cities."""
    shutil.copytree(REPOSITORY / "notebooks", root / "notebooks", ignore=shutil.ignore_patterns(".*"))
    for name, base in {"town": "respondents", "shares": "shares"}.items():
        _write(root / "data" / "raw" / name, Case(base, *bases()[base]))
    (root / "data" / "raw" / "beside.csv").write_text("area\nx\n")
    return root


def _write(folder: Path, case: Case) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in case.files().items():
        kind = case.special.get(file)
        if kind == "folder":
            (folder / file).mkdir()
        elif kind is None:
            (folder / file).write_bytes(content)
        elif kind != "absent":
            (folder / file).symlink_to(kind)


def _seen(root: Path) -> dict[str, tuple]:
    """Every file and folder below `root`, its size and when it was changed."""
    found = [Path(folder) / name for folder, folders, files in os.walk(root) for name in [*folders, *files]]
    return {str(file): (file.lstat().st_mode, file.lstat().st_size, file.lstat().st_mtime_ns) for file in found}


@contextmanager
def _watched():
    """No warning passes for silence; Hang after 20 seconds of work, or 90 of anything, as the machine may be busy."""

    def stop(*_):
        raise Hang(f"not finished after {SECONDS} seconds")

    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, 90)}
    before = {number: signal.signal(number, stop) for number, _ in clocks.values()}
    try:
        for clock, (_, seconds) in clocks.items():
            signal.setitimer(clock, seconds)
        with warnings.catch_warnings(action="error"):
            yield
    finally:
        for clock, (number, _) in clocks.items():
            signal.setitimer(clock, 0)
            signal.signal(number, before[number])


def _what_is_unclear(text: str, *, root: Path, names: set[str]) -> str:
    """Why these words would not help the person who reads them, or ""."""
    lines = text.splitlines()
    if not text.strip():
        return "no words"
    for line in lines:
        if not line.replace("\u00a0", " ").isprintable():
            return f"characters that cannot be seen: {line!r:.200}"
        if len(line) > 2000:
            return f"a line of {len(line):,} characters: {line:.200}"
    if str(root) in text or "Traceback" in text:
        return f"a path of this machine or a traceback: {text:.300}"
    nowhere = [line for line in lines if not any(name in line for name in names)]
    return f"does not say where: {nowhere[0]:.300}" if nowhere else ""


def check_city(root: Path, case: Case) -> tuple[str, str]:
    """`accepted`, `no evaluation` or `refused`, and the words; AssertionError when it is none of these."""
    raw, folder = root / "data" / "raw", root / "data" / "raw" / "spoilt"
    shutil.rmtree(folder, ignore_errors=True)
    _write(folder, case)
    before, city = _seen(root), case.call["city"]
    with _watched():
        checked = CliRunner().invoke(cli.app, ["check", "--raw", str(raw), "--", city], catch_exceptions=False)
        listed = CliRunner().invoke(cli.app, ["cities", "--raw", str(raw)], catch_exceptions=False)
        assert listed.exit_code == 0, "workbench cities ended with another code than 0"
        assert all(line.isprintable() and len(line) < 2000 for line in listed.output.splitlines()), (
            "workbench cities: what is listed"
        )
        state, words = {0: "accepted", 2: "refused"}.get(checked.exit_code, ""), checked.stderr
        if state == "accepted":
            assert checked.stdout.endswith("The files keep to the contract.\n") and not checked.stderr
            words = checked.stdout
            try:
                values = {"city": city, "raw": str(raw)}
                _, place, panel = plans.read_inputs(plans.validate_parameters(NOTEBOOK, values))
                with tempfile.TemporaryDirectory() as processed:
                    write_processed(place, Path(processed), panel=panel)
            except ParameterError as error:
                state, words = "no evaluation", str(error)
    assert state, f"exit code {checked.exit_code}: {checked.output:.300}"
    named = {file.name for file in folder.iterdir()} | {"city.toml", "city ", "spoilt"} if folder.is_dir() else {"city"}
    named |= {"areas.csv", "waves.csv"} if state == "refused" else {""}
    assert not (why := _what_is_unclear(words, root=root, names=named)), why
    assert _seen(root) == before, "something was written"
    return state, words


def check_plan(root: Path, case: Case) -> tuple[str, str]:
    """As `check_city`, for a plan of runs of the two sound cities."""
    for old in (root / "plan.csv", root / "beside.csv"):
        shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink(missing_ok=True)
    _write(root, case)
    before = _seen(root)
    with _watched():
        try:
            runs, refused = plans.read_plan("plan.csv", out="reports", **case.call)
            state, words = "accepted", "\n".join(refused.values())
            assert runs and all(Path(run["asked"]["out"]).parent == root / "reports" for run in runs), (
                "a folder elsewhere"
            )
        except (ParameterError, SchemaError) as error:
            state, words = "refused", str(error)
    unclear = _what_is_unclear(words, root=root, names={"plan.csv"} if state == "refused" else {""}) if words else ""
    assert not unclear, unclear
    assert _seen(root) == before, "something was written"
    return state, words


CHECKS = {"city": (city_cases, check_city), "plan": (plan_cases, check_plan)}


@contextmanager
def own_root():
    """A project folder to work in: it counts as the root of the workbench; yields the folder."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as place:
        before = os.environ.get("WORKBENCH_ROOT")
        os.environ["WORKBENCH_ROOT"] = place
        try:
            yield make_root(Path(place))
        finally:
            os.environ.pop("WORKBENCH_ROOT") if before is None else os.environ.update(WORKBENCH_ROOT=before)


def _told_of(run):
    """A plain function of one case, which is what hypothesis wants."""

    def told(case):
        run(case)

    return told


def main(count: int, *, keep: Path, wanted: bool) -> tuple[Counter, dict[str, list], list[Path]]:
    """Run the cases; return the counts, the faults by place, and folders of accepted cities, each unlike the others."""
    counts, faults, kept, slow = Counter(), {}, {}, []

    def tell(kind, check, root, case):
        begin = time.monotonic()
        try:
            state, _ = check(root, case)
            said = "\n".join([case.base, *case.told])
            if wanted and state == "accepted" and kind == "city" and not case.special and said not in kept:
                kept[said] = shutil.copytree(root / "data" / "raw" / "spoilt", keep / "raw" / f"k{len(kept):03d}")
                (keep / f"{kept[said].name}.txt").write_text(said, encoding="utf-8")
        except (Exception, Hang) as error:  # noqa: BLE001 whatever it is, it is a fault to be told
            state, frames = "fault", traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if "/workbench/" in frame.filename] or frames
            at = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
            at = f"{error!s:.60}" if isinstance(error, AssertionError) else at
            if at not in faults:
                print(f"fault: {at}: {case.base}: {case.told}", flush=True)
            faults.setdefault(at, []).append((kind, case.base, case.told, f"{type(error).__name__}: {error!s:.600}"))
        counts[kind, state] += 1
        if counts.total() % 250 == 0:
            print(f"{counts.total()} cases: {tuple(counts.items())}", flush=True)
        if (took := time.monotonic() - begin) > 3:
            slow.append((round(took, 1), kind, case.told))

    with own_root() as root:
        for kind, share in (("city", 0.7), ("plan", 0.3)):
            cases, check = CHECKS[kind]
            run = _told_of(partial(tell, kind, check, root))
            many = settings(**SETTINGS, max_examples=round(share * count), phases=[Phase.generate])
            many(given(cases())(run))()
    print(*(f"slow: {took} s, {kind}: {told}" for took, kind, told in sorted(slow, reverse=True)[:5]), sep="\n")
    return counts, faults, list(kept.values())


def _unlike(cities: list[Path]) -> list[Path]:
    """The first of those cities whose evaluations read the same: answers, design, names, notices."""
    found = {}
    for city in cities:
        values = plans.validate_parameters(NOTEBOOK, {"city": city.name, "raw": str(city.parent)})
        told = plans.read_inputs(values)[2].to_dict()
        told["attrs"] = {key: value for key, value in told["attrs"].items() if key not in ("city", "data_hash")}
        found.setdefault(repr(told), city)
    return list(found.values())


def to_the_end(cities: list[Path], *, most: int, jobs: int, draws: int) -> None:
    """Evaluate accepted cities with few draws and say how each ended."""
    raw, cities = cities[0].parent, _unlike(cities)
    print(f"{len(cities)} accepted cities that an evaluation can tell apart", flush=True)
    out, rows = raw.parent / "runs", [["id", "notebook", "city", "raw", "draws", "tune", "chains"]]
    chosen = [cities[k * len(cities) // most] for k in range(most)] if len(cities) > most else cities
    rows += [[city.name, EVALUATE, city.name, str(raw), str(draws), str(draws), "2"] for city in chosen]
    (raw.parent / "plan.csv").write_bytes(_written(rows))
    runs, refused = plans.read_plan(raw.parent / "plan.csv", out=out)
    assert not refused
    os.environ["WORKBENCH_CORES"] = "1"
    tell = lambda row: print(
        f"{row['id']}: {row['state']}, {row['verdict']}, {row['seconds']} s: {row['reason']}", flush=True
    )
    table = batch.run_plan(runs, jobs=jobs, tell=tell, minutes=20)
    print(table["state"].value_counts().to_dict())
    for run in runs:
        left = [file.name for file in out.glob(f".{run['id']}*")]
        status = json.loads((out / run["id"] / "status.json").read_text(encoding="utf-8"))
        lacking = [name for name in status["files"] if not (out / run["id"] / name).is_file()]
        extra = {file.name for file in (out / run["id"]).iterdir()} - {*status["files"], "status.json"}
        whole = status["state"] not in FINISHED or {"report.html", "result.json", "effects.csv"} <= set(status["files"])
        if left or lacking or extra or not whole:
            print(f"half written: {run['id']}: {left} {lacking} {extra} {status['files']}")


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("cases", type=int)
    asked.add_argument("--to-the-end", type=int, default=0, metavar="M")
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument("--draws", type=int, default=100, help="as many again to warm up; 2 chains")
    asked.add_argument("--keep", type=Path, help="folder for the accepted cities")
    told = asked.parse_args()
    with nullcontext(told.keep) if told.keep else tempfile.TemporaryDirectory(prefix="fuzzed-") as keep:
        Path(keep).mkdir(parents=True, exist_ok=True)
        counts, faults, cities = main(told.cases, keep=Path(keep), wanted=told.to_the_end > 0)
        for at, each in sorted(faults.items(), key=lambda pair: -len(pair[1])):
            print(
                f"{len(each)} x {at}",
                *(f"  {kind} ({base}): {done}\n    {error}" for kind, base, done, error in each[:3]),
                sep="\n",
            )
        print(*(f"{kind}, {state}: {n}" for (kind, state), n in sorted(counts.items())), sep="\n")
        if told.to_the_end:
            to_the_end(cities, most=told.to_the_end, jobs=told.jobs, draws=told.draws)
    sys.exit(1 if faults else 0)
