"""The hub's first word: asked before a fetch, since the hub's library waits half a minute for one.

*shell.* One request of its own for each fetch, in a thread that is left behind where even the
look-up of a name hangs. An answer without end is left too: its connection is closed. Says if
anything answers, which files a revision has, and if the hub asks to be left alone for a while.
"""

import contextlib
import queue
import threading
from typing import Final

import httpx
import msgspec
from huggingface_hub import constants, get_token

from sie_runtime.http.bounded_answers import ask
from sie_schemas.documents import HubSource
from sie_schemas.malformed import MALFORMED
from sie_server.failures import load_failed
from sie_server.weights.hub_tokens import token_place

__all__ = ["files_of"]

_ANSWER_S: Final = 2.5
"""A client waits for its first answer meanwhile; a hub that is there answers in a tenth of it."""
_ANSWER_BYTES_MAX: Final = 32 * 1024**2
"""A repository of 100,000 files is told in half of it."""
_TOO_MANY: Final = 429
"""HTTP's status for it."""


class _File(msgspec.Struct):
    rfilename: str


class _Revision(msgspec.Struct):
    """The hub's word on a revision, as far as it is read."""

    siblings: list[_File] = []


def files_of(
    source: HubSource, token: str | None, *, answer_s: float = _ANSWER_S
) -> frozenset[str] | None:
    """The names of a revision's files; none where the hub answers anything else.

    `token` is the source's own; without one the hub's library has the one of this process.

    None where it does not answer within `answer_s`; without asking, where HF_HUB_OFFLINE says so.
    Raises MODEL_LOAD_FAILED if the hub limits our requests.
    """
    if constants.is_offline_mode():
        return None
    heard: queue.SimpleQueue[httpx.Response | None] = queue.SimpleQueue()
    threading.Thread(
        target=_ask, args=(source, token, answer_s, heard), name="hub-reach", daemon=True
    ).start()
    try:
        answer = heard.get(timeout=answer_s)
    except queue.Empty:
        return None
    if answer is None:
        return None
    if answer.status_code == _TOO_MANY:
        wait_s = answer.headers.get("retry-after", "")
        raise load_failed(
            f"the hub limits how often this address may ask ({_TOO_MANY}): try again "
            f"{f'in {wait_s} s' if wait_s.isdecimal() else 'later'}, or set "
            f"{token_place(source)} to a token, which may ask more often"
        )
    try:
        found = msgspec.json.decode(answer.content, type=_Revision)
    except MALFORMED:
        return frozenset()
    return frozenset(each.rfilename for each in found.siblings)


def _ask(
    source: HubSource,
    token: str | None,
    answer_s: float,
    heard: "queue.SimpleQueue[httpx.Response | None]",
) -> None:
    token = token or get_token()
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"{constants.ENDPOINT}/api/models/{source.id}/revision/{source.revision}"
    answer: httpx.Response | None = None
    # A proxy's address, or ours, may be one that httpx cannot use: the hub's library says more.
    with contextlib.suppress(httpx.HTTPError, httpx.InvalidURL, ValueError):
        answer = ask(
            "GET",
            url,
            headers=headers,
            body_bytes_max=_ANSWER_BYTES_MAX,
            within_s=answer_s,
            verify=True,
            follow_redirects=True,
        )
    heard.put(answer)
