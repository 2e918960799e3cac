"""Pictures: each function draws on an `ax` and returns its alt text, made from the numbers it drew.

Blue is the project areas, grey the comparison areas, orange what would have happened without the projects (or
feeling unsafe). Nothing rests on colour alone: lines differ in dash and width, and labels stand at the data.
"""

import base64
import io
from functools import partial
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from IPython.display import display
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Wedge

from workbench.language import number, points, short, translator

BLUE, ORANGE, GREY = "#1d4f91", "#b45309", "#5a6572"
PALE_BLUE, PALE_GREY, INK, RULE = "#8fb0d9", "#dfe5ec", "#1b2530", "#d8dde3"
DPI = 110
# fmt: off
sns.set_theme(style="white", font="DejaVu Sans", rc={
    "font.size": 12, "axes.labelsize": 12, "xtick.labelsize": 11.5, "ytick.labelsize": 11.5, "text.color": INK,
    "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "axes.edgecolor": RULE,
    "axes.spines.top": False, "axes.spines.right": False, "text.parse_math": False})
# fmt: on


def png(fig: Figure, *, dpi: int = DPI) -> bytes:
    """The figure as a PNG; the figure is closed."""
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, bbox_inches="tight", facecolor="white", metadata={"Software": None})
    plt.close(fig)
    return buffer.getvalue()


def show(fig: Figure, alt: str, *, simulated: bool = False, lang: str = "en") -> None:
    """Display the figure in a notebook, its alt text in the output's metadata where the report looks for it."""
    alt = _marked(fig, alt, simulated=simulated, lang=lang)
    data = base64.b64encode(png(fig)).decode()
    display({"image/png": data, "text/plain": alt}, raw=True, metadata={"image/png": {"alt": alt}})


def image_tag(fig: Figure, alt: str, *, width: int | None = None, simulated: bool = False, lang: str = "en") -> Markup:
    """The figure as an `<img>` that holds its own data, sharp in print; `width` in screen pixels."""
    alt = _marked(fig, alt, simulated=simulated, lang=lang)
    data = base64.b64encode(png(fig, dpi=2 * DPI)).decode()
    size = Markup(' width="{}"').format(width) if width else ""
    return Markup('<img src="data:image/png;base64,{}" alt="{}"{}>').format(Markup(data), alt, size)


def _marked(fig: Figure, alt: str, *, simulated: bool, lang: str) -> str:
    """Say on the picture itself, and return in its alt text, that a city is simulated: pictures leave their report."""
    if not simulated:
        return alt
    note = translator(lang).gettext("simulated")
    if fig.get_figheight() > 1:  # a strip in a table has no room
        fig.axes[0].text(1, 1, note, transform=fig.axes[0].transAxes, ha="right", va="bottom", color=GREY, size=9)
    return f"{alt} ({note})"


def plot_answers(shares: pd.DataFrame, *, ax: Axes, names: dict, lang: str) -> str:
    """Answers by wave, stacked to 100 percent: project areas left, comparison areas right.

    `shares` has `group` treated|comparison, `wave`, `answer` (in the item's order, secure to insecure), `share` in
    percent; a wave that published fewer classes shows fewer. `names` gives the label of each, in that order.
    """
    _ = translator(lang).gettext
    waves, known = list(dict.fromkeys(shares["wave"])), [*names, *dict.fromkeys(shares["answer"])]
    answers = [answer for answer in dict.fromkeys(known) if answer in set(shares["answer"])]
    table = shares.set_index(["group", "wave", "answer"])["share"].unstack().reindex(columns=answers)
    starts, texts = {"treated": 0.0, "comparison": len(waves) + 0.8}, []
    for group, name in (("treated", _("project areas")), ("comparison", _("comparison areas"))):
        block = table.loc[group].reindex(waves)
        _stacks(ax, starts[group], block, lang)
        ax.text(starts[group] + (len(waves) - 1) / 2, 104, name, ha="center", weight="bold")
        texts.append(f"{name}: {_said(block, names, lang)}")
    middle = (block.cumsum(axis=1) - block / 2).ffill().iloc[-1].fillna(0)  # where an answer was last given
    labels, end = [names.get(answer, answer) for answer in answers], starts["comparison"] + len(waves)
    direct_labels(ax, end - 0.1, middle.tolist(), labels, [INK] * len(answers), gap=8, keys=_shades(len(answers)))
    ax.set(ylim=(0, 112), xlim=(-0.6, end + 1.6), yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    ax.set_xticks([start + x for start in starts.values() for x in range(len(waves))], [*map(str, waves)] * 2)
    sns.despine(ax=ax, left=True)
    return _("Answers by wave in percent.") + " " + ". ".join(texts) + "."


def _stacks(ax: Axes, start: float, block: pd.DataFrame, lang: str) -> None:
    """One bar per row of `block`, its columns stacked; numbers where there is room."""
    colours = _shades(block.shape[1])
    bottom, positions = np.zeros(len(block)), start + np.arange(len(block))
    for answer, colour in zip(block.columns, colours, strict=True):
        height = block[answer].fillna(0).to_numpy()
        ax.bar(positions, height, bottom=bottom, color=colour, width=0.82, edgecolor="white")
        for x, h, b in zip(positions, height, bottom, strict=True):
            if h >= 7:
                _bar_text(ax, x, b + h / 2, number(h, lang, 0), colour)
        bottom += height


def _shades(n: int) -> list[tuple]:
    """Colours of `n` answers, secure to insecure."""
    return sns.blend_palette(["#dbe7f5", "#e9e4df", "#e9a15f", ORANGE, "#6b2f04"], n)


def _said(block: pd.DataFrame, names: dict, lang: str) -> str:
    rows = ((wave, row.dropna()) for wave, row in block.iterrows())
    return "; ".join(
        f"{wave} "
        + ", ".join(f"{names.get(answer, answer)} {number(share, lang, 0)} %" for answer, share in row.items())
        for wave, row in rows
    )


def _bar_text(ax: Axes, x: float, y: float, text: str, colour: tuple) -> None:
    dark = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] < 0.55
    ax.text(x, y, text, ha="center", va="center", fontsize=10.5, color="white" if dark else INK)


def direct_labels(
    ax: Axes, x: float, heights: list[float], texts: list[str], colours: list[str], *, gap: float, keys: list = ()
) -> None:
    """Labels to the right of `x`, at their heights or as near as a `gap` allows; `keys` are colours of squares before them."""
    order = np.argsort(heights)
    placed = np.asarray(heights, dtype=float)[order]
    for _sweep in range(50):  # push overlapping neighbours apart, both equally, until none overlap
        for i in range(1, len(placed)):
            lack = gap - (placed[i] - placed[i - 1])
            if lack > 1e-9:
                placed[i - 1], placed[i] = placed[i - 1] - lack / 2, placed[i] + lack / 2
    for y, index in zip(placed, order, strict=True):
        if keys:
            ax.plot(x - 0.25, y, "s", color=keys[index], ms=9, mec=GREY, mew=0.6)
        ax.text(x, y, texts[index], color=colours[index], weight="bold", va="center", ha="left", linespacing=1.05)


def plot_trends(trends: pd.DataFrame, *, ax: Axes, lang: str) -> str:
    """Share feeling unsafe by wave: project and comparison areas, and project areas without the projects (90 % band).

    `trends` as from `estimands.trends`, in percent. Dots are what the survey observed, lines what the model makes of it.
    """
    _ = translator(lang).gettext
    by = {key: frame.sort_values("year") for key, frame in trends.groupby(["group", "series"])}
    treated, comparison, without = by["treated", "modelled"], by["comparison", "modelled"], _changed_waves(by)
    _gridlines(ax)
    ax.fill_between(without["year"], without["lower90"], without["upper90"], color=ORANGE, alpha=0.13, lw=0)
    ax.plot(without["year"], without["mean"], color=ORANGE, lw=2.5, dashes=(3, 2))
    ax.plot(comparison["year"], comparison["mean"], color=GREY, lw=2.2)
    ax.plot(treated["year"], treated["mean"], color=BLUE, lw=3.4)
    for group, colour in (("comparison", GREY), ("treated", BLUE)):
        observed = by[group, "observed"]
        ax.plot(observed["year"], observed["mean"], "o", color=colour, ms=5, mec="white")
    lines = [(treated, _("project\nareas"), BLUE), (comparison, _("comparison\nareas"), GREY)]
    lines += [(without, _("without\nthe projects"), ORANGE)] if len(without) else []
    low, high = ax.get_ylim()
    span = treated["year"].max() - treated["year"].min() or 1
    direct_labels(
        ax,
        treated["year"].max() + 0.03 * span,
        [line["mean"].iloc[-1] for line, _t, _c in lines],
        [text for _l, text, _c in lines],
        [colour for _l, _t, colour in lines],
        gap=(high - low) * 0.17,
    )
    ax.yaxis.set_major_formatter(lambda value, _position: f"{short(value, lang)} %")
    ax.set_xticks(treated["year"], treated["wave"].astype(str))
    ax.set_xlim(right=treated["year"].max() + 0.38 * span)
    return _trends_alt(treated, comparison, without, lang)


def _changed_waves(by: dict) -> pd.DataFrame:
    """The counterfactual from the last wave on which it still equals the model's line."""
    without, treated = by["treated", "without"], by["treated", "modelled"]
    moved = (without["mean"].to_numpy() - treated["mean"].to_numpy()).round(6) != 0
    return without.iloc[max(int(moved.argmax()) - 1, 0) :] if moved.any() else without.iloc[:0]


def _trends_alt(treated: pd.DataFrame, comparison: pd.DataFrame, without: pd.DataFrame, lang: str) -> str:
    _ = translator(lang).gettext
    first, last = treated.iloc[0], treated.iloc[-1]
    say = partial(number, lang=lang)
    text = _(
        "Share of residents who feel unsafe, {first} to {last}. Project areas went from {a} to {b} percent, "
        "comparison areas from {c} to {d} percent."
    ).format(
        first=first["wave"],
        last=last["wave"],
        a=say(first["mean"]),
        b=say(last["mean"]),
        c=say(comparison["mean"].iloc[0]),
        d=say(comparison["mean"].iloc[-1]),
    )
    if len(without):
        end = without.iloc[-1]
        text += " " + _(
            "Without the projects {e} percent is expected in {last} (90 % interval {low} to {high})."
        ).format(e=say(end["mean"]), last=last["wave"], low=say(end["lower90"]), high=say(end["upper90"]))
    return text


def _gridlines(ax: Axes) -> None:
    ax.grid(axis="y", color=RULE, lw=0.8)
    ax.set_axisbelow(True)
    sns.despine(ax=ax, left=True, bottom=True)


def plot_effects(
    effects: pd.DataFrame, prior: pd.DataFrame, *, ax: Axes, names: dict, minimum_pp: float, lang: str
) -> str:
    """Effect per project and overall in pp: dot mean, thick 50 %, thin 90 %; the prior's 90 % as a grey band behind.

    `effects` and `prior` have rows `att` and `att_by_project` on the pp scale; `names` gives the label of each project.
    """
    _ = translator(lang).gettext
    rows, before = _projects_and_all(effects), _projects_and_all(prior).set_index("project")
    labels = ["\n".join(wrap(names.get(p, p), 28)) if p else _("all projects") for p in rows["project"]]
    heights = np.arange(len(rows))[::-1]
    zero_and_minimum(ax, minimum_pp)
    for y, (_index, row) in zip(heights, rows.iterrows(), strict=True):
        band = before.loc[row["project"]] if row["project"] in before.index else row
        ax.barh(y, band["upper90"] - band["lower90"], 0.62, left=band["lower90"], color=PALE_GREY, zorder=1)
        _interval(ax, y, row)
        mean, low, high = (points(row[key], lang) for key in ("mean", "lower90", "upper90"))
        text = _("{mean} ({low} to {high})").format(mean=mean, low=low, high=high)
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=11.5)
    row_axis(ax, heights, labels, lang)
    said = "; ".join(
        f"{name} {_estimate(row, lang)}".replace("\n", " ")
        for name, row in zip(labels, rows.to_dict("records"), strict=True)
    )
    minimum = _("Smallest worthwhile effect: {minimum} points.").format(minimum=short(minimum_pp, lang))
    return _("Effect per project.") + f" {said}. {minimum}"


def row_axis(ax: Axes, heights: np.ndarray, labels: list[str], lang: str) -> None:
    """Labels at the heights of their rows (from the top down), points along the other axis."""
    ax.set_yticks(heights, labels)
    ax.tick_params(axis="y", labelcolor=INK)
    text = translator(lang).gettext("change in residents feeling unsafe, percentage points")
    ax.set(ylim=(heights[-1] - 0.7, heights[0] + 0.7), xlabel=text)
    ax.xaxis.set_major_formatter(lambda value, _position: tick(value, lang))
    sns.despine(ax=ax, left=True)


def _projects_and_all(frame: pd.DataFrame) -> pd.DataFrame:
    pp = frame[frame["scale"] == "pp"]
    rows = pd.concat([pp[pp["estimand"] == "att"].assign(project=""), pp[pp["estimand"] == "att_by_project"]])
    rows = rows.iloc[1:] if len(rows) == 2 else rows  # of one project the whole says nothing more
    return rows.reset_index(drop=True)


def zero_and_minimum(ax: Axes, minimum_pp: float, *, vertical: bool = True) -> None:
    draw = ax.axvline if vertical else ax.axhline
    draw(0, color=INK, lw=1, zorder=2)
    for side in (-minimum_pp, minimum_pp):
        draw(side, color=GREY, lw=1, ls=(0, (4, 3)), zorder=2)


def tick(value: float, lang: str) -> str:
    return ("+" if value > 1e-9 else "") + short(value, lang)


def _interval(ax: Axes, y: float, row: pd.Series) -> None:
    style = {"solid_capstyle": "butt", "zorder": 3}
    ax.plot([row["lower90"], row["upper90"]], [y, y], color=BLUE, lw=2, **style)
    ax.plot([row["lower50"], row["upper50"]], [y, y], color=PALE_BLUE, lw=7, **style)
    ax.plot(row["mean"], y, "o", color=BLUE, ms=8, mec="white", zorder=4)


def _estimate(row: pd.Series | dict, lang: str) -> str:
    mean, low, high = (points(row[key], lang) for key in ("mean", "lower90", "upper90"))
    return (
        translator(lang).gettext("{mean} points, 90 % interval {low} to {high}").format(mean=mean, low=low, high=high)
    )


def plot_event_study(effects: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """Effect in pp by waves since the start, all projects together; thick 50 %, thin 90 %.

    `effects` as of `estimands.effects_table`, or with leads (grey squares) and 90 % only as of `sensitivity.event_study`.
    """
    _ = translator(lang).gettext
    rows = effects.query("estimand == 'att_by_event_time' & scale == 'pp'") if "estimand" in effects else effects
    rows = rows.assign(event_time=rows["event_time"].astype(int)).sort_values("event_time")
    _gridlines(ax)
    if rows["event_time"].min() < 0:
        ax.axvline(-0.5, color=GREY, lw=1, ls=":")
    zero_and_minimum(ax, minimum_pp, vertical=False)
    for row in rows.itertuples():
        x, (mark, colour) = row.event_time, ("o", BLUE) if row.event_time >= 0 else ("s", GREY)
        ax.plot([x, x], [row.lower90, row.upper90], color=colour, lw=2, zorder=3)
        if "lower50" in rows:
            ax.plot([x, x], [row.lower50, row.upper50], color=PALE_BLUE, lw=8, solid_capstyle="butt", zorder=3)
        ax.plot(x, row.mean, mark, color=colour, ms=9, mec="white", zorder=4)
        label = ax.annotate(points(row.mean, lang), (x, row.mean), (14, 0), textcoords="offset points", va="center")
        label.set_bbox({"color": "white", "pad": 1})
    ax.set_xticks(rows["event_time"])
    ax.set_xlim(rows["event_time"].min() - 0.6, rows["event_time"].max() + 0.8)
    ax.set(xlabel=_("waves since the start"), ylabel=_("percentage points"))
    ax.yaxis.set_major_formatter(lambda value, _position: tick(value, lang))
    said = "; ".join(f"{row['event_time']}: {_estimate(row, lang)}" for _i, row in rows.iterrows())
    return _("Effect by waves since the start.") + f" {said}."


def plot_residents(unsafe: int, *, ax: Axes, fewer: int = 0, more: int = 0, lang: str) -> str:
    """100 residents as figures: `unsafe` feel unsafe today, of whom `more` because of the projects; `fewer` no longer do."""
    _ = translator(lang).gettext
    colours = [ORANGE] * (unsafe - more) + ["#5c1d02"] * more + [BLUE] * fewer
    colours += [PALE_GREY] * (100 - len(colours))
    marks = {"#5c1d02": "+", BLUE: "✓"}
    for index, colour in enumerate(colours):
        x, y = index % 10, 9 - index // 10
        ax.add_patch(Circle((x, y + 0.2), 0.17, color=colour, lw=0))
        ax.add_patch(Wedge((x, y - 0.38), 0.36, 0, 180, color=colour, lw=0))
        if colour in marks:  # told apart without colour too
            ax.text(x, y - 0.22, marks[colour], color="white", ha="center", va="center", fontsize=9, weight="bold")
    ax.set(xlim=(-0.5, 9.5), ylim=(-0.5, 9.5), aspect="equal")
    ax.axis("off")
    if more:
        return _(
            "Of 100 residents {unsafe} feel unsafe, {more} of them because of the projects, and {safe} feel safe."
        ).format(unsafe=unsafe, more=more, safe=100 - unsafe)
    if fewer:
        return _(
            "Of 100 residents {unsafe} feel unsafe, {fewer} no longer do because of the projects, and {safe} feel "
            "safe either way."
        ).format(unsafe=unsafe, fewer=fewer, safe=100 - unsafe - fewer)
    return _("Of 100 residents {unsafe} feel unsafe and {safe} do not.").format(unsafe=unsafe, safe=100 - unsafe)


def plot_strip(row: pd.Series | dict, *, ax: Axes, minimum_pp: float, limit: float, lang: str) -> str:
    """One small interval for a table: zero line, dashed smallest worthwhile fall, 90 % bar and dot, from -limit to limit."""
    ax.axhline(0, color=PALE_GREY, lw=2, zorder=1)
    ax.plot([0, 0], [-1, 1], color=INK, lw=1.2, zorder=2)
    ax.plot([-minimum_pp] * 2, [-1, 1], color=GREY, lw=1.2, ls=(0, (3, 2)), zorder=2)
    ax.plot([row["lower90"], row["upper90"]], [0, 0], color=PALE_BLUE, lw=6, solid_capstyle="butt", zorder=3)
    ax.plot(row["mean"], 0, "o", color=BLUE, ms=9, zorder=4)
    ax.set(xlim=(-limit, limit), ylim=(-1.1, 1.1))
    ax.axis("off")
    return _estimate(row, lang)
