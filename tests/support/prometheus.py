"""A real Prometheus for a test: Debian's, on loopback, in its own folder, ended by its pid."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.support.polling import until_told

from sie_cli.plan.ports import free_ports

__all__ = ["Prometheus", "prometheus"]


@dataclass(frozen=True)
class Prometheus:
    """A server that scrapes, and is asked."""

    url: str
    http: httpx.AsyncClient

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an instant query. Fails the test for one that is not understood."""
        answer = await self.http.get(f"{self.url}/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    async def value(self, expression: str) -> float | None:
        """The value of a query with one series, as KEDA reads it; None where it has none."""
        found = await self.query(expression)
        assert len(found) <= 1, f"{expression} has {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    async def rules(self) -> list[dict[str, Any]]:
        """Every rule that is evaluated, with its state and health."""
        answer = await self.http.get(f"{self.url}/api/v1/rules")
        groups = answer.json()["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def all_up(self) -> bool:
        """True once every target was scraped."""
        found = (await self.http.get(f"{self.url}/api/v1/targets")).json()["data"]["activeTargets"]
        return bool(found) and all(each["health"] == "up" for each in found)


@asynccontextmanager
async def prometheus(
    folder: Path,
    targets: Sequence[str],
    *,
    labels: Mapping[str, str] | None = None,
    rules: Mapping[str, Any] | None = None,
    token: str = "",
    every_s: int = 1,
    config_here: str = "",
    ca: Path | None = None,
) -> AsyncIterator[Prometheus]:
    """Start a server that scrapes `host:port` of each target and puts `labels` on its series.

    `rules` are groups as a rules' file has them; `token` is sent to each target; with `ca` they are
    asked over TLS. `config_here` is
    the target of a sie-config in the test's own process. Its page has the other roles' series too,
    where an earlier test had them imported: those are dropped.
    """
    binary = shutil.which("prometheus")
    assert binary is not None, "mark the test with tool('prometheus')"
    scrape: dict[str, Any] = {
        "job_name": "sie",
        "static_configs": [{"targets": list(targets), "labels": dict(labels or {})}],
    }
    if config_here:
        scrape["metric_relabel_configs"] = [
            {
                "source_labels": ["instance", "__name__"],
                "regex": f"{re.escape(config_here)};sie_(gateway|worker|server)_.*",
                "action": "drop",
            }
        ]
    if ca is not None:
        scrape |= {"scheme": "https", "tls_config": {"ca_file": str(ca)}}
    if token:
        scrape["authorization"] = {"credentials": token}
    config: dict[str, Any] = {
        "global": {
            "scrape_interval": f"{every_s}s",
            "scrape_timeout": f"{every_s}s",
            "evaluation_interval": f"{every_s}s",
        },
        "scrape_configs": [scrape],
    }
    await asyncio.to_thread(_written, folder, config, rules)
    (port,) = free_ports(1)
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            binary,
            f"--config.file={folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            stderr=log,
        )
    try:
        async with httpx.AsyncClient(timeout=20) as http:
            server = Prometheus(f"http://127.0.0.1:{port}", http)

            async def is_ready() -> bool:
                assert process.returncode is None, (folder / "prometheus.log").read_text()
                try:
                    return (await http.get(f"{server.url}/-/ready")).status_code == 200
                except httpx.TransportError:
                    return False

            await until_told(is_ready)
            yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _written(folder: Path, config: dict[str, Any], rules: Mapping[str, Any] | None) -> None:
    folder.mkdir(parents=True)
    if rules is not None:
        (folder / "rules.yaml").write_text(yaml.safe_dump(dict(rules)))
        config["rule_files"] = [str(folder / "rules.yaml")]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
