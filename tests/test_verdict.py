import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from written_by_hand import checks, panel, result, summary, summary_of

from workbench import page, verdict
from workbench.language import said, translator

PANEL = panel()

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
    """Draws of any shape with any checks: a mixture of two normals, or a few points, however skewed; any design."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    if draw(st.booleans()):
        part, scale = draw(st.floats(0, 0.5)), st.floats(0.01, 12)
        first = rng.normal(draw(st.floats(-25, 25)), draw(scale), 2000)
        second = rng.normal(draw(st.floats(-25, 25)), draw(scale), 2000)
        drawn = np.where(rng.random(2000) < part, second, first)
    else:
        points = draw(st.lists(st.floats(-40, 40), min_size=2, max_size=5))
        often = draw(st.lists(st.integers(1, 40), min_size=len(points), max_size=len(points)))
        drawn = np.repeat(points, 20 * np.array(often)) + rng.normal(0, 1e-3, 20 * sum(often))
    minimum = draw(st.sampled_from([0.3, 1.0, 1.875, 2.0, 5.0]))
    att = summary_of(drawn, minimum=minimum, prior_sd=draw(st.floats(0.5, 15)))
    statuses = draw(st.lists(STATUS, min_size=2, max_size=4))
    names = ["data contract", "pre-trends", "baseline gap", "convergence"][: len(statuses)]
    table = pd.DataFrame({"name": names, "status": statuses, "message": "A sentence."})
    return att, table, minimum, draw(st.sampled_from(["en", "nl", "fr"]))


def evaluated(att, table, minimum, *, level=3):
    """The parts of result.json that page 1 makes statements from."""
    blocked = bool((table["status"] == "fail").any())
    return {
        "verdict": verdict.decide(att, minimum_pp=minimum, blocked=blocked),
        "att_pp": att,
        "minimum_pp": minimum,
        "needed": "",
        "grade": verdict.grade(level, table),
        "checks": table.to_dict("records"),
        "by_project": {},
    }


WORDS = {
    "en": ("fewer", "more feel|more residents|That is harm|points to harm"),
    "nl": ("minder", "meer bewoners|meer zich|schade"),
    "fr": ("moins", "de plus se|plus d’habitants|un tort"),
}


@settings(max_examples=250, deadline=None)
@given(evaluations())
def test_headline_odds_and_advice_never_contradict_each_other(evaluation):
    att, table, minimum, lang = evaluation
    made = evaluated(att, table, minimum)
    decided, blocked = made["verdict"], made["verdict"] == "blocked"
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


def numbers(text, lang):
    """Numbers of a text as they are printed, signs aside."""
    mark = "," if lang != "en" else "."
    found = re.findall(rf"\d+(?:\{mark}\d+)?", text.replace("\N{NO-BREAK SPACE}", ""))
    return [float(x.replace(mark, ".")) for x in found]


@settings(max_examples=250, deadline=None)
@given(evaluations(), st.floats(0, 100))
def test_sentence_picture_and_table_name_the_same_numbers(evaluation, share):
    att, table, minimum, lang = evaluation
    made = evaluated(att, table, minimum)
    decided, told, text = made["verdict"], verdict.residents_told(made), verdict.sentence(made, lang=lang)
    if decided == "blocked":
        assert told == 0 and numbers(text, lang) == []
        return
    inside = [abs(float(f"{att[key]:.1f}")) for key in ("lower90", "upper90") if round(att[key], 1) != 0]
    assert set(inside) <= set(numbers(text, lang))
    unsafe, fewer, more = page._changed(made, share)
    safe, caption = 100 - unsafe - fewer, page._residents_caption(made, share, PANEL, lang)
    assert min(unsafe, fewer, more, safe, unsafe - more) >= 0
    assert numbers(re.sub("<[^>]*>", "", str(caption)), lang)[: 2 + (fewer + more > 0)] == (
        [unsafe, fewer, safe] if fewer else [unsafe, more, safe] if more else [unsafe, safe]
    )
    if not told:
        assert fewer == more == 0
        return
    assert decided in verdict.FALLS + verdict.RISES
    first = text.split("(")[0]
    assert numbers(first, lang)[0] == told  # the "100" of "1 in 100" comes after it in every language
    assert told in (float(np.floor(abs(att["mean"]) + 0.5)), abs(float(f"{att['mean']:.1f}")))
    assert att["lower90"] - 0.5 <= np.copysign(told, att["mean"]) <= att["upper90"] + 0.5
    drawn = int(np.floor(told + 0.5))
    room = 100 - unsafe if decided in verdict.FALLS else unsafe
    assert (fewer if decided in verdict.FALLS else more) == min(drawn, room)
    assert not (more if decided in verdict.FALLS else fewer)
    if told % 1:
        assert told in numbers(str(caption), lang)


@settings(max_examples=250, deadline=None)
@given(evaluations())
def test_what_is_said_about_the_smallest_worthwhile_effect_fits_the_number(evaluation):
    att, table, minimum, _lang = evaluation
    made = evaluated(att, table, minimum)
    decided, told, text = made["verdict"], verdict.residents_told(made), verdict.sentence(made, lang="en")
    if decided.startswith("clear"):
        assert "very likely exceeds" in text and (told == 0 or told >= minimum - 0.05)
    if decided in ("no worthwhile change", "cannot tell", "blocked"):
        assert told == 0 and "very likely exceeds" not in text
    if "stays short" in text:
        assert told <= minimum + 0.05
    assert ("no difference that counts" in text) == (decided == "no worthwhile change")
    assert not (decided == "no worthwhile change" and max(att["p_fall_minimum"], att["p_rise_minimum"]) >= 0.9)
    assert ("cannot tell from these data" in text) == (decided == "cannot tell")


ADVICE = {
    "blocked": "Mend",
    "clear fall": "Keep the projects and",
    "probable fall": "Keep the projects for now",
    "no worthwhile change": "Where residents still",
    "probable rise": "Do not extend",
    "clear rise": "Stop and find out",
    "cannot tell": "Decide nothing",
}


@settings(max_examples=150, deadline=None)
@given(evaluations(), st.integers(2, 5))
def test_label_advice_and_grade_follow_the_verdict(evaluation, level):
    att, table, minimum, lang = evaluation
    made = evaluated(att, table, minimum, level=level)
    _ = translator(lang).gettext
    decided, status = made["verdict"], list(table["status"])
    assert verdict.label(decided, lang=lang) == _(decided)
    assert verdict.next_step(made, names={}, lang="en").startswith(ADVICE[decided])
    told = said("grade", lang, checks=made["checks"])
    failed, lower = "fail" in status, "fail" not in status and "not possible" in status
    assert (decided == "blocked") == failed
    assert made["grade"] == (1 if failed else level - lower)
    assert (_("A failed check leaves grade 1.") in told) == failed
    assert (_("One step less than the design, because a check was not possible.") in told) == lower
    counts = [status.count(name) for name in ("pass", "warn", "fail", "not possible")]
    assert numbers(told, lang)[-4:] == counts and sum(counts) == len(status)


@pytest.mark.parametrize(
    "values, shares, words",
    [
        # Nine in ten at a fall of 2.5, one in ten at a rise of 30: the mean is a rise, the finding is not.
        ((-2.5, 30), (0.92, 0.08), "fewer out of every 100"),
        ((-2.5, 12), (0.92, 0.08), "fewer out of every 100"),  # a mean fall of 1.3, very likely above 2
        ((-1.0, -60), (0.9, 0.1), "fewer out of every 100"),  # a mean fall of 6.9, probably short of 2
    ],
)
def test_a_mean_that_contradicts_the_finding_is_not_told(values, shares, words):
    drawn = np.repeat(values, (1000 * np.array(shares)).astype(int)) + np.random.default_rng(1).normal(0, 0.01, 1000)
    made = evaluated(summary_of(drawn, minimum=2.0), checks(), 2.0)
    assert made["verdict"] in verdict.FALLS and verdict.residents_told(made) == 0
    assert words in verdict.sentence(made, lang="en") and page._changed(made, 40.0)[1:] == (0, 0)


def test_a_headline_with_a_decimal_says_how_the_picture_rounds_it():
    made = evaluated(summary_of(np.random.default_rng(1).normal(-1.6, 0.5, 4000), minimum=2.0), checks(), 2.0)
    assert verdict.residents_told(made) == 1.6 and page._changed(made, 20.0) == (20, 2, 0)
    assert "1.6 is drawn as 2." in page._residents_caption(made, 20.0, PANEL, "en")


EXAMPLES = [
    (-6, 1, "clear fall"),
    (6, 1, "clear rise"),
    (0, 0.5, "no worthwhile change"),
    (-3, 1.6, "probable fall"),
    (3, 1.6, "probable rise"),
    (0, 5, "cannot tell"),
]
REACHED = {expected for _mean, _sd, expected in EXAMPLES}


@pytest.mark.parametrize("mean, sd, expected", EXAMPLES)
def test_every_verdict_can_be_reached_from_draws(mean, sd, expected):
    assert result(mean, sd)["verdict"] == expected
    assert result(mean, sd, checks=checks().assign(status="fail"))["verdict"] == "blocked"
    assert REACHED == set(verdict.VERDICTS)


# --- beside the felt insecurity: cohesion and recorded incidents -----------------------------------------------------------

SOUND = {"rhat_max": 1.0, "ess_bulk_min": 900, "ess_tail_min": 900, "divergences": 0}


def outcomes(felt, lived=None, recorded=None, *, diagnostics=SOUND, lang="en"):
    """What is said of three outcomes whose effects are the given means over 0.2 of themselves (cannot tell: 0)."""
    about = {"diagnostics": diagnostics, "seconds": 10.0}
    row = lambda mean, minimum: summary(mean, abs(mean) / 5 or 2 * minimum, minimum=minimum)
    given = result(felt, abs(felt) / 5 or 3.0)
    cohesion = None if lived is None else about | {"att_sd": row(lived, 0.1)}
    counted = None if recorded is None else about | {"change_pct": row(recorded, 5.0)}
    return verdict.with_outcomes(given, cohesion=cohesion, recorded=counted, lang=lang)


@pytest.mark.parametrize(
    ("felt", "lived", "recorded", "words"),
    [
        (5.0, None, -20.0, "They disagree: fewer incidents, while more residents feel unsafe."),
        (-5.0, None, 20.0, "They disagree: more incidents, while fewer residents feel unsafe."),
        (5.0, 0.4, None, "They disagree: residents are closer to each other and yet"),
        (-5.0, -0.4, None, "They disagree: fewer residents feel unsafe although"),
        (-5.0, 0.4, -20.0, "Where something can be told, it points the same way."),
        (-5.0, 0.4, 0.0, "Where something can be told, it points the same way."),
        (0.0, 0.4, 20.0, "Cohesion and recorded incidents do not point the same way"),
        (-5.0, 0.0, None, "Only one of them can be told"),
        (0.0, 0.0, 0.0, "None of them can be told"),
    ],
)
def test_the_report_says_when_felt_lived_and_recorded_disagree(felt, lived, recorded, words):
    told = outcomes(felt, lived, recorded)["outcomes"]["together"]
    assert told.startswith(words)
    assert ("disagree:" in told) == words.startswith("They disagree")


def test_each_outcome_has_its_word_and_its_number_and_a_fit_that_has_not_settled_has_none():
    found = outcomes(-5.0, 0.4, -20.0)
    assert [row["head"] for row in found["outcomes"]["told"].values()] == [
        "Felt insecurity: clearly down", "Cohesion: clearly up", "Recorded incidents: clearly down"
    ]  # fmt: skip
    assert found["outcomes"]["told"]["cohesion"]["text"].startswith("+0.40 standard deviations of residents (+0.27 to")
    assert (found["cohesion"]["verdict"], found["recorded"]["verdict"]) == ("clear rise", "clear fall")
    assert found["seconds"]["total"] == result(-5.0, 1.0)["seconds"]["total"] + 20.0
    stuck = outcomes(-5.0, 0.4, -20.0, diagnostics=SOUND | {"rhat_max": 1.2})
    assert stuck["cohesion"]["verdict"] == stuck["recorded"]["verdict"] == "blocked"
    assert "0.4" not in stuck["outcomes"]["told"]["cohesion"]["text"]
    assert stuck["outcomes"]["together"].startswith("Only one of them can be told")


def test_an_outcome_that_the_city_does_not_supply_is_not_spoken_of():
    found = outcomes(-5.0)
    assert list(found["outcomes"]["told"]) == ["perceived"]
    assert not {"cohesion", "recorded"} & set(found)


def test_a_register_that_cannot_be_evaluated_says_why_and_leaves_the_rest():
    found = verdict.with_outcomes(
        result(-5.0, 1.0), cohesion=None, recorded={"not_possible": "no project left"}, lang="en"
    )
    told = found["outcomes"]["told"]["recorded"]
    assert (told["head"], told["text"]) == ("Recorded incidents: not possible", "no project left")
    assert found["verdict"] == "clear fall" and found["outcomes"]["together"].startswith("Only one of them can be told")


def test_a_failed_check_of_the_survey_blocks_cohesion_and_not_the_register():
    broken = checks().assign(status=["fail", "pass", "pass", "pass"])
    about = {"diagnostics": SOUND, "seconds": 1.0}
    lived, counted = (
        about | {"att_sd": summary(0.4, 0.05, minimum=0.1)},
        about | {"change_pct": summary(-20.0, 2.0, minimum=5.0)},
    )
    found = verdict.with_outcomes(result(-5.0, 1.0, checks=broken), cohesion=lived, recorded=counted, lang="en")
    assert (found["cohesion"]["verdict"], found["recorded"]["verdict"]) == ("blocked", "clear fall")


def test_numbers_that_allow_for_reporting_are_not_called_recorded():
    about = {"diagnostics": SOUND, "seconds": 1.0, "change_pct": summary(-20.0, 2.0, minimum=5.0)}
    for used, head in (
        (True, "Incidents, reporting allowed for: clearly down"),
        (False, "Recorded incidents: clearly down"),
    ):
        counted = about | {"reporting": {"used": used, "text": "Because."}}
        found = verdict.with_outcomes(result(-5.0, 1.0), cohesion=None, recorded=counted, lang="en")
        assert found["outcomes"]["told"]["recorded"]["head"] == head and found["outcomes"]["note"] == "Because."
