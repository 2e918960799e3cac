"""Written down before outcomes are opened: what will be evaluated, how, and what will be decided on it (docs/data.md).

One sealed, committed JSON file each: the seal shows a careless change, the repository's history a deliberate one."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from workbench import __version__, paths, provenance
from workbench.collective import score
from workbench.errors import ParameterError
from workbench.estimands import project_minimum
from workbench.items import ITEMS
from workbench.language import number, said
from workbench.panel import choices, usual_minimum

SCHEMA, FOLDER = "registration-1", "registrations"
FIELDS = ("item", "unsafe_from", "minimum_pp", "window_months", "comparison", "prior")
COLUMNS = ["project", "registered", "sha256", "field", "registered_value", "used_value"]


def plan(city, values: Mapping, *, project: str, question: str = "", decision: str = "") -> dict:
    """The sealed registration of one project from the checked parameters of an evaluation; ParameterError with every
    fault. No panel is built, for the project may start after the last wave."""
    chosen = choices(city, projects=(project,), **{name: values[name] for name in FIELDS if name != "prior"})
    about, item = _about(city, project), ITEMS[chosen["item"]]
    own = city.projects.loc[city.projects["project"] == project, "min_worthwhile_pp"].dropna().tolist()
    minimum = values["minimum_pp"] or (own[0] if own else None)
    faults = [f"comparison area {area!r} has the project" for area in chosen["comparison"] if area in about["areas"]]
    if own and minimum != own[0]:
        faults.append(f"minimum_pp {minimum:g}: the project states {own[0]:g} in the city's files; allowed: that")
    if faults:
        raise ParameterError("\n".join(faults))
    seen = city.waves.loc[city.waves["end"] > pd.Timestamp(about["start"]), "wave"].tolist()
    notes = [] if minimum else ["minimum_pp: 2 points, or a quarter of the baseline share if that is less"]
    notes += [f"outcomes may have been seen: fieldwork of {', '.join(seen)} ended after the start"] if seen else []
    everyone, shares = city.respondents, city.shares
    rows = everyone.dropna(subset=chosen["item"]) if shares is None else shares[shares["item"] == chosen["item"]]
    never = sorted(set(rows["area"]) - set(city.projects["area"]))
    unsafe = ", ".join(item.categories[item.categories.index(chosen["unsafe_from"]) :])
    asked = f"do fewer residents of its areas answer “{item.wording}” with {unsafe} than would without it?"
    return provenance.seal({
        "schema": SCHEMA, "made": f"{datetime.now(UTC):%Y-%m-%d}", "city": city.city, "city_name": city.name,
        "simulated": city.simulated, "project": about, "question": question or f"{about['name']}: {asked}",
        "decision": decision or "whether to go on with the project", "item": chosen["item"],
        "unsafe_from": chosen["unsafe_from"], "minimum_pp": minimum, "window_months": "{}-{}".format(*chosen["window"]),
        "comparison": sorted(chosen["comparison"]) or never, "prior": values["prior"],
        "collective_impact": score(city.collective_impact, project), "data_hash": city.data_hash,
        "waves_after_start": seen, "notes": notes, "workbench": __version__,
    })  # fmt: skip


def save(content: Mapping, *, out: str | None, raw: str) -> Path:
    """Write a registration, once for each project and never among a city's own files; else ParameterError."""
    city, project = content["city"], content["project"]["id"]
    target = paths.outside_cities(out or f"{FOLDER}/{city}-{project}.json", raw=raw)
    shown = paths.relative(target)
    if target.exists() or project in registered(city):
        raise ParameterError(f"{shown}: project {project} is registered, or the file exists; neither is ever replaced")
    try:
        return provenance.write_json(target, content)
    except OSError as error:
        raise ParameterError(f"{shown} cannot be written: {error.strerror}") from None


def registered(city: str) -> dict[str, dict]:
    """The registrations of a city in registrations/ by project; a file that is none is passed over."""
    found = {}
    for file in sorted((paths.project_root() / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, KeyError, TypeError):
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["schema"] == SCHEMA and content["city"] == city:
                found.setdefault(content["project"]["id"], content)
    return found


def compare(city, panel, *, prior: str, lang: str) -> pd.DataFrame:
    """What the evaluation does otherwise than registered: COLUMNS, values as text in `lang`, of lists what differs. A
    row per project and deviation, one with an empty `field` where there is none, or no registration. Two fields have no
    values: `changed` (the seal is broken, so nothing else is read) and `outcomes_known`."""
    found, rows = registered(city.city), []
    told = lambda one: ", ".join(map("{0[0]} {0[1]:g}".format, (one or {"conditions": {}})["conditions"].items()))
    rule = {"minimum_pp": usual_minimum(panel.attrs["baseline_pp"])}
    for project, minimum in zip(panel["project"].values.tolist(), project_minimum(panel), strict=True):
        kept = found.get(project, {})
        head = [project, str(kept.get("made", "")), str(kept.get("sha256", ""))]
        if not kept or not provenance.sealed(kept):
            rows.append([*head, "changed" if kept else "", "", ""])
            continue
        then = rule | {name: value for name, value in (kept | kept["project"]).items() if value is not None}
        then["collective_impact"] = told(kept["collective_impact"])
        now = panel.attrs | _about(city, project) | {"prior": prior, "minimum_pp": float(minimum)}
        now["collective_impact"] = told(score(city.collective_impact, project))
        # Areas whose project has not begun serve as comparison too, as project areas do before theirs: no departure.
        waiting = set(city.projects["area"]) - set(then["comparison"])
        now["comparison"] = sorted(set(panel["area"].values[~panel["treated"].values]) - waiting)
        differ = {"outcomes_known": ("", "")} if then["waves_after_start"] else {}
        for field in (*FIELDS, "areas", "start", "full", "collective_impact"):
            a, b = then.get(field, ""), now[field]
            if isinstance(b, list):
                a, b = (", ".join(sorted(set(one) - set(other))) for one, other in ((a, b), (b, a)))
            elif isinstance(b, float):
                a, b = (number(value, lang, 2) for value in (a, b))
            differ |= {field: (a, b)} if a != b else {}
        rows += [[*head, field, *pair] for field, pair in (differ or {"": ("", "")}).items()]
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(compared: pd.DataFrame) -> dict[str, dict]:
    """What `compare` found, as result.json holds it: project -> registered (date or None), sha256, deviations."""
    return {
        project: {"registered": date or None, "sha256": seal or None, "deviations": [*filter(None, rows["field"])]}
        for (project, date, seal), rows in compared.groupby(["project", "registered", "sha256"], sort=False)
    }


def sentence(summary: Mapping, *, lang: str) -> str:
    """Were the evaluated projects registered, for the foot of page 1."""
    rows = [(row["registered"], set(row["deviations"])) for row in summary.values()]
    found = [deviations for date, deviations in rows if date and "changed" not in deviations]
    late, differ = sum("outcomes_known" in one for one in found), sum(bool(one - {"outcomes_known"}) for one in found)
    return said("registered", lang, registered=len(found), projects=len(summary), late=late, differ=differ)


def _about(city, project: str) -> dict:
    rows = city.projects[city.projects["project"] == project]
    dates = {name: f"{rows[name].min():%Y-%m-%d}" for name in ("start", "full")}
    first = {name: rows[name].iloc[0] for name in ("name", "kind", "focus")}
    return {"id": project} | first | {"areas": sorted(rows["area"])} | dates
