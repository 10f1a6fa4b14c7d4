"""Commands as they show on a terminal, and what it shows as a page for a picture."""

import io
import os
import pty
import subprocess
from collections.abc import Collection, Sequence

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

__all__ = ["COLUMNS", "on_terminal", "terminal_page"]

COLUMNS = 110
"""Characters of a line."""


def on_terminal(
    *command: str, stdout: bool = False, ends: Collection[int] = (0,)
) -> tuple[str, str]:
    """The stdout of a command that ends with a status of `ends`, and what its terminal gets: its
    stderr, and with `stdout` that too."""
    ours, theirs = pty.openpty()
    try:
        child = subprocess.Popen(
            command,
            stdout=theirs if stdout else subprocess.PIPE,
            stderr=theirs,
            text=True,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)},
        )
        os.close(theirs)
        seen = b""
        # A terminal ends with an error where all have closed it.
        while part := _read(ours):
            seen += part
        out, _ = child.communicate(timeout=60)
    finally:
        os.close(ours)
    assert child.returncode in ends, seen
    return out or "", seen.decode().replace("\r\n", "\n")


def terminal_page(shown: Sequence[tuple[str, str]]) -> str:
    """HTML of a terminal after commands, each with what it got."""
    console = Console(record=True, file=io.StringIO(), width=COLUMNS, color_system="truecolor")
    for command, seen in shown:
        console.print(Text(f"$ {command}", style="bold"))
        console.print(Text.from_ansi(seen.rstrip()), end="\n\n")
    return console.export_html(
        theme=MONOKAI,
        inline_styles=True,
        code_format=(
            '<html lang="en"><title>sie</title><body style="margin:0;background:{background};'
            'color:{foreground}"><pre style="margin:16px;font:14px/1.4 monospace">{code}</pre>'
        ),
    )


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""
