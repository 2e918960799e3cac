"""Pictures of what a finding leans on: bounds on drift, lots, and the same question asked in other ways.

Frames are those of `sensitivity` and `robustness`, in pp. Each `plot_` draws on an `ax` and returns its alt text, made
from the numbers it drew; colours as in `figures`.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import display
from matplotlib.axes import Axes

from workbench import figures, tables
from workbench.figures import BLUE, INK, ORANGE, PALE_GREY
from workbench.language import number, percent, points, short, translator


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
    _ = translator(lang).gettext
    if "as_large" in frame:
        lots = frame[["mean", "ratio"]].quantile([0.05, 0.5, 0.95]).assign(name=["lots 5", "lots 50", "lots 95"])
        frame = pd.concat([frame[frame["actual"]].assign(name="actual"), lots])
    made = {_("waves since the start") if "event_time" in frame else _("what is asked"): _labels(frame, lang)}
    if "mean" in frame:
        made[_("points")] = [points(value, lang) for value in frame["mean"]]
    if "lower90" in frame:
        made[_("90 % interval")] = tables.ranges(frame, "90", lang)
    if "ratio" in frame:
        made[_("effect over its error")] = [points(value, lang) for value in frame["ratio"]]
    return pd.DataFrame(made)


def _labels(frame: pd.DataFrame, lang: str) -> list[str]:
    """What each row is called in `lang`; an area by its own name."""
    _ = translator(lang).gettext
    if "event_time" in frame:
        return [short(time, lang) for time in frame["event_time"]]
    known = {
        "report": _("this report"), "flat": _("no prior, the data alone"),
        "sceptical": _("sceptical prior"), "wide": _("wide prior"),
        "percentages": _("regression on percentages"), "latent scale": _("regression on the model's scale"),
        "logit, location-scale": _("logit, spread may change"), "probit, location-scale": _("probit, spread may change"),
        "parallel": _("moving in parallel"), "breakdown": _("breakdown: {x} times that step"),
        "relative": _("parting up to {x} times the largest step before"),
        "straight": _("drifting on as before"), "smoothness": _("drifting on, bent up to {x} points a wave"),
        "half_n": _("half the assumed answers"), "double_n": _("twice the assumed answers"),
        "rho_0": _("ups and downs fade at once"), "rho_05": _("half of them carries over"), "rho_09": _("nearly all of them carries over"),
        "actual dates": _("the actual dates"), "one wave earlier": _("one wave earlier"), "actual": _("the actual areas"),
        "lots 5": _("by lot: 5 % lie below"), "lots 50": _("by lot: half lie below"), "lots 95": _("by lot: 5 % lie above"),
        "all areas": _("with all areas"),
    }  # fmt: skip
    if "bound" not in frame:
        return [known.get(name, name) for name in frame["name"]]
    return [known[name].format(x=number(bound, lang)) for name, bound in frame[["name", "bound"]].values]


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
    ax.xaxis.set_major_formatter(lambda value, _position: figures.tick(value, lang))
    text = _("Effect over its error, {n} choices of areas: {share} at least as far from 0 as the actual one ({ratio}).")
    share = percent(frame["as_large"].mean(), lang)
    return text.format(n=number(len(frame), lang, 0), share=share, ratio=points(actual, lang))


def plot_forest(frame: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """A dot (`mean`) and 90 % bar per row, groups apart; behind them the first row, a band or where it has none a line.

    Of rows without bars at most 30, those farthest from the first. Gives its figure the height that rows need.
    """
    _ = translator(lang).gettext
    if "lower90" not in frame:
        far = (frame["mean"] - frame["mean"].iloc[0]).abs().where(frame.index > 0, np.inf)
        frame = frame.loc[far.nlargest(30).index.sort_values()]
    group = frame.get("group", pd.Series(frame.index > 0, index=frame.index))
    heights = -(np.arange(len(frame)) + 0.7 * (group != group.shift()).cumsum().to_numpy())
    marks = group.map(dict(zip(dict.fromkeys(group), "oosD", strict=False)))
    words = [[label, "   ".join(cells[:2])] for label, *cells in table(frame, lang=lang).to_numpy()]
    ax.figure.set_size_inches(6.2, 0.34 * -heights[-1] + 1.3)
    figures.zero_and_minimum(ax, minimum_pp)
    for y, mark, (_label, text), row in zip(heights, marks, words, frame.to_dict("records"), strict=True):
        colour = BLUE if y == heights[0] else ORANGE if row["name"] == "breakdown" else INK
        ends = [row.get("lower90", row.get("mean")), row.get("upper90", row.get("mean"))]
        if y == heights[0]:
            ax.axvspan(*ends, color=PALE_GREY, zorder=0)
        ax.plot(ends, [y, y], color=colour, lw=2, zorder=3)
        ax.plot(row.get("mean", np.nan), y, mark, color=colour, ms=8, mec="white", zorder=4)
        ax.text(1.02, y, text, transform=ax.get_yaxis_transform(), va="center", fontsize=11)
    figures.row_axis(ax, heights, [label for label, _text in words], lang)
    alt = "; ".join(f"{label} {text}" for label, text in words) + ". "
    return alt + _("Smallest worthwhile effect: {minimum} points.").format(minimum=short(minimum_pp, lang))
