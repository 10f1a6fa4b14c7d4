"""The settings of the model-execution process.

*types.* One frozen dataclass, read once in `main` (`SIE_SERVER_<FIELD>` or `--<field>`); relations
between fields are checked at construction.
"""

import re
from dataclasses import dataclass
from typing import Final

from sie_runtime.http.connections import HttpBounds
from sie_runtime.settings import LogLevel, constant, setting
from sie_runtime.tls import ListeningTls

__all__ = ["ServerSettings"]

_PINNED_NAME: Final = re.compile(r"[^@\s]+@[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class ServerSettings(HttpBounds, ListeningTls):
    """The settings of one model-execution process."""

    socket: str = setting(
        help="Unix socket to listen on; a stale one is replaced, a live one refuses the start.",
    )
    host: str = setting("127.0.0.1", help="Address of the status routes.")
    port: int = setting(0, help="Port of the status routes; 0 takes a free one.")
    device: str = setting(
        "auto",
        help="Device that this process owns: cpu, cuda, cuda:1. auto takes a CUDA device that "
        "torch can use, else the CPU, and says which and why.",
    )
    threads: int | None = setting(
        None,
        help="Intra-operation threads of the device; 0 takes every core this process may use. "
        "Without it one, because two collapse beside a busy neighbour.",
    )
    queue_max: int = constant(64, help="Requests that may wait for the device; more are refused.")
    frame_bytes_max: int = constant(
        256 * 1024 * 1024, help="Longest frame that is read; a longer one closes its connection."
    )
    memory_bytes_max: int = setting(
        0,
        help="Bytes that loaded models may hold together; above it the least recently used leave. "
        "0 sets no limit.",
    )
    idle_s: float = setting(
        0.0, help="Seconds without use after which a model leaves, unless it is pinned; 0 keeps it."
    )
    host_bytes_min: int = setting(
        256 * 1024 * 1024,
        help="Bytes of the host's memory (of the container's, where it has a limit) that stay "
        "free: below that models leave, least recently used first. 0 does not look.",
    )
    tend_s: float = constant(5.0, help="Seconds between looks for idle models and short memory.")
    adapter_bytes_max: int = setting(
        1024 * 1024 * 1024,
        help="Bytes that adapters in memory may hold together; above it the least recently used "
        "leave, and are read again when asked for. 0 sets no limit.",
    )
    reading_threads: int = constant(
        2, help="Threads that fetch and verify files and read adapters beside the device."
    )
    drain_s: float = setting(
        20.0, help="Seconds that accepted work may take to finish after SIGTERM; then it is left."
    )
    batch_hang_s: float = setting(
        100.0,
        help="Seconds that a batch may have the device; then it hangs, and the process ends with "
        "the stack of each thread, to be started again. Under the sidecar's batch_timeout_s. "
        "0 waits for ever.",
    )
    load_hang_s: float = setting(
        600.0, help="Seconds that loading a model may have the device, likewise; 0 waits for ever."
    )
    loop_hang_s: float = constant(
        60.0, help="Seconds without a turn of the socket's loop, likewise; 0 waits for ever."
    )
    cache_folder: str = setting(
        "~/.cache/sie", help="Where tokenizers converted from slow ones are kept."
    )
    hub_bytes_max: int = setting(
        0,
        help="Bytes that the hub's cache (HF_HUB_CACHE) may hold: after a download the least "
        "recently used revisions that no process uses leave. 0 sets no limit.",
    )
    download_progress_s: float = constant(
        10.0, help="Seconds between log lines on a download that runs; 0 writes none."
    )
    remote_code_models: tuple[str, ...] = setting(
        (),
        help="Revisions on the hub that may run their own code in this process, as "
        "<id>@<commit>,…: whoever wrote it then has all that this process has. None by default.",
    )
    pickled_weights: bool = setting(
        True,
        help="Take weights that a hub has as a pickle alone: read once, in a process apart, as "
        "tensors and nothing else. False refuses them.",
    )
    log_level: LogLevel = setting("info", help="debug, info, warning or error")

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        HttpBounds.__post_init__(self)
        if self.queue_max < 1 or self.frame_bytes_max < 1:
            raise ValueError("queue_max and frame_bytes_max are at least 1")
        if self.reading_threads < 1:
            raise ValueError("reading_threads is at least 1")
        if self.tend_s <= 0:
            raise ValueError("tend_s is more than 0")
        _require_whole_commits(self.remote_code_models)


def _require_whole_commits(names: tuple[str, ...]) -> None:
    for name in names:
        if not _PINNED_NAME.fullmatch(name):
            raise ValueError(
                f"remote_code_models names {name!r}; <id>@<commit> is wanted, the commit in full: "
                "other commits of a repository may be anybody's"
            )
