"""The asynchronous client of sie-config.

*shell.* Owns one pool of connections. Sends what `config.calls` builds, tries again where the table
of errors says that it helps, and gives back the JSON of the answer.
Belongs to one event loop; the synchronous client is made of this module.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import httpx

from sie_schemas.api.log import (
    HeadWithWriter,
    LetterRun,
    LetterShown,
    Replicas,
    Verified,
    Waited,
)
from sie_schemas.api.past import (
    Audit,
    BlamedField,
    Difference,
    EntityShown,
    EntryEnvelope,
    HistoryRow,
    Resolved,
)
from sie_schemas.api.writes import DryRun, EntityDeleted, EntityWritten, GroupWritten
from sie_schemas.errors import SIEError
from sie_sdk.attempts import Attempts
from sie_sdk.config import calls
from sie_sdk.config.answers import Listing, read_config_answer
from sie_sdk.config.calls import PLAIN, Kind, Terms, Until
from sie_sdk.config.feed import FEED_PATH, FeedEvent, FeedReader, feed_headers
from sie_sdk.wire.bounded_answers import EVENTS
from sie_sdk.wire.bounded_answers import PLAIN as PLAIN_BYTES
from sie_sdk.wire.bounded_async import bounding_async
from sie_sdk.wire.call import Call, base_url_of
from sie_sdk.wire.per_loop import PerLoop, Unshared
from sie_sdk.wire.transport import (
    ANSWER_BYTES_MAX,
    EXCHANGE_FAILURES,
    Tls,
    connection_error,
    limits_of,
    timeout_of,
    verify_of,
)

__all__ = ["SIEAsyncConfigClient"]

_PAGE: Final = 1000
"""Entities of one answer: a registry of ten thousand is ten requests."""
_MARGIN_S: Final = 10.0
"""The seconds that an answer that waits may take beyond what it was told to wait."""


class SIEAsyncConfigClient(Unshared):
    """Reads and changes the configuration of a cluster. Close it, or use `async with`.

    The terms of a write are `Terms`. A write on `Terms(dry_run=True)` is answered by `DryRun`,
    another form than that of a write: `"human" in answer` tells. Methods raise `SIEError`.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        token: str | None = None,
        actor: str | None = None,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        max_connections: int = 20,
        tls: Tls | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
    ) -> None:
        """`base_url` is else SIE_CONFIG_URL, `token` SIE_CONFIG_TOKEN or SIE_API_KEY, `actor`
        SIE_ACTOR (where tokens are in force it is the token's name). An answer, or one event of the
        feed, of more than `answer_bytes_max` bytes is an error."""
        self.base_url = base_url_of(
            base_url, os.environ, variable="SIE_CONFIG_URL", whose="sie-config"
        )
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        headers = {**calls.headers_of(token, actor, os.environ), **PLAIN_BYTES}
        own = partial(
            httpx.AsyncClient,
            base_url=self.base_url,
            headers=httpx.Headers(headers, encoding="latin-1"),
            event_hooks={"response": [bounding_async(answer_bytes_max, timeout_s=timeout_s)]},
            timeout=timeout_of(timeout_s, connect_timeout_s),
            limits=limits_of(max_connections),
            verify=verify_of(self.base_url, tls),
        )
        self._http = PerLoop(own)

    async def head(self) -> HeadWithWriter:
        """The head of the log, and the state of its writer."""
        return cast(HeadWithWriter, await self._json(calls.epoch_call()))

    async def entities(self, kind: Kind, *, at: str | None = None) -> list[EntityShown]:
        """Every entity of a kind, now or at an epoch or time."""
        found = Listing(f"{kind}s", "", self.base_url)
        while True:
            call = calls.list_call(kind, at=at, after=found.after, limit=_PAGE)
            if not found.take(await self._json(call)):
                return cast(list[EntityShown], found.rows)

    async def get(self, kind: Kind, key: str, *, at: str | None = None) -> EntityShown:
        """One entity: its document, ETag and the epoch that made it."""
        return cast(EntityShown, await self._json(calls.entity_call(kind, key, at=at)))

    async def put(
        self, kind: Kind, key: str, document: Mapping[str, Any], terms: Terms = PLAIN
    ) -> EntityWritten | DryRun:
        """Create or replace an entity."""
        call = calls.put_call(kind, key, document, terms, _fresh())
        return cast(EntityWritten | DryRun, await self._write(call, terms))

    async def patch(
        self, kind: Kind, key: str, patch: Any, terms: Terms = PLAIN
    ) -> EntityWritten | DryRun:
        """Merge a patch (RFC 7396) into an entity."""
        call = calls.patch_call(kind, key, patch, terms, _fresh())
        return cast(EntityWritten | DryRun, await self._write(call, terms))

    async def delete(self, kind: Kind, key: str, terms: Terms = PLAIN) -> EntityDeleted | DryRun:
        """Remove an entity."""
        call = calls.delete_call(kind, key, terms, _fresh())
        return cast(EntityDeleted | DryRun, await self._write(call, terms))

    async def batch(
        self,
        operations: Sequence[Mapping[str, Any]],
        terms: Terms = PLAIN,
        *,
        simultaneous: bool = False,
    ) -> GroupWritten | DryRun:
        """Several operations as one entry, or none of them."""
        call = calls.batch_call(operations, simultaneous=simultaneous, terms=terms, fresh=_fresh())
        return cast(GroupWritten | DryRun, await self._write(call, terms))

    async def revert(
        self,
        to: int | str,
        terms: Terms = PLAIN,
        *,
        entities: Sequence[tuple[Kind, str]] | None = None,
    ) -> GroupWritten | DryRun:
        """Bring back the documents of an older moment, of some entities or of all."""
        call = calls.revert_call(to, entities, terms, _fresh())
        return cast(GroupWritten | DryRun, await self._write(call, terms))

    async def history(
        self, kind: Kind, key: str, *, diff: bool = False, at: str | None = None
    ) -> list[HistoryRow]:
        """Every change of an entity, oldest first; with `at`, up to that moment."""
        found = Listing("history", 0, self.base_url)
        while True:
            call = calls.history_call(kind, key, after=found.after, limit=_PAGE, diff=diff, at=at)
            if not found.take(await self._json(call)):
                return cast(list[HistoryRow], found.rows)

    async def blame(self, kind: Kind, key: str, *, at: str | None = None) -> list[BlamedField]:
        """For each field, the change that gave it its value."""
        return cast(
            list[BlamedField], (await self._json(calls.blame_call(kind, key, at=at)))["fields"]
        )

    async def entries(self, *, after: int = 0, limit: int = 100) -> list[EntryEnvelope]:
        """Entries of the log after an epoch, as envelopes: `hash` and `body`."""
        return cast(
            list[EntryEnvelope],
            (await self._json(calls.entries_call(after=after, limit=limit)))["entries"],
        )

    async def entry(self, epoch: int) -> EntryEnvelope:
        """One entry of the log, as an envelope."""
        return cast(EntryEnvelope, await self._json(calls.entry_call(epoch)))

    async def poll(
        self, *, after: int, log_id: str = "", digest: str = "", wait_s: float = 0.0
    ) -> HeadWithWriter:
        """The head, as soon as it is not at this position; after `wait_s` in any case."""
        call = calls.poll_call(after=after, log_id=log_id, digest=digest, wait_s=wait_s)
        return cast(HeadWithWriter, await self._json(call, wait_s=wait_s))

    async def diff(self, start: int | str, end: int | str | None = None) -> Difference:
        """The difference between two moments."""
        to = None if end is None else str(end)
        return cast(Difference, await self._json(calls.diff_call(str(start), to)))

    async def resolve(
        self, revision: str, *, key: str | None = None, at: str | None = None
    ) -> Resolved:
        """From the revision that an answer carried to the config and the entry that made it."""
        return cast(Resolved, await self._json(calls.resolve_call(revision, key=key, at=at)))

    async def export(self, *, at: str | None = None) -> dict[str, Any]:
        """A snapshot: every entity, with its proof."""
        return dict(await self._json(calls.export_call(at=at)))

    async def verify(self) -> Verified:
        """Check the snapshot against the log, here and at a replica: `sound`."""
        return cast(Verified, await self._json(calls.verify_call()))

    async def replicas(self) -> Replicas:
        """The place of every replica in the log."""
        return cast(Replicas, await self._json(calls.replicas_call()))

    async def wait(
        self,
        epoch: int | None = None,
        *,
        until: Until = "converged",
        roles: Sequence[str] = (),
        ids: Sequence[str] = (),
        quorum: int | None = None,
        replicas_min: int = 1,
        timeout_s: float = 30.0,
    ) -> Waited:
        """Wait until the chosen replicas are at an epoch; `reached` says whether they are."""
        body = {
            "epoch": epoch,
            "until": until,
            "roles": [*roles],
            "ids": [*ids],
            "quorum": quorum,
            "min": replicas_min,
            "timeout_s": timeout_s,
        }
        return cast(Waited, await self._json(calls.wait_call(body), wait_s=timeout_s))

    async def forget(self, role: str, replica_id: str) -> bool:
        """Stop counting a replica that will not come back."""
        return bool((await self._json(calls.forget_call(role, replica_id)))["forgotten"])

    async def resync(self, role: str, replica_id: str) -> None:
        """Have a replica forget its history and take the writer's snapshot: ends a fork."""
        await self._json(calls.resync_call(role, replica_id))

    async def audit(
        self,
        *,
        actor: str | None = None,
        kind: Kind | None = None,
        key: str | None = None,
        outcome: str | None = None,
        since: str | None = None,
        before: str | None = None,
        limit: int = 100,
    ) -> Audit:
        """Accepted changes and refused attempts, newest first; `next_before` is the next page."""
        call = calls.audit_call(
            actor=actor,
            kind=kind,
            key=key,
            outcome=outcome,
            since=since,
            before=before,
            limit=limit,
        )
        return cast(Audit, await self._json(call))

    async def follow(self, last_id: str = "") -> AsyncIterator[FeedEvent]:
        """The events of the feed after one of them; it ends when the connection does.

        Between two there is half a second at most.
        """
        reader = FeedReader()
        timeout = timeout_of(self._timeout_s, self._connect_timeout_s)
        try:
            async with self._http.here().stream(
                "GET",
                FEED_PATH,
                headers=feed_headers(last_id),
                timeout=timeout,
                extensions=dict(EVENTS),
            ) as response:
                if response.status_code != HTTPStatus.OK:
                    call = Call("GET", FEED_PATH)
                    told = (response.status_code, response.headers, await response.aread())
                    read_config_answer(call, *told, self.base_url)
                async for data in response.aiter_bytes():
                    for line in reader.lines(data):
                        event = reader.take(line)
                        if event is not None:
                            yield event
        except EXCHANGE_FAILURES as error:
            raise connection_error(error, self.base_url) from error

    async def letters(self) -> list[LetterShown]:
        """Jobs that failed for good, oldest first, without what their requests held."""
        found = Listing("letters", 0, self.base_url)
        while True:
            if not found.take(await self._json(calls.letters_call(after=found.after))):
                return cast(list[LetterShown], found.rows)

    async def retry_letter(self, number: int, *, within_s: float = 60.0) -> LetterRun:
        """Run a dead letter's job again; its letter is dropped when that succeeds.

        Raises the error that the job failed with, or `TimeRanOut`: the letter then stays.
        """
        call = calls.retry_letter_call(number, within_s=within_s)
        return cast(LetterRun, await self._json(call, wait_s=within_s))

    async def drop_letters(self, numbers: Sequence[int]) -> None:
        """Forget dead letters: each that is there. Raises `FixRequest` that names the others."""
        await self._json(calls.drop_letters_call(numbers))

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close(httpx.AsyncClient.aclose)

    async def __aenter__(self) -> "SIEAsyncConfigClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _write(self, call: Call, terms: Terms) -> Any:
        wait_s = terms.wait_timeout_s if terms.wait is not None else 0.0
        return await self._json(call, wait_s=wait_s)

    async def _json(self, call: Call, *, wait_s: float = 0.0) -> Any:
        attempts = Attempts(call.patience)
        while True:
            try:
                response = await self._send(call, wait_s)
                return read_config_answer(
                    call,
                    response.status_code,
                    response.headers,
                    response.content,
                    self.base_url,
                )
            except SIEError as error:
                pause_s = attempts.pause_after(error)
            await asyncio.sleep(pause_s)

    async def _send(self, call: Call, wait_s: float) -> httpx.Response:
        timeout_s = max(self._timeout_s, wait_s + _MARGIN_S if wait_s else 0.0)
        try:
            return await self._http.here().request(
                call.method,
                call.path,
                headers=httpx.Headers(call.headers, encoding="latin-1"),
                content=call.body,
                timeout=timeout_of(timeout_s, self._connect_timeout_s),
            )
        except EXCHANGE_FAILURES as error:
            raise connection_error(error, self.base_url) from error


def _fresh() -> str:
    return secrets.token_hex(16)
