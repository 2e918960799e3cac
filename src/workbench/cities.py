"""From a folder with city.toml and the city's own files, which are never changed, to a validated City, and back."""

import os
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import tomlkit

from workbench import consistency, paths, provenance, schema
from workbench.errors import ParameterError, nearest
from workbench.geometry import with_neighbours
from workbench.items import ITEMS
from workbench.language import translator
from workbench.schema import INCIDENTS, STRATA, Faults, Sheet
from workbench.sheets import FILES, file_of, read_manifest, read_sheet


@dataclass(frozen=True)
class City:
    """A validated city: canonical tables (docs/data.md), notices for the reader, and a hash of all its files."""

    city: str
    name: str
    language: str
    simulated: bool
    notices: tuple[str, ...]
    data_hash: str
    items: tuple[str, ...]
    weighted: bool
    respondents: pd.DataFrame | None
    shares: pd.DataFrame | None
    areas: pd.DataFrame
    waves: pd.DataFrame
    projects: pd.DataFrame
    population: pd.DataFrame | None = None  # residents by area and stratum, where the city knows them
    collective_impact: pd.DataFrame | None = None  # scores by project, date, rater and condition; missing = don't know
    indicators: pd.DataFrame | None = None  # values by dimension, indicator, area ("" = the whole city) and date
    incidents: pd.DataFrame | None = None  # counts by area, month (text) and kind; what is not recorded has no row
    discretion: Mapping[str, str] = field(default_factory=dict)  # kind of incident -> low, some or high


def list_cities(raw: str | os.PathLike[str] = "data/raw") -> pd.DataFrame:
    """Return one row per folder with a city.toml: city, name, language, simulated, kind (respondents, shares, or incidents alone)."""
    rows = []
    for file in sorted(paths.resolve(raw).glob("*/city.toml")):
        try:
            said = tomllib.loads(file.read_text(encoding="utf-8-sig"))
            has = {table: file_of(said, table, file.parent) for table in ("shares", "respondents", "incidents")}
            kind = next((table for table, name in has.items() if name), "respondents")
        except (OSError, ValueError, RecursionError):
            said, kind = {"language": ""}, "city.toml cannot be read"
        texts = file.parent.name, str(said.get("name", "")), str(said.get("language", "en"))
        seen = (text if schema.readable(text) else "?" for text in texts)
        rows.append([*seen, bool(said.get("simulated", False)), kind])
    return pd.DataFrame(rows, columns=["city", "name", "language", "simulated", "kind"])


def load_city(city: str, *, raw: str | os.PathLike[str] = "data/raw") -> City:
    """The city in `raw`/`city`, validated: SchemaError with every fault at once; ParameterError for an unknown city."""
    folder = paths.resolve(raw) / paths.validate_name(city, "city")
    if not (folder / "city.toml").is_file():
        known = list_cities(raw)["city"].tolist()
        have = f"allowed: {', '.join(known)}" if known else "there is none yet"
        raise ParameterError(f"no city {city!r} in {paths.relative(raw)}{nearest(city, known)}; {have}")
    return read_folder(folder)


def validate_survey(city: City) -> City:
    """Return the city; ParameterError if it has incidents and no survey, so that nobody said how they feel."""
    if city.respondents is None and city.shares is None:
        allowed = "a city with respondents or shares; its recorded incidents are for notebook 06-recorded-incidents"
        raise ParameterError(
            f"{city.city} has no survey, only incidents: how residents feel cannot be told; allowed: {allowed}"
        )
    return city


def survey_as_given(city: str, *, raw: str | os.PathLike[str] = "data/raw") -> Sheet | None:
    """The survey file of a city that `load_city` accepts, columns without use to us too; None for published shares."""
    folder, faults = paths.resolve(raw) / paths.validate_name(city, "city"), Faults()
    entry = read_manifest(folder, faults=faults).get("respondents", {})
    return read_sheet(entry.pop("path"), "respondents", entry, faults=faults) if "path" in entry else None


def read_folder(folder: Path) -> City:
    """Return the validated city in any folder that holds a city.toml."""
    faults = Faults()
    said = read_manifest(folder, faults=faults)
    found = {table: said[table] for table in schema.TABLES if "path" in said.get(table, {})}
    read = ((table, read_sheet(entry["path"], table, entry, faults=faults)) for table, entry in found.items())
    sheets = {table: sheet for table, sheet in read if sheet is not None}
    # Without one of these the other checks would only repeat the fault.
    survey = {"respondents", "shares"}
    lacking = "waves" not in sheets or not survey & set(sheets)
    if "areas" not in sheets or lacking and (survey & set(said) or "incidents" not in sheets):
        faults.raise_if_any(folder.name)
    used = [sheet for sheet in sheets.values() if sheet.table != "waves" or not lacking]  # waves are those of a survey
    tables = {sheet.table: schema.convert(sheet) for sheet in used}
    about, maps = said.get("areas", {}), []
    if {"geometry", "geometry_area"} <= set(about) and "neighbours" not in tables["areas"]:
        drawn = {"folder": folder, "file": about["geometry"], "named_by": about["geometry_area"]}
        tables["areas"], maps = with_neighbours(tables["areas"], sheets["areas"], **drawn), [folder / drawn["file"]]
    faults.notices += [str(note) for note in said.get("notes", [])]
    if "population" not in tables and tables["areas"].get("population", pd.Series()).isna().all():
        faults.notices.append("areas have no population: every area counts alike in an effect")
    if "projects" not in tables:
        faults.notices.append("no projects: there is nothing to evaluate yet")
    if "shares" in tables:
        tables["shares"] = _complete_shares(tables["shares"], sheets["shares"], said["shares"].get("assumed_n"))
    consistency.check(tables, sheets)
    kinds = tables["incidents"]["kind"].dropna().unique() if "incidents" in tables else ()
    discretion = _discretion(said.get("incidents", {}).get("discretion", {}), kinds, faults=faults)
    faults.raise_if_any(folder.name)
    made = canonical(tables)
    answers = made["shares"]["item"].unique() if "shares" in made else made.get("respondents", ())
    return City(
        city=folder.name,
        notices=tuple(dict.fromkeys(faults.notices)),
        data_hash=provenance.hash_files([folder / "city.toml", *maps, *(folder / one.file for one in sheets.values())]),
        items=tuple(name for name in ITEMS if name in answers),
        weighted="weight" in tables.get("respondents", ()),
        discretion=discretion,
        name=_named(said),
        **{key: said[key] for key in ("language", "simulated")},
        **{table: made.get(table) for table in schema.TABLES},
    )


def _named(said: Mapping) -> str:
    """Return a city's name, which says that it is simulated if it is: it stands above every table."""
    if not said["simulated"] or "simul" in said["name"].lower():
        return said["name"]
    return f"{said['name']} ({translator(said['language']).gettext('simulated')})"


def _discretion(own: Mapping, kinds, *, faults: Faults) -> dict[str, str]:
    """Return kind of incident -> how much discretion reporting it has: the city's own word, else that of incidents.toml."""
    for kind in [kind for kind in own if kind not in kinds]:
        hint = f"{nearest(kind, kinds)}; allowed: the kinds of {FILES['incidents']}: {', '.join(kinds)}"
        faults.say(f"city.toml [incidents.discretion]: {kind!r} is not recorded here{hint}")
    return {kind: own.get(kind, INCIDENTS.get(kind, {}).get("discretion", "some")) for kind in kinds}


def _complete_shares(rows: pd.DataFrame, sheet: Sheet, assumed_n: object) -> pd.DataFrame:
    """Return shares in percent with n and whether that n is assumed."""
    notices = sheet.faults.notices
    if "share" not in rows and "count" not in rows:
        sheet.faults.say(f"{sheet.file}, line 1, column 'share' is missing; allowed: share (percent) or count")
        return rows.assign(share=float("nan"))
    if "share" not in rows:
        n = rows.groupby(["area", "wave", "item"])["count"].transform("sum")
        rows = rows.assign(share=100 * rows["count"] / n.where(n > 0), n=n.where(n > 0))
        sheet.refuse(n[n == 0], "at least one answer in an area, wave and item")
    blank = rows["share"].isna()
    if blank.any():
        notices.append(f"{sheet.file}: {int(blank.sum())} rows without a share were left out, their class is implied")
    rows = rows.assign(n=rows.get("n", float("nan")))
    by_wave = assumed_n if isinstance(assumed_n, dict) else dict.fromkeys(rows["wave"].dropna().unique(), assumed_n)
    by_wave = {wave: float(n) for wave, n in by_wave.items() if isinstance(n, int | float)}
    assumed = rows["wave"].map(by_wave)
    lacking = rows["n"].isna() & assumed.isna() & rows["wave"].notna()
    if "n" in sheet.frame:  # a number that was given and refused has its own fault already
        lacking &= sheet.frame["n"].isna()
    sheet.refuse(rows["n"][lacking], "a column n, or [shares] assumed_n = a number of answers for each area and wave")
    if (rows["n"].isna() & assumed.notna()).any():
        each = isinstance(assumed_n, dict)
        number = ", ".join(f"{n:g} in {wave}" for wave, n in by_wave.items()) if each else f"{assumed_n:g}"
        notices.append(f"the number of answers is not published: {number} per area and item is assumed")
    return rows.assign(n=rows["n"].fillna(assumed), assumed=rows["n"].isna())[~blank]


def canonical(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables as other rooms get them: defaults filled, waves by date, a plain row number as index."""
    done = {"projects": pd.DataFrame(), "waves": pd.DataFrame()} | dict(tables)
    for name in [name for name in done if name not in ("respondents", "shares", "population")]:
        table = schema.with_all_columns(done[name], name)
        instead = schema.CONTRACT[name].get("taken_from", {})
        table = table.assign(**{column: table[column].fillna(table[by]) for column, by in instead.items()})
        done[name] = table.fillna(dict.fromkeys(table.select_dtypes("str"), ""))
    done["waves"] = done["waves"].sort_values("start")
    if "population" in tables:
        areas, total = done["areas"], tables["population"].groupby("area")["population"].sum()
        done["areas"] = areas.assign(population=areas["population"].fillna(areas["area"].map(total)))
    if (rows := done.get("incidents")) is not None:  # a cell without a count is not recorded, like one without a row
        people = rows["population"].fillna(rows["area"].map(done["areas"].set_index("area")["population"]))
        done["incidents"] = rows.assign(population=people).dropna(subset="count").astype({"count": "int64"})
    if (rows := tables.get("respondents")) is not None:
        strata = {name: rows[name].fillna("unknown") for name in STRATA if name in rows}
        done["respondents"] = rows.assign(weight=rows.get("weight", 1.0), **strata)
    if (rows := tables.get("shares")) is not None:  # `rounding` is the step of a wave's shares, 0 if finer than one
        whole = (rows["share"] % 1 == 0).groupby([rows["wave"], rows["item"]]).transform("all") & ("count" not in rows)
        rows = rows.assign(rounding=whole.astype(float))
        done["shares"] = rows[["area", "wave", "item", "category", "share", "n", "assumed", "rounding"]]
    return {name: table.reset_index(drop=True) for name, table in done.items()}


def write_city(folder: Path, *, manifest: Mapping, tables: Mapping[str, pd.DataFrame]) -> Path:
    """Write a city folder in one step: the whole new one, validated first (SchemaError), or nothing. `manifest` needs
    name, language and simulated; a [table] with its usual file name is added for each of `tables`. ParameterError where
    a folder without made_by in its city.toml is there: it is a city's own and never replaced."""
    folder = Path(folder)
    paths.validate_name(folder.name, "city folder")
    there, file = folder.is_file() or any(folder.glob("*")), folder / "city.toml"
    if there and not (file.is_file() and tomllib.loads(file.read_text(encoding="utf-8-sig")).get("made_by")):
        allowed = "a new folder, or one whose city.toml says made_by"
        raise ParameterError(f"{paths.relative(folder)} exists and was not made by the workbench; allowed: {allowed}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".part-") as temporary:
        new = Path(temporary) / folder.name
        new.mkdir()
        said = {"made_by": "workbench"} | dict(manifest)
        for table, frame in tables.items():
            said[table] = {"file": FILES[table]} | dict(said.get(table, {}))
            text = frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
            provenance.write_text(new / said[table]["file"], text)
        provenance.write_text(new / "city.toml", tomlkit.dumps(said))
        read_folder(new)
        if folder.exists():
            os.replace(folder, Path(temporary) / "old")
        os.replace(new, folder)
    return folder


def write_processed(city: City, folder: Path | None = None, *, panel=None) -> Path:
    """Write the validated tables as CSV and the panel (an xr.Dataset), by default to data/processed/CITY: the folder.
    city.json holds the data hash and is written last, so a folder whose hash is right is complete."""
    folder = Path(folder) if folder else paths.resolve("data/processed") / city.city
    (folder / "city.json").unlink(missing_ok=True)
    for table in schema.TABLES:
        (folder / f"{table}.csv").unlink(missing_ok=True)
        if (frame := getattr(city, table)) is not None:
            provenance.write_csv(folder / f"{table}.csv", frame)
    if panel is not None:
        provenance.write_bytes(folder / "panel.nc", bytes(panel.to_netcdf(engine="h5netcdf")))
    facts = ("city", "name", "simulated", "data_hash", "items", "notices")
    provenance.write_json(folder / "city.json", {name: getattr(city, name) for name in facts})
    return folder
