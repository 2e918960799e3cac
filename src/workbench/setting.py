"""What there is before any model, as tables: the city's files, projects, waves, the item, areas and their answers."""

from html import escape

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import HTML

from workbench.items import ITEMS
from workbench.language import month, number, short, translator
from workbench.tables import categories, parameters


def city(place: object, *, lang: str) -> pd.DataFrame:
    """What a City holds: counts of areas, waves, respondents and projects, and items."""
    _ = translator(lang).gettext
    rows = place.respondents if place.respondents is not None else place.shares
    kind = _("respondents") if place.respondents is not None else _("published shares")
    facts = {
        _("areas"): len(place.areas),
        _("waves"): len(place.waves),
        kind: number(len(rows), lang, 0),
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
    total = lambda values: number(values.sum(), lang, 0) if values.notna().any() else ""
    made = [
        {
            _("project"): group["name"].iloc[0],
            _("kind"): group["kind"].iloc[0],
            _("areas"): ", ".join(names.reindex(group["area"]).fillna(group["area"]).astype(str)),
            _("announced"): month(group["announced"].min(), lang),
            _("start"): month(group["start"].min(), lang),
            _("full start"): month(group["full"].min(), lang),
            _("stopped"): month(group["stop"].max(), lang),
            _("cost in euro"): total(group["cost_eur"]),
            _("people reached"): total(group["reached"]),
            _("set off by"): group["trigger"].iloc[0],
        }
        for _project, group in rows.groupby("project", sort=False)
    ]
    return _filled(pd.DataFrame(made))


def waves(place: object, *, lang: str, panel: xr.Dataset | None = None) -> pd.DataFrame:
    """Fieldwork, mode, questionnaire and notes of each wave; with a panel its waves only, and how many answered."""
    _ = translator(lang).gettext
    rows = place.waves if panel is None else place.waves[place.waves["wave"].isin(panel["wave"].values)]
    fieldwork = [(month(a, lang), month(b, lang)) for a, b in zip(rows["start"], rows["end"], strict=True)]
    table = {
        _("wave"): rows["wave"],
        _("fieldwork"): [a if a == b else f"{a} – {b}" for a, b in fieldwork],
        _("mode"): rows["mode"],
        _("questionnaire"): rows["questionnaire_version"],
        _("break"): np.where(rows["known_break"], _("yes"), ""),
    }
    if panel is not None:
        count, treated = panel["respondents"], panel["treated"]
        worth = panel["counts"].sum(["area", "stratum", "answer"]).to_numpy()
        asked = [(_("answers, project areas"), treated), (_("answers, comparison areas"), ~treated)]
        if panel.attrs["n_assumed"]:
            asked = [(_("assumed answers, project areas"), treated), (_("assumed answers, comparison areas"), ~treated)]
        table |= {name: _numbers(count.where(group, 0).sum("area"), lang) for name, group in asked}
        if (worth < 0.99 * count.sum("area").to_numpy()).any():
            table[_("effective answers, all areas")] = _numbers(worth, lang)
    table[_("note")] = rows["note"]
    return _filled(pd.DataFrame(table))


def _numbers(values: object, lang: str) -> list[str]:
    return [number(value, lang, 0) for value in np.asarray(values)]


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    """The table without columns in which nothing stands."""
    return table.loc[:, [bool((table[name].fillna("").astype(str) != "").any()) for name in table]]


def design(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Areas by group and first wave touched, the waves that count for them, and how many answered."""
    _ = translator(lang).gettext
    table = []
    for cohort in sorted(set(panel["cohort"].to_numpy()), key=lambda name: (name in ("", "never"), name)):
        group = panel.isel(area=panel["cohort"].to_numpy() == cohort)
        treated = bool(group["treated"].any())
        start = _("project areas, from {wave}").format(wave=str(cohort).removeprefix("from "))
        row = {
            _("group"): start if treated else _("comparison areas"),
            _("areas"): group.sizes["area"],
            _("which"): ", ".join(group["area_name"].to_numpy().astype(str)),
            _("waves that count"): ", ".join(counting_waves(group)),
        }
        if not panel.attrs["n_assumed"]:
            row[_("answers, all waves")] = number(float(group["respondents"].sum()), lang, 0)
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
    _ = translator(lang).gettext
    head = _("Noticed and assumed, in the words of the files and their reader:")
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return HTML(f'<div class="notices"><p><b>{escape(head)}</b></p><ul>{items}</ul></div>' if items else "")


def answers_by_area(place: object) -> pd.DataFrame:
    """Respondents by area and wave; for published shares the largest stated or assumed n of an item."""
    if place.respondents is not None:
        counts = place.respondents.groupby(["area", "wave"]).size()
    else:
        counts = place.shares.groupby(["area", "wave"])["n"].max()
    areas, waves = place.areas["area"].tolist(), place.waves["wave"].tolist()
    return (
        counts.unstack()
        .reindex(index=pd.Index(areas, name="area"), columns=waves)
        .fillna(0)
        .rename_axis(columns=None)
    )


def missing_answers(place: object, *, lang: str) -> pd.DataFrame:
    """Percent of respondents without an answer, items by waves; for published shares, whether a wave has the item."""
    _ = translator(lang).gettext
    if place.respondents is not None:
        rows = place.respondents.assign(**place.respondents[list(place.items)].isna())
        missing = 100 * rows.groupby("wave")[list(place.items)].mean().T
        text = missing.map(lambda value: _("{share} % missing").format(share=number(value, lang)))
    else:
        there = place.shares.groupby(["item", "wave"]).size().unstack()
        text = there.notna().map(lambda held: _("yes") if held else _("no"))
    return text.reindex(columns=place.waves["wave"].tolist()).rename_axis(_("item"), axis=0).reset_index()


def unsafe_by_area(panel: xr.Dataset) -> pd.DataFrame:
    """Observed percent feeling unsafe, areas (project areas first, marked ●) by waves; NaN where nobody was asked."""
    treated = panel["treated"].to_numpy()
    names = [f"● {n}" if t else str(n) for n, t in zip(panel["area_name"].to_numpy(), treated, strict=True)]
    percents = 100 * panel["share_unsafe"].transpose("area", "wave").to_numpy()
    frame = pd.DataFrame(
        percents, index=pd.Index(names, name="area"), columns=panel["wave"].to_numpy().astype(str)
    )
    return frame.iloc[np.argsort(~treated, kind="stable")]
