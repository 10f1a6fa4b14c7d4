"""Preferences: what the header `Prefer` asks for beyond an answer (RFC 7240).

*pure.* One is known: `wait=SECONDS`, how long a request that finds no worker may be held until one
is there. Others are passed over, as the RFC wants; one that is known and cannot be meant is
refused.
"""

from collections.abc import Mapping

from sie_schemas.errors import FixRequest

__all__ = ["patience_s"]


def patience_s(headers: Mapping[bytes, bytes]) -> float:
    """The seconds of `wait`; 0 where it is not asked for. Raises `FixRequest`."""
    asked = headers.get(b"prefer")
    if asked is None:
        return 0.0
    for preference in asked.decode("latin-1").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "wait":
            told = value.strip().strip('"')
            if not (told.isascii() and told.isdigit() and len(told) <= 6):
                raise FixRequest(
                    "the preference `wait` takes whole seconds: `Prefer: wait=30`", field="Prefer"
                )
            return float(told)
    return 0.0
