"""A check that the parts of the cluster are installed here.

*shell.* Looks at the interpreter's folder and its packages, without importing one. It installs
nothing.
"""

import importlib.util
import sys
from pathlib import Path
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["check_installed", "scripts_folder"]

_PROGRAMS: Final = (
    "nats-server",
    "sie-config",
    "sie-gateway",
    "sie-server",
    "sie-server-spawner",
    "sie-worker",
)
_PACKAGES: Final = (
    "nats",
    "uvicorn",
    "fastapi",
    "aiosqlite",
    "tokenizers",
    "torch",
    "transformers",
)
_CURE: Final = "pip install 'sie-cluster[local]' (with demo models: 'sie-cluster[demo]')"


def scripts_folder() -> Path:
    """The folder of this environment's programs: beside its interpreter."""
    return Path(sys.executable).parent


def check_installed(scripts: Path) -> None:
    """Raise `FixRequest`, with the cure, when a part of the cluster is missing."""
    missing = [name for name in _PROGRAMS if not (scripts / name).is_file()]
    missing += [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise FixRequest(
            f"parts of the cluster are not installed ({', '.join(missing)}): {_CURE}",
            code="NOT_FOUND",
        )
