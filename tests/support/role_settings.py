"""The settings that each role's process reads, for tests of what is shipped around it."""

from collections.abc import Mapping
from typing import Any

from sie_config.settings import ConfigSettings
from sie_gateway.settings import GatewaySettings
from sie_runtime.settings import parse
from sie_server.settings import ServerSettings
from sie_worker.settings import WorkerSettings

__all__ = ["ROLES", "read_settings"]

ROLES: Mapping[str, Any] = {
    "config": ConfigSettings,
    "gateway": GatewaySettings,
    "worker": WorkerSettings,
    "server": ServerSettings,
}


def read_settings(role: str, environment: Mapping[str, str]) -> Any:
    """The settings that an environment gives a role. Raises `SettingsError`, as its start would."""
    return parse(ROLES[role], prefix=f"SIE_{role.upper()}", argv=[], environ=environment)
