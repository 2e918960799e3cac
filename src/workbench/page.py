"""Page 1, for the council: verdict, 100 residents, what would have happened, project by project, can we rely on it."""

import math
from functools import partial

import pandas as pd
import xarray as xr
from IPython.display import HTML
from markupsafe import Markup

from workbench import figures, registration, tables, verdict
from workbench.items import ITEMS
from workbench.language import month, number, points, said
from workbench.panel import answers_told

ENDS = ("lower90", "upper90")


def page_one(result: dict, *, trends: pd.DataFrame, panel: xr.Dataset, lang: str) -> HTML:
    """The first page: verdict, 100 residents, what would have happened, project by project, can we rely on this; a
    blocked evaluation shows its reason instead of any effect."""
    shown = {}
    if result["verdict"] != "blocked":
        picture = partial(figures.image_tag, simulated=result["simulated"], lang=lang)
        share = window_share(panel, trends)
        seen = set(trends.query("series == 'observed'").dropna(subset="mean")["wave"])
        unsafe, fewer, more = _changed(result, share)
        drawn = picture(figures.plot_residents, unsafe, fewer=fewer, more=more, size=(3, 3), width=270)
        asked = panel["respondents"] > 0
        shown["residents"] = {"picture": drawn, "caption": _residents_caption(result, share, panel, lang)}
        shown["trends"] = {
            "picture": picture(figures.plot_trends, trends, size=(6.6, 3.5)),
            "course": figures.course(trends, lang=lang),
            "bare": [wave for wave in dict.fromkeys(trends["wave"]) if wave not in seen],  # no share was published
            "moved": bool((asked != asked.any("wave")).any()),  # areas came or went
        }
        shown["projects"] = _project_rows(result, panel, picture, lang)
    return tables.filled(
        "page_one.html.j2", lang=lang, css=Markup(tables.stylesheet()), result=result,
        city=panel.attrs["city_name"], waves=panel["wave"].values, answers=answers_told(panel, lang=lang),
        question=_question(panel, lang), unsafe=tables.categories(panel, lang=lang)[int(panel.attrs["unsafe_index"]) :],
        odds=verdict.odds(result, lang=lang), grade_text=said("grade", lang, checks=result["checks"]),
        next_step=verdict.next_step(result, names=project_names(panel), lang=lang),
        outcomes=result.get("outcomes", {"told": {}}), registered=registration.sentence(result.get("registration", {}), lang=lang),
        number=lambda value, decimals: "?" if value is None else number(value, lang, decimals), **shown,
    )  # fmt: skip


def _question(panel: xr.Dataset, lang: str) -> str:
    """As it was asked where that was in `lang`, else its short form in `lang`, else what the panel says."""
    item = ITEMS.get(panel.attrs["item"])
    asked = item.question.get(lang) if item else None
    text = item.wording if item and item.wording_language == lang else asked or panel.attrs["question"]
    return text if text.endswith(("?", ".")) else f"{text}."


def window_share(panel: xr.Dataset, trends: pd.DataFrame) -> float:
    """Residents of project areas in 100 who feel unsafe with the projects: mean over the waves of the window."""
    treated = trends[(trends["group"] == "treated") & (trends["series"] == "modelled")]
    chosen = treated[treated["wave"].isin(tables.counting_waves(panel))]
    return float((chosen if len(chosen) else treated.tail(1))["mean"].mean())


def _changed(result: dict, share: float) -> tuple[int, int, int]:
    """Residents in 100 drawn: unsafe, no longer unsafe, unsafe because of the projects; the last two as headlined."""
    unsafe = min(max(math.floor(share + 0.5), 0), 100)
    size = math.floor(verdict.residents_told(result) + 0.5)
    falls = result["verdict"] in verdict.FALLS
    return unsafe, min(size, 100 - unsafe) if falls else 0, 0 if falls else min(size, unsafe)


def _residents_caption(result: dict, share: float, panel: xr.Dataset, lang: str) -> Markup:
    """Counts as the picture draws them; numbers in the picture's colours."""
    (unsafe, fewer, more), told = _changed(result, share), verdict.residents_told(result)
    orange, blue = Markup('<b class="u">{}</b>').format, Markup('<b class="f">{}</b>').format
    counts = {"unsafe": orange(unsafe), "fewer": fewer and blue(fewer), "more": more and orange(more)}
    text, waves = Markup(said("residents", lang, **counts, safe=100 - unsafe - fewer)), tables.counting_waves(panel)
    return text + " " + said("part", lang, att=result["att_pp"], told=told, drawn=fewer + more, waves=waves)


def project_names(panel: xr.Dataset) -> dict[str, str]:
    """Label of each project id."""
    return panel["project_name"].to_series().to_dict()


def _project_rows(result: dict, panel: xr.Dataset, picture, lang: str) -> list[dict]:
    names, minimum = project_names(panel), result["minimum_pp"]
    limit = 1.05 * max([1.5 * minimum, *(abs(row[end]) for row in result["by_project"].values() for end in ENDS)])
    return [
        row
        | {
            "name": names.get(project, project),
            "areas": int((panel["exposure"].sel(project=project) > 0).any("wave").sum()),
            "start": month(pd.Timestamp(str(panel["project_start"].sel(project=project).item())), lang),
            "strip": picture(figures.plot_strip, row, minimum_pp=minimum, limit=limit, size=(3.6, 0.32)),
            "points": points(row["mean"], lang),
            "interval": said("effect", lang, row=row, how="interval"),
        }
        for project, row in result["by_project"].items()
    ]
