"""From the results of a request's jobs to the body of its answer.

*pure.* Promises one entry for each item in the order of the request, never a gap. An item without
an answer has an `error` with a code and a message. Answers of two revisions never meet: see
`of_one_revision`. A ranking with an item missing would mislead, so `score` answers whole or not.
"""

import math
from collections.abc import Callable, Sequence, Set
from typing import Any, Final

import msgspec
from msgspec import Raw, Struct

from sie_gateway.fleet.routing import Route
from sie_gateway.request.requests import Asked
from sie_schemas.arrays import ArrayMalformed, lists_from_wire
from sie_schemas.errors import CODES, FixRequest, OurFault, SIEError, error_for
from sie_schemas.jobs import Job, JobFailure, JobResult, Timing
from sie_schemas.malformed import MALFORMED

__all__ = ["Answer", "Judged", "assemble", "of_one_revision", "read_answer", "render"]

_OWN_PARAMS: Final = "$.params."
_REVISION_CHANGED: Final = "REVISION_CHANGED"
_DECODER: Final = msgspec.msgpack.Decoder()
_MSGPACK: Final = msgspec.msgpack.Encoder()
_JSON: Final = msgspec.json.Encoder()


class Judged(Struct, frozen=True):
    """A worker's word on one pair; a worker of the release before gives the score alone."""

    score: float
    relevance: float | None = None
    """The model's own probability, between 0 and 1; None: the score is a logit."""
    logit: float | None = None
    """The number that the score was made of; None: the score itself."""


class Answer(Struct, frozen=True):
    """A request's answer before it has a form: encoded entries, and what the headers tell.

    `fields` are msgpack entries for encode and extract, plain mappings for score; `judged` belongs
    to those of a score. Times are milliseconds, the slowest job's.
    """

    route: Route
    fields: dict[str, Any]
    queue_ms: float
    tokenization_ms: float
    inference_ms: float
    input_tokens: int
    workers: tuple[str, ...]
    judged: tuple[Judged, ...] = ()
    request_id: str = ""
    """For answers that tell it in their body."""
    items_path: str = "$.items"
    """The path of the items in the request's body, for errors of one of them."""
    own_failures: frozenset[int] = frozenset()
    """The places of the items that failed by themselves, not with the whole job that has them."""


def of_one_revision(route: Route, results: Sequence[JobResult]) -> bool:
    """Did every job run at the revisions that the route names?"""
    for result in results:
        if result.failure is not None:
            if result.failure.code == _REVISION_CHANGED:
                return False
        elif result.model_revision != route.model.revision or result.adapter != route.adapter:
            return False
    return True


def assemble(
    asked: Asked, route: Route, jobs: Sequence[Job], results: Sequence[JobResult]
) -> Answer:
    """Put results, in the order of the jobs, together. Raises `SIEError` where there is no answer.

    There is none when a job says that it should be sent again, when every item failed, and
    when any item of a `score` failed.
    """
    answers = _whole(jobs, results)
    own_failures: frozenset[int] = frozenset()
    ranked: list[tuple[int, Judged]] = []
    if answers is None:
        own_failures = _own_failures(jobs, results)
        fields = _with_failures(asked, jobs, results, own_failures)
    elif asked.operation == "score":
        ranked = _ranked(answers)
        fields = _scores(asked, ranked)
    else:
        fields = {"items": [Raw(answer) for answer in answers]}
    timing = _slowest(results)
    return Answer(
        route=route,
        fields=fields,
        queue_ms=timing.queue_ms,
        tokenization_ms=timing.tokenization_ms,
        inference_ms=timing.inference_ms,
        input_tokens=sum([result.input_tokens for result in results]),
        workers=tuple(sorted({result.worker_id for result in results if result.worker_id})),
        judged=tuple([judged for _, judged in ranked]),
        items_path=asked.items_path,
        own_failures=own_failures,
    )


def _slowest(results: Sequence[JobResult]) -> Timing:
    """The longest time of each kind."""
    if len(results) == 1:
        return results[0].timing
    timings = [result.timing for result in results]
    return Timing(
        queue_ms=max([timing.queue_ms for timing in timings]),
        tokenization_ms=max([timing.tokenization_ms for timing in timings]),
        inference_ms=max([timing.inference_ms for timing in timings]),
    )


def render(answer: Answer, *, total_ms: float, as_msgpack: bool) -> bytes:
    """The body's bytes. In JSON an array is a list of numbers."""
    body = {
        "model": answer.route.model_name,
        **answer.fields,
        "timing": {
            "total_ms": round(total_ms, 3),
            "queue_ms": answer.queue_ms,
            "tokenization_ms": answer.tokenization_ms,
            "inference_ms": answer.inference_ms,
        },
        "usage": {"input_tokens": answer.input_tokens},
    }
    if as_msgpack:
        return _MSGPACK.encode(body)
    if "items" in body:
        body["items"] = [read_answer(entry, lists_from_wire) for entry in body["items"]]
    return _JSON.encode(body)


def read_answer(entry: bytes, read: Callable[[Any], Any]) -> Any:
    """One answer as `read` makes it of what the worker encoded. Raises `OurFault`."""
    try:
        return read(_DECODER.decode(entry))
    except (ArrayMalformed, *MALFORMED) as error:
        raise OurFault(
            f"a worker's answer cannot be read: {error}", code="INFERENCE_ERROR"
        ) from error


def _whole(jobs: Sequence[Job], results: Sequence[JobResult]) -> list[bytes] | None:
    """The answers of all items where nothing failed, which is nearly always; else None."""
    answers: list[bytes] = []
    for job, result in zip(jobs, results, strict=True):
        if result.failure is not None or result.item_failures:
            return None
        if len(result.answers) != len(job.items) or not all(result.answers):
            return None
        answers += result.answers
    return answers


def _with_failures(
    asked: Asked, jobs: Sequence[Job], results: Sequence[JobResult], own_failures: Set[int]
) -> dict[str, Any]:
    _raise_retryable(asked, results)
    outcomes = [
        outcome
        for job, result in zip(jobs, results, strict=True)
        for outcome in _outcomes(asked, job, result)
    ]
    _raise_failed(asked, outcomes, own_failures)
    return {"items": _entries(asked, outcomes)}


def _own_failures(jobs: Sequence[Job], results: Sequence[JobResult]) -> frozenset[int]:
    """The places in the request of items without an answer whose batch-mates may have theirs."""
    return frozenset(
        job.first_item + index
        for job, result in zip(jobs, results, strict=True)
        if result.failure is None and len(result.answers) == len(job.items)
        for index in (
            {place for place, answer in enumerate(result.answers) if not answer}
            | {failure.index for failure in result.item_failures}
        )
    )


def _outcomes(asked: Asked, job: Job, result: JobResult) -> list[bytes | SIEError]:
    """One answer or error for each item of a job."""
    count = len(job.items)
    if result.failure is not None:
        return [_error(result.failure, asked)] * count
    failures = {failure.index: failure for failure in result.item_failures}
    if len(result.answers) != count:
        wrong = OurFault(
            f"worker {result.worker_id!r} answered {len(result.answers)} of {count} items"
        )
        return [wrong] * count
    return [
        error_for(_known(failures[index].code), failures[index].message)
        if index in failures
        else answer or OurFault(f"worker {result.worker_id!r} gave no answer for this item")
        for index, answer in enumerate(result.answers)
    ]


def _error(failure: JobFailure, asked: Asked) -> SIEError:
    """The error, its path in the form that the client used."""
    field, message = failure.field, failure.message
    if field is not None and field.startswith(_OWN_PARAMS):
        field = f"{asked.params}.{field.removeprefix(_OWN_PARAMS)}"
        message = message.replace(failure.field or "", field, 1)
    code = _known(failure.code)
    return error_for(code, message, field=field, retry_after_s=failure.retry_after_s)


def _known(code: str) -> str:
    """A worker's code. It stands in a header and is a label of metrics, so it is one of ours."""
    return code if code in CODES else "INFERENCE_ERROR"


def _raise_retryable(asked: Asked, results: Sequence[JobResult]) -> None:
    for result in results:
        if result.failure is not None:
            error = _error(result.failure, asked)
            if error.retry_after_s is not None:
                raise error


def _raise_failed(
    asked: Asked, outcomes: Sequence[bytes | SIEError], own_failures: Set[int]
) -> None:
    errors = [
        (index, outcome) for index, outcome in enumerate(outcomes) if isinstance(outcome, SIEError)
    ]
    some_answered = len(errors) < len(outcomes)
    if some_answered and asked.operation != "score":
        return
    place, first = errors[0]
    # An item that failed with its job is as innocent as the rest of that.
    where = f"{asked.items_path}[{place}]" if place in own_failures else None
    details = [
        {"item_index": index, "code": error.code, "message": error.message}
        for index, error in errors[:100]
    ]
    raise error_for(
        first.code,
        # Where all failed it may be the request that all have in common.
        f"{where}: {first.message}" if where is not None and some_answered else first.message,
        field=first.field or (where if isinstance(first, FixRequest) else None),
        details=details,
    )


def _entries(asked: Asked, outcomes: Sequence[bytes | SIEError]) -> list[Raw]:
    return [
        Raw(outcome) if isinstance(outcome, bytes) else Raw(_error_entry(item.id, outcome))
        for item, outcome in zip(asked.items, outcomes, strict=True)
    ]


def _error_entry(item_id: str | None, error: SIEError) -> bytes:
    entry: dict[str, Any] = {"error": {"code": error.code, "message": error.message}}
    if item_id is not None:
        entry["id"] = item_id
    return _MSGPACK.encode(entry)


def _ranked(answers: Sequence[bytes]) -> list[tuple[int, Judged]]:
    """Places in the request by falling score; equal scores keep the order of the request."""
    judged = [(index, _judged(answer)) for index, answer in enumerate(answers)]
    judged.sort(key=lambda pair: -pair[1].score)
    return judged


def _scores(asked: Asked, ranked: Sequence[tuple[int, Judged]]) -> dict[str, Any]:
    ids = _ids(asked)
    fields: dict[str, Any] = {
        "scores": [
            {"item_id": ids[index], "score": judged.score, "rank": rank}
            for rank, (index, judged) in enumerate(ranked)
        ]
    }
    if asked.query is not None and asked.query.id is not None:
        fields["query_id"] = asked.query.id
    return fields


def _ids(asked: Asked) -> list[str]:
    """The client's ids. One that is missing is made of the place, and never one of the client's."""
    given = {item.id for item in asked.items if item.id}
    ids: list[str] = []
    for index, item in enumerate(asked.items):
        made = item.id or f"item-{index}"
        while not item.id and made in given:
            made += "-"
        ids.append(made)
    return ids


def _judged(answer: bytes) -> Judged:
    value = read_answer(answer, lambda told: told)
    given = value if isinstance(value, dict) else {}
    score = _number(given.get("score"))
    if score is None:
        raise OurFault(f"a worker gave the score {given.get('score')!r}", code="INFERENCE_ERROR")
    return Judged(score, _number(given.get("relevance")), _number(given.get("logit")))


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and math.isfinite(value)
    return float(value) if is_number else None
