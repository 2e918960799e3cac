"""What the method did in simulated cities whose truth is known: the calibration record, and its line for a city.

calibration.csv has a row per setting: the design (areas, treated, waves, respondents, baseline_pp, effect_pp), cities
simulated, mean truth, bias and its standard error in pp, shares (0-1) of 50 % and 90 % intervals that hold the truth,
of findings with the wrong sign (type S) and of each verdict, how much findings exaggerate (type M), the bias of a
linear difference-in-differences, what is hard about it (`note`). Made by `make calibrate`."""

from pathlib import Path

import numpy as np
import pandas as pd

from workbench.language import said

FILE = Path(__file__).with_name("calibration.csv")


def load_record() -> pd.DataFrame:
    """The record, one row per setting (a set is called "null", which is not missing); empty before any calibration."""
    return pd.read_csv(FILE, keep_default_na=False, na_values=[""]) if FILE.is_file() else pd.DataFrame()


def nearest(panel, record, *, effect) -> pd.Series | None:
    """The plain setting closest to a panel's design, with or without an `effect`; None where there is none. Distance is
    the largest factor between them in treated areas, other areas, respondents and share unsafe before."""
    rows = record[(record["note"].isna()) & ((record["effect_pp"] != 0) == effect)] if len(record) else record
    if rows.empty:
        return None
    treated, answers = int(panel["treated"].sum()), float(panel["counts"].sum())
    here = [treated, panel.sizes["area"] - treated, answers, panel.attrs["baseline_pp"]]
    there = np.c_[rows["treated"], rows["areas"] - rows["treated"], rows["respondents"], rows["baseline_pp"]]
    return rows.iloc[int(np.abs(np.log(there / np.maximum(here, 0.1))).max(1).argmin())]


def sentence(panel, *, lang) -> str:
    """How often the method was right in simulated cities like this one, in plain words; "" without a record."""
    without, real = (nearest(panel, load_record(), effect=effect) for effect in (False, True))
    return "" if without is None or real is None else said("record", lang, without=without, real=real)
