"""Tables that stand beside the pictures: rounded, labelled in the reader's language, every text escaped."""

from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader

from workbench.figures import with_points
from workbench.items import ITEMS
from workbench.language import MINUS, euro, number, percent, points, said, short, translator
from workbench.panel import answers_told
from workbench.verdict import change, label

TEMPLATE = Path(__file__).parent / "template"
whole = partial(number, decimals=0)


def stylesheet() -> str:
    """The style of page 1 and of tables, the same in JupyterLab and in the report; widths of bars are classes w0 to w100."""
    widths = "".join(f".bar .w{n}{{width:{n}%}}" for n in range(101))
    return (TEMPLATE / "page.css").read_text(encoding="utf-8") + widths


def style() -> HTML:
    """The style of tables for a notebook opened in JupyterLab; the report brings its own copy."""
    return HTML(f"<style>{stylesheet()}</style>")


def filled(name: str, *, lang: str = "en", **values: object) -> HTML:
    """The template `name` with its own sentences, marked `_("...")` there, in `lang`, and every value as text, not markup."""
    pages = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, trim_blocks=True)
    pages.filters["text"] = _text
    words = translator(lang)
    return HTML(pages.get_template(name).render(values, lang=lang, _=words.gettext, ngettext=words.ngettext))


def html(frame: pd.DataFrame, caption: str) -> HTML:
    """The frame as an accessible HTML table; the first column heads its row.

    The first line of `caption` is its title, the rest says who, when and how many.
    """
    title, _newline, about = caption.partition("\n")
    rows = [(first, cells) for first, *cells in frame.itertuples(index=False)]
    return filled("table.html.j2", title=title, about=about, columns=frame.columns, rows=rows)


def _text(value: object) -> str:
    """A cell as text: numbers without needless digits, missing as empty."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3f}".rstrip("0").rstrip(".").replace("-", MINUS)


def sentence(text: str) -> HTML:
    """A sentence that stands by itself; nothing in it is markup."""
    return HTML(f"<p>{escape(text)}</p>" if text else "")


def caption(name: str, *, lang: str, panel: xr.Dataset | None = None, note: str = "") -> str:
    """Title of a table or name of a check, and on a second line who was asked, when, how many, and a `note`."""
    _, title = translator(lang).gettext, said("title", lang, name=name) or label(name, lang=lang)
    if panel is None:
        return f"{title}\n{note}"
    treated, waves = int(panel["treated"].sum()), panel["wave"].to_numpy().astype(str)
    text = _("{city}, project areas: {treated}, comparison areas: {others}, surveys {first} to {last}, {answers}.")
    counts = {"treated": treated, "others": panel.sizes["area"] - treated, "answers": answers_told(panel, lang=lang)}
    about = text.format(city=panel.attrs["city_name"], first=waves[0], last=waves[-1], **counts)
    return f"{title}\n{about} {note}".strip()


def frame(rows: pd.DataFrame, columns: dict, *, lang: str) -> pd.DataFrame:
    """Rows for readers. `columns`: heading -> the name of a column, or that and how `language` writes its values.

    A column that the rows do not have is left out; a missing value that would be written stays empty.
    """
    made = {}
    for head, column in columns.items():
        name, form = (column, None) if isinstance(column, str) else column
        if name in rows:
            values = rows[name].tolist()
            made[head] = values if form is None else ["" if pd.isna(x) else form(x, lang=lang) for x in values]
    return pd.DataFrame(made)


def estimates(rows: pd.DataFrame, columns: dict, *, lang: str) -> pd.DataFrame:
    """Effects in pp for readers: `columns` as of `frame`, then of points, intervals and chances what the rows have."""
    _ = translator(lang).gettext
    known = {
        _("points"): ("mean", points),
        _("50 % interval"): "lower50",
        _("90 % interval"): "lower90",
        _("chance of a fall"): ("p_fall", percent),
        _("chance of a fall beyond the minimum"): ("p_fall_minimum", percent),
        _("chance of a rise"): ("p_rise", percent),
        _("effect over its error"): ("ratio", points),
    }
    levels = [level for level in ("50", "90") if f"lower{level}" in rows]
    rows = rows.assign(**{f"lower{level}": ranges(rows, lang, level=level) for level in levels})
    return frame(rows, columns | known, lang=lang)


def ranges(rows: pd.DataFrame, lang: str, *, level: str = "90", text: str = "{low} to {high}") -> list[str]:
    """The interval of each row in points, `−5.6 to +0.2`, or a marked `text` with {mean}, {low} and {high}."""
    text = translator(lang).gettext(text)
    return [
        "" if pd.isna(row[f"lower{level}"]) else with_points(text, row, lang=lang, level=level)
        for row in rows.to_dict("records")
    ]


def effects(rows: pd.DataFrame, *, estimand: str, names: dict, lang: str) -> pd.DataFrame:
    """Rows of `estimand`, att_by_project or att_by_event_time, in points: what, estimate, intervals, chances.

    `rows` are as in effects.csv; `names` gives the label of project ids.
    """
    _ = translator(lang).gettext
    rows = rows[(rows["estimand"] == estimand) & (rows["scale"] == "pp")].replace({"project": names})
    by_time = {_("waves since the start"): ("event_time", short)}
    what = {_("project"): "project"} if estimand == "att_by_project" else by_time
    return estimates(rows, what, lang=lang)


def money(value: pd.DataFrame, *, worth_eur: float | None, lang: str) -> pd.DataFrame:
    """What each project cost, for how many residents, and per resident no longer unsafe; `value` of `money.value`."""
    _ = translator(lang).gettext
    fewer = value[["fewer_median", "fewer_lower90", "fewer_upper90"]].set_axis(["mean", "low", "high"], axis=1)
    words = fewer.dropna().map(lambda count: change(-float(f"{count:.2g}"), lang=lang))
    told = {p: _("{mean} ({low} to {high})").format(**row) for p, row in words.to_dict("index").items()}
    columns = {
        _("project"): "name",
        _("cost in euro"): ("cost_eur", whole),
        _("residents of its areas"): ("residents", whole),
        _("of them feel unsafe (90 % interval)"): "fewer",
        _("cost per resident no longer unsafe (90 % interval)"): "told",
        _("the same at the smallest worthwhile effect"): ("at_minimum", euro),
        _("chance that it is worth it, at {worth} each").format(worth=euro(worth_eur or 0, lang)): ("p_worth", percent),
        _("expected net benefit"): ("net_benefit", euro),
        _("worth of knowing for certain"): ("evpi", euro),
        _("worth of one more wave"): ("evsi", euro),
    }
    return frame(value.assign(fewer=[told.get(p, "") for p in value.index]), columns, lang=lang)


def checks(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Every check with its status and its sentence, the failing ones first."""
    _, order = translator(lang).gettext, ["fail", "warn", "not possible", "pass"]
    rows = rows.sort_values("status", key=lambda status: status.map(order.index), kind="stable")
    columns = {_("check"): ("name", label), _("status"): ("status", label), _("what it found"): "message"}
    return frame(rows, columns, lang=lang)


def answer_names(panel: xr.Dataset, *, lang: str) -> dict[str, str]:
    """The panel's answers in `lang` by their label, secure to insecure; one that lumps categories names first and last."""
    _ = translator(lang).gettext
    labels = categories(panel, lang=lang)
    bounds = zip(panel["lower"].to_numpy(), panel["upper"].to_numpy(), strict=True)
    texts = [
        labels[a] if a == b else _("{first} up to {last}").format(first=labels[a], last=labels[b]) for a, b in bounds
    ]
    return dict(zip(panel["answer"].to_numpy().astype(str), texts, strict=True))


def categories(panel: xr.Dataset, *, lang: str) -> list[str]:
    """The item's categories in `lang`, secure to insecure; as they are for an item that is not in the dictionary."""
    known = ITEMS.get(panel.attrs["item"])
    return list(known.labels[lang] if known and lang in known.labels else panel["category"].to_numpy().astype(str))


def trends(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Shares feeling unsafe by wave in percent: observed, modelled, and without the projects."""
    _ = translator(lang).gettext
    names = {
        ("treated", "observed"): _("project areas, observed"),
        ("treated", "modelled"): _("project areas, modelled"),
        ("treated", "without"): _("without the projects"),
        ("comparison", "observed"): _("comparison areas, observed"),
        ("comparison", "modelled"): _("comparison areas, modelled"),
    }
    wide = rows.pivot(index=["year", "wave"], columns=["group", "series"], values="mean").reindex(columns=list(names))
    columns = {_("wave"): "wave"} | {name: (at, share) for at, name in names.items()}
    return frame(wide.reset_index("wave"), columns, lang=lang)


def answers(shares: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """Observed answers by group and wave in percent; `names` gives the label of each answer."""
    _ = translator(lang).gettext
    wide = shares.pivot(index=["group", "wave"], columns="answer", values="share")
    wide = wide.reindex(shares.set_index(["group", "wave"]).index.unique()).reset_index()
    wide["group"] = wide["group"].map({"treated": _("project areas"), "comparison": _("comparison areas")})
    columns = {_("group"): "group", _("wave"): "wave"} | {name: (answer, share) for answer, name in names.items()}
    return frame(wide, columns, lang=lang)


def share(value: float, lang: str) -> str:
    """A share in percent with one decimal: 24.3 %."""
    return f"{number(value, lang)} %"


def parameters(values: dict, *, lang: str) -> pd.DataFrame:
    """Names and values, for the parameters of a run or its provenance."""
    _ = translator(lang).gettext
    return pd.DataFrame({_("name"): list(values), _("value"): [str(value) for value in values.values()]})


def forest(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Each project's own estimate and the pooled one in pp, then the mean and a next city; `rows` of `pooling.forest`."""
    _, text = translator(lang).gettext, "{mean} ({low} to {high})"
    own = rows[["own", "own_lower90", "own_upper90"]].set_axis(["mean", "lower90", "upper90"], axis=1)
    made = {"own": ranges(own, lang, text=text), "pooled": ranges(rows, lang, text=text)}
    made["label"] = rows["label"].fillna(rows["kind"].map(lambda kind: said("way", lang, name=kind)))
    columns = {_("project"): "label", _("its own card (90 % interval)"): "own", _("pooled (90 % interval)"): "pooled"}
    return frame(rows.assign(**made), columns | {_("chance of a fall"): ("p_fall", percent)}, lang=lang)


def at_base(effects: pd.DataFrame, pool: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """The pooled mean in pp at each city's base (percent unsafe without the projects, mean over them)."""
    _ = translator(lang).gettext
    rows = effects.query("estimand == 'pooled_mean_at_base'")[["city", "mean", "lower90", "upper90"]]
    base = rows["city"].map(pool["base_pp"].groupby("city").mean().to_series())
    columns = {_("city"): "city", _("unsafe without the projects"): ("base", share)}
    return estimates(rows.assign(base=base), columns, lang=lang)


def refits(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """The pooled mean (logit) under each prior and without each city; `rows` of `pooling.refits`."""
    _, two = translator(lang).gettext, partial(number, lang=lang, decimals=2)
    names = [said("way", lang, name=name) for name in rows["name"]]
    without = [_("without {name}").format(name=name) for name in names]
    ends = [
        _("{low} to {high}").format(low=two(low), high=two(high)) for low, high in rows[["lower90", "upper90"]].values
    ]
    rows = rows.assign(name=np.where(rows["kind"] == "prior", names, without), ends=ends)
    return frame(
        rows,
        {_("pooled"): "name", _("mean (logit)"): ("mean", partial(number, decimals=2)), _("90 % interval"): "ends"},
        lang=lang,
    )


def cards(chosen: list[dict], left_out: list[dict], *, lang: str) -> pd.DataFrame:
    """Cards pooled and cards left out, with the reason."""
    _ = translator(lang).gettext
    used = [card | {"inside": len(card["inside"]), "use": _("pooled")} for card in chosen]
    unused = [row | {"use": _("left out: {reason}").format(reason=row["reason"])} for row in left_out]
    columns = {_("card"): "file", _("city"): "city_name", _("projects"): ("inside", short), _("made"): "made"}
    columns |= {_("verdict there"): ("verdict", label), _("grade"): ("grade", short), _("in this pool"): "use"}
    return frame(pd.DataFrame([*used, *unused]), columns, lang=lang)
