"""Mutants of the writer: drafts, gates, rules, the sequencer.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["WRITER_MUTANTS"]

_DRAFT = "control_plane/sie_config/writer/draft.py"
_DRAFTS = "tests/property/test_draft_laws.py::"
_GROUP = (
    f"{_DRAFTS}test_each_write_is_judged_on_what_the_ones_before_it_left_and_told_what_came_of_it",
)
_AT_ONCE = (
    f"{_DRAFTS}test_simultaneous_commands_have_no_order_and_leave_nothing_that_refers_to_nothing",
)
_CONFIG = "control_plane/sie_config"
_RESTS = (
    "tests/property/test_draft_laws.py::test_a_write_that_rests_on_another_state_than_is_there"
    "_is_not_made",
)
_LAWS = "tests/property/"
CORNERS = "tests/unit/test_log_corners.py"
LAWS = "tests/property/test_store_laws.py"
GATES = "control_plane/sie_config/writer/gates.py"
CONDITIONS = "tests/property/test_condition_laws.py"
_SEQUENCER = "control_plane/sie_config/writer/sequencer.py"
_ORDER = (
    "tests/property/test_sequencer_laws.py::test_what_was_answered_is_committed_and_what_failed"
    "_left_nothing",
)
API = "tests/unit/test_config_api.py"
PLANE = "control_plane/sie_config/writer_process.py"

WRITER_MUTANTS = (
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
        "an-epoch-of-nought-is-no-belief",
        "a write that expects an empty log is made on any",
        f"{_CONFIG}/writer/draft.py",
        "write.if_epoch is not None and write.if_epoch != last.epoch",
        "write.if_epoch and write.if_epoch != last.epoch",
        _RESTS,
    ),
    edit(
        "a-patch-of-what-went-is-made",
        "a patch that was worked out from a model brings it back after its removal",
        f"{_CONFIG}/writer/draft.py",
        "entity.modified_epoch if entity is not None else 0) != seen.modified_epoch",
        "entity.modified_epoch if entity is not None else 0) > seen.modified_epoch",
        _RESTS,
    ),
    edit(
        "the-last-command-says-whether-it-created",
        "a batch that creates a model answers that it created nothing",
        f"{_CONFIG}/writer/draft.py",
        "created = created or admitted.created",
        "created = admitted.created",
        (
            f"{_LAWS}test_draft_laws.py::test_each_write_is_judged_on_what_the_ones_before_it_left_and_told_what_came_of_it",
        ),
    ),
    Mutant(
        "if-match-outside-the-transaction",
        "two writers that both saw version 4 both replace it",
        (
            Edit(
                _DRAFT,
                "        self.registry = registry\n        self.last = last\n",
                "        self.registry = self._committed = registry\n        self.last = last\n",
            ),
            Edit(
                _DRAFT,
                "            admitted = admit(\n                view, self._index,",
                "            judge(self._committed, self._tenure.log_id, command)\n"
                "            command = replace(command, expects=type(command.expects)())\n"
                "            admitted = admit(\n                view, self._index,",
            ),
        ),
        (CORNERS,),
    ),
    edit(
        "rules-remember-what-was-refused",
        "a refused write keeps a name taken",
        _DRAFT,
        "            self._index.restore(touched, self.registry)\n            raise\n",
        "            raise\n",
        (LAWS,),
    ),
    edit(
        "time-goes-back",
        "after a clock step, `at=` a time finds an epoch that was written later",
        _DRAFT,
        "max(self._now_us, parse_ts(last.ts) + 1)",
        "self._now_us",
        (LAWS,),
    ),
    edit(
        "removal-is-measured-by-what-is-left",
        "a batch that empties the registry half wants no reason",
        GATES,
        "len(gone) > _REMOVED_SHARE_MAX * size",
        "len(gone) > _REMOVED_SHARE_MAX * size + len(step.after)",
        ("tests/property/test_gate_laws.py",),
    ),
    edit(
        "revert-keeps-what-came-since",
        "a revert leaves models in place that the older state did not have",
        "control_plane/sie_config/writer/reverting.py",
        "            commands.append(Delete(change.kind, change.key))\n",
        "            continue\n",
        ("tests/property/test_cluster_machine.py",),
    ),
    edit(
        "etag-leaves-out-the-log",
        "a condition on an entity of another log holds by chance",
        "control_plane/sie_config/writer/rules.py",
        "return f'\"{log_id8(log_id)}-{modified_epoch}\"'",
        "return f'\"00000000-{modified_epoch}\"'",
        (CONDITIONS,),
    ),
    edit(
        "an-adapter-is-written-over-any-backend",
        "an adapter that no request can use is in the log, and each that names it is refused",
        "control_plane/sie_config/writer/rules.py",
        "    backends = _without_adapters(msgspec.json.decode(model.document))\n",
        "    backends = ''\n",
        ("tests/property/test_rule_laws.py",),
    ),
    edit(
        "a-model-moves-away-from-its-adapters",
        "a model moves to a backend that takes no adapters, and the requests for its own fail",
        "control_plane/sie_config/writer/rules.py",
        '    backends = _without_adapters(command.document) if names else ""\n',
        "    backends = ''\n",
        ("tests/property/test_rule_laws.py",),
    ),
    edit(
        "a-field-of-no-use-is-written",
        "a profile says after how many tokens a text is cut, and nothing cuts it",
        "control_plane/sie_config/writer/operations.py",
        "    problems += [{",
        "    _ = [{",
        (
            "tests/unit/test_config_writes.py::"
            "test_a_field_that_no_backend_of_a_model_reads_is_refused_by_its_path",
        ),
    ),
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
        "end-of-a-group-is-not-signed",
        "what was written reaches nobody",
        _SEQUENCER,
        "                self._sign_end(draft)\n",
        "",
        ("tests/property/test_cluster_machine.py",),
    ),
    Mutant(
        "phantom-acknowledgement",
        "a write is answered before it is on disk",
        (
            Edit(
                _SEQUENCER,
                "        try:\n            # A crash before this returns",
                "        _answer_all(group, answers)\n"
                "        try:\n            # A crash before this returns",
            ),
            Edit(
                _SEQUENCER,
                "            self._note_failure(error)\n"
                "            _answer_all(group, [error] * size)\n",
                "            self._note_failure(error)\n",
            ),
            Edit(
                _SEQUENCER,
                "            self.enter(Serving(self.witnessed))\n"
                "        _answer_all(group, answers)\n",
                "            self.enter(Serving(self.witnessed))\n",
            ),
        ),
        (API,),
    ),
    edit(
        "dirty-412",
        "a refusal rests on a write that never committed",
        _SEQUENCER,
        "            self._note_failure(error)\n            _answer_all(group, [error] * size)\n",
        "            self._note_failure(error)\n"
        "            _answer_all(group, [a if isinstance(a, SIEError) else error for a in answers])"
        "\n",
        (CORNERS,),
    ),
    edit(
        "registry-swapped-before-the-commit",
        "after a failed commit the writer serves what nobody else will ever have",
        _SEQUENCER,
        "            if draft.entries or draft.keys:\n",
        "            self._swap(draft)\n            if draft.entries or draft.keys:\n",
        (API, CORNERS),
    ),
    edit(
        "full-disk-is-for-ever",
        "there is room again and writes are refused until somebody restarts the writer",
        _SEQUENCER,
        "        may_try = self._is_full() and self._tenure is not None\n",
        "        may_try = False\n",
        (API,),
    ),
    Mutant(
        "damaged-log-is-written",
        "a writer appends to the verified part of a damaged file",
        (
            Edit(
                PLANE,
                "        elif damage is not None:\n"
                "            self.sequencer.enter(Recovery(damage.message))\n",
                "        elif damage is not None:\n            await self._roll_call.resume()\n",
            ),
        ),
        ("tests/unit/test_config_witnesses.py",),
    ),
    edit(
        "a-fifth-itself-wants-a-reason",
        "tidying up a fifth of the models is refused until somebody says why",
        "control_plane/sie_config/writer/gates.py",
        "if len(gone) > _REMOVED_MAX and len(gone) > _REMOVED_SHARE_MAX * size:",
        "if len(gone) > _REMOVED_MAX and len(gone) >= _REMOVED_SHARE_MAX * size:",
        (
            "tests/property/test_gate_laws.py::test_more_than_three_and_more_than_a_fifth_want_a_reason",
        ),
    ),
)
