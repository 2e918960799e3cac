"""Calibration in small: twenty simulated cities, drawn, fitted and judged as benchmarks/calibration.py does it."""

import calibration
import numpy as np
import pytest
from scipy.stats import binom, chisquare


@pytest.fixture(scope="module")
def cities():
    """Twelve cities with every parameter drawn from the prior and eight without any effect: rows and ranks."""
    tasks = [("prior", seed) for seed in range(1, 13)] + [("null", seed) for seed in range(1, 9)]
    return {task: calibration.one(*task, draws=300) for task in tasks}


@pytest.mark.slow
def test_ninety_percent_intervals_hold_the_truth_of_twenty_cities(cities):
    rows = [row for row, _ranks in cities.values()]
    inside = sum(row["lower90"] <= row["truth"] <= row["upper90"] for row in rows)
    half = sum(row["lower50"] <= row["truth"] <= row["upper50"] for row in rows)
    # Fewer would come by chance once in ten thousand sound runs; too wide an interval shows in the 50 %.
    assert inside > binom.ppf(1e-4, 20, 0.9)
    assert binom.ppf(1e-4, 20, 0.5) < half < binom.ppf(1 - 1e-4, 20, 0.5)


@pytest.mark.slow
def test_no_effect_is_hardly_ever_called_clear(cities):
    called = [row["verdict"] for (name, _seed), (row, _ranks) in cities.items() if name == "null"]
    assert sum(verdict in ("clear fall", "clear rise") for verdict in called) <= 1


@pytest.mark.slow
def test_ranks_of_prior_draws_are_spread_over_the_posterior(cities):
    ranks = [ranks for (name, _seed), (_row, ranks) in cities.items() if name == "prior"]
    together = np.array([[found[key] for key in found] for found in ranks])
    quarters = np.histogram(together[:, [list(ranks[0]).index("att")]], bins=4, range=(0, calibration.RANKS))[0]
    assert chisquare(quarters).pvalue > 1e-4
    # Over all 154 parameters, dependent as they are, ranks must centre on the middle.
    assert abs(together.mean() / (calibration.RANKS - 1) - 0.5) < 0.12


@pytest.mark.slow
def test_a_city_gives_the_same_row_whoever_fits_it(cities):
    again, _ranks = calibration.one("null", 3, draws=300)
    assert again == cities["null", 3][0]


def test_the_simulator_of_prior_cities_keeps_the_design_and_its_own_truth():
    city, panel, truth, parameters = calibration.city_of("prior", 5)
    _same, again, same_truth, _parameters = calibration.city_of("prior", 5)
    assert truth == same_truth and (again["counts"] == panel["counts"]).all()
    asked = len(city.respondents)
    assert panel["counts"].sum() == asked == calibration.STANDARD["respondents"]
    assert abs(parameters["wave_effect"].sum()) < 1e-12 and abs(parameters["strata"].sum()) < 1e-12
    _other, _panel, other_truth, _parameters = calibration.city_of("prior", 6)
    assert other_truth != truth


def test_weights_undo_who_was_asked():
    plain, _panel, _truth, _none = calibration.city_of("null", 1)
    rows = calibration.weighted(plain, 1).respondents
    old = rows["age_band"] == "65+"
    asked = (plain.respondents["age_band"] == "65+").mean()
    assert old.mean() > asked + 0.05
    assert np.average(old, weights=rows["weight"]) == pytest.approx(asked, abs=0.03)
