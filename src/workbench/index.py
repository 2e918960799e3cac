"""The index of a folder of runs: a row per run, plain HTML without script, one page for each order of the rows."""

import json
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from babel.dates import format_date

from workbench import figures
from workbench.language import said
from workbench.paths import relative, resolve
from workbench.provenance import write_text
from workbench.tables import filled, stylesheet
from workbench.verdict import VERDICTS, label

FOUND = (*VERDICTS, "pooled", "blocked", "failed", "unfinished", "")  # "": a notebook that gives no verdict
STATES = ("failed", "unfinished", "blocked", "done")
ORDERS = {
    "verdict": lambda row: FOUND.index(row["found"]),
    "city": lambda row: (not row["city"], row["city"], FOUND.index(row["found"])),
    "grade": lambda row: -row["grade"],
    "state": lambda row: STATES.index(row["state"]),
    "date": lambda row: -row["when"].timestamp() if row["when"] else 0,
}


def write_index(folder: str | Path, *, lang: str = "en") -> list[Path]:
    """Write index.html over the runs directly in `folder`, by verdict, and a page for each other order; return them.
    Only what status.json and result.json or pooled.json say; a folder without status.json is an unfinished run, unless
    it has an index of its own. Effects share one axis, in percentage points."""
    target = resolve(folder)
    runs = sorted(run for run in target.iterdir() if run.is_dir() and not run.name.startswith("."))
    rows = [_row(run) for run in runs if (run / "status.json").is_file() or not (run / "index.html").is_file()]
    invented = {row["city"] for row in rows if row["simulated"]}
    rows = [row | {"simulated": row["simulated"] or row["city"] in invented} for row in rows]  # failed runs do not know
    drawn = [(row["effect"], row["minimum_pp"]) for row in rows if row["effect"]]
    limit = 1.05 * max((max(-row["lower90"], row["upper90"], 1.5 * minimum) for row, minimum in drawn), default=1)
    strip = partial(figures.image_tag, figures.plot_strip, size=(3.6, 0.32), limit=limit, lang=lang)
    for row in [row for row in rows if row["effect"]]:
        row["strip"] = strip(row["effect"], minimum_pp=row["minimum_pp"], simulated=row["simulated"])
    pages = {order: "index.html" if order == "verdict" else f"index-by-{order}.html" for order in ORDERS}
    about = {"folder": relative(target), "pages": pages, "css": stylesheet()}
    about |= {"label": label, "day": format_date, "effect": partial(said, "effect", lang, how="brief")}
    page = lambda order: filled("runs.html.j2", rows=sorted(rows, key=ORDERS[order]), order=order, lang=lang, **about)
    return [write_text(target / pages[order], page(order).data) for order in ORDERS]


def _row(run: Path) -> dict:
    status, result = _read(run / "status.json"), _read(run / "result.json") or _read(run / "pooled.json")
    state = status["state"] if status.get("state") in STATES else "unfinished"
    found = result.get("verdict") if state in ("done", "blocked") else state
    effect = result.get("att_pp") or result.get("mean", {}).get("pp", {})
    whole = found not in ("blocked", state) and None not in (effect.get(key) for key in ("mean", "lower90", "upper90"))
    return {
        "id": run.name, "path": quote(run.name), "files": status.get("files", ()), "state": state,
        "notebook": status.get("notebook", ""), "reason": status.get("reason", ""), "grade": result.get("grade") or 0,
        "city": str(result.get("city") or status.get("parameters", {}).get("city", "")),
        "simulated": result.get("simulated"), "found": found if found in FOUND else "",
        "effect": effect if whole else {}, "minimum_pp": result.get("minimum_pp") or 0.0,
        "when": datetime.fromisoformat(status["finished"]) if status.get("finished") else None,
    }  # fmt: skip


def _read(path: Path) -> dict:
    """A run's own JSON; {} where there is none or it cannot be read: one spoilt run must not hide the others."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
