"""The times at which a cluster serves, by what its clients saw.

*pure.* Looks at exchanges that are over and at those under way; times are of one monotonic clock.
An exchange is in time when it was served within `IN_TIME_S`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from sie_testing.processes.load import Ended

__all__ = ["IN_TIME_S", "STEADY_S", "longest_wait", "not_steady", "served_again", "waited_on"]

IN_TIME_S: Final = 1.5
"""Beyond the noise of a machine whose cores are all busy with the cluster itself."""
STEADY_S: Final = 2.0
"""So long everything is in time before a fault counts as over."""


def in_time(call: Ended) -> bool:
    """True if an exchange was served, and soon."""
    return call.served and call.ended - call.began <= IN_TIME_S


def not_steady(
    calls: Sequence[Ended], waiting: Iterable[tuple[str, float]], who: Iterable[str], now: float
) -> str:
    """The reason why these are not served in time for a while; empty when they are."""
    for name, began in waiting:
        if now - began > IN_TIME_S:
            return f"{name} has not answered for {now - began:.1f} s"
    for name in who:
        recent = [call for call in calls if call.who == name and call.ended > now - STEADY_S]
        late = [call for call in recent if not in_time(call)]
        if late or len(recent) < 2:
            return f"{name} answered {len(recent)} in {STEADY_S:g} s, {len(late)} of them badly"
    return ""


def served_again(calls: Iterable[Ended], who: str, since: float) -> float:
    """Seconds from a moment until the last exchange that was late or refused was over."""
    ends = [
        call.ended
        for call in calls
        if call.who.startswith(who) and call.ended > since and not in_time(call)
    ]
    return max(ends, default=since) - since


def longest_wait(calls: Iterable[Ended], who: str, since: float) -> float:
    """The seconds of the slowest exchange that ended after a moment."""
    took = [
        call.ended - call.began for call in calls if call.who.startswith(who) and call.ended > since
    ]
    return max(took, default=0.0)


def waited_on(calls: Iterable[Ended], who: str, moment: float) -> float:
    """The seconds after a moment at which the last exchange ended that was under way at it."""
    ends = [
        call.ended - moment
        for call in calls
        if call.who.startswith(who) and call.began < moment < call.ended
    ]
    return max(ends, default=0.0)
