"""Chromium for tests: the machine's own, never a downloaded one; where there is none, tests skip and say so."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-quic",
)  # fmt: skip
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium, chromium-browser or google-chrome here")


@contextmanager
def chromium():
    """A headless browser of the machine, closed at the end."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, path, *, width=1060, height=1400, offline=True):
    """A page that shows a file, and the addresses it asked for, itself left out; the network is cut."""
    context = browser.new_context(viewport={"width": width, "height": height}, offline=offline)
    page, asked = context.new_page(), []
    page.on("request", lambda request: asked.append(request.url))
    try:
        page.goto(path.as_uri())
        yield page, [url for url in asked if url != path.as_uri()]
    finally:
        context.close()


def violations(page) -> list[str]:
    """What axe-core finds wrong with the page: rule, how bad, and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:300]}" for one in found]


def wider_than_the_screen(page) -> list[str]:
    """Elements that reach beyond the right edge, those inside a part that scrolls by itself left out."""
    return page.evaluate("""() => {
        const width = document.documentElement.clientWidth, found = [];
        if (document.documentElement.scrollWidth > width) found.push(`the page: ${document.documentElement.scrollWidth}`);
        for (const element of document.querySelectorAll('body *'))
            if (element.getBoundingClientRect().right > width + 1 && !element.parentElement.closest('.scroll, pre'))
                found.push(element.outerHTML.slice(0, 200));
        return found;
    }""")


def cut_off(page) -> list[str]:
    """Parts that hold more than they show, as paper cannot be scrolled."""
    return page.evaluate("""() => [...document.querySelectorAll('.scroll, .scroll table')]
        .filter(part => part.scrollWidth > part.clientWidth + 1 || part.scrollHeight > part.clientHeight + 1
                || part.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(part => `${part.scrollWidth} in ${part.clientWidth}: ${part.textContent.slice(0, 80)}`)""")
