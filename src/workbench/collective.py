"""Collective Impact: how far the organisations behind a project meet five conditions, and what that leaves to do.

Kania and Kramer (2011), Stanford Social Innovation Review 9(1). Scores are 0 to 4 by the rubric in collective.toml, and
`scores` is City.collective_impact. Never only a sum: four strong conditions do not make up for a missing one."""

import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from workbench.errors import ParameterError
from workbench.panel import MONTH
from workbench.schema import CONDITIONS

CELL = ["project", "condition"]
LEAST_SD, UNKNOWN_SD, LEAST_SE = 0.35, 0.7, 0.05  # of one rating: whole numbers; nothing rated twice; of a score
NOT_SEEN = ("no worthwhile change", "cannot tell", "clear rise", "probable rise")  # verdicts that show no fall


def rubric(lang) -> pd.DataFrame:
    """One row per condition and level 0-4: `name`, what it looks like (`text`), the `step` to the next level ("")."""
    content = tomllib.loads((Path(__file__).parent / "collective.toml").read_text(encoding="utf-8"))
    levels = {condition: pd.DataFrame(about[lang]) for condition, about in content.items()}
    return pd.concat(levels, names=["condition", "level"]).reset_index()


def latest(scores) -> pd.DataFrame:
    """Each rater's last word on each project and condition; a last word may be "don't know" (no score)."""
    return scores.sort_values("date", kind="stable").drop_duplicates([*CELL, "rater"], keep="last")


def outcomes_seen(place) -> pd.Series:
    """Project -> end of fieldwork of its first wave 6 to 24 months on, else of its first running wave, if any."""
    rows = place.projects.merge(place.waves, how="cross", suffixes=("", "_of_wave"))
    middle = rows["start_of_wave"] + (rows["end"] - rows["start_of_wave"]) / 2
    running = (middle >= rows["full"]) & ~(middle >= rows["stop"])
    inside = running & ((middle - rows["full"]) / MONTH).between(6, 24)
    first_end = lambda chosen: rows[chosen].groupby("project")["end"].min()
    return first_end(inside).combine_first(first_end(running))


def profile(scores, *, seen=()) -> pd.DataFrame:
    """All five conditions of each scored project: mean score, number of ratings, lowest, highest, `dont_know`. `late`
    counts ratings given after outcomes were in (`seen`, from `outcomes_seen`), `weakest` marks the lowest means."""
    last = latest(scores)
    last["late"] = last["score"].notna() & (last["date"] > pd.to_datetime(last["project"].map(dict(seen))))
    last["dont_know"], by = last["score"].isna(), last.groupby(CELL)
    table = by["score"].agg(mean="mean", lowest="min", highest="max")
    every = pd.MultiIndex.from_product([last["project"].unique(), CONDITIONS], names=CELL)
    counts = by["score"].agg(ratings="count").join(by[["dont_know", "late"]].sum()).reindex(every, fill_value=0)
    weakest = table["mean"] == table.groupby("project")["mean"].transform("min")
    return counts.join(table).assign(weakest=weakest.reindex(every, fill_value=False)).reset_index()


def agreement(scores) -> dict[str, float]:
    """Pairs of raters on the same project and condition: how many, share equal, share within a step, and Cohen's
    kappa with quadratic weights, raters in the order of their names; NaN below 10 pairs."""
    by = latest(scores).dropna(subset="score").sort_values("rater", kind="stable").groupby(CELL)["score"]
    pairs = pd.DataFrame([pair for _cell, each in by for pair in combinations(each, 2)], columns=["one", "two"])
    apart, chance = (pairs["one"] - pairs["two"]).abs(), np.subtract.outer(*pairs.T.to_numpy()) ** 2
    kappa = 1 - (apart**2).mean() / chance.mean() if len(pairs) >= 10 and chance.any() else np.nan
    return {"pairs": len(pairs), "equal": (apart == 0).mean(), "within_one": (apart <= 1).mean(), "kappa": kappa}


def rating_sd(scores) -> float:
    """Standard deviation of a single rating around the mean of all who might have rated that project and condition."""
    by = latest(scores).groupby(CELL)["score"]
    freedom = (by.count() - 1).clip(lower=0).sum()
    return max(LEAST_SD, float(np.sqrt((by.var() * (by.count() - 1)).sum() / freedom))) if freedom else UNKNOWN_SD


def score(scores, project, *, seen=()) -> dict | None:
    """For a card: mean over the rated conditions, its standard error from rating alone, and the conditions' means. None
    where nobody rated the project; ratings given after outcomes were in (`seen`) do not count. A rater who is strict is
    strict in all conditions: where raters' own means over the conditions they share differ by more than independent
    errors would, these set the error."""
    if scores is None:
        return None
    scores = scores[~(scores["date"] > pd.to_datetime(scores["project"].map(dict(seen))))]
    rated = profile(scores).query("project == @project & ratings > 0") if len(scores) else []
    if not len(rated):
        return None
    se = rating_sd(scores) * float(np.sqrt((1 / rated["ratings"]).sum())) / len(rated)
    last = latest(scores).dropna(subset="score")
    shared = last[last.groupby(CELL)["score"].transform("count") > 1]
    off = shared["score"] - shared.groupby(CELL)["score"].transform("mean")
    own = off.groupby([shared["project"], shared["rater"]]).mean()
    if freedom := len(own) - shared["project"].nunique():
        raters = last.loc[last["project"] == project, "rater"].nunique()
        se = max(se, float(np.sqrt((own**2).sum() / freedom / raters)))
    means = rated.set_index("condition")["mean"]
    return {"score": float(means.mean()), "se": max(se, LEAST_SE), "conditions": means.to_dict()}


def gaps(result, panel, *, threshold=None) -> pd.DataFrame:
    """The result's `by_project` as a table, with percent `unsafe` in its areas now (mean of the last two waves, areas
    by residents), `held_against` (the median area, or `threshold`), and `gap`: above that, and a verdict of no fall."""
    if result["city"] != panel.attrs["city"]:
        raise ParameterError(f"run: an evaluation of {result['city']}, not of {panel.attrs['city']}")
    now = 100 * panel["share_unsafe"].isel(wave=slice(-2, None)).mean("wave")
    residents = panel["population"].sum("stratum") * panel["exposure"].any("wave")
    table = pd.DataFrame.from_dict(result["by_project"], orient="index").rename_axis("project").reset_index()
    table["unsafe"] = now.weighted(residents).mean("area").sel(project=table["project"].tolist()).values
    table["held_against"] = float(now.median()) if threshold is None else threshold
    return table.assign(gap=(table["unsafe"] > table["held_against"]) & table["verdict"].isin(NOT_SEEN))


def next_steps(profile, projects, *, lang) -> pd.DataFrame:
    """The two lowest conditions (more where they tie) of each project: `mean` score, and the step to the next level."""
    rows = profile[profile["project"].isin(projects) & (profile.groupby("project")["mean"].rank("min") <= 2)]
    rows = rows.assign(level=np.floor(rows["mean"]).astype(int)).merge(rubric(lang), on=["condition", "level"])
    columns = ["project", "condition", "name", "mean", "text", "step"]
    return rows.sort_values(["project", "mean"], kind="stable")[columns]
