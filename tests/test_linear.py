import numpy as np
import pytest
from scipy.special import expit, logit
from small_panel import panel

from workbench import linear

NO_SHOCK = {"sd_shock": 0.0, "rho": 0.5}


def equal_errors(used):
    used = np.asarray(used, bool)
    data = {"information": np.ones(used.shape), "year": np.arange(used.shape[1] * 1.0)}
    return linear.covariance(data, used, **NO_SHOCK)[1]


def gap(data):
    return np.subtract(*linear.both_scales(data, **NO_SHOCK))


def test_two_areas_and_two_waves_give_the_difference_in_differences():
    y, free = np.array([[10.0, 16.0], [20.0, 22.0]]), np.array([[True, False], [True, True]])
    found, _error = linear.imputed(y, equal_errors(free), window=~free, residents=np.ones(2))
    assert found == pytest.approx((16 - 10) - (22 - 20))


def test_staggered_starts_with_unequal_effects_are_recovered_and_weighted_by_residents():
    free = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
    y = np.array([[4.0], [7.0], [1.0]]) + np.array([0.0, 2.0, 5.0])
    y[0, 1:] += [4.0, 6.0]  # mean 5 in an area of one resident
    y[1, 2] += 1.0  # 1 in an area of three
    found, _error = linear.imputed(y, equal_errors(free), window=~free, residents=np.array([1.0, 3.0, 9.0]))
    assert found == pytest.approx((1 * 5 + 3 * 1) / 4)


def test_a_wave_without_comparison_is_left_out_of_the_effect():
    free = np.array([[1, 0, 0], [1, 1, 0]], bool)
    y = np.array([[1.0, 4.0, 90.0], [0.0, 1.0, 50.0]])
    window = np.array([[0, 1, 1], [0, 0, 0]], bool)
    found, _error = linear.imputed(y, equal_errors(free), window=window, residents=np.ones(2))
    assert found == pytest.approx(2.0)


def test_the_effect_and_its_error_where_other_cells_are_taken_as_free_are_those_of_paper():
    data = linear.summaries(panel([[20, 26, 30], [20, 20, 20]], n=400, first=2))
    free, window = np.array([[1, 0, 0], [1, 1, 0]], bool), np.array([[0, 1, 0], [0, 0, 0]], bool)
    effect, error = linear.effect_of(data, free=free, window=window, sd_shock=0.1, rho=0.0)
    y = data["latent"]
    assert effect == pytest.approx(y[0, 1] - y[0, 0] - y[1, 1] + y[1, 0])
    assert error == pytest.approx(np.sqrt((1 / data["information"][:, :2] + 0.01).sum()), rel=1e-6)


def test_points_are_counted_back_from_the_share_in_the_window():
    data = linear.summaries(panel([[20, 30], [20, 20]]))
    assert linear.window_share(data) == pytest.approx(0.3)
    assert linear.as_points(logit(0.3) - logit(0.2), share=0.3) == pytest.approx(10.0)
    data["percent"][0, 1] = np.nan  # published classes hide it: then as the latent index has it
    assert linear.window_share(data) == pytest.approx(0.3, abs=0.01)


def test_a_lasting_shock_makes_an_area_nearly_one_answer():
    used = np.ones((1, 2), bool)
    data = {"information": np.ones((1, 2)), "year": np.array([0.0, 2.0])}
    errors, inverse = linear.covariance(data, used, sd_shock=1.0, rho=0.5)
    np.testing.assert_allclose(errors[0], [[2.0, 0.5], [0.5, 2.0]])
    np.testing.assert_allclose(np.linalg.inv(inverse[0]), errors[0])


def test_the_slope_before_and_its_standard_error_are_those_of_paper():
    made = panel([[20, 26, 30], [20, 20, 20]], n=400, first=2)
    data = linear.summaries(made)
    found = linear.pre_trend(data, **NO_SHOCK)
    slope = data["latent"][0, 1] - data["latent"][0, 0] - data["latent"][1, 1] + data["latent"][1, 0]
    assert found["slope"] == pytest.approx(slope)
    assert slope == pytest.approx(logit(0.26) - logit(0.20), abs=0.01)
    assert found["se"] == pytest.approx(np.sqrt((1 / data["information"][:, :2]).sum()), rel=1e-6)


def test_one_wave_before_leaves_the_slope_unknown():
    assert linear.pre_trend(linear.summaries(panel([[20, 26, 30], [20, 20, 20]])), **NO_SHOCK) is None


def test_where_all_areas_are_treated_the_last_to_start_are_the_comparison():
    made = panel([[20, 20, 20], [20, 20, 20]], treated=(0, 1), first=1)
    made["design"][1, 1] = 0.0
    assert linear.summaries(made)["treated"].tolist() == [True, False]


def test_both_scales_agree_with_the_formula_in_the_smallest_case():
    data = linear.summaries(panel([[50, 40], [10, 8]], n=1e6))
    on_percent, on_logit = linear.both_scales(data, **NO_SHOCK)
    effect = logit(0.4) - logit(0.5) - (logit(0.08) - logit(0.1))
    assert on_percent == pytest.approx(-10 + 2, abs=1e-4)
    assert on_logit == pytest.approx(40 - 100 * expit(logit(0.4) - effect), abs=1e-3)


def test_the_jackknife_is_zero_for_identical_areas_and_that_of_paper_otherwise():
    alike = linear.summaries(panel([[50, 40], [50, 40], [10, 8], [10, 8]], treated=(0, 1)))
    assert linear.sd_by_areas(alike, gap) == pytest.approx(0.0, abs=1e-9)
    data = linear.summaries(panel([[30, 26], [34, 22], [20, 21], [22, 18]], treated=(0, 1), n=200))
    gaps = []
    for out in range(4):
        rest = {name: v if name == "year" else np.delete(v, out, axis=0) for name, v in data.items()}
        gaps.append(gap(rest))
    by_hand = np.sqrt(3 / 4 * np.sum((np.array(gaps) - np.mean(gaps)) ** 2))
    assert linear.sd_by_areas(data, gap) == pytest.approx(by_hand)


def test_a_lone_treated_area_is_played_by_each_comparison_area():
    data = linear.summaries(panel([[30, 26, 22], [20, 21, 19], [22, 18, 20]], first=2))
    played = linear.placebo(data, 2)
    assert played["free"].tolist() == [[True, True, True], [True, True, False]]
    assert played["window"].tolist() == [[False, False, False], [False, False, True]]
    assert linear.sd_by_areas(data, gap) > 0


def test_shrinkage_of_the_working_response_is_undone():
    data = linear.summaries(panel([[20, 20], [20, 20]], n=100))
    np.testing.assert_allclose(data["latent"], logit(0.2), atol=0.01)


def test_sound_areas_are_rarely_accused_of_a_trend_and_a_large_trend_is_found():
    rng, p, steep = np.random.default_rng(11), [], []
    for _ in range(400):
        shock = rng.normal(0, 0.1, (24, 5)) + rng.normal(0, 0.4, 24)[:, None]
        for trend, found in ((0.0, p), (0.3, steep)):
            eta = logit(0.2) + shock + trend * np.arange(5) * (np.arange(24) < 8)[:, None]
            counts = rng.binomial(80, expit(eta))
            share = np.clip(counts, 0.5, 79.5) / 80
            free = np.ones((24, 5), bool)
            free[:8, 3:] = False
            data = {"latent": logit(share), "information": np.full((24, 5), 80 * 0.16), "free": free}
            data |= {"treated": np.arange(24) < 8, "year": np.arange(5.0)}
            found.append(linear.pre_trend(data, sd_shock=0.1, rho=0.3)["p"])
    assert np.mean(np.array(p) < 0.005) <= 0.02
    assert np.mean(np.array(p) < 0.05) <= 0.07
    assert np.mean(np.array(steep) < 0.005) > 0.5
