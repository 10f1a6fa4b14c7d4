"""The alert rules, and cases of each: series under which it fires, and series under which not."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from tests.support.chart import CHART

__all__ = ["CASES", "RULES", "Case", "alerts", "promtool_file"]

RULES: Final = CHART / "files/alerts.yaml"
_ENOUGH: Final = 30
"""Minutes after which whatever is going to fire does."""


@dataclass(frozen=True)
class Case:
    """Series as promtool writes them, a value a minute. `late` are minutes that pass first."""

    fires: dict[str, str]
    silent: dict[str, str]
    late: int = _ENOUGH


def _grows(name: str, labels: str = "", by: float = 1) -> dict[str, str]:
    return {f"{name}{{{labels}}}": f"0+{by:g}x400"}


def _is(name: str, value: str, labels: str = "") -> dict[str, str]:
    return {f"{name}{{{labels}}}": f"{value}x400"}


def _requests(ok: float, failed: float, code: str = "INFERENCE_ERROR") -> dict[str, str]:
    name = "sie_gateway_requests_total"
    return _grows(name, 'status="200",code=""', ok) | _grows(
        name, f'status="500",code="{code}"', failed
    )


def _latency(fast: float, total: float) -> dict[str, str]:
    name = "sie_gateway_request_seconds"
    return _grows(f"{name}_bucket", 'status="200",le="1.0"', fast) | _grows(
        f"{name}_count", 'status="200"', total
    )


def _commits(fast: float, total: float) -> dict[str, str]:
    name = "sie_config_commit_seconds_bucket"
    return {
        **_grows(name, 'le="1.0"', fast),
        **_grows(name, 'le="2.5"', total),
        **_grows(name, 'le="+Inf"', total),
    }


def _certificate(days: int) -> dict[str, str]:
    name = "sie_http_certificate_expires_timestamp_seconds"
    return _is(name, str(days * 86_400), 'instance="a",file="tls.crt"')


def _both(one: dict[str, str], other: dict[str, str]) -> dict[str, str]:
    return one | other


_STATE: Final = 'sie_config_writer_state="{}"'
_REPLICA: Final = 'sie_replica_state="{}"'
_QUEUE: Final = _is("sie_config_queue_jobs_max", "100000", 'pool="default"')

CASES: Final[dict[str, Case]] = {
    "SieErrorsBurnFast": Case(_requests(900, 20), _requests(10_000, 20)),
    "SieErrorsBurnSlowly": Case(_requests(1000, 4), _requests(1000, 2)),
    "SieSlowBurnsFast": Case(_latency(80, 100), _latency(95, 100)),
    "SieSlowBurnsSlowly": Case(_latency(95, 100), _latency(98, 100)),
    "SieGatewayAbsent": Case({"other": "1x400"}, _is("sie_gateway_workers_live", "0")),
    "SieCapacityDoesNotCome": Case(
        _grows("sie_gateway_cold_requests_total", 'pool="default",bundle="b"'),
        # A cold start that takes ten minutes.
        {"sie_gateway_cold_requests_total{}": "0+5x10 50x400"},
    ),
    "SieQueueWaits": Case(
        _is("sie_config_queue_oldest_seconds", "90", 'pool="default"'),
        _is("sie_config_queue_oldest_seconds", "30", 'pool="default"'),
    ),
    "SieQueueFills": Case(
        _QUEUE | _is("sie_config_queue_jobs", "90000", 'pool="default"'),
        _QUEUE | _is("sie_config_queue_jobs", "7", 'pool="default"'),
    ),
    "SieDeadLetters": Case(
        _grows("sie_worker_dead_letters_total", 'outcome="written"'),
        _is("sie_worker_dead_letters_total", "4", 'outcome="written"'),
    ),
    "SieExecutionDown": Case(
        _is("sie_worker_executor_up", "0"), _is("sie_worker_executor_up", "1")
    ),
    "SieModelsThrash": Case(
        _grows("sie_server_loads_total", 'reason="again"'),
        _grows("sie_server_loads_total", 'reason="first"'),
    ),
    "SieMemoryShort": Case(
        _grows("sie_server_evictions_total", 'reason="host"'),
        _grows("sie_server_evictions_total", 'reason="idle"'),
    ),
    "SieModelCacheFills": Case(
        _is("sie_server_cache_free_bytes", "1e9"), _is("sie_server_cache_free_bytes", "9e9")
    ),
    "SieConfigAbsent": Case({"other": "1x400"}, _is("sie_config_head_epoch", "3")),
    "SieLogInRecovery": Case(
        _is("sie_config_writer_state", "1", _STATE.format("recovery")),
        _is("sie_config_writer_state", "0", _STATE.format("recovery")),
    ),
    "SieWritesRefused": Case(
        _is("sie_config_writer_state", "1", _STATE.format("read_only")),
        # As at every start.
        {f"sie_config_writer_state{{{_STATE.format('read_only')}}}": "1x2 0x400"},
    ),
    "SieTwoHistories": Case(
        {"sie_config_forks_total{}": "0x20 1x380"}, _is("sie_config_forks_total", "1")
    ),
    "SieForged": Case(
        # sie-config is not scraped: its pod is being moved.
        {"sie_replica_forged_total{}": "0x20 1x380"},
        {"sie_replica_forged_total{}": "1x400", "sie_config_claims_forged_total{}": "0x400"},
    ),
    "SieSelfCheckDiffers": Case(
        {'sie_config_self_checks_total{found="differs"}': "0x20 1x380"},
        _grows("sie_config_self_checks_total", 'found="sound"'),
    ),
    "SieCommitsSlow": Case(_commits(50, 100), _commits(100, 100)),
    "SiePublishLags": Case(
        _is("sie_config_publish_lag_epochs", "3"), _is("sie_config_publish_lag_epochs", "0")
    ),
    "SieReplicaBehind": Case(
        _is("sie_replica_behind_epochs", "2"), {"sie_replica_behind_epochs{}": "2x5 0x400"}
    ),
    "SieReplicaStopped": Case(
        _is("sie_replica_state", "1", _REPLICA.format("quarantined")),
        _is("sie_replica_state", "1", _REPLICA.format("stale")),
    ),
    "SieReplicaFilesFail": Case(
        _is("sie_replica_files_refused", "1"), _is("sie_replica_files_refused", "0")
    ),
    "SieLogDiskFills": Case(
        _both(_is("sie_config_disk_free_bytes", "5e9"), _is("sie_config_disk_bytes", "1e11")),
        _both(_is("sie_config_disk_free_bytes", "5e10"), _is("sie_config_disk_bytes", "1e11")),
    ),
    # Moments; the tests begin at 0.
    "SieCertificateEndsSoon": Case(_certificate(days=13), _certificate(days=15)),
    "SieCertificateEnds": Case(_certificate(days=1), _certificate(days=2)),
    "SieBrokerAway": Case(_is("sie_config_broker_up", "0"), _is("sie_config_broker_up", "1")),
    "SieJetStreamFills": Case(
        _both(
            _is("sie_config_jetstream_bytes", "9e9"), _is("sie_config_jetstream_bytes_max", "1e10")
        ),
        # Without a bound.
        _both(_is("sie_config_jetstream_bytes", "9e9"), _is("sie_config_jetstream_bytes_max", "0")),
    ),
    "SieBrokerRefuses": Case(
        _grows("sie_bus_errors_total", 'kind="permission"'),
        _grows("sie_bus_errors_total", 'kind="other"'),
    ),
    "SieReleasesMixed": Case(
        _both(
            _is("sie_build_info", "1", 'version="1",instance="a"'),
            _is("sie_build_info", "1", 'version="2",instance="b"'),
        ),
        _both(
            _is("sie_build_info", "1", 'version="1",instance="a"'),
            _is("sie_build_info", "1", 'version="1",instance="b"'),
        ),
        late=90,
    ),
}


def alerts() -> list[dict[str, Any]]:
    """Every alert of the rules' file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def promtool_file(path: Path) -> Path:
    """Write every case as `promtool test rules` reads it."""
    tests = [
        _promtool_test(name, series, fires, case.late)
        for name, case in CASES.items()
        for series, fires in ((case.fires, True), (case.silent, False))
    ]
    whole = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    return path


def _promtool_test(name: str, series: dict[str, str], fires: bool, late: int) -> dict[str, Any]:
    return {
        "name": f"{name} {'fires' if fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": key, "values": value} for key, value in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                "eval_time": f"{late}m",
                "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
            }
        ],
    }
