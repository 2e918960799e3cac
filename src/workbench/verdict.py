"""The fixed vocabulary: which verdict holds, how strong the design is, and the one wording of the headline.

Every statement about the size or the chance of an effect on page 1 is made here, so that two of them cannot
disagree. Rule and order: docs/methods.md, "Verdict".
"""

import math

import pandas as pd

from workbench.language import percent, short, translator, whole_percent

CLEAR, PROBABLE, WITHIN, LEARNED, UNLIKELY = 0.9, 0.95, 0.8, 0.7, 0.2
VERDICTS = (
    "blocked",
    "clear fall",
    "clear rise",
    "no worthwhile change",
    "probable fall",
    "probable rise",
    "cannot tell",
)
FALLS, RISES = ("clear fall", "probable fall"), ("clear rise", "probable rise")


def decide(att: dict, *, minimum_pp: float, blocked: bool) -> str:
    """The first verdict that holds for the posterior summary `att` (probabilities 0-1, sd in pp).

    Reads `p_fall`, `p_fall_minimum`, `p_rise`, `p_rise_minimum`, `sd`, and for *no worthwhile change* the chance
    of an effect within the minimum under both priors and the prior sd of the same effect. A missing one of the
    latter means that this verdict cannot be given, not that it holds. ValueError unless `minimum_pp` > 0.
    """
    if not minimum_pp > 0:
        raise ValueError(f"minimum_pp must be above zero, not {minimum_pp}")
    within = min(_known(att, "p_within_minimum"), _known(att, "p_within_minimum_wide"))
    learned = att["sd"] <= LEARNED * _known(att, "prior_sd")
    rules = {
        "blocked": blocked,
        "clear fall": att["p_fall_minimum"] >= CLEAR,
        "clear rise": att["p_rise_minimum"] >= CLEAR,
        "no worthwhile change": within >= WITHIN and learned,
        "probable fall": att["p_fall"] >= PROBABLE,
        "probable rise": att["p_rise"] >= PROBABLE,
        "cannot tell": True,
    }
    return next(verdict for verdict in VERDICTS if rules[verdict])


def _known(att: dict, key: str) -> float:
    value = att.get(key)
    return 0.0 if value is None or math.isnan(value) else float(value)


def grade(design_level: int, checks: pd.DataFrame) -> int:
    """Evidence grade 1-5: the Maryland level of the design, less one step if any check is not possible
    (however many), and 1 if any check fails."""
    status = set(checks["status"])
    level = int(design_level) - ("not possible" in status)
    return 1 if "fail" in status else min(max(level, 1), 5)


def label(verdict: str, *, lang: str) -> str:
    """Short name of a verdict, lower case, for a pill or a cell of a table."""
    _ = translator(lang).gettext
    return {
        "blocked": _("blocked"),
        "clear fall": _("clear fall"),
        "clear rise": _("clear rise"),
        "no worthwhile change": _("no worthwhile change"),
        "probable fall": _("probable fall"),
        "probable rise": _("probable rise"),
        "cannot tell": _("cannot tell"),
    }[verdict]


def check_label(name: str, *, lang: str) -> str:
    """Name of a check in `lang`; the name itself for a check that has no translation."""
    _ = translator(lang).gettext
    return {
        "data contract": _("data contract"),
        "wave break": _("wave break"),
        "design grade": _("design grade"),
        "baseline gap": _("baseline gap"),
        "composition": _("composition"),
        "prior predictive": _("prior predictive"),
        "convergence": _("convergence"),
        "posterior predictive": _("posterior predictive"),
        "pre-trends": _("pre-trends"),
        "linear scale": _("linear scale"),
        "plausibility": _("plausibility"),
        "effective n": _("effective n"),
        "shock correlation": _("shock correlation"),
        "prior panel": _("prior panel"),
        "honest DiD": _("honest DiD"),
        "placebo date": _("placebo date"),
        "placebo areas": _("placebo areas"),
        "leave one out": _("leave one out"),
        "spillover": _("spillover"),
        "scale panel": _("scale panel"),
        "form panel": _("form panel"),
    }.get(name, name)


def status_label(status: str, *, lang: str) -> str:
    """`pass`, `warn`, `fail` or `not possible` in `lang`."""
    _ = translator(lang).gettext
    return {"pass": _("pass"), "warn": _("warn"), "fail": _("fail"), "not possible": _("not possible")}[status]


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


def sentence(result: dict, *, lang: str) -> str:
    """The headline in plain words and plain text: what changed, how sure, and against what it is compared."""
    verdict, att = result["verdict"], result.get("att_pp")
    if verdict == "blocked":
        return _blocked(result, lang=lang)
    say = {"no worthwhile change": _no_worthwhile_change, "cannot tell": _cannot_tell}.get(verdict, _moved)
    return say(result, att, lang=lang)


def _blocked(result: dict, *, lang: str) -> str:
    _ = translator(lang).gettext
    failed = [check_label(c["name"], lang=lang) for c in result["checks"] if c["status"] == "fail"]
    return _("No verdict: these data cannot show what the projects did. Failed check: {checks}.").format(
        checks=", ".join(failed) or "?"
    )


def _cannot_tell(result: dict, att: dict, *, lang: str) -> str:
    _ = translator(lang).gettext
    text = _(
        "We cannot tell from these data whether the projects changed how safe people feel: out of 100 residents of "
        "the project areas, the change in how many feel unsafe lies between {low} and {high} (90 % interval)."
    )
    text = text.format(low=change(att["lower90"], lang=lang), high=change(att["upper90"], lang=lang))
    return f"{text} {result.get('needed') or ''}".strip()


def _no_worthwhile_change(result: dict, att: dict, *, lang: str) -> str:
    _ = translator(lang).gettext
    text = _(
        "The projects made no difference that counts as worthwhile: the change in how many residents feel unsafe is "
        "probably smaller than {minimum} in 100 ({chance}; 90 % interval: {low} to {high})."
    ).format(
        minimum=short(result["minimum_pp"], lang),
        chance=percent(_within(att), lang),
        low=change(att["lower90"], lang=lang),
        high=change(att["upper90"], lang=lang),
    )
    if att["p_fall"] >= PROBABLE:
        text += " " + _("A fall smaller than that is likely.")
    elif att["p_rise"] >= PROBABLE:
        text += " " + _("A rise smaller than that is likely.")
    return text


def _within(att: dict) -> float:
    return att.get("p_within_minimum", 0.0)


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


def _moved(result: dict, att: dict, *, lang: str) -> str:
    falls = result["verdict"] in FALLS
    minimum, size = result["minimum_pp"], residents_told(result)
    pattern = (_fall_pattern if falls else _rise_pattern)(size, lang)
    first = pattern.format(
        n=short(size, lang), low=change(att["lower90"], lang=lang), high=change(att["upper90"], lang=lang)
    )
    reach = att["p_fall_minimum"] if falls else att["p_rise_minimum"]
    second = (_fall_reach if falls else _rise_reach)(result["verdict"], reach, lang)
    return f"{first} {second.format(minimum=short(minimum, lang), chance=percent(reach, lang))}"


def _fall_pattern(size: float, lang: str) -> str:
    _ = translator(lang).gettext
    if size == 0:
        return _(
            "In the project areas fewer residents feel unsafe than would have without the projects "
            "(90 % interval, out of 100: {low} to {high})."
        )
    if size == 1:
        return _(
            "In the project areas about 1 resident in 100 fewer feels unsafe than would have without the projects "
            "(90 % interval: {low} to {high})."
        )
    return _(
        "In the project areas about {n} residents in 100 fewer feel unsafe than would have without the projects "
        "(90 % interval: {low} to {high})."
    )


def _rise_pattern(size: float, lang: str) -> str:
    _ = translator(lang).gettext
    if size == 0:
        return _(
            "In the project areas more residents feel unsafe than would have without the projects "
            "(90 % interval, out of 100: {low} to {high})."
        )
    if size == 1:
        return _(
            "In the project areas about 1 resident in 100 more feels unsafe than would have without the projects "
            "(90 % interval: {low} to {high})."
        )
    return _(
        "In the project areas about {n} residents in 100 more feel unsafe than would have without the projects "
        "(90 % interval: {low} to {high})."
    )


def _fall_reach(verdict: str, reach: float, lang: str) -> str:
    _ = translator(lang).gettext
    if verdict == "clear fall":
        return _("The fall very likely exceeds the {minimum} in 100 that counts as worthwhile ({chance}).")
    if reach < UNLIKELY:
        return _(
            "It probably stays short of the {minimum} in 100 that counts as worthwhile (chance of reaching it: {chance})."
        )
    return _("Whether it reaches the {minimum} in 100 that counts as worthwhile is not sure ({chance}).")


def _rise_reach(verdict: str, _reach: float, lang: str) -> str:
    _ = translator(lang).gettext
    if verdict == "clear rise":
        return _("That is harm: people feel less safe, and the rise very likely exceeds {minimum} in 100 ({chance}).")
    return _("That points to harm, not benefit. Whether the rise exceeds {minimum} in 100 is not sure ({chance}).")


def odds(result: dict, *, lang: str) -> list[dict]:
    """The chances shown beside the headline: dicts of `text`, `chance` (in words), `percent` (0-100), `kind` fall|rise|within."""
    if result["verdict"] == "blocked":
        return []
    _ = translator(lang).gettext
    att, minimum = result["att_pp"], short(result["minimum_pp"], lang)
    fell, rose = ("fall", _("Fell at all"), att["p_fall"]), ("rise", _("Rose at all"), att["p_rise"])
    rows = {
        "fall": [("fall", _("Fell by more than {minimum} in 100"), att["p_fall_minimum"]), fell, rose],
        "rise": [("rise", _("Rose by more than {minimum} in 100"), att["p_rise_minimum"]), rose, fell],
        "within": [("within", _("Changed by less than {minimum} in 100"), _within(att)), fell, rose],
    }
    lead = {"no worthwhile change": "within"}.get(result["verdict"], "rise" if result["verdict"] in RISES else "fall")
    return [
        {
            "kind": kind,
            "text": text.format(minimum=minimum),
            "chance": percent(chance, lang),
            "percent": whole_percent(chance),
        }
        for kind, text, chance in rows[lead]
    ]


def next_step(result: dict, *, names: dict, lang: str) -> str:
    """What a council can do with this verdict, and which projects (labels in `names`) cannot be judged yet."""
    _ = translator(lang).gettext
    verdict = result["verdict"]
    text = {
        "blocked": _("Mend what the failed check names, or ask for a survey without that flaw, and evaluate again."),
        "clear fall": _("Keep the projects and survey once more, to see whether the fall lasts."),
        "probable fall": _("Keep the projects for now and survey once more before deciding for good."),
        "no worthwhile change": _(
            "Where residents still feel unsafe, look for what the projects lack before paying for more of the same."
        ),
        "probable rise": _("Do not extend the projects before another survey, and ask residents what changed."),
        "clear rise": _("Stop and find out why: ask residents what changed, and what else happened in these areas."),
        "cannot tell": _("Decide nothing on this result alone: neither benefit nor harm is ruled out."),
    }[verdict]
    unknown = [
        names.get(project, project)
        for project, row in result.get("by_project", {}).items()
        if row["verdict"] == "cannot tell"
    ]
    if verdict not in ("cannot tell", "blocked") and unknown:
        text += " " + _("Cannot be judged one by one yet: {projects}.").format(projects=", ".join(unknown))
    return text
