"""The calibration record: do intervals hold the truth, and verdicts mean what they say, over simulated cities?

    make calibrate                    the standard: 200 cities drawn from the prior, 100 null cities, 100 hard ones
    make calibrate SET=table          the other designs of SETS, as long as it takes
    .venv/bin/python benchmarks/calibration.py SET ... [--cities N] [--workers 2]

Every city is drawn in memory with its own seed, fitted and checked as `workbench evaluate` does it (2 chains of 400 draws
instead of 4 of 1,000, not repeated), and judged. The model is compiled once per set and process; tasks go to a local cluster of distributed, and as
everything in a task follows from its set and seed, the number of workers changes nothing. Finished cities are kept in
benchmarks/results/calibration/SET.csv, one row each: a run that was stopped goes on where it was. At the end the record,
src/workbench/calibration.csv, is made anew from the sets that are complete; reports quote it.
"""

import argparse
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

SETS = {
    "prior": ({}, 200),
    "null": ({"effect_pp": 0.0}, 100),
    "hard-null": ({"effect_pp": 0.0, "baseline_gap_pp": 12.0, "trend": -0.25}, 100),
    "effect-2": ({"effect_pp": -2.0}, 40),
    "effect-4": ({"effect_pp": -4.0}, 40),
    "effect-8": ({"effect_pp": -8.0}, 40),
    "few-areas": ({"effect_pp": -4.0, "areas": 8, "treated": 2, "projects": 2}, 40),
    "many-areas": ({"effect_pp": -4.0, "areas": 60, "treated": 20}, 40),
    "few-areas-null": ({"effect_pp": 0.0, "areas": 8, "treated": 2, "projects": 2}, 40),
    "many-areas-null": ({"effect_pp": 0.0, "areas": 60, "treated": 20}, 40),
    "low-base-null": ({"effect_pp": 0.0, "baseline_unsafe": 0.06, "baseline_gap_pp": 3.0}, 40),
    "low-base": ({"effect_pp": -2.0, "baseline_unsafe": 0.06, "baseline_gap_pp": 3.0}, 40),
    "lasting-shocks": ({"effect_pp": -4.0, "shock_rho": 0.7}, 40),
    "lasting-shocks-null": ({"effect_pp": 0.0, "shock_rho": 0.7}, 40),
    "drift": ({"effect_pp": -4.0, "area_drift": 0.05}, 40),
    "drift-null": ({"effect_pp": 0.0, "area_drift": 0.05}, 40),
    "shares": ({"effect_pp": -4.0, "shares": True}, 40),
    "weights": ({"effect_pp": -4.0}, 40),
    "whole-fits": ({"effect_pp": 0.0}, 40),  # as long as those of `workbench evaluate`, repeated where they must be
}
# What the method does not assume, or what is not a city's usual case: not quoted beside an ordinary design.
NOTES = {
    "prior": "parameters drawn from the prior", "hard-null": "12 pp gap and everyone improving",
    "lasting-shocks": "shocks AR(1) 0.7", "lasting-shocks-null": "shocks AR(1) 0.7", "drift": "areas drift by 0.05 a wave",
    "drift-null": "areas drift by 0.05 a wave", "shares": "published shares", "weights": "survey weights",
    "whole-fits": "fitted at full length",
}  # fmt: skip
STANDARD = {"areas": 24, "treated": 8, "waves": 5, "projects": 4, "respondents": 3000, "baseline_unsafe": 0.2}
NAMED = {"standard": ("prior", "null", "hard-null"), "table": tuple(SETS)[3:], "all": tuple(SETS)}
RESULTS = Path(__file__).parent / "results" / "calibration"
RANKS = 100  # posterior draws kept per rank: ranks 0 to 99
MODELS = {}


def city_of(name, seed):
    """The City and the panel of one task, with the ATT's truth in pp, and the true parameters where the prior drew them."""
    import numpy as np

    from workbench.panel import build_panel
    from workbench.simulate import draw_city

    options = STANDARD | SETS[name][0]
    if name == "prior":
        city, _truth = draw_city(**options | {"seed": 0})
        panel, truth = from_prior(build_panel(city), np.random.default_rng(seed))
        return city, panel, float(truth["att"]), truth
    city, truth = draw_city(**options | {"seed": seed})
    if name == "weights":
        city = weighted(draw_city(**options | {"seed": seed, "respondents": 2 * options["respondents"]})[0], seed)
    return city, build_panel(city), truth["att_pp"], None


def weighted(city, seed):
    """About half of the respondents, old ones more readily than young, with weights that undo it and some that do nothing."""
    from dataclasses import replace

    import numpy as np

    rng, rows = np.random.default_rng([seed, 1]), city.respondents
    chance = rows["age_band"].map({"16-34": 0.3, "35-64": 0.5, "65+": 0.8}).to_numpy()
    kept = rng.random(len(rows)) < chance
    weight = np.exp(rng.normal(0, 0.3, len(rows))) / chance
    return replace(city, respondents=rows.assign(weight=weight)[kept].reset_index(drop=True), weighted=True)


def from_prior(panel, rng):
    """The panel with answers drawn from the model's equation at parameters drawn from its prior, and those parameters.

    Written in numpy from the equation in models/perceived.py, without its code: the other side of the comparison.
    """
    import numpy as np
    import xarray as xr

    from workbench import estimands
    from workbench.models.perceived import PRIORS

    a, size = PRIORS["sceptical"], panel.sizes
    centred = lambda sd, n: sd * (rng.standard_normal(n) @ (np.eye(n) - 1 / n))
    half = lambda sd: abs(sd * rng.standard_normal())
    cohorts, cohort = np.unique(panel["cohort"].values, return_inverse=True)
    true = {"mu": a * rng.standard_normal(), "tau": half(a), "sd_event": half(a / 2), "sd_area": half(0.7)}
    true |= {"sd_shock": half(0.17), "rho": rng.beta(2, 2), "level": 1.5 * rng.standard_normal(len(cohorts))}
    true |= {"wave_effect": centred(1.0, size["wave"]), "strata": centred(0.5, size["stratum"])}
    true["gap"] = np.exp(rng.standard_normal(size["category"] - 2))
    cut = np.concatenate([[0.0], true["gap"].cumsum()])
    true["cut"] = cut - cut[panel.attrs["unsafe_index"] - 1]
    project = rng.standard_normal(size["project"])[panel["effect_project"].values]
    true["delta"] = true["mu"] + true["tau"] * project + true["sd_event"] * rng.standard_normal(size["effect"])
    shock = rng.standard_normal((size["area"], size["wave"]))
    for t in range(1, size["wave"]):
        shock[:, t] = true["rho"] * shock[:, t - 1] + np.sqrt(1 - true["rho"] ** 2) * shock[:, t]
    area = true["level"][cohort] + true["sd_area"] * rng.standard_normal(size["area"])
    design = panel["design"].transpose("area", "wave", "effect").values
    true["latent"] = area[:, None] + true["wave_effect"] + true["sd_shock"] * shock + design @ true["delta"]
    eta = true["latent"][..., None] + true["strata"]
    below = 1 / (1 + np.exp(eta[..., None] - true["cut"]))
    chance = np.diff(np.concatenate([0 * below[..., :1], below, 0 * below[..., :1] + 1], axis=-1), axis=-1)
    asked = panel["counts"].sum("answer").transpose("area", "wave", "stratum").values.astype(int)
    counts = rng.multinomial(asked, chance / chance.sum(-1, keepdims=True)).astype(float)
    dims = ("area", "wave", "stratum", "answer")
    unsafe = counts[..., panel.attrs["unsafe_index"] :].sum((2, 3)) / asked.sum(2)
    made = panel.assign(counts=(dims, counts), share_unsafe=(("area", "wave"), unsafe))
    as_draws = {"latent": ("area", "wave"), "delta": ("effect",), "strata": ("stratum",), "cut": ("threshold",)}
    draws = xr.Dataset({k: (("chain", "draw", *d), true[k][None, None]) for k, d in as_draws.items()})
    draws = draws.assign_coords(effect=panel["effect"].values, stratum=panel["stratum"].values)
    true["att"] = estimands.att(panel, draws).item()
    return made, {k: v for k, v in true.items() if k != "cut"}


def one(name, seed, draws=400):
    """One city, fitted, checked and judged: a row of results, and the ranks of the true parameters (or none)."""
    import numpy as np
    import pandas as pd

    from workbench import estimands, linear, verdict
    from workbench.checks import run_checks
    from workbench.inference import fit
    from workbench.models.perceived import build_model

    city, panel, truth, parameters = city_of(name, seed)
    shape = tuple(panel.sizes.values())
    if shape not in MODELS:
        MODELS[shape] = build_model(panel, keep_empty=True)
    length = {} if name == "whole-fits" else {"draws": draws, "tune": 250, "chains": 2, "reruns": 0}
    idata = fit(panel, MODELS[shape], **length, seed=seed, many=True)
    inputs = estimands.evaluate_verdict_inputs(panel, idata, lang="en")
    effects = pd.DataFrame([{"estimand": "att", "scale": "pp"} | inputs["att"]])
    checks = run_checks(city, panel, idata, effects, lang="en")
    if length:  # a shorter fit cannot keep the bounds of a whole one
        checks.loc[checks["name"] == "convergence", "status"] = "not asked"
    blocked = bool((checks["status"] == "fail").any())
    minimum = panel.attrs["minimum_pp"]
    called = verdict.decide(inputs["att"], minimum_pp=minimum, blocked=blocked)
    shocks = {k: float(idata["posterior"][k].mean()) for k in ("sd_shock", "rho")}
    row = {"seed": seed, "truth": truth, "minimum": minimum, "verdict": called} | inputs["att"]
    row |= {"linear": linear.both_scales(linear.summaries(panel), **shocks)[0], "reruns": idata.attrs.get("reruns", 0)}
    row |= checks.attrs["diagnostics"] | dict(zip(checks["name"], checks["status"], strict=True))
    ranks = {}
    for key, value in (parameters or {}).items():
        kept = idata["posterior"][key].stack(sample=("chain", "draw")).transpose("sample", ...).values
        kept = kept[:: len(kept) // (RANKS - 1)][: RANKS - 1]
        below = np.atleast_1d((kept < np.asarray(value)).sum(0)).ravel()
        ranks |= {f"{key}[{i}]" if below.size > 1 else key: int(r) for i, r in enumerate(below)}
    return row, ranks


def run(names, cities, workers):
    """Fit what is not yet in the results, on a local cluster."""
    import pandas as pd
    from distributed import Client, LocalCluster, as_completed

    tables, todo = {}, []
    for name in names:
        file = RESULTS / f"{name}.csv"
        tables[name] = pd.read_csv(file).to_dict("records") if file.is_file() else []
        done = {row["seed"] for row in tables[name]}
        todo += [(name, seed) for seed in range(1, (cities or SETS[name][1]) + 1) if seed not in done]
    ranked = RESULTS / "prior-ranks.csv"
    ranks = pd.read_csv(ranked).to_dict("records") if ranked.is_file() else []
    if not todo:
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    import calibration  # by its name: what __main__ defines would be sent, and compiled anew, with every task

    # The sampler calls back into Python at every step: in a worker's own process its event loop makes that four times slower.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    settings = {"n_workers": 1, "threads_per_worker": workers, "processes": False, "dashboard_address": None}
    with pool, LocalCluster(**settings, executor=pool) as cluster, Client(cluster) as client:
        futures = {
            client.submit(calibration.one, *task, key="-".join(map(str, task)), pure=False): task for task in todo
        }
        for number, future in enumerate(as_completed(futures), 1):
            name, seed = futures[future]
            row, found = future.result()
            tables[name].append(row)
            save(RESULTS / f"{name}.csv", tables[name])
            if found:
                ranks.append({"seed": seed} | found)
                save(ranked, ranks)
            print(f"\r{number} of {len(todo)} cities", end="", file=sys.stderr, flush=True)
            future.release()
    print(file=sys.stderr)


def save(path, rows):
    """The rows as CSV, by seed, the whole file or nothing."""
    import pandas as pd

    from workbench.provenance import write_text

    write_text(path, pd.DataFrame(rows).sort_values("seed").to_csv(index=False, float_format="%.6g"))


def finished(name):
    """Whether a set has all the cities that the record asks for."""
    import pandas as pd

    file = RESULTS / f"{name}.csv"
    return file.is_file() and len(pd.read_csv(file)) >= SETS[name][1]


def line(name):
    """One setting's line of the record; see workbench.record."""
    import numpy as np
    import pandas as pd

    table, design = pd.read_csv(RESULTS / f"{name}.csv"), STANDARD | SETS[name][0]
    error, found = table["mean"] - table["truth"], ~table["lower90"].le(0) | ~table["upper90"].ge(0)
    sign, size = np.sign(table["mean"]) != np.sign(table["truth"]), (table["mean"] / table["truth"]).abs()
    some = design.get("effect_pp", 1) != 0 and bool(found.any())
    called = lambda *verdicts: table["verdict"].isin(verdicts).mean()
    return {
        "set": name, "note": NOTES.get(name), "areas": design["areas"], "treated": design["treated"], "waves": design["waves"],
        "respondents": design["respondents"], "baseline_pp": 100 * design["baseline_unsafe"] + design.get("baseline_gap_pp", 6),
        "effect_pp": design.get("effect_pp", np.nan), "cities": len(table), "bias": error.mean(), "bias_se": error.sem(),
        "posterior_sd": table["sd"].mean(), "error_sd": error.std(),
        **{f"cover{q}": table["truth"].between(table[f"lower{q}"], table[f"upper{q}"]).mean() for q in (50, 90)},
        "type_s": sign[found].mean() if some else np.nan, "type_m": size[found].median() if some else np.nan,
        "clear": called("clear fall", "clear rise"), "probable": called("probable fall", "probable rise"),
        "fall": called("clear fall", "probable fall"), "no_change": called("no worthwhile change"),
        "cannot_tell": called("cannot tell"), "blocked": called("blocked"),
        "linear_bias": (table["linear"] - table["truth"]).mean(),
    }  # fmt: skip


def uniform(bins=10):
    """Chi-squared tests that the ranks of every parameter are uniform, smallest p after Holm's correction."""
    import numpy as np
    import pandas as pd
    from scipy.stats import chisquare

    file = RESULTS / "prior-ranks.csv"
    if not file.is_file():
        return
    ranks = pd.read_csv(file).drop(columns="seed")
    p = ranks.apply(lambda x: chisquare(np.histogram(x, bins=bins, range=(0, RANKS))[0]).pvalue).sort_values()
    holm = (p * np.arange(len(p), 0, -1)).cummax().clip(upper=1)
    print(
        f"\nSBC: {len(ranks)} cities, {len(p)} parameters, {bins} bins; smallest p {p.iloc[0]:.4f} ({p.index[0]}), after Holm {holm.iloc[0]:.3f}"
    )
    print(f"ATT: p {p['att']:.3f}; parameters with p < 0.05: {(p < 0.05).mean():.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="+", choices=[*NAMED, *SETS], metavar="SET")
    parser.add_argument("--cities", type=int, help="cities per set; by default as many as the record asks for")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import pandas as pd

    from workbench.provenance import write_text
    from workbench.record import FILE

    names = dict.fromkeys(name for given in chosen.sets for name in NAMED.get(given, (given,)))
    run(names, chosen.cities, chosen.workers)
    record = pd.DataFrame([line(name) for name in SETS if finished(name)])
    write_text(FILE, record.to_csv(index=False, float_format="%.4g"))
    with pd.option_context("display.width", 250, "display.max_columns", None, "display.precision", 3):
        print(record.drop(columns=["areas", "treated", "waves", "respondents", "note"]).to_string(index=False))
    uniform()


if __name__ == "__main__":
    main()
