"""The files of one evaluation, and the HTML report: one file that opens offline and runs nothing."""

import math
import os
import re
import tempfile
from functools import partial
from html import escape
from pathlib import Path

import nbformat
import pandas as pd
import xarray as xr
from bleach import Cleaner
from IPython.display import HTML
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from workbench import verdict
from workbench.language import translator
from workbench.paths import resolve
from workbench.provenance import code_hash, versions, write_json, write_text
from workbench.tables import TEMPLATE, stylesheet

SUMMARY = ("mean", "sd", "lower50", "upper50", "lower90", "upper90", "p_fall", "p_fall_minimum", "p_rise")
PHASES = ("load", "compile", "sample", "total")
SETTINGS = ("model", "prior", "seed", "draws", "tune", "chains", "sampler")
# fmt: off
TAGS = frozenset({
    "a", "abbr", "b", "blockquote", "br", "caption", "code", "col", "colgroup", "dd", "div", "dl", "dt", "em", "figcaption",
    "figure", "footer", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "section", "small",
    "span", "strong", "sub", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"})
PLAIN_ATTRIBUTES = frozenset({
    "alt", "class", "colspan", "height", "id", "lang", "role", "rowspan", "scope", "tabindex", "title", "width"})
# fmt: on
STYLE = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
IMAGE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)


def build_result(panel: xr.Dataset, idata: xr.DataTree, inputs: dict, checks: pd.DataFrame, *, lang: str) -> dict:
    """result.json as a plain dict: verdict, sentence, grade, effects, checks, diagnostics, counts, provenance.

    `inputs` has `att` and `by_project` (posterior summaries in pp, see `verdict.decide`), `needed`, the sentence on what
    would settle an open question, `registration` (`registration.summary`) and `evidence` (`pooling.without_evidence`).
    `checks.attrs` holds `design_level` and
    `diagnostics`, `idata.attrs` the settings of the fit and its seconds by phase (`seconds_load`, ...).
    """
    attrs, source, blocked = panel.attrs, dict(idata.attrs), bool((checks["status"] == "fail").any())
    minimum = float(attrs["minimum_pp"])
    decide = partial(verdict.decide, minimum_pp=minimum, blocked=blocked)
    seconds = {name.removeprefix("seconds_"): source.pop(name) for name in list(source) if name.startswith("seconds_")}
    result = {
        "city": attrs["city"],
        "simulated": bool(attrs["simulated"]),
        "item": attrs["item"],
        "unsafe_from": attrs["unsafe_from"],
        "minimum_pp": minimum,
        "window": attrs["window_rule"],
        "verdict": decide(inputs["att"]),
        "grade": verdict.grade(checks.attrs["design_level"], checks),
        "att_pp": inputs["att"],
        "by_project": {project: row | {"verdict": decide(row)} for project, row in inputs["by_project"].items()},
        "needed": inputs["needed"],
        "checks": checks[["name", "status", "message"]].to_dict("records"),
        "diagnostics": checks.attrs["diagnostics"],
        "n": _counts(panel),
        "registration": inputs.get("registration", {}),
        "evidence": inputs.get("evidence", {}),
        "seconds": seconds,
        "provenance": {
            "data_hash": attrs["data_hash"],
            "code_hash": code_hash(),
            **{name: source[name] for name in SETTINGS if name in source},
            **versions(),
        },
    }
    result["sentence"] = verdict.sentence(result, lang=lang)
    return _finite(result)


def _counts(panel: xr.Dataset) -> dict:
    treated = panel["treated"].to_numpy()
    assumed = bool(panel.attrs["n_assumed"])
    return {
        "respondents": None if assumed else round(float(panel["respondents"].sum())),
        "areas": treated.size,
        "treated_areas": int(treated.sum()),
        "waves": panel.sizes["wave"],
    }


def _finite(value: object) -> object:
    """The same structure with numpy numbers made plain and NaN made None, which is all that JSON knows."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_finite(entry) for entry in value]
    plain = value.item() if hasattr(value, "item") else value
    return None if isinstance(plain, float) and not math.isfinite(plain) else plain


def save_evaluation(out: str, *, idata: xr.DataTree, effects: pd.DataFrame, result: dict) -> None:
    """Write posterior.nc (float32, compressed), effects.csv and result.json into `out`, each whole or not at all.

    An empty `out` writes nothing, so that a notebook can be read and run without leaving files behind.
    """
    if not out:
        return
    folder = resolve(out)
    folder.mkdir(parents=True, exist_ok=True)
    _write_posterior(folder / "posterior.nc", idata)
    write_text(folder / "effects.csv", effects.to_csv(index=False))
    write_json(folder / "result.json", _as_published(result))


def _as_published(result: dict) -> dict:
    """result.json holds the keys that docs/data.md promises; what only page 1 needs stays behind."""
    short = {name: value for name, value in result.items() if name != "needed"}
    short["att_pp"] = {name: result["att_pp"][name] for name in SUMMARY}
    short["by_project"] = {
        project: {name: row.get(name) for name in (*SUMMARY, "verdict", "cost_per_resident_eur")}
        for project, row in result["by_project"].items()
    }
    short["seconds"] = {name: result["seconds"].get(name) for name in PHASES}
    return short


def _write_posterior(path: Path, idata: xr.DataTree) -> None:
    encoding = {
        node.path: {
            name: {"zlib": True, "complevel": 4, "dtype": "float32"}
            for name, variable in node.data_vars.items()
            if variable.dtype.kind == "f"
        }
        for node in idata.subtree
    }
    handle, part = tempfile.mkstemp(prefix=".posterior-", suffix=".nc.part", dir=path.parent)
    os.close(handle)
    try:
        idata.to_netcdf(part, engine="h5netcdf", encoding={group: e for group, e in encoding.items() if e})
        os.chmod(part, 0o644)
        os.replace(part, path)
    finally:
        Path(part).unlink(missing_ok=True)


def warning(result: dict, *, lang: str) -> HTML:
    """A banner above every effect of a blocked evaluation; nothing otherwise."""
    _ = translator(lang).gettext
    text = _(
        "Blocked: a check failed, so the numbers below do not show what the projects did. They are printed for "
        "whoever looks for the cause."
    )
    return HTML(f'<p class="banner">{escape(text)}</p>' if result["verdict"] == "blocked" else "")


def headline(result: dict, *, lang: str) -> HTML:
    """The sentence of `verdict` for a notebook that examines it, and that the city is simulated if it is."""
    note = translator(lang).gettext("Simulated city: every number on this page is invented to show the report.")
    note = f'<p class="sim">{escape(note)}</p>' if result["simulated"] else ""
    return HTML(f'<div class="page-one">{note}<blockquote><b>{escape(result["sentence"])}</b></blockquote></div>')


# --- HTML -------------------------------------------------------------------------------------------------------------


def render(notebook: nbformat.NotebookNode | str | os.PathLike, *, lang: str, title: str) -> str:
    """The executed notebook as one offline HTML page: no script, no outside address, code folded away.

    The cell tagged `page-one` comes first, cells tagged `remove` are left out, every text is cleaned, and outputs
    are kept only as pictures, tables and plain text. ValueError if a picture has no alt text.
    """
    nb = _reordered(
        nbformat.read(notebook, as_version=4) if not isinstance(notebook, dict) else nbformat.from_dict(notebook)
    )
    _ = translator(lang).gettext
    exporter = HTMLExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        template_file="index.html.j2",
        filters={"clean": clean, "markdown_clean": _markdown},
    )
    words = {"code": _("Code"), "english": _("The pages that follow explain the method, in English.")}
    resources = {
        "lang": lang,
        "title": title,
        "css": stylesheet(),
        "words": words,
        "demote": any("page-one" in _tags(cell) for cell in nb.cells),
    }
    html, _resources = exporter.from_notebook_node(nb, resources=resources)
    _refuse_images_without_alt(html)
    return html


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def _reordered(nb: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Cells to show, page 1 in front; every picture of an output must carry its alt text."""
    kept = [cell for cell in nb.cells if "remove" not in _tags(cell)]
    for number, cell in enumerate(kept, start=1):
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}) and not _alt(output):
                raise ValueError(f"cell {number}: a picture without alt text; display it with figures.show(fig, alt)")
    first = [cell for cell in kept if "page-one" in _tags(cell)]
    rest = _folded([cell for cell in kept if "page-one" not in _tags(cell)])
    return nbformat.v4.new_notebook(cells=first + rest, metadata=nb.metadata)


def _folded(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """The cells, code that shows nothing joined to the code after it, so that a reader meets one fold and not a row."""
    made: list[nbformat.NotebookNode] = []
    for cell in cells:
        before = made[-1] if made else None
        if before and before.cell_type == cell.cell_type == "code" and not any(map(_shows, before.outputs)):
            source = "\n\n".join(text for text in (before.source, cell.source) if text.strip())
            made[-1] = nbformat.v4.new_code_cell(source, outputs=cell.outputs)
        else:
            made.append(cell)
    return made


def _shows(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    seen = "image/png" in data or STYLE.sub("", data.get("text/html", data.get("text/plain", ""))).strip()
    return output.output_type == "error" or bool(seen) or output.get("name") == "stdout"


def _alt(output: nbformat.NotebookNode) -> str:
    return str(output.get("metadata", {}).get("image/png", {}).get("alt", "")).strip()


def clean(html: str) -> str:
    """HTML with nothing in it that runs or fetches: known tags, pictures as data, links within the page only."""
    return Cleaner(tags=TAGS, attributes=_allowed, protocols={"data"}, strip=True).clean(STYLE.sub("", html))


def _allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith("data:image/png;base64,")
    if tag == "a" and name == "href":
        return value.startswith("#")
    return name in PLAIN_ATTRIBUTES


def _markdown(source: str, demote: bool) -> str:
    """Markdown as clean HTML; below page 1, which has the page's only first-level heading, headings move down one."""
    html = clean(re.sub(r'<a class="anchor-link".*?</a>', "", markdown2html(source)))
    return re.sub(r"(</?h)([1-5])\b", lambda m: f"{m[1]}{int(m[2]) + 1}", html) if demote else html


def _refuse_images_without_alt(html: str) -> None:
    bare = [tag for tag in IMAGE.findall(html) if not re.search(r'\balt="\s*[^"\s]', tag)]
    if bare:
        raise ValueError(f"{len(bare)} picture(s) without alt text in the report")
