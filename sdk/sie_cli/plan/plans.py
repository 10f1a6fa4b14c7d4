"""The processes of the local cluster: every process's command line, environment and readiness.

*pure.* From options, ports and passwords to plans, in the order of the start. Passwords go through
the environment, since command lines can be read by everyone. It starts nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from sie_cli.plan.broker import BrokerPlan
from sie_cli.plan.gpus import gpu_variables
from sie_cli.plan.settings import ClusterOptions, ClusterSettings

__all__ = [
    "DRAIN_ORDER",
    "ChildPlan",
    "ClusterPlan",
    "Layout",
    "SpawnerPlan",
    "plan_cluster",
]

_HOST: Final = "127.0.0.1"
DRAIN_ORDER: Final = ("gateway", "worker", "server", "config", "nats")
"""Roles in the order in which they are stopped: what was accepted still needs all that follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpawnerPlan:
    """The process that has imported what others need, and makes them of itself."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildPlan:
    """The way in which one process is started and when it counts as ready."""

    role: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    ready_url: str
    """Ready when this address answers 200."""
    ready_s: float
    port: int = 0
    spawner: SpawnerPlan | None = None
    """Makes the process of itself, where one is named; else it is started alone."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of a cluster's files, below its data folder (`sockets` may be elsewhere)."""

    data: Path
    sockets: Path

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.data / "logs"

    @property
    def broker_config(self) -> Path:
        """The broker's configuration, with the passwords: readable by its owner only."""
        return self.data / "nats.conf"

    @property
    def seeded(self) -> Path:
        """Says that the demo models were registered once, so that a deleted one stays deleted."""
        return self.data / "seeded"

    def log(self, role: str) -> Path:
        """The log file of a role."""
        return self.logs / f"{role}.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterPlan:
    """The plans of all processes. Workers follow the control plane; order is that of the start."""

    broker: ChildPlan
    config: ChildPlan
    gateway: ChildPlan
    more_gateways: tuple[ChildPlan, ...]
    """Those that share the port of the first."""
    servers: tuple[ChildPlan, ...]
    workers: tuple[ChildPlan, ...]
    gateway_url: str
    config_url: str
    nats_url: str


@dataclass(frozen=True, slots=True)
class _Workers:
    """One worker, and the execution processes behind it."""

    name: str
    bundle: str
    """Empty for what its variables say."""
    program: Sequence[str]
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Maker:
    """The part that all processes' plans have in common."""

    scripts: Path
    environment: Mapping[str, str]
    layout: Layout
    nats_url: str
    passwords: Mapping[str, str]
    settings: ClusterSettings
    gpus: int = 0
    spawner: SpawnerPlan | None = None
    """Of the execution processes of this environment."""

    def on_bus(
        self,
        role: str,
        name: str,
        arguments: tuple[str, ...],
        port: int,
        *,
        waits_s: float = 0.0,
        ready: str = "readyz",
    ) -> ChildPlan:
        """A process that serves HTTP on `port` and speaks on the bus as `role`.

        `waits_s` is how long it may wait for another one before it gets ready itself. It is there
        for the others once it answers at the path `ready`.
        """
        return ChildPlan(
            role=name,
            argv=(
                str(self.scripts / f"sie-{role}"),
                *("--host", _HOST, "--port", str(port)),
                *("--nats-url", self.nats_url, "--nats-user", role),
                *arguments,
            ),
            environment={
                **self.environment,
                f"SIE_{role.upper()}_NATS_PASSWORD": self.passwords[role],
            },
            log=self.layout.log(name),
            ready_url=f"http://{_HOST}:{port}/{ready}",
            ready_s=waits_s + self.settings.ready_s,
            port=port,
        )

    def config(self, options: ClusterOptions, config_url: str, gateway_url: str) -> ChildPlan:
        """The writer of the log. It is there for the others while its log is in recovery, too."""
        return self.on_bus(
            "config",
            "config",
            (
                *("--data-dir", str(options.data / "config"), "--advertised-url", config_url),
                *("--catalog", options.catalog, "--gateway-url", gateway_url),
            ),
            options.config_port,
            # In recovery its writer waits for what replicas hold, so they have to start.
            ready="healthz",
        )

    def gateway(
        self, name: str, gateway_id: str, options: ClusterOptions, config_url: str
    ) -> ChildPlan:
        """A gateway; several share one port, and each has files and an inbox of its own."""
        return self.on_bus(
            "gateway",
            name,
            (
                *("--gateway-id", gateway_id, "--config-url", config_url),
                *("--replica-dir", str(options.data / name)),
                *(("--share-port", "true") if options.gateways > 1 else ()),
            ),
            options.port,
        )

    def server(
        self, name: str, program: Sequence[str], socket: Path, port: int, place: int
    ) -> ChildPlan:
        """Model execution behind one worker, of whose devices it is number `place`; its status
        routes are on `port`."""
        return ChildPlan(
            role=f"server-{name}",
            argv=(
                *program,
                *("--socket", str(socket), "--host", _HOST, "--port", str(port)),
            ),
            environment={
                **self.environment,
                **gpu_variables(self.environment, place, gpus=self.gpus),
            },
            log=self.layout.log(f"server-{name}"),
            ready_url=f"http://{_HOST}:{port}/readyz",
            ready_s=self.settings.server_ready_s,
            port=port,
            spawner=self.spawner if program == self.own else None,
        )

    @property
    def own(self) -> tuple[str, ...]:
        """The command of model execution in this environment."""
        return (str(self.scripts / "sie-server"),)

    def worker(
        self,
        name: str,
        sockets: str,
        options: ClusterOptions,
        config_url: str,
        port: int,
        bundle: str,
    ) -> ChildPlan:
        """A worker in front of `sockets`; of a `bundle`, or of what its variables say."""
        return self.on_bus(
            "worker",
            f"worker-{name}",
            (
                *("--socket-path", sockets, "--worker-id", f"local-{name}"),
                *("--replica-dir", str(options.data / f"worker-{name}")),
                *("--config-url", config_url),
                *(("--bundle", bundle) if bundle else ()),
            ),
            port,
            # A worker is ready when its model execution is.
            waits_s=self.settings.server_ready_s,
        )

    def broker(self, plan: BrokerPlan) -> ChildPlan:
        """The broker; its monitoring port says when JetStream is ready."""
        return ChildPlan(
            role="nats",
            argv=(str(self.scripts / "nats-server"), "-c", str(self.layout.broker_config)),
            # An operator's own word on its threads comes first.
            environment={"GOMAXPROCS": str(plan.threads), **self.environment},
            log=self.layout.log("nats"),
            ready_url=f"http://{_HOST}:{plan.monitor_port}/healthz?js-enabled-only=true",
            ready_s=self.settings.ready_s,
            port=plan.port,
        )


def plan_cluster(
    options: ClusterOptions,
    settings: ClusterSettings,
    *,
    layout: Layout,
    scripts: Path,
    environment: Mapping[str, str],
    broker: BrokerPlan,
    worker_ports: tuple[int, ...],
    server_ports: tuple[int, ...],
    programs: Mapping[str, Sequence[str]] = MappingProxyType({}),
    spawns: bool = False,
) -> ClusterPlan:
    """Plan every process. `scripts` holds the programs; ports are one for each process; `programs`
    has the command of model execution for bundles with an environment of their own. With `spawns`
    a spawner makes the others.

    Raises `FixRequest` where there are fewer GPUs than devices.
    """
    nats_url = f"nats://{_HOST}:{broker.port}"
    gateway_url = f"http://{_HOST}:{options.port}"
    config_url = f"http://{_HOST}:{options.config_port}"
    spawner = SpawnerPlan(
        argv=(str(scripts / "sie-server-spawner"),),
        environment=environment,
        log=layout.log("spawner"),
    )
    maker = _Maker(
        scripts=scripts,
        environment=environment,
        layout=layout,
        nats_url=nats_url,
        passwords=broker.passwords,
        settings=settings,
        gpus=options.gpus,
        spawner=spawner if spawns else None,
    )
    servers, workers = _serving(maker, options, config_url, worker_ports, server_ports, programs)
    return ClusterPlan(
        broker=maker.broker(broker),
        config=maker.config(options, config_url, gateway_url),
        gateway=maker.gateway("gateway", "local", options, config_url),
        more_gateways=tuple(
            maker.gateway(f"gateway-{index}", f"local-{index}", options, config_url)
            for index in range(1, options.gateways)
        ),
        servers=servers,
        workers=workers,
        gateway_url=gateway_url,
        config_url=config_url,
        nats_url=nats_url,
    )


def _serving(
    maker: _Maker,
    options: ClusterOptions,
    config_url: str,
    worker_ports: Sequence[int],
    server_ports: Sequence[int],
    programs: Mapping[str, Sequence[str]],
) -> tuple[tuple[ChildPlan, ...], tuple[ChildPlan, ...]]:
    """The execution processes, and the workers in front of them."""
    own = maker.own
    kinds = [
        *(_Workers(str(index), "", own, options.devices) for index in range(options.workers)),
        *(_Workers(name, name, programs.get(name, own), 1) for name in options.bundles),
    ]
    servers: list[ChildPlan] = []
    workers: list[ChildPlan] = []
    left = iter(server_ports)
    for kind, port in zip(kinds, worker_ports, strict=True):
        names = [str(len(servers) + place) for place in range(kind.devices)]
        names = [kind.bundle] if kind.bundle else names
        sockets = [maker.layout.sockets / f"server-{name}.sock" for name in names]
        servers += [
            maker.server(name, kind.program, socket, next(left), place)
            for place, (name, socket) in enumerate(zip(names, sockets, strict=True))
        ]
        paths = ",".join(map(str, sockets))
        workers.append(maker.worker(kind.name, paths, options, config_url, port, kind.bundle))
    return tuple(servers), tuple(workers)
