"""Collective Impact: what raters said, how far they agree, and where it is thin, counted by hand."""

import json
import tomllib
from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import small_panel

from workbench import collective
from workbench.errors import ParameterError
from workbench.language import languages, said
from workbench.runs import run_notebook
from workbench.schema import CONDITIONS

AGENDA, MEASURE, ACTIVITIES, TALK, BACKBONE = CONDITIONS


def table(*rows):
    """Scores from (project, rater, condition, score) or with a date before these four."""
    full = [row if len(row) == 5 else ("2021-05-01", *row) for row in rows]
    made = pd.DataFrame(full, columns=["date", "project", "rater", "condition", "score"]).astype({"score": float})
    return made.assign(date=pd.to_datetime(made["date"]), evidence="")


def cell(profile, project, condition):
    return profile.set_index(["project", "condition"]).loc[(project, condition)]


@pytest.mark.parametrize("lang", languages())
def test_the_rubric_has_five_conditions_of_five_levels_and_a_step_from_each_but_the_highest(lang):
    rubric = collective.rubric(lang)
    assert list(zip(rubric["condition"], rubric["level"], strict=True)) == list(product(CONDITIONS, range(5)))
    assert (rubric["step"].eq("") == rubric["level"].eq(4)).all() and rubric["text"].str.len().gt(20).all()
    assert rubric["text"].is_unique and rubric.loc[rubric["step"] != "", "step"].is_unique
    assert rubric["name"].nunique() == 5


def test_no_sentence_of_the_rubric_is_left_in_another_language():
    columns = ["name", "text", "step"]
    texts = {lang: collective.rubric(lang)[columns].stack() for lang in languages()}
    for one, other in (("en", "nl"), ("en", "fr"), ("nl", "fr")):
        assert not ((texts[one] == texts[other]) & (texts[one] != "")).any()


def test_a_profile_gives_mean_and_range_of_each_condition_and_names_those_without_a_rating():
    made = collective.profile(table(("meet", "ann", AGENDA, 1), ("meet", "bob", AGENDA, 4), ("meet", "ann", TALK, 3)))
    assert made["condition"].tolist() == list(CONDITIONS)
    assert cell(made, "meet", AGENDA)[["ratings", "mean", "lowest", "highest"]].tolist() == [2, 2.5, 1, 4]
    assert cell(made, "meet", BACKBONE)["ratings"] == 0 and np.isnan(cell(made, "meet", BACKBONE)["mean"])


def test_the_latest_date_of_a_rater_counts_whatever_the_order_of_the_rows():
    rows = [("2022-05-01", "meet", "ann", AGENDA, 4), ("2021-05-01", "meet", "ann", AGENDA, 0)]
    for order in (rows, rows[::-1]):
        assert cell(collective.profile(table(*order)), "meet", AGENDA)[["ratings", "mean"]].tolist() == [1, 4]


def test_do_not_know_is_no_rating_and_is_counted_also_when_it_replaces_one():
    rows = [("meet", "ann", AGENDA, np.nan), ("meet", "bob", AGENDA, 2), ("meet", "ann", TALK, 1)]
    made = collective.profile(table(*rows, ("2022-05-01", "meet", "ann", TALK, np.nan)))
    assert cell(made, "meet", AGENDA)[["ratings", "dont_know", "mean"]].tolist() == [1, 1, 2]
    assert cell(made, "meet", TALK)[["ratings", "dont_know"]].tolist() == [0, 1]


def test_the_weakest_link_is_the_lowest_condition_and_every_one_that_ties():
    rows = [("meet", "ann", c, s) for c, s in zip(CONDITIONS, (2, 1, 3, 1, 4), strict=True)]
    made = collective.profile(table(*rows, ("walk", "ann", TALK, 3)))
    assert made[made["weakest"]][["project", "condition"]].values.tolist() == [
        ["meet", MEASURE],
        ["meet", TALK],
        ["walk", TALK],
    ]


def place(waves, **project):
    rows = {"project": ["meet"], "start": ["2021-06-01"], "full": ["2021-06-01"], "stop": [None]}
    rows = pd.DataFrame(rows | {name: [value] for name, value in project.items()})
    projects = rows.assign(**{name: pd.to_datetime(rows[name]) for name in ("start", "full", "stop")})
    fieldwork = pd.DataFrame(waves, columns=["wave", "start", "end"])
    return SimpleNamespace(projects=projects, waves=fieldwork.assign(**fieldwork[["start", "end"]].map(pd.Timestamp)))


@pytest.mark.parametrize(
    ("full", "stop", "expected"),
    [
        ("2021-06-01", None, "2022-04-30"),  # the wave of 2021-10 lies only 4.5 months after full start
        ("2021-11-01", None, "2023-04-30"),  # 5.5 months in 2022, 17 in 2023
        ("2022-12-01", None, "2023-04-30"),  # only 4.5 months: no wave in the window, so the first running one
        ("2021-06-01", "2022-01-01", "2021-10-31"),  # stopped before the window
        ("2024-06-01", None, None),
    ],
)
def test_outcomes_are_seen_when_the_first_window_wave_ends_else_the_first_running_one(full, stop, expected):
    waves = [("2021", "2021-10-01", "2021-10-31"), ("2022", "2022-04-01", "2022-04-30")]
    seen = collective.outcomes_seen(place([*waves, ("2023", "2023-04-01", "2023-04-30")], full=full, stop=stop))
    assert seen.to_dict() == ({"meet": pd.Timestamp(expected)} if expected else {})


def test_scores_given_after_outcomes_were_in_are_marked_and_those_of_the_last_day_are_not():
    rows = [("2022-04-30", "meet", "ann", AGENDA, 2), ("2022-05-01", "meet", "bob", AGENDA, 4)]
    rows += [("2022-05-01", "meet", "bob", TALK, np.nan), ("2022-05-01", "walk", "bob", TALK, 4)]
    made = collective.profile(table(*rows), seen=pd.Series({"meet": pd.Timestamp("2022-04-30")}))
    assert cell(made, "meet", AGENDA)["late"] == 1 and cell(made, "meet", TALK)["late"] == 0
    assert cell(made, "walk", TALK)["late"] == 0, "a project without outcomes cannot be scored too late"


def pairs(*both):
    """One project per pair of scores by ann and bob."""
    return table(
        *(
            (f"p{k}", rater, AGENDA, s)
            for k, two in enumerate(both)
            for rater, s in zip(("ann", "bob"), two, strict=True)
        )
    )


def test_agreement_of_ten_pairs_by_hand():
    found = collective.agreement(pairs(*[(0, 0)] * 5, *[(4, 4)] * 4, (0, 1)))
    # Squares expected by chance: 6 zeros of ann against bob's 5 x 0, 4 x 4, 1 x 1, and 4 fours against the same.
    chance = (6 * (4 * 16 + 1) + 4 * (5 * 16 + 9)) / 100
    assert found == {"pairs": 10, "equal": 0.9, "within_one": 1.0, "kappa": pytest.approx(1 - 0.1 / chance)}


def test_raters_who_differ_by_two_steps_are_not_within_one_and_three_raters_are_three_pairs():
    found = collective.agreement(table(*(("meet", r, AGENDA, s) for r, s in (("ann", 0), ("bob", 1), ("cis", 3)))))
    assert found["pairs"] == 3 and found["equal"] == 0 and found["within_one"] == pytest.approx(1 / 3)


def test_kappa_is_not_given_for_nine_pairs_and_nothing_is_said_of_none():
    assert np.isnan(collective.agreement(pairs(*[(0, 0)] * 5, *[(4, 4)] * 4))["kappa"])
    alone = collective.agreement(table(("meet", "ann", AGENDA, 1)))
    assert alone["pairs"] == 0 and np.isnan([alone["equal"], alone["within_one"], alone["kappa"]]).all()


def test_kappa_is_zero_where_raters_agree_no_more_than_by_chance():
    assert collective.agreement(pairs(*product((0, 2, 4, 1), repeat=2)))["kappa"] == pytest.approx(0)


def test_the_error_of_a_rating_is_the_spread_within_project_and_condition():
    rows = [("meet", "ann", AGENDA, 0), ("meet", "bob", AGENDA, 1), ("meet", "cis", AGENDA, 2)]
    rows += [("meet", "ann", TALK, 1), ("meet", "bob", TALK, 3), ("walk", "ann", TALK, 4)]
    assert collective.rating_sd(table(*rows)) == pytest.approx(np.sqrt((2 + 2) / (2 + 1)))


def test_raters_who_always_agree_still_err_and_where_nothing_was_rated_twice_the_error_is_large():
    assert collective.rating_sd(pairs((2, 2), (3, 3))) == 0.35
    assert collective.rating_sd(pairs((2, np.nan), (3, np.nan))) == 0.7


def test_the_score_of_a_card_is_the_mean_of_conditions_with_its_error():
    rows = [("meet", "ann", AGENDA, 1), ("meet", "bob", AGENDA, 3), ("meet", "ann", TALK, 3)]
    found = collective.score(table(*rows, ("meet", "ann", BACKBONE, np.nan)), "meet")
    assert found["score"] == 2.5 and found["conditions"] == {AGENDA: 2.0, TALK: 3.0}
    # Ann's own mean lies 1 below what both share, bob's 1 above: more than independent errors, sqrt(2 (1/2 + 1)) / 2.
    assert found["se"] == pytest.approx(np.sqrt(2 / 1 / 2))


def test_errors_that_differ_in_sign_between_conditions_average_out():
    rows = [("meet", "ann", AGENDA, 1), ("meet", "bob", AGENDA, 3), ("meet", "ann", TALK, 3), ("meet", "bob", TALK, 1)]
    assert collective.score(table(*rows), "meet")["se"] == pytest.approx(np.sqrt(2) * np.sqrt(1 / 2 + 1 / 2) / 2)


def test_a_strict_rater_is_an_error_that_no_number_of_conditions_averages_out():
    rows = [("meet", rater, c, s) for c in CONDITIONS for rater, s in (("ann", 1), ("bob", 3))]
    assert collective.score(table(*rows), "meet")["se"] == pytest.approx(np.sqrt(2 / 1 / 2))
    alone = table(*rows, ("walk", "ann", TALK, 2))
    assert collective.score(alone, "walk")["se"] == pytest.approx(np.sqrt(2 / 1 / 1)), (
        "one rater, known to be strict or not"
    )


@pytest.mark.parametrize(
    "scores", [None, table(), table(("walk", "ann", TALK, 2)), table(("meet", "ann", TALK, np.nan))]
)
def test_a_project_that_nobody_rated_has_no_score(scores):
    assert collective.score(scores, "meet") is None


def result(verdict, **changes):
    att = {"mean": -0.5, "lower90": -2.0, "upper90": 1.0, "verdict": verdict}
    return {"city": "town", "by_project": {"p": att}} | changes


def panel():
    """North has the project; in the last two waves 30, 20, 10 and 15 percent feel unsafe: median 17.5."""
    return small_panel.panel([[90, 28, 32], [90, 20, 20], [90, 5, 15], [90, 15, 15]]).assign_attrs(city="town")


def told(scores, *, seen=()):
    late = collective.profile(scores, seen=seen)["late"].sum()
    return said("raters", "en", **collective.agreement(scores), sd=collective.rating_sd(scores), late=late)


def test_agreement_of_few_pairs_is_told_without_a_kappa_and_late_ratings_are_counted():
    ann, bob = (
        (("meet", "ann", AGENDA, 1), ("meet", "ann", TALK, 2)),
        (("meet", "bob", AGENDA, 4), ("meet", "bob", TALK, 2)),
    )
    scores = table(*ann, *bob, ("meet", "ann", BACKBONE, 0), ("meet", "bob", BACKBONE, np.nan))
    assert "2, of which 50 % the same and 50 % at most a step apart" in told(scores) and "too few pairs" in told(scores)
    assert "off by 1.50 of a step" in told(scores), "squares 2 x 1.5^2 over one degree of freedom in each of two cells"
    assert "after outcomes were in (*): 5." in told(scores, seen={"meet": pd.Timestamp(2021, 4, 30)})
    assert "(*)" not in told(scores) and told(table(*ann)).startswith("Nothing was rated by two people")


@pytest.mark.parametrize(
    ("verdict", "gap"),
    [
        ("cannot tell", True),
        ("no worthwhile change", True),
        ("probable rise", True),
        ("clear rise", True),
        ("probable fall", False),
        ("clear fall", False),
        ("blocked", False),
    ],
)
def test_a_gap_is_high_insecurity_without_a_visible_fall(verdict, gap):
    found = collective.gaps(result(verdict), panel()).iloc[0]
    assert found["unsafe"] == pytest.approx(30) and found["held_against"] == pytest.approx(17.5)
    assert found["gap"] == gap


def test_a_stated_threshold_takes_the_place_of_the_median():
    assert not collective.gaps(result("cannot tell"), panel(), threshold=30.5)["gap"].item()
    assert collective.gaps(result("cannot tell"), panel(), threshold=29.5)["gap"].item()


def test_areas_of_a_project_weigh_by_residents_and_one_that_was_not_asked_is_left_out():
    made = small_panel.panel([[9, 30, 30], [9, 10, 10], [9, 8, 8]], treated=(0, 1), residents=[3000, 1000, 500])
    made = made.assign_attrs(city="town")
    assert collective.gaps(result("cannot tell"), made)["unsafe"].item() == pytest.approx(25)
    made["share_unsafe"][0, 1:] = np.nan
    assert collective.gaps(result("cannot tell"), made)["unsafe"].item() == pytest.approx(10)


def test_an_evaluation_of_another_city_is_refused():
    with pytest.raises(ParameterError, match="run: an evaluation of elsewhere, not of town"):
        collective.gaps(result("cannot tell", city="elsewhere"), panel())


def test_next_steps_are_those_of_the_two_lowest_conditions_at_the_level_that_is_reached():
    rows = [("meet", "ann", c, s) for c, s in zip(CONDITIONS, (2, 4, 3, 0, 1), strict=True)]
    profile = collective.profile(table(*rows, ("meet", "bob", BACKBONE, 2), ("walk", "ann", TALK, 1)))
    found, rubric = collective.next_steps(profile, ["meet"], lang="en"), collective.rubric("en").set_index("condition")
    assert found["condition"].tolist() == [TALK, BACKBONE] and found["mean"].tolist() == [0, 1.5]
    steps = [rubric.query("level == @level").loc[c, "step"] for c, level in ((TALK, 0), (BACKBONE, 1))]
    assert found["step"].tolist() == steps


def test_conditions_that_tie_for_second_place_all_have_their_step_and_the_highest_level_needs_none():
    rows = [("meet", "ann", c, s) for c, s in zip(CONDITIONS, (4, 4, 4, 4, 1), strict=True)]
    found = collective.next_steps(collective.profile(table(*rows)), ["meet"], lang="nl")
    assert len(found) == 5 and found["step"].ne("").sum() == 1


def test_the_rubric_file_holds_nothing_but_the_conditions_of_the_contract():
    file = collective.Path(collective.__file__).parent / "collective.toml"
    assert tuple(tomllib.loads(file.read_text(encoding="utf-8"))) == CONDITIONS


@pytest.mark.slow
@pytest.mark.parametrize("strict", [0.0, 0.35, 0.7])
def test_intervals_of_a_score_cover_the_true_mean_about_as_often_as_they_say_with_strict_raters_too(strict):
    rng, inside = np.random.default_rng(1), []
    for _city in range(20):
        true = rng.normal(2, 0.7, (6, 1, 5)).clip(0.5, 3.5)
        seen = true + rng.normal(0, strict, (6, 2, 1)) + rng.normal(0, 0.5, (6, 2, 5))
        cells = product((f"p{k}" for k in range(6)), ("ann", "bob"), CONDITIONS)
        scores = table(*((*cell, value) for cell, value in zip(cells, seen.round().clip(0, 4).ravel(), strict=True)))
        found = [collective.score(scores, f"p{k}") for k in range(6)]
        inside += [abs(f["score"] - t) < 1.645 * f["se"] for f, t in zip(found, true.mean((1, 2)), strict=True)]
    assert 0.8 <= np.mean(inside) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize("notebook", ["00-map-projects", "08-collective-impact"])
def test_its_notebook_says_what_is_missing_in_a_city_that_has_no_projects(
    notebook, city_files, write_city_files, tmp_path
):
    bare = {name: text for name, text in city_files.items() if name != "projects.csv"}
    bare["city.toml"] = bare["city.toml"].split("[projects]")[0]
    given = {"city": "town", "raw": str(write_city_files(bare))}
    status = run_notebook(f"notebooks/{notebook}.ipynb", given, out=tmp_path / "out")
    assert (status["state"], status["reason"]) == ("done", "")
    said = {"00-map-projects": "No project to show.", "08-collective-impact": "No scores yet."}
    assert said[notebook] in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_notebook_lays_scores_beside_the_result_of_an_evaluation(tmp_path):
    verdicts = {"street-hosts": "cannot tell", "kitchens": "probable fall"}
    att = {"mean": -0.5, "lower90": -2.0, "upper90": 1.0}
    by_project = {project: att | {"verdict": verdict} for project, verdict in verdicts.items()}
    made = {"city": "demo", "item": "unsafe_neighbourhood", "unsafe_from": "sometimes", "by_project": by_project}
    (tmp_path / "result.json").write_text(json.dumps(made), encoding="utf-8")
    given = {"city": "demo", "run": str(tmp_path), "threshold": 1}
    status = run_notebook("notebooks/08-collective-impact.ipynb", given, out=tmp_path / "out")
    assert (status["state"], status["reason"]) == ("done", "") and str(tmp_path) not in json.dumps(status)
    found = pd.read_csv(tmp_path / "out" / "gaps.csv").set_index("project")["gap"]
    assert found.to_dict() == {"street-hosts": True, "kitchens": False}
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert collective.rubric("en")["step"].iloc[0] in page, "street hosts stand at 0 in the common agenda"
