"""Mutants of the bus: who hears, who is called, and what is kept.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["RUNTIME_BUS_MUTANTS"]

RUNTIME_BUS_MUTANTS = (
    edit(
        "a-broker-that-left-was-never-there",
        "a writer with an empty file begins a second log while its broker starts again",
        "shared/runtime/sie_runtime/broker/bus.py",
        "        return never and self._found_nobody",
        "        return (never or not self.connected) and self._found_nobody",
        (
            "tests/integration/test_runtime_on_nats.py::test_a_broker_that_once_was_there_is_never_taken_for_none",
        ),
    ),
    edit(
        "subscribing-waits-for-the-flusher",
        "who is told to leave while it subscribes goes on, and hears for ever",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "        self._push(f\"SUB {sub._subject} {sub._queue or ''} {sub._id}\\r\\n\".encode())",
        "        await super()._send_subscribe(sub)",
        (
            "tests/integration/test_runtime_on_nats.py::test_who_leaves_while_it_subscribes_is_gone_and_hears_nothing",
        ),
    ),
    edit(
        "a-subject-of-any-length-is-sent",
        "the broker ends a gateway's connection for a name that a worker's user made up",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "if not subject or _too_long(whole) or",
        "if not subject or",
        ("tests/adversary/test_broker_lines.py",),
    ),
    edit(
        "a-callback-on-reconnects-is-never-forgotten",
        "each feed that ended is told of every reconnection, for as long as the process lives",
        "shared/runtime/sie_runtime/broker/bus.py",
        "        return lambda: self._on_reconnect.remove(callback)",
        "        return lambda: None",
        (
            "tests/integration/test_runtime_on_nats.py::test_what_has_ended_is_not_called_and_leaves_nothing_behind",
        ),
    ),
    edit(
        "refusals-add-up-to-an-absence",
        "a broker that hangs beside addresses that refuse is taken for none",
        "shared/runtime/sie_runtime/broker/bus.py",
        "self._found_nobody + 1 if nobody else 0",
        "self._found_nobody + nobody",
        (
            "tests/integration/test_runtime_on_nats.py::test_a_bus_tells_a_broker_that_is_absent_from_one_that_is_silent",
        ),
    ),
    edit(
        "a-refusal-outlives-the-way-in",
        "a broker that let us in and left is blamed for a password",
        "shared/runtime/sie_runtime/broker/bus.py",
        '        self.refusal = ""\n        self.reach.answered()',
        "        self.reach.answered()",
        (
            "tests/integration/test_runtime_on_nats.py::test_a_refusal_is_of_the_last_attempt_and_of_none_once_it_is_let_in",
        ),
    ),
    edit(
        "an-awaited-callback-hears-the-broker",
        "what a stream gives out is taken for the word of a process",
        "shared/runtime/sie_runtime/broker/bus.py",
        "            if by_broker or not is_of_broker(message):\n                result",
        "            if True:\n                result",
        (
            "tests/integration/test_runtime_on_nats.py::test_who_hears_processes_hears_nothing_that_the_broker_was_made_to_send",
        ),
    ),
    edit(
        "an-interest-ends-twice",
        "a drain that follows an end fails its process",
        "shared/runtime/sie_runtime/broker/bus_messages.py",
        "        forget, self._forget = self._forget, None\n",
        "        forget = self._forget\n",
        (
            "tests/integration/test_runtime_on_nats.py::test_what_has_ended_is_not_called_and_leaves_nothing_behind",
        ),
    ),
    edit(
        "a-message-of-just-the-bound-is-refused",
        "a payload of the length that the broker names is refused",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "            self._check_sending()\n        if size > self._max_payload:",
        "            self._check_sending()\n        if size >= self._max_payload:",
        (
            "tests/integration/test_runtime_on_nats.py::test_a_message_of_just_the_bound_is_taken_and_none_that_is_longer",
        ),
    ),
    edit(
        "a-timer-outlives-its-answer",
        "a gateway holds each answer for as long as it would have waited",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "            timer.cancel()\n            del",
        "            del",
        (
            "tests/integration/test_runtime_on_nats.py::test_what_has_ended_is_not_called_and_leaves_nothing_behind",
        ),
    ),
    edit(
        "places-of-answers-are-counted",
        "a worker that was asked once answers the next question in another's name",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        'inbox = f"{self._process_prefix}{secrets.token_hex(8)}"',
        'inbox = f"{self._process_prefix}{next(self._numbers)}"',
        (
            "tests/adversary/test_broker_lines.py::test_who_answered_before_cannot_answer_the_next_question",
        ),
    ),
    edit(
        "a-taker-outlives-its-interest",
        "each replica and job that ended leaves something in memory",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "        self._takers.pop(sid, None)\n",
        "",
        (
            "tests/integration/test_runtime_on_nats.py::test_what_has_ended_is_not_called_and_leaves_nothing_behind",
        ),
    ),
    edit(
        "what-waits-is-overtaken",
        "a message that came later is taken first",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "held = kept or not parser.idle or not self.is_connected",
        "held = not parser.idle or not self.is_connected",
        (
            "tests/property/test_bus_parser_laws.py::test_nothing_is_overtaken_and_no_data_is_read_as_a_message",
        ),
    ),
    edit(
        "data-is-read-as-a-message",
        "a stranger's payload names the subscription that hears it",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "held = kept or not parser.idle or not self.is_connected",
        "held = kept or not self.is_connected",
        (
            "tests/property/test_bus_parser_laws.py::test_nothing_is_overtaken_and_no_data_is_read_as_a_message",
        ),
    ),
    edit(
        "who-asks-chooses-the-subject-of-an-answer",
        "a worker has sie-config publish where it may not",
        "shared/runtime/sie_runtime/broker/bus_messages.py",
        'return self.reply.startswith(f"{ANSWERS}.")',
        "return bool(self.reply)",
        (
            "tests/integration/test_runtime_on_nats.py::test_an_answer_goes_to_where_processes_answer_and_to_no_other_subject",
        ),
    ),
    edit(
        "what-a-stream-gives-out-is-a-word",
        "a stored message is taken for the word of a process",
        "shared/runtime/sie_runtime/broker/bus_messages.py",
        'not ("Status" in told or "Nats-Stream" in told)',
        'not ("Status" in told)',
        (
            "tests/integration/test_runtime_on_nats.py::test_who_hears_processes_hears_nothing_that_the_broker_was_made_to_send",
        ),
    ),
    edit(
        "a-second-answer-is-an-error",
        "a replica that answers twice fills the count of the broker's errors",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "if waiting is not None and not waiting.done():",
        "if waiting is not None:",
        (
            "tests/integration/test_runtime_on_nats.py::test_of_many_answers_the_first_counts_and_the_others_are_no_errors",
        ),
    ),
    edit(
        "what-was-sent-still-counts-as-waiting",
        "after two megabytes each command to the broker waits",
        "shared/runtime/sie_runtime/broker/direct_client.py",
        "self._pending = self._pending, []\n        self._pending_data_size = 0\n",
        "self._pending = self._pending, []\n",
        (
            "tests/integration/test_runtime_on_nats.py::test_what_has_ended_is_not_called_and_leaves_nothing_behind",
        ),
    ),
)
