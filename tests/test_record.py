"""The calibration record that reports quote."""

import numpy as np
import pandas as pd
import pytest
from small_panel import panel

from workbench import record

ROWS = pd.DataFrame({
    "set": ["null", "effect", "small", "small-null", "hard"], "note": [np.nan, np.nan, np.nan, np.nan, "12 pp gap"],
    "areas": [24, 24, 8, 8, 6], "treated": [8, 8, 2, 2, 2], "waves": 5, "respondents": [3000, 3000, 1000, 1000, 1200],
    "baseline_pp": 26.0, "effect_pp": [0.0, -4.0, -4.0, 0.0, 0.0], "cities": [100, 40, 40, 40, 100],
    "cover90": [0.91, 0.875, 0.9, 0.9, 0.88], "clear": [0.02, 0.4, 0.1, 0.0, 0.05], "probable": [0.08, 0.2, 0.1, 0.05, 0.1],
    "fall": [0.05, 0.6, 0.2, 0.03, 0.1],
})  # fmt: skip
SMALL = panel(np.full((6, 2), 20.0), treated=(0, 1), n=100.0)
LARGE = panel(np.full((10, 2), 20.0), treated=(0, 1, 2, 3, 4), n=200.0)


@pytest.fixture(autouse=True)
def city_of_twenty_percent():
    for made in (SMALL, LARGE):
        made.attrs["baseline_pp"] = 20.0


@pytest.mark.parametrize("made, null, some", [(SMALL, "small-null", "small"), (LARGE, "null", "effect")])
def test_the_nearest_plain_setting_is_quoted_never_a_hard_one(made, null, some):
    assert record.nearest(made, ROWS, effect=False)["set"] == null
    assert record.nearest(made, ROWS, effect=True)["set"] == some


def test_without_a_record_nothing_is_claimed(monkeypatch, tmp_path):
    monkeypatch.setattr(record, "FILE", tmp_path / "none.csv")
    assert record.sentence(SMALL, lang="en") == ""


def test_the_sentence_tells_the_numbers_of_its_lines(monkeypatch, tmp_path):
    ROWS.to_csv(tmp_path / "calibration.csv", index=False)
    monkeypatch.setattr(record, "FILE", tmp_path / "calibration.csv")
    text = record.sentence(LARGE, lang="en")
    assert (
        "of 100 without any effect (24 areas, 8 of them with projects, 3,000 answers, 26 % unsafe), 2 % were called"
        in text
    )
    assert "8 % a probable one" in text
    assert "Of 40 with a true effect of \N{MINUS SIGN}4.0 points" in text and "the truth in 87 %" in text
    for lang in ("nl", "fr"):
        assert record.sentence(LARGE, lang=lang) != text


def test_the_record_that_ships_has_a_line_for_every_part_of_the_standard_setting():
    shipped = record.load_record().set_index("set")
    assert {"prior", "null", "hard-null"} <= set(shipped.index)
    assert shipped[["cover50", "cover90", "clear", "probable"]].apply(lambda x: x.between(0, 1)).all(axis=None)
    assert (shipped["cities"] >= 40).all()
