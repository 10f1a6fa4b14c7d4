"""The promises of the lock files, judged against pyproject.toml and what is installed here."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["LOCKS", "Locked", "disagreements", "entries", "locked", "project"]

ROOT = Path(__file__).resolve().parents[2]
LOCKS = {
    "dev": ("dev",),
    "config": ("config", "cli", "traces"),
    "gateway": ("gateway", "traces"),
    "worker": ("worker", "traces"),
    "server": ("server", "cli", "onnx", "spacy", "traces"),
}
"""The extras that each file stands for; torch has files of its own."""
_ENTRY = re.compile(
    r"^(\S+)==(\S+)(?: ; (.+?))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)"
)


@dataclass(frozen=True)
class Locked:
    """One entry of a lock file."""

    name: str
    version: str
    marker: str


def locked(*files: str) -> list[Locked]:
    """Every entry of these files. Raises where a line is no entry with its hashes."""
    return [each for file in files for each in entries(ROOT / "locks" / f"{file}.txt")]


def entries(path: Path) -> list[Locked]:
    """Every entry of one file. Raises as `locked` does."""
    found = []
    text = path.read_text()
    while text:
        entry = _ENTRY.match(text)
        assert entry is not None, f"{path.name}: {text.partition(chr(10))[0]!r} is no entry"
        found.append(Locked(canonicalize_name(entry[1]), entry[2], entry[3] or ""))
        text = text[entry.end() :]
    return found


def project() -> dict[str, Any]:
    """The table of the distribution in pyproject.toml."""
    told: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return told


def disagreements(told: Mapping[str, Any], lock: str) -> Iterator[str]:
    """The requirements of pyproject.toml that a lock does not hold, or holds in another version."""
    torch = ("torch-cuda",) if lock in ("dev", "server") else ()
    held: dict[str, set[str]] = {}
    for each in locked(lock, *torch):
        held.setdefault(each.name, set()).add(each.version)
    seen = set()
    waiting = [*_wanted(told, LOCKS[lock])]
    while waiting:
        wanted = waiting.pop()
        name = canonicalize_name(wanted.name)
        versions = held.get(name)
        if versions is None:
            yield f"{wanted} is not in {lock}.txt"
            continue
        yield from (
            f"{lock}.txt has {name} {version}, wanted is {wanted}"
            for version in versions
            if not wanted.specifier.contains(version, prereleases=True)
        )
        key = (name, frozenset(wanted.extras))
        if key not in seen:
            seen.add(key)
            waiting += _asked_by(name, wanted.extras)
    drawn_in = {name for name, _ in seen}
    here = default_environment()
    for each in locked(lock):
        applies = not each.marker or Requirement(f"x; {each.marker}").marker.evaluate(here)  # type: ignore[union-attr, arg-type]
        if applies and each.name not in drawn_in and not _builds(each.name, lock):
            yield f"{lock}.txt holds {each.name}, which nothing asks for"


def _wanted(told: Mapping[str, Any], extras: tuple[str, ...]) -> Iterator[Requirement]:
    """The requirements of the distribution with these extras, other extras of its own unfolded."""
    yield from map(Requirement, told["dependencies"])
    for extra in extras:
        for text in told["optional-dependencies"][extra]:
            wanted = Requirement(text)
            if wanted.name == told["name"]:
                yield from _wanted(told, tuple(wanted.extras))
            else:
                yield wanted


def _asked_by(name: str, extras: set[str]) -> Iterator[Requirement]:
    """The requirements of an installed package on this machine."""
    for text in metadata.requires(name) or ():
        wanted = Requirement(text)
        marker = wanted.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield wanted


def _builds(name: str, lock: str) -> bool:
    """True for what makes a wheel of the checkout, which lies in `dev` too."""
    return lock == "dev" and name in {each.name for each in locked("build")}
