"""The routes that write.

*shell.* Plain ASGI routes: the framework's validation costs more than the commit. A document is
checked and made canonical here, before the sequencer, which then only judges it against the state.
Promises one answer to each write, after the commit, that names the entry.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.bodies import parse_yaml
from sie_config.documents.differences import PLURALS
from sie_config.http.direct import DirectApp
from sie_config.http.doors import DOCUMENT_BODY, WRITE_QUERY, YAML, door
from sie_config.http.write_answers import entity_answer, group_answer
from sie_config.http.write_requests import (
    expectation,
    expectation_of,
    json_of,
    read_body,
    sent,
)
from sie_config.http.writing import Work, Writing
from sie_config.writer.draft import Outcome, Write
from sie_config.writer.operations import Operation, key_of, parse_batch, work_out
from sie_config.writer.rules import Expectation
from sie_config.writer_process import ControlPlane
from sie_core.registry import Registry
from sie_runtime.http.bodies import until_gone
from sie_schemas.api.writes import EntityDeleted, EntityWritten
from sie_schemas.errors import FixRequest

__all__ = ["add_write_routes"]

_KINDS: Final = {plural: kind for kind, plural in PLURALS.items()}
_MERGE_PATCH: Final = ("application/merge-patch+json",)


class _Writes:
    """The endpoints, around one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    @door("admin", trial="propose", query=WRITE_QUERY, media=DOCUMENT_BODY)
    async def post(self, request: Request) -> Response:
        """Create or replace the entity that the document names."""
        body, value = await self._body(request)
        return await self._write(
            request, body, Operation(op="put", kind=_kind_of(request), document=value)
        )

    @door("admin", trial="propose", query=WRITE_QUERY, media=DOCUMENT_BODY)
    async def put(self, request: Request) -> Response:
        """Create or replace an entity; the path names it, and the document may repeat that."""
        body, value = await self._body(request)
        kind, key = _named_by(request)
        return await self._write(
            request, body, Operation(op="put", kind=kind, key=key, document=value)
        )

    @door("admin", trial="propose", query=WRITE_QUERY, media=_MERGE_PATCH)
    async def patch(self, request: Request) -> Response:
        """Merge a patch (RFC 7396) into an entity."""
        body, value = await self._body(request)
        kind, key = _named_by(request)
        return await self._write(
            request, body, Operation(op="patch", kind=kind, key=key, patch=value)
        )

    @door("admin", trial="propose", query=WRITE_QUERY)
    async def delete(self, request: Request) -> Response:
        """Remove an entity."""
        kind, key = _named_by(request)
        return await self._write(request, b"", Operation(op="delete", kind=kind, key=key))

    @door("admin", trial="propose", query=WRITE_QUERY, media=DOCUMENT_BODY)
    async def batch(self, request: Request) -> Response:
        """All operations as one entry, or none of them."""
        settings = self._plane.settings
        body = await read_body(request, settings.batch_bytes_max)
        batch = parse_batch(
            await self._value_of(request, body), operations_max=settings.batch_operations_max
        )
        expects = [expectation(each.if_match, each.if_none_match) for each in batch.operations]
        writing = Writing(self._plane, request, body, "batch")
        work = self._work(writing, request, batch.operations, expects, batch.simultaneous)
        return await writing.answer(work, group_answer)

    async def _body(self, request: Request) -> tuple[bytes, Any]:
        body = await read_body(request, self._plane.settings.body_bytes_max)
        return body, await self._value_of(request, body)

    async def _value_of(self, request: Request, body: bytes) -> Any:
        """The value of a body, by the type that its header says; the door let no other in."""
        media = (sent(request, b"content-type") or "").partition(";")[0].strip().lower()
        return parse_yaml(body) if media == YAML else await json_of(self._plane.bodies, body)

    async def _write(self, request: Request, body: bytes, operation: Operation) -> Response:
        expects = [expectation_of(request)]
        writing = Writing(self._plane, request, body, f"{operation.kind}.{operation.op}")

        def shown(outcome: Outcome, *, is_published: bool) -> EntityDeleted | EntityWritten:
            key = operation.key or key_of(operation.kind, operation.document)
            is_put = operation.op != "delete"
            return entity_answer(
                operation.kind, key, outcome, is_put=is_put, is_published=is_published
            )

        return await writing.answer(self._work(writing, request, [operation], expects), shown)

    def _work(
        self,
        writing: Writing,
        request: Request,
        operations: Sequence[Operation],
        expects: Sequence[Expectation],
        simultaneous: bool = False,
    ) -> Work:
        pin = self._plane.manifests.pinning(partial(until_gone, request.receive))

        async def work(registry: Registry) -> Write:
            found = await work_out(operations, expects, registry, pin)
            return msgspec.structs.replace(
                writing.asked,
                commands=tuple(found.commands),
                basis=tuple(found.basis),
                simultaneous=simultaneous,
            )

        return work


def _kind_of(request: Request) -> Any:
    return _KINDS[request.scope["path"].split("/")[3]]


def _named_by(request: Request) -> tuple[Any, str]:
    kind, key = _kind_of(request), str(request.path_params["key"])
    if kind == "adapter" and "/" not in key:
        raise FixRequest(f"an adapter is named by its model and its name, not {key!r}", field="key")
    return kind, key


def add_write_routes(app: DirectApp, plane: ControlPlane) -> None:
    """Mount the routes. The batch comes before the greedy paths, none of which it could be."""
    writes = _Writes(plane)
    app.add_plain("POST", "/v1/configs/batch", writes.batch)
    for plural in _KINDS:
        path = f"/v1/configs/{plural}"
        app.add_direct("POST", path, writes.post)
        for method, endpoint in (
            ("PUT", writes.put),
            ("PATCH", writes.patch),
            ("DELETE", writes.delete),
        ):
            app.add_direct(method, path + "/{key:path}", endpoint)
