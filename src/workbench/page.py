"""Page 1, for the council: verdict, 100 residents, what would have happened, project by project, can we rely on it."""

import math

import matplotlib.pyplot as plt
import pandas as pd
import xarray as xr
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from workbench import figures, registration, setting, tables, verdict
from workbench.items import ITEMS
from workbench.language import month, number, points, short, translator
from workbench.panel import answers_told

TONES = {
    "clear fall": "fall",
    "probable fall": "fall",
    "clear rise": "rise",
    "probable rise": "rise",
    "cannot tell": "unsure",
    "no worthwhile change": "none",
    "blocked": "blocked",
}


def page_one(result: dict, *, trends: pd.DataFrame, panel: xr.Dataset, lang: str) -> HTML:
    """The first page: verdict, 100 residents, what would have happened, project by project, can we rely on this.

    A blocked evaluation shows its reason instead of any effect. All wording of the verdict comes from `verdict`.
    """
    _ = translator(lang).gettext
    blocked = result["verdict"] == "blocked"
    share = window_share(panel, trends)
    context = {
        "css": Markup(tables.stylesheet()),
        "lang": lang,
        "simulated": result["simulated"],
        "words": _words(lang),
        "lead": _lead(result, panel, lang),
        "tone": TONES[result["verdict"]],
        "odds": verdict.odds(result, lang=lang),
        "label": _capital(verdict.label(result["verdict"], lang=lang)),
        "sentence": result["sentence"],
        "pictures": {} if blocked else _pictures(result, trends, share, lang),
        "residents_caption": "" if blocked else _residents_caption(result, share, panel, lang),
        "trends_caption": "" if blocked else _trends_caption(trends, panel, lang),
        "projects": [] if blocked else _project_rows(result, panel, lang),
        "grade": _("Evidence grade {grade} of 5").format(grade=result["grade"]),
        "grade_text": _grade_text(result, lang),
        "caveats": _caveats(result, panel, lang),
        "footer": f"{registration.sentence(result.get('registration', {}), lang=lang)} {_footer(result, lang)}",
    }
    pages = Environment(loader=FileSystemLoader(tables.TEMPLATE), autoescape=True, trim_blocks=True)
    return HTML(pages.get_template("page_one.html.j2").render(context))


def _words(lang: str) -> dict:
    _ = translator(lang).gettext
    return {
        "simulated": _("Simulated city: every number on this page is invented to show the report."),
        "title": _("Did the projects change how safe people feel?"),
        "residents": _("Of 100 residents of project areas"),
        "trends": _("What happened, and what would have"),
        "by_project": _("Project by project"),
        "columns": [
            _("Project"),
            _("Change in residents feeling unsafe (dashed: worthwhile)"),
            _("Points"),
            _("90 % interval"),
            _("Verdict"),
        ],
        "rely": _("Can we rely on this?"),
        "colon": _(":"),
    }


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lead(result: dict, panel: xr.Dataset, lang: str) -> str:
    t = translator(lang)
    n, waves, unsafe = result["n"], panel["wave"].to_numpy().astype(str), int(panel.attrs["unsafe_index"])
    item, labels = ITEMS.get(panel.attrs["item"]), tables.categories(panel, lang=lang)
    asked = item.question.get(lang) if item else None
    question = item.wording if item and item.wording_language == lang else asked or panel.attrs["question"]
    projects = panel.sizes["project"]
    return t.ngettext(
        "{city}, {projects} project in {treated} of {areas} areas, surveys {first} to {last}, {answers}. Question: "
        "“{question}” Counted as unsafe: {unsafe}.",
        "{city}, {projects} projects in {treated} of {areas} areas, surveys {first} to {last}, {answers}. Question: "
        "“{question}” Counted as unsafe: {unsafe}.",
        projects,
    ).format(
        city=panel.attrs["city_name"],
        projects=projects,
        treated=n["treated_areas"],
        areas=n["areas"],
        first=waves[0],
        last=waves[-1],
        answers=answers_told(panel, lang=lang),
        question=question + ("" if question.endswith(("?", ".")) else "."),
        unsafe=", ".join(labels[unsafe:]),
    )


def window_share(panel: xr.Dataset, trends: pd.DataFrame) -> float:
    """Residents of project areas in 100 who feel unsafe with the projects: mean over the waves of the window."""
    treated = trends[(trends["group"] == "treated") & (trends["series"] == "modelled")]
    inside = panel["window"].any(["project", "area"]).to_series()
    chosen = treated[treated["wave"].map(inside).fillna(False).astype(bool)]
    return float((chosen if len(chosen) else treated.tail(1))["mean"].mean())


def _changed(result: dict, share: float) -> tuple[int, int, int]:
    """Residents in 100 drawn: unsafe, no longer unsafe, unsafe because of the projects; the last two as the headline says."""
    unsafe = min(max(math.floor(share + 0.5), 0), 100)
    size = math.floor(verdict.residents_told(result) + 0.5)
    falls = result["verdict"] in verdict.FALLS
    return unsafe, min(size, 100 - unsafe) if falls else 0, 0 if falls else min(size, unsafe)


def _pictures(result: dict, trends: pd.DataFrame, share: float, lang: str) -> dict:
    unsafe, fewer, more = _changed(result, share)
    fig, ax = plt.subplots(figsize=(3, 3))
    alt = figures.plot_residents(unsafe, ax=ax, fewer=fewer, more=more, lang=lang)
    fig_trends, ax_trends = plt.subplots(figsize=(6.6, 3.5))
    alt_trends = figures.plot_trends(trends, ax=ax_trends, lang=lang)
    mark = {"simulated": result["simulated"], "lang": lang}
    return {
        "residents": figures.image_tag(fig, alt, width=270, **mark),
        "trends": figures.image_tag(fig_trends, alt_trends, **mark),
    }


def _residents_caption(result: dict, share: float, panel: xr.Dataset, lang: str) -> Markup:
    """Counts as the picture draws them; numbers in the picture's colours."""
    _ = translator(lang).gettext
    att, (unsafe, fewer, more), told = result["att_pp"], _changed(result, share), verdict.residents_told(result)
    orange, blue = Markup('<b class="u">{}</b>').format, Markup('<b class="f">{}</b>').format
    low, high = verdict.change(att["lower90"], lang=lang), verdict.change(att["upper90"], lang=lang)
    if fewer:
        text = Markup(_("{unsafe} feel unsafe, {fewer} no longer do, {safe} feel safe either way.")).format(
            unsafe=orange(unsafe), fewer=blue(fewer), safe=100 - unsafe - fewer
        )
    elif more:
        text = Markup(_("{unsafe} feel unsafe, {more} of them because of the projects; {safe} feel safe.")).format(
            unsafe=orange(unsafe), more=orange(more), safe=100 - unsafe
        )
    else:
        text = Markup(_("{unsafe} feel unsafe, {safe} do not.")).format(unsafe=orange(unsafe), safe=100 - unsafe)
    if told % 1:
        drawn = _("The picture counts whole residents: {n} is drawn as {drawn}.")
        text += " " + Markup(drawn).format(n=short(told, lang), drawn=fewer + more)
    part = Markup(
        _("The projects’ part in this lies between {low} and {high} (90 % interval; waves that count: {waves}).")
    )
    return text + " " + part.format(low=low, high=high, waves=", ".join(setting.counting_waves(panel)))


def _trends_caption(trends: pd.DataFrame, panel: xr.Dataset, lang: str) -> str:
    _ = translator(lang).gettext
    ends = {
        group: frame.sort_values("year")["mean"].iloc[[0, -1]].tolist()
        for group, frame in trends[trends["series"] == "modelled"].groupby("group")
    }
    say = {f"{group[0]}{i}": number(value, lang) for group, pair in ends.items() for i, value in enumerate(pair)}
    seen = trends[trends["series"] == "observed"].dropna(subset="mean")["wave"]
    bare = [wave for wave in dict.fromkeys(trends["wave"]) if wave not in set(seen)]
    dots = _("Dots are the survey.")
    if bare:
        dots = _(
            "Dots are the survey; in {waves} it did not publish this share, and the model reads it from what it did."
        )
    text = _(
        "Comparison areas went from {c0} to {c1} percent over these waves, project areas from {t0} to {t1}. The "
        "dashed line is what the model expects had there been no projects, with its 90 % band."
    )
    asked = panel["respondents"] > 0
    if (asked != asked.any("wave")).any():
        dots += " " + _("Not every area was asked in every wave: the lines move for that reason too.")
    return f"{text.format(**say)} {dots.format(waves=', '.join(bare))}"


def project_names(panel: xr.Dataset) -> dict[str, str]:
    """Label of each project id."""
    return dict(zip(panel["project"].to_numpy().astype(str), panel["project_name"].to_numpy().astype(str), strict=True))


def _project_rows(result: dict, panel: xr.Dataset, lang: str) -> list[dict]:
    _ = translator(lang).gettext
    by_project, names = result["by_project"], project_names(panel)
    bounds = [abs(row[key]) for row in by_project.values() for key in ("lower90", "upper90")]
    limit = 1.05 * max([*bounds, result["minimum_pp"] * 1.5])
    rows = []
    for project, row in by_project.items():
        fig, ax = plt.subplots(figsize=(3.6, 0.32))
        alt = figures.plot_strip(row, ax=ax, minimum_pp=result["minimum_pp"], limit=limit, lang=lang)
        rows.append(
            {
                "name": names.get(project, project),
                "since": _since(panel, project, lang),
                "strip": figures.image_tag(fig, alt, simulated=result["simulated"], lang=lang),
                "points": points(row["mean"], lang),
                "interval": _("{low} to {high}").format(
                    low=points(row["lower90"], lang), high=points(row["upper90"], lang)
                ),
                "tone": TONES[row["verdict"]],
                "label": verdict.label(row["verdict"], lang=lang),
            }
        )
    return rows


def _since(panel: xr.Dataset, project: str, lang: str) -> str:
    areas = int((panel["exposure"].sel(project=project) > 0).any("wave").sum())
    text = translator(lang).ngettext("{areas} area, since {month}", "{areas} areas, since {month}", areas)
    start = pd.Timestamp(str(panel["project_start"].sel(project=project).item()))
    return text.format(areas=areas, month=month(start, lang))


def _grade_text(result: dict, lang: str) -> str:
    _ = translator(lang).gettext
    status = [check["status"] for check in result["checks"]]
    design = [check["message"] for check in result["checks"] if check["name"] == "design grade"]
    counts = _("Checks: {passed} passed, {warned} warn, {failed} failed, {impossible} not possible.").format(
        passed=status.count("pass"),
        warned=status.count("warn"),
        failed=status.count("fail"),
        impossible=status.count("not possible"),
    )
    steps = []
    if "fail" in status:
        steps = [_("A failed check leaves grade 1.")]
    elif "not possible" in status:
        steps = [_("One step less than the design, because a check was not possible.")]
    return " ".join([*design, *steps, counts])


def _caveats(result: dict, panel: xr.Dataset, lang: str) -> list[tuple[str, str]]:
    """What fails, what warns, what could overturn the verdict, and what to do next, each a heading and a text."""
    _ = translator(lang).gettext
    told = {"fail": _("Failed, {check}"), "warn": _("Warning, {check}")}
    items = [
        (told[status].format(check=verdict.check_label(check["name"], lang=lang)), check["message"])
        for status in told
        for check in result["checks"]
        if check["status"] == status
    ]
    if result["verdict"] != "blocked":
        trend = [c["message"] for c in result["checks"] if c["name"] == "pre-trends" and c["status"] not in told]
        items += [(_("What could overturn it"), message) for message in trend]
    return [*items, (_("What to do next"), verdict.next_step(result, names=project_names(panel), lang=lang))]


def _footer(result: dict, lang: str) -> str:
    _ = translator(lang).gettext
    source, found = result["provenance"], result["diagnostics"]
    smallest = (
        None
        if None in (found["ess_bulk_min"], found["ess_tail_min"])
        else min(found["ess_bulk_min"], found["ess_tail_min"])
    )
    say = lambda value, decimals: "?" if value is None else number(value, lang, decimals)
    priors = {"sceptical": _("sceptical"), "wide": _("wide"), "flat": _("flat")}
    return _(
        "{window} Model {model}, {prior} prior, seed {seed}, data {data}…, largest R-hat {rhat}, smallest effective "
        "sample {ess}, divergences {divergences}. Method, every check and all figures follow on the next pages."
    ).format(
        window=result["window"],
        model=source["model"],
        prior=priors.get(source["prior"], source["prior"]),
        seed=source["seed"],
        data=str(source["data_hash"])[:8],
        rhat=say(found["rhat_max"], 3),
        divergences=found["divergences"],
        ess=say(smallest, 0),
    )
