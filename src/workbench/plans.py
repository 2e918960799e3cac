"""Plans: one row per run (`id`, `notebook`, parameters; empty is the default), checked whole before a kernel starts."""

import json
from collections.abc import Collection, Mapping

import xarray as xr

from workbench import provenance
from workbench.cities import City, load_city
from workbench.errors import ParameterError, SchemaError, nearest
from workbench.incidents import build_panels
from workbench.items import ITEMS
from workbench.panel import CHOICES, build_panel
from workbench.parameters import notebook_parameters, validate_parameters
from workbench.paths import NAME, outside_cities, project_root, relative, resolve
from workbench.schema import Faults, Sheet, lines_of
from workbench.sheets import read_sheet

MOST = 2000  # runs of a plan
OWN = ("id", "notebook")  # columns that are not parameters
READ = ("city", "raw", "prior", "prior_from", "run", "cards", "focus", *CHOICES)  # parameters that choose what is read
READ += ("mechanism", "spatial", "neighbours")  # and those of one notebook that needs more of a city


def read_inputs(values: Mapping) -> tuple[str | None, City | None, xr.Dataset | None]:
    """What a run with these parameters reads: the hash of its data, and its city and panel if it has these.
    ParameterError or SchemaError where the notebook would stop: no such city or item, no panel, no cards to pool."""
    if values.get("cards"):
        from workbench.cards import choose, read_cards

        cards = read_cards(values["cards"].split(";"))
        choose(cards, focus=values.get("focus") or "", least=2)
        return provenance.hash_parameters({"cards": sorted(card["sha256"] for card in cards)}), None, None
    if "city" not in values:
        return None, None, None
    city = load_city(values["city"], raw=resolve(values["raw"]))
    panel = build_panel(city, **{name: values[name] for name in CHOICES}) if set(CHOICES) <= set(values) else None
    if values.get("prior_from"):
        if values["prior"] == "flat":
            raise ParameterError("prior_from: with prior flat no prior of effects is used; leave one of them out")
        from workbench.pooling import others

        others(values["prior_from"], city=city, panel=panel)
    if "mechanism" in values:
        _ask_cohesion(city, mechanism=values["mechanism"], prior=values.get("prior"))
    if "spatial" in values:
        build_panels(city, **{name: values[name] for name in ("projects", "comparison", "window_months", "neighbours")})
    if values.get("run") and not (resolve(values["run"]) / "result.json").is_file():
        raise ParameterError(f"run: {relative(values['run'])} holds no evaluation")
    return city.data_hash, city, panel


def _ask_cohesion(city: City, *, mechanism: bool, prior: str | None) -> None:
    """ParameterError for a city whose survey cannot show cohesion, or not its `mechanism`."""
    if not any(ITEMS[item].construct == "cohesion" for item in city.items):
        known = ", ".join(name for name, item in ITEMS.items() if item.construct == "cohesion")
        raise ParameterError(f"{city.city} asked no item of cohesion; allowed: a city with one of {known}")
    if prior == "flat":
        raise ParameterError(
            "prior 'flat': cohesion and insecurity together have no such prior; allowed: sceptical, wide"
        )
    if mechanism and city.respondents is None:
        raise ParameterError(f"mechanism: {city.city} has published shares only, no other respondents to ask")


def read_plan(file, *, out, only=(), keep_going=False) -> tuple[list[dict], dict[str, str]]:
    """The runs of a plan, each its `id` and what `runs.run_notebook` is `asked`, and why other ids are refused; `only`
    these ids. ParameterError with every fault at once, each with its line; with `keep_going` a row with a fault is
    refused by itself, as long as one is left to run."""
    path, faults, runs, refused, seen, told = resolve(file), Faults(), [], {}, {}, {}
    if not path.is_file():
        there = [found.name for found in path.parent.glob("*.csv")]
        raise ParameterError(f"no plan {relative(path)}{nearest(path.name, there)}")
    if resolve(out).is_file():
        raise ParameterError(f"out: {relative(out)} is a file, not a folder")
    sheet = read_sheet(path, "plan", {}, faults=faults)
    rows = _rows(sheet, only=only) if sheet else {}
    whole = bool(faults.lines)
    for line, row in rows.items():
        try:
            given = {name: value for name, value in row.items() if name not in OWN}
            target = outside_cities(out, raw=given.get("raw", "data/raw")) / row["id"]
            asked = {"notebook": row["notebook"], "parameters": given, "out": target}
            runs.append({"id": row["id"], "asked": asked | {"data_hash": _data_hash(asked, seen)}})
        except (ParameterError, SchemaError) as error:
            refused[row["id"]] = str(error)
            for text in str(error).splitlines():
                told.setdefault(text, []).append(line)
    faults.lines += [f"{path.name}, {lines_of(lines)}: {text}" for text, lines in told.items()]
    if whole or refused and not (keep_going and runs):
        raise ParameterError("\n".join([f"{path.name}: refused, nothing was run", *dict.fromkeys(faults.lines)]))
    return runs, refused


def _rows(sheet: Sheet, *, only: Collection[str]) -> dict[int, dict]:
    """Line -> cells of the rows to run that have a sound id and notebook, under the headings that are parameters."""
    frame, notebooks = sheet.frame, {path.stem: path for path in (project_root() / "notebooks").glob("*.ipynb")}
    heading = f"{sheet.file}, line 1, column"
    if lacking := [name for name in OWN if name not in frame]:
        for name in lacking:
            sheet.faults.say(f"{heading} {name!r} is missing{nearest(name, frame)}; allowed: a heading {name}")
        return {}
    used, ids = sheet.refuse_unknown(frame["notebook"].fillna(""), sorted(notebooks)), frame["id"].fillna("")
    sheet.refuse(ids[~ids.str.fullmatch(NAME.pattern)], "lower-case letters, digits, '-' and '_', at most 100")
    sheet.refuse(ids[ids.duplicated()], "each id once")
    sheet.refuse(ids.iloc[MOST:], f"at most {MOST:,} rows")
    for name in [name for name in only if name not in set(ids)]:
        sheet.faults.say(f"{sheet.file}: no run {name!r}{nearest(name, ids)}; allowed: an id of the plan")
    known = [name for each in used.unique() for name in notebook_parameters(notebooks[each]).model_fields]
    known, there = [name for name in dict.fromkeys(known) if name != "out"], frame.columns.difference([*OWN, "out"])
    for name in there.difference(known) if known else ():
        sheet.faults.say(f"{heading} {name!r} is unknown{nearest(name, known)}; allowed: {', '.join(known)}")
    if "out" in frame:
        sheet.faults.say(f"{heading} 'out': a run's folder is its id in the folder of the plan's runs")
    sound = frame[ids.str.fullmatch(NAME.pattern) & frame.index.isin(used.index) & (ids.isin(only) | (len(only) == 0))]
    sound = sound[[*OWN, *there.intersection(known)]].assign(notebook=sound["notebook"].map(notebooks))
    return {line: row.dropna().to_dict() for line, row in sound.iloc[:MOST].iterrows()}


def _data_hash(run: Mapping, seen: dict[str, str | None]) -> str | None:
    """The hash of what a run reads, its parameters checked; `seen` keeps what runs with the same choices read."""
    values = validate_parameters(run["notebook"], run["parameters"])
    key = json.dumps({name: values[name] for name in READ if name in values})
    if key not in seen:
        seen[key] = read_inputs(values)[0]
    return seen[key]
