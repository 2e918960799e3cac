"""Cohesion measured: ordered answers to several items become one index per area and wave, with its sampling error.

    P(answer of person i to item j >= k) = logistic(a[j] * theta[i] - b[j, k])      theta[i] ~ N(c[area, wave], 1)

The graded response model (Samejima 1969), answers turned so that more is more cohesive, c free with mean zero: the
index c is in standard deviations of residents within an area. Discriminations `a` and thresholds `b` come by marginal
maximum likelihood (theta summed over a fixed grid, exact to many digits and with a closed gradient); given them, each
area-wave's index by Newton steps. What a person left out is left out of his product. Whoever uses the index treats it
as c plus normal error of `se`, with `a` and `b` plugged in: they rest on everybody's answers, and their own error,
which moves all areas alike, is of second order (docs/validation.md measures the intervals that come of it).

Published shares have no answers of one person side by side. There each item's counts give a cumulative-logit index,
items are averaged by information, and two things are assumed: a discrimination of TYPICAL for every item, which says
how many logits a standard deviation of residents is, and with it how alike the errors of items answered by the same
people are."""

from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr
from scipy.optimize import minimize
from scipy.sparse import csr_array
from scipy.special import expit, logit
from scipy.stats import norm, ttest_ind, ttest_rel

from workbench.answers import count_answers
from workbench.items import ITEMS
from workbench.models.perceived import working_response

GRID = np.arange(-6.0, 6.01, 0.25)  # theta, sd of residents; sums over it are integrals as long as sd >= 0.25
MOST = 20_000  # respondents from whom the item parameters are learned; the index uses everybody
TYPICAL = 2.0  # assumed discrimination where only shares are published
PER_SD = TYPICAL / np.sqrt(1 + 0.346 * TYPICAL**2)  # logits of an item's shares per sd of residents
ALIKE = TYPICAL**2 / (TYPICAL**2 + np.pi**2 / 3)  # correlation of two items' answers in one person
SHIFT = 0.43  # logits: category B of ETS, from where an item's own shift matters


def cohesion_index(city, panel) -> xr.Dataset | None:
    """The index of cohesion on the areas and waves of `panel`, positive = more cohesive: `index`, `se`, `information`
    (0 where nobody answered), `respondents` (area, wave); `discrimination` (item), `threshold` (item, cut); `overlap`,
    the correlation of its sampling error with that of insecurity's working response, whom the same people answered;
    `shift` and `z` (item, group), what an item's answers differ in a group at equal cohesion (logits; positive = more
    cohesive answers). attrs `items`, `from_shares`. None where no cohesion item was asked here."""
    items = [item for item in city.items if ITEMS[item].construct == "cohesion"]
    return (_from_shares if city.respondents is None else _from_respondents)(city, panel, items)


def shifted(index) -> pd.DataFrame:
    """The item-functioning table: item, group, shift (logits), z, and whether it is a `warning`: at least SHIFT and
    |z| > 3 after Bonferroni over all rows."""
    rows = index[["shift", "z"]].to_dataframe().reset_index().dropna()
    bound = norm.isf(norm.sf(3) / max(len(rows), 1))
    return rows.assign(warning=(rows["shift"].abs() >= SHIFT) & (rows["z"].abs() > bound))


def _groups(panel) -> dict[str, np.ndarray]:
    """Area-waves (area, wave) whose answers are compared with all others', by the name of the group."""
    shape, waves = (panel.sizes["area"], panel.sizes["wave"]), panel["wave"].values
    found = {"treated": np.broadcast_to(panel["treated"].values[:, None], shape)}
    return found | {str(wave): np.broadcast_to(waves == wave, shape) for wave in waves}


def _labelled(panel, items, cuts=(), **found) -> xr.Dataset:
    dims = {"discrimination": ("item",), "threshold": ("item", "cut"), "overlap": ()}
    dims |= {"shift": ("item", "group"), "z": ("item", "group")}
    made = {name: (dims.get(name, ("area", "wave")), value) for name, value in found.items()}
    coords = {name: panel[name].values for name in ("area", "wave")} | {"item": items, "group": list(_groups(panel))}
    about = {"items": ";".join(items), "from_shares": int(not len(cuts))}
    return xr.Dataset(made, coords | ({"cut": list(cuts)} if len(cuts) else {}), about)


# --- from respondents -----------------------------------------------------------------------------------------------


def _from_respondents(city, panel, items):
    rows, shape = city.respondents, (panel.sizes["area"], panel.sizes["wave"])
    area, wave = (pd.Index(panel[name].values).get_indexer(rows[name]) for name in ("area", "wave"))
    here = (area >= 0) & (wave >= 0)
    rows, cell = rows[here], (area * shape[1] + wave)[here]
    codes = {item: _turned(rows[item], item) for item in items}
    codes = {item: code for item, code in codes.items() if len(np.unique(code[code >= 0])) > 1}
    if not codes:
        return None
    items, sizes = list(codes), [len(ITEMS[item].categories) for item in codes]
    answers, everybody = np.column_stack(list(codes.values())), (cell, rows["weight"].to_numpy(float))
    given, unsafe = (answers >= 0).any(1), pd.Index(ITEMS[panel.attrs["item"]].categories)
    unsafe = unsafe.get_indexer(rows[panel.attrs["item"]])
    answers, cell, weight = answers[given], *(x[given] for x in everybody)
    total, square = (np.bincount(cell, x, minlength=np.prod(shape)) for x in (weight, weight**2))
    weight = weight * (total / np.maximum(square, 1e-300))[cell]  # an area-wave sums to Kish's effective n
    few = np.random.default_rng(len(cell)).permutation(len(cell))[:MOST]
    fitted = _fit(answers[few], cell[few], weight[few], sizes, cells=np.prod(shape))
    tables = [_table(*one) for one in fitted]
    c, information, score = _index(answers, cell, weight, np.vstack(tables), sizes, cells=np.prod(shape))
    seen = information > 0
    middle = c[seen].mean()
    # The weak prior that kept c finite is taken out again: a working response, as of insecurity.
    index = np.where(seen, (c - middle) * (1 + 1 / np.where(seen, information, 1)), np.nan).reshape(shape)
    shift, z = _shifts(answers[few], cell[few], weight[few], c, fitted, sizes, _groups(panel).values())
    cuts = np.full((len(items), max(sizes) - 1), np.nan)
    for row, (a, b) in zip(cuts, fitted, strict=True):
        row[: len(b)] = b - a * middle
    found = {
        "index": index, "information": information.reshape(shape),
        "se": np.where(seen, 1 / np.sqrt(np.where(seen, information, 1)), np.nan).reshape(shape),
        "respondents": np.bincount(cell, minlength=np.prod(shape)).reshape(shape),
        "discrimination": [a for a, _b in fitted], "threshold": cuts, "shift": shift, "z": z,
        "overlap": _overlap(score, given, unsafe, *everybody),
    }  # fmt: skip
    return _labelled(panel, items, cuts=np.arange(1, max(sizes)), **found)


def _turned(column, item) -> np.ndarray:
    """Answers as whole numbers, 0 = least cohesive; -1 where there is none. `items.toml` runs the other way."""
    levels = ITEMS[item].categories
    code = pd.Index(levels).get_indexer(column)
    return np.where(code >= 0, len(levels) - 1 - code, -1)


def _table(a, b) -> np.ndarray:
    """log P(answer = k | theta) of one item on the grid, dims (category, theta)."""
    above = expit(a * GRID - np.asarray(b)[:, None])
    ends = np.ones((1, len(GRID)))
    return np.log(np.maximum(np.vstack([ends, above]) - np.vstack([above, 0 * ends]), 1e-16))


def _slopes(a, b) -> np.ndarray:
    """d log P(answer = k | theta) / d b[cut] of one item, dims (cut, category, theta)."""
    above, chance = expit(a * GRID - np.asarray(b)[:, None]), np.exp(_table(a, b))
    found = np.zeros((len(b), *chance.shape))
    for cut, steep in enumerate(above * (1 - above)):  # P[cut] loses what P[cut + 1] gains as the threshold falls
        found[cut, cut], found[cut, cut + 1] = steep / chance[cut], -steep / chance[cut + 1]
    return found


def _listed(answers, sizes):
    """The answers as zeros and ones (person, item and category); an item left out has no one."""
    column = answers + np.r_[0, np.cumsum(sizes)[:-1]]
    person, item = np.nonzero(answers >= 0)
    return csr_array((np.ones(len(person)), (person, column[person, item])), shape=(len(answers), sum(sizes)))


def _posterior(listed, c, table):
    """Each person's log-likelihood and the weights of the grid (person, theta), given the index `c` of his area-wave."""
    log = listed @ table - 0.5 * (GRID - c[:, None]) ** 2
    top = log.max(1, keepdims=True)
    weights = np.exp(log - top)
    total = weights.sum(1, keepdims=True)
    step = (GRID[1] - GRID[0]) / np.sqrt(2 * np.pi)
    return (top + np.log(total * step))[:, 0], weights / total


def _fit(answers, cell, weight, sizes, *, cells):
    """Discrimination and thresholds of every item: [(a, b), ...]. Weak priors (log a ~ N(0.4, 0.7), log gaps ~ N(0, 1),
    c ~ N(0, 1)) keep an answer that nobody gave, or an item that tells nothing, finite."""
    listed, ends = _listed(answers, sizes), cells + np.r_[0, np.cumsum(sizes)]
    parts = [slice(*pair) for pair in pairwise(ends)]

    def items(x):
        return [(np.exp(x[p][0]), x[p][1] + np.r_[0, np.cumsum(np.exp(x[p][2:]))]) for p in parts]

    def loss(x):
        c, now = x[:cells], items(x)
        value, on_grid = _posterior(listed, c[cell], np.vstack([_table(a, b) for a, b in now]))
        expected = listed.T @ (weight[:, None] * on_grid)
        slope = [np.bincount(cell, weight * (on_grid @ GRID - c[cell]), minlength=cells) - c]
        prior = -0.5 * c @ c
        for part, (a, b), end in zip(parts, now, np.cumsum(sizes), strict=True):
            by_cut = _slopes(a, b) * expected[end - len(b) - 1 : end]
            on_cut = by_cut.sum((1, 2))
            gaps = np.diff(b) * np.cumsum(on_cut[::-1])[::-1][1:]
            far = np.r_[(x[part][0] - 0.4) / 0.49, x[part][1] / 9, x[part][2:]]
            slope.append(np.r_[-a * (by_cut.sum((0, 1)) @ GRID), on_cut.sum(), gaps] - far)
            prior -= 0.5 * far @ (x[part] - np.r_[0.4, np.zeros(len(b))])
        return -(weight @ value + prior), -np.concatenate(slope)

    start, totals = [np.zeros(cells)], np.asarray(listed.sum(0))
    for size, end in zip(sizes, np.cumsum(sizes), strict=True):
        above = np.cumsum((totals[end - size : end] + 0.5)[::-1])[::-1]
        b = -logit(above[1:] / above[0]) * np.sqrt(1 + 0.346 * 1.5**2)
        start.append(np.r_[np.log(1.5), b[0], np.log(np.maximum(np.diff(b), 0.05))])
    best = minimize(loss, np.concatenate(start), jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return items(best.x)


def _index(answers, cell, weight, table, sizes, *, cells, steps=8, chunk=50_000):
    """Index and information per area-wave under a weak N(0, 1) prior, and each person's score, E[theta] - c."""
    c, score = np.zeros(cells), np.zeros(len(cell))
    for _ in range(steps):
        pull, information = -c, np.zeros(cells)
        for part in (slice(at, at + chunk) for at in range(0, len(cell), chunk)):
            _log, on_grid = _posterior(_listed(answers[part], sizes), c[cell[part]], table)
            mean = on_grid @ GRID
            score[part] = mean - c[cell[part]]
            # An answer moves c by E[theta] - c and leaves 1 - Var(theta) to be known.
            known = 1 - (on_grid @ GRID**2 - mean**2)
            pull = pull + np.bincount(cell[part], weight[part] * score[part], minlength=cells)
            information += np.bincount(cell[part], weight[part] * known, minlength=cells)
        c = c + pull / (information + 1)
    return c, information, score


def _overlap(score, given, unsafe, cell, weight) -> float:
    """Correlation of the sampling errors of cohesion and insecurity, from each person's part in either within his
    area-wave; `score` has those who gave a cohesion answer. Insecurity's score, left + right - 1, is twice the answer's
    ridit less one."""
    asked, told = np.isin(cell, cell[given]), unsafe >= 0
    count = np.bincount(unsafe[told], minlength=1).astype(float)
    ridit, mine = ((np.cumsum(count) - count / 2) / max(count.sum(), 1))[unsafe], np.zeros(len(cell))
    mine[given], parts = score, []
    for value, known in ((mine, given), (ridit, told & asked)):
        total, people = (np.bincount(cell, weight * known * x) for x in (value, 1.0))
        parts.append(weight * known * (value - (total / np.maximum(people, 1e-300))[cell]))
    scale = np.sqrt((parts[0] @ parts[0]) * (parts[1] @ parts[1]))
    return float(parts[0] @ parts[1] / scale) if scale else 0.0


def _shifts(answers, cell, weight, c, fitted, sizes, groups):
    """One-step estimates of each item's shift in each group, and z (item, group): the score of the shift less what the
    scores of all item parameters and of the area-waves' indices explain (information by outer products)."""
    listed, own, item_scores = _listed(answers, sizes), [], []
    _log, on_grid = _posterior(listed, c[cell], np.vstack([_table(*one) for one in fitted]))
    mean = on_grid @ GRID - c[cell]
    for (a, b), end in zip(fitted, np.cumsum(sizes), strict=True):
        mine, slopes = listed[:, end - len(b) - 1 : end], _slopes(a, b)
        cuts = np.column_stack([((mine @ slope) * on_grid).sum(1) for slope in slopes])
        steep = ((mine @ slopes.sum(0)) * on_grid) @ GRID
        own.append(-cuts.sum(1))
        item_scores += [-steep, *cuts.T]
    size = np.bincount(cell, (weight * mean) ** 2, minlength=len(c))

    def cleared(scores):
        along = np.column_stack([np.bincount(cell, s * weight * mean, minlength=len(c)) for s in scores.T])
        return scores - (weight * mean)[:, None] * (along / np.maximum(size, 1e-12)[:, None])[cell]

    nuisance = cleared(weight[:, None] * np.column_stack(item_scores))
    inverse = np.linalg.pinv(nuisance.T @ nuisance, hermitian=True)
    made = np.column_stack([weight * s * group.ravel()[cell] for s in own for group in groups])
    shape, raw = (len(sizes), len(groups)), (made**2).sum(0)
    made = cleared(made)
    made = made - nuisance @ (inverse @ (nuisance.T @ made))
    information, total = (made**2).sum(0), made.sum(0)
    known = information > 0.01 * raw  # one item alone, or a group of everybody, has no shift of its own
    safe = np.where(known, information, 1.0)
    return tuple(np.where(known, x, np.nan).reshape(shape) for x in (total / safe, total / np.sqrt(safe)))


# --- from published shares ------------------------------------------------------------------------------------------


def _from_shares(city, panel, items):
    found, people = {}, 0.0
    for item in items:
        counts = count_answers(city, item=item)
        counts = counts.reindex(area=panel["area"].values, wave=panel["wave"].values, fill_value=0.0)
        if float(counts.sum()) == 0:
            continue
        about = {"counts": counts.reset_coords(drop=True), "lower": counts["lower"], "upper": counts["upper"]}
        made = xr.Dataset(about, {"category": list(ITEMS[item].categories)}, {"unsafe_index": 1})
        latent, information = working_response(made)
        seen = information > 0
        y = -latent * (1 + 1 / np.where(seen, information, np.inf))
        middle, total = (information * y).sum() / information.sum(), information.sum()
        # Thresholds of everybody together hide what areas differ: a variance v on the logit shows as v / (1 + 0.346 v).
        # They make sampling errors look as much larger on that scale as it is shorter: information stays as it is.
        spread = (information * (y - middle) ** 2).sum() / total - seen.sum() / total
        per_sd = PER_SD * np.sqrt(1 - 0.346 * np.clip(spread, 0, 2))
        found[item] = np.where(seen, y - middle, 0.0) / per_sd, information * PER_SD**2
        people = np.maximum(people, counts["respondents"].values)
    if not found:
        return None
    y, each = (np.stack(parts) for parts in zip(*found.values(), strict=True))
    total, root = each.sum(0), np.sqrt(each).sum(0)
    seen, safe = total > 0, np.where(total > 0, total, 1.0)
    # Items answered by the same people err together: var = (sum + alike * cross terms) / total^2.
    variance = ((1 - ALIKE) * total + ALIKE * root**2) / safe**2
    shift, z = _share_shifts(y, each, _groups(panel).values())
    index = np.where(seen, (each * y).sum(0) / safe, np.nan)
    info = np.where(seen, 1 / np.where(seen, variance, 1), 0.0)
    made = {"index": index, "information": info, "se": np.where(seen, np.sqrt(variance), np.nan), "respondents": people}
    made |= {"discrimination": np.full(len(found), TYPICAL), "overlap": 0.0, "shift": shift, "z": z}
    return _labelled(panel, list(found), **made)


def _share_shifts(y, each, groups):
    """What an item's index differs from what the other items' lets expect in a group of area-waves, in logits, and z:
    areas are what varies, each with its mean inside the group less that outside or, where areas have one only, those of
    the group against the others."""
    shift, z = (np.full((len(y), len(groups)), np.nan) for _ in range(2))
    for j in range(len(y) if len(y) > 1 else 0):
        rest = np.delete(each, j, 0)
        others = (rest * np.delete(y, j, 0)).sum(0) / np.maximum(rest.sum(0), 1e-12)
        known = (each[j] > 0) & (rest.sum(0) > 0)
        line = np.polyfit(others[known], y[j][known], 1)  # items tell areas apart more or less well: that is no shift
        apart = np.where(known, y[j] - np.polyval(line, others), np.nan) * PER_SD
        for k, group in enumerate(groups):
            sides = (pd.DataFrame(np.where(side, apart, np.nan)).mean(axis=1) for side in (group, ~group))
            inside, outside = pairs = pd.concat(sides, axis=1).to_numpy().T
            paired = np.isfinite(pairs).all(0).sum() > 1
            if not paired and np.isfinite(pairs).sum(1).min() < 2:
                continue
            found = (ttest_rel if paired else partial(ttest_ind, equal_var=False))(inside, outside, nan_policy="omit")
            shift[j, k] = np.nanmean(inside - outside) if paired else np.nanmean(inside) - np.nanmean(outside)
            z[j, k] = np.sign(shift[j, k]) * norm.isf(found.pvalue / 2)
    return shift, z
