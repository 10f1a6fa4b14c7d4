"""Slips in the heart: stops of a replica, drafts and keys of a log; in every face and in reading.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["HEART_MUTANTS"]

_REPLICA = "shared/core/sie_core/replica/replica.py"
_EARLY = "shared/core/sie_core/replica/early_entries.py"
_TRUST = "shared/core/sie_core/trust.py"
_DRAFT = "control_plane/sie_config/writer/draft.py"
_KEYS = "control_plane/sie_config/keys/log_keys.py"
_FACES = "data_plane/sie_gateway/faces"
_FORMS = "data_plane/sie_worker/forms"
_STOPS = "tests/property/test_replica_stop_laws.py::"
_SIGNED = "tests/property/test_signature_laws.py::"
_DRAFTS = "tests/property/test_draft_laws.py::"
_EVERY = "tests/property/test_every_face_laws.py::"
_READ = "tests/property/test_reading_laws.py::"
_DAMAGED = (f"{_STOPS}test_memory_that_is_bad_is_left_by_a_snapshot_alone_whoever_spoke_before",)
_USELESS = (f"{_STOPS}test_an_answer_of_no_use_is_followed_by_a_pause_that_grows_to_its_bound",)
_RESYNC = (f"{_STOPS}test_a_resync_forgets_all_that_was_believed_but_the_key_that_was_pinned",)
_REFUSED = (f"{_STOPS}test_a_log_that_was_refused_is_asked_about_again_only_once_ours_has_spoken",)
_GROUP = (
    f"{_DRAFTS}test_each_write_is_judged_on_what_the_ones_before_it_left_and_told_what_came_of_it",
)
_AT_ONCE = (
    f"{_DRAFTS}test_simultaneous_commands_have_no_order_and_leave_nothing_that_refers_to_nothing",
)
_KEY = (f"{_SIGNED}test_a_writer_signs_what_its_key_alone_may_and_begins_with_the_newest_key",)
_TEXT = (f"{_READ}test_a_text_is_read_in_the_words_of_its_side_task_and_request",)

HEART_MUTANTS = (
    edit(
        "damage-is-forgiven-beside-a-stranger",
        "a replica whose memory is bad calls itself fresh, where it once refused another log",
        _REPLICA,
        "        self._refused_log = None  # What stops it now is no stranger, and does not leave"
        " with one.\n",
        "",
        _DAMAGED,
    ),
    edit(
        "a-head-ends-a-quarantine",
        "a replica with another state than its writer's is said to be fresh",
        _REPLICA,
        'if self._refused_log is not None and self.stopped == "quarantined":',
        'if self.stopped == "quarantined":',
        _DAMAGED,
    ),
    edit(
        "known-entries-are-an-answer",
        "an old copy is asked for the same entries as fast as it answers",
        _REPLICA,
        "not self._fetches.asked_after < last <= here:",
        "not 0 < last <= here:",
        _USELESS,
    ),
    edit(
        "an-older-snapshot-begins-no-pause",
        "a cache is asked for its old snapshot as fast as it answers",
        _REPLICA,
        "            # A cache, or a writer that lost its tail. Never back.\n"
        "            self._fetches.pause(self._now)\n",
        "",
        _USELESS,
    ),
    edit(
        "an-old-word-is-news",
        "a replica that a broker repeats old heads to calls itself fresh while its writer is away",
        _REPLICA,
        "if here is None or head.epoch >= here.epoch:\n            # An",
        "if True:\n            # An",
        (f"{_STOPS}test_only_a_word_that_is_as_new_as_the_replica_makes_it_fresh",),
    ),
    edit(
        "resync-keeps-the-old-key",
        "an operator who begins a new log cannot bring its replicas to follow it",
        _REPLICA,
        "self.position, self._trust = None, self._pinned",
        "self.position = None",
        _RESYNC,
    ),
    edit(
        "resync-keeps-entries-of-before",
        "entries of the log that was given up are tried behind the new one, and stop its replica",
        _REPLICA,
        '        self._early.clear()\n        return self._ask_snapshot("resync")',
        '        return self._ask_snapshot("resync")',
        _RESYNC,
    ),
    edit(
        "refused-once-is-refused-for-ever",
        "a log that was made to supersede ours is never asked about again",
        _REPLICA,
        '        self.stopped, self.reason, self._refused_log = None, "", None\n'
        "        self._fetches.succeeded()",
        '        self.stopped, self.reason = None, ""\n        self._fetches.succeeded()',
        _REFUSED,
    ),
    edit(
        "a-stranger-stops-our-own-log",
        "somebody else's log on the bus keeps a replica from its own writer's entries",
        _REPLICA,
        "if self.stopped is not None and self._refused_log is None:",
        "if self.stopped is not None:",
        (f"{_STOPS}test_while_a_stranger_is_refused_our_own_log_goes_on",),
    ),
    edit(
        "the-next-number-is-the-next-entry",
        "an entry of another log forks a replica where its number happens to fit",
        _REPLICA,
        "entry.epoch == here.epoch + 1 and entry.prev_hash == here.hash",
        "entry.epoch == here.epoch + 1",
        (f"{_STOPS}test_an_entry_of_another_log_stops_nobody_wherever_it_stands",),
    ),
    edit(
        "a-broken-run-waits",
        "of an unsigned log another history inside of a run is waited for, and no fork is raised",
        _EARLY,
        " and trust.public is not None:",
        ":",
        (
            f"{_STOPS}test_of_a_log_without_keys_an_entry_of_another_history_is_a_fork_also_inside"
            "_a_run",
        ),
    ),
    edit(
        "first-key-signs-nothing",
        "whoever comes first can have his key believed without having it",
        _TRUST,
        "            return then if then.accepts(entry) else self\n        then",
        "            return then\n        then",
        (
            f"{_SIGNED}test_the_first_key_of_all_is_believed_only_if_it_signed_the_entry_that"
            "_brings_it",
        ),
    ),
    edit(
        "any-old-key-may-write",
        "a writer goes on under a key that was replaced, and no replica follows it",
        _KEYS,
        "if self.trust.key_id != self.own.key_id:",
        "if self.own.key_id not in self._public:",
        _KEY,
    ),
    edit(
        "own-word-is-not-believed",
        "a restored writer does not believe what it said itself of the entries that it lost",
        _KEYS,
        "self._public | {self.own.key_id: self.own.public}",
        "self._public",
        _KEY,
    ),
    edit(
        "key-row-names-the-head",
        "a write that changed nothing is answered again with another ETag",
        _DRAFT,
        "modified_epoch=modified_epoch,\n",
        "modified_epoch=outcome.entry.epoch,\n",
        _GROUP,
    ),
    edit(
        "only-the-first-command-counts",
        "a write whose first command changes nothing is answered and not made",
        _DRAFT,
        "for kind, key in touched:\n        old",
        "for kind, key in touched[:1]:\n        old",
        _GROUP,
    ),
    edit(
        "a-trial-stays-in-the-index",
        "names that a dry run would take are refused to everybody after it",
        _DRAFT,
        "        self._index.restore([(c.kind, c.key) for c in write.commands], self.registry)\n"
        "        return replace",
        "        return replace",
        _GROUP,
    ),
    edit(
        "puts-in-the-order-of-the-client",
        "`sie apply` of a folder is refused or not by the order of its files",
        _DRAFT,
        "        real.sort(key=lambda command: _PUT_ORDER[command.kind])\n",
        "",
        _AT_ONCE,
    ),
    edit(
        "any-head-is-the-one-it-came-from",
        "a revert that was worked out from an older head undoes what came since",
        _DRAFT,
        "write.basis_epoch is not None and write.basis_epoch != last.epoch",
        "write.basis_epoch is not None and write.basis_epoch > last.epoch",
        (f"{_DRAFTS}test_a_write_that_rests_on_another_state_than_is_there_is_not_made",),
    ),
    edit(
        "rankings-go-to-the-embedder",
        "a ranking that names no model is asked of one that cannot rank",
        f"{_FACES}/voyage.py",
        "model = models.ranker(",
        "model = models.encoder(",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "unsaid-is-not-to-be-cut",
        "long texts are refused to clients that said nothing of them",
        f"{_FACES}/voyage.py",
        "if request.truncation is False:",
        "if not request.truncation:",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "what-is-false-may-be-anything",
        "a client that asks for what is not there, by a nought, is answered as if it had it",
        f"{_FACES}/face.py",
        "if value is not None and value != default:",
        "if value and value != default:",
        (f"{_EVERY}test_what_may_only_be_so_is_taken_and_anything_else_is_refused_by_its_name",),
    ),
    edit(
        "ids-are-cut-at-their-end",
        "of token ids a model that cuts at the left reads what their text would have lost",
        f"{_FORMS}/tokenizing.py",
        "slice(-self._tokens_max, None) if self._cuts_left else slice(self._tokens_max)",
        "slice(self._tokens_max)",
        (f"{_READ}test_token_ids_are_cut_where_their_text_would_be",),
    ),
    edit(
        "every-prompt-is-skipped",
        "vectors of models that read their prompt leave it out",
        f"{_FORMS}/tokenizing.py",
        "if prompt and self._skips_prompts else 0",
        "if prompt else 0",
        _TEXT,
    ),
    edit(
        "queries-are-read-as-documents",
        "a model that takes queries in another way reads them as its texts",
        f"{_FORMS}/tokenizing.py",
        'tokenizer.queries if side_of(job, loaded) == "query" else tokenizer',
        "tokenizer",
        _TEXT,
    ),
)
