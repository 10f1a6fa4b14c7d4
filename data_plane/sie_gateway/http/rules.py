"""The role that each route of the gateway wants, and the shape of a refusal there.

*pure.* Promises that a route nobody thought of is not open: what changes something wants `admin`,
what only looks wants `read`.
"""

from typing import Final

import msgspec

from sie_gateway.faces import face_at
from sie_runtime.access.access import Role
from sie_schemas.errors import SIEError

__all__ = ["refusal_body", "role_of"]

_OPEN: Final = frozenset({"/healthz", "/readyz"})
_INFERENCE: Final = ("/v1/encode/", "/v1/score/", "/v1/extract/")
_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def role_of(method: str, path: str, query: bytes) -> Role | None:
    """The role; None for probes."""
    if path in _OPEN:
        return None
    if path.startswith(_INFERENCE) or face_at(method, path) is not None:
        return "infer"
    if method not in _LOOKS:
        return "admin"
    return "metrics" if path == "/metrics" else "read"


def refusal_body(path: str, error: SIEError) -> bytes:
    """An error as the API at that path tells it."""
    found = face_at("POST", path)
    return found.face.error(error) if found is not None else msgspec.json.encode(error.to_wire())
