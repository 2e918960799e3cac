"""Tables of what there was and of results: rounded, labelled in the reader's language, every text escaped."""

from functools import partial
from html import escape
from pathlib import Path

import pandas as pd
import xarray as xr
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader

from workbench.items import ITEMS
from workbench.language import euro, month, number, percent, points, said, short, translator
from workbench.panel import answers_told
from workbench.verdict import STATUSES, label

TEMPLATE = Path(__file__).parent / "template"


def share(value: float, lang: str) -> str:
    """A share in percent with one decimal: 24.3 %."""
    return f"{number(value, lang)} %"


# How a column's values are written, by its name; "row": by the macro `cell`, of its whole row; others are text already.
FORMS = {name: form for form, names in {
    points: "mean ratio",
    percent: "p_fall p_fall_minimum p_rise p_worth",
    share: "base unsafe held_against treated_observed treated_modelled treated_without comparison_observed "
           "comparison_modelled",
    partial(number, decimals=0): "respondents shares cost_eur concerned residents reached treated others "
                                 "assumed_treated assumed_others worth answers recorded not_recorded",
    partial(number, decimals=2): "cost_each logit",
    number: "part percent",
    short: "event_time projects grade score minimum",
    euro: "at_minimum net_benefit evpi evsi",
    month: "announced start full stop begin",
    label: "check status verdict",
    "row": "what group label interval50 interval90 own pooled effect refit interval_logit fewer use gap registered "
           "deviation fieldwork break end step simulated",
}.items() for name in names.split()}  # fmt: skip


def stylesheet() -> str:
    """The style of page 1 and of tables, in JupyterLab and in the report; widths of bars are classes w0 to w100."""
    widths = "".join(f".bar .w{n}{{width:{n}%}}" for n in range(101))
    shades = "".join(f"table.data td.s{n}{{background:rgb(29 79 145/{5 * n}%)}}" for n in range(1, 11))
    return (TEMPLATE / "page.css").read_text(encoding="utf-8") + widths + shades


def style() -> HTML:
    """The style of tables for a notebook opened in JupyterLab; the report brings its own copy."""
    return HTML(f"<style>{stylesheet()}</style>")


def filled(name: str, *, lang: str = "en", **values: object) -> HTML:
    """The template `name` with its own sentences (marked `_("...")`) in `lang`, and every value as text, not markup."""
    pages = Environment(loader=FileSystemLoader(TEMPLATE), autoescape=True, trim_blocks=True)
    pages.filters["text"] = partial(_text, lang=lang)
    words = translator(lang)
    return HTML(pages.get_template(name).render(values, lang=lang, _=words.gettext, ngettext=words.ngettext))


def html(frame: pd.DataFrame, caption: str, *, lang: str = "en", shaded: bool = False) -> HTML:
    """The frame as an accessible HTML table; the first column heads its row. `shaded`: the higher a number, the darker.
    The first line of `caption` is its title, the rest says who, when and how many. `lang` is for columns of numbers."""
    title, _newline, about = caption.partition("\n")
    rows = [(first, cells) for first, *cells in frame.itertuples(index=False)]
    top = frame.max(numeric_only=True).max() if shaded else 0
    return filled("table.html.j2", lang=lang, title=title, about=about, columns=frame.columns, rows=rows, top=top)


def _text(value: object, lang: str) -> str:
    """A cell as text: numbers without needless digits, missing as empty."""
    if pd.isna(value):
        return ""
    if not isinstance(value, float):
        return str(value)
    return number(value, lang, 0 if abs(value) >= 100 else len(f"{value:.3f}".rstrip("0").partition(".")[2]))


def sentence(text: str) -> HTML:
    """A sentence that stands by itself; nothing in it is markup."""
    return HTML(f"<p>{escape(text)}</p>" if text else "")


def caption(name: str, *, lang: str, panel: xr.Dataset | None = None, note: str = "") -> str:
    """Title of a table or name of a check, and on a second line who was asked, when, how many, and a `note`."""
    title = said("title", lang, name=name) or label(name, lang=lang)
    if panel is None:
        return f"{title}\n{note}"
    about = {"city": panel.attrs["city_name"], "treated": int(panel["treated"].sum()), "areas": panel.sizes["area"]}
    asked = said("asked", lang, waves=panel["wave"].values, answers=answers_told(panel, lang=lang), **about)
    return f"{title}\n{asked} {note}".strip()


def frame(rows: pd.DataFrame, names: str, *, lang: str, **about: str) -> pd.DataFrame:
    """Rows for readers: of these columns those that are there, headed and written as everywhere; missing stays empty.
    Headings by name are in template/findings.j2 (`about` fills their fields), how a value is written is in `FORMS`."""
    made = {}
    for name in names.split():
        if (form := FORMS.get(name)) == "row":
            text = [said("cell", lang, name=name, row=row) for row in rows.to_dict("records")]
        elif name not in rows:
            continue
        else:
            values = rows[name].tolist()
            text = ["" if pd.isna(value) else form(value, lang=lang) for value in values] if form else values
        made[said("head", lang, name=name, **about)] = text
    return pd.DataFrame(made)


def estimates(rows: pd.DataFrame, what: str, *, lang: str) -> pd.DataFrame:
    """Effects in pp for readers: the column `what`, then of points, intervals and chances what the rows have."""
    intervals = " ".join(f"interval{level}" for level in ("50", "90") if f"lower{level}" in rows)
    return frame(rows, f"{what} mean {intervals} p_fall p_fall_minimum p_rise ratio", lang=lang)


def effects(rows: pd.DataFrame, *, estimand: str, names: dict, lang: str) -> pd.DataFrame:
    """Rows of `estimand`, att_by_project or att_by_event_time, in points: what, estimate, intervals, chances. `rows`
    are as in effects.csv; `names` gives the label of project ids."""
    rows = rows[(rows["estimand"] == estimand) & (rows["scale"] == "pp")].replace({"project": names})
    return estimates(rows, estimand.removeprefix("att_by_"), lang=lang)


def both_changes(summary: dict, *, names: dict, lang: str) -> pd.DataFrame:
    """Change in cohesion (sd) and insecurity (points) by project, first of all together, and the chance of each corner;
    `summary` of `cohesion.evaluate`, `names` the label of each project id and of "" for all."""
    rows = [
        {"project": names[project], "cohesion": said("two", lang, row=one["att_sd"])}
        | {"insecurity": said("effect", lang, row=one["insecurity_pp"], how="brief")}
        | {label(corner, lang=lang): percent(chance, lang) for corner, chance in one["quadrants"].items()}
        for project, one in ({"": summary} | summary["by_project"]).items()
    ]
    corners = [label(corner, lang=lang) for corner in summary["quadrants"]]
    table = pd.DataFrame(rows)
    return frame(table, "project cohesion insecurity", lang=lang).join(table[corners])


def ratios(rows: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """Recorded incidents of project areas by kind over those without the projects, and how many fewer; `rows` are as in
    effects.csv."""
    _, whole = translator(lang).gettext, rows[rows["event_time"].isna() & rows["project"].isna()]
    kinds, fewer = (whole[whole["estimand"] == name].set_index("item") for name in ("irr", "incidents_averted"))
    rows = kinds.assign(
        incident=[_("all kinds") if item == "all" else names.get(item, item) for item in kinds.index],
        irr=[said("irr", lang, row=row) for row in kinds.to_dict("records")],
        averted=[said("averted", lang, row=row) for row in fewer.loc[kinds.index].to_dict("records")],
    )
    return frame(rows, "incident irr averted p_fall p_fall_minimum p_rise", lang=lang)


def money(value: pd.DataFrame, *, worth_eur: float | None, lang: str) -> pd.DataFrame:
    """What each project cost, for how many residents, and per resident no longer unsafe; `value` of `money.value`."""
    rows = value.rename(columns={"name": "project", "residents": "concerned", "told": "price"})
    names = "project cost_eur concerned fewer price at_minimum p_worth net_benefit evpi evsi"
    return frame(rows, names, lang=lang, worth=euro(worth_eur or 0, lang))


def checks(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Every check with its status and its sentence, the failing ones first."""
    rows = rows.sort_values("status", key=lambda status: status.map(STATUSES.index), kind="stable")
    return frame(rows.rename(columns={"name": "check"}), "check status message", lang=lang)


def answer_names(panel: xr.Dataset, *, lang: str) -> dict[str, str]:
    """The panel's answers in `lang` by label, secure to insecure; one that lumps categories names first and last."""
    labels, (first, last) = categories(panel, lang=lang), (panel[end].values for end in ("lower", "upper"))
    texts = [said("lumped", lang, first=labels[a], last=labels[b]) for a, b in zip(first, last, strict=True)]
    return dict(zip(panel["answer"].values.tolist(), texts, strict=True))


def categories(panel: xr.Dataset, *, lang: str) -> list[str]:
    """The item's categories in `lang`, secure to insecure; as they are for an item that is not in the dictionary."""
    known = ITEMS.get(panel.attrs["item"])
    return list(known.labels[lang] if known and lang in known.labels else panel["category"].to_numpy().astype(str))


def trends(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Shares feeling unsafe by wave in percent: observed, modelled, and without the projects."""
    rows = rows.assign(series=rows["group"] + "_" + rows["series"])
    wide = rows.pivot(index=["year", "wave"], columns="series", values="mean").reset_index("wave")
    names = "wave treated_observed treated_modelled treated_without comparison_observed comparison_modelled"
    return frame(wide, names, lang=lang)


def answers(shares: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """Observed answers by group and wave in percent; `names` gives the label of each answer."""
    wide = shares.pivot(index=["group", "wave"], columns="answer", values="share")
    wide = wide.reindex(shares.set_index(["group", "wave"]).index.unique())
    text = wide.map(lambda value: "" if pd.isna(value) else share(value, lang)).reset_index()
    shown = text[[name for name in names if name in text]].rename(columns=names)
    return frame(text, "group wave", lang=lang).join(shown)


def parameters(values: dict, *, lang: str) -> pd.DataFrame:
    """Names and values, for the parameters of a run or its provenance."""
    _ = translator(lang).gettext
    return pd.DataFrame({_("name"): list(values), _("value"): [str(value) for value in values.values()]})


def facts(values: dict, *, lang: str) -> pd.DataFrame:
    """Names and values as `frame` heads and writes columns, one below the other."""
    return parameters(frame(pd.DataFrame([values]), " ".join(values), lang=lang).iloc[0].to_dict(), lang=lang)


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
    """Fieldwork, mode, questionnaire and notes of each wave; with a panel its waves only, and how many answered. What
    answers are worth, and how many areas have some, stands there only if it matters."""
    rows = place.waves if panel is None else place.waves[place.waves["wave"].isin(panel["wave"].values)]
    counts = {}
    if panel is not None:
        count, total = panel["respondents"], panel["respondents"].sum("area")
        prefix, treated = "assumed_" if panel.attrs["n_assumed"] else "", count.where(panel["treated"], 0).sum("area")
        counts = {f"{prefix}treated": treated.values, f"{prefix}others": (total - treated).values}
        worth, asked = panel["counts"].sum(["area", "stratum", "answer"]), (count > 0).sum("area").values
        counts |= {"worth": worth.values} if (worth < 0.99 * total).any() else {}
        counts |= {"asked": asked} if asked.min() < asked.max() else {}
    names = " ".join(["wave fieldwork mode questionnaire_version break", *counts, "note"])
    return _filled(frame(rows.assign(**counts), names, lang=lang))


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
    known, label = ITEMS.get(panel.attrs["item"]), categories(panel, lang=lang)
    wording, source = (known.wording, known.source) if known else (panel.attrs["question"], "")
    about = {"item": panel.attrs["item"], "wording": wording, "scale": ", ".join(label)}
    about |= {"counted": ", ".join(label[int(panel.attrs["unsafe_index"]) :]), "minimum": panel.attrs["minimum_pp"]}
    return facts(about | {"source": source}, lang=lang)


def notices(place: object, *, lang: str, panel: xr.Dataset | None = None) -> HTML:
    """What was noticed in a city's files and not refused, and what is assumed, as a list; nothing if there is nothing.
    What the reader of the files says is marked as English; what the panel adds is in `lang`."""
    texts = place.notices if panel is None else panel.attrs["notices"].splitlines()
    return filled("notices.html.j2", texts=texts, english=place.notices, lang=lang)
