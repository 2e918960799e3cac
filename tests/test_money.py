"""What a project cost per resident who no longer feels unsafe, and what it is worth to know more: by hand and closed form."""

import re
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl

mpl.use("agg")
import numpy as np
import pandas as pd
import pytest
import small_panel
import written_by_hand as hand
import xarray as xr
from scipy.stats import norm

from workbench import estimands, figures_evidence, money, page, parameters, tables, verdict
from workbench.errors import ParameterError
from workbench.language import languages

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "03-evaluate-projects.ipynb"


def known(fewer, *, cost=100_000.0, residents=10_000.0, blocked=False, worth_eur=None, lang="en", minimum=2.0):
    """`money.value` of projects p0, p1 ... with these draws of fewer residents (by project, or of one project)."""
    draws = np.atleast_2d(np.asarray(fewer, float))
    names = [f"p{k}" for k in range(len(draws))]
    fewer = residents / residents * xr.DataArray(draws, dims=("project", "sample"), coords={"project": names})
    fewer = fewer.assign_coords(residents=("project", np.full(len(draws), residents)))
    panel = xr.Dataset(
        {"project_minimum": ("project", np.full(len(draws), np.nan))},
        coords={"project": names, "project_name": ("project", [f"Project {k}" for k in range(len(draws))])},
        attrs={"minimum_pp": minimum},
    )
    rows = [hand.summary_of(-100 * x / residents, minimum=minimum) if residents > 0 else {} for x in draws]
    rows = [{"sd": 1.0, "prior_sd": 3.0, "verdict": "cannot tell"} | row for row in rows]
    for row in rows:
        if residents > 0:
            row["verdict"] = verdict.decide(row, minimum_pp=minimum, blocked=blocked)
    place = SimpleNamespace(projects=pd.DataFrame({"project": names, "cost_eur": cost}))
    result = {"by_project": dict(zip(names, rows, strict=True))}
    return fewer, result, money.value(place, panel, fewer, result, worth_eur=worth_eur, lang=lang)


def with_no_benefit(n, *, of=100):
    """Draws of which `n` show no benefit, the others 100, 101, ... fewer residents."""
    return np.r_[-np.arange(n) * 1.0, 100.0 + np.arange(of - n)]


@pytest.mark.parametrize("shrink", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("mean, sd", [(0, 1), (40_000, 90_000), (-700, 1_000), (1.5, 2)])
def test_the_value_of_information_is_the_normal_loss_to_two_percent(mean, sd, shrink):
    net = mean + sd * np.random.default_rng(1).standard_normal(1_000_000)
    loss = lambda spread: spread * (norm.pdf(mean / spread) - abs(mean) / spread * norm.sf(abs(mean) / spread))
    assert money.evpi(net) == pytest.approx(loss(sd), rel=0.02)
    assert money.evsi(net, shrink=shrink) == pytest.approx(loss(shrink * sd), rel=0.02)


def test_the_loss_of_a_choice_between_two_draws_is_half_of_what_is_at_stake():
    assert money.evpi(np.array([-3.0, 1.0])) == 0.5  # without knowing: stop, 0; knowing: 1 in half of the cases
    assert money.evpi(np.array([[-3.0, 1.0], [2.0, 4.0]])).tolist() == [0.5, 0.0]
    assert money.evsi(np.array([-3.0, 1.0]), shrink=0.75) == 0.25  # means -2.5 and 0.5
    assert money.evsi(np.array([-3.0, 1.0]), shrink=0.5) == 0.0  # means -2 and 0: no survey result would change it


def one_project(*, first=2, waves=3, equal=0):
    """Areas north and south with project p from wave position `first` on; of south only the last wave counts."""
    made = small_panel.panel(np.full((3, waves), 30.0), treated=(0, 1), first=first, residents=[1000, 3000, 500])
    made = made.assign(
        effect_project=("effect", np.zeros(made.sizes["effect"], int)), project_minimum=("project", [4.0])
    )
    return made.assign_coords(project_name=("project", ["Plan"])).assign_attrs(equal_areas=equal)


def test_fewer_residents_are_the_effect_on_those_of_areas_with_a_wave_that_counts():
    made = one_project()
    made["window"][0, 1] = False  # south has none
    idata = small_panel.draws(made)
    fewer = money.fewer_unsafe(made, idata)
    att = estimands.att_by(made, idata["posterior"].to_dataset(), "project").values.ravel()
    assert fewer.dims == ("project", "sample") and fewer["residents"].values.tolist() == [1000]
    assert fewer.values.ravel() == pytest.approx(-att / 100 * 1000)
    assert money.fewer_unsafe(one_project(equal=1), idata)["residents"].isnull().all()


def test_one_more_wave_teaches_what_the_number_of_waves_allows():
    made = one_project(first=2, waves=3)  # two waves before, one in the window: 1/2 + 1 becomes 1/2 + 1/2
    idata = small_panel.draws(made)
    place = small_panel.city(made)
    place.projects["cost_eur"] = [30_000.0, np.nan]
    fewer = money.fewer_unsafe(made, idata)
    result = {"by_project": {"p": {"verdict": "cannot tell", "sd": 1.0, "prior_sd": 2.0}}}
    row = money.value(place, made, fewer, result, worth_eur=900.0, lang="en").loc["p"]
    # Information 1 - 1/4 grows by a half: variance from 1 to 1 / (1 + 3/8), so the mean after it varies by 3/11 of 1.
    net = 900 * fewer.values[0] - 30_000
    assert row["evsi"] == pytest.approx(money.evsi(net, shrink=np.sqrt(3 / 11)))
    assert row["evpi"] == pytest.approx(np.maximum(net, 0).mean() - max(net.mean(), 0))
    assert (row["net_benefit"], row["p_worth"]) == (pytest.approx(net.mean()), (net > 0).mean())
    assert row["at_minimum"] == 30_000 / (0.04 * 4000)
    untaught = {"by_project": {"p": {"verdict": "cannot tell", "sd": 1.0, "prior_sd": 1.0}}}
    assert money.value(place, made, fewer, untaught, worth_eur=900.0, lang="en")["evsi"].item() == 0


def test_the_price_is_the_cost_over_each_draw_and_never_over_their_mean():
    row = known([100.0, 200.0, 400.0], cost=60_000.0)[2].iloc[0]
    assert [row["lower90"], row["median"], row["upper90"]] == [150, 300, 600]
    assert row["told"] == "EUR 300 (150 to 600)"


@pytest.mark.parametrize(
    "n, told",
    [
        (5, "EUR 690 (530 to 1,000)"),
        (6, "EUR 690 (530 to no benefit)"),
        (50, "EUR 1,000 (690 to no benefit)"),
        (51, "no benefit (at best EUR 690)"),
        (95, "no benefit (at best EUR 1,000)"),
        (96, "no benefit"),
    ],
)
def test_no_benefit_is_said_exactly_when_more_than_5_or_50_percent_of_draws_have_none(n, told):
    assert known(with_no_benefit(n))[2]["told"].item() == told


def test_without_cost_or_residents_or_verdict_there_is_no_price_and_the_cell_says_why():
    for options, told in (
        ({"cost": np.nan}, "no cost given"),
        ({"cost": 0.0}, "no cost given"),
        ({"residents": np.nan}, "no residents given"),
        ({"blocked": True}, "no price"),
    ):
        fewer, result, frame = known(with_no_benefit(2), **options)
        assert frame["told"].item() == told and frame["at_minimum"].isna().all()
        assert money.priced(result, frame)["by_project"]["p0"]["cost_per_resident_eur"] is None
        assert money.chances(fewer, frame).empty


@pytest.mark.parametrize("shape", ["normal", "skewed", "two minds"])
def test_price_and_verdict_never_contradict(shape):
    rng, seen = np.random.default_rng(7), set()
    noise = {
        "normal": rng.standard_normal(1000),
        "skewed": rng.exponential(1, 1000) - 1,
        "two minds": np.where(rng.random(1000) < 0.1, 4.0, -0.5) + 0.2 * rng.standard_normal(1000),
    }[shape]
    for mean in np.linspace(-6, 6, 13):
        for sd in (0.3, 1.0, 3.0):
            att = mean + sd * noise
            _fewer, result, frame = known(-att / 100 * 10_000)
            called, told = frame["verdict"].item(), frame["told"].item()
            seen.add(called)
            assert ("no benefit" in told) == ((att >= 0).mean() > 0.05 or called.endswith("rise"))
            assert told.startswith("no benefit") == ((att >= 0).mean() > 0.5 or called.endswith("rise"))
            assert "EUR" not in told or called not in ("clear rise", "probable rise")
            assert re.fullmatch(
                r"EUR [\d,]+ \([\d,]+ to ([\d,]+|no benefit)\)|no benefit( \(at best EUR [\d,]+\))?", told
            )
            if called == "probable fall":
                assert "no benefit" not in told
            price = money.priced(result, frame)["by_project"]["p0"]["cost_per_resident_eur"]
            assert (price["upper90"] is None) == ("no benefit" in told)
    assert {"cannot tell", "no worthwhile change", "clear fall", "clear rise"} <= seen


def test_the_chance_that_it_is_worth_it_at_the_smallest_effect_is_the_chance_of_that_effect():
    draws = 150 + 120 * np.random.default_rng(2).standard_normal((2, 4000))
    fewer, result, frame = known(draws, cost=[100_000.0, 50_000.0])
    chances = money.chances(fewer, frame)
    assert chances.index[0] == 0 and chances.index[-1] == 2 * 100_000 / 200 and (chances.iloc[0] == 0).all()
    assert (chances.diff().dropna() >= 0).all(axis=None)
    for project, price in (("p0", 500), ("p1", 250)):
        assert chances.loc[price, project] == result["by_project"][project]["p_fall_minimum"]
        assert np.interp(frame.loc[project, "median"], chances.index, chances[project]) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("lang", languages())
def test_picture_and_table_say_the_same_in_every_language(ax, lang):
    draws = [[-50.0], [150.0], [300.0]] + 100 * np.random.default_rng(3).standard_normal((3, 2000))
    fewer, _result, frame = known(draws, cost=[80_000.0, 100_000.0, np.nan], lang=lang)
    alt = figures_evidence.plot_worth(money.chances(fewer, frame), frame, ax=ax, worth_eur=400.0, lang=lang)
    assert "Project 1 32 %" in alt and "500" in alt and "Project 2" not in alt
    assert {"Project 0", "Project 1"} < {text.get_text() for text in ax.texts}
    dots = [line.get_xydata()[0].tolist() for line in ax.lines if line.get_marker() == "o"]
    assert [dot[0] for dot in dots] == [400, 500] and 30 < dots[1][1] < 32
    table = tables.money(frame, worth_eur=None, lang=lang)
    assert table.iloc[:, 4].tolist() == frame["told"].tolist() and table.shape == (3, 6)
    assert (table.iloc[2, 1], table.iloc[2, 5]) == ("", "")


def test_nothing_is_priced_with_a_value_of_ours():
    frame = known(with_no_benefit(3))[2]
    assert not {"p_worth", "net_benefit", "evpi", "evsi"} & set(frame)
    defaults = parameters.notebook_parameters(NOTEBOOK).model_fields
    assert defaults["worth_eur"].default is None
    assert parameters.validate_parameters(NOTEBOOK, {"worth_eur": "350"})["worth_eur"] == 350
    assert parameters.validate_parameters(NOTEBOOK, {"worth_eur": ""})["worth_eur"] is None
    for wrong in (0, -5, "free", "inf"):
        with pytest.raises(ParameterError, match="worth_eur: .* is not a number of euros above 0"):
            parameters.validate_parameters(NOTEBOOK, {"worth_eur": wrong})


def test_a_blocked_result_has_a_table_without_effects_or_prices():
    frame = known(with_no_benefit(2), blocked=True)[2]
    table = tables.money(frame, worth_eur=None, lang="en")
    assert table.iloc[0].tolist() == ["Project 0", "100,000", "10,000", "", "no price", ""]


def test_page_one_has_the_price_beside_the_verdict_and_none_when_blocked():
    def page_one(result):
        return page.page_one(result, trends=hand.trends(), panel=hand.panel(), lang="en").data

    result = hand.result()
    result["by_project"]["hosts"]["cost_told"] = "EUR 310 (140 to no benefit)"
    assert 'clear fall</span></td><td class="cost">EUR 310 (140 to no benefit)</td></tr>' in page_one(result)
    assert ">Cost per resident no longer unsafe</th></tr></thead>" in page_one(result)
    blocked = hand.result(checks=hand.checks().assign(status="fail"))
    blocked["by_project"]["hosts"]["cost_told"] = "EUR 310 (140 to no benefit)"
    assert "EUR" not in page_one(blocked)
