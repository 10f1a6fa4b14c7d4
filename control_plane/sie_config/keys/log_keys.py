"""The keys of a log: which of them sign it, and what they vouch for.

*shell* over the arithmetic of signatures; no I/O. Knows every key that the log brought, in order,
and the private key of this writer. Promises that a position is vouched for only by a key of this
log or this writer's own. Nothing is signed which a reader on its way through the log would not
believe.
"""

from collections.abc import Iterable

from sie_core.trust import Trust, keys_of, vouched_for
from sie_runtime.signing import SigningKey, verify
from sie_schemas.entry import Entry, Stub
from sie_schemas.errors import Untrusted
from sie_schemas.fleet import Head

__all__ = ["LogKeys"]


class LogKeys:
    """The keys of one log. Owner: its sequencer."""

    def __init__(self, own: SigningKey, lineage: Iterable[Entry]) -> None:
        self.own = own
        """The key of this writer, private half and all."""
        self.trust = Trust(verify)
        """The belief of a reader that stands at the head."""
        self._public: dict[str, bytes] = {}
        self.note(lineage)

    def note(self, entries: Iterable[Entry]) -> None:
        """Take up the keys that entries of the log bring, in their order."""
        for entry in entries:
            for key_id, public in keys_of((entry,)).items():
                self._public[key_id] = public
                then = self.trust.after(entry)
                # A log that was begun because the key was lost is signed by the key that it brings.
                self.trust = then if then.key_id == key_id else Trust(verify, public)

    def signed(self, entry: Entry) -> Entry:
        """An entry with its position signed, where this writer's key may do so.

        What is older than that key keeps the signature that it has, if any: no reader believes a
        key before it has met it.
        """
        may_sign = self.trust.key_id == self.own.key_id and entry.epoch > self.trust.since
        return self.own.signed(entry) if may_sign and entry.signature is None else entry

    def vouches_for(self, signed: Entry | Stub | Head | None) -> bool:
        """True if a position that somebody tells is signed by a key of this log or of this writer.

        Its own is asked too: a restored file may lack the entry that brought it.
        """
        return vouched_for(signed, self._public | {self.own.key_id: self.own.public}, verify)

    def check(self, head: int) -> None:
        """Raise `Untrusted` unless this writer's key is the one that signs the log at its head."""
        if self.trust.public is None:
            raise Untrusted(
                "the log is of a release that did not sign it: once every gateway and worker runs "
                "a release that checks signatures, stop sie-config and run `sie log adopt`",
                code="LOG_RECOVERY",
            )
        if self.trust.key_id != self.own.key_id:
            raise Untrusted(
                f"the log is signed by key {self.trust.key_id}, and the key here is "
                f"{self.own.key_id}: put the right one in its place and start again. If it is "
                f"lost, `sie log backup`, and `sie log restore` that with --discard-after {head} "
                "into a new folder, which begins a new log under a new key",
                code="LOG_RECOVERY",
            )
