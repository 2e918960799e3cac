"""The command line: thin, and quick to answer, so everything heavy is imported inside a command."""

import inspect
import json
import os
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer import Argument, Option
from typer.core import TyperGroup

from workbench.errors import ConvergenceError, ParameterError, SchemaError, nearest
from workbench.paths import outside_cities, relative, resolve


class Refusing(TyperGroup):
    """Commands that end a refusal of input with its message and exit code 2, other trouble in words with 1."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (ParameterError, SchemaError, ConvergenceError) as error:
            print(error, file=sys.stderr)
            raise typer.Exit(1 if isinstance(error, ConvergenceError) else 2) from None
        except OSError as error:
            where = relative(error.filename) if isinstance(error.filename, str) else "a file"
            print(f"{where}: could not be read or written: {error.strerror or error}", file=sys.stderr)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Refusing, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None,
    help="Did local social-cohesion projects shift how unsafe residents feel? "
    "From a city's own survey files to a verdict a council can read.",
    epilog="Start with: workbench cities, then workbench check CITY, then workbench evaluate CITY.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)  # fmt: skip

Text, Checks = str | None, Literal["core", "full"] | None
Raw = Annotated[str, Option(help="Folder that holds one folder per city.", metavar="DIR")]
City = Annotated[str, Argument(help="Name of the city's folder, as `workbench cities` lists it.", metavar="CITY")]
CityFolder = Annotated[str, Option(help="City folder to make, for example data/raw/mytown.", metavar="DIR")]
Further = Annotated[
    list[str] | None,
    Option("-p", "--parameter", help="Any other parameter of the notebook; repeat for more.", metavar="NAME=VALUE"),
]
EVALUATION, POOL = "notebooks/03-evaluate-projects.ipynb", "notebooks/07-compare-cities.ipynb"


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

    found = load_city(city, raw=resolve(raw))
    rows, shares, areas = found.respondents, found.shares, found.projects.groupby("project").size().items()
    counts, months = found.incidents, [] if found.incidents is None else found.incidents["month"]
    facts = {
        "city": f"{found.name} ({found.city}){', simulated' if found.simulated else ''}",
        "areas": len(found.areas),
        "waves": f"{len(found.waves)} ({', '.join(found.waves['wave'])})" if found.items else "",
        "respondents": "" if rows is None else f"{len(rows)}{', weighted' if found.weighted else ''}",
        "shares": "" if shares is None else f"{len(shares)} published percentages, no respondents",
        "items": ", ".join(found.items) or "none: no survey, only incidents",
        "incidents": "" if counts is None else f"{len(counts)} counts from {min(months)} to {max(months)}",
        "kinds": ", ".join(f"{kind} ({word} discretion)" for kind, word in found.discretion.items()),
        "projects": ", ".join(f"{project} ({n} area{'s' if n > 1 else ''})" for project, n in areas) or "none",
    }
    print(*(f"{label + ':':<13} {value}" for label, value in facts.items() if value != ""), sep="\n")
    print(*(f"notice: {notice}" for notice in found.notices), "The files keep to the contract.", sep="\n")


@app.command()
def evaluate(
    city: City,
    raw: Raw = "data/raw",
    out: Text = Option(None, help="Folder for the report.", metavar="DIR", show_default="reports/CITY"),
    item: Text = Option(None, help="Survey item to judge by; by default the projects' own."),
    project: list[str] = Option([], help="Project to evaluate; repeat for more. By default all of them."),
    comparison: Text = Option(None, help="Areas to compare with, if not all without a project.", metavar="AREA;AREA"),
    checks: Checks = Option(None, help="full also fits every prior; takes about a minute more.", show_default="core"),
    lang: Text = Option(None, help="Language of the report.", metavar="en|nl|fr", show_default="en"),
    prior_from: Text = Option(None, help="Folder of other cities' evidence cards that make the prior.", metavar="DIR"),
    discount: float | None = Option(None, help="Weight of each such card, 0 to 1.", show_default="0.5"),
    parameter: Further = None,
) -> None:
    """Evaluate a city's projects and write a report: one HTML file that opens without internet.

    Ends with 0 when there is a verdict, whatever it is ("cannot tell" included), 1 when the evaluation failed or
    was blocked by a check, and 2 when the data or parameters were refused; then nothing is written.
    """
    say = _progress()
    from workbench.cities import write_processed
    from workbench.plans import read_inputs

    say("checking the files")
    given, values = _parameters(
        EVALUATION, parameter, city=city, raw=raw, out=out or f"reports/{city}", item=item, comparison=comparison,
        projects=";".join(project) or None, checks=checks, lang=lang, prior_from=prior_from, discount=discount,
    )  # fmt: skip
    data_hash, place, panel = read_inputs(values)
    code = _run(EVALUATION, given, data_hash=data_hash, say=say)
    # Only now: a folder for the report that cannot be written is refused above, and then nothing may be left.
    write_processed(place, panel=panel)
    raise typer.Exit(code)


@app.command()
def run(
    plan: Annotated[str, Argument(help="One row per run: id, notebook, and parameters.", metavar="PLAN.csv")],
    out: str = Option(help="Folder for the runs, each in a folder of its own, and for their index.", metavar="DIR"),
    jobs: int | None = Option(None, min=1, help="Runs at a time.", show_default="as cores and memory allow"),
    scheduler: str = Option("", help="Not threads but workers: local, or a distributed scheduler.", metavar="ADDRESS"),
    resume: bool = Option(False, "--resume", help="Leave alone what is finished, by parameters, data and code."),
    only: list[str] = Option([], help="Run only the row with this id; repeat for more.", metavar="ID"),
    keep_going: bool = Option(False, "--keep-going", help="Run the rows in order although others are refused."),
    minutes: float = Option(120, min=0.01, help="Longest that one run may take."),
) -> None:
    """Run a plan: many notebooks, several at a time; checked whole before the first one starts.

    What fails says why and leaves the others alone. Ends with 0 when every run is done, 1 when one failed or was
    blocked, and 2 when the plan was refused; then nothing is run.
    """
    from workbench.batch import run_plan
    from workbench.index import write_index
    from workbench.plans import read_plan

    rows, refused = read_plan(plan, out=out, only=only, keep_going=keep_going)
    try:
        with _live(len(rows)) as tell:
            table = run_plan(rows, jobs=jobs, scheduler=scheduler, resume=resume, minutes=minutes, tell=tell)
    except KeyboardInterrupt:
        print("Interrupted: what was finished stays; go on with --resume.", file=sys.stderr, flush=True)
        os._exit(130)  # nobody waits for kernels, which end with this process
    print(table.fillna("").to_string(index=False, max_colwidth=60))
    print(*(f"refused: {name}: {why}" for name, why in refused.items()), sep="\n", end="\n" * bool(refused))
    print(f"Index: {_seen(write_index(resolve(out))[0])}")
    raise typer.Exit(0 if table["state"].eq("done").all() and not refused else 1)


@app.command()
def index(
    folder: str = Argument("reports", help="Folder that holds run folders.", metavar="DIR"),
    lang: str = Option("en", help="Language of the pages.", metavar="en|nl|fr"),
) -> None:
    """Write a page over all runs of a folder, sorted by verdict, and one for each other order."""
    from workbench.index import write_index

    print(f"Index: {_seen(write_index(resolve(folder), lang=lang)[0])}")


@app.command()
def register(
    city: City,
    project: str = Option(help="Project to register."),
    raw: Raw = "data/raw",
    out: Text = Option(None, help="File to write.", metavar="FILE", show_default="registrations/CITY-P.json"),
    question: str = Option("", help="What is asked.", show_default="made from the item"),
    decision: str = Option("", help="What will be decided on it.", show_default="whether to go on with the project"),
    parameter: Further = None,
) -> None:
    """Write down how a project will be evaluated, before outcomes are opened."""
    from workbench import registration
    from workbench.cities import load_city

    about = {"city": city, "raw": raw, "projects": project}
    given, values = _parameters(EVALUATION, parameter, **about)
    if extra := sorted(given.keys() - {*about, *registration.FIELDS}):
        raise ParameterError(f"-p {', '.join(extra)}: not registered; allowed: {', '.join(registration.FIELDS)}")
    found = load_city(city, raw=resolve(raw))
    content = registration.plan(found, values, project=project, question=question, decision=decision)
    print(f"Registered: {_seen(registration.save(content, out=out, raw=raw))}", *content["notes"], sep="\n")


@app.command()
def card(
    run_dir: str = Argument(help="Folder of a finished evaluation.", metavar="RUN_DIR"),
    out: Text = Option(None, help="File to write.", metavar="FILE", show_default="RUN_DIR/card.json"),
    raw: Text = Option(None, help="Where the cities are, if not where they were.", metavar="DIR"),
) -> None:
    """Write what an evaluation learned as an evidence card, to be pooled: no respondent's data, no small cell."""
    _progress()("reading the run and its city, and fitting once without a prior of effects")
    from workbench import provenance
    from workbench.cards import build_card

    target = outside_cities(out or f"{run_dir}/card.json", raw=raw or "data/raw")
    content = build_card(run_dir, raw=raw)
    print(f"Card: {_seen(provenance.write_json(target, content))}, {len(content['projects'])} projects")


@app.command()
def share(
    run_dirs: list[str] = Argument(help="Folders of finished runs.", metavar="RUN_DIR..."),
    out: str = Option(help="File to write.", metavar="FILE.zip"),
    suppress: bool = Option(False, "--suppress", help="Take out what may not leave and say what; else it is refused."),
    earlier: list[str] = Option([], help="Zip given out before, to compare groups with; repeat.", metavar="FILE.zip"),
    raw: Text = Option(None, help="Where the cities are, if not where they were.", metavar="DIR"),
) -> None:
    """Pack what may leave the building: reports, effects, cards. Refuses, with the list, what tells of a few people."""
    from workbench.sharing import share as pack

    packed = pack(run_dirs, out=out, suppress=suppress, earlier=earlier, raw=raw)
    print(*(f"{run['run']}: {', '.join(run['files'])}" for run in packed), f"Zip: {_seen(resolve(out))}", sep="\n")


@app.command()
def pool(
    cards: list[str] = Argument(help="Evidence cards, or folders of them.", metavar="CARD..."),
    out: str = Option(help="Folder for the report.", metavar="DIR"),
    lang: str = Option("en", help="Language of the report.", metavar="en|nl|fr"),
    parameter: Further = None,
) -> None:
    """Pool the evidence cards of several cities and write a report."""
    say = _progress()
    from workbench.plans import read_inputs

    given, values = _parameters(POOL, parameter, cards=";".join(cards), out=out, lang=lang)
    raise typer.Exit(_run(POOL, given, data_hash=read_inputs(values)[0], say=say))


def simulate(out: CityFolder, **options) -> None:
    """Make a city with a known true effect."""
    from workbench.simulate import simulate_city

    simulate_city(out=resolve(out), **options)
    print(f"Made {out}, with its truth in truth.json.")


def _option(name: str, about: dict[str, Any]) -> inspect.Parameter:
    """Return an entry of simulate.toml as a parameter that typer makes an option of."""
    shown = Option(about["default"], f"--{name.replace('_', '-')}", help=about["help"])
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=shown, annotation=type(about["default"]))


SIMULATED = tomllib.loads(Path(__file__).with_name("simulate.toml").read_text(encoding="utf-8"))["options"]
OUT = inspect.signature(simulate).parameters["out"]
simulate.__signature__ = inspect.Signature([OUT, *map(_option, SIMULATED, SIMULATED.values())])
app.command()(simulate)


@app.command("import")
def import_layout(
    layout: str = Argument(help="Name of the published layout, for example stadsmonitor."),
    files: list[str] = Argument(help="The published files, as they are.", metavar="FILE..."),
    out: CityFolder = ...,
    projects: Text = Option(None, help="A projects.csv to add, so that the city can be evaluated.", metavar="FILE"),
) -> None:
    """Make a city folder from published files."""
    import importlib
    import pkgutil

    from workbench import sources

    layouts = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    if layout not in layouts:
        raise ParameterError(f"layout {layout!r} is unknown{nearest(layout, layouts)} (known: {', '.join(layouts)})")
    given = {file: resolve(file) for file in [*files, *filter(None, [projects])]}
    if missing := [f"no file {file}" for file, path in given.items() if not path.is_file()]:
        raise ParameterError("\n".join(missing))
    module = importlib.import_module(f"workbench.sources.{layout}")
    module.import_files([given[file] for file in files], out=resolve(out), projects=given.get(projects))
    print(f"Made {out}. Next: workbench check {resolve(out).name}")


def _progress(show=lambda text: print(text, file=sys.stderr, flush=True)) -> Callable[[str], None]:
    """Return a function that shows a line with the seconds since now; on stderr, so that results can be piped."""
    start = time.monotonic()
    return lambda text: show(f"{time.monotonic() - start:5.0f} s  {text}")


@contextmanager
def _live(total: int) -> Iterator[Callable[[dict], None]]:
    """Show how far a plan is: a bar in a terminal, in a log a line per run; yield what is told each row as it ends."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    say = _progress(console.print)
    with Progress(console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("runs", total=total)

        def tell(row: dict[str, Any]) -> None:
            bar.advance(task)
            say(f"{row['id']}: {', '.join(filter(None, (row['state'], row['verdict'], row['reason'])))}")

        yield tell


def _seen(path: Path) -> Path:
    """Return a path as this shell can open it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _parameters(notebook: str, further: list[str] | None, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was given, options and -p, none of it twice, and the checked values of all the notebook's parameters."""
    from workbench.parameters import validate_parameters

    given = {name: value for name, value in options.items() if value is not None}
    for text in further or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ParameterError(f"-p {text!r}: write NAME=VALUE")
        if name in given:
            raise ParameterError(f"parameter {name!r} is given twice; leave out -p {name}=...")
        given[name] = value
    return given, validate_parameters(notebook, given)


def _run(notebook: str, given: dict[str, Any], *, data_hash: str, say: Callable[[str], None]) -> int:
    """Run a notebook, print its sentence and where the report is, or why there is none; return the exit code."""
    from workbench import runs

    status = runs.run_notebook(notebook, given, out=given["out"], data_hash=data_hash, say=say)
    folder = resolve(given["out"])
    for file in {"result.json", "pooled.json"}.intersection(status["files"]):
        print(json.loads((folder / file).read_text(encoding="utf-8"))["sentence"])
    if status["state"] != "done":
        print(f"{status['state']}: {status['reason']}", file=sys.stderr)
    for label, file in (("Report", "report.html"), ("Notebook", "notebook.ipynb")):
        if file in status["files"]:
            print(f"{label}: {_seen(folder / file)}")
    return 0 if status["state"] == "done" else 1


if __name__ == "__main__":
    app()
