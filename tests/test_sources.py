"""The Stadsmonitor as published: small files of the same layout, and the real ones where they are."""

import datetime
from pathlib import Path

import openpyxl
import pandas as pd
import pytest

from workbench.cities import load_city
from workbench.errors import SchemaError
from workbench.items import ITEMS
from workbench.sources.stadsmonitor import import_files

REAL = Path(__file__).parents[2] / "shared" / "data" / "stadsmonitor"
NEEDS_REAL = pytest.mark.skipif(not REAL.is_dir(), reason="the published files (../shared/data) are not here")
HEADINGS = ["Gemeente", "Indicator", "Item", " ", " ", "Nooit/zelden (%)", "Af en toe (%)", "Vaak/altijd (%)"]


@pytest.fixture
def panel_xlsx(tmp_path):
    """Return a function that writes an xlsx in the published layout, footer and all."""

    def write(*, item="Onveiligheidsgevoel buurt/wijk", last=(97.5, 2.5, None)) -> Path:
        book = openpyxl.Workbook()
        sheet = book.active
        sheet.append(HEADINGS)
        for area, shares in (("Mechelen", (75.0, 17.5, 7.5)), ("Genk", last)):
            for year in (2011, 2014):
                sheet.append([area, "algemeen onveiligheidsgevoel", item, datetime.datetime(year, 1, 1), None, *shares])
        for line in ([], ["Selectiestatus:"], ["Samenleven_Categorie: Surveyvragen"], ["jaar: >=2011<=2017"]):
            sheet.append(line)
        book.save(tmp_path / "panel.xlsx")
        return tmp_path / "panel.xlsx"

    return write


@pytest.fixture
def long_csv(tmp_path):
    """Write two municipalities of the long 2023 csv, one of them not in the panel."""
    rows = [
        f"Antwerpen,{area},1,Onveiligheidsgevoel in de buurt,{pct},SA_S_33,Samenleven,Feeling,2023"
        for area, pct in (("Mechelen", "8.0"), ("Pelt", "3.0"))
    ]
    heading = "province,gemeente,nis_code,indicator_nl,pct,source_sheet,question_subject_nl,indicator_en,jaar"
    file = tmp_path / "long.csv"
    file.write_text("\n".join([heading, *rows]) + "\n")
    return file


def test_footer_blank_column_excel_dates_and_blank_as_zero_are_read_and_2023_stays_coarse(
    panel_xlsx, long_csv, tmp_path
):
    import_files([panel_xlsx(), long_csv], out=tmp_path / "raw" / "flanders")
    city = load_city("flanders", raw=tmp_path / "raw")
    shares = city.shares.set_index(["area", "wave", "category"])["share"]
    assert shares["Genk", "2011", "often-always"] == 0
    assert shares["Mechelen", "2014", "often-always"] == 7.5 and shares["Mechelen", "2023", "often-always"] == 8
    late = city.shares[city.shares["wave"] == "2023"]
    assert set(late["category"]) == {"often-always"} and (late["rounding"] == 1).all()
    assert city.shares["assumed"].all() and any("publishes no number of answers" in notice for notice in city.notices)
    assert any("are in 2014 and not in 2023" in notice and "Genk" in notice for notice in city.notices)


def test_another_indicator_is_refused_by_name_and_nothing_is_written(panel_xlsx, tmp_path):
    with pytest.raises(
        SchemaError,
        match="panel.xlsx, lines 2, 3, 4 and 1 more, column 'Item': 'Wildplassen'; allowed: Onveil",
    ):
        import_files([panel_xlsx(item="Wildplassen")], out=tmp_path / "raw" / "flanders")
    assert not (tmp_path / "raw").exists()


def test_a_blank_that_cannot_be_zero_is_refused(panel_xlsx, tmp_path):
    with pytest.raises(SchemaError, match="lines 4, 5.*sum to 100"):
        import_files([panel_xlsx(last=(90.0, 2.5, None))], out=tmp_path / "flanders")


def test_the_same_table_twice_is_refused(panel_xlsx, tmp_path):
    with pytest.raises(SchemaError, match="given twice"):
        import_files([panel_xlsx(), panel_xlsx()], out=tmp_path / "flanders")


def test_projects_are_copied_in_after_validation(panel_xlsx, long_csv, tmp_path):
    projects = tmp_path / "mine.csv"
    projects.write_text("project,area,start\nall,Mechelen,2012-01-01\n")
    import_files([panel_xlsx(), long_csv], out=tmp_path / "raw" / "flanders", projects=projects)
    assert load_city("flanders", raw=tmp_path / "raw").projects["project"].tolist() == ["all"]
    projects.write_text("project,area,start\nall,Mechlen,2012-01-01\n")
    with pytest.raises(SchemaError, match="projects.csv, line 2, column 'area': 'Mechlen'.*did you mean 'Mechelen'"):
        import_files([panel_xlsx(), long_csv], out=tmp_path / "raw" / "other", projects=projects)
    assert not (tmp_path / "raw" / "other").exists()


@NEEDS_REAL
def test_the_published_files_give_mechelens_published_shares(tmp_path):
    files = [REAL / "raw" / "SAMEN_onveiligheid.xlsx", REAL / "survey_2023_samenleven_long.csv"]
    import_files(files, out=tmp_path / "flanders")
    city = load_city("flanders", raw=tmp_path)
    own = city.shares.query(
        "area == 'Mechelen' and item == 'stadsmonitor_neighbourhood' and category == 'often-always'"
    )
    assert own.set_index("wave")["share"].round(1).to_dict() == {
        "2011": 7.5,
        "2014": 5.5,
        "2017": 6.4,
        "2023": 8.0,
    }
    assert city.items == ("stadsmonitor_neighbourhood", "stadsmonitor_municipality")
    assert city.shares.query("wave == '2011'")["area"].nunique() == 13


def test_social_fabric_of_2023_is_read_as_cohesion_the_score_made_of_it_is_not_and_one_wave_of_several_is_left_out(
    panel_xlsx, long_csv, tmp_path
):
    name = "Sociaal weefsel in de buurt"
    rows = [
        f"Antwerpen,{area},1,{name}{more},{pct},{sheet},Samenleven,Fabric,2023\n"
        for area, pct in (("Mechelen", 66), ("Pelt", 80))
        for sheet, more in (("SA_S_15", " - Mensen in de buurt zijn te vertrouwen"), ("SA_S_28", ""))
    ]
    long_csv.write_text(long_csv.read_text() + "".join(rows))
    import_files([long_csv], out=tmp_path / "raw" / "flanders")
    city = load_city("flanders", raw=tmp_path / "raw")
    assert city.items == ("stadsmonitor_neighbourhood", "stadsmonitor_trust")
    trust = city.shares[city.shares["item"] == "stadsmonitor_trust"]
    assert trust.set_index("area")["share"].to_dict() == {"Mechelen": 66, "Pelt": 80} and set(trust["category"]) == {
        "agree"
    }
    assert ITEMS["stadsmonitor_trust"].categories[0] == "agree", "agreeing is the cohesive end"
    import_files([panel_xlsx(), long_csv], out=tmp_path / "raw" / "both")
    both = load_city("both", raw=tmp_path / "raw")
    assert both.items == ("stadsmonitor_neighbourhood",)
    assert any("stadsmonitor_trust: published for one wave only" in notice for notice in both.notices)


@NEEDS_REAL
def test_published_social_fabric_and_insecurity_of_2023_go_with_each_other_as_published(tmp_path):
    import_files([REAL / "survey_2023_samenleven_long.csv"], out=tmp_path / "flanders")
    shares = load_city("flanders", raw=tmp_path).shares.set_index(["area", "item"])["share"].unstack()
    fabric = shares[[f"stadsmonitor_{name}" for name in ("help", "trust", "contact", "home")]]
    with_insecurity = fabric.corrwith(shares["stadsmonitor_neighbourhood"]).round(2)
    assert len(shares) == 299 and with_insecurity.tolist() == [-0.65, -0.71, -0.5, -0.69]
    raw = pd.read_csv(REAL / "survey_2023_samenleven_long.csv")
    score = raw[raw["source_sheet"] == "SA_S_28"].set_index("gemeente")["pct"]
    assert round(score.corr(shares["stadsmonitor_neighbourhood"]), 2) == -0.62
    assert round(score.corr(fabric.mean(axis=1)), 2) == 0.94


@NEEDS_REAL
@pytest.mark.parametrize("file", ["SAMEN_vandalisme.xlsx", "WON_fierheid.xlsx", "leuven_vilvoorde_crime_per_1000.xlsx"])
def test_other_published_tables_are_refused_not_misread(file, tmp_path):
    with pytest.raises(SchemaError, match=file):
        import_files([REAL / "raw" / file], out=tmp_path / "flanders")
