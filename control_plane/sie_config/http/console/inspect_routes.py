"""The route that inspects a repository of the hub before it is added.

*shell.* `POST /v1/configs/inspect`. Promises that nothing is written: the answer has the document
that a write would send, and each fact with the file that it rests on. Who leaves ends it.
"""

from typing import Final

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from sie_config.documents.asked_process import while_wanted
from sie_config.documents.bodies import converted, parse_json
from sie_config.documents.inspections import InspectBody, Inspections
from sie_config.http.direct import DirectApp
from sie_config.http.doors import JSON_BODY, door
from sie_config.http.json_answers import json_answer
from sie_config.http.write_requests import read_body
from sie_config.writer_process import ControlPlane
from sie_runtime.http.bodies import until_gone

__all__ = ["INSPECT_BODIES", "add_inspect_route"]

_BODY_BYTES_MAX: Final = 16_384
"""Words of one command; nobody has a reason for a longer body."""
_PATH: Final = "/v1/configs/inspect"
INSPECT_BODIES: Final[dict[str, tuple[type[Struct], str, bool]]] = {
    _PATH: (
        InspectBody,
        "What a repository of the hub holds, and the document that would add it.",
        False,
    ),
}
"""The body that the route reads, in words, and whether it writes the log."""


def add_inspect_route(app: DirectApp, inspections: Inspections, plane: ControlPlane) -> None:
    """Mount the route. An inspection ends with its client, and with sie-config."""

    @door("propose", media=JSON_BODY)
    async def inspect(request: Request) -> Response:
        """Examine a repository."""
        body = converted(parse_json(await read_body(request, _BODY_BYTES_MAX)), InspectBody)
        found = await while_wanted(
            inspections.inspect(body, lambda model_id: _document(plane, model_id)),
            until_gone(request.receive),
            plane.until_stopping(),
            what="the inspection",
        )
        return json_answer(found)

    app.add_plain("POST", _PATH, inspect)


def _document(plane: ControlPlane, model_id: str) -> bytes | None:
    entity = plane.sequencer.registry.get("model", model_id)
    return None if entity is None else entity.document
