"""Mutants of the words of a process on itself: lines of its log, and what it does not reach.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["RUNTIME_WORDS_MUTANTS"]

LINES = "shared/runtime/sie_runtime/process/bounded_lines.py"
REACH = "shared/runtime/sie_runtime/reach.py"
LOG_SOURCE = "shared/runtime/sie_runtime/follower/log_source.py"
_LINE_LAWS = "tests/property/test_bounded_lines_laws.py::"
_REACHED = "tests/unit/test_reach.py::"
_WRONG = "tests/integration/test_wrong_addresses.py::"
_EACH = (f"{_LINE_LAWS}test_lines_are_bounded_and_each_is_written_or_told_as_passed_over",)
_SOON = (f"{_LINE_LAWS}test_what_was_passed_over_is_told_as_soon_as_anybody_says_anything",)
_LONG = (f"{_LINE_LAWS}test_a_line_is_bounded_whatever_it_repeats",)
_OLD = (f"{_LINE_LAWS}test_what_is_a_window_old_was_written_or_told_however_the_flood_goes_on",)
_LASTS = (
    f"{_REACHED}test_what_lasts_is_told_once_for_each_reason_and_its_end_is_told_where_it_was",
)
_REFUSAL = (f"{_REACHED}test_a_refusal_is_told_at_once",)
_CAUSES = (f"{_REACHED}test_each_cause_has_its_words_however_deep_it_lies",)
_SECRET = (f"{_REACHED}test_no_password_of_an_address_is_repeated",)
_WRITER = (f"{_WRONG}test_a_gateway_with_a_wrong_address_of_sie_config_names_cause_and_cure",)
_BROKER = (
    f"{_WRONG}test_a_gateway_and_a_worker_with_a_wrong_address_of_the_broker_name_cause_and_cure",
)
_OF_WRITER = (
    f"{_WRONG}test_a_writer_with_a_wrong_address_of_the_broker_says_so_in_readyz_and_the_verdict",
)
_LATE = (f"{_WRONG}test_what_comes_late_is_not_told_as_unreached_any_more",)

RUNTIME_WORDS_MUTANTS = (
    edit(
        "a-flood-uses-up-another-files-lines",
        "warnings of one place are passed over for a flood of another",
        LINES,
        "where = record.pathname, record.lineno",
        'where = "", record.lineno',
        _EACH,
    ),
    edit(
        "details-are-bounded",
        "who asked for details is told a hundred of them a minute",
        LINES,
        "if record.levelno < logging.INFO or",
        "if",
        _EACH,
    ),
    edit(
        "information-is-not-bounded",
        "strangers whose coming is told of fill the disk",
        LINES,
        "record.levelno < logging.INFO",
        "record.levelno <= logging.INFO",
        _EACH,
    ),
    edit(
        "lines-of-each-are-bounded",
        "acts of operators are missing from the log behind a flood of them",
        LINES,
        "            return True\n        where",
        "            pass\n        where",
        _EACH,
    ),
    edit(
        "one-line-too-few",
        "what is told as passed over was one more than is said",
        LINES,
        "place.count <= LINES_MAX",
        "place.count < LINES_MAX",
        _EACH,
    ),
    edit(
        "none-is-told-as-passed-over",
        "every place that wrote its most is said to have been silenced",
        LINES,
        "if place.count > LINES_MAX:",
        "if place.count >= LINES_MAX:",
        _EACH,
    ),
    edit(
        "a-flood-renews-its-window",
        "of a flood that never ends nobody is told how large it is",
        LINES,
        "        place.count += 1\n",
        "        place.count += 1\n        place.until = self._clock() + WINDOW_S\n",
        _OLD,
    ),
    edit(
        "passed-over-is-told-by-its-own-place-alone",
        "a flood that ended is told of when it comes again",
        LINES,
        "all_ or each.until <= now",
        "all_ or each.until < now",
        _SOON,
    ),
    edit(
        "what-is-owed-is-lost-at-the-end",
        "a process that ends does not tell what it passed over",
        LINES,
        "self._lines.owed(all_=True)",
        "self._lines.owed()",
        _EACH,
    ),
    edit(
        "lines-passed-over-are-not-counted",
        "an alert on silenced logs never comes",
        LINES,
        "        _PASSED_OVER.inc()\n",
        "",
        _EACH,
    ),
    edit(
        "a-text-of-a-stranger-is-written-whole",
        "a megabyte of a bad value is a megabyte of the log, each time",
        LINES,
        "if isinstance(told, str) and len(told) > _TEXT_MAX:",
        "if False:",
        _LONG,
    ),
    edit(
        "unreached-is-said-after-twenty-seconds",
        "who mistyped an address looks at a process that says nothing",
        REACH,
        "_LASTS_S: Final = 2.0",
        "_LASTS_S: Final = 20.0",
        _LASTS,
    ),
    edit(
        "a-failure-begins-anew-with-each-call",
        "a service that fails at every call is never told as unreached",
        REACH,
        "        elif self._since is None:",
        "        else:",
        _LASTS,
    ),
    edit(
        "a-refusal-has-to-last",
        "a wrong password is told as late as a restart",
        REACH,
        "        if is_refusal:\n",
        "        if False:\n",
        _REFUSAL,
    ),
    edit(
        "the-same-reason-is-told-again",
        "an outage fills the log with one line",
        REACH,
        'self.why_not not in {"", self._told}',
        'self.why_not != ""',
        _LASTS,
    ),
    edit(
        "two-reasons-in-turn-are-news",
        "two addresses that fail differently fill the log",
        REACH,
        "is_due = is_refusal or now - self._told_at >= _AGAIN_S",
        "is_due = True",
        _LASTS,
    ),
    edit(
        "an-end-is-told-that-had-no-beginning",
        "every call that succeeds is a line of the log",
        REACH,
        "        if self._told:\n",
        "        if True:\n",
        _LASTS,
    ),
    edit(
        "who-was-reached-failed-long-ago",
        "one lost call after an hour is told as an outage",
        REACH,
        'self._reason, self._since, self._told = "", None, ""',
        'self._reason, self._told = "", ""',
        _LASTS,
    ),
    edit(
        "a-reason-is-told-for-ever",
        "a service that is reached again is told as unreached in the verdict",
        REACH,
        'return self._reason if lasts else ""',
        'return self._told or (self._reason if lasts else "")',
        _LASTS,
    ),
    edit(
        "only-what-was-named-as-cause-counts",
        "nobody is told that nobody listens, where a client names no cause",
        REACH,
        "return error.__cause__ or error.__context__",
        "return error.__cause__",
        _CAUSES,
    ),
    edit(
        "of-many-failures-none-is-read",
        "an address that resolves to two has no cause and no cure",
        REACH,
        "    if isinstance(error, BaseExceptionGroup):\n        return error.exceptions[0]\n",
        "",
        _CAUSES,
    ),
    edit(
        "an-address-is-told-with-its-password",
        "the broker's password stands in the log and in the verdict",
        REACH,
        "shown = without_password(url)",
        "shown = url",
        _SECRET,
    ),
    edit(
        "any-answer-is-sie-configs",
        "a gateway at the address of another service never says so",
        LOG_SOURCE,
        "        if response.status_code in {httpx.codes.OK, httpx.codes.GONE}:\n",
        "        if response.status_code:\n",
        _WRITER,
    ),
    edit(
        "sie-config-stays-unreached",
        "a verdict names an outage of sie-config that is over",
        LOG_SOURCE,
        "            self.reach.answered()\n",
        "            pass\n",
        _LATE,
    ),
    edit(
        "the-broker-stays-unreached",
        "a verdict names an outage of the broker that is over",
        "shared/runtime/sie_runtime/broker/bus.py",
        '        self.refusal = ""\n        self.reach.answered()\n',
        '        self.refusal = ""\n',
        _LATE,
    ),
    edit(
        "a-gateway-does-not-say-why-it-has-no-registry",
        "/readyz of a gateway with a wrong address names no cause",
        "shared/runtime/sie_runtime/follower/follower.py",
        "why = self.writer_reach.why_not or self.reason",
        "why = self.reason",
        _WRITER,
    ),
    edit(
        "a-gateway-does-not-say-why-it-hears-no-worker",
        "/readyz of a gateway without a broker names no cause",
        "data_plane/sie_gateway/application.py",
        "unreached = [reach.why_not for reach in reaches if reach.why_not]",
        "unreached: list[str] = []",
        _BROKER,
    ),
    edit(
        "the-verdict-leaves-out-what-is-not-reached",
        "`sie doctor` calls a gateway healthy that reaches nothing",
        "data_plane/sie_gateway/http/admin.py",
        "[each for reach in self.reaches for each in reach.troubles()]",
        "[]",
        _WRITER,
    ),
    edit(
        "a-worker-does-not-say-why-it-has-no-broker",
        "/readyz of a worker without a broker names no cause",
        "data_plane/sie_worker/main.py",
        '"bus_reason": bus.reach.why_not',
        '"bus_reason": ""',
        _BROKER,
    ),
    edit(
        "a-writer-does-not-say-why-it-has-no-broker",
        "/readyz of sie-config without a broker names no cause",
        "control_plane/sie_config/http/api.py",
        'plane.bus.reach.why_not if plane.bus is not None else ""',
        '""',
        _OF_WRITER,
    ),
)
