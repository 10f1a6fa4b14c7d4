"""The routes that write.

*shell.* Plain ASGI routes: the framework's validation costs more than the commit. A document is
checked and made canonical here, before the sequencer, which then only judges it against the state.
Promises one answer to each write, after the commit, that names the entry.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sie_config.control_plane import ControlPlane
from sie_config.draft import Outcome
from sie_config.manifests import with_manifest
from sie_config.rules import Command, Delete, Put, etag
from sie_config.write_requests import expectation_of, parse_json, read_body, write_of
from sie_schemas import canonical
from sie_schemas.documents import admit_document
from sie_schemas.errors import FixRequest

__all__ = ["add_write_routes"]

_JSON: Final = "application/json"


class _Writes:
    """The endpoints, around one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    async def post_model(self, request: Request) -> Response:
        """Create or replace the model that the document names."""
        body = await read_body(request, self._plane.settings.body_bytes_max)
        document = await _admitted("model", parse_json(body))
        return await self._put(request, body, "model", document["model_id"], document)

    async def put_adapter(self, request: Request) -> Response:
        """Create or replace an adapter; the path names it, and the document may repeat that."""
        body = await read_body(request, self._plane.settings.body_bytes_max)
        named = {field: request.path_params[field] for field in ("model_id", "name")}
        value = parse_json(body)
        if isinstance(value, Mapping):
            _check_named(value, named)
            value = {**value, **named}
        document = await _admitted("adapter", value)
        return await self._put(
            request, body, "adapter", f"{document['model_id']}/{document['name']}", document
        )

    async def delete_model(self, request: Request) -> Response:
        """Remove a model."""
        return await self._delete(request, "model", request.path_params["model_id"])

    async def delete_adapter(self, request: Request) -> Response:
        """Remove an adapter."""
        params = request.path_params
        return await self._delete(request, "adapter", f"{params['model_id']}/{params['name']}")

    async def _put(
        self, request: Request, body: bytes, kind: str, key: str, document: dict[str, Any]
    ) -> Response:
        expects = expectation_of(request)
        command = Put(kind, key, document, canonical.dumps(document), expects)
        return await self._write(request, body, command)

    async def _delete(self, request: Request, kind: str, key: str) -> Response:
        return await self._write(request, b"", Delete(kind, key, expectation_of(request)))

    async def _write(self, request: Request, body: bytes, command: Command) -> Response:
        ack = request.query_params.get("ack", "local")
        if ack not in {"local", "stream"}:
            raise FixRequest(f"ack is `local` or `stream`, not {ack!r}", field="ack")
        write = write_of(request, body, (command,))
        outcome, repeated = await self._plane.write(write)
        epoch, pending = outcome.entry.epoch, False
        if ack == "stream":
            publisher, wait_s = self._plane.publisher, self._plane.settings.ack_wait_s
            pending = publisher is None or not await publisher.wait_published(
                epoch, timeout_s=wait_s
            )
        return self._answer(command, outcome, repeated=repeated, pending=pending)

    def _answer(
        self, command: Command, outcome: Outcome, *, repeated: bool, pending: bool
    ) -> Response:
        entry = outcome.entry
        answer: dict[str, Any] = {
            "kind": command.kind,
            "key": command.key,
            "log_id": entry.log_id,
            "epoch": entry.epoch,
            "hash": entry.hash,
            "state_digest": entry.state_digest,
            "ts": entry.ts,
            "changed": outcome.changed,
            "created": outcome.created,
            "published": self._plane.is_published(entry.epoch),
        }
        headers: dict[str, str] = {}
        if isinstance(command, Put):
            answer["etag"] = headers["etag"] = etag(entry.log_id, outcome.modified_epoch)
        if pending:
            answer["outcome_pending"] = True
        if repeated:
            headers["idempotency-replayed"] = "true"
        status = 201 if outcome.created else 200
        return Response(msgspec.json.encode(answer), status, headers, _JSON)


async def _admitted(kind: str, value: Any) -> dict[str, Any]:
    return admit_document(kind, await with_manifest(value))


def _check_named(value: Mapping[str, Any], named: Mapping[str, str]) -> None:
    for field, wanted in named.items():
        if value.get(field, wanted) != wanted:
            raise FixRequest(
                f"the document says {field} {value[field]!r}, the path says {wanted!r}",
                code="VALIDATION_ERROR",
                field=field,
            )


def add_write_routes(app: FastAPI, plane: ControlPlane) -> None:
    """Mount the routes. The greedy adapter path comes before nothing that it could swallow."""
    writes = _Writes(plane)
    adapter, model = "/v1/configs/adapters/{model_id:path}/{name}", "/v1/configs/models"
    app.router.add_route(model, writes.post_model, methods=["POST"])
    app.router.add_route(model + "/{model_id:path}", writes.delete_model, methods=["DELETE"])
    app.router.add_route(adapter, writes.put_adapter, methods=["PUT"])
    app.router.add_route(adapter, writes.delete_adapter, methods=["DELETE"])
