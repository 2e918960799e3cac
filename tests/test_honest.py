import importlib.util
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from small_panel import panel

from workbench import honest, linear
from workbench.panel import build_panel
from workbench.simulate import draw_city

NO_SHOCK = {"sd_shock": 0.0, "rho": 0.5}
CERTAIN = 1e-12


def shares(latent):
    return 100 * expit(np.asarray(latent))


def tilted(made, drift):
    """The same panel with the answers of treated areas leaning towards unsafe by `drift` more in each wave (logit)."""
    counts = made["counts"].transpose("area", "wave", "stratum", "answer").values
    unsafe = made["lower"].values >= made.attrs["unsafe_index"]
    shift = drift * np.arange(made.sizes["wave"])[None, :, None, None] * made["treated"].values[:, None, None, None]
    leaning = counts * np.exp(shift * unsafe)
    leaning *= counts.sum(-1, keepdims=True) / np.maximum(leaning.sum(-1, keepdims=True), 1e-9)
    return made.assign(counts=(("area", "wave", "stratum", "answer"), leaning))


def test_the_event_study_and_its_errors_are_those_of_paper():
    made = panel([[20, 26, 30, 22], [20, 21, 20, 23]], n=400, first=2)
    found, data = honest.event_study(made, **NO_SHOCK), linear.summaries(made)
    gap = data["latent"][0] - data["latent"][1]
    assert found["pre"] == 1 and found["weights"].tolist() == [0.5, 0.5]
    np.testing.assert_allclose(found["beta"], (gap - gap[1])[[0, 2, 3]], atol=1e-9)
    variance = (1 / data["information"]).sum(0)
    expected = variance[1] + np.diag(variance[[0, 2, 3]])  # the reference is in every coefficient
    np.testing.assert_allclose(found["covariance"], expected, rtol=1e-6)


def staggered(n=1e7):
    area, wave = np.array([[-1.0], [-1.5], [-0.5]]), np.array([0.0, 0.1, -0.2, 0.3])
    latent = area + wave
    latent[0, 2:] += [0.4, 0.6]  # starts in wave 2
    latent[1, 3] += 0.9  # starts in wave 3
    made = panel(shares(latent), n=n, treated=(0, 1), first=2, residents=[1, 3, 5])
    for name, value in (("design", 0.0), ("exposure", 0.0), ("window", False)):
        made[name].loc[{"area": "south", "wave": "2022"}] = value
    return made


def test_staggered_cohorts_are_averaged_so_that_the_weights_give_the_effect_of_the_window():
    found = honest.event_study(staggered(), **NO_SHOCK)
    # Both have the leads -2 (position 0 and 1) and only the second has -3; no drift before.
    assert found["pre"] == 2
    np.testing.assert_allclose(found["beta"][:2], 0, atol=1e-3)
    # An area's window waves count alike: North 1/8 each, South (three of four residents) 3/4, all of it at event time 0.
    np.testing.assert_allclose(found["weights"], [7 / 8, 1 / 8])
    assert found["beta"][2] == pytest.approx((0.4 / 8 + 0.9 * 3 / 4) / (7 / 8), abs=2e-3)
    assert found["weights"] @ found["beta"][2:] == pytest.approx(0.25 * 0.5 + 0.75 * 0.9, abs=2e-3)


def test_an_announced_wave_has_a_place_in_time_but_no_weight():
    made = panel([[20, 20, 30, 24], [20, 20, 20, 20]], first=2)
    made["exposure"][0, 0, 2], made["window"][0, 0, 2] = 0.0, False
    found = honest.event_study(made, **NO_SHOCK)
    assert found["weights"].tolist() == [0.0, 1.0]
    assert found["beta"][1] == 0 and found["beta"][2] > 0.1


def test_where_all_areas_are_treated_the_last_to_start_are_the_comparison():
    made = staggered().isel(area=[0, 1])
    found = honest.event_study(made, **NO_SHOCK)
    assert found["weights"].tolist() == [1.0] and found["beta"][-1] == pytest.approx(0.4, abs=2e-3)


def test_relative_magnitudes_are_those_of_paper():
    beta = np.array([0.1, -0.1, 1.0, 1.4])  # steps before: 0.2 and 0.1
    study = {"beta": beta, "covariance": CERTAIN * np.eye(4), "pre": 2, "weights": np.array([0.5, 0.5])}
    table = honest.relative_magnitudes(**study, bounds=(0, 1, 2))
    # The first step reaches both waves (1.0), the second one of them (0.5): 0.2 x 1.5 for each 1 of Mbar.
    np.testing.assert_allclose(table[["lower", "upper"]], [[1.2, 1.2], [0.9, 1.5], [0.6, 1.8]], atol=1e-4)
    assert honest.breakdown(**study) == pytest.approx(1.2 / 0.3, abs=1e-3)
    assert honest.breakdown(**study | {"beta": -beta}) == pytest.approx(4, abs=1e-3)
    assert honest.breakdown(**study | {"beta": beta * [0.001, 0.001, 1, 1]}) == honest.MOST
    assert honest.breakdown(**study | {"covariance": 4 * np.eye(4)}) == 0


def test_the_breakdown_is_where_the_robust_interval_meets_zero():
    study = {"beta": np.array([0.05, -0.6]), "covariance": 0.01 * np.eye(2), "pre": 1, "weights": np.ones(1)}
    at = honest.breakdown(**study)
    inside, outside = honest.relative_magnitudes(**study, bounds=(0.98 * at, 1.02 * at))["upper"]
    assert 0 < at < 10 and inside < 0 < outside


def test_smoothness_carries_a_line_on_and_lets_it_bend_by_no_more_than_m():
    beta = np.array([0.4, 0.2, -0.2 - 0.5, -0.4 - 0.7])  # a drift of -0.2 a wave, effects -0.5 and -0.7
    study = {"beta": beta, "covariance": CERTAIN * np.eye(4), "pre": 2}
    first = honest.smoothness(**study, weights=np.array([1.0, 0.0]), bounds=(0, 0.1))
    np.testing.assert_allclose(first[["lower", "upper"]], [[-0.5, -0.5], [-0.6, -0.4]], atol=1e-4)
    second = honest.smoothness(**study, weights=np.array([0.0, 1.0]), bounds=(0.1,))
    # A bend at the start reaches the second wave twice, one after it once: 3 x 0.1.
    np.testing.assert_allclose(second[["lower", "upper"]], [[-1.0, -0.4]], atol=1e-4)


def test_a_straight_line_is_the_generalised_least_squares_fit_of_paper():
    # Two leads with independent errors of variance 1 and a reference known exactly: slope = (2 b2 + b1) / 5, se 1 / sqrt 5.
    beta = np.array([-0.3, -0.4, 2.0])
    found = honest.smoothness(beta, np.eye(3), pre=2, weights=np.ones(1), bounds=(0,)).iloc[0]
    slope = -(2 * beta[0] + beta[1]) / 5
    half = 1.645 * np.sqrt(1 + 1 / 5)
    assert [found["lower"], found["upper"]] == pytest.approx([2 - slope - half, 2 - slope + half], abs=1e-3)


def test_draws_in_a_box_are_those_that_rejection_keeps():
    mean, covariance = np.array([0.5, -0.2]), np.array([[0.5, -0.3], [-0.3, 0.4]])
    rng = np.random.default_rng(2)
    kept = rng.multivariate_normal(mean, covariance, 400_000)
    kept = kept[(abs(kept) < 0.4).all(1)]
    drawn = honest._boxed(mean, covariance, 0.4, rng)
    np.testing.assert_allclose(drawn.mean(0), kept.mean(0), atol=0.015)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(kept.T), atol=0.004)
    far = honest._boxed(np.array([50.0]), np.array([[1.0]]), 0.4, rng)
    assert np.isfinite(far).all() and (far > 0.2).all() and (far <= 0.4).all()


def test_simulated_cities_whose_project_areas_were_drifting_show_it_and_sound_ones_rarely_claim_a_finding():
    sound, drifting, line = [], [], []
    for seed in range(1, 11):
        city, _truth = draw_city(respondents=60_000, effect_pp=0, shock_sd=0.05, seed=seed)
        made = build_panel(city)
        sound.append(honest.breakdown(**honest.event_study(made, sd_shock=0.05, rho=0.0)))
        study = honest.event_study(tilted(made, -0.3), sd_shock=0.05, rho=0.0)
        drifting.append(honest.breakdown(**study))
        line.append(honest.smoothness(**study, bounds=(0,)).iloc[0])
    assert sum(value > 0 for value in sound) <= 2
    # The drift makes a finding of its own, which half as much drift after the start explains, and so does a line.
    assert all(0 < value < 1 for value in drifting)
    assert sum(row["lower"] < 0 < row["upper"] for row in line) >= 6


def test_the_published_bounds_on_medicaid_are_met():
    path = Path(__file__).resolve().parents[1] / "benchmarks" / "published.py"
    spec = importlib.util.spec_from_file_location("published", path)
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    if not published.MEDICAID.exists():
        pytest.skip(f"{published.MEDICAID.name} is not here: the published numbers on Medicaid are not compared")
    table = published.medicaid()
    print(table.round(4).to_string(index=False))
    events = table[table["kind"] == "event study"]
    np.testing.assert_allclose(events["lower"], events["published_lower"], atol=1e-5)
    line = table[(table["kind"] == "smoothness") & (table["bound"] == 0)].iloc[0]
    assert [line["lower"], line["upper"]] == pytest.approx([0.0259, 0.0607], abs=0.001)
    relative = table[table["kind"] == "relative"]
    assert (relative["lower"] <= relative["published_lower"]).all()
    assert (relative["upper"] >= relative["published_upper"]).all()
