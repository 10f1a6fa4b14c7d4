"""Sessions of the console: who signed in with which token, kept in memory.

*pure.* Seconds are arguments, of one clock. The browser holds a random id and never the token.
Promises that a session ends after its time, and that no more than a number of them are kept. The
oldest of the token that has most goes first: nobody signs others out by signing in. Ids are found
by their hash, so that no comparison tells how near a guess was.
"""

import hashlib
from collections import Counter, OrderedDict
from dataclasses import dataclass
from typing import Final

__all__ = ["Session", "Sessions"]

_KEPT_MAX: Final = 1000
"""Ten times the people of one cluster; beyond it the oldest sign in again."""
_LASTS_S: Final = 12 * 3600.0
"""A shift."""


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in. `csrf` is what a page of ours says with each change, and no other page knows."""

    token: bytes
    csrf: str
    ends_at: float


class Sessions:
    """Every session of this process. They end with it: a restart asks for the token again."""

    def __init__(self, *, kept_max: int = _KEPT_MAX, lasts_s: float = _LASTS_S) -> None:
        self._kept_max = kept_max
        self._lasts_s = lasts_s
        self._kept: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def begin(self, token: bytes, *, session_id: str, csrf: str, now: float) -> Session:
        """Keep a session under a fresh random id."""
        session = Session(token, csrf, now + self._lasts_s)
        self._kept[_key(session_id)] = session
        if len(self._kept) > self._kept_max:
            self._let_one_go()
        return session

    def _let_one_go(self) -> None:
        [(token, _)] = Counter(each.token for each in self._kept.values()).most_common(1)
        del self._kept[next(key for key, each in self._kept.items() if each.token == token)]

    def find(self, session_id: str, now: float) -> Session | None:
        """The session of an id; None where there is none, or not any more."""
        key = _key(session_id)
        found = self._kept.get(key)
        if found is not None and found.ends_at <= now:
            del self._kept[key]
            return None
        return found

    def end(self, session_id: str) -> None:
        """Sign out."""
        self._kept.pop(_key(session_id), None)


def _key(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode()).digest()
