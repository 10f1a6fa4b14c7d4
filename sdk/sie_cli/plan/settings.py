"""Settings of the local cluster's supervisor.

*types.* One frozen dataclass, read once by the command from `SIE_CLUSTER_*` variables and passed
down. What an operator gives with each `sie up` (folder, port, workers) is in `ClusterOptions`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sie_catalog.offers import Choice
from sie_runtime.settings import constant, load, setting
from sie_schemas.errors import FixRequest

__all__ = ["PREFIX", "ClusterOptions", "ClusterSettings", "read_settings"]

PREFIX: Final = "SIE_CLUSTER"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """The options of one `sie up`: the gateway listens on `port`, sie-config on the next."""

    data: Path
    port: int
    workers: int
    scale_to_zero: bool = False
    """Start without workers; the autoscaler starts and stops them."""
    gateways: int = 1
    devices: int = 1
    """Execution processes behind each worker."""
    gpus: int = 0
    """GPUs that they take by themselves."""
    catalog: Choice = "none"
    """The published models that a new log holds."""
    bundles: tuple[str, ...] = ()
    """Bundles that get a worker of their own, beside the workers of the default one."""

    def __post_init__(self) -> None:
        """Check the relations between fields."""
        if self.scale_to_zero and self.gateways > 1:
            raise FixRequest(
                "--scale-to-zero reads the demand of one gateway: leave --gateways out"
            )
        for name in self.bundles:
            if name == "default" or self.bundles.count(name) > 1:
                raise FixRequest(f"--bundle {name}: it has workers already: name it once, or not")

    @property
    def all_workers(self) -> int:
        """Workers of every bundle."""
        return self.workers + len(self.bundles)

    @property
    def all_devices(self) -> int:
        """Execution processes of every worker."""
        return self.workers * self.devices + len(self.bundles)

    @property
    def config_port(self) -> int:
        """The port of sie-config."""
        return self.port + 1


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """Time limits and pauses of the supervisor, in seconds, and what it shows of a failure."""

    ready_s: float = setting(
        30.0,
        help="How long a process may take from its start until ready. Model execution, which "
        "loads torch (slow from a cold disk), gets four times as long.",
    )
    first_answer_s: float = setting(
        60.0, help="How long the demo model may take to answer for the first time; 0 does not ask."
    )
    poll_s: float = constant(0.05, help="Pause between two looks at a condition.")
    drain_s: float = setting(
        35.0,
        help="How long a process may take to finish its work before it is killed; longer than "
        "its own limit for that.",
    )
    restart_min_s: float = constant(0.2, help="Pause before a dead process is started again.")
    restart_max_s: float = constant(
        10.0, help="The pause doubles up to this while a process keeps dying."
    )
    healthy_s: float = constant(
        30.0, help="A process that lived this long starts again from the shortest pause."
    )
    detach_s: float = setting(300.0, help="How long `up --detach` waits for the cluster.")
    scale_idle_s: float = setting(
        300.0, help="With --scale-to-zero: how long nothing is asked until workers are stopped."
    )
    scale_look_s: float = constant(0.5, help="The same: pause between two looks at the demand.")
    log_tail_lines: int = constant(15, help="Lines of a failed process's log that are shown.")

    @property
    def server_ready_s(self) -> float:
        """The patience for model execution, in seconds: it loads torch (see `ready_s`)."""
        return 4 * self.ready_s

    def __post_init__(self) -> None:
        """Check the relations between fields."""
        if not 0 < self.restart_min_s <= self.restart_max_s:
            raise ValueError("restart_min_s is above zero and at most restart_max_s")
        if self.poll_s <= 0 or self.scale_look_s <= 0:
            raise ValueError("poll_s and scale_look_s are above zero")


def read_settings() -> ClusterSettings:
    """The settings of this process; an unknown `SIE_CLUSTER_*` variable ends it with one line."""
    return load(ClusterSettings, prefix=PREFIX, argv=())
