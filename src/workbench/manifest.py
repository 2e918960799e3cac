"""city.toml: what a city may say about its own files, checked key by key, and how we write one."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS, LANGUAGES
from workbench.schema import TABLES, Faults

FILES = {
    "respondents": "survey.csv",
    "shares": "shares.csv",
    "areas": "areas.csv",
    "waves": "waves.csv",
    "projects": "projects.csv",
    "population": "population.csv",
}
TOP = {"name": str, "language": str, "simulated": bool, "notes": list, "made_by": str} | dict.fromkeys(TABLES, dict)
IN_TABLE = {
    "file": str,
    "separator": str,
    "encoding": str,
    "decimal": str,
    "missing": list,
    "columns": dict,
    "codes": dict,
}
EXTRA = {"shares": {"assumed_n": (int, float, dict)}, "respondents": {"routed": dict}}
RECODABLE = {"area", "wave", "sex", "age_band", "education", "kind", "item", "category"}
ROUTED = {"column", "answer"}


def read(folder: Path, *, faults: Faults) -> dict:
    """Return city.toml as a dict, every key checked; raises SchemaError when it is not TOML at all."""
    try:
        said = tomllib.loads((folder / "city.toml").read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SchemaError(f"{folder.name}: city.toml cannot be read: {error}; allowed: TOML in UTF-8") from None
    good = _check_keys("", said, TOP, faults=faults)
    if not good.get("name"):
        faults.say('city.toml: name is missing; allowed: name = "what the city is called"')
    if good.get("language", "en") not in LANGUAGES:
        faults.say(f"city.toml: language {good['language']!r}; allowed: {', '.join(LANGUAGES)}")
    for table in TABLES:
        if table in good:
            good[table] = _check_table(table, good[table], faults=faults)
    _check_files(folder, good, faults=faults)
    return good


def file_of(said: Mapping, table: str, folder: Path) -> str:
    """Return the file name of a table, or "" when the city has none; an unnamed file may carry the usual name."""
    entry = said.get(table)
    name = entry.get("file", FILES[table]) if isinstance(entry, dict) else FILES[table]
    return name if isinstance(entry, dict) or (folder / name).is_file() else ""


def is_plain(name: str) -> bool:
    """Is this the name of a file in the folder itself, of a length that a disk takes?"""
    return Path(name).name == name and "\0" not in name and len(name.encode()) < 250


def _check_keys(where: str, entry: Mapping, allowed: Mapping[str, object], *, faults: Faults) -> dict:
    """Return the known keys of the right type; every other one is a fault."""
    place = f"city.toml [{where}]" if where else "city.toml"
    good = {}
    for key, value in entry.items():
        if key not in allowed:
            faults.say(f"{place}: unknown key {key!r}{nearest(key, allowed)}; allowed: {', '.join(allowed)}")
        elif not isinstance(value, allowed[key]):
            faults.say(f"{place}: {key} = {value!r} has the wrong type; allowed: {_kind(allowed[key])}")
        else:
            good[key] = value
    return good


def _kind(types: object) -> str:
    words = {str: "a text in quotes", bool: "true or false", list: "a list [...]", dict: "a table"}
    return " or ".join(
        dict.fromkeys(words.get(one, "a number") for one in (types if isinstance(types, tuple) else (types,)))
    )


def _check_table(table: str, entry: dict, *, faults: Faults) -> dict:
    good = _check_keys(table, entry, IN_TABLE | EXTRA.get(table, {}), faults=faults)
    if len(good.get("separator", ",")) != 1:
        faults.say(f"city.toml [{table}]: separator {good.pop('separator')!r}; allowed: one character")
    if good.get("decimal", ".") not in (".", ","):
        faults.say(f"city.toml [{table}]: decimal {good.pop('decimal')!r}; allowed: '.' or ','")
    good["missing"] = [str(value) for value in good.get("missing", [])]
    columns = _check_keys(f"{table}.columns", good.get("columns", {}), dict.fromkeys(TABLES[table], str), faults=faults)
    twice = {own for own in columns.values() if list(columns.values()).count(own) > 1}
    if twice:
        faults.say(f"city.toml [{table}.columns]: {', '.join(sorted(twice))} named twice; allowed: each heading once")
    good["columns"] = columns
    good["codes"] = _check_codes(table, good.get("codes", {}), faults=faults)
    if "routed" in good:
        good["routed"] = _check_routed(good["routed"], faults=faults)
    for n in _values(good.get("assumed_n", 1)):
        if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < float("inf"):
            faults.say(f"city.toml [{table}]: assumed_n {n!r}; allowed: a number above 0, or one for each wave")
    return good


def _values(entry: object) -> list:
    return list(entry.values()) if isinstance(entry, dict) else [entry]


def _check_codes(table: str, codes: dict, *, faults: Faults) -> dict[str, dict[str, str]]:
    """Check that [T.codes.COLUMN] names a column, and that an item's codes lead to its own categories."""
    items = list(ITEMS) if table in ("respondents", "shares") else []
    columns = [*items, *(name for name in TABLES[table] if name in RECODABLE)]
    good = _check_keys(f"{table}.codes", codes, dict.fromkeys(columns, dict), faults=faults)
    for column, mapping in good.items():
        if column not in ITEMS:
            continue
        labels = (*ITEMS[column].categories, *ITEMS[column].off_scale)
        for code, label in mapping.items():
            if label not in labels:
                faults.say(
                    f"city.toml [{table}.codes.{column}]: code {code!r} = {label!r}{nearest(label, labels)}; "
                    f"allowed: {', '.join(labels)}"
                )
    return {column: {str(code): str(label) for code, label in mapping.items()} for column, mapping in good.items()}


def _check_routed(routed: dict, *, faults: Faults) -> dict[str, dict[str, str]]:
    """Check [respondents.routed.ITEM]: the filter column, and the answer that spares people the question."""
    items = [name for name, item in ITEMS.items() if item.routed_out]
    good = _check_keys("respondents.routed", routed, dict.fromkeys(items, dict), faults=faults)
    for item, entry in good.items():
        good[item] = _check_keys(f"respondents.routed.{item}", entry, dict.fromkeys(ROUTED, str), faults=faults)
        if missing := ROUTED - set(entry):
            faults.say(f"city.toml [respondents.routed.{item}]: {', '.join(sorted(missing))} missing")
    return {item: entry for item, entry in good.items() if set(entry) == ROUTED}


def _check_files(folder: Path, said: Mapping, *, faults: Faults) -> None:
    """Every needed file exists, inside the city's own folder."""
    here = ", ".join(sorted(file.name for file in folder.iterdir() if file.is_file()))
    for table, usual in FILES.items():
        name = file_of(said, table, folder)
        if not name and table in ("areas", "waves"):
            faults.say(f"{usual}: no such file and no [{table}] in city.toml; files here: {here}")
        elif name and not is_plain(name):
            faults.say(f"city.toml [{table}]: file {name!r}; allowed: a file in the city's own folder")
        elif name and not (folder / name).is_file():
            faults.say(f"city.toml [{table}]: no file {name!r}{nearest(name, here.split(', '))}; files here: {here}")
    given = [table for table in ("respondents", "shares") if file_of(said, table, folder)]
    if len(given) != 1:
        what = "both survey and shares" if given else "neither survey nor shares"
        faults.say(f"city.toml: {what}; allowed: either [respondents] (rows) or [shares] (published percentages)")


def as_toml(content: Mapping) -> str:
    """Return TOML for a manifest: texts, numbers, booleans, lists of texts, and tables of these."""
    return "\n".join(_toml_lines(content, ())) + "\n"


def _toml_lines(content: Mapping, path: tuple[str, ...]) -> list[str]:
    lines = [
        f"{_toml_key(key)} = {_toml_value(value)}" for key, value in content.items() if not isinstance(value, Mapping)
    ]
    for key, value in content.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            lines += ["", f"[{'.'.join(map(_toml_key, inner))}]", *_toml_lines(value, inner)]
    return lines


def _toml_key(key: object) -> str:
    return str(key) if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else _toml_value(str(key))


def _toml_value(value: object) -> str:
    # A JSON text is a TOML text, except that TOML wants the delete character escaped.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")
