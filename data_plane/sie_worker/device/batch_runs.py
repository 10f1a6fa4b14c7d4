"""One run of a batch or of a part of it: its model is there, and somebody waits for each input.

*shell* around a device's process and its models. What was evicted since is loaded once more, a
bounded number of times for the whole batch. Promises that a part that was answered is not run
again for another one. Nothing is loaded or run for jobs that nobody waits for.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

import msgspec

from sie_core.resolver import ResolvedModel
from sie_runtime.process.tracing import begin_span
from sie_schemas.errors import Later, SIEError
from sie_schemas.jobs import AdapterPin, Job
from sie_worker.device.batch_counts import count_tokens
from sie_worker.execution.executor import Executor
from sie_worker.execution.models import LoadedModel, Models
from sie_worker.forms.answers import public_answers
from sie_worker.jobs.holds import Hold
from sie_worker.scheduling.lanes import Batch, Lane, QueuedInput

__all__ = ["BatchRun", "Work", "holds_of"]

_NOT_LOADED: Final = frozenset(
    {"MODEL_LOADING", "LORA_LOADING", "MODEL_NOT_FOUND", "ADAPTER_NOT_FOUND"}
)
"""Codes by which model execution says that it evicted what it is asked to run."""
_EVICTED_MAX: Final = 3
"""The number of times that a batch, with all its parts, may find that its model has left. Each is a
load, of seconds."""

Work: TypeAlias = tuple[QueuedInput, Hold]
"""An input of a batch, and the job that it is of: which may be settled while it runs."""


class BatchRun:
    """One batch on its device.

    `drop_unwanted` forgets those of some jobs that nobody waits for, and says what each is told.
    """

    def __init__(
        self,
        batch: Batch,
        executor: Executor,
        models: Models,
        *,
        ensure_model: Callable[[ResolvedModel], Awaitable[LoadedModel]],
        drop_unwanted: Callable[[Sequence[Hold]], dict[Hold, SIEError]],
        clock: Callable[[], float],
    ) -> None:
        self._batch = batch
        self._executor = executor
        self._models = models
        self._ensure_model = ensure_model
        self._drop_unwanted = drop_unwanted
        self._clock = clock
        self._evicted = 0
        """The number of times that its model had left."""

    async def run(self, part: Sequence[Work]) -> list[bytes | SIEError]:
        """The outcome of each input. Raises the error of a part that has none, as `SIEError`."""
        while True:
            try:
                return await self._run_wanted(part)
            except SIEError as error:
                if error.code not in _NOT_LOADED or self._evicted >= _EVICTED_MAX:
                    raise
                self._evicted += 1
                self._models.forget(self._batch.lane.model_revision)

    async def _run_wanted(self, part: Sequence[Work]) -> list[bytes | SIEError]:
        holds = holds_of(part)
        refused = self._drop_unwanted(holds)
        wanted = [hold for hold in holds if hold not in refused] if refused else holds
        if wanted:
            # A load makes others leave, so it is for somebody. It takes seconds, and clients may
            # have left since.
            refused |= await self._ensure(wanted)
            refused |= self._drop_unwanted(wanted)
        runnable = [each for each in part if each[1] not in refused] if refused else part
        answers = iter(await self._run_part(runnable) if runnable else ())
        return [refused.get(hold) or next(answers) for _, hold in part]

    async def _ensure(self, holds: Sequence[Hold]) -> dict[Hold, SIEError]:
        """Have the model and every adapter loaded; gives the holds whose adapter is refused.

        One adapter that cannot be loaded, for want of memory too, fails its own jobs, and not those
        that share its batch.
        """
        model = holds[0].model
        assert model is not None, "what waits in a lane was prepared for a model"
        model = await self._ensure_model(model.resolved)
        refused: dict[Hold, SIEError] = {}
        for hold in holds:
            if hold.job.adapter is None or hold.adapter is None:
                continue
            try:
                await self._models.ensure_adapter(model, hold.job.adapter, hold.adapter)
            except SIEError as error:
                # What passes with the model or the process is no adapter's own. Its size is.
                if isinstance(error, Later) and error.code != "RESOURCE_EXHAUSTED":
                    raise
                refused[hold] = error
        return refused

    async def _run_part(self, part: Sequence[Work]) -> list[bytes | SIEError]:
        batch, now = self._batch, self._clock()
        lane = batch.lane
        for _, hold in part:
            hold.started(now)
        jobs = [hold.job for _, hold in part]
        with _traced(batch, (hold for _, hold in part)) as trace:
            done = await self._executor.run_batch(
                model_revision=lane.model_revision,
                operation=lane.operation,
                adapter=lane.adapter,
                adapters=_adapters(lane, jobs),
                inputs=tuple(item.payload for item, _ in part),
                outputs=lane.outputs,
                labels=lane.labels,
                options=msgspec.json.decode(lane.options) if lane.options else {},
                trace=trace,
            )
        count_tokens(done.answers, (hold for _, hold in part))
        return public_answers(
            done.answers,
            [job.items[item.index] for job, (item, _) in zip(jobs, part, strict=True)],
            [job.output_dtype for job in jobs],
            [job.dimensions for job in jobs],
        )


def holds_of(work: Sequence[Work]) -> list[Hold]:
    """Each hold once, in order."""
    return list(dict.fromkeys(hold for _, hold in work))


def _adapters(lane: Lane, jobs: Sequence[Job]) -> tuple[AdapterPin | None, ...]:
    """The adapter of each input, where any has one that is not the lane's."""
    found = tuple(job.adapter for job in jobs)
    return found if any(pin is not None and pin != lane.adapter for pin in found) else ()


@contextmanager
def _traced(batch: Batch, holds: Iterable[Hold]) -> Iterator[str]:
    """Around one run: the `traceparent` that model execution goes on with; empty where none of its
    jobs is traced.

    One span for all of them, below the first and linked to each. So every trace leads to the batch,
    and the batch to all that shared it.
    """
    spans = [hold.span for hold in dict.fromkeys(holds) if hold.span is not None]
    span = spans and begin_span("batch", "internal", parent=spans[0].traceparent, links=spans)
    if not span:
        yield ""
        return
    span.tell("sie.inputs", len(batch.inputs))
    span.tell("sie.cost", batch.cost)
    span.tell("sie.fill", batch.fill)
    failed = "lost"
    try:
        yield span.traceparent
        failed = ""
    except SIEError as error:
        failed = error.code
        raise
    finally:
        span.end(failed)
