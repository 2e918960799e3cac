"""The index of a folder of runs: a row per run, plain HTML without script, one page for each order of the rows."""

import json
from datetime import datetime
from functools import partial
from pathlib import Path
from urllib.parse import quote

from babel.dates import format_date

from workbench import figures
from workbench.errors import ParameterError
from workbench.language import said
from workbench.paths import relative, resolve
from workbench.provenance import write_bytes
from workbench.tables import filled, stylesheet
from workbench.verdict import VERDICTS, label

FOUND = (*VERDICTS, "pooled", "blocked", "failed", "unfinished", "")  # "": a notebook that gives no verdict
STATES = ("failed", "unfinished", "blocked", "done")
ORDERS = {
    "verdict": lambda row: FOUND.index(row["found"]),
    "city": lambda row: (not row["city"], row["city"], FOUND.index(row["found"])),
    "grade": lambda row: -row["grade"],
    "state": lambda row: STATES.index(row["state"]),
    "date": lambda row: -row["when"][1] if row["when"] else 0,
}


def write_index(folder: str | Path, *, lang: str = "en") -> list[Path]:
    """Write index.html over the runs directly in `folder`, by verdict, and a page for each other order; return them.
    A folder without status.json is an unfinished run, unless it has an index of its own. Effects share one axis."""
    if not (target := resolve(folder)).is_dir():
        raise ParameterError(f"no folder {relative(target)}")
    runs = sorted(run for run in target.iterdir() if run.is_dir() and not run.name.startswith("."))
    rows = [_row(run) for run in runs if (run / "status.json").is_file() or not (run / "index.html").is_file()]
    invented = {row["city"] for row in rows if row["simulated"]}
    rows = [row | {"simulated": row["simulated"] or row["city"] in invented} for row in rows]  # failed runs do not know
    drawn, ax = [row for row in rows if row["effect"]], figures.plt.Figure(figsize=(3.6, 0.32)).subplots()
    limit = 1.05 * max((abs(end) for row in drawn for end in row["ends"]), default=1)
    strip = partial(figures.image_tag, figures.plot_strip, ax=ax, limit=limit, lang=lang)
    for row in drawn:
        row["strip"] = strip(row["effect"], minimum_pp=row["minimum_pp"], simulated=row["simulated"])
        [artist.remove() for artist in (*ax.lines, *ax.collections)]  # new axes for each would take most of the time
    pages = {order: "index.html" if order == "verdict" else f"index-by-{order}.html" for order in ORDERS}
    about = {"folder": relative(target), "pages": pages, "css": stylesheet()}
    about |= {"label": label, "day": format_date, "effect": partial(said, "effect", lang, how="brief")}
    page = lambda order: filled("runs.html.j2", rows=sorted(rows, key=ORDERS[order]), order=order, lang=lang, **about)
    return [write_bytes(target / pages[order], page(order).data.encode(errors="replace")) for order in ORDERS]


def _row(run: Path) -> dict:
    read = lambda name: json.loads((run / name).read_text(encoding="utf-8"))
    status, result = _a(dict, read, "status.json"), _a(dict, read, "result.json") or _a(dict, read, "pooled.json")
    state = status["state"] if status.get("state") in STATES else "unfinished"
    found = result.get("verdict") if state in ("done", "blocked") else state
    effect = _a(dict, result.get, "att_pp") or _a(dict, _a(dict, result.get, "mean").get, "pp")
    sizes = least, _mean, low, high = result.get("minimum_pp") or 0, *map(effect.get, ("mean", "lower90", "upper90"))
    whole = found not in ("blocked", state) and all(type(n) in (int, float) and abs(n) <= 100 for n in sizes)
    return {
        "id": run.name, "path": quote(run.name, errors="surrogateescape"), "state": state,
        "files": _a(list, status.get, "files"), "grade": _a(int, result.get, "grade"), "minimum_pp": least,
        "notebook": _a(str, status.get, "notebook"), "reason": _a(str, status.get, "reason"),
        "city": _a(str, result.get, "city") or _a(str, _a(dict, status.get, "parameters").get, "city"),
        "simulated": result.get("simulated") is True, "found": found if found in FOUND else "",
        "effect": effect if whole and low <= high else {}, "ends": (low, high, 1.5 * least, 0.1) if whole else (),
        "when": _a(tuple, lambda: (when := datetime.fromisoformat(status["finished"]), when.timestamp())),
    }  # fmt: skip


def _a(kind: type, make, *given):
    """What `make` makes of the given, or an empty one of its kind: one spoilt run must not hide the others."""
    try:
        return made if isinstance(made := make(*given), kind) else kind()
    except (OSError, KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return kind()
