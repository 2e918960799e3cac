"""Checks of what a city supplied, before any model: answers where they are needed, breaks of the survey, the design."""

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from workbench import linear
from workbench.language import said
from workbench.panel import answers_told
from workbench.schema import STRATA

FAR_APART = 10.0  # pp
OTHERS, OTHERS_CHANCE, SHIFTED_CHANCE = 15.0, 0.001, 0.02  # points of a level; two-sided p over all levels
UNLIKE = 1.0  # points by which respondents must differ from residents to be mentioned


def data_contract(city, panel, *, lang) -> tuple[str, str]:
    """Whether treated areas were asked before and in the window: fails when none was, warns about the others and about
    what `build_panel` had to leave out; notices on the files alone are only counted."""
    data = linear.summaries(panel)
    complete = data["free"].any(1) & data["window"].any(1)
    lacking = panel["area_name"].values[panel["treated"].values & ~complete].tolist()
    notices = [note for note in panel.attrs["notices"].splitlines() if note not in city.notices]
    status = "fail" if not complete.any() else "warn" if lacking or notices else "pass"
    about = {"areas": panel.sizes["area"], "waves": panel.sizes["wave"], "n": len(city.notices), "lacking": lacking}
    about |= {"answers": answers_told(panel, lang=lang), "notices": notices}
    return status, said("data_contract", lang, status=status, **about)


def wave_break(city, panel, *, lang) -> tuple[str, str]:
    """Fails when a break touched another share of the treated than of the comparison areas; see `breaks`."""
    found, data = breaks(city, panel), linear.summaries(panel)
    treated = data["treated"]
    for wave, hit in found.items():
        if not np.isclose(hit[treated].mean(), hit[~treated].mean()):
            counts = {"hit": hit[treated].sum(), "treated": treated.sum()}
            counts |= {"hit_comparison": hit[~treated].sum(), "comparison": (~treated).sum()}
            return "fail", said("wave_break", lang, status="fail", waves=wave, **counts)
    both = data["free"].any(1) & data["window"].any(1)
    new, order = panel["wave"].isin(list(found)).values, np.arange(panel.sizes["wave"])
    last = np.where(data["free"], order, -1).max(1, keepdims=True)  # an area's last wave before, first that counts
    first = np.where(data["window"], order, len(order)).min(1, keepdims=True)
    status = "warn" if (new & (last < order) & (order <= first))[both].any() else "pass"
    return status, said("wave_break", lang, status=status, waves=", ".join(found), n=len(order))


def breaks(city, panel) -> dict[str, np.ndarray]:
    """First wave of the panel after each break -> the areas it touched (bool by area); breaks of no area left out. A
    break is declared (`known_break`, `break_areas`), or a change of mode or questionnaire since the wave before."""
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
    """Maryland scale (Farrington, Gottfredson, Sherman and Welsh 2002): 5 chance decided, 4 several areas each side
    asked twice before (how many is ours), 3 before-after with comparison, else 2."""
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
    treated = linear.summaries(panel)["treated"]
    text = said("design_grade", lang, level=level, treated=treated.sum(), others=(~treated).sum())
    return ("pass" if level >= 3 else "warn"), text


def baseline_gap(panel, *, lang) -> tuple[str, str]:
    """Percent unsafe before, treated minus comparison in the same waves; warns above 10 pp."""
    shares = before(panel)
    if shares is None:
        return "not possible", said("baseline_gap", lang, status="not possible")
    status = "warn" if abs(shares[0] - shares[1]) > FAR_APART else "pass"
    return status, said("baseline_gap", lang, status=status, treated=shares[0], others=shares[1])


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
    """Whether other people answered in treated areas, compared with the others, from before to the window. Shift of
    each level of sex, age and education in points, by `linear.imputed`, with the error of effective counts (larger when
    areas without a project say so). Warns at p < 0.02, fails when a level shifted by more than 15 points at p < 0.001,
    both over the number of levels. Adds by how much respondents differ from residents."""
    counts = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values
    mix, levels = counts / np.maximum(counts.sum(-1, keepdims=True), 1e-9), {}
    for name in (name for name in STRATA if name in panel.coords):
        values = np.unique(panel[name].values)
        for value in values[len(values) == 2 :]:  # of two levels one, the other mirrors it
            levels[said("level", lang, name=name, value=value)] = (panel[name].values == value).astype(float)
    data, treated = linear.summaries(panel), panel["treated"].values
    shifts = {level: _shift(data, mix @ inside) for level, inside in levels.items()}
    shifts = {level: (100 * size, 2 * norm.sf(abs(size) / se)) for level, (size, se) in shifts.items() if se > 0}
    if not shifts:
        return "not possible", said("composition", lang, status="not possible")
    far = [k for k, (size, p) in shifts.items() if abs(size) > OTHERS and p * len(shifts) < OTHERS_CHANCE]
    most = min(far or shifts, key=lambda level: shifts[level][1])
    status = "fail" if far else "warn" if shifts[most][1] * len(shifts) < SHIFTED_CHANCE else "pass"
    change = 0.0
    if "strata" in posterior:
        base = float(posterior["latent"].mean(("chain", "draw")).where(panel["treated"]).mean())
        change = 100 * _shift(data, mix @ expit(base + posterior["strata"].mean(("chain", "draw")).values))[0]
    people, asked = panel["population"].transpose("area", "stratum").values[treated], counts.sum(1)[treated]
    more = 100 * (asked / asked.sum(1, keepdims=True) * people.sum(1, keepdims=True) - people).sum(0) / people.sum()
    gaps = ((level, float(more @ inside)) for level, inside in levels.items())
    unlike, gap = max(gaps, key=lambda told: abs(told[1]))
    about = {"level": most, "shift": shifts[most][0], "change": change, "gap": gap}
    return status, said("composition", lang, status=status, unlike=unlike if abs(gap) >= UNLIKE else "", **about)


def _shift(data, share) -> tuple[float, float]:
    """How far a share (0-1; area, wave) of the answers moved in treated areas beyond the others, and its error."""
    made, no_shock = data | {"latent": share, "information": data["answers"]}, {"sd_shock": 0.0, "rho": 0.5}
    size, se = linear.effect_of(made, free=data["free"], window=data["window"], **no_shock)
    _errors, inverse = linear.covariance(made, data["free"], **no_shock)
    left = linear.regress(share, inverse, np.zeros((*share.shape, 0)))[3]
    mean = np.average(share, weights=data["answers"])
    return size, se * np.sqrt(max(mean * (1 - mean), left))
