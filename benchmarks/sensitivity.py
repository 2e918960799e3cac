"""How often each sensitivity check warns in simulated cities without a flaw; no model is fitted.

    .venv/bin/python benchmarks/sensitivity.py [CITIES] [EFFECT_PP]

24 areas, 8 treated, 5 waves, 3,000 respondents, seeds from 100; the checks are given the true shocks, and the imputed
effect with its 90 % interval in place of the evaluation's, also of the one without a prior.
"""

import sys
from collections import Counter

import numpy as np
import xarray as xr

from workbench import linear, robustness, sensitivity
from workbench.panel import build_panel
from workbench.simulate import draw_city

SHOCKS = {"sd_shock": 0.1, "rho": 0.0}


def statuses(seed, *, effect_pp) -> dict[str, str]:
    """Status of each check in one city; `finding` tells whether the imputed effect's interval leaves out 0."""
    city, _truth = draw_city(respondents=3000, effect_pp=effect_pp, seed=seed)
    panel = build_panel(city)
    idata = xr.DataTree.from_dict({"posterior": xr.Dataset({k: ("draw", np.full(2, v)) for k, v in SHOCKS.items()})})
    data = linear.summaries(panel)
    effect, error = linear.effect_of(data, free=data["free"], window=data["window"], **SHOCKS)
    share = linear.window_share(data)
    idata.attrs["att_flat"] = float(linear.as_points(effect, share=share))
    low, high = (linear.as_points(effect + sign * 1.645 * error, share=share) for sign in (-1, 1))
    found = {
        "honest DiD": sensitivity.honest_did(panel, idata, lang="en"),
        "placebo date": sensitivity.placebo_date(panel, idata, lang="en"),
        "placebo areas": sensitivity.placebo_areas(panel, idata, {"lower90": low, "upper90": high}, lang="en"),
        "leave one out": sensitivity.leave_one_out(panel, idata, lang="en"),
        "spillover": sensitivity.spillover(city, panel, idata, lang="en"),
        "scale panel": robustness.scale_panel(panel, idata, lang="en"),
        "form panel": robustness.form_panel(panel, lang="en"),
    }
    status = {name: row[0] if row else "no question" for name, row in found.items()}
    return status | {"finding": str(low > 0 or high < 0)}


if __name__ == "__main__":
    cities, effect_pp = int((sys.argv[1:2] or [50])[0]), float((sys.argv[2:3] or [0])[0])
    rows = [statuses(seed, effect_pp=effect_pp) for seed in range(100, 100 + cities)]
    for name in rows[0]:
        print(f"{name:14}", dict(Counter(row[name] for row in rows)))
