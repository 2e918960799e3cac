"""Published numbers beside ours, on the data they were published with.

    .venv/bin/python benchmarks/published.py [NAME ...]

Each function returns a tidy frame with our figures and the published ones; a function that finds no data returns None.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytensor
import pytensor.tensor as pt
from pytensor.graph import vectorize_graph
from scipy.optimize import minimize

from workbench import forms, honest
from workbench.models import perceived

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "published"
MEDICAID = DATA / "ehec_data.csv"
WINE = DATA / "wine.csv"
# Gun attitudes, 3 answers (Yamauchi 2020, Difference-in-Differences for Ordinal Outcomes; R package orddid): comparison
# 2010 and 2012, treated 2010 and 2012.
GUNS = [[[2447, 4735, 4494], [2034, 4923, 4719]], [[919, 1856, 2102], [779, 1862, 2236]]]
GUNS_PUBLISHED = {"probit, location-scale": (0.00562, -0.00993, 0.00431), "probit": (-0.0013, -0.0008, 0.0021)}
# The tutorial on clmm2 of the R package ordinal (Christensen): bitterness of wine (Randall 1989), logit, 9 judges.
WINE_PUBLISHED = [-1.62, 1.51, 4.23, 6.09, 1.83, 3.06, 1.29]
# The vignette of the R package HonestDiD (Rambachan and Roth): 95 %, the first wave after the expansion.
MEDICAID_EVENTS = {2014: 0.04645, 2015: 0.06921}
MEDICAID_BOUNDS = {
    ("smoothness", 0): (0.0259, 0.0607),
    ("smoothness", 0.01): (0.0132, 0.0787),
    ("smoothness", 0.02): (0.0029, 0.0907),
    ("relative", 1): (0.0171, 0.0720),
    ("relative", 2): (-0.0011, 0.0883),
}


def medicaid() -> pd.DataFrame | None:
    """Health insurance after the expansion of Medicaid: kind, bound, lower, upper, published_lower, published_upper."""
    if not MEDICAID.exists():
        return None
    years, beta, covariance = medicaid_event_study(pd.read_csv(MEDICAID))
    events = [("event study", y, beta[years.index(y)], beta[years.index(y)], v, v) for y, v in MEDICAID_EVENTS.items()]
    rows = pd.DataFrame(events, columns=["kind", "bound", "lower", "upper", "published_lower", "published_upper"])
    study = {"beta": beta, "covariance": covariance, "pre": 5, "weights": np.array([1.0, 0.0]), "level": 0.95}
    smooth = honest.smoothness(**study, bounds=[bound for kind, bound in MEDICAID_BOUNDS if kind == "smoothness"])
    relative = honest.relative_magnitudes(**study, bounds=[b for kind, b in MEDICAID_BOUNDS if kind == "relative"])
    ours = pd.concat([smooth, relative], ignore_index=True)
    ours[["published_lower", "published_upper"]] = list(MEDICAID_BOUNDS.values())
    return pd.concat([rows, ours], ignore_index=True)


def medicaid_event_study(table, *, reference=2013):
    """Years, coefficients and covariance: state and year effects, errors clustered by state.

    As the vignette: years before 2016, without the states that expanded in 2015. The covariance carries fixest's
    small-sample factors, G / (G - 1) for G states and (n - 1) / (n - k), state effects not counted in k since they
    are nested in the clusters.
    """
    table = table.assign(year=table["year"].astype(int))
    table = table[(table["year"] < 2016) & (table["yexp2"] != 2015)]
    years = [year for year in sorted(table["year"].unique()) if year != reference]
    expanded = (table["yexp2"] == 2014).to_numpy(float)
    events = np.stack([expanded * (table["year"] == year) for year in years], axis=1)
    states, state = np.unique(table["stfips"].astype(str), return_inverse=True)
    waves = pd.get_dummies(table["year"], drop_first=True).to_numpy(float)
    columns = np.hstack([events, waves, np.eye(len(states))[state]])
    bread = np.linalg.inv(columns.T @ columns)
    coefficients = bread @ columns.T @ table["dins"].to_numpy()
    residual = table["dins"].to_numpy() - columns @ coefficients
    scores = np.zeros((len(states), columns.shape[1]))
    np.add.at(scores, state, columns * residual[:, None])
    free = events.shape[1] + waves.shape[1] + 1
    factor = len(states) / (len(states) - 1) * (len(table) - 1) / (len(table) - free)
    covariance = factor * bread @ scores.T @ scores @ bread
    count = len(years)
    return years, coefficients[:count], covariance[:count, :count]


def guns() -> pd.DataFrame:
    """Effects on the shares of three answers by form, and the published ones where there are any."""
    rows = [
        [form, answer + 1, effect, GUNS_PUBLISHED.get(form, [np.nan] * 3)[answer]]
        for form in forms.FORMS
        for answer, effect in enumerate(forms.effects(GUNS, form=form) / 100)
    ]
    return pd.DataFrame(rows, columns=["form", "answer", "effect", "published"])


def wine() -> pd.DataFrame | None:
    """Ordinal mixed model at the maximum of our likelihood: figure, estimate, published."""
    if not WINE.exists():
        return None
    names = ["threshold 1", "threshold 2", "threshold 3", "threshold 4", "contact", "temperature", "judge variance"]
    found = wine_maximum(pd.read_csv(WINE))
    return pd.DataFrame({"figure": names, "estimate": found, "published": WINE_PUBLISHED})


def wine_maximum(table, *, nodes=20):
    """Thresholds, contact, temperature and variance of judges where `perceived.log_likelihood` is at its maximum.

    That of one judge's answers, the judge's effect integrated out by Gauss-Hermite quadrature.
    """
    table = table.sort_values("judge")
    judges, cuts = table["judge"].nunique(), table["rating"].max() - 1
    rating = table["rating"].to_numpy().reshape(judges, 1, -1, 1)
    counts = {"up": rating == np.arange(1, cuts + 1), "lo": rating == np.arange(2, cuts + 2)}
    counts["inner_total"] = np.stack([(rating == k).sum((2, 3)) for k in range(2, cuts + 1)], axis=-1)
    features = np.stack([table["contact"] == "yes", table["temp"] == "warm"], axis=-1).reshape(judges, 1, -1, 2)
    node, weight = np.polynomial.hermite_e.hermegauss(nodes)
    theta, eta = pt.dvector("theta"), pt.dvector("eta")
    one = {"up": pt.dmatrix("up"), "lo": pt.dmatrix("lo"), "inner_total": pt.dvector("inner_total")}
    steps = {"inner_lower": np.arange(cuts - 1), "inner_upper": np.arange(1, cuts)}
    of_one = perceived.log_likelihood(theta[:cuts], eta, one | steps)
    every = pt.dot(features.astype(float), theta[cuts:-1]) + pt.exp(theta[-1]) * node[:, None]
    given = {one[name]: pt.as_tensor(value.astype(float)) for name, value in counts.items()}
    of_all = vectorize_graph(of_one, {eta: every} | given)  # by judge and node
    total = pt.logsumexp(of_all + np.log(weight / weight.sum()), axis=1).sum()
    objective = pytensor.function([theta], -total, mode="FAST_COMPILE")
    best = minimize(objective, np.r_[np.linspace(-1.0, 3.0, cuts), 0.0, 0.0, 0.0], method="BFGS").x
    return np.r_[best[:-1], np.exp(2 * best[-1])]


PUBLISHED = {"medicaid": medicaid, "guns": guns, "wine": wine}


if __name__ == "__main__":
    for name in sys.argv[1:] or PUBLISHED:
        found = PUBLISHED[name]()
        print(f"\n{name}", "no data" if found is None else found.round(5).to_string(index=False), sep="\n")
