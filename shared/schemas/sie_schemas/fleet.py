"""The words of processes about themselves: workers' heartbeats, replicas' reports, the log's heads.

*types.* Heartbeats are msgpack on `sie.health.<worker_id>`; reports and heads are JSON on
`sie.config.report.<role>.<id>` and `sie.config.head.<log_id>`, so that an operator can read them.
What a kind of worker is wanted for is msgpack on `wanted_subject`; a worker that starts asks for it
on `DEMAND_SUBJECT`.

What gateways ask workers when one of them has died is msgpack too. `holding_subject(pool, life)`
and `queue_subject(pool, life)` are core NATS requests. Only the life that is asked listens there,
so that "no responders" says that its connection is gone. A gateway cannot speak for a consumer of
the queue; a worker of the pool can.
"""

from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Meta, Struct

from sie_schemas.jobs import token
from sie_schemas.signature import Signature

__all__ = [
    "DEMAND_DECODER",
    "DEMAND_SUBJECT",
    "HEAD_DECODER",
    "HEARTBEAT_DECODER",
    "HOLDING_ANSWER_DECODER",
    "HOLDING_ASKED_DECODER",
    "QUEUE_ANSWER_DECODER",
    "QUEUE_ASKED_DECODER",
    "RECOUNT_DECODER",
    "REPORT_DECODER",
    "WANTED_DECODER",
    "DemandAsked",
    "GiveBack",
    "HandedOut",
    "HandedOutAsked",
    "Head",
    "Heartbeat",
    "HoldingAnswer",
    "HoldingAsked",
    "ModelReport",
    "ModelState",
    "QueueAnswer",
    "Recount",
    "ReplicaReport",
    "ReplicaState",
    "WantedModel",
    "WantedModels",
    "WorkerKind",
    "holding_subject",
    "queue_subject",
    "wanted_subject",
]

ModelState: TypeAlias = Literal["available", "loading", "loaded", "failed"]
ReplicaState: TypeAlias = Literal["empty", "fresh", "stale", "quarantined", "forked", "halted"]


class Head(Struct, frozen=True, kw_only=True):
    """A position of the log as its writer announces it. Equal epochs alone prove nothing."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    term: int
    low_water: int = 1
    """The first epoch that is served as a delta."""
    signature: Signature | None = None
    """The writer's word for all of this but the low water."""


class ModelReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The state of one model in one process: `revision` is the one that `state` is of.

    `dims` are the widths of its outputs and `max_sequence_length` the tokens that it reads, as far
    as its backend says. Only a loaded model knows them.
    """

    state: ModelState
    revision: str = ""
    reason: str = ""
    dims: dict[str, int] = {}
    max_sequence_length: int = 0


class ReplicaReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A replica's position, what it can read, and what it made of each model.

    `received` is the newest epoch it has heard of, `epoch` the newest applied. `leaving` is the
    last report of a process that stops on purpose.
    """

    role: Literal["gateway", "worker"]
    id: str
    life: str = ""
    """Random, of this process alone: two that were given one id are told apart by it."""
    log_id: str
    epoch: int
    hash: str
    digest: str
    received: int
    state: ReplicaState
    reason: str = ""
    speaks: tuple[str, ...] = ()
    models: dict[str, ModelReport] = {}
    traffic: dict[str, int] = {}
    """Seconds since a request asked for a model, of those asked for within the hour."""
    adapters: dict[str, int] = {}
    """The same of adapters, by `model_id/name`."""
    place: tuple[str, str, str] | None = None
    """Of a worker: the pool, machine profile and bundle whose jobs it runs."""
    trouble: str = ""
    """Of a worker, in words for a person: why it runs no jobs, or none can come to it."""
    leaving: bool = False
    signature: Signature | None = None
    """The writer's own word for this position: with it the report bears witness, whoever sends it.
    """


class Recount(Struct, frozen=True, kw_only=True):
    """A replica's answer on `sie.config.recount.<role>.<id>`: where it is, and the digest of what
    it serves, counted anew from every document."""

    log_id: str
    epoch: int
    hash: str
    digest: str


class WorkerKind(NamedTuple):
    """The kind of a worker: those of one kind can stand in for each other."""

    pool: str
    machine_profile: str
    bundle: str


class Heartbeat(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A worker's word to every gateway.

    `ready` means that jobs published now are run. `models` maps a model id to its state and the
    revision in use; a model that is not listed is available on demand.
    """

    v: int = 1
    worker_id: str
    pool: str
    machine_profile: str
    bundle: str
    ready: bool
    log_id: str
    epoch: int
    queue_depth: int = 0
    """Items that were pulled and have no result yet."""
    models: dict[str, ModelReport] = {}
    leaving: bool = False
    memory_used_bytes: int = 0
    memory_total_bytes: int = 0
    devices: int = 1
    """Devices behind the worker, and of those the ones that can be given work."""
    devices_ready: int = 0
    pending_cost: int = 0
    """Cost of what waits for the devices and of what they run."""
    batches_running: int = 0
    answered_per_s: float = 0.0
    """Jobs answered a second, over about the last ten seconds."""
    batch_fill: float = 0.0
    """Mean share of their budgets that batches used, over the same time; 0 where none ran."""
    life: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$(?!\n)")] = ""
    """Random, of this process alone: another one under the same name says that it is over. It is
    asked on `holding_subject(pool, life)` for what it holds; empty of an older release."""
    sent_at: float = 0.0
    """Unix time at which it was said, by the worker's clock; 0 of an older release."""
    devices_trouble: str = ""
    """In words for a person: what is wrong with a device that is away or silent."""
    trouble: str = ""
    """In words for a person: why it runs no jobs, or none can come to it."""

    @property
    def kind(self) -> WorkerKind:
        """The kind of worker that this is."""
        return WorkerKind(self.pool, self.machine_profile, self.bundle)


class WantedModel(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model that is asked for, or will be; `adapter` empty is the base."""

    model_id: str
    profile: str = "default"
    adapter: str = ""


class WantedModels(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A gateway's word to the workers of one kind: load these before their jobs come."""

    v: int = 1
    models: tuple[WantedModel, ...] = ()


class DemandAsked(Struct, frozen=True, kw_only=True):
    """A worker's question to every gateway: what is my kind wanted for?"""

    v: int = 1
    pool: str
    machine_profile: str
    bundle: str


def wanted_subject(pool: str, machine_profile: str, bundle: str) -> str:
    """The subject on which gateways say what one kind of worker is wanted for."""
    return f"sie.demand.models.{token(pool)}.{token(machine_profile)}.{token(bundle)}"


DEMAND_SUBJECT: Final = "sie.demand.ask"
DEMAND_DECODER: Final = msgspec.msgpack.Decoder(DemandAsked)
WANTED_DECODER: Final = msgspec.msgpack.Decoder(WantedModels)
HEARTBEAT_DECODER: Final = msgspec.msgpack.Decoder(Heartbeat)
REPORT_DECODER: Final = msgspec.json.Decoder(ReplicaReport)
RECOUNT_DECODER: Final = msgspec.json.Decoder(Recount)
HEAD_DECODER: Final = msgspec.json.Decoder(Head)


class HoldingAsked(Struct, frozen=True, kw_only=True):
    """A question: which of these jobs are in hand? None of them asks whether the worker lives."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


class HoldingAnswer(Struct, frozen=True, kw_only=True):
    """Those of the jobs that were delivered to this worker and have no end yet."""

    v: int = 1
    job_ids: tuple[str, ...] = ()


# Python's `$` stands before a last newline too.
ConsumerName = Annotated[str, Meta(pattern=r"^[^\s.*>]+$(?!\n)")]
"""One token of a subject, as `consumer_name` makes it."""


class HandedOut(Struct, frozen=True):
    """The point that a consumer has handed out to: `last` in its stream, `deliveries` by its own
    count. It tells also how many of them nobody has acknowledged."""

    last: int
    deliveries: int
    unacknowledged: int


class HandedOutAsked(Struct, frozen=True, kw_only=True, tag="handed_out"):
    """A question: how far has a consumer of the worker's pool handed out?"""

    consumer: ConsumerName


class GiveBack(Struct, frozen=True, kw_only=True, tag="give_back"):
    """Have a consumer of the worker's pool hand these out again. `out` is what it told before."""

    consumer: ConsumerName
    sequences: tuple[int, ...]
    out: HandedOut


class QueueAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """It is done; `out` is absent where there is no such consumer. `error` says why it is not."""

    out: HandedOut | None = None
    error: str = ""


def holding_subject(pool: str, life: str) -> str:
    """The subject on which one life of a worker is asked what it holds. `life` is hexadecimal.

    The pool is in front: its workers' user hears what is asked there, and no other pool's.
    """
    return f"sie.holding.{token(pool)}.{life}"


def queue_subject(pool: str, life: str) -> str:
    """The subject on which it is asked to speak with the queue."""
    return f"{holding_subject(pool, life)}.queue"


HOLDING_ASKED_DECODER: Final = msgspec.msgpack.Decoder(HoldingAsked)
HOLDING_ANSWER_DECODER: Final = msgspec.msgpack.Decoder(HoldingAnswer)
QUEUE_ASKED_DECODER: Final = msgspec.msgpack.Decoder(HandedOutAsked | GiveBack)
QUEUE_ANSWER_DECODER: Final = msgspec.msgpack.Decoder(QueueAnswer)
