"""Reports and index in Chromium: accessible, offline, on a phone, on paper. Their results are written by hand."""

import base64
import re
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import written_by_hand as hand
from in_chromium import chromium, cut_off, needs_chromium, opened, violations, wider_than_the_screen

from workbench import figures, index, page, provenance, report, tables, verdict

pytestmark = needs_chromium
ROOT = Path(__file__).resolve().parent.parent
REPORTS = ("report-en", "report-nl", "report-fr", "blocked")
INDEXES = ("index-en", "index-nl", "index-fr", "empty")
PHONE, PAPER = 390, 717  # an A4 sheet between margins of a centimetre, in screen pixels
BLOCKED = pd.DataFrame([("wave break", "fail", "The break in wave 2021 ...")], columns=["name", "status", "message"])


def picture(draw, *, size=(9, 4.2)):
    fig, ax = plt.subplots(figsize=size)
    alt = draw(ax)
    data = {"image/png": base64.b64encode(figures.png(fig)).decode(), "text/plain": alt}
    return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": alt}})


def made_report(lang, **changes):
    """A report with page 1, pictures, tables, printed text and the words of notebook 03."""
    v4, result, panel = nbformat.v4, hand.result(lang=lang, **changes), hand.panel()
    html = lambda shown: v4.new_output("display_data", {"text/html": shown.data, "text/plain": ""})
    names = page.project_names(panel)
    first = page.page_one(result, trends=hand.trends(), panel=panel, lang=lang)
    effects = {"names": names, "minimum_pp": 2.0, "lang": lang}
    by_area = pd.DataFrame({str(2010 + wave): 2.5 * np.arange(12.0) + wave for wave in range(12)})
    by_area.insert(0, "area", [f"Area with a name {n}" for n in by_area.index])
    outputs = [
        html(report.warning(result, lang=lang)),
        picture(lambda ax: figures.plot_trends(hand.trends(), ax=ax, lang=lang)),
        html(tables.html(tables.trends(hand.trends(), lang=lang), tables.caption("trends", panel=panel, lang=lang))),
        picture(lambda ax: figures.plot_effects(hand.effects(), hand.prior_effects(), ax=ax, **effects)),
        picture(lambda ax: figures.plot_event_study(hand.effects(), ax=ax, minimum_pp=2.0, lang=lang)),
        html(tables.html(tables.checks(hand.checks(), lang=lang), tables.caption("checks", lang=lang))),
        html(tables.html(by_area, tables.caption("by area", panel=panel, lang=lang), shaded=True)),
        html(tables.html(tables.parameters(result["provenance"], lang=lang), tables.caption("provenance", lang=lang))),
        v4.new_output("stream", name="stdout", text="A long line. " * 40),
    ]
    cells = [cell for cell in nbformat.read(ROOT / "notebooks" / "03-evaluate-projects.ipynb", as_version=4).cells]
    cells = [v4.new_markdown_cell(cell.source) for cell in cells if cell.cell_type == "markdown"]
    for place, output in enumerate(outputs, start=1):
        cells.insert(2 * place, v4.new_code_cell("draws = " + "1 + " * 60 + "1", outputs=[output]))
    cells.append(v4.new_code_cell("page_one()", metadata={"tags": ["page-one"]}, outputs=[html(first)]))
    return report.render(v4.new_notebook(cells=cells), lang=lang, title=result["sentence"])


def made_index(folder, lang):
    """A folder with a run of every verdict, a blocked and a failed one; with its five pages."""
    effects = {
        "ghent": (-6, 1),
        "brugge": (-3, 1.6),
        "leuven": (0, 0.5),
        "aalst": (0, 5),
        "genk": (3, 1.6),
        "mol": (6, 1),
    }
    status = {"state": "done", "notebook": "03-evaluate-projects", "files": ["report.html", "notebook.ipynb"]}
    for name, (mean, sd) in effects.items():
        provenance.write_json(folder / name / "result.json", hand.result(mean=mean, sd=sd, city=name))
        provenance.write_json(folder / name / "status.json", status | {"finished": "2026-03-05T10:00:00+00:00"})
    reason = "'The model', cell [4]: " + "the Python process that ran the notebook died; " * 3
    provenance.write_json(folder / "failed" / "status.json", status | {"state": "failed", "reason": reason})
    provenance.write_json(folder / "blocked" / "result.json", hand.result(checks=BLOCKED))
    provenance.write_json(folder / "blocked" / "status.json", status | {"state": "blocked", "reason": "x" * 400})
    (folder / ("unfinished-" + "x" * 80)).mkdir()
    return index.write_index(folder, lang=lang)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The file of each page by name."""
    folder, files = tmp_path_factory.mktemp("pages"), {}
    for lang in ("en", "nl", "fr"):
        files[f"report-{lang}"] = provenance.write_text(folder / f"{lang}.html", made_report(lang))
        files[f"index-{lang}"] = made_index(folder / lang, lang)[0]
    files["blocked"] = provenance.write_text(folder / "blocked.html", made_report("en", checks=BLOCKED))
    (folder / "none").mkdir()
    files["empty"] = index.write_index(folder / "none")[0]
    return files


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.parametrize("name", [*REPORTS, *INDEXES])
def test_axe_core_finds_nothing_wrong(browser, pages, name):
    with opened(browser, pages[name]) as (shown, _asked):
        assert violations(shown) == []


def test_axe_core_does_find_what_is_wrong(browser, pages, tmp_path):
    """The check above can fail: without its language and its alternatives the same page is not accessible."""
    text = pages["report-en"].read_text(encoding="utf-8")
    spoilt = provenance.write_text(tmp_path / "x.html", re.sub(r' (lang|alt)="[^"]*"', "", text))
    with opened(browser, spoilt) as (shown, _asked):
        assert {found.split()[0] for found in violations(shown)} == {"html-has-lang", "image-alt"}


@pytest.mark.parametrize("name", [*REPORTS, *INDEXES])
def test_a_page_opens_from_disk_with_the_network_cut_and_asks_for_nothing(browser, pages, name):
    with opened(browser, pages[name]) as (shown, asked):
        assert asked == []
        images = shown.evaluate(
            "[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt.trim().length > 9])"
        )
        assert all(loaded and told for loaded, told in images)
        assert len(images) > 3 or name in ("blocked", "empty")
        assert shown.evaluate("document.scripts.length") == 0
        policy = shown.evaluate("document.querySelector('meta[http-equiv=Content-Security-Policy]').content")
        assert "default-src 'none'" in policy and "script-src" not in policy


def test_the_policy_of_a_report_stops_a_script_that_got_in(browser, pages, tmp_path):
    text = pages["report-en"].read_text(encoding="utf-8")
    planted = '<script>document.title = "ran"</script><img src="x" onerror="document.title = \'ran\'" alt="planted">'
    spoilt = provenance.write_text(tmp_path / "x.html", text.replace("</main>", planted))
    with opened(browser, spoilt) as (shown, _asked):
        assert shown.title() == hand.result()["sentence"]
    unguarded = re.sub(r"<meta [^>]*http-equiv=[^>]*>", "", spoilt.read_text(encoding="utf-8"))
    with opened(browser, provenance.write_text(tmp_path / "y.html", unguarded)) as (shown, _asked):
        assert shown.title() == "ran"


@pytest.mark.parametrize("name", [*REPORTS, *INDEXES])
def test_nothing_but_what_scrolls_is_wider_than_the_screen_of_a_phone_or_a_laptop(browser, pages, name):
    for width in (PHONE, 1081):
        with opened(browser, pages[name], width=width, height=844) as (shown, _asked):
            assert wider_than_the_screen(shown) == []


@pytest.mark.parametrize("name", ["report-fr", "blocked", "index-nl"])
def test_on_paper_no_table_is_cut_off_and_the_file_is_tagged(browser, pages, name):
    with opened(browser, pages[name], width=PAPER) as (shown, _asked):
        shown.emulate_media(media="print")
        assert cut_off(shown) == [] and wider_than_the_screen(shown) == []
        made = shown.pdf(format="A4", tagged=True, outline=True)
        images, lang = shown.evaluate("[document.images.length, document.documentElement.lang]")
    assert b"/StructTreeRoot" in made and re.search(rb"/Marked\s+true", made)
    assert re.search(rb"/Lang\s*\(" + lang.encode(), made)
    assert len(re.findall(rb"/S\s*/Table\b", made)) >= 1 and len(re.findall(rb"/Alt\s*[(<]", made)) >= images


def test_a_verdict_is_told_in_words_wherever_it_is_told_by_colour(browser, pages):
    with opened(browser, pages["index-en"]) as (shown, _asked):
        told = shown.evaluate("[...document.querySelectorAll('.pill')].map(pill => pill.textContent)")
    assert {*verdict.VERDICTS, "blocked"} <= set(told)
