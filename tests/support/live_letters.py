"""Dead letters of a live cluster: left there as a worker leaves one whose job failed for good.

*shell.* Speaks to the cluster's broker as its worker, by the password that stands in its plan.
"""

import re
import time
from contextlib import AbstractAsyncContextManager

import httpx
from tests.support.live_cluster import MODEL, LiveCluster
from tests.support.small_jobs import small_job

from sie_runtime.broker.bus import Bus, BusSettings, connected_bus
from sie_runtime.streams.dead_letters import DeadLetters
from sie_schemas.dead_letters import dead_letter_of
from sie_schemas.items import Item
from sie_schemas.jobs import JOB_ENCODER, subject

__all__ = ["leave_letter"]


async def leave_letter(cluster: LiveCluster, *, kept: bool) -> None:
    """One letter of a job that would succeed; `kept` says whether its texts are in it."""
    async with httpx.AsyncClient(timeout=30) as http:
        status = (await http.get(f"{cluster.gateway_url}/v1/configs/models/{MODEL}/status")).json()
        [worker] = (await http.get(f"{cluster.gateway_url}/health")).json()["workers"]
        head = (await http.get(f"{cluster.config_url}/v1/configs/epoch")).json()
    job = small_job(
        job_id=f"kept-{kept}-{time.time()}.0",
        log_id=head["log_id"],
        epoch=head["epoch"],
        model_id=MODEL,
        model_revision=status["revisions"]["default"],
        items=(Item(text="again"),),
    )
    letter = dead_letter_of(
        job,
        JOB_ENCODER.encode(job),
        pool=worker["pool"],
        subject=subject(worker["pool"], worker["gpu"], worker["bundle"], MODEL),
        deliveries=3,
        code="INFERENCE_ERROR",
        reason="the device was lost",
        worker_id=worker["name"],
        at=time.time(),
        keep_payload=kept,
    )
    async with _broker_as(cluster, "worker") as bus:
        await DeadLetters(bus).write(letter, reply_to=job.reply_to)


def _broker_as(cluster: LiveCluster, role: str) -> AbstractAsyncContextManager[Bus]:
    plan = (cluster.data / "nats.conf").read_text()
    [password] = re.findall(rf'user: "{role}", password: "([^"]+)"', plan)
    [port] = re.findall(r"^port: (\d+)$", plan, re.MULTILINE)
    settings = BusSettings(
        nats_url=f"nats://127.0.0.1:{port}", nats_user=role, nats_password=password
    )
    return connected_bus(settings, role=role, process_id="test")
