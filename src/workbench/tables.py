"""Tables that stand beside the pictures: rounded, labelled in the reader's language, every text escaped."""

from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import HTML

from workbench.items import ITEMS
from workbench.language import number, percent, points, short, translator
from workbench.verdict import check_label, status_label

TEMPLATE = Path(__file__).parent / "template"


def stylesheet() -> str:
    """The style of page 1 and of tables, the same in JupyterLab and in the report; widths of bars are classes w0 to w100."""
    widths = "".join(f".bar .w{n}{{width:{n}%}}" for n in range(101))
    return (TEMPLATE / "page.css").read_text(encoding="utf-8") + widths


def style() -> HTML:
    """The style of tables for a notebook opened in JupyterLab; the report brings its own copy."""
    return HTML(f"<style>{stylesheet()}</style>")


def html(frame: pd.DataFrame, caption: str) -> HTML:
    """The frame as an accessible HTML table with a caption; the first column heads its row. Nothing in it is markup."""
    head = "".join(f'<th scope="col">{escape(str(column))}</th>' for column in frame.columns)
    body = "".join(_row(row) for row in frame.itertuples(index=False))
    return HTML(
        f'<div class="scroll" tabindex="0"><table class="data"><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(row: tuple) -> str:
    first, *rest = (escape(_text(value)) for value in row)
    return f'<tr><th scope="row">{first}</th>' + "".join(f"<td>{value}</td>" for value in rest) + "</tr>"


def _text(value: object) -> str:
    """A cell as text: dates to the month, numbers without needless digits, missing as empty."""
    if pd.isna(value):
        return ""
    if isinstance(value, pd.Timestamp):
        return f"{value:%Y-%m}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def effects(frame: pd.DataFrame, *, estimand: str, names: dict, lang: str) -> pd.DataFrame:
    """Rows of one estimand on the percentage-point scale, rounded: what, estimate, intervals, chances.

    `estimand` is one of those in effects.csv; `names` gives the label of project and area ids.
    """
    _ = translator(lang).gettext
    rows = frame[(frame["estimand"] == estimand) & (frame["scale"] == "pp")]
    subjects = {
        "att": lambda row: _("all projects"),
        "att_by_project": lambda row: names.get(row["project"], row["project"]),
        "att_by_area": lambda row: names.get(row["area"], row["area"]),
        "att_by_category": lambda row: row["category"],
        "att_by_event_time": lambda row: int(row["event_time"]),
    }
    heads = {
        "att_by_event_time": _("waves since the start"),
        "att_by_area": _("area"),
        "att_by_category": _("answer"),
    }
    return pd.DataFrame(
        {
            heads.get(estimand, _("project")): [subjects[estimand](row) for _index, row in rows.iterrows()],
            _("points"): [points(value, lang) for value in rows["mean"]],
            _("50 % interval"): _ranges(rows, "50", lang),
            _("90 % interval"): _ranges(rows, "90", lang),
            _("chance of a fall"): [_chance(value, lang) for value in rows["p_fall"]],
            _("chance of a fall beyond the minimum"): [
                _chance(value, lang) for value in rows["p_fall_minimum"]
            ],
            _("chance of a rise"): [_chance(value, lang) for value in rows["p_rise"]],
        }
    )


def _ranges(rows: pd.DataFrame, level: str, lang: str) -> list[str]:
    _ = translator(lang).gettext
    pattern = _("{low} to {high}")
    return [
        pattern.format(low=points(low, lang), high=points(high, lang))
        for low, high in zip(rows[f"lower{level}"], rows[f"upper{level}"], strict=True)
    ]


def _chance(value: float, lang: str) -> str:
    return "" if pd.isna(value) else percent(value, lang)


def checks(frame: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Every check with its status and its sentence, the failing ones first."""
    _ = translator(lang).gettext
    order = {"fail": 0, "warn": 1, "not possible": 2, "pass": 3}
    rows = frame.sort_values("status", key=lambda status: status.map(order), kind="stable")
    return pd.DataFrame(
        {
            _("check"): [check_label(name, lang=lang) for name in rows["name"]],
            _("status"): [status_label(status, lang=lang) for status in rows["status"]],
            _("what it found"): list(rows["message"]),
        }
    )


def answer_names(item: str, *, lang: str) -> dict[str, str]:
    """The item's answers in `lang`, by their canonical label; empty for an item that is not in the dictionary."""
    known = ITEMS.get(item)
    return dict(zip(known.categories, known.labels.get(lang, known.categories), strict=True)) if known else {}


def trends(frame: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Shares feeling unsafe by wave in percent: observed, modelled, and without the projects."""
    _ = translator(lang).gettext
    columns = {
        ("treated", "observed"): _("project areas, observed"),
        ("treated", "modelled"): _("project areas, modelled"),
        ("treated", "without"): _("without the projects"),
        ("comparison", "observed"): _("comparison areas, observed"),
        ("comparison", "modelled"): _("comparison areas, modelled"),
    }
    waves = list(dict.fromkeys(frame.sort_values("year")["wave"]))
    wide = frame.set_index(["group", "series", "wave"])["mean"]
    cell = lambda key, wave: (
        "" if np.isnan(value := wide.get((*key, wave), np.nan)) else f"{number(value, lang)} %"
    )
    return pd.DataFrame(
        {_("wave"): waves, **{name: [cell(key, wave) for wave in waves] for key, name in columns.items()}}
    )


def answers(shares: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """Observed answers by group and wave in percent; `names` gives the label of each answer."""
    _ = translator(lang).gettext
    groups = {"treated": _("project areas"), "comparison": _("comparison areas")}
    wide = shares.pivot_table(
        index=["group", "wave"], columns="answer", values="share", sort=False, observed=True
    )
    text = (
        wide.map(lambda value: "" if np.isnan(value) else f"{number(value, lang)} %")
        .rename(columns=names)
        .reset_index()
    )
    text["group"] = text["group"].map(groups)
    return text.rename(columns={"group": _("group"), "wave": _("wave")})


def waves(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Effective answers and areas per wave, for project and comparison areas."""
    _ = translator(lang).gettext
    count, treated = panel["respondents"], panel["treated"]
    total = lambda group: [number(v, lang, 0) for v in count.where(group, 0).sum("area").to_numpy()]
    return pd.DataFrame(
        {
            _("wave"): panel["wave"].to_numpy().astype(str),
            _("answers, project areas"): total(treated),
            _("answers, comparison areas"): total(~treated),
            _("areas with answers"): [int(v) for v in (count > 0).sum("area").to_numpy()],
        }
    )


def design(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """Each area's group, start cohort and effective answers."""
    _ = translator(lang).gettext
    treated = panel["treated"].to_numpy()
    return pd.DataFrame(
        {
            _("area"): panel["area_name"].to_numpy().astype(str),
            _("group"): np.where(treated, _("project areas"), _("comparison areas")),
            _("start"): np.where(treated, panel["cohort"].to_numpy().astype(str), ""),
            _("answers, all waves"): [
                number(v, lang, 0) for v in panel["respondents"].sum("wave").to_numpy()
            ],
        }
    )


def item(panel: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """The survey item: question, wording, answers from secure to insecure, where unsafe begins, source."""
    _ = translator(lang).gettext
    known, names = ITEMS.get(panel.attrs["item"]), answer_names(panel.attrs["item"], lang=lang)
    label = [names.get(category, category) for category in panel["category"].to_numpy().astype(str)]
    facts = {
        _("item"): panel.attrs["item"],
        _("wording"): known.wording if known else panel.attrs["question"],
        _("answers, secure to insecure"): ", ".join(label),
        _("counted as unsafe"): ", ".join(label[int(panel.attrs["unsafe_index"]) :]),
        _("smallest worthwhile effect, points"): short(panel.attrs["minimum_pp"], lang),
        _("source"): known.source if known else "",
    }
    return parameters(facts, lang=lang)


def unsafe_by_area(panel: xr.Dataset) -> pd.DataFrame:
    """Observed percent feeling unsafe, areas (project areas first, marked ●) by waves; NaN where nobody was asked."""
    treated = panel["treated"].to_numpy()
    names = [f"● {n}" if t else str(n) for n, t in zip(panel["area_name"].to_numpy(), treated, strict=True)]
    percents = 100 * panel["share_unsafe"].transpose("area", "wave").to_numpy()
    frame = pd.DataFrame(
        percents, index=pd.Index(names, name="area"), columns=panel["wave"].to_numpy().astype(str)
    )
    return frame.iloc[np.argsort(~treated, kind="stable")]


def city(place: object, *, lang: str) -> pd.DataFrame:
    """What a City holds: counts of areas, waves, respondents and projects, items, and its notices."""
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
        _("notices"): " ".join(place.notices),
    }
    return parameters(facts, lang=lang)


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


def split(text: str | None) -> tuple[str, ...]:
    """The names in a `;`-separated parameter; none for an empty one."""
    return tuple(name.strip() for name in (text or "").split(";") if name.strip())


def parameters(values: dict, *, lang: str) -> pd.DataFrame:
    """Names and values, for the parameters of a run or its provenance."""
    _ = translator(lang).gettext
    return pd.DataFrame({_("name"): list(values), _("value"): [str(value) for value in values.values()]})
