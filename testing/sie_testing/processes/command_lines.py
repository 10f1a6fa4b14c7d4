"""The command line of each program of a real cluster: its own flags, links, ports and folders.

*shell.* Looks where the programs are installed. The rest follows from what the cluster is asked
to be.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sie_testing.processes import echo_execution
from sie_testing.processes.programs import program_path
from sie_testing.processes.short_times import CONFIG, FOLLOWER, GATEWAY, WORKER

__all__ = ["CommandLines"]

_DATA: Final = "config"


@dataclass(frozen=True, kw_only=True)
class CommandLines:
    """See the module. `links` has the address of each link, by `from>to`."""

    folder: Path
    ports: Mapping[str, int]
    links: Mapping[str, str]
    shipped: bool
    """True if the programs keep the time constants that they come with."""
    auth_file: Path | None = None
    """The tokens that gateways let in; everybody where there is none."""

    @property
    def data(self) -> Path:
        """The folder of sie-config."""
        return self.folder / _DATA

    @property
    def weights(self) -> Path:
        """The folder below which sie-config may read folders of weights."""
        return self.folder / "weights"

    def of(self, name: str) -> list[str]:
        """The command line of a program. Raises `FixRequest` where it is not installed."""
        role, _, number = name.partition("-")
        match role:
            case "broker":
                return [program_path("nats-server"), "-c", str(self.folder / "nats.conf")]
            case "execution":
                return [sys.executable, "-m", echo_execution.__name__, self._socket(number)]
            case "config":
                own = {"data-dir": str(self.data), "weights-folders": str(self.weights)}
                own |= self._unless_shipped(CONFIG)
            case "gateway":
                own = {"gateway-id": name} | self._follows(name) | self._unless_shipped(GATEWAY)
                own |= {"auth-file": str(self.auth_file)} if self.auth_file is not None else {}
            case _:
                own = {"worker-id": name, "socket-path": self._socket(number)}
                own |= self._follows(name) | self._unless_shipped(WORKER)
        own |= {"port": str(self.ports[name])}
        own |= {"nats-url": f"nats://{self.links[f'{name}>broker']}"}
        flags = [part for flag, value in own.items() for part in (f"--{flag}", value)]
        return [program_path(f"sie-{role}"), *flags]

    def _follows(self, name: str) -> dict[str, Any]:
        config = f"http://{self.links[f'{name}>config']}"
        own = {"config-url": config, "replica-dir": str(self.folder / name)}
        return own | self._unless_shipped(FOLLOWER)

    def _unless_shipped(self, constants: dict[str, str]) -> dict[str, str]:
        return {} if self.shipped else constants

    def _socket(self, number: str) -> str:
        return str(self.folder / f"execution-{number}.sock")
