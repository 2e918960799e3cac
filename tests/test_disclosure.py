"""What may leave the building: each planted leak is found and taken out, and an ordinary report leaves as it is."""

import io
import json
import re
import time
import zipfile
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench import disclosure, provenance, report, sharing, tables
from workbench.cities import load_city, survey_as_given
from workbench.errors import ParameterError

MANIFEST = """name = "Little town"
language = "en"
simulated = true
[respondents]
file = "survey.csv"
[respondents.columns]
respondent = "dossier"
sex = "geslacht"
"""
AREAS = "area,name\nnorth,North Quarter\nsouth,South Quarter\neast,East Quarter\nwest,West Quarter\n"
WAVES = "wave,start,end,mode\n2021,2021-03-01,2021-04-30,web\n2023,2023-03-01,2023-04-30,web\n"
PROJECTS = (
    "project,area,kind,name,announced,start,full,primary_item\nmeet,north,meeting,Meeting house,2021-06-01,2021-09-01,"
    "2021-12-01,unsafe_neighbourhood\n"
)
ANSWERS = ("never", "rarely", "sometimes", "often")
SAID = "The lamp near number nine is broken and my neighbour shouts at night"
FOUR = {("south", 2023): 4}  # a cell of four people, all the others hold 40
SMALL, SECOND = disclosure.RULES["small"], disclosure.RULES["second"]


def write_town(folder, *, cells=(), unsafe=()):
    """A town of 4 areas and 2 waves, 40 people each but in `cells`; everybody answers "often" in the cells `unsafe`."""
    lines = ["dossier,area,wave,geslacht,unsafe_neighbourhood,remarks"]
    for area in ("north", "south", "east", "west"):
        for wave in (2021, 2023):
            for i in range(dict(cells).get((area, wave), 40)):
                answer = "often" if (area, wave) in unsafe else ANSWERS[(i + len(area)) % 4]
                remark = SAID if (area, wave, i) == ("east", 2021, 3) else ""
                lines.append(f"rk{area[0]}{wave}{i:03d},{area},{wave},{'fm'[i % 2]},{answer},{remark}")
    files = {"city.toml": MANIFEST, "areas.csv": AREAS, "waves.csv": WAVES, "projects.csv": PROJECTS}
    for name, content in (files | {"survey.csv": "\n".join(lines) + "\n"}).items():
        provenance.write_text(folder / "town" / name, content)
    return folder


def page(*outputs):
    cells = [
        new_markdown_cell("# A page"),
        new_markdown_cell("## The section"),
        new_code_cell("show(1)", outputs=list(outputs)),
    ]
    return new_notebook(cells=cells)


def html(content):
    return new_output("display_data", {"text/html": content, "text/plain": "<HTML>"})


def stdout(content):
    return new_output("stream", name="stdout", text=content)


def picture(alt):
    return new_output(
        "display_data", {"image/png": "iVBORw0KGgo=", "text/plain": alt}, metadata={"image/png": {"alt": alt}}
    )


def grid(rows, *, caption, heads):
    cells = "".join(
        f"<tr><th scope='row'>{row[0]}</th>{''.join(f'<td class="s9">{cell}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )
    top = "".join(f"<th>{head}</th>" for head in heads)
    return f"<table><caption><b>{caption}</b></caption><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table>"


def counts(place):
    """Answers by area and wave as a table, as notebook 01 has them."""
    n = disclosure.facts_of(place, None).n
    names = place.areas.set_index("area")["name"]
    rows = [[names[area], n[area, "2021"], n[area, "2023"]] for area in names.index]
    return html(grid(rows, caption="Answers by area and wave", heads=["area", "2021", "2023"]))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that writes the town and a finished run whose one cell shows `outputs`; it gives the folder."""
    monkeypatch.setenv("USER", "anna_dv")

    def write(*outputs, name="run", town=None, files=(), **parameters):
        raw = write_town(tmp_path / "raw", **(town or {}))
        place, folder = load_city("town", raw=raw), tmp_path / name
        shown = [one(place) if callable(one) else one for one in outputs]
        nb = page(*shown)
        folder.mkdir(parents=True)
        nbformat.write(nb, folder / "notebook.ipynb")
        provenance.write_text(folder / "report.html", report.render(nb, lang="en", title="A page"))
        for file, content in dict(files).items():
            provenance.write_text(folder / file, content)
        given = {"city": "town", "raw": "raw", "lang": "en"} | parameters
        status = {"state": "done", "reason": "", "parameters": given, "hashes": {"data": place.data_hash, "code": "0"}}
        provenance.write_json(
            folder / "status.json", status | {"started": "2026-01-02T03:04:05", "finished": "2026-01-02T03:04:06"}
        )
        return folder

    return write


def shared(tmp_path, *folders, suppress=False, **options):
    """Share what the fixture wrote; return the zip's files by name and what was said."""
    said, out = [], tmp_path / "out.zip"
    sharing.share(folders, out=out, suppress=suppress, raw=tmp_path / "raw", say=said.append, **options)
    with zipfile.ZipFile(io.BytesIO(out.read_bytes())) as archive:
        return {name.partition("/")[2]: archive.read(name).decode() for name in archive.namelist()}, said


def refused(tmp_path, *folders, **options):
    with pytest.raises(ParameterError) as error:
        shared(tmp_path, *folders, **options)
    assert not (tmp_path / "out.zip").exists()
    return str(error.value).splitlines()


ID = "rkn2021007"
LEAKS = {  # what an output shows -> what is found, what is left of it
    "identifier": (stdout(f"look at {ID}"), f"'{ID}': a respondent's identifier", "look at [removed]"),
    "identifier in a table": (
        html(grid([["first", ID]], caption="Odd ones", heads=["case seen", "who"])),
        "a respondent's identifier", "[removed]",
    ),
    "identifier in alt text": (picture(f"The line of {ID}."), "a respondent's identifier", "Left out"),
    "free text": (html(f"<p>They say: “{SAID}”.</p>"), "free text of a respondent", "They say: “[removed]"),
    "free text cut short": (stdout("0  The lamp near number nine is br..."), "free text", "[removed]"),
    "path": (stdout("read /srv/cities/town/survey.csv"), "a path of this machine", "read survey.csv"),
    "windows path": (stdout(r"read C:\Users\Anna B\survey.csv"), "a path of this machine", "read survey.csv"),
    "path at home": (stdout("read ~/cities/survey.csv or file:///x/survey.csv"), "a path", "read survey.csv or survey.csv"),
    "user name": (stdout("made by anna_dv"), "'anna_dv': a user name", "made by [removed]"),
    "mail": (html("<p>ask a.b@town.example</p>"), "an e-mail address", "ask [removed]"),
    "date": (html("<p>asked from 2024-03-15 on</p>"), "'2024-03-15': an exact date", "asked from 2024-03 on"),
    "date with slashes": (stdout("le 15/03/2024"), "an exact date", "le 03/2024"),
    "date in English": (stdout("on 15 March 2024, or March 15, 2024"), "an exact date", "on March 2024, or March 2024"),
    "date in Dutch": (stdout("op 15 maart 2024"), "an exact date", "op maart 2024"),
    "date in French": (stdout("le 1er février 2024"), "an exact date", "le février 2024"),
    "count in words": (stdout("only 4 respondents there"), "a count of fewer than 10", "only · respondents there"),
    "traceback": (
        new_output("error", ename="E", evalue="x", traceback=["\x1b[0;32m/opt/town/a.py\x1b[0m in f"]),
        "a path of this machine", "a.py in f",
    ),
    "rows of respondents": (
        html(grid([["0", "f", "never"], ["1", "m", "rarely"]], caption="", heads=["", "geslacht", "unsafe_neighbourhood"])),
        "2 rows': rows of respondents", "Left out before sharing.",
    ),
    "printed rows": (stdout("  sex  unsafe_neighbourhood\n0   f                 never\n1   m                rarely"), "rows of resp", "Left out"),
    "a column of respondents": (
        html(grid([[ID, "x"], ["rks2023001", "y"]], caption="", heads=["dossier", "what"])), "rows of resp", "Left out",
    ),
    "date, year first": (stdout('on 2024/03/15'), 'an exact date', 'on 2024/03'),
    "date, short year": (stdout('on 15 Mar 24'), 'an exact date', 'on Mar 24'),
    "date, short month in Dutch": (stdout('op 15 mrt. 2024'), 'an exact date', 'op mrt. 2024'),
    "date, short month in French": (stdout('le 15 f\xe9vr. 24'), 'an exact date', 'le févr. 24'),
    "date, month first": (stdout('on 03/15/2024'), 'an exact date', 'on 03/2024'),
    "date, short": (stdout('op 15-3-24'), 'an exact date', 'op 3-24'),
    "soft hyphen": (stdout('look at rkn\xad2021007 now'), "'rkn2021007': a respondent's identifier", 'look at [removed] now'),
    "zero width": (stdout('look at rkn20\u200b21007 now'), "'rkn2021007': a respondent's identifier", 'look at [removed] now'),
    "full width": (stdout('look at \uff52\uff4b\uff4e2021007 now'), "'rkn2021007': a respondent's identifier", 'look at [removed] now'),
    "count, of": (stdout('only 4 of 12 respondents'), 'a count of fewer than 10', 'only · of 12 respondents'),
    "count, n": (stdout('n = 4 there'), 'a count of fewer than 10', 'n = · there'),
    "count, colon": (stdout('respondents: 4'), 'a count of fewer than 10', 'respondents: ·'),
    "count, participants": (stdout('only 4 participants'), 'a count of fewer than 10', 'only · participants'),
    "count in Dutch": (stdout('slechts 4 ondervraagden'), 'a count of fewer than 10', 'slechts · ondervraagden'),
    "count in French": (stdout('4 personnes interrog\xe9es'), 'a count of fewer than 10', '· personnes interrogées'),
}  # fmt: skip


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    raw = write_town(tmp_path_factory.mktemp("raw"))
    place = load_city("town", raw=raw)
    return disclosure.facts_of(
        place, survey_as_given("town", raw=raw), item="unsafe_neighbourhood", users=["anna_dv", "root"]
    )


@pytest.mark.parametrize("leak", LEAKS)
def test_a_planted_leak_is_found_in_notebook_and_report_and_taken_out(leak, town):
    output, rule, left = LEAKS[leak]
    nb = page(output)
    found = disclosure.notebook(nbformat.writes(nb), town, "notebook.ipynb")[1]
    assert any(
        place.startswith("notebook.ipynb, cell [1]") and rule in f"{value!r}: {why}" for place, value, why in found
    ), found
    shown, said = disclosure.markup(report.render(nb, lang="en", title="A page"), town, "report.html")
    assert left in shown and any(rule in f"{value!r}: {why}" for _place, value, why in said), said
    assert ID not in shown and SAID not in shown
    assert disclosure.markup(shown, town, "report.html") == (shown, [])


def test_a_long_run_of_letters_is_read_in_a_moment(town):
    begin = time.perf_counter()
    assert disclosure.text("a" * 200_000, town, "")[1] == [] and time.perf_counter() - begin < 20


@pytest.mark.parametrize(
    "content",
    [
        "numpy 1.10.24, xarray 2024.3.10; 1/4 and 3-4-5; n = 40, n = 4.5, n = 9 000; respondents: 40; a soft­hyphen and a m²",
        "9,000 answers, 1 234 réponses, 12 respondents, 40 antwoorden; 4 areas with answers",
        "the share fell by −1.859049906278929 points (1/2/3), and/or 15 km/h; see https://town.example/a/b/c",
        "asked in March 2024, 03/2024 and 2024-03; version 3.13.0; python/lib/x.py; notebooks/03-evaluate-projects.ipynb",
        "root and rkn2021 and rk n2021007x",
        "The lamp is broken",
    ],
)
def test_ordinary_words_are_no_leak(content, town):
    assert disclosure.text(content, town, "") == (content, [])


def test_the_pictures_beside_a_table_of_people_leave_with_it(town):
    people = grid(
        [["0", "f", "never"], ["1", "m", "rarely"]], caption="", heads=["", "geslacht", "unsafe_neighbourhood"]
    )
    both = report.render(page(picture("Dots, one for each."), html(people)), lang="en", title="x")
    other = report.render(page(picture("Dots, one for each.")), lang="en", title="x")
    assert "iVBORw0KGgo" in disclosure.markup(other, town, "")[0] and "iVBORw0KGgo" in both
    assert "iVBORw0KGgo" not in disclosure.markup(both, town, "")[0]


def test_a_picture_with_a_leak_in_its_text_beside_a_table_with_one_is_taken_out_once(town):
    people = grid(
        [["0", "f", "never"], ["1", "m", "rarely"]], caption="", heads=["", "geslacht", "unsafe_neighbourhood"]
    )
    shown = report.render(page(html(people), picture(f"The line of {ID}.")), lang="nl", title="x")
    made, found = disclosure.markup(shown, town, "")
    assert len(found) == 2 and made.count("Weggelaten voor het delen.") == 2 and ID not in made


def test_short_numbers_are_identifiers_only_under_a_heading_that_says_so():
    facts = disclosure.Facts({}, frozenset(map(str, range(1, 200))), (), {"7": "7"}, {}, {})
    rows = [["12", "4.1"], ["15", "3.9"]]
    assert disclosure.table([["areas"], ["mean"]], rows, "", facts) == {}
    assert disclosure.table([["Respondent nr"], ["mean"]], rows, "", facts) == {
        disclosure.ALL: disclosure.RULES["rows"]
    }


# --- cells ------------------------------------------------------------------------------------------------------------

QUARTERS = {"mill quarter": "a", "mill": "c"}
N = {("a", "1"): 4, ("a", "2"): 50, ("b", "1"): 12, ("b", "2"): 30, ("c", "1"): 60, ("c", "2"): 20, ("d", "1"): 0}
CELLS = disclosure.Facts(
    {},
    frozenset(),
    (),
    {"a": "a", "alpha": "a", "b": "b", "c": "c", "d": "d"} | QUARTERS,
    {"1": "1", "2": "2", "2021": "1"},
    N,
)


def test_a_small_cell_takes_others_with_it_until_no_total_gives_it_away():
    # In a's row there is only its other wave; b has fewest people in wave 1, and its other wave then hides a's.
    assert disclosure.hidden(N, N) == {("a", "1"), ("b", "1"), ("a", "2"), ("b", "2")}
    assert disclosure.hidden([("a", "1"), ("b", "1")], N) == {("a", "1"), ("b", "1")}
    assert disclosure.hidden([("b", "1"), ("c", "1"), ("d", "1")], N) == set()
    # Of the project in a and c the total is known, and in that wave it would give a away.
    assert disclosure.hidden([("a", "1"), ("b", "1"), ("c", "1")], N, [{"a", "c"}]) == {("a", "1"), ("c", "1")}


def table_of(heads, rows, caption=""):
    return disclosure.table([[head] for head in heads], rows, caption, CELLS)


@pytest.mark.parametrize(
    "heads, rows, cells",
    [
        (["area", "1", "2"], [["● Alpha", "25 %", "30 %"], ["b", "20 %", "21 %"]], {(0, 1), (0, 2), (1, 1), (1, 2)}),
        (["wave", "Alpha", "b"], [["1", "25 %", "20 %"], ["2", "30 %", "21 %"]], {(0, 1), (0, 2), (1, 1), (1, 2)}),
        (["area", "wave", "unsafe"], [["a", "1", "0.25"], ["b", "2", "0.2"]], {(0, 2)}),
        (["wave", "unsafe"], [["1", "0.25"], ["2", "0.2"]], set()),
        (["area", "spring 2021"], [["a1 Mill Quarter", "25 %"], ["b", "20 %"], ["Mill", "9 %"]], {(0, 1), (1, 1)}),
        (["area", "2021"], [["Mill Quarter *", "25 %"], ["Quarter", "20 %"]], {(0, 1)}),
        (["area", "2021"], [["Mill Quarter (2023)", "25 %"], ["all areas", "20 %"]], {(0, 1)}),
        (["area", "n"], [["Mill Quarter (2021)", "25"], ["all areas", "20"], ["x", "30"]], {(0, 1)}),
        (["wave", "Unsafe Mill Quarter", "Unsafe Mill"], [["1", "25 %", "20 %"]], {(0, 1), (0, 2)}),
        (["wave", "Unsafe Mill", "Unsafe Quarter"], [["1", "25 %", "20 %"]], set()),
        (
            ["area", "unsafe 2021", "n, 2021"],
            [["alpha", "25", "26"], ["c", "20", "21"]],
            {(0, 1), (0, 2), (1, 1), (1, 2)},
        ),
    ],
)
def test_a_cell_is_found_however_the_table_lies(heads, rows, cells):
    assert set(table_of(heads, rows)) == cells


def test_nobody_and_everybody_of_a_small_group_is_found_and_of_a_large_one_not():
    assert table_of(["area", "2"], [["b", "100 %"], ["c", "0.0"], ["a", "99 %"]]) == dict.fromkeys(
        [(0, 1), (1, 1)], disclosure.RULES["ends"]
    )
    for everybody in ("1.0", "1.00", "100 %*"):
        assert table_of(["area", "wave", "share unsafe"], [["b", "2", everybody]]) == {(0, 2): disclosure.RULES["ends"]}
    assert table_of(["area", "wave", "unsafe, %", "effect"], [["b", "2", "1.0", "1.0"]]) == {}
    many = CELLS._replace(n={("b", "2"): 100})
    assert disclosure.table([["area"], ["2"]], [["b", "100 %"]], "", many) == {}


COUNTING = ("participants", "persons", "Responses", "sample size", "base", "cases", "observations", "total respondents")
COUNTING += ("# respondents", "n (unweighted)", "deelnemers", "aantal ondervraagden", "personnes interrogées")
REACHED = ("residents", "people reached", "bewoners", "habitants", "personnes touchées", "base rate", "n effects")


def test_counts_of_a_few_are_found_by_heading_or_caption_in_each_language():
    for heading in (
        "answers, project areas",
        "antwoorden, projectgebieden",
        "réponses, quartiers à projet",
        "n",
        *COUNTING,
    ):
        assert table_of(["wave", heading], [["2021", "4"], ["2022", "40"]]) == {(0, 1): disclosure.COUNT}
    assert table_of(["group", "young"], [["x", "4"]], "Antwoorden per gebied en meting") == {(0, 1): disclosure.COUNT}
    for heading in ("areas with answers", "assumed answers, project areas", "projects", *REACHED):
        assert table_of(["wave", heading], [["2021", "4"]]) == {}


def test_an_effect_of_an_area_with_a_small_cell_is_found_and_its_row_dropped():
    content = "estimand,area,mean\natt,,-1.2\natt_by_area,a,-3.1\natt_by_area,b,0.4\n"
    made, found = disclosure.comma_separated(content, CELLS, "effects.csv")
    assert made == "estimand,area,mean\natt,,-1.2\natt_by_area,b,0.4\n"
    assert found == [("effects.csv", "-3.1 (att_by_area, mean)", disclosure.RULES["area"])]


def test_a_cell_that_spans_rows_heads_each_of_them(town):
    spanned = (
        "<table><thead><tr><th>area</th><th>kind</th><th>1</th></tr></thead><tbody><tr><th rowspan=2>a</th><td>x</td>"
        "<td class='s3' title='7 of 100'>7 %</td></tr><tr><td>y</td><td>8 %</td></tr></tbody></table>"
    )
    made, found = disclosure.markup(spanned, CELLS, "")
    assert "<td>·</td>" in made and "7 %" not in made and "8 %" not in made and len(found) == 2


def test_percentages_whose_number_of_answers_is_assumed_are_public_already():
    rows = [("a", "1", "asked", True), ("a", "2", "asked", False)]
    city = SimpleNamespace(shares=pd.DataFrame(rows, columns=["area", "wave", "item", "assumed"]))
    count = pd.Series({("a", "1"): 5.0, ("a", "2"): 6.0}).rename_axis(["area", "wave"])
    assert disclosure.stated(count, city, "asked").to_dict() == {("a", "2"): 6.0}


# --- whole runs -------------------------------------------------------------------------------------------------------


def test_an_ordinary_run_leaves_unharmed_and_twice_the_same(run, tmp_path):
    folder = run(counts, picture("Answers."), files={"posterior.nc": "draws"}, item="")
    files, said = shared(tmp_path, folder)
    first = (tmp_path / "out.zip").read_bytes()
    assert set(files) == {"report.html", "provenance.json", "release.json"} and said == []
    assert files["report.html"] == (folder / "report.html").read_text("utf-8")
    told = json.loads(files["provenance.json"])
    assert told["parameters"] == {"city": "town", "lang": "en", "item": ""} and told["finished"] == "2026-01"
    groups = json.loads(files["release.json"])["groups"]
    assert groups["comparison areas"] == {"areas": ["east", "south", "west"], "n": {"2021": 120, "2023": 120}}
    assert groups["project meet"]["areas"] == ["north"] == groups["area north"]["areas"]
    shared(tmp_path, folder)
    assert (tmp_path / "out.zip").read_bytes() == first


def test_every_finding_of_every_run_is_told_at_once_and_what_is_taken_out_is_said(run, tmp_path):
    many = [LEAKS[leak][0] for leak in ("identifier", "path", "user name", "date", "free text", "rows of respondents")]
    one = run(*many, picture("A dot for each."), name="one", files={"effects.csv": "project,mean\nmeet,-1.0\n"})
    two = run(stdout("read /srv/cities/town/survey.csv"), name="two")
    found = refused(tmp_path, one, two)
    for leak in ("identifier", "path", "user name", "date", "free text", "rows of respondents"):
        assert any(line.startswith("one, notebook.ipynb, cell [1]") and LEAKS[leak][1] in line for line in found), leak
    assert any(line.startswith("two, ") for line in found) and "nothing was written" in found[-1]
    files, said = shared(tmp_path, one, suppress=True)
    assert files["effects.csv"] == "project,mean\nmeet,-1.0\n" and "data:image" not in files["report.html"]
    assert sum(line.endswith("; taken out") for line in said) == 6


def test_a_cell_of_four_is_a_dot_and_so_is_what_would_give_it_away(run, tmp_path):
    folder = run(counts, town={"cells": FOUR})
    found = refused(tmp_path, folder)
    assert any("'4 (South Quarter, 2023)'" in line and SMALL in line for line in found)
    assert sum(SECOND in line for line in found) == 3
    files, _said = shared(tmp_path, folder, suppress=True)
    rows = re.findall(r"<tr>(.*?)</tr>", files["report.html"])
    assert [row.count("<td>·</td>") for row in rows] == [0, 0, 2, 2, 0]
    groups = json.loads(files["release.json"])["groups"]
    assert groups["area south"]["n"] == {} and groups["area west"]["n"] == {"2021": 40, "2023": 40}


def test_everybody_of_a_small_group_is_found(run, tmp_path):
    all_afraid = grid(
        [["East Quarter", "75.0", "100.0"]], caption="Feeling unsafe in percent", heads=["area", "2021", "2023"]
    )
    folder = run(html(all_afraid), town={"unsafe": [("east", 2023)]}, item="")
    assert "100.0 (East Quarter, 2023)" in refused(tmp_path, folder)[0]
    assert "100.0" not in shared(tmp_path, folder, suppress=True)[0]["report.html"]


def test_two_releases_that_differ_by_a_few_people_are_refused(run, tmp_path):
    before = run(stdout("x"), name="before")
    shared(tmp_path, before)
    (tmp_path / "out.zip").rename(tmp_path / "before.zip")
    after = run(stdout("x"), name="after", town={"cells": {("west", 2023): 45}})
    found = refused(tmp_path, after, earlier=[tmp_path / "before.zip"], suppress=True)
    assert any("all areas in 2023: '5': so few respondents" in line for line in found)
    again = run(stdout("x"), name="again", town={"cells": {("west", 2023): 50}})
    assert shared(tmp_path, again, earlier=[tmp_path / "before.zip"])


def test_a_group_inside_another_with_a_few_left_is_refused():
    of = ("town", "asked")
    inside, whole = (of, frozenset("ab"), {"1": 50, "2": 50}), (of, frozenset("abc"), {"1": 56, "2": 60})
    found = sharing.differences({("one", "project areas"): inside, ("two", "all areas"): whole})
    assert len(found) == 1 and found[0].startswith("one, release.json") and "all areas in 1: '6'" in found[0]
    elsewhere = (("city", "asked"), *whole[1:])
    assert sharing.differences({("one", "project areas"): inside, ("two", "all areas"): elsewhere}) == []
    assert (
        "project p in 1: '9': so few" in sharing.differences({("one", "project p"): (of, frozenset("a"), {"1": 9})})[0]
    )


def test_a_run_whose_data_are_gone_changed_or_not_its_own_is_refused(run, tmp_path):
    folder = run(stdout("x"))
    write_town(tmp_path / "raw", cells=FOUR)
    assert "the data of town are not those of this run" in refused(tmp_path, folder)[0]
    (tmp_path / "raw" / "town").rename(tmp_path / "raw" / "moved")
    assert "run: no city 'town'" in refused(tmp_path, folder)[0] and "--raw DIR" in refused(tmp_path, folder)[0]


def test_what_is_no_finished_run_is_refused(run, tmp_path):
    folder = run(stdout("x"))
    status = json.loads((folder / "status.json").read_text("utf-8"))
    provenance.write_json(folder / "status.json", status | {"state": "failed"})
    assert "run: no finished run" in refused(tmp_path, folder)[0]
    assert "run: two runs of one name" in refused(tmp_path, run(stdout("x"), name="more/run"), folder, folder)[-2]
    for broken in ("[]", "{}", '{"state": "failed"}', "no json"):
        (folder / "status.json").write_text(broken, "utf-8")
        assert refused(tmp_path, folder)[0].startswith("run: ")
    (tmp_path / "no.zip").write_bytes(b"no")
    assert "no.zip is no zip of workbench share" in refused(tmp_path, folder, earlier=[tmp_path / "no.zip"])[0]
    groups = (
        {"areas": "ab", "n": {}},
        {"areas": ["a"], "n": {"1": "5"}},
        {"areas": [1], "n": {}},
        {"areas": [], "n": 1},
    )
    for content in (None, "{}", *(json.dumps({"city": "", "item": "", "groups": {"g": one}}) for one in groups)):
        with zipfile.ZipFile(tmp_path / "no.zip", "w") as archive:
            archive.writestr(*(("run/release.json", content) if content else ("x/report.html", "")))
        line = refused(tmp_path, folder, earlier=[tmp_path / "no.zip"])[0]
        assert "no.zip is no zip of workbench share: " in line and (content or "no release in it" in line)


def test_nothing_is_written_among_the_cities_files(run, tmp_path):
    with pytest.raises(ParameterError, match="among the cities' own files"):
        sharing.share([run(stdout("x"))], out=tmp_path / "raw" / "town" / "out.zip", raw=tmp_path / "raw")


def test_a_pool_has_no_city_and_its_words_are_read_all_the_same(run, tmp_path):
    folder = run(stdout("read /srv/cities/town/survey.csv"), city="")
    assert "a path of this machine" in refused(tmp_path, folder)[0]
    assert json.loads(shared(tmp_path, folder, suppress=True)[0]["release.json"])["groups"] == {}


def test_an_evaluation_takes_its_card_along_or_says_why_not(run, tmp_path, monkeypatch):
    def no_card(folder, *, raw):
        raise ParameterError("too uncertain")

    monkeypatch.setattr(sharing, "build_card", no_card)
    effects = "estimand,project,area,mean\natt_by_area,,north,-3.1\n"
    result = {"att_pp": {"mean": -1.0}, "verdict": "cannot tell", "sentence": "We cannot tell."}
    folder = run(
        stdout("x"),
        files={"result.json": json.dumps(result), "effects.csv": effects},
        town={"cells": {("north", 2023): 20}},
    )
    files, said = shared(tmp_path, folder)
    assert "card.json" not in files and said[-1] == "run, card.json: 'none': too uncertain"
    assert "effects.csv: 'north': fewer than 30 respondents in a wave" in said[-2]
    assert json.loads(files["provenance.json"])["sentence"] == "We cannot tell."


def test_a_table_of_registrations_tells_months():
    columns = ["project", "registered", "sha256", "field", "registered_value", "used_value"]
    compared = pd.DataFrame([["meet", "2021-01-31", "", "start", "2021-06-01", "2021-09-01"]], columns=columns)
    panel = {"project_name": pd.Series({"meet": "Meeting house"}).to_xarray()}
    rows = tables.registration(compared.assign(deviation="start"), panel=panel, lang="en")
    assert {"2021-01", "2021-06", "2021-09"} <= set(rows.iloc[0])
