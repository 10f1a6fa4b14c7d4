"""The counts of what a device runs: its batches, their lanes, the tokens that a model read.

*shell* around the metrics of this process.
"""

from collections.abc import Iterable

from sie_schemas.ipc import Answers, ClassAnswers, EntityAnswers, ScoreAnswers
from sie_worker import metrics
from sie_worker.jobs.holds import Hold
from sie_worker.scheduling.lanes import Batch, Lane

__all__ = ["count_begun", "count_tokens", "lane_series_of"]


def count_begun(batch: Batch, hold: Hold, now: float) -> None:
    """A batch is handed over; `hold` is of one of its inputs, and knows its model's name."""
    waited_s = now - batch.arrived
    metrics.BATCHES.inc()
    metrics.BATCH_ITEMS.observe(len(batch.inputs))
    metrics.BATCH_COST.observe(batch.cost)
    metrics.BATCH_FILL.observe(batch.fill)
    metrics.BATCH_WAIT.observe(waited_s)
    lane = lane_series_of(batch.lane, hold)
    lane.inputs.inc(len(batch.inputs))
    lane.fill.observe(batch.fill)
    lane.wait_seconds.observe(waited_s)


def lane_series_of(lane: Lane, hold: Hold) -> metrics.LaneSeries:
    """The series of a lane; `hold` is of one of its inputs."""
    model = hold.model.resolved.name if hold.model is not None else ""
    adapter = lane.adapter.name if lane.adapter is not None else ""
    return metrics.lane_series(model, lane.operation, adapter)


def count_tokens(answers: Answers, holds: Iterable[Hold]) -> None:
    """Count what a model read that tokenizes by itself; of others the sidecar has counted."""
    if isinstance(answers, ScoreAnswers | EntityAnswers | ClassAnswers):
        # A backend may leave the counts out, and then there are none.
        for hold, tokens in zip(holds, answers.tokens, strict=False):
            hold.input_tokens += tokens
