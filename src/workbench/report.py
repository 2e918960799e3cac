"""The files of one evaluation, and the HTML report: one file that opens offline and runs nothing."""

import os
import re
import tempfile
from html import escape
from pathlib import Path

import nbformat
import pandas as pd
import xarray as xr
from bleach import Cleaner
from IPython.display import HTML
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from workbench.language import translator
from workbench.paths import resolve
from workbench.provenance import write_json, write_text
from workbench.tables import TEMPLATE, stylesheet

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
    write_json(folder / "result.json", result)


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


# --- HTML -------------------------------------------------------------------------------------------------------------


def render(notebook: nbformat.NotebookNode | str | os.PathLike, *, lang: str, title: str) -> str:
    """The executed notebook as one offline HTML page: no script, no outside address, code folded away.

    The cell tagged `page-one` comes first, cells tagged `remove` are left out, every text is cleaned, and outputs
    are kept only as pictures, tables and plain text. ValueError if a picture has no alt text.
    """
    nb = _reordered(
        nbformat.read(notebook, as_version=4)
        if not isinstance(notebook, dict)
        else nbformat.from_dict(notebook)
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
                raise ValueError(
                    f"cell {number}: a picture without alt text; display it with figures.show(fig, alt)"
                )
    shown = sorted(kept, key=lambda cell: "page-one" not in _tags(cell))
    return nbformat.v4.new_notebook(cells=shown, metadata=nb.metadata)


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
