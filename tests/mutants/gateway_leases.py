"""Mutants of leases: the desk, bounds, who may ask.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_LEASES_MUTANTS"]

_DESK = "data_plane/sie_gateway/leases/lease_desk.py"
_LEASES = "tests/property/test_lease_laws.py::"
_SAID = (f"{_LEASES}test_what_a_desk_has_said_of_a_lease_is_so_at_once",)
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
LEASES = "tests/property/test_lease_laws.py::test_"
_LEASES_LEASES = "data_plane/sie_gateway/leases/leases.py"
LEASE_LAWS = "tests/property/test_lease_laws.py"

GATEWAY_LEASES_MUTANTS = (
    edit(
        "a-lease-ends-only-where-it-is-known",
        "behind two gateways a lease cannot be ended at every other try",
        _DESK,
        "if name not in (await self._store.read()).held:",
        "if name not in self._table.held:",
        _SAID,
    ),
    edit(
        "a-lease-is-given-by-an-old-table",
        "a gateway that read the leases before another one gave any gives none itself",
        _DESK,
        "version=table.version)",
        "version=self._table.version)",
        _SAID,
    ),
    edit(
        "a-renewal-is-told-to-no-worker",
        "the models of a lease stay away after a worker that had them is replaced",
        _DESK,
        "            await self._tell_pinned(lease)\n            return {",
        "            return {",
        _SAID,
    ),
    edit(
        "a-lease-hides-a-pool",
        "the list of pools shows a lease where the log has a pool of that name",
        _DESK,
        """        views = {
            lease.spec.name: lease_view(lease, there.get(lease.spec.queue_pool, ()))
            for lease in leases
        } | views
""",
        """        views |= {
            lease.spec.name: lease_view(lease, there.get(lease.spec.queue_pool, ()))
            for lease in leases
        }
""",
        (f"{_LEASES}test_a_pool_that_comes_to_the_log_is_meant_where_a_lease_had_its_name",),
    ),
    edit(
        "who-is-overtaken-comes-back-late",
        "a client whose lease was changed by many at once waits longer than for a restart",
        _DESK,
        "        retry_after_s=0.5,\n",
        "",
        (f"{_LEASES}test_who_is_always_overtaken_is_asked_to_come_again_soon",),
    ),
    edit(
        "leases-are-judged-alone",
        "clients lease more workers of a pool than it has",
        _DESK,
        "check_grant(self._registry(), others, request",
        "check_grant(self._registry(), others[:0], request",
        WORLD,
    ),
    edit(
        "older-table-tells-of-a-new-lease",
        "a lease that was just given is unknown at another gateway",
        _DESK,
        "        if self._next is None:\n",
        "        self._next = self._next or self._looking\n        if self._next is None:\n",
        (LEASES + "a_lease_is_known_at_every_gateway_also_where_an_older_table_is_on_its_way",),
    ),
    edit(
        "leases-without-a-registry",
        "a gateway that has just started says of every pool that there is none",
        _DESK,
        "        if resolver.position is None:\n            raise Later(",
        "        if resolver is None:\n            raise Later(",
        (LEASES + "a_gateway_without_a_registry_says_nothing_of_pools_and_leases",),
    ),
    edit(
        "lease-is-in-its-own-way",
        "a lease that fills its pool can be neither changed nor given again",
        _DESK,
        "others = [each.lease for name, each in table.held.items() if name != request.name]",
        "others = [each.lease for each in table.held.values()]",
        ("tests/property/test_lease_laws.py",),
    ),
    edit(
        "lease-is-written-on-an-old-table",
        "two gateways give the same workers to two clients",
        _DESK,
        "            except LeaseMoved:\n                await self._pause(attempt)\n"
        "                continue\n            # `placed`",
        "            except LeaseMoved:\n                await self._pause(attempt)\n"
        "            # `placed`",
        ("tests/property/test_lease_laws.py",),
    ),
    edit(
        "one-lease-more-than-there-may-be",
        "the table of leases grows beyond its bound",
        "data_plane/sie_gateway/leases/leases.py",
        "len(others) >= caps.leases_max",
        "len(others) > caps.leases_max",
        (f"{_LEASES}test_a_share_is_given_exactly_where_its_pool_has_so_much_left",),
    ),
    edit(
        "assigned-over-the-cap",
        "a lease is shown more workers than it may use",
        "data_plane/sie_gateway/leases/leases.py",
        "            left[worker.machine_profile] -= 1\n",
        "",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "lease-of-another-bundle",
        "a lease counts as active with workers that cannot run its models",
        "data_plane/sie_gateway/leases/leases.py",
        "fits = worker.pool == spec.queue_pool and spec.bundle in (None, worker.bundle)",
        "fits = worker.pool == spec.queue_pool",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "active-with-any",
        "a lease counts as active while half of its workers are missing",
        "data_plane/sie_gateway/leases/leases.py",
        "active = bool(assigned) and all(have[name]",
        "active = bool(assigned) and any(have[name]",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "warm-beyond-the-pool",
        "leases keep more workers than their pool may have",
        "data_plane/sie_gateway/leases/leases.py",
        "return wanted if most is None else min(wanted, most)",
        "return wanted",
        (
            (
                "tests/property/test_lease_laws.py::test_a_pool_keeps_what_its_leases_w"
                "ant_warm_together_and_never_more_than_it_may"
            ),
        ),
    ),
    edit(
        "default-is-leased",
        "a lease hides the pool of every request that names none",
        "data_plane/sie_gateway/leases/leases.py",
        "if name in resolver.pools or name == _DEFAULT_POOL:",
        "if name in resolver.pools:",
        (
            (
                "tests/property/test_lease_laws.py::test_no_lease_has_the_name_of_a_poo"
                "l_nor_default_also_where_there_is_no_such_pool"
            ),
        ),
    ),
    edit(
        "share-by-wanted-only",
        "a lease waits for workers that it may not use",
        "data_plane/sie_gateway/leases/leases.py",
        "if request.gpus.get(name, 0) > request.share[name]:",
        "if False:",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_counts_on_no_more_work"
                "ers_than_it_may_use"
            ),
        ),
    ),
    edit(
        "share-counts-only-the-others",
        "the last lease of a pool may take more than there is",
        _LEASES_LEASES,
        "    if taken + wanted > most:\n",
        "    if taken > most:\n",
        (LEASE_LAWS,),
    ),
    edit(
        "share-counts-every-pool",
        "leases of one pool use up another's workers",
        _LEASES_LEASES,
        "        for lease in others\n        if lease.spec.queue_pool == request.queue_pool\n"
        "    )\n"
        "    if taken",
        "        for lease in others\n    )\n    if taken",
        (LEASE_LAWS,),
    ),
)
