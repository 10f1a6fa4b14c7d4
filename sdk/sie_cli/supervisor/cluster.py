"""The supervisor of the cluster on one machine.

*shell.* Owns every process of the cluster and the folder's record. Promises that what it started is
stopped when it returns, in an order that lets accepted work finish. The gateway takes no more and
answers what it has; then go workers, sie-config, and the broker. A process that dies is started
again, with a growing pause, and that is said. What it leaves behind when it is killed itself is
found and stopped by the next start or by `sie down`.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from sie_cli.access import state
from sie_cli.access.operator_access import write_operator_access
from sie_cli.access.private_files import write_private
from sie_cli.access.state import ClusterState, record_process
from sie_cli.plan import broker
from sie_cli.plan.bundle_environment import execution_programs
from sie_cli.plan.environment import check_environment
from sie_cli.plan.folders import prepare, write_broker_config
from sie_cli.plan.installation import check_installed, scripts_folder
from sie_cli.plan.plans import DRAIN_ORDER, ChildPlan, ClusterPlan, Layout, plan_cluster
from sie_cli.plan.ports import check_free, free_ports
from sie_cli.plan.settings import ClusterOptions, ClusterSettings
from sie_cli.supervisor.autoscaler import autoscale, check_demand
from sie_cli.supervisor.child import Child, set_aside
from sie_cli.supervisor.first_answer import wait_for_first_answer
from sie_cli.supervisor.keeping import Household, Keeper
from sie_cli.supervisor.replica_access import with_replica_access
from sie_cli.supervisor.seeding import put_bundles, register
from sie_cli.supervisor.spawners import Spawners
from sie_cli.supervisor.stopping import stop_leftovers
from sie_core.counted import counted
from sie_schemas.errors import Later, Untrusted

__all__ = ["Cluster", "run_cluster"]

T = TypeVar("T")
Say = Callable[[str], None]
Programs = Mapping[str, Sequence[str]]


async def run_cluster(
    options: ClusterOptions,
    settings: ClusterSettings,
    *,
    stop: asyncio.Event,
    kill: asyncio.Event,
    say: Say,
    on_ready: Callable[[ClusterState], Awaitable[None]],
    scripts: Path | None = None,
) -> None:
    """Run a cluster from its first process to its last, until `stop`; `kill` ends the drain.

    `scripts` is the folder of the programs, else that of this environment.

    Raises `FixRequest` for what the operator can mend before anything starts: a folder in use, a
    taken port, a missing part. Raises `StartFailed` for a process that does not become ready.
    """
    scripts = scripts_folder() if scripts is None else scripts
    check_installed(scripts)
    check_environment(os.environ)
    layout = prepare(options.data)
    # Before anything is looked at: `sie down` finds a cluster by this lock, also one without a
    # record yet.
    with state.held(options.data):
        leftovers = stop_leftovers(options.data, settings)
        if leftovers:
            say(f"stopped what a dead supervisor had left: {', '.join(leftovers)}")
        check_free(options.port, "the gateway")
        check_free(options.config_port, "sie-config")
        programs = execution_programs(options.bundles, say=say)
        cluster = Cluster(
            options, settings, layout=layout, scripts=scripts, programs=programs, say=say
        )
        try:
            await cluster.run(stop=stop, kill=kill, on_ready=on_ready)
        finally:
            state.clear(options.data)


class Cluster:
    """The processes of one cluster. Owner of all children; used by one task."""

    def __init__(
        self,
        options: ClusterOptions,
        settings: ClusterSettings,
        *,
        layout: Layout,
        scripts: Path,
        programs: Programs,
        say: Say,
    ) -> None:
        self._settings = settings
        self._bundles = options.bundles
        self._scale_to_zero = options.scale_to_zero
        self._layout = layout
        self._say = say
        self._plan = _plan(options, settings, layout, scripts, programs)
        self._children: list[Child] = []
        self._spawners = Spawners()
        self._watches: dict[str, asyncio.Task[None]] = {}
        """The task that keeps each child running, by role."""
        self._household = Household(settings, say, on_start=self._save)
        self._ready = False

    async def run(
        self,
        *,
        stop: asyncio.Event,
        kill: asyncio.Event,
        on_ready: Callable[[ClusterState], Awaitable[None]],
    ) -> None:
        """Start, watch from the first process on, until `stop`; drain."""
        self._save()
        try:
            async with asyncio.TaskGroup() as group:
                if await self._start_unless(stop, group):
                    self._ready = True
                    await on_ready(self._save())
                    scaler = group.create_task(self._scale(group))
                    await stop.wait()
                    scaler.cancel()
                for task in self._watches.values():
                    task.cancel()
        except ExceptionGroup as failures:
            # One clear failure is shown; the others are most often its consequence.
            raise failures.exceptions[0] from None
        finally:
            await self._drain(kill)

    async def _start_unless(self, stop: asyncio.Event, group: asyncio.TaskGroup) -> bool:
        """Start everything; False when `stop` came first."""
        start = asyncio.create_task(self._start(group))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
            is_started = start.done()
        finally:
            stopping.cancel()
            start.cancel()
            await asyncio.wait({start})
        if is_started:
            start.result()
        return is_started

    async def _start(self, group: asyncio.TaskGroup) -> None:
        """Bring everything up, each part after those that it needs."""
        plan, count = self._plan, len(self._plan.workers)
        self._say("starting the broker and sie-config")
        # Model execution needs no other process and is the slowest to start: it goes first.
        servers = [] if self._scale_to_zero else self._launch(plan.servers, group)
        await _all_ready(self._launch([plan.broker], group))
        config = self._launch([plan.config], group)
        await _all_ready(config)
        try:
            await self._seed(config[0])
            await self._with_config(config[0], lambda url: put_bundles(url, self._bundles))
        except Untrusted as error:
            # What the log lacks may lie with the replicas, which are started next.
            self._say(f"nothing is registered before the log is whole: {error.message}")
        if self._scale_to_zero:
            self._say("starting the gateway; workers start with the first request")
            await _all_ready(self._launch([plan.gateway], group))
            await check_demand(plan.gateway_url)
            return
        self._say(f"starting the gateway and {counted(count, 'worker')}")
        others = self._launch([plan.gateway, *plan.more_gateways, *plan.workers], group)
        await _all_ready([*servers, *others])
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
        servers = self._launch(self._plan.servers, group)
        workers = self._launch(self._plan.workers, group)
        await _all_ready([*servers, *workers])
        self._say("workers are ready")

    async def _stop_workers(self) -> None:
        """Sidecars first: they finish what is in hand on their execution process."""
        for prefix in ("worker", "server"):
            leaving = [c for c in self._children if _part(c) == prefix]
            await asyncio.gather(*(self._unwatch(child) for child in leaving))
            await asyncio.gather(*(self._stop(child) for child in leaving))
            self._children = [child for child in self._children if child not in leaving]
        await self._spawners.close()
        self._save()

    async def _unwatch(self, child: Child) -> None:
        """Once this is over, nothing starts the child again."""
        watch = self._watches.pop(child.plan.role)
        watch.cancel()
        await asyncio.wait({watch})

    def _launch(self, plans: Sequence[ChildPlan], group: asyncio.TaskGroup) -> list[Keeper]:
        """Start processes, and watch each from now on."""
        settings = self._settings
        keepers = []
        for plan in plans:
            set_aside(plan.log)
            child = Child(
                plan,
                poll_s=settings.poll_s,
                log_tail_lines=settings.log_tail_lines,
                spawners=self._spawners,
            )
            self._children.append(child)
            keeper = Keeper(child, self._household)
            self._watches[plan.role] = group.create_task(keeper.run())
            keepers.append(keeper)
        return keepers

    async def _seed(self, config: Keeper) -> None:
        marker = self._layout.seeded
        if marker.exists():
            return
        registered = await self._with_config(config, register)
        # A crash before this line registers the same documents again, which changes nothing.
        write_private(marker, ("\n".join(registered) + "\n").encode())
        if registered:
            self._say(f"registered the demo models: {', '.join(registered)}")
        else:
            self._say("no demo model is installed: register your own at sie-config")

    async def _with_config(self, config: Keeper, work: Callable[[str], Awaitable[T]]) -> T:
        """Do `work` at sie-config's address, again while sie-config cannot take it yet."""
        deadline = time.monotonic() + self._settings.ready_s
        while True:
            await config.wait_ready()
            try:
                return await work(self._plan.config_url)
            except Later:
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(self._settings.poll_s)

    async def _drain(self, kill: asyncio.Event) -> None:
        """Stop all, the gateway first: its requests in flight still need everything else."""
        killing = asyncio.create_task(self._kill_when(kill))
        try:
            await asyncio.gather(*(self._unwatch(child) for child in self._children))
            for prefix in DRAIN_ORDER:
                group = [c for c in self._children if _part(c) == prefix]
                await asyncio.gather(*(self._stop(child) for child in group))
        finally:
            for child in self._children:
                child.kill()
            await self._spawners.close()
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


async def _all_ready(keepers: Sequence[Keeper]) -> None:
    """Raises `StartFailed` for the first that cannot start."""
    try:
        async with asyncio.TaskGroup() as group:
            for keeper in keepers:
                group.create_task(keeper.wait_ready())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _part(child: Child) -> str:
    """The part that a child is: its role without the number."""
    return child.plan.role.partition("-")[0]


def _plan(
    options: ClusterOptions,
    settings: ClusterSettings,
    layout: Layout,
    scripts: Path,
    programs: Programs,
) -> ClusterPlan:
    """Choose ports and passwords, write the broker's file, and plan the processes."""
    workers = options.all_workers
    # Both are free still, and may lie in that range: the broker took one, and the gateway ended.
    spoken_for = (options.port, options.config_port)
    count = 2 + workers + options.all_devices
    broker_port, monitor_port, *ports = free_ports(count, spoken_for=spoken_for)
    plan = broker.BrokerPlan(
        port=broker_port,
        monitor_port=monitor_port,
        store=layout.data / "nats",
        passwords={role: secrets.token_urlsafe(24) for role in broker.ROLES},
        pools=(os.environ.get("SIE_WORKER_POOL") or "default",),
        threads=broker.threads_on(len(os.sched_getaffinity(0))),
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
        scripts=scripts,
        environment=with_replica_access(layout.data, _environment(layout.data)),
        broker=plan,
        worker_ports=tuple(ports[:workers]),
        server_ports=tuple(ports[workers:]),
        programs=programs,
        # Elsewhere the system's own libraries do not stand a fork.
        spawns=sys.platform == "linux",
    )


def _environment(data: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    return own | {state.MARK: str(data.resolve())}
