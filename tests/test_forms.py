import numpy as np
import pytest
import xarray as xr
from scipy.special import expit
from small_panel import panel

from workbench import forms

# Gun attitudes, 3 answers (Yamauchi 2020, Difference-in-Differences for Ordinal Outcomes; R package orddid): comparison
# 2010 and 2012, treated 2010 and 2012.
GUNS = [[[2447, 4735, 4494], [2034, 4923, 4719]], [[919, 1856, 2102], [779, 1862, 2236]]]
CUT = np.array([-1.0, 0.0, 1.5])


def answers(location, scale=1.0):
    """Shares of four answers under the logit form."""
    return np.diff(np.r_[0.0, expit((CUT - location) / scale), 1.0])


def ordinal(shares, *, n=1e6, first=1, treated=(0,), start=None, residents=None):
    """A panel of `shares` (area, wave, answer) of which the last two answers are unsafe; `start` by treated area."""
    shares = np.asarray(shares, float)
    unsafe = shares[..., 2:].sum(-1)
    made = panel(100 * unsafe, first=first, treated=treated, residents=residents).drop_vars(
        ["counts", "lower", "upper"]
    )
    made = made.drop_vars("category").assign(
        counts=(("area", "wave", "stratum", "answer"), n * shares[:, :, None, :]),
        lower=("answer", np.arange(shares.shape[2])),
        upper=("answer", np.arange(shares.shape[2])),
    )
    made = made.assign_coords(category=list("abcd"))
    made.attrs["unsafe_index"] = 2
    for area, wave in (start or {}).items():
        made["design"][area, :wave] = 0.0
        made["window"][:, area, :wave] = False
    return made


def by_form(made):
    data, unsafe = forms.summaries(made)
    return forms.by_form(data, unsafe=unsafe)


@pytest.mark.parametrize(
    "form, expected",
    [
        ("probit, location-scale", [0.00562, -0.00993, 0.00431]),  # as published
        ("probit", [-0.0013, -0.0008, 0.0021]),  # location only, beside it
    ],
)
def test_the_published_effects_on_attitudes_to_guns_are_reproduced(form, expected):
    np.testing.assert_allclose(forms.effects(GUNS, form=form) / 100, expected, atol=1e-4)


def test_a_shift_of_the_location_is_found_exactly_by_the_form_that_made_the_data():
    counts = 1e5 * np.array([[answers(0.0), answers(0.4)], [answers(0.7), answers(0.8)]])
    truth = 100 * (answers(0.8) - answers(0.7 + 0.4))
    for form in ("logit", "logit, location-scale"):
        np.testing.assert_allclose(forms.effects(counts, form=form), truth, atol=1e-3)


def test_a_change_of_spread_is_carried_over_as_published():
    counts = 1e5 * np.array([[answers(0.0), answers(0.4, 1.3)], [answers(0.7, 0.8), answers(0.5)]])
    truth = 100 * (answers(0.5) - answers(0.7 + 0.4 * 0.8, 0.8 * 1.3))
    np.testing.assert_allclose(forms.effects(counts, form="logit, location-scale"), truth, atol=1e-3)


def test_two_answers_leave_no_spread_to_estimate_and_an_empty_cell_nothing_at_all():
    two = np.array([[[60, 40], [55, 45]], [[50, 50], [30, 70]]])
    assert np.isnan(forms.effects(two, form="probit, location-scale")).all()
    odds = np.log([40 / 60, 45 / 55, 50 / 50])
    expected = 70 - 100 * expit(odds[2] + odds[1] - odds[0])
    np.testing.assert_allclose(forms.effects(two, form="logit")[1], expected, atol=1e-4)
    two[0, 0] = 0
    assert np.isnan(forms.effects(two, form="logit")).all()


def test_an_answer_that_one_cell_never_gave_is_no_obstacle():
    counts = np.array([[[30, 40, 20, 0], [30, 40, 20, 1]], [[20, 40, 20, 2], [25, 40, 20, 1]]])
    assert all(np.isfinite(forms.effects(counts, form=form)).all() for form in forms.FORMS)


def test_staggered_starts_are_estimated_by_cohort_and_averaged_by_residents():
    wave = np.array([0.0, 0.3, -0.2])
    eta = wave + np.array([[0.8], [0.5], [0.0], [0.0]])
    without = [expit(x) for x in (eta[0, 1:] - CUT[1], eta[1, 2:] - CUT[1])]
    eta[0, 1:] -= 0.6
    eta[1, 2:] -= 0.2
    made = ordinal(
        [[answers(x) for x in row] for row in eta], treated=(0, 1), start={1: 2}, residents=[1000, 3000, 500, 500]
    )
    with_projects = [expit(x) for x in (eta[0, 1:] - CUT[1], eta[1, 2:] - CUT[1])]
    effect = [100 * (a - b).mean() for a, b in zip(with_projects, without, strict=True)]
    found = by_form(made)
    # Two waves of the first cohort make one cell: their mean share is close to, not at, the share of their mean.
    assert found["logit"] == pytest.approx((effect[0] + 3 * effect[1]) / 4, abs=0.05)
    assert list(found) == list(forms.FORMS)


def test_classes_that_one_wave_lumps_together_are_lumped_everywhere():
    shares = np.array([[answers(0.8), answers(0.3)], [answers(0.0), answers(0.1)], [answers(0.2), answers(0.3)]])
    made = ordinal(shares)
    counts = np.concatenate([made["counts"].values, np.zeros((3, 2, 1, 1))], axis=3)
    counts[:, 1, :, 4] = counts[:, 1, :, 2:4].sum(-1)
    counts[:, 1, :, 2:4] = 0.0
    coarse = made.drop_dims("answer").assign(
        counts=(("area", "wave", "stratum", "answer"), counts),
        lower=("answer", [0, 1, 2, 3, 2]),
        upper=("answer", [0, 1, 2, 3, 3]),
    )
    data, unsafe = forms.summaries(coarse)
    assert data["classes"].shape == (3, 2, 3) and unsafe == 2
    np.testing.assert_allclose(data["classes"][..., 2], 1e6 * shares[..., 2:].sum(-1))
    assert by_form(coarse)["logit"] == pytest.approx(by_form(made)["logit"], abs=0.1)


def test_waves_that_do_not_tell_the_unsafe_share_are_left_out():
    made = ordinal([[answers(0.8)] * 3, [answers(0.0)] * 3], first=2)
    made["share_unsafe"][:, 0] = np.nan
    data, _unsafe = forms.summaries(made)
    assert not data["free"][:, 0].any() and data["free"][:, 1].all()
    made["share_unsafe"] = xr.full_like(made["share_unsafe"], np.nan)
    assert all(np.isnan(x) for x in by_form(made).values())
