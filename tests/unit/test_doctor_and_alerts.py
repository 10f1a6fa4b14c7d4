"""`sie doctor` and the alerts: what Prometheus wakes somebody for, one look finds too."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge
from tests.support.alerts import alerts
from tests.support.metrics_page import declared
from tests.support.runbook_pages import PAGE, sections

from sie_cli.access.state import ClusterState, ProcessRecord, record_process
from sie_cli.diagnosis import metered
from sie_cli.diagnosis.facts import Answer, Facts, Place
from sie_cli.diagnosis.figures import Figures, model_rates, read_figures
from sie_cli.diagnosis.verdict import judge
from sie_core.troubles import Trouble
from sie_runtime.dated_counts import DatedCount

NOW = 1_000_000.0
DAY_S = 86_400
RATES = {
    "SieErrorsBurnFast",
    "SieErrorsBurnSlowly",
    "SieSlowBurnsFast",
    "SieSlowBurnsSlowly",
    "SieCapacityDoesNotCome",
    "SieModelsThrash",
    "SieMemoryShort",
    "SieCommitsSlow",
}
"""Alerts on what happens over minutes: `sie top` looks for as long."""
DATED = "_last_timestamp_seconds"
WELL = "sie_config_broker_up 1\n"


def found(
    config: str = WELL,
    gateway: str = "",
    server: str = "",
    rows: tuple[Mapping[str, Any], ...] = (),
    processes: tuple[ProcessRecord, ...] = (),
    workers: tuple[str, ...] = ("w",),
    **writer: Any,
) -> dict[str, Trouble]:
    """The troubles, by id, of a cluster with such metrics, replicas' rows and `writer`.

    With `processes` it is a local one, whose supervisor is the first of them."""

    def page(body: Any) -> Answer:
        return Answer("http://there", 200, body, moment=NOW)

    ready = {"writer": {"state": "serving"} | writer, "head": "0.9", "published_epoch": 9}
    record = None
    if processes:
        record = ClusterState(
            supervisor=processes[0],
            ready=True,
            processes=processes,
            gateway_url="",
            config_url="",
            nats_url="",
        )
    facts = Facts(
        place=Place("http://config", gateway_url="http://gateway", data=Path(), record=record),
        config_ready=page(ready | ({"published_epoch": 7} if writer.get("lags") else {})),
        replicas=page({"epoch": 9, "replicas": list(rows or (row(),))}),
        config_metrics=page(config),
        gateway=page(
            {"workers": [{"name": each, "pool": "default", "healthy": True} for each in workers]}
        ),
        gateway_metrics=page(gateway),
        part_metrics={"server-0": page(server)} if server else {},
    )
    return {each.id: each for each in judge(facts).troubles}


def row(**more: Any) -> dict[str, Any]:
    """A replica as sie-config shows it."""
    return {"role": "gateway", "id": "g", "state": "fresh", "live": True, "lag": 0} | more


def certificate(left_s: float) -> str:
    """The metrics of a process whose certificate ends in so many seconds."""
    name = "sie_http_certificate_expires_timestamp_seconds"
    return f'{name}{{file="/etc/my tls/tls.crt"}} {NOW + left_s}\n'


def queue(jobs: int, oldest_s: float = 0) -> str:
    """The metrics of a pool's queue."""
    name = "sie_config_queue"
    return (
        f'{WELL}{name}_jobs{{pool="p"}} {jobs}\n{name}_jobs_max{{pool="p"}} 10\n'
        f'{name}_oldest_seconds{{pool="p"}} {oldest_s}\n'
    )


def build(version: str) -> str:
    """The metrics of a release."""
    return f'sie_build_info{{version="{version}",python="3"}} 1\n'


JETSTREAM = f"{WELL}sie_config_jetstream_bytes 9\nsie_config_jetstream_bytes_max 10\n"
BY_ALERT: Mapping[str, tuple[str, dict[str, Any]]] = {
    "SieQueueFills": ("queue p", {"config": queue(9)}),
    "SieQueueWaits": ("queue p", {"config": queue(1, 90)}),
    "SieDeadLetters": ("letters", {"config": f"{WELL}sie_config_dead_letters 2\n"}),
    "SieJetStreamFills": ("jetstream", {"config": JETSTREAM}),
    "SieLogDiskFills": (
        "disk",
        {"config": f"{WELL}sie_config_disk_bytes 100\nsie_config_disk_free_bytes 5\n"},
    ),
    "SieBrokerAway": ("broker", {"config": "sie_config_broker_up 0\n"}),
    "SieLogInRecovery": ("writer", {"state": "recovery"}),
    "SieWritesRefused": ("writer", {"state": "read_only"}),
    "SiePublishLags": ("stream", {"lags": True}),
    "SieReplicaBehind": ("replica gateway g", {"rows": (row(lag=1, lag_s=60.0),)}),
    "SieReplicaStopped": ("replica gateway g", {"rows": (row(state="halted"),)}),
    "SieTwoHistories": ("replica gateway g", {"rows": (row(state="forked"),)}),
    "SieReplicaFilesFail": (
        "files gateway",
        {"gateway": "sie_replica_files_refused 1\n"},
    ),
    "SieForged": (
        "sie_config_claims_forged_total config",
        {"config": f"{WELL}sie_config_claims_forged_total 2\n"},
    ),
    "SieSelfCheckDiffers": (
        "sie_config_self_checks_total config",
        {"config": f'{WELL}sie_config_self_checks_total{{found="differs"}} 1\n'},
    ),
    "SieBrokerRefuses": (
        "sie_bus_errors_total gateway",
        {"gateway": 'sie_bus_errors_total{kind="permission"} 1\n'},
    ),
    "SieCertificateEndsSoon": (
        "certificate gateway /etc/my tls/tls.crt",
        {"gateway": certificate(13 * DAY_S)},
    ),
    "SieCertificateEnds": (
        "certificate gateway /etc/my tls/tls.crt",
        {"gateway": certificate(DAY_S - 1)},
    ),
    "SieReleasesMixed": ("releases", {"config": WELL + build("1"), "gateway": build("2")}),
    "SieModelCacheFills": ("cache server-0", {"server": "sie_server_cache_free_bytes 1e9\n"}),
}
BY_A_QUESTION = {"SieGatewayAbsent", "SieConfigAbsent", "SieExecutionDown"}
"""Found by who does not answer, or says what it lacks: `test_diagnosis_live` breaks those."""


def test_every_alert_is_found_too_or_is_on_a_rate():
    names = {rule["alert"] for rule in alerts()}
    assert set(BY_ALERT) | RATES | BY_A_QUESTION == names


def test_a_cluster_that_is_well_has_no_trouble():
    counted = (
        WELL
        + "sie_replica_files_refused 0\n"
        + 'sie_bus_errors_total{kind="permission"} 0\n'
        + certificate(15 * DAY_S)
    )
    growing = 'sie_bus_errors_total{kind="other"} 9\n' + build("1")
    assert found(counted + build("1"), growing, rows=(row(lag=1, lag_s=0.2),)) == {}


@pytest.mark.parametrize("alert", sorted(BY_ALERT))
def test_one_look_finds_what_an_alert_is_for_with_a_cure(alert):
    wanted, there = BY_ALERT[alert]
    troubles = found(**there)
    assert list(troubles) == [wanted]
    assert troubles[wanted].cure
    assert troubles[wanted].evidence or alert in {"SieLogInRecovery", "SieWritesRefused"}


@pytest.mark.parametrize("alert", ["SieForged", "SieSelfCheckDiffers", "SieBrokerRefuses"])
def test_a_count_is_a_trouble_for_as_long_as_its_alert_looks_back(alert):
    wanted, there = BY_ALERT[alert]

    def told(last: float) -> dict[str, Trouble]:
        return found(
            **{
                role: page
                + page.replace("_total", DATED).split("\n")[-2].rpartition(" ")[0]
                + f" {last}\n"
                for role, page in there.items()
            }
        )

    assert list(told(NOW - 60)) == [wanted]
    assert "the last 60 s ago" in told(NOW - 60)[wanted].evidence
    assert list(told(NOW + 3)) == [wanted], "a clock that is ahead"
    assert told(NOW - 16 * 60) == {}


def test_an_older_gateway_without_workers_is_judged_by_what_its_metrics_wait_for():
    for series in ("sie_gateway_kind_wanted", "sie_gateway_kind_in_flight_items"):
        for value, tone in ((0, "warn"), (1, "bad")):
            assert found(gateway=f"{series} {value}\n", workers=())["workers"].tone == tone
    assert found(workers=())["workers"].tone == "bad", "what is not known may be so"


def test_the_processes_date_what_they_count():
    declared_names = set(declared())
    for each in metered._COUNTED:
        assert {each.name, each.dated} <= declared_names


def test_a_dated_count_tells_the_moment_of_its_last():
    count = Counter("sie_test_dated", "", ["kind"], registry=None)
    last = Gauge("sie_test_dated_last", "", ["kind"], registry=None)
    dated = DatedCount(count, last, ("a", "b"))
    before = time.time()
    dated.inc("a")
    dated.inc("a", by=2)
    values = {sample.labels["kind"]: sample.value for sample in next(iter(last.collect())).samples}
    assert before <= values["a"] <= time.time()
    assert values["b"] == 0
    totals = {
        sample.labels["kind"]: sample.value
        for sample in next(iter(count.collect())).samples
        if sample.name.endswith("_total")
    }
    assert totals == {"a": 3, "b": 0}


def test_a_process_that_was_started_again_and_again_is_a_trouble_until_it_has_settled():
    mine = record_process("gateway", os.getpid(), Path("log"), restarts=9)
    assert mine.age_s is None or mine.age_s >= 0

    def aged(minutes: float) -> ProcessRecord:
        class Aged(ProcessRecord, frozen=True):
            @property
            def age_s(self) -> float:
                return minutes * 60

        return Aged(role="gateway", pid=mine.pid, started=mine.started, log="log", restarts=9)

    assert list(found(processes=(aged(14),))) == ["restarts gateway"]
    assert found(processes=(aged(16),)) == {}


def test_a_process_that_is_being_started_is_no_failure():
    mine = record_process("supervisor", os.getpid(), Path("log"))
    coming = ProcessRecord(role="server-0", pid=0, started="", log="log")
    trouble = found(processes=(mine, coming))["process server-0"]
    assert (trouble.tone, trouble.what) == ("warn", "server-0 is being started")


@pytest.mark.parametrize("alert", ["SieDeadLetters", "SieSelfCheckDiffers", "SieTwoHistories"])
def test_the_next_command_is_one_of_the_page(alert):
    wanted, there = BY_ALERT[alert]
    assert found(**there)[wanted].command in sections(PAGE.read_text())[alert].spans


def test_a_model_that_cannot_be_loaded_is_led_to_its_reason_first():
    """Of one that never was, no change is the cause."""
    reason = "the hub at https://hub does not answer: let this worker reach it"
    failed = {"org/m": {"state": "failed", "reason": reason}}
    told = found(rows=(row(role="worker", id="w", models=failed),))["model org/m worker w"]
    assert told.evidence == reason
    assert told.cure.startswith("Do what the reason says. If it loaded before")
    assert "revert" not in told.cure


def test_a_certificate_is_bad_on_its_last_day_and_its_file_is_quoted_in_the_command():
    tones = {left_s: found(gateway=certificate(left_s)) for left_s in (-1, DAY_S - 1, 2 * DAY_S)}
    told = {left_s: next(iter(each.values())) for left_s, each in tones.items()}
    assert [each.tone for each in told.values()] == ["bad", "bad", "warn"]
    assert "has ended" in told[-1].what
    assert told[2 * DAY_S].what.endswith("within 3 days")
    assert told[-1].command.endswith("-in '/etc/my tls/tls.crt'")


def test_a_gateway_that_began_anew_has_no_rate_below_zero():
    def page(count: int) -> Figures:
        labels = 'model="org/model",status="2xx"'
        return read_figures(f"sie_gateway_model_request_seconds_count{{{labels}}} {count}\n")

    [rate] = model_rates(page(100), page(6), 2.0)

    assert rate.per_s == 3.0
