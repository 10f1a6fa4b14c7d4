"""One run against a real cluster: start, load, do what the seed says, heal, judge.

*shell.* `run_processes` is the whole of it. The actions are a function of the seed; their timing is
the machine's. So a seed does the same things again and not the same microseconds. A failure is a
value with the story in it, what each program complained of included. Judged at the end, when the
world is healed. Every triple is equal, each acknowledged write is in the log or its loss was
announced, no request hung and none was answered wrongly. Everything works again.
"""

import asyncio
import shutil
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from sie_testing.processes.actions import Action, actions_of
from sie_testing.processes.cluster import PROGRAMS, Cluster
from sie_testing.processes.judge import Judge
from sie_testing.processes.load import Load
from sie_testing.processes.programs import Program, program_path
from sie_testing.processes.proxy import WAYS, Link
from sie_testing.processes.writes import Call, setup_writes
from sie_testing.simulation import Plan, Result
from sie_testing.stage.broken import Broken
from sie_testing.stage.process import leaves_of
from sie_testing.stage.trace import Trace

__all__ = ["PROCESS_CHECKS", "run_processes"]

PROCESS_CHECKS: Final = (
    "every triple is equal",
    "every acknowledged write is there",
    "one entry and one answer for one key",
    "the stream holds the log",
    "every answer is of the revision that its position has",
    "no request hung and none was answered wrongly",
    "every model is served after healing",
)
"""The properties that are put to the test."""

_START_S: Final = 60.0
_HEAL_S: Final = 90.0
_PATIENCE_S: Final = 6.0
_TAKING_BACK_MAX: Final = 4
"""So often a writer in recovery is let alone while somebody has what it lacks."""
_LOOK_S: Final = 0.1
_END_S: Final = 30.0
"""Beyond a gateway's own limit, for the last request to end."""


def run_processes(plan: Plan) -> Result:
    """Run one plan to its end. Raises `FixRequest` where a program is not installed."""
    for name in PROGRAMS:
        program_path(name)
    began = time.monotonic()
    story = Trace(lambda: time.monotonic() - began)
    folder = Path(tempfile.mkdtemp(prefix=f"sie-{plan.seed}-"))
    counts: dict[str, int] = {}
    story.say("plan", f"seed {plan.seed}, {plan.steps} faults, {plan.replicas} replicas, {folder}")
    failure = ""
    run = _Run(plan, Cluster(folder, replicas=plan.replicas, say=story.say), story, counts)
    try:
        asyncio.run(run.whole())
    except Exception as error:
        # The outermost frame of a run: whatever it was, it comes with its seed and its story.
        failure = "; ".join(_told(leaf) for leaf in leaves_of(error))
    if failure:
        run.tell_logs()
        story.say("judge", failure)
    else:
        shutil.rmtree(folder)
    steps = sum(count for name, count in counts.items() if name.startswith("fault: "))
    return Result(plan.seed, failure, story.text(), counts, time.monotonic() - began, steps)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, Broken) else "".join(traceback.format_exception(error))


class _Run:
    """One run. Its parts in the order of time: `whole`."""

    def __init__(self, plan: Plan, cluster: Cluster, story: Trace, counts: dict[str, int]) -> None:
        self._plan = plan
        self._cluster = cluster
        self._story = story
        self._counts = counts
        self._waited = 0

    async def whole(self) -> None:
        """From nothing to the judgement."""
        plan = self._plan
        load = Load(self._cluster, plan.seed)
        judge = Judge(self._cluster, load, self._counts)
        try:
            await self._cluster.open()
            await self._begin(load, judge)
            async with asyncio.TaskGroup() as tasks:
                asking = tasks.create_task(load.ask_all())
                tasks.create_task(load.write_all())
                await self._storm(load)
                await self._ended(asking)
                await self._converge(judge)
            await self._works(load, judge)
            await self._converge(judge)
            await judge.promises()
            self._check_wrong(load)
        finally:
            for outcome, count in load.outcomes.items():
                self._counts[outcome] = self._counts.get(outcome, 0) + count
            await load.close()
            await self._cluster.close()

    def tell_logs(self) -> None:
        """Add what each program complained of last to the story."""
        for name, program in self._cluster.programs.items():
            for line in program.complaints():
                self._story.say(name, line)

    # -- parts --

    async def _begin(self, load: Load, judge: Judge) -> None:
        await self._cluster.start()
        await self._until(lambda: self._ready(judge), _START_S, "sie-config does not start")
        for call in setup_writes():
            await load.write(call)
        await self._until(lambda: self._served(load), _START_S, "the first request has no answer")
        self._story.say("world", "serves")

    async def _ready(self, judge: Judge) -> bool:
        return (await judge.writer()).get("status") == "ready"

    async def _served(self, load: Load) -> bool:
        answers = [
            await load.ask(gateway, model, ["hello"])
            for gateway in self._cluster.gateways
            for model in ("load/a", "load/b")
        ]
        return all(answers)

    async def _storm(self, load: Load) -> None:
        """Do what the seed says, and take it back."""
        plan = self._plan
        for action in actions_of(
            plan.seed, steps=plan.steps, replicas=plan.replicas, faults=plan.faults
        ):
            await self._act(action, load)
        load.stop()
        self._story.say("world", "heals")
        self._cluster.heal()
        await self._cluster.start()

    async def _act(self, action: Action, load: Load) -> None:
        if action.kind:
            name = f"fault: {action.kind}"
            self._counts[name] = self._counts.get(name, 0) + 1
        told = await _do(self._cluster, action)
        self._story.say("adversary", f"{action} ({told})" if told else str(action))
        await load.progress(action.pace)
        self._check_wrong(load)

    def _check_wrong(self, load: Load) -> None:
        for told in (*load.wrong, *load.hung):
            raise Broken(told)

    async def _ended(self, asking: asyncio.Task[None]) -> None:
        """Every request that was begun ends, now that nothing is in its way."""
        limit_s = self._cluster.request_timeout_s + _END_S
        done, _ = await asyncio.wait([asking], timeout=limit_s)
        if not done:
            raise Broken(f"a request has not ended {limit_s:g} s after healing")
        self._counts["check: no request hung and none was answered wrongly"] = 1

    async def _converge(self, judge: Judge) -> None:
        """Wait for one triple everywhere; the operator helps where the manual asks for one."""
        began = helped = time.monotonic()
        while why := await judge.standing():
            now = time.monotonic()
            if now - began > _HEAL_S:
                raise Broken(f"not converged {_HEAL_S:g} s after healing: {why}")
            if now - helped > _PATIENCE_S:
                self._story.say("operator", f"sees that {why}")
                await self._help(judge)
                helped = time.monotonic()
            await asyncio.sleep(_LOOK_S)
        judge.count("every triple is equal")

    async def _help(self, judge: Judge) -> None:
        """Do what an operator does after minutes of alarms, in the order of the manual."""
        cluster = self._cluster
        for name, program in cluster.programs.items():
            if not program.running:
                raise Broken(f"{name} has ended by itself with status {program.returncode}")
        writer = (await judge.writer()).get("writer", {})
        if writer.get("state") == "recovery":
            await self._help_writer(judge)
            return
        for name, row in (await judge.replicas()).items():
            if row["state"] in ("forked", "quarantined"):
                if not cluster.gave_up:
                    raise Broken(f"{name} is {row['state']} without a cause: {row['reason']}")
                self._counts["operator: clears a replica"] = 1
                self._story.say("operator", f"clears {name}: {row['reason']}")
                await cluster.wipe_replica(name)

    async def _help_writer(self, judge: Judge) -> None:
        held = await judge.survivors()
        if held and self._waited < _TAKING_BACK_MAX:
            # It takes them back by itself, as soon as they are asked and answer.
            self._waited += 1
            return
        if held and not self._cluster.gave_up:
            raise Broken(f"the writer lacks entries that {', '.join(held)} could give back")
        self._counts["operator: gives up what nobody has"] = 1
        await self._cluster.give_up_the_rest()

    async def _works(self, load: Load, judge: Judge) -> None:
        try:
            async with asyncio.timeout(_HEAL_S):
                await load.write(Call("after-healing", "PUT", "pools/healed", {"name": "healed"}))
                await judge.serves()
        except TimeoutError as error:
            raise Broken(f"no service {_HEAL_S:g} s after healing") from error

    async def _until(self, ask: Callable[[], Awaitable[bool]], within_s: float, what: str) -> None:
        ends_at = time.monotonic() + within_s
        while not await ask():
            if time.monotonic() > ends_at:
                raise Broken(f"{what} within {within_s:g} s")
            await asyncio.sleep(_LOOK_S)


async def _do(cluster: Cluster, action: Action) -> str:
    """Carry one action out; what there is to tell of it."""
    if action.who in cluster.links:
        return _do_to_link(cluster.links[action.who], action)
    if action.verb in ("kill", "start", "pause", "resume"):
        return await _do_to_program(cluster.programs[action.who], action.verb)
    return await _do_to_disk(cluster, action)


async def _do_to_program(program: Program, verb: str) -> str:
    match verb:
        case "kill":
            await program.kill()
        case "start":
            await program.start()
        case "pause":
            program.pause()
        case _:
            program.resume()
    return f"pid {program.pid}"


def _do_to_link(link: Link, action: Action) -> str:
    match action.verb:
        case "cut":
            link.cut()
        case "hold":
            link.hold(*(way for way in WAYS if way in action.detail.split()))
        case "slow":
            link.slow(float(action.detail))
        case _:
            link.mend()
    return ""


async def _do_to_disk(cluster: Cluster, action: Action) -> str:
    match action.verb:
        case "wipe stream":
            return await cluster.wipe_stream()
        case "wipe broker":
            await cluster.wipe_broker()
        case "wipe replica":
            await cluster.wipe_replica(action.who)
        case "back up":
            return await cluster.back_up()
        case "compact":
            return await cluster.compact(int(action.detail))
        case verb:
            backup = cluster.backups[int(action.detail)]
            return await cluster.restore(backup, with_head=verb == "restore")
    return ""
