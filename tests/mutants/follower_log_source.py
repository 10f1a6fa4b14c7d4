"""Mutants of `log_source.py` (following the log).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["FOLLOWER_LOG_SOURCE_MUTANTS"]

SOURCE = "shared/runtime/sie_runtime/follower/log_source.py"
_FETCHER = "shared/runtime/sie_runtime/follower/fetcher.py"
_CARRIED_OUT = (
    "tests/property/test_feed_laws.py::test_each_fetch_ends_in_one_event_of_its_own_number_and_a_boot"
    "_alone_may_use_the_stream",
)
_TWO_LOGS = (
    "tests/integration/test_runtime_on_nats.py::"
    "test_of_two_logs_on_one_broker_a_replica_hears_its_own_and_begins_with_neither",
)
_FETCHES = ("tests/unit/test_log_source.py",)
_FETCHED = (
    "tests/property/test_feed_laws.py::test_a_fetch_is_what_the_writer_says_or_else_the_page_that"
    "_the_stream_leads_to",
)
_TOKEN = (
    "tests/unit/test_log_source.py::test_a_replica_whose_token_is_none_says_so_once_and_again"
    "_after_it_was_one",
)

FOLLOWER_LOG_SOURCE_MUTANTS = (
    edit(
        "refused-range-is-an-empty-one",
        "a replica whose token is wrong counts itself as current",
        SOURCE,
        '        response = await self._get("/v1/configs/log", query, None, headers=_NDJSON)\n',
        "        try:\n"
        '            response = await self._get("/v1/configs/log", query, None, headers=_NDJSON)\n'
        "        except SourceFailed:\n"
        "            return ()\n",
        ("tests/unit/test_log_source.py",),
    ),
    edit(
        "ahead-of-the-writer-is-gone",
        "a replica that knows more than its writer takes the writer's snapshot",
        "shared/runtime/sie_runtime/follower/log_source.py",
        "if response.status_code == httpx.codes.GONE:",
        "if response.status_code in (httpx.codes.GONE, httpx.codes.CONFLICT):",
        (
            (
                "tests/unit/test_log_source.py::test_what_is_no_answer_is_a_failure_of_ev"
                "ery_fetch_and_never_an_empty_one"
            ),
        ),
    ),
    edit(
        "the-first-of-two-logs-is-begun-with",
        "beside a test's log on the same broker a new replica follows the wrong one",
        SOURCE,
        "            if len(whole) != 1:\n",
        "            if not whole:\n",
        _TWO_LOGS,
    ),
    edit(
        "a-log-that-begins-later-is-whole",
        "a replica begins a log in its middle, or with none where it could begin",
        SOURCE,
        "if await StoredLog(self._bus, log_id).read_range(0, 1)",
        "if await StoredLog(self._bus, log_id).read_from(0, 1)",
        _TWO_LOGS,
    ),
    edit(
        "a-poll-without-its-digest",
        "a replica with other contents at the writer's epoch waits in its poll for ever",
        SOURCE,
        '                "digest": position.digest,\n',
        "",
        _FETCHES,
    ),
    edit(
        "a-range-that-is-gone-is-a-failure",
        "a replica below the low water asks for its range again and again",
        SOURCE,
        "        if response.status_code == httpx.codes.GONE:\n            raise RangeGone(path)\n",
        "",
        _FETCHES,
    ),
    edit(
        "a-long-poll-ends-before-its-answer",
        "while the bus is away each poll fails a moment before the writer answers",
        SOURCE,
        "read=wait_s + self._timeout_s",
        "read=self._timeout_s",
        _FETCHES,
    ),
    edit(
        "reset-while-connecting-ends-the-process",
        "a link to the writer that breaks at the wrong moment takes gateways and workers down",
        SOURCE,
        "    except (httpx.HTTPError, OSError, AttributeError) as error:\n",
        "    except httpx.HTTPError as error:\n",
        ("tests/unit/test_log_source.py",),
    ),
    edit(
        "a-stub-is-passed-over",
        "a replica that fetches from the stream is given entries with a gap between them",
        SOURCE,
        "            if isinstance(entry, Stub):\n                break\n",
        "            if isinstance(entry, Stub):\n                continue\n",
        _FETCHED,
    ),
    edit(
        "either-of-two-logs-is-begun-with",
        "without its writer a replica begins with a log that another cluster left behind",
        SOURCE,
        "if len(whole) != 1:",
        "if not whole:",
        _FETCHED,
    ),
    edit(
        "what-the-writer-gave-up-comes-from-the-stream",
        "a replica that is told to take a snapshot asks for entries for ever",
        SOURCE,
        "        except SourceFailed as error:\n",
        "        except (SourceFailed, RangeGone) as error:\n",
        _FETCHED,
    ),
    edit(
        "a-token-that-fails-again-is-not-told",
        "a replica whose token expires a second time vanishes from the writer without a word",
        SOURCE,
        "        self._refused = False\n        return _head(response)",
        "        return _head(response)",
        _TOKEN,
    ),
    edit(
        "what-is-gone-is-a-failed-fetch",
        "a replica below the low water asks for what is not served, for ever",
        _FETCHER,
        "event = Gone(command.id)",
        'event = FetchFailed(command.id, "gone")',
        _CARRIED_OUT,
    ),
    edit(
        "a-following-replica-takes-the-stream-s-whole-log",
        "a replica with a state begins anew whenever its writer is away",
        _FETCHER,
        '            if command.reason != "boot":\n                raise\n',
        "",
        _CARRIED_OUT,
    ),
    edit(
        "a-booting-replica-has-no-second-way",
        "while sie-config is down a new gateway serves nobody",
        _FETCHER,
        '            if command.reason != "boot":\n                raise\n',
        "            raise\n",
        _CARRIED_OUT,
    ),
    edit(
        "the-second-way-s-fault-is-told",
        "why the writer gives no snapshot is told nowhere",
        _FETCHER,
        "raise error from None",
        "raise",
        _CARRIED_OUT,
    ),
    edit(
        "a-fetch-begins-one-late",
        "each gap is asked for without its first entry, again and again",
        _FETCHER,
        "command.log_id, command.after, command.until",
        "command.log_id, command.after + 1, command.until",
        _CARRIED_OUT,
    ),
    edit(
        "a-feed-that-ended-well-waits-as-if-it-failed",
        "a replica is behind for twice the pause after each feed",
        "shared/runtime/sie_runtime/follower/replica_feeds.py",
        "                failures = 0 if await",
        "                failures = 1 if await",
        (
            "tests/property/test_feed_laws.py::test_a_feed_that_ended_begins_again_after_one_pause_however_often_it_ended",
        ),
    ),
)
