"""The settings of `sie-worker`.

*types.* One frozen dataclass, read once in `main`. Each field's help gives unit and reason.
"""

import os
import re
import socket
from dataclasses import dataclass
from typing import Final

from sie_runtime.broker.bus import BusSettings
from sie_runtime.follower.settings import FollowerSettings
from sie_runtime.http.connections import HttpBounds
from sie_runtime.settings import LogLevel, constant, require_id, setting
from sie_runtime.streams.dead_letters import DeadLetterSettings
from sie_runtime.streams.deliveries import WorkQueueSettings
from sie_runtime.streams.payload_store import PayloadSettings
from sie_schemas.fleet import WorkerKind

__all__ = ["WorkerSettings", "host_id"]

_HOST_MAX: Final = 50
"""A worker's name is part of a subject, which the broker bounds."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(
    BusSettings,
    WorkQueueSettings,
    FollowerSettings,
    PayloadSettings,
    DeadLetterSettings,
    HttpBounds,
):
    """Worker sidecar: pulls jobs, tokenizes, forms batches, delivers results."""

    # -- who it is --
    socket_path: tuple[str, ...] = setting(
        help="Unix socket of the model-execution process; of several, one for each device of this "
        "host, with commas between"
    )
    worker_id: str | None = setting(
        None, help="name of this worker: letters, digits, - and _; host name and pid if absent"
    )
    pool: str = setting("default", help="pool that this worker serves")
    machine_profile: str = setting("cpu", help="kind of hardware that it runs on")
    bundle: str = setting("default", help="set of backends that its image can run")
    host: str = setting("127.0.0.1", help="address of the status routes")
    port: int = setting(0, help="port of the status routes; 0 takes a free one")
    log_level: LogLevel = setting("info", help="debug, info, warning or error")

    # -- heartbeats and placement --
    heartbeat_interval_s: float = constant(
        1.0,
        help="seconds between heartbeats; a change is told at once. Gateways reckon with it: under "
        "their worker_doubt_s",
    )
    peer_silence_s: float = constant(
        3.0, help="silence after which a peer is gone, and its models have a new home"
    )
    placement_look_s: float = constant(
        1.0, help="seconds between looks at the placement, beside those that a change causes"
    )

    # -- pulling --
    window_items_max: int = constant(
        512,
        help="items in hand at most for each device; about two full batches keep it busy. Twice as "
        "many while several tenants send, since a flood would fill it for all of them",
    )
    fetches_max: int = constant(
        8, help="large jobs fetched from the object store at once; more are not pulled meanwhile"
    )
    hold_extend_s: float = constant(
        10.0, help="seconds after which a hold is extended, and again; under queue_ack_wait_s"
    )
    catch_up_s: float = constant(
        5.0, help="seconds that a job waits here for the epoch that it names"
    )
    retry_delay_s: float = constant(0.2, help="pause before a job that was given back comes again")
    alone_after_deliveries: int = constant(
        2, help="deliveries after which a job shares no batch: it may be what crashes the device"
    )
    inline_characters_max: int = constant(
        2000, help="characters up to which a job is tokenized without a thread; 0 always uses one"
    )

    cancelled_ids_max: int = constant(
        10_000,
        help="requests whose client left that are remembered, so that their jobs cost nothing",
    )

    # -- running --
    batches_ahead_max: int = constant(
        2, help="batches handed over at once: the one that runs and those ready behind it"
    )
    batch_latency_ms: float = setting(
        100.0,
        help="milliseconds from an input's arrival to its answer to aim at where a profile states "
        "no batch_latency_ms; 0 keeps the profile's batch_wait_ms as it is",
    )
    batch_handover_ms: float = constant(
        2.0, help="milliseconds by which the next batch is handed over before the device is free"
    )
    spread_after: int = constant(
        8,
        help="with several devices: how often in a row a model's devices are found busy beside an "
        "idle one until that one loads it too; 0 keeps a model on one device",
    )
    piece_cost_min: int = constant(
        128, help="cost (tokens, for texts) of a part of a job that is worth a device of its own"
    )
    tenant_slice_ms: float = constant(
        20.0,
        help="milliseconds that a batch may take while several tenants send, as far as the batches "
        "before it tell: about what a small tenant waits behind a flood; 0 has no bound",
    )
    tenant_quantum_cost: int = constant(
        64, help="cost that one tenant takes in its turn while others wait (tokens, for texts)"
    )
    expiry_tick_s: float = constant(0.5, help="seconds between looks for jobs past their deadline")
    isolation_passes_max: int = constant(
        32,
        # One bad input among 1,000 takes twenty, so all but floods of them end in one turn.
        help="runs in one turn to find a batch's bad inputs by halves; what is left waits again",
    )
    load_share: float = constant(
        0.5,
        help="share of the time that loads may take which make another model leave, while there "
        "is other work; inputs of the models that are away gather meanwhile",
    )
    load_cooldown_s: float = constant(
        30.0,
        help="seconds before a load that failed is tried again; 0 tries for each job. A changed "
        "document is another revision, and is tried at once",
    )
    previous_revision_s: float = constant(
        300.0,
        help="seconds that a replaced revision may still be run; at least the longest deadline",
    )
    previous_resolvers_max: int = constant(64, help="replaced resolvers kept for that")

    # -- model execution --
    reconnect_s: float = constant(0.1, help="seconds between attempts to reach model execution")
    ping_interval_s: float = constant(5.0, help="seconds between pings to model execution")
    ping_timeout_s: float = constant(20.0, help="seconds without an answer after which it is lost")
    load_timeout_s: float = setting(600.0, help="seconds for loading a model, weights included")
    batch_timeout_s: float = setting(120.0, help="seconds for a batch after which it is lost")
    executor_grace_s: float = constant(
        10.0, help="seconds that jobs in hand wait for model execution to come back"
    )
    executor_handover_s: float = constant(
        1.0, help="the same where another worker of this kind is ready, which then runs them"
    )

    # -- results --
    confirm_timeout_s: float = constant(2.0, help="seconds for a gateway to confirm results")
    confirm_retry_s: float = constant(0.25, help="pause before results are offered again")
    result_bytes_max: int = constant(
        1_000_000, help="bytes of one result message; under the broker's limit (1 MiB by default)"
    )
    chunked_result_bytes_max: int = constant(
        64 * 1024 * 1024,
        help="bytes of the largest result of one job; above result_bytes_max it goes in chunks. "
        "What a gateway holds of them is its chunked_bytes_max",
    )
    drain_s: float = setting(10.0, help="seconds to finish what is in hand at shutdown")

    def __post_init__(self) -> None:
        """Check how the fields relate."""
        HttpBounds.__post_init__(self)
        if self.worker_id:
            require_id("worker_id", self.worker_id)
        if self.hold_extend_s >= self.queue_ack_wait_s / 2:
            raise ValueError("hold_extend_s is under half of queue_ack_wait_s, or holds lapse")
        if self.peer_silence_s <= 2 * self.heartbeat_interval_s:
            raise ValueError("peer_silence_s is over two heartbeat_interval_s, or peers flicker")
        if not self.socket_path:
            raise ValueError("socket_path names at least one socket")
        if self.piece_cost_min < 1:
            raise ValueError("piece_cost_min is at least 1")
        if self.batches_ahead_max < 1 or self.window_items_max < 1:
            raise ValueError("batches_ahead_max and window_items_max are at least 1")
        if not 0 < self.load_share <= 1:
            raise ValueError("load_share is above 0 and at most 1")

    @property
    def kind(self) -> WorkerKind:
        """The kind of worker that this one is."""
        return WorkerKind(self.pool, self.machine_profile, self.bundle)

    def process_id(self) -> str:
        """The name of this process on the bus."""
        return self.worker_id or host_id(socket.gethostname(), os.getpid())


def host_id(host: str, pid: int) -> str:
    """The name of a process of a host, whose full name has dots, which would part a subject."""
    return f"{re.sub(r'[^A-Za-z0-9_-]', '-', host)[:_HOST_MAX]}-{pid}"
