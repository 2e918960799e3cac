"""Spoilt cities and plans are accepted or refused in words, whatever was done to them; benchmarks/fuzz.py runs thousands."""

import copy
import os

import fuzz
import pytest
from hypothesis import given, settings


@pytest.fixture(scope="module")
def root():
    """A project folder of its own, with the notebooks and two sound cities."""
    with fuzz.own_root() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(fuzz, "HUGE", 100_000)
        for name in ("cards", "prior_from"):  # what reads cards takes seconds to import
            patch.delitem(fuzz.PARAMETERS, name)
        yield folder


@settings(**fuzz.SETTINGS, max_examples=25)
@given(case=fuzz.city_cases())
def test_a_spoilt_city_is_accepted_or_refused_in_words_and_nothing_is_written(root, case):
    fuzz.check_city(root, case)


@settings(**fuzz.SETTINGS, max_examples=80)
@given(case=fuzz.plan_cases())
def test_a_spoilt_plan_is_accepted_or_refused_in_words_and_nothing_is_written(root, case):
    fuzz.check_plan(root, case)


# --- the same cases, one by one, that once ended otherwise -------------------------------------------------------------


def city(base="respondents", late=(), special=None, **said):
    manifest, tables = copy.deepcopy(fuzz.bases()[base])
    manifest[base if base in ("shares", "incidents") else "respondents"] |= said
    return fuzz.Case(base, manifest, tables, late=list(late), special=special or {}, call={"city": "spoilt"})


@pytest.mark.parametrize("text", ["x" * 10_000, "\x1b[2J", "\u202ex"])
def test_what_a_city_calls_itself_is_listed_only_where_it_can_be_shown(root, text):
    case = city()
    case.manifest |= {"language": text, "name": text}
    assert fuzz.check_city(root, case)[0] == "refused"  # and looks at what `workbench cities` lists


TOML = {
    "brackets in brackets": (b"a = " + b"[" * 20_000, "maximum recursion depth"),
    "a number of 5,000 digits": (b"a = " + b"9" * 5000, "4300 digits"),
}


@pytest.mark.parametrize("text, words", TOML.values(), ids=TOML)
def test_a_manifest_that_python_cannot_read_is_refused(root, text, words):
    state, told = fuzz.check_city(root, city(late=[("city.toml", lambda old: old + b"\n" + text)]))
    assert state == "refused" and "city.toml cannot be read" in told and words in told


@pytest.mark.parametrize(
    "encoding", ["undefined", "utf\x008", "rot13", "no-such", "two\nlines", "\x1b[2J", "x" * 10_000]
)
def test_an_encoding_that_cannot_be_used_is_refused_in_one_line_that_can_be_shown(root, encoding):
    state, told = fuzz.check_city(root, city(encoding=encoding))
    assert state == "refused" and "survey.csv: cannot be read as" in told and len(told.splitlines()) == 2


@pytest.mark.parametrize("file", ["survey.csv", "city.toml"])
@pytest.mark.skipif(
    not os.path.exists("/proc/self/mem"), reason="this system has no file that may be seen and not read"
)
def test_a_file_that_cannot_be_read_is_refused(root, file):
    state, told = fuzz.check_city(root, city(special={file: "/proc/self/mem"}))
    assert state == "refused" and f"{file}{':' if file == 'survey.csv' else ''} cannot be read" in told


def test_a_separator_outside_ascii_and_more_columns_than_a_survey_has_are_refused(root):
    assert "one character of ASCII" in fuzz.check_city(root, city(separator="é"))[1]
    state, told = fuzz.check_city(root, city(late=[("survey.csv", lambda old: b"," * 1_000_000)]))
    assert state == "refused" and "survey.csv, line 1: 1,000,001 columns" in told


def plan(column, value):
    """A plan of one evaluation with one more column."""
    return fuzz.Case("plan", {}, {"plan.csv": [["id", "notebook", column], ["a", fuzz.EVALUATE, value]]})


@pytest.mark.parametrize("folder", ["~nobody-here/cities", "x" * 300, "x/" * 2400])
def test_a_folder_that_no_disk_can_hold_is_refused(root, folder):
    state, told = fuzz.check_plan(root, plan("raw", folder))
    assert state == "refused" and "plan.csv, line 2" in told and ("no city" in told or "too long" in told)


def test_a_sound_city_and_a_sound_plan_are_accepted(root):
    for base in fuzz.bases():
        form = {"survey.csv": {"separator": ";", "encoding": "cp1252"}} if base == "own words" else {}
        case = city(base)
        case.form = form
        state = "no evaluation" if base == "incidents" else "accepted"  # of how residents feel, without a survey
        assert fuzz.check_city(root, case)[0] == state
    assert fuzz.check_plan(root, fuzz.Case("plan", {}, {"plan.csv": fuzz.PLAN}))[0] == "accepted"
