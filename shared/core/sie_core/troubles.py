"""Troubles: all that is wrong in a cluster, by the word of its services, each with the next step.

*pure.* The one place that decides it. sie-config puts these into the feed of its console, a gateway
into `/health`, and `sie doctor` prints them. Reads the services' own JSON, so that it judges an
older release too. A field that is absent says nothing, and is never taken for a trouble.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec import Struct

from sie_core.counted import counted
from sie_core.replica.row_state import Row, replica_state

__all__ = [
    "CLOCK_S",
    "Signals",
    "Trouble",
    "clock_trouble",
    "fleet_troubles",
    "signal_troubles",
    "worst_first",
    "writer_troubles",
]

CLOCK_S: Final = 5.0
"""Logs, stamps and traces of hosts that differ by so much cannot be laid side by side."""
_BEHIND: Final = 5
_BEHIND_S: Final = 30.0
"""A replica that is a moment behind is no news. One that gets nothing for so long does not reach
what it asks: a fetch takes milliseconds."""
_FULL: Final = 0.8
"""A fifth is left: hours on a log, minutes in a queue."""
_FREE: Final = 0.1
"""A tenth of a disk is where file systems slow down."""
_OLD_S: Final = 60.0
"""The bounds of the alerts `SieQueueFills`, `SieJetStreamFills`, `SieLogDiskFills` and
`SieQueueWaits`."""
_POOLS_SHOWN: Final = 20
"""A sentence that a person reads."""


class Trouble(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong. `id` names it for programs, `evidence` is what shows it.

    `cure` is a sentence for a person, `command` one that may be typed. `model` is the one whose
    history may tell the cause.
    """

    tone: Literal["warn", "bad"]
    id: str
    what: str
    evidence: str = ""
    cure: str = ""
    command: str = ""
    model: str = ""


class Signals(Struct, frozen=True, kw_only=True):
    """Figures of sie-config's metrics; None where they are not known.

    `queues` has the jobs of each pool, the most that it takes, and the age of its oldest in
    seconds. Sizes are bytes. `broker_why` says why the broker does not answer.
    """

    broker_up: bool | None = None
    broker_why: str = ""
    stored: float | None = None
    stored_max: float | None = None
    disk_free: float | None = None
    disk: float | None = None
    dead_letters: float | None = None
    queues: dict[str, tuple[float, float, float]] = {}


_CURES: Final[Mapping[str, tuple[str, str]]] = {
    "gone": (
        "Its connection to the broker is gone. See whether the process runs, and why it ended.",
        "sie logs {role}",
    ),
    "lost": (
        "Nothing was heard of it for a while. See whether it runs; else stop counting it.",
        "sie replica forget {role} {id}",
    ),
    "silent": (
        "It is connected and says nothing. See whether it is stopped or overloaded.",
        "sie logs {role}",
    ),
    "forked": (
        "It met two histories. Read what the log's doctor says; then have it take the snapshot.",
        "sie log doctor",
    ),
    "halted": ("It met a kind of change that it cannot read. Upgrade it.", "sie replicas"),
    "quarantined": (
        "It met what it cannot verify and asks anew. If it stays so, have it take the snapshot.",
        "sie replica resync {role} {id}",
    ),
    "stale": (
        "It serves what it last verified. See whether it reaches sie-config and the broker.",
        "sie logs {role}",
    ),
    "empty": (
        "It has no registry yet. See whether it reaches sie-config.",
        "sie logs {role}",
    ),
    "other log": (
        "It follows another log. See which cluster it was started for.",
        "sie replicas -o wide",
    ),
    "behind": (
        "It is catching up. If that lasts, let it reach sie-config and the broker: their "
        "addresses, its token, a NetworkPolicy.",
        "sie replicas",
    ),
}


def writer_troubles(
    writer: Row, head: int, published: int | None, replicas: Sequence[Row]
) -> list[Trouble]:
    """The troubles that sie-config knows: its writer's, the stream's, and each replica's."""
    return [
        *_of_writer(writer, head, published),
        *(trouble for row in replicas for trouble in _of_replica(row)),
        *_of_nobody(replicas),
    ]


def _of_writer(writer: Row, head: int, published: int | None) -> Iterable[Trouble]:
    state = str(writer.get("state", "serving"))
    if state != "serving":
        yield Trouble(
            tone="bad",
            id="writer",
            what=f"The writer takes no writes: {state.replace('_', ' ')}",
            evidence=writer.get("reason") or "",
            cure="Reads and inference go on. Mend what the reason names.",
            command="sie log doctor",
        )
    # A log that cannot be trusted is not published: that is no trouble of the broker.
    if published is not None and published < head and state != "recovery":
        yield Trouble(
            tone="warn",
            id="stream",
            what=f"{counted(head - published, 'entry', 'entries')} not on the stream yet",
            evidence=f"the head is {head}, the stream has {published}",
            cure="Replicas fetch them over HTTP meanwhile. See whether the broker runs.",
            command="sie logs nats",
        )


def _of_nobody(replicas: Sequence[Row]) -> Iterable[Trouble]:
    if not any(row.get("live", True) for row in replicas):
        yield Trouble(
            tone="warn",
            id="replicas",
            what="No replica reports",
            cure="Nothing serves this configuration. Start a gateway and a worker.",
            command="sie status",
        )


def _of_replica(row: Row) -> Iterable[Trouble]:
    who = f"{row['role']} {row['id']}"
    tone, word = replica_state(row)
    kind = "behind" if word.endswith("behind") else word
    late = kind == "behind" and (row.get("lag_s") or 0.0) > _BEHIND_S
    if tone != "ok" and (kind != "behind" or late or row["lag"] > _BEHIND):
        cure, command = _CURES.get(kind, ("See its log.", "sie logs {role}"))
        yield Trouble(
            tone="bad" if tone == "bad" else "warn",
            id=f"replica {who}",
            what=f"{who}: {word}",
            evidence=row.get("reason") or f"heard {row.get('age_s', 0.0):.1f} s ago",
            cure=cure,
            command=command.format(role=row["role"], id=row["id"]),
        )
    if row.get("shares_name"):
        yield Trouble(
            tone="warn",
            id=f"name {who}",
            what=f"Two processes report as {who}",
            cure="Give each an id of its own.",
            command="sie replicas -o wide",
        )
    if not row.get("live", True):
        return
    if row.get("trouble"):
        yield _idle(row["id"], row["trouble"])
    for model, said in sorted((row.get("models") or {}).items()):
        if said.get("state") == "failed":
            yield Trouble(
                tone="bad",
                id=f"model {model} {who}",
                what=f"{who} cannot load {model}",
                evidence=said.get("reason") or "",
                # Nobody here knows whether it ever loaded: of a hub that does not answer, a
                # change is not the cause, and to revert one no cure.
                cure="Do what the reason says. If it loaded before, see what changed it since.",
                command=f"sie history model {model}",
                model=model,
            )


def fleet_troubles(
    workers: Sequence[Row],
    pools: Mapping[str, int],
    clocks: Mapping[str, float],
    *,
    awaited: bool,
) -> list[Trouble]:
    """The troubles that a gateway knows. `workers` are rows of `/health`.

    `pools` has the number of models in each pool of the log, `clocks` how many seconds each
    worker's clock is ahead of the gateway's. `awaited`: requests wait for workers, or nobody can
    tell.
    """
    found = [*_of_workers(workers, awaited=awaited)]
    ready = {row["pool"] for row in workers if row.get("healthy")}
    empty = sorted(name for name, models in pools.items() if models and name not in ready)
    if ready:
        found += [_of_pool(name, pools[name]) for name in empty[:_POOLS_SHOWN]]
    clocked = (
        clock_trouble(f"worker {name}", "this gateway", ahead_s)
        for name, ahead_s in sorted(clocks.items())
    )
    return [*found, *(each for each in clocked if each is not None)]


def _of_workers(workers: Sequence[Row], *, awaited: bool) -> Iterable[Trouble]:
    if not workers and not awaited:
        yield Trouble(
            tone="warn",
            id="workers",
            what="No worker is heard, and no request waits for one",
            cure="A cluster that scales to zero starts one with its first request. Else start one.",
            command="sie status",
        )
        return
    if not any(row.get("healthy") for row in workers):
        told = ", ".join(map(_unready, workers[:_POOLS_SHOWN]))
        yield Trouble(
            tone="bad",
            id="workers",
            what="No worker is ready",
            evidence=f"not ready: {told}" if told else "no worker is heard",
            cure="Requests wait, or are told to come again. Start workers, or see why they are not "
            "ready.",
            command="sie logs worker",
        )
        return
    for row in workers:
        if not row.get("healthy"):
            yield Trouble(
                tone="warn",
                id=f"worker {row['name']}",
                what=f"worker {row['name']} is not ready",
                evidence=_why(row) or "it is heard, and takes no work",
                cure="Its model execution may be down, or its registry not yet verified.",
                command="sie logs server",
            )
        elif row.get("trouble"):
            yield _idle(row["name"], row["trouble"])
        elif row.get("devices_trouble"):
            yield _of_devices(row)


def _unready(row: Row) -> str:
    return f"{row['name']} ({why})" if (why := _why(row)) else row["name"]


def _why(row: Row) -> str:
    return row.get("trouble") or row.get("devices_trouble") or ""


def _idle(name: str, why: str) -> Trouble:
    """A worker that says why it runs no jobs. sie-config and a gateway hear it: one id."""
    return Trouble(
        tone="warn",
        id=f"worker {name}",
        what=f"worker {name} runs no jobs",
        evidence=why,
        cure="Mend what it says. A pool, machine profile or bundle that the log lacks is put into "
        "the log, or set right in SIE_WORKER_POOL, SIE_WORKER_MACHINE_PROFILE, SIE_WORKER_BUNDLE.",
        command="sie get pools",
    )


def _of_devices(row: Row) -> Trouble:
    """A worker that is ready, and has a device that is away or silent."""
    ready, there = row.get("devices_ready", 0), row.get("devices", 1)
    what = f"works with {ready} of {counted(there, 'device')}"
    return Trouble(
        tone="warn",
        id=f"worker {row['name']}",
        what=f"worker {row['name']} {what if ready < there else 'has a device that is silent'}",
        evidence=row["devices_trouble"],
        cure="Its work waits, and is done anew once it is given up. If it stays so, end its "
        "process: it is started again. On one machine sie doctor names the process.",
        command="sie logs server",
    )


def _of_pool(name: str, models: int) -> Trouble:
    return Trouble(
        tone="warn",
        id=f"pool {name}",
        what=f"Pool {name} has no ready worker",
        evidence=f"{counted(models, 'model')} of the log in it",
        cure="Its requests are told to come again until one is there. Start a worker with "
        f"SIE_WORKER_POOL={name}, or move its models.",
        command=f"sie describe pool {name}",
    )


def clock_trouble(who: str, whose: str, ahead_s: float) -> Trouble | None:
    """The trouble of a clock that is off by so many seconds; None where it is near enough."""
    if abs(ahead_s) < CLOCK_S:
        return None
    side = "ahead of" if ahead_s > 0 else "behind"
    return Trouble(
        tone="bad",
        id=f"clock {who}",
        what=f"The clock of {who} is {abs(ahead_s):.0f} s {side} that of {whose}",
        evidence="its log lines, stamps and certificates are judged by another time than others'",
        cure="Set the clocks of both hosts by one source (chrony, systemd-timesyncd).",
        command="timedatectl",
    )


def signal_troubles(signals: Signals) -> list[Trouble]:
    """The troubles that sie-config's figures show: of broker, queues, letters and disk."""
    return [*_of_broker(signals), *_of_jobs(signals), *_of_disk(signals)]


def _of_broker(signals: Signals) -> Iterable[Trouble]:
    if signals.broker_up is False:
        yield Trouble(
            tone="bad",
            id="broker",
            what="The broker does not answer sie-config",
            evidence=signals.broker_why or "sie_config_broker_up is 0",
            cure="Requests get a retryable 503; writes go on. Start the broker.",
            command="sie logs nats",
        )
    if signals.stored and signals.stored_max and signals.stored > _FULL * signals.stored_max:
        yield Trouble(
            tone="bad",
            id="jetstream",
            what="JetStream is nearly full",
            evidence=f"{signals.stored:.0f} of {signals.stored_max:.0f} bytes",
            cure="At its end jobs and entries are refused. More workers empty the queues; else "
            "give it a larger disk, or the account a larger bound.",
            command="sie top",
        )


def _of_jobs(signals: Signals) -> Iterable[Trouble]:
    for pool, (jobs, jobs_max, oldest_s) in sorted(signals.queues.items()):
        if (jobs_max and jobs > _FULL * jobs_max) or (jobs and oldest_s > _OLD_S):
            yield Trouble(
                tone="bad",
                id=f"queue {pool}",
                what=f"The queue of pool {pool} is not emptied",
                evidence=f"{jobs:.0f} of {jobs_max:.0f} jobs, the oldest of {oldest_s:.0f} s",
                cure="Add workers to the pool, or find why those that are there are idle.",
                command="sie top",
            )
    if signals.dead_letters:
        yield Trouble(
            tone="warn",
            id="letters",
            what=f"{counted(int(signals.dead_letters), 'job')} failed for good",
            evidence=f"sie_config_dead_letters is {signals.dead_letters:.0f}",
            cure="Look at them; mend the model or tell the client, then run them again or "
            "forget them.",
            command="sie dlq ls",
        )


def _of_disk(signals: Signals) -> Iterable[Trouble]:
    if signals.disk and signals.disk_free is not None and signals.disk_free < _FREE * signals.disk:
        yield Trouble(
            tone="bad",
            id="disk",
            what="The log's disk is nearly full",
            evidence=f"{signals.disk_free:.0f} of {signals.disk:.0f} bytes are free",
            cure="When it is full writes are refused. Free space, or enlarge it.",
            command="sie log doctor",
        )


def worst_first(troubles: Iterable[Trouble]) -> list[Trouble]:
    """The same, bad ones first; else in the order in which they were found."""
    return sorted(troubles, key=lambda each: each.tone != "bad")
