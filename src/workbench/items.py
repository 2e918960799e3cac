"""The survey items we know (items.toml): exact wording, ordered answers, where "unsafe" starts, and their source.

Answers run from secure to insecure (cohesion: most to least cohesive), whatever order the questionnaire has."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path

LANGUAGES = ("en", "nl", "fr")


@dataclass(frozen=True)
class Item:
    """One survey question; `categories` are the labels used in every table, from secure to insecure."""

    item: str
    wording: str  # as asked, in `wording_language`
    wording_language: str
    categories: tuple[str, ...]
    unsafe_from: str  # the first category that counts as unsafe (cohesion: as not cohesive)
    source: str
    family: str  # only items of one family may be pooled between cities
    construct: str  # "insecurity", "cohesion" or "reporting" (of what happened, to the police)
    question: dict[str, str]  # short question by language
    labels: dict[str, tuple[str, ...]]  # the categories by language, same order
    codes: dict[str, str] = field(default_factory=dict)  # the survey's own codes, where known
    missing: tuple[str, ...] = ()  # the survey's own codes for no answer
    off_scale: tuple[str, ...] = ()  # answers that inform but have no place on the scale
    routed_out: str = ""  # the category of those whom a filter question spared this one
    agree_is_cohesive: bool | None = None  # direction of a statement; None for a question


def _item(name: str, entry: dict, scales: dict[str, dict[str, list[str]]]) -> Item:
    """Build one Item; a statement against cohesion ("hardly know each other") has its answers turned round."""
    scale = list(scales[entry["scale"]].items())
    if entry.get("agree_is_cohesive") is False:
        scale.reverse()
    labels = {lang: tuple(texts[i] for _, texts in scale) for i, lang in enumerate(LANGUAGES)}
    rest = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items() if key != "scale"}
    return Item(item=name, categories=tuple(label for label, _ in scale), labels=labels, **rest)


CONTENT = tomllib.loads((Path(__file__).parent / "items.toml").read_text(encoding="utf-8"))
ITEMS: dict[str, Item] = {name: _item(name, entry, CONTENT["scales"]) for name, entry in CONTENT["items"].items()}
