"""Fixed sentences, numbers and dates in English, Dutch and French.

English is marked in the source with `_("...")`, other languages are read from `languages/LL.po`, the text of notebooks
from `languages/notebooks/LL.po`. Nothing is compiled to disk: a corrected sentence works at the next run."""

import datetime as dt
import gettext
import io
import math
import re
from functools import cache, partial
from pathlib import Path

from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from workbench.errors import ParameterError, nearest

SOURCE_LANGUAGE = "en"
FOLDER = Path(__file__).parent / "languages"
NOTEBOOKS = FOLDER / "notebooks"
MINUS = "\N{MINUS SIGN}"
N_ = str  # marks a text that is translated where it is used


def languages() -> tuple[str, ...]:
    """Codes of the languages a report can be written in: English and one per file in `languages/`."""
    return (SOURCE_LANGUAGE, *sorted(path.stem for path in FOLDER.glob("*.po")))


@cache
def translator(lang: str, folder: Path = FOLDER) -> gettext.NullTranslations:
    """Translations from English to `lang`; English itself is left as it is. ParameterError if unknown."""
    if lang not in (allowed := languages()):
        raise ParameterError(f"lang: '{lang}' is not one of {', '.join(allowed)}{nearest(lang, allowed)}")
    if lang == SOURCE_LANGUAGE or not (catalog := folder / f"{lang}.po").is_file():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with catalog.open("rb") as file:
        write_mo(compiled, read_po(file, locale=lang, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def prose(source: str, lang: str) -> list[tuple[str, str]]:
    """The paragraphs of a notebook's text, each with its language: `lang`, or English where there is no translation.
    Blank lines part them; a catalog holds each on one line, so that a text may be wrapped anew."""
    said = translator(lang, NOTEBOOKS).gettext
    keys = [(text, " ".join(text.split())) for text in re.split(r"\n\s*\n", source) if text.strip()]
    return [(text, SOURCE_LANGUAGE) if said(key) == key else (said(key), lang) for text, key in keys]


def number(value: float, lang: str, decimals: int = 1) -> str:
    """`value` with the decimal mark and grouping of `lang`, a true minus sign, and never a negative zero."""
    pattern = "#,##0" + ("." + "0" * decimals if decimals else "")
    text = format_decimal(round(float(value), decimals) + 0.0, format=pattern, locale=lang)
    return text.replace("-", MINUS).replace("\N{NARROW NO-BREAK SPACE}", "\N{NO-BREAK SPACE}")


def short(value: float, lang: str) -> str:
    """`value` with one decimal, or none where that decimal is a zero: 2 or 1.9."""
    return number(value, lang, 0 if round(float(value), 1).is_integer() else 1)


def rough(value: float, lang: str) -> str:
    """`value` to two significant figures, as much as a wide interval bears: 310, 5,700."""
    return number(float(f"{value:.2g}"), lang, 0)


def euro(value: float, lang: str) -> str:
    """Euros to two significant figures: EUR 310."""
    text = translator(lang).gettext("EUR {n}").format(n=rough(value, lang))
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def points(value: float, lang: str) -> str:
    """Percentage points with their sign: +1.6, −4.6, 0.0."""
    text = number(value, lang)
    return f"+{text}" if round(float(value), 1) > 0 else text


def whole_percent(probability: float) -> int:
    """Percent for print, rounded towards 50: a chance of 0.949 never reads as 95, and p and 1 - p sum to 100."""
    percent = round(float(probability) * 100, 6)
    return math.floor(percent) if percent >= 50 else math.ceil(percent)


def percent(probability: float, lang: str) -> str:
    """A probability as `73 %`; certainty and impossibility are never claimed."""
    _ = translator(lang).gettext
    if probability > 0.99:
        return _("more than 99 %")
    if probability < 0.01:
        return _("less than 1 %")
    return f"{whole_percent(probability)} %"


def month(date: dt.date, lang: str) -> str:
    """Month and year in words, `Mar 2022`; an empty text for a missing date."""
    return format_date(date, "MMM y", locale=lang) if isinstance(date, dt.date) and str(date) != "NaT" else ""


def said(finding: str, lang: str, **values: object) -> str:
    """The words for a finding: the macro of that name in template/findings.j2, in `lang`, filled with its numbers."""
    return re.sub(r"[ \n]+", " ", getattr(_findings(lang), finding)(**values)).strip()


@cache
def _findings(lang: str):
    """The macros of template/findings.j2, with `_` and with the ways above to print a number in `lang` as filters."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(loader=FileSystemLoader(FOLDER.parent / "template"), undefined=StrictUndefined)
    pages.globals["_"] = translator(lang).gettext
    forms = (number, points, percent, short, rough, month)
    pages.filters |= {form.__name__: partial(form, lang=lang) for form in forms}
    pages.filters["whole"] = partial(number, lang=lang, decimals=0)
    return pages.get_template("findings.j2").module
