"""Dead letters: what is told of a job that failed for good.

*types.* A frozen msgspec struct, msgpack on the wire; fields are only ever added, with defaults.
Holds nothing of the request's contents, unless the operator has payloads kept.
"""

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sie_schemas.jobs import JOB_DECODER, Job, UnixTime

__all__ = ["DEAD_LETTER_DECODER", "DEAD_LETTER_ENCODER", "DeadLetter", "dead_letter_of"]


_TEXT_MAX: Final = 4096
"""Characters of one text: a reason of some pages. Letters are listed by hundreds."""
Text: TypeAlias = Annotated[str, Meta(max_length=_TEXT_MAX)]


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job. `at` is Unix time; `payload` is the queue's message, to send it again.

    `subject` is where the job was published; `worker_id` is empty where no worker lived to tell.
    """

    v: int = 1
    job_id: Text
    request_id: Text
    subject: Text
    pool: Text
    model_id: Text
    profile: Text
    operation: Text
    model_revision: Text
    adapter: Text = ""
    tenant: Text = ""
    items: int = 0
    deliveries: int
    code: Text
    message: Text
    worker_id: Text = ""
    at: UnixTime
    payload: bytes | None = None


def dead_letter_of(
    job: Job,
    message: bytes,
    *,
    pool: str,
    subject: str,
    deliveries: int,
    code: str,
    reason: str,
    worker_id: str,
    at: float,
    keep_payload: bool,
) -> DeadLetter:
    """The letter of a job whose bytes on the queue were `message`.

    A job in the object store has no payload to keep: the object goes with its request.
    """
    is_whole = keep_payload and JOB_DECODER.decode(message).payload is None
    return DeadLetter(
        job_id=job.job_id,
        request_id=job.request_id,
        subject=subject,
        pool=pool,
        model_id=job.model_id,
        profile=job.profile,
        operation=job.operation,
        model_revision=job.model_revision,
        adapter=job.adapter.name if job.adapter is not None else "",
        tenant=job.tenant,
        items=len(job.items),
        deliveries=deliveries,
        code=code,
        message=reason[:_TEXT_MAX],
        worker_id=worker_id,
        at=at,
        payload=message if is_whole else None,
    )


DEAD_LETTER_ENCODER: Final = msgspec.msgpack.Encoder()
DEAD_LETTER_DECODER: Final = msgspec.msgpack.Decoder(DeadLetter)
