"""Mutants of the SDK: attempts, patience, exchanges, leases, pieces.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SDK_MUTANTS"]

LEASING = "sdk/sie_sdk/leases/calls.py"
_LEASED = (
    "tests/property/test_leasing_laws.py::test_of_several_leases_those_are_due_whose_time_has_come"
    "_and_the_most_urgent_first",
)
PATIENCE = "sdk/sie_sdk/patience.py"
EXCHANGE_LAWS = "tests/property/test_sdk_exchange_laws.py"
_LAWS = "tests/property/"
_REPLACED = (
    f"{_LAWS}test_patience_laws.py::test_a_gateway_that_was_there_is_replaced_and_a_proxy_is_busy",
)
_PATIENT = (
    "tests/property/test_patience_laws.py::test_a_request_is_sent_again_as_long_as_its_lack_is"
    "_waited_for_and_never_sooner_than_asked",
)
_BOUNDED = (
    f"{_LAWS}test_bounded_answer_laws.py::test_an_answer_is_held_to_its_bound_and_events_each_by"
    "_itself",
)
_WIRE = "sdk/sie_sdk/wire"
_PIECES = (
    f"{_LAWS}test_piece_run_laws.py::test_pieces_in_tasks_are_answered_under_their_numbers_few_at"
    "_a_time",
)
PIECES = "sdk/sie_sdk/wire/pieces.py"
HELPERS = "tests/unit/test_sdk_helpers.py"
PIECES_LAWS = (
    f"{HELPERS}::test_pieces_hold_every_item_once_in_order_and_no_fewer_than_they_may",
    f"{HELPERS}::test_pieces_of_another_model_or_adapter_than_the_newest_configuration_has_"
    "are_asked_again",
)

SDK_MUTANTS = (
    edit(
        "a-renewal-is-of-a-name",
        "a lease that was given anew is lost by the renewal of the one before it",
        LEASING,
        "return self._held.get(held.name) is held",
        "return held.name in self._held",
        (
            "tests/property/test_leasing_laws.py::test_what_comes_of_a_renewal_says_nothing_of_a"
            "_lease_that_was_given_after_it_began",
        ),
    ),
    edit(
        "tries-of-all-lacks-together",
        "after a cold start of five waits, the first broken connection ends the call",
        "sdk/sie_sdk/attempts.py",
        "attempt=self._failed[lack],",
        "attempt=self.failed,",
        (
            "tests/property/test_patience_laws.py::"
            "test_waits_for_one_lack_use_up_no_tries_and_lengthen_no_pause_for_another",
        ),
    ),
    edit(
        "too-many-requests-end-a-lease",
        "a client that is told to wait loses its workers",
        "sdk/sie_sdk/leases/calls.py",
        " and not isinstance(error, Later):",
        ":",
        (
            (
                "tests/property/test_leasing_laws.py::test_a_lease_is_lost_by_what_no_tim"
                "e_mends_and_by_nothing_else"
            ),
        ),
    ),
    edit(
        "failed-renewal-waits-its-whole-turn",
        "one lost request ends a lease",
        LEASING,
        "held.ttl_s * _AGAIN_SHARE_OF_TTL",
        "held.ttl_s",
        ("tests/property/test_leasing_laws.py",),
    ),
    edit(
        "lost-lease-is-renewed-for-ever",
        "a client asks for what is gone, and never says that it is lost",
        LEASING,
        "        if isinstance(error, FixRequest) and not isinstance(error, Later):\n"
        '            self.forget(held.name)\n            return "lost"\n',
        "",
        ("tests/property/test_leasing_laws.py",),
    ),
    edit(
        "late-lease-is-due-at-once-again",
        "a client asks a gateway that is away in a loop without a pause",
        "sdk/sie_sdk/leases/calls.py",
        "again_at = now + min(",
        "again_at = held.due_at + min(",
        _LEASED,
    ),
    edit(
        "last-lease-is-waited-for",
        "of two leases the shorter one ends while the longer one is waited for",
        "sdk/sie_sdk/leases/calls.py",
        "return max(0.0, min(held",
        "return max(0.0, max(held",
        _LEASED,
    ),
    edit(
        "every-lease-lasts-as-ever",
        "a short lease ends before it is renewed",
        "sdk/sie_sdk/leases/calls.py",
        'float(pool.get("spec", {}).get("ttl_seconds", _TTL_S))',
        'float(pool.get("ttl_seconds", _TTL_S))',
        (
            "tests/property/test_leasing_laws.py::test_a_lease_lasts_as_long_as_the_answer_says_and"
            "_as_ever_where_it_does_not",
        ),
    ),
    edit(
        "capacity-is-waited-for-a-pause-too-long",
        "a call comes back later than its caller said it may",
        PATIENCE,
        "in_time = elapsed_s + delay <= patience.provision_timeout_s",
        "in_time = elapsed_s <= patience.provision_timeout_s",
        ("tests/property/test_sdk_exchange_laws.py",),
    ),
    edit(
        "capacity-is-waited-for-without-end",
        "a client waits past the time that it was given",
        PATIENCE,
        "in_time = elapsed_s + delay <= patience.provision_timeout_s",
        "in_time = True",
        (EXCHANGE_LAWS,),
    ),
    edit(
        "retry-after-is-not-heard",
        "clients come again before the server said",
        PATIENCE,
        "grown = max(delay, min(_DELAY_MAX_S, delay * float(2 ** min(attempt, 30))))",
        "grown = min(_DELAY_MAX_S, float(2 ** min(attempt, 30)) / 10)",
        (
            "tests/property/test_patience_laws.py::test_a_request_is_sent_again_as_long_as_its_lack_is_waited"
            "_for_and_never_sooner_than_asked",
        ),
    ),
    edit(
        "a-rollout-has-four-tries",
        "calls end in an error while the gateway behind an address is replaced",
        "sdk/sie_sdk/patience.py",
        "tries = _RECONNECTS_MAX if was_reached else patience.retries_max",
        "tries = patience.retries_max",
        _REPLACED,
    ),
    edit(
        "busy-is-asked-at-one-pace",
        ("clients of a cluster that is full come again as fast as ever, and keep it full"),
        "sdk/sie_sdk/patience.py",
        ("return grown if elapsed_s + grown <= patience.provision_timeout_s else None"),
        ("return delay if elapsed_s + delay <= patience.provision_timeout_s else None"),
        (
            (
                "tests/property/test_sdk_call_laws.py::test_a_pause_doubles_until_half_a_"
                "minute_where_nobody_knows_how_long_it_takes"
            ),
        ),
    ),
    edit(
        "one-retry-too-many",
        "a client sends more often than its caller allowed",
        "sdk/sie_sdk/patience.py",
        "return grown if attempt < patience.retries_max else None",
        "return grown if attempt <= patience.retries_max else None",
        (EXCHANGE_LAWS,),
    ),
    edit(
        "busy-is-only-for-who-waits",
        "a client that will not wait for a start is refused where others are merely ahead of it",
        "sdk/sie_sdk/patience.py",
        "return grown if elapsed_s + grown <= patience.provision_timeout_s else None",
        (
            "return grown if patience.wait_for_capacity and elapsed_s + grown <= "
            "patience.provision_timeout_s else None"
        ),
        _PATIENT,
    ),
    edit(
        "tries-overflow",
        "a client that waits without a bound ends with an OverflowError after half a day",
        "sdk/sie_sdk/patience.py",
        "2 ** min(attempt, 30)",
        "2 ** attempt",
        _PATIENT,
    ),
    edit(
        "retry-after-has-no-bound",
        "a client waits for as long as any server or proxy says",
        "sdk/sie_sdk/refusals.py",
        "        if 0 <= seconds <= _RETRY_AFTER_MAX_S:\n",
        "        if seconds >= 0:\n",
        (EXCHANGE_LAWS,),
    ),
    edit(
        "an-event-ends-inside-a-part",
        "a long stream of events ends in an error where the network cuts between two lines",
        f"{_WIRE}/bounded_answers.py",
        "found = self._last + part",
        "found = part",
        _BOUNDED,
    ),
    edit(
        "whoever-says-stream-may-go-on",
        "a stranger's answer that calls itself events holds a client for ever",
        f"{_WIRE}/bounded_answers.py",
        "asked_for_events = EVENTS.items() <= response.request.extensions.items()",
        'asked_for_events = "event-stream" in response.headers.get("content-type", "")',
        _BOUNDED,
    ),
    edit(
        "given-up-pieces-go-on",
        "a list of which one piece was refused is sent to its end before that is told",
        f"{_WIRE}/piece_runs.py",
        "        for task in running:\n            task.cancel()\n",
        "",
        _PIECES,
    ),
    edit(
        "pieces-of-the-first-configuration",
        "a long list whose model changed meanwhile comes back at the older revision, or mixed",
        PIECES,
        'newest = max(told, key=lambda request: _epoch(request["epoch"]))',
        "newest = told[0]",
        PIECES_LAWS,
    ),
    edit(
        "pieces-of-two-adapters",
        "a long list is answered in parts by two versions of its adapter",
        PIECES,
        'if (request["model_revision"], request["adapter_revision"]) != wanted',
        'if request["model_revision"] != wanted[0]',
        PIECES_LAWS,
    ),
    edit(
        "pieces-remember-what-was-cut-off",
        "after the first full piece every item is a request of its own",
        PIECES,
        "            pieces.append([])\n            chars = 0\n",
        "            pieces.append([])\n",
        PIECES_LAWS,
    ),
    edit(
        "what-was-sent-in-part-is-sent-again",
        "a slow connection has a large request run twice",
        "sdk/sie_sdk/wire/transport.py",
        "httpx.ReadTimeout | httpx.WriteTimeout | httpx.PoolTimeout",
        "httpx.ReadTimeout | httpx.PoolTimeout",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_may_have_been_sent_and_w"
                "as_not_answered_in_time_is_not_sent_again"
            ),
        ),
    ),
    edit(
        "half-of-a-login-stays-in-an-address",
        "a name or a password that somebody put into an address stands in every log",
        "sdk/sie_sdk/wire/call.py",
        "if parts.username is not None or parts.password is not None:",
        "if parts.username is not None and parts.password is not None:",
        (
            "tests/property/test_sdk_exchange_laws.py::test_the_address_is_the_argument_else_the_variable_else_an_error",
        ),
    ),
    edit(
        "a-keeper-rests-for-ever",
        "a client that once had no lease loses each that it takes later",
        "sdk/sie_sdk/leases/keeper.py",
        "                self._thread = None\n                return None",
        "                return None",
        (
            "tests/unit/test_sdk_helpers.py::test_a_keeper_whose_last_lease_ended_renews_the_next_one",
        ),
    ),
    edit(
        "a-task-that-renews-begins-once",
        "the same of a client on a loop: its second lease ends under it",
        "sdk/sie_sdk/leases/keeper.py",
        "        if self._task is None or self._task.done():",
        "        if self._task is None:",
        (
            "tests/unit/test_sdk_helpers.py::test_a_keeper_in_a_task_renews_the_next_lease_after_its_last_ended",
        ),
    ),
    edit(
        "a-keeper-sleeps-through-a-shorter-lease",
        "a short lease ends, because its keeper rests until a longer one is due",
        "sdk/sie_sdk/leases/keeper.py",
        "            self._changed.notify()\n            if self._thread is None",
        "            if self._thread is None",
        (
            "tests/unit/test_sdk_helpers.py::test_a_keeper_that_rests_wakes_for_a_shorter_lease_and_for_its_end",
        ),
    ),
    edit(
        "a-close-does-not-wake-the-keeper",
        "to close a client that has a lease takes five seconds and leaves a thread",
        "sdk/sie_sdk/leases/keeper.py",
        "            self._closed = True\n            self._changed.notify()",
        "            self._closed = True",
        (
            "tests/unit/test_sdk_helpers.py::test_a_keeper_that_rests_wakes_for_a_shorter_lease_and_for_its_end",
        ),
    ),
    edit(
        "a-page-may-lead-to-itself",
        "a stranger at the address of sie-config keeps a client asking",
        "sdk/sie_sdk/config/answers.py",
        "type(place) is not type(self.after) or place == self.after",
        "type(place) is not type(self.after)",
        (
            "tests/property/test_config_answer_laws.py::test_a_listing_has_the_rows_of_every_page_in_order_and_none_that_leads_nowhere",
        ),
    ),
    edit(
        "a-gateway-is-refused-for-what-it-can-answer",
        "what a gateway shows as sie-config does cannot be read from it",
        "sdk/sie_sdk/config/answers.py",
        "_is_a_gateways(answer) and not _holds(answer, call.wants)",
        "_is_a_gateways(answer)",
        (
            "tests/property/test_config_answer_laws.py::test_an_answer_that_has_what_the_call_wants_is_taken_whoever_gives_it",
        ),
    ),
)
