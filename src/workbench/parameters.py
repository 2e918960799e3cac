"""What a notebook may be told: parameters typed and refused before anything runs.

papermill itself only warns about an unknown parameter or a wrong type, and a crafted name is executed."""

import ast
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, create_model

from workbench.errors import ParameterError, nearest
from workbench.language import languages
from workbench.paths import NAME, relative, resolve
from workbench.schema import FOCUS

_EMPTY_IS_NONE = BeforeValidator(lambda value: None if value == "" else value)
_OUTCOMES = r"^(|(perceived|cohesion|recorded)(;(perceived|cohesion|recorded))*)$"
_TEXT = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$", max_length=5000)] | None
_LINE, _LIST = (_TEXT, "text on one line"), (_TEXT, "a list separated by ';'")
_ABOVE_0 = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_UP_TO_100 = Annotated[Annotated[_ABOVE_0, Field(le=100)] | None, _EMPTY_IS_NONE]

# Every parameter name has one type and one meaning in all notebooks (notebooks/README.md lists them).
PARAMETERS: dict[str, tuple[Any, str]] = {
    "city": (Annotated[str, Field(pattern=f"^{NAME.pattern}$")], "a name of lower-case letters, digits, '-' and '_'"),
    "raw": (_TEXT, "the folder that holds the cities"),
    "out": (_TEXT, "the folder to write to"),
    "run": (_TEXT, "the folder of an evaluation"),
    "focus": (Literal["", *FOCUS], f"one of {', '.join(FOCUS)}"),
    "item": _LINE,
    "unsafe_from": _LINE,
    "projects": _LIST,
    "comparison": _LIST,
    "window_months": (Annotated[str, Field(pattern=r"^\d{1,3}-\d{1,3}$")], "a range of months such as 6-24"),
    "minimum_pp": (_UP_TO_100, "a number of percentage points above 0"),
    "threshold": (_UP_TO_100, "a percentage above 0"),
    "worth_eur": (Annotated[_ABOVE_0 | None, _EMPTY_IS_NONE], "a number of euros above 0"),
    "cards": _LIST,
    "prior_from": (_TEXT, "a folder of evidence cards"),
    "discount": (Annotated[_ABOVE_0, Field(le=1)], "a number above 0, at most 1"),
    "prior": (Literal["sceptical", "wide", "flat"], "one of sceptical, wide, flat"),
    "outcomes": (Annotated[str, Field(pattern=_OUTCOMES)], "perceived, cohesion, recorded, separated by ';'"),
    "mechanism": (bool, "true or false"),
    "reporting": (bool, "true or false"),
    "neighbours": (bool, "true or false"),
    "spatial": (bool, "true or false"),
    "checks": (Literal["core", "full"], "one of core, full"),
    "draws": (Annotated[int, Field(ge=1, le=100_000)], "a whole number from 1 to 100000"),
    "tune": (Annotated[int, Field(ge=0, le=100_000)], "a whole number from 0 to 100000"),
    "chains": (Annotated[int, Field(ge=1, le=64)], "a whole number from 1 to 64"),
    "seed": (Annotated[int, Field(ge=0, lt=2**32)], "a whole number from 0 to 4294967295"),
    "lang": (Literal[languages()], f"one of {', '.join(languages())}"),
}


def notebook_parameters(notebook: str | Path) -> type[BaseModel]:
    """The typed model of a notebook's parameters, with the defaults of its cell tagged `parameters`; names that
    PARAMETERS does not have take the type of their default. ParameterError when the notebook is absent, has no such
    cell, or sets a parameter to something other than a plain value."""
    fields = {}
    for name, default in _defaults(resolve(notebook)).items():
        known = PARAMETERS.get(name, (type(default), f"a {type(default).__name__}"))
        fields[name] = (known[0], Field(default=default, description=known[1], validate_default=False))
    return create_model("Parameters", __config__=ConfigDict(extra="forbid"), **fields)


def validate_parameters(notebook: str | Path, parameters: Mapping[str, object]) -> dict:
    """Return all parameters of a run, typed, defaults filled in; raise ParameterError naming every fault at once."""
    model = notebook_parameters(notebook)
    try:
        return model(**parameters).model_dump()
    except ValidationError as error:
        faults = [_fault(model, detail) for detail in error.errors()]
        raise ParameterError("\n".join(dict.fromkeys(faults))) from None


def _defaults(notebook: Path) -> dict:
    """Return name -> default of the cell tagged `parameters`, read without running or importing anything."""
    if not notebook.is_file():
        there = [file.stem for file in notebook.parent.glob("*.ipynb")]
        raise ParameterError(f"no notebook {relative(notebook)}{nearest(notebook.stem, there)}")
    try:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        tagged = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
        body = ast.parse("".join(tagged[0]["source"])).body
        targets = [step.targets[0] if isinstance(step, ast.Assign) else step.target for step in body]
        return {target.id: ast.literal_eval(step.value) for target, step in zip(targets, body, strict=True)}
    except (ValueError, KeyError, IndexError, AttributeError, TypeError, SyntaxError) as error:
        wanted = "needs one cell tagged 'parameters' that sets plain values"
        raise ParameterError(f"notebook {relative(notebook)}: {wanted} ({error})") from None


def _fault(model: type[BaseModel], detail: Mapping[str, Any]) -> str:
    """Return one line on one refused parameter."""
    name = str(detail["loc"][0])
    shown = repr(name if len(name) <= 60 else f"{name[:60]}...")
    if detail["type"] == "extra_forbidden":
        known = model.model_fields
        return f"parameter {shown} is unknown{nearest(name, known)} (known: {', '.join(known)})"
    value, words = str(detail["input"])[:60], model.model_fields[name].description
    options = words.removeprefix("one of ").split(", ") if words.startswith("one of ") else ()
    return f"parameter {name}: {value!r} is not {words}{nearest(value, options)}"
