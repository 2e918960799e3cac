"""city.toml: what a city may say about its own files, checked key by key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from workbench.errors import SchemaError, nearest
from workbench.items import ITEMS, LANGUAGES
from workbench.schema import CONTRACT, SEEN, STRATA, TABLES, Faults, readable, shown

FILES = {table: said["file"] for table, said in CONTRACT.items()}
RECODABLE = {"area", "wave", *STRATA, "kind", "item", "category", "focus", "condition", "dimension"}
ROUTED = {"column": str, "answer": str}  # both needed
KINDS = {str: "a text in quotes", bool: "true or false", list: "a list [...]", dict: "a table"}


def _allowed_in(table: str) -> dict:
    """Return the keys of a [table] with the type of each value; a dict stands for a table of these keys."""
    codes = [*(ITEMS if table in ("respondents", "shares") else ()), *(c for c in TABLES[table] if c in RECODABLE)]
    allowed = dict.fromkeys(("file", "separator", "encoding", "decimal"), str) | {"missing": list}
    return allowed | {"columns": dict.fromkeys(TABLES[table], str), "codes": dict.fromkeys(codes, dict)}


ALLOWED = {"name": str, "language": str, "simulated": bool, "notes": list, "made_by": str}
ALLOWED |= {table: _allowed_in(table) for table in TABLES}
ALLOWED["shares"]["assumed_n"] = (int, float, dict)
ALLOWED["respondents"]["routed"] = {name: ROUTED for name, item in ITEMS.items() if item.routed_out}


def read(folder: Path, *, faults: Faults) -> dict:
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
    assumed = entry.get("assumed_n", 1)
    for n in assumed.values() if isinstance(assumed, dict) else [assumed]:
        if isinstance(n, bool) or not isinstance(n, int | float) or not 0 < n < float("inf"):
            faults.say(f"city.toml [{table}]: assumed_n {n!r}; allowed: a number above 0, or one for each wave")


def _find_files(folder: Path, said: dict, *, faults: Faults) -> None:
    """Add the `path` of each table; every needed file must exist, inside the city's own folder."""
    here = sorted(file.name for file in folder.iterdir() if file.is_file())
    names = {table: name for table in FILES if (name := file_of(said, table, folder))}
    for table in [table for table in ("areas", "waves") if table not in names]:
        faults.say(f"{FILES[table]}: no such file and no [{table}] in city.toml; files here: {', '.join(here)}")
    for table, name in names.items():
        if name in here:
            said.setdefault(table, {})["path"] = folder / name
        else:
            hint = f"{nearest(name, here)}; allowed: a file in the city's own folder: {', '.join(here)}"
            faults.say(f"city.toml [{table}]: no file {name!r}{hint}")
    given = [table for table in ("respondents", "shares") if table in names]
    if len(given) != 1:
        what = "both survey and shares" if given else "neither survey nor shares"
        faults.say(f"city.toml: {what}; allowed: either [respondents] (rows) or [shares] (published percentages)")
