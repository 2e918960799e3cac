"""Pictures of checks and of partners, and the sensitivity notebook where a design leaves parts of it without an answer."""

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from small_panel import draws, panel

from workbench import collective, estimands, figures, inference, robustness, sensitivity
from workbench import figures_evidence as ours
from workbench.language import languages
from workbench.schema import CONDITIONS
from workbench.simulate import simulate_city

AGENDA, MEASURE, ACTIVITIES, TALK, BACKBONE = CONDITIONS
NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "04-check-sensitivity.ipynb"
ROWS = pd.DataFrame(
    {
        "group": ["", "prior", "prior", "form"],
        "name": ["report", "wide", "flat", "probit"],
        "mean": [-3.0, -3.4, -4.0, -2.5],
        "lower90": [-5.0, -6.0, -8.0, -6.0],
        "upper90": [-1.0, -0.8, 0.0, 1.0],
    }
)


def test_the_forest_gives_every_row_its_numbers_and_bands_the_first(ax):
    alt = ours.plot_ways(ROWS, ax=ax, minimum_pp=2.0, lang="en")
    assert "this report −3.0   −5.0 to −1.0" in alt and "no prior, the data alone −4.0   −8.0 to 0.0" in alt
    assert "Smallest worthwhile effect: 2 points." in alt
    band = next(patch for patch in ax.patches if patch.get_height() == 1)
    assert (band.get_x(), band.get_x() + band.get_width()) == (-5.0, -1.0)
    dots = [line for line in ax.lines if line.get_marker() not in ("None", "")]
    assert [float(line.get_xdata()[0]) for line in dots] == ROWS["mean"].tolist()
    assert len({line.get_marker() for line in dots}) == 3 - 1, "groups differ by their mark, the report is a dot too"


def test_of_many_areas_the_picture_keeps_those_that_move_the_effect_most(ax):
    moved = np.r_[0.0, np.linspace(-1, 1, 60)]
    many = pd.DataFrame({"area": "x", "name": ["all areas", *(f"Area {i}" for i in range(60))], "mean": moved - 3})
    alt = ours.plot_ways(many, ax=ax, minimum_pp=2.0, lang="en")
    assert len(ax.get_yticklabels()) == 30 and ax.figure.get_figheight() < 14
    assert "Area 0 −4.0" in alt and "Area 59 −2.0" in alt and "Area 30 " not in alt
    assert len(ours.table(many, lang="en")) == 61


def test_the_breakdown_is_a_row_of_its_own_that_just_reaches_zero(ax):
    made = panel([[24, 27, 24, 17]] * 2 + [[20, 20.5, 20, 20], [18, 18, 18.5, 18]], treated=(0, 1), first=3, n=2000)
    table = sensitivity.robust_intervals(made, draws(made))
    row = table[table["name"] == "breakdown"].iloc[0]
    assert 0 < row["bound"] < 10 and abs(row["upper90"]) < 0.05 and row["lower90"] < -5
    alt = ours.plot_ways(table, ax=ax, minimum_pp=2.0, lang="en")
    assert f"breakdown: {row['bound']:.1f} times that step" in alt and alt.startswith("moving in parallel")
    assert figures.ORANGE in {line.get_color() for line in ax.lines}


def test_the_lots_that_are_hatched_are_those_that_the_share_counts(ax):
    ratio = np.r_[-2.0, np.linspace(-2.5, 2.5, 99)]
    table = pd.DataFrame({"mean": ratio, "ratio": ratio, "actual": np.arange(100) == 0})
    table["as_large"] = table["ratio"].abs() >= 2.0
    alt = ours.plot_lots(table, ax=ax, minimum_pp=2.0, lang="en")
    assert "100 choices of areas: 21 % at least as far from 0 as the actual one (−2.0)" in alt
    hatched = [bar for bar in ax.patches if bar.get_hatch() and bar.get_height() > 0]
    assert sum(bar.get_height() for bar in hatched) == table["as_large"].sum() == 21
    assert ours.table(table, lang="en")["points"].tolist() == ["−2.0", "−2.2", "0.0", "+2.2"]


def test_leads_stand_apart_from_the_effect_they_precede(ax):
    rows = ROWS.assign(event_time=[-3, -2, -1, 0])
    alt = figures.plot_event_study(rows, ax=ax, minimum_pp=2.0, lang="en")
    assert "-3: −3.0 points, 90 % interval −5.0 to −1.0" in alt
    marks = [line.get_marker() for line in ax.lines if line.get_marker() in ("o", "s")]
    assert marks == ["s", "s", "s", "o"]


@pytest.mark.parametrize("lang", languages())
def test_every_row_has_its_words_in_every_language(lang):
    made = panel(
        [[24, 25, 24, 20], [22, 24, 23, 18], *[[18, 19, 18, 18], [20, 19, 20, 21]] * 3], treated=(0, 1), first=3
    )
    idata = draws(made)
    for name in ("sceptical", "wide", "flat", "half_n", "double_n", "rho_0", "rho_05", "rho_09"):
        idata.attrs |= {f"att_{name}": -3.0, f"att_{name}_lower90": -5.0, f"att_{name}_upper90": -1.0}
    names = ["half_n", "double_n", "rho_0", "rho_05", "rho_09"]
    frames = [
        robustness.other_ways(made, idata, ROWS.iloc[0]),
        robustness.fitted(idata, ROWS.iloc[0], group="assumed", names=names),
        sensitivity.placebo_dates(made, idata),
        sensitivity.robust_intervals(made, idata),
        sensitivity.placebo_effects(made, idata),
    ]
    tables = [ours.table(frame, lang=lang) for frame in frames]
    assert [len(table) for table in tables[:3]] == [9, 6, 2] and not any(
        table.isna().any(axis=None) for table in tables
    )
    raw = {"report", "half_n", "rho_05", "actual dates", "relative", "straight", "lots 5", "latent scale"}
    assert not raw & {label for table in tables for label in table.iloc[:, 0]}


def test_rows_without_draws_have_the_interval_of_areas_left_out():
    made = panel([[24, 20], [22, 19], [18, 19], [20, 19], [25, 26]], treated=(0, 1), n=1e6)
    found = robustness.other_ways(made, draws(made), ROWS.iloc[0]).set_index("name")
    assert list(found.index) == ["report", "percentages", "latent scale", "Callaway and Sant'Anna", "logit", "probit"]
    change = np.array([-4.0, -3.0, 1.0, -1.0, 1.0])
    effect = lambda keep: change[:2][keep[:2]].mean() - change[2:][keep[2:]].mean()
    without = np.array([effect(np.arange(5) != out) for out in range(5)])
    row = found.loc["percentages"]
    assert row["mean"] == pytest.approx(effect(np.ones(5, bool)), abs=0.01)
    assert row["upper90"] - row["mean"] == pytest.approx(1.645 * np.sqrt(4 * without.var()), abs=0.02)


@pytest.mark.parametrize("design", ["shares", "two waves"])
def test_the_notebook_runs_to_its_end_where_parts_of_it_have_no_answer(tmp_path, monkeypatch, capsys, design):
    raw = tmp_path / "raw" / "town"
    size = {"areas": 8, "treated": 1, "waves": 3, "respondents": 2000, "projects": 1, "seed": 4}
    simulate_city(raw, **size, shares=design == "shares")
    if design == "two waves":
        for name in ("survey.csv", "waves.csv"):
            table = pd.read_csv(raw / name, dtype=str, keep_default_na=False)
            table[table["wave"] != table["wave"].min()].to_csv(raw / name, index=False)
    # Draws written by hand stand in for the fit, and they tell no thresholds: the notebook is what is tested.
    att = {"estimand": "att", "scale": "pp", "mean": -3.0, "sd": 1.2, "lower90": -5.0, "upper90": -1.0}
    monkeypatch.setattr(estimands, "effects_table", lambda *_: pd.DataFrame([att]))
    monkeypatch.setattr(inference, "fit", lambda made, *_model, **_settings: draws(made, prior="sceptical"))
    shown, made = [], {"__name__": "notebook"}
    monkeypatch.setattr(figures, "show", lambda fig, alt, **_: (shown.append(alt), plt.close(fig)))
    for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), made)  # noqa: S102
            if "parameters" in cell["metadata"].get("tags", []):
                made |= {"city": "town", "raw": str(raw.parent), "out": str(tmp_path / "out"), "lang": "nl"}
    table = pd.read_csv(tmp_path / "out" / "sensitivity.csv")
    status = made["findings"].set_index("name")["status"]
    assert status["placebo areas"] == "not possible" and "placebo areas" not in set(table["picture"])
    assert (
        (status["honest DiD"] == "not possible") == (design == "two waves") == ("bounds" not in set(table["picture"]))
    )
    assert {"leads", "leave one out", "other ways"} <= set(table["picture"])
    assert len(shown) == (3 if design == "two waves" else 5)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["sensitivity.csv"]
    capsys.readouterr()


@pytest.fixture
def profile():
    """Meet: agenda 1 and 4, measurement 2 (late), activities don't know, communication 2, backbone never asked."""
    rows = [("ann", AGENDA, 1), ("bob", AGENDA, 4), ("ann", MEASURE, 2), ("ann", ACTIVITIES, np.nan), ("bob", TALK, 2)]
    scores = pd.DataFrame(rows, columns=["rater", "condition", "score"]).assign(
        project="meet", date=pd.Timestamp(2021, 5, 1)
    )
    scores.loc[2, "date"] = pd.Timestamp(2023, 5, 1)
    return collective.profile(scores, seen={"meet": pd.Timestamp(2022, 4, 30)})


def test_each_condition_has_a_dot_at_its_mean_and_both_weakest_links_are_orange_diamonds(profile, ax):
    ours.plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    dots = [line for line in ax.lines if line.get_marker() in ("o", "D")]
    seen = [(dot.get_marker(), to_hex(dot.get_color()), round(float(dot.get_xdata()[0]), 6)) for dot in dots]
    assert seen == [("o", figures.BLUE, 2.5), ("D", figures.ORANGE, 5.6 + 2), ("D", figures.ORANGE, 18.8)]


def test_the_band_runs_from_the_lowest_to_the_highest_rating(profile, ax):
    ours.plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    bands = [line.get_xdata().tolist() for line in ax.lines if line.get_linewidth() == 7]
    assert bands[0] == [1, 4] and bands[1] == [5.6 + 2, 5.6 + 2]


def test_the_alt_text_says_every_score_what_is_late_not_known_and_not_rated(profile, ax):
    alt = ours.plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    assert alt == (
        "Mean score of each condition from 0 to 4. Meeting house: common agenda 2.5, shared measurement 2* (weakest link), "
        "mutually reinforcing activities don’t know, continuous communication 2 (weakest link), backbone support not rated."
    )
    drawn = {text.get_text() for text in ax.texts}
    assert {"2.5", "2*", "don’t know", "2", "not rated"} <= drawn
