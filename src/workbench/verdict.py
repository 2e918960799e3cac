"""The fixed vocabulary: which verdict holds, how strong the design is, and the one wording of the headline.

Every statement about the size or the chance of an effect on page 1 is made here, so that two of them cannot
disagree. Rule and order: docs/methods.md, "Verdict".
"""

import math

import numpy as np
import pandas as pd

from workbench.language import N_, percent, short, translator, whole_percent

CLEAR, PROBABLE, WITHIN, LEARNED, UNLIKELY = 0.9, 0.95, 0.8, 0.7, 0.2
ADVICE = {  # verdict -> what a council can do with it
    N_("blocked"): N_("Mend what the failed check names, or ask for a survey without that flaw, and evaluate again."),
    N_("clear fall"): N_("Keep the projects and survey once more, to see whether the fall lasts."),
    N_("clear rise"): N_("Stop and find out why: ask residents what changed, and what else happened in these areas."),
    N_("no worthwhile change"): N_(
        "Where residents still feel unsafe, look for what the projects lack before paying for more of the same."
    ),
    N_("probable fall"): N_("Keep the projects for now and survey once more before deciding for good."),
    N_("probable rise"): N_("Do not extend the projects before another survey, and ask residents what changed."),
    N_("cannot tell"): N_("Decide nothing on this result alone: neither benefit nor harm is ruled out."),
}
VERDICTS, STATUSES = tuple(ADVICE), (N_("pass"), N_("warn"), N_("fail"), N_("not possible"))
FALLS, RISES = ("clear fall", "probable fall"), ("clear rise", "probable rise")
MOVED = {  # direction -> without a number, for 1 resident in 100, for any other number
    "fall": (
        N_("fewer out of every 100 residents feel unsafe"),
        N_("about 1 resident in 100 fewer feels unsafe"),
        N_("about {n} residents in 100 fewer feel unsafe"),
    ),
    "rise": (
        N_("more out of every 100 residents feel unsafe"),
        N_("about 1 resident in 100 more feels unsafe"),
        N_("about {n} residents in 100 more feel unsafe"),
    ),
}
REACH = {
    "clear fall": N_("The fall very likely exceeds the {minimum} in 100 that counts as worthwhile ({chance})."),
    "probable fall": N_("Whether it reaches the {minimum} in 100 that counts as worthwhile is not sure ({chance})."),
    "clear rise": N_("That is harm: people feel less safe. The rise very likely exceeds {minimum} in 100 ({chance})."),
    "probable rise": N_(
        "That points to harm, not benefit. Whether it exceeds {minimum} in 100 is not sure ({chance})."
    ),
}


def decide(att: dict, *, minimum_pp: float, blocked: bool) -> str:
    """The first verdict that holds for the posterior summary `att` (probabilities 0-1, sd in pp).

    Reads `p_fall`, `p_fall_minimum`, `p_rise`, `p_rise_minimum`, `sd`, and for *no worthwhile change* the chance
    of an effect within the minimum under both priors and the prior sd of the same effect. A missing one of the
    latter means that this verdict cannot be given, not that it holds. ValueError unless `minimum_pp` > 0.
    """
    if not minimum_pp > 0:
        raise ValueError(f"minimum_pp must be above zero, not {minimum_pp}")
    known = lambda key: float(np.nan_to_num(att.get(key) or 0.0))
    within = min(known("p_within_minimum"), known("p_within_minimum_wide"))
    rules = {
        "blocked": blocked,
        "clear fall": att["p_fall_minimum"] >= CLEAR,
        "clear rise": att["p_rise_minimum"] >= CLEAR,
        "no worthwhile change": within >= WITHIN and att["sd"] <= LEARNED * known("prior_sd"),
        "probable fall": att["p_fall"] >= PROBABLE,
        "probable rise": att["p_rise"] >= PROBABLE,
        "cannot tell": True,
    }
    return next(verdict for verdict, holds in rules.items() if holds)


def grade(design_level: int, checks: pd.DataFrame) -> int:
    """Evidence grade 1-5: the Maryland level of the design, less one step if any check is not possible
    (however many), and 1 if any check fails."""
    status = set(checks["status"])
    return 1 if "fail" in status else max(int(design_level) - ("not possible" in status), 1)


def label(word: str, *, lang: str) -> str:
    """A verdict, a status or the name of a check in `lang`, for a pill or a cell; as it is where it has no translation."""
    return translator(lang).gettext(word)


def change(points: float, *, lang: str) -> str:
    """A change in residents out of 100 in words: `5.6 fewer`, `0.2 more`, `no change`."""
    _ = translator(lang).gettext
    if round(points, 1) == 0:
        return _("no change")
    return (_("{n} fewer") if points < 0 else _("{n} more")).format(n=short(abs(points), lang))


def headline_count(att: dict, *, minimum_pp: float) -> float:
    """Residents in 100 for the headline: a whole number, or one decimal where rounding would say something else.

    A whole number may not turn an effect into none, leave its interval, or cross the smallest worthwhile effect.
    """
    size, whole = abs(att["mean"]), math.floor(abs(att["mean"]) + 0.5)
    inside = att["lower90"] <= math.copysign(whole, att["mean"]) <= att["upper90"]
    misleading = abs(whole - size) > 0.25 * size or (whole >= minimum_pp) != (size >= minimum_pp) or not inside
    return round(size, 1) if misleading else float(whole)


def residents_told(result: dict) -> float:
    """Residents in 100 that headline and picture name for a fall or a rise; 0 where only its direction can be told.

    A skewed posterior can put its mean on the other side of zero, outside its interval, or on the other side of the
    smallest worthwhile effect than what is said about that: then no number is told.
    """
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
    _ = translator(lang).gettext
    if result["verdict"] == "blocked":
        failed = ", ".join(label(check["name"], lang=lang) for check in result["checks"] if check["status"] == "fail")
        return _("No verdict: these data cannot show what the projects did. Failed check: {checks}.").format(
            checks=failed
        )
    att, minimum = result["att_pp"], short(result["minimum_pp"], lang)
    ends = {"low": change(att["lower90"], lang=lang), "high": change(att["upper90"], lang=lang)}
    if result["verdict"] == "cannot tell":
        text = _(
            "We cannot tell from these data whether the projects changed how safe people feel: out of 100 residents of "
            "the project areas, the change in how many feel unsafe lies between {low} and {high} (90 % interval)."
        )
        return f"{text.format(**ends)} {result.get('needed') or ''}".strip()
    if result["verdict"] in REACH:
        return _moved(result, ends, minimum, lang)
    text = _(
        "The projects made no difference that counts as worthwhile: the change in how many residents feel unsafe is "
        "probably smaller than {minimum} in 100 ({chance}; 90 % interval: {low} to {high})."
    ).format(minimum=minimum, chance=percent(att["p_within_minimum"], lang), **ends)
    if att["p_fall"] >= PROBABLE:
        text += " " + _("A fall smaller than that is likely.")
    elif att["p_rise"] >= PROBABLE:
        text += " " + _("A rise smaller than that is likely.")
    return text


def _moved(result: dict, ends: dict, minimum: str, lang: str) -> str:
    _ = translator(lang).gettext
    verdict, size = result["verdict"], residents_told(result)
    direction = "fall" if verdict in FALLS else "rise"
    text = _("In the project areas {change} than would have without the projects (90 % interval: {low} to {high}).")
    none, one, many = MOVED[direction]
    words = _({0: none, 1: one}.get(size, many)).format(n=short(size, lang))
    chance, reach = result["att_pp"][f"p_{direction}_minimum"], _(REACH[verdict])
    if direction == "fall" and chance < UNLIKELY:
        reach = _("It probably stays short of the {minimum} in 100 that counts as worthwhile ({chance} to reach it).")
    return f"{text} {reach}".format(change=words, minimum=minimum, chance=percent(chance, lang), **ends)


def odds(result: dict, *, lang: str) -> list[dict]:
    """The chances beside the headline: dicts of `text`, `chance` (in words), `percent` (0-100), `kind` fall|rise|within."""
    if result["verdict"] == "blocked":
        return []
    _ = translator(lang).gettext
    att, minimum = result["att_pp"], short(result["minimum_pp"], lang)
    rows = [("fall", _("Fell at all"), att["p_fall"]), ("rise", _("Rose at all"), att["p_rise"])]
    if result["verdict"] in RISES:
        rows = [("rise", _("Rose by more than {minimum} in 100"), att["p_rise_minimum"]), *rows[::-1]]
    elif result["verdict"] == "no worthwhile change":
        rows = [("within", _("Changed by less than {minimum} in 100"), att["p_within_minimum"]), *rows]
    else:
        rows = [("fall", _("Fell by more than {minimum} in 100"), att["p_fall_minimum"]), *rows]
    return [
        {"kind": kind, "text": text.format(minimum=minimum), "chance": percent(p, lang), "percent": whole_percent(p)}
        for kind, text, p in rows
    ]


def next_step(result: dict, *, names: dict, lang: str) -> str:
    """What a council can do with this verdict, and which projects (labels in `names`) cannot be judged yet."""
    _ = translator(lang).gettext
    verdict, by_project = result["verdict"], result["by_project"]
    unknown = [names.get(key, key) for key, row in by_project.items() if row["verdict"] == "cannot tell"]
    text = _(ADVICE[verdict])
    if verdict in ("cannot tell", "blocked") or not unknown:
        return text
    return f"{text} " + _("Cannot be judged one by one yet: {projects}.").format(projects=", ".join(unknown))
