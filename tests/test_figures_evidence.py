"""Pictures of how partners work together: what is drawn is what raters said."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from workbench import collective
from workbench.figures import BLUE, ORANGE
from workbench.figures_evidence import plot_profile
from workbench.schema import CONDITIONS

AGENDA, MEASURE, ACTIVITIES, TALK, BACKBONE = CONDITIONS


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
    plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    dots = [line for line in ax.lines if line.get_marker() in ("o", "D")]
    seen = [(dot.get_marker(), to_hex(dot.get_color()), round(float(dot.get_xdata()[0]), 6)) for dot in dots]
    assert seen == [("o", BLUE, 2.5), ("D", ORANGE, 5.6 + 2), ("D", ORANGE, 18.8)]


def test_the_band_runs_from_the_lowest_to_the_highest_rating(profile, ax):
    plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    bands = [line.get_xdata().tolist() for line in ax.lines if line.get_linewidth() == 7]
    assert bands[0] == [1, 4] and bands[1] == [5.6 + 2, 5.6 + 2]


def test_the_alt_text_says_every_score_what_is_late_not_known_and_not_rated(profile, ax):
    alt = plot_profile(profile, ax=ax, names={"meet": "Meeting house"}, lang="en")
    assert alt == (
        "Mean score of each condition from 0 to 4. Meeting house: common agenda 2.5, shared measurement 2* (weakest link), "
        "mutually reinforcing activities don’t know, continuous communication 2 (weakest link), backbone support not rated."
    )
    drawn = {text.get_text() for text in ax.texts}
    assert {"2.5", "2*", "don’t know", "2", "not rated"} <= drawn
