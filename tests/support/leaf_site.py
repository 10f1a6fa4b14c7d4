"""A hub of three brokers, a site behind a leaf node, and a whole cluster over both: real processes.

*shell.* The brokers' files are those of `docs/operations/scale.md`, word for word, with folders and
ports of the test. sie-config is at the hub; a gateway, a worker and its echo are at the site.
"""

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from tests.support.certificates import Authority, Signed
from tests.support.leaf_files import FOLDER
from tests.support.polling import until, until_told

from sie_cli.plan.ports import free_ports
from sie_sdk import SIEAsyncClient, SIEAsyncConfigClient
from sie_testing.processes.echo_execution import BACKEND, echo_vector
from sie_testing.processes.programs import Program, program_path

__all__ = ["MODEL", "Site", "site"]

MODEL: Final = "org/echo"
_PAGE: Final = Path(__file__).parents[2] / "docs/operations/scale.md"
_SOURCE: Final = {"type": "package", "package": "echo", "distribution": "echo", "version": "1"}
_HUBS: Final = 3
_READY_S: Final = 60.0


def _on_page(name: str) -> str:
    """The text of a file that the page shows."""
    found = re.search(rf"<!-- leaf: {name} -->\n\n```\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    assert found is not None, name
    return found[1]


@dataclass(frozen=True)
class Site:
    """The addresses, and the programs by their name."""

    folder: Path
    config: str
    gateway: str
    leaf_port: int
    monitor: str
    """Of the leaf node."""
    of_brokers: Mapping[str, str]
    """The variables of a broker."""
    programs: Mapping[str, Program]

    async def encode(self, client: SIEAsyncClient, text: str) -> None:
        """One request whose answer is right."""
        result = await client.encode(MODEL, text)
        assert tuple(result["dense"]) == echo_vector(result["request"]["model_revision"], "", text)

    async def hub_of_leaf(self, http: httpx.AsyncClient) -> str:
        """The hub's broker that the leaf node is joined to; empty while it is to none."""
        leafs = (await http.get(f"{self.monitor}/leafz")).json().get("leafs") or [{}]
        return str(leafs[0].get("name", ""))


def _placed(text: str, folder: Path, signed: Signed, ca: Path) -> str:
    """A file of the page, in folders of the test."""
    changed = {
        "/etc/sie/tls/tls.crt": signed.cert,
        "/etc/sie/tls/tls.key": signed.key,
        "/etc/sie/tls/ca.crt": ca,
        "/data": folder / "data",
    }
    for before, after in changed.items():
        text = text.replace(before, str(after))
    return text


@dataclass(frozen=True)
class _Plan:
    """The folder, ports and certificates that every program is made with."""

    folder: Path
    authority: Authority
    signed: Signed
    ports: list[int]
    plain: dict[str, str]
    """The variables of any process, without settings of ours."""

    def __getitem__(self, name: str) -> int:
        """A port by its name."""
        names = [f"{kind}-{at}" for kind in ("client", "route", "leaf") for at in range(_HUBS)]
        return self.ports[[*names, "site", "monitor", "config", "gateway"].index(name)]

    def of_hubs(self, kind: str) -> list[int]:
        """The ports of all brokers of the hub of one kind."""
        return [self[f"{kind}-{at}"] for at in range(_HUBS)]

    @property
    def hub_leaves(self) -> list[str]:
        """The hub's addresses for leaf nodes, with the password."""
        return [f"tls://leaf:p-leaf@127.0.0.1:{port}" for port in self.of_hubs("leaf")]

    @property
    def of_brokers(self) -> dict[str, str]:
        """The variables of a broker: every password."""
        roles = ("config", "gateway", "worker", "operator", "leaf")
        passwords = {f"SIE_NATS_PASSWORD_{role.upper()}": f"p-{role}" for role in roles}
        hub = {"LEAF_NAME": "leaf", "SIE_NATS_HUB": json.dumps(self.hub_leaves)}
        return self.plain | passwords | hub


def _brokers(plan: _Plan) -> Iterator[Program]:
    """The hub's, and the leaf node."""
    folder, joined = plan.folder, [f"nats://127.0.0.1:{port}" for port in plan.of_hubs("route")]
    texts = {}
    for at in range(_HUBS):
        own = folder / f"hub-{at}"
        own.mkdir()
        text = _placed(_on_page("hub.conf"), own, plan.signed, plan.authority.ca)
        leaves = f'host: "127.0.0.1"\nport: {plan[f"leaf-{at}"]}'
        texts[f"hub-{at}"] = (
            f'server_name: hub-{at}\nlisten: "127.0.0.1:{plan[f"client-{at}"]}"\n'
            f'cluster {{ name: hub, listen: "127.0.0.1:{plan[f"route-{at}"]}", '
            f"routes: {json.dumps(joined)} }}\n" + text.replace("port: 7422", leaves)
        )
    text = _placed(_on_page("leaf.conf"), folder, plan.signed, plan.authority.ca)
    site = f'listen: "127.0.0.1:{plan["site"]}"\nhttp: "127.0.0.1:{plan["monitor"]}"'
    texts["leaf"] = text.replace("port: 4222", site)
    for name, text in texts.items():
        file = folder / f"{name}.conf"
        file.write_text(text)
        words = (program_path("nats-server"), "-c", str(file))
        yield Program(name, words, folder / f"{name}.log", environment=plan.of_brokers)


def _roles(plan: _Plan) -> Iterator[Program]:
    """Our processes: sie-config at the hub, the others at the site."""
    folder, socket = plan.folder, str(plan.folder / "echo.sock")
    echo = (sys.executable, "-m", "sie_testing.processes.echo_execution", socket)
    yield Program("echo", echo, folder / "echo.log", environment=plan.plain)
    hub = ",".join(f"nats://127.0.0.1:{port}" for port in plan.of_hubs("client"))
    at_site, config = f"nats://127.0.0.1:{plan['site']}", f"http://127.0.0.1:{plan['config']}"
    follows = ("--nats-url", at_site, "--config-url", config)
    told = {
        "config": ("--nats-url", hub, "--data-dir", str(folder / "log")),
        "gateway": (*follows, "--fleet-settle-s", "0"),
        "worker": (*follows, "--socket-path", socket, "--worker-id", "w"),
    }
    for name, argv in told.items():
        port = 0 if name == "worker" else plan[name]
        own = {"USER": name, "PASSWORD": f"p-{name}", "REPLICAS": str(_HUBS)}
        variables = {f"SIE_{name.upper()}_NATS_{key}": value for key, value in own.items()}
        words = (program_path(f"sie-{name}"), "--port", str(port), *argv)
        yield Program(name, words, folder / f"{name}.log", environment=plan.plain | variables)


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Start it, and register a model; the gateway is ready."""
    authority = Authority(folder / "ca")
    plain = {name: value for name, value in os.environ.items() if name[:4] != "SIE_"}
    ports = free_ports(3 * _HUBS + 4)
    plan = _Plan(folder, authority, authority.signed("all"), ports, plain)
    for file in FOLDER.iterdir():
        (folder / file.name).write_text(file.read_text())
    brokers, roles = [*_brokers(plan)], [*_roles(plan)]
    found = Site(
        folder,
        config=f"http://127.0.0.1:{plan['config']}",
        gateway=f"http://127.0.0.1:{plan['gateway']}",
        leaf_port=plan["site"],
        monitor=f"http://127.0.0.1:{plan['monitor']}",
        of_brokers=plan.of_brokers,
        programs={each.name: each for each in (*brokers, *roles)},
    )
    async with AsyncExitStack() as stack:
        for each in brokers:
            stack.push_async_callback(each.kill)
            await each.start()
        # Without a leader nobody answers sie-config, which then ends, as it has to: its supervisor
        # would start it again, and here is none.
        await until(lambda: all(_has_leader(folder, at) for at in range(_HUBS)), within_s=_READY_S)
        for each in roles:
            stack.push_async_callback(each.kill)
            await each.start()
        await _register(found)
        yield found


def _has_leader(folder: Path, hub: int) -> bool:
    """True if a broker of the hub knows who leads JetStream there."""
    return "metadata leader" in (folder / f"hub-{hub}.log").read_text()


async def _register(found: Site) -> None:
    model = {
        "model_id": MODEL,
        "source": _SOURCE,
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": BACKEND}},
    }
    async with httpx.AsyncClient(timeout=5) as http:

        async def is_ready(url: str) -> bool:
            try:
                return (await http.get(f"{url}/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        await until_told(lambda: is_ready(found.config), within_s=_READY_S)
        async with SIEAsyncConfigClient(found.config) as config:
            await config.put("bundle", "default", {"name": "default", "backends": [BACKEND]})
            await config.put("model", MODEL, model)
        await until_told(lambda: is_ready(found.gateway), within_s=_READY_S)
