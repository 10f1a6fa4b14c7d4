"""A cluster without workers: the first request brings them, idleness takes them away."""

import re
from pathlib import Path

import pytest
from tests.support.live_cluster import MODEL, LiveCluster, eventually, sie

from sie_cli.plan.ports import free_ports
from sie_sdk import SIEClient

pytestmark = pytest.mark.integration

PATIENCE = {"SIE_CLUSTER_SCALE_IDLE_S": "3", "SIE_GATEWAY_PROVISIONING_RETRY_AFTER_S": "0.5"}


def workers(cluster: LiveCluster) -> list[str]:
    return [role for role in cluster.pids() if role.startswith(("worker", "server"))]


def model_state(cluster: LiveCluster) -> str:
    with SIEClient(cluster.gateway_url) as client:
        return str(client.get_model(MODEL)["state"])


def test_the_first_request_is_202_then_a_worker_comes_answers_and_leaves_when_idle(
    tmp_path: Path,
) -> None:
    cluster = LiveCluster(data=tmp_path, port=free_ports(1, adjacent=2)[0])
    started = sie(
        *("up", "--data", str(tmp_path), "--port", str(cluster.port)),
        *("--scale-to-zero", "--devices", "1", "--detach"),
        environment=PATIENCE,
    )
    assert started.returncode == 0, started.stderr + started.stdout
    try:
        assert workers(cluster) == []
        idle = sie("doctor", "--data", str(tmp_path))
        assert (idle.returncode, "no request waits for one" in idle.stdout) == (0, True), idle
        log = sie("log", "doctor", str(tmp_path / "config")).stdout
        assert re.search(r"^ok +stream ", log, re.MULTILINE), "its broker is found by itself"
        first = cluster.encode("hello")
        assert first.status_code == 202
        assert first.json()["status"] == "provisioning"
        # Nobody asks again: what was asked for is loaded all the same.
        eventually(lambda: model_state(cluster) in {"loading", "loaded"}, within_s=100)
        with SIEClient(cluster.gateway_url) as client:
            answer = client.encode(MODEL, "hello", provision_timeout_s=100)
        assert answer["dense"].shape == (384,)
        # They leave after 3 s without a request, and a busy machine may take so long to look.
        eventually(
            lambda: (
                cluster.encode("hello").status_code == 200
                and workers(cluster) == ["server-0", "worker-0"]
            ),
            within_s=100,
        )
        eventually(lambda: not workers(cluster))
        assert cluster.encode("again").status_code == 202
    finally:
        stopped = sie("down", "--data", str(tmp_path))
    assert stopped.returncode == 0, stopped.stderr
