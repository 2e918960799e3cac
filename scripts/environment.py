"""Write environment.yml from pyproject.toml, so that dependencies are listed once. `--check` only compares."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Where conda-forge spells it otherwise: it has no extras, so an extra becomes a package of its own.
CONDA_NAMES = {"h5netcdf[h5py]": ("h5netcdf", "h5py")}

# Not on conda-forge under this name: pip installs them into the environment.
BY_PIP = ("axe-playwright-python", "playwright")


def conda_lines(requirement: str) -> list[str]:
    """Return a requirement as conda writes it; only the package named last misses the bound it does not share."""
    name, bound = re.fullmatch(r"([\w.-]+(?:\[[\w,]+\])?)\s*([^;]*)", requirement.strip()).groups()
    first, *others = CONDA_NAMES.get(name, (name,))
    return [f"{first} {bound}".strip(), *others]


def environment(project: dict) -> str:
    """Return the text of environment.yml for a parsed pyproject.toml."""
    needed = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    lines = [f"python {project['project']['requires-python']},<3.15", "pip"]
    by_pip = [requirement for requirement in needed if requirement.startswith(BY_PIP)]
    lines += sorted(line for requirement in needed if requirement not in by_pip for line in conda_lines(requirement))
    listed = "\n".join(f"  - {line}" for line in lines)
    pip = "".join(f"      - {line}\n" for line in ["-e .", *by_pip])
    return (
        "# Written by `make environment` from pyproject.toml; a test keeps them together.\n"
        "name: cohesion-workbench\nchannels:\n  - conda-forge\n  - nodefaults\ndependencies:\n"
        f"{listed}\n  - pip:\n{pip}"
    )


def main(arguments: list[str]) -> int:
    """Write the file, or with --check say whether it is up to date (exit 1 when it is not)."""
    text = environment(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    target = ROOT / "environment.yml"
    if "--check" not in arguments:
        target.write_text(text, encoding="utf-8")
        return 0
    if target.is_file() and target.read_text(encoding="utf-8") == text:
        return 0
    print("environment.yml does not follow pyproject.toml: run `make environment`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
