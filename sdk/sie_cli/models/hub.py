"""A repository on the hub: its commit, and its small files, read one by one.

*shell* over one HTTP client and a loop of its own. Speaks the hub's API and loads nothing of it
into this process but bytes. Promises that what cannot be read is told with its cure, and within
seconds where nothing answers. A file that a revision has is never taken for one that it lacks.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import msgspec

from sie_cli.show.progress import progress
from sie_runtime.http.bounded_answers import PLAIN, BoundedClient
from sie_schemas.errors import FixRequest, Later, SIEError
from sie_schemas.malformed import MALFORMED
from sie_sdk.wire.bearer import bearer_of

__all__ = ["HubRevision", "open_revision"]

_ENDPOINT: Final = "https://huggingface.co"
_CONNECT_S: Final = 2.5
"""A hub that is not there is told within 3 s."""
_READ_S: Final = 10.0
"""A hub that took the connection may be slow with an answer."""
_FILE_BYTES_MAX: Final = 64 * 1024**2
"""A tokenizer's vocabulary is the largest of the small files."""
_ANSWER_BYTES_MAX: Final = 2 * _FILE_BYTES_MAX
"""Of any answer: a file that is too long is told as one before."""
_NO_SUCH_RANGE: Final = 416
"""HTTP's status for a part of a file that has no bytes."""
_BRANCH: Final = "main"


class _File(msgspec.Struct):
    rfilename: str
    size: int | None = None


class _Card(msgspec.Struct):
    """The front matter of a repository's README."""

    license: str | list[str] | None = None


class _Answer(msgspec.Struct):
    """The hub's word on a revision, as far as it is read."""

    sha: str
    id: str = ""
    siblings: list[_File] = []
    card: _Card | None = msgspec.field(default=None, name="cardData")


class HubRevision:
    """The files of one commit, as `sie_layouts.facts.Files`. Close it. Not where a loop runs."""

    def __init__(
        self, runner: asyncio.Runner, http: BoundedClient, answer: _Answer, repository: str
    ) -> None:
        self._runner = runner
        self._http = http
        self._sizes = {each.rfilename: each.size or 0 for each in answer.siblings}
        self._contents: dict[str, bytes] = {}
        self._heads: dict[str, bytes] = {}
        self.repository: Final = repository
        """Its present name: another than was asked for where it was renamed."""
        self.commit: Final = answer.sha
        self.license: Final = _license(answer.card)

    def names(self) -> Mapping[str, int]:
        """The bytes of each file; 0 where the hub does not say."""
        return self._sizes

    def read(self, name: str) -> bytes | None:
        """A file's content; None where the revision has none of that name. Raises `SIEError`."""
        if name not in self._sizes:
            return None
        if name not in self._contents:
            self._contents[name] = self._runner.run(self._fetch(name))
        return self._contents[name]

    def head(self, name: str, count: int) -> bytes | None:
        """The first `count` bytes of a file, by a request for no more. Raises `SIEError`."""
        if name not in self._sizes:
            return None
        known = self._heads.get(name, b"")
        if len(known) < count:
            self._heads[name] = self._runner.run(self._fetch(name, count))
        return self._heads[name][:count]

    def close(self) -> None:
        """End its connections."""
        _close(self._runner, self._http)

    async def _fetch(self, name: str, count: int | None = None) -> bytes:
        """The content, or the first `count` bytes of it."""
        size = self._sizes[name] if count is None else count
        try:
            with progress(f"fetching {name}", "bytes") as told:
                return await self._read(name, count, lambda sofar: told(sofar, size))
        except httpx.HTTPError as error:
            raise _unreachable(self._http, error) from error

    async def _read(self, name: str, count: int | None, told: Callable[[int], object]) -> bytes:
        path = f"/{self.repository}/resolve/{self.commit}/{name}"
        asked = {} if count is None else {"range": f"bytes=0-{count - 1}"}
        found = bytearray()
        async with self._http.stream("GET", path, headers=asked) as answer:
            if count is not None and answer.status_code == _NO_SUCH_RANGE:
                return b""
            _check(answer, self.repository, self.commit)
            async for part in answer.aiter_bytes():
                found += part
                told(len(found))
                if count is not None and len(found) >= count:
                    # A hub that knows no ranges sends on: the rest is left there.
                    return bytes(found[:count])
                if len(found) > _FILE_BYTES_MAX:
                    raise FixRequest(
                        f"{name} of {self.repository} has more than {_FILE_BYTES_MAX} bytes, and "
                        "small files alone are read here"
                    )
        return bytes(found)


def open_revision(
    repository: str,
    revision: str = "",
    environ: Mapping[str, str] = os.environ,
    *,
    answer_s: float = _READ_S,
) -> HubRevision:
    """The commit that a branch, tag or commit names. Raises `SIEError` with the cure.

    An answer has `answer_s` seconds for its head, and as many for a body that does not come on.
    """
    if environ.get("HF_HUB_OFFLINE", "0").upper() not in {"", "0", "FALSE", "NO", "OFF"}:
        raise FixRequest(
            "HF_HUB_OFFLINE forbids to ask the hub: unset it, or add a folder with the files"
        )
    endpoint = (environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
    if not endpoint.startswith(("https://", "http://")):
        raise FixRequest(f"HF_ENDPOINT is {endpoint!r}: an address begins with https://")
    token = _token(environ)
    http = BoundedClient(
        body_bytes_max=_ANSWER_BYTES_MAX,
        body_s=answer_s,
        base_url=endpoint,
        headers={**PLAIN, **({"authorization": bearer_of(token)} if token else {})},
        timeout=httpx.Timeout(answer_s, connect=_CONNECT_S),
        follow_redirects=True,
    )
    # One loop for all calls: the connections of the client belong to the loop that made them.
    runner = asyncio.Runner()
    try:
        found = runner.run(
            _opened(http, repository, revision or _BRANCH, min(_CONNECT_S, answer_s))
        )
    except BaseException:
        _close(runner, http)
        raise
    return HubRevision(runner, http, found, found.id or repository)


def _close(runner: asyncio.Runner, http: BoundedClient) -> None:
    with runner:
        runner.run(http.aclose())


async def _opened(http: BoundedClient, repository: str, revision: str, answer_s: float) -> _Answer:
    try:
        # Its first word has to come soon: a person waits.
        answer = await http.get(
            # A branch may have slashes, and a stranger's one may be `../../..`.
            f"/api/models/{repository}/revision/{quote(revision, safe='')}",
            # Without it the hub tells names and no sizes.
            params={"blobs": "true"},
            timeout=answer_s,
        )
    except httpx.HTTPError as error:
        raise _unreachable(http, error) from error
    _check(answer, repository, revision)
    try:
        return msgspec.json.decode(answer.content, type=_Answer)
    except MALFORMED as error:
        raise Later(
            f"{http.base_url} does not answer as a hub does ({error}): correct HF_ENDPOINT"
        ) from error


def _check(answer: httpx.Response, repository: str, revision: str) -> None:
    """Raises `SIEError` for what is no success, with the cure."""
    if answer.is_success:
        return
    code = answer.headers.get("x-error-code", "")
    match answer.status_code, code:
        case 429, _:
            wait_s = answer.headers.get("retry-after", "")
            when = f"in {wait_s} s" if wait_s.isdecimal() else "later"
            raise Later(
                f"the hub limits how often this address may ask: try again {when}, or set HF_TOKEN"
            )
        # Before the statuses: the hub says 401 or 403 for it.
        case _, "GatedRepo":
            raise FixRequest(
                f"{repository} is gated: accept its terms on the hub, and set HF_TOKEN to a token "
                "of that account, here and on the workers"
            )
        case 404, "RevisionNotFound":
            raise FixRequest(
                f"{repository} has no revision {revision}: leave --revision out, or name a branch, "
                "a tag or a commit that it has",
                code="NOT_FOUND",
            )
        # Who shows no token gets 401 for what is not there, too: the hub does not tell them
        # apart.
        case ((401 | 404), _):
            raise FixRequest(
                f"there is no {repository} on the hub, or it is private: correct the id, or set "
                "HF_TOKEN to a token that may read it",
                code="NOT_FOUND",
            )
        case status, _ if status >= 500:
            raise Later(f"the hub fails ({status}): try again later")
        case status, _:
            raise FixRequest(f"the hub refuses {repository} ({status} {code}): check HF_TOKEN")


def _unreachable(http: BoundedClient, error: httpx.HTTPError) -> SIEError:
    return Later(
        f"the hub at {str(http.base_url).rstrip('/')} does not answer ({type(error).__name__}): "
        "check the network, set HF_ENDPOINT to a mirror, or add a folder with the files"
    )


def _token(environ: Mapping[str, str]) -> str:
    if environ.get("HF_TOKEN"):
        return environ["HF_TOKEN"].strip()
    home = Path(environ.get("HF_HOME") or os.path.expanduser("~/.cache/huggingface"))
    try:
        return Path(environ.get("HF_TOKEN_PATH") or home / "token").read_text().strip()
    except OSError:
        return ""


def _license(card: _Card | None) -> str:
    said = card.license if card is not None else None
    return ", ".join(said) if isinstance(said, list) else said or ""
