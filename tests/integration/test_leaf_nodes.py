"""A site behind a leaf node of NATS, on the hub's log and queues: it works, and may do no more.

`sie soak --leaf` loses brokers of the hub under load.
"""

import time

import httpx
import nats
import pytest
from tests.support.leaf_files import FOLDER, written
from tests.support.leaf_site import MODEL, Site, site
from tests.support.polling import until, until_told

from sie_cli.plan.ports import free_ports
from sie_sdk import SIEAsyncClient, SIEAsyncConfigClient
from sie_testing.processes.programs import Program, program_path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

REFUSED = (nats.errors.TimeoutError, nats.errors.NoRespondersError)
SOON_S = 12.0
"""A consumer is made within five seconds, and a pull that reached nobody asked anew in three. It
was twenty."""


@pytest.mark.parametrize("name", sorted(written()))
def test_the_users_files_are_made_of_the_rights_of_roles(name):
    text = (FOLDER / name).read_text()
    assert text == written()[name], "python -m tests.support.leaf_files writes it"


async def test_a_site_behind_a_leaf_node_is_served_and_outlives_its_hub(tmp_path):
    async with (
        site(tmp_path) as here,
        SIEAsyncClient(here.gateway) as client,
        httpx.AsyncClient(timeout=60) as http,
    ):
        began = time.monotonic()
        await here.encode(client, "first")
        assert time.monotonic() - began < SOON_S
        await a_site_that_was_taken_over_is_refused(here)
        await the_hub_goes_and_comes_back(here, http)


async def the_hub_goes_and_comes_back(here: Site, http: httpx.AsyncClient) -> None:
    hubs = [program for name, program in here.programs.items() if name.startswith("hub-")]
    for program in hubs:
        await program.kill()
    url, body = f"{here.gateway}/v1/encode/{MODEL}", {"items": [{"text": "x"}]}
    answer = await http.post(url, json=body)
    assert (answer.status_code, answer.json()["detail"]["code"]) == (503, "QUEUE_UNAVAILABLE")
    assert "retry-after" in answer.headers
    async with SIEAsyncConfigClient(here.config) as config:
        entry = await config.put("pool", "other", {"name": "other", "machine_profiles": ["cpu"]})

        async def is_known() -> bool:
            found = await http.get(f"{here.gateway}/v1/configs/epoch")
            return bool(found.json()["epoch"] >= entry["epoch"])

        # Over HTTP, as nobody carries it.
        await until_told(is_known)
    for program in hubs:
        await program.start()

    async def answers() -> bool:
        return (await http.post(url, json=body)).status_code == 200

    await until_told(answers)


async def a_site_that_was_taken_over_is_refused(here: Site) -> None:
    """With the site's password and certificate, and a server that lets its users do anything."""
    text, (port,) = (here.folder / "leaf.conf").read_text(), free_ports(1)
    kept = [line for line in text.splitlines() if not line.startswith(("include", "http"))]
    file = here.folder / "rogue.conf"
    file.write_text("\n".join(kept).replace(f":{here.leaf_port}", f":{port}"))
    words = (program_path("nats-server"), "-c", str(file))
    variables = {**here.of_brokers, "LEAF_NAME": "rogue"}
    rogue = Program("rogue", words, here.folder / "rogue.log", environment=variables)
    await rogue.start()
    try:
        await until(lambda: b"Leafnode connection created" in rogue.log.read_bytes())
        client = await nats.connect(f"nats://127.0.0.1:{port}", inbox_prefix="_INBOX.gateway")

        async def may_what_a_gateway_may() -> bool:
            try:
                await client.request("$JS.API.STREAM.NAMES", b"", timeout=1)
            except REFUSED:
                return False
            return True

        # The way is there, and what is refused is so for another cause.
        await until_told(may_what_a_gateway_may)
        for subject in (
            "$JS.API.STREAM.DELETE.WORK_POOL_default",
            "$JS.API.STREAM.PURGE.WORK_POOL_default",
            "$JS.API.STREAM.MSG.GET.DEAD_LETTERS",
        ):
            with pytest.raises(REFUSED):
                await client.request(subject, b'{"seq":1}', timeout=0.5)
        async with httpx.AsyncClient() as http:
            head = (await http.get(f"{here.config}/v1/configs/epoch")).json()
        with pytest.raises(REFUSED):
            await client.request(f"sie.config.log.{head['log_id']}.e", b"{}", timeout=0.5)
        await client.close()
    finally:
        await rogue.kill()
