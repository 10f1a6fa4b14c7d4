"""The synchronous clients of the SDK, made of the asynchronous ones.

`python -m tests.support.sync_clients` writes them. A change is made to the asynchronous client: the
two differ in how they pause, and in nothing that they say.
"""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

__all__ = ["CLIENTS", "made"]

_ROOT: Final = Path(__file__).resolve().parents[2]
_SDK: Final = _ROOT / "sdk/sie_sdk"
CLIENTS: Final[Mapping[Path, Path]] = {
    _SDK / "client/sync.py": _SDK / "client/async_.py",
    _SDK / "config/client.py": _SDK / "config/async_client.py",
}
"""Each synchronous client, and the one that it is made of."""
_TOLD: Final = "Belongs to one event loop; the synchronous client is made of this module."
_WORDS: Final = (
    (re.compile(r"The asynchronous client"), "The synchronous client"),
    (
        re.compile(re.escape(_TOLD)),
        "May be used from several threads. Made of the asynchronous one.",
    ),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\basync (?=def|with|for)"), ""),
    (re.compile(r"\bimport asyncio\n(?=(.*\n)*?import time\n)"), ""),
    (re.compile(r"\bimport asyncio\n"), "import time\n"),
    (re.compile(r"\basyncio\.sleep\b"), "time.sleep"),
    (re.compile(r"__a(enter|exit)__"), r"__\1__"),
    (re.compile(r"\ba(close|closing|read|iter_bytes)\b"), r"\1"),
    (re.compile(r"\b(SIE)?Async(?=Iterator|Client|ConfigClient|LeaseKeeper)"), r"\1"),
    (re.compile(r"\bin_tasks\b"), "in_threads"),
    (re.compile(r"\bPerLoop\b"), "PerProcess"),
    (re.compile(r"\bper_loop\b"), "per_process"),
    (re.compile(r"\bbound(ing|ed)_async\b"), r"bound\1_sync"),
    (re.compile(r"`async with`"), "`with`"),
    (re.compile(r",\s+nor for two event loops\. A lease [^.]+"), ""),
)
_LEFT: Final = re.compile(r".*(?:\basync\b|\bawait\b|asyncio|Async|\bevent\s+loop).*")


def made(source: str) -> str:
    """The synchronous client of an asynchronous one's text, formatted. Raises `ValueError` where
    something asynchronous would be left in it."""
    assert _TOLD in " ".join(source.split()), "the docstring says where it is used"
    for pattern, word in _WORDS:
        source = pattern.sub(word, source)
    if (left := _LEFT.search(source)) is not None:
        raise ValueError(f"no word for: {left.group().strip()}")
    sorted_ = _ruff("check", "--select", "I", "--fix", "--quiet", text=source)
    return _ruff("format", text=sorted_)


def _ruff(*arguments: str, text: str) -> str:
    command = [
        sys.executable,
        "-m",
        "ruff",
        *arguments,
        "-",
        "--stdin-filename",
        "sdk/sie_sdk/client/sync.py",
    ]
    return subprocess.run(
        command, input=text, capture_output=True, text=True, check=True, cwd=_ROOT
    ).stdout


if __name__ == "__main__":
    for path, source in CLIENTS.items():
        path.write_text(made(source.read_text()))
