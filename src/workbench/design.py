"""Checks of what a city supplied, before any model: answers where they are needed, breaks of the survey, the design.

Each check returns a status and one sentence in the reader's language; see `workbench.checks`.
"""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from workbench import linear
from workbench.language import number, points, translator
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
    data = linear.summaries(panel)
    complete = data["free"].any(1) & data["window"].any(1)
    if not complete.any():
        return "fail", _("No project area has answers both before its project and in the waves that count.")
    text = _(
        "The tables of {areas} areas and {waves} waves keep to the contract: {answers}; notices on the files: {n}."
    )
    sizes = {"areas": panel.sizes["area"], "waves": panel.sizes["wave"], "n": len(city.notices)}
    parts = [text.format(answers=answers_told(panel, lang=lang), **sizes)]
    lacking = panel["treated"].values & ~complete
    if lacking.any():
        text = _("Without answers before the project or in the waves that count, so that the model guesses: {names}.")
        parts.append(text.format(names=", ".join(panel["area_name"].values[lacking])))
    parts += [note for note in panel.attrs["notices"].splitlines() if note not in city.notices]
    return ("warn" if len(parts) > 1 else "pass"), " ".join(parts)


def wave_break(city, panel, *, lang) -> tuple[str, str]:
    """Fails when a break touched another share of the treated than of the comparison areas; see `breaks`."""
    _ = translator(lang).gettext
    found, treated = breaks(city, panel), linear.contrasted(panel)
    for wave, hit in found.items():
        if not np.isclose(hit[treated].mean(), hit[~treated].mean()):
            text = _(
                "The break in wave {wave} touched {hit} of {treated} project areas and {hit_comparison} of {comparison} "
                "comparison areas: a change of survey cannot be told from an effect."
            )
            counts = {"hit": hit[treated].sum(), "treated": treated.sum()}
            counts |= {"hit_comparison": hit[~treated].sum(), "comparison": (~treated).sum()}
            return "fail", text.format(wave=wave, **counts)
    if not found:
        text = _("No break and no change of mode or questionnaire is declared in these {n} waves.")
        return "pass", text.format(n=panel.sizes["wave"])
    waves, data = ", ".join(found), linear.summaries(panel)
    order = list(panel["wave"].values)
    for free, window in zip(data["free"], data["window"], strict=True):
        if free.any() and window.any():
            last, first = np.flatnonzero(free)[-1], np.flatnonzero(window)[0]
            if any(last < order.index(wave) <= first for wave in found):
                text = _(
                    "The survey changed just when projects began to count (wave {waves}); it changed alike everywhere, "
                    "but the effect then rests on both groups of areas answering the new survey alike."
                )
                return "warn", text.format(waves=waves)
    text = _(
        "The survey changed in wave {waves}, alike in project and comparison areas and not when projects began to count."
    )
    return "pass", text.format(waves=waves)


def breaks(city, panel) -> dict[str, np.ndarray]:
    """First wave of the panel after each break -> the areas it touched (bool by area); breaks of no area left out.

    A break is declared (`known_break`, `break_areas`) or seen as a change of mode or questionnaire since the wave before.
    """
    table, areas, found = city.waves, panel["area"].values, {}
    said = table[["mode", "questionnaire_version"]].apply(lambda text: text.str.casefold())
    changed = (said.ne(said.shift()) & said.ne("") & said.shift().ne("")).any(axis=1)
    inside = table["wave"].isin(panel["wave"].values).to_numpy()
    for at in np.flatnonzero(table["known_break"] | table["break_areas"].ne("") | changed):
        if not (inside[:at].any() and inside[at:].any()):
            continue
        only = [area.strip() for area in table["break_areas"].iloc[at].split(";") if area.strip()]
        hit = np.isin(areas, only) if only else np.ones(len(areas), bool)
        wave = str(table["wave"].iloc[at + inside[at:].argmax()])
        if hit.any():
            found[wave] = found.get(wave, False) | hit
    return found


def design_level(city, panel) -> int:
    """Maryland scale: 5 chance decided, 4 several areas each side asked twice before, 3 before-after with comparison, else 2.

    Source: Farrington, Gottfredson, Sherman and Welsh (2002), The Maryland Scientific Methods Scale; the numbers of
    areas and waves that make a 4 are ours.
    """
    data = linear.summaries(panel)
    treated, asked = data["treated"], data["free"].sum(1)
    comparison = int((~treated & (asked >= 2)).sum())
    usable = treated & data["window"].any(1)
    if not comparison or not (usable & (asked >= 1)).any():
        return 2
    rows = city.projects[city.projects["project"].isin(panel["project"].values)]
    rows = rows[rows["area"].isin(panel["area"].values)]
    if "assignment" in rows and (rows["assignment"] == "random").all():
        return 5
    return 4 if (usable & (asked >= 2)).sum() >= 4 and comparison >= 4 else 3


def design_grade(panel, level, *, lang) -> tuple[str, str]:
    """The design level in words; warns below 3."""
    _ = translator(lang).gettext
    text = {
        5: _("Design 5 of 5: chance decided which areas got a project (project areas: {treated}, others: {others})."),
        4: _(
            "Design 4 of 5: before and after in {treated} project areas and {others} others, asked at least twice before."
        ),
        3: _(
            "Design 3 of 5: before and after, with other areas to compare with (project areas: {treated}, others: {others})."
        ),
        2: _(
            "Design 2 of 5: there are no answers before and after both in project areas ({treated}) and in others ({others})."
        ),
    }[level]
    treated = linear.contrasted(panel)
    return ("pass" if level >= 3 else "warn"), text.format(treated=treated.sum(), others=(~treated).sum())


def baseline_gap(panel, *, lang) -> tuple[str, str]:
    """Percent unsafe before, treated minus comparison in the same waves; warns above 10 pp."""
    _ = translator(lang).gettext
    shares = before(panel)
    if shares is None:
        return "not possible", _("No wave tells how many felt unsafe before the projects, here and elsewhere.")
    gap = shares[0] - shares[1]
    text = _(
        "Before the projects {treated} % felt unsafe in project areas and {others} % in the others ({gap} points)."
    )
    text = text.format(treated=number(shares[0], lang), others=number(shares[1], lang), gap=points(gap, lang))
    if abs(gap) <= FAR_APART:
        return "pass", text
    return "warn", text + " " + _(
        "So far apart, much depends on the scale of comparison: see the check of the linear scale."
    )


def before(panel) -> tuple[float, float] | None:
    """Percent unsafe in treated areas before and in comparison areas, waves weighted by the treated areas' answers."""
    data = linear.summaries(panel)
    n = panel["counts"].sum(("stratum", "answer")).transpose("area", "wave").values
    known = np.where(data["free"] & np.isfinite(data["percent"]), n, 0.0)
    weight = np.stack([known * group[:, None] for group in (data["treated"], ~data["treated"])])
    size = weight.sum(1)
    both = (size > 0).all(0)
    if not both.any():
        return None
    share = (weight * np.nan_to_num(data["percent"])).sum(1) / np.maximum(size, 1e-9)
    return tuple(np.average(share[:, both], axis=1, weights=size[0, both]).tolist())


def composition(panel, posterior, *, lang) -> tuple[str, str]:
    """Whether other people answered in treated areas, compared with the others, from before to the window.

    Shift of each level of sex, age and education in points, by imputation as `linear.imputed`, with the error of
    effective counts (larger when the areas without a project say so). Warns at p < 0.02 and fails when a level shifted by
    more than 15 points at p < 0.001, both over the number of levels. Adds by how much respondents differ from residents.
    """
    _ = translator(lang).gettext
    counts = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values
    levels, n, data = _levels(panel, _), counts.sum(-1), linear.summaries(panel)
    mix = counts / np.maximum(n, 1e-9)[..., None]
    shifts = {level: _shift(data, mix @ inside, n) for level, inside in levels.items()}
    shifts = {level: (100 * size, abs(size) / se) for level, (size, se) in shifts.items() if se > 0}
    if not shifts:
        return "not possible", _(
            "Sex, age or education of those who answered before and after is not known: whether other people were asked "
            "cannot be checked."
        )
    chance = {level: 2 * len(shifts) * norm.sf(ratio) for level, (_size, ratio) in shifts.items()}
    far = [level for level, (size, _ratio) in shifts.items() if abs(size) > OTHERS and chance[level] < OTHERS_CHANCE]
    most = min(far or shifts, key=chance.get)
    if far:
        status = "fail"
        text = _(
            "Other people were asked than before: compared with the other areas, the share of {level} among those who "
            "answered in project areas moved by {shift} points, so that before and after cannot be compared."
        )
    elif chance[most] < SHIFTED_CHANCE:
        status = "warn"
        text = _(
            "Compared with the other areas, the share of {level} among those who answered in project areas moved by {shift} "
            "points, more than chance explains; left alone that would change the share unsafe by {change} points, but the "
            "model allows for it."
        )
    else:
        status = "pass"
        text = _(
            "As far as can be told, the same kinds of people answered before and after: compared with the other areas, no "
            "share moved by more than chance explains (most: {level}, {shift} points)."
        )
    change = 0.0
    if "strata" in posterior:
        base = posterior["latent"].mean(("chain", "draw")).where(panel["treated"]).mean()
        change = 100 * _shift(data, mix @ expit(float(base) + posterior["strata"].mean(("chain", "draw")).values), n)[0]
    text = text.format(level=most, shift=points(shifts[most][0], lang), change=points(change, lang))
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


def _shift(data, share, n) -> tuple[float, float]:
    """How far a share (0-1; area, wave) of `n` answers moved in treated areas beyond the others, and its error."""
    diagonal = np.eye(n.shape[1])
    inverse = (n * data["free"])[..., None] * diagonal
    errors = np.divide(1.0, n, out=np.zeros_like(n), where=n > 0)[..., None] * diagonal
    about = {"window": data["window"], "residents": data["residents"], "errors": errors}
    size, se = linear.imputed(share, inverse, **about)
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
