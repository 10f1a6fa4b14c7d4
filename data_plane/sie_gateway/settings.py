"""Settings of the gateway: read once at start, from `SIE_GATEWAY_*` and flags.

*types.* Every time is in seconds. What is out of range, or contradicts another field, stops the
process at start.
"""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from sie_runtime.access.access import AccessSettings
from sie_runtime.broker.bus import BusSettings
from sie_runtime.follower.settings import FollowerSettings
from sie_runtime.http.connections import HttpBounds
from sie_runtime.settings import LogLevel, constant, require_id, setting
from sie_runtime.streams.deliveries import WorkQueueSettings
from sie_runtime.streams.lease_store import LeaseStoreSettings
from sie_runtime.streams.payload_store import PayloadSettings

__all__ = ["PREFIX", "GatewaySettings", "RequestsLogged"]

PREFIX: Final = "SIE_GATEWAY"
RequestsLogged: TypeAlias = Literal["all", "failed", "none"]


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(
    BusSettings,
    FollowerSettings,
    WorkQueueSettings,
    PayloadSettings,
    LeaseStoreSettings,
    AccessSettings,
    HttpBounds,
):
    """sie-gateway: the edge of the cluster."""

    host: str = setting("127.0.0.1", help="address to listen on; 0.0.0.0 for every interface")
    port: int = setting(8080, help="port to listen on; 0 takes a free one")
    share_port: bool = setting(
        False, help="let several gateways listen on this port; the system deals connections out"
    )
    gateway_id: str = setting(
        "", help="name of this gateway's inbox on the bus, unique; absent makes a random one"
    )
    config_public_url: str = setting(
        "",
        help="sie-config's address as clients reach it, named when they write here; "
        "absent names config_url",
    )
    web_pages: tuple[str, ...] = setting(
        (),
        help="comma list of origins (https://console.example) whose web pages may use this process "
        "through a browser; without tokens they also name the public hosts that it answers to",
    )
    request_timeout_s: float = setting(
        60.0, help="longest wait for an answer; a worker that loads a model needs tens of seconds"
    )
    drain_s: float = setting(30.0, help="how long a stopping gateway lets requests finish")
    fleet_ttl_s: float = constant(
        6.0, help="silence after which a worker is gone; several of its heartbeats"
    )
    fleet_settle_s: float = constant(
        3.0,
        help="silence after a start, the gateway's or the broker's, that means there is no worker",
    )
    worker_doubt_s: float = constant(
        1.5, help="silence after which a worker is asked whether it lives; over its heartbeats"
    )
    worker_dead_s: float = setting(
        3.0,
        help="silence, of heartbeats and of answers, after which a worker counts as dead and "
        "what it held goes to another one; one whose connection is gone is known to be dead "
        "sooner. From 3 on: a stopped worker may take jobs for 2 seconds, and beats once a second",
    )
    worker_answer_s: float = constant(
        0.5, help="seconds that a worker may take to say which jobs it holds"
    )
    suspect_after_deaths: int = constant(
        2,
        help="deaths of workers that held a job after which it may be their cause, and such jobs "
        "are given back one at a time",
    )
    taker_look_s: float = constant(
        0.25,
        help="seconds between looks for jobs that lie where, after a change of the configuration "
        "or a death, nobody takes them",
    )
    provisioning_retry_after_s: float = constant(
        5.0, help="what a client is told to wait for when no worker is ready"
    )
    body_bytes_max: int = setting(16 * 1024 * 1024, help="largest body of a request")
    request_items_max: int = setting(4096, help="most items in one request")
    request_chars_max: int = setting(1_000_000, help="most characters in the texts of one request")
    job_items_max: int = setting(
        64, help="most items in one job; fewer let more workers share a large request"
    )
    job_bytes_max: int = constant(
        256 * 1024, help="most bytes in one job, unless it has a single item"
    )
    payload_bytes_max: int = setting(
        1_000_000, help="largest job that is one message; below the broker's limit (1 MiB)"
    )
    object_bytes_max: int = setting(
        16 * 1024 * 1024,
        help="largest single item; above payload_bytes_max it goes through the object store, "
        "which 0 turns off",
    )
    chunked_bytes_max: int = setting(
        256 * 1024 * 1024,
        help="bytes held of results that are larger than a message; more of them have to wait",
    )
    in_flight_items_max: int = setting(50_000, help="items that may wait before QUEUE_FULL")
    in_flight_bytes_max: int = setting(
        256 * 1024 * 1024, help="bytes that may wait before QUEUE_FULL"
    )
    tei_embed_model: str = setting(
        "", help="model of POST /embed where a request names none; absent, it has to name one"
    )
    tei_rerank_model: str = setting("", help="the same for POST /rerank")
    token_vocabulary: Path | None = setting(
        None,
        help="a tiktoken file: the vocabulary of token ids that clients of OpenAI send; absent, "
        "they are of the model's own tokenizer",
    )
    tenant_items_max: int = setting(
        0, help="items of one tenant that may wait before RATE_LIMIT; 0 has no cap of its own"
    )
    tenant_rate_per_s: float = setting(
        0.0, help="requests of one tenant a second before RATE_LIMIT; 0 has no limit"
    )
    tenant_burst: int = setting(
        20, help="requests that a tenant with such a limit may send at once after a pause"
    )
    demand_keep_s: float = constant(
        300.0, help="seconds that a worker which starts is told of a model that found none"
    )
    cold_shown_s: float = constant(
        60.0,
        help="seconds for which a request that found no worker is shown to the autoscaler: longer "
        "than it takes to scrape twice",
    )
    lease_ttl_s: float = constant(
        1200.0,
        help="seconds that a lease of /v1/pools lasts without being renewed, where a client asks "
        "for no other time",
    )
    lease_ttl_max_s: float = constant(
        3600.0,
        help="seconds that a lease of /v1/pools may last without being renewed, at most; a client "
        "that asks for no time gets 1200",
    )
    leases_max: int = setting(64, help="most leases at one time, up to 1000; 0 gives none")
    lease_warm_workers_max: int = constant(4, help="most workers that one lease may keep warm")
    lease_items_per_worker: int = constant(
        256, help="items of a lease that may wait for one worker of its share, at this gateway"
    )
    lease_look_s: float = constant(1.0, help="seconds between looks at the leases that are alive")
    live_status_s: float = constant(
        1.0, help="seconds between two messages of the WebSocket /ws/cluster-status"
    )
    log_level: LogLevel = setting("info", help="debug, info, warning or error")
    log_requests: RequestsLogged = setting(
        "failed", help="requests that get a line in the log: all, failed (5xx, less 503) or none"
    )

    def __post_init__(self) -> None:
        """Raises `ValueError` in one line."""
        HttpBounds.__post_init__(self)
        if self.gateway_id:
            require_id("gateway_id", self.gateway_id)
        if self.token_vocabulary is not None and not self.token_vocabulary.is_file():
            raise ValueError(f"token_vocabulary: there is no file {self.token_vocabulary}")
        times = (self.request_timeout_s, self.fleet_ttl_s, self.drain_s, self.live_status_s)
        if min(*times, self.lease_look_s) <= 0:
            raise ValueError(
                "request_timeout_s, fleet_ttl_s, drain_s, live_status_s and lease_look_s are "
                "above 0"
            )
        self._check_deaths()
        if not 1 <= self.lease_ttl_s <= self.lease_ttl_max_s:
            raise ValueError("lease_ttl_s is at least 1 and at most lease_ttl_max_s")
        if not 0 <= self.leases_max <= 1000 or self.lease_items_per_worker < 1:
            raise ValueError("leases_max is 0 to 1000, and lease_items_per_worker at least 1")
        not_negative = (
            self.provisioning_retry_after_s,
            self.fleet_settle_s,
            self.tenant_rate_per_s,
        )
        if min(not_negative) < 0:
            raise ValueError(
                "provisioning_retry_after_s, fleet_settle_s and tenant_rate_per_s are not negative"
            )
        bounds = (
            self.body_bytes_max,
            self.request_items_max,
            self.request_chars_max,
            self.job_items_max,
            self.job_bytes_max,
            self.in_flight_items_max,
            self.in_flight_bytes_max,
            self.chunked_bytes_max,
            self.tenant_burst,
        )
        if min(bounds) < 1 or self.payload_bytes_max < 4096:
            raise ValueError(
                "every *_max and tenant_burst are at least 1, and payload_bytes_max at least 4096"
            )

    def _check_deaths(self) -> None:
        if not 0 < self.worker_doubt_s <= self.worker_dead_s:
            raise ValueError("worker_doubt_s is above 0 and at most worker_dead_s")
        if min(self.worker_answer_s, self.taker_look_s) <= 0 or self.suspect_after_deaths < 1:
            raise ValueError(
                "worker_answer_s and taker_look_s are above 0, and suspect_after_deaths at least 1"
            )

    @property
    def item_bytes_max(self) -> int:
        """Bytes of the largest item that is taken."""
        return max(self.payload_bytes_max, self.object_bytes_max)

    def process_id(self) -> str:
        """The name of this process on the bus; a fresh one at each call where none is set."""
        return self.gateway_id or f"gateway-{uuid.uuid4().hex[:12]}"
