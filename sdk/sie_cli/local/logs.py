"""The lines that `sie logs` shows: those of all processes of a local cluster, in order of time.

*shell.* Reads the files in the data folder's `logs`. A line that is no JSON (the broker's, a
traceback) goes with the time of the line before it. So it stays where it was written. Changes
nothing.
"""

import heapq
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import typer

from sie_cli.show.printing import Form, in_colour, print_lines, print_value, talk
from sie_core.counted import counted
from sie_core.nearest import advice
from sie_schemas.errors import FixRequest, visible

__all__ = [
    "LEVELS",
    "Following",
    "Line",
    "Wanted",
    "in_words",
    "read_lines",
    "rendered",
    "show_logs",
]

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_LOOK_S: Final = 0.2
"""Between two looks for new lines."""
_COLOURS: Final = {"warning": "yellow", "error": "red", "critical": "red"}
_PLAIN: Final = frozenset({"ts", "level", "role", "id", "logger", "msg"})


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """One line. `fields` is empty where it was no JSON."""

    ts: str
    role: str
    number: int
    text: str
    fields: dict[str, Any]

    @property
    def level(self) -> str:
        """Its level; `info` where it has none of ours."""
        level = self.fields.get("level")
        return level if level in LEVELS else "info"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The lines to show: these roles (`worker` means every worker), a level, a text in them."""

    roles: tuple[str, ...] = ()
    level: str = "debug"
    text: str = ""
    since: str = ""
    """A time as the lines have it: only those from it on."""

    def takes(self, line: Line) -> bool:
        """True if a line is shown."""
        return (
            line.ts >= self.since
            and LEVELS.index(line.level) >= LEVELS.index(self.level)
            and self.text in line.text
        )

    def takes_role(self, role: str) -> bool:
        """True if a process's lines are shown."""
        return not self.roles or role in self.roles or role.partition("-")[0] in self.roles


def read_lines(folder: Path, wanted: Wanted) -> Iterator[Line]:
    """The lines that are wanted, oldest first. Each file is in order already."""
    files = [path for path in sorted(folder.glob("*.log")) if wanted.takes_role(path.stem)]
    merged = heapq.merge(*(_parsed(path) for path in files), key=lambda line: line.ts)
    return (line for line in merged if wanted.takes(line))


class Following:
    """The lines that come after those that were there: each file from where it was read to.

    A file that became shorter was begun anew, and is read from its beginning.
    """

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self._folder = folder
        self._wanted = wanted
        self._read_to = {path: path.stat().st_size for path in self._files()}
        self._last_ts = ""

    def _files(self) -> list[Path]:
        found = sorted(self._folder.glob("*.log"))
        return [path for path in found if self._wanted.takes_role(path.stem)]

    def more(self) -> list[Line]:
        """The whole lines since the last call, in order of time."""
        found = [line for path in self._files() for line in self._more_of(path)]
        return [line for line in sorted(found) if self._wanted.takes(line)]

    def _more_of(self, path: Path) -> Iterator[Line]:
        start = self._read_to.get(path, 0)
        with path.open("rb") as file:
            if file.seek(0, 2) < start:
                start = 0
            file.seek(start)
            data = file.read()
        # Half a line is one that is still written.
        whole = data[: data.rfind(b"\n") + 1]
        self._read_to[path] = start + len(whole)
        # Not where else a line might end, as U+2028 does: JSON holds it as it is.
        texts = whole.decode(errors="replace").split("\n")[:-1]
        for line in _lines(path.stem, texts):
            # A line without a time of its own goes with what was shown last.
            self._last_ts = max(self._last_ts, line.ts)
            yield replace(line, ts=line.ts or self._last_ts)


def show_logs(folder: Path, wanted: Wanted, count: int, form: Form, *, follows: bool) -> None:
    """Print the newest lines; then go on until somebody stops it. Raises `FixRequest`."""
    if not folder.is_dir():
        raise FixRequest(f"{folder} is not there: give --data with the folder of a cluster")
    _check_roles(folder, wanted.roles)
    # Before the files are read: a line that is written meanwhile comes twice, and is never missed.
    following = Following(folder, wanted)
    newest: deque[Line] = deque(maxlen=count)
    total = 0
    for line in read_lines(folder, wanted):
        newest.append(line)
        total += 1
    if total > count:
        talk(f"the newest {count} of {counted(total, 'line')}; -n shows more")
    for line in newest:
        _print_line(line, form)
    with suppress(KeyboardInterrupt):
        while follows:
            for line in following.more():
                _print_line(line, form)
            time.sleep(_LOOK_S)


def _check_roles(folder: Path, named: Iterable[str]) -> None:
    """Raises `FixRequest` for a name that no process has: silence would say that all is well."""
    roles = sorted(path.stem for path in folder.glob("*.log"))
    for name in named:
        if not any(Wanted((name,)).takes_role(role) for role in roles):
            raise FixRequest(f"no process is called {name!r}: {advice(name, roles)}")


def _print_line(line: Line, form: Form) -> None:
    """Print a line: for a person, whole as it was written, or a part of it."""
    if form == Form.JSON:
        typer.echo(visible(line.text))
    elif form.is_whole:
        print_value(line.fields or {"role": line.role, "ts": line.ts, "msg": line.text}, form)
    elif form == Form.NAME:
        print_lines([line.role])
    else:
        text, colour = rendered(line), _COLOURS.get(line.level)
        shown = visible(text)
        typer.echo(typer.style(shown, fg=colour) if colour and in_colour() else shown)


def rendered(line: Line) -> str:
    """A line for a person."""
    if not line.fields:
        return f"{line.ts:<24} {line.role:<10} {line.text}"
    return f"{line.ts:<24} {line.role:<10} {line.level:<8} {_message(line.fields)}"


def in_words(text: str) -> str:
    """The message of a line as it was written, and what stands beside it; one line of its own."""
    fields = _fields(text)
    # Of a trace the last line says what it was.
    lines = (_message(fields) if fields else text).strip().splitlines()
    return f"{lines[0]} … {lines[-1]}" if len(lines) > 1 else "".join(lines)


def _message(fields: Mapping[str, Any]) -> str:
    more = " ".join(f"{name}={value}" for name, value in fields.items() if name not in _PLAIN)
    return f"{fields.get('msg', '')} {more}".strip()


def _parsed(path: Path) -> Iterator[Line]:
    with path.open(errors="replace") as file:
        yield from _lines(path.stem, file)


def _lines(role: str, texts: Iterable[str]) -> Iterator[Line]:
    ts = ""
    for number, text in enumerate(texts):
        fields = _fields(text)
        # Never back in time: the merge relies on it, and a clock may be set.
        ts = max(ts, str(fields.get("ts", "")))
        yield Line(ts, role, number, text.rstrip("\n"), fields)


def _fields(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
