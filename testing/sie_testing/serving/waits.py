"""The judgement of waits, at the end of a run: nobody starves, and a flood is not waited out.

*pure.*
"""

from typing import Final

from sie_testing.serving.asking import Asking
from sie_testing.serving.laws import RELOAD_S, Laws
from sie_testing.stage.broken import Broken

__all__ = ["check_flood", "check_waits"]

_FLOOD_MIN: Final = 10
"""With fewer requests of a flood left, nobody can tell a turn from its end."""
_FLOOD_SHARE: Final = 0.6
"""A sidecar is fair among what it has pulled: what the queue has in front of a job comes first."""


def check_waits(laws: Laws, longest_s: float, since: float, *, crowd_s: float) -> None:
    """Nobody waited longer than that, counted from a moment on, for what was his to get.

    A share is by cost, and a long text is worth many short ones. Beside a crowd of those it may
    wait `crowd_s` more, as long as the crowd is there; so may what its tenant sends behind it.
    A model that is made to leave is loaded again, and nobody is served meanwhile.
    """
    for asking in laws.asked.values():
        laws.checks["nobody starves"] += 1
        begun_at = max(asking.begun_at, since)
        reloads = sum(begun_at - RELOAD_S <= at <= asking.ended_at for at in laws.evictions)
        bound_s, waited_s = longest_s + reloads * RELOAD_S, asking.ended_at - begun_at
        if waited_s > bound_s and crowd_s and _is_behind_a_long_one(laws, asking):
            bound_s += crowd_s
        if waited_s > bound_s:
            raise Broken(
                f"{asking} waited {waited_s:.2f} s; all that could be in its way is done in "
                f"{bound_s:g} s"
            )


def _is_behind_a_long_one(laws: Laws, asking: Asking) -> bool:
    """True if it is long, or its tenant had something in hand all the time since it sent one.

    Turns are those of tenants: the next one is theirs when what they took is made up for.
    """
    own = [each for each in laws.asked.values() if each.tenant == asking.tenant]
    since = asking.begun_at
    for each in sorted(own, key=lambda each: each.begun_at, reverse=True):
        if each.begun_at <= since <= each.ended_at:
            since = each.begun_at
    return any(each.is_long and since <= each.begun_at <= asking.begun_at for each in own)


def check_flood(laws: Laws, flood: str, small: str) -> None:
    """A small tenant's requests, sent into a flood, do not wait for its end.

    It is counted in what the flood is answered meanwhile: a load that takes a second keeps both
    waiting. What a device had been handed before is nobody's turn any more.
    """
    crowd = [each for each in laws.asked.values() if each.tenant == flood]
    if not crowd:
        return
    began = max(each.begun_at for each in crowd)
    for asking in laws.asked.values():
        ends = [
            each.ended_at
            for each in crowd
            if each.ended_at > asking.begun_at and not laws.began_by(each, asking.begun_at)
        ]
        if asking.tenant != small or asking.begun_at < began or len(ends) < _FLOOD_MIN:
            continue
        laws.checks["a small tenant does not wait for the end of a flood"] += 1
        before = sum(at < asking.ended_at for at in ends)
        if before > _FLOOD_SHARE * len(ends):
            raise Broken(
                f"{asking} waited from {asking.begun_at:.2f} to {asking.ended_at:.2f}: of a "
                f"flood's {len(ends)} requests {before} went before it"
            )
