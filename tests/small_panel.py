"""A panel, a city and draws written by hand, small enough to check every number on paper."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logit

NAMES = ["North", "South", "East", "West", "Mill", "Port", "Hill", "Lake", "Wood", "Dam"]


def panel(percent, *, n=100.0, treated=(0,), first=1, residents=None, notices="", minimum_pp=2.0, n_assumed=0.0):
    """Two answers, safe and unsafe: `percent` unsafe by area and wave (NaN = nobody asked), `n` answers a cell.

    Areas at the positions `treated` have project "p" from wave position `first` on; all those waves count.
    """
    share = np.asarray(percent, float) / 100
    areas, waves = share.shape
    counts = n * np.nan_to_num(np.stack([1 - share, share], axis=-1))[:, :, None, :]
    running = np.isin(np.arange(areas), treated)[:, None] & (np.arange(waves) >= first)[None, :]
    design = np.zeros((areas, waves, waves - first))
    for event in range(waves - first):
        design[:, first + event, event] = running[:, first + event]
    return xr.Dataset(
        {
            "counts": (("area", "wave", "stratum", "answer"), counts),
            "lower": ("answer", [0, 1]),
            "upper": ("answer", [0, 1]),
            "respondents": (("area", "wave"), counts.sum((2, 3))),
            "share_unsafe": (("area", "wave"), share),
            "population": (
                ("area", "stratum"),
                np.ones((areas, 1)) if residents is None else np.c_[residents] * 1.0,
            ),
            "treated": ("area", running.any(1)),
            "exposure": (("project", "area", "wave"), running[None] * 1.0),
            "window": (("project", "area", "wave"), running[None]),
            "design": (("area", "wave", "effect"), design),
            "year": ("wave", 2020.0 + np.arange(waves)),
        },
        coords={
            "area": [name.lower() for name in NAMES[:areas]],
            "wave": [str(2020 + w) for w in range(waves)],
            "project": ["p"],
            "effect": [f"p {event}" for event in range(waves - first)],
            "category": ["safe", "unsafe"],
            "area_name": ("area", NAMES[:areas]),
        },
        attrs={
            "unsafe_index": 1,
            "minimum_pp": minimum_pp,
            "notices": notices,
            "n_assumed": n_assumed,
        },
    )


def by_sex(made, women, *, residents=0.5):
    """The same panel with two strata, f and m: `women` is their share of the answers by area and wave (0-1).

    `residents` is their share of the residents.
    """
    counts = made["counts"].isel(stratum=0)
    share = xr.DataArray(np.broadcast_to(women, counts.shape[:2]), dims=("area", "wave"))
    counts = xr.concat([counts * share, counts * (1 - share)], dim="stratum")
    people = made["population"].sum("stratum")
    return made.drop_dims("stratum").assign(
        counts=counts.transpose("area", "wave", "stratum", "answer"),
        population=xr.concat([people * residents, people * (1 - residents)], dim="stratum").transpose("area", "stratum"),
    ).assign_coords(stratum=["f", "m"], sex=("stratum", ["f", "m"]))  # fmt: skip


def city(made, *, notices=(), assignment=None, neighbours=None, **waves):
    """What the checks read of a City for that panel; `waves` replaces columns of its table of waves."""
    places = pd.DataFrame({"area": made["area"].values})
    if neighbours is not None:
        places["neighbours"] = neighbours
    table = pd.DataFrame({"wave": made["wave"].values, "known_break": False, "break_areas": ""})
    table = table.assign(mode="", questionnaire_version="")
    areas = made["area"].values[made["treated"].values]
    projects = pd.DataFrame({"project": "p", "area": areas})
    if assignment is not None:
        projects["assignment"] = assignment
    return SimpleNamespace(waves=table.assign(**waves), projects=projects, notices=tuple(notices), areas=places)


def draws(made, *, latent=None, size=250, rho=0.5, **attrs):
    """A posterior of independent normals around `latent` (default the observed logits), no effect, and its prior."""
    rng = np.random.default_rng(3)
    if latent is None:
        latent = logit(np.clip(made["share_unsafe"].fillna(0.2).values, 0.001, 0.999))
    effects = {"effect": made["effect"].values}
    noise = lambda *shape: rng.standard_normal((4, size, *shape))
    posterior = xr.Dataset(
        {
            "latent": (("chain", "draw", "area", "wave"), latent + 0.01 * noise(*latent.shape)),
            "delta": (("chain", "draw", "effect"), 0.1 * noise(made.sizes["effect"])),
            "sd_shock": (("chain", "draw"), 0.05 + 0.001 * noise()),
            "rho": (("chain", "draw"), rho + 0.01 * noise()),
        },
        coords={"area": made["area"].values, "wave": made["wave"].values, **effects},
    )
    prior = xr.Dataset({"delta": (("chain", "draw", "effect"), 0.17 * noise(made.sizes["effect"]))}, coords=effects)
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((4, size), bool))})
    tree = xr.DataTree.from_dict({"posterior": posterior, "prior": prior, "sample_stats": stats})
    tree.attrs = attrs
    return tree
