"""Mutants of what a request passes on its way, chosen from the code: the SDK, a gateway's waiting.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GLEANED_MUTANTS"]

PIECES = "sdk/sie_sdk/wire/pieces.py"
PATIENCE = "sdk/sie_sdk/patience.py"
WAITING = "data_plane/sie_gateway/request/waiting.py"

HELPERS = "tests/unit/test_sdk_helpers.py"
PIECES_LAWS = (
    f"{HELPERS}::test_pieces_hold_every_item_once_in_order_and_no_fewer_than_they_may",
    f"{HELPERS}::test_pieces_of_another_model_or_adapter_than_the_newest_configuration_has_"
    "are_asked_again",
)

GLEANED_MUTANTS = (
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
        "capacity-is-waited-for-a-pause-too-long",
        "a call comes back later than its caller said it may",
        PATIENCE,
        "in_time = elapsed_s + delay <= patience.provision_timeout_s",
        "in_time = elapsed_s <= patience.provision_timeout_s",
        ("tests/property/test_sdk_exchange_laws.py",),
    ),
    edit(
        "the-end-is-told-to-one-run-alone",
        "a request whose time is over begins a second run, and hangs",
        WAITING,
        "        self._over = error\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
    ),
)
