"""The gateway's process: where requests go, what it serves on through, and how it ends."""

import asyncio
import itertools
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.gateway_process import GatewayProcess, gateway_process, model
from tests.support.polling import until, until_told
from tests.support.queue_worker import QueueLane

pytestmark = pytest.mark.integration

SPECS = ("org/dense", "dense")
PROFILES = ("", "default", "fast")
BUNDLES = ("", "spare")
MACHINES = (None, "cpu", "l4")
POOLS = (None, "night", "Night")
IN_FLIGHT = 300
LANES = (
    *(
        QueueLane("default", machine, bundle)
        for machine in ("cpu", "l4")
        for bundle in ("default", "spare")
    ),
    *(QueueLane("night", "cpu", bundle) for bundle in ("default", "spare")),
    QueueLane(model_id="org/other"),
)


async def ask(gateway: GatewayProcess, spec: str, text: str, **headers: str) -> httpx.Response:
    """One request for one text."""
    body = {"items": [{"text": text}]}
    return await gateway.http.post(f"/v1/encode/{spec}", json=body, headers=headers)


async def test_each_way_to_name_a_place_leads_there_also_after_the_registry_changed(
    tmp_path: Path,
) -> None:
    async with gateway_process(tmp_path, LANES) as gateway:
        spare = {"name": "spare", "backends": ["echo"], "priority": 1000}
        await gateway.write("bundles", "spare", spare)
        await gateway.write(
            "pools", "default", {"name": "default", "machine_profiles": ["cpu", "l4"]}
        )
        await gateway.write("pools", "night", {"name": "night", "machine_profiles": ["cpu"]})
        ways = list(itertools.product(SPECS, PROFILES, BUNDLES, MACHINES, POOLS))
        answers = await asyncio.gather(
            *(_asked(gateway, number, *way) for number, way in enumerate(ways))
        )
        ran = {
            job.items[0].text: (lane, job.model_id, job.profile)
            for job, lane in zip(gateway.worker.seen, gateway.worker.places, strict=True)
        }
        for number, (way, answer) in enumerate(zip(ways, answers, strict=True)):
            _, profile, bundle, machine, pool = way
            if pool is not None and machine == "l4":
                detail = answer.json()["detail"]
                assert (answer.status_code, detail["field"]) == (400, "X-SIE-MACHINE-PROFILE")
                assert str(number) not in ran
                continue
            assert answer.status_code == 200, answer.text
            place = QueueLane("night" if pool else "default", machine or "cpu", bundle or "default")
            assert ran[str(number)] == (place, "org/dense", profile or "default"), way

        # The alias moves to another model: from the moment that the registry says so.
        await gateway.write("models", "org/dense", model("org/dense"))
        gone = await ask(gateway, "dense", "gone")
        await gateway.write("models", "org/other", model("org/other", aliases=["dense"]))
        moved = await ask(gateway, "dense:fast", "moved")
    assert (gone.status_code, gone.json()["detail"]["code"]) == (404, "MODEL_NOT_FOUND")
    assert moved.json()["model"] == "org/other:fast"
    assert gateway.worker.seen[-1].model_id == "org/other"


async def _asked(
    gateway: GatewayProcess,
    number: int,
    spec: str,
    profile: str,
    bundle: str,
    machine: str | None,
    pool: str | None,
) -> httpx.Response:
    named = f"{bundle}:/{spec}" if bundle else spec
    headers = {"X-SIE-MACHINE-PROFILE": machine, "X-SIE-Pool": pool}
    sent = {name: value for name, value in headers.items() if value is not None}
    return await ask(gateway, f"{named}:{profile}" if profile else named, str(number), **sent)


async def test_it_serves_on_without_writer_and_stream_and_ends_without_a_failed_request(
    tmp_path: Path,
) -> None:
    async with gateway_process(tmp_path) as gateway:
        await gateway.lose_the_log()
        lost = await asyncio.gather(*(ask(gateway, "dense:fast", str(n)) for n in range(50)))
        assert {answer.status_code for answer in lost} == {200}
        assert {answer.headers["X-SIE-Config-Epoch"] for answer in lost} == {
            lost[0].headers["X-SIE-Config-Epoch"]
        }

        gateway.worker.answering.clear()
        # So many that their answers, one after the other, take longer than an end without a drain.
        asked = asyncio.gather(*(ask(gateway, "org/dense", "x" * n) for n in range(IN_FLIGHT)))
        # One is with the worker, the others wait for it: every request has come that far.
        await until(lambda: gateway.worker.waiting >= IN_FLIGHT - 1)
        gateway.process.send_signal(signal.SIGTERM)
        await until_told(lambda: _refuses(gateway.port))
        gateway.worker.answering.set()
        answers = await asked
        async with asyncio.timeout(60):
            status = await gateway.process.wait()
    assert [_length(answer) for answer in answers] == [float(n) for n in range(IN_FLIGHT)]
    assert status == 0


async def _refuses(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:
        # Refused; or reset, where it stood in the listener's queue as the listener closed.
        return True
    writer.close()
    return False


def _length(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()["items"][0]["dense"]["values"][0]
