"""Several gateways on one port, nothing shared but the bus and the log."""

import socket
from pathlib import Path

import pytest
from tests.support.descriptors import open_files
from tests.support.live_cluster import LiveCluster, eventually, sie

from sie_cli.plan.ports import free_ports

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
        # Two that were started in one tick of the clock tell the same start time: who holds the
        # connection tells them apart.
        eventually(lambda: _answering(cluster) == {"gateway", "gateway-1"})
    finally:
        stopped = sie("down", "--data", str(tmp_path))
    assert stopped.returncode == 0, stopped.stderr


def _answering(cluster: LiveCluster) -> set[str]:
    """The gateways that took one of twenty connections, by the owner of its other end."""
    gateways = {name: pid for name, pid in cluster.pids().items() if name.startswith("gateway")}
    return {_owner(cluster.port, gateways) for _ in range(20)}


def _owner(port: int, pids: dict[str, int]) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: gateway\r\n\r\n")
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
        ends = f":{port:04X}", f":{connection.getsockname()[1]:04X}"
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
        [inode] = [row[9] for row in rows if (row[1][8:], row[2][8:]) == ends]
        holders = [name for name, pid in pids.items() if f"socket:[{inode}]" in open_files(pid)]
    assert len(holders) == 1, holders
    return holders[0]
