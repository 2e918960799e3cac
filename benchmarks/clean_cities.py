"""How often each check speaks in simulated cities without a flaw; nothing is sampled.

    .venv/bin/python benchmarks/clean_cities.py [CITIES]
    .venv/bin/python benchmarks/clean_cities.py fits        what stands for the fit, against the fits of the record

So many without an effect and so many with one of -4 pp; 24 areas, 8 treated, 5 waves, 3,000 respondents, seeds from 100,
every check of `--checks full`. In place of a fit stands M1 with Gaussian answers, whose posterior is known in closed form:
it tells nothing about convergence.
"""

import sys
from collections import Counter
from itertools import product

import calibration
import numpy as np
import pandas as pd
import xarray as xr
from scipy.stats import beta, halfnorm
from threadpoolctl import threadpool_limits

from workbench import checks, estimands, linear
from workbench.models.perceived import PRIORS, working_response
from workbench.panel import build_panel
from workbench.simulate import draw_city

SHOCKS, CORRELATIONS = np.geomspace(0.01, 1.0, 12), (0.1, 0.5, 0.9)
CHAINS, DRAWS = 4, 500
ONE_THREAD = threadpool_limits.wrap(limits=1)  # matrices are small: threads on busy cores wait for each other


@ONE_THREAD
def run(city, *, spoil=None) -> pd.DataFrame:
    """Every check of one evaluation of `city`, as `checks.run_checks` gives them; `spoil` changes the draws first."""
    panel = build_panel(city)
    idata = fitted(panel)
    if spoil is not None:
        spoil(idata)
    att = estimands.summarise(estimands.att(panel, idata["posterior"].to_dataset()))
    effects = pd.DataFrame([{"estimand": "att", "scale": "pp"} | att])
    return checks.run_checks(city, panel, idata, effects, checks="full", lang="en")


def fitted(panel) -> xr.DataTree:
    """What `inference.fit` gives with `checks="full"`, as far as the checks read it, each fit from `draw`."""
    posterior, prior = draw(panel)
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((CHAINS, DRAWS), bool))})
    idata = xr.DataTree.from_dict({"posterior": posterior, "prior": prior, "sample_stats": stats})
    other = {name: {"prior": name} for name in PRIORS}
    if panel.attrs["n_assumed"]:
        other |= {"half_n": {"factor": 0.5}, "double_n": {"factor": 2.0}}
    if panel.sizes["wave"] < 4:
        other |= {"rho_0": {"rho": 0.0}, "rho_05": {"rho": 0.5}, "rho_09": {"rho": 0.9}}
    for label, change in other.items():
        effect = estimands.att(panel, draw(panel, **change)[0])
        idata.attrs |= {f"att_{label}": float(effect.mean()), f"att_{label}_sd": float(effect.std())}
    # Independent draws have nothing to settle.
    size = CHAINS * DRAWS
    idata.attrs |= {"rhat_max": 1.0, "ess_bulk_min": size, "ess_tail_min": size, "divergences": 0, "prior": "sceptical"}
    return idata


@ONE_THREAD
def draw(panel, *, prior="sceptical", rho=None, factor=1.0, seed=0) -> tuple[xr.Dataset, xr.Dataset]:
    """Independent draws of M1 with each area-wave's answers as one Gaussian (`factor` times as many), and of its prior.

    Second moments stand for the priors of tau, sd_event and sd_area; sd_shock and rho have theirs, on a grid. Strata are
    left out: `latent` is the index of all who answered.
    """
    rng, size = np.random.default_rng(seed), CHAINS * DRAWS
    y, information = (x.ravel() for x in working_response(panel))
    seen = np.flatnonzero(information)
    y, error = y[seen] * (1 + 1 / information[seen]), np.diag(1 / (factor * information[seen]))
    design = panel["design"].transpose("area", "wave", "effect").values.reshape(len(information), -1)
    effects = _effects(panel, PRIORS[prior], pooled=prior != "flat")
    level, reach = _level(panel) + design @ effects @ design.T, effects @ design.T
    grid = np.array(list(product(SHOCKS, CORRELATIONS if rho is None else [rho])))
    score, found = halfnorm.logpdf(grid[:, 0], scale=0.17) + np.log(grid[:, 0]), []
    score += beta.logpdf(grid[:, 1], 2, 2) if rho is None else 0.0
    nobody = {"information": np.zeros((1, panel.sizes["wave"])), "year": panel["year"].values}
    for at, (sd, correlation) in enumerate(grid):
        shock, _inverse = linear.covariance(nobody, False, sd_shock=sd, rho=correlation)
        cells = level + np.kron(np.eye(panel.sizes["area"]), shock[0])
        root = np.linalg.cholesky(cells[np.ix_(seen, seen)] + error)
        half = np.linalg.solve(root, y)
        score[at] -= 0.5 * half @ half + np.log(np.diag(root)).sum()
        found.append((cells, root, half))
    weight = np.exp(score - score.max())
    chosen = rng.choice(len(grid), size, p=weight / weight.sum())
    sample = np.empty((size, len(level) + len(effects)))
    for at in np.unique(chosen):
        cells, root, half = found[at]
        both = np.block([[cells, reach.T], [reach, effects]])
        pull, here = np.linalg.solve(root, both[seen]), chosen == at
        sample[here] = rng.multivariate_normal(pull.T @ half, both - pull.T @ pull, here.sum(), method="eigh")
    # A grid has no R-hat: scales are scattered a little about its points.
    scales = (grid[chosen] * np.exp(0.05 * rng.standard_normal((size, 2)))).clip(0, [np.inf, 0.99])
    latent = sample[:, : len(level)].reshape(CHAINS, DRAWS, panel.sizes["area"], -1)
    variables = {
        "latent": (("chain", "draw", "area", "wave"), latent),
        "delta": (("chain", "draw", "effect"), sample[:, len(level) :].reshape(CHAINS, DRAWS, -1)),
        "sd_shock": (("chain", "draw"), scales[:, 0].reshape(CHAINS, DRAWS)),
        "rho": (("chain", "draw"), scales[:, 1].reshape(CHAINS, DRAWS)),
    }
    coords = {name: panel[name].values for name in ("area", "wave", "effect")}
    before = rng.multivariate_normal(np.zeros(len(effects)), effects, (1, size), method="eigh")
    prior_draws = xr.Dataset({"delta": (("chain", "draw", "effect"), before)}, coords={"effect": coords["effect"]})
    return xr.Dataset(variables, coords=coords), prior_draws


def _effects(panel, scale, *, pooled):
    """Prior covariance of the effects by project and event time."""
    project, running = panel["effect_project"].values, panel["effect_pooled"].values
    if not pooled:
        return scale**2 * np.eye(len(project))
    alike = np.outer(running, running) * (1.0 + (project[:, None] == project))
    return scale**2 * (alike + np.diag(np.where(running, 0.25, 1.0)))


def _level(panel):
    """Prior covariance of the area-waves without shocks and projects: cohorts, areas and waves."""
    areas, waves, cohort = np.eye(panel.sizes["area"]), np.eye(panel.sizes["wave"]), panel["cohort"].values
    between = 1.5**2 * (cohort[:, None] == cohort) + 0.7**2 * areas
    return np.kron(between, np.ones_like(waves)) + np.kron(np.ones_like(areas), waves)


def beside_fits(name):
    """ATT of one set of the calibration record by its fits and by `draw`: correlation, mean difference and ratio of sd."""
    fits, rows = pd.read_csv(calibration.RESULTS / f"{name}.csv").set_index("seed"), []
    for seed in fits.index:
        panel = calibration.city_of(name, seed)[1]
        rows.append(estimands.summarise(estimands.att(panel, draw(panel)[0])))
    ours = pd.DataFrame(rows, index=fits.index).astype(float)
    more, ratio = (ours["mean"] - fits["mean"]), (ours["sd"] / fits["sd"]).mean()
    print(
        f"{name}, {len(fits)} cities: correlation {ours['mean'].corr(fits['mean']):.3f}, difference {more.mean():+.2f} pp "
        f"(sd {more.std():.2f}), sd of the posterior {ratio:.2f} times that of the fit"
    )


def false_alarms(cities):
    """Prints how often each check passes, warns and fails in clean cities, and in how many any fails."""
    for effect_pp in (0.0, -4.0):
        seen, blocked = Counter(), 0
        for seed in range(100, 100 + cities):
            table = run(draw_city(respondents=3000, effect_pp=effect_pp, seed=seed)[0])
            seen.update(zip(table["name"], table["status"], strict=True))
            blocked += (table["status"] == "fail").any()
        print(f"effect {effect_pp:+.0f} pp, {cities} cities; any check fails in {blocked}")
        for name in table["name"]:
            print(f"  {name:22}", *(f"{status} {seen[name, status]:3} " for status in ("pass", "warn", "fail")))


if __name__ == "__main__":
    if sys.argv[1:] == ["fits"]:
        for each in ("null", "hard-null"):
            beside_fits(each)
    else:
        false_alarms(int((sys.argv[1:2] or [100])[0]))
