"""Writing: one request to change the log, from what it asks for to its answer.

*shell.* A known idempotency key is answered before anything else is looked at, so that its answer
never depends on what has changed since. A write that rests on what it read (a patch, a revert) is
worked out anew when its ground moved before it was judged. It is never applied to other ground.
"""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeAlias, cast

from prometheus_client import Counter
from starlette.requests import Request
from starlette.responses import Response

from sie_config.http.json_answers import json_answer
from sie_config.http.write_answers import dry_run_answer, models_met
from sie_config.http.write_requests import write_of
from sie_config.replicas.convergence import Convergence, Selector, Until
from sie_config.writer.draft import BasisMoved, Outcome, Write
from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_runtime.access.gate import caller_of
from sie_runtime.process.tracing import inner_span
from sie_schemas.api.writes import (
    AffectedReplica,
    EntityDeleted,
    EntityWritten,
    GroupWritten,
    ReplicaConvergence,
)
from sie_schemas.errors import FixRequest, Later, SIEError

__all__ = ["Shown", "Work", "Writing", "convergence_body", "seconds"]

Work = Callable[[Registry], Awaitable[Write]]
"""Works a write out against the registry of now."""

Answer: TypeAlias = EntityWritten | EntityDeleted | GroupWritten


class Shown(Protocol):
    """Makes the answer of what a write came to."""

    def __call__(self, outcome: Outcome, /, *, is_published: bool) -> Answer:
        """The answer."""
        ...


_WRITES: Final = Counter(
    "sie_config_writes_total",
    "writes by what they asked for (model.put, pool.delete, batch, revert) and what came of them",
    ["operation", "outcome"],
)
_WAIT_S: Final = 30.0
"""Half of the time after which load balancers give a silent connection up."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?(e-[0-9]{1,2})?")


@dataclass(frozen=True, slots=True)
class _After:
    """The things that a client waits for after the commit."""

    ack_stream: bool
    until: Until | None
    timeout_s: float


class Writing:
    """One write. Made for a request; used once."""

    def __init__(self, plane: ControlPlane, request: Request, body: bytes, name: str) -> None:
        """`name` counts it. Raises `FixRequest` for a header or parameter that is none."""
        self._plane = plane
        self._name = name
        self.asked: Final = write_of(request, body, plane.sequencer.position.log_id)
        """The request's own word on the write, still without its commands."""
        self._after = _after_of(request, plane.settings.convergence_wait_max_s)
        self._whose = caller_of(request.scope)

    async def answer(self, work: Work, shown: Shown) -> Response:
        """Write, and answer. Raises `SIEError`."""
        try:
            with inner_span("commit") as span:
                if span is not None:
                    self._plane.broadcast.traces.note(self.asked.request_id, span.traceparent)
                outcome, repeated = await self._plane.sequencer.once(
                    self.asked, partial(self._write, work)
                )
                if span is not None:
                    span.tell("sie.epoch", outcome.entry.epoch)
        except SIEError as error:
            _WRITES.labels(self._name, error.code).inc()
            raise
        if outcome.before is not None:
            _WRITES.labels(self._name, "dry_run").inc()
            return json_answer(dry_run_answer(outcome, self._affected(outcome)), 200)
        _WRITES.labels(self._name, _outcome_of(outcome, repeated=repeated)).inc()
        epoch = outcome.entry.epoch
        is_pending = self._after.ack_stream and not await self._on_stream(epoch)
        answer = shown(outcome, is_published=self._plane.broadcast.is_published(epoch))
        if is_pending:
            answer["outcome_pending"] = True
        if self._after.until is not None:
            answer["convergence"] = await self._converge(outcome, self._after.until)
        headers = {"idempotency-replayed": "true"} if repeated else {}
        tag = answer.get("etag")
        if isinstance(tag, str):
            headers["etag"] = tag
        return json_answer(answer, 201 if outcome.created else 200, headers)

    async def _write(self, work: Work) -> Outcome:
        # A patch is worked out here and not in the sequencer: a file that has to be hashed for it
        # must not hold up the writer. So the ground may move, and then it is worked out anew.
        for _ in range(self._plane.settings.rework_max):
            write = await work(self._plane.sequencer.registry)
            try:
                return await self._plane.decide(write)
            except BasisMoved:
                continue
        raise Later(
            "what this write rests on was changed each time it was worked out",
            code="RESOURCE_EXHAUSTED",
        )

    def _affected(self, outcome: Outcome) -> list[AffectedReplica]:
        if not outcome.changed:
            return []
        return self._plane.replicas.reports.holders_of(models_met(outcome), self._plane.now())

    async def _on_stream(self, epoch: int) -> bool:
        publisher, wait_s = self._plane.broadcast.publisher, self._plane.settings.ack_wait_s
        return publisher is not None and await publisher.wait_published(epoch, timeout_s=wait_s)

    async def _converge(self, outcome: Outcome, until: Until) -> ReplicaConvergence:
        with inner_span("converge") as span:
            found = await self._plane.replicas.convergence.wait(
                outcome.entry,
                Selector(),
                until,
                quorum=None,
                replicas_min=1,
                timeout_s=self._after.timeout_s,
                waits=self._plane.waits,
                whose=self._whose,
            )
            if span is not None:
                span.tell("sie.replicas", found.satisfied)
        return convergence_body(found, until)


def _outcome_of(outcome: Outcome, *, repeated: bool) -> str:
    if repeated:
        return "repeated"
    return "changed" if outcome.changed else "unchanged"


def convergence_body(found: Convergence, until: Until) -> ReplicaConvergence:
    """The convergence of the replicas, as JSON tells it."""
    return {
        "until": until,
        "reached": found.reached,
        "selected": found.selected,
        "satisfied": found.satisfied,
        "waiting_for": list(found.waiting_for),
    }


def seconds(text: str, most: float, name: str) -> float:
    """A bounded number of seconds, in plain digits. Raises `FixRequest`."""
    value = float(text) if _SECONDS.fullmatch(text) else -1.0
    if not 0 <= value <= most:
        raise FixRequest(f"{name} is a number of seconds from 0 to {most:g}", field=name)
    return value


def _after_of(request: Request, wait_max_s: float) -> _After:
    if not request.scope["query_string"]:
        return _After(ack_stream=False, until=None, timeout_s=min(_WAIT_S, wait_max_s))
    query = request.query_params
    ack, until = query.get("ack", "local"), query.get("wait")
    if ack not in {"local", "stream"}:
        raise FixRequest(f"ack is `local` or `stream`, not {ack!r}", field="ack")
    if until not in {None, "converged", "effective"}:
        raise FixRequest(f"wait is `converged` or `effective`, not {until!r}", field="wait")
    timeout_s = seconds(query.get("timeout", str(min(_WAIT_S, wait_max_s))), wait_max_s, "timeout")
    return _After(ack == "stream", cast(Until | None, until), timeout_s)
