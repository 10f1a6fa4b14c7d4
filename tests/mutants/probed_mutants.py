"""Mutants of rooms that nobody had looked through: devices, followers, leases, the command line.

*types.*
"""

from typing import Final

from tests.mutants.mutant import Mutant, edit

__all__ = ["PROBED_MUTANTS"]

_DEVICE: Final = "data_plane/sie_worker/device/device.py"
_INFERENCE: Final = "data_plane/sie_gateway/request/inference.py"
_FEEDS: Final = "shared/runtime/sie_runtime/follower/replica_feeds.py"
_SOURCE: Final = "shared/runtime/sie_runtime/follower/log_source.py"
_LAWS: Final = ("tests/property/test_device_laws.py",)
_SHARES: Final = ("tests/property/test_lease_share_laws.py",)
_FEED_TESTS: Final = ("tests/unit/test_replica_feeds.py",)
_TWO_LOGS: Final = (
    "tests/integration/test_runtime_on_nats.py::"
    "test_of_two_logs_on_one_broker_a_replica_hears_its_own_and_begins_with_neither",
)

PROBED_MUTANTS: Final[tuple[Mutant, ...]] = (
    edit(
        "who-left-during-a-load-is-run",
        "while a model loads its clients leave, and the device works for them all the same",
        _DEVICE,
        "        refused |= self._drop_unwanted(holds)\n",
        "",
        _LAWS,
    ),
    edit(
        "a-part-that-was-answered-is-run-again",
        "a batch that is split runs anew from its beginning when a later part finds its model gone",
        _DEVICE,
        """            return await self._run_present(batch, part)

        return await run_isolated(run, work, passes_max=self._limits.isolation_passes_max)
""",
        """            return await self._run_wanted(batch, part)

        for _ in range(_EVICTED_MAX + 1):
            try:
                return await run_isolated(run, work, passes_max=self._limits.isolation_passes_max)
            except SIEError as error:
                if error.code not in _NOT_LOADED:
                    raise
                self.models.forget(batch.lane.model_revision)
        raise AssertionError
""",
        _LAWS,
    ),
    edit(
        "one-share-for-all-profiles-of-a-lease",
        "requests that wait for one kind of worker use up a lease's share of every other",
        _INFERENCE,
        'f"lease {lease.name!r} on {route.machine_profile}"',
        'f"lease {lease.name!r}"',
        _SHARES,
    ),
    edit(
        "one-share-for-all-leases",
        "a client's lease is used up by another client's requests",
        _INFERENCE,
        'f"lease {lease.name!r} on {route.machine_profile}"',
        'f"lease on {route.machine_profile}"',
        _SHARES,
    ),
    edit(
        "the-share-of-the-largest-profile",
        "a lease of one H100 and eight CPUs may use eight H100",
        _INFERENCE,
        "lease.gpu_caps.get(route.machine_profile) if lease is not None else None",
        "max(lease.gpu_caps.values(), default=None) if lease is not None else None",
        _SHARES,
    ),
    edit(
        "a-replica-ahead-of-its-writer-spins",
        "a replica that differs from its writer asks it without a pause, as do a thousand of them",
        _FEEDS,
        "fruitless = fruitless + 1 if silent and hasty and seen == (head, here) else 0",
        "fruitless = 0",
        _FEED_TESTS,
    ),
    edit(
        "a-stopped-replica-holds-a-long-poll",
        "a replica that stopped has a poll open at its writer all the time",
        _FEEDS,
        "if silent and self._following() else 0.0",
        "if silent else 0.0",
        _FEED_TESTS,
    ),
    edit(
        "an-idle-replica-never-rests",
        "an idle cluster of a thousand replicas wakes ten thousand times a second",
        _FEEDS,
        "(_CALM_TICKS if calm else 1)",
        "1",
        _FEED_TESTS,
    ),
    edit(
        "the-first-of-two-logs-is-begun-with",
        "beside a test's log on the same broker a new replica follows the wrong one",
        _SOURCE,
        "            if len(whole) != 1:\n",
        "            if not whole:\n",
        _TWO_LOGS,
    ),
    edit(
        "a-log-that-begins-later-is-whole",
        "a replica begins a log in its middle, or with none where it could begin",
        _SOURCE,
        "if await StoredLog(self._bus, log_id).read_range(0, 1)",
        "if await StoredLog(self._bus, log_id).read_from(0, 1)",
        _TWO_LOGS,
    ),
)
