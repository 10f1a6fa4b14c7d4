"""The counters of this process.

*types.* Prometheus instruments, one each, named `sie_worker_<what>_<unit>`.
"""

from dataclasses import dataclass
from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge, Histogram, Summary

from sie_runtime.process.bounded_labels import BoundedLabels

__all__ = [
    "BATCHES",
    "BATCH_COST",
    "BATCH_FILL",
    "BATCH_ITEMS",
    "BATCH_SECONDS",
    "BATCH_WAIT",
    "DEAD_LETTERS",
    "EXECUTOR_UP",
    "ITEMS_IN_HAND",
    "ITEMS_WAITING",
    "JOBS",
    "LANE_BATCH_SECONDS",
    "LANE_FILL",
    "LANE_INPUTS",
    "LANE_WAIT",
    "OLDEST_AGE",
    "PULLED_MODELS",
    "SPLITS",
    "UNCONFIRMED",
    "LaneSeries",
    "lane_series",
]

JOBS: Final = Counter(
    "sie_worker_jobs_total",
    "Jobs settled: answered, failed, dropped (nobody waits), given_back, unreadable.",
    ["outcome"],
)
BATCHES: Final = Counter("sie_worker_batches_total", "Batches handed to the device.")
BATCH_ITEMS: Final = Histogram(
    "sie_worker_batch_items",
    "Inputs in a batch.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
)
BATCH_COST: Final = Histogram(
    "sie_worker_batch_cost",
    "Cost of a batch, in its model's unit.",
    buckets=(16, 64, 256, 1024, 2048, 4096, 8192, 16384, 65536),
)
BATCH_FILL: Final = Histogram(
    "sie_worker_batch_fill_ratio",
    "Share of its budget that a batch uses: of cost or of inputs, whichever is larger.",
    buckets=(0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
)
BATCH_WAIT: Final = Histogram(
    "sie_worker_batch_wait_seconds",
    "From the arrival of a batch's oldest input to handing the batch over.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
BATCH_SECONDS: Final = Histogram(
    "sie_worker_batch_seconds", "From handing a batch over to having its answers."
)
SPLITS: Final = Counter(
    "sie_worker_batch_splits_total", "Batches that failed and were split to isolate an item."
)
UNCONFIRMED: Final = Counter(
    "sie_worker_results_unconfirmed_total", "Result messages that no gateway confirmed in time."
)
DEAD_LETTERS: Final = Counter(
    "sie_worker_dead_letters_total", "Jobs that failed on their last delivery.", ["outcome"]
)
ITEMS_IN_HAND: Final = Gauge("sie_worker_items_in_hand", "Items pulled that have no outcome yet.")
ITEMS_WAITING: Final = Gauge(
    "sie_worker_items_waiting",
    "Inputs that are tokenized and in no batch yet.",
    ["device"],
)
OLDEST_AGE: Final = Gauge(
    "sie_worker_oldest_wait_seconds",
    "How long the input that waits longest has waited for a batch.",
    ["device"],
)
PULLED_MODELS: Final = Gauge("sie_worker_models_pulled", "Models that this worker pulls for.")
EXECUTOR_UP: Final = Gauge("sie_worker_executor_up", "Devices whose model execution is connected.")

LANE_INPUTS: Final = Counter(
    "sie_worker_lane_inputs_total",
    "Inputs handed to the device by lane: model and adapter of the registry, past the first 200 "
    "lanes `other`.",
    ["model", "operation", "adapter"],
)
LANE_BATCH_SECONDS: Final = Summary(
    "sie_worker_lane_batch_seconds",
    "From handing a lane's batch over to having its answers: their number and their sum.",
    ["model", "operation", "adapter"],
)
LANE_WAIT: Final = Summary(
    "sie_worker_lane_wait_seconds",
    "From the arrival of the oldest input of a lane's batch to handing it over.",
    ["model", "operation", "adapter"],
)
LANE_FILL: Final = Summary(
    "sie_worker_lane_fill_ratio",
    "Share of its budget that a lane's batch uses.",
    ["model", "operation", "adapter"],
)
_LANES_MAX: Final = 200
"""Series of one worker; lanes beyond it share one."""
_LANES: Final = BoundedLabels(_LANES_MAX)

for _outcome in ("answered", "failed", "dropped", "given_back", "unreadable"):
    # There from the start: a rate of what is not yet there is not 0 but nothing.
    JOBS.labels(outcome=_outcome)
for _outcome in ("written", "lost"):
    DEAD_LETTERS.labels(outcome=_outcome)


@dataclass(frozen=True, slots=True)
class LaneSeries:
    """The series of one lane."""

    inputs: Counter
    batch_seconds: Summary
    wait_seconds: Summary
    fill: Summary


def lane_series(model: str, operation: str, adapter: str) -> LaneSeries:
    """The series of a lane; those of `other` where there are enough lanes."""
    return _series(*_LANES.of(model, operation, adapter))


@cache
def _series(*lane: str) -> LaneSeries:
    return LaneSeries(
        LANE_INPUTS.labels(*lane),
        LANE_BATCH_SECONDS.labels(*lane),
        LANE_WAIT.labels(*lane),
        LANE_FILL.labels(*lane),
    )
