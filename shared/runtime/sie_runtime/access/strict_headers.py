"""Headers of this project's own names, read strictly.

*pure.* A misspelt one must never be passed over. A request would run in another pool than it names,
and a write would be made without its condition. Promises that a name in the space
of ours which no process reads is refused with the nearest one. Headers of others are not looked at.
"""

from collections.abc import Iterable
from typing import Final

from sie_core.nearest import nearest
from sie_schemas.errors import FixRequest

__all__ = ["KNOWN", "check_headers"]

KNOWN: Final = {
    name.lower().encode(): name
    for name in (
        *("If-Match-Epoch", "Idempotency-Key"),
        *("X-SIE-Actor", "X-SIE-CSRF", "X-SIE-Force", "X-SIE-Machine-Profile", "X-SIE-Pool"),
        *("X-SIE-Reason", "X-SIE-Remote", "X-SIE-SDK-Version", "X-SIE-Tenant"),
    )
}
"""Read by gateway or sie-config, and named by no standard. One of the other process is no slip: one
client speaks to both."""
_OURS: Final = (b"x-sie-", b"if-match-", b"idempotency-")
_SHOWN_MAX: Final = 40
"""A stranger's text in a message of ours."""


def check_headers(names: Iterable[bytes]) -> None:
    """Check the names of a request's headers, in small letters. Raises `FixRequest`."""
    for name in names:
        if name.startswith(_OURS) and name not in KNOWN:
            shown = name[:_SHOWN_MAX].decode("latin-1")
            raise FixRequest(f"the header {shown!r} is none here; {_advice(shown)}", field=shown)


def _advice(shown: str) -> str:
    # All of ours begin alike, which would make each of them near to any other.
    ends = {name.removeprefix("X-SIE-"): name for name in KNOWN.values()}
    meant = nearest(shown.removeprefix("x-sie-"), ends)
    return f"did you mean {ends[meant]!r}?" if meant else f"known are {', '.join(KNOWN.values())}"
