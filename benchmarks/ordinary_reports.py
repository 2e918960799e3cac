"""Ordinary reports through the disclosure gate: how many pass unharmed, and what is found in the others.

`.venv/bin/python benchmarks/ordinary_reports.py [N]` makes N (30) reports of simulated cities of several sizes in three
languages with notebooks 00, 01 and 02, one evaluation with few draws, and takes reports/demo with them if it is there.
Every one should pass: their cells hold 50 people or more. Five seconds a report.
"""

import shutil
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from workbench.cities import load_city
from workbench.errors import ParameterError
from workbench.paths import resolve
from workbench.runs import run_notebook
from workbench.sharing import share
from workbench.simulate import simulate_city

CITIES = {
    "small": {"areas": 8, "treated": 3, "waves": 4, "respondents": 2400, "projects": 2},
    "plain": {"areas": 24, "treated": 8, "waves": 5, "respondents": 9000, "projects": 4},
    "large": {"areas": 60, "treated": 20, "waves": 6, "respondents": 30000, "projects": 6},
    "published": {"areas": 20, "treated": 6, "waves": 5, "respondents": 8000, "projects": 3, "shares": True},
}
NOTEBOOKS = ("00-map-projects", "01-check-city", "02-describe-insecurity")


def main(count: int) -> int:
    passed, rows = (
        0,
        [(city, notebook, lang) for lang in ("en", "nl", "fr") for city in CITIES for notebook in NOTEBOOKS],
    )
    with tempfile.TemporaryDirectory() as place:
        raw, folders = Path(place) / "raw", []
        for seed, (name, options) in enumerate(CITIES.items()):
            simulate_city(raw / name, **options, seed=seed)
        for city, notebook, lang in islice(cycle(rows), count):
            folders.append((f"notebooks/{notebook}.ipynb", city, lang, {}))
        quick = {"draws": 200, "tune": 200, "chains": 2}
        folders.append(("notebooks/03-evaluate-projects.ipynb", "small", "en", quick))
        for number, (notebook, city, lang, more) in enumerate(folders):
            out = Path(place) / f"run{number:02d}"
            data = load_city(city, raw=raw).data_hash
            run_notebook(notebook, {"city": city, "raw": str(raw), "lang": lang} | more, out=out, data_hash=data)
            passed += _shared(out, raw, f"{city}, {Path(notebook).stem}, {lang}")
        if (demo := resolve("reports/demo")).is_dir():
            shutil.copytree(demo, Path(place) / "demo")
            passed, folders = passed + _shared(Path(place) / "demo", None, "reports/demo"), [*folders, "demo"]
    print(f"{passed} of {len(folders)} passed unharmed")
    return 0 if passed == len(folders) else 1


def _shared(folder: Path, raw: Path | None, label: str) -> bool:
    begin = time.perf_counter()
    try:
        made = share([folder], out=folder / "out.zip", raw=raw, say=lambda text: None)
        print(
            f"{label}: {', '.join(made[0]['files'])}, {time.perf_counter() - begin:.1f} s", *made[0]["said"], sep="\n  "
        )
    except ParameterError as error:
        print(f"{label}: refused", *str(error).splitlines()[:12], sep="\n  ")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 30))
