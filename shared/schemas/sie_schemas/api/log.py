"""The answers of sie-config about its log and those who follow it: head, replicas, checks, queues.

*types.*
"""

from typing import NotRequired, TypedDict

from sie_schemas.api.past import EntryEnvelope, SignatureShown
from sie_schemas.api.writes import ReplicaConvergence

__all__ = [
    "Alive",
    "Asked",
    "Compacted",
    "Forgotten",
    "HeadTold",
    "HeadWithWriter",
    "LetterList",
    "LetterRun",
    "LetterShown",
    "LettersDropped",
    "LogPage",
    "ModelHeld",
    "QueueList",
    "QueueShown",
    "Ready",
    "ReplicaCheckedRow",
    "ReplicaRow",
    "Replicas",
    "Verified",
    "Waited",
    "WriterTold",
]


class WriterTold(TypedDict):
    """The state of the writer: `serving`, `read_only` or `recovery`; else why, and its code."""

    state: str
    witnessed: NotRequired[bool]
    reason: NotRequired[str]
    code: NotRequired[str]


class HeadTold(TypedDict):
    """The head of the log. `low_water` is the first epoch that is served as a delta."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    term: int
    low_water: int
    signature: SignatureShown | None


class HeadWithWriter(HeadTold):
    """The head of the log, and the state of its writer."""

    writer: WriterTold


class LogPage(TypedDict):
    """Entries after an epoch; the next page begins after `next_after`."""

    head: HeadTold
    entries: list[EntryEnvelope]
    next_after: int


class ModelHeld(TypedDict):
    """A model in one process: its state and the revision that it serves."""

    state: str
    revision: NotRequired[str]
    reason: NotRequired[str]
    dims: NotRequired[dict[str, int]]
    max_sequence_length: NotRequired[int]


class ReplicaRow(TypedDict):
    """A replica by its last report, against the head.

    `traffic` and `adapters` have the seconds since each was asked for. `place` is a worker's pool,
    machine profile and bundle. `age_s` is the age of the report. `lag` is in epochs and `lag_s` in
    seconds; None on another log.
    """

    role: str
    id: str
    life: str
    log_id: str
    epoch: int
    hash: str
    digest: str
    received: int
    state: str
    reason: str
    speaks: NotRequired[list[str]]
    models: dict[str, ModelHeld]
    traffic: dict[str, int]
    adapters: dict[str, int]
    place: tuple[str, str, str] | None
    trouble: NotRequired[str]
    leaving: NotRequired[bool]
    signature: NotRequired[SignatureShown]
    shares_name: bool
    age_s: float
    live: bool
    gone: bool
    lag: int | None
    lag_s: NotRequired[float | None]
    converged: bool


class Replicas(TypedDict):
    """Every replica that reports, against the head. `epoch_min` is that of the last live one."""

    log_id: str
    epoch: int
    hash: str
    digest: str
    live: int
    converged: bool
    epoch_min: int | None
    replicas: list[ReplicaRow]


class Waited(ReplicaConvergence):
    """The end of a wait for one entry."""

    log_id: str
    epoch: int


class Forgotten(TypedDict):
    """`forgotten` says that the replica was known."""

    forgotten: bool


class Asked(TypedDict):
    """The replica was asked."""

    asked: bool


class Compacted(TypedDict):
    """The first epoch that is served as a delta now. `trimmed` is the stream's word."""

    low_water: int
    moved: bool
    head: int
    trimmed: bool


class ReplicaCheckedRow(TypedDict):
    """A replica's own count; `sound` is None where it could not be asked."""

    role: str
    id: str
    epoch: int
    digest: str
    sound: bool | None
    problem: str


class Verified(TypedDict):
    """The snapshot against the fold of its deltas, here and at a replica by chance."""

    log_id: str
    epoch: int
    digest: str
    checked_at: str
    sound: bool
    problem: str | None
    first_bad_epoch: int | None
    replica: ReplicaCheckedRow | None


class Alive(TypedDict):
    """The process runs."""

    status: str


class Ready(TypedDict):
    """The word on whether the log can be trusted. `timestamp` is in seconds of Unix time.

    `broker` says why the broker is not reached; empty where it is.
    """

    status: str
    broker: str
    writer: WriterTold
    head: str
    published_epoch: int
    url: str
    timestamp: float


class QueueShown(TypedDict):
    """The queue of one pool, with the jobs that workers hold; the age of its oldest in seconds."""

    pool: str
    jobs: int
    jobs_max: int
    bytes: int
    oldest_s: float | None


class QueueList(TypedDict):
    """The queue of each pool, and the number of dead letters."""

    queues: list[QueueShown]
    dead_letters: int


class LetterShown(TypedDict):
    """A job that failed for good, without what its request held. `at` is RFC 3339 in UTC."""

    number: int
    v: int
    job_id: str
    request_id: str
    subject: str
    pool: str
    model_id: str
    profile: str
    operation: str
    model_revision: str
    adapter: str
    tenant: str
    items: int
    deliveries: int
    code: str
    message: str
    worker_id: str
    at: str
    payload_kept: bool


class LetterList(TypedDict):
    """Dead letters, oldest first; the next page begins after `next_after`."""

    letters: list[LetterShown]
    next_after: int | None


class LetterRun(TypedDict):
    """The job of a dead letter succeeded, and who ran it."""

    number: int
    job_id: str
    worker_id: str


class LettersDropped(TypedDict):
    """The numbers of the letters that are forgotten."""

    dropped: list[int]
