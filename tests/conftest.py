"""What several tests share. City folders are built in tmp_path, small enough to check by hand."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

AREAS = "area,name,population\nnorth,North,4000\nsouth,South,6000\neast,East,5000\nwest,West,5500\n"
WAVES = (
    "wave,start,end,mode,questionnaire_version,known_break,note\n"
    "2021,2021-03-01,2021-04-30,web,1,false,\n"
    "2022,2022-03-01,2022-04-30,web,1,false,\n"
    "2023,2023-03-01,2023-04-30,web,1,false,\n"
)
PROJECTS = (
    "project,area,kind,name,announced,start,full,stop,cost_eur,reached,min_worthwhile_pp,trigger,primary_item\n"
    "meet,north,meeting,Meeting house,2021-06-01,2021-09-01,2021-12-01,,120000,300,2,,unsafe_neighbourhood\n"
)
MANIFEST = """name = "Little town"
language = "en"
simulated = true

[respondents]
file = "survey.csv"

[areas]
file = "areas.csv"

[waves]
file = "waves.csv"

[projects]
file = "projects.csv"
"""


def survey_csv() -> str:
    """48 respondents: 4 areas, 3 waves, 4 people each, with answers that differ."""
    answers = ("never", "rarely", "sometimes", "often")
    rows = [
        f"r{area[0]}{wave}{i},{area},{wave},1.{i},{'fm'[i % 2]},{answers[(i + len(area)) % 4]}"
        for wave in (2021, 2022, 2023)
        for area in ("north", "south", "east", "west")
        for i in range(4)
    ]
    return "\n".join(["respondent,area,wave,weight,sex,unsafe_neighbourhood", *rows]) + "\n"


@pytest.fixture
def city_files() -> dict[str, str]:
    """Return the files of a small valid city of respondents, by name, for a test to change."""
    return {
        "city.toml": MANIFEST,
        "areas.csv": AREAS,
        "waves.csv": WAVES,
        "projects.csv": PROJECTS,
        "survey.csv": survey_csv(),
    }


@pytest.fixture
def write_city_files(tmp_path: Path) -> Callable[[Mapping[str, str | bytes]], Path]:
    """Return a function that writes files as the city `town` and returns the raw folder that holds it."""

    def write(files: Mapping[str, str | bytes]) -> Path:
        folder = tmp_path / "raw" / "town"
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder.parent

    return write


@pytest.fixture
def ax():
    """Axes to draw on, closed afterwards."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4))
    yield axes
    plt.close(figure)


@pytest.fixture
def shown(monkeypatch):
    """Return a function that runs a notebook's cells here and returns what it shows.

    Tables by the title above them (the last one of each title), `pictures` as pairs of figure and alt text, `sentences`.
    """
    import matplotlib.pyplot as plt

    from workbench import figures, tables

    folder, drawn = Path(__file__).resolve().parent.parent / "notebooks", []

    def run(name: str, **given) -> dict:
        found, made = {"pictures": [], "sentences": []}, {"__name__": "notebook"}
        keep = lambda frame, caption, **_: found.update({caption.partition("\n")[0]: frame})
        monkeypatch.setattr(tables, "html", keep)
        monkeypatch.setattr(tables, "sentence", found["sentences"].append)
        monkeypatch.setattr(figures, "show", lambda fig, alt, **_: found["pictures"].append((fig, alt)))
        for cell in json.loads((folder / f"{name}.ipynb").read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                exec("".join(cell["source"]), made)  # noqa: S102
                made |= given if "parameters" in cell["metadata"].get("tags", []) else {}
        drawn.extend(fig for fig, _alt in found["pictures"])
        return found

    yield run
    for fig in drawn:
        plt.close(fig)
