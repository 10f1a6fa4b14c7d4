"""Grafana's dashboards, as the chart brings them.

`python -m tests.support.dashboards` writes deploy/helm/sie-cluster/dashboards. A query is written
with `{` after each metric: the variables of the dashboard go in there.
"""

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.support.chart import CHART

__all__ = ["DASHBOARDS", "FOLDER", "Dashboard", "Panel", "document", "queries"]

FOLDER: Final = CHART / "dashboards"
_METRIC: Final = re.compile(r"(sie[_:][a-z0-9_:]+)\{")
_SCOPE: Final = r'\1{namespace=~"$namespace",release=~"$release",'
_RATE: Final = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One graph. `queries` are (expression, legend); `unit` is Grafana's word."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Dashboard:
    """One page of graphs. `variables` are (name, metric) of further choices, beside the release."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    variables: tuple[tuple[str, str], ...] = field(default=())


def _panel(title: str, unit: str, *queries: tuple[str, str] | str) -> Panel:
    pairs = tuple((each, "") if isinstance(each, str) else each for each in queries)
    return Panel(title, unit, pairs)


def _rate(metric: str, labels: str, where: str = "") -> tuple[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in labels.split(", "))
    return f"sum by ({labels}) (rate({metric}{{{where}}}[{_RATE}]))", legend


def _quantile(share: float, metric: str, by: str = "", where: str = "") -> tuple[str, str]:
    labels = f"le, {by}" if by else "le"
    inner = f"sum by ({labels}) (rate({metric}_bucket{{{where}}}[{_RATE}]))"
    legend = f"p{share * 100:g}" + (f" {{{{{by}}}}}" if by else "")
    return f"histogram_quantile({share}, {inner})", legend


def _mean(metric: str, by: str, where: str = "") -> tuple[str, str]:
    legend = " ".join(f"{{{{{label}}}}}" for label in by.split(", "))
    top = f"sum by ({by}) (rate({metric}_sum{{{where}}}[{_RATE}]))"
    return f"{top} / sum by ({by}) (rate({metric}_count{{{where}}}[{_RATE}]))", legend


_KIND: Final = "pool, machine_profile, bundle"
_FAILED: Final = 'sum(rate(sie_gateway_requests_total{status=~"5.."}[$__rate_interval]))'
_ALL: Final = "sum(rate(sie_gateway_requests_total{}[$__rate_interval]))"
_MODEL: Final = 'model=~"$model"'

_CLUSTER: Final = Dashboard(
    "cluster",
    "SIE cluster",
    (
        _panel("Requests by status", "reqps", _rate("sie_gateway_requests_total", "status, code")),
        _panel("Share of 5xx", "percentunit", f"({_FAILED} or vector(0)) / ({_ALL} > 0)"),
        _panel(
            "Latency",
            "s",
            _quantile(0.5, "sie_gateway_request_seconds", where='status="200"'),
            _quantile(0.99, "sie_gateway_request_seconds", where='status="200"'),
        ),
        _panel("Cold requests", "reqps", _rate("sie_gateway_cold_requests_total", _KIND)),
        _panel(
            "Items in flight",
            "short",
            (
                f"sum by ({_KIND}) (sie_gateway_kind_in_flight_items{{}})",
                "{{pool}} {{machine_profile}} {{bundle}}",
            ),
        ),
        _panel(
            "Jobs on the queues", "short", ("max by (pool) (sie_config_queue_jobs{})", "{{pool}}")
        ),
        _panel(
            "Oldest job", "s", ("max by (pool) (sie_config_queue_oldest_seconds{})", "{{pool}}")
        ),
        _panel("Workers that gateways hear", "short", "max(sie_gateway_workers_live{})"),
        _panel("Replicas", "short", ("sum by (role) (sie_config_replicas_live{})", "{{role}}")),
        _panel("Broker answers", "short", "min(sie_config_broker_up{})"),
        _panel("JetStream on disk", "bytes", "max(sie_config_jetstream_bytes{})"),
        _panel("Dead letters", "short", "max(sie_config_dead_letters{})"),
        _panel(
            "Processes by release",
            "short",
            ("count by (version) (sie_build_info{})", "{{version}}"),
        ),
        _panel(
            "Connections", "short", ("sum by (instance) (sie_http_connections{})", "{{instance}}")
        ),
        _panel(
            "Reruns and reroutes",
            "ops",
            (f"sum(rate(sie_gateway_reruns_total{{}}[{_RATE}]))", "reruns"),
            (f"sum(rate(sie_gateway_reroutes_total{{}}[{_RATE}]))", "reroutes"),
        ),
    ),
)

_MODELS: Final = Dashboard(
    "models",
    "SIE models",
    (
        _panel(
            "Requests",
            "reqps",
            _rate("sie_gateway_model_request_seconds_count", "model, operation, status", _MODEL),
        ),
        _panel(
            "Latency, p99",
            "s",
            _quantile(0.99, "sie_gateway_model_request_seconds", by="model", where=_MODEL),
        ),
        _panel(
            "Latency, mean",
            "s",
            _mean("sie_gateway_model_request_seconds", "model, operation", _MODEL),
        ),
        _panel(
            "Time of devices, by lane",
            "percentunit",
            _rate("sie_worker_lane_batch_seconds_sum", "model, operation, adapter", _MODEL),
        ),
        _panel(
            "Inputs, by lane",
            "ops",
            _rate("sie_worker_lane_inputs_total", "model, operation, adapter", _MODEL),
        ),
        _panel(
            "Batches, by lane",
            "ops",
            _rate("sie_worker_lane_batch_seconds_count", "model, operation, adapter", _MODEL),
        ),
        _panel(
            "Wait for a batch, mean",
            "s",
            _mean("sie_worker_lane_wait_seconds", "model, operation, adapter", _MODEL),
        ),
        _panel(
            "Fill of a batch, mean",
            "percentunit",
            _mean("sie_worker_lane_fill_ratio", "model, operation, adapter", _MODEL),
        ),
        _panel(
            "Time of a batch, mean",
            "s",
            _mean("sie_worker_lane_batch_seconds", "model, operation, adapter", _MODEL),
        ),
    ),
    variables=(("model", "sie_gateway_model_request_seconds_count"),),
)

_LOG: Final = Dashboard(
    "log",
    "SIE configuration log",
    (
        _panel(
            "Head",
            "short",
            ("max(sie_config_head_epoch{})", "head"),
            ("max(sie_config_published_epoch{})", "on the stream"),
            ("min(sie_replica_applied_epoch{})", "slowest replica"),
        ),
        _panel(
            "Writer",
            "short",
            (
                "max by (sie_config_writer_state) (sie_config_writer_state{})",
                "{{sie_config_writer_state}}",
            ),
        ),
        _panel("Writes", "ops", _rate("sie_config_writes_total", "operation, outcome")),
        _panel(
            "Commits",
            "s",
            _quantile(0.5, "sie_config_commit_seconds"),
            _quantile(0.99, "sie_config_commit_seconds"),
        ),
        _panel("Not on the stream yet", "short", "max(sie_config_publish_lag_epochs{})"),
        _panel(
            "Behind the log, by role",
            "short",
            ("max by (role) (sie_config_replica_lag_epochs{})", "{{role}}"),
        ),
        _panel(
            "Commit to a replica's word",
            "s",
            _quantile(0.99, "sie_config_propagation_seconds", by="role"),
        ),
        _panel(
            "Replicas by state",
            "short",
            ("sum by (sie_replica_state) (sie_replica_state{})", "{{sie_replica_state}}"),
        ),
        _panel("Snapshots taken, by reason", "ops", _rate("sie_replica_snapshots_total", "reason")),
        _panel("Self-checks", "ops", _rate("sie_config_self_checks_total", "found")),
        _panel(
            "Forks and forgeries",
            "short",
            ("sum(sie_config_forks_total{})", "forks"),
            ("sum(sie_replica_forged_total{})", "forged"),
        ),
        _panel("Bytes of the log", "bytes", "max(sie_config_log_bytes{})"),
        _panel("Left on the log's disk", "bytes", "min(sie_config_disk_free_bytes{})"),
        _panel(
            "Publishing failed", "ops", f"sum(rate(sie_config_publish_failures_total{{}}[{_RATE}]))"
        ),
        _panel("Polls that wait", "short", "sum(sie_config_polls_waiting{})"),
    ),
)

_WORKERS: Final = Dashboard(
    "workers",
    "SIE workers",
    (
        _panel(
            "Devices busy", "percentunit", _rate("sie_server_device_busy_seconds_total", "instance")
        ),
        _panel(
            "Memory of devices",
            "bytes",
            ("sum by (instance) (sie_server_device_memory_used_bytes{})", "{{instance}} used"),
            ("sum by (instance) (sie_server_device_memory_bytes{})", "{{instance}} all"),
        ),
        _panel(
            "Memory of models",
            "bytes",
            ("sum by (instance) (sie_server_model_bytes{})", "{{instance}} models"),
            ("sum by (instance) (sie_server_adapter_bytes{})", "{{instance}} adapters"),
        ),
        _panel(
            "Models loaded",
            "short",
            ("sum by (instance) (sie_server_models_loaded{})", "{{instance}}"),
        ),
        _panel("Loads", "ops", _rate("sie_server_loads_total", "reason")),
        _panel("Evictions", "ops", _rate("sie_server_evictions_total", "reason")),
        _panel("Time of a load, p90", "s", _quantile(0.9, "sie_server_load_seconds")),
        _panel(
            "Left for models' files",
            "bytes",
            ("min by (instance) (sie_server_cache_free_bytes{})", "{{instance}}"),
        ),
        _panel("Jobs by outcome", "ops", _rate("sie_worker_jobs_total", "outcome")),
        _panel(
            "Waiting for a batch",
            "short",
            ("sum by (instance, device) (sie_worker_items_waiting{})", "{{instance}} {{device}}"),
        ),
        _panel(
            "Longest wait",
            "s",
            (
                "max by (instance, device) (sie_worker_oldest_wait_seconds{})",
                "{{instance}} {{device}}",
            ),
        ),
        _panel(
            "Items in hand",
            "short",
            ("sum by (instance) (sie_worker_items_in_hand{})", "{{instance}}"),
        ),
        _panel(
            "Fill of batches",
            "percentunit",
            _quantile(0.5, "sie_worker_batch_fill_ratio"),
            _quantile(0.9, "sie_worker_batch_fill_ratio"),
        ),
        _panel("Inputs in a batch", "short", _quantile(0.5, "sie_worker_batch_items")),
        _panel(
            "Time of a batch",
            "s",
            _quantile(0.5, "sie_worker_batch_seconds"),
            _quantile(0.99, "sie_worker_batch_seconds"),
        ),
        _panel("Wait for a batch", "s", _quantile(0.99, "sie_worker_batch_wait_seconds")),
        _panel(
            "Execution connected",
            "short",
            ("min by (instance) (sie_worker_executor_up{})", "{{instance}}"),
        ),
        _panel(
            "Results that nobody confirmed",
            "ops",
            f"sum(rate(sie_worker_results_unconfirmed_total{{}}[{_RATE}]))",
        ),
    ),
)

DASHBOARDS: Final = (_CLUSTER, _MODELS, _LOG, _WORKERS)


def document(dashboard: Dashboard) -> dict[str, Any]:
    """The dashboard as Grafana reads it."""
    variables = [_variable("namespace", "sie_build_info"), _variable("release", "sie_build_info")]
    variables += [_variable(name, metric) for name, metric in dashboard.variables]
    return {
        "uid": f"sie-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["sie"],
        "schemaVersion": 38,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_SOURCE, *variables]},
        "panels": [_drawn(number, panel) for number, panel in enumerate(dashboard.panels)],
    }


def queries(found: dict[str, Any]) -> list[str]:
    """Every query of a dashboard's document, with its variables."""
    return [target["expr"] for panel in found["panels"] for target in panel["targets"]]


_SOURCE: Final = {
    "name": "datasource",
    "label": "Prometheus",
    "type": "datasource",
    "query": "prometheus",
}


def _variable(name: str, metric: str) -> dict[str, Any]:
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        # Also where a series has no such label: on one machine.
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _drawn(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % 3 * 8, "y": number // 3 * 8, "w": 8, "h": 8},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}},
        "targets": [
            {
                "refId": chr(ord("A") + place),
                "expr": _METRIC.sub(_SCOPE, expression),
                "legendFormat": legend or panel.title,
                "exemplar": "_bucket" in expression,
            }
            for place, (expression, legend) in enumerate(panel.queries)
        ],
    }


def _write() -> None:
    FOLDER.mkdir(exist_ok=True)
    for dashboard in DASHBOARDS:
        path = Path(FOLDER / f"{dashboard.name}.json")
        path.write_text(json.dumps(document(dashboard), indent=1) + "\n")


if __name__ == "__main__":
    _write()
