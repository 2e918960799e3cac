"""Page 1, for the council: verdict, 100 residents, what would have happened, project by project, can we rely on it."""

import math
from collections import Counter
from functools import partial

import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr
from IPython.display import HTML
from markupsafe import Markup

from workbench import figures, registration, setting, tables, verdict
from workbench.items import ITEMS
from workbench.language import month, number, points, said, translator
from workbench.panel import answers_told


def page_one(result: dict, *, trends: pd.DataFrame, panel: xr.Dataset, lang: str) -> HTML:
    """The first page: verdict, 100 residents, what would have happened, project by project, can we rely on this.

    A blocked evaluation shows its reason instead of any effect. All wording of the verdict comes from `verdict`.
    """
    shown = {}
    if result["verdict"] != "blocked":
        shown["residents"] = _residents(result, window_share(panel, trends), panel, lang)
        shown["trends"] = _trends(result, trends, panel, lang)
        shown["projects"] = _project_rows(result, panel, lang)
    return tables.filled(
        "page_one.html.j2",
        lang=lang,
        css=Markup(tables.stylesheet()),
        result=result,
        city=panel.attrs["city_name"],
        waves=panel["wave"].to_numpy().astype(str),
        answers=answers_told(panel, lang=lang),
        question=_question(panel, lang),
        unsafe=tables.categories(panel, lang=lang)[int(panel.attrs["unsafe_index"]) :],
        odds=verdict.odds(result, lang=lang),
        grade_text=_grade_text(result, lang),
        next_step=verdict.next_step(result, names=project_names(panel), lang=lang),
        registered=registration.sentence(result.get("registration", {}), lang=lang),
        label=partial(verdict.label, lang=lang),
        number=lambda value, decimals: "?" if value is None else number(value, lang, decimals),
        **shown,
    )


def _question(panel: xr.Dataset, lang: str) -> str:
    """As it was asked where that was in `lang`, else its short form in `lang`, else what the panel says."""
    item = ITEMS.get(panel.attrs["item"])
    asked = item.question.get(lang) if item else None
    text = item.wording if item and item.wording_language == lang else asked or panel.attrs["question"]
    return text if text.endswith(("?", ".")) else f"{text}."


def window_share(panel: xr.Dataset, trends: pd.DataFrame) -> float:
    """Residents of project areas in 100 who feel unsafe with the projects: mean over the waves of the window."""
    treated = trends[(trends["group"] == "treated") & (trends["series"] == "modelled")]
    chosen = treated[treated["wave"].isin(setting.counting_waves(panel))]
    return float((chosen if len(chosen) else treated.tail(1))["mean"].mean())


def _changed(result: dict, share: float) -> tuple[int, int, int]:
    """Residents in 100 drawn: unsafe, no longer unsafe, unsafe because of the projects; the last two as the headline says."""
    unsafe = min(max(math.floor(share + 0.5), 0), 100)
    size = math.floor(verdict.residents_told(result) + 0.5)
    falls = result["verdict"] in verdict.FALLS
    return unsafe, min(size, 100 - unsafe) if falls else 0, 0 if falls else min(size, unsafe)


def _residents(result: dict, share: float, panel: xr.Dataset, lang: str) -> dict:
    unsafe, fewer, more = _changed(result, share)
    fig, ax = plt.subplots(figsize=(3, 3))
    alt = figures.plot_residents(unsafe, ax=ax, fewer=fewer, more=more, lang=lang)
    picture = figures.image_tag(fig, alt, width=270, simulated=result["simulated"], lang=lang)
    return {"picture": picture, "caption": _residents_caption(result, share, panel, lang)}


def _residents_caption(result: dict, share: float, panel: xr.Dataset, lang: str) -> Markup:
    """Counts as the picture draws them; numbers in the picture's colours."""
    (unsafe, fewer, more), told = _changed(result, share), verdict.residents_told(result)
    orange, blue = Markup('<b class="u">{}</b>').format, Markup('<b class="f">{}</b>').format
    counts = {"unsafe": orange(unsafe), "fewer": fewer and blue(fewer), "more": more and orange(more)}
    text, waves = Markup(said("residents", lang, **counts, safe=100 - unsafe - fewer)), setting.counting_waves(panel)
    return text + " " + said("part", lang, att=result["att_pp"], told=told, drawn=fewer + more, waves=waves)


def _trends(result: dict, trends: pd.DataFrame, panel: xr.Dataset, lang: str) -> dict:
    """The picture, and what its caption says: `bare` are waves without a published share, `moved` that areas came or went."""
    fig, ax = plt.subplots(figsize=(6.6, 3.5))
    alt = figures.plot_trends(trends, ax=ax, lang=lang)
    seen = set(trends[trends["series"] == "observed"].dropna(subset="mean")["wave"])
    asked = panel["respondents"] > 0
    return {
        "picture": figures.image_tag(fig, alt, simulated=result["simulated"], lang=lang),
        "course": figures.course(trends, lang=lang),
        "bare": [wave for wave in dict.fromkeys(trends["wave"]) if wave not in seen],
        "moved": bool((asked != asked.any("wave")).any()),
    }


def project_names(panel: xr.Dataset) -> dict[str, str]:
    """Label of each project id."""
    return dict(zip(panel["project"].to_numpy().astype(str), panel["project_name"].to_numpy().astype(str), strict=True))


def _project_rows(result: dict, panel: xr.Dataset, lang: str) -> list[dict]:
    text = translator(lang).gettext("{low} to {high}")
    names, minimum = project_names(panel), result["minimum_pp"]
    bounds = [abs(row[key]) for row in result["by_project"].values() for key in ("lower90", "upper90")]
    rows = []
    for project, row in result["by_project"].items():
        fig, ax = plt.subplots(figsize=(3.6, 0.32))
        alt = figures.plot_strip(row, ax=ax, minimum_pp=minimum, limit=1.05 * max([*bounds, 1.5 * minimum]), lang=lang)
        made = {"name": names.get(project, project), "since": _since(panel, project, lang)}
        made["strip"] = figures.image_tag(fig, alt, simulated=result["simulated"], lang=lang)
        made |= {"points": points(row["mean"], lang), "interval": figures.with_points(text, row, lang=lang)}
        rows.append(row | made)
    return rows


def _since(panel: xr.Dataset, project: str, lang: str) -> str:
    areas = int((panel["exposure"].sel(project=project) > 0).any("wave").sum())
    text = translator(lang).ngettext("{areas} area, since {month}", "{areas} areas, since {month}", areas)
    start = pd.Timestamp(str(panel["project_start"].sel(project=project).item()))
    return text.format(areas=areas, month=month(start, lang))


def _grade_text(result: dict, lang: str) -> str:
    found = [check["message"] for check in result["checks"] if check["name"] == "design grade"]
    return said("grade", lang, found=found, n=Counter(check["status"] for check in result["checks"]))
