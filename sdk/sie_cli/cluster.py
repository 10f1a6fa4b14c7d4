"""The supervisor of the cluster on one machine.

*shell.* Owns every process of the cluster and the folder's record. Promises that what it started is
stopped when it returns, in an order that lets accepted work finish: the gateway takes no more and
answers what it has, then workers, then sie-config, then the broker. A process that dies is started
again, with a growing pause, and that is said. What it leaves behind when it is killed itself is
found and stopped by the next start or by `sie down`.
"""

import asyncio
import os
import secrets
import time
from collections.abc import Callable, Sequence

from sie_cli import broker, state
from sie_cli.autoscaler import autoscale
from sie_cli.child import Child, StartFailed, set_aside
from sie_cli.first_answer import wait_for_first_answer
from sie_cli.folders import prepare, write_broker_config
from sie_cli.installation import check_installed, scripts_folder
from sie_cli.operator_access import write_operator_access
from sie_cli.plans import DRAIN_ORDER, ChildPlan, ClusterPlan, Layout, plan_cluster
from sie_cli.ports import check_free, free_ports
from sie_cli.private_files import write_private
from sie_cli.replica_access import with_replica_access
from sie_cli.seeding import register
from sie_cli.settings import ClusterOptions, ClusterSettings
from sie_cli.state import ClusterState, record_process
from sie_cli.stopping import stop_leftovers

__all__ = ["Cluster", "run_cluster"]

Say = Callable[[str], None]


async def run_cluster(
    options: ClusterOptions,
    settings: ClusterSettings,
    *,
    stop: asyncio.Event,
    kill: asyncio.Event,
    say: Say,
    on_ready: Callable[[ClusterState], None],
) -> None:
    """Run a cluster from its first process to its last, until `stop`; `kill` ends the drain.

    Raises `FixRequest` for what the operator can mend before anything starts (a folder in use, a
    taken port, a missing part) and `StartFailed` for a process that does not become ready.
    """
    check_installed(scripts_folder())
    layout = prepare(options.data)
    with state.held(options.data):
        leftovers = stop_leftovers(options.data, settings)
        if leftovers:
            say(f"stopped what a dead supervisor had left: {', '.join(leftovers)}")
        check_free(options.port, "the gateway")
        check_free(options.config_port, "sie-config")
        cluster = Cluster(options, settings, layout=layout, say=say)
        try:
            await cluster.run(stop=stop, kill=kill, on_ready=on_ready)
        finally:
            state.clear(options.data)


class Cluster:
    """The processes of one cluster. Owner of all children; used by one task."""

    def __init__(
        self, options: ClusterOptions, settings: ClusterSettings, *, layout: Layout, say: Say
    ) -> None:
        self._settings = settings
        self._scale_to_zero = options.scale_to_zero
        self._layout = layout
        self._say = say
        self._plan = _plan(options, settings, layout)
        self._children: list[Child] = []
        self._watchers: dict[str, asyncio.Task[None]] = {}
        """The task that starts each child again, by role."""
        self._ready = False

    async def run(
        self,
        *,
        stop: asyncio.Event,
        kill: asyncio.Event,
        on_ready: Callable[[ClusterState], None],
    ) -> None:
        """Start, watch until `stop`, drain."""
        try:
            if await self._start_unless(stop):
                self._ready = True
                on_ready(self._save())
                async with asyncio.TaskGroup() as group:
                    for child in self._children:
                        self._watch(child, group)
                    scaler = group.create_task(self._scale(group))
                    await stop.wait()
                    for task in (scaler, *self._watchers.values()):
                        task.cancel()
        finally:
            await self._drain(kill)

    async def _start_unless(self, stop: asyncio.Event) -> bool:
        """Start everything; False when `stop` came first."""
        start = asyncio.create_task(self._start())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not start.done():
            start.cancel()
            await asyncio.wait({start})
            return False
        start.result()
        return True

    async def _start(self) -> None:
        """Bring everything up, each part after those that it needs."""
        plan, count = self._plan, len(self._plan.workers)
        self._say("starting the broker and sie-config")
        # Model execution needs no other process and is the slowest to start: it goes first.
        servers = [] if self._scale_to_zero else await self._launch(plan.servers)
        await self._wait_ready(await self._launch([plan.broker]))
        await self._wait_ready(await self._launch([plan.config]))
        await self._seed()
        if self._scale_to_zero:
            self._say("starting the gateway; workers start with the first request")
            await self._wait_ready(await self._launch([plan.gateway]))
            return
        self._say(f"starting the gateway and {count} worker{'s' if count != 1 else ''}")
        others = await self._launch([plan.gateway, *plan.more_gateways, *plan.workers])
        # A worker is ready when its model execution is, which may take longer than itself is given.
        await self._wait_ready(servers)
        await self._wait_ready(others)
        await wait_for_first_answer(plan.gateway_url, self._settings, say=self._say)

    async def _scale(self, group: asyncio.TaskGroup) -> None:
        if self._scale_to_zero:
            await autoscale(
                self._plan.gateway_url,
                self._settings,
                start=lambda: self._start_workers(group),
                stop=self._stop_workers,
                say=self._say,
            )

    async def _start_workers(self, group: asyncio.TaskGroup) -> None:
        """Raises `StartFailed`; what was started by then is watched all the same."""
        servers = await self._launch(self._plan.servers)
        workers = await self._launch(self._plan.workers)
        for child in (*servers, *workers):
            self._watch(child, group)
        await self._wait_ready(servers)
        await self._wait_ready(workers)
        self._say("workers are ready")

    async def _stop_workers(self) -> None:
        """Sidecars first: they finish what is in hand on their execution process."""
        for prefix in ("worker", "server"):
            leaving = [c for c in self._children if _part(c) == prefix]
            for child in leaving:
                self._watchers.pop(child.plan.role).cancel()
            await asyncio.gather(*(self._stop(child) for child in leaving))
            self._children = [child for child in self._children if child not in leaving]
        self._save()

    def _watch(self, child: Child, group: asyncio.TaskGroup) -> None:
        self._watchers[child.plan.role] = group.create_task(self._keep(child))

    async def _launch(self, plans: Sequence[ChildPlan]) -> list[Child]:
        settings = self._settings
        launched = []
        for plan in plans:
            set_aside(plan.log)
            child = Child(plan, poll_s=settings.poll_s, log_tail_lines=settings.log_tail_lines)
            self._children.append(child)
            await child.start()
            launched.append(child)
        self._save()
        return launched

    async def _wait_ready(self, children: Sequence[Child]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for child in children:
                    group.create_task(child.wait_ready())
        except ExceptionGroup as failures:
            # One clear failure is shown; the others are most often its consequence.
            raise failures.exceptions[0] from None

    async def _seed(self) -> None:
        marker = self._layout.seeded
        if marker.exists():
            return
        registered = await register(self._plan.config_url)
        # A crash before this line registers the same documents again, which changes nothing.
        write_private(marker, ("\n".join(registered) + "\n").encode())
        if registered:
            self._say(f"registered the demo models: {', '.join(registered)}")
        else:
            self._say("no demo model is installed: register your own at sie-config")

    async def _keep(self, child: Child) -> None:
        """Start a child again whenever it dies."""
        settings = self._settings
        pause_s = settings.restart_min_s
        while True:
            born = time.monotonic()
            await child.wait_gone()
            if time.monotonic() - born >= settings.healthy_s:
                pause_s = settings.restart_min_s
            self._say(
                f"{child.plan.role} ended with status {child.returncode}; it is started again "
                f"in {pause_s:g} s (log: {child.plan.log})"
            )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, settings.restart_max_s)
            child.restarts += 1
            try:
                await child.start()
                self._save()
                await child.wait_ready()
                self._say(f"{child.plan.role} is ready again")
            except StartFailed as failure:
                self._say(failure.message)

    async def _drain(self, kill: asyncio.Event) -> None:
        """Stop all, the gateway first: its requests in flight still need everything else."""
        killing = asyncio.create_task(self._kill_when(kill))
        try:
            for prefix in DRAIN_ORDER:
                group = [c for c in self._children if _part(c) == prefix]
                await asyncio.gather(*(self._stop(child) for child in group))
        finally:
            for child in self._children:
                child.kill()
            killing.cancel()

    async def _stop(self, child: Child) -> None:
        if not await child.stop(drain_s=self._settings.drain_s):
            self._say(f"{child.plan.role} did not end in {self._settings.drain_s:g} s; killed")

    async def _kill_when(self, kill: asyncio.Event) -> None:
        await kill.wait()
        for child in self._children:
            child.kill()

    def _save(self) -> ClusterState:
        plan = self._plan
        record = ClusterState(
            supervisor=record_process("supervisor", os.getpid(), self._layout.log("supervisor")),
            ready=self._ready,
            gateway_url=plan.gateway_url,
            config_url=plan.config_url,
            nats_url=plan.nats_url,
            processes=tuple(child.record for child in self._children),
        )
        state.save(self._layout.data, record)
        return record


def _part(child: Child) -> str:
    """What a child is: its role without the number."""
    return child.plan.role.partition("-")[0]


def _plan(options: ClusterOptions, settings: ClusterSettings, layout: Layout) -> ClusterPlan:
    """Choose ports and passwords, write the broker's file, and plan the processes."""
    servers = options.workers * options.devices
    broker_port, monitor_port, *ports = free_ports(2 + options.workers + servers)
    plan = broker.BrokerPlan(
        port=broker_port,
        monitor_port=monitor_port,
        store=layout.data / "nats",
        passwords={role: secrets.token_urlsafe(24) for role in broker.ROLES},
    )
    write_broker_config(layout, plan)
    write_operator_access(
        layout.data,
        nats_url=f"nats://127.0.0.1:{plan.port}",
        password=plan.passwords["operator"],
    )
    return plan_cluster(
        options,
        settings,
        layout=layout,
        scripts=scripts_folder(),
        environment=with_replica_access(layout.data, _environment()),
        broker=plan,
        worker_ports=tuple(ports[: options.workers]),
        server_ports=tuple(ports[options.workers :]),
    )


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
