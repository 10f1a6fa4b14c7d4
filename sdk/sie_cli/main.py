"""The `sie` command.

*main.* Collects the sub-commands that installed packages registered under the entry-point group
`sie.commands`: a function, or a `typer.Typer` for a group of its own. Runs the one that was asked
for. A command that this package brings is the only one that is loaded: a command line must
start fast. An error of ours is one line on stderr and an exit status, never a traceback.
"""

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from types import ModuleType
from typing import Annotated, Any, Final, NoReturn, cast

import typer

from sie_cli.show.exit_statuses import exit_status, line_of, line_of_os
from sie_cli.show.printing import talk
from sie_cli.texts.versions import DISTRIBUTION, version_line
from sie_schemas.errors import SIEError

__all__ = ["build", "main"]

GROUP: Final = "sie.commands"
_PASSED_ON: Final = {"test": {"allow_extra_args": True, "ignore_unknown_options": True}}
"""`sie test` hands what it does not know to pytest."""
_RUN: Final = frozenset({"up", "demo"})
"""Commands that run a cluster: 1 is all that went wrong with it."""
_STOPPED: Final = 130
"""128 and the number of SIGINT, as shells say it."""
_PIPE_CLOSED: Final = 141
"""128 and the number of SIGPIPE, as shells say it."""
_PACIFIED: Final = "PacifyFlushWrapper"
"""The output that click puts in the place of one that nobody reads; it ends with 1 then."""
_ALONE: Final = "NoArgsIsHelpError"
"""A group that was named alone: it shows what it has."""
_WRONG_USE: Final = cast(type[typer.BadParameter], typer.BadParameter.__mro__[1])
"""Typer brings this class of click, and has no name of its own for it."""


def build(arguments: Sequence[str] = ()) -> typer.Typer:
    """The command with its sub-commands: the one that `arguments` begin with, where this package
    brings it; else every one that is installed."""
    app = typer.Typer(
        name="sie",
        help="An event-sourced inference cluster: encode, score, extract.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    for point in _points(arguments[0] if arguments else ""):
        command = point.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=point.name)
        else:
            app.command(point.name, context_settings=_PASSED_ON.get(point.name))(command)
    return app


def _points(wanted: str) -> Iterable[importlib.metadata.EntryPoint]:
    own = [each for each in _own() if each.group == GROUP and each.name == wanted]
    if own:
        return own
    # What every installed package says of itself is read: that takes longer than most commands.
    found = importlib.metadata.entry_points(group=GROUP)
    return sorted(found, key=lambda each: each.name)


def _own() -> Iterable[importlib.metadata.EntryPoint]:
    try:
        return importlib.metadata.distribution(DISTRIBUTION).entry_points
    except importlib.metadata.PackageNotFoundError:
        return ()


def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say the version, and end.", is_eager=True)
    ] = False,
) -> None:
    """An event-sourced inference cluster: encode, score, extract."""
    if version:
        typer.echo(version_line())
        raise typer.Exit


def main() -> None:
    """Run the command line of this process."""
    # Without this httpx loads a command line of its own, with all that it draws with.
    sys.modules.setdefault("httpx._main", cast(ModuleType, None))
    _speak_utf8()
    try:
        try:
            _run(_readable(sys.argv[1:]))
        finally:
            # Here a disk that is full is an error like others; at the interpreter's end it is not.
            sys.stdout.flush()
            if type(sys.stdout).__name__ == _PACIFIED:
                raise BrokenPipeError
    except SIEError as error:
        talk(line_of(error))
        sys.exit(1 if sys.argv[1] in _RUN else exit_status(error))
    except _WRONG_USE as error:
        if type(error).__name__ == _ALONE:
            error.show()
            sys.exit(error.exit_code)
        message = " ".join(error.format_message().split())
        _fail(_advised(message, error.ctx), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(_STOPPED)
    except BrokenPipeError:
        # Whoever read from us has enough. What is not written yet goes nowhere, without a word.
        _drop_output()
        sys.exit(_PIPE_CLOSED)
    except OSError as error:
        _drop_output()
        talk(line_of_os(error))
        sys.exit(1)


def _advised(message: str, context: Any) -> str:
    """A message about a wrong command line, with what to type and where it stands."""
    from sie_cli.show.habits import habit_of  # noqa: PLC0415 - a right command line needs none

    if habit := habit_of(sys.argv[1:], message):
        message = f"{message.rstrip('.')}: {habit}"
    more = f" (`{context.command_path} --help` tells more)" if context is not None else ""
    return message + more


def _readable(arguments: Sequence[str]) -> Sequence[str]:
    """The same. Ends the process for bytes that are no UTF-8, which the interpreter escapes."""
    for word in arguments:
        if any("\ud800" <= each <= "\udfff" for each in word):
            _fail(f"{word[:60]!r} is no UTF-8, and every name is", 2)
    return arguments


def _run(arguments: Sequence[str]) -> None:
    if arguments == ["--version"]:
        sys.stdout.write(version_line() + "\n")
    elif not arguments:
        build(_completed())()
    else:
        sys.exit(build(arguments)(standalone_mode=False))


def _speak_utf8() -> None:
    """Print UTF-8 whatever the locale: names are anybody's, and JSON knows no other way."""
    # A program whose input or output was closed has none, and no command has to know.
    sys.stdin = sys.stdin or open(os.devnull, encoding="utf-8")  # noqa: SIM115
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower() != "utf-8":
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _drop_output() -> None:
    """Have what is not written yet go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _completed() -> Sequence[str]:
    """The command whose words a shell completes; nothing where it is the command itself."""
    told = os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS") or ""
    return told.split()[1:2] if len(told.split()) > 2 or told.endswith(" ") else ()


def _fail(message: str, status: int) -> NoReturn:
    """Say what is wrong: one line, and below it perhaps the end of a log."""
    talk(f"sie: {message}")
    sys.exit(status)


if __name__ == "__main__":
    main()
