"""A real Chromium for tests of the console: pages that tell what they said, and what axe finds.

*shell.* The browser is the system's; what drives it is playwright. A page of a test fails it when
anything was an error: of a script, of the policy, of a request that was not meant to fail.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from axe_playwright_python import sync_playwright as axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

__all__ = ["WIDTHS", "chromium", "opened", "pictured", "serious"]

CHROMIUM = "chromium"
WIDTHS = {"desk": (1280, 860), "phone": (390, 844)}
WITHIN_MS = 30_000
_SERIOUS = frozenset({"serious", "critical"})
_PICTURES = os.environ.get("SIE_PICTURES", "")
"""The folder to which the pictures of the documents are written; none where it is empty."""
_AXE = Path(axe.__file__).with_name("axe.min.js")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser."""
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=shutil.which(CHROMIUM), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    width: str = "desk",
    colours: Any = "light",
    expected: Sequence[str] = (),
) -> Iterator[Page]:
    """A page of its own session. `expected` are parts of errors that the test means to cause."""
    wide, high = WIDTHS[width]
    context = browser.new_context(
        viewport={"width": wide, "height": high}, color_scheme=colours, reduced_motion="reduce"
    )
    page = context.new_page()
    page.set_default_timeout(WITHIN_MS)
    said: list[str] = []
    page.on("console", lambda each: said.append(each.text) if each.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"a dialog: {dialog.message}"))
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    wrong = [line for line in said if not any(part in line for part in expected)]
    assert wrong == [], wrong


def pictured(page: Page, name: str) -> None:
    """Keep a picture of the page, where pictures are wanted."""
    if _PICTURES:
        folder = Path(_PICTURES)
        folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=folder / f"{name}.png")


def serious(page: Page) -> list[str]:
    """The findings of axe on the page that are more than a nuisance, in words."""
    # Past the policy of the page, as a debugger does: it lets no script of a test in.
    page.evaluate(_AXE.read_text())
    found = page.evaluate("axe.run({ resultTypes: ['violations'] })")
    return [
        f"{each['id']}: {each['help']}: {[node['target'] for node in each['nodes']][:5]}"
        for each in found["violations"]
        if each["impact"] in _SERIOUS
    ]
