"""The environment that a local cluster is started in, looked at before anything is.

*pure.* Promises that a variable which is nobody's and looks like somebody's is refused by its name,
with the nearest right one. What only begins with the same letters may be another program's.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, Final

from sie_cli.plan.settings import PREFIX, ClusterSettings
from sie_config.settings import ConfigSettings
from sie_gateway.settings import GatewaySettings
from sie_runtime.settings import CLIENT_VARIABLES
from sie_schemas.errors import FixRequest
from sie_server.settings import ServerSettings
from sie_worker.settings import WorkerSettings

__all__ = ["check_environment"]

_ROLES: Final[Mapping[str, Any]] = {
    PREFIX: ClusterSettings,
    "SIE_CONFIG": ConfigSettings,
    "SIE_GATEWAY": GatewaySettings,
    "SIE_SERVER": ServerSettings,
    "SIE_WORKER": WorkerSettings,
}
_KNOWN: Final = CLIENT_VARIABLES | {
    f"{prefix}_{field.name.upper()}"
    for prefix, settings in _ROLES.items()
    for field in dataclasses.fields(settings)
}
_OURS: Final = tuple(f"{prefix}_" for prefix in _ROLES)
_NEAR: Final = 0.85
"""So near is a name with a letter lost or two changed places; most others are further off."""


def check_environment(environ: Mapping[str, str]) -> None:
    """Raises `FixRequest` for a mistyped setting."""
    for name in sorted(environ):
        if "_TLS_" in name and name in _KNOWN:
            raise FixRequest(
                f"{name}: `sie up` speaks plain HTTP, on this machine alone. Unset it, or start "
                "the processes yourself",
                field=name,
            )
        if not name.startswith("SIE_") or name in _KNOWN:
            continue
        near = difflib.get_close_matches(name, sorted(_KNOWN), n=1, cutoff=_NEAR)
        if near or name.startswith(_OURS):
            hint = f"; did you mean {near[0]}?" if near else ": unset it"
            raise FixRequest(f"{name} is not a setting{hint}", field=name)
