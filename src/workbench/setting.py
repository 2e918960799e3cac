"""What there is before any model, as tables: files, projects, waves, the item, areas, answers."""

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import HTML

from workbench import collective
from workbench.items import ITEMS
from workbench.language import number, said, short, translator
from workbench.tables import categories, filled, frame, parameters


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
    rows = place.projects if panel is None else place.projects[place.projects["project"].isin(panel["project"].values)]
    names, by = place.areas.set_index("area")["name"], rows.groupby("project", sort=False)
    made = by[["kind", "trigger"]].first().join(by[["announced", "start", "full"]].min()).join(by["stop"].max())
    made = made.join(by[["cost_eur", "reached"]].sum(min_count=1)).assign(project=by["name"].first())
    made["areas"] = by["area"].agg(lambda areas: ", ".join(names.reindex(areas).fillna(areas).astype(str)))
    return _filled(frame(made, "project kind areas announced start full stop cost_eur reached trigger", lang=lang))


def registration(compared: pd.DataFrame, *, panel: xr.Dataset, lang: str) -> pd.DataFrame:
    """What `registration.compare` found: per project when it was registered, and what the evaluation does otherwise."""
    rows = compared.replace(r"\b(\d{4}-\d\d)-\d\d\b", r"\1", regex=True)  # reports tell months, not days
    rows = rows.assign(project=compared["project"].map(panel["project_name"].to_series()))
    return frame(rows, "project registered deviation registered_value used_value", lang=lang)


def waves(place: object, *, lang: str, panel: xr.Dataset | None = None) -> pd.DataFrame:
    """Fieldwork, mode, questionnaire and notes of each wave; with a panel its waves only, and how many answered.

    What answers are worth, and how many areas have some, stands there only if it matters.
    """
    rows = place.waves if panel is None else place.waves[place.waves["wave"].isin(panel["wave"].values)]
    answers = {}
    if panel is not None:
        count, total = panel["respondents"], panel["respondents"].sum("area")
        prefix, treated = "assumed_" if panel.attrs["n_assumed"] else "", count.where(panel["treated"], 0).sum("area")
        answers = {f"{prefix}treated": treated.values, f"{prefix}others": (total - treated).values}
        worth, asked = panel["counts"].sum(["area", "stratum", "answer"]), (count > 0).sum("area").values
        answers |= {"worth": worth.values} if (worth < 0.99 * total).any() else {}
        answers |= {"asked": asked} if asked.min() < asked.max() else {}
    names = " ".join(["wave fieldwork mode questionnaire_version break", *answers, "note"])
    return _filled(frame(rows.assign(**answers), names, lang=lang))


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """The table without columns in which nothing stands."""
    return table.loc[:, (table.fillna("").astype(str) != "").any()]


def design(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Areas by group and first wave touched, the waves that count for them, and how many answered."""
    _ = translator(lang).gettext
    rows = []
    for cohort in sorted(set(panel["cohort"].to_numpy()), key=lambda name: (name in ("", "never"), name)):
        group = panel.isel(area=panel["cohort"].to_numpy() == cohort)
        start = _("project areas, from {wave}").format(wave=str(cohort).removeprefix("from "))
        row = {"group": start if group["treated"].any() else _("comparison areas"), "areas": group.sizes["area"]}
        row |= {"which": ", ".join(group["area_name"].to_numpy()), "window": ", ".join(counting_waves(group))}
        rows.append(row | {"answers": group["respondents"].sum().item()})
    names = "group areas which window" + " answers" * (not panel.attrs["n_assumed"])
    return frame(pd.DataFrame(rows), names, lang=lang)


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


def notices(place: object, *, lang: str, panel: xr.Dataset | None = None) -> HTML:
    """What was noticed in a city's files and not refused, and what is assumed, as a list; nothing if there is nothing.

    What the reader of the files says is marked as English; what the panel adds is in `lang`.
    """
    texts = place.notices if panel is None else panel.attrs["notices"].splitlines()
    return filled("notices.html.j2", texts=texts, english=place.notices, lang=lang)


def rubric(*, lang: str) -> pd.DataFrame:
    """What each level of each condition of Collective Impact looks like, and what leads from it to the next."""
    rows = collective.rubric(lang).drop(columns="condition").rename(columns={"name": "condition", "text": "looks"})
    return frame(rows, "condition level looks step", lang=lang)


def scores(profile: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """One row per project: mean of each condition with the range between raters, and the weakest link; no sum."""
    _ = translator(lang).gettext
    heads = collective.rubric(lang).drop_duplicates("condition").set_index("condition")["name"]
    made = profile.assign(cell=[said("rated_by_all", lang, row=row) for row in profile.to_dict("records")])
    wide = made.pivot(index="project", columns="condition", values="cell").loc[profile["project"].unique(), heads.index]
    weakest = profile[profile["weakest"]].groupby("project")["condition"].agg(lambda each: ", ".join(heads[each]))
    wide = wide.rename(columns=heads).assign(**{_("weakest link"): weakest}).reset_index(names=_("project"))
    return wide.assign(**{_("project"): wide[_("project")].map(names)})


def rating(table: pd.DataFrame, profile: pd.DataFrame, *, lang: str) -> str:
    """How far raters agree, how far off a single rating is, and how many came late; `table` is City.collective_impact."""
    about = {"sd": collective.rating_sd(table), "late": profile["late"].sum()}
    return said("raters", lang, **collective.agreement(table), **about)


def gaps(found: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """What `collective.gaps` found: how unsafe residents feel now, and whether an effect is visible."""
    return frame(found.assign(project=found["project"].map(names)), "project unsafe held_against effect gap", lang=lang)


def next_steps(profile: pd.DataFrame, found: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """The lowest conditions of each project with a gap; a project without scores is told to get some."""
    asked = found.loc[found["gap"], "project"]
    rows = asked.to_frame().merge(collective.next_steps(profile, asked, lang=lang), how="left")
    made = {"project": rows["project"].map(names), "condition": rows["name"], "score": rows["mean"]}
    return frame(rows.assign(**made), "project condition score text step", lang=lang)


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
    shares = 100 * panel["share_unsafe"].transpose("area", "wave").to_pandas().rename_axis(columns=None)
    shares = shares.set_axis(pd.Index(names, name=translator(lang).gettext("area")))
    return shares.iloc[np.lexsort((-shares.mean(axis=1).fillna(0), ~treated))]
