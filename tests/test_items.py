"""The item dictionary: ordered answers, every language, and docs/items.md in step."""

import runpy
from pathlib import Path

import pytest

from workbench.items import ITEMS, LANGUAGES

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("item", ITEMS.values(), ids=list(ITEMS))
def test_every_item_says_what_was_asked_where_unsafe_starts_and_where_that_is_known_from(item):
    assert item.wording.strip() and item.source.strip() and item.family
    assert item.wording_language in (*LANGUAGES, "de")
    assert item.construct in ("insecurity", "cohesion", "reporting")
    assert item.unsafe_from in item.categories[1:], "the most secure answer cannot count as unsafe"
    assert len(set(item.categories)) == len(item.categories) >= (3 if item.construct == "insecurity" else 2)
    for language in LANGUAGES:
        assert item.question[language].strip()
        assert len(item.labels[language]) == len(item.categories)
        assert all(label.strip() for label in item.labels[language])
    assert set(item.codes.values()) <= {*item.categories, *item.off_scale}
    assert not item.routed_out or item.routed_out == item.categories[0]


def test_the_ids_and_answers_that_other_rooms_rely_on_are_there():
    neighbourhood = ITEMS["unsafe_neighbourhood"]
    assert neighbourhood.categories == ("never", "rarely", "sometimes", "often", "always")
    assert neighbourhood.unsafe_from == "sometimes"
    for name in ("stadsmonitor_neighbourhood", "stadsmonitor_municipality", "stadsmonitor_harassed"):
        assert ITEMS[name].categories == ("never-rarely", "sometimes", "often-always")
        assert ITEMS[name].unsafe_from == "sometimes"


def test_a_statement_against_cohesion_is_turned_round():
    assert ITEMS["sre_trust"].categories[0] == "strongly agree"
    assert ITEMS["sre_getalong"].categories[0] == "strongly disagree"
    assert ITEMS["sre_getalong"].labels["en"][0] == "strongly disagree"
    assert ITEMS["dutch_known"].unsafe_from == "agree"


def test_the_ten_items_of_sampson_and_the_four_dutch_ones_are_complete():
    families = [item.family for item in ITEMS.values()]
    assert families.count("sre-control") == families.count("sre-cohesion") == 5
    assert families.count("dutch-cohesion") == 4


def test_docs_items_is_what_the_dictionary_says():
    as_markdown = runpy.run_path(str(ROOT / "scripts" / "items.py"))["as_markdown"]
    assert (ROOT / "docs" / "items.md").read_text(encoding="utf-8") == as_markdown()
