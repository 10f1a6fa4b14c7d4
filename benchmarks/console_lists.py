"""The console's lists on a large log, in a real Chromium: the time between frames while scrolling.

*main.* `python -m benchmarks.console_lists [--models N] [--entries N]` serves a console from a
temporary folder and scrolls the models and the timeline to their ends, as a wheel does. Prints the
rows that were loaded and how long frames took, in milliseconds: the median, the 99th percentile and
the worst. A frame of 50 ms is what a person notices. Without a screen Chromium draws 60 a second.
"""

import argparse
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from benchmarks.console_views import grow
from playwright.sync_api import Page
from tests.support.browser import chromium
from tests.support.config_writer import running
from tests.support.served import served_application

from sie_config.http.api import build_app
from sie_config.http.console.console import Console

__all__ = ["main"]

_NOTICED_MS: Final = 50.0
_SCROLL: Final = """
async ([step, most]) => {
  const list = document.querySelector(".timeline");
  const frames = [];
  const frame = () => new Promise(requestAnimationFrame);
  let last = await frame();
  let still = 0;
  while (still < 60 && list.querySelectorAll("button.entry").length < most) {
    const before = list.scrollTop;
    list.scrollTop += step;
    const now = await frame();
    frames.push(now - last);
    last = now;
    still = list.scrollTop === before ? still + 1 : 0;
  }
  // Once more over what is loaded, from its end to its beginning.
  while (list.scrollTop > 0) {
    list.scrollTop -= 3 * step;
    const now = await frame();
    frames.push(now - last);
    last = now;
  }
  return [list.querySelectorAll("button.entry").length, frames];
}
"""


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _measured(page: Page, url: str, view: str, most: int) -> float:
    page.goto(f"{url}/console/#/{view}")
    page.locator("button.entry").first.wait_for()
    rows, frames = page.evaluate(_SCROLL, [400, most])
    frames.sort()
    slow = sum(each > _NOTICED_MS for each in frames)
    p50, p99 = frames[len(frames) // 2], frames[int(len(frames) * 0.99)]
    told = f"{p50:6.1f} {p99:6.1f} {frames[-1]:6.1f}"
    _tell(f"{view:8} {rows:6} rows, {len(frames):5} frames: {told}; {slow} noticed")
    return float(p99)


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
