"""Laws of a letter: it tells of its job alone, and holds contents only where that is wanted."""

import asyncio
import hashlib
import json
import time
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from sie_runtime.streams.dead_letters import DeadLetters, DeadLetterSettings
from sie_schemas.dead_letters import DEAD_LETTER_DECODER
from sie_schemas.fleet import WorkerKind
from sie_schemas.items import Item
from sie_schemas.jobs import (
    JOB_ENCODER,
    AdapterPin,
    Job,
    JobFailure,
    JobResult,
    PayloadRef,
    subject,
    token,
)
from sie_worker.intake.letters import JobLetters
from sie_worker.jobs.holds import Hold

WORDS = st.text("abc/.:", min_size=1, max_size=6)
REASON_MAX = 4096
JOBS = st.builds(
    Job,
    job_id=WORDS,
    request_id=WORDS,
    reply_to=st.sampled_from(["sie.result.g1", "sie.result.g2"]),
    first_item=st.integers(0, 9),
    published_at=st.just(1.0),
    deadline=st.just(9.0),
    log_id=st.just("1" * 32),
    epoch=st.just(1),
    model_id=WORDS,
    profile=WORDS,
    model_revision=WORDS,
    operation=st.sampled_from(["encode", "score", "extract"]),
    adapter=st.none() | st.builds(AdapterPin, WORDS, WORDS),
    items=st.lists(st.builds(Item, text=WORDS), min_size=1, max_size=4).map(tuple),
    tenant=st.sampled_from(["", "t"]),
)
KINDS = st.builds(WorkerKind, pool=WORDS, machine_profile=WORDS, bundle=WORDS)


class Stream:
    """The stream of dead letters in memory, as the broker's client shows it."""

    def __init__(self) -> None:
        self.client = self
        self.stored: list[tuple[str, bytes, dict[str, str]]] = []

    def jetstream(self, **_: Any) -> None:
        """Only needed to read."""

    def require_connected(self) -> None:
        """It always is."""

    async def request(self, told: str, data: bytes, **named: Any) -> Any:
        self.stored.append((told, data, named["headers"]))
        return SimpleNamespace(data=json.dumps({"seq": 1}).encode())


@given(
    job=JOBS,
    kind=KINDS,
    deliveries=st.integers(1, 9),
    failure=st.none()
    | st.builds(JobFailure, WORDS, st.just("why ") | st.just("why" + "y" * REASON_MAX)),
    is_kept=st.booleans(),
    is_apart=st.booleans(),
)
def test_a_letter_tells_of_its_job_and_keeps_its_contents_only_where_that_is_wanted(
    job, kind, deliveries, failure, is_kept, is_apart
):
    # What stands apart is in hand whole, and was delivered without its items.
    ref = PayloadRef(object_id="o", size=1, sha256="")
    message = JOB_ENCODER.encode(replace(job, v=2, items=(), payload=ref) if is_apart else job)
    delivery = SimpleNamespace(data=message, delivery_count=deliveries)
    hold = Hold(1, job, cast(Any, delivery), now=0.0, age_s=0.0)
    result = JobResult(
        job_id=job.job_id,
        request_id=job.request_id,
        first_item=job.first_item,
        model_revision=job.model_revision,
        failure=failure,
    )
    stream = Stream()
    letters = DeadLetters(cast(Any, stream), DeadLetterSettings(dead_letter_payloads=is_kept))
    began = time.time()
    asyncio.run(JobLetters(letters, worker_id="w", kind=kind).write(hold, result))
    [(told, data, headers)] = stream.stored
    found = asdict(DEAD_LETTER_DECODER.decode(data))
    assert began <= found.pop("at") <= time.time()
    assert found == {
        "v": 1,
        "job_id": job.job_id,
        "request_id": job.request_id,
        "subject": subject(kind.pool, kind.machine_profile, kind.bundle, job.model_id),
        "pool": kind.pool,
        "model_id": job.model_id,
        "profile": job.profile,
        "operation": job.operation,
        "model_revision": job.model_revision,
        "adapter": "" if job.adapter is None else job.adapter.name,
        "tenant": job.tenant,
        "items": len(job.items),
        "deliveries": deliveries,
        "code": "" if failure is None else failure.code,
        "message": "" if failure is None else failure.message[:REASON_MAX],
        "worker_id": "w",
        "payload": message if is_kept and not is_apart else None,
    }
    # A reader of one pool sees that pool's; one job has one letter, whoever else knows its id.
    assert told == f"sie.dead.{token(kind.pool)}"
    name = hashlib.sha256(f"{job.reply_to} {job.job_id}".encode()).hexdigest()
    assert headers == {"Nats-Msg-Id": name}
