"""The files of one evaluation, and the HTML report: one file that opens offline and runs nothing."""

import re
from functools import partial
from html import escape
from itertools import groupby

import nbformat
import pandas as pd
import xarray as xr
from bleach import Cleaner
from IPython.display import HTML
from nbconvert import HTMLExporter
from nbconvert.filters import markdown2html

from workbench import verdict
from workbench.language import NOTEBOOKS, prose, said, translator
from workbench.paths import resolve
from workbench.provenance import as_json, code_hash, versions, write_bytes, write_csv, write_json
from workbench.tables import TEMPLATE, stylesheet

SUMMARY = ("mean", "sd", "lower50", "upper50", "lower90", "upper90", "p_fall", "p_fall_minimum", "p_rise")
PHASES = ("load", "compile", "sample", "total")
SETTINGS = ("model", "prior", "seed", "draws", "tune", "chains", "sampler")
TAGS = (
    "a abbr b blockquote br caption code col colgroup dd div dl dt em figcaption figure footer h1 h2 h3 h4 h5 h6 "
    "hr i img li ol p pre s section small span strong sub sup table tbody td tfoot th thead tr u ul"
)
PLAIN = {"alt", "class", "colspan", "height", "id", "lang", "role", "rowspan", "scope", "tabindex", "title", "width"}
STYLE = re.compile(r"<(style|script)\b.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
# A whole tag with its quoted values: a city may have a name that reads like a tag, and that stands in an alt text.
TAG = re.compile(r"""<[a-z](?:[^>"']++|"[^"]*+"|'[^']*+')*+>""", re.IGNORECASE)
ATTRIBUTE = re.compile(r"""([\w-]+)=("[^"]*"|'[^']*')""")


def build_result(panel: xr.Dataset, idata: xr.DataTree, inputs: dict, checks: pd.DataFrame, *, lang: str) -> dict:
    """result.json as a plain dict: verdict, sentence, grade, effects, checks, diagnostics, counts, provenance. `inputs`
    has `att` and `by_project` (posterior summaries in pp, see `verdict.decide`), `needed`, the sentence on what would
    settle an open question, `registration` (`registration.summary`) and `evidence` (`pooling.without_evidence`).
    `checks.attrs` holds `design_level` and `diagnostics`, `idata.attrs` the fit's settings and `seconds_` by phase."""
    attrs, fitted, treated = panel.attrs, idata.attrs, panel["treated"].to_numpy()
    minimum, blocked = float(attrs["minimum_pp"]), bool((checks["status"] == "fail").any())
    decide = partial(verdict.decide, minimum_pp=minimum, blocked=blocked)
    answers = None if attrs["n_assumed"] else round(float(panel["respondents"].sum()))
    settings = {name: fitted[name] for name in SETTINGS if name in fitted}
    seconds = {name.removeprefix("seconds_"): fitted[name] for name in fitted if name.startswith("seconds_")}
    sizes = {"areas": treated.size, "treated_areas": int(treated.sum()), "waves": panel.sizes["wave"]}
    result = {name: attrs[name] for name in ("city", "simulated", "item", "unsafe_from")} | {
        "simulated": bool(attrs["simulated"]),
        "minimum_pp": minimum,
        "window": attrs["window_rule"],
        "verdict": decide(inputs["att"]),
        "grade": verdict.grade(checks.attrs["design_level"], checks),
        "att_pp": inputs["att"],
        "by_project": {project: row | {"verdict": decide(row)} for project, row in inputs["by_project"].items()},
        "needed": inputs["needed"],
        "checks": checks[["name", "status", "message"]].to_dict("records"),
        "diagnostics": checks.attrs["diagnostics"],
        "n": {"respondents": answers} | sizes,
        "registration": inputs.get("registration", {}),
        "evidence": inputs.get("evidence", {}),
        "seconds": seconds,
        "provenance": {"data_hash": attrs["data_hash"], "code_hash": code_hash()} | settings | versions(),
    }
    return as_json(result | {"sentence": verdict.sentence(result, lang=lang)})


def save_evaluation(out: str, *, idata: xr.DataTree, effects: pd.DataFrame, result: dict, others=None) -> None:
    """Write posterior.nc (float32, compressed), effects.csv and result.json into `out`, each whole or not at all.
    result.json holds the keys that docs/data.md promises; what only page 1 needs stays behind. `others` are fits of
    further outcomes, whose draws become groups of that name. An empty `out` writes nothing, so that a notebook can be
    read and run without leaving files behind."""
    if not out:
        return
    folder, packed = resolve(out), {"zlib": True, "complevel": 4, "dtype": "float32"}
    drawn = {name: fit["posterior"].to_dataset() for name, fit in (others or {}).items()}
    # What only the sampler sees follows from what it stands for, and would make a large file larger.
    raw = lambda draws: [name for name in draws if name == "z" or str(name).endswith("_raw")]
    drawn = {name: draws.drop_vars(raw(draws)) for name, draws in drawn.items()}
    idata = xr.DataTree.from_dict({node.path: node.to_dataset() for node in idata.subtree} | drawn)
    encoding = {
        node.path: {name: packed for name, values in node.data_vars.items() if values.dtype.kind == "f"}
        for node in idata.subtree
    }
    write_bytes(folder / "posterior.nc", bytes(idata.to_netcdf(engine="h5netcdf", encoding=encoding)))
    write_csv(folder / "effects.csv", effects)
    only = lambda row, *names: {name: row.get(name) for name in names}
    rows = {p: only(row, *SUMMARY, "verdict", "cost_per_resident_eur") for p, row in result["by_project"].items()}
    short = {"by_project": rows, "att_pp": only(result["att_pp"], *SUMMARY)}
    short["seconds"] = only(result["seconds"], *PHASES)
    write_json(folder / "result.json", {name: short.get(name, result[name]) for name in result if name != "needed"})


def warning(result: dict, *, lang: str) -> HTML:
    """A banner above every effect of a blocked evaluation; nothing otherwise."""
    text = escape(said("blocked_banner", lang))
    return HTML(f'<p class="banner">{text}</p>' if result["verdict"] == "blocked" else "")


def headline(result: dict, *, lang: str) -> HTML:
    """The sentence of `verdict` for a notebook that examines it, and that the city is simulated if it is."""
    note = translator(lang).gettext("Simulated city: every number on this page is invented to show the report.")
    note = f'<p class="sim">{escape(note)}</p>' if result["simulated"] else ""
    return HTML(f'<div class="page-one">{note}<blockquote><b>{escape(result["sentence"])}</b></blockquote></div>')


def render(nb: nbformat.NotebookNode, *, lang: str, title: str) -> str:
    """The executed notebook as one offline HTML page: no script, no outside address, code folded away. The cell tagged
    `page-one` comes first, cells tagged `remove` are left out, every text is cleaned, and outputs are kept only as
    pictures, tables and plain text. ValueError if a picture has no alt text."""
    _, told = translator(lang).gettext, translator(lang, NOTEBOOKS).gettext
    exporter = HTMLExporter(
        template_name=TEMPLATE.name,
        extra_template_basedirs=[str(TEMPLATE.parent)],
        template_file="index.html.j2",
        filters={"clean": clean, "text": partial(_markdown, lang=lang, demote=any(map(_page_one, nb.cells)))},
    )
    about = {"lang": lang, "title": told(f"# {title}").removeprefix("# "), "css": stylesheet(), "code": _("Code")}
    shown = nbformat.v4.new_notebook(cells=_arranged(nb.cells), metadata=nb.metadata)
    html, _resources = exporter.from_notebook_node(shown, resources=about)
    pictures = [dict(ATTRIBUTE.findall(tag)) for tag in TAG.findall(html) if tag.startswith("<img")]
    if bare := [picture for picture in pictures if not picture.get("alt", "").strip("\"' \n")]:
        raise ValueError(f"{len(bare)} picture(s) without alt text in the report; display with figures.show(fig, alt)")
    return html


def _page_one(cell: nbformat.NotebookNode) -> bool:
    return "page-one" in cell.metadata.get("tags", [])


def _arranged(cells: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Cells to show, page 1 in front; code that shows nothing joins the code after it, one fold instead of a row."""
    kept = [cell for cell in cells if "remove" not in cell.metadata.get("tags", [])]
    first, rest = [cell for cell in kept if _page_one(cell)], []
    for cell in (cell for cell in kept if not _page_one(cell)):
        before = rest[-1] if rest else None
        if before and before.cell_type == cell.cell_type == "code" and not any(map(_shows, before.outputs)):
            source = "\n\n".join(text for text in (before.source, cell.source) if text.strip())
            rest[-1] = nbformat.v4.new_code_cell(source, outputs=cell.outputs)
        else:
            rest.append(cell)
    return first + rest


def _shows(output: nbformat.NotebookNode) -> bool:
    data = output.get("data", {})
    seen = "image/png" in data or STYLE.sub("", data.get("text/html", data.get("text/plain", ""))).strip()
    return output.output_type == "error" or bool(seen) or output.get("name") == "stdout"


def clean(html: str) -> str:
    """HTML with nothing in it that runs or fetches: known tags, pictures as data, links within the page only."""
    return Cleaner(tags={*TAGS.split()}, attributes=_allowed, protocols={"data"}, strip=True).clean(STYLE.sub("", html))


def _allowed(tag: str, name: str, value: str) -> bool:
    if tag == "img" and name == "src":
        return value.startswith("data:image/png;base64,")
    if tag == "a" and name == "href":
        return value.startswith("#")
    return name in PLAIN


def _markdown(source: str, *, lang: str, demote: bool) -> str:
    """Markdown as clean HTML in `lang`; what has no translation is marked as English, so that it is read out as
    English. Below page 1, which has the page's only first-level heading, headings move down one."""
    html = ""
    for spoken, paragraphs in groupby(prose(source, lang), key=lambda pair: pair[1]):
        text = markdown2html("\n\n".join(text for text, _lang in paragraphs))
        html += text if spoken == lang else f'<div lang="{spoken}">{text}</div>'
    html = clean(re.sub(r'<a class="anchor-link".*?</a>', "", html))
    return re.sub(r"(</?h)([1-5])\b", lambda m: f"{m[1]}{int(m[2]) + 1}", html) if demote else html
