"""Print the path of a Python that can run the workbench; needs nothing but some python3 (3.6 or newer).

A machine's `python3` may be too old while a newer one lies unactivated under pyenv, uv or conda, and a pyenv shim on
PATH may lead nowhere. So every candidate is run, and only one that answers is printed.
"""

import glob
import os
import re
import shutil
import subprocess
import sys

OLDEST, NEWEST = (3, 12), (3, 14)
NAMES = ("python3.13", "python3.14", "python3.12")

# ensurepip: Debian splits it off, and without it `python -m venv` fails. GIL: some compiled packages need it still.
PROBE = (
    "import sys, sysconfig, ensurepip, venv; "
    "print('|'.join([sys.implementation.name, '%d.%d' % sys.version_info[:2], "
    "str(sysconfig.get_config_var('Py_GIL_DISABLED') or 0), sys.executable]))"
)


def parsed(path):
    """Return the version numbers in a folder's name, so that 3.13 sorts above 3.9."""
    return [int(part) for part in re.findall(r"\d+", os.path.basename(os.path.dirname(os.path.dirname(path))))]


def newest_first(pattern):
    """Return the interpreters that match, the highest version first."""
    return sorted(glob.glob(os.path.expanduser(pattern)), key=parsed, reverse=True)


def candidates(environ):
    """Yield interpreters in the order in which they are preferred; they need not exist or work."""
    if environ.get("PYTHON"):
        yield environ["PYTHON"]
    yield sys.executable
    yield from NAMES
    pyenv = environ.get("PYENV_ROOT") or "~/.pyenv"
    data = environ.get("XDG_DATA_HOME") or "~/.local/share"
    uv = environ.get("UV_PYTHON_INSTALL_DIR") or os.path.join(data, "uv", "python")
    for pattern in (os.path.join(pyenv, "versions/*/bin/python3"), os.path.join(uv, "cpython-*/bin/python3")):
        yield from newest_first(pattern)
    if environ.get("CONDA_PREFIX"):
        yield os.path.join(environ["CONDA_PREFIX"], "bin", "python3")


def real_path(candidate, environ):
    """Return the interpreter's own path if it runs and fits, else None."""
    found = shutil.which(os.path.expanduser(candidate), path=environ.get("PATH"))
    if not found:
        return None
    try:
        answer = subprocess.run(
            [found, "-I", "-c", PROBE],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    parts = answer.stdout.decode("utf-8", "replace").strip().split("|", 3)
    if answer.returncode or len(parts) != 4 or parts[0] != "cpython" or parts[2] != "0":
        return None
    version = tuple(int(number) for number in parts[1].split("."))
    return parts[3] if OLDEST <= version <= NEWEST else None


def main():
    """Print the first interpreter that fits; otherwise say in one sentence what to install, and exit 1."""
    environ = dict(os.environ)
    for candidate in candidates(environ):
        path = real_path(candidate, environ)
        if candidate == environ.get("PYTHON") and not path:
            sys.stderr.write(f"PYTHON={candidate} is not a Python 3.12 to 3.14 that works; looking further.\n")
        if path:
            print(path)
            return 0
    sys.stderr.write(
        "No Python 3.12, 3.13 or 3.14 found: install 3.13 (for instance `pyenv install 3.13` or `uv python install "
        "3.13`), or name one with `make setup PYTHON=/path/to/python3.13`.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
