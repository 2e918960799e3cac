"""Pictures of cohesion beside insecurity and of recorded incidents: where projects lie, and what assumptions would do.

As in `figures`: each draws on an `ax` and returns its alt text, made from the numbers it drew."""

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse
from matplotlib.ticker import FixedLocator, NullLocator
from scipy.stats import chi2

from workbench.figures import BLUE, GREY, INK, ORANGE, PALE_BLUE, direct_labels, interval, signed
from workbench.language import number, percent, points, said, translator


def plot_quadrants(found: xr.Dataset, chances: pd.DataFrame, *, ax: Axes, names: dict, lang: str) -> str:
    """Each project in the plane of change in cohesion (sd, right = more) and in insecurity (pp, down = safer): a dot at
    the mean and the region that holds 50 and 90 % of a normal of its draws. `found` is of `cohesion.changes`, `chances`
    of `cohesion.quadrants`; `names` gives the label of each project."""
    _ = translator(lang).gettext
    projects = [p for p in found["project"].values.tolist() if p]
    corners = [column for column in chances if column != "project"]
    chance, told, reach = chances.set_index("project"), [], np.zeros(2)
    for project in projects:
        both = np.stack([found[name].sel(project=project).values.ravel() for name in ("cohesion", "insecurity")])
        middle, (size, axes) = both.mean(1), np.linalg.eigh(np.cov(both))
        angle = np.degrees(np.arctan2(axes[1, 1], axes[0, 1]))
        for inside, style in ((0.9, {"fill": False, "ec": BLUE, "lw": 1.2}), (0.5, {"fc": PALE_BLUE, "alpha": 0.35})):
            across, along = 2 * np.sqrt(chi2.ppf(inside, 2) * size)
            ax.add_patch(Ellipse(middle, along, across, angle=angle, zorder=2, **style))
        ax.plot(*middle, "o", color=BLUE, ms=7, mec="white", zorder=4)
        reach = np.maximum(reach, abs(middle) + np.sqrt(chi2.ppf(0.9, 2)) * both.std(1))
        best = max(corners, key=lambda corner, project=project: chance.loc[project, corner])
        row = {"name": names.get(project, project), "corner": _(best), "chance": percent(chance[best][project], lang)}
        told.append(row | {"cohesion": number(middle[0], lang, 2), "insecurity": points(middle[1], lang)})
    wide, high = 1.15 * reach
    ax.axhline(0, color=INK, lw=1, zorder=1)
    ax.axvline(0, color=INK, lw=1, zorder=1)
    middles = [found["insecurity"].sel(project=p).values.mean() for p in projects]
    direct_labels(ax, 1.03 * wide, middles, [row["name"] for row in told], [BLUE] * len(told), gap=0.13 * high)
    for p, y in zip(projects, middles, strict=True):
        ax.plot([found["cohesion"].sel(project=p).values.mean(), wide], [y, y], color=GREY, lw=0.5, ls=":", zorder=1)
    for corner, (x, y) in zip(corners, ((0.98, 0.02), (0.98, 0.98), (0.02, 0.02), (0.02, 0.98)), strict=True):
        place = {"ha": "right" if x > 0.5 else "left", "va": "top" if y > 0.5 else "bottom"}
        box = {"color": "white", "alpha": 0.8, "pad": 1}
        ax.text(x, y, _(corner), transform=ax.transAxes, color=GREY, weight="bold", bbox=box, zorder=5, **place)
    ax.set(xlim=(-wide, wide), ylim=(-high, high), xlabel=_("change in cohesion, standard deviations of residents"))
    ax.set_ylabel(_("change in residents feeling unsafe,\npercentage points"))
    signed(ax.yaxis, lang)
    signed(ax.xaxis, lang)
    return said("quadrants", lang, rows=told)


def plot_mechanism(curve: pd.DataFrame, *, ax: Axes, vanishes: dict, lang: str) -> str:
    """Exploratory: the part of the effect that may go through cohesion, in pp (median, 90 % band), by how strongly
    unmeasured confounders correlate both outcomes' shocks. `curve` and `vanishes` are of `cohesion.mechanism`."""
    _ = translator(lang).gettext
    none = _over_assumption(curve, curve["rho"], "median", ax=ax, even=0)
    ax.plot([vanishes["lower90"], vanishes["upper90"]], [0, 0], color=ORANGE, lw=4, solid_capstyle="butt", zorder=3)
    ax.plot(vanishes["median"], 0, "D", color=ORANGE, ms=9, mec="white", zorder=4)
    ax.set_xticks(curve["rho"][::3])
    ax.set_xlabel(_("correlation that unmeasured confounders give cohesion and insecurity"))
    ax.set_ylabel(_("through cohesion,\npercentage points"))
    ax.set_title(_("Exploratory"), loc="left", color=ORANGE, size=12, weight="bold")
    signed(ax.yaxis, lang)
    signed(ax.xaxis, lang)
    ends = curve.iloc[[0, -1]].to_dict("records")
    return said("mechanism_curve", lang, bare=none, vanishes=vanishes, ends=ends)


def _over_assumption(curve, x, middle, *, ax, even) -> dict:
    """A curve and its 90 % band over the values `x` of an assumption, with a line where there is no effect; returns the
    row in which nothing is assumed, a dot."""
    ax.grid(axis="y")
    ax.fill_between(x, curve["lower90"], curve["upper90"], color=PALE_BLUE, alpha=0.4, lw=0)
    ax.plot(x, curve[middle], color=BLUE, lw=2.5)
    ax.axhline(even, color=INK, lw=1)
    ax.axvline(0, color=GREY, lw=1, ls=":")
    none = curve.loc[x.abs().idxmin()].to_dict()
    ax.plot(0, none[middle], "o", color=BLUE, ms=9, mec="white", zorder=4)
    return none


def _ratios(axis, lang) -> None:
    """A log axis of ratios, with their numbers."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(FixedLocator([0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 2]))
    axis.set_major_formatter(lambda value, _position: number(value, lang, 2))
    axis.set_minor_locator(NullLocator())


def plot_rates(rates: pd.DataFrame, *, ax: Axes, lang: str) -> str:
    """Incidents recorded per 1,000 residents by year (`recorded.rates`): project areas, their neighbours, comparison."""
    _ = translator(lang).gettext
    looks = {
        "treated": (_("project\nareas"), {"color": BLUE, "lw": 3.4}),
        "neighbours": (_("neighbours"), {"color": ORANGE, "lw": 2.4, "dashes": (3, 2)}),
        "comparison": (_("comparison\nareas"), {"color": GREY, "lw": 2.2}),
    }
    lines = {group: rows.set_index("year")["rate"] for group, rows in rates.groupby("group")}
    groups = [group for group in looks if group in lines]
    for group in groups:
        ax.plot(lines[group], **looks[group][1])
    years, top = sorted(rates["year"].unique()), 1.2 * rates["rate"].max()
    ends, names, colours = zip(*((lines[g].iloc[-1], looks[g][0], looks[g][1]["color"]) for g in groups), strict=True)
    direct_labels(ax, years[-1] + 0.03 * (years[-1] - years[0]), ends, names, colours, gap=0.13 * top)
    ax.set(ylim=(0, top), xlim=(years[0], years[-1] + 0.3 * (years[-1] - years[0])), xticks=years)
    ax.set_ylabel(_("recorded per 1,000 residents and year"))
    ax.grid(axis="y")
    told = [
        {"name": looks[g][0].replace("\n", " "), "first": lines[g].iloc[0], "last": lines[g].iloc[-1]} for g in groups
    ]
    return said("rates", lang, years=years, rows=told)


def plot_irr(effects: pd.DataFrame, *, ax: Axes, names: dict, lang: str) -> str:
    """Ratio of recorded incidents with the projects to those without (rows of `recorded.evaluate`): all kinds, each kind,
    each project, neighbours (orange) and both together, on a log axis; dot mean, thick 50 %, thin 90 %. `names` gives
    the labels of kinds and projects."""
    _ = translator(lang).gettext
    rows = effects[(effects["scale"] == "ratio") & effects["event_time"].isna()].fillna({"project": ""})
    rows = rows[(rows["project"] == "") | ((rows["estimand"] == "irr") & (rows["item"] == "all"))]
    rows = rows[(rows["estimand"] == "irr") | (rows["item"] == "all")]
    fixed = {"irr_neighbours": _("neighbours of project areas"), "irr_net": _("project areas and neighbours")}
    own = rows["project"].where(rows["project"] != "", rows["item"]).map({"all": _("project areas"), **names})
    rows = rows.assign(label=rows["estimand"].map(fixed).fillna(own))
    place = {"irr_neighbours": 3, "irr_net": 4}
    group = rows["estimand"].map(place).fillna((rows["item"] != "all") + 2.0 * (rows["project"] != ""))
    rows = rows.assign(group=group).sort_values("group", kind="stable")
    heights = -np.arange(len(rows)) - 0.6 * rows["group"].diff().fillna(0).ne(0).cumsum().to_numpy()
    told = []
    for y, row in zip(heights, rows.to_dict("records"), strict=True):
        colour = {3: ORANGE, 4: GREY}.get(row["group"], BLUE)
        interval(ax, y, row, colour=colour, mark="D" if row["group"] > 2 else "o")
        told.append({"label": row["label"], "text": said("irr", lang, row=row)})
        ax.text(1.02, y, told[-1]["text"], transform=ax.get_yaxis_transform(), va="center", size=11.5)
    ax.axvline(1, color=INK, lw=1, zorder=2)
    _ratios(ax.xaxis, lang)
    ax.set_yticks(heights, [row["label"] for row in told])
    ax.tick_params(axis="y", length=0, labelcolor=INK)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(heights[-1] - 0.7, heights[0] + 0.7)
    ax.set_xlabel(_("incidents, with the projects over without (1 = no difference)"))
    return said("irr_rows", lang, rows=told)


def plot_reporting(reporting: dict, *, ax: Axes, lang: str) -> str:
    """The ratio of what happened, with its 90 % band, by how the share that gets recorded changed in project areas (percent);
    orange: the change at which a rise and a fall are equally likely. `reporting` is of `recorded.evaluate`."""
    _ = translator(lang).gettext
    curve, even = pd.DataFrame(reporting["curve"]), reporting["tipping"]["even"]
    percents = 100 * (curve["factor"] - 1)
    none = _over_assumption(curve, percents, "mean", ax=ax, even=1)
    if percents.min() <= 100 * (even - 1) <= percents.max():
        ax.plot(100 * (even - 1), 1, "D", color=ORANGE, ms=9, mec="white", zorder=4)
    survey, low = reporting["survey"], 0.94 * curve["lower90"].min()
    if survey:
        ends = np.clip([survey["lower90"], survey["upper90"]], percents.min(), percents.max())
        ax.plot(ends, [low, low], color=GREY, lw=5, solid_capstyle="butt")
        ax.plot(survey["mean"], low, "s", color=GREY, ms=8, mec="white")
        ax.annotate(_("victims in the survey"), (ends[0], low), (0, 9), textcoords="offset points", color=GREY, size=11)
    ax.set_xlim(percents.min(), percents.max())
    _ratios(ax.yaxis, lang)
    ax.set_xlabel(_("change in the share that gets recorded in project areas, percent"))
    ax.set_ylabel(_("ratio of what happened"))
    signed(ax.xaxis, lang)
    return said("reporting_curve", lang, bare=none, even=100 * (even - 1), survey=survey)
