"""Pictures of what evidence leans on and is for: checks asked in other ways, partners, worth, cities together.

Frames of checks are those of `sensitivity` and `robustness`, in pp. Each `plot_` draws on an `ax` and returns its alt
text, made from the numbers it drew; colours as in `figures`."""

from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes

from workbench import collective, figures, tables
from workbench.figures import BLUE, GREY, INK, ORANGE, PALE_GREY, RULE
from workbench.language import euro, number, said, translator


def show(frame: pd.DataFrame | None, plot, *, panel, title: str, lang: str) -> None:
    """Display the picture that `plot` makes of a frame, and its table; nothing without a frame (the check says why)."""
    if frame is None or frame.empty:
        return
    fig, ax = plt.subplots(figsize=(8.5, 4))
    alt = plot(frame, ax=ax, minimum_pp=panel.attrs["minimum_pp"], lang=lang)
    figures.show(fig, alt, simulated=bool(panel.attrs["simulated"]), lang=lang)
    display(tables.html(table(frame, lang=lang), tables.caption(title, panel=panel, lang=lang)))


def table(frame: pd.DataFrame, *, lang: str) -> pd.DataFrame:
    """The numbers of a picture, rounded; of lots drawn their quantiles beside the actual choice."""
    if "event_time" in frame:
        return tables.estimates(frame, "event_time", lang=lang)
    if "as_large" in frame:
        lots = frame[["mean", "ratio"]].quantile([0.05, 0.5, 0.95]).assign(name=["lots 5", "lots 50", "lots 95"])
        frame = pd.concat([frame[frame["actual"]].assign(name="actual"), lots])
    return tables.estimates(frame, "what", lang=lang)


def plot_lots(frame: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """Histogram of effect over error for lots of areas; those at least as far from 0 as the actual one hatched."""
    _ = translator(lang).gettext
    actual, most = frame.loc[frame["actual"], "ratio"].item(), frame["ratio"].abs().max()
    step = (reach := max(abs(actual), most / 20)) / round(20 * reach / most)  # a bar ends where hatching begins
    bins = step * np.arange(-np.ceil(most / step) - 1, np.ceil(most / step) + 2)
    parts = [frame.loc[frame["as_large"] == side, "ratio"] for side in (False, True)]
    style = {"color": [PALE_GREY, ORANGE], "hatch": ["", "////"], "edgecolor": "white", "lw": 0.6}
    ax.hist(parts, bins=bins, stacked=True, **style)
    ax.axvline(actual, color=BLUE, lw=3)
    ax.text(actual, 1, _("actual"), transform=ax.get_xaxis_transform(), ha="center", va="bottom", color=BLUE)
    ax.set(xlabel=_("effect over its error"), ylabel=_("choices of areas"))
    figures.signed(ax.xaxis, lang)
    return said("lots", lang, n=len(frame), share=frame["as_large"].mean(), ratio=actual)


def plot_ways(frame: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """A dot (`mean`) and 90 % bar per row, groups apart; behind them the first row, a band or where it has none a line.
    Of rows without bars at most 30, those farthest from the first. Gives its figure the height that rows need."""
    if "lower90" not in frame:
        far = (frame["mean"] - frame["mean"].iloc[0]).abs().where(frame.index > 0, np.inf)
        frame = frame.loc[far.nlargest(30).index.sort_values()]
    first, low, high = frame.iloc[0], *(("lower90", "upper90") if "lower90" in frame else ("mean", "mean"))
    words = table(frame, lang=lang)
    texts = words.iloc[:, 1:3].agg("   ".join, axis=1).tolist()
    colours = [BLUE, *np.where(frame["name"] == "breakdown", ORANGE, INK)[1:]]
    rows = pd.DataFrame({"group": frame.index == frame.index[0]} | dict(frame) | {"colour": colours})
    alt = figures.forest(rows, ax=ax, labels=list(words.iloc[:, 0]), texts=texts, minimum_pp=minimum_pp, lang=lang)
    ax.axvspan(first[low], first[high], color=PALE_GREY, zorder=0)
    ax.figure.set_size_inches(6.2, 0.34 * -ax.get_yticks()[-1] + 1.3)
    return alt


def plot_worth(chances: pd.DataFrame, value: pd.DataFrame, *, ax: Axes, worth_eur: float | None, lang: str) -> str:
    """Chance that each project is worth it, by what the city would pay per resident who no longer feels unsafe. Frames
    of `money.chances` and `money.value`. The dot: its price if the effect were just the smallest worthwhile one."""
    _ = translator(lang).gettext
    most, told, styles = chances.index[-1], [], ("-", "--", "-.", ":")
    colours = [(BLUE, ORANGE, INK, GREY)[k % 4] for k in range(chances.shape[1])]
    ax.axhline(50, color=RULE, lw=0.8, zorder=0)
    for k, (project, chance) in enumerate(chances.items()):
        price = value["at_minimum"][project]
        here = np.interp(price, chances.index, chance)
        ax.plot(chances.index, 100 * chance, color=colours[k], lw=2.4, ls=styles[k // 2 % 4])
        ax.plot(price, 100 * here, "o", color=colours[k], ms=9, mec="white", zorder=4)
        told.append((value["name"][project], here, euro(price, lang)))
    if worth_eur and worth_eur <= most:
        ax.axvline(worth_eur, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        ax.text(worth_eur, 101, euro(worth_eur, lang), ha="center", va="bottom")
    names = [fill(value["name"][project], 24) for project in chances]
    gap = 12 if any("\n" in name for name in names) else 6
    figures.direct_labels(ax, 1.02 * most, (100 * chances.iloc[-1]).tolist(), names, colours, gap=gap)
    ax.set(xlim=(0, most), ylim=(0, 100), yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    ax.set_xlabel(_("what the city would pay per resident who no longer feels unsafe, in euro"))
    ax.set_ylabel(_("chance that it is worth it"))
    ax.xaxis.set_major_formatter(lambda x, _position: number(x, lang, 0))
    return said("worth", lang, projects=told)


def plot_profile(profile: pd.DataFrame, *, ax: Axes, names: dict, lang: str) -> str:
    """Five conditions (columns) of each project (rows) from 0 to 4: mean as a dot, range between raters behind it.
    Orange diamonds: the weakest link. `profile` of `collective.profile`; a star: scores given after outcomes."""
    _ = translator(lang).gettext
    heads = collective.rubric(lang).drop_duplicates("condition").set_index("condition")["name"]
    projects = list(dict.fromkeys(profile["project"]))
    ax.figure.set_size_inches(10, 0.6 * len(projects) + 1.7)
    for row in profile.to_dict("records"):
        x, y = 5.6 * heads.index.get_loc(row["condition"]), -projects.index(row["project"])
        colour, mark = (ORANGE, "D") if row["weakest"] else (BLUE, "o") if row["ratings"] else (GREY, "")
        ax.plot(np.arange(x, x + 5), [y] * 5, "|-", color=RULE, lw=1, zorder=1)
        ax.plot([x + row["lowest"], x + row["highest"]], [y, y], color=colour, lw=7, alpha=0.3, solid_capstyle="round")
        ax.plot(x + row["mean"], y, mark, color=colour, ms=9, mec="white", zorder=3)
        place = x + (row["mean"] if row["ratings"] else 2)
        ax.text(place, y + 0.17, said("rated", lang, row=row), color=colour, ha="center")
    for k, head in enumerate(heads):
        ax.text(5.6 * k + 2, 0.75, fill(head, 14), ha="center", va="bottom", weight="bold")
    ax.set_yticks(-np.arange(len(projects)), [fill(names[project], 22) for project in projects])
    ax.set_xticks([5.6 * k + x for k in range(5) for x in (0, 4)], ["0", "4"] * 5)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set(ylim=(0.4 - len(projects), 2.2), xlim=(-0.4, 26.8))
    ax.set_xlabel(_("band: lowest to highest rating; diamond: weakest link; *: scored after outcomes were in"))
    sns.despine(ax=ax, left=True, bottom=True)
    by = profile.assign(head=profile["condition"].map(heads)).groupby("project", sort=False)
    return said("profile", lang, projects=[(names[project], rows.to_dict("records")) for project, rows in by])


def plot_cities(rows: pd.DataFrame, *, ax: Axes, lang: str) -> str:
    """What each city found for itself (hollow, grey) and what it is after pooling (blue), in pp; mean and next city
    below. `rows` have label (of a project) and `kind`, `own` and pooled mean and 90 % ends. The more a card leaves
    open, the further pooling draws it to the others."""
    labels = [fill(label, 34) for label in tables.frame(rows, "label", lang=lang).iloc[:, 0]]
    pooled = rows[["mean", "lower90", "upper90"]].assign(group=rows["kind"] == "project")
    ax.figure.set_size_inches(9, 0.5 * len(rows) + 1.6)
    alt = figures.forest(pooled, ax=ax, labels=labels, lang=lang)
    ax.hlines(ax.get_yticks() + 0.3, rows["own_lower90"], rows["own_upper90"], color=GREY, lw=1.5)
    ax.plot(rows["own"], ax.get_yticks() + 0.3, "o", color="white", mec=GREY, ms=7, zorder=3)
    return translator(lang).gettext("Effects of projects in several cities, pooled. {said}").format(said=alt)
