"""Pictures of what evidence is for: what a project was worth, and what cities know together.

Each `plot_` draws on an `ax` and returns its alt text, made from the numbers it drew; colours as in `figures`.
"""

from textwrap import wrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from workbench import figures
from workbench.figures import BLUE, GREY, INK, ORANGE
from workbench.language import euro, number, percent, translator


def plot_worth(chances: pd.DataFrame, value: pd.DataFrame, *, ax: Axes, worth_eur: float | None, lang: str) -> str:
    """Chance that each project is worth it, by what the city would pay per resident who no longer feels unsafe.

    Frames of `money.chances` and `money.value`. The dot: its price if the effect were just the smallest worthwhile one.
    """
    _ = translator(lang).gettext
    most, said, styles = chances.index[-1], [], ("-", "--", "-.", ":")
    colours = [(BLUE, ORANGE, INK, GREY)[k % 4] for k in range(chances.shape[1])]
    ax.axhline(50, color=figures.RULE, lw=0.8, zorder=0)
    for k, (project, chance) in enumerate(chances.items()):
        price = value["at_minimum"][project]
        here = np.interp(price, chances.index, chance)
        ax.plot(chances.index, 100 * chance, color=colours[k], lw=2.4, ls=styles[k // 2 % 4])
        ax.plot(price, 100 * here, "o", color=colours[k], ms=9, mec="white", zorder=4)
        said.append(f"{value['name'][project]} {percent(here, lang)} ({euro(price, lang)})")
    if worth_eur and worth_eur <= most:
        ax.axvline(worth_eur, color=INK, lw=1, ls=(0, (4, 3)), zorder=1)
        ax.text(worth_eur, 101, euro(worth_eur, lang), ha="center", va="bottom")
    names = ["\n".join(wrap(value["name"][project], 24)) for project in chances]
    gap = 12 if any("\n" in name for name in names) else 6
    figures.direct_labels(ax, 1.02 * most, (100 * chances.iloc[-1]).tolist(), names, colours, gap=gap)
    ax.set(xlim=(0, most), ylim=(0, 100), yticks=[0, 50, 100], yticklabels=["0 %", "50 %", "100 %"])
    ax.set_xlabel(_("what the city would pay per resident who no longer feels unsafe, in euro"))
    ax.set_ylabel(_("chance that it is worth it"))
    ax.xaxis.set_major_formatter(lambda x, _position: number(x, lang, 0))
    text = _(
        "Chance that a project is worth it, by what the city would pay per resident who no longer feels unsafe: {said}."
    )
    return text.format(said="; ".join(said))
