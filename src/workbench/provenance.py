"""How do you know? Hashes and versions that tie a result to its data, parameters and code, and atomic writing."""

import hashlib
import json
import os
import platform
import threading
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

import workbench
from workbench import paths

PACKAGES = ("pymc", "arviz", "nutpie", "jax", "numpy", "pandas")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
CODE_SUFFIXES = {".py", ".po", ".toml", ".j2", ".json", ".css", ".html", ".svg"}


def hash_files(files: Iterable[str | os.PathLike[str]]) -> str:
    """One sha256 over names and contents; names count from the files' common folder, so a move changes nothing."""
    chosen = sorted({Path(file).resolve() for file in files})
    base = os.path.commonpath([file.parent for file in chosen]) if chosen else ""
    digest = hashlib.sha256()
    for file in chosen:
        name = file.relative_to(base).as_posix().encode()
        content = file.read_bytes()
        # Lengths go in as well: otherwise moving a byte from one file's end to the next one's name would not show.
        digest.update(f"{len(name)} {len(content)} ".encode() + name + content)
    return digest.hexdigest()


def hash_parameters(parameters: Mapping[str, object]) -> str:
    """Return the sha256 of the parameters, whatever their order."""
    text = json.dumps(dict(parameters), sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def seal(content: Mapping[str, object]) -> dict[str, object]:
    """Return the content with the sha256 of all the rest of it, as canonical JSON: sorted keys, no spaces."""
    rest = {name: value for name, value in content.items() if name != "sha256"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_plain)
    return rest | {"sha256": hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()}


def sealed(content: Mapping[str, object]) -> bool:
    """Is the content what was sealed? Anyone can seal anew what they changed: only a second copy proves more."""
    return content.get("sha256") == seal(content)["sha256"]


def code_hash() -> str:
    """Return the sha256 over the package's own files and the notebooks: whatever can move a number or a sentence."""
    package = Path(workbench.__file__).parent
    files = [file for file in package.rglob("*") if file.suffix in CODE_SUFFIXES and file.is_file()]
    notebooks = sorted((paths.project_root() / "notebooks").glob("*.ipynb"))
    parts = hash_files(files), *(_hash_cells(notebook) for notebook in notebooks)
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of python, of the packages that compute, and of the workbench itself."""
    found = {"python": platform.python_version()} | {package: metadata.version(package) for package in PACKAGES}
    return found | {"workbench": workbench.__version__}


def write_bytes(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file, and folders above it, so that a reader sees the old one or all of the new one; return its path."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        part.write_bytes(content)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
    return target


def write_text(path: str | os.PathLike[str], text: str) -> Path:
    """Write UTF-8 text atomically, line ends as given."""
    return write_bytes(path, text.encode("utf-8"))


def write_csv(path: str | os.PathLike[str], frame) -> Path:
    """Write a pandas table atomically as CSV without its index. A text that a spreadsheet would run as a formula gets
    an apostrophe in front; numbers stay numbers."""
    texts = frame.select_dtypes(exclude=["number", "bool", "datetime"])
    inert = texts.map(lambda value: f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value)
    return write_text(path, frame.assign(**inert).to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d"))


def write_json(path: str | os.PathLike[str], content: object) -> Path:
    """Write JSON atomically; NaN and infinity raise ValueError because other programs cannot read them."""
    return write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n")


def as_json(content: object):
    """Return the content as JSON gives it back: numpy made plain; NaN and infinity, which JSON does not know, None."""
    return json.loads(json.dumps(content, default=_plain), parse_constant=lambda name: None)


def _plain(value: object) -> object:
    """Turn numpy scalars and arrays into what JSON knows."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _hash_cells(notebook: Path) -> str:
    """Return the sha256 of a notebook's sources: opening it in JupyterLab and running it changes outputs, not these."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    sources = [[cell["cell_type"], "".join(cell["source"]), cell["metadata"].get("tags", [])] for cell in cells]
    return hashlib.sha256(json.dumps([notebook.name, sources]).encode()).hexdigest()
