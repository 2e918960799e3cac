"""Does pooling cards give what one model of all respondents would give, and do its intervals hold the truth?

    .venv/bin/python benchmarks/pooling.py together      8 cities x 3 projects: cards pooled, beside one model of all answers
    .venv/bin/python benchmarks/pooling.py coverage      100 worlds of 8 cities x 3 projects, from answers to pool
    .venv/bin/python benchmarks/pooling.py published     8 schools; BCG vaccine trials
    .venv/bin/python benchmarks/pooling.py impact        the Collective Impact slope with 6 and with 60 cards, 100 worlds each

Worlds are drawn from M4's prior, answers from M1's equation, both in numpy and without the models' own code. Everything
is simulated but `published`. Rows of `coverage` and `impact` are kept in benchmarks/results/pooling-*.csv.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pandas as pd
import xarray as xr

RESULTS = Path(__file__).parent / "results"
CITIES, PROJECTS, A = 8, 3, 0.17
SCHOOLS = ([28, 8, -3, 7, -1, 1, 18, 12], [15, 10, 16, 11, 9, 11, 10, 18])
# Colditz et al. 1994, JAMA 271: tuberculosis cases and all others, vaccinated and not, in 13 trials.
BCG = [
    (4, 119, 11, 128), (6, 300, 29, 274), (3, 228, 11, 209), (62, 13536, 248, 12619), (33, 5036, 47, 5761),
    (180, 1361, 372, 1079), (8, 2537, 10, 619), (505, 87886, 499, 87892), (29, 7470, 45, 7232), (17, 1699, 65, 1600),
    (186, 50448, 141, 27197), (5, 2493, 3, 2338), (27, 16886, 29, 17825),
]  # fmt: skip


@cache
def template():
    """The panel of one simulated city: its design is that of every city here."""
    from workbench.panel import build_panel
    from workbench.simulate import draw_city

    return build_panel(draw_city(areas=24, treated=8, waves=5, respondents=3000, projects=PROJECTS, seed=0)[0])


def draw_theta(rng, *, cities=CITIES, projects=PROJECTS):
    """A world from M4's prior: mu, tau, theta (city, project), and the effect of one project in a next city."""
    mu, tau, between = A * rng.standard_normal(), abs(A * rng.standard_normal()), rng.random()
    own = rng.standard_t(4, (cities + 1, projects)) * np.sqrt(0.5)
    theta = mu + tau * (np.sqrt(between) * rng.standard_normal((cities + 1, 1)) + np.sqrt(1 - between) * own)
    return {"mu": mu, "tau": tau, "theta": theta[:cities], "next": theta[cities, 0]}


def draw_panel(rng, theta):
    """The template's panel with answers drawn at window means `theta` (project), logit."""
    from workbench.models.perceived import model_data

    panel = template()
    sizes, weight = panel.sizes, model_data(panel)["window_weight"]
    treated, of = panel["treated"].values, panel["effect_project"].values
    area = np.log(0.2 / 0.8) + 0.35 * treated + 0.15 * rng.standard_normal() + 0.4 * rng.standard_normal(sizes["area"])
    event = 0.05 * rng.standard_normal(sizes["effect"])
    delta = np.where(
        panel["effect_pooled"], theta[of] + event - (weight @ event)[of], 0.1 * rng.standard_normal(len(of))
    )
    shock = 0.1 * rng.standard_normal((sizes["area"], sizes["wave"]))
    design = panel["design"].transpose("area", "wave", "effect").values
    latent = area[:, None] + 0.1 * rng.standard_normal(sizes["wave"]) + shock + design @ delta
    cut = np.cumsum(np.exp(0.2 * rng.standard_normal(sizes["category"] - 1)))
    cut -= cut[panel.attrs["unsafe_index"] - 1]
    eta = latent[..., None] + np.linspace(-0.3, 0.3, sizes["stratum"])
    below = 1 / (1 + np.exp(eta[..., None] - cut))
    chance = np.diff(np.concatenate([0 * below[..., :1], below, 0 * below[..., :1] + 1], axis=-1), axis=-1)
    asked = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values.astype(int)
    counts = rng.multinomial(asked, chance / chance.sum(-1, keepdims=True)).astype(float)
    return panel.assign(counts=(("area", "wave", "stratum", "answer"), counts))


@cache
def card_sampler(draws, chains):
    from workbench.inference import sampler
    from workbench.models.perceived import build_model

    model = build_model(template(), prior="window", keep_empty=True)
    return sampler(model, draws=draws, tune=400, chains=chains, target_accept=0.9, many=True, cores=1)


def pooled_cards(panels, *, seed, draws=500, chains=2):
    """The panels' cards, stacked: what cities would exchange."""
    from workbench.cards import moments
    from workbench.models.perceived import model_data

    sample = card_sampler(draws, chains)
    cards = []
    for number, panel in enumerate(panels):
        data = {name: np.asarray(x) for name, x in model_data(panel, keep_empty=True).items()}
        cards.append(moments(sample(seed + number, **data)["posterior"]["theta"]))
    covariance = np.kron(np.eye(len(cards)), np.ones((PROJECTS, PROJECTS)))
    covariance[covariance > 0] = np.concatenate([np.ravel(card["covariance"]) for card in cards])
    city = np.repeat(np.arange(len(cards)), PROJECTS)
    return stacked(np.concatenate([card["mean"] for card in cards]), covariance, city)


def stacked(estimate, covariance, city, *, score=np.nan, score_se=np.nan):
    """What `cards.stack` would give for these numbers."""
    n = len(estimate)
    column = lambda values, kind=float: ("project", np.broadcast_to(np.asarray(values, kind), n).copy())
    return xr.Dataset(
        {
            "estimate": column(estimate), "covariance": (("project", "other"), np.asarray(covariance, float)),
            "city_index": column(city, int), "kind_index": column(0, int), "base_pp": column(24.0),
            "score": column(score), "score_se": column(score_se),
        },
        coords={"project": [f"c{c}/p{i}" for i, c in enumerate(city)], "city": column([f"c{c}" for c in city], object),
                "kind": column("other", object)},
    )  # fmt: skip


def together(seed=1):
    """Cards pooled beside one model of all answers: difference of the means in standard errors, ratio of these."""
    import pymc as pm
    import pytensor.tensor as pt

    from workbench.inference import diagnostics, sampler
    from workbench.models.evidence import student
    from workbench.models.perceived import build_model
    from workbench.pooling import fit_pool, pool_sampler

    rng = np.random.default_rng(seed)
    world = draw_theta(rng)
    panels = [draw_panel(rng, theta) for theta in world["theta"]]
    pool = pooled_cards(panels, seed=seed, draws=1500, chains=4)
    ours = fit_pool(pool, pool_sampler(pool), draws=4000, seed=seed)
    with pm.Model() as joint:
        mu, size, between = A * pm.Normal("mu", 0, 1), A * pm.HalfNormal("size", 1), pm.Uniform("between", 0, 1)
        city, own = pm.Normal("city_raw", 0, 1, shape=CITIES), student("own", shape=(CITIES, PROJECTS))
        theta = mu + size * (pt.sqrt(between) * city[:, None] + pt.sqrt(1 - between) * own)
        for number, panel in enumerate(panels):
            with pm.Model(name=f"city{number}"):
                build_model(panel, prior="window", theta=theta[number])
        pm.Deterministic("pooled", mu)
        pm.Deterministic("heterogeneity", size)
    theirs = sampler(joint, draws=1000, tune=600, target_accept=0.95)(seed)
    print("one model of all answers:", diagnostics(theirs), f"{theirs.attrs['seconds_sample']:.0f} s of sampling")
    print("cards:", diagnostics(ours))
    for name, a, b in (("mean", "mu", "pooled"), ("heterogeneity", "tau", "heterogeneity")):
        a, b = ours["posterior"][a].values, theirs["posterior"][b].values
        print(
            f"{name}: cards {a.mean():.4f} (sd {a.std():.4f}), one model {b.mean():.4f} (sd {b.std():.4f}), true "
            f"{world[{'mean': 'mu'}.get(name, 'tau')]:.4f}; difference {(a.mean() - b.mean()) / b.std():+.3f} sd, sd ratio {a.std() / b.std():.3f}"
        )


SAMPLERS = {}


def sampler_of(scored, pool):
    """M4 compiled for pools of this shape, once a process."""
    from workbench.pooling import pool_sampler

    key = (scored, pool.sizes["project"])
    if key not in SAMPLERS:
        SAMPLERS[key] = pool_sampler(pool)
    return SAMPLERS[key]


def world_row(seed):
    """One world from answers to pool: truth and intervals of the mean, the heterogeneity and a next city."""
    from workbench.estimands import summarise
    from workbench.pooling import fit_pool

    rng = np.random.default_rng([2, seed])
    world = draw_theta(rng)
    pool = pooled_cards([draw_panel(rng, theta) for theta in world["theta"]], seed=seed, chains=1)
    posterior = fit_pool(pool, sampler_of(False, pool), seed=seed)["posterior"]
    return {"seed": seed} | {
        f"{name}_{key}": value
        for name in ("mu", "tau", "next")
        for key, value in ({"true": world[name]} | summarise(posterior[name])).items()
        if key in ("true", "mean", "sd", "lower50", "upper50", "lower90", "upper90")
    }


def impact_row(task):
    """The slope on the Collective Impact score from cards of one project each; the slope from its prior."""
    from workbench.estimands import summarise
    from workbench.models.evidence import SLOPE_SD
    from workbench.pooling import DOMINATED, fit_pool

    cards, seed = task
    rng = np.random.default_rng([3, cards, seed])
    slope, score = SLOPE_SD * rng.standard_normal(), 2 + rng.standard_normal(cards)
    theta = draw_theta(rng, cities=cards, projects=1)["theta"][:, 0] + slope * (score - 2)
    se, rating = rng.uniform(0.1, 0.35, cards), rng.uniform(0.15, 0.35, cards)
    seen = np.clip(score + rating * rng.standard_normal(cards), 0, 4)
    pool = stacked(theta + se * rng.standard_normal(cards), np.diag(se**2), range(cards), score=seen, score_se=rating)
    found = summarise(fit_pool(pool, sampler_of(True, pool), seed=seed)["posterior"]["slope"])
    return {"cards": cards, "seed": seed, "true": slope, "dominated": found["sd"] > DOMINATED * SLOPE_SD} | found


def spread(function, tasks, file):
    """Rows of a function over tasks, on two processes; what is in `file` already is not run again."""
    import pooling  # by its name, so that a process finds the function

    rows = pd.read_csv(file).to_dict("records") if file.is_file() else []
    done = {tuple(row[k] for k in ("cards", "seed") if k in row) for row in rows}
    todo = [task for task in tasks if (task if isinstance(task, tuple) else (task,)) not in done]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, row in enumerate(pool.map(getattr(pooling, function), todo), 1):
            rows.append(row)
            pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g")
            print(f"\r{number} of {len(todo)}", end="", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def coverage(worlds=100):
    table = spread("world_row", range(1, worlds + 1), RESULTS / "pooling-coverage.csv")
    for name in ("mu", "tau", "next"):
        true, z = table[f"{name}_true"], (table[f"{name}_mean"] - table[f"{name}_true"])
        inside = {q: int(true.between(table[f"{name}_lower{q}"], table[f"{name}_upper{q}"]).sum()) for q in (50, 90)}
        print(
            f"{name}: 90 % intervals hold the truth in {inside[90]} of {len(table)}, 50 % in {inside[50]}; bias {z.mean():+.4f} (se {z.sem():.4f})"
        )


def impact(worlds=100):
    table = spread(
        "impact_row",
        [(cards, seed) for cards in (6, 60) for seed in range(1, worlds + 1)],
        RESULTS / "pooling-impact.csv",
    )
    for cards, rows in table.groupby("cards"):
        held = rows["true"].between(rows["lower90"], rows["upper90"]).mean()
        print(
            f"{cards} cards: prior-dominated in {rows['dominated'].mean():.0%}, 90 % interval holds the slope in {held:.0%}, "
            f"posterior over prior sd {(rows['sd'] / 0.05).mean():.2f}, correlation with the truth {rows['mean'].corr(rows['true']):.2f}"
        )


def published():
    """8 schools with its published priors; BCG with priors far wider than its effects."""
    from workbench.pooling import fit_pool, pool_sampler

    pool = stacked(SCHOOLS[0], np.diag(np.square(SCHOOLS[1])), range(8))
    build = pool_sampler(pool, tails="normal", tau="half-cauchy")
    found = fit_pool(pool, build, scale=5.0, draws=5000)["posterior"]
    print(
        "8 schools:",
        {name: f"{float(found[name].mean()):.2f} (sd {float(found[name].std()):.2f})" for name in ("mu", "tau")},
        "published: mu 4.41 (3.31), tau 3.60 (3.20)",
    )
    cases, rest, cases0, rest0 = np.array(BCG, float).T
    estimate = np.log(cases / (cases + rest)) - np.log(cases0 / (cases0 + rest0))
    variance = 1 / cases - 1 / (cases + rest) + 1 / cases0 - 1 / (cases0 + rest0)
    pool = stacked(estimate, np.diag(variance), range(13))
    found = fit_pool(pool, pool_sampler(pool, tails="normal"), scale=2.0, draws=5000)["posterior"]
    mu, tau2 = found["mu"], found["tau"] ** 2
    print(
        f"BCG: mean log risk ratio {float(mu.mean()):.4f} (sd {float(mu.std()):.4f}), tau^2 median {float(tau2.median()):.3f} "
        f"(90 % {float(tau2.quantile(0.05)):.3f} to {float(tau2.quantile(0.95)):.3f}); published: -0.7145 (0.1798), 0.313"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["together", "coverage", "published", "impact"])
    globals()[parser.parse_args().what]()


if __name__ == "__main__":
    main()
