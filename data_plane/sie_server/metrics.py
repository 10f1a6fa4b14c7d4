"""The counters of the model-execution process.

*types.* Prometheus instruments, one each, named `sie_server_<what>_<unit>`. No label takes a value
that a client can invent.
"""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

__all__ = [
    "ADAPTER_BYTES",
    "BUSY_SECONDS",
    "CACHE_FREE_BYTES",
    "DEVICE_BYTES",
    "DEVICE_USED_BYTES",
    "EVICTIONS",
    "LOADS",
    "LOAD_SECONDS",
    "MODELS_LOADED",
    "MODEL_BYTES",
    "REQUESTS",
    "REQUEST_SECONDS",
]

REQUESTS: Final = Counter(
    "sie_server_requests_total",
    "Requests of the sidecar by kind (load, load_adapter, unload, run) and code; `OK` where done.",
    ["kind", "code"],
)
REQUEST_SECONDS: Final = Histogram(
    "sie_server_request_seconds",
    "Time from a request's frame to its reply, the wait for the device included.",
    ["kind"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60),
)
MODELS_LOADED: Final = Gauge("sie_server_models_loaded", "Models that are on the device.")
MODEL_BYTES: Final = Gauge("sie_server_model_bytes", "Bytes that the loaded models hold.")
ADAPTER_BYTES: Final = Gauge("sie_server_adapter_bytes", "Bytes of the adapters in memory.")
EVICTIONS: Final = Counter(
    "sie_server_evictions_total",
    "Models that left: `budget` for the bound on memory, `memory` for a full device, `idle`, "
    "`host` for the host's memory.",
    ["reason"],
)
LOADS: Final = Counter(
    "sie_server_loads_total",
    "Models that were loaded: `first` since this process started, or `again` after they had left.",
    ["reason"],
)
LOAD_SECONDS: Final = Histogram(
    "sie_server_load_seconds",
    "Time to make a model of its files.",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600),
)
BUSY_SECONDS: Final = Counter(
    "sie_server_device_busy_seconds_total",
    "Time that the device ran batches: its rate is the share of time that it is busy.",
)
DEVICE_BYTES: Final = Gauge(
    "sie_server_device_memory_bytes", "Memory of the device; on a CPU, of the host or container."
)
DEVICE_USED_BYTES: Final = Gauge(
    "sie_server_device_memory_used_bytes", "Of which somebody uses, this process or another."
)
CACHE_FREE_BYTES: Final = Gauge(
    "sie_server_cache_free_bytes", "Room that is left on the disk of the models' files."
)
# Zero would say that the disk is full, where nobody has looked.
CACHE_FREE_BYTES.set(float("nan"))

for _reason in ("budget", "memory", "idle", "host"):
    # There from the start: a rate of what is not yet there is not 0 but nothing.
    EVICTIONS.labels(_reason)
for _reason in ("first", "again"):
    LOADS.labels(_reason)
