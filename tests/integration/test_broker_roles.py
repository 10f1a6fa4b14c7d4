"""The users of the broker that `sie up` makes: who may publish the log, and how a refusal shows."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from tests.support.log_world import connected, follower, free_port, metric, same, writer
from tests.support.nats import nats_server
from tests.support.polling import until, until_told
from tests.support.small_jobs import small_job

from sie_cli.plan import broker
from sie_cli.plan.broker import BrokerPlan
from sie_runtime.broker.bus import Bus, BusSettings, BusUnavailable, connected_bus
from sie_runtime.streams.dead_letters import DeadLetters
from sie_runtime.streams.log_stream import stream_name
from sie_schemas.dead_letters import dead_letter_of
from sie_schemas.errors import SIEError
from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, Job, subject

pytestmark = pytest.mark.integration

PASSWORDS = {role: f"secret-{role}" for role in broker.ROLES}


def user(role: str) -> dict[str, str]:
    return {"nats_user": role, "nats_password": PASSWORDS[role]}


@contextlib.asynccontextmanager
async def guarded(folder: Path) -> AsyncIterator[str]:
    """A broker as `sie up` configures it."""
    port = free_port()
    plan = BrokerPlan(
        port=port, monitor_port=free_port(), store=folder / "store", passwords=PASSWORDS
    )
    await asyncio.to_thread(folder.mkdir)
    await asyncio.to_thread((folder / "nats.conf").write_text, broker.render(plan))
    async with nats_server(folder, port=port, config=folder / "nats.conf") as url:
        yield url


def refusals() -> float:
    return metric("sie_bus_errors_total", kind="permission")


@pytest.mark.parametrize("role", ["gateway", "worker"])
async def test_a_data_plane_role_can_follow_and_report_but_never_touch_the_log(
    tmp_path, role, caplog
):
    caplog.set_level(logging.ERROR)
    async with (
        guarded(tmp_path / "nats") as url,
        writer(tmp_path / "data", url, user=user("config")) as one,
        follower(url, one.url, tmp_path / "r", role=role, user=user(role)) as replica,
    ):
        await one.put("a")
        await same(one, replica)
        await one.published()
        await until(lambda: one.plane.replicas_view()["live"] == 1)
        checked = await one.plane.self_check.check()
        assert checked is not None and checked.replica is not None
        assert checked.replica.sound is True, "the writer may ask, the replica may answer"
        await until(lambda: one.plane.replicas_view()["converged"])
        log_id = one.plane.sequencer.position.log_id
        before = one.plane.sequencer.position

        other = "worker" if role == "gateway" else "gateway"
        for subject in (
            f"sie.config.log.{log_id}.e",
            f"sie.config.head.{log_id}",
            f"sie.config.report.{other}.x",
            "sie.config.rollcall",
            f"sie.config.resync.{role}.g1",
        ):
            awaited = refusals() + 1
            await replica.bus.publish(subject, b"forged")
            await until(partial(counted, awaited))
            assert "does not let this role do that" in caplog.text
        for verb in ("DELETE", "PURGE", "UPDATE"):
            await refused(replica.bus, f"$JS.API.STREAM.{verb}.{stream_name(log_id)}")
        message = f"$JS.API.STREAM.MSG.DELETE.{stream_name(log_id)}"
        await refused(replica.bus, message, {"seq": 1})

        await one.put("b")
        await same(one, replica)
        assert one.plane.sequencer.position.epoch == before.epoch + 1


def counted(refused: float) -> bool:
    return refusals() >= refused


async def refused(bus: Bus, subject: str, body: dict[str, int] | None = None) -> None:
    awaited = refusals() + 1
    with pytest.raises(SIEError):
        await bus.request(subject, json.dumps(body or {}).encode(), timeout_s=0.2)
    await until(partial(counted, awaited))


async def test_without_a_password_nobody_is_connected_and_it_is_said_once(tmp_path, caplog):
    async with guarded(tmp_path / "nats") as url, connected(url, "gateway") as bus:
        counted = metric("sie_bus_errors_total", kind="other")
        await until(lambda: metric("sie_bus_errors_total", kind="other") >= counted + 3)
        assert not bus.connected
        assert caplog.text.count("Authorization Violation") == 1
        with pytest.raises(BusUnavailable, match=r"does not let us in.*SIE_NATS_PASSWORD"):
            async with connected_bus(
                BusSettings(nats_url=url), role="operator", process_id="t", within_s=2
            ):
                pass


async def test_the_writer_lists_and_drops_dead_letters_and_never_tells_what_they_held(tmp_path):
    async with (
        guarded(tmp_path / "nats") as url,
        writer(tmp_path / "data", url, user=user("config")) as one,
        connected(url, "worker", **user("worker")) as worker,
    ):
        await one.put("org/m")
        place = {"pool": "default", "machine_profile": "cpu", "bundle": "default"}
        where = subject(model_id="org/m", **place)

        async def sends(job: Job) -> bool:
            message = JOB_ENCODER.encode(job)
            letter = dead_letter_of(
                job,
                message,
                pool="default",
                subject=where,
                deliveries=2,
                code="INFERENCE_ERROR",
                reason="it broke",
                worker_id="w",
                at=1.0,
                keep_payload=True,
            )
            try:
                await DeadLetters(worker).write(letter, reply_to=job.reply_to)
            except BusUnavailable:
                return False
            return True

        async def has_a_queue() -> bool:
            queues = (await one.http.get("/v1/queues")).json().get("queues", [])
            return any(each["pool"] == "default" for each in queues)

        # The writer makes the streams behind its start: the letters' first, the pool's last. On a
        # loaded machine a letter was stored before there was a queue to run its job again on.
        job = small_job(model_id="org/m", items=(Item(text="a secret text"),))
        await until_told(has_a_queue)
        await until_told(partial(sends, job))
        before = refusals()
        [letter] = (await one.http.get("/v1/dead-letters")).json()["letters"]
        assert (letter["code"], letter["message"], letter["model_id"]) == (
            "INFERENCE_ERROR",
            "it broke",
            "org/m",
        )
        assert "a secret text" not in json.dumps(letter)
        after = f"/v1/dead-letters?after={letter['number']}"
        assert (await one.http.get(after)).json() == {"letters": [], "next_after": None}
        queues = (await one.http.get("/v1/queues")).json()
        assert queues["dead_letters"] == 1
        [queue] = [each for each in queues["queues"] if each["pool"] == "default"]
        assert (queue["jobs"], queue["bytes"], queue["oldest_s"]) == (0, 0, None)
        number = letter["number"]
        path, body = "/v1/dead-letters/retry", {"number": number, "within_s": 2}
        ran = await asyncio.gather(*[one.http.post(path, json=body) for _ in range(2)])
        codes = {each.json()["detail"]["code"] for each in ran}
        assert len(codes) == 2, "no worker is there, and the second is refused at once"
        assert "RESOURCE_EXHAUSTED" in codes
        for again, status in ((number, 200), (number, 404)):
            dropped = await one.http.post("/v1/dead-letters/drop", json={"numbers": [again]})
            assert dropped.status_code == status, dropped.text
        absent = await one.http.post("/v1/dead-letters/retry", json={"number": number})
        assert absent.json()["detail"]["code"] == "NOT_FOUND"
        assert (await one.http.get("/v1/dead-letters")).json()["letters"] == []
        assert refusals() == before, "sie-config's user may do this"
