"""Which areas touch, from a city's own map (GeoJSON): for cities that have no list of neighbours."""

import json
from pathlib import Path

import pandas as pd

from workbench.errors import SchemaError, nearest
from workbench.schema import Sheet, shown

POLYGONS = {"Polygon", "MultiPolygon"}


def with_neighbours(table: pd.DataFrame, sheet: Sheet, *, folder: Path, file: str, named_by: str) -> pd.DataFrame:
    """Return the table of areas with `neighbours`, joined by `;`: areas whose polygons share a border or a corner. The
    property `named_by` holds the area; polygons of one area count together, those of no area of ours are passed over.
    What cannot be used is a fault of `sheet`, an area without a polygon a notice."""
    areas = table["area"].dropna()
    try:
        shapes = _shapes(folder, file, named_by, areas)
    except SchemaError as fault:
        sheet.faults.say(str(fault))
        return table
    from libpysal.graph import Graph  # takes seconds

    # Strict compares borders, not corner points: areas drawn apart from each other still touch.
    pairs = Graph.build_contiguity(shapes, rook=False, strict=True).adjacency.reset_index()
    beside = pairs[pairs["weight"] > 0].groupby("focal")["neighbor"].agg(lambda names: ";".join(sorted(names)))
    if len(without := areas[~areas.isin(shapes.index)]):
        told = f"{file}: no polygon for {len(without)} of {len(areas)} areas ({', '.join(without[:10])}"
        sheet.faults.notices.append(f"{told}{', ...' * (len(without) > 10)}): they have no neighbours")
    return table.assign(neighbours=table["area"].map(beside).astype("str"))


def _shapes(folder: Path, file: str, named_by: str, areas: pd.Series):
    """Return one valid shape for each area that the map has, as a geopandas series; SchemaError says what is wrong."""
    here = sorted(one.name for one in folder.iterdir() if one.is_file())
    if file not in here:
        allowed = f"a file in the city's own folder: {', '.join(here)}"
        raise SchemaError(f"city.toml [areas]: no file {file!r} for geometry{nearest(file, here)}; allowed: {allowed}")
    try:
        features = json.loads((folder / file).read_text(encoding="utf-8-sig"))["features"]
        about = pd.DataFrame([feature["properties"] or {} for feature in features], dtype=object)
        kinds = {feature["geometry"]["type"] for feature in features if feature["geometry"]}
    except (OSError, ValueError, RecursionError, LookupError, TypeError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        raise SchemaError(f"{file}: cannot be read ({why}); allowed: GeoJSON, a FeatureCollection") from None
    if not kinds or kinds - POLYGONS:
        raise SchemaError(f"{file}: holds {shown(kinds) or 'no shapes'}; allowed: {' or '.join(sorted(POLYGONS))}")
    if named_by not in about:
        hint = f"{nearest(named_by, about)}; allowed: a property in {file}: {', '.join(map(str, about.columns[:20]))}"
        raise SchemaError(f"city.toml [areas]: geometry_area {named_by!r} is no property{hint}")
    names = about[named_by].astype(str).str.strip()
    if not names.isin(areas).any():
        raise SchemaError(f"{file}: {named_by} {shown(names)}; allowed: names as in areas, such as {shown(areas)}")
    import geopandas
    from shapely.errors import ShapelyError

    try:
        frame = geopandas.GeoDataFrame.from_features([features[k] for k in names.index[names.isin(areas)]])
        frame = frame.set_geometry(frame.make_valid())[["geometry"]].assign(area=names[names.isin(areas)].to_list())
        return frame[~frame.is_empty & frame.geometry.notna()].dissolve(by="area").geometry
    except (ShapelyError, ValueError, TypeError, LookupError) as error:
        raise SchemaError(
            f"{file}: {type(error).__name__} in a polygon; allowed: rings of four points or more"
        ) from None
