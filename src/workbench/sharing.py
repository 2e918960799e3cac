"""Releases: finished runs that may leave the building as one zip, or the list of all that keeps them in.

What leaves of a run: report.html, effects.csv, card.json, provenance.json and release.json, which says of whom the
report tells, so that the next release can be held against this one. Never draws, notebooks or data."""

import contextlib
import getpass
import io
import json
import os
import zipfile
from functools import partial
from itertools import permutations
from pathlib import Path

import jsonschema
import pandas as pd

from workbench import disclosure, provenance
from workbench.cards import build_card, read_cards
from workbench.cities import load_city, survey_as_given
from workbench.errors import ConvergenceError, ParameterError, SchemaError
from workbench.panel import CHOICES, build_panel
from workbench.paths import outside_cities, relative, resolve
from workbench.runs import FINISHED, PLACES

WALKS = {".html": disclosure.markup, ".csv": disclosure.comma_separated, ".json": disclosure.text}
WALKS |= {".ipynb": disclosure.notebook}
BROKEN = (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError)
LEAVE, RETOLD = ("report.html", "effects.csv", "provenance.json"), ("status.json", "result.json", "pooled.json")
JSON = partial(json.dumps, indent=1, ensure_ascii=False)
TOLD = ("verdict", "sentence", "grade", "n", "checks", "provenance")
MODELLED = 30  # respondents in an area and wave below which the effect there is more the model's than the survey's


def share(run_dirs, *, out, suppress=False, earlier=(), raw=None, say=print) -> list[dict]:
    """Write what may leave of finished runs to the zip `out`; return `run`, `files` and what was `said` of each.

    `earlier` are zips given out before, `raw` where the cities are if not where they were. ParameterError with every
    finding, a line each (run, file, place, value, rule), and then nothing is written; with `suppress` only what cannot
    be taken out refuses, and `say` is told what was."""
    target, earlier, runs, faults = outside_cities(out, raw=raw or "data/raw"), _given_out(earlier), {}, []
    groups = dict(earlier)
    for folder in map(resolve, run_dirs):
        try:
            if folder.name in runs:
                raise ParameterError("two runs of one name cannot lie in one zip; allowed: a zip for each")
            runs[folder.name] = run = _walked(folder, raw=raw, suppress=suppress)
            faults += [f"{folder.name}, {place}: {value!r}: {rule}" for place, value, rule in run["faults"]]
            groups |= _groups(folder.name, run["release"])
        except BROKEN as error:  # what cannot be read does not leave
            why = str(error) if isinstance(error, ParameterError | SchemaError) else f"cannot be read: {error!r}"
            why += "; to check a run its city's own files are needed: --raw DIR" * why.startswith("no city")
            faults += [f"{folder.name}: {line}" for line in why.splitlines()]
    if faults := list(dict.fromkeys(faults + differences(groups, earlier=earlier))):
        raise ParameterError("\n".join([*faults, f"findings: {len(faults)}; nothing was written (docs/sharing.md)"]))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, run in sorted(runs.items()):
            run["files"] |= _card(run, raw=raw, say=say)
            for place, value, rule in run["said"]:
                say(f"{name}, {place}: {value!r}: {rule}")
            for file, content in sorted(run["files"].items()):
                # An entry of one's own making is dated 1980, so the same release gives the same bytes.
                archive.writestr(zipfile.ZipInfo(f"{name}/{file}"), content, compress_type=zipfile.ZIP_DEFLATED)
    provenance.write_bytes(target, packed.getvalue())
    return [{"run": name, "files": sorted(run["files"]), "said": run["said"]} for name, run in sorted(runs.items())]


def differences(groups: dict, *, earlier=()) -> list[str]:
    """Groups of fewer than K people, and pairs, inside one another or of one name, as few apart; not two `earlier`.
    `groups`: (run, group) -> what they are groups of, areas, respondents by wave."""
    found = [(one, f"{one[1]} in {wave}", n[wave]) for one, (_of, _areas, n) in groups.items() for wave in n]
    for (one, (of, areas, n)), (other, (its, others, more)) in permutations(groups.items(), 2):
        alike = areas < others or one < other and (areas == others or one[1] == other[1])
        for wave in sorted(n.keys() & more.keys()) if of == its and alike and not {one, other} <= set(earlier) else ():
            found.append((one, f"{one[1]} and, in {other[0]}, {other[1]} in {wave}", abs(more[wave] - n[wave])))
    rule = "so few respondents in a group, or between two"
    return [f"{one[0]}, release.json, {where}: '{n:g}': {rule}" for one, where, n in found if 0 < n < disclosure.K]


def _walked(folder: Path, *, raw, suppress: bool) -> dict:
    """What a run holds: `files` that leave, `faults` that keep it in, what is `said` of the rest, its `release`."""
    texts = {file.name: file.read_text("utf-8") for file in sorted(folder.iterdir()) if file.suffix in WALKS}
    status, result, pooled = (json.loads(texts.pop(name, "{}")) for name in RETOLD)
    if status.get("state") not in FINISHED or "report.html" not in texts:
        raise ParameterError("no finished run; allowed: a folder with status.json (done or blocked) and report.html")
    told = {name: value for name, value in (result or pooled).items() if name in TOLD}
    told |= {name: status[name] for name in ("hashes", "finished")}
    told["parameters"] = {name: value for name, value in status["parameters"].items() if name not in PLACES}
    texts["provenance.json"] = JSON(told)
    facts, release = _of_whom(status, result, texts["report.html"], raw=raw)
    walk = lambda name, content: WALKS[Path(name).suffix](content, facts, name)
    walked = {name: walk(name, content) for name, content in texts.items()}
    files = {name: walked[name][0] for name in LEAVE if name in walked and walked[name][0].strip()}
    found = {name: each for name, (_made, each) in walked.items()}
    if suppress:  # the rest is read once more; a card is sealed: whole, or not at all
        said = [(place, value, f"{rule}; taken out") for name in LEAVE for place, value, rule in found.get(name, ())]
        left = files | {name: texts[name] for name in texts if name == "card.json"}
        faults = [one for name, content in left.items() for one in walk(name, content)[1]]
    else:
        said, by_cell = [], {one[1:] for one in found.get("notebook.ipynb", ())}
        faults = [one for name in found for one in found[name] if name != "report.html" or one[1:] not in by_cell]
    effects = files.get("effects.csv", "")
    if few := sorted({area for (area, _wave), n in facts.n.items() if 0 < n < MODELLED and f",{area}," in effects}):
        rule = f"fewer than {MODELLED} respondents in a wave, so such effects are mostly the model's"
        said.append(("effects.csv", ", ".join(few), rule))
    files["release.json"], is_evaluation = JSON(release), "att_pp" in result
    return {"folder": folder, "faults": faults, "said": said, "release": release, "files": files, "card": is_evaluation}


def _of_whom(status: dict, result: dict, page: str, *, raw) -> tuple:
    """What must not leave of the run's city, and its release: of whom it tells, area by area where that may be told."""
    given, release = status["parameters"], {"city": "", "item": "", "data": "", "groups": {}}
    users = {Path.home().name, *(os.environ.get(name, "") for name in ("USER", "LOGNAME", "USERNAME"))}
    with contextlib.suppress(OSError, KeyError, ImportError):  # no such account on this machine
        users.add(getpass.getuser())
    if not given.get("city"):
        return disclosure.facts_of(None, None, users=users), release
    place = load_city(given["city"], raw=raw or given["raw"])
    hashed = status["hashes"].get("data") or result.get("provenance", {}).get("data_hash")
    if place.data_hash != hashed and (hashed or place.data_hash not in page):
        raise ParameterError(f"the data of {place.city} are not those of this run: it cannot be checked; run it again")
    groups = {"all areas": place.areas["area"]}
    if "item" in given:
        panel = build_panel(place, **{name: given[name] for name in CHOICES if given.get(name)})
        areas, treated, release["item"] = panel["area"].values, panel["treated"].values, panel.attrs["item"]
        groups = {"all areas": areas, "project areas": areas[treated], "comparison areas": areas[~treated]}
        runs = panel["exposure"].any("wave")
        groups |= {f"project {p}": areas[runs.sel(project=p).values] for p in panel["project"].values}
    survey = survey_as_given(place.city, raw=raw or given["raw"])
    facts = disclosure.facts_of(place, survey, item=release["item"], users=users)
    hidden = disclosure.hidden(facts.n, facts.n, facts.groups)
    cells = [(*key, n, key in hidden) for key, n in facts.n.items()]
    cells = pd.DataFrame(cells, columns=["area", "wave", "n", "hidden"])
    groups |= {f"area {area}": [area] for area in place.areas["area"]}
    for name, areas in groups.items():
        own = cells[cells["area"].isin(areas) & ~(cells["hidden"] & (len(areas) == 1))]
        release["groups"][name] = {"areas": sorted(areas), "n": own.groupby("wave")["n"].sum().to_dict()}
    return facts, release | {"city": place.city, "data": place.data_hash}


def _groups(name: str, release: dict) -> dict:
    of = release["city"], release["item"]
    return {(name, group): (of, frozenset(each["areas"]), each["n"]) for group, each in release["groups"].items()}


def _given_out(places) -> dict:
    """The groups of the releases in these zips."""
    found, said = {}, disclosure.SAID["release"]
    for place in places:
        try:
            with zipfile.ZipFile(resolve(place)) as archive:
                names = {name.split("/")[0] + "/release.json" for name in archive.namelist()} or {""}
                if names - set(archive.namelist()):
                    raise ValueError("no release in it, or not of each run")
                for name in names:
                    jsonschema.validate(release := json.loads(archive.read(name), parse_constant=int), said)
                    found |= _groups(f"{Path(place).name}/{name.split('/')[0]}", release)
        except (*BROKEN, zipfile.BadZipFile, jsonschema.ValidationError) as error:
            raise ParameterError(f"{relative(place)} is no zip of workbench share: {error}".split("\n")[0]) from None
    return found


def _card(run: dict, *, raw, say) -> dict:
    """The run's card, made and kept where there is none yet; why there is none is said."""
    file = run["folder"] / "card.json"
    try:
        if run["card"] and not file.is_file():
            say(f"{run['folder'].name}: making its card, one more fit")
            provenance.write_json(file, build_card(run["folder"], raw=raw))
        if file.is_file() and read_cards([file])[0]["hashes"]["data"] != run["release"]["data"]:
            raise ParameterError("it was made from other data")
        return {"card.json": file.read_text("utf-8")} if file.is_file() else {}
    except (ParameterError, SchemaError, ConvergenceError) as error:
        run["said"].append(("card.json", "none", str(error)))
        return {}
