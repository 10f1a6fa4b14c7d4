"""The verdict on a cluster: what was looked at, and what is wrong.

*pure.* What the services know of themselves `sie_core.troubles` judges, for the console too. Added
here is what only somebody outside can tell. A process is gone, a service does not answer or does
not take a token, a clock is off.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from sie_cli.diagnosis.facts import UNANSWERED, Answer, Facts
from sie_cli.diagnosis.figures import awaits_workers, read_figures, signals_of
from sie_cli.diagnosis.metered import metered_troubles
from sie_core.counted import counted
from sie_core.troubles import (
    Signals,
    Trouble,
    clock_trouble,
    fleet_troubles,
    signal_troubles,
    worst_first,
    writer_troubles,
)

__all__ = ["Look", "Verdict", "judge"]

_RESTARTS_MANY: Final = 3
"""Once is an accident, twice may be an upgrade."""
_SETTLED_S: Final = 15 * 60.0
"""A process that runs for so long is over it: the alerts look back as far."""
_REFUSED: Final = frozenset({401, 403})
_MISSING: Final = ("registry", "bus", "executor")
"""Of what a worker says of itself: what it lacks where it is not ready."""


@dataclass(frozen=True, slots=True)
class Look:
    """One thing that was looked at, and whether it could be."""

    what: str
    told: str
    seen: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """All of it. `troubles` has the worst first."""

    looks: tuple[Look, ...]
    troubles: tuple[Trouble, ...]

    @property
    def sound(self) -> bool:
        """True if nothing is bad; a warning leaves it so."""
        return all(each.tone != "bad" for each in self.troubles)

    def to_builtins(self) -> dict[str, Any]:
        """The verdict as JSON and YAML tell it."""
        return {
            "sound": self.sound,
            "troubles": [msgspec.structs.asdict(each) for each in self.troubles],
            "looked_at": [
                {"what": each.what, "told": each.told, "seen": each.seen} for each in self.looks
            ],
        }


def judge(facts: Facts) -> Verdict:
    """The verdict. Each trouble is told once, by the first who tells it."""
    looks: list[Look] = []
    troubles = [
        *_processes(facts, looks),
        *_hung(facts),
        *_config(facts, looks),
        *_signals(facts, looks),
        *_gateway(facts, looks),
        *_parts(facts, looks),
        *_metered(facts),
        *_clocks(facts),
    ]
    # Backwards, so that of one id the first stays: `_hung` knows more than who only had no
    # answer.
    first = {each.id: each for each in reversed(troubles)}
    return Verdict(tuple(looks), tuple(worst_first(reversed(first.values()))))


def _processes(facts: Facts, looks: list[Look]) -> Iterator[Trouble]:
    """The processes of a local cluster, by their pids."""
    record = facts.place.record
    if record is None:
        looks.append(Look("processes", "not looked at: not the cluster of this folder", seen=False))
        return
    where = f" --data {facts.place.data}"
    processes = (record.supervisor, *record.processes)
    running = [each for each in processes if each.alive]
    looks.append(Look("processes", f"{len(running)} of {len(processes)} run"))
    if not record.supervisor.alive:
        yield Trouble(
            tone="bad",
            id="supervisor",
            what="The supervisor does not run",
            evidence=f"pid {record.supervisor.pid} is gone",
            cure="What ends is not started again. Stop what is left, and start the cluster anew.",
            command=f"sie down{where} && sie up{where}",
        )
    for each in record.processes:
        if not each.pid:
            yield Trouble(
                tone="warn",
                id=f"process {each.role}",
                what=f"{each.role} is being started",
                evidence="it has no process yet",
                cure="Look again in some seconds.",
                command=f"sie doctor{where}",
            )
        elif not each.alive:
            last = facts.tails.get(each.role, "")
            yield Trouble(
                tone="bad",
                id=f"process {each.role}",
                what=f"{each.role} does not run",
                evidence=f"pid {each.pid} is gone" + (f"; its last line: {last}" if last else ""),
                cure="Read why it ended.",
                command=f"sie logs {each.role}{where}",
            )
        elif each.restarts >= _RESTARTS_MANY and (each.age_s or 0.0) < _SETTLED_S:
            yield Trouble(
                tone="warn",
                id=f"restarts {each.role}",
                what=f"{each.role} was started again {each.restarts} times",
                evidence=f"pid {each.pid} runs now",
                cure="Read why it ended.",
                command=f"sie logs {each.role}{where} --level warning",
            )


def _hung(facts: Facts) -> Iterator[Trouble]:
    """Local processes that run and say nothing: each under the id of whoever else tells of it."""
    record = facts.place.record
    if record is None or not record.supervisor.alive:
        return
    pids = {each.role: each.pid for each in record.processes if each.alive}
    asked = {"config": facts.config_ready, "gateway": facts.gateway, **facts.parts}
    for role, answer in asked.items():
        if answer is not None and answer.error == UNANSWERED and role in pids:
            yield Trouble(
                tone="bad",
                id=f"part {role}" if role in facts.parts else role,
                what=f"{role} runs and does not answer",
                evidence=f"pid {pids[role]}, {answer.url}: {answer.error}",
                cure="It hangs, is stopped, or is overloaded. If it stays so, end it: the "
                "supervisor starts it again, and what it had in hand is done anew.",
                command=f"kill -9 {pids[role]}",
            )


def _config(facts: Facts, looks: list[Look]) -> Iterator[Trouble]:
    ready, listed = facts.config_ready, facts.replicas
    if not ready.status:
        looks.append(Look("sie-config", "not looked at: it does not answer", seen=False))
        yield Trouble(
            tone="bad",
            id="config",
            what="sie-config does not answer",
            evidence=f"{ready.url}: {ready.error}",
            cure="Nothing can be changed; gateways and workers go on serving. Start it.",
            command="sie logs config",
        )
        return
    writer = ready.told.get("writer")
    if not isinstance(writer, Mapping):
        yield _stranger("config", "sie-config", ready)
        return
    head = int(listed.told.get("epoch") or _epoch_in(str(ready.told.get("head", ""))))
    rows = listed.told.get("replicas", [])
    looks.append(Look("sie-config", f"{writer.get('state')} at epoch {head}"))
    if listed.status in _REFUSED:
        given = facts.place.config_token
        yield _refused("config", "sie-config", listed, given, "SIE_CONFIG_TOKEN or SIE_API_KEY")
        looks.append(Look("replicas", f"not looked at: {listed.error}", seen=False))
        rows = None
    elif listed.error:
        looks.append(Look("replicas", f"not looked at: {listed.error}", seen=False))
        rows = None
    else:
        well = sum(bool(row.get("converged")) for row in rows)
        looks.append(Look("replicas", f"{well} of {len(rows)} at the head"))
    if why := ready.told.get("broker"):
        # Before the figures tell the same without its cause.
        yield from signal_troubles(Signals(broker_up=False, broker_why=str(why)))
    for each in writer_troubles(writer, head, ready.told.get("published_epoch"), rows or ()):
        # Without the list it would say that none reports.
        if rows is not None or each.id != "replicas":
            yield each


def _signals(facts: Facts, looks: list[Look]) -> Iterator[Trouble]:
    answer = facts.config_metrics
    if answer.error or not answer.status:
        looks.append(Look("broker", "not looked at: sie-config shows no metrics", seen=False))
        return
    signals = signals_of(read_figures(answer.body))
    if signals.broker_up is not None:
        jobs = sum(count for count, _, _ in signals.queues.values())
        told = f"up, {counted(int(jobs), 'job')} queued" if signals.broker_up else "away"
        looks.append(Look("broker", told))
    yield from signal_troubles(signals)


def _gateway(facts: Facts, looks: list[Look]) -> Iterator[Trouble]:
    answer = facts.gateway
    if answer is None:
        told = "not looked at: give --gateway-url, or start sie-config with --gateway-url"
        looks.append(Look("gateway", told, seen=False))
        return
    if answer.status in _REFUSED:
        looks.append(Look("gateway", f"not looked at: {answer.error}", seen=False))
        yield _refused("gateway", "The gateway", answer, facts.place.gateway_token, "SIE_API_KEY")
        return
    if answer.error:
        looks.append(Look("gateway", "not looked at: it does not answer", seen=False))
        if facts.config_ready.status or facts.place.gateway_url:
            yield Trouble(
                tone="bad",
                id="gateway",
                what="The gateway does not answer",
                evidence=f"{answer.url}: {answer.error}",
                cure="No request is served by it. Start it.",
                command="sie logs gateway",
            )
        return
    workers = answer.told.get("workers")
    if not isinstance(workers, list):
        yield _stranger("gateway", "a gateway", answer)
        return
    ready = sum(bool(row.get("healthy")) for row in workers)
    looks.append(Look("gateway", f"hears {counted(len(workers), 'worker')}, {ready} ready"))
    judged = answer.told.get("troubles")
    if isinstance(judged, list):
        yield from msgspec.convert(judged, list[Trouble])
    else:
        # A gateway of an older release judges nothing itself.
        shown = facts.gateway_metrics.body if facts.gateway_metrics is not None else None
        awaited = awaits_workers(read_figures(shown))
        yield from fleet_troubles(workers, {}, {}, awaited=awaited)


def _parts(facts: Facts, looks: list[Look]) -> Iterator[Trouble]:
    """Local workers and executions that run and are not ready, by their own word."""
    for role, answer in facts.parts.items():
        told = answer.body if isinstance(answer.body, dict) else {}
        if answer.status == 200:
            continue
        lacks = [name for name in _MISSING if name in told and not told[name]]
        evidence = f"it lacks {', '.join(lacks)}" if lacks else answer.error
        for reason in ("executor_loss", "replica_reason", "bus_reason"):
            if told.get(reason):
                evidence += f"; {told[reason]}"
        yield Trouble(
            tone="bad",
            id=f"part {role}",
            what=f"{role} is not ready",
            evidence=evidence or f"{answer.url} says {answer.status}",
            cure="It runs and takes no work.",
            command=f"sie logs {role} --data {facts.place.data}",
        )
    if facts.parts:
        ready = sum(answer.status == 200 for answer in facts.parts.values())
        looks.append(
            Look("workers", f"{ready} of {counted(len(facts.parts), 'process', 'processes')} ready")
        )


def _metered(facts: Facts) -> Iterator[Trouble]:
    """The troubles that metrics show, of those whose metrics can be read."""
    told = {"config": facts.config_metrics, "gateway": facts.gateway_metrics, **facts.part_metrics}
    pages = {
        role: read_figures(answer.body)
        for role, answer in told.items()
        if answer is not None and answer.status and not answer.error
    }
    # All were asked at once, so one moment of our own clock stands for all.
    return metered_troubles(pages, facts.config_metrics.moment)


def _clocks(facts: Facts) -> Iterator[Trouble]:
    """Clocks of the services against ours."""
    for who, answer in (("sie-config", facts.config_ready), ("the gateway", facts.gateway)):
        moment = answer.told.get("timestamp") if answer is not None else None
        if answer is not None and isinstance(moment, int | float):
            trouble = clock_trouble(who, "this machine", moment - answer.moment)
            if trouble is not None:
                yield trouble


def _refused(
    trouble_id: str, who: str, answer: Answer, given: str | None, variables: str
) -> Trouble:
    why = "It was taken back, is of another cluster, or lacks the role 'read'. " if given else ""
    return Trouble(
        tone="bad",
        id=f"token {trouble_id}",
        what=f"{who} does not take the token" if given else f"{who} wants a token, none was given",
        evidence=f"{answer.status}: {answer.error}",
        cure=f"{why}Give one in {variables}, or in the context's --token-file.",
        command="sie token new NAME --file TOKENS --roles read,metrics",
    )


def _stranger(trouble_id: str, who: str, answer: Answer) -> Trouble:
    return Trouble(
        tone="bad",
        id=trouble_id,
        what=f"What answers there is not {who}",
        evidence=f"{answer.url}: {answer.status} {answer.error}".rstrip(),
        cure="See which address was given, and what listens there.",
    )


def _epoch_in(position: str) -> int:
    """The epoch of `<log_id8>.<epoch>`; 0 where there is none."""
    digits = position.rpartition(".")[2]
    return int(digits) if digits.isdigit() else 0
