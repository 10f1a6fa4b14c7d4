"""Mutants of `exchange.py` (the SDK).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SDK_EXCHANGE_MUTANTS"]

EXCHANGE = "sdk/sie_sdk/exchange.py"
EXCHANGE_LAWS = "tests/property/test_sdk_exchange_laws.py"

SDK_EXCHANGE_MUTANTS = (
    edit(
        "one-failed-item-fails-the-list",
        "of a thousand texts one is too long, and none has a vector",
        "sdk/sie_sdk/exchange.py",
        'if call.is_single and "error" in entries[0]:',
        'if entries and "error" in entries[0]:',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_an_item_that_failed_stands_in"
                "_its_place_of_a_list_and_alone_is_raised"
            ),
        ),
    ),
    edit(
        "a-word-that-is-false-is-not-said",
        "a client whose texts are queries by default cannot call one a document",
        "sdk/sie_sdk/exchange.py",
        'if told.get("is_query") is not None:',
        'if told.get("is_query"):',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_travels_as_i"
                "t_was_said_and_nothing_else_does"
            ),
        ),
    ),
    edit(
        "sick-workers-are-capacity",
        "a client that waited for a worker goes on with one that answers nobody",
        "sdk/sie_sdk/exchange.py",
        ('if worker.get("healthy") and (gpu is None or worker.get("gpu") == gpu.lower())'),
        'if gpu is None or worker.get("gpu") == gpu.lower()',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_only_workers_that_are_well_an"
                "d_of_the_wanted_kind_are_capacity"
            ),
        ),
    ),
    edit(
        "pool-of-the-client-wins",
        "a call that names its pool runs in the client's",
        "sdk/sie_sdk/exchange.py",
        'told.get("pool") or defaults.pool)',
        'defaults.pool or told.get("pool"))',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "oom-zero-is-usual",
        "who wants no further try waits for three",
        "sdk/sie_sdk/exchange.py",
        "oom_retries_max=usual.oom_retries_max if oom_retries is None else oom_retries,",
        "oom_retries_max=oom_retries or usual.oom_retries_max,",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "timeout-zero-is-usual",
        "who does not want to wait waits for a quarter of an hour",
        "sdk/sie_sdk/exchange.py",
        "usual.provision_timeout_s if timeout_s is None else timeout_s,",
        "timeout_s or usual.provision_timeout_s,",
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "empty-key-of-the-environment",
        "a key of the environment goes to a cluster that was to have none",
        "sdk/sie_sdk/exchange.py",
        'key = environ.get("SIE_API_KEY") if api_key is None else api_key',
        'key = api_key or environ.get("SIE_API_KEY")',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_a_key_that_is_given_is_the_"
                "one_that_is_sent_also_where_it_is_none"
            ),
        ),
    ),
    edit(
        "lora-id-unasked",
        "an error does not name the adapter that was asked for",
        "sdk/sie_sdk/exchange.py",
        '"lora": options.get("lora") or options.get("lora_id"),',
        '"lora": options.get("lora"),',
        (
            (
                "tests/property/test_sdk_call_laws.py::test_what_a_call_says_of_its_pla"
                "ce_and_patience_goes_before_all_else"
            ),
        ),
    ),
    edit(
        "clients-options-win-over-the-calls",
        "a call that says otherwise gets what the client was made with",
        EXCHANGE,
        'return {**defaults.options, **(told.get("options") or {})}',
        'return {**(told.get("options") or {}), **defaults.options}',
        (EXCHANGE_LAWS,),
    ),
    edit(
        "answer-may-be-longer",
        "an answer with an item too many is taken, and all behind it are another's",
        EXCHANGE,
        "if not isinstance(entries, list) or len(entries) != call.count:",
        "if not isinstance(entries, list) or len(entries) < call.count:",
        (EXCHANGE_LAWS,),
    ),
    edit(
        "two-pieces-are-no-pieces",
        "a list in two requests is answered by two versions of a model",
        "sdk/sie_sdk/exchange.py",
        "return older(answers) if len(answers) > 1 else []",
        "return older(answers) if len(answers) > 2 else []",
        (
            "tests/property/test_patience_laws.py::test_pieces_of_another_revision_than_the_newest"
            "_are_asked_for_again",
        ),
    ),
    edit(
        "no-time-is-the-usual-time",
        "a client that waits for nothing waits a quarter of an hour",
        "sdk/sie_sdk/exchange.py",
        "usual.provision_timeout_s if timeout_s is None else timeout_s",
        "timeout_s or usual.provision_timeout_s",
        (
            "tests/property/test_patience_laws.py::test_what_a_call_says_of_its_patience_counts_also"
            "_where_it_is_nothing",
        ),
    ),
    edit(
        "a-date-has-no-bound",
        "a client waits until next year where a clock is wrong",
        "sdk/sie_sdk/refusals.py",
        "return max(0.0, seconds) if seconds <= _RETRY_AFTER_MAX_S else None",
        "return max(0.0, seconds)",
        (
            "tests/property/test_sdk_exchange_laws.py::test_the_most_exact_pause_that_can_be_waited_for_is_heard",
        ),
    ),
    edit(
        "a-202-needs-a-pause",
        "a client takes a cluster without a worker for one that failed",
        "sdk/sie_sdk/refusals.py",
        "    if status == 202:\n",
        "    if status == 202 and retry_after_s is not None:\n",
        (
            "tests/property/test_sdk_exchange_laws.py::test_the_most_exact_pause_that_can_be_waited_for_is_heard",
        ),
    ),
    edit(
        "an-items-model-hides-the-answers",
        "a result names another model than the one that gave it",
        "sdk/sie_sdk/exchange.py",
        "[{**entry, **shared} for entry in entries]",
        "[{**shared, **entry} for entry in entries]",
        (
            "tests/property/test_sdk_exchange_laws.py::test_an_answer_has_exactly_as_many_results_as_items_were_sent",
        ),
    ),
    edit(
        "no-time-for-an-answer-is-the-usual",
        "who waits for no answer waits for minutes",
        "sdk/sie_sdk/wire/transport.py",
        "read_timeout_s if read_timeout_s is not None else both",
        "read_timeout_s or both",
        (
            "tests/property/test_sdk_call_laws.py::test_each_time_that_is_said_is_the_one_that_is_waited_also_where_it_is_none",
        ),
    ),
    edit(
        "no-time-for-a-connection-is-the-usual",
        "who waits for no connection waits for ten seconds",
        "sdk/sie_sdk/wire/transport.py",
        "connect_timeout_s if connect_timeout_s is not None else min(_CONNECT_S, both)",
        "connect_timeout_s or min(_CONNECT_S, both)",
        (
            "tests/property/test_sdk_call_laws.py::test_each_time_that_is_said_is_the_one_that_is_waited_also_where_it_is_none",
        ),
    ),
    edit(
        "an-empty-text-is-none",
        "an empty text is refused as an item without one",
        "sdk/sie_sdk/inputs.py",
        "if value is not None:\n            known",
        "if value:\n            known",
        ("tests/unit/test_sdk_items.py::test_one_item_is_one_item_in_whatever_form_it_comes",),
    ),
    edit(
        "a-callers-key-is-not-sent",
        "a write that is asked for again with its key is written twice",
        "sdk/sie_sdk/config/calls.py",
        'headers = {"Idempotency-Key": terms.idempotency_key or fresh}',
        'headers = {"Idempotency-Key": fresh}',
        (
            "tests/property/test_sdk_call_laws.py::test_a_write_has_the_key_of_its_caller_else_one_of_its_own",
        ),
    ),
    edit(
        "the-rest-of-the-pieces-is-asked-in-vain",
        "after an error a client still asks for thousands of items whose answers it drops",
        "sdk/sie_sdk/wire/piece_runs.py",
        "            threads.shutdown(wait=False, cancel_futures=True)",
        "            threads.shutdown(wait=False)",
        (
            "tests/property/test_piece_run_laws.py::test_after_an_error_or_when_nobody_reads_on_the_rest_in_threads_is_never_asked",
        ),
    ),
)
