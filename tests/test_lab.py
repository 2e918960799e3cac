"""Every notebook opened and run in JupyterLab, started as `make lab` starts it, in the machine's own Chromium."""

import json
import os
import re
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlparse

import nbformat
import psutil
import pytest
import test_cards
from in_chromium import chromium, needs_chromium

from workbench.simulate import simulate_city

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
SHORT = {"draws": 60, "tune": 60, "chains": 2, "checks": '"core"', "outcomes": '"perceived"'}
PATIENCE = 240  # seconds, for the slowest notebook on a busy machine


def options_of_make_lab():
    """The options that the Makefile gives to jupyter lab, those that a shell works out left out."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    recipe = re.search(r"^lab:.*\n\t@\$\(BIN\)/jupyter lab (.*)$", makefile, flags=re.MULTILINE)[1]
    return shlex.split(recipe.partition("$$(")[0])


def test_make_lab_listens_on_this_machine_only_and_keeps_its_token():
    options = options_of_make_lab()
    assert options[0] == "--ip=127.0.0.1"
    assert not [option for option in options if re.search("token|password|allow_origin|auth", option)]
    assert "--LabApp.news_url=None" in options, "it would ask for news"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with the notebooks, fewer draws in them, a small city `demo` and two cards."""
    root = tmp_path_factory.mktemp("lab") / "project"
    shutil.copytree(ROOT / "notebooks", root / "notebooks")
    shutil.copy(ROOT / "pyproject.toml", root)
    simulate_city(
        root / "data" / "raw" / "demo", areas=8, treated=3, waves=4, respondents=2400, projects=2, effect_pp=-4.0,
        baseline_unsafe=0.2, baseline_gap_pp=6.0, trend=0.0, shock_sd=0.1, shock_rho=0.0, seed=11, shares=False,
    )  # fmt: skip
    for city in ("aa", "bb"):
        test_cards.write(root / "evidence", test_cards.card(city))
    for path in (root / "notebooks").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        given = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
        for name, value in SHORT.items():
            given.source = re.sub(rf"^({name}: \w+ = )[^\s#]+", rf"\g<1>{value}", given.source, flags=re.MULTILINE)
        nbformat.write(notebook, path)
    return root


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    """Address and token of a JupyterLab of its own; it and its kernels are ended, and nothing else is."""
    own = tmp_path_factory.mktemp("jupyter")
    folders = {f"JUPYTER_{kind}_DIR": str(own / kind) for kind in ("CONFIG", "DATA", "RUNTIME")}
    env = os.environ | folders | {"WORKBENCH_ROOT": str(project), "IPYTHONDIR": str(own / "ipython")}
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = [
        *options_of_make_lab(),
        "--no-browser",
        f"--port={port}",
        "--allow-root",
        f"--ServerApp.root_dir={project}",
    ]
    with (own / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options], cwd=project, env=env, stdout=log, stderr=log
        )
    try:
        deadline, found = time.monotonic() + 90, []
        while not found and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.2)
            found = [
                json.loads(file.read_text())
                for file in (own / "RUNTIME").glob("jpserver-*.json")
                if file.stat().st_size
            ]
        assert found, (own / "log").read_text()
        yield {"url": found[0]["url"], "token": found[0]["token"], "process": psutil.Process(server.pid)}
    finally:
        ours = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
        server.terminate()
        for process in psutil.wait_procs(ours, timeout=20)[1]:
            process.kill()
        server.wait(20)


def asked(lab, path, *, token=None, method="GET"):
    """The status and the JSON with which the server answers."""
    headers = {"Authorization": f"token {token}"} if token else {}
    request = urllib.request.Request(lab["url"] + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read() or "null")
    except urllib.error.HTTPError as refusal:
        return refusal.code, None


@pytest.mark.slow
@needs_chromium
def test_nobody_gets_in_without_the_token(lab):
    assert urlparse(lab["url"]).hostname == "127.0.0.1" and len(lab["token"]) >= 40
    for token in (None, secrets.token_hex(24)):
        assert asked(lab, "api/contents/notebooks", token=token)[0] == 403
    assert asked(lab, "api/contents/notebooks", token=lab["token"])[0] == 200
    listening = [one for one in lab["process"].net_connections("inet") if one.status == psutil.CONN_LISTEN]
    assert {one.laddr.ip for one in listening} == {"127.0.0.1"}


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_in_jupyterlab_from_its_first_cell_to_its_last(lab, project, browser, name):
    page, outside = browser.new_page(viewport={"width": 1400, "height": 1000}), set()
    path = project / "notebooks" / name
    page.on("request", lambda request: outside.add(request.url) if _outside(request.url) else None)
    try:
        page.goto(f"{lab['url']}lab/workspaces/{name[:2]}/tree/notebooks/{name}?token={lab['token']}")
        page.wait_for_selector(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell", timeout=60_000)
        began, clicked, cells, open_cells = time.monotonic(), False, [], ["?"]
        while open_cells and time.monotonic() < began + PATIENCE:
            page.wait_for_timeout(1000)
            outside |= _connections(lab["process"])
            if page.locator(".jp-Dialog").count():  # which kernel? The one it offers; what was clicked before is lost
                page.locator(".jp-Dialog button.jp-mod-accept").first.click()
                clicked = False
            elif not page.get_by_text("| Idle").count():
                continue
            elif not clicked:
                page.get_by_role("menuitem", name="Run", exact=True).click()
                page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
                clicked = True
            else:
                page.keyboard.press("Control+s")
                page.wait_for_timeout(1500)
                with suppress(nbformat.reader.NotJSONError):  # half saved; at the next turn
                    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
                assert [one for cell in cells for one in cell.outputs if one.output_type == "error"] == []
                open_cells = [cell.source for cell in cells if cell.source.strip() and not cell.execution_count]
                open_cells = open_cells if cells else ["?"]
        assert open_cells == [] and len(cells) > 3
        assert outside == set()
    finally:
        page.close()
        for session in asked(lab, "api/sessions", token=lab["token"])[1]:
            asked(lab, f"api/sessions/{session['id']}", token=lab["token"], method="DELETE")


def _outside(url):
    return urlparse(url).scheme not in ("data", "blob") and urlparse(url).hostname != "127.0.0.1"


def _connections(server):
    """Addresses outside this machine that the server or a kernel is connected to."""
    found = set()
    for process in [server, *server.children(recursive=True)]:
        try:
            found |= {one.raddr.ip for one in process.net_connections("inet") if one.raddr}
        except psutil.NoSuchProcess:
            continue
    return {ip for ip in found if ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")}
