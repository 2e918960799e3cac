"""The map of projects: what runs where and when, what it costs and reaches, and what the city measures.

The first step of Action 5. Indicators follow the six dimensions of Action 1 (indicators.toml says where from)."""

import tomllib
from pathlib import Path
from textwrap import fill

import matplotlib.dates as mdates
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from workbench import tables
from workbench.figures import BLUE, INK, ORANGE, PALE_BLUE, PALE_GREY, RULE
from workbench.items import ITEMS
from workbench.language import month, said, short, translator

DIMENSIONS = {"insecurity": "sense-of-safety", "cohesion": "social-cohesion", "reporting": "urban-security"}  # of items


def plot_timeline(rows, pairs, waves, *, ax: Axes, lang) -> str:
    """A bar per project and area: announced grey, starting pale, running in full blue, hatched where two run at a time.
    Orange columns are survey waves. `rows` of projects with `area_name`, in order (the first 40 are drawn); `pairs` of
    projects, `project` and `project_other`, in one `area` at a time, from `begin` to `end` (NaT = still)."""
    _ = translator(lang).gettext
    shown = rows.head(40)
    last = pd.concat([waves["end"], rows["full"], rows["stop"]]).max() + pd.Timedelta(days=60)
    until, running = shown["stop"].fillna(last), shown.index[shown["stop"].isna()]
    both = pd.concat([pairs, pairs.assign(project=pairs["project_other"])])[["area", "project", "begin", "end"]]
    both = shown.reset_index().merge(both.fillna({"end": last}), on=["area", "project"]).set_index("index")
    ax.figure.set_size_inches(10, 0.3 * len(shown) + 1.9)
    bars = lambda begin, end, **look: ax.barh(-begin.index, end - begin, left=begin, height=0.62, **look)
    bars(shown["announced"], shown["start"], color=PALE_GREY, zorder=2)
    bars(shown["start"], shown["full"], color=PALE_BLUE, zorder=2)
    bars(shown["full"], until, color=BLUE, zorder=2)
    bars(both["begin"], both["end"], color="none", edgecolor="white", hatch="////", lw=0, zorder=4)
    ax.plot([last] * len(running), -running, ">", color=BLUE, ms=9, zorder=3)
    for wave in waves.to_dict("records"):
        ax.axvspan(wave["start"], wave["end"], color=ORANGE, alpha=0.25, lw=0, zorder=1)
        ax.text(wave["start"], 0.7, wave["wave"], va="bottom", color=ORANGE)
    ax.text(-0.01, 0.7, _("survey waves"), transform=ax.get_yaxis_transform(), ha="right", va="bottom", color=ORANGE)
    for _project, group in shown.groupby("project", sort=False):
        style = {"transform": ax.get_yaxis_transform(), "va": "top", "color": BLUE, "weight": "bold"}
        ax.text(1.02, 0.4 - group.index[0], fill(group["name"].iloc[0], 24), **style)
        ax.axhline(0.5 - group.index[0], color=RULE, lw=0.8)
    ax.set_yticks(-shown.index, shown["area_name"])
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set(ylim=(0.4 - len(shown), 1.8), xlim=(None, last + pd.Timedelta(days=30)))
    ax.set_xlabel(_("grey: announced; pale: starting; blue: running; hatched: two at a time; arrow: still running"))
    ax.xaxis.set_major_locator(mdates.YearLocator())
    ax.xaxis.set_major_formatter(mdates.DateFormatter("%Y"))
    sns.despine(ax=ax, left=True)
    projects = [group for _project, group in shown.groupby("project", sort=False)]
    return said("timeline", lang, projects=projects, waves=waves["wave"], n=pairs["area"].nunique())


def reach(rows, place, *, by, lang) -> pd.DataFrame:
    """Cost and people reached, `by` project, focus or kind, and per resident of the areas it runs in. A figure that any
    of its areas lacks is left out of the division, never counted as nothing."""
    groups, population = rows.groupby(by, sort=False), place.areas.set_index("area")["population"]
    areas, known = groups["area"].unique(), groups[["cost_eur", "reached"]].sum(skipna=False)
    residents = areas.map(lambda each: population.reindex(each).sum(skipna=False))
    made = groups[["cost_eur", "reached"]].sum(min_count=1).assign(areas=areas.map(len), residents=residents)
    made["cost_each"], made["part"] = known["cost_eur"] / residents, 100 * known["reached"] / residents
    label, missing = groups["name" if by == "project" else by].first(), translator(lang).gettext("not said")
    made[by] = [said("focus", lang, name=word) if by == "focus" else word or missing for word in label]
    return tables.frame(made, f"{by} areas residents cost_eur cost_each reached part", lang=lang)


def catalogue(lang) -> pd.DataFrame:
    """Indicators that many cities have: dimension, indicator, their names in `lang`, unit, and where it is `found`."""
    content = tomllib.loads((Path(__file__).parent / "indicators.toml").read_text(encoding="utf-8"))
    return pd.DataFrame([
        {"dimension": dimension, "indicator": indicator, "dimension_name": about["name"][lang], "name": one[lang],
         "unit": content["units"][one["unit"]][lang], "found": content["found"][one["found"]][lang]}
        for dimension, about in content["dimensions"].items() for indicator, one in about["indicators"].items()
    ])  # fmt: skip


def indicators(place, *, lang) -> pd.DataFrame:
    """The catalogue with a city's latest values, `told` and `date` ("" = a gap), and below it what else the city has. A
    value of the whole city goes before those of areas, which are told from the lowest to the highest. Survey items
    count for the dimension they measure."""
    _ = translator(lang).gettext
    table = catalogue(lang).assign(told="", date="").set_index(["dimension", "indicator"])
    own = {} if place.indicators is None else place.indicators.groupby(["dimension", "indicator"], sort=False)
    dimensions = table.groupby("dimension", sort=False)["dimension_name"].first()
    for key, rows in own:
        last = rows[rows["date"] == rows["date"].max()]
        values, one = last.loc[last["area"].eq("") | ~last["area"].eq("").any(), "value"], last.iloc[0]
        told = " – ".join(dict.fromkeys(short(value, lang) for value in (values.min(), values.max())))
        known = [dimensions[key[0]], key[1], "", one["source"]] if key not in table.index else table.loc[key].iloc[:4]
        table.loc[key, :] = [*known, told, month(one["date"], lang)]
        table.loc[key, "unit"] = one["unit"] or table.loc[key, "unit"]
    for item in place.items:
        dimension = DIMENSIONS[ITEMS[item].construct]
        asked = [ITEMS[item].question[lang], "", _("own survey"), _("asked"), month(place.waves["end"].max(), lang)]
        table.loc[(dimension, item), :] = [dimensions[dimension], *asked]
    return table.reindex(dimensions.index, level="dimension").reset_index()
