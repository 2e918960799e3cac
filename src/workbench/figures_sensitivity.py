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
from workbench.language import said, translator


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


def plot_forest(frame: pd.DataFrame, *, ax: Axes, minimum_pp: float, lang: str) -> str:
    """A dot (`mean`) and 90 % bar per row, groups apart; behind them the first row, a band or where it has none a line.

    Of rows without bars at most 30, those farthest from the first. Gives its figure the height that rows need.
    """
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
