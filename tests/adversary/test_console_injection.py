"""Every text that anything tells the console is an attack: markup, a script, marks of direction.

In a real browser, on each view, every text of each answer has it behind it: names, reasons, errors.
"""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Route, expect
from tests.support.browser import CHROMIUM, chromium, opened
from tests.support.live_cluster import LiveCluster

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tool(CHROMIUM),
    pytest.mark.xdist_group("console"),
]

OVERRIDE = "\u202e"
"""Of direction: what comes behind it is shown the other way round, up to the end of its element."""
HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(2)</script><a href=javascript:alert(3)>"
    f"</title>\"'`${{alert(4)}}{OVERRIDE}\u05e9\u05dc\u05d5\u05dd \x1b[31m{'x' * 150}"
)
OURS = frozenset(
    {
        *("ts", "at", "since", "hash", "prev_hash", "log_id", "state_digest", "digest", "etag"),
        *(
            "state",
            "verb",
            "op",
            "kind",
            "outcome",
            "role",
            "roles",
            "next_after",
            "next_before",
            "path",
        ),
    }
)
"""Members whose words are of this project: no stranger chooses them."""
MARKUP = "onerror=alert(1)"
VIEWS = {
    "overview": MARKUP,
    "models": MARKUP,
    "models?key=sentence-transformers/all-MiniLM-L6-v2": MARKUP,
    # No model has the name of the list any more.
    "playground?model=sentence-transformers/all-MiniLM-L6-v2": "No model has that name",
    "queue": MARKUP,
}
"""Each view, and a text that stands there once its answers have come."""
LETTER = {
    "number": 1,
    "at": 1_700_000_000.0,
    "pool": "default",
    "model_id": "m",
    "code": "INFERENCE_ERROR",
    "message": "it broke",
    "worker_id": "w",
    "deliveries": 5,
    "job_id": "j",
    "request_id": "r",
    "tenant": "t",
    "kept": False,
}


def poisoned(told: Any, name: str = "") -> Any:
    """The same, with the attack behind each text."""
    if isinstance(told, dict):
        return {key: poisoned(value, key) for key, value in told.items()}
    if isinstance(told, list):
        return [poisoned(each, name) for each in told]
    return f"{told}{HOSTILE}" if isinstance(told, str) and name not in OURS else told


def attack(route: Route) -> None:
    path = urlsplit(route.request.url).path
    if path.endswith("/events"):
        # A line that stays open; what comes over it is the same as what is asked for.
        route.continue_()
        return
    answer = route.fetch()
    if "json" not in answer.headers.get("content-type", ""):
        route.fulfill(response=answer)
        return
    told = answer.json()
    if "letters" in path and isinstance(told, dict):
        told = {key: [LETTER] if isinstance(value, list) else value for key, value in told.items()}
    route.fulfill(response=answer, body=json.dumps(poisoned(told)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


UNGUARDED = """
() => {
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode;
    if (!text.data.includes("\\u202e")) continue;
    let each = text.parentElement;
    while (each && getComputedStyle(each).display.startsWith("inline")
           && !getComputedStyle(each).unicodeBidi.includes("isolate")) each = each.parentElement;
    // A block ends the reach of a mark; inside one, whoever stands beside is turned round.
    const beside = each && !getComputedStyle(each).unicodeBidi.includes("isolate")
      && each.textContent.trim() !== text.data.trim();
    if (beside) found.push(each.outerHTML.slice(0, 300));
  }
  return found;
}
"""
"""The elements in which a stranger's mark turns words of ours round."""


@pytest.mark.parametrize("width", ["desk", "phone"])
def test_no_text_of_anybody_is_more_than_a_text_on_any_view(
    browser: Browser, live_cluster: LiveCluster, width: str
) -> None:
    console = f"{live_cluster.config_url}/console/"
    wrong: list[str] = []
    with opened(browser, "about:blank", width=width, expected=["404", "400", "ERR_FAILED"]) as page:
        page.route("**/v1/**", attack)
        page.route("**/console/*", attack)
        for view, there in VIEWS.items():
            page.goto(f"{console}#/{view}")
            page.reload()
            expect(page.locator("main")).to_contain_text(there)
            wrong += [f"{view}: {each}" for each in looked_at(page)]
    assert wrong == [], "\n".join(wrong)


def looked_at(page: Page) -> Iterator[str]:
    made = page.locator("main img, main script, main iframe, a[href^=javascript]")
    if made.count():
        yield f"{made.count()} elements were made of a text"
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if wide > 0:
        yield f"{wide} px too wide"
    for each in page.evaluate(UNGUARDED)[:6]:
        yield f"turned round: {each!r}"
