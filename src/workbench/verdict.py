"""The fixed vocabulary: which verdict holds, how strong the design is, and the one wording of the headline.

What page 1 says of size or chance of an effect is made here, so that no two disagree (docs/methods.md, "Verdict")."""

import math

import numpy as np
import pandas as pd

from workbench.inference import sound
from workbench.language import N_, percent, said, translator, whole_percent

CLEAR, PROBABLE, WITHIN, LEARNED, UNLIKELY = 0.9, 0.95, 0.8, 0.7, 0.2
FALLS, RISES = ("clear fall", "probable fall"), ("probable rise", "clear rise")
VERDICTS = (*FALLS, "no worthwhile change", "cannot tell", *RISES)  # and "blocked", which says nothing of an effect
# Smallest worthwhile change of the other outcomes: in sd of residents (the median one moves up four places in a hundred),
# and in percent of recorded incidents.
OUTCOMES = {"cohesion": ("att_sd", 0.1), "recorded": ("change_pct", 5.0)}
STATUSES = (N_("fail"), N_("warn"), N_("not possible"), N_("pass"))


def decide(att: dict, *, minimum_pp: float, blocked: bool) -> str:
    """The first verdict that holds for the posterior summary `att` (probabilities 0-1, sd in pp); ValueError for no
    minimum > 0. Without a chance under both priors and the prior's sd, *no worthwhile change* cannot be given."""
    if not minimum_pp > 0:
        raise ValueError(f"minimum_pp must be above zero, not {minimum_pp}")
    known = lambda key: float(np.nan_to_num(att.get(key) or 0.0))
    within = min(known("p_within_minimum"), known("p_within_minimum_wide"))
    rules = {
        N_("blocked"): blocked,
        N_("clear fall"): att["p_fall_minimum"] >= CLEAR,
        N_("clear rise"): att["p_rise_minimum"] >= CLEAR,
        N_("no worthwhile change"): within >= WITHIN and att["sd"] <= LEARNED * known("prior_sd"),
        N_("probable fall"): att["p_fall"] >= PROBABLE,
        N_("probable rise"): att["p_rise"] >= PROBABLE,
        N_("cannot tell"): True,
    }
    return next(verdict for verdict, holds in rules.items() if holds)


def grade(design_level: int, checks: pd.DataFrame) -> int:
    """Evidence grade 1-5: the Maryland level of the design, one less if any check is not possible, 1 if any fails."""
    status = set(checks["status"])
    return 1 if "fail" in status else max(int(design_level) - ("not possible" in status), 1)


def label(word: str, *, lang: str) -> str:
    """A verdict, a status or the name of a check in `lang`, for a pill or a cell; itself if not translated."""
    return translator(lang).gettext(word)


def headline_count(att: dict, *, minimum_pp: float) -> float:
    """Residents in 100 for the headline: a whole number, or one decimal where rounding would turn an effect into none,
    leave its interval, or cross the smallest worthwhile effect."""
    size, whole = abs(att["mean"]), math.floor(abs(att["mean"]) + 0.5)
    inside = att["lower90"] <= math.copysign(whole, att["mean"]) <= att["upper90"]
    misleading = abs(whole - size) > 0.25 * size or (whole >= minimum_pp) != (size >= minimum_pp) or not inside
    return round(size, 1) if misleading else float(whole)


def residents_told(result: dict) -> float:
    """Residents in 100 that headline and picture name; 0 where only the direction can be told: a skewed posterior's
    mean may lie outside its interval, or across zero or the smallest worthwhile effect from what is said."""
    att, minimum, falls = result["att_pp"], result["minimum_pp"], result["verdict"] in FALLS
    if result["verdict"] not in (*FALLS, *RISES) or (att["mean"] < 0) != falls:
        return 0.0
    reach, beyond = att["p_fall_minimum" if falls else "p_rise_minimum"], abs(att["mean"]) >= minimum
    inside = att["lower90"] <= att["mean"] <= att["upper90"]
    if not inside or (reach >= CLEAR and not beyond) or (reach < UNLIKELY and beyond):
        return 0.0
    return headline_count(att, minimum_pp=minimum)


def sentence(result: dict, *, lang: str) -> str:
    """The headline in plain words and plain text: what changed, how sure, and against what it is compared."""
    att, size = result["att_pp"], residents_told(result)
    failed = [label(check["name"], lang=lang) for check in result["checks"] if check["status"] == "fail"]
    about = {"verdict": result["verdict"], "minimum": result["minimum_pp"], "needed": result.get("needed") or ""}
    about |= {"likely_fall": att["p_fall"] >= PROBABLE, "likely_rise": att["p_rise"] >= PROBABLE}
    return said("headline", lang, att=att, size=size, failed=failed, unlikely=UNLIKELY, **about)


def odds(result: dict, *, lang: str) -> list[dict]:
    """The chances beside the headline: dicts of `text`, `chance` in words, `percent` 0-100, `kind` fall|rise|within."""
    verdict, att = result["verdict"], result["att_pp"]
    if verdict == "blocked":
        return []
    first, other = ("rise", "fall") if verdict in RISES else ("fall", "rise")
    size = "within" if verdict == "no worthwhile change" else first
    rows = [(size, f"p_{size}_minimum"), (first, f"p_{first}"), (other, f"p_{other}")]
    told = lambda kind, key: said("odds", lang, kind=kind, minimum=key.endswith("minimum") and result["minimum_pp"])
    return [
        {"kind": kind, "text": told(kind, key), "chance": percent(att[key], lang), "percent": whole_percent(att[key])}
        for kind, key in rows
    ]


def next_step(result: dict, *, names: dict, lang: str) -> str:
    """What a council can do with this verdict, and which projects (labels in `names`) cannot be judged yet."""
    unknown = [names.get(p, p) for p, row in result["by_project"].items() if row["verdict"] == "cannot tell"]
    return said("advice", lang, verdict=result["verdict"], unknown=unknown)


def with_outcomes(result: dict, *, lang: str, **others: dict | None) -> dict:
    """The result with `cohesion` and `recorded`, summaries of `cohesion.evaluate` and `recorded.evaluate` as far as the
    city supplies them, each with its verdict, and `outcomes`: what page 1 says of each beside the felt insecurity,
    `together`, whether they point the same way, and a `note` on reporting. What blocks the survey's headline blocks cohesion with it, not the
    register; a summary that only says why it is `not_possible` has that for a verdict."""
    found = {"perceived": result}
    for name, summary in others.items():
        if summary and "not_possible" in summary:
            found[name] = summary | {"verdict": "not possible", "seconds": 0.0}
        elif summary:
            key, minimum = OUTCOMES[name]
            blocked = not sound(summary["diagnostics"]) or (name == "cohesion" and result["verdict"] == "blocked")
            found[name] = summary | {"verdict": decide(summary[key], minimum_pp=minimum, blocked=blocked)}
    seconds = result["seconds"] | {name: found[name]["seconds"] for name in found if name in OUTCOMES}
    seconds["total"] += sum(seconds[name] for name in OUTCOMES if name in seconds)
    called = {name: row["verdict"] for name, row in found.items()}
    moved = dict.fromkeys(OUTCOMES, 0) | {name: (one in RISES) - (one in FALLS) for name, one in called.items()}
    known = [one for one in called.values() if one not in ("cannot tell", "blocked", "not possible")]
    unchanged = known.count("no worthwhile change")
    words = {
        name: {part: said("outcome", lang, name=name, part=part, found=row) for part in ("head", "text")}
        for name, row in found.items()
    }
    together = said("together", lang, **moved, told=len(known), unchanged=unchanged)
    blocked = called.get("recorded") == "blocked"
    note = "" if blocked else found.get("recorded", {}).get("reporting", {}).get("text", "")
    told = {"seconds": seconds, "outcomes": {"told": words, "together": together, "note": note}}
    return result | told | {name: found[name] for name in OUTCOMES if name in found}
