"""The gateway's counters, for Prometheus.

*types.* Names are `sie_gateway_<what>_<unit>`. No label takes a value that a client can invent.
"""

from functools import cache
from typing import Final, NamedTuple, TypeVar

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "CHUNKS_REFUSED",
    "COLD_REQUESTS",
    "IN_FLIGHT_ITEMS",
    "JOBS_GIVEN_BACK",
    "JOBS_SENT_AGAIN",
    "KIND_IN_FLIGHT_ITEMS",
    "KIND_REQUESTS",
    "KIND_WANTED",
    "MALFORMED_MESSAGES",
    "MODEL_REQUEST_SECONDS",
    "OBJECTS_LEFT",
    "POOL_WARM_WORKERS",
    "REQUESTS",
    "REQUEST_SECONDS",
    "REROUTES",
    "RERUNS",
    "RESULTS_DROPPED",
    "WORKERS_LIVE",
    "WORKERS_REFUSED",
    "Outcome",
    "child",
    "outcome",
]

Metric = TypeVar("Metric", Counter, Histogram)

REQUESTS: Final = Counter(
    "sie_gateway_requests", "Requests by outcome.", ["operation", "status", "code"]
)
REQUEST_SECONDS: Final = Histogram(
    "sie_gateway_request_seconds",
    "Time from the first byte read to the last byte sent.",
    ["operation", "status"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
MODEL_REQUEST_SECONDS: Final = Histogram(
    "sie_gateway_model_request_seconds",
    "The same by model: of the registry, `none` where no model was found, `other` past the first "
    "200. The status is a class: 2xx, 4xx, 5xx.",
    ["model", "operation", "status"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5, 30),
)
COLD_REQUESTS: Final = Counter(
    "sie_gateway_cold_requests",
    "Requests that found no ready worker: the demand that an autoscaler acts on.",
    ["pool", "machine_profile", "bundle"],
)
KIND_REQUESTS: Final = Counter(
    "sie_gateway_kind_requests",
    "Requests by the kind of worker that they need, those included that found none.",
    ["pool", "machine_profile", "bundle"],
)
KIND_WANTED: Final = Gauge(
    "sie_gateway_kind_wanted",
    "1 for a minute after a request found no worker of this kind, else 0: workers are started on "
    "it, from zero too.",
    ["pool", "machine_profile", "bundle"],
)
KIND_IN_FLIGHT_ITEMS: Final = Gauge(
    "sie_gateway_kind_in_flight_items",
    "Items that wait for their answer from one kind of worker.",
    ["pool", "machine_profile", "bundle"],
)
POOL_WARM_WORKERS: Final = Gauge(
    "sie_gateway_pool_warm_workers",
    "Workers that a pool keeps although nothing is asked for: its own minimum, or its leases'.",
    ["pool"],
)
IN_FLIGHT_ITEMS: Final = Gauge("sie_gateway_in_flight_items", "Items that wait for their answer.")
RESULTS_DROPPED: Final = Counter(
    "sie_gateway_results_dropped", "Results confirmed for requests that nobody waits for."
)
RERUNS: Final = Counter(
    "sie_gateway_reruns", "Requests run a second time because a revision changed under them."
)
REROUTES: Final = Counter(
    "sie_gateway_reroutes",
    "Requests whose jobs no worker would take any more after a config changed: routed anew.",
)
JOBS_GIVEN_BACK: Final = Counter(
    "sie_gateway_jobs_given_back",
    "Jobs given back to the queue because who held them is over, is stuck, or it was their turn.",
    ["why"],
)
JOBS_SENT_AGAIN: Final = Counter(
    "sie_gateway_jobs_sent_again",
    "Jobs sent once more after a new connection, because the broker may have lost them.",
)
MALFORMED_MESSAGES: Final = Counter(
    "sie_gateway_malformed_messages",
    "Messages from the bus that could not be read.",
    ["kind"],
)
WORKERS_REFUSED: Final = Counter(
    "sie_gateway_workers_refused",
    "Heartbeats of workers that are not known, since as many as may be (4,096) are.",
)
WORKERS_LIVE: Final = Gauge("sie_gateway_workers_live", "Workers heard within the time to live.")
CHUNKS_REFUSED: Final = Counter(
    "sie_gateway_result_chunks_refused",
    "Chunks of large results that came while there was no room.",
)
OBJECTS_LEFT: Final = Counter(
    "sie_gateway_objects_left", "Objects that could not be dropped: their time to live ends them."
)


@cache
def child(metric: Metric, *labels: str) -> Metric:
    """The child of a metric, remembered: to look it up takes a lock and more time than to count."""
    return metric.labels(*labels)


class Outcome(NamedTuple):
    """The series that requests of one outcome are counted in."""

    requests: Counter
    seconds: Histogram
    model_seconds: Histogram


@cache
def outcome(operation: str, status: int, code: str, model: str) -> Outcome:
    """The series of one outcome, remembered. `model` is a bounded label."""
    told = str(status)
    return Outcome(
        child(REQUESTS, operation, told, code),
        child(REQUEST_SECONDS, operation, told),
        child(MODEL_REQUEST_SECONDS, model, operation, f"{told[0]}xx"),
    )
