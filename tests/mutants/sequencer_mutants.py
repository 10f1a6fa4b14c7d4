"""Slips of a tired maintainer in the sequencer, and in what a replica fetches.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SEQUENCER_MUTANTS"]

_SEQUENCER = "control_plane/sie_config/writer/sequencer.py"
_SOURCE = "shared/runtime/sie_runtime/follower/log_source.py"
_ORDER = (
    "tests/property/test_sequencer_laws.py::test_what_was_answered_is_committed_and_what_failed"
    "_left_nothing",
)
_FETCHED = (
    "tests/property/test_feed_laws.py::test_a_fetch_is_what_the_writer_says_or_else_the_page_that"
    "_the_stream_leads_to",
)
_TOKEN = (
    "tests/unit/test_log_source.py::test_a_replica_whose_token_is_none_says_so_once_and_again"
    "_after_it_was_one",
)

SEQUENCER_MUTANTS = (
    edit(
        "who-leaves-takes-the-others-along",
        "of many who send one key, one that gives up has all the others fail",
        _SEQUENCER,
        "await asyncio.shield(ahead)",
        "await ahead",
        _ORDER,
    ),
    edit(
        "a-group-has-no-bound",
        "a crowd of writes becomes one commit, and each waits for all of them",
        _SEQUENCER,
        "size = min(len(self._queue), self._group_writes_max)",
        "size = len(self._queue)",
        _ORDER,
    ),
    edit(
        "a-failed-write-keeps-its-alias",
        "after a full disk a name is taken that no model has",
        _SEQUENCER,
        "            self._index.restore(touched, self.registry)\n",
        "",
        _ORDER,
    ),
    edit(
        "a-full-disk-stays-full",
        "a writer calls itself read-only on a disk that has room, until somebody restarts it",
        _SEQUENCER,
        "if draft.entries and self._is_full():",
        "if not draft.entries and self._is_full():",
        _ORDER,
    ),
    edit(
        "without-a-tenure-a-full-disk-is-tried",
        "a write on a disk that was full at the start is never answered",
        _SEQUENCER,
        "may_try = self._is_full() and self._tenure is not None",
        "may_try = self._is_full()",
        _ORDER,
    ),
    edit(
        "what-is-taken-back-has-no-keys",
        "after a recovery a client that sends again is taken for another write",
        _SEQUENCER,
        "await self._store.append(entries, key_rows_of(entries, self.registry))",
        "await self._store.append(entries)",
        _ORDER,
    ),
    edit(
        "what-is-taken-back-was-there-before",
        "after a recovery the client of a write that created a model is told that it did not",
        _SEQUENCER,
        "key_rows_of(entries, self.registry)",
        "key_rows_of(entries, registry)",
        _ORDER,
    ),
    edit(
        "nobody-is-woken-by-a-state",
        "who waits on the writer's state is not told that it stopped",
        _SEQUENCER,
        "            _STATE.state(_state_name(state))\n            self.wake_followers()",
        "            _STATE.state(_state_name(state))",
        _ORDER,
    ),
    edit(
        "recovery-is-left",
        "a writer whose file was replaced under it writes on",
        _SEQUENCER,
        "if not isinstance(self.state, Recovery) or self.state.lacking is not None:",
        "if self.state is not state:",
        _ORDER,
    ),
    edit(
        "a-term-begins-under-any-key",
        "a writer with a lost key makes a log that every replica turns away",
        _SEQUENCER,
        "            self.log_keys.check(self.last.epoch)\n",
        "            self.log_keys.note(())\n",
        _ORDER,
    ),
    edit(
        "the-end-takes-writes",
        "a write that comes while the writer stops is never answered",
        _SEQUENCER,
        "        finally:\n            self._closed = True",
        "        finally:\n            self._closed = False",
        _ORDER,
    ),
    edit(
        "a-stub-is-passed-over",
        "a replica that fetches from the stream is given entries with a gap between them",
        _SOURCE,
        "            if isinstance(entry, Stub):\n                break\n",
        "            if isinstance(entry, Stub):\n                continue\n",
        _FETCHED,
    ),
    edit(
        "either-of-two-logs-is-begun-with",
        "without its writer a replica begins with a log that another cluster left behind",
        _SOURCE,
        "if len(whole) != 1:",
        "if not whole:",
        _FETCHED,
    ),
    edit(
        "what-the-writer-gave-up-comes-from-the-stream",
        "a replica that is told to take a snapshot asks for entries for ever",
        _SOURCE,
        "        except SourceFailed as error:\n",
        "        except (SourceFailed, RangeGone) as error:\n",
        _FETCHED,
    ),
    edit(
        "a-token-that-fails-again-is-not-told",
        "a replica whose token expires a second time vanishes from the writer without a word",
        _SOURCE,
        "        self._refused = False\n        return _head(response)",
        "        return _head(response)",
        _TOKEN,
    ),
)
