"""The settings of `sie-config`, read once by `main`.

*types.* Every time constant and every bound of the process is here, with its unit and its reason.
"""

from dataclasses import dataclass
from pathlib import Path

from sie_catalog.first_pools import FIRST_POOLS, first_pools
from sie_catalog.offers import Choice
from sie_runtime.access.access import AccessSettings
from sie_runtime.broker.bus import BusSettings
from sie_runtime.http.connections import HttpBounds
from sie_runtime.process.plain_paths import is_plain_path
from sie_runtime.settings import LogLevel, constant, setting
from sie_runtime.streams.dead_letters import DeadLetterSettings
from sie_runtime.streams.provisions import ProvisionSettings
from sie_runtime.streams.sweeping import SweepSettings

__all__ = ["ConfigSettings"]


@dataclass(frozen=True, kw_only=True)
class ConfigSettings(
    AccessSettings, BusSettings, HttpBounds, ProvisionSettings, DeadLetterSettings, SweepSettings
):
    """sie-config: the one writer of the configuration log."""

    data_dir: Path = setting(help="folder of the log file, its lock and its head file")
    signing_key: Path | None = setting(
        None,
        help="file of the private key that signs the log, PEM; absent, log.sqlite.key in the data "
        "folder, made with a new log. Keep a copy apart from the backups",
    )
    host: str = setting("127.0.0.1", help="address to listen on; loopback until access is guarded")
    port: int = setting(8081, help="port to listen on; 0 takes a free one")
    advertised_url: str = setting("", help="URL that others reach this process by, for messages")
    replica_auth_file: Path | None = setting(
        None,
        help="a further file of token hashes, for replicas alone (roles read and report); the "
        "local cluster writes it",
    )
    web_pages: tuple[str, ...] = setting(
        (),
        help="comma list of origins (https://console.example) whose web pages may use this process "
        "through a browser; those of the advertised URL always may. Without tokens they also name "
        "the public hosts that it answers to",
    )
    gateway_url: str = setting(
        "",
        help="address of a gateway, for the console alone: its playground and its view of workers; "
        "absent, the console shows the log",
    )
    log_level: LogLevel = setting("info", help="debug, info, warning or error")
    new_log: bool = setting(
        False, help="begin a new log although replicas or the broker know one; their state is lost"
    )
    catalog: Choice = setting(
        "none",
        help="the published models that a new log holds from its start: none, small (the best "
        "known few) or all. Documents alone: nothing is fetched before it is asked for",
    )
    pools: tuple[str, ...] = setting(
        FIRST_POOLS,
        help="pools that a new log holds from its start, with the machine profiles of each: "
        "default=cpu+l4,night=cpu. Those of an older log are changed with `sie apply`",
    )
    store_bytes_max: int = setting(0, help="largest size of the log file in bytes; 0 is no bound")
    group_writes_max: int = constant(256, help="writes that may share one commit")
    waiting_writes_max: int = constant(
        4096, help="writes that may wait; more are told to come later"
    )
    body_bytes_max: int = setting(1024 * 1024, help="largest body of a write, in bytes")
    batch_bytes_max: int = constant(
        16 * 1024 * 1024, help="largest body of a batch, in bytes; one entry holds all of it"
    )
    batch_operations_max: int = constant(
        5000, help="most operations in one batch; its bytes are what costs, and are a setting"
    )
    weights_folders: tuple[str, ...] = setting(
        (),
        help="folders, by comma, below which a path source is pinned by reading its files where "
        "its document has no manifest. Who may propose a change then learns the names and the "
        "SHA-256 of files in them. None by default: a document has to bring its manifest",
    )
    manifest_readers_max: int = constant(
        2, help="folders of weights that are read at a time; more are told to come later"
    )
    manifest_bytes_max: int = constant(
        64 * 1024**3,
        help="bytes of weights that are read for one request: several of the largest models; what "
        "reading costs is bounded by manifest_s",
    )
    manifest_s: float = constant(
        120.0, help="seconds that the weights of one request may take to read"
    )
    entities_max: int = setting(100_000, help="most entities in the registry")
    rework_max: int = constant(
        8, help="how often a patch or revert is worked out anew when its ground moved"
    )
    past_registries: int = constant(
        8, help="registries of past epochs kept in memory, for ?at=, diffs and reverts"
    )
    convergence_wait_max_s: float = constant(600.0, help="longest wait for convergence, in seconds")
    commits_remembered: int = constant(
        4096, help="newest commits whose time is kept, to measure how fast replicas follow"
    )
    audit_rows_max: int = setting(
        100_000, help="rows of refused attempts that are kept; the oldest go first"
    )
    audit_rows_per_minute: int = constant(
        1000, help="rows of refused attempts in one minute; beyond, only a count is kept"
    )
    audit_flush_s: float = constant(1.0, help="seconds until a refused attempt is on disk")
    lookup_s: float = constant(
        1.0,
        help="seconds without a write after which new entries are noted in lookup.sqlite; 0 notes "
        "them when somebody asks",
    )
    page_entries_max: int = constant(1000, help="most entries in one answer of /log")
    tail_entries: int = constant(2000, help="newest entries kept in memory for followers")
    poll_wait_max_s: float = constant(60.0, help="longest wait of a poll of /epoch, in seconds")
    ack_wait_s: float = constant(5.0, help="how long ?ack=stream waits for the broker, in seconds")
    roll_call_s: float = constant(
        1.0,
        help="how long a start listens for witnesses, in seconds; replicas answer at once, and a "
        "late one is heard all the same",
    )
    broker_wait_s: float = constant(
        5.0,
        help="how long a start waits for a broker that is there to say which logs it has, in "
        "seconds; with an empty log file it begins none without its word",
    )
    publish_retry_s: float = constant(0.5, help="pause after the bus refused an entry, in seconds")
    publish_verify_s: float = constant(
        5.0, help="seconds between checks of the stream's last entry"
    )
    queues_verify_s: float = constant(
        5.0,
        help="seconds between looks whether the broker still has the queues, and whatever else it "
        "keeps for gateways and workers",
    )
    jetstream_bytes_max: int = constant(
        0,
        help="bytes that the brokers may store, all together, beside the bound of their account: "
        "the chart tells those of its own; 0 is not known",
    )
    queues_retry_s: float = constant(
        0.5, help="pause after the broker did not take a queue, in seconds"
    )
    # A follower that lost the newest entry was 1.02 s behind with one a second, 0.51 s with two.
    bookmark_s: float = constant(0.5, help="seconds between announcements of the head; 0 is none")
    head_file_s: float = constant(0.2, help="least seconds between writes of the head file")
    checkpoint_entries: int = constant(
        5000,
        help="entries after which the registry is stored beside the log for a quick start; 0 never",
    )
    full_fold_share: float = constant(
        0.2, help="share of the loop that folds the log behind a quick start, more than 0 up to 1"
    )
    self_check_s: float = setting(
        60.0,
        help="seconds between two looks whether the snapshot is the fold of the entries, here and "
        "at a replica; 0 looks only behind a quick start",
    )
    self_check_ask_s: float = constant(5.0, help="seconds that a replica may take to count anew")
    report_ttl_s: float = constant(10.0, help="seconds after which a silent replica is lost")
    report_forget_s: float = constant(
        3600.0, help="seconds after which a lost replica is forgotten"
    )
    replicas_max: int = constant(
        10_000, help="most replicas that are kept; more are not shown. No cluster has as many"
    )
    report_bytes_max: int = constant(256 * 1024, help="largest report of a replica, in bytes")
    reports_bytes_max: int = constant(
        64 * 1024 * 1024,
        help="bytes of all reports that are kept; silent replicas leave first, then those that "
        "reported over HTTP without a token",
    )
    recovery_retry_s: float = constant(
        2.0, help="seconds between attempts to get lost entries back, while the writer lacks some"
    )
    page_bytes_max: int = constant(
        8 * 1024 * 1024, help="bytes after which a range of entries that has a limit ends early"
    )
    answers_at_once_max: int = constant(
        16, help="followers that are answered before waiting writes have their turn"
    )
    pages_at_once_max: int = constant(
        2, help="pages of the log or the audit that are read for streams at a time"
    )
    token_rate_per_s: float = setting(
        0.0,
        help="requests of one token a second before RATE_LIMIT, gateways and workers included; 0 "
        "has no limit. Where no tokens are in force all callers are one",
    )
    token_burst: int = setting(
        50, help="requests that a token with such a limit may send at once after a pause"
    )
    drain_s: float = setting(5.0, help="seconds that requests in flight get at the end")

    def __post_init__(self) -> None:
        HttpBounds.__post_init__(self)
        first_pools(self.pools)
        for folder in self.weights_folders:
            if not is_plain_path(folder):
                raise ValueError(
                    f"--weights-folders names {folder!r}; an absolute path is wanted, spelled "
                    "without `.`, `..` or a slash at its end, and not the root"
                )
        if self.group_writes_max < 1 or self.waiting_writes_max < self.group_writes_max:
            raise ValueError("--waiting-writes-max must be at least --group-writes-max, and both 1")
        if not 0 < self.full_fold_share <= 1:
            raise ValueError("--full-fold-share is above 0 and at most 1")
        if self.token_burst < 1:
            raise ValueError("--token-burst is at least 1")
        if self.report_forget_s < self.report_ttl_s:
            raise ValueError("--report-forget-s must be at least --report-ttl-s")
