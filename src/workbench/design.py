"""Checks of what a city supplied, before any model: answers where they are needed, breaks of the survey, the design.

Each check returns a status and one sentence in the reader's language; see `workbench.checks`.
"""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from workbench import linear
from workbench.language import in_points, number, points, translator
from workbench.panel import answers_told
from workbench.schema import STRATA

FAR_APART = 10.0  # pp
OTHERS, OTHERS_CHANCE, SHIFTED_CHANCE = 15.0, 0.001, 0.02  # points of a level; two-sided p over all levels
UNLIKE = 1.0  # points by which respondents must differ from residents to be mentioned


def data_contract(city, panel, *, lang) -> tuple[str, str]:
    """Whether treated areas were asked before and in the window: fails when none was, warns about the others.

    Warns too about what `build_panel` had to leave out; notices on the files alone are only counted.
    """
    _ = translator(lang).gettext
    data, sizes = linear.summaries(panel), panel.sizes
    complete = data["free"].any(1) & data["window"].any(1)
    if not complete.any():
        return "fail", _("No project area has answers both before its project and in the waves that count.")
    text = _("The tables of {areas} areas and {waves} waves keep the contract: {answers}; notices on the files: {n}.")
    about = {"areas": sizes["area"], "waves": sizes["wave"], "n": len(city.notices)}
    parts = [text.format(answers=answers_told(panel, lang=lang), **about)]
    lacking = panel["area_name"].values[panel["treated"].values & ~complete]
    if len(lacking):
        text = _("Without answers before the project or in the waves that count, so that the model guesses: {names}.")
        parts.append(text.format(names=", ".join(lacking)))
    parts += [note for note in panel.attrs["notices"].splitlines() if note not in city.notices]
    return ("warn" if len(parts) > 1 else "pass"), " ".join(parts)


def wave_break(city, panel, *, lang) -> tuple[str, str]:
    """Fails when a break touched another share of the treated than of the comparison areas; see `breaks`."""
    _ = translator(lang).gettext
    found, data = breaks(city, panel), linear.summaries(panel)
    treated = data["treated"]
    for wave, hit in found.items():
        if not np.isclose(hit[treated].mean(), hit[~treated].mean()):
            counts = {"hit": hit[treated].sum(), "treated": treated.sum()}
            counts |= {"hit_comparison": hit[~treated].sum(), "comparison": (~treated).sum()}
            return "fail", _(
                "The break in wave {wave} touched {hit} of {treated} project areas and {hit_comparison} of {comparison} "
                "comparison areas: a change of survey cannot be told from an effect."
            ).format(wave=wave, **counts)
    if not found:
        text = _("No break and no change of mode or questionnaire is declared in these {n} waves.")
        return "pass", text.format(n=panel.sizes["wave"])
    both = data["free"].any(1) & data["window"].any(1)
    new, order = panel["wave"].isin(list(found)).values, np.arange(panel.sizes["wave"])
    last = np.where(data["free"], order, -1).max(1, keepdims=True)  # an area's last wave before, first that counts
    first = np.where(data["window"], order, len(order)).min(1, keepdims=True)
    if (new & (last < order) & (order <= first))[both].any():
        return "warn", _(
            "The survey changed just when projects began to count (wave {waves}); it changed alike everywhere, "
            "but the effect then rests on both groups of areas answering the new survey alike."
        ).format(waves=", ".join(found))
    text = _("The survey changed in wave {waves}, alike everywhere and not when projects began to count.")
    return "pass", text.format(waves=", ".join(found))


def breaks(city, panel) -> dict[str, np.ndarray]:
    """First wave of the panel after each break -> the areas it touched (bool by area); breaks of no area left out.

    A break is declared (`known_break`, `break_areas`) or seen as a change of mode or questionnaire since the wave before.
    """
    table, areas, found = city.waves, panel["area"].values, {}
    said = table[["mode", "questionnaire_version"]].apply(lambda text: text.str.casefold())
    changed = (said.ne(said.shift()) & said.ne("") & said.shift().ne("")).any(axis=1)
    inside = table["wave"].isin(panel["wave"].values).to_numpy()
    for at in np.flatnonzero(table["known_break"] | table["break_areas"].ne("") | changed):
        only = [area.strip() for area in table["break_areas"].iloc[at].split(";") if area.strip()]
        hit = np.isin(areas, only) if only else np.ones(len(areas), bool)
        if inside[:at].any() and inside[at:].any() and hit.any():
            wave = str(table["wave"].iloc[at + inside[at:].argmax()])
            found[wave] = found.get(wave, False) | hit
    return found


def design_level(city, panel) -> int:
    """Maryland scale: 5 chance decided, 4 several areas each side asked twice before, 3 before-after with comparison, else 2.

    Source: Farrington, Gottfredson, Sherman and Welsh (2002), The Maryland Scientific Methods Scale; the numbers of
    areas and waves that make a 4 are ours.
    """
    data = linear.summaries(panel)
    asked, usable = data["free"].sum(1), data["treated"] & data["window"].any(1)
    comparison = (~data["treated"] & (asked >= 2)).sum()
    if not comparison or not asked[usable].any():
        return 2
    rows = city.projects[city.projects["project"].isin(panel["project"].values)]
    rows = rows[rows["area"].isin(panel["area"].values)]
    if "assignment" in rows and (rows["assignment"] == "random").all():
        return 5
    return 4 if (asked[usable] >= 2).sum() >= 4 and comparison >= 4 else 3


def design_grade(panel, level, *, lang) -> tuple[str, str]:
    """The design level in words; warns below 3."""
    _ = translator(lang).gettext
    what = {
        5: _("chance decided which areas got a project"),
        4: _("before and after, with other areas to compare with, asked at least twice before"),
        3: _("before and after, with other areas to compare with"),
        2: _("there are no answers before and after both in project areas and in others"),
    }[level]
    text = _("Design {level} of 5: {what} (project areas: {treated}, others: {others}).")
    treated = linear.contrasted(panel)
    text = text.format(level=level, what=what, treated=treated.sum(), others=(~treated).sum())
    return ("pass" if level >= 3 else "warn"), text


def baseline_gap(panel, *, lang) -> tuple[str, str]:
    """Percent unsafe before, treated minus comparison in the same waves; warns above 10 pp."""
    _ = translator(lang).gettext
    shares = before(panel)
    if shares is None:
        return "not possible", _("No wave tells how many felt unsafe before the projects, here and elsewhere.")
    (treated, others), gap = (number(share, lang) for share in shares), shares[0] - shares[1]
    text = _(
        "Before the projects {treated} % felt unsafe in project areas and {others} % in the others ({gap} points)."
    ).format(treated=treated, others=others, gap=points(gap, lang))
    if abs(gap) <= FAR_APART:
        return "pass", text
    return "warn", text + " " + _("So far apart, much depends on the scale: see the check of the linear scale.")


def before(panel) -> tuple[float, float] | None:
    """Percent unsafe in treated areas before and in comparison areas, waves weighted by the treated areas' answers."""
    data = linear.summaries(panel)
    known = np.where(data["free"] & np.isfinite(data["percent"]), data["answers"], 0.0)
    weight = np.stack([known * group[:, None] for group in (data["treated"], ~data["treated"])])
    size = weight.sum(1)
    both = (size > 0).all(0)
    if not both.any():
        return None
    share = (weight * np.nan_to_num(data["percent"])).sum(1)[:, both] / size[:, both]
    return tuple(np.average(share, axis=1, weights=size[0, both]).tolist())


def composition(panel, posterior, *, lang) -> tuple[str, str]:
    """Whether other people answered in treated areas, compared with the others, from before to the window.

    Shift of each level of sex, age and education in points, by imputation as `linear.imputed`, with the error of
    effective counts (larger when the areas without a project say so). Warns at p < 0.02 and fails when a level shifted by
    more than 15 points at p < 0.001, both over the number of levels. Adds by how much respondents differ from residents.
    """
    _ = translator(lang).gettext
    counts = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values
    levels, data = _levels(panel, _), linear.summaries(panel)
    mix = counts / np.maximum(counts.sum(-1, keepdims=True), 1e-9)
    shifts = {level: _shift(data, mix @ inside) for level, inside in levels.items()}
    shifts = {level: (100 * size, 2 * norm.sf(abs(size) / se)) for level, (size, se) in shifts.items() if se > 0}
    if not shifts:
        return "not possible", _("Sex, age and education of those who answered before and after are not known.")
    far = [k for k, (size, p) in shifts.items() if abs(size) > OTHERS and p * len(shifts) < OTHERS_CHANCE]
    most = min(far or shifts, key=lambda level: shifts[level][1])
    status = "fail" if far else "warn" if shifts[most][1] * len(shifts) < SHIFTED_CHANCE else "pass"
    text = {
        "fail": _(
            "Other people were asked than before: compared with the other areas, the share of {level} among those who "
            "answered in project areas moved by {shift} points, so that before and after cannot be compared."
        ),
        "warn": _(
            "Compared with the other areas, the share of {level} among those who answered in project areas moved by {shift} "
            "points, more than chance explains; left alone that would change the share unsafe by {change} points, but the "
            "model allows for it."
        ),
        "pass": _(
            "As far as can be told, the same kinds of people answered before and after: compared with the other areas, no "
            "share moved by more than chance explains (most: {level}, {shift} points)."
        ),
    }[status]
    change = 0.0
    if "strata" in posterior:
        base = float(posterior["latent"].mean(("chain", "draw")).where(panel["treated"]).mean())
        change = 100 * _shift(data, mix @ expit(base + posterior["strata"].mean(("chain", "draw")).values))[0]
    text = text.format(level=most, **in_points(lang, shift=shifts[most][0], change=change))
    level, gap = _unlike(panel, counts.sum(1), levels)
    if abs(gap) < UNLIKE:
        return status, text
    return status, text + " " + _(
        "Respondents in project areas differ from residents, most in {level} ({gap} points); the effect is that on residents."
    ).format(level=level, gap=points(gap, lang))


def _levels(panel, _) -> dict[str, np.ndarray]:
    """Each level in words -> the strata it holds (0 or 1); of two levels one, the other mirrors it."""
    words, found = {"sex": _("sex"), "age_band": _("age"), "education": _("education")}, {}
    for name in (name for name in STRATA if name in panel.coords):
        values = np.unique(panel[name].values)
        for value in values[len(values) == 2 :]:
            found[f"{words[name]} {value}"] = (panel[name].values == value).astype(float)
    return found


def _shift(data, share) -> tuple[float, float]:
    """How far a share (0-1; area, wave) of the answers moved in treated areas beyond the others, and its error."""
    n, no_shock = data["answers"], {"sd_shock": 0.0, "rho": 0.5}
    about = {"free": data["free"], "window": data["window"]}
    size, se = linear.effect_of(data | {"latent": share, "information": n}, **about, **no_shock)
    inverse = linear.precision(n, data["free"], year=data["year"], **no_shock)
    *_rest, left, df = linear.regress(share, inverse, np.zeros((*n.shape, 0)))
    mean = np.average(share, weights=n)
    return size, se * np.sqrt(max(mean * (1 - mean), left / df if df > 0 else 0.0))


def _unlike(panel, counts, levels) -> tuple[str, float]:
    """The level in which respondents (area, stratum) differ most from residents of treated areas, and by how many points."""
    treated = panel["treated"].values
    people, asked = panel["population"].transpose("area", "stratum").values[treated], counts[treated]
    asked = asked / asked.sum(1, keepdims=True) * people.sum(1, keepdims=True)
    more = 100 * (asked - people).sum(0) / people.sum()
    return max(((level, float(more @ inside)) for level, inside in levels.items()), key=lambda found: abs(found[1]))
