"""A fake project on real data: how often does the method find an effect where there is none?

    .venv/bin/python benchmarks/placebo_flanders.py sets [--repeat 200] [--workers 2]
    .venv/bin/python benchmarks/placebo_flanders.py cities

Flemish Gemeente-Stadsmonitor as published (own neighbourhood; ../shared/data, else this says so and stops). `sets`: 2017 -> 2023, each time 20 municipalities
drawn by lot with a project between the waves, unsafe from "often-always", the only class published in 2023. `cities`: the
13 cities surveyed in 2011, 2014 and 2017, one after the other with a project between 2014 and 2017, unsafe from
"sometimes". Each is fitted under the flat prior (likelihood alone) and the sceptical one, 1,000 draws (`cities`) or 500 (`sets`). Writes
benchmarks/results/placebo-SET.csv, a row per fit, and goes on where it was stopped.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "stadsmonitor"
RESULTS = Path(__file__).parent / "results"
ITEM = "stadsmonitor_neighbourhood"
CASES = {"sets": (("2017", "2023"), "often-always"), "cities": (("2011", "2014", "2017"), "sometimes")}
KEPT = {}


def flanders():
    """The imported City, once per process."""
    from workbench.cities import load_city
    from workbench.sources.stadsmonitor import import_files

    if "city" not in KEPT:
        folder = Path(tempfile.mkdtemp()) / "flanders"
        import_files([DATA / "raw" / "SAMEN_onveiligheid.xlsx", DATA / "survey_2023_samenleven_long.csv"], out=folder)
        KEPT["city"] = load_city("flanders", raw=folder.parent)
    return KEPT["city"]


def placebo_panel(case, seed):
    """The panel of one fake project."""
    import numpy as np
    import pandas as pd

    from workbench import schema
    from workbench.panel import build_panel

    city, (waves, unsafe) = flanders(), CASES[case]
    shares = city.shares[(city.shares["item"] == ITEM) & city.shares["wave"].isin(waves)]
    everywhere = shares.groupby("area")["wave"].nunique() == len(waves)
    areas = sorted(everywhere.index[everywhere])
    chosen = np.random.default_rng(seed).choice(areas, 20, replace=False) if case == "sets" else [areas[seed - 1]]
    day = pd.Timestamp(f"{int(waves[-1]) - 1}-06-01")
    rows = pd.DataFrame({"project": "fake", "name": "Fake", "kind": "none", "area": chosen, "primary_item": ITEM})
    rows = schema.with_all_columns(rows.assign(announced=day, start=day, full=day), "projects")
    part = replace(
        city, projects=rows, shares=shares[shares["area"].isin(areas)], waves=city.waves[city.waves["wave"].isin(waves)],
        areas=city.areas[city.areas["area"].isin(areas)],
    )  # fmt: skip
    return build_panel(part, item=ITEM, unsafe_from=unsafe), ";".join(chosen)


def one(case, seed):
    """Both fits of one fake project."""
    import numpy as np

    from workbench import estimands, verdict
    from workbench.inference import sampler
    from workbench.models.perceived import build_model, model_data

    panel, chosen = placebo_panel(case, seed)
    data = {k: np.asarray(v) for k, v in model_data(panel, keep_empty=True).items()}
    rows, minimum, chains = [], panel.attrs["minimum_pp"], 2 if case == "cities" else 1
    for prior in ("flat", "sceptical"):
        if prior not in KEPT:
            KEPT[prior] = sampler(
                build_model(panel, prior=prior, keep_empty=True), draws=500, tune=200, chains=chains, many=True, cores=1
            )
        idata = KEPT[prior](seed, **data)
        draws = idata["posterior"].to_dataset()
        att = estimands.att(panel, draws)
        found = {k: float(v) for k, v in estimands.summarise(att, minimum_pp=minimum).items()}
        found |= {"p_rise_minimum": float((att > minimum).mean()), "sd_shock": float(draws["sd_shock"].mean())}
        called = verdict.decide(found, minimum_pp=minimum, blocked=False)
        rows.append({"seed": seed, "prior": prior, "areas": chosen, "minimum": minimum} | found | {"verdict": called})
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=list(CASES))
    parser.add_argument("--repeat", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if not DATA.is_dir():
        sys.exit("The published Stadsmonitor files are not here (../shared/data): nothing was run.")
    import pandas as pd

    file = RESULTS / f"placebo-{chosen.case}.csv"
    rows = pd.read_csv(file).to_dict("records") if file.is_file() else []
    repeat = 13 if chosen.case == "cities" else chosen.repeat
    seeds = sorted(set(range(1, repeat + 1)) - {row["seed"] for row in rows})
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(chosen.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(one, [chosen.case] * len(seeds), seeds), 1):
            rows += found
            pd.DataFrame(rows).to_csv(file, index=False, float_format="%.6g")
            print(f"\r{number} of {len(seeds)}", end="", file=sys.stderr, flush=True)
    report(pd.DataFrame(rows))


def report(table):
    """Coverage of zero and verdicts, by prior."""
    for prior, part in table.groupby("prior"):
        for q in (50, 90):
            inside = ((part[f"lower{q}"] <= 0) & (part[f"upper{q}"] >= 0)).mean()
            print(f"{prior:10s} {len(part)} fake projects: {q} % intervals that contain 0: {inside:.1%}")
        clear = part["verdict"].isin(["clear fall", "clear rise"]).mean()
        probable = part["verdict"].isin(["probable fall", "probable rise"]).mean()
        print(
            f"{prior:10s} mean {part['mean'].mean():+.2f}, sd of means {part['mean'].std():.2f}, posterior sd {part['sd'].mean():.2f}; clear {clear:.1%}, probable {probable:.1%}"
        )


if __name__ == "__main__":
    main()
