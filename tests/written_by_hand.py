"""A small evaluation written by hand (simulated, no model behind it), for the tests of verdict, pictures and report."""

import numpy as np
import pandas as pd
import xarray as xr

from workbench import verdict

PROJECTS = {
    "hosts": ("Street hosts", -4.6, 1.85),
    "kitchens": ("Neighbourhood kitchens", -2.6, 1.4),
    "square": ("Youth in the square", -0.3, 0.9),
    "courtyards": ("Green courtyards", -1.0, 4.2),
}
WAVES = ("2016", "2018", "2020", "2022", "2024")
ANSWERS = ("never", "rarely", "sometimes", "often", "always")


def summary(mean: float, sd: float, *, minimum: float = 2.0, seed: int = 1) -> dict:
    """Posterior summary of a normal effect, from 4,000 draws."""
    draws = mean + sd * np.random.default_rng(seed).standard_normal(4000)
    return summary_of(draws, minimum=minimum)


def summary_of(draws: np.ndarray, *, minimum: float, prior_sd: float = 3.0) -> dict:
    """Posterior summary of given draws; the chance within the minimum is the same under the wide prior."""
    low90, low50, high50, high90 = np.quantile(draws, [0.05, 0.25, 0.75, 0.95])
    within = float(np.mean(np.abs(draws) < minimum))
    return {
        "mean": float(draws.mean()),
        "sd": float(draws.std()),
        "lower50": float(low50),
        "upper50": float(high50),
        "lower90": float(low90),
        "upper90": float(high90),
        "p_fall": float(np.mean(draws < 0)),
        "p_fall_minimum": float(np.mean(draws < -minimum)),
        "p_rise": float(np.mean(draws > 0)),
        "p_rise_minimum": float(np.mean(draws > minimum)),
        "p_within_minimum": within,
        "p_within_minimum_wide": within,
        "prior_sd": prior_sd,
    }


def checks() -> pd.DataFrame:
    """Three checks: one passes, one warns, one is not possible."""
    rows = [
        ("data contract", "pass", "All tables hold the contract."),
        ("design grade", "pass", "Before and after, with comparison areas."),
        ("baseline gap", "warn", "Project areas started 6.0 points less safe than comparison areas."),
        (
            "pre-trends",
            "pass",
            "A trend of 0.9 points a wave before 2020 would undo the effect; the data could have missed 0.7.",
        ),
    ]
    return pd.DataFrame(rows, columns=["name", "status", "message"])


def result(
    mean: float = -3.0, sd: float = 1.65, *, checks: pd.DataFrame | None = None, lang: str = "en", **changes
) -> dict:
    """A result.json as a dict; `changes` replace keys before the sentence is made."""
    table = checks if checks is not None else globals()["checks"]()
    blocked = bool((table["status"] == "fail").any())
    by_project = {p: summary(m, s) for p, (_name, m, s) in PROJECTS.items()}
    for row in by_project.values():
        row["verdict"] = verdict.decide(row, minimum_pp=2.0, blocked=blocked)
        row["cost_told"] = "no cost given"
    att = summary(mean, sd)
    made = {
        "city": "handmade",
        "simulated": True,
        "item": "unsafe_neighbourhood",
        "unsafe_from": "sometimes",
        "minimum_pp": 2.0,
        "window": "Effects count waves 6 to 24 months after full start.",
        "verdict": verdict.decide(att, minimum_pp=2.0, blocked=blocked),
        "grade": verdict.grade(3, table),
        "att_pp": att,
        "by_project": by_project,
        "checks": table.to_dict("records"),
        "needed": "One more wave with 150 answers in each project area would halve the interval.",
        "diagnostics": {"rhat_max": 1.004, "ess_bulk_min": 812.0, "ess_tail_min": 901.0, "divergences": 0},
        "n": {"respondents": 9180, "areas": 40, "treated_areas": 14, "waves": 5},
        "seconds": {"load": 0.1, "compile": 9.0, "sample": 12.0, "total": 25.0},
        "provenance": {"model": "perceived", "prior": "sceptical", "seed": 2026, "data_hash": "3f9c0b1d22aa"},
    } | changes
    return made | {"sentence": verdict.sentence(made, lang=lang)}


def effects() -> pd.DataFrame:
    """Rows as in effects.csv for the whole, by project and by event time."""
    rows = [{"estimand": "att", "project": "", **summary(-3.0, 1.65)}]
    rows += [{"estimand": "att_by_project", "project": p, **summary(m, s)} for p, (_n, m, s) in PROJECTS.items()]
    rows += [
        {
            "estimand": "att_by_event_time",
            "project": "",
            "event_time": e,
            **summary(-1.5 - 0.8 * e, 1.2 + 0.4 * e),
        }
        for e in range(3)
    ]
    return pd.DataFrame(rows).assign(scale="pp", item="unsafe_neighbourhood")


def prior_effects() -> pd.DataFrame:
    """What the prior allowed, for the same estimands."""
    frame = effects().query("estimand != 'att_by_event_time'")
    return frame.assign(mean=0.0, lower90=-6.0, upper90=6.5, lower50=-2.0, upper50=2.2)


def trends() -> pd.DataFrame:
    """Shares by wave in percent: observed, modelled, and without the projects."""
    series = {
        ("treated", "modelled"): [25, 24.6, 25.4, 23.2, 21.2],
        ("treated", "without"): [25, 24.6, 25.4, 24.9, 24.3],
        ("treated", "observed"): [25.3, 24.2, 25.6, 23.0, 21.4],
        ("comparison", "modelled"): [19, 18.6, 19.9, 19.6, 19.3],
        ("comparison", "observed"): [18.8, 18.9, 20.1, 19.4, 19.2],
    }
    rows = [
        {
            "group": group,
            "series": name,
            "wave": wave,
            "year": float(wave),
            "mean": value,
            **{f"lower{n}": value - w for n, w in ((50, 0.9), (90, 2.2))},
            **{f"upper{n}": value + w for n, w in ((50, 0.9), (90, 2.2))},
        }
        for (group, name), values in series.items()
        for wave, value in zip(WAVES, values, strict=True)
    ]
    return pd.DataFrame(rows)


def answer_shares() -> pd.DataFrame:
    """Observed answers by group and wave, in percent."""
    base = np.array([42.0, 33.0, 16.0, 6.0, 3.0])
    rows = [
        (group, wave, float(wave), answer, share)
        for group, shift in (("treated", 3.0), ("comparison", 0.0))
        for i, wave in enumerate(WAVES)
        for answer, share in zip(ANSWERS, base + (shift - 0.5 * i) * np.array([-1, -0.5, 0.7, 0.5, 0.3]), strict=True)
    ]
    return pd.DataFrame(rows, columns=["group", "wave", "year", "answer", "share"])


def panel() -> xr.Dataset:
    """The part of a panel that page 1 and the tables read: 40 areas, 14 of them with one of four projects."""
    areas, owners = [f"a{i:02d}" for i in range(40)], [0] * 6 + [1] * 4 + [2] * 3 + [3]
    exposure = np.zeros((4, 40, 5))
    for area, project in enumerate(owners):
        exposure[project, area, 3 if project < 2 else 4 :] = 1
    return xr.Dataset(
        {
            "exposure": (("project", "area", "wave"), exposure),
            "window": (("project", "area", "wave"), exposure > 0),
            "treated": ("area", np.arange(40) < 14),
            "cohort": ("area", ["2022"] * 10 + ["2024"] * 4 + [""] * 26),
            "respondents": (("area", "wave"), np.full((40, 5), 45.9)),
            "counts": (("area", "wave", "stratum", "answer"), np.full((40, 5, 1, 5), 9.18)),
            "lower": ("answer", np.arange(5)),
            "upper": ("answer", np.arange(5)),
        },
        coords={
            "project": list(PROJECTS),
            "project_name": ("project", [name for name, _m, _s in PROJECTS.values()]),
            "project_start": ("project", ["2020-09", "2020-11", "2022-10", "2023-01"]),
            "answer": list(ANSWERS),
            "area": areas,
            "area_name": ("area", [f"Area {a}" for a in areas]),
            "wave": list(WAVES),
            "category": list(ANSWERS),
        },
        attrs={
            "city": "handmade",
            "city_name": "Demostad",
            "simulated": 1,
            "item": "unsafe_neighbourhood",
            "unsafe_index": 2,
            "question": "Do you ever feel unsafe in your own neighbourhood?",
            "unsafe_from": "sometimes",
            "n_assumed": 0,
        },
    )
