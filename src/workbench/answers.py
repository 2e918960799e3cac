"""Counts by area, wave, stratum and answer, from respondents or published shares, and whom they speak for.

An answer covers one category, or several where a wave publishes fewer classes than the item has: see its bounds."""

import numpy as np
import pandas as pd
import xarray as xr

from workbench.errors import ParameterError
from workbench.items import ITEMS
from workbench.schema import STRATA


def count_answers(city, *, item) -> xr.DataArray:
    """Effective counts of one item (area, wave, stratum, answer), for all areas and waves of the city. Coords `lower`
    and `upper` (answer) are the first and last category covered, `respondents` (area, wave) the answers behind the
    counts, `sex`, `age_band`, `education` (stratum) its group. ParameterError for classes that lie apart."""
    return (_from_respondents if city.respondents is not None else _from_shares)(city, item)


def residents(city, counts) -> xr.DataArray:
    """Residents by area and stratum, of the areas and strata of `counts`. A cell of the population table is spread over
    its strata as the area's own answers are, or all areas' where it has none there. Without the table an area's
    residents are spread over all its answers; without populations areas count alike. ParameterError for an area whose
    residents all belong to cells without any answer."""
    sample = counts.sum(("wave", "answer")).transpose("area", "stratum")
    areas = counts["area"].values
    if city.population is None:
        people = city.areas.set_index("area")["population"].loc[areas].to_numpy(float)
        people = np.ones(len(areas)) if np.isnan(people).any() else people
        return sample / sample.sum("stratum") * xr.DataArray(people, dims="area")
    known = [name for name in STRATA if name in city.population and name in counts.coords]
    strata = list(zip(*(counts[name].values for name in known), strict=True)) or [()] * counts.sizes["stratum"]
    table = city.population.groupby(["area", *known], as_index=False)["population"].sum()
    people = {tuple(key): size for *key, size in table.to_numpy(object)}
    cell = np.array([[people.get((area, *stratum), 0.0) for stratum in strata] for area in areas])
    together = np.array([[one == other for other in strata] for one in strata], float)
    own, overall = sample.values, np.broadcast_to(sample.values.sum(0), sample.shape)
    own = np.where(own @ together > 0, own, overall)
    found = cell * np.divide(own, own @ together, out=np.zeros_like(own), where=own > 0)
    if lost := ", ".join(str(area) for area, size in zip(areas, found.sum(1), strict=True) if size == 0):
        raise ParameterError(f"no resident of {lost} belongs to a group with answers; allowed: such areas left out")
    return sample.copy(data=found)


def _from_respondents(city, item) -> xr.DataArray:
    """Weighted answers, scaled so that each area-wave sums to Kish's effective n, spread over its strata."""
    table = city.respondents.dropna(subset=[item])
    levels, areas, waves = list(ITEMS[item].categories), city.areas["area"], city.waves["wave"]
    stratum, strata, made_of = _strata(table)
    known, weight = {"area": areas, "wave": waves, item: levels}, table["weight"].to_numpy()
    area, wave, answer = (pd.Index(names).get_indexer(table[column]) for column, names in known.items())
    shape = len(areas), len(waves), len(strata), len(levels)
    places = np.ravel_multi_index((area, wave, stratum, answer), shape)
    weighted = np.bincount(places, weight, minlength=np.prod(shape)).reshape(shape)
    cell = area * shape[1] + wave
    # Kish: (sum w)^2 / sum w^2 answers per area-wave; counts are the weighted ones times that over sum w.
    total, square, n = (np.bincount(cell, x, minlength=shape[0] * shape[1]) for x in (weight, weight**2, None))
    scale = np.divide(total, square, out=np.zeros_like(total), where=square > 0).reshape(*shape[:2], 1, 1)
    index = np.arange(len(levels))
    found = _labelled(weighted * scale, n.reshape(shape[:2]), areas, waves, strata, levels, index, index)
    return found.assign_coords({name: ("stratum", values) for name, values in made_of.items()})


def _strata(table):
    """Number of each row's stratum, their names, and their levels by column; a column that never varies makes none."""
    columns = [name for name in STRATA if name in table and table[name].nunique() > 1]
    if not columns:
        return np.zeros(len(table), int), ["all"], {}
    groups = table.groupby(columns)
    levels = groups.size().index.to_frame(index=False).astype(str)
    return groups.ngroup().to_numpy(), levels.agg(" | ".join, axis=1).tolist(), levels.to_dict("list")


def _from_shares(city, item) -> xr.DataArray:
    """Published shares times their effective n; a wave that lists some classes only has one answer for the rest."""
    levels, areas, waves = list(ITEMS[item].categories), list(city.areas["area"]), list(city.waves["wave"])
    table = city.shares[city.shares["item"] == item]
    n, cells, faults = np.zeros((len(areas), len(waves))), {}, []
    for (area, wave), rows in table.groupby(["area", "wave"]):
        listed = [levels.index(category) for category in rows["category"]]
        rest = [k for k in range(len(levels)) if k not in listed]
        if rest and rest[-1] - rest[0] != len(rest) - 1:
            names = ", ".join(levels[k] for k in sorted(listed))
            faults.append(f"wave {wave} of {item} lists {names}: allowed are classes whose rest lies side by side")
            continue
        published, at = rows["share"].to_numpy() / 100, (areas.index(area), waves.index(wave))
        share = dict(zip(((k, k) for k in listed), published.tolist(), strict=True))
        if rest:
            share[rest[0], rest[-1]] = max(1 - sum(share.values()), 0.0)
        n[at] = rows["n"].iloc[0]
        worth = _effective(published, n=n[at], rounding=rows["rounding"].iloc[0] / 100) / sum(share.values())
        cells |= {(*at, bounds): worth * p for bounds, p in share.items()}
    if faults:
        raise ParameterError("\n".join(dict.fromkeys(faults)))
    bounds = sorted({key[2] for key in cells} | {(k, k) for k in range(len(levels))})
    names = [levels[a] if a == b else f"{levels[a]} to {levels[b]}" for a, b in bounds]
    counts = np.zeros((len(areas), len(waves), 1, len(bounds)))
    for (area, wave, pair), value in cells.items():
        counts[area, wave, 0, bounds.index(pair)] = value
    return _labelled(counts, n, areas, waves, ["all"], names, *zip(*bounds, strict=True))


def _effective(share, *, n, rounding) -> float:
    """Number of answers whose sampling variance equals that of these shares plus rounding (uniform, one step wide)."""
    inside = np.clip(share, max(rounding, 1e-4) / 2, 1 - max(rounding, 1e-4) / 2)
    variance = np.sum(inside * (1 - inside))
    return float(variance / (variance / n + len(share) * rounding**2 / 12))


def _labelled(counts, n, areas, waves, strata, answers, lower, upper) -> xr.DataArray:
    coords = {"area": list(areas), "wave": list(waves), "stratum": strata, "answer": answers}
    coords |= {"lower": ("answer", np.array(lower)), "upper": ("answer", np.array(upper))}
    coords["respondents"] = (("area", "wave"), np.asarray(n, float))
    return xr.DataArray(counts, dims=("area", "wave", "stratum", "answer"), coords=coords)
