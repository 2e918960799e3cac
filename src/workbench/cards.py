"""Evidence cards: what one city learned, for others to pool, without a single respondent.

A card carries what the data say beside any prior of effects: a refit in which each project has one free number, its
mean over the window, with a flat prior, and their joint covariance. Pooled with a prior, they count it once."""

import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import xarray as xr
from scipy.linalg import block_diag

from workbench import collective, estimands, provenance
from workbench.cities import load_city
from workbench.disclosure import K, stated
from workbench.errors import ConvergenceError, ParameterError, SchemaError
from workbench.inference import diagnostics, sampler, settle, sound
from workbench.items import ITEMS
from workbench.language import said, translator
from workbench.models.perceived import build_model
from workbench.panel import CHOICES, build_panel
from workbench.paths import relative, resolve

SHARPEST, WIDEST = 0.001, 1.0  # logit: no survey is that certain; less certain says nothing, and is far from normal
VERSION = "evidence-card-1"


def build_card(folder, *, raw=None, draws=1000, seed=2026) -> dict:
    """The card of a finished evaluation in `folder`, sealed; reads the city's data again (`raw` where these moved),
    refits once. ParameterError where the run is not done or its data changed, an area-wave has fewer than `K`
    respondents, or an effect is too uncertain to be a card; ConvergenceError where the refit does not settle."""
    began, (status, result) = time.perf_counter(), _finished(resolve(folder))
    given = status["parameters"]
    city = load_city(given["city"], raw=raw or given["raw"])
    if city.data_hash != status["hashes"]["data"]:
        raise ParameterError(f"{given['city']}: the data changed since {relative(folder)} was made; evaluate again")
    panel = build_panel(city, **{name: given[name] for name in CHOICES if given.get(name)})
    _refuse_small_cells(city, panel)
    idata = settle(partial(sampler, build_model(panel, prior="window")), seed, draws=draws, tune=500)
    if not sound(diagnostics(idata)):
        raise ConvergenceError(f"{city.city}: the refit for the card did not settle ({diagnostics(idata)})")
    posterior = idata["posterior"].to_dataset()
    latent, pp = moments(posterior["theta"]), moments(estimands.att_by(panel, posterior, "project"))
    if wide := panel["project"].values[np.diag(latent["covariance"]) > WIDEST**2].tolist():
        why = f"the data alone leave the effect open by more than {WIDEST:g} logit, which is no evidence"
        raise ParameterError(f"{', '.join(wide)}: {why}; evaluate without it (--project)")
    cut = posterior["cut"].mean(("chain", "draw")).values.tolist() if "cut" in posterior else [0.0]
    card = {
        "schema": VERSION, "made": f"{datetime.now(UTC):%Y-%m-%d}", "k": K,
        **{name: result[name] for name in ("city", "simulated", "item", "unsafe_from", "verdict", "grade", "n")},
        "city_name": city.name, "family": ITEMS[panel.attrs["item"]].family,
        "window_months": panel.attrs["window_months"],
        "thresholds": dict(zip(panel["category"].values[1:].tolist(), cut, strict=True)),
        "prior": result["provenance"]["prior"] + " and other cities' cards" * bool(result.get("evidence")),
        "projects": [_project(city, panel, posterior, p, result) for p in panel["project"].values],
        "latent": latent, "pp": pp, "posterior_pp": result["att_pp"],
        "checks": [{name: check[name] for name in ("name", "status")} for check in result["checks"]],
        "hashes": {"data": city.data_hash, "code": provenance.code_hash()}, "versions": provenance.versions(),
        "seconds": time.perf_counter() - began,
    }  # fmt: skip
    return _refuse_faulty(provenance.seal(json.loads(json.dumps(card))), relative(folder))


def read_cards(places) -> list[dict]:
    """The cards in these files, or in the .json files of a folder; each gains `file`. SchemaError with every fault."""
    files = [file for p in map(resolve, places) for file in (sorted(p.glob("*.json")) if p.is_dir() else [p])]
    cards, faults = [], [f"no card in {', '.join(map(relative, places))}"] if not files else []
    for file in files:
        try:
            said = json.loads(file.read_text(encoding="utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once)
            cards.append(_refuse_faulty(said, file.name) | {"file": file.name})
        except (OSError, ValueError, RecursionError) as error:
            why = f"{file.name}: not a card ({getattr(error, 'strerror', None) or error})"
            faults += str(error).splitlines() if isinstance(error, SchemaError) else [why]
    if faults:
        raise SchemaError("\n".join(faults))
    return cards


def choose(cards, *, family="", focus="", own=None, least=1, lang="en") -> tuple[list[dict], list[dict]]:
    """Cards that may be pooled, and `file`, `city_name` and `reason` (in `lang`) of those left out: one item family (by
    default that of most cards), one card a city, the newest, never that of `own` (a City), and with `focus` only
    projects of it. ParameterError when simulated and real cities are mixed, or fewer than `least` cards are left."""
    _, families = translator(lang).gettext, [card["family"] for card in cards]
    family, kept, out = family or max(families, key=families.count, default=""), {}, []
    for card in sorted(cards, key=lambda card: (card["made"], card["file"]), reverse=True):
        inside = [i for i, p in enumerate(card["projects"]) if not focus or p["focus"] == focus]
        reasons = {
            _("another item family ({family})").format(family=card["family"]): card["family"] != family,
            _("simulated and real cities do not serve each other"): own and own.simulated != card["simulated"],
            _("the city's own card"): own and own.city == card["city"],
            _("the city's own data under another name"): own and own.data_hash == card["hashes"]["data"],
            _("the same data as another card"): card["hashes"]["data"] in [c["hashes"]["data"] for c in kept.values()],
            _("another card of this city is there, no older than this"): card["city"] in kept,
        }
        reason = next((text for text, holds in reasons.items() if holds), None)
        if not reason:  # without a project for the focus too, so that no older card takes its place
            kept[card["city"]] = card | {"inside": inside}
        if reason or not inside:
            reason = reason or _("no project for {focus}").format(focus=said("focus", lang, name=focus))
            out.append({"file": card["file"], "city_name": card["city_name"], "reason": reason})
    chosen = sorted((card for card in kept.values() if card["inside"]), key=lambda card: card["city"])
    if len({card["simulated"] for card in chosen}) > 1:
        raise ParameterError("simulated and real cities are never pooled together; give cards of one kind")
    if len(chosen) < least:
        reasons = "; ".join(f"{row['file']}: {row['reason']}" for row in out)
        raise ParameterError(f"{len(chosen)} card(s) left to pool, {least} needed{f' ({reasons})' if out else ''}")
    return chosen, out


def stack(chosen) -> xr.Dataset:
    """Chosen cards as one Dataset on dim project (CITY/PROJECT) with what `models.evidence` reads, and labels."""
    inside = [(card, i, card["projects"][i]) for card in chosen for i in card["inside"]]
    rows = pd.DataFrame(
        {
            "project": f"{card['city']}/{project['project']}", "label": f"{project['name']}, {card['city_name']}",
            "city": card["city"], "kind": project["kind"], "base_pp": project["without_pp"],
            "estimate": card["latent"]["mean"][i], "score": (project["collective_impact"] or {}).get("score", np.nan),
            "score_se": (project["collective_impact"] or {}).get("se", np.nan),
        }
        for card, i, project in inside
    )  # fmt: skip
    # A kind that only one project has cannot be told from that project.
    rows["kind"] = rows["kind"].where(rows["kind"].map(rows["kind"].value_counts()) > 1, "other")
    rows = rows.assign(city_index=pd.factorize(rows["city"])[0], kind_index=pd.factorize(rows["kind"])[0])
    words = ["project", "city", "kind", "label"]
    pool = xr.Dataset.from_dataframe(rows.astype(dict.fromkeys(words, object)).set_index("project"))
    blocks = [np.array(card["latent"]["covariance"])[np.ix_(card["inside"], card["inside"])] for card in chosen]
    return pool.set_coords(words[1:]).assign(covariance=(("project", "other"), block_diag(*blocks)))


def _finished(folder) -> tuple[dict, dict]:
    """status.json and result.json of a run that is done."""
    try:
        status, result = (json.loads((folder / name).read_text("utf-8")) for name in ("status.json", "result.json"))
    except (OSError, ValueError):
        where = relative(folder)
        raise ParameterError(f"{where} holds no evaluation; run: workbench evaluate CITY --out {where}") from None
    if status["state"] != "done":
        raise ParameterError(f"{relative(folder)} is {status['state']}: {status['reason']}; there is nothing to pool")
    return status, result


def _refuse_small_cells(city, panel) -> None:
    """Every cell needs K people, but where their number is assumed."""
    count = stated(panel["respondents"].to_series(), city, panel.attrs["item"])
    small = count[(count > 0) & (count < K)]
    if len(small):
        some = ", ".join(f"{area} in {wave} ({n:g})" for (area, wave), n in small.head(5).items())
        more = f" and {len(small) - 5} more" if len(small) > 5 else ""
        why = f"fewer than {K} respondents in {some}{more}: no card may be made from these data"
        raise ParameterError(f"{panel.attrs['city']}: {why}; merge areas or leave these out")


def moments(draws) -> dict:
    """Mean (project) and covariance (project, project) of draws, as lists."""
    flat = draws.transpose("chain", "draw", "project").values.reshape(-1, draws.sizes["project"])
    return {"mean": flat.mean(0).tolist(), "covariance": np.atleast_2d(np.cov(flat.T)).tolist()}


def _project(city, panel, posterior, project, result) -> dict:
    """What a card tells of one project: what it is, what it cost, who feels unsafe without it, how it is organised."""
    rows = city.projects[city.projects["project"] == project]
    first, total = rows.iloc[0], lambda name: float(rows[name].sum()) if rows[name].notna().any() else None
    scores = collective.score(city.collective_impact, project, seen=collective.outcomes_seen(city))
    registered = result.get("registration", {}).get(project, {"deviations": []})
    return {
        "project": str(project), "name": str(first["name"]), "kind": str(first["kind"]),
        "focus": str(first["focus"] or ""), "areas": len(rows), "start": f"{rows['start'].min():%Y-%m}",
        "cost_eur": total("cost_eur"), "reached": total("reached"),
        "without_pp": float(estimands.without(panel, posterior, project).mean()),
        "verdict": result["by_project"][project]["verdict"], "collective_impact": scores,
        "registration": None if "changed" in registered["deviations"] else registered.get("sha256"),
    }  # fmt: skip


def _no_number(text):
    raise ValueError(f"{text} is not a number")


def _once(pairs) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key stands there twice")
    return dict(pairs)


def _refuse_faulty(card, file) -> dict:
    """The card, if it keeps to its schema, its seal holds and its numbers can be a covariance; else SchemaError."""
    shown = lambda error: f"{'/'.join(map(str, error.absolute_path)) or 'the card'}: {error.message[:200]}"
    rules = json.loads((Path(__file__).parents[2] / "docs" / f"{VERSION}.schema.json").read_text(encoding="utf-8"))
    checker = jsonschema.Draft202012Validator(rules, format_checker=jsonschema.FormatChecker())
    faults = [shown(error) for error in checker.iter_errors(card)]
    if not faults and not provenance.sealed(card):
        faults = ["its content is not what its sha256 says: it was changed after it was made"]
    if not faults and len({project["project"] for project in card["projects"]}) < len(card["projects"]):
        faults = ["projects: each project once"]
    for scale in ("latent", "pp") if not faults else ():
        mean, covariance = np.array(card[scale]["mean"]), np.array(card[scale]["covariance"])
        if covariance.shape != (len(card["projects"]),) * 2 or mean.shape != covariance.shape[:1]:
            faults.append(f"{scale}: one mean and one row of the covariance for each project")
        elif not np.allclose(covariance, covariance.T) or np.linalg.eigvalsh(covariance).min() < SHARPEST**2:
            faults.append(f"{scale}/covariance: not a covariance, or more certain than any survey")
    if faults:
        raise SchemaError("\n".join(f"{file}: {fault}" for fault in faults))
    return card
