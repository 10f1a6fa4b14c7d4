"""`/v1/pools`: the pools of the log to see, and leases of them to make, renew and end.

*shell.* The bodies that the published clients send and expect. Names are taken in lower case, as
the clients write them. A pool of the log is changed at sie-config alone.
"""

from typing import Final

from fastapi import FastAPI, Request, Response

from sie_gateway.http.long_answers import short_answer
from sie_gateway.leases.lease_desk import LeaseDesk
from sie_gateway.request.asgi import read_body
from sie_gateway.request.requests import decode_body
from sie_gateway.request.waiting import ClientGone
from sie_runtime.access.strict_route import body_belongs, reads_body
from sie_schemas.api.leases import LEASE_REQUEST_DECODER, LeaseRequest
from sie_schemas.errors import FixRequest

__all__ = ["add_pools"]

_CREATED: Final = 201
_BODY_BYTES_MAX: Final = 64 * 1024
"""A lease with 1,000 pinned models is 50 KB."""
_MADE_WITH: Final = {
    name: f"{name!r} of POST /v1/pools, which changes a lease and renews it"
    for name in LeaseRequest.__struct_fields__
}
"""A lease is renewed as it was made."""


def add_pools(app: FastAPI, desk: LeaseDesk) -> None:
    """Add the routes."""

    @app.get("/v1/pools")
    async def pools() -> Response:
        """Every pool of the log and every lease."""
        return short_answer(await desk.overview())

    @app.post("/v1/pools", status_code=_CREATED)
    @reads_body
    async def create(request: Request) -> Response:
        """Lease a share of a pool; a lease of that name is changed and renewed."""
        return short_answer(await desk.create(await _read(request)), status=_CREATED)

    @app.get("/v1/pools/{name}")
    async def pool(name: str) -> Response:
        """One lease, or one pool of the log."""
        return short_answer(await desk.get(name.lower()))

    @app.post("/v1/pools/{name}/renew")
    @body_belongs(_MADE_WITH)
    async def renew(name: str) -> Response:
        """Let a lease last its whole time from now."""
        return short_answer(await desk.renew(name.lower()))

    @app.delete("/v1/pools/{name}")
    async def delete(name: str) -> Response:
        """End a lease, which frees its share."""
        return short_answer(await desk.delete(name.lower()))


async def _read(request: Request) -> LeaseRequest:
    headers = dict(request.scope["headers"])
    try:
        body = await read_body(headers, request.receive, bytes_max=_BODY_BYTES_MAX)
    except ClientGone as gone:
        # Nobody reads the answer any more.
        raise FixRequest("the client left before its request was read") from gone
    asked: LeaseRequest = decode_body(LEASE_REQUEST_DECODER, body, form="JSON")
    return asked
