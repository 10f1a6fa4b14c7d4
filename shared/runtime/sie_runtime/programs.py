"""The programs that an installation brings: each starts, or says what it lacks.

*main.* The wheel holds every program, and an extra the packages of each. Promises that a program
whose packages are missing is one line with the extra that brings them, never a traceback. Imports
nothing of a program before it is asked for.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Final, NoReturn

__all__ = ["command", "config", "gateway", "server", "spawner", "worker"]

_OF_COMMAND: Final = {"typer": "cli", "rich": "cli", "yaml": "cli", "hypothesis": "testing"}
"""The extra of each package of the commands; all else is of the cluster that they look at."""
_OF_WRITER: Final = frozenset({"aiosqlite", "fastapi", "sqlite_utils"})
"""Packages of sie-config that the simulation runs on too: its extra has them, and is small."""


def command() -> None:
    """`sie`: the packages of a command are asked for when that command is loaded."""
    try:
        _main("sie_cli.main")()
    except ModuleNotFoundError as error:
        package = _package(error)
        is_simulation = sys.argv[1:2] == ["simulate"] and package in _OF_WRITER
        _missing("sie", error, "testing" if is_simulation else _OF_COMMAND.get(package, "local"))


def config() -> None:
    """`sie-config`."""
    _process("sie-config", "sie_config.main", "config")


def gateway() -> None:
    """`sie-gateway`."""
    _process("sie-gateway", "sie_gateway.main", "gateway")


def worker() -> None:
    """`sie-worker`."""
    _process("sie-worker", "sie_worker.main", "worker")


def server() -> None:
    """`sie-server`."""
    _process("sie-server", "sie_server.main", "server")


def spawner() -> None:
    """`sie-server-spawner`."""
    # It imports the rest itself, after it has set how.
    if importlib.util.find_spec("torch") is None:
        _missing("sie-server-spawner", ModuleNotFoundError(name="torch"), "server")
    _process("sie-server-spawner", "sie_server.spawner", "server")


def _process(program: str, module: str, extra: str) -> None:
    # Only its import: what a process lacks once it runs is a fault, and wants its traceback.
    try:
        main = _main(module)
    except ModuleNotFoundError as error:
        _missing(program, error, extra)
    main()


def _main(module: str) -> Callable[[], None]:
    main: Callable[[], None] = importlib.import_module(module).main
    return main


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _missing(program: str, error: ModuleNotFoundError, extra: str) -> NoReturn:
    package = _package(error)
    if not package or package.startswith("sie_"):
        raise error
    sys.stderr.write(
        f"{program}: the package {package} is not installed: pip install 'sie-cluster[{extra}]'\n"
    )
    raise SystemExit(1) from None
