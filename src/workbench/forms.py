"""Ordinal difference-in-differences in four forms, by maximum likelihood on counts: does the answer hang on the form?

    P(answer <= k) in a cell = F((threshold[k] - location) / scale),   F logistic or normal

for the cells comparison and treated, before and after, with common thresholds. *Location* has all scales 1;
*location-scale* gives each cell its own (Yamauchi 2020, Difference-in-Differences for Ordinal Outcomes). Comparison
before has location 0 and scale 1, which identifies the rest; fixing two thresholds instead is the same model. Without
the projects treated after would have location `treated + (after - before) * treated scale` and scale
`treated scale * after scale`, all relative to comparison before. An effect in one part of the scale makes the forms
disagree, because each carries it over to the unsafe cut in its own way."""

import numpy as np
from scipy.optimize import approx_fprime
from scipy.stats import logistic, norm

from workbench import linear

FORMS = {"logit": (logistic, False), "probit": (norm, False)}  # link, and whether cells have scales of their own
FORMS |= {f"{name}, location-scale": (link, True) for name, (link, _) in FORMS.items()}


def effects(counts, *, form) -> np.ndarray:
    """Effect on the share of each answer in pp, by one of `FORMS`; `counts` are (group, period, answer): comparison and
    treated, before and after, secure to insecure. Shares of treated after are the form's own, as in the published
    estimates; with scales and three answers the observed ones. NaN for an empty cell, a likelihood without maximum, or
    scales asked of fewer than three answers. A zero adds half an answer everywhere, for a maximum to exist."""
    link, scaled = FORMS[form]
    cells = np.asarray(counts, float).reshape(4, -1)
    cuts = cells.shape[1] - 1
    if cuts < 1 + scaled or not (cells.sum(1) > 0).all():
        return np.full(cuts + 1, np.nan)
    p = _fit(cells + 0.5 * (cells == 0).any(), link=link, scaled=scaled)
    return 100 * (p[3] - p[4])


def _fit(cells, *, link, scaled):
    """Probabilities (5, answer) of the four cells and of treated after without, by Fisher scoring; NaN if it fails."""
    cuts, n = cells.shape[1] - 1, cells.sum(1)
    pooled = np.cumsum(cells.sum(0))
    theta = np.r_[link.ppf(pooled[:-1] / pooled[-1]), np.zeros(6 if scaled else 3)]

    def chances(theta):
        """Probabilities from thresholds, three locations and, in the location-scale forms, three log scales."""
        after, treated, both = theta[cuts : cuts + 3]
        log_after, log_treated, log_both = theta[cuts + 3 :] if scaled else np.zeros(3)
        location = np.array([0.0, after, treated, both, treated + after * np.exp(log_treated)])
        log_scale = np.array([0.0, log_after, log_treated, log_both, log_treated + log_after])
        z = (theta[:cuts] - location[:, None]) * np.exp(-log_scale)[:, None]
        return np.diff(link.cdf(z), axis=1, prepend=0.0, append=1.0)

    for _ in range(100):
        p = chances(theta)
        slope = approx_fprime(theta, lambda x: chances(x)[:4].ravel()).reshape(4, cuts + 1, -1) / p[:4, :, None]
        score = np.einsum("ck,ckp->p", cells, slope)
        step = np.linalg.lstsq(np.einsum("c,ck,ckp,ckq->pq", n, p[:4], slope, slope), score)[0]
        if score @ step < 1e-12 * n.sum():
            return p
        for shrink in 0.5 ** np.arange(30):
            new = chances(theta + shrink * step)[:4]
            if new.min() > 0 and np.sum(cells * np.log(new / p[:4])) > 0:
                break
        else:
            break
        theta = theta + shrink * step
    return np.full_like(p, np.nan)


def summaries(panel) -> tuple[dict[str, np.ndarray], int]:
    """`linear.summaries` with `classes` (area, wave, class: answers that every wave in use tells apart), and the first
    class that counts as unsafe. Area-waves that do not tell the unsafe share are none of `free` and `window`."""
    data = linear.summaries(panel)
    known = np.isfinite(data["percent"])
    data |= {"free": data["free"] & known, "window": data["window"] & known}
    counts = panel["counts"].sum("stratum").values * (data["free"] | data["window"])[..., None]
    given, lower, upper = counts.sum((0, 1)) > 0, panel["lower"].values, panel["upper"].values
    every = range(1, panel.sizes["category"])
    cuts = [k for k in every if not (given & (lower < k) & (upper >= k)).any()]
    belongs = np.searchsorted(cuts, lower, side="right")[:, None] == np.arange(len(cuts) + 1)
    # What straddles a cut was given by nobody, so that where it is put does not matter.
    return data | {"classes": counts @ belongs}, int(np.searchsorted(cuts, panel.attrs["unsafe_index"], side="right"))


def by_form(data, *, unsafe) -> dict[str, float]:
    """Effect on the share unsafe in pp by form, for the forms that these classes allow; NaN where no cohort allows one.
    Areas with the same last wave before and first wave of the window are one cohort, held against areas without a
    project in the same waves (sound while their mix is the same before and after). An area's waves weigh alike, treated
    areas by residents, others by answers, cohorts by residents."""
    free, window, classes, residents = data["free"], data["window"], data["classes"], data["residents"]
    wanted = [form for form in FORMS if classes.shape[2] > 2 or not FORMS[form][1]]
    share = classes / np.maximum(classes.sum(2, keepdims=True), 1e-9)
    mix = lambda where, size: np.einsum("aw,awk->k", linear.weights(where, size), share)
    # Counts by class of the chosen cells as if every area had its share of the answers: areas by `size`.
    pooled = lambda where, size: (classes * where[..., None]).sum() * mix(where, size)
    wave = np.arange(free.shape[1])
    ends = np.c_[np.where(free, wave, -1).max(1), np.where(window, wave, len(wave)).min(1)]
    usable, rows, sizes = free.any(1) & window.any(1), [], []
    for cohort in np.unique(ends[usable], axis=0):
        mine = (usable & (ends == cohort).all(1))[:, None]
        before, after = (mine & free).any(0), (mine & window).any(0)
        others = ((free & before).any(1) & (free | ~after).all(1))[:, None] & ~mine
        if not others.any():
            continue
        elsewhere = [pooled(others & free & cells, classes.sum((1, 2))) for cells in (before, after)]
        counts = np.array([elsewhere, [pooled(mine & cells, residents) for cells in (free, window)]])
        given = counts.sum((0, 1)) > 0
        is_unsafe = np.flatnonzero(given) >= unsafe
        found = [effects(counts[..., given], form=form)[is_unsafe].sum() for form in wanted]
        if np.isfinite(found).all():
            rows.append(found)
            sizes.append(residents[mine[:, 0]].sum())
    return dict(zip(wanted, np.average(rows, axis=0, weights=sizes) if rows else [np.nan] * len(wanted), strict=True))
