"""What there is before any model, as tables: projects, registration, waves, areas, the item, notices."""

import pandas as pd
import xarray as xr
from IPython.display import HTML

from workbench.items import ITEMS
from workbench.language import translator
from workbench.tables import categories, facts, filled, frame


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
    known, label = ITEMS.get(panel.attrs["item"]), categories(panel, lang=lang)
    wording, source = (known.wording, known.source) if known else (panel.attrs["question"], "")
    about = {"item": panel.attrs["item"], "wording": wording, "scale": ", ".join(label)}
    about |= {"counted": ", ".join(label[int(panel.attrs["unsafe_index"]) :]), "minimum": panel.attrs["minimum_pp"]}
    return facts(about | {"source": source}, lang=lang)


def notices(place: object, *, lang: str, panel: xr.Dataset | None = None) -> HTML:
    """What was noticed in a city's files and not refused, and what is assumed, as a list; nothing if there is nothing.

    What the reader of the files says is marked as English; what the panel adds is in `lang`.
    """
    texts = place.notices if panel is None else panel.attrs["notices"].splitlines()
    return filled("notices.html.j2", texts=texts, english=place.notices, lang=lang)
