"""The three ways in which the workbench says no, and the nearest name to suggest."""

import difflib
from unicodedata import category

LONGEST = 2000  # characters of a line


class Refusal(ValueError):
    """A message whose lines can all be read: what cannot be seen is escaped, the middle of an endless line left out."""

    def __init__(self, text: str) -> None:
        visible = lambda one: one == "\n" or one.isprintable() or category(one) == "Zs"
        lines = "".join(one if visible(one) else ascii(one)[1:-1] for one in text).split("\n")
        cut = lambda one: one if len(one) <= LONGEST else f"{one[: LONGEST // 2]} ... {one[-LONGEST // 4 :]}"
        super().__init__("\n".join(map(cut, lines)))


class SchemaError(Refusal):
    """A city's data break the contract; the message has one fault per line, all of them."""


class ParameterError(Refusal):
    """A run was asked for with an unknown name or an impossible value; one fault per line, all of them."""


class ConvergenceError(RuntimeError):
    """The sampler gave no draws that may be read."""


def nearest(name, allowed) -> str:
    """Return ", did you mean 'demo'?" for the allowed name closest to `name`, or "" when none is close."""
    by_lower = {str(option).lower(): str(option) for option in allowed}
    found = difflib.get_close_matches(str(name)[:200].lower(), list(by_lower), n=1, cutoff=0.55)
    return f", did you mean {by_lower[found[0]]!r}?" if found else ""
