"""Pictures: each function draws on an `ax` and returns its alt text, made from the numbers it drew.

Blue: project areas; grey: comparison areas; orange: without projects, or unsafe; lines also differ in dash and width."""

import base64
import io
from collections.abc import Callable
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.patches import Circle, Wedge

from workbench.language import number, points, said, short, translator

BLUE, ORANGE, GREY, BROWN = "#1d4f91", "#b45309", "#5a6572", "#5c1d02"
PALE_BLUE, PALE_GREY, INK, RULE = "#8fb0d9", "#dfe5ec", "#1b2530", "#d8dde3"
DPI = 110
sns.set_theme(style="white", font="DejaVu Sans", rc={
    "font.size": 12, "axes.labelsize": 12, "xtick.labelsize": 11.5, "ytick.labelsize": 11.5, "text.color": INK,
    "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "axes.edgecolor": RULE, "grid.color": RULE,
    "grid.linewidth": 0.8, "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False})  # fmt: skip


def png(fig: plt.Figure, *, dpi: int = DPI) -> bytes:
    """The figure as a PNG; the figure is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(fig)
    return buffer.getvalue()


def show(fig: plt.Figure, alt: str, *, simulated: bool = False, lang: str = "en") -> None:
    """Display the figure in a notebook, its alt text in the output's metadata where the report looks for it."""
    alt, data = _encoded(fig, alt, dpi=DPI, simulated=simulated, lang=lang)
    display({"image/png": data, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})


def image_tag(plot: Callable, *data, size=None, ax=None, width=None, simulated=False, lang: str, **options) -> Markup:
    """What `plot` draws of the data, `size` inches or on `ax`, as an `<img>` with its own data; `width` in pixels."""
    ax = ax or plt.subplots(figsize=size)[1]
    alt = plot(*data, ax=ax, lang=lang, **options)
    alt, encoded = _encoded(ax.figure, alt, dpi=2 * DPI, simulated=simulated, lang=lang)
    shown = Markup(' width="{}"').format(width) if width else ""
    return Markup('<img src="data:image/png;base64,{}" alt="{}"{}>').format(encoded, alt, shown)


def _encoded(fig: plt.Figure, alt: str, *, dpi: int, simulated: bool, lang: str) -> tuple[str, str]:
    """Alt text and PNG; both say if the city is simulated, for pictures leave their report."""
    if simulated:
        note = translator(lang).gettext("simulated")
        alt = f"{alt} ({note})"
        if fig.get_figheight() > 1:  # a strip in a table has no room
            fig.axes[0].text(1, 1, note, transform=fig.axes[0].transAxes, ha="right", va="bottom", color=GREY, size=9)
    return alt, base64.b64encode(png(fig, dpi=dpi)).decode()


def signed(axis, lang: str) -> None:
    """Numbers along this axis with their sign."""
    axis.set_major_formatter(lambda value, _position: ("+" if value > 1e-9 else "") + short(value, lang))


def _zero_and_minimum(line: Callable, minimum_pp: float | None) -> None:
    """A line at 0 and dashed ones at the smallest worthwhile effect; `line` is `ax.axvline` or `ax.axhline`."""
    line(0, color=INK, lw=1, zorder=2)
    for side in (-minimum_pp, minimum_pp) if minimum_pp else ():
        line(side, color=GREY, lw=1, ls=(0, (4, 3)), zorder=2)


def interval(ax: Axes, at: float, row: dict, *, colour: str = BLUE, mark: str = "o", upright: bool = False) -> None:
    """Thin 90 %, thick 50 % and a mark at the mean, of these what the row has; at this height or, upright, this x."""
    looks = {
        ("lower90", "upper90"): {"color": colour, "lw": 2, "zorder": 3},
        ("lower50", "upper50"): {"color": PALE_BLUE if colour == BLUE else (colour, 0.4), "lw": 7, "zorder": 3},
        ("mean",): {"color": colour, "marker": mark, "ms": 8, "mec": "white", "zorder": 4},
    }
    for keys, look in looks.items():
        if keys[0] in row:
            xy = [row[key] for key in keys], [at] * len(keys)
            ax.plot(*(xy[::-1] if upright else xy), solid_capstyle="butt", **look)


def forest(rows: pd.DataFrame, *, ax: Axes, labels, texts=None, minimum_pp: float | None = None, lang: str) -> str:
    """An effect per row in pp, from the top down at the y ticks; label left, right the text, else its numbers. `rows`
    has what `interval` draws, and may have `group` (groups stand apart, each with its own mark) and `colour`."""
    _ = translator(lang).gettext
    group = rows.get("group", pd.Series("", rows.index))
    marks = group.map(dict(zip(dict.fromkeys(group), "oosD" * len(rows), strict=False)))
    heights = -np.arange(len(rows)) - 0.7 * (group != group.shift()).cumsum().to_numpy()
    records = rows.to_dict("records")
    brief, full = (texts or [said("effect", lang, row=row, how=how) for row in records] for how in ("brief", "full"))
    _zero_and_minimum(ax.axvline, minimum_pp)
    for y, row, mark, text in zip(heights, records, marks, brief, strict=True):
        interval(ax, y, row, colour=row.get("colour", BLUE), mark=mark)
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", size=11.5)
    ax.set_yticks(heights, labels)
    ax.tick_params(axis="y", labelcolor=INK)
    ax.set_ylim(heights[-1] - 0.7, heights[0] + 0.7)
    ax.set_xlabel(_("change in residents feeling unsafe, percentage points"))
    signed(ax.xaxis, lang)
    sns.despine(ax=ax, left=True)
    alt = "; ".join(f"{label} {text}" for label, text in zip(labels, full, strict=True)).replace("\n", " ") + "."
    minimum = _("Smallest worthwhile effect: {minimum} points.")
    return f"{alt} {minimum.format(minimum=short(minimum_pp, lang))}" if minimum_pp else alt


def direct_labels(ax: Axes, x: float, heights, texts, colours, *, gap: float, keys=()) -> None:
    """Labels right of `x`, at their heights or as near as a `gap` allows; `keys` colour squares before them."""
    order = np.argsort(heights)
    placed = np.asarray(heights, dtype=float)[order]
    for _sweep in range(50):  # push overlapping neighbours apart, both equally, until none overlap
        for i in range(1, len(placed)):
            lack = max(gap - (placed[i] - placed[i - 1]), 0)
            placed[i - 1 : i + 1] += [-lack / 2, lack / 2]
    for y, index in zip(placed, order, strict=True):
        if keys:
            ax.plot(x - 0.25, y, "s", color=keys[index], ms=9, mec=GREY, mew=0.6)
        ax.text(x, y, texts[index], color=colours[index], weight="bold", va="center", linespacing=1.05)


def plot_answers(shares: pd.DataFrame, *, ax: Axes, names: dict, lang: str) -> str:
    """Answers by wave, stacked to 100 percent: project areas left, comparison areas right. `shares` has `group`,
    `wave`, `answer` (secure to insecure, as `names` labels them; a wave may publish fewer) and `share` in percent."""
    groups = {group: said("way", lang, name=group) for group in ("treated", "comparison")}
    waves, known = list(dict.fromkeys(shares["wave"])), dict.fromkeys([*names, *shares["answer"]])
    wide = shares.pivot(index=["group", "wave"], columns="answer", values="share")
    wide = wide[[answer for answer in known if answer in wide]].rename(columns=names)
    wide = wide.reindex(pd.MultiIndex.from_product([groups, waves]))
    colours = sns.blend_palette(["#dbe7f5", "#e9e4df", "#e9a15f", ORANGE, "#6b2f04"], wide.shape[1])
    at = np.arange(len(wide)) + np.repeat([0, 0.8], len(waves))
    heights = wide.fillna(0)
    for (answer, height), colour in zip(heights.items(), colours, strict=True):
        bottom = heights.loc[:, :answer].sum(axis=1) - height
        bars = ax.bar(at, height, bottom=bottom, color=colour, width=0.82, edgecolor="white")
        ink = "white" if np.dot(colour, (0.299, 0.587, 0.114)) < 0.55 else INK
        inside = [number(share, lang, 0) if share >= 7 else "" for share in height]
        ax.bar_label(bars, inside, label_type="center", size=10.5, color=ink)
    for name, middle in zip(groups.values(), at.reshape(2, -1).mean(axis=1), strict=True):
        ax.text(middle, 104, name, ha="center", weight="bold")
    last = wide.loc["comparison"]
    middles = (last.cumsum(axis=1) - last / 2).ffill().iloc[-1].fillna(0)  # where an answer was last given
    direct_labels(ax, at[-1] + 0.9, middles, list(wide), [INK] * len(colours), gap=8, keys=colours)
    ax.set(ylim=(0, 112), xlim=(-0.6, at[-1] + 2.6), yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    ax.set_xticks(at, waves * 2)
    sns.despine(ax=ax, left=True)
    return said("answers", lang, groups={name: wide.loc[group].T.to_dict() for group, name in groups.items()})


def plot_trends(trends: pd.DataFrame, *, ax: Axes, lang: str) -> str:
    """Share feeling unsafe by wave, in percent, as of `estimands.trends`: project and comparison areas, and project
    areas without the projects (90 % band). Dots are what the survey observed, lines what the model makes of it."""
    _ = translator(lang).gettext
    by = {key: frame.sort_values("year") for key, frame in trends.groupby(["group", "series"])}
    treated, comparison, without = by["treated", "modelled"], by["comparison", "modelled"], by["treated", "without"]
    moved = np.flatnonzero((without["mean"].to_numpy() - treated["mean"].to_numpy()).round(6))
    without = without.iloc[max(moved[0] - 1, 0) :] if len(moved) else without.iloc[:0]  # from where it leaves the line
    lines = [
        (without, _("without\nthe projects"), {"color": ORANGE, "lw": 2.5, "dashes": (3, 2)}),
        (comparison, _("comparison\nareas"), {"color": GREY, "lw": 2.2}),
        (treated, _("project\nareas"), {"color": BLUE, "lw": 3.4}),
    ][0 if len(without) else 1 :]
    ax.grid(axis="y")
    sns.despine(ax=ax, left=True, bottom=True)
    ax.fill_between(without["year"], without["lower90"], without["upper90"], color=ORANGE, alpha=0.13, lw=0)
    for line, _label, style in lines:
        ax.plot(line["year"], line["mean"], **style)
    for group, colour in (("comparison", GREY), ("treated", BLUE)):
        ax.plot(by[group, "observed"]["year"], by[group, "observed"]["mean"], "o", color=colour, ms=5, mec="white")
    (low, high), last = ax.get_ylim(), treated.iloc[-1]
    span = last["year"] - treated["year"].min() or 1
    ends, labels, styles = zip(*((line["mean"].iloc[-1], label, style) for line, label, style in lines), strict=True)
    colours = [style["color"] for style in styles]
    direct_labels(ax, last["year"] + 0.03 * span, ends, labels, colours, gap=(high - low) * 0.17)
    ax.yaxis.set_major_formatter(lambda value, _position: f"{short(value, lang)} %")
    ax.set_xticks(treated["year"], treated["wave"].astype(str))
    ax.set_xlim(right=last["year"] + 0.38 * span)
    expected = without.iloc[-1] if len(without) else None
    return said("trends", lang, waves=treated["wave"].tolist(), went=course(trends, lang=lang), without=expected)


def course(trends: pd.DataFrame, *, lang: str) -> str:
    """The sentence that says from where to where both groups of areas went."""
    rows = trends[trends["series"] == "modelled"].sort_values("year").groupby("group")["mean"]
    return said("course", lang, **rows.agg(lambda mean: (mean.iloc[0], mean.iloc[-1])))


def plot_effects(effects, prior: pd.DataFrame, *, ax: Axes, names: dict, minimum_pp: float, lang: str) -> str:
    """Effect per project and overall in pp (rows `att`, `att_by_project`): dot mean, thick 50 %, thin 90 %; the prior's
    90 % as a grey band behind. `names` gives the label of each project."""
    _ = translator(lang).gettext
    kept = "scale == 'pp' & estimand in ['att', 'att_by_project']"
    rows, before = (frame.query(kept).fillna({"project": ""}) for frame in (effects, prior))
    rows = rows.iloc[1:] if len(rows) == 2 else rows  # of one project the whole says nothing more
    labels = [fill(names.get(p, p), 28) if p else _("all projects") for p in rows["project"]]
    alt = forest(rows, ax=ax, labels=labels, minimum_pp=minimum_pp, lang=lang)
    band = before.set_index("project").reindex(rows["project"])
    ax.barh(ax.get_yticks(), band["upper90"] - band["lower90"], 0.62, left=band["lower90"], color=PALE_GREY, zorder=1)
    return _("Effect per project.") + " " + alt


def plot_event_study(effects: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """Effect in pp by waves since the start, all projects together; thick 50 %, thin 90 %. `effects` as of
    `estimands.effects_table`, or with leads (grey squares) and 90 % only as of `sensitivity.event_study`."""
    _ = translator(lang).gettext
    rows = effects.query("estimand == 'att_by_event_time' & scale == 'pp'") if "estimand" in effects else effects
    rows = rows.astype({"event_time": int}).sort_values("event_time")
    ax.grid(axis="y")
    sns.despine(ax=ax, left=True, bottom=True)
    if rows["event_time"].min() < 0:
        ax.axvline(-0.5, color=GREY, lw=1, ls=":")
    _zero_and_minimum(ax.axhline, minimum_pp)
    told, beside = [], {"textcoords": "offset points", "va": "center", "bbox": {"color": "white", "pad": 1}}
    for row in rows.to_dict("records"):
        x, (mark, colour) = row["event_time"], ("o", BLUE) if row["event_time"] >= 0 else ("s", GREY)
        interval(ax, x, row, colour=colour, mark=mark, upright=True)
        ax.annotate(points(row["mean"], lang), (x, row["mean"]), (14, 0), **beside)
        told.append(f"{x}: {said('effect', lang, row=row)}")
    ax.set_xticks(rows["event_time"])
    ax.set_xlim(rows["event_time"].min() - 0.6, rows["event_time"].max() + 0.8)
    ax.set(xlabel=_("waves since the start"), ylabel=_("percentage points"))
    signed(ax.yaxis, lang)
    return _("Effect by waves since the start.") + f" {'; '.join(told)}."


def plot_residents(unsafe: int, *, ax: Axes, fewer: int = 0, more: int = 0, lang: str) -> str:
    """100 residents: `unsafe` feel unsafe today, of whom `more` because of the projects; `fewer` no longer do."""
    safe, marks = 100 - unsafe - fewer, {BROWN: "+", BLUE: "✓"}  # told apart without colour too
    colours = [ORANGE] * (unsafe - more) + [BROWN] * more + [BLUE] * fewer + [PALE_GREY] * safe
    for index, colour in enumerate(colours):
        x, y = index % 10, 9 - index // 10
        ax.add_patch(Circle((x, y + 0.2), 0.17, color=colour, lw=0))
        ax.add_patch(Wedge((x, y - 0.38), 0.36, 0, 180, color=colour, lw=0))
        style = {"color": "white", "ha": "center", "va": "center", "size": 9, "weight": "bold"}
        ax.text(x, y - 0.22, marks.get(colour, ""), **style)
    ax.set(xlim=(-0.5, 9.5), ylim=(-0.5, 9.5), aspect="equal")
    ax.axis("off")
    return said("hundred", lang, unsafe=unsafe, fewer=fewer, more=more, safe=safe)


def plot_strip(row: dict, *, ax: Axes, minimum_pp: float, limit: float, lang: str) -> str:
    """A small interval for a table, -limit to limit: zero line, dashed smallest worthwhile fall, 90 % bar, dot."""
    ax.axhline(0, color=PALE_GREY, lw=2, zorder=1)
    ax.vlines([0, -minimum_pp], -1, 1, colors=[INK, GREY], lw=1.2, ls=["-", (0, (3, 2))], zorder=2)
    ax.plot([row["lower90"], row["upper90"]], [0, 0], color=PALE_BLUE, lw=6, solid_capstyle="butt", zorder=3)
    ax.plot(row["mean"], 0, "o", color=BLUE, ms=9, zorder=4)
    ax.set(xlim=(-limit, limit), ylim=(-1.1, 1.1))
    ax.axis("off")
    return said("effect", lang, row=row)
