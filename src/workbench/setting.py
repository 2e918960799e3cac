"""What there is before any model, as tables and one picture: files, projects, waves, the item, areas, answers."""

from html import escape

import numpy as np
import pandas as pd
import seaborn as sns
import xarray as xr
from IPython.display import HTML
from matplotlib.axes import Axes

from workbench.figures import INK
from workbench.items import ITEMS
from workbench.language import month, number, short, translator
from workbench.tables import categories, parameters

GRID_ROWS = 40


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
    only = rows["break_areas"].fillna("").astype(str) if "break_areas" in rows else pd.Series("", rows.index)
    fieldwork = [(month(a, lang), month(b, lang)) for a, b in zip(rows["start"], rows["end"], strict=True)]
    table = {
        _("wave"): rows["wave"],
        _("fieldwork"): [a if a == b else f"{a} – {b}" for a, b in fieldwork],
        _("mode"): rows["mode"],
        _("questionnaire"): rows["questionnaire_version"],
        _("break"): np.where(rows["known_break"] | (only != ""), [f"{_('yes')} {areas}".strip() for areas in only], ""),
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
        if len(set(asked_areas := (count > 0).sum("area").to_numpy().tolist())) > 1:
            table[_("areas with answers")] = asked_areas
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


def answers_by_area(place: object, *, lang: str) -> pd.DataFrame:
    """Respondents by area and wave, areas with the fewest first; for published shares the largest n of an item.

    `attrs["caption"]` is the name of its caption, which says whether these answers were counted or assumed.
    """
    assumed = False
    if place.respondents is not None:
        counts = place.respondents.groupby(["area", "wave"]).size()
    else:
        counts = place.shares.groupby(["area", "wave"])["n"].max()
        assumed = bool(place.shares["assumed"].any())
    areas, waves = place.areas.set_index("area")["name"], place.waves["wave"].tolist()
    table = counts.unstack().reindex(index=areas.index, columns=waves).fillna(0).rename_axis(columns=None)
    table = table.set_axis(pd.Index(areas, name=translator(lang).gettext("area"))).iloc[
        np.argsort(table.sum(axis=1), kind="stable")
    ]
    table.attrs["caption"] = "assumed counts" if assumed else "counts"
    return table


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


def unsafe_by_area(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Observed percent feeling unsafe by wave, project areas first (marked ●), then the least safe; NaN if not published."""
    treated = panel["treated"].to_numpy()
    names = [f"● {n}" if t else str(n) for n, t in zip(panel["area_name"].to_numpy(), treated, strict=True)]
    percents = 100 * panel["share_unsafe"].transpose("area", "wave").to_numpy()
    frame = pd.DataFrame(
        percents,
        index=pd.Index(names, name=translator(lang).gettext("area")),
        columns=panel["wave"].to_numpy().astype(str),
    )
    return frame.iloc[np.lexsort((-frame.mean(axis=1).fillna(0), ~treated))]


def plot_grid(grid: pd.DataFrame, *, ax: Axes, what: str, lang: str) -> str:
    """Areas by waves as a shaded table with its numbers, at most the first 40 areas; `what` says what is counted.

    Gives its figure the height that the rows need.
    """
    _ = translator(lang).gettext
    low, high = (number(f(grid), lang, 0) for f in (np.nanmin, np.nanmax))
    text = _("{what}, areas by waves: lowest {low}, highest {high}.").format(what=what, low=low, high=high)
    top, first = np.nanmax(grid), grid.head(GRID_ROWS)
    ax.figure.set_size_inches(7, 0.35 * len(first) + 1.2)
    words = first.map(lambda value: "" if np.isnan(value) else number(value, lang, 0))
    sns.heatmap(first, annot=words, fmt="", cmap="Blues", vmin=0, vmax=1.6 * top, cbar=False, ax=ax)
    ax.set(xlabel="", ylabel="")
    ax.tick_params(axis="y", rotation=0, labelcolor=INK)
    if len(grid) > len(first):
        more = _("The first {shown} of {all} areas; the table has them all.").format(shown=len(first), all=len(grid))
        ax.set_xlabel(more)
        text += " " + more
    return text
