"""Several gateways on one port, nothing shared but the bus and the log."""

from pathlib import Path

import httpx
import pytest
from tests.support.live_cluster import LiveCluster, eventually, sie

from sie_cli.ports import free_ports

pytestmark = pytest.mark.integration


def test_two_gateways_share_a_port_and_answer_alike(tmp_path: Path) -> None:
    cluster = LiveCluster(data=tmp_path, port=free_ports(1, adjacent=2)[0])
    started = sie(
        *("up", "--data", str(tmp_path), "--port", str(cluster.port)),
        *("--gateways", "2", "--scale-to-zero"),
    )
    assert started.returncode == 1
    assert "leave --gateways out" in started.stderr
    started = sie(
        *("up", "--data", str(tmp_path), "--port", str(cluster.port)),
        *("--gateways", "2", "--devices", "1", "--detach"),
    )
    assert started.returncode == 0, started.stderr + started.stdout
    try:
        assert {"gateway", "gateway-1"} <= cluster.pids().keys()
        answers = [cluster.encode("hello").json() for _ in range(8)]
        assert len({str(answer["items"]) for answer in answers}) == 1
        seen = eventually(lambda: len(_processes(cluster)) == 2 and _processes(cluster))
        assert len(seen) == 2
    finally:
        stopped = sie("down", "--data", str(tmp_path))
    assert stopped.returncode == 0, stopped.stderr


def _processes(cluster: LiveCluster) -> set[str]:
    """When each process that answered was started: another connection may reach another one."""
    found = set()
    for _ in range(20):
        text = httpx.get(f"{cluster.gateway_url}/metrics", timeout=10).text
        found |= {line for line in text.splitlines() if line.startswith("process_start_time")}
    return found
