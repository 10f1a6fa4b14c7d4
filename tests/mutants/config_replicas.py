"""Mutants of what sie-config hears of replicas: reports, convergence, signs of life.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["CONFIG_REPLICAS_MUTANTS"]

_CONFIG = "control_plane/sie_config"
CONVERGENCE = "control_plane/sie_config/replicas/convergence.py"
_WATCH = "tests/property/test_watch_laws.py::"
_MEASURED = (f"{_WATCH}test_each_epoch_is_measured_once_of_each_replica_that_was_heard_before",)
FORGED = "tests/adversary/test_forged_positions.py"
_LAWS = "tests/property/"
_STOPS = (
    f"{_LAWS}test_start_laws.py::test_a_writer_stops_for_an_entry_that_its_key_signed_and_its_log"
    "_has_not_and_for_no_other",
)
HEARING = "control_plane/sie_config/replicas/hearing.py"
TWO = "tests/unit/test_config_two_histories.py"
_LIFE = (
    f"{_LAWS}test_start_laws.py::test_who_is_quiet_is_asked_in_turn_and_is_gone_when_twice_nobody"
    "_listens",
)
_REPORTS = "tests/property/test_report_laws.py::"
_SAID_LAST = (f"{_REPORTS}test_what_is_asked_of_the_reports_is_what_their_senders_said_last",)
REPORT_DOOR = "control_plane/sie_config/replicas/report_door.py"
REPORTING = "tests/adversary/test_reports.py"
REPORTS = "control_plane/sie_config/replicas/reports.py"
CORNERS = "tests/unit/test_log_corners.py"
JUDGED = "tests/unit/test_config_witnesses.py"
SIGHTINGS = "control_plane/sie_config/replicas/sightings.py"
REPORT_LAWS = "tests/property/test_report_laws.py"

CONFIG_REPLICAS_MUTANTS = (
    edit(
        "a-model-that-is-not-held-ends-the-look",
        "a wait for `effective` ends while a replica serves an older revision of the next model",
        f"{_CONFIG}/replicas/convergence.py",
        "        if held is None:\n            continue",
        '        if held is None:\n            return ""',
        (
            "tests/property/test_convergence_laws.py::test_effective_is_where_no_replica_fails_or"
            "_serves_another_revision_of_what_was_changed",
        ),
    ),
    edit(
        "silent-replica-is-not-asked",
        "a change counts as converged while a gateway serves the state before it",
        CONVERGENCE,
        "and seen.at >= goal.committed_at - ttl_s",
        "and seen.at >= goal.committed_at",
        ("tests/property/test_convergence_laws.py",),
    ),
    edit(
        "quorum-is-of-those-who-answered",
        "a wait ends although nobody serves what it waits for",
        CONVERGENCE,
        "satisfied >= enough and not unserved",
        "satisfied >= enough",
        ("tests/unit/test_config_dark.py",),
    ),
    edit(
        "a-word-during-the-look-is-missed",
        "a wait ends half a second after the last replica said that it is there",
        f"{_CONFIG}/replicas/convergence_watch.py",
        """        heard = self._heard
        found = await self._assess(selector, goal, meant)
        if""",
        """        found = await self._assess(selector, goal, meant)
        heard = self._heard
        if""",
        (f"{_WATCH}test_a_wait_ends_with_the_word_that_reaches_it_and_with_none_before",),
    ),
    edit(
        "the-newest-is-not-measured",
        "the time to a replica is that of the entries before the last, and none for a lone one",
        f"{_CONFIG}/replicas/convergence_watch.py",
        "claim.epoch - self._commits_max), claim.epoch + 1)",
        "claim.epoch - self._commits_max), claim.epoch)",
        _MEASURED,
    ),
    edit(
        "behind-since-the-entry-that-it-has",
        "a replica is told to be late by an hour a moment after an entry",
        f"{_CONFIG}/replicas/convergence_watch.py",
        "        lacks = epoch + 1\n",
        "        lacks = epoch\n",
        _MEASURED,
    ),
    edit(
        "claims-need-no-signature",
        "one invented report stops all writes",
        "control_plane/sie_config/replicas/hearing.py",
        "if not self._sequencer.log_keys.vouches_for(claim.proof):",
        "if claim.proof is None:",
        (FORGED,),
    ),
    edit(
        "a-backup-may-end-behind-the-parting",
        "an operator who follows the writer's own words restores both histories in one",
        f"{_CONFIG}/replicas/hearing.py",
        "parted = min(claim.epoch, self._sequencer.begun_at)",
        "parted = claim.epoch",
        _STOPS,
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
        "one-unheard-question-is-a-death",
        "a replica that changes to another broker is told as gone",
        f"{_CONFIG}/replicas/life_signs.py",
        "in await self._unheard(doubted):",
        "in doubted:",
        _LIFE,
    ),
    edit(
        "a-settled-broker-is-that-of-before",
        "replicas on their way back after a broker's restart are told as gone",
        f"{_CONFIG}/replicas/life_signs.py",
        "if self._clock() >= self._settled_at:",
        "if self._clock() >= 0:",
        _LIFE,
    ),
    edit(
        "a-silent-worker-has-a-place",
        "a model is said to be served by a worker that died",
        f"{_CONFIG}/replicas/living.py",
        'report.role == "worker" and age_s <= ttl_s',
        'report.role == "worker"',
        _SAID_LAST,
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
        "a-stopped-replica-has-converged",
        "a change counts as converged at replicas that are quarantined",
        "control_plane/sie_config/replicas/reports.py",
        '"converged": at_head and report.state == "fresh",',
        '"converged": at_head,',
        (
            (
                "tests/property/test_report_laws.py::test_a_replica_has_converged_where_i"
                "t_is_at_the_head_and_fresh"
            ),
        ),
    ),
    edit(
        "one-state-is-one-history",
        "a replica with another entry at the head is shown as converged",
        f"{_CONFIG}/replicas/reports.py",
        """(report.log_id, report.epoch, report.hash, report.digest) == (
            head.log_id,
            head.epoch,
            head.hash,
""",
        """(report.log_id, report.epoch, report.digest) == (
            head.log_id,
            head.epoch,
""",
        (f"{_REPORTS}test_a_replica_has_converged_where_it_is_at_the_head_and_fresh",),
    ),
    edit(
        "traffic-does-not-age",
        "a model that nobody asked for since yesterday cannot be removed without force",
        f"{_CONFIG}/replicas/reports.py",
        "age_s + ago_s <= TRAFFIC_S",
        "ago_s <= TRAFFIC_S",
        _SAID_LAST,
    ),
    edit(
        "replicas-of-any-log-hold-up-writes",
        "a replica of another cluster on the bus keeps a writer from writing",
        f"{_CONFIG}/replicas/reports.py",
        "            and seen.report.log_id == log_id\n",
        "",
        _SAID_LAST,
    ),
    edit(
        "the-shortest-is-asked-first",
        "a writer that lost entries asks those who have least, and gives up before the others",
        f"{_CONFIG}/replicas/reports.py",
        "(each.log_id != log_id, -each.epoch, each.role, each.id)",
        "(each.log_id != log_id, each.epoch, each.role, each.id)",
        _SAID_LAST,
    ),
    edit(
        "given-up-until-the-next-word",
        "a replica that an operator has given up holds up the writes again two seconds later",
        f"{_CONFIG}/replicas/reports.py",
        "if self._overruled and set(SPEAKS) <= set(report.speaks):",
        "if self._overruled:",
        (f"{_REPORTS}test_who_is_given_up_holds_up_no_write_until_it_has_read_everything_once",),
    ),
    edit(
        "what-a-replaced-life-saw-is-forgotten",
        "a replica that was started anew on an empty disk no longer tells of what the log lost",
        f"{_CONFIG}/replicas/reports.py",
        "for seen in self.kept.every_life() if",
        "for seen in self.kept.counted() if",
        (f"{_REPORTS}test_the_lives_of_a_name_are_told_apart_and_none_hides_behind_another",),
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
        "only-those-ahead-are-asked",
        "lost entries are given up though the files of a replica hold them, behind its position",
        REPORTS,
        "known = [seen.report for seen in self.kept.counted()]",
        "known = [seen.report for seen in self.kept.counted() if seen.report.epoch]",
        ("tests/unit/test_log_corners.py",),
    ),
    edit(
        "replaced-reports-use-up-room",
        "after enough reports no replica is heard any more",
        "control_plane/sie_config/replicas/sightings.py",
        ("            self._drop_life(lives, report.life)\n            lives[report.life] = seen"),
        "            lives[report.life] = seen",
        (
            (
                "tests/property/test_report_laws.py::test_reports_that_took_the_place_of_"
                "others_use_up_no_room"
            ),
        ),
    ),
    edit(
        "nobody-takes-the-room-of-nobody",
        "a flood of invented names drives out replicas that have no token",
        f"{_CONFIG}/replicas/sightings.py",
        "seen.at - held.at > self._ttl_s or (seen.is_known and not held.is_known)",
        "seen.at - held.at > self._ttl_s or not held.is_known",
        (
            f"{_REPORTS}test_room_is_made_of_silent_rows_and_for_who_is_known_of_nobodys_and_of"
            "_no_others",
        ),
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
        "a-place-may-be-any-text",
        "a replica keeps the writer's memory full of long names of a place",
        "control_plane/sie_config/replicas/report_door.py",
        "    if any(len(name) > _NAME_MAX for name in report.place or ()):\n"
        '        raise _refused("place", f"takes names of up to {_NAME_MAX} characters")\n',
        "",
        (
            "tests/property/test_report_laws.py::test_a_report_names_a_place_in_words_as_long_as_names_may_be",
        ),
    ),
    edit(
        "another-log-is-no-lag",
        "the view tells of a replica on another log that it is not behind",
        "control_plane/sie_config/http/follow_routes.py",
        '            if row["lag"]\n            else (0.0 if row["lag"] == 0 else None)',
        '            if row["lag"]\n            else 0.0',
        (
            "tests/unit/test_config_time.py::test_the_view_of_replicas_tells_the_lag_in_epochs_and_seconds",
        ),
    ),
)
