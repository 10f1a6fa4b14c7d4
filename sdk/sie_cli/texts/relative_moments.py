"""Moments as people say them: `5m`, `2h ago`, `yesterday`, `HEAD~1`, a date.

*shell.* The time and the head are arguments; the clock is asked where none is given. Promises that
an epoch and a whole time stay as they are, and that the rest is refused with the forms there are.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from sie_schemas.errors import FixRequest

__all__ = ["is_by_the_clock", "moment_of", "time_of"]

_AGO: Final = re.compile(r"([0-9]{1,6})\s*(s|sec|m|min|h|d|w)(\s+ago)?", re.IGNORECASE)
_SECONDS: Final = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604_800}
_HEAD: Final = re.compile(r"HEAD(~([0-9]{0,9}))?", re.IGNORECASE)
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PLACE: Final = re.compile(r"[0-9a-f]{8}\.([0-9]{1,15})")
"""As messages and logs write a position."""
_WORDS: Final = {"now": 0, "yesterday": 86400}


def moment_of(text: str, *, now: datetime, head: Callable[[], int]) -> str:
    """The epoch or time that a text means. `now` has its zone; `head` is asked only for HEAD.

    Raises `FixRequest` for an epoch before the first, and for a day that no calendar has.
    """
    told = text.strip()
    ago = _AGO.fullmatch(told)
    if ago is not None:
        return _before(now, int(ago[1]) * _SECONDS[ago[2].lower()], told)
    if told.lower() in _WORDS:
        return _before(now, _WORDS[told.lower()], told)
    counted = _HEAD.fullmatch(told)
    if counted is not None:
        back = int(counted[2] or 1) if counted[1] else 0
        epoch = head() - back
        if epoch < 1:
            raise FixRequest(f"{told} is before the first entry: the head is at epoch {head()}")
        return str(epoch)
    if _DAY.fullmatch(told):
        try:
            day = datetime.fromisoformat(told).replace(tzinfo=now.tzinfo)
        except ValueError as error:
            raise FixRequest(f"{told} is no day of the calendar: {error}") from error
        return _written(day)
    if told and not told.isdecimal() and not _is_time(told):
        raise _no_moment(told)
    return told


def _no_moment(told: str) -> FixRequest:
    place = _PLACE.fullmatch(told)
    if place is not None:
        return FixRequest(f"{told} is epoch {place[1]} of a log: say {place[1]}")
    return FixRequest(
        f"{told!r} is no moment: say an epoch, HEAD~1, 5m, yesterday, or 2026-01-31T12:00:00Z"
    )


def is_by_the_clock(text: str) -> bool:
    """True if it depends on the time of now, as `5m` and `yesterday` do."""
    told = text.strip()
    return _AGO.fullmatch(told) is not None or told.lower() in _WORDS


def _is_time(text: str) -> bool:
    try:
        return bool(datetime.fromisoformat(text))
    except ValueError:
        return False


def time_of(text: str) -> str:
    """A time in UTC, of what has no epochs. Raises `FixRequest` for what is no time."""
    meant = moment_of(text, now=datetime.now().astimezone(), head=_no_head)
    try:
        return _written(datetime.fromisoformat(meant).astimezone())
    except ValueError as error:
        raise FixRequest(
            f"{text!r} is no time: say 5m, yesterday, or 2026-01-31T12:00:00Z"
        ) from error


def _no_head() -> int:
    raise FixRequest("HEAD is a moment of the log; here a time is wanted")


def _before(now: datetime, seconds: int, told: str) -> str:
    try:
        return _written(now - timedelta(seconds=seconds))
    except OverflowError as error:
        raise FixRequest(f"{told} ago is before time was counted") from error


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
