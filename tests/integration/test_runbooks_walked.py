"""Runbooks, word for word: a live cluster is broken for an alert, and its page is done.

A quick third of the walks, on two clusters; `sie soak --runbooks` has all. Commands, queries and
sentences are the page's own, so that a page which rots fails.
"""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.support.runbook_pages import PAGE, sections
from tests.support.runbook_walks import WALKS, WORLDS, follow, started
from tests.support.runbook_world import World, broken_on_purpose

pytestmark = [
    pytest.mark.integration,
    pytest.mark.tool("prometheus"),
    pytest.mark.timeout(300),
    pytest.mark.asyncio(loop_scope="module"),
]

QUICK = (
    "SieSlowBurnsFast",
    "SieGatewayAbsent",
    "SieCapacityDoesNotCome",
    "SieQueueFills",
    "SieBrokerRefuses",
    "SieConfigAbsent",
    "SieWritesRefused",
    "SiePublishLags",
    "SieBrokerAway",
    "SieReplicaFilesFail",
)
ROLES = ("SieJetStreamFills", "SieCertificateEndsSoon")
PAGES = sections(PAGE.read_text())


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("runbooks")
    async with broken_on_purpose(folder, **WORLDS["plain"]) as found:
        yield found


@pytest.mark.parametrize("alert", QUICK)
async def test_what_a_page_says_ends_its_alert(world, alert):
    assert WALKS[alert].world == "plain"
    await follow(world, alert, PAGES[alert])


async def test_roles_on_their_own_are_mended_by_their_pages(tmp_path):
    async with started("roles", tmp_path) as roles:
        for alert in ROLES:
            await follow(roles, alert, PAGES[alert])


@pytest.mark.parametrize(
    ("was", "rotten", "said"),
    [
        ("`sie status`", "`sie statsu`", "sie statsu"),
        ("`sie logs config`", "`sie_config_gone_total`", "shows nothing"),
    ],
)
async def test_a_page_that_rots_fails(world, was, rotten, said):
    page = PAGES["SieConfigAbsent"]
    assert was in page.look
    with pytest.raises(AssertionError, match=said):
        await follow(world, "SieConfigAbsent", replace(page, look=page.look.replace(was, rotten)))
    world.thaw()
    await world.serves()
