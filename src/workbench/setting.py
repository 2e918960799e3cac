"""What there is before any model, as tables and one picture: files, projects, waves, the item, areas, answers."""

from html import escape

import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from IPython.display import HTML
from matplotlib.axes import Axes

from workbench import collective
from workbench.figures import INK
from workbench.figures_evidence import rated
from workbench.items import ITEMS
from workbench.language import month, number, points, short, translator
from workbench.schema import CONDITIONS
from workbench.tables import categories, parameters, ranges

GRID_ROWS = 40


def city(place: object, *, lang: str) -> pd.DataFrame:
    """What a City holds: counts of areas, waves, respondents and projects, and items."""
    _ = translator(lang).gettext
    rows = place.respondents if place.respondents is not None else place.shares
    facts = {
        _("areas"): len(place.areas),
        _("waves"): len(place.waves),
        _("respondents") if rows is place.respondents else _("published shares"): number(len(rows), lang, 0),
        _("projects"): place.projects["project"].nunique(),
        _("items"): ", ".join(place.items),
        _("simulated"): _("yes") if place.simulated else _("no"),
    }
    return parameters(facts, lang=lang)


def projects(place: object, *, lang: str, panel: xr.Dataset | None = None) -> pd.DataFrame:
    """One row per project, all of the city's or those evaluated: areas, dates, cost and reach summed over its areas."""
    _ = translator(lang).gettext
    rows = place.projects if panel is None else place.projects[place.projects["project"].isin(panel["project"].values)]
    names = place.areas.set_index("area")["name"]
    first, last = lambda dates: month(dates.min(), lang), lambda dates: month(dates.max(), lang)
    total = lambda values: number(values.sum(), lang, 0) if values.notna().any() else ""
    columns = {
        _("project"): ("name", "first"),
        _("kind"): ("kind", "first"),
        _("areas"): ("area", lambda areas: ", ".join(names.reindex(areas).fillna(areas).astype(str))),
        _("announced"): ("announced", first),
        _("start"): ("start", first),
        _("full start"): ("full", first),
        _("stopped"): ("stop", last),
        _("cost in euro"): ("cost_eur", total),
        _("people reached"): ("reached", total),
        _("set off by"): ("trigger", "first"),
    }
    return _filled(rows.groupby("project", sort=False).agg(**columns))


def registration(compared: pd.DataFrame, *, panel: xr.Dataset, lang: str) -> pd.DataFrame:
    """What `registration.compare` found: per project when it was registered, and what the evaluation does otherwise."""
    _ = translator(lang).gettext
    told = {"changed": _("changed after it was written"), "outcomes_known": _("written after outcomes were in")}
    nothing = np.where(compared["registered"] == "", "", _("nothing"))
    return pd.DataFrame(
        {
            _("project"): compared["project"].map(panel["project_name"].to_series()),
            _("registered"): compared["registered"].replace("", _("no")),
            _("what differs"): compared["field"].replace(told).where(compared["field"] != "", nothing),
            _("as registered"): compared["registered_value"],
            _("as evaluated"): compared["used_value"],
        }
    )


def waves(place: object, *, lang: str, panel: xr.Dataset | None = None) -> pd.DataFrame:
    """Fieldwork, mode, questionnaire and notes of each wave; with a panel its waves only, and how many answered."""
    _ = translator(lang).gettext
    rows = place.waves if panel is None else place.waves[place.waves["wave"].isin(panel["wave"].values)]
    only = rows.get("break_areas", pd.Series("", rows.index)).fillna("").astype(str)
    first, last = rows["start"].map(month, lang=lang), rows["end"].map(month, lang=lang)
    table = {
        _("wave"): rows["wave"],
        _("fieldwork"): first.where(first == last, first + " – " + last),
        _("mode"): rows["mode"],
        _("questionnaire"): rows["questionnaire_version"],
        _("break"): (_("yes") + " " + only).str.strip().where(rows["known_break"] | (only != ""), ""),
    }
    if panel is not None:
        table |= _answered(panel, lang)
    return _filled(pd.DataFrame(table | {_("note"): rows["note"]}))


def _answered(panel: xr.Dataset, lang: str) -> dict:
    """Columns of `waves`: answers in project and in comparison areas, and what they are worth or how many areas if it matters."""
    _ = translator(lang).gettext
    texts = lambda values: [number(value, lang, 0) for value in values.to_numpy()]
    count, treated, assumed = panel["respondents"], panel["treated"], panel.attrs["n_assumed"]
    made = {
        _("assumed answers, project areas") if assumed else _("answers, project areas"): treated,
        _("assumed answers, comparison areas") if assumed else _("answers, comparison areas"): ~treated,
    }
    made = {name: texts(count.where(group, 0).sum("area")) for name, group in made.items()}
    worth, asked = panel["counts"].sum(["area", "stratum", "answer"]), (count > 0).sum("area").to_numpy()
    if (worth < 0.99 * count.sum("area")).any():
        made[_("effective answers, all areas")] = texts(worth)
    if asked.min() < asked.max():
        made[_("areas with answers")] = asked
    return made


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """The table without columns in which nothing stands."""
    return table.loc[:, (table.fillna("").astype(str) != "").any()]


def design(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Areas by group and first wave touched, the waves that count for them, and how many answered."""
    _ = translator(lang).gettext
    table = []
    for cohort in sorted(set(panel["cohort"].to_numpy()), key=lambda name: (name in ("", "never"), name)):
        group = panel.isel(area=panel["cohort"].to_numpy() == cohort)
        start = _("project areas, from {wave}").format(wave=str(cohort).removeprefix("from "))
        row = {
            _("group"): start if group["treated"].any() else _("comparison areas"),
            _("areas"): group.sizes["area"],
            _("which"): ", ".join(group["area_name"].to_numpy().astype(str)),
            _("waves that count"): ", ".join(counting_waves(group)),
        }
        if not panel.attrs["n_assumed"]:
            row[_("answers, all waves")] = number(group["respondents"].sum(), lang, 0)
        table.append(row)
    return pd.DataFrame(table)


def counting_waves(panel: xr.Dataset) -> list[str]:
    """The waves that count for the effect in any of the panel's areas."""
    return panel["wave"].to_numpy().astype(str)[panel["window"].any(["project", "area"]).to_numpy()].tolist()


def item(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """The survey item: question, wording, answers from secure to insecure, where unsafe begins, source."""
    _ = translator(lang).gettext
    known, label = ITEMS.get(panel.attrs["item"]), categories(panel, lang=lang)
    facts = {
        _("item"): panel.attrs["item"],
        _("wording"): known.wording if known else panel.attrs["question"],
        _("answers, secure to insecure"): ", ".join(label),
        _("counted as unsafe"): ", ".join(label[int(panel.attrs["unsafe_index"]) :]),
        _("smallest worthwhile effect, points"): short(panel.attrs["minimum_pp"], lang),
        _("source"): known.source if known else "",
    }
    return parameters(facts, lang=lang)


def notices(texts: list[str], *, lang: str) -> HTML:
    """What was noticed in a city's files and not refused, and what is assumed, as a list; nothing if there is nothing."""
    head = translator(lang).gettext("Noticed and assumed, in the words of the files and their reader:")
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return HTML(f'<div class="notices"><p><b>{escape(head)}</b></p><ul>{items}</ul></div>' if items else "")


def unscored(scores: pd.DataFrame, *, lang: str) -> str:
    """How to add scores of Collective Impact where a city has none; "" where it has some."""
    _ = translator(lang).gettext
    text = _(
        "No scores yet. Two people score each project by the rubric below; put one row per project, date, rater and condition "
        "({conditions}) into collective_impact.csv, with a score of 0 to 4, or empty for “don’t know”."
    )
    return "" if len(scores) else text.format(conditions=", ".join(CONDITIONS))


def rubric(*, lang: str, steps: bool = False) -> pd.DataFrame:
    """What each level of each condition of Collective Impact looks like, or the steps that lead to the next level."""
    table = collective.rubric(lang)
    wide = table.pivot(index="level", columns="name", values="step" if steps else "text")[table["name"].unique()]
    wide = wide.reset_index(names=translator(lang).gettext("level"))
    return wide.iloc[:-1] if steps else wide


def scores(profile: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """One row per project: mean of each condition with the range between raters, and the weakest link; no sum."""
    _ = translator(lang).gettext
    heads = collective.rubric(lang).drop_duplicates("condition").set_index("condition")["name"]
    ends = profile[["lowest", "highest"]].fillna(0).astype(int).astype(str).agg(" – ".join, axis=1)
    cells = pd.Series([rated(row, lang=lang) for row in profile.to_dict("records")], profile.index)
    made = profile.assign(cell=cells + (" (" + ends + ")").where(profile["ratings"] > 1, ""))
    wide = made.pivot(index="project", columns="condition", values="cell").loc[profile["project"].unique(), heads.index]
    weakest = profile[profile["weakest"]].groupby("project")["condition"].agg(lambda each: ", ".join(heads[each]))
    wide = wide.rename(columns=heads).assign(**{_("weakest link"): weakest}).reset_index(names=_("project"))
    return wide.assign(**{_("project"): wide[_("project")].map(names)})


def rating(table: pd.DataFrame, profile: pd.DataFrame, *, lang: str) -> str:
    """How far raters agree, how far off a single rating is, and how many came late; `table` is City.collective_impact."""
    _ = translator(lang).gettext
    found, sd = collective.agreement(table), number(collective.rating_sd(table), lang, 2)
    same, near = (number(100 * np.nan_to_num(found[name]), lang, 0) for name in ("equal", "within_one"))
    kappa = _("too few pairs") if np.isnan(found["kappa"]) else number(found["kappa"], lang, 2)
    text = _(
        "Pairs of ratings of the same project and condition: {n}, of which {same} % the same and {near} % at most a step "
        "apart (quadratic-weighted kappa, 1 = full agreement, 0 = chance: {kappa})."
    ).format(n=found["pairs"], same=same, near=near, kappa=kappa)
    if not found["pairs"]:
        text = _("Nothing was rated by two people, so nobody knows how far raters agree.")
    text += " " + _("A single rating is taken to be off by {sd} of a step (standard deviation).").format(sd=sd)
    late = _("Ratings given after outcomes were in (*): {n}. Who knows the outcome may score by it.")
    return f"{text} {late.format(n=profile['late'].sum())}" if profile["late"].any() else text


def gaps(found: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """What `collective.gaps` found: how unsafe residents feel now, and whether an effect is visible."""
    _ = translator(lang).gettext
    share = lambda name: [f"{number(value, lang)} %" for value in found[name]]
    effects = zip(map(_, found["verdict"]), found["mean"], ranges(found, "90", lang), strict=True)
    return pd.DataFrame({
        _("project"): found["project"].map(names), _("residents feeling unsafe, last two waves"): share("unsafe"),
        _("held against"): share("held_against"),
        _("effect found, points (90 % interval)"): [f"{verdict}: {points(mean, lang)} ({ends})" for verdict, mean, ends in effects],
        _("gap"): [_("yes") if gap else _("no") for gap in found["gap"]],
    })  # fmt: skip


def next_steps(profile: pd.DataFrame, found: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """The lowest conditions of each project with a gap; a project without scores is told to get some."""
    _ = translator(lang).gettext
    asked = found.loc[found["gap"], "project"]
    steps = collective.next_steps(profile, asked, lang=lang).assign(
        mean=lambda rows: [short(x, lang) for x in rows["mean"]]
    )
    rows = asked.to_frame().merge(steps, how="left").assign(project=lambda rows: rows["project"].map(names))
    rows["step"] = rows["step"].fillna(_("No scores yet: have two people score it by the rubric."))
    heads = {
        "project": _("project"),
        "name": _("condition"),
        "mean": _("score"),
        "text": _("where it stands"),
        "step": _("next step"),
    }
    return rows[list(heads)].rename(columns=heads)


def answers_by_area(place: object, *, lang: str) -> pd.DataFrame:
    """Respondents by area and wave, areas with the fewest first; for published shares the largest n of an item.

    `attrs["caption"]` is the name of its caption, which says whether these answers were counted or assumed.
    """
    if place.respondents is not None:
        counts, assumed = place.respondents.groupby(["area", "wave"]).size(), False
    else:
        counts, assumed = place.shares.groupby(["area", "wave"])["n"].max(), place.shares["assumed"].any()
    areas, waves = place.areas.set_index("area")["name"], place.waves["wave"].tolist()
    table = counts.unstack().reindex(index=areas.index, columns=waves).fillna(0).rename_axis(columns=None)
    table = table.set_axis(pd.Index(areas, name=translator(lang).gettext("area")))
    table = table.iloc[np.argsort(table.sum(axis=1), kind="stable")]
    table.attrs["caption"] = "assumed counts" if assumed else "counts"
    return table


def missing_answers(place: object, *, lang: str) -> pd.DataFrame:
    """Percent of respondents without an answer, items by waves; for published shares, whether a wave has the item."""
    _ = translator(lang).gettext
    if place.respondents is not None:
        missing = place.respondents[list(place.items)].isna().groupby(place.respondents["wave"]).mean().T
        text = missing.map(lambda share: _("{share} % missing").format(share=number(100 * share, lang)))
    else:
        there = place.shares.groupby(["item", "wave"]).size().unstack()
        text = there.notna().map(lambda held: _("yes") if held else _("no"))
    return text.reindex(columns=place.waves["wave"].tolist()).rename_axis(_("item"), axis=0).reset_index()


def unsafe_by_area(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Observed percent feeling unsafe by wave, project areas first (marked ●), then the least safe; NaN if not published."""
    treated = panel["treated"].to_numpy()
    names = [f"● {n}" if t else str(n) for n, t in zip(panel["area_name"].to_numpy(), treated, strict=True)]
    frame = 100 * panel["share_unsafe"].transpose("area", "wave").to_pandas().rename_axis(columns=None)
    frame = frame.set_axis(pd.Index(names, name=translator(lang).gettext("area")))
    return frame.iloc[np.lexsort((-frame.mean(axis=1).fillna(0), ~treated))]


def plot_grid(grid: pd.DataFrame, *, ax: Axes, what: str, lang: str) -> str:
    """Areas by waves as a shaded table with its numbers, at most the first 40 areas; `what` says what is counted.

    Gives its figure the height that the rows need.
    """
    _ = translator(lang).gettext
    low, high, first = np.nanmin(grid), np.nanmax(grid), grid.head(GRID_ROWS)
    text = _("{what}, areas by waves: lowest {low}, highest {high}.")
    text = text.format(what=what, low=number(low, lang, 0), high=number(high, lang, 0))
    ax.figure.set_size_inches(7, 0.35 * len(first) + 1.2)
    words = first.map(number, na_action="ignore", lang=lang, decimals=0).fillna("")
    sns.heatmap(first, annot=words, fmt="", cmap="Blues", vmin=0, vmax=1.6 * high, cbar=False, ax=ax)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0, labelcolor=INK)
    if len(grid) > len(first):
        more = _("The first {shown} of {all} areas; the table has them all.").format(shown=len(first), all=len(grid))
        ax.set_xlabel(more)
        text += " " + more
    return text
