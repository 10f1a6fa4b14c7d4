"""Figures: what is read of the metrics that services show, and rates between two looks.

*pure.* Reads Prometheus text. A series that is not there is not known, and never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from prometheus_client.parser import text_string_to_metric_families

from sie_core.troubles import Signals

__all__ = ["Figures", "ModelRate", "awaits_workers", "model_rates", "read_figures", "signals_of"]

Labels: TypeAlias = tuple[tuple[str, str], ...]
Figures: TypeAlias = Mapping[tuple[str, Labels], float]
"""By the name of a series and its labels."""

_LATENCY: Final = "sie_gateway_model_request_seconds"
_AWAITED: Final = {"sie_gateway_kind_wanted", "sie_gateway_kind_in_flight_items"}


@dataclass(frozen=True, slots=True)
class ModelRate:
    """The requests of one model between two looks. Times are seconds; None where none ended."""

    model: str
    per_s: float
    failed_per_s: float
    p50_s: float | None
    p95_s: float | None


def read_figures(text: Any) -> Figures:
    """Every series of a page of metrics; none where it is no such page."""
    if not isinstance(text, str):
        return {}
    try:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    except ValueError:
        return {}


def signals_of(figures: Figures) -> Signals:
    """The figures of sie-config by which a cluster is judged."""
    up = figures.get(("sie_config_broker_up", ()))
    jobs = _by_label(figures, "sie_config_queue_jobs", "pool")
    most = _by_label(figures, "sie_config_queue_jobs_max", "pool")
    oldest = _by_label(figures, "sie_config_queue_oldest_seconds", "pool")
    return Signals(
        broker_up=None if up is None else bool(up),
        stored=figures.get(("sie_config_jetstream_bytes", ())),
        stored_max=figures.get(("sie_config_jetstream_bytes_max", ())),
        disk_free=figures.get(("sie_config_disk_free_bytes", ())),
        disk=figures.get(("sie_config_disk_bytes", ())),
        dead_letters=figures.get(("sie_config_dead_letters", ())),
        queues={
            pool: (count, most.get(pool, 0.0), oldest.get(pool, 0.0))
            for pool, count in jobs.items()
        },
    )


def awaits_workers(figures: Figures) -> bool:
    """Do requests wait for workers, by a gateway's figures? True where these do not say."""
    told = [value for (name, _), value in figures.items() if name in _AWAITED]
    return any(told) or not told


def model_rates(before: Figures, now: Figures, elapsed_s: float) -> list[ModelRate]:
    """The rates of each model that was asked for, the busiest first."""
    counts: dict[str, dict[str, float]] = {}
    buckets: dict[str, dict[float, float]] = {}
    for (name, labels), value in now.items():
        if not name.startswith(_LATENCY):
            continue
        grown = value - before.get((name, labels), 0.0)
        if grown < 0:
            # The process is a new one and counts from 0, as Prometheus has it.
            grown = value
        found = dict(labels)
        model = found.get("model", "")
        if name.endswith("_count"):
            by_status = counts.setdefault(model, {})
            status = found.get("status", "")
            by_status[status] = by_status.get(status, 0.0) + grown
        elif name.endswith("_bucket"):
            bounds = buckets.setdefault(model, {})
            bound = float(found["le"])
            bounds[bound] = bounds.get(bound, 0.0) + grown
    rates = [
        ModelRate(
            model,
            sum(by_status.values()) / elapsed_s,
            by_status.get("5xx", 0.0) / elapsed_s,
            _quantile(buckets.get(model, {}), 0.5),
            _quantile(buckets.get(model, {}), 0.95),
        )
        for model, by_status in counts.items()
        if any(by_status.values())
    ]
    return sorted(rates, key=lambda each: (-each.per_s, each.model))


def _quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Between the two bounds where it lies, as Prometheus works it out; the last whole bound for
    what lies beyond all of them."""
    bounds: Sequence[float] = sorted(buckets)
    if not bounds or not buckets[bounds[-1]]:
        return None
    wanted = share * buckets[bounds[-1]]
    lower, below = 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted:
            inside = buckets[bound] - below
            if bound == float("inf") or not inside:
                return lower
            return lower + (bound - lower) * (wanted - below) / inside
        lower, below = bound, buckets[bound]
    return lower


def _by_label(figures: Figures, name: str, label: str) -> dict[str, float]:
    found: Iterable[tuple[Labels, float]] = (
        (labels, value) for (series, labels), value in figures.items() if series == name
    )
    return {dict(labels).get(label, ""): value for labels, value in found}
