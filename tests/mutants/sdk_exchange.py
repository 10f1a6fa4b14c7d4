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
)
