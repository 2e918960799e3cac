"""The index of a folder of runs says what their own files say, and nothing in them can harm it."""

import json
import os
import re
from html.parser import HTMLParser

import matplotlib as mpl

mpl.use("agg")
import pandas as pd
import pytest
import written_by_hand as hand

from workbench import figures, index, provenance
from workbench.errors import ParameterError

FAILED_CHECK = pd.DataFrame([("wave break", "fail", "the wording changed")], columns=["name", "status", "message"])


def a_run(folder, name, mean=None, sd=1.0, *, state="done", finished="2026-03-05T10:00:00+00:00", **changes):
    """A finished run as `runs` leaves it; with a mean an evaluation with that effect."""
    run, files = folder / name, ["notebook.ipynb", "report.html"]
    about = {"city": "handmade", "notebook": "01-check-city", "reason": ""} | changes
    if mean is not None:
        about["notebook"], made = "03-evaluate-projects", {"city": about["city"]}
        made |= {key: changes[key] for key in ("simulated", "grade", "checks") if key in changes}
        result = hand.result(mean=mean, sd=sd, **made)
        state = "blocked" if result["verdict"] == "blocked" else state
        provenance.write_json(run / "result.json", result)
    for file in files:
        provenance.write_text(run / file, "")
    status = {"state": state, "parameters": {"city": about["city"]}, "files": files, "finished": finished}
    provenance.write_json(run / "status.json", status | {key: about[key] for key in ("notebook", "reason")})
    return run


@pytest.fixture
def runs(tmp_path):
    """One run of every kind, named so that the alphabet is not the order by verdict."""
    a_run(tmp_path, "z-clear-fall", -6, 1, simulated=False, city="ghent", grade=2)
    a_run(tmp_path, "y-probable-fall", -3, 1.6, grade=5)
    a_run(tmp_path, "x-nothing", 0, 0.5)
    a_run(tmp_path, "w-cannot-tell", 0, 5, finished="2026-03-06T10:00:00+00:00")
    a_run(tmp_path, "v-probable-rise", 3, 1.6)
    a_run(tmp_path, "u-clear-rise", 6, 1)
    a_run(tmp_path, "t-blocked", -6, 1, checks=FAILED_CHECK, reason="the wording changed")
    a_run(tmp_path, "s-failed", state="failed", reason="too little memory")
    (tmp_path / "r-unfinished").mkdir()
    a_run(tmp_path, "q-check")
    return tmp_path


class Page(HTMLParser):
    """Rows of the table as texts of their cells, and every tag with its attributes."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.tags = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data):
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = " ".join(f"{self.rows[-1][-1]} {data}".split())


def page(folder, order="", lang="en"):
    made = {path.name: path.read_text(encoding="utf-8") for path in index.write_index(folder, lang=lang)}
    return Page(made[f"index-by-{order}.html" if order else "index.html"])


def names(folder, order=""):
    return [row[0] for row in page(folder, order).rows[1:]]


def test_the_index_is_sorted_by_verdict_and_what_found_nothing_comes_last(runs):
    assert [name[0] for name in names(runs)] == list("zyxwvutsrq")


@pytest.mark.parametrize(
    "order, expected",
    [
        ("city", "zyxwvutsqr"),  # ghent before handmade, a run that names no city last
        ("grade", "yuvwxz"),  # the highest first, then by name
        ("state", "srtquvwxyz"),
        ("date", "wqstuvxyzr"),  # newest first, unfinished last
    ],
)
def test_there_is_a_page_for_every_other_order(runs, order, expected):
    assert "".join(name[0] for name in names(runs, order))[: len(expected)] == expected


def test_every_page_links_to_every_other_and_says_which_it_is(runs):
    made = index.write_index(runs)
    assert len(made) == 5
    for path in made:
        links = [attrs for tag, attrs in Page(path.read_text(encoding="utf-8")).tags if tag == "a"]
        assert {other.name for other in made} <= {link["href"] for link in links}
        assert [link["href"] for link in links if "aria-current" in link] == [path.name]


def test_a_row_says_what_the_run_found(runs):
    found = {row[0]: row for row in page(runs).rows[1:]}
    assert found["z-clear-fall"][1:3] == ["ghent", "clear fall"]
    assert found["y-probable-fall"][1] == "handmade simulated"
    assert found["y-probable-fall"][4:] == ["5", "03-evaluate-projects", "done", "5 Mar 2026"]
    assert re.fullmatch(r"−\d\.\d \(−\d\.\d to −\d\.\d\)", found["z-clear-fall"][3])
    assert found["t-blocked"][2:4] == ["blocked", ""], "a blocked evaluation shows no effect"
    assert found["s-failed"][6] == "failed too little memory"
    assert found["r-unfinished"][1:] == ["", "unfinished", "", "", "", "unfinished", ""]
    assert found["q-check"][2:7] == ["", "", "", "01-check-city", "done"]


def test_a_city_known_as_simulated_is_called_so_in_every_row(runs):
    assert {row[1] for row in page(runs).rows[1:]} == {"ghent", "handmade simulated", ""}


def test_pictures_tell_their_numbers_and_share_one_axis(tmp_path):
    a_run(tmp_path, "small", -1, 0.5)
    alone = [attrs for tag, attrs in page(tmp_path).tags if tag == "img"]
    a_run(tmp_path, "large", -9, 3)
    both = [attrs for tag, attrs in page(tmp_path).tags if tag == "img"]
    assert "−1.0" in alone[0]["alt"] and "(simulated)" in alone[0]["alt"]
    small = [picture for picture in both if picture["alt"] == alone[0]["alt"]]
    assert len(both) == 2 and small[0]["src"] != alone[0]["src"], (
        "the wide interval must narrow the other one's picture"
    )


def test_links_are_relative_and_quoted_and_only_to_files_that_are_there(tmp_path):
    a_run(tmp_path, "a run&more")
    (a_run(tmp_path, "bare") / "status.json").write_text('{"state": "failed", "files": []}', encoding="utf-8")
    links = [attrs["href"] for tag, attrs in page(tmp_path).tags if tag == "a" and "index" not in attrs["href"]]
    assert links == ["a%20run%26more/report.html", "a%20run%26more/notebook.ipynb"]


def test_nothing_runs_nothing_is_fetched_and_the_language_is_set(runs):
    for lang in ("en", "nl", "fr"):
        made = page(runs, lang=lang)
        assert ("html", {"lang": lang}) in made.tags
        policies = [
            attrs["content"] for tag, attrs in made.tags if attrs.get("http-equiv") == "Content-Security-Policy"
        ]
        assert policies and policies[0].startswith("default-src 'none';")
        assert not {"script", "link", "iframe", "object"} & {tag for tag, _attrs in made.tags}
        assert all(attrs["src"].startswith("data:image/png;base64,") for tag, attrs in made.tags if tag == "img")
        assert not [name for _tag, attrs in made.tags for name in attrs if name.startswith("on")]


def test_dates_numbers_and_sentences_follow_the_language(runs):
    found = {row[0]: row for row in page(runs, lang="nl").rows[1:]}
    assert found["z-clear-fall"][2] == "duidelijke daling" and "−6,0" in found["z-clear-fall"][3]
    assert found["w-cannot-tell"][7] == "6 mrt 2026"


def test_a_pool_of_cities_stands_after_the_evaluations(tmp_path):
    a_run(tmp_path, "rise", 6, 1)
    pool = a_run(tmp_path, "pool", city="")
    effect = {"mean": -2.0, "lower90": -3.5, "upper90": -0.4}
    provenance.write_json(
        pool / "pooled.json", {"verdict": "pooled", "simulated": True, "mean": {"logit": {}, "pp": effect}}
    )
    assert [row[2] for row in page(tmp_path).rows[1:]] == ["clear rise", "pooled"]
    assert page(tmp_path).rows[2][3] == "−2.0 (−3.5 to −0.4)"


def test_an_empty_folder_says_so(tmp_path):
    assert "No run in this folder yet." in index.write_index(tmp_path)[0].read_text(encoding="utf-8")


def test_folders_of_other_runs_and_work_in_progress_are_no_runs(tmp_path):
    index.write_index(a_run(tmp_path, "a").parent)
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch" / "index.html").write_text("", encoding="utf-8")
    (tmp_path / ".a.123-x.part").mkdir()
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("broken", ["", "{", '{"state": "done"', "\x00", '{"state": "flying"}'])
def test_one_spoilt_run_does_not_hide_the_others(tmp_path, broken):
    a_run(tmp_path, "good", -6, 1)
    (a_run(tmp_path, "spoilt") / "status.json").write_text(broken, encoding="utf-8")
    assert [(row[0], row[6]) for row in page(tmp_path).rows[1:]] == [("good", "done"), ("spoilt", "unfinished")]


NOT_OBJECTS = ["[]", "null", "7", '"done"', "[" * 100_000, "NaN", '{"a":' * 100_000, "1" * 5000]
DATES = ["yesterday", 7, None, [], {}, "0001-01-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59"]
SPOILT_STATUS = [(key, value) for key in ("parameters", "files") for value in (None, [], 7, "x", [None, {}])]
SPOILT_STATUS += [("finished", value) for value in DATES] + [
    ("parameters", {"city": value}) for value in (5, [], "\ud800")
]
SPOILT_STATUS += [(key, value) for key in ("reason", "notebook") for value in (7, None, [], {}, "\ud800")]
NO_SIZE = ["6", None, [], {}, float("nan"), float("inf"), -1e308, 10**400, True]
SPOILT_EFFECT = [
    ("att_pp", {"mean": -6, "lower90": -8, "upper90": -4} | {key: size})
    for key in ("mean", "lower90", "upper90")
    for size in NO_SIZE
]
SPOILT_EFFECT += [("att_pp", value) for value in ([1], "x", 7, {"mean": 1, "lower90": 2, "upper90": -2})]
SPOILT_EFFECT += [("minimum_pp", value) for value in ("2", [1], float("nan"), float("inf"))]


def changed(folder, file, **change):
    """Write a run's file with these keys changed; a text replaces the whole file."""
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(content | change), encoding="utf-8")


def test_spoilt_runs_are_rows_of_their_own_and_leave_the_others_as_they_are(tmp_path):
    """All in one folder, since an index costs a picture a row; expected: verdict, picture, state of each."""
    a_run(tmp_path, "good", -6, 1)
    alone, expected = page(tmp_path), {}

    def spoilt(*cells):
        name = f"s{len(expected):03d}"
        expected[name] = cells
        return a_run(tmp_path, name, -3, 1.6)

    for text in NOT_OBJECTS:
        (spoilt("unfinished", "", "unfinished") / "status.json").write_text(text, encoding="utf-8")
        (spoilt("", "", "done") / "result.json").write_text(text, encoding="utf-8")
    for key, value in SPOILT_STATUS:
        changed(spoilt("probable fall", None, "done"), "status.json", **{key: value})
    for key, value in SPOILT_EFFECT:
        changed(spoilt("probable fall", "", "done"), "result.json", **{key: value})
    for key in ("grade", "city", "verdict", "simulated"):
        for value in ("high", 7.5, [], [1], {}, None, "\ud800", float("nan")):
            changed(spoilt(None, None, "done"), "result.json", **{key: value})
    made = page(tmp_path)
    rows = {row[0]: (row[2], row[3], row[6].split()[0]) for row in made.rows[1:]}
    assert next(row for row in made.rows if row[0] == "good") == alone.rows[1]
    assert rows.keys() == {"good", *expected}
    wrong = [name for name, cells in expected.items() for told, cell in zip(rows[name], cells, strict=True)
             if cell is not None and told != cell]  # fmt: skip
    assert wrong == []
    assert sum(tag == "img" for tag, _attrs in made.tags) == sum(bool(row[1]) for row in rows.values())


@pytest.mark.parametrize("mean", [[1], "x", {"pp": [1]}, {"pp": {"mean": 1}}])
def test_a_spoilt_pool_has_no_picture(tmp_path, mean):
    provenance.write_json(a_run(tmp_path, "pool") / "pooled.json", {"verdict": "pooled", "mean": mean})
    assert page(tmp_path).rows[1][2:4] == ["pooled", ""]


def test_names_that_are_no_text_are_still_rows(tmp_path):
    os.makedirs(os.fsencode(tmp_path) + b"/r\xff")
    links = [attrs for tag, attrs in page(tmp_path).tags if tag == "a"]
    assert names(tmp_path) == ["r?"] and links


def test_reused_axes_leave_nothing_of_the_row_before(tmp_path):
    a_run(tmp_path, "a", -6, 1)
    a_run(tmp_path, "c", 6, 1)
    a_run(tmp_path, "b", -3, 1)
    effects = {name: json.loads((tmp_path / name / "result.json").read_text(encoding="utf-8")) for name in "abc"}
    limit = 1.05 * max(abs(made["att_pp"][end]) for made in effects.values() for end in ("lower90", "upper90"))
    alone = {
        figures.image_tag(figures.plot_strip, made["att_pp"], size=(3.6, 0.32), minimum_pp=made["minimum_pp"],
                          simulated=True, limit=limit, lang="en") for made in effects.values()
    }  # fmt: skip
    text = index.write_index(tmp_path)[0].read_text(encoding="utf-8")
    assert len(alone) == 3 and all(picture in text for picture in alone)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ParameterError, match="no folder file"):
        index.write_index(tmp_path / "file")


def test_what_a_run_says_stays_text_and_short(tmp_path):
    hostile = "<script>alert(1)</script>\u202e" + "x" * 10_000
    a_run(tmp_path, "r" * 200, state="failed", reason=hostile, city=hostile, notebook=hostile)
    made = page(tmp_path)
    assert "script" not in {tag for tag, _attrs in made.tags}
    assert max(len(cell) for row in made.rows for cell in row) <= 310
    assert json.dumps(made.rows).count("<script>alert(1)") == 3
