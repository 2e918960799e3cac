"""Coverage and bias of the ATT over simulated cities: do 90 % intervals hold the truth in 90 of 100 cities?

    .venv/bin/python benchmarks/calibration.py SET [--cities 60] [--workers 2]

SET is one of the names in SETS. Each city is drawn in memory by `workbench.simulate.draw_city` with its own seed and
fitted by the same model and sampler as `workbench evaluate`, with 2 chains of 400 draws, by a pool of processes; the
result depends on the seeds only. Prints one line per prior and writes benchmarks/results/SET.csv, a row per fit.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

SETS = {
    "effect": ({"effect_pp": -4.0}, ("wide", "sceptical"), False),
    "hard-null": ({"effect_pp": 0.0, "baseline_gap_pp": 12.0, "trend": -0.08}, ("wide", "sceptical"), False),
    "hard-null-common-level": ({"effect_pp": 0.0, "baseline_gap_pp": 12.0, "trend": -0.08}, ("wide",), True),
    "null": ({"effect_pp": 0.0}, ("wide", "sceptical"), False),
}
RESULTS = Path(__file__).parent / "results"


KEPT = {}


def compiled(panel, common_level):
    """One compiled sampler per process: all cities of a set have the same shape."""
    from workbench.inference import sampler
    from workbench.models.perceived import build_model

    if "sample" not in KEPT:
        model = build_model(panel, keep_empty=True, common_level=common_level)
        KEPT["sample"] = sampler(model, draws=400, tune=250, chains=2, many=True)
    return KEPT["sample"]


def one(seed, *, options, priors, common_level):
    """Rows (one per prior) of a single simulated city."""
    import numpy as np

    from workbench import estimands, linear, verdict
    from workbench.models.perceived import PRIORS, model_data
    from workbench.panel import build_panel
    from workbench.simulate import draw_city

    city, truth = draw_city(seed=seed, **options)
    panel, rows = build_panel(city), []
    minimum = panel.attrs["minimum_pp"]
    for prior in priors:
        given = model_data(panel, keep_empty=True, common_level=common_level) | {"prior_scale": PRIORS[prior]}
        idata = compiled(panel, common_level)(seed, **{k: np.asarray(v) for k, v in given.items()})
        draws = idata["posterior"].to_dataset()
        att = estimands.att(panel, draws)
        summary = {k: float(v) for k, v in estimands.summarise(att, minimum_pp=minimum).items()}
        chances = {
            "p_rise_minimum": float((att > minimum).mean()),
            "p_within_minimum": float((abs(att) < minimum).mean()),
        }
        called = verdict.decide(summary | chances, minimum_pp=minimum, blocked=False)
        row = {"seed": seed, "prior": prior, "truth": truth["att_pp"], "minimum": minimum, **summary, "verdict": called}
        rows.append(row | {"divergences": int(idata["sample_stats"]["diverging"].sum())})
    scales = {name: float(draws[name].mean()) for name in ("sd_shock", "rho")}
    rows[0]["linear"] = linear.both_scales(linear.summaries(panel), **scales)[0]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=list(SETS))
    parser.add_argument("--cities", type=int, default=60)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--respondents", type=int, default=6000)
    chosen = parser.parse_args()
    options, priors, common_level = SETS[chosen.set]
    task = partial(one, options=options | {"respondents": chosen.respondents}, priors=priors, common_level=common_level)
    os.environ["OMP_NUM_THREADS"] = "1"
    rows = []
    with ProcessPoolExecutor(chosen.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(task, range(1, chosen.cities + 1)), 1):
            rows += found
            print(f"\r{number} of {chosen.cities} cities", end="", file=sys.stderr, flush=True)
    report(rows, chosen)


def report(rows, chosen):
    import pandas as pd

    table = pd.DataFrame(rows)
    table.to_csv(RESULTS / f"{chosen.set}.csv", index=False, float_format="%.5f")
    print(f"\n{chosen.set}: {chosen.cities} simulated cities, {chosen.respondents} respondents each")
    for prior, part in table.groupby("prior", sort=False):
        inside = {q: part["truth"].between(part[f"lower{q}"], part[f"upper{q}"]) for q in (50, 90)}
        error = part["mean"] - part["truth"]
        print(
            f"{prior:10s} truth {part['truth'].mean():+.2f} pp, mean error {error.mean():+.2f} (se {error.sem():.2f}), "
            f"posterior sd {part['sd'].mean():.2f}, error sd {error.std():.2f}, 90 % covers {inside[90].sum()} of {len(part)}, "
            f"50 % covers {inside[50].sum()}; verdicts {part['verdict'].value_counts().to_dict()}"
        )
    linear = (table["linear"] - table["truth"]).dropna()
    print(
        f"linear (imputation) difference-in-differences on percentages: mean error {linear.mean():+.2f} pp (se {linear.sem():.2f})"
    )


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    main()
