"""Write docs/items.md from src/workbench/items.toml: what was asked, the answers from secure to insecure, and the sources."""

from pathlib import Path

from workbench.items import ITEMS, Item

TARGET = Path(__file__).resolve().parent.parent / "docs" / "items.md"
HEAD = """# Survey items

Generated from `src/workbench/items.toml` by `scripts/items.py`; a test compares the two.
Answers run from secure to insecure (cohesion: from most to least cohesive); **bold** is where *unsafe*
starts. Only items of one family may be pooled between cities, on the latent scale, never as percentages.

"""


def as_markdown() -> str:
    return HEAD + "\n".join(section(item) for item in ITEMS.values()).rstrip() + "\n"


def section(item: Item) -> str:
    answers = ", ".join(f"**{name}**" if name == item.unsafe_from else name for name in item.categories)
    lines = [f"## {item.item}\n", f"> {item.wording} ({item.wording_language})\n"]
    lines += [f"- {item.construct}, family `{item.family}`", f"- Answers: {answers}"]
    if item.codes:
        lines.append("- Codes: " + ", ".join(f"{code} = {name}" for code, name in item.codes.items()))
    if item.missing:
        lines.append("- No answer: " + ", ".join(item.missing))
    if item.off_scale:
        lines.append("- Off the scale, counted apart: " + ", ".join(item.off_scale))
    if item.routed_out:
        lines.append(f"- Spared by the filter question: {item.routed_out}")
    if item.agree_is_cohesive is False:
        lines.append("- Agreeing means less cohesion, so the answers are turned round")
    return "\n".join([*lines, f"- Source: {item.source}\n"])


if __name__ == "__main__":
    TARGET.write_text(as_markdown(), encoding="utf-8")
