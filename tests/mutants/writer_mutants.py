"""Mutants of the writer: its order of steps, its witnesses, the stream, and what it serves.

*types.*
"""

from tests.mutants.mutant import Edit, Mutant, edit

__all__ = ["WRITER_MUTANTS"]

SEQUENCER = "control_plane/sie_config/writer/sequencer.py"
DRAFT = "control_plane/sie_config/writer/draft.py"
PUBLISHER = "control_plane/sie_config/stream/publisher.py"
ROLL_CALL = "control_plane/sie_config/start/roll_call.py"
WITNESSES = "control_plane/sie_config/log/witnesses.py"
HEARING = "control_plane/sie_config/replicas/hearing.py"
RECOVERY = "control_plane/sie_config/start/recovery.py"
REPORTS = "control_plane/sie_config/replicas/reports.py"
SIGHTINGS = "control_plane/sie_config/replicas/sightings.py"
REPORT_DOOR = "control_plane/sie_config/replicas/report_door.py"
DOORS = "control_plane/sie_config/http/doors.py"
ANNOUNCER = "control_plane/sie_config/stream/announcer.py"
EXPORTS = "control_plane/sie_config/upkeep/exports.py"
FOLLOW = "control_plane/sie_config/http/follow_routes.py"
STREAM = "shared/runtime/sie_runtime/streams/log_stream.py"

API = "tests/unit/test_config_api.py"
PUBLISHING = "tests/unit/test_config_publisher.py"
JUDGED = "tests/unit/test_config_witnesses.py"
LAWS = "tests/property/test_store_laws.py"
REPORT_LAWS = "tests/property/test_report_laws.py"
REPORTING = "tests/adversary/test_reports.py"
ROLE_LAWS = "tests/property/test_role_laws.py"
CORNERS = "tests/unit/test_log_corners.py"
DISK = "tests/unit/test_disk_faults.py"
TWO = "tests/unit/test_config_two_histories.py"

WRITER_MUTANTS = (
    edit(
        "the-broker-s-connecting-uses-up-the-roll-call",
        "a writer behind its replicas begins over what they have: the broker was slow to come",
        "control_plane/sie_config/start/roll_call.py",
        "await asyncio.sleep(self._listen_s)",
        "await asyncio.sleep(0.0)",
        ("tests/property/test_simulated_cluster.py::test_a_seed_that_once_found_something_holds",),
    ),
    edit(
        "poll-compares-epoch-only",
        "a replica with other contents at the same epoch is never told",
        FOLLOW,
        "    return (log_id or position.log_id, epoch, digest or position.digest) == (\n",
        "    return (position.log_id, epoch, position.digest) == (\n",
        (API,),
    ),
    edit(
        "snapshot-names-a-later-epoch",
        "a snapshot holds the models of one epoch under the number of another",
        EXPORTS,
        "        registry, lineage, last = log.registry, log.lineage, log.last\n",
        "        registry, lineage = log.registry, log.lineage\n"
        "        await asyncio.sleep(0.02)\n        last = log.last\n",
        (CORNERS,),
    ),
    Mutant(
        "if-match-outside-the-transaction",
        "two writers that both saw version 4 both replace it",
        (
            Edit(
                DRAFT,
                "        self.registry = registry\n        self.last = last\n",
                "        self.registry = self._committed = registry\n        self.last = last\n",
            ),
            Edit(
                DRAFT,
                "            admitted = admit(\n                view, self._index,",
                "            judge(self._committed, self._tenure.log_id, command)\n"
                "            command = replace(command, expects=type(command.expects)())\n"
                "            admitted = admit(\n                view, self._index,",
            ),
        ),
        (CORNERS,),
    ),
    Mutant(
        "phantom-acknowledgement",
        "a write is answered before it is on disk",
        (
            Edit(
                SEQUENCER,
                "        try:\n            # A crash before this returns",
                "        _answer_all(group, answers)\n"
                "        try:\n            # A crash before this returns",
            ),
            Edit(
                SEQUENCER,
                "            self._note_failure(error)\n"
                "            _answer_all(group, [error] * size)\n",
                "            self._note_failure(error)\n",
            ),
            Edit(
                SEQUENCER,
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
        SEQUENCER,
        "            self._note_failure(error)\n            _answer_all(group, [error] * size)\n",
        "            self._note_failure(error)\n"
        "            _answer_all(group, [a if isinstance(a, SIEError) else error for a in answers])"
        "\n",
        (CORNERS,),
    ),
    edit(
        "registry-swapped-before-the-commit",
        "after a failed commit the writer serves what nobody else will ever have",
        SEQUENCER,
        "            if draft.entries or draft.keys:\n",
        "            self._swap(draft)\n            if draft.entries or draft.keys:\n",
        (API, CORNERS),
    ),
    edit(
        "rules-remember-what-was-refused",
        "a refused write keeps a name taken",
        DRAFT,
        "            self._index.restore(touched, self.registry)\n            raise\n",
        "            raise\n",
        (LAWS,),
    ),
    edit(
        "full-disk-is-for-ever",
        "there is room again and writes are refused until somebody restarts the writer",
        SEQUENCER,
        "        may_try = self._is_full() and self._tenure is not None\n",
        "        may_try = False\n",
        (API,),
    ),
    edit(
        "time-goes-back",
        "after a clock step, `at=` a time finds an epoch that was written later",
        DRAFT,
        "max(self._now_us, parse_ts(last.ts) + 1)",
        "self._now_us",
        (LAWS,),
    ),
    edit(
        "bookmark-before-its-entries",
        "a replica that heard the bookmark believes that it missed nothing",
        ANNOUNCER,
        "    if publisher.published >= sequencer.position.epoch:\n",
        "    if publisher.published >= 1:\n",
        (CORNERS,),
    ),
    edit(
        "wrong-sequence-is-fatal",
        "one lost acknowledgement of the broker, and nothing is published any more",
        PUBLISHER,
        "            # It lost its tail, or has this entry already, or another: where it ends tells"
        " which.\n            await self._verify()\n",
        "            raise\n",
        (PUBLISHING,),
    ),
    edit(
        "lost-tail-of-the-stream-is-judged",
        "a broker that lost its last messages stops the log",
        PUBLISHER,
        "        epoch = await self._first_other(tip, head.epoch)\n",
        "        epoch = min(await self._first_other(tip, head.epoch), head.epoch)\n",
        (PUBLISHING,),
    ),
    edit(
        "fence-is-ignored",
        "a zombie overwrites what its successor published",
        PUBLISHER,
        "            if found is not None and await self._may_be_lost(",
        "            if found is None and await self._may_be_lost(",
        (PUBLISHING,),
    ),
    edit(
        "zombie-fences-its-successor",
        "an old writer that wakes up stops the new one",
        PUBLISHER,
        " and found.term >= term\n",
        " and found.term >= 0\n",
        (PUBLISHING,),
    ),
    edit(
        "lost-entries-are-overwritten",
        "what a writer lost, and the stream still has, is deleted with the stream",
        PUBLISHER,
        " and found.term >= term\n",
        " and found.term >= ours.term\n",
        (TWO,),
    ),
    edit(
        "fork-only-rings",
        "a writer whose disk lost what a replica still has goes on writing another history",
        HEARING,
        "        if not isinstance(self._sequencer.state, Recovery):\n            head = ",
        "        if not (ours or isinstance(self._sequencer.state, Recovery)):\n"
        "            head = ",
        (TWO,),
    ),
    edit(
        "stream-is-never-verified-again",
        "a stream that was wiped stays empty",
        PUBLISHER,
        '        """Verify the stream before the next append: after a reconnect,'
        ' and every few seconds."""\n        self._verified = False\n',
        '        """Nothing."""\n',
        (PUBLISHING,),
    ),
    edit(
        "oversized-entry-goes-whole",
        "a batch above the broker's limit is never delivered, nor anything after it",
        PUBLISHER,
        "to_stub(entry) if len(entry.body) >= STUB_BYTES_MIN else to_envelope(entry)",
        "to_envelope(entry)",
        (PUBLISHING,),
    ),
    edit(
        "stream-takes-any-order",
        "a second writer's entry is stored under our next epoch",
        STREAM,
        '            "Nats-Expected-Last-Sequence": str(epoch - 1),\n',
        "",
        ("tests/integration/test_runtime_on_nats.py",),
    ),
    edit(
        "term-is-used-again",
        "two tenures cannot be told apart: the fence has no edge",
        ROLL_CALL,
        "                term = self._sequencer.term + 1\n",
        "                term = self._sequencer.term\n",
        (JUDGED,),
    ),
    edit(
        "empty-volume-mints-a-log",
        "a lost disk is a new log, and every replica is told to forget",
        ROLL_CALL,
        "        if known:\n",
        "        if known is None:\n",
        (DISK,),
    ),
    edit(
        "head-file-is-not-heard",
        "a log that lost its tail is written from an older epoch",
        WITNESSES,
        "    for claim in [*claims, *([own] if own is not None else [])]:\n",
        "    for claim in claims:\n",
        (JUDGED, DISK),
    ),
    edit(
        "farther-claim-is-not-heard",
        "a restored backup takes writes although others have seen more",
        WITNESSES,
        "            if farthest is None or claim.epoch > farthest.epoch:\n",
        "            if farthest is not None and claim.epoch > farthest.epoch:\n",
        (JUDGED,),
    ),
    edit(
        "other-hash-is-not-heard",
        "a file whose history differs from the cluster's takes writes",
        WITNESSES,
        "        elif claim.hash and hash_at(claim.epoch) != claim.hash:\n",
        "        elif not claim.hash:\n",
        (JUDGED,),
    ),
    edit(
        "lost-entries-are-believed",
        "what a replica gives back is written although it folds to another state",
        RECOVERY,
        "    if after.digest != entry.state_digest:\n",
        "    if not after.digest:\n",
        (
            "tests/property/test_start_laws.py::test_a_log_that_lost_its_end_goes_as_far_as_stream_and_replicas"
            "_lead_it",
        ),
    ),
    edit(
        "vacuous-convergence",
        "with no replica at all, the cluster is said to have converged",
        REPORTS,
        '"converged": bool(live) and all(',
        '"converged": all(',
        (CORNERS,),
    ),
    edit(
        "convergence-compares-epochs",
        "a replica with other contents counts as converged",
        REPORTS,
        "        at_head = (report.log_id, report.epoch, report.hash, report.digest) == (\n"
        "            head.log_id,\n            head.epoch,\n            head.hash,\n"
        "            head.digest,\n        )\n",
        "        at_head = report.epoch == head.epoch\n",
        (CORNERS,),
    ),
    edit(
        "one-name-one-row",
        "of two replicas of one name the one that is behind hides behind the other's word",
        SIGHTINGS,
        "            self._take_turns(lives, report)\n",
        "            lives.clear()\n",
        (REPORT_LAWS,),
    ),
    edit(
        "unreadable-kind-is-written",
        "one write halts every replica of the older release",
        REPORTS,
        "            and not newer <= set(seen.report.speaks)\n",
        "            and not newer\n",
        (JUDGED,),
    ),
    edit(
        "nobody-in-particular-stops-writes",
        "any report over HTTP of a replica that reads nothing stops every write",
        REPORTS,
        "            and seen.is_known\n",
        "",
        (JUDGED,),
    ),
    edit(
        "given-up-and-heard-again",
        "a replica that an operator gave up stops the writes again two seconds later",
        REPORTS,
        "            self._overruled.add((role, replica_id))\n",
        "            pass\n",
        (JUDGED,),
    ),
    edit(
        "lack-of-what-every-release-reads",
        "a worker that says it reads nothing holds up every write",
        REPORTS,
        "set(kinds) - FIRST_KINDS",
        "set(kinds)",
        (JUDGED,),
    ),
    edit(
        "any-token-speaks-for-any-replica",
        "the token of one worker reports as every other",
        REPORT_DOOR,
        "    if not speaker.is_known or speaker.speaks_as(report.role, report.id):\n",
        "    if not speaker.is_known or speaker.replica:\n",
        (REPORTING,),
    ),
    edit(
        "every-route-knows-a-trial",
        "who may only try a change compacts the log for good",
        DOORS,
        "        if self.trial is not None and query and _is_trial(query):\n"
        "            return self.trial\n",
        '        if query and _is_trial(query):\n            return self.trial or "propose"\n',
        (ROLE_LAWS,),
    ),
    edit(
        "unknown-parameter-is-passed-over",
        "a write that was meant as a trial is made",
        DOORS,
        "        if query:\n            check_query(query, self.query, "
        'route=f"{request.method} {request.url.path}")\n',
        "",
        (ROLE_LAWS,),
    ),
    edit(
        "trimmed-range-starts-late",
        "a replica that is far behind gets the newer entries and no word of the older",
        FOLLOW,
        "    if after < head.low_water - 1:\n",
        "    if after < 0:\n",
        (API,),
    ),
    edit(
        "writer-ahead-goes-unnoticed",
        "a replica that knows more than its writer is answered with silence",
        FOLLOW,
        "    if after > head.epoch:\n",
        "    if after < 0:\n",
        (API,),
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
        "only-those-ahead-are-asked",
        "lost entries are given up though the files of a replica hold them, behind its position",
        REPORTS,
        "known = [seen.report for seen in self.kept.counted()]",
        "known = [seen.report for seen in self.kept.counted() if seen.report.epoch]",
        ("tests/unit/test_log_corners.py",),
    ),
)
