"""The span of a batch: one for all the traced jobs that share it.

*shell* over the process's tracer. It is below the first of them and linked to each. So every trace
leads to the batch that it ran in, and the batch to all that shared it.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sie_runtime.process.tracing import begin_span
from sie_schemas.errors import SIEError
from sie_worker.jobs.holds import Hold
from sie_worker.scheduling.lanes import Batch

__all__ = ["traced"]


@contextmanager
def traced(batch: Batch, holds: Iterable[Hold]) -> Iterator[str]:
    """Around one run of a batch: the `traceparent` that model execution goes on with; empty where
    none of its jobs is traced."""
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
