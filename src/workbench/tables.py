"""Tables that stand beside the pictures: rounded, labelled in the reader's language, every text escaped."""

from html import escape
from pathlib import Path

import pandas as pd
import xarray as xr
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader

from workbench.figures import with_points
from workbench.items import ITEMS
from workbench.language import MINUS, euro, number, percent, points, translator
from workbench.panel import answers_told
from workbench.verdict import change, label

TEMPLATE = Path(__file__).parent / "template"


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
    _ = translator(lang).gettext
    title = {
        "city": _("What the files hold"),
        "projects": _("Projects"),
        "areas": _("Areas compared, and the waves that count"),
        "registration": _("Registered before the outcomes?"),
        "question": _("The question"),
        "waves": _("Waves"),
        "items": _("Items and missing answers"),
        "counts": _("Answers by area and wave"),
        "assumed counts": _("Assumed number of answers by area and wave, not published"),
        "answers": _("Answers in percent"),
        "by area": _("Percent feeling unsafe, by area and wave"),
        "trends": _("Residents feeling unsafe in percent, areas weighted by residents"),
        "att_by_project": _("Effect of each project in percentage points"),
        "att_by_event_time": _("Effect by waves since the start in percentage points"),
        "money": _("What it cost, and whether it was worth it"),
        "checks": _("Checks"),
        "cards": _("Evidence cards"),
        "forest": _("Effects of projects in percentage points, by themselves and pooled"),
        "at base": _("The mean effect at each city's base, in percentage points"),
        "refits": _("The mean under other priors, and without each city"),
        "parameters": _("Main parameters, logit scale"),
        "provenance": _("Provenance"),
        "overlaps": _("Areas with more than one project at a time"),
        "reach": _("Cost and reach"),
        "indicators": _("Indicators by the six dimensions of Action 1"),
        "rubric": _("The rubric of Collective Impact: what each level looks like"),
        "steps": _("The rubric of Collective Impact: what leads from this level to the next"),
        "profile": _("Scores by condition, 0 to 4: mean (lowest – highest)"),
        "gaps": _("Where insecurity is high and no fall is visible"),
        "next steps": _("The lowest conditions and their next steps"),
        "other ways": _("The same question asked in other ways, in percentage points"),
        "assumptions": _("The effect if what had to be assumed were otherwise, in percentage points"),
    }.get(name, label(name, lang=lang))
    if panel is None:
        return f"{title}\n{note}"
    treated, waves = int(panel["treated"].sum()), panel["wave"].to_numpy().astype(str)
    text = _("{city}, project areas: {treated}, comparison areas: {others}, surveys {first} to {last}, {answers}.")
    counts = {"treated": treated, "others": panel.sizes["area"] - treated, "answers": answers_told(panel, lang=lang)}
    about = text.format(city=panel.attrs["city_name"], first=waves[0], last=waves[-1], **counts)
    return f"{title}\n{about} {note}".strip()


def effects(frame: pd.DataFrame, *, estimand: str, names: dict, lang: str) -> pd.DataFrame:
    """Rows of `estimand`, att_by_project or att_by_event_time, in points: what, estimate, intervals, chances.

    `frame` is as in effects.csv; `names` gives the label of project ids.
    """
    _ = translator(lang).gettext
    rows = frame[(frame["estimand"] == estimand) & (frame["scale"] == "pp")]
    if estimand == "att_by_project":
        what = {_("project"): rows["project"].replace(names)}
    else:
        what = {_("waves since the start"): rows["event_time"].astype(int)}
    return pd.DataFrame(
        what
        | {
            _("points"): rows["mean"].map(points, lang=lang),
            _("50 % interval"): ranges(rows, "50", lang),
            _("90 % interval"): ranges(rows, "90", lang),
            _("chance of a fall"): rows["p_fall"].map(_chance, lang=lang),
            _("chance of a fall beyond the minimum"): rows["p_fall_minimum"].map(_chance, lang=lang),
            _("chance of a rise"): rows["p_rise"].map(_chance, lang=lang),
        }
    )


def money(frame: pd.DataFrame, *, worth_eur: float | None, lang: str) -> pd.DataFrame:
    """What each project cost, for how many residents, and per resident no longer unsafe; `frame` of `money.value`."""
    _ = translator(lang).gettext
    amounts = lambda name: ["" if pd.isna(value) else euro(value, lang) for value in frame[name]]
    whole = lambda name: ["" if pd.isna(value) else number(value, lang, 0) for value in frame[name]]
    fewer = frame[["fewer_median", "fewer_lower90", "fewer_upper90"]].set_axis(["mean", "low", "high"], axis=1)
    words = fewer.dropna().map(lambda count: change(-float(f"{count:.2g}"), lang=lang))
    said = {p: _("{mean} ({low} to {high})").format(**row) for p, row in words.to_dict("index").items()}
    made = {
        _("project"): frame["name"],
        _("cost in euro"): whole("cost_eur"),
        _("residents of its areas"): whole("residents"),
        _("of them feel unsafe (90 % interval)"): [said.get(project, "") for project in frame.index],
        _("cost per resident no longer unsafe (90 % interval)"): frame["told"],
        _("the same at the smallest worthwhile effect"): amounts("at_minimum"),
    }
    if "p_worth" in frame:
        head = _("chance that it is worth it, at {worth} each").format(worth=euro(worth_eur, lang))
        made |= {head: frame["p_worth"].map(_chance, lang=lang)}
        made |= {_("expected net benefit"): amounts("net_benefit"), _("worth of knowing for certain"): amounts("evpi")}
        made |= {_("worth of one more wave"): amounts("evsi")}
    return pd.DataFrame(made)


def event_study_note(projects: int, treated_areas: int, *, lang: str) -> str:
    """What must stand beside the event study: with one project in one area it shows the priors at work."""
    _ = translator(lang).gettext
    if projects == 1 and treated_areas == 1:
        return _(
            "One project in one area: by wave, its effect and a chance shock of that area are told apart only by "
            "their priors. Do not read a course over time into this picture."
        )
    return _("Later points rest on fewer projects: those that started last have not been followed as long.")


def ranges(rows: pd.DataFrame, level: str, lang: str) -> list[str]:
    """The interval of each row in points, `−5.6 to +0.2`; `level` is "50" or "90"."""
    text = translator(lang).gettext("{low} to {high}")
    return [with_points(text, row, lang=lang, level=level) for row in rows.to_dict("records")]


def _chance(value: float, lang: str) -> str:
    return "" if pd.isna(value) else percent(value, lang)


def checks(frame: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Every check with its status and its sentence, the failing ones first."""
    _ = translator(lang).gettext
    order = ["fail", "warn", "not possible", "pass"]
    rows = frame.sort_values("status", key=lambda status: status.map(order.index), kind="stable")
    names, statuses = rows["name"].map(label, lang=lang), rows["status"].map(label, lang=lang)
    return pd.DataFrame({_("check"): names, _("status"): statuses, _("what it found"): rows["message"]})


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
    wide = frame.pivot(index=["year", "wave"], columns=["group", "series"], values="mean").reindex(
        columns=list(columns)
    )
    text = wide.map(_percent, na_action="ignore", lang=lang).set_axis(list(columns.values()), axis=1)
    return text.droplevel("year").rename_axis(_("wave")).reset_index()


def answers(shares: pd.DataFrame, *, names: dict, lang: str) -> pd.DataFrame:
    """Observed answers by group and wave in percent; `names` gives the label of each answer."""
    _ = translator(lang).gettext
    groups = {"treated": _("project areas"), "comparison": _("comparison areas")}
    wide = shares.pivot_table(index=["group", "wave"], columns="answer", values="share", sort=False, observed=True)
    text = wide[[answer for answer in names if answer in wide]].map(_percent, na_action="ignore", lang=lang)
    text = text.rename(columns=names).rename(index=groups, level="group").rename_axis(columns=None)
    return text.rename_axis(index=[_("group"), _("wave")]).reset_index()


def _percent(share: float, lang: str) -> str:
    return f"{number(share, lang)} %"


def parameters(values: dict, *, lang: str) -> pd.DataFrame:
    """Names and values, for the parameters of a run or its provenance."""
    _ = translator(lang).gettext
    return pd.DataFrame({_("name"): list(values), _("value"): [str(value) for value in values.values()]})


def forest(rows: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """Each project's own estimate and the pooled one in pp, then the mean and a next city; `rows` of `pooling.forest`."""
    _ = translator(lang).gettext
    names = {"pooled_mean": _("mean of all"), "next_city": _("one project in a next city")}
    told = _("{mean} ({low} to {high})").format
    cell = lambda row, *keys: (
        "" if pd.isna(row[keys[0]]) else told(**{k: points(row[key], lang) for k, key in zip(("mean", "low", "high"), keys, strict=True)})
    )
    records = rows.to_dict("records")
    return pd.DataFrame(
        {
            _("project"): [names.get(row["kind"], row["label"]) for row in records],
            _("its own card (90 % interval)"): [cell(row, "own", "own_lower90", "own_upper90") for row in records],
            _("pooled (90 % interval)"): [cell(row, "mean", "lower90", "upper90") for row in records],
            _("chance of a fall"): [_chance(row["p_fall"], lang) for row in records],
        }
    )


def at_base(effects: pd.DataFrame, pool: xr.Dataset, *, lang: str) -> pd.DataFrame:
    """The pooled mean in pp at each city's base (percent unsafe without the projects, mean over them)."""
    _ = translator(lang).gettext
    rows = effects[effects["estimand"] == "pooled_mean_at_base"]
    base = pool["base_pp"].groupby("city").mean().to_series()
    return pd.DataFrame(
        {
            _("city"): rows["city"],
            _("unsafe without the projects"): [f"{number(base[city], lang)} %" for city in rows["city"]],
            _("points"): [points(value, lang) for value in rows["mean"]],
            _("90 % interval"): ranges(rows, "90", lang),
        }
    )


def refits(frame: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """The pooled mean (logit) under each prior and without each city; `frame` of `pooling.refits`."""
    _ = translator(lang).gettext
    words = {"prior": _("{name} prior"), "without": _("without {name}")}
    priors = {"sceptical": _("sceptical"), "wide": _("wide"), "flat": _("flat")}
    what = [words[kind].format(name=priors.get(name, name)) for kind, name in zip(frame["kind"], frame["name"], strict=True)]
    ends = zip(frame["lower90"], frame["upper90"], strict=True)
    between = [_("{low} to {high}").format(low=number(a, lang, 2), high=number(b, lang, 2)) for a, b in ends]
    return pd.DataFrame({_("pooled"): what, _("mean (logit)"): [number(x, lang, 2) for x in frame["mean"]], _("90 % interval"): between})


def cards(chosen: list[dict], left_out: list[dict], *, lang: str) -> pd.DataFrame:
    """Cards pooled and cards left out, with the reason."""
    _ = translator(lang).gettext
    used = [
        [card["file"], card["city_name"], len(card["inside"]), card["made"], label(card["verdict"], lang=lang), card["grade"], _("pooled")]
        for card in chosen
    ]
    rows = used + [[row["file"], "", "", "", "", "", _("left out: {reason}").format(reason=row["reason"])] for row in left_out]
    heads = [_("card"), _("city"), _("projects"), _("made"), _("verdict there"), _("grade"), _("in this pool")]
    return pd.DataFrame(rows, columns=heads)
