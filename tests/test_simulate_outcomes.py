"""Cohesion and incidents of a simulated city are what truth.json says, and leave its insecurity as it was."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import expit

from workbench import schema, simulate, simulate_outcomes
from workbench.cities import load_city
from workbench.errors import ParameterError
from workbench.items import ITEMS
from workbench.simulate import draw_city

TINY = {"areas": 5, "treated": 2, "projects": 2, "waves": 4, "respondents": 200, "seed": 8}
COHESION = tuple(simulate_outcomes.COHESION["items"])
BESIDE = simulate._beside


def world(**options):
    """The insecurity world of a call with `options`, all of them with their defaults, and a generator of its own."""
    options = simulate._checked({"respondents": 20_000} | options)
    return simulate.draw_world(options, np.random.SeedSequence(3)), options, np.random.default_rng(3)


def same(one, other, *, but=()):
    """Do two cities have the same tables, but for these columns of respondents and these tables?"""
    for name in set(schema.TABLES) - set(but):
        left, right = getattr(one, name), getattr(other, name)
        if left is None:
            assert right is None, name
        else:
            pd.testing.assert_frame_equal(*(table.drop(columns=[*but], errors="ignore") for table in (left, right)))


@pytest.mark.parametrize(
    ("without", "gone", "tables"),
    [
        ({"no_cohesion": True}, COHESION, ["cohesion"]),
        ({"no_incidents": True}, ("victim_reported",), ["incidents"]),
        ({"no_cohesion": True, "no_incidents": True}, (*COHESION, "victim_reported"), ["cohesion", "incidents"]),
    ],
)
def test_what_is_left_out_changes_nothing_of_the_rest(without, gone, tables):
    (whole, truth), (city, other) = draw_city(**TINY), draw_city(**TINY, **without)
    assert set(whole.items) - set(city.items) == set(gone) and not set(gone) & set(city.respondents.columns)
    assert (city.incidents is None) == ("incidents" in tables) == (not city.discretion)
    same(whole, city, but=[*gone, *(["incidents"] if "incidents" in tables else [])])
    assert truth.keys() - other.keys() == set(tables)
    assert all(truth[key] == other[key] for key in other.keys() - {"parameters"})


def test_options_of_one_outcome_move_no_other():
    plain = draw_city(**TINY)[0]
    cohesive = draw_city(**TINY, cohesion_effect=0.9, cohesion_pull=0.5, confounding=0.6)[0]
    same(plain, cohesive, but=COHESION)
    assert not plain.respondents["dutch_close"].equals(cohesive.respondents["dutch_close"])
    counted = draw_city(**TINY, irr=0.4, irr_neighbours=1.5, reporting=1.6)[0]
    same(plain, counted, but=["incidents", "victim_reported"])
    assert not plain.incidents["count"].equals(counted.incidents["count"])


@pytest.mark.parametrize("pull", [-0.8, -0.2, 0.0, 0.5])
@pytest.mark.parametrize("confounding", [-0.9, -0.3, 0.0, 0.6])
@pytest.mark.parametrize("ratio", [0.2, 1.0, 1.2])
def test_the_correlation_of_shocks_leaves_the_planted_pull_and_confounding(pull, confounding, ratio):
    r = simulate_outcomes.shock_correlation(pull, confounding, ratio)
    # u = pull c + rest, with sd(u) = 1 and sd(c) = ratio: the rest's covariance with c and its variance follow from r.
    covariance, variance = r * ratio - pull * ratio**2, 1 - 2 * pull * r * ratio + pull**2 * ratio**2
    assert abs(r) < 1 and covariance / ratio / np.sqrt(variance) == pytest.approx(confounding, abs=1e-12)


def test_shocks_and_levels_of_cohesion_go_with_those_of_insecurity_as_planted():
    made, options, rng = world(areas=2000, treated=8, waves=6, shock_sd=0.2, shock_rho=0.5, cohesion_pull=-0.6)
    cohesion = simulate_outcomes.draw_cohesion(made, options | {"cohesion_effect": 0.0}, rng)["cohesion"]
    level = cohesion.mean("wave") - cohesion.mean()
    shock = (cohesion - cohesion.mean("wave") - cohesion.mean("area") + cohesion.mean()).values
    felt = (made["shock"] - made["shock"].mean("wave") - made["shock"].mean("area") + made["shock"].mean()).values
    assert (shock * felt).sum() / (shock**2).sum() == pytest.approx(-0.6, abs=0.05)
    assert float(level.std()) == pytest.approx(np.sqrt(0.35**2 + (0.1**2) * 0.39), abs=0.02), "0.39: a mean of 6 waves"
    assert np.corrcoef(level, made["level"])[0, 1] == pytest.approx(-0.5, abs=0.05)


def test_without_insecurity_shocks_cohesion_has_none_either():
    made, options, rng = world(shock_sd=0.0, cohesion_effect=0.0)
    cohesion = simulate_outcomes.draw_cohesion(made, options, rng)["cohesion"]
    np.testing.assert_allclose(cohesion - cohesion[:, :1], (cohesion - cohesion[:, :1])[:1].values.repeat(24, 0))


def test_each_item_answers_by_its_discrimination_and_cuts_around_the_areas_cohesion():
    n, rng = 400_000, np.random.default_rng(1)
    drawn, place = xr.Dataset({"cohesion": (("area", "wave"), [[0.4]])}), (np.zeros(n, int), np.zeros(n, int))
    answers = simulate_outcomes.cohesion_answers(drawn, place, rng.logistic(size=n), rng)
    theta = np.linspace(-8, 8, 4001)
    weight = np.exp(-(theta**2) / 2) / np.exp(-(theta**2) / 2).sum()
    for item, about in simulate_outcomes.COHESION["items"].items():
        below = [weight @ expit(cut + about["discrimination"] * (0.4 + theta)) for cut in about["cuts"]]
        expected = np.diff([0.0, *below, 1.0])
        seen = pd.Series(answers[item]).value_counts(normalize=True)[list(ITEMS[item].categories)]
        np.testing.assert_allclose(seen, expected, atol=4 * 0.5 / np.sqrt(n), err_msg=item)


def test_those_who_feel_less_safe_than_their_area_also_find_it_less_cohesive(monkeypatch):
    sure = {"dutch_home": {"discrimination": 1e6, "cuts": [-1e6, 0.0, 1e6, 2e6]}}
    monkeypatch.setitem(simulate_outcomes.COHESION, "items", sure)
    n, rng = 400_000, np.random.default_rng(2)
    drawn, place = xr.Dataset({"cohesion": (("area", "wave"), [[0.0]])}), (np.zeros(n, int), np.zeros(n, int))
    noise = rng.logistic(size=n)
    cohesive = pd.Series(simulate_outcomes.cohesion_answers(drawn, place, noise, rng)["dutch_home"])
    cohesive = cohesive.isin(ITEMS["dutch_home"].categories[:2]).to_numpy()
    # Two normals of correlation -0.25 are both positive with chance 1/4 + asin(-0.25) / (2 pi).
    assert cohesive[noise > 0].mean() == pytest.approx(0.5 + np.arcsin(-0.25) / np.pi, abs=0.004)


def test_the_part_that_goes_through_cohesion_is_what_taking_it_away_would_change():
    effects = [0.3, -0.2]
    truth = draw_city(**TINY, cohesion_pull=-0.7, cohesion_effects=effects)[1]
    made = simulate.draw_world(truth["parameters"], np.random.SeedSequence(8).spawn(1)[0])
    change, lived, weights = [], [], []
    for area in range(5):
        for project in range(2):
            waves = np.flatnonzero(made["window"].values[project, area])
            if not len(waves):
                continue
            parts = []
            for wave in waves:
                index = made["latent"].values[area, wave] + made["delta"].values[project] + simulate.STRATUM_EFFECT
                without = index + 0.7 * effects[project]
                parts.append(100 * (expit(index) - expit(without)) @ made["composition"].values[area])
            change.append(np.mean(parts))
            lived.append(effects[project])
            weights.append(float(made["population"][area]))
    found = truth["cohesion"]
    assert len(change) == 2 and found["indirect_pp"] == pytest.approx(np.average(change, weights=weights), abs=1e-6)
    assert found["indirect_pp"] + found["direct_pp"] == pytest.approx(truth["att_pp"], abs=2e-6)
    assert found["att_sd"] == pytest.approx(np.average(lived, weights=weights), abs=1e-6)
    assert list(found["by_project"].values()) == effects
    assert draw_city(**TINY, cohesion_pull=0)[1]["cohesion"]["indirect_pp"] == 0.0


def test_effects_differ_between_projects_around_the_asked_mean():
    truth = draw_city(projects=4, cohesion_effect=0.2, irr=0.8, seed=5)[1]
    found = sorted(truth["cohesion"]["by_project"].values())
    np.testing.assert_allclose(found, 0.2 * np.array([3, 5, 7, 9]) / 6, atol=1e-5)
    log_irr = np.sort(np.log([*truth["incidents"]["irr_by_project"].values()]))[::-1]
    np.testing.assert_allclose(log_irr, np.log(0.8) * np.array([3, 5, 7, 9]) / 6, atol=1e-5)


def test_effects_given_project_by_project_replace_the_means():
    own = {"latent_effects": [-0.3, 0.1], "cohesion_effects": [0.0, 0.4], "log_irr": [-0.5, 0.2]}
    city, truth = draw_city(**TINY, **own)
    projects = city.projects["project"].unique().tolist()
    assert truth["latent"] == dict(zip(projects, own["latent_effects"], strict=True))
    assert truth["cohesion"]["by_project"] == dict(zip(projects, own["cohesion_effects"], strict=True))
    found = truth["incidents"]["irr_by_project"]
    assert found == {p: pytest.approx(np.exp(x), abs=1e-6) for p, x in zip(projects, own["log_irr"], strict=True)}
    assert {key: truth["parameters"][key] for key in own} == own


def test_effects_on_incidents_begin_with_the_month_of_full_start_and_add_up_beside_two_projects():
    made, options, rng = world(areas=9, treated=2, projects=2, waves=5, irr_neighbours=1.3)
    where = [np.flatnonzero(one.any("wave"))[0] for one in made["running"]]
    table = pd.DataFrame({
        "project": made["project"].values, "area": made["area"].values[where],
        "full": pd.to_datetime(["2023-07-01", "2024-09-01"]),
    })  # fmt: skip
    beside = np.zeros((9, 9), bool)
    both, first, none = [area for area in range(9) if area not in where][:3]
    for one, other in ((both, where[0]), (both, where[1]), (first, where[0])):
        beside[one, other] = beside[other, one] = True
    drawn = simulate_outcomes.draw_incidents(made, table, beside, options | {"log_irr": [-0.4, 0.2]}, rng)
    assert drawn["month"].values[[0, -1]].tolist() == ["2021-01", "2025-12"]
    started = [np.arange(60) >= 30, np.arange(60) >= 44]  # 2023-07 and 2024-09 from 2021-01 on
    effect, push = drawn["effect"].values, np.log(1.3)
    np.testing.assert_allclose(effect[where[0]], -0.4 * started[0])
    np.testing.assert_allclose(effect[where[1]], 0.2 * started[1])
    np.testing.assert_allclose(effect[both], push * (1.0 * started[0] + started[1]))
    np.testing.assert_allclose(effect[first], push * started[0])
    assert not effect[none].any() and (drawn["recorded"] == 1).all()
    window = drawn["window"].values[0, where[0]]
    assert drawn["month"].values[window][[0, -1]].tolist() == ["2024-01", "2025-06"], "6 to 24 months: 18 whole ones"
    np.testing.assert_array_equal(drawn["beside"].values[0, both], window)
    assert drawn["window"].values.sum() == 18 + 10 and not drawn["beside"].values[1, first].any()


def test_truths_of_incidents_are_ratios_of_expected_counts_over_the_window():
    city, truth = draw_city(**TINY, log_irr=[-0.5, 0.2], irr_neighbours=1.4, reporting=1.25)
    options = truth["parameters"]
    made = simulate.draw_world(options, np.random.SeedSequence(8).spawn(1)[0])
    rng = np.random.default_rng(np.random.SeedSequence(8).spawn(8)[6])
    drawn = simulate_outcomes.draw_incidents(made, city.projects, BESIDE(5), options, rng)
    own, near, kinds = [0.0, 0.0, 0.0], [0.0, 0.0], {kind: [0.0, 0.0] for kind in drawn["kind"].values}
    treated, neighbours = city.projects.set_index("area"), city.areas.set_index("area")["neighbours"].str.split(";")
    months = pd.to_datetime(drawn["month"].values + "-01")
    since = {area: np.array([(m.year - d.year) * 12 + m.month - d.month for m in months])
             for area, d in treated["full"].items()}  # fmt: skip
    log_irr = dict(zip(made["project"].values, options["log_irr"], strict=True))
    for kind in kinds:
        for area in city.areas["area"]:
            expected = drawn["expected"].sel(kind=kind, area=area).values
            if area in since:
                inside = (since[area] >= 6) & (since[area] < 24)
                happened = expected[inside].sum() * np.exp(log_irr[treated["project"][area]])
                own = [own[0] + expected[inside].sum(), own[1] + happened, own[2] + 1.25 * happened]
                kinds[kind] = [kinds[kind][0] + expected[inside].sum(), kinds[kind][1] + happened]
            elif touching := {treated["project"][a]: since[a] for a in neighbours[area] if a in since}:
                inside = np.any([(s >= 6) & (s < 24) for s in touching.values()], axis=0)
                factor = np.prod([np.where(s >= 0, 1.4, 1.0) for s in touching.values()], axis=0)
                near = [near[0] + expected[inside].sum(), near[1] + (expected * factor)[inside].sum()]
    found = truth["incidents"]
    assert found["irr"] == pytest.approx(own[1] / own[0], abs=1e-6)
    assert found["irr_recorded"] == pytest.approx(own[2] / own[0], abs=1e-6)
    assert found["irr_neighbours"] == pytest.approx(near[1] / near[0], abs=1e-6) and near[0] > 0
    assert found["irr_net"] == pytest.approx((own[1] + near[1]) / (own[0] + near[0]), abs=1e-6)
    assert found["incidents_averted"] == pytest.approx(own[0] - own[1], abs=1e-3)
    assert found["irr_by_kind"] == {kind: pytest.approx(b / a, abs=1e-6) for kind, (a, b) in kinds.items()}


def test_incidents_have_the_rate_the_season_and_the_spread_between_areas_of_their_kind():
    made, options, rng = world(areas=2000)
    drawn = simulate_outcomes.draw_incidents(made, draw_city()[0].projects, np.zeros((2000, 2000), bool), options, rng)
    rate = np.log(1000 * drawn["expected"] / made["population"])
    of_year = xr.DataArray([int(month[5:]) for month in drawn["month"].values], dims="month", name="of_year")
    for kind in simulate_outcomes.INCIDENTS["kinds"]:
        here = rate.sel(kind=kind["kind"])
        assert float(here.mean()) == pytest.approx(np.log(kind["rate"]), abs=0.05)
        assert float(here.mean("month").std()) == pytest.approx(np.sqrt(0.3**2 + 0.1**2 * 0.45), abs=0.02)
        by_month = here.mean("area").groupby(of_year).mean()
        assert float(by_month.sel(of_year=kind["peak"]) - by_month.mean()) == pytest.approx(kind["season"], abs=0.08)


def test_counts_spread_as_a_negative_binomial_around_what_is_recorded():
    dims = ("kind", "area", "month")
    drawn = xr.Dataset({"expected": (dims, np.full((1, 400, 1000), 25.0)), "effect": 0.0, "recorded": 0.8})
    drawn = drawn.assign_coords(kind=["nuisance"], area=range(400), month=range(1000))
    count = simulate_outcomes.count_incidents(drawn, np.random.default_rng(4))["count"]
    assert count.mean() == pytest.approx(20.0, abs=0.05)
    assert count.var() == pytest.approx(20.0 + 0.03 * 20.0**2, rel=0.02)


def test_where_only_reporting_changed_more_is_recorded_and_victims_say_so():
    size = {"areas": 40, "treated": 20, "projects": 4, "respondents": 200_000, "irr": 1.0, "seed": 2}
    (city, truth), (plain, _truth) = draw_city(**size, reporting=1.4), draw_city(**size)
    assert truth["incidents"]["irr"] == 1.0 and truth["incidents"]["irr_recorded"] == pytest.approx(1.4)
    assert truth["incidents"]["incidents_averted"] == 0.0
    full = city.incidents["area"].map(city.projects.set_index("area")["full"])
    after = pd.to_datetime(city.incidents["month"] + "-01") >= full
    counts = pd.DataFrame({"more": city.incidents["count"], "same": plain.incidents["count"]}).groupby(after).sum()
    assert counts["more"][True] / counts["same"][True] == pytest.approx(1.4, abs=0.05)
    assert counts["more"][False] / counts["same"][False] == pytest.approx(1.0, abs=0.03)
    rows = city.respondents
    asked = pd.to_datetime(rows["wave"] + "-03-01")
    running = asked >= rows["area"].map(city.projects.set_index("area")["start"])
    assert rows["victim_reported"].notna().mean() == pytest.approx(0.12, abs=0.004)
    told = rows["victim_reported"].dropna().eq("reported").groupby(running).mean()
    assert told[True] == pytest.approx(0.63, abs=0.03) and told[False] == pytest.approx(0.45, abs=0.015)


def test_published_cohesion_is_the_share_of_each_answer_and_victims_are_not_published():
    people, shares = draw_city(**TINY)[0].respondents, draw_city(**TINY, shares=True)[0].shares
    assert set(shares["item"]) == {simulate.ITEM, *COHESION}
    counts = people.groupby(["area", "wave", "dutch_home"]).size() / people.groupby(["area", "wave"]).size() * 100
    rows = shares[shares["item"] == "dutch_home"].set_index(["area", "wave", "category"])["share"]
    np.testing.assert_allclose(rows, counts.reindex(rows.index, fill_value=0.0), atol=0.051)


def test_the_smallest_survey_leaves_out_what_all_its_respondents_answer_alike(tmp_path):
    size = {"areas": 2, "treated": 1, "projects": 1, "waves": 3, "respondents": 12, "seed": 3}
    asked = load_city(simulate.simulate_city(tmp_path / "hamlet", **size).name, raw=tmp_path)
    assert "dutch_home" in asked.items and "victim_reported" not in asked.items
    assert asked.incidents is not None and "victim_reported" in draw_city(**size | {"respondents": 600})[0].items


def test_impossible_worlds_are_refused_together():
    with pytest.raises(ParameterError) as refused:
        draw_city(cohesion_pull=-1.0, confounding=1.0, irr=0, irr_neighbours=-1, reporting=3, log_irr=[0.1],
                  cohesion_effects=[0.1, 0.2, 0.3, float("nan")])  # fmt: skip
    lines = str(refused.value).splitlines()
    for name in ("cohesion_pull", "confounding", "irr", "irr_neighbours", "reporting", "log_irr", "cohesion_effects"):
        assert any(line.startswith(f"{name} is ") and "allowed" in line for line in lines), name
    assert draw_city(**TINY, cohesion_pull=-2.5, shock_sd=0.3)[1]["cohesion"], "larger shocks leave room for it"
