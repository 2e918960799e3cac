import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_by_hand import checks, result, summary_of

from workbench import verdict

SURE = {
    "mean": -3.0,
    "sd": 1.0,
    "p_fall": 0.5,
    "p_fall_minimum": 0.0,
    "p_rise": 0.5,
    "p_rise_minimum": 0.0,
    "p_within_minimum": 0.0,
    "p_within_minimum_wide": 0.0,
    "prior_sd": 3.0,
}


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({}, "cannot tell"),
        ({"p_fall_minimum": 0.9}, "clear fall"),
        ({"p_rise_minimum": 0.9}, "clear rise"),
        ({"p_within_minimum": 0.8, "p_within_minimum_wide": 0.8}, "no worthwhile change"),
        ({"p_within_minimum": 0.8, "p_within_minimum_wide": 0.79}, "cannot tell"),
        ({"p_within_minimum": 0.9, "p_within_minimum_wide": 0.9, "sd": 2.11}, "cannot tell"),
        ({"p_within_minimum": 0.9, "p_within_minimum_wide": 0.9, "sd": 2.09}, "no worthwhile change"),
        ({"p_within_minimum": 0.9, "p_within_minimum_wide": float("nan")}, "cannot tell"),
        ({"p_within_minimum": 0.9, "p_within_minimum_wide": 0.9, "p_fall": 0.99}, "no worthwhile change"),
        ({"p_fall": 0.95}, "probable fall"),
        ({"p_rise": 0.95}, "probable rise"),
        ({"p_fall": 0.9499}, "cannot tell"),
    ],
)
def test_the_first_rule_that_holds_gives_the_verdict(changes, expected):
    assert verdict.decide(SURE | changes, minimum_pp=2.0, blocked=False) == expected


def test_a_failed_check_blocks_whatever_the_numbers():
    assert verdict.decide(SURE | {"p_fall_minimum": 1.0}, minimum_pp=2.0, blocked=True) == "blocked"


@pytest.mark.parametrize(
    "level, statuses, expected",
    [
        (3, ["pass"], 3),
        (3, ["pass", "warn"], 3),
        (3, ["not possible"], 2),
        (3, ["not possible", "not possible"], 2),
        (1, ["not possible"], 1),
        (5, ["fail"], 1),
        (4, ["fail", "not possible"], 1),
    ],
)
def test_the_grade_is_the_design_less_what_its_checks_took_away(level, statuses, expected):
    assert verdict.grade(level, pd.DataFrame({"status": statuses})) == expected


def test_the_headline_reads_as_the_mock_does():
    text = result(-3.0, 1.65)["sentence"]
    assert text == (
        "In the project areas about 3 residents in 100 fewer feel unsafe than would have without the projects "
        "(90 % interval: 5.7 fewer to 0.3 fewer). Whether it reaches the 2 in 100 that counts as worthwhile is "
        "not sure (72 %)."
    )


def test_a_rise_is_called_harm():
    assert (
        "That is harm" in result(5.0, 1.0)["sentence"]
        and "about 5 residents in 100 more" in result(5.0, 1.0)["sentence"]
    )


def test_cannot_tell_gives_the_interval_and_what_would_be_needed():
    text = result(-1.0, 4.2)["sentence"]
    assert "cannot tell" in text and "7.9 fewer and 5.9 more" in text and text.endswith("would halve the interval.")


def test_a_blocked_evaluation_names_its_check_and_no_number():
    table = checks()
    table.loc[0, "status"] = "fail"
    text = result(-5.0, 0.5, checks=table)["sentence"]
    assert "data contract" in text and not re.search(r"\d", text)


@pytest.mark.parametrize(
    "mean, low, high, minimum, expected",
    [
        (-3.0, -5.6, -0.2, 2, 3),
        (-1.6, -3, -0.2, 2, 1.6),
        (-0.4, -0.8, 0, 2, 0.4),
        (-1.9, -3, -0.5, 2, 1.9),
        (-2.4, -4, -1, 2, 2),
        (-3.4, -3.7, -3.1, 2, 3.4),
        (-0.02, -0.03, -0.01, 0.1, 0.0),
    ],
)
def test_rounding_the_headline_never_says_something_else(mean, low, high, minimum, expected):
    assert verdict.headline_count({"mean": mean, "lower90": low, "upper90": high}, minimum_pp=minimum) == expected


# --- no two statements contradict ---------------------------------------------------------------------------------------

STATUS = st.sampled_from(["pass", "warn", "fail", "not possible"])


@st.composite
def evaluations(draw):
    """Draws of any shape (a mixture, so skewed and two-humped ones too) with any checks."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    part = draw(st.floats(0, 0.3))
    scale = st.floats(0.01, 12)
    first = rng.normal(draw(st.floats(-25, 25)), draw(scale), 2000)
    second = rng.normal(draw(st.floats(-25, 25)), draw(scale), 2000)
    minimum = draw(st.sampled_from([0.3, 1.0, 1.875, 2.0, 5.0]))
    att = summary_of(
        np.where(rng.random(2000) < part, second, first), minimum=minimum, prior_sd=draw(st.floats(0.5, 15))
    )
    statuses = draw(st.lists(STATUS, min_size=2, max_size=4))
    table = pd.DataFrame(
        {
            "name": ["data contract", "pre-trends", "baseline gap", "convergence"][: len(statuses)],
            "status": statuses,
            "message": "A sentence.",
        }
    )
    return att, table, minimum, draw(st.sampled_from(["en", "nl", "fr"]))


WORDS = {
    "en": ("fewer", "more feel|more residents|That is harm|points to harm"),
    "nl": ("minder", "meer bewoners|meer zich|schade"),
    "fr": ("moins", "de plus se|plus d’habitants|un tort"),
}


@settings(max_examples=250, deadline=None)
@given(evaluations())
def test_headline_odds_and_advice_never_contradict_each_other(evaluation):
    att, table, minimum, lang = evaluation
    blocked = bool((table["status"] == "fail").any())
    decided = verdict.decide(att, minimum_pp=minimum, blocked=blocked)
    made = {
        "verdict": decided,
        "att_pp": att,
        "minimum_pp": minimum,
        "needed": "",
        "checks": table.to_dict("records"),
        "by_project": {},
    }
    text, odds = verdict.sentence(made, lang=lang), verdict.odds(made, lang=lang)
    assert "<" not in text and "&" not in text
    assert (decided == "blocked") == (not odds) == blocked
    if not blocked:
        by_kind = {}
        for row in odds:
            by_kind.setdefault(row["kind"], []).append(row["percent"])
        assert by_kind["fall"][-1] + by_kind["rise"][-1] in (99, 100, 101)
        assert (max(by_kind["fall"]) >= 95) <= (decided in (*verdict.FALLS, "no worthwhile change"))
        assert (max(by_kind["rise"]) >= 95) <= (decided in (*verdict.RISES, "no worthwhile change"))
        assert all(row["chance"] in text for row in odds[:1] if decided not in ("cannot tell",))
    if decided in verdict.FALLS:
        assert not re.search(WORDS[lang][1], text) and " 0 " not in text.split("(")[0]
    if decided in verdict.RISES:
        assert re.search(WORDS[lang][1], text) and WORDS[lang][0] not in text.split("(")[0].replace("moins en", "")
    if decided == "cannot tell":
        assert att["lower90"] < 0.05 and att["upper90"] > -0.05
    assert verdict.next_step(made, names={}, lang=lang)


@pytest.mark.parametrize(
    "mean, sd, expected",
    [
        (-6, 1, "clear fall"),
        (6, 1, "clear rise"),
        (0, 0.5, "no worthwhile change"),
        (-3, 1.6, "probable fall"),
        (3, 1.6, "probable rise"),
        (0, 5, "cannot tell"),
    ],
)
def test_every_verdict_can_be_reached(mean, sd, expected):
    assert result(mean, sd)["verdict"] == expected
    assert set(verdict.VERDICTS) >= {expected, "blocked"}
