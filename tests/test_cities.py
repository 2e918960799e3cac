"""What a city may leave out, name its own way or encode its own way, and what comes out of it."""

import os
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr

from workbench.cities import list_cities, load_city, write_city, write_processed
from workbench.errors import ParameterError, SchemaError
from workbench.panel import build_panel
from workbench.schema import Faults
from workbench.sheets import read_manifest


def test_a_city_comes_out_in_canonical_columns_and_types(city_files, write_city_files):
    city = load_city("town", raw=write_city_files(city_files))
    assert (city.city, city.name, city.language, city.simulated) == ("town", "Little town (simulated)", "en", True)
    assert city.items == ("unsafe_neighbourhood",) and city.weighted and city.notices == ()
    assert len(city.respondents) == 48 and city.respondents["weight"].dtype == float
    assert city.waves["start"].dt.year.tolist() == [2021, 2022, 2023]
    project = city.projects.iloc[0]
    assert (project["area"], project["cost_eur"], project["primary_item"]) == (
        "north",
        120000,
        "unsafe_neighbourhood",
    )
    assert pd.isna(project["stop"]) and project["full"] == pd.Timestamp("2021-12-01")


@pytest.mark.parametrize("separator", [";", "\t"])
def test_semicolons_and_tabs_are_read_with_a_notice(separator, city_files, write_city_files):
    plain = load_city("town", raw=write_city_files(city_files))
    files = city_files | {"survey.csv": city_files["survey.csv"].replace(",", separator)}
    city = load_city("town", raw=write_city_files(files))
    pd.testing.assert_frame_equal(city.respondents, plain.respondents)
    assert any("survey.csv" in notice for notice in city.notices)


def test_cp1252_and_a_byte_order_mark_are_read_with_a_notice(city_files, write_city_files):
    areas = city_files["areas.csv"].replace("North", "Liège")
    city = load_city("town", raw=write_city_files(city_files | {"areas.csv": areas.encode("cp1252")}))
    assert city.areas["name"].iloc[0] == "Liège" and "cp1252" in city.notices[0]
    city = load_city("town", raw=write_city_files(city_files | {"areas.csv": areas.encode("utf-8-sig")}))
    assert city.areas["area"].iloc[0] == "north" and "byte order mark" in city.notices[0]


def test_a_declared_decimal_comma_own_headings_codes_and_missing_codes_are_read(city_files, write_city_files):
    manifest = city_files["city.toml"].replace(
        'file = "survey.csv"',
        'file = "survey.csv"\nseparator = ";"\ndecimal = ","\nmissing = ["9", "Geen data"]\n'
        '[respondents.columns]\nrespondent = "nr"\narea = "wijk"\nwave = "jaar"\nweight = "gewicht"\n'
        'unsafe_neighbourhood = "v12"\n[respondents.codes.unsafe_neighbourhood]\n1 = "never"\n2 = "often"',
    )
    rows = [f"{i};{('north', 'south')[i % 2]};{2021 + i // 4};0,5;{i % 2 + 1}" for i in range(12)] + [
        "12;south;2023;1;9"
    ]
    survey = "nr;wijk;jaar;gewicht;v12\n" + "\n".join(rows) + "\n"
    raw = write_city_files(city_files | {"city.toml": manifest, "survey.csv": survey})
    answers = load_city("town", raw=raw).respondents
    assert answers["weight"].tolist() == [0.5] * 12 + [1.0]
    assert answers["unsafe_neighbourhood"].tolist()[:2] == ["never", "often"]
    assert pd.isna(answers["unsafe_neighbourhood"].iloc[12])

    with pytest.raises(SchemaError, match=r"line 3, column 'v12' \(unsafe_neighbourhood\): '3'; allowed: never"):
        load_city(
            "town",
            raw=write_city_files({"survey.csv": survey.replace("1;south;2021;0,5;2", "1;south;2021;0,5;3")}),
        )


def test_a_column_named_in_the_manifest_and_absent_from_the_file_is_a_fault_even_if_optional(
    city_files, write_city_files
):
    manifest = city_files["city.toml"].replace('"areas.csv"', '"areas.csv"\n[areas.columns]\npopulation = "inwoners"')
    with pytest.raises(
        SchemaError, match=r"areas.csv, line 1, column 'inwoners' \(named in \[areas.columns\] population\)"
    ):
        load_city("town", raw=write_city_files(city_files | {"city.toml": manifest}))


def test_unknown_keys_codes_and_paths_in_city_toml_are_faults_with_the_nearest_name(city_files, write_city_files):
    manifest = (
        city_files["city.toml"]
        .replace('language = "en"', 'langauge = "en"')
        .replace(
            'file = "survey.csv"',
            'file = "survey.csv"\nseperator = ";"\n[respondents.columns]\nwieght = "w"\n[respondents.codes.unsafe_neighbourhood]\n1 = "nevr"',
        )
    )
    manifest = manifest.replace('file = "waves.csv"', 'file = "../waves.csv"')
    with pytest.raises(SchemaError) as caught:
        load_city("town", raw=write_city_files(city_files | {"city.toml": manifest}))
    for part in ("'langauge', did you mean 'language'", "'seperator', did you mean 'separator'", "'wieght', did you mean 'weight'",
                 "code '1' = 'nevr', did you mean 'never'", "'../waves.csv'"):  # fmt: skip
        assert part in str(caught.value)


def test_no_projects_and_no_population_are_notices(city_files, write_city_files):
    files = city_files | {
        "city.toml": city_files["city.toml"].replace('[projects]\nfile = "projects.csv"\n', ""),
        "areas.csv": "area\nnorth\nsouth\neast\nwest\n",
    }
    del files["projects.csv"]
    city = load_city("town", raw=write_city_files(files))
    assert city.projects.empty and list(city.projects)[:3] == ["project", "area", "kind"]
    assert city.areas["population"].isna().all() and city.areas["name"].tolist() == [
        "north",
        "south",
        "east",
        "west",
    ]
    assert {
        "no projects: there is nothing to evaluate yet",
        "areas have no population: every area counts alike in an effect",
    } == set(city.notices)


def test_a_project_that_ran_before_the_first_wave_is_named_and_the_rest_remains(city_files, write_city_files):
    projects = "project,area,start\nold,west,2019-01-01\nmeet,north,2021-09-01\nnext,south,2024-01-01\n"
    city = load_city("town", raw=write_city_files(city_files | {"projects.csv": projects}))
    assert any("project old was already running" in notice and "(west)" in notice for notice in city.notices)
    assert any("project next starts after the last wave" in notice for notice in city.notices)
    assert city.projects["announced"].tolist() == city.projects["full"].tolist() == city.projects["start"].tolist()


def test_those_whom_a_filter_question_spared_are_not_missing(city_files, write_city_files):
    manifest = city_files["city.toml"].replace(
        'file = "survey.csv"',
        'file = "survey.csv"\n[respondents.columns]\ndutch_neighbourhood = "hoevaak"\n'
        '[respondents.routed.dutch_neighbourhood]\ncolumn = "ooit"\nanswer = "nee"\n[respondents.codes.dutch_neighbourhood]\nsoms = "sometimes"',
    )
    rows = [f"{i},{('north', 'south')[i % 2]},{2021 + i // 4},{('nee,', 'ja,soms', 'ja,')[i % 3]}" for i in range(12)]
    survey = "respondent,area,wave,ooit,hoevaak\n" + "\n".join(rows) + "\n"
    answers = load_city(
        "town", raw=write_city_files(city_files | {"city.toml": manifest, "survey.csv": survey})
    ).respondents
    assert answers["dutch_neighbourhood"].tolist()[:2] == ["never", "sometimes"]
    assert pd.isna(answers["dutch_neighbourhood"].iloc[2])


def test_an_answer_off_the_scale_is_left_out_with_its_share_in_a_notice(city_files, write_city_files):
    rows = [
        f"{i},{('north', 'south')[i % 2]},{2021 + i // 4},{('very safe', 'very unsafe', 'never goes out')[i % 3]}"
        for i in range(12)
    ]
    survey = "respondent,area,wave,sdg_16_1_4\n" + "\n".join(rows) + "\n"
    projects = city_files["projects.csv"].replace("unsafe_neighbourhood", "")
    city = load_city("town", raw=write_city_files(city_files | {"survey.csv": survey, "projects.csv": projects}))
    assert city.respondents["sdg_16_1_4"].isna().sum() == 4
    assert any("33.3 % answered never goes out" in notice for notice in city.notices)


def test_counts_become_shares_and_a_stated_n(city_files, write_city_files):
    lines = ["area,wave,item,category,count"]
    for wave in (2021, 2022, 2023):
        for area in ("north", "south"):
            lines += [
                f"{area},{wave},stadsmonitor_neighbourhood,{c},{n}"
                for c, n in (("never-rarely", 150), ("sometimes", 40), ("often-always", 10))
            ]
    manifest = 'name = "T"\n[shares]\nfile = "shares.csv"\n'
    files = {key: city_files[key] for key in ("areas.csv", "waves.csv")} | {
        "city.toml": manifest,
        "shares.csv": "\n".join(lines) + "\n",
    }
    shares = load_city("town", raw=write_city_files(files)).shares
    assert shares["share"].tolist()[:3] == [75, 20, 5] and (shares["n"] == 200).all()
    assert not shares["assumed"].any() and (shares["rounding"] == 0).all()


def test_an_unknown_city_gets_the_nearest_name(city_files, write_city_files):
    raw = write_city_files(city_files)
    with pytest.raises(ParameterError, match="no city 'twon'.*did you mean 'town'"):
        load_city("twon", raw=raw)
    with pytest.raises(ParameterError, match="lower-case"):
        load_city("../town", raw=raw)


def test_the_hash_follows_the_manifest_and_every_table(city_files, write_city_files):
    hashes = {load_city("town", raw=write_city_files(city_files)).data_hash}
    for file in ("city.toml", "areas.csv", "waves.csv", "projects.csv", "survey.csv"):
        changed = city_files | {file: city_files[file] + "\n"}
        hashes.add(load_city("town", raw=write_city_files(changed)).data_hash)
    assert len(hashes) == 6


def test_cities_are_listed_even_when_one_cannot_be_read(city_files, write_city_files):
    raw = write_city_files(city_files)
    (raw / "broken").mkdir()
    (raw / "broken" / "city.toml").write_text("name = ")
    listed = list_cities(raw).set_index("city")
    assert listed.loc["town", ["name", "language", "kind"]].tolist() == ["Little town", "en", "respondents"]
    assert bool(listed.loc["town", "simulated"]) and "cannot be read" in listed.loc["broken", "kind"]


def test_a_city_written_and_read_again_is_the_same(city_files, write_city_files, tmp_path):
    city = load_city("town", raw=write_city_files(city_files))
    tables = {name: getattr(city, name) for name in ("areas", "waves", "projects", "respondents")}
    manifest = {"name": 'A "quoted" name', "language": "nl", "simulated": True, "notes": ["one\ntwo"]}
    folder = write_city(tmp_path / "raw" / "copy", manifest=manifest, tables=tables)
    again = load_city("copy", raw=folder.parent)
    assert again.name == 'A "quoted" name (gesimuleerd)' and again.notices == ("one\ntwo",)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(getattr(again, name), table)


def test_writing_a_faulty_city_leaves_nothing_and_a_citys_own_folder_is_never_replaced(
    city_files, write_city_files, tmp_path
):
    raw = write_city_files(city_files)
    city = load_city("town", raw=raw)
    tables = {"areas": city.areas.head(1), "waves": city.waves, "respondents": city.respondents}
    with pytest.raises(SchemaError):
        write_city(tmp_path / "new", manifest={"name": "N"}, tables=tables)
    assert sorted(os.listdir(tmp_path)) == ["raw"]
    with pytest.raises(ParameterError, match="not made by the workbench"):
        write_city(raw / "town", manifest={"name": "N"}, tables=tables | {"areas": city.areas})


def test_processed_tables_carry_the_data_hash(city_files, write_city_files, tmp_path):
    city = load_city("town", raw=write_city_files(city_files))
    panel = build_panel(city)
    folder = write_processed(city, tmp_path / "processed", panel=panel)
    assert city.data_hash in (folder / "city.json").read_text()
    assert len(pd.read_csv(folder / "respondents.csv")) == 48
    with xr.open_dataset(folder / "panel.nc", engine="h5netcdf") as kept:
        xr.testing.assert_identical(kept.load(), panel)
        assert kept.attrs["data_hash"] == city.data_hash


def test_the_worked_example_in_the_documentation_is_a_valid_manifest(tmp_path):
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text(encoding="utf-8")
    (tmp_path / "city.toml").write_text(text.split("```toml\n")[1].split("```")[0], encoding="utf-8")
    for name in ("enquete.csv", "wijken.csv", "waves.csv", "projects.csv"):
        (tmp_path / name).write_text("")
    faults = Faults()
    said = read_manifest(tmp_path, faults=faults)
    assert faults.lines == [] and said["respondents"]["codes"]["unsafe_neighbourhood"]["3"] == "sometimes"


EXTRA = {
    "collective_impact.csv": (
        "project,date,rater,condition,score,evidence\n"
        "meet,2021-05-01,ann,backbone,3,minutes\nmeet,2021-05-01,bob,backbone,,\n"
    ),
    "indicators.csv": (
        "dimension,indicator,area,date,value,unit\n"
        "social-cohesion,trust,north,2021-12-31,61.5,%\nsocial-cohesion,trust,,2021-12-31,58,%\n"
    ),
}


def test_focus_scores_and_indicators_come_out_with_every_column_and_empty_where_nothing_is_said(
    city_files, write_city_files
):
    projects = city_files["projects.csv"].replace("item\n", "item,focus\n").replace("hood\n", "hood,public-space\n")
    city = load_city("town", raw=write_city_files(city_files | EXTRA | {"projects.csv": projects}))
    assert city.projects["focus"].tolist() == ["public-space"]
    assert city.collective_impact["score"].isna().tolist() == [False, True]
    assert city.collective_impact["evidence"].tolist() == ["minutes", ""]
    assert city.collective_impact["date"].dt.month.tolist() == [5, 5]
    assert city.indicators["area"].tolist() == ["north", ""] and city.indicators["value"].tolist() == [61.5, 58]
    assert city.indicators["source"].tolist() == ["", ""]


def test_a_city_without_focus_scores_or_indicators_has_none(city_files, write_city_files):
    city = load_city("town", raw=write_city_files(city_files))
    assert city.collective_impact is None and city.indicators is None and city.projects["focus"].tolist() == [""]


def test_scores_and_indicators_survive_writing(city_files, write_city_files, tmp_path):
    city = load_city("town", raw=write_city_files(city_files | EXTRA))
    names = ("areas", "waves", "projects", "respondents", "collective_impact", "indicators")
    folder = write_city(
        tmp_path / "raw" / "copy", manifest={"name": "T"}, tables={name: getattr(city, name) for name in names}
    )
    again = load_city("copy", raw=folder.parent)
    pd.testing.assert_frame_equal(again.collective_impact, city.collective_impact)
    pd.testing.assert_frame_equal(again.indicators, city.indicators)
    assert len(pd.read_csv(write_processed(city, tmp_path / "processed") / "indicators.csv")) == 2
