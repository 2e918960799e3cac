"""The command line: thin, and quick to answer, so everything heavy is imported inside a command."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from workbench.errors import ParameterError, SchemaError, nearest
from workbench.paths import relative, resolve, validate_name


class Refusing(TyperGroup):
    """Commands that end a refusal of input with its message and exit code 2, without a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ParameterError, SchemaError) as error:
            print(error, file=sys.stderr)
            raise typer.Exit(2) from None


app = typer.Typer(
    cls=Refusing,
    help="Did local social-cohesion projects shift how unsafe residents feel? "
    "From a city's own survey files to a verdict a council can read.",
    epilog="Start with: workbench cities, then workbench check CITY, then workbench evaluate CITY.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Raw = Annotated[str, typer.Option(help="Folder that holds one folder per city.", metavar="DIR")]
City = Annotated[str, typer.Argument(help="Name of the city's folder, as `workbench cities` lists it.", metavar="CITY")]
Parameter = Annotated[
    list[str] | None,
    typer.Option(
        "-p", "--parameter", help="Any other parameter of the notebook; repeat for more.", metavar="NAME=VALUE"
    ),
]
EVALUATION, POOL = "notebooks/03-evaluate-projects.ipynb", "notebooks/07-compare-cities.ipynb"


def _progress() -> Callable[[str], None]:
    """Return a function that prints a line with the seconds since now; to stderr, so that results can be piped."""
    start = time.monotonic()
    return lambda text: print(f"{time.monotonic() - start:5.0f} s  {text}", file=sys.stderr, flush=True)


@app.command()
def cities(raw: Raw = "data/raw") -> None:
    """List the cities there are data for."""
    from workbench.cities import list_cities

    table = list_cities(resolve(raw))
    empty = f"No city in {relative(raw)}: a city is a folder with a city.toml."
    print(empty if table.empty else table.to_string(index=False))


@app.command()
def check(city: City, raw: Raw = "data/raw") -> None:
    """Say what a city's files hold, or list every fault."""
    from workbench.cities import load_city

    found = load_city(validate_name(city, "city"), raw=resolve(raw))
    facts = {
        "city": f"{found.name} ({found.city}){', simulated' if found.simulated else ''}",
        "areas": len(found.areas),
    }
    facts["waves"] = f"{len(found.waves)} ({', '.join(found.waves['wave'])})"
    if found.respondents is not None:
        facts["respondents"] = f"{len(found.respondents)}{', weighted' if found.weighted else ''}"
    if found.shares is not None:
        facts["shares"] = f"{len(found.shares)} published percentages, no respondents"
    areas = found.projects.groupby("project").size().items()
    projects = [f"{project} ({n} area{'s' if n > 1 else ''})" for project, n in areas]
    facts |= {"items": ", ".join(found.items), "projects": ", ".join(projects) or "none"}
    for label, value in facts.items():
        print(f"{label + ':':<13} {value}")
    for notice in found.notices:
        print(f"notice: {notice}")
    print("The files keep to the contract.")


@app.command()
def evaluate(
    city: City,
    raw: Raw = "data/raw",
    out: Annotated[
        str | None, typer.Option(help="Folder for the report.", metavar="DIR", show_default="reports/CITY")
    ] = None,
    item: Annotated[str | None, typer.Option(help="Survey item to judge by; by default the projects' own.")] = None,
    project: Annotated[
        list[str] | None, typer.Option(help="Project to evaluate; repeat for more. By default all of them.")
    ] = None,
    comparison: Annotated[
        str | None, typer.Option(help="Areas to compare with; by default all without a project.", metavar="AREA;AREA")
    ] = None,
    checks: Annotated[
        Literal["core", "full"] | None,
        typer.Option(
            help="full also fits the effect under every prior; takes about a minute more.", show_default="core"
        ),
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="Language of the report.", metavar="en|nl|fr", show_default="en")
    ] = None,
    prior_from: Annotated[
        str | None, typer.Option(help="Folder of other cities' evidence cards that make the prior.", metavar="DIR")
    ] = None,
    discount: Annotated[
        float | None, typer.Option(help="Weight of each such card, 0 to 1.", show_default="0.5")
    ] = None,
    parameter: Parameter = None,
) -> None:
    """Evaluate a city's projects and write a report.

    The report is one HTML file that opens without internet.

    Ends with 0 when there is a verdict, whatever it is ("cannot tell" included), 1 when the evaluation failed or
    was blocked by a check, and 2 when the data or parameters were refused; then nothing is written.
    """
    say, target = _progress(), out or f"reports/{city}"
    from workbench import parameters, runs
    from workbench.cities import write_processed

    given = {"city": validate_name(city, "city"), "raw": raw, "out": target}
    options = {"item": item, "projects": ";".join(project or ()) or None, "comparison": comparison}
    options |= {"checks": checks, "lang": lang, "prior_from": prior_from, "discount": discount}
    given |= {name: value for name, value in options.items() if value is not None}
    say("checking the files")
    given = _with(given, parameter)
    values = parameters.validate_parameters(EVALUATION, given)
    checked, panel = _check_evaluation(values)
    if values["prior_from"]:
        from workbench.pooling import others

        others(values["prior_from"], city=checked, panel=panel)
    status = runs.run_notebook(EVALUATION, given, out=target, data_hash=checked.data_hash, say=say)
    # Only now: a folder for the report that cannot be written is refused above, and then nothing may be left.
    write_processed(checked, panel=panel)
    _print_outcome(status, resolve(target))
    raise typer.Exit(0 if status["state"] == "done" else 1)


def _with(given: dict[str, Any], parameter: list[str] | None) -> dict[str, Any]:
    """Return the parameters with those of the options -p, none of them given twice."""
    found = dict(given)
    for text in parameter or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ParameterError(f"-p {text!r}: write NAME=VALUE")
        if name in found:
            raise ParameterError(f"parameter {name!r} is given twice; leave out -p {name}=...")
        found[name] = value
    return found


@app.command()
def register(
    city: City,
    project: Annotated[str, typer.Option(help="Project to register.")],
    raw: Raw = "data/raw",
    out: Annotated[
        str | None, typer.Option(help="File to write.", metavar="FILE", show_default="registrations/CITY-P.json")
    ] = None,
    question: Annotated[str, typer.Option(help="What is asked.", show_default="made from the item")] = "",
    decision: Annotated[
        str, typer.Option(help="What will be decided on it.", show_default="whether to go on with the project")
    ] = "",
    parameter: Parameter = None,
) -> None:
    """Write down how a project will be evaluated, before outcomes are opened."""
    from workbench import parameters, registration
    from workbench.cities import load_city

    given = _with({"city": validate_name(city, "city"), "raw": raw, "projects": project}, parameter)
    values = parameters.validate_parameters(EVALUATION, given)
    if extra := sorted(given.keys() - {"city", "raw", "projects", *registration.FIELDS}):
        raise ParameterError(f"-p {', '.join(extra)}: not registered; allowed: {', '.join(registration.FIELDS)}")
    found = load_city(city, raw=resolve(raw))
    content = registration.plan(found, values, project=project, question=question, decision=decision)
    print(f"Registered: {relative(registration.save(content, out=out, raw=raw))}", *content["notes"], sep="\n")


@app.command()
def card(
    run_dir: Annotated[str, typer.Argument(help="Folder of a finished evaluation.", metavar="RUN_DIR")],
    out: Annotated[
        str | None, typer.Option(help="File to write.", metavar="FILE", show_default="RUN_DIR/card.json")
    ] = None,
    raw: Annotated[
        str | None, typer.Option(help="Where the cities are, if not where they were.", metavar="DIR")
    ] = None,
) -> None:
    """Write what an evaluation learned as an evidence card, to be pooled: no respondent's data, no small cell."""
    say = _progress()
    say("reading the run and its city, and fitting once without a prior of effects")
    from workbench import provenance
    from workbench.cards import build_card

    content, target = build_card(run_dir, raw=raw), resolve(out or f"{run_dir}/card.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"Card: {relative(provenance.write_json(target, content))}, {len(content['projects'])} projects")


@app.command()
def pool(
    cards: Annotated[list[str], typer.Argument(help="Evidence cards, or folders of them.", metavar="CARD...")],
    out: Annotated[str, typer.Option(help="Folder for the report.", metavar="DIR")],
    lang: Annotated[str, typer.Option(help="Language of the report.", metavar="en|nl|fr")] = "en",
    parameter: Parameter = None,
) -> None:
    """Pool the evidence cards of several cities and write a report."""
    say = _progress()
    from workbench import parameters, provenance, runs
    from workbench.cards import choose, read_cards

    given = _with({"cards": ";".join(cards), "out": out, "lang": lang}, parameter)
    values = parameters.validate_parameters(POOL, given)
    found = read_cards(cards)
    choose(found, focus=values["focus"] or "", least=2)
    seals = provenance.hash_parameters({"cards": sorted(card["sha256"] for card in found)})
    status = runs.run_notebook(POOL, given, out=out, data_hash=seals, say=say)
    _print_outcome(status, resolve(out))
    raise typer.Exit(0 if status["state"] == "done" else 1)


def _check_evaluation(values: dict[str, Any]) -> tuple[Any, Any]:
    """Return the city and panel of an evaluation; refuse what cannot be evaluated while nothing is written yet."""
    from workbench.cities import load_city
    from workbench.panel import build_panel

    city = load_city(values["city"], raw=resolve(values["raw"]))
    names = ("item", "unsafe_from", "projects", "comparison", "window_months", "minimum_pp")
    panel = build_panel(city, **{name: values[name] for name in names if values.get(name)})
    return city, panel


def _print_outcome(status: dict[str, Any], folder: Path) -> None:
    """Print the verdict sentence and where the report is, or why there is none."""
    import json

    for file in ("result.json", "pooled.json"):
        if file in status["files"]:
            print(json.loads((folder / file).read_text(encoding="utf-8"))["sentence"])
    if status["state"] != "done":
        print(f"{status['state']}: {status['reason']}", file=sys.stderr)
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    for name in ("report.html", "notebook.ipynb"):
        if name in status["files"]:
            print(f"{'Report' if name.startswith('report') else 'Notebook'}: {shown / name}")


@app.command()
def simulate(
    out: Annotated[str, typer.Option(help="City folder to make, for example data/raw/mytown.", metavar="DIR")],
    areas: Annotated[int, typer.Option(help="Number of areas.")] = 24,
    treated: Annotated[int, typer.Option(help="How many of them get a project.")] = 8,
    waves: Annotated[int, typer.Option(help="Number of yearly survey waves.")] = 5,
    respondents: Annotated[int, typer.Option(help="Respondents, all waves together.")] = 6000,
    projects: Annotated[int, typer.Option(help="Number of projects sharing the treated areas.")] = 4,
    effect_pp: Annotated[float, typer.Option(help="True mean effect in percentage points; negative is safer.")] = -4.0,
    baseline_unsafe: Annotated[float, typer.Option(help="Share who feel unsafe in comparison areas, wave 1.")] = 0.2,
    baseline_gap_pp: Annotated[float, typer.Option(help="How far treated areas start above that.")] = 6.0,
    trend: Annotated[float, typer.Option(help="Change per wave for everyone, logit scale.")] = 0.0,
    shock_sd: Annotated[float, typer.Option(help="Spread of area-wave shocks, logit scale.")] = 0.1,
    shock_rho: Annotated[float, typer.Option(help="Correlation of shocks from wave to wave.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Same seed, same city.")] = 1,
    shares: Annotated[
        bool, typer.Option("--shares", help="Write published percentages instead of respondents.")
    ] = False,
) -> None:
    """Make a city with a known true effect."""
    options = locals() | {"out": resolve(out)}
    validate_name(options["out"].name, "the city folder")
    from workbench.simulate import simulate_city

    simulate_city(**options)
    print(f"Made {out}, with its truth in truth.json.")


@app.command("import")
def import_layout(
    layout: Annotated[str, typer.Argument(help="Name of the published layout, for example stadsmonitor.")],
    files: Annotated[list[str], typer.Argument(help="The published files, as they are.", metavar="FILE...")],
    out: Annotated[str, typer.Option(help="City folder to make, for example data/raw/flanders.", metavar="DIR")],
    projects: Annotated[
        str | None, typer.Option(help="A projects.csv to add, so that the city can be evaluated.", metavar="FILE")
    ] = None,
) -> None:
    """Make a city folder from published files."""
    import importlib
    import pkgutil

    from workbench import sources

    layouts = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    if layout not in layouts:
        raise ParameterError(f"layout {layout!r} is unknown{nearest(layout, layouts)} (known: {', '.join(layouts)})")
    folder = resolve(out)
    validate_name(folder.name, "the city folder")
    missing = [file for file in [*files, *filter(None, [projects])] if not resolve(file).is_file()]
    if missing:
        raise ParameterError("\n".join(f"no file {file}" for file in missing))
    module = importlib.import_module(f"workbench.sources.{layout}")
    chosen = resolve(projects) if projects else None
    module.import_files([resolve(file) for file in files], out=folder, projects=chosen)
    print(f"Made {out}. Next: workbench check {folder.name}")


if __name__ == "__main__":
    app()
