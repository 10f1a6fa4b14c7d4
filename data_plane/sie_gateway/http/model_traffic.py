"""The traffic of one model at this gateway: how many requests, how they ended, how long they took.

*shell* over the gateway's own counters, since its start. A model that is counted among the others
has no traffic of its own. Seconds are counted of requests that were answered.
"""

from typing import Final

from sie_gateway.metrics import MODEL_REQUEST_SECONDS
from sie_schemas.api.models import ModelTraffic

__all__ = ["model_traffic"]

_BUCKET: Final = "sie_gateway_model_request_seconds_bucket"
_COUNT: Final = "sie_gateway_model_request_seconds_count"


def model_traffic(model_id: str) -> ModelTraffic | None:
    """The traffic as JSON; None where no request of its own was counted."""
    statuses: dict[str, int] = {}
    below: dict[str, int] = {}
    # One family: a histogram collects its counts, sums and buckets together.
    for sample in next(iter(MODEL_REQUEST_SECONDS.collect())).samples:
        if sample.labels.get("model") != model_id:
            continue
        status = sample.labels["status"]
        if sample.name == _COUNT:
            statuses[status] = statuses.get(status, 0) + int(sample.value)
        elif sample.name == _BUCKET and status == "2xx":
            bound = sample.labels["le"]
            below[bound] = below.get(bound, 0) + int(sample.value)
    if not statuses:
        return None
    return {
        "requests": sum(statuses.values()),
        "by_status": statuses,
        "answered_within_s": {bound: below[bound] for bound in sorted(below, key=float)},
    }
