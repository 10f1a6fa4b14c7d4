"""The body of a request whose route reads none.

*shell* over one request. `{"dry_run": true}` in the body of a DELETE was passed over once, and the
delete was made. Promises that such a body is refused by the name in it, with the place where that
name is read. A body that says nothing passes: empty, `{}`, `null`. The type that a header gives it
has no say. Whoever sends none has nothing read.
"""

import codecs
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from sie_core.nearest import nearest
from sie_runtime.http.bodies import Receive, Scope, read_bounded
from sie_runtime.http.encodings import decoded
from sie_schemas.errors import FixRequest
from sie_schemas.malformed import MALFORMED

__all__ = ["Places", "check_no_body", "places_of_headers", "places_of_query"]

Places = Mapping[str, str]
"""The names that a route reads elsewhere than in a body, each with the words of that place."""

_BYTES_MAX: Final = 64 * 1024
"""Only its names are told; a lease, the largest body that was sent to a wrong route, has 50 KB."""
_SHOWN_MAX: Final = 40
"""A stranger's text in a message of ours."""
_PAIRS_MAX: Final = 100
"""Of a form; the first is told."""
_READERS: Final = (
    msgspec.json.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw] | str | float | bool | None),
    msgspec.msgpack.Decoder(dict[str, msgspec.Raw] | list[msgspec.Raw] | None),
)
_ABSENT: Final = (None, b"0")


def places_of_query(names: Iterable[str]) -> dict[str, str]:
    """The places of query parameters."""
    return {name: f"the query parameter {name!r}" for name in names}


def places_of_headers(names: Iterable[str]) -> dict[str, str]:
    """The places of headers, by their names without `X-SIE-`."""
    return {name.removeprefix("X-SIE-"): f"the header {name!r}" for name in names}


async def check_no_body(
    scope: Scope, receive: Receive, places: Places, *, gone: type[Exception]
) -> None:
    """Refuse a body with anything in it. Raises `FixRequest`, and `gone` where the client left."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    length = headers.get(b"content-length")
    if length in _ABSENT and b"transfer-encoding" not in headers:
        return
    body = await read_bounded(receive, length, _BYTES_MAX, too_large=_too_large, gone=gone)
    coding = headers.get(b"content-encoding", b"")
    body = decoded(coding, body, _BYTES_MAX, too_large=_too_large)
    found = _read(body.removeprefix(codecs.BOM_UTF8).strip())
    route = f"{scope['method']} {scope['path']}"
    if isinstance(found, dict) and found:
        name = next(iter(found))
        shown = name[:_SHOWN_MAX]
        raise FixRequest(
            f"{route} reads no body, and {shown!r} stands in one: {_advice(name, places)}",
            field=shown,
        )
    if found is None or found in ({}, [], ""):
        return
    raise FixRequest(f"{route} reads no body: leave it out", field="body")


def _read(body: bytes) -> Any:
    """The value of a body; of a map and a form its names count. False for what cannot be read."""
    if not body:
        return None
    for reader in _READERS:
        try:
            return reader.decode(body)
        except MALFORMED:
            continue
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_PAIRS_MAX)
    except ValueError:
        return False
    return dict(pairs) if b"=" in body and pairs else False


def _advice(name: str, places: Places) -> str:
    meant = nearest(name, places)
    if meant is not None:
        return f"did you mean {places[meant]}?"
    return f"it reads {', '.join(places.values())}" if places else "leave it out"


def _too_large(bytes_max: int) -> FixRequest:
    return FixRequest(
        f"this route reads no body, and one of more than {bytes_max} bytes came: leave it out",
        code="PAYLOAD_TOO_LARGE",
        field="body",
    )
