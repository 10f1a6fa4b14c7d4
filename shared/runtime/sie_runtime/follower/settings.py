"""Settings of a follower: how a process follows the log.

*types.* Times are in seconds.
"""

from dataclasses import dataclass
from pathlib import Path

from sie_runtime.follower.replica_feeds import FeedSettings
from sie_runtime.follower.replica_reports import ReportSettings
from sie_runtime.settings import constant, setting
from sie_runtime.tls import TlsSettings

__all__ = ["FollowerSettings"]


@dataclass(frozen=True, kw_only=True)
class FollowerSettings(FeedSettings, ReportSettings, TlsSettings):
    """The settings of a process that follows the log."""

    config_url: str = setting("http://127.0.0.1:8081", help="base URL of sie-config")
    config_token: str | None = setting(None, help="bearer token for sie-config, if it asks for one")
    config_public_key: str = setting(
        "",
        help="public key of sie-config in hex, which signs the log; empty trusts the key of the "
        "first snapshot, and keeps it",
    )
    replica_dir: Path | None = setting(
        None, help="folder for the replica's files; absent keeps none"
    )
    replica_stale_after_s: float = constant(15.0, help="silence after which the replica is stale")
    replica_stopped_ready_s: float = setting(
        300.0,
        help="how long /readyz stays 200 while the replica is forked, quarantined or halted; what "
        "it last verified is served all the same. 0 is not ready at once",
    )
    replica_fetch_timeout_s: float = constant(5.0, help="seconds for one fetch")
    replica_page_entries: int = constant(1000, help="entries in one fetch")
    replica_tail_entries: int = constant(
        1000, help="raw entries kept at least, for a writer's loss"
    )
    replica_queue_max: int = constant(
        20_000, help="events that may wait; what does not fit is asked for again"
    )
