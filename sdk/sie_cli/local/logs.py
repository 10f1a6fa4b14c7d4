"""The lines that `sie logs` shows: those of all processes of a local cluster, in order of time.

*shell.* Reads the files in the data folder's `logs`. A line that is no JSON (the broker's, a
traceback) goes with the time of the line before it. So it stays where it was written. Changes
nothing.
"""

import heapq
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["LEVELS", "Line", "Wanted", "read_lines", "rendered"]

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
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

    def takes(self, line: Line) -> bool:
        """True if a line is shown."""
        return LEVELS.index(line.level) >= LEVELS.index(self.level) and self.text in line.text

    def takes_role(self, role: str) -> bool:
        """True if a process's lines are shown."""
        return not self.roles or role in self.roles or role.partition("-")[0] in self.roles


def read_lines(folder: Path, wanted: Wanted) -> Iterator[Line]:
    """The lines that are wanted, oldest first. Each file is in order already."""
    files = [path for path in sorted(folder.glob("*.log")) if wanted.takes_role(path.stem)]
    merged = heapq.merge(*(_parsed(path) for path in files), key=lambda line: line.ts)
    return (line for line in merged if wanted.takes(line))


def rendered(line: Line) -> str:
    """A line for a person."""
    if not line.fields:
        return f"{line.ts:<24} {line.role:<10} {line.text}"
    more = " ".join(f"{name}={value}" for name, value in line.fields.items() if name not in _PLAIN)
    message = f"{line.fields.get('msg', '')} {more}".rstrip()
    return f"{line.ts:<24} {line.role:<10} {line.level:<8} {message}"


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
