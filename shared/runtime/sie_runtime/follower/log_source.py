"""The sources that a follower fetches from: the writer's HTTP surface, else the stream.

*shell.* Gives back verified entries and snapshots, or raises. A snapshot can only come from the
writer; entries from either, so that an untrimmed stream is enough to follow without the writer.
"""

import asyncio
import logging
import sys
from collections.abc import Awaitable
from typing import Final

import httpx

from sie_core.chain import Position
from sie_runtime.broker.bus import Bus, BusUnavailable
from sie_runtime.follower.stored_log import StoredLog, stored_logs
from sie_runtime.http.bounded_answers import PLAIN, BoundedClient
from sie_runtime.reach import Reach, why_unreached
from sie_runtime.tls import TlsSettings, connecting_context
from sie_schemas import snapshot as snapshots
from sie_schemas.entry import Entry, EntryCorrupt, Stub, parse_envelope
from sie_schemas.errors import SIEError
from sie_schemas.fleet import HEAD_DECODER, Head
from sie_schemas.malformed import MALFORMED
from sie_schemas.snapshot import Snapshot, SnapshotCorrupt

__all__ = ["LogSource", "RangeGone", "SourceFailed"]

_LOG: Final = logging.getLogger(__name__)
_ANSWER_BYTES_MAX: Final = 1024 * 1024 * 1024
"""A snapshot of 100,000 models has an eighth of that. One that is larger is possible, since each
entity may have a megabyte. No replica has the memory to read it."""
_NO_RIGHT: Final = frozenset({401, 403})
_IS_GATEWAY: Final = b"a gateway"
"""A gateway says so where it sends a reader of the log on to sie-config."""
_CUT: Final = {
    False: "If it speaks TLS, its address begins with https://; else something else has that port",
    True: "If it asks for certificates, see tls_cert_file; else something else has that port",
}
_JSON: Final = {"content-type": "application/json"}
_NDJSON: Final = {"accept": "application/x-ndjson"}


class SourceFailed(Exception):
    """Nothing could be fetched now; the message says from where and why."""


class RangeGone(Exception):
    """The writer does not serve these entries any more: a snapshot is the way."""


class LogSource:
    """One HTTP client and one bus. Owner: a follower."""

    def __init__(
        self,
        config_url: str,
        bus: Bus,
        *,
        timeout_s: float,
        page_entries: int,
        token: str | None = None,
        tls: TlsSettings | None = None,
        client: httpx.AsyncClient | None = None,
    ) -> None:
        """Without `tls` the CAs of the system are trusted."""
        context = connecting_context(tls) if tls is not None else None
        headers = {**PLAIN, **({"authorization": f"Bearer {token}"} if token else {})}
        self._http = client or BoundedClient(
            body_bytes_max=_ANSWER_BYTES_MAX,
            body_s=timeout_s,
            base_url=config_url,
            timeout=timeout_s,
            headers=headers,
            verify=context if context is not None else True,
        )
        self._url = config_url
        self._bus = bus
        self.reach: Final = Reach("sie-config", "config_url")
        self._timeout_s = timeout_s
        self._page_entries = page_entries
        self._refused = False

    async def snapshot(self) -> Snapshot:
        """The writer's snapshot. Raises `SourceFailed`."""
        response = await self._get("/v1/configs/export", {}, None)
        try:
            # A large one takes a while to read, and the loop has requests to answer.
            return await asyncio.to_thread(snapshots.decode, response.content)
        except SnapshotCorrupt as error:
            raise SourceFailed(f"the writer's snapshot cannot be read: {error}") from error

    async def entries(self, log_id: str, after: int, until: int) -> tuple[Entry, ...]:
        """Entries after `after`, in order, perhaps not up to `until`.

        Raises `SourceFailed` or `RangeGone`.
        """
        try:
            return await self._entries_from_writer(log_id, after, until)
        except SourceFailed as error:
            try:
                found = await self.entries_from_stream(log_id, after, until)
            except SIEError:
                raise error from None
            if not found:
                raise
            return found

    async def entries_from_stream(self, log_id: str, after: int, until: int) -> tuple[Entry, ...]:
        """Entries by stream sequence; ends early at a stub. Raises `BusUnavailable`."""
        until = min(until, after + self._page_entries)
        found: list[Entry] = []
        for data in await StoredLog(self._bus, log_id).read_range(after, until):
            try:
                entry = parse_envelope(data)
            except EntryCorrupt as error:
                raise BusUnavailable(f"the stream holds what is not an entry: {error}") from error
            if isinstance(entry, Stub):
                break
            found.append(entry)
        return tuple(found)

    async def whole_log_from_stream(self) -> tuple[Entry, ...]:
        """A log's first entries, where a stream holds it from epoch 1: to begin without the writer.

        Raises `SourceFailed`.
        """
        try:
            whole = [
                log_id
                for log_id in await stored_logs(self._bus)
                if await StoredLog(self._bus, log_id).read_range(0, 1)
            ]
            if len(whole) != 1:
                raise SourceFailed(f"{len(whole)} streams hold a log from its first epoch")
            return await self.entries_from_stream(whole[0], 0, sys.maxsize)
        except SIEError as error:
            raise SourceFailed(error.message) from error

    async def head(self, position: Position | None, wait_s: float) -> Head:
        """The writer's head, at once when it differs from `position`. Raises `SourceFailed`."""
        query = {"wait": f"{wait_s:g}"}
        if position is not None:
            query |= {
                "log_id": position.log_id,
                "after": str(position.epoch),
                "digest": position.digest,
            }
        timeout = httpx.Timeout(self._timeout_s, read=wait_s + self._timeout_s)
        return _head(await self._get("/v1/configs/epoch", query, timeout))

    async def report(self, data: bytes) -> Head:
        """Send a report to the writer; gives its head. Raises `SourceFailed`."""
        asked = self._http.post("/v1/configs/replicas", content=data, headers=_JSON)
        response = await self._answer("the report", asked)
        if response.status_code != httpx.codes.OK:
            self._note_refusal(response)
            raise SourceFailed(f"the report: status {response.status_code}")
        self._refused = False
        return _head(response)

    def _note_refusal(self, response: httpx.Response) -> None:
        """Say once that this replica's token is no replica's: else nobody would ever see why."""
        if response.status_code in _NO_RIGHT and not self._refused:
            self._refused = True
            _LOG.warning("sie-config takes no report of this replica: %s", response.text[:500])

    async def close(self) -> None:
        """Close the HTTP client."""
        await self._http.aclose()

    async def _entries_from_writer(self, log_id: str, after: int, until: int) -> tuple[Entry, ...]:
        query = {
            "log_id": log_id,
            "after": str(after),
            "limit": str(min(self._page_entries, until - after)),
        }
        response = await self._get("/v1/configs/log", query, None, headers=_NDJSON)
        found: list[Entry] = []
        for line in response.content.splitlines():
            try:
                entry = parse_envelope(line)
            except EntryCorrupt as error:
                raise SourceFailed(f"the writer sent what is not an entry: {error}") from error
            if isinstance(entry, Stub):
                raise SourceFailed("the writer sent a stub")
            found.append(entry)
        return tuple(found)

    async def _get(
        self,
        path: str,
        query: dict[str, str],
        timeout: httpx.Timeout | None,  # noqa: ASYNC109
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        if timeout is None:
            asked = self._http.get(path, params=query, headers=headers)
        else:
            asked = self._http.get(path, params=query, timeout=timeout)
        response = await self._answer(path, asked)
        if response.status_code in {httpx.codes.OK, httpx.codes.GONE}:
            self.reach.answered()
        if response.status_code == httpx.codes.GONE:
            raise RangeGone(path)
        if response.status_code != httpx.codes.OK:
            raise self._failed(f"{path}: status {response.status_code}{self._whose(response)}")
        return response

    async def _answer(self, what: str, asked: Awaitable[httpx.Response]) -> httpx.Response:
        """The answer to a call, whatever its status. Raises `SourceFailed`."""
        try:
            return await asked
        except (httpx.HTTPError, OSError, AttributeError) as error:
            # A connection that is reset while it is made shows as an AttributeError: below httpx,
            # anyio asks the socket for its peer, and it has none any more.
            reason = why_unreached(error, self._url)
            if isinstance(error, httpx.RemoteProtocolError | httpx.ReadError):
                reason += f". {_CUT[self._url.startswith('https:')]}"
            raise self._failed(f"{what}: {reason}") from error

    def _failed(self, reason: str) -> SourceFailed:
        # A path says nothing about the cause, and each has its own: one word is told of one cause.
        self.reach.failed(reason.partition(": ")[2])
        return SourceFailed(reason)

    def _whose(self, response: httpx.Response) -> str:
        """Words for an answer that no sie-config gives."""
        match response.status_code:
            case httpx.codes.UNAUTHORIZED | httpx.codes.FORBIDDEN:
                return f" of {self._url}, which does not take config_token: {response.text[:500]}"
            case httpx.codes.BAD_REQUEST | httpx.codes.NOT_FOUND if _IS_GATEWAY in response.content:
                return (
                    f". What answers at {self._url} is a gateway: give the address of sie-config"
                    " (its port is 8081 unless set)"
                )
            case httpx.codes.NOT_FOUND:
                return f". What answers at {self._url} is no sie-config: correct its port and path"
            case _:
                return f" of {self._url}"


def _head(response: httpx.Response) -> Head:
    try:
        return HEAD_DECODER.decode(response.content)
    except (ValueError, *MALFORMED) as error:
        raise SourceFailed(f"the writer's head cannot be read: {error}") from error
