"""Moments: a time as the log writes it, and as a client names one.

*pure.* Promises that the text order of what the log writes is the order of time. A client says
which time zone it means. Microseconds count from 1970; nothing in a log is older.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["format_ts", "moment_us", "parse_ts"]

_UNIX: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def format_ts(microseconds: int) -> str:
    """RFC 3339, UTC, always six digits, so that text order is time order."""
    moment = _UNIX + timedelta(microseconds=microseconds)
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def parse_ts(text: str) -> int:
    """Microseconds of a time that `format_ts` wrote."""
    return (datetime.fromisoformat(text) - _UNIX) // _MICROSECOND


def moment_us(text: str, *, field: str, wanted: str = "a time") -> int:
    """Microseconds of an RFC 3339 time with its offset; 0 for what is before 1970.

    Raises `FixRequest` naming `field`, which takes what is `wanted`.
    """
    if not _TIME.fullmatch(text):
        raise FixRequest(f"{text[:40]!r} is not {wanted} like 2026-01-31T12:00:00Z", field=field)
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T")).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise FixRequest(f"{text[:40]!r} is no time: {error}", field=field) from error
    return max(0, (moment - _UNIX) // _MICROSECOND)
