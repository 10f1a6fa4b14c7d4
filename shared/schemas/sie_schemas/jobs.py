"""Jobs and results: what travels between gateway and worker through the queue.

*types.* Frozen msgspec structs, msgpack on the wire. `v` is the feature level that a reader must
know; fields are only ever added, with defaults.

A job is published to `subject(...)` in the work-queue stream `stream_name(pool)`. Its results go as
one `ResultBatch` per gateway to the job's `reply_to` subject, a core NATS request. The gateway
answers with `ResultReceipt`, and only then is the job acknowledged.
"""

from functools import lru_cache
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sie_schemas.items import Item, Operation

__all__ = [
    "JOB_VERSION",
    "AdapterPin",
    "Inbox",
    "ItemFailure",
    "Job",
    "JobFailure",
    "JobResult",
    "PayloadRef",
    "ResultBatch",
    "ResultChunk",
    "ResultReceipt",
    "Timing",
    "UnixTime",
    "consumer_name",
    "stream_name",
    "stream_subjects",
    "subject",
    "token",
]

JOB_VERSION: Final = 3
"""The newest feature level that this release reads:

- 1: the message is the whole job.
- 2: `payload` may name the object that holds it.
- 3: `dimensions`, options other than `is_query`, and items of token ids.
"""


# Python's `$` stands before a last newline too.
Inbox: TypeAlias = Annotated[str, Meta(pattern=r"^sie\.(result|retried)\.[A-Za-z0-9_-]+$(?!\n)")]
"""The subject that a job's result goes to. Who answers may publish elsewhere too, and would end its
line of the broker's protocol where a stranger wants."""
WorkerName: TypeAlias = Annotated[str, Meta(pattern=r"^[!-~]*$(?!\n)")]
"""It stands in a header of the answer."""
UnixTime: TypeAlias = Annotated[float, Meta(ge=0, le=253_402_300_799)]
"""Seconds, up to the year 9999: neither NaN nor what no calendar has."""


class AdapterPin(Struct, frozen=True):
    """An adapter at a revision: part of a lane."""

    name: str
    revision: str


class PayloadRef(Struct, frozen=True, kw_only=True):
    """The place of a job that is larger than a message: an object of the broker's object store."""

    object_id: str
    size: int
    sha256: str


class Job(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One unit on the queue: some items of one request, all for one lane.

    `job_id` is `<request_id>.<first_item>`. `deadline` is Unix time in seconds; after it nobody
    waits, and the job is dropped. The position (`log_id`, `epoch`) is that of the registry which
    named the revisions: a worker that is behind catches up first.

    Where `payload` is given, `v` is 2, the items are left out, and the object holds the whole job
    with its own `v`. `dimensions` is how many numbers of each vector are wanted. `trace` is the
    `traceparent` of the request that is traced; an older worker passes over it.
    """

    v: int = 1
    job_id: str
    request_id: str
    first_item: int
    operation: Operation
    log_id: str
    epoch: int
    model_id: str
    profile: str
    model_revision: str
    adapter: AdapterPin | None = None
    items: tuple[Item, ...]
    query: Item | None = None
    output_types: tuple[str, ...] = ()
    output_dtype: str = "float32"
    labels: tuple[str, ...] = ()
    instruction: str | None = None
    options: dict[str, Any] = {}
    dimensions: int | None = None
    reply_to: Inbox
    deadline: UnixTime
    published_at: UnixTime
    tenant: str = ""
    payload: PayloadRef | None = None
    trace: str = ""


class Timing(Struct, frozen=True, omit_defaults=True):
    """Milliseconds that a job waited (queue and sidecar), was tokenized, and ran."""

    queue_ms: float = 0.0
    tokenization_ms: float = 0.0
    inference_ms: float = 0.0


class ItemFailure(Struct, frozen=True, omit_defaults=True):
    """The reason why one item has no answer. `index` counts within the job."""

    index: int
    code: str
    message: str


class JobFailure(Struct, frozen=True, omit_defaults=True):
    """The reason why a whole job has no answer. `field` is the part of the request that is amiss,
    as a path in our own form."""

    code: str
    message: str
    retry_after_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    field: str | None = None


class JobResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The outcome of a job.

    `answers` has one msgpack-encoded answer for each item, in the job's order; an item named in
    `item_failures` has empty bytes. `failure` means that there are no answers at all. The revisions
    are those that really ran.
    """

    v: int = 1
    job_id: str
    request_id: str
    first_item: int
    answers: tuple[bytes, ...] = ()
    item_failures: tuple[ItemFailure, ...] = ()
    failure: JobFailure | None = None
    model_revision: str
    adapter: AdapterPin | None = None
    timing: Timing = Timing()
    input_tokens: int = 0
    worker_id: WorkerName = ""


class ResultChunk(Struct, frozen=True, kw_only=True):
    """A part of one encoded `JobResult` that is larger than a message.

    `transfer` tells two attempts at the same job apart; `size` is that of the whole.
    """

    job_id: str
    transfer: str
    index: int
    count: int
    size: Annotated[int, Meta(ge=1)]
    data: bytes


class ResultBatch(Struct, frozen=True, kw_only=True):
    """The results of one batch that go to one gateway, as one message; or a chunk of one result."""

    v: int = 1
    worker_id: str
    results: tuple[JobResult, ...]
    chunk: ResultChunk | None = None


class ResultReceipt(Struct, frozen=True, kw_only=True):
    """The gateway's confirmation. A job nobody waits for any more is confirmed too, and dropped.

    `chunk` is the index of a chunk that the gateway holds; none is named when it has no room now.
    """

    v: int = 1
    job_ids: tuple[str, ...]
    chunk: int | None = None


def token(value: str) -> str:
    """A name as one token of a NATS subject: dots, slashes, wildcards and spaces replaced.

    Injective on model ids, names of pools, bundles and machine profiles: none may hold `~`.
    """
    return (
        # `/` as `__` would give two models one subject, and one consumer.
        value.replace("/", "~s")
        .replace(".", "~d")
        .replace("*", "~a")
        .replace(">", "~g")
        .replace(" ", "~_")
    )


def stream_name(pool: str) -> str:
    """The work-queue stream of a pool."""
    return f"WORK_POOL_{token(pool)}"


def stream_subjects(pool: str) -> str:
    """The subjects that the stream of a pool holds."""
    return f"sie.work.{token(pool)}.*.*.*"


@lru_cache(maxsize=4096)
def subject(pool: str, machine_profile: str, bundle: str, model_id: str) -> str:
    """The subject on which jobs for a model on one kind of worker are published."""
    return f"sie.work.{token(pool)}.{token(machine_profile)}.{token(bundle)}.{token(model_id)}"


def consumer_name(machine_profile: str, bundle: str, model_id: str) -> str:
    """The durable consumer of (machine profile, bundle, model): one each, shared by the workers."""
    return f"{token(machine_profile)}_{token(bundle)}_{token(model_id)}"


JOB_ENCODER: Final = msgspec.msgpack.Encoder()
JOB_DECODER: Final = msgspec.msgpack.Decoder(Job)
RESULT_DECODER: Final = msgspec.msgpack.Decoder(ResultBatch)
ONE_RESULT_DECODER: Final = msgspec.msgpack.Decoder(JobResult)
RECEIPT_DECODER: Final = msgspec.msgpack.Decoder(ResultReceipt)
