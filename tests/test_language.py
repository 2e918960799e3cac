import re
import string
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from workbench import language
from workbench.errors import ParameterError
from workbench.paths import project_root

PACKAGE = Path(language.__file__).parent
# What a translation may not change: code, formulas, numbers, links and files, emphasis, headings and items of a list.
KEPT = re.compile(
    r"`[^`]+`|\$[^$]+\$|\d+(?:[.,]\d+)*|https?://\S+|\]\([^)]*\)|[\w/-]+\.(?:md|csv|toml|json)|\*+|^#+|^- ",
    re.MULTILINE,
)


def marked():
    kinds = [("**.py", "python"), ("**.j2", "jinja2")]
    return {message for _file, _line, message, *_rest in extract_from_dir(PACKAGE, method_map=kinds)}


def fields(text):
    return {name for _literal, name, *_rest in string.Formatter().parse(text) if name is not None}


def translations(lang, folder=language.FOLDER):
    with (folder / f"{lang}.po").open("rb") as file:
        return read_po(file, locale=lang)


def paragraphs():
    """Every paragraph of the notebooks' text, as its catalogs key it, with the paragraph itself."""
    books = [nbformat.read(path, as_version=4) for path in sorted((project_root() / "notebooks").glob("*.ipynb"))]
    texts = [cell.source for book in books for cell in book.cells if cell.cell_type == "markdown"]
    found = [text for source in texts for text, _lang in language.prose(source, "en")]
    return {" ".join(text.split()): text for text in found}


def kept(text):
    """Of a span of code that is an equation in words only its signs are kept; a decimal comma is as good as a point."""
    parts = (re.sub(r"[^=+×]", "", part) if " = " in part else part.replace(",", ".") for part in KEPT.findall(text))
    return Counter(parts)


@pytest.mark.parametrize("lang", [lang for lang in language.languages() if lang != "en"])
def test_every_marked_sentence_has_a_translation_with_the_same_placeholders(lang):
    catalog, faults = translations(lang), []
    for message in marked():
        source = message if isinstance(message, tuple) else (message,)
        entry = catalog.get(source[0])
        target = entry.string if entry and isinstance(entry.string, tuple) else ((entry.string,) if entry else ())
        if not target or not all(target) or entry.fuzzy:
            faults.append(f"missing or fuzzy: {source[0]}")
        elif any(fields(text) != fields(source[0]) for text in target):
            faults.append(f"placeholders differ: {source[0]}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("lang", ["nl", "fr"])
def test_no_translation_is_left_over_from_a_sentence_that_is_gone(lang):
    known = {message[0] if isinstance(message, tuple) else message for message in marked()}
    ours = {entry.id[0] if isinstance(entry.id, tuple) else entry.id for entry in translations(lang) if entry.id}
    assert ours <= known


@pytest.mark.parametrize("lang", [lang for lang in language.languages() if lang != "en"])
def test_every_paragraph_of_the_notebooks_is_translated_and_none_is_left_over(lang):
    catalog, wanted = translations(lang, language.NOTEBOOKS), paragraphs()
    # One that reads as its source would be marked as English.
    done = {entry.id for entry in catalog if entry.id and entry.string not in ("", entry.id) and not entry.fuzzy}
    assert not set(wanted) - done, "\n".join(["missing or fuzzy:", *sorted(set(wanted) - done)])
    assert {entry.id for entry in catalog if entry.id} <= set(wanted)


@pytest.mark.parametrize("lang", [lang for lang in language.languages() if lang != "en"])
def test_a_translated_paragraph_keeps_code_numbers_links_and_layout(lang):
    catalog = translations(lang, language.NOTEBOOKS)
    pairs = {text: catalog.get(key).string for key, text in paragraphs().items()}
    assert not [
        (kept(text) - kept(said), kept(said) - kept(text)) for text, said in pairs.items() if kept(text) != kept(said)
    ]


def test_text_wrapped_anew_is_still_translated_and_text_without_translation_stays_english():
    known = max(paragraphs(), key=len)
    wrapped, own = known.replace(" ", "\n", 3), "We added\nthis."
    (first, lang), *rest = language.prose(f"{wrapped}\n\n \n{own}\n\n{own}", "nl")
    assert lang == "nl" and first not in (known, wrapped)
    assert rest == [(own, "en")] * 2 and language.prose("", "nl") == []


def test_catalogs_of_the_notebooks_are_no_languages_of_their_own():
    assert language.languages() == ("en", "fr", "nl")


def test_an_unknown_language_is_refused_with_the_nearest_one():
    with pytest.raises(ParameterError, match="lang: 'nls' is not one of en, fr, nl"):
        language.translator("nls")


@pytest.mark.parametrize("lang, expected", [("en", "−1,234.5"), ("nl", "−1.234,5"), ("fr", "−1\u00a0234,5")])
def test_numbers_follow_the_language_with_a_true_minus(lang, expected):
    assert language.number(-1234.5, lang) == expected


@pytest.mark.parametrize("value, expected", [(-0.04, "0.0"), (0.04, "0.0"), (1.56, "+1.6"), (-4.6, "−4.6")])
def test_points_never_show_a_negative_zero(value, expected):
    assert language.points(value, "en") == expected


@pytest.mark.parametrize(
    "p, expected",
    [
        (0.949, "94 %"),
        (0.051, "6 %"),
        (0.57, "57 %"),
        (0.5, "50 %"),
        (0.999, "more than 99 %"),
        (1.0, "more than 99 %"),
        (0.0, "less than 1 %"),
        (0.0101, "2 %"),
        (0.8999, "89 %"),
    ],
)
def test_a_chance_is_rounded_so_that_it_never_claims_more(p, expected):
    assert language.percent(p, "en") == expected


def test_months_are_named_in_the_language_and_a_missing_date_is_empty():
    import datetime as dt

    assert [language.month(dt.date(2022, 3, 1), lang) for lang in ("en", "fr")] == ["Mar 2022", "mars 2022"]
    assert language.month(float("nan"), "en") == ""
