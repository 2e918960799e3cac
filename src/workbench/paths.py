"""Where files live: every relative path means the same thing in a shell, in papermill and in JupyterLab."""

import os
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from workbench.errors import ParameterError

NAME = re.compile(r"[a-z0-9_-]{1,100}")


def project_root() -> Path:
    """The folder that holds pyproject.toml and notebooks/: WORKBENCH_ROOT of the environment, else above this file (an
    editable install), else above the working directory. ParameterError when none fits."""
    if chosen := os.environ.get("WORKBENCH_ROOT"):
        return Path(chosen).resolve()
    starts = (Path(__file__).resolve().parent, Path.cwd())
    for folder in (above for start in starts for above in (start, *start.parents)):
        if (folder / "pyproject.toml").is_file() and (folder / "notebooks").is_dir():
            return folder
    raise ParameterError("no workbench folder here: change into the folder that holds pyproject.toml and notebooks/")


def resolve(path: str | os.PathLike[str]) -> Path:
    """Return `path` as an absolute path; a relative one starts at the project root, `~` at the home folder.
    ParameterError for names that no disk can hold."""
    whole = Path(os.path.normpath(project_root() / os.path.expanduser(path)))
    if len(bytes(whole)) > 4000 or any(len(name.encode(errors="replace")) > 255 for name in whole.parts):
        raise ParameterError(f"path {str(path)[:60]!r}...: too long; allowed: at most 4,000 bytes, 255 in a name")
    return whole


def relative(path: str | os.PathLike[str]) -> str:
    """`path` as in anything we publish: from the project root, with forward slashes. Of a path outside the project only
    its last part: the folders above it may name a user or a machine."""
    whole = resolve(path)
    root = project_root()
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else whole.name


def redactor(folders: Mapping[str, str]) -> Callable[[str], str]:
    """A function that takes this machine's folders out of a text, tracebacks included: the project, the home folder,
    the interpreter, temporary files, and `folders` (absolute path -> what is shown instead)."""
    root, home = str(project_root()), str(Path.home())
    python = (sys.prefix, sys.base_prefix, os.path.realpath(sys.prefix), os.path.realpath(sys.base_prefix))
    shown = {f"{root}/": "", root: ".", home: "~", tempfile.gettempdir(): "tmp"}
    shown |= dict.fromkeys(python, "python") | dict(folders)
    # IPython writes the home folder as ~ itself.
    shown |= {f"~{path.removeprefix(home)}": to for path, to in shown.items() if path.startswith(f"{home}/")}
    longest_first = sorted((path for path in shown if len(path) > 2), key=len, reverse=True)
    whole = "|".join(re.escape(path) + ("" if path.endswith("/") else r"(?![\w-]|\.\w)") for path in longest_first)
    # Not in the middle of a word or of another path, but after the code that colours a traceback (ends in 'm').
    pattern = re.compile(rf"(?:(?<![\w.~-])|(?<=\dm))(?:{whole})")
    cell = re.compile(r"\btmp/ipykernel_\d+/\d+\.py")
    return lambda text: cell.sub("notebook cell", pattern.sub(lambda match: shown[match[0]], text))


def outside_cities(path: str | os.PathLike[str], *, raw: str | os.PathLike[str]) -> Path:
    """Return `path` resolved; raise ParameterError where it lies among the cities' own files in `raw` or data/raw."""
    target = resolve(path)
    if any(target.resolve().is_relative_to(resolve(kept).resolve()) for kept in (raw, "data/raw")):
        raise ParameterError(f"{relative(target)} lies among the cities' own files; allowed: a file in another folder")
    return target


def validate_name(text: str, what: str) -> str:
    """Return `text` if it may name a city, project or run, else raise ParameterError: names become folders and enter
    notebooks, so there is no slash, dot, quote or space."""
    if isinstance(text, str) and NAME.fullmatch(text):
        return text
    shown = repr(text if len(str(text)) <= 60 else f"{str(text)[:60]}...")
    raise ParameterError(f"{what} {shown}: use only lower-case letters, digits, '-' and '_', at most 100")
