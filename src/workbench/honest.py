"""Event study with leads, and how far parallel trends may fail before an effect can no longer be told from none.

    y[area, wave] = area + wave + coefficient[start cohort, wave] + error,   error ~ N(0, 1 / information + AR(1) shock)

by generalised least squares with flat coefficients (a prior would shrink the drift of before, and with it the bound).
What areas drifted apart by, delta, equals the coefficients before the start and is bounded after it by what it was:
*relative magnitudes* |delta[t] - delta[t-1]| <= Mbar x the largest such step before; *smoothness* |second differences|
of delta <= M throughout (Rambachan and Roth 2023, Review of Economic Studies 90). Each draw of the coefficients then
has an identified set; the robust interval runs from the (1 - level) / 2 quantile of its lower ends to the
(1 + level) / 2 quantile of its upper ends (robust Bayes: Giacomini and Kitagawa 2021, Econometrica 89).

`beta` holds `pre` coefficients before the reference, earliest first, then those after it; the reference itself, 0, is
left out; `weights` (after) make the effect of the latter. One wave is one step in time, whatever the gap in years."""

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from workbench import linear

MOST = 10.0  # beyond this a breakdown value says no more
DRAWS = 20_000
COLUMNS = ["kind", "bound", "lower", "upper"]


def event_study(panel, *, sd_shock, rho) -> dict | None:
    """Coefficients (logit) by event time: `beta`, `covariance`, `pre` and `weights` as this module reads them, or None
    where the effect is unknown. The reference is the last wave with answers before the announcement. Areas that start
    alike are a cohort; cohorts are averaged by residents, after the start so that the weighted beta is the effect over
    the window. Announced, stopped and unknown waves have coefficient, variance and weight 0."""
    data = linear.summaries(panel)
    state = data["begun"] + 1 * panel["exposure"].any("project").values  # 1 announced, 2 running
    seen, columns, about = np.isfinite(data["latent"]), [], []
    counts = data["window"] * (data["residents"] / np.maximum(data["window"].sum(1), 1))[:, None]
    for pattern in np.unique(state[data["treated"]], axis=0):
        members = data["treated"] & (state == pattern).all(1)
        asked, before = (np.flatnonzero(cells[members].any(0)) for cells in (seen, data["free"]))
        for wave in np.setdiff1d(asked, before[-1:]) if len(before) else ():
            columns.append(np.zeros(state.shape))
            columns[-1][members, wave] = 1.0
            sizes = counts[members, wave].sum(), data["residents"][members].sum()
            about.append((wave - before[-1] - 1, pattern[wave], *sizes))
    if not columns:
        return None
    used = seen & (data["free"] | data["treated"][:, None])
    _errors, inverse = linear.covariance(data, used, sd_shock=sd_shock, rho=rho)
    solved, estimate, known = linear.regress(data["latent"], inverse, np.stack(columns, axis=-1))[:3]
    time, phase, counted, residents = np.array(about).T
    known &= (time < 0) | (phase == 2)
    if not (known * counted).any():
        return None
    there = set(time[known])
    pre = next(k for k in range(len(there) + 1) if -2 - k not in there)
    event_time = np.r_[np.arange(-1 - pre, -1), np.arange(time[known].max() + 1)]
    here = known & (time == event_time[:, None])
    weights = here @ counted
    sizes = here * np.where((event_time >= 0)[:, None] & (weights > 0)[:, None], counted, residents)
    rows, weights = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-12), weights[pre:] / weights[pre:].sum()
    return {"beta": rows @ estimate, "covariance": rows @ solved @ rows.T, "pre": pre, "weights": weights}


def relative_magnitudes(beta, covariance, *, pre, weights, bounds, level=0.9) -> pd.DataFrame:
    """Robust interval of the effect for each Mbar in `bounds`: columns kind, bound, lower, upper. Needs `pre` >= 1."""
    effect, room = _drawn(beta, covariance, pre=pre, weights=weights)
    low, high = (1 - level) / 2, (1 + level) / 2
    rows = [("relative", m, np.quantile(effect - m * room, low), np.quantile(effect + m * room, high)) for m in bounds]
    return pd.DataFrame(rows, columns=COLUMNS)


def breakdown(beta, covariance, *, pre, weights, level=0.9) -> float:
    """Largest Mbar whose robust interval leaves out 0: 0 where even Mbar = 0 does not, at most `MOST`."""
    effect, room = _drawn(beta, covariance, pre=pre, weights=weights)
    # The end nearest to 0 lies beyond it in a share (1 - level) / 2 of draws when Mbar is that quantile of the ratio.
    ratio = effect / np.maximum(room, 1e-12)
    return float(np.clip(max(np.quantile(sign * ratio, (1 - level) / 2) for sign in (-1, 1)), 0, MOST))


def smoothness(beta, covariance, *, pre, weights, bounds, level=0.9) -> pd.DataFrame:
    """Robust interval for each M in `bounds` (second differences, on the scale of beta); M = 0 carries a line on.
    Second differences before the start are drawn from their Gaussian cut to [-M, M]. Needs `pre` >= 1."""
    ahead = np.arange(1, len(weights) + 1)
    first = np.diff(np.vstack([np.eye(pre), np.zeros(pre)]), axis=0)
    # Basis: second differences before, then the effect once the last slope is carried on.
    basis = np.zeros((pre, len(beta)))
    basis[: pre - 1, :pre] = np.diff(first, axis=0)
    basis[-1] = np.r_[-(weights @ ahead) * first[-1], weights]
    mean, spread = basis @ beta, basis @ covariance @ basis.T
    gain = np.linalg.solve(spread[:-1, :-1], spread[:-1, -1])
    sd = np.sqrt(max(spread[-1, -1] - gain @ spread[:-1, -1], 0.0))
    reach = sum(abs(weights[s:] @ (ahead[s:] - s)) for s in range(len(weights)))
    rng, rows, tails = np.random.default_rng(0), [], np.array([1 - level, 1 + level]) / 2
    for m in bounds:
        bends = _boxed(mean[:-1], spread[:-1, :-1], m, rng) if m > 0 and pre > 1 else np.zeros((1, pre - 1))
        centre = mean[-1] + (bends - mean[:-1]) @ gain
        if len(centre) > 1:
            low, high = np.quantile(centre + sd * rng.standard_normal(len(centre)), tails)
        else:
            low, high = centre[0] + sd * ndtri(tails)
        rows.append(("smoothness", m, low - m * reach, high + m * reach))
    return pd.DataFrame(rows, columns=COLUMNS)


def _drawn(beta, covariance, *, pre, weights):
    """Draws of the effect under parallel trends, and of how far it moves for each 1 of Mbar."""
    drawn = np.random.default_rng(0).multivariate_normal(beta, covariance, DRAWS, method="eigh")
    steps = np.abs(np.diff(drawn[:, :pre], axis=1, append=0.0)).max(1)
    return drawn[:, pre:] @ weights, steps * np.abs(weights[::-1].cumsum()).sum()


def _boxed(mean, covariance, bound, rng, *, sweeps=60):
    """Draws of N(mean, covariance) cut to the box [-bound, bound], by Gibbs: each chain's last state counts."""
    precision = np.linalg.inv(covariance)
    x = np.clip(rng.multivariate_normal(mean, covariance, DRAWS // 4, method="eigh"), -bound, bound)
    for _ in range(sweeps if len(mean) > 1 else 1):
        for j, sd in enumerate(1 / np.sqrt(np.diag(precision))):
            centre = x[:, j] - (x - mean) @ precision[j] * sd**2
            # In the lower tail a normal probability keeps its digits, so the box is put below its centre.
            sign = np.where(centre > 0, 1.0, -1.0)
            low, high = ndtr((-bound - sign * centre) / sd), ndtr((bound - sign * centre) / sd)
            inside = sign * centre + sd * ndtri(low + rng.random(len(x)) * (high - low))
            x[:, j] = sign * np.clip(np.where(np.isfinite(inside), inside, bound), -bound, bound)
    return x
