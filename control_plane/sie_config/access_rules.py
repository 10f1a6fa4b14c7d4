"""Which role each route of sie-config wants.

*pure.* Promises that a route nobody thought of is not open: what changes the log wants `admin`,
trying a change wants `propose`, what only looks wants `read`, and who did what wants `audit`.
"""

from typing import Final
from urllib.parse import parse_qs

from sie_runtime.access import Role

__all__ = ["QUESTIONS", "role_of"]

_OPEN: Final = frozenset({"/healthz", "/readyz"})
QUESTIONS: Final = frozenset({"/v1/configs/replicas", "/v1/configs/wait"})
"""Posted, but they change nothing in the log: a report, and a wait for reports."""
_AUDIT: Final = "/v1/configs/audit"
_LOOKS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def role_of(method: str, path: str, query: bytes) -> Role | None:
    """The role; None for probes."""
    if path in _OPEN:
        return None
    if path == _AUDIT:
        return "audit"
    if method in _LOOKS or (method == "POST" and path in QUESTIONS):
        return "read"
    if parse_qs(query.decode("latin-1")).get("dry_run") == ["true"]:
        return "propose"
    return "admin"
