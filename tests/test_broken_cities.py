"""Each check on a city simulated to break the one assumption that it watches, and on sound ones.

A city is drawn from the simulator's own equation (`simulate.draw_world`) with one thing changed: in the latent index before
its residents are asked, in who is asked, or in how they answer. In place of a fit stands the closed form of
benchmarks/clean_cities.py, which knows the data and the priors but never what was changed.
"""

from dataclasses import replace
from functools import cache, partial
from unittest import mock

import numpy as np
import pytest
from clean_cities import run

from workbench import inference, sensitivity, simulate
from workbench.items import ITEMS
from workbench.panel import build_panel

NEVER, RARELY, SOMETIMES, *_, ALWAYS = LEVELS = ITEMS[simulate.ITEM].categories
SOUND = {"respondents": 24_000, "effect_pp": -8.0, "shock_sd": 0.05, "seed": 3}
EIGHT = {"waves": 8, "respondents": 38_400, "seed": 4}
THREE = {"waves": 3, "projects": 1, "respondents": 14_400}


@pytest.fixture(autouse=True)
def fewer_lots(monkeypatch):
    """A fifth of the placebo areas is quicker, and enough for one in ten."""
    monkeypatch.setattr(sensitivity, "AT_RANDOM", 199)


def drawn(change=None, **options):
    """A sound city with `options` of `draw_city`; `change` alters the index (area, wave), told where projects run."""
    draw_world = simulate.draw_world

    def world(*given):
        made = draw_world(*given)
        if change is not None:
            change(made["latent"].values, made["running"].any("project").values)
        return made

    with mock.patch.object(simulate, "draw_world", world):
        return simulate.draw_city(**SOUND | options)[0]


def asked(keep):
    """A sound city in which only those for whom `keep` (rows, treated, begun, a draw from 0 to 1) holds are asked."""
    city = drawn()
    return replace(city, respondents=city.respondents[keep(*_about(city))])


def worded(where, words, **options):
    """A sound city in which those for whom `where` (as above) holds put their answers in other words."""
    city = drawn(**options)
    answer = city.respondents[simulate.ITEM]
    answer = answer.where(~where(*_about(city)), answer.replace(words))
    return replace(city, respondents=city.respondents.assign(**{simulate.ITEM: answer}))


def _about(city):
    panel, rows = build_panel(city), city.respondents
    treated = rows["area"].map(panel["treated"].to_series()).to_numpy(bool)
    begun = panel["exposure"].any("project").to_series().loc[list(zip(rows["area"], rows["wave"], strict=True))]
    return rows, treated, begun.to_numpy(bool), np.random.default_rng(0).random(len(rows))


def assumed(n, **options):
    """A sound city that publishes shares and not how many answered."""
    city = drawn(shares=True, baseline_unsafe=0.3, **options)
    return replace(city, shares=city.shares.assign(n=float(n), assumed=True))


# --- one assumption broken, logit scale -----------------------------------------------------------------------------------


def less_secure_words(latent, running):
    latent[running.any(1), 3:] += 0.3


def new_questionnaire_where_projects_are():
    city = drawn(less_secure_words)
    new, areas = city.waves["wave"] == "2024", ";".join(city.projects["area"].unique())
    return replace(city, waves=city.waves.assign(known_break=new, break_areas=np.where(new, areas, "")))


def everybody_or_nobody(latent, running):
    others = np.flatnonzero(~running.any(1))
    latent[others[0]] += 6.5
    latent[others[1:3]] -= 6


def drift(latent, running):
    latent[running.any(1)] -= 0.25 * np.arange(latent.shape[1])


def dip(latent, running):
    """Where three waves lie before the start, in the middle one: no slope, and yet not parallel."""
    latent[running.argmax(1) == 3, 1] -= 0.6


def jump_before(latent, running):
    areas = np.flatnonzero(running.any(1))
    latent[areas, running[areas].argmax(1) - 1] += 0.4


def one_of_four_jumps(latent, running):
    latent[np.flatnonzero(~running.any(1))[0], 2:] += 1.0


def neighbours_move(latent, running):
    row, column = np.divmod(np.arange(len(latent)), 5)
    beside = np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1
    latent[(beside.astype(int) @ running > 0) & ~running.any(1)[:, None]] -= 0.5


def a_chain_that_disagrees(idata):
    """No city does this: the draws of a sound one are spoilt."""
    idata["posterior"]["latent"].values[0] += 0.3
    for name in inference.DIAGNOSTICS:
        del idata.attrs[name]


NOT_AGAIN = partial(asked, lambda rows, treated, begun, u: ~begun)
OTHERS_ONCE = partial(asked, lambda rows, treated, begun, u: treated | (rows["wave"] == "2025"))
FEWER_MEN = partial(asked, lambda rows, treated, begun, u: ~(begun & (rows["sex"] == "m") & (u < 0.6)))
# No shift of one index under common thresholds makes such answers.
EXTREMES = partial(
    worded,
    lambda rows, treated, begun, u: rows["area"].isin(sorted(set(rows["area"][~treated]))[:6]),
    {RARELY: NEVER} | dict.fromkeys(LEVELS[2:], ALWAYS),
)
# Nobody crosses the line between safe and unsafe.
SOFTER = partial(
    worded, lambda rows, treated, begun, u: begun & (u < 0.6), dict.fromkeys(LEVELS[3:], SOMETIMES), effect_pp=0.0
)
GAP_AND_TREND = partial(drawn, effect_pp=0.0, baseline_gap_pp=20.0, trend=-0.3, respondents=48_000)
SHOCKS = partial(drawn, **THREE | {"treated": 4, "shock_sd": 0.5, "seed": 7})

CASES = [  # the check, what it must say, which others are bound to warn too, the city
    # Without answers there is nothing before and after, and under every prior another effect.
    ("data contract", "fail", {"design grade", "prior panel"}, NOT_AGAIN),
    ("wave break", "fail", set(), new_questionnaire_where_projects_are),
    # What is left to compare with are projects that start later.
    ("design grade", "warn", {"prior panel"}, OTHERS_ONCE),
    ("baseline gap", "warn", set(), partial(drawn, baseline_gap_pp=20.0)),
    ("composition", "fail", set(), FEWER_MEN),
    ("prior predictive", "warn", set(), partial(drawn, everybody_or_nobody)),
    ("convergence", "fail", set(), drawn),
    ("posterior predictive", "warn", set(), EXTREMES),
    # A drift is an effect at an earlier date and a step as large as the later ones, and the last wave before leaves it out.
    (
        "pre-trends",
        "fail",
        {"honest DiD", "placebo date", "scale panel", "prior panel"},
        partial(drawn, drift, **EIGHT, effect_pp=0.0),
    ),
    ("linear scale", "warn", {"baseline gap", "scale panel"}, GAP_AND_TREND),
    ("scale panel", "warn", {"baseline gap", "linear scale"}, GAP_AND_TREND),
    ("plausibility", "warn", set(), partial(drawn, effect_pp=-20.0, baseline_unsafe=0.4)),
    ("effective n", "warn", {"honest DiD"}, partial(assumed, 40, respondents=4800, effect_pp=-6.0, seed=5)),
    ("shock correlation", "warn", {"prior panel", "honest DiD"}, SHOCKS),
    ("prior panel", "warn", {"honest DiD"}, partial(drawn, respondents=1500, effect_pp=-14.0, baseline_unsafe=0.35)),
    # Percentages did not change, the index did.
    ("form panel", "warn", {"linear scale", "honest DiD"}, SOFTER),
    # After a dip the last wave before lies above those before it.
    ("honest DiD", "warn", {"placebo date"}, partial(drawn, dip)),
    ("placebo date", "warn", {"pre-trends"}, partial(drawn, jump_before, **EIGHT)),
    # Each area goes its own way, before the start as after it.
    ("placebo areas", "warn", {"honest DiD"}, partial(drawn, effect_pp=0.0, area_drift=0.15, seed=28)),
    # The comparison moves, here a quarter of it, there a part at each start.
    ("leave one out", "warn", {"honest DiD"}, partial(drawn, one_of_four_jumps, areas=12)),
    ("spillover", "warn", {"honest DiD"}, partial(drawn, neighbours_move)),
]
SOUND_CITIES = {
    "five waves": drawn,
    "eight waves": partial(drawn, **EIGHT | {"respondents": 80_000, "shock_sd": 0.02}),
    "three waves": partial(drawn, **THREE),
    "shares": partial(assumed, 200),
}


@cache
def statuses(made, spoil=None):
    """Status of each check in the city that `made` gives."""
    return run(made(), spoil=spoil).set_index("name")["status"]


@pytest.mark.parametrize("check, status, bound, broken", CASES, ids=[case[0] for case in CASES])
def test_a_check_speaks_in_a_city_that_breaks_its_assumption_and_others_do_not(check, status, bound, broken):
    found = statuses(broken, a_chain_that_disagrees if check == "convergence" else None)
    assert found[check] == status
    assert set(found.index[found == "fail"]) <= {check}
    assert set(found.index[found == "warn"]) - {check} <= bound


@pytest.mark.parametrize("name", SOUND_CITIES)
def test_no_check_speaks_in_a_sound_city(name):
    found = statuses(SOUND_CITIES[name])
    assert set(found.index) == {case[0] for case in CASES} - ({"effective n"} if name != "shares" else set())
    # Published shares do not say who answered.
    assert set(found.index[found != "pass"]) == ({"composition"} if name == "shares" else set())
