"""Mutants of the fleet as a gateway sees it: lives, holders, routing, demand.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_FLEET_MUTANTS"]

FLEET = "data_plane/sie_gateway/fleet/fleet.py"
DEMAND = "data_plane/sie_gateway/fleet/demand.py"
DEMAND_LAWS = (
    "tests/property/test_asked_laws.py::test_a_worker_that_asks_is_told_once_of_what_was_asked_for"
    "_and_of_what_is_pinned",
)
GATEWAY_LAWS = "tests/property/test_gateway_laws.py"
DEATH_LAWS = "tests/property/test_death_laws.py"
HOLDERS = "data_plane/sie_gateway/fleet/holders.py"
LIVES = "data_plane/sie_gateway/fleet/lives.py"
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
ROUTING = "data_plane/sie_gateway/fleet/routing.py"
LEASE_LAWS = "tests/property/test_lease_laws.py"

_WATCHED = (
    "tests/property/test_death_laws.py::"
    "test_the_watch_wakes_for_a_newly_ready_worker_and_tells_of_deaths_and_reconnections"
)

GATEWAY_FLEET_MUTANTS = (
    edit(
        "never-news-again",
        "the second request of the day for a model waits for its load",
        DEMAND,
        "return before is None or now - before > self._keep_s",
        "return before is None",
        (
            (
                "tests/property/test_asked_laws.py::test_what_was_asked_for_is_news_onc"
                "e_in_its_time_and_the_newest_are_remembered"
            ),
        ),
    ),
    edit(
        "oldest-wish-first",
        "a worker that starts loads what was asked for longest ago",
        DEMAND,
        "return list(reversed(kept))",
        "return list(kept)",
        (
            (
                "tests/property/test_asked_laws.py::test_what_was_asked_for_is_news_onc"
                "e_in_its_time_and_the_newest_are_remembered"
            ),
        ),
    ),
    edit(
        "pinned-is-told-to-nobody",
        "a worker that starts loads a lease's models with their first jobs",
        DEMAND,
        "[*self._remembered.of(kind, _now()), *self._pinned(kind)]",
        "[*self._remembered.of(kind, _now())]",
        DEMAND_LAWS,
    ),
    edit(
        "crowd-is-told-of-each",
        "a crowd that asks for one model floods the workers that start",
        DEMAND,
        "if self._remembered.ask(kind, wanted, _now()):",
        "if not self._remembered.ask(kind, wanted, _now()) or True:",
        DEMAND_LAWS,
    ),
    edit(
        "lost-word-fails-the-request",
        "while the broker is away, a 202 is an error",
        DEMAND,
        "        with suppress(BusUnavailable):",
        "        with suppress(KeyError):",
        DEMAND_LAWS,
    ),
    edit(
        "ready-under-its-old-kind",
        "requests go to a worker of a kind that it is no more",
        "data_plane/sie_gateway/fleet/fleet.py",
        (
            "        kind = known.heartbeat.kind\n        there = self._ready[kind]\n"
            "        del there[worker_id]\n        if not there:\n            del "
            "self._ready[kind]"
        ),
        "        return",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "full-fleet-forgets",
        "a fleet holds more workers than may be",
        "data_plane/sie_gateway/fleet/fleet.py",
        "len(self._seen) < WORKERS_MAX",
        "len(self._seen) <= WORKERS_MAX",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "leaving-is-live",
        "requests go to workers that said farewell",
        "data_plane/sie_gateway/fleet/fleet.py",
        "if not heartbeat.leaving and len",
        "if len",
        (
            (
                "tests/property/test_gateway_laws.py::test_a_worker_is_ready_under_the_"
                "kind_of_its_last_word_and_no_more_are_known_than_may_be"
            ),
        ),
    ),
    edit(
        "silent-worker-is-warm",
        "requests wait in a queue that nobody pulls, where a 202 would have brought a worker",
        FLEET,
        "            if now - seen.at > self.ttl_s:\n                return\n            yield",
        "            yield",
        (GATEWAY_LAWS,),
    ),
    edit(
        "death-takes-the-next-life-too",
        "a worker that was started again gets no requests until it is heard once more",
        FLEET,
        "if known is not None and known.heartbeat.life == life:",
        "if known is not None:",
        (DEATH_LAWS,),
    ),
    edit(
        "silence-is-no-answer-held",
        "what a stopped worker runs is given to another one",
        HOLDERS,
        "return frozenset().union(*told) if len(told) == len(asked) else None",
        "return frozenset().union(*told)",
        ("tests/unit/test_gateway_holders.py",),
    ),
    edit(
        "silence-is-death",
        "a worker that is slow to answer loses its jobs to another one",
        HOLDERS,
        "                return Unheard.SILENT\n",
        "                return Unheard.GONE\n",
        ("tests/unit/test_gateway_holders.py",),
    ),
    edit(
        "another-life-doubts-nobody",
        "jobs of a worker that was replaced under its name wait until it counts as silent",
        LIVES,
        "self._seen[other].doubted = True",
        "self._seen[other].doubted |= False",
        (DEATH_LAWS,),
    ),
    edit(
        "routes-of-an-older-registry",
        "requests go on at the revision of before a change, until a gateway starts anew",
        ROUTING,
        "        if resolver is not self._resolver or len(",
        "        if self._resolver is None or len(",
        WORLD,
    ),
    edit(
        "route-is-remembered-by-its-model-alone",
        "a request for an adapter gets the route, and the weights, of the one before it",
        ROUTING,
        (
            "self._remembered.get(wanted)\n"
            "        if choices is None:\n"
            "            # What cannot be resolved raises, so that nothing is remembered which "
            "clients invent.\n"
            "            choices = self._remembered[wanted]"
        ),
        (
            "self._remembered.get(wanted.spec)\n"
            "        if choices is None:\n"
            "            choices = self._remembered[wanted.spec]"
        ),
        (GATEWAY_LAWS,),
    ),
    edit(
        "routes-without-end",
        "a gateway of a large registry grows until it is killed",
        ROUTING,
        "or len(self._remembered) >= _REMEMBERED_MAX:",
        "or False:",
        (GATEWAY_LAWS,),
    ),
    edit(
        "lease-yields-to-a-name",
        "a client under a lease takes the workers of a bundle that it did not lease",
        ROUTING,
        "if wanted.bundle is not None and model.bundle != wanted.bundle:",
        "if False:",
        (GATEWAY_LAWS,),
    ),
    edit(
        "adapter-goes-untold",
        "a client cannot tell which of two revisions of an adapter made its vectors",
        ROUTING,
        "    if adapter is not None:\n        headers.append",
        "    if False:\n        headers.append",
        (GATEWAY_LAWS,),
    ),
    edit(
        "last-of-those-that-failed",
        "while a model fails everywhere, requests go where its operator prefers least",
        ROUTING,
        "fallback = fallback or route",
        "fallback = route",
        (GATEWAY_LAWS,),
    ),
    edit(
        "route-of-an-older-registry",
        "after a change requests are sent where the model was",
        ROUTING,
        "if resolver is not self._resolver or len(self._remembered) >= _REMEMBERED_MAX:",
        "if self._resolver is None or len(self._remembered) >= _REMEMBERED_MAX:",
        (GATEWAY_LAWS,),
    ),
    edit(
        "cold-request-asks-for-the-last-choice",
        "the machine profile that its operator prefers least is started",
        ROUTING,
        "return fallback if fallback is not None else Cold(choices[0])",
        "return fallback if fallback is not None else Cold(choices[-1])",
        (GATEWAY_LAWS,),
    ),
    edit(
        "lease-runs-anywhere",
        "a client under a lease takes machines that another one leased",
        ROUTING,
        "tuple(name for name in model.machine_profiles if name in leased)",
        "tuple(name for name in model.machine_profiles if leased)",
        (LEASE_LAWS,),
    ),
    edit(
        "used-now-is-oldest",
        "a model in use may be deleted without a word, in a large cluster",
        "data_plane/sie_gateway/fleet/traffic.py",
        "        asked.pop(name, None)\n",
        "",
        (
            (
                "tests/unit/test_gateway_traffic.py::test_a_name_is_told_by_its_last_re"
                "quest_of_the_hour_and_the_newest_stay"
            ),
        ),
    ),
    edit(
        "adapter-under-its-name",
        "the traffic of one model's adapter is told as another's",
        "data_plane/sie_gateway/fleet/traffic.py",
        'f"{model_id}/{adapter}"',
        "adapter",
        (
            (
                "tests/unit/test_gateway_traffic.py::test_a_name_is_told_by_its_last_re"
                "quest_of_the_hour_and_the_newest_stay"
            ),
        ),
    ),
    edit(
        "what-a-broker-forgot-is-left",
        "requests wait out their time for jobs that a broker forgot as it was killed",
        "data_plane/sie_gateway/main.py",
        "        bus.on_reconnect(parts.lost_jobs.suspect)\n",
        "        assert parts.lost_jobs\n",
        ("tests/adversary/test_broker_killed.py",),
    ),
    edit(
        "every-word-wakes",
        "each heartbeat of a ready worker wakes all who wait for another",
        "data_plane/sie_gateway/fleet/watch.py",
        "if heartbeat.ready and (before is None or not before.heartbeat.ready):",
        "if heartbeat.ready:",
        (_WATCHED,),
    ),
    edit(
        "loaded-wakes-nobody",
        "requests are held on though a worker that loaded became ready",
        "data_plane/sie_gateway/fleet/watch.py",
        "if heartbeat.ready and (before is None or not before.heartbeat.ready):",
        "if heartbeat.ready and before is None:",
        (_WATCHED,),
    ),
    edit(
        "a-reconnect-is-silence",
        "the time without a broker counts as the silence of each worker",
        "data_plane/sie_gateway/fleet/watch.py",
        "        self.lives.hear_from(self._connected_at)\n",
        "        assert self.lives is not None\n",
        (_WATCHED,),
    ),
    edit(
        "woken-for-ever",
        "who waits after the first worker came is woken at once, each time",
        "data_plane/sie_gateway/fleet/watch.py",
        "            more, self._more = self._more, asyncio.Event()\n            more.set()",
        "            self._more.set()",
        (_WATCHED,),
    ),
    edit(
        "routed-to-the-dead",
        "requests are routed to a worker that is known to be gone",
        "data_plane/sie_gateway/fleet/watch.py",
        "        self.fleet.over(life.worker_id, life.name)\n",
        "        assert life\n",
        (_WATCHED,),
    ),
)
