"""The console's lists on a large log, in a real Chromium: the work of the page while scrolling.

*main.* `python -m benchmarks.console_lists [--models N] [--entries N]` serves a console from a
temporary folder and scrolls the models and the timeline to their ends, as a wheel does. Prints the
rows that were seen, the most that the page held at a time, and the page's work between two frames
of a step, in milliseconds: the median, the 99th percentile and the worst. Work is the time of the
page's own thread, so that a machine with others on it tells nearly the same. What a person notices
is 50 ms. `tests/integration/test_console_work.py` bounds the same work by its count.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from benchmarks.console_views import grow
from playwright.sync_api import CDPSession, Page
from tests.support.browser import chromium
from tests.support.config_writer import running
from tests.support.served import served_application

from sie_config.http.api import build_app
from sie_config.http.console.console import Console

__all__ = ["main"]

_NOTICED_MS: Final = 50.0
_STILL_MAX: Final = 200
"""Steps without a move after which a list is taken to be at its end."""
_STEP: Final = """
async (step) => {
  const list = document.querySelector(".timeline");
  const before = list.scrollTop;
  list.scrollTop += step;
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  const rows = list.querySelectorAll("button.entry");
  window.seen ??= new Set();
  rows.forEach((each) => window.seen.add(each.dataset.model || each.dataset.epoch));
  return [window.seen.size, list.scrollTop !== before, rows.length];
}
"""


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _measured(page: Page, url: str, view: str, most: int) -> float:
    page.goto(f"{url}/console/#/{view}")
    page.evaluate("window.seen = new Set()")
    page.locator("button.entry").first.wait_for()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    worked: list[float] = []
    rows, held = 0, 0
    # To the end while it grows, then back over all that is loaded.
    for step in (400, -1200):
        still = 0
        while still < _STILL_MAX and (step < 0 or rows < most):
            before = _work_ms(session)
            rows, moved, drawn = page.evaluate(_STEP, step)
            held = max(held, drawn)
            worked.append(_work_ms(session) - before)
            still = 0 if moved else still + 1
            if step < 0 and not moved:
                break
    worked.sort()
    slow = sum(each > _NOTICED_MS for each in worked)
    p50, p99 = worked[len(worked) // 2], worked[int(len(worked) * 0.99)]
    told = f"{p50:6.1f} {p99:6.1f} {worked[-1]:6.1f}"
    _tell(f"{view:8} {rows:6} rows, {held:4} held, {len(worked):5} steps: {told}; {slow} noticed")
    return p99


def _work_ms(session: CDPSession) -> float:
    told = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(float(each["value"]) for each in told if each["name"] == "TaskDuration")


def main() -> None:
    """Measure; the exit status is the number of lists whose 99th percentile is noticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--entries", type=int, default=20_000)
    asked = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[Any]:
            async with running(Path(folder)) as plane:
                await grow(plane, asked.models, asked.entries)
                app = build_app(plane)
                console = Console(plane, None)
                console.mount(app)
                yield console.before(app)
                plane.stopping = True
                plane.sequencer.wake_followers()
                await console.close()

        with served_application(opened, listening_s=600) as url, chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(600_000)
            worst = [
                _measured(page, url, "models", asked.models),
                _measured(page, url, "history", asked.models),
            ]
    raise SystemExit(sum(each > _NOTICED_MS for each in worst))


if __name__ == "__main__":
    main()
