"""A simulated city is what its truth.json says: the estimand by hand, the world it was asked for, the answers it gives."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from workbench import schema, simulate, simulate_outcomes
from workbench.cities import load_city
from workbench.errors import ParameterError
from workbench.panel import build_panel
from workbench.simulate import draw_city, simulate_city

ROOT = Path(__file__).resolve().parent.parent


def world(**changes):
    """The world of a call, before anyone is asked, with the options of `draw_city` that it reads."""
    options = {
        "areas": 24,
        "treated": 8,
        "waves": 5,
        "projects": 4,
        "effect_pp": -4.0,
        "baseline_unsafe": 0.2,
    }
    options |= {"baseline_gap_pp": 6.0, "trend": 0.0, "shock_sd": 0.1, "shock_rho": 0.0}
    return simulate.draw_world(options | changes, np.random.SeedSequence(5))


def test_with_one_stratum_the_effect_is_the_difference_of_two_logistics(monkeypatch):
    monkeypatch.setattr(simulate, "STRATUM_EFFECT", np.zeros(1))
    latent, window = np.full((3, 4), logit(0.3)), np.zeros((3, 4), bool)
    window[0, 2:] = window[1, 3] = True
    effect = np.array([[0, 0, -0.5, -0.5], [0, 0, 0, -0.2], [9, 9, 9, 9]])
    found = simulate.true_att(
        latent, effect, window=window, population=np.array([1000.0, 3000.0, 9e9]), composition=np.ones((3, 1))
    )
    one, two = expit(logit(0.3) - 0.5) - 0.3, expit(logit(0.3) - 0.2) - 0.3
    assert found == pytest.approx(100 * (one + 3 * two) / 4, abs=1e-12)


def test_strata_count_by_their_share_of_residents_and_window_waves_count_equally(monkeypatch):
    monkeypatch.setattr(simulate, "STRATUM_EFFECT", np.array([0.4, -0.4]))
    latent, effect = np.array([[0.0, -1.0]]), np.array([[-1.0, -1.0]])
    fixed = {"population": np.ones(1), "composition": np.array([[0.25, 0.75]])}
    found = simulate.true_att(latent, effect, window=np.ones((1, 2), bool), **fixed)
    change = [0.25 * (expit(x - 0.6) - expit(x + 0.4)) + 0.75 * (expit(x - 1.4) - expit(x - 0.4)) for x in (0.0, -1.0)]
    assert found == pytest.approx(100 * np.mean(change), abs=1e-12)


def test_no_effect_is_exactly_no_effect():
    truth = draw_city(effect_pp=0, trend=-0.08, baseline_gap_pp=12, shock_sd=0.3)[1]
    assert truth["att_pp"] == 0.0
    assert set(truth["by_project"].values()) == set(truth["latent"].values()) == {0.0}


@pytest.mark.parametrize(("effect", "projects"), [(-4.0, 4), (-2.5, 3), (3.0, 5), (-4.0, 1)])
def test_the_effect_asked_for_is_the_mean_over_projects_in_points(effect, projects):
    truth = draw_city(effect_pp=effect, projects=projects, trend=-0.05, shock_rho=0.5, seed=3)[1]
    found = list(truth["by_project"].values())
    assert np.mean(found) == pytest.approx(effect, abs=1e-5)
    assert all(np.sign(x) == np.sign(effect) for x in [*found, *truth["latent"].values()])
    assert len(set(found)) == projects


@pytest.mark.parametrize("gap", [0.0, 6.0, -5.0])
def test_treated_areas_start_the_asked_gap_above_the_comparison(gap):
    made = world(baseline_gap_pp=gap, trend=-0.1, shock_sd=0.3)
    share = simulate.expected_share(made["latent"].values + made["effect"].values, made["composition"].values)[:, 0]
    treated = made["running"].any(("project", "wave")).values
    assert share[~treated].mean() == pytest.approx(0.2, abs=1e-9)
    assert 100 * (share[treated].mean() - share[~treated].mean()) == pytest.approx(gap, abs=1e-7)


def test_everyone_moves_by_the_trend_on_the_logit():
    with_trend, without = world(trend=-0.08, shock_sd=0.0), world(trend=0.0, shock_sd=0.0)
    moved = (with_trend["latent"] - without["latent"]).diff("wave")
    np.testing.assert_allclose(moved, -0.08, atol=1e-9)


@pytest.mark.parametrize("rho", [0.0, 0.6])
def test_shocks_have_the_asked_spread_and_correlation_in_every_wave(rho):
    shock = simulate_outcomes.draw_shocks(np.random.default_rng(2), (40_000, 4), sd=0.3, rho=rho)
    np.testing.assert_allclose(shock.std(0), 0.3, rtol=0.02)
    correlation = np.corrcoef(shock.T)
    np.testing.assert_allclose(correlation[0], rho ** np.arange(4), atol=0.02)
    np.testing.assert_allclose(np.diag(correlation, 1), rho, atol=0.02)


def test_answers_of_a_huge_sample_converge_to_the_expected_shares():
    options = {"areas": 4, "treated": 2, "projects": 1, "waves": 3, "shock_sd": 0.2}
    city, _truth = draw_city(respondents=1_200_000, seed=7, **options)
    made = simulate.draw_world(
        options | {"effect_pp": -4.0, "baseline_unsafe": 0.2, "baseline_gap_pp": 6.0, "trend": 0.0, "shock_rho": 0.0},
        np.random.SeedSequence(7).spawn(3)[0],
    )
    index = made["latent"].values + made["effect"].values
    expected = simulate.expected_share(index, made["composition"].values)
    unsafe = city.respondents[simulate.ITEM].isin(["sometimes", "often", "always"])
    seen = unsafe.groupby([city.respondents["area"], city.respondents["wave"]]).mean().unstack().to_numpy()
    np.testing.assert_allclose(seen, expected, atol=4 * 0.5 / np.sqrt(100_000))
    often = city.respondents[simulate.ITEM].isin(["often", "always"])
    inner = simulate.expected_share(index - simulate.CUTS[2], made["composition"].values)
    assert often.mean() == pytest.approx(inner.mean(), abs=0.002)


def test_a_linear_comparison_of_a_big_sample_finds_about_the_truth():
    options = {"areas": 40, "treated": 20, "waves": 6, "projects": 4, "effect_pp": -5.0}
    city, truth = draw_city(respondents=400_000, baseline_gap_pp=0, shock_sd=0.0, seed=11, **options)
    panel = build_panel(city)
    share, treated = 100 * panel["share_unsafe"], panel["treated"]
    trend = share.where(~treated).mean("area") - share.where(~treated).mean()
    before, window = panel["design"].sum("effect") == 0, panel["window"].any("project")
    change = (share - trend).where(window).mean("wave") - (share - trend).where(before).mean("wave")
    residents = panel["population"].sum("stratum")
    linear = float((change * residents).where(treated).sum() / residents.where(treated).sum())
    assert linear == pytest.approx(truth["att_pp"], abs=0.7)


@pytest.mark.parametrize("waves", [3, 4, 5, 6, 9])
def test_every_project_has_a_wave_before_and_in_the_window_that_the_panel_sees(waves):
    options = {"waves": waves, "projects": 4, "respondents": 4000, "seed": 2}
    city, _truth = draw_city(**options)
    panel, made = build_panel(city), world(waves=waves)
    assert panel["project"].values.tolist() == made["project"].values.tolist()
    assert "where there is none" not in panel.attrs["window_rule"]
    first = panel["exposure"].any("area").values.argmax(1)
    assert first.min() >= (1 if waves == 3 else 2) and panel["window"].any(("area", "wave")).values.all()
    assert len(set(first)) > 1, "starts are staggered"
    assert not any(name.endswith("announced") for name in panel["effect"].values)


def test_the_window_of_the_truth_is_the_window_of_the_panel():
    city, truth = draw_city(waves=7, seed=5)
    panel, made = (
        build_panel(city),
        simulate.draw_world(truth["parameters"], np.random.SeedSequence(5).spawn(3)[0]),
    )
    assert made["window"].sum(("area", "wave")).values.tolist() == [4, 4, 4, 4], "two areas, two waves each"
    np.testing.assert_array_equal(panel["window"].values, made["window"].values)
    np.testing.assert_array_equal(panel["exposure"].values > 0, made["running"].values)


def test_respondents_are_spread_evenly_and_projects_share_the_treated_areas():
    city, _truth = draw_city(areas=7, treated=5, waves=4, respondents=1003, projects=2)
    per_cell = city.respondents.groupby(["area", "wave"]).size()
    assert len(per_cell) == 28 and per_cell.min() >= 35 and per_cell.max() <= 36
    assert sorted(city.projects.groupby("project").size()) == [2, 3] and city.projects["area"].is_unique


def test_same_seed_same_city_and_another_seed_another():
    one, again, other = draw_city(seed=4), draw_city(seed=4), draw_city(seed=5)
    pd.testing.assert_frame_equal(one[0].respondents, again[0].respondents)
    assert one[1] == again[1] and one[0].data_hash == again[0].data_hash
    assert one[1]["by_project"] != other[1]["by_project"] or one[1]["latent"] != other[1]["latent"]
    assert not one[0].respondents.equals(other[0].respondents) and one[0].data_hash != other[0].data_hash


def test_more_respondents_are_more_answers_from_the_same_world():
    few, many = draw_city(respondents=600)[1], draw_city(respondents=60_000)[1]
    assert {k: few[k] for k in few if k != "parameters"} == {k: many[k] for k in many if k != "parameters"}


@pytest.mark.parametrize("shares", [False, True])
def test_the_folder_is_read_back_as_the_city_that_was_drawn(shares, tmp_path):
    options = {"waves": 4, "respondents": 2000, "shares": shares, "seed": 9}
    folder = simulate_city(tmp_path / "mytown", **options)
    read, (drawn, truth) = load_city("mytown", raw=tmp_path), draw_city(**options)
    for table in schema.TABLES:
        left, right = getattr(read, table), getattr(drawn, table)
        if right is None:
            assert left is None
        else:
            pd.testing.assert_frame_equal(left, right, check_like=True)
    assert read.simulated and "simulated" in read.name and "Simulated" in read.notices[0] and not read.weighted
    written = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert written == truth and written["parameters"]["seed"] == 9


def test_residents_are_those_the_respondents_were_drawn_from():
    city, truth = draw_city(areas=7, treated=3, projects=1, respondents=400, seed=6)
    made = simulate.draw_world(truth["parameters"], np.random.SeedSequence(6).spawn(3)[0])
    expected = (made["population"] * made["composition"]).values
    np.testing.assert_allclose(build_panel(city)["population"], expected, atol=0.5)
    assert draw_city(areas=7, treated=3, projects=1, respondents=400, seed=6, shares=True)[0].population is None


def test_neighbours_share_a_side_of_the_grid_both_ways():
    city, _truth = draw_city(areas=7, treated=3, projects=1, respondents=400)
    beside = {row.area: set(row.neighbours.split(";")) for row in city.areas.itertuples()}
    assert beside["a1"] == {"a2", "a4"} and beside["a5"] == {"a2", "a4", "a6"} and beside["a7"] == {"a4"}
    assert all(one in beside[other] for one, others in beside.items() for other in others)


def test_published_shares_have_one_decimal_and_their_n(tmp_path):
    folder = simulate_city(tmp_path / "mytown", respondents=7200, shares=True)
    assert not (folder / "survey.csv").exists()
    table = pd.read_csv(folder / "shares.csv", dtype=str)
    assert table["share"].str.fullmatch(r"\d{1,3}\.\d").all() and set(table["n"]) == {"60"}
    sums = table["share"].astype(float).groupby([table[key] for key in ("area", "wave", "item")]).agg(["sum", "size"])
    assert sums["sum"].between(99.7, 100.3).all() and (sums["size"] == 5).all()


def test_two_raters_score_every_project_before_its_first_window_wave_and_some_do_not_know():
    city, truth = draw_city(waves=6, projects=4, seed=3)
    scores, waves = city.collective_impact, city.waves.set_index("wave")
    assert len(scores) == 4 * 2 * 5 and set(scores["condition"]) == set(schema.CONDITIONS)
    assert scores["score"].isna().any() and set(scores["score"].dropna()) <= {0, 1, 2, 3, 4}
    made = simulate.draw_world(truth["parameters"], np.random.SeedSequence(3).spawn(3)[0])
    for project, dates in scores.groupby("project")["date"]:
        seen = made["window"].sel(project=project).any("area").values
        assert dates.max() < waves["start"].loc[made["wave"].values[seen][0]]


def test_scores_have_their_own_stream_so_that_answers_and_truth_stay_as_they_were():
    # The first answers and truth of this seed, as they were before there were any scores.
    city, truth = draw_city(seed=4)
    first = ["never", "sometimes", "never", "often", "never", "sometimes", "never", "never"]
    assert city.respondents[simulate.ITEM].head(8).tolist() == first
    effects = {"street-hosts": -3.333333, "kitchens": -2.0, "youth-square": -6.0, "green-courts": -4.666667}
    assert truth["by_project"] == effects


def test_impossible_options_are_refused_together():
    with pytest.raises(ParameterError) as refused:
        draw_city(
            areas=10,
            treated=10,
            waves=2,
            projects=12,
            respondents=5,
            shock_rho=1.0,
            baseline_unsafe=20,
            seed=-1,
        )
    lines = str(refused.value).splitlines()
    for name in ("treated", "waves", "projects", "respondents", "shock_rho", "baseline_unsafe", "seed"):
        assert any(line.startswith(f"{name} is ") and "allowed" in line for line in lines), name


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("trend", float("nan")),
        ("shock_sd", -0.1),
        ("areas", 2.5),
        ("areas", "many"),
        ("waves", None),
        ("baseline_gap_pp", 90),
    ],
)
def test_each_bad_option_is_named(option, value):
    with pytest.raises(ParameterError, match=option):
        draw_city(**{option: value})


def test_an_effect_larger_than_the_share_that_feels_unsafe_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ParameterError, match="effect_pp: .* impossible for") as refused:
        simulate_city(tmp_path / "mytown", effect_pp=-40)
    assert "allowed: between -" in str(refused.value) and not list(tmp_path.iterdir())


def test_the_bundled_city_is_what_its_command_makes(tmp_path):
    page = (ROOT / "data" / "raw" / "README.md").read_text(encoding="utf-8")
    line = next(line for line in page.splitlines() if "simulate --out data/raw/demo" in line)
    words = shlex.split(line.split("data/raw/demo", 1)[1].strip().strip("`"))
    options = {k.removeprefix("--").replace("-", "_"): float(v) for k, v in zip(words[::2], words[1::2], strict=True)}
    whole = ("areas", "treated", "waves", "respondents", "projects", "seed")
    made = simulate_city(tmp_path / "demo", **{k: int(v) if k in whole else v for k, v in options.items()})
    bundled = ROOT / "data" / "raw" / "demo"
    assert sorted(file.name for file in made.iterdir()) == sorted(file.name for file in bundled.iterdir())
    for file in made.iterdir():
        assert file.read_bytes() == (bundled / file.name).read_bytes(), file.name
    assert (bundled / "survey.csv").stat().st_size < 1_000_000
