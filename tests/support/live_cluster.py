"""A running cluster for tests, started by the command that a user gives.

`live_cluster` is one cluster for a whole test session: it is started when the first test asks for
it. A test that kills processes waits until the cluster answers again before it ends.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.polling import WITHIN_S

from sie_cli.plan.ports import free_ports

SIE = str(Path(sys.executable).parent / "sie")
MODEL = "sentence-transformers/all-MiniLM-L6-v2"


@dataclass(frozen=True)
class LiveCluster:
    """The addresses of a running cluster, and the place of its files."""

    data: Path
    port: int
    curl_line: str = ""

    @property
    def gateway_url(self) -> str:
        """The gateway."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def config_url(self) -> str:
        """sie-config."""
        return f"http://127.0.0.1:{self.port + 1}"

    def status(self) -> dict[str, Any]:
        """The output of `sie status -o json`."""
        answer = sie("status", "--data", str(self.data), "-o", "json")
        status: dict[str, Any] = json.loads(answer.stdout)
        return status

    def pids(self) -> dict[str, int]:
        """Process id by role."""
        return {each["role"]: each["pid"] for each in self.status()["processes"]}

    def encode(self, text: str = "hello", **request: Any) -> httpx.Response:
        """One encode request, as curl would send it."""
        return httpx.post(
            f"{self.gateway_url}/v1/encode/{MODEL}",
            json={"items": [{"text": text}], **request},
            timeout=30,
        )


def sie(
    *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the `sie` command to its end."""
    return subprocess.run(
        [SIE, *arguments],
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def eventually(
    look: Callable[[], Any], *, within_s: float = WITHIN_S, every_s: float = 0.05
) -> Any:
    """Wait for `look` to give something true; fails the test when that takes too long."""
    deadline = time.monotonic() + within_s
    seen = look()
    while not seen:
        if time.monotonic() > deadline:
            pytest.fail(f"not seen within {within_s:g} s; last: {seen!r}")
        time.sleep(0.05)
        seen = look()
    return seen


@pytest.fixture(scope="session")
def live_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    """A cluster with the demo models, ready to answer."""
    with started_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@contextmanager
def started_cluster(data: Path, *more: str) -> Iterator[LiveCluster]:
    """A cluster with the demo models in a folder, ready to answer; stopped at the end. `more` are
    arguments of `sie up`."""
    port = free_ports(1, adjacent=2)[0]
    asked = ("--port", str(port), "--devices", "1", *more, "--detach")
    started = sie("up", "--data", str(data), *asked)
    assert started.returncode == 0, started.stderr + started.stdout
    [curl_line] = [line.strip() for line in started.stdout.splitlines() if "curl" in line]
    try:
        yield LiveCluster(data=data, port=port, curl_line=curl_line)
    finally:
        stopped = sie("down", "--data", str(data))
    assert stopped.returncode == 0, stopped.stderr
