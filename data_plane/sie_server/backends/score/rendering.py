"""A chat template is rendered where it can do no harm: in a copy of this process that soon ends.

*shell* over one child. A template is a program of a model's author, in a language with loops,
powers and texts of any length. Promises that its memory and its time are bounded before it begins.
The copy has the library already: another process takes two seconds to import it. It runs Python
alone, no thread, no device and no library that has threads of its own.
"""

import json
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from transformers.utils.chat_template_utils import render_jinja_template

__all__ = ["NotRendered", "rendered"]

_MEMORY_SPARE: Final = 256 * 1024**2
"""A template, its syntax tree and what it renders take a few MiB."""
_CPU_S: Final = 1
"""Known templates take milliseconds."""
_TIME_S: Final = 60.0
"""On a machine that is busy; processor time has a bound of its own."""
_CHARS_MAX: Final = 1_000_000
"""Of one text: it stands around each pair, and no model reads as much."""
_SHOWN_MAX: Final = 300
"""A stranger's text in a message of ours."""


class NotRendered(Exception):
    """The reason is the message."""


def rendered(
    template: str, values: Mapping[str, Any], conversations: Sequence[Sequence[Mapping[str, Any]]]
) -> list[str]:
    """The text of each conversation. Raises `NotRendered`."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        # Of threads that the copy does not have: it takes no lock of theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _tell(writing, template, values, conversations)
    os.close(writing)
    try:
        told = _heard(reading)
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not told:
        raise NotRendered("it wants more time or memory than words around a pair take")
    found: dict[str, Any] = json.loads(told)
    if "reason" in found:
        raise NotRendered(str(found["reason"]))
    return [str(text) for text in found["texts"]]


def _tell(writing: int, *asked: Any) -> None:
    """Of the copy. It never returns: what is behind this is the parent's."""
    status = 1
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        _bound(resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY_SPARE)
        _bound(resource.RLIMIT_CORE, 0)
        _bound(resource.RLIMIT_CPU, _CPU_S)
        data = json.dumps(_told(*asked)).encode()
        while data:
            data = data[os.write(writing, data) :]
        status = 0
    finally:
        os._exit(status)


def _told(template: str, values: Mapping[str, Any], conversations: Any) -> dict[str, Any]:
    try:
        made: Any = render_jinja_template(conversations, chat_template=template, **values)
    # A stranger's program: whatever goes wrong is a reason not to take it.
    except Exception as error:
        return {"reason": (str(error) or type(error).__name__)[:_SHOWN_MAX]}
    texts: list[str] = made[0]
    if max(map(len, texts)) > _CHARS_MAX:
        return {"reason": f"it makes more than {_CHARS_MAX} characters of a short pair"}
    return {"texts": texts}


def _heard(reading: int) -> bytes:
    """All that the copy says; nothing where it is not through in time."""
    ends_at = time.monotonic() + _TIME_S
    found = bytearray()
    while select.select([reading], [], [], max(0.0, ends_at - time.monotonic()))[0]:
        part = os.read(reading, 65536)
        if not part:
            return bytes(found)
        found += part
    return b""


def _bound(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))
