import html
import json
import re
from html.parser import HTMLParser

import matplotlib as mpl

mpl.use("agg")
import nbformat
import numpy as np
import pandas as pd
import pytest
import written_by_hand as hand
import xarray as xr

from workbench import page, report

HOSTILE = '<script>alert(1)</script><img src=http://x.example/y onerror="z"> "&'
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="


def first_page(lang="en", **changes):
    result = hand.result(lang=lang, **changes)
    panel = hand.panel()
    return result, page.page_one(result, trends=hand.trends(), panel=panel, lang=lang).data


def notebook(*, page_one="<section><h1>Page one</h1></section>", outputs=(), source="# Later pages\n\nText."):
    v4 = nbformat.v4
    cells = [
        v4.new_markdown_cell(source),
        v4.new_code_cell("secret = 1", outputs=list(outputs)),
        v4.new_code_cell("hidden = 2", metadata={"tags": ["remove"]}),
        v4.new_code_cell("page_one()", metadata={"tags": ["page-one"]}, outputs=[html_output(page_one)]),
    ]
    return v4.new_notebook(cells=cells)


def html_output(text):
    return nbformat.v4.new_output("display_data", {"text/html": text, "text/plain": "x"})


def picture(alt):
    return nbformat.v4.new_output(
        "display_data", {"image/png": PIXEL}, metadata={"image/png": {"alt": alt}} if alt else {}
    )


class Tags(HTMLParser):
    """Start tags with their attributes, in order."""

    def __init__(self, html):
        super().__init__()
        self.found = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def rendered(lang="en", title="A report", **options):
    return report.render(notebook(**options), lang=lang, title=title)


# --- page 1 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mean, sd, lang",
    [(-6, 1, "en"), (6, 1, "nl"), (0, 0.5, "fr"), (-3, 1.6, "nl"), (3, 1.6, "fr"), (0, 5, "en")],
)
def test_the_sentence_stands_unbroken_in_the_report_for_every_verdict(mean, sd, lang):
    result, html = first_page(lang, mean=mean, sd=sd)
    assert result["sentence"] in rendered(lang, page_one=html)


def test_page_one_keeps_the_reading_order_of_the_mock():
    result, html = first_page()
    order = ["Simulated city", "Did the projects change", result["sentence"], "Of 100 residents", "What happened",
             "Project by project", "Can we rely on this?", "Evidence grade 3 of 5", "What to do next", "seed 2026"]  # fmt: skip
    places = [html.index(text) for text in order]
    assert places == sorted(places)


def test_bars_are_as_wide_as_the_chances_they_stand_for():
    html = first_page()[1]
    assert re.findall(r'class="(\w+) w(\d+)"', html) == [("fall", "72"), ("fall", "96"), ("rise", "4")]
    assert ".bar .w72{width:72%}" in html


def test_a_blocked_evaluation_says_so_first_and_shows_no_effect():
    table = hand.checks()
    table.loc[0, ["status", "message"]] = ["fail", "Two areas are unknown."]
    html = first_page(checks=table)[1]
    assert html.index("Blocked") < html.index("Two areas are unknown.")
    assert "<img" not in html and "−" not in html and "fewer" not in html and "overturn" not in html


def test_a_city_that_is_not_simulated_gets_no_banner():
    assert "invented" not in first_page(simulated=False)[1]


def test_residents_in_the_caption_add_up_to_a_hundred():
    text = re.sub(r"<[^>]+>", "", first_page()[1])
    unsafe, fewer, safe = map(int, re.search(r"(\d+) feel unsafe, (\d+) no longer do, (\d+) feel safe", text).groups())
    assert unsafe + fewer + safe == 100 and fewer == 3


def test_an_assumed_number_of_answers_is_said_and_never_summed():
    panel = hand.panel().assign_attrs(n_assumed=1000.0)
    html = page.page_one(hand.result(), trends=hand.trends(), panel=panel, lang="en").data
    assert "number of answers not published (1,000 per area and wave assumed)" in html
    assert "residents. Question" not in html and "9,180" not in html


def test_projects_say_since_when_and_the_picture_says_which_waves_count():
    html = first_page()[1]
    assert "6 areas, since Sep" in html and "1 area, since Jan 2023" in html
    assert "waves that count: 2022, 2024)" in html


def test_a_wave_without_a_published_share_has_no_dot_and_the_caption_says_so():
    trends = hand.trends()
    trends = trends[~((trends["series"] == "observed") & (trends["wave"] == "2024"))]
    html = page.page_one(hand.result(), trends=trends, panel=hand.panel(), lang="en").data
    assert "in 2024 it did not publish this share" in html
    assert "did not publish" not in first_page()[1]


def test_the_caption_warns_when_other_areas_were_asked_in_another_wave():
    panel = hand.panel()
    panel["respondents"][20:, 0] = 0
    html = page.page_one(hand.result(), trends=hand.trends(), panel=panel, lang="en").data
    warned = "Not every area was asked in every wave"
    assert warned in html and warned not in first_page()[1]


def test_the_card_says_why_the_grade_is_below_the_design():
    table = hand.checks()
    assert "One step less" not in first_page(checks=table)[1]
    table.loc[3, "status"] = "not possible"
    assert "One step less than the design" in first_page(checks=table)[1]
    table.loc[0, "status"] = "fail"
    html = first_page(checks=table)[1]
    assert "leaves grade 1" in html and "One step less" not in html


def test_the_footer_opens_with_the_registration_and_the_window_as_sentences():
    foot = "<footer><p>Not registered in advance. Effects count waves 6 to 24 months after full start. Model"
    assert foot in first_page()[1]
    row = {"registered": "2026-01-01", "sha256": "ab", "deviations": []}
    html = first_page(registration=dict.fromkeys(hand.PROJECTS, row))[1]
    assert "<footer><p>Registered in advance, and evaluated as registered. Effects count" in html


def test_names_with_markup_in_them_are_text():
    panel = hand.panel()
    panel.attrs["city_name"] = HOSTILE
    panel["project_name"] = ("project", [HOSTILE] * 4)
    result = hand.result()
    html = rendered(page_one=page.page_one(result, trends=hand.trends(), panel=panel, lang="en").data, title=HOSTILE)
    tags = Tags(html).found
    assert not [tag for tag, attrs in tags if tag == "script" or any(name.startswith("on") for name in attrs)]
    assert all(attrs["src"].startswith("data:image/png;base64,") for tag, attrs in tags if tag == "img")
    assert "&lt;script&gt;alert(1)" in html


# --- the HTML file ------------------------------------------------------------------------------------------------------


def test_the_report_runs_nothing_and_asks_for_nothing():
    html = rendered(page_one=first_page()[1], source="# Title\n\n[out](https://x.example) ![no](http://x.example/a.png 'a')\n\n<script>1</script>",
                    outputs=[html_output(f"<style>@import url(http://x.example)</style><a href='https://x.example'>{HOSTILE}</a>")])  # fmt: skip
    tags = Tags(html).found
    assert not {"script", "link", "iframe", "object", "base", "svg", "form"} & {tag for tag, _attrs in tags}
    addresses = [
        value for _tag, attrs in tags for name, value in attrs.items() if name in ("src", "href", "srcset", "action")
    ]
    assert addresses and all(value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert "http" not in re.sub(r"http-equiv", "", re.sub(r">[^<]*<", "><", html))
    assert "@import" not in html and "url(" not in html


def test_a_policy_forbids_what_cleaning_might_miss():
    policy = [
        attrs["content"]
        for tag, attrs in Tags(rendered()).found
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy and "default-src 'none'" in policy[0] and "script" not in policy[0]


def test_page_one_comes_first_code_is_folded_and_removed_cells_are_gone():
    html = rendered()
    assert html.index("Page one") < html.index("Later pages") < html.index("secret = 1")
    assert re.search(r"<details><summary>Code</summary>.{0,40}secret", html, re.DOTALL)
    assert "hidden" not in html and "page_one()" not in html


def test_code_that_shows_nothing_shares_one_fold_with_the_code_after_it():
    v4 = nbformat.v4
    silent = [v4.new_output("stream", name="stderr", text="x"), html_output("<style>a{}</style>")]
    cells = [v4.new_code_cell("a = 1", outputs=silent), v4.new_code_cell("b = 2"), v4.new_code_cell("c = 3", outputs=[picture("c")]),
             v4.new_code_cell("d = 4"), v4.new_markdown_cell("Text."), v4.new_code_cell("e = 5")]  # fmt: skip
    html = report.render(v4.new_notebook(cells=cells), lang="en", title="t")
    folds = re.findall(r"<code>(.*?)</code>", html, re.DOTALL)
    assert folds == ["a = 1\n\nb = 2\n\nc = 3", "d = 4", "e = 5"]


def test_there_is_one_first_heading():
    assert [tag for tag, _attrs in Tags(rendered()).found if tag in ("h1", "h2")] == ["h1", "h2"]


def test_the_page_has_its_language_and_title():
    html = rendered("nl", title="A & B")
    assert re.search(r'<html lang="nl"', html) and "<title>A &amp; B</title>" in html


def test_text_of_a_notebook_is_translated_title_included_and_what_is_not_is_marked_as_english():
    source = "# What did cities find together?\n\nOur own *first*\n\n    own = 1\n\n## The model"
    found = re.search(
        r"<section class=.rest.>(.*?)<details",
        rendered("nl", title="What did cities find together?", source=source),
        re.DOTALL,
    )
    assert re.findall(r"<(div lang=.en.|/div|h\d)[^>]*>", found[1])[:4] == ["h2", 'div lang="en"', "/div", "h3"]
    own = re.search(r'<div lang="en">(.*?)</div>', found[1], re.DOTALL)[1]
    assert "Wat vonden steden samen?" in found[1] and "Het model" in found[1] and "Het model" not in own
    assert "<em>first</em>" in own and "own = 1" in own
    assert "<title>Wat vonden steden samen?</title>" in rendered("nl", title="What did cities find together?")
    assert 'div lang="en"' not in rendered("en", source=source)


def test_a_picture_keeps_its_alt_text_and_one_without_is_refused():
    assert 'alt="what it &lt;shows&gt;"' in rendered(outputs=[picture("what it <shows>")])
    with pytest.raises(ValueError, match="without alt text"):
        rendered(outputs=[picture("")])
    with pytest.raises(ValueError, match="without alt text"):
        rendered(page_one=f'<img src="data:image/png;base64,{PIXEL}" alt=" ">')


def test_a_name_that_reads_like_a_picture_is_no_picture_without_alt_text():
    named = f'<img src="data:image/png;base64,{PIXEL}" alt="{html.escape("<img src=//x.example> it's “odd”")}">'
    assert "it's" in rendered(page_one=named)
    with pytest.raises(ValueError, match="1 picture"):
        rendered(page_one=named + f"""<img title='<img alt="x">' src="data:image/png;base64,{PIXEL}" alt="">""")


def test_progress_and_warnings_on_stderr_stay_out_of_the_report():
    streams = [nbformat.v4.new_output("stream", name=name, text=f"{name} text") for name in ("stdout", "stderr")]
    html = rendered(outputs=streams)
    assert "stdout text" in html and "stderr text" not in html


# --- files --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def idata():
    draws = xr.Dataset({"mu": (("chain", "draw"), np.full((2, 3), 1 / 3)), "area_name": ("area", ["Zürich", "b"])})
    return xr.DataTree.from_dict(
        {
            "posterior": draws,
            "sample_stats": xr.Dataset({"diverging": (("chain", "draw"), np.zeros((2, 3), bool))}),
        }
    )


def test_an_evaluation_is_saved_whole_and_small(tmp_path, idata):
    result = hand.result()
    report.save_evaluation(str(tmp_path / "run"), idata=idata, effects=hand.effects(), result=result)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "effects.csv",
        "posterior.nc",
        "result.json",
    ]
    with xr.open_datatree(tmp_path / "run" / "posterior.nc", engine="h5netcdf") as back:
        assert back["posterior/mu"].dtype == np.float32 and back["posterior/mu"].shape == (2, 3)
        assert back["posterior/mu"].encoding["zlib"] and list(back["posterior/area_name"].values) == [
            "Zürich",
            "b",
        ]
    kept = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert list(result.keys() - kept.keys()) == ["needed"] and kept["sentence"] == result["sentence"]
    assert kept["att_pp"] == {name: result["att_pp"][name] for name in report.SUMMARY}
    assert list(kept["by_project"]["hosts"]) == [*report.SUMMARY, "verdict", "cost_per_resident_eur"]
    assert len(pd.read_csv(tmp_path / "run" / "effects.csv")) == len(hand.effects())


def test_an_empty_out_writes_nothing(tmp_path, monkeypatch, idata):
    monkeypatch.setenv("WORKBENCH_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    report.save_evaluation("", idata=idata, effects=hand.effects(), result=hand.result())
    assert not list(tmp_path.iterdir())


def test_a_result_is_assembled_by_the_contract_and_can_be_saved(idata, tmp_path):
    made = hand.result()
    checks = hand.checks()
    checks.attrs = {"design_level": 3, "diagnostics": made["diagnostics"] | {"rhat_max": np.float64("nan")}}
    panel = hand.panel().assign_attrs(
        window_rule="Waves 6 to 24 months after full start.", minimum_pp=2.0, data_hash="3f9c"
    )
    idata.attrs = {"model": "perceived", "prior": "sceptical", "seed": np.int64(7), "seconds_sample": 3.5}
    inputs = {
        "att": made["att_pp"],
        "by_project": {p: dict(row) for p, row in made["by_project"].items()},
        "needed": "",
    }
    result = report.build_result(panel, idata, inputs, checks, lang="en")
    keys = "city simulated item unsafe_from minimum_pp window verdict sentence grade att_pp by_project checks diagnostics n"
    assert set(keys.split()) | {"seconds", "provenance"} <= set(result)
    assert result["verdict"] == "probable fall" and result["grade"] == 3 and result["sentence"] == made["sentence"]
    assert [row["verdict"] for row in result["by_project"].values()] == [
        "clear fall", "probable fall", "no worthwhile change", "cannot tell"]  # fmt: skip
    assert result["n"] == {"respondents": 9180, "areas": 40, "treated_areas": 14, "waves": 5}
    assumed = report.build_result(panel.assign_attrs(n_assumed=1000.0), idata, inputs, checks, lang="en")
    assert assumed["n"]["respondents"] is None
    assert result["seconds"] == {"sample": 3.5} and result["provenance"]["seed"] == 7
    report.save_evaluation(str(tmp_path), idata=idata, effects=hand.effects(), result=result)
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["diagnostics"]["rhat_max"] is None


def test_page_one_says_where_other_cities_cards_made_the_prior_and_only_there():
    alone, told = hand.result(), "Without them it is −1.0 points."
    leaned = alone | {"evidence": {"told": told, "cards": ["aa.json"]}}
    pages = [page.page_one(one, trends=hand.trends(), panel=hand.panel(), lang="en").data for one in (alone, leaned)]
    for text in (told, "The prior of the mean effect comes from other cities"):
        assert [text in html for html in pages] == [False, True]
