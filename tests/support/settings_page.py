"""docs/settings.md, made from the settings that the processes really take.

`python -m tests.support.settings_page` writes it.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sie_cli.plan import settings as local
from sie_config.settings import ConfigSettings
from sie_gateway.settings import GatewaySettings
from sie_runtime.settings import is_constant
from sie_server.settings import ServerSettings
from sie_worker.settings import WorkerSettings

__all__ = ["PAGE", "PROCESSES", "constants", "page", "settings"]

PAGE: Final = Path(__file__).resolve().parents[2] / "docs/settings.md"
PROCESSES: Final[dict[str, tuple[str, type[Any]]]] = {
    "SIE_CONFIG": ("sie-config", ConfigSettings),
    "SIE_GATEWAY": ("sie-gateway", GatewaySettings),
    "SIE_WORKER": ("sie-worker", WorkerSettings),
    "SIE_SERVER": ("sie-server", ServerSettings),
    local.PREFIX: ("The supervisor of `sie up`", local.ClusterSettings),
}
_HEAD: Final = """# Settings

Each setting of a process is a flag (`--port 9000`) or a variable (`SIE_GATEWAY_PORT=9000`); the
flag wins. An unknown name, or a value that cannot be, stops the process at start. Those of the
supervisor are variables alone. Words: [glossary](glossary.md).

Times are in seconds and sizes in bytes where a name does not end otherwise (`_ms`). A process has
constants too, which no operator has a reason to turn: `--help-all` shows them.

`python -m tests.support.settings_page` writes this page from the code.

"""


def settings(cls: type[Any]) -> Iterator["dataclasses.Field[Any]"]:
    """The fields that an operator may turn."""
    return (field for field in dataclasses.fields(cls) if not is_constant(field))


def constants() -> set[str]:
    """The variables of what nobody has a reason to turn."""
    return {
        f"{prefix}_{field.name.upper()}"
        for prefix, (_, cls) in PROCESSES.items()
        for field in dataclasses.fields(cls)
        if is_constant(field)
    }


def page() -> str:
    """The page as it ought to be."""
    return _HEAD + "\n".join(_part(prefix, *each) for prefix, each in PROCESSES.items())


def _part(prefix: str, name: str, cls: type[Any]) -> str:
    rows = [
        f"| `{prefix}_{field.name.upper()}` | {_default(field)} | {_meaning(field)} |\n"
        for field in sorted(settings(cls), key=lambda field: field.name)
    ]
    return (
        f"## {name}\n\n| Variable | Default | What it is, and when to turn it |\n|---|---|---|\n"
        + ("".join(rows))
    )


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "must be given"
    if field.default in (None, "", ()):
        return ""
    if isinstance(field.default, tuple):
        return f"`{','.join(field.default)}`"
    return f"`{str(field.default).lower() if field.default in (True, False) else field.default}`"


def _meaning(field: "dataclasses.Field[Any]") -> str:
    meaning = str(field.metadata["help"]).rstrip(".").replace("|", "\\|")
    return meaning[0].upper() + meaning[1:]


if __name__ == "__main__":
    PAGE.write_text(page())
