"""Mutants of what every process runs on: access, the broker, HTTP, streams.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["RUNTIME_MUTANTS"]

ACCESS = "shared/runtime/sie_runtime/access/access.py"
GATEWAY_LAWS = "tests/property/test_gateway_laws.py"
STREAM = "shared/runtime/sie_runtime/streams/log_stream.py"
UNREAD = "shared/runtime/sie_runtime/access/unread_bodies.py"
UNREAD_TESTS = "tests/adversary/test_unread_bodies.py::"
PARSER = "shared/runtime/sie_runtime/broker/direct_parser.py"
PARSER_LAWS = "tests/property/test_bus_parser_laws.py::"

RUNTIME_MUTANTS = (
    edit(
        "replica-pattern-is-any-prefix",
        "a gateway's token reports as another whose name begins with its own",
        ACCESS,
        "        return told == self.replica\n",
        "        return told.startswith(self.replica)\n",
        ("tests/unit/test_access.py",),
    ),
    edit(
        "token-taken-back-stays",
        "a token that was taken back is good until the process ends",
        ACCESS,
        "            self._grants = self._read(path)\n        except",
        "            self._grants = tuple(dict.fromkeys((*self._grants, *self._read(path))))\n"
        "        except",
        ("tests/unit/test_access.py",),
    ),
    edit(
        "refused-requests-count",
        "a client that is told to wait, and asks, waits for ever",
        "shared/runtime/sie_runtime/access/rates.py",
        "self._free_at[caller] = free_at + self._step_s if taken else free_at",
        "self._free_at[caller] = free_at + self._step_s",
        (GATEWAY_LAWS,),
    ),
    edit(
        "one-timer-for-the-first-alone",
        "a request waits for ever beside one that was answered",
        "shared/runtime/sie_runtime/broker/overdue.py",
        ("                self._timer = loop.call_at(due_at, self._look)\n                break"),
        "                break",
        (
            (
                "tests/property/test_overdue_laws.py::test_each_that_waits_is_told_once_a"
                "t_its_time_in_order_and_who_left_is_not"
            ),
        ),
    ),
    edit(
        "what-is-overdue-is-told-again",
        "a job is given up, and again, and again",
        "shared/runtime/sie_runtime/broker/overdue.py",
        ("            found = self._waiting.pop(key, None)\n            if found is not None:"),
        ("            found = self._waiting.get(key)\n            if found is not None:"),
        (
            (
                "tests/property/test_overdue_laws.py::test_each_that_waits_is_told_once_a"
                "t_its_time_in_order_and_who_left_is_not"
            ),
        ),
    ),
    edit(
        "a-body-of-the-very-bound-is-refused",
        "what may just be sent is refused",
        "shared/runtime/sie_runtime/http/bodies.py",
        "        if size > bytes_max:",
        "        if size >= bytes_max:",
        (
            (
                "tests/unit/test_http_words.py::test_a_body_is_read_up_to_its_bound_and_r"
                "efused_from_the_next_byte_on"
            ),
        ),
    ),
    edit(
        "newest-connections-leave-first",
        "who just came in is sent away, and a crowd that asks for nothing stays",
        "shared/runtime/sie_runtime/http/connections.py",
        "most.sort(key=lambda visitor: visitor.since)",
        "most.sort(key=lambda visitor: -visitor.since)",
        (
            (
                "tests/property/test_connection_laws.py::test_who_leaves_for_a_newcomer_w"
                "aited_longest_of_the_address_that_has_most"
            ),
        ),
    ),
    edit(
        "half-a-body-is-a-body",
        "a document that was cut on its way is written as far as it came",
        "shared/runtime/sie_runtime/http/encodings.py",
        ('            raise _malformed("it breaks off")\n'),
        "            break\n",
        (
            (
                "tests/unit/test_http_words.py::test_a_coded_body_that_breaks_off_is_refu"
                "sed_and_never_read_as_a_shorter_one"
            ),
        ),
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
        "an-unread-body-is-passed-over",
        "a delete is made that was meant as a trial, which its body said",
        UNREAD,
        "    if isinstance(found, dict) and found:\n",
        "    if False:\n",
        (f"{UNREAD_TESTS}test_a_body_that_no_route_reads_is_refused_by_the_name_in_it",),
    ),
    edit(
        "an-empty-body-is-one",
        "published clients that send `{}` or `null` with a delete are refused",
        UNREAD,
        'if found is None or found in ({}, [], ""):',
        "if False:",
        (f"{UNREAD_TESTS}test_a_body_that_says_nothing_is_none",),
    ),
    edit(
        "chunks-are-no-body",
        "a delete whose trial was said in chunks is made",
        UNREAD,
        'if length in _ABSENT and b"transfer-encoding" not in headers:',
        "if length in _ABSENT:",
        (
            f"{UNREAD_TESTS}test_over_the_wire_a_delete_with_a_body_is_made_only_when_the_body_"
            "is_empty",
        ),
    ),
    edit(
        "a-status-route-passes-over-a-body",
        "a word to a worker in a body is passed over, and answered with 200",
        "shared/runtime/sie_runtime/process/status_routes.py",
        "            await check_no_body(scope, receive, {}, gone=_Gone)\n",
        "",
        (f"{UNREAD_TESTS}test_a_body_at_a_status_route_of_worker_or_execution_is_refused",),
    ),
    edit(
        "any-white-space-parts-words",
        "a worker's user hands a message to whichever subscription it names, or cuts everybody off",
        PARSER,
        'return line.split(b" ")',
        "return line.split()",
        (f"{PARSER_LAWS}test_no_byte_of_a_subject_is_another_word_of_its_line",),
    ),
    edit(
        "what-cannot-be-read-ends-the-reading",
        "one message with no headers in its headers, and a process hears nothing for a while",
        PARSER,
        "        except (UnicodeError, ValueError, LookupError) as error:\n",
        "        except ZeroDivisionError as error:\n",
        (f"{PARSER_LAWS}test_a_message_that_the_library_cannot_read_is_told_and_the_next_is_read",),
    ),
    edit(
        "a-header-ends-at-its-last-colon",
        "an id with a colon is another one behind the broker",
        "shared/runtime/sie_runtime/broker/direct_parser.py",
        'line.partition(":")',
        'line.rpartition(":")',
        (
            "tests/property/test_bus_parser_laws.py::test_headers_are_read_with_the_status_among_them",
        ),
    ),
    edit(
        "send-again-is-rounded-down",
        "clients come again before there is room, and are refused once more",
        "shared/runtime/sie_runtime/http/error_headers.py",
        "math.ceil(retry_after_s)",
        "math.floor(retry_after_s)",
        (
            "tests/unit/test_http_words.py::test_when_to_send_again_is_told_in_whole_seconds_never_too_soon_and_in_milliseconds",
        ),
    ),
    edit(
        "send-again-at-once",
        "a short wait is told as none, and a crowd comes again at once",
        "shared/runtime/sie_runtime/http/error_headers.py",
        "max(1, math.ceil(retry_after_s))",
        "math.ceil(retry_after_s)",
        (
            "tests/unit/test_http_words.py::test_when_to_send_again_is_told_in_whole_seconds_never_too_soon_and_in_milliseconds",
        ),
    ),
    edit(
        "a-coding-has-one-case",
        "a client that writes GZIP is refused",
        "shared/runtime/sie_runtime/http/encodings.py",
        "coding.strip().lower()",
        "coding.strip()",
        ("tests/unit/test_http_words.py::test_a_coding_is_known_in_any_case",),
    ),
    edit(
        "an-unread-body-is-read-as-it-came",
        "a packed body says nothing, and a delete is made that was meant as a trial",
        "shared/runtime/sie_runtime/access/unread_bodies.py",
        "    body = decoded(coding, body, _BYTES_MAX, too_large=_too_large)\n",
        "",
        (
            "tests/adversary/test_unread_bodies.py::test_a_body_that_no_route_reads_is_refused_by_the_name_in_it",
        ),
    ),
    edit(
        "an-unread-form-has-no-names",
        "a trial that was said in a form is refused without its name",
        "shared/runtime/sie_runtime/access/unread_bodies.py",
        'return dict(pairs) if b"=" in body and pairs else False',
        "return False",
        (
            "tests/adversary/test_unread_bodies.py::test_a_body_that_no_route_reads_is_refused_by_the_name_in_it",
        ),
    ),
    edit(
        "what-nobody-can-read-says-nothing",
        "a delete is made whose body was cut on its way",
        "shared/runtime/sie_runtime/access/unread_bodies.py",
        'dict(pairs) if b"=" in body and pairs else False',
        'dict(pairs) if b"=" in body and pairs else None',
        (
            "tests/adversary/test_unread_bodies.py::test_a_body_that_nobody_can_read_is_refused_and_bounded",
        ),
    ),
    edit(
        "a-bomb-is-unpacked",
        "a small body that no route reads takes gigabytes",
        "shared/runtime/sie_runtime/access/unread_bodies.py",
        "body = decoded(coding, body, _BYTES_MAX, too_large=_too_large)",
        "body = decoded(coding, body, 2**40, too_large=_too_large)",
        (
            "tests/adversary/test_unread_bodies.py::test_a_body_that_nobody_can_read_is_refused_and_bounded",
        ),
    ),
)
