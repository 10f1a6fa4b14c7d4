"""Words without the trusted signature: how many, and the head that may yet turn out to be true.

*pure.* Time is an argument. Where a key is changed, a head under the new one may be heard before
the entry that brings it. Promises:

- A head that the log bears out is never counted as forged.
- Any other is: at once where nothing could bear it out, else after `wait_s`.

One head is waited for at a time. What is said meanwhile is counted with it, as one.
"""

from typing import Final

from sie_core.chain import Position
from sie_core.trust import Trust
from sie_schemas.entry import Entry
from sie_schemas.fleet import Head

__all__ = ["Hearsay"]


class Hearsay:
    """Owner: a replica."""

    def __init__(self, *, wait_s: float) -> None:
        self._wait_s: Final = wait_s
        self.forged: int = 0
        """The number of messages under a wrong signature, or under none where one is due."""
        self._head: Head | None = None
        self._until = 0.0

    def believes(self, signed: Entry | Head, trust: Trust) -> bool:
        """True if the writer vouches for it; what it does not is counted."""
        believed = trust.believes(signed)
        self.forged += not believed
        return believed

    def may_be_true(self, head: Head, here: Position, trust: Trust, now: float) -> bool:
        """False for an untrusted head that no entry after `here` can bear out."""
        by_another = head.signature is not None and head.signature.key_id != trust.key_id
        if not by_another or head.epoch <= here.epoch:
            self.forged += 1
            return False
        # The first alone: each new word of a stranger would put the end of the wait off again.
        if self._head is None:
            self._head, self._until = head, now + self._wait_s
        return True

    def judge(self, here: Position | Entry | None, trust: Trust, now: float) -> None:
        """Look at the head that is waited for, from where the log is known to be by now."""
        head = self._head
        if head is None:
            return
        if here is not None and here.log_id != head.log_id:
            # Of a log that is followed no more: nobody will say what it was.
            self._head = None
            return
        reached = here is not None and here.epoch >= head.epoch
        if reached or now >= self._until:
            self._head = None
            self.forged += not (reached and trust.accepts(head))
