"""Mutants of HTTP within bounds, and of the life of a process.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["RUNTIME_HTTP_MUTANTS"]

RUNTIME_HTTP_MUTANTS = (
    edit(
        "a-websocket-begins-behind-a-request",
        "a stranger fills the bound of bodies for ever, and frames stand among answers",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        "self._declines = not is_ours or not self.is_waiting",
        "self._declines = not is_ours",
        (
            "tests/unit/test_bounded_http.py::test_a_websocket_behind_a_request_under_way_is_an_offer_that_is_passed_over",
        ),
    ),
    edit(
        "a-websocket-has-two-places",
        "a newcomer to a full house cuts off who watches",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        "        self._account.leave(self)\n        super().handle_websocket_upgrade()",
        "        super().handle_websocket_upgrade()",
        (
            "tests/unit/test_bounded_http.py::test_a_websocket_has_one_place_and_leaves_it_to_no_newcomer",
        ),
    ),
    edit(
        "bodies-behind-an-answer-are-not-counted",
        "requests sent ahead hold any number of bytes",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        (
            "        if self.pipeline:\n"
            "            self._start_asgi_task(*self.pipeline.pop())\n"
            "        elif self._held:\n"
            "            self._release()"
        ),
        (
            "        if self._held:\n"
            "            self._release()\n"
            "        if self.pipeline:\n"
            "            self._start_asgi_task(*self.pipeline.pop())"
        ),
        (
            "tests/unit/test_bounded_http.py::test_bodies_that_wait_for_an_answer_are_bounded_together",
        ),
    ),
    edit(
        "who-never-asks-may-rest",
        "connections that never ask hold their places for minutes",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        "in_head = self._raw > 0 or self.cycle is None",
        "in_head = self._raw > 0",
        (
            "tests/unit/test_bounded_http.py::test_who_never_asks_has_the_time_of_a_head_and_who_has_asked_may_rest",
        ),
    ),
    edit(
        "our-own-pause-is-the-clients",
        "a client is cut off for what the application took to read",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        (
            "            self.since, self._raw, self._content, self._content_at = now, 0, 0, 0\n"
            "            return"
        ),
        "            return",
        (
            "tests/unit/test_bounded_http.py::test_the_time_that_an_application_takes_to_read_is_none_of_its_client",
        ),
    ),
    edit(
        "a-refusal-comes-before-its-turn",
        "an answer is taken for that of another request",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        (
            "        elif self.pipeline:\n"
            "            self.pipeline[0] = (last_cycle(self), refusing(error))\n"
        ),
        "",
        (
            "tests/unit/test_bounded_http.py::test_however_it_is_cut_a_request_gets_its_own_answer_in_its_turn",
        ),
    ),
    edit(
        "those-with-least-are-cut-off",
        "who reads slowly is cut off in place of a crowd that reads nothing",
        "shared/runtime/sie_runtime/http/connections.py",
        "(-of_address[each[0].address], each[0].since)",
        "(of_address[each[0].address], each[0].since)",
        (
            "tests/property/test_connection_laws.py::test_answers_that_nobody_reads_stay_within_their_bound_and_no_more_are_cut_off",
        ),
    ),
    edit(
        "connections-take-every-descriptor",
        "a full house leaves no descriptor for the log and the broker",
        "shared/runtime/sie_runtime/http/connections.py",
        "    return max(soft - _OTHER_FILES, soft // 2)",
        "    return soft",
        (
            "tests/unit/test_bounded_http.py::test_as_many_connections_are_taken_as_there_is_room_for_beside_the_other_files",
        ),
    ),
    edit(
        "every-descriptor-is-asked-for",
        "a process that leaks descriptors takes the whole machine's",
        "shared/runtime/sie_runtime/http/connections.py",
        "soft = min(needed, hard)",
        "soft = hard",
        (
            "tests/unit/test_bounded_http.py::test_as_many_connections_are_taken_as_there_is_room_for_beside_the_other_files",
        ),
    ),
    edit(
        "times-are-looked-at-by-the-longest",
        "a short bound is kept a second late",
        "shared/runtime/sie_runtime/http/connections.py",
        "min(self._times) / 4))",
        "max(self._times) / 4))",
        (
            "tests/property/test_connection_laws.py::test_the_times_are_looked_at_four_times_in_the_shortest_within_reason",
        ),
    ),
    edit(
        "who-leaves-ends-the-look",
        "one that leaves while it is looked at ends the process",
        "shared/runtime/sie_runtime/http/connections.py",
        "for visitor in list(self._visitors):\n            visitor.look",
        "for visitor in self._visitors:\n            visitor.look",
        (
            "tests/property/test_connection_laws.py::test_each_is_looked_at_also_where_others_leave_while_it_is",
        ),
    ),
    edit(
        "the-users-mask-is-replaced",
        "files are open to whom the user's own mask closed them",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "os.umask(os.umask(0o077) | 0o077)",
        "os.umask(0o077)",
        (
            "tests/unit/test_lifecycle.py::test_files_are_closed_to_others_and_to_whom_the_users_own_mask_closes_them",
        ),
    ),
    edit(
        "a-defect-ends-well",
        "a process that failed is taken for one that was told to end",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        ('that nobody handled")\n        sys.exit(1)\n    finally'),
        'that nobody handled")\n    finally',
        (
            "tests/unit/test_lifecycle.py::test_an_error_that_nobody_handled_ends_a_process_with_status_1_and_one_line",
        ),
    ),
    edit(
        "a-group-that-is-no-exception-is-a-trace",
        "the last word of a process is forty lines that no collector reads",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "    except BaseExceptionGroup as group:",
        "    except ExceptionGroup as group:",
        (
            "tests/unit/test_lifecycle.py::test_an_error_that_nobody_handled_ends_a_process_with_status_1_and_one_line",
        ),
    ),
    edit(
        "others-stop-after-a-success-alone",
        "a writer without its publisher goes on",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "    try:\n        await task\n    finally:\n        stop.set()",
        "    await task\n    stop.set()",
        (
            "tests/unit/test_lifecycle.py::test_the_others_stop_however_the_task_that_they_follow_is_over",
        ),
    ),
    edit(
        "a-cancelled-server-listens-on",
        "the loop reads a descriptor that is somebody else's",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        '            for each in getattr(server, "servers", ()):\n                each.close()\n',
        "",
        ("tests/unit/test_lifecycle.py::test_a_server_that_is_over_listens_no_more",),
    ),
    edit(
        "every-port-is-shared",
        "a second gateway on one port takes half of the requests",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "    if share:\n        listener",
        "    if True:\n        listener",
        (
            "tests/unit/test_lifecycle.py::test_a_port_that_another_has_is_told_and_not_shared_unless_both_share_it",
        ),
    ),
    edit(
        "a-port-that-is-taken-leaks",
        "each attempt at a taken port leaves a socket",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "    except OSError:\n        listener.close()\n        raise\n",
        "    except OSError:\n        raise\n",
        (
            "tests/unit/test_lifecycle.py::test_a_port_that_another_has_is_told_and_not_shared_unless_both_share_it",
        ),
    ),
    edit(
        "a-short-drain-is-none",
        "requests under way are cut off at a stop",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        "max(1, round(drain_s))",
        "round(drain_s)",
        (
            "tests/unit/test_bounded_http.py::test_what_is_under_way_when_the_server_stops_is_answered",
        ),
    ),
    edit(
        "a-long-address-is-of-version-4",
        "a host in IPv6 that is written out is refused",
        "shared/runtime/sie_runtime/process/lifecycle.py",
        'socket.AF_INET6 if ":" in host',
        'socket.AF_INET6 if host.startswith("::")',
        ("tests/unit/test_lifecycle.py::test_a_server_that_is_over_listens_no_more",),
    ),
    edit(
        "a-reader-that-is-late-is-cut-off",
        "an answer that a client had not read at the first look breaks off",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        "            self._unsent, self._unsent_since = unsent, now",
        "            self._unsent = unsent",
        ("tests/unit/test_bounded_http.py::test_who_reads_late_but_reads_gets_the_whole_answer",),
    ),
    edit(
        "a-door-beside-health-is-open-to-strangers",
        "whoever has no certificate reaches each path that begins as health does",
        "shared/runtime/sie_runtime/http/bounded_http.py",
        'if self._is_stranger and url.partition(b"?")[0] not in _OPEN:',
        "if self._is_stranger and not url.startswith(tuple(_OPEN)):",
        (
            "tests/adversary/test_tls.py::test_whoever_shows_no_certificate_may_ask_for_health_alone",
        ),
    ),
)
