"""Mutants that were sought in the other rooms: gateway, leases, scheduling, SDK, CLI.

*types.* Each is a slip of a tired maintainer, chosen from the code and not from the tests.
"""

from tests.mutants.mutant import edit

__all__ = ["SOUGHT_MUTANTS"]

FLEET = "data_plane/sie_gateway/fleet/fleet.py"
LIVES = "data_plane/sie_gateway/fleet/lives.py"
HOLDERS = "data_plane/sie_gateway/fleet/holders.py"
ROUTING = "data_plane/sie_gateway/fleet/routing.py"
WAITING = "data_plane/sie_gateway/request/waiting.py"
GIVING_BACK = "data_plane/sie_gateway/request/giving_back.py"
LEASES = "data_plane/sie_gateway/leases/leases.py"
LEASE_DESK = "data_plane/sie_gateway/leases/lease_desk.py"
BATCHING = "data_plane/sie_worker/scheduling/batching.py"
LANES = "data_plane/sie_worker/scheduling/lanes.py"
LOADING = "data_plane/sie_worker/execution/loading.py"
SHELF = "data_plane/sie_server/adapters/adapter_shelf.py"
EXCHANGE = "sdk/sie_sdk/exchange.py"
LEASING = "sdk/sie_sdk/leases/calls.py"
APPLYING = "sdk/sie_cli/config/applying.py"
SCALING = "sdk/sie_cli/supervisor/scaling.py"

GATEWAY_LAWS = "tests/property/test_gateway_laws.py"
DEATH_LAWS = "tests/property/test_death_laws.py"
EXCHANGE_LAWS = "tests/property/test_sdk_exchange_laws.py"
LEASE_LAWS = "tests/property/test_lease_laws.py"

SOUGHT_MUTANTS = (
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
        "route-is-remembered-without-its-adapter",
        "a request for an adapter gets the route, and the weights, of the one before it",
        ROUTING,
        "            wanted.lora,\n            wanted.bundle,\n        )",
        "            wanted.bundle,\n        )",
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
        "share-counts-only-the-others",
        "the last lease of a pool may take more than there is",
        LEASES,
        "    if taken + wanted > most:\n",
        "    if taken > most:\n",
        (LEASE_LAWS,),
    ),
    edit(
        "share-counts-every-pool",
        "leases of one pool use up another's workers",
        LEASES,
        "        for lease in others\n        if lease.spec.queue_pool == request.queue_pool\n"
        "    )\n"
        "    if taken",
        "        for lease in others\n    )\n    if taken",
        (LEASE_LAWS,),
    ),
    edit(
        "lease-is-in-its-own-way",
        "a lease that fills its pool can be neither changed nor given again",
        LEASE_DESK,
        "others = [each.lease for name, each in table.held.items() if name != request.name]",
        "others = [each.lease for each in table.held.values()]",
        ("tests/property/test_lease_laws.py",),
    ),
    edit(
        "lease-is-written-on-an-old-table",
        "two gateways give the same workers to two clients",
        LEASE_DESK,
        "            except LeaseMoved:\n                await self._pause(attempt)\n"
        "                continue\n            # `placed`",
        "            except LeaseMoved:\n                await self._pause(attempt)\n"
        "            # `placed`",
        ("tests/property/test_lease_laws.py",),
    ),
    edit(
        "second-result-of-a-job-counts",
        "half an answer is of a redelivered job's run at another moment",
        WAITING,
        "self._results.setdefault(result.job_id, result)",
        "self._results[result.job_id] = result",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "results-of-the-run-before-count",
        "a request that is run again at another revision ends with results of the first",
        WAITING,
        "        self._wanted = job_ids\n        self._results = {}\n",
        "        self._wanted = job_ids\n",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "end-between-two-runs-is-missed",
        "a request whose client left while it changed runs is computed to its end",
        WAITING,
        "        if self._over is not None:\n            raise self._over\n",
        "",
        ("tests/unit/test_gateway_waiting.py",),
    ),
    edit(
        "held-job-is-given-back",
        "a job that a living worker runs is run beside it",
        GIVING_BACK,
        "        if job.job_id not in held and (why",
        "        if (why",
        (DEATH_LAWS,),
    ),
    edit(
        "newest-job-is-never-given-back",
        "of a dead worker's jobs the last one waits for its own time",
        GIVING_BACK,
        "if job.sequence <= last]",
        "if job.sequence < last]",
        (DEATH_LAWS,),
    ),
    edit(
        "suspects-go-out-together",
        "a request that kills its worker takes another one's deliveries with it",
        GIVING_BACK,
        "return again + ([] if tried else _next(suspects, held))",
        "return again + _next(suspects, held)",
        (DEATH_LAWS,),
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
        "padded-batch-is-counted-as-packed",
        "a model that runs padded gets batches that do not fit the device",
        BATCHING,
        "cost = longest * (len(taken) + 1) if limits.padded else total + item.cost",
        "cost = total + item.cost",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "deadlines-are-looked-at-by-the-latest",
        "inputs whose clients gave up are computed while others wait",
        BATCHING,
        "self._earliest_deadline = min(self._earliest_deadline, item.deadline)",
        "self._earliest_deadline = item.deadline",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "dropped-inputs-cost",
        "after enough cancellations every lane counts as full",
        LANES,
        "        self.cost -= sum(item.cost for item in gone)\n",
        "",
        ("tests/property/test_fairness_laws.py", "tests/property/test_batching_laws.py"),
    ),
    edit(
        "absent-tenant-saves-up",
        "a tenant that comes back after a while holds up everybody",
        "data_plane/sie_worker/scheduling/fairness.py",
        "if len(self._ring) > 1 else 0",
        "",
        ("tests/property/test_fairness_laws.py",),
    ),
    edit(
        "wait-grows-past-its-target",
        "a quiet lane answers later than its profile says",
        "data_plane/sie_worker/scheduling/pacing.py",
        "self._wait_s = min(self._latency_s, self._wait_s + _GROW * self._latency_s)",
        "self._wait_s += _GROW * self._latency_s",
        ("tests/property/test_pacing_laws.py",),
    ),
    edit(
        "full-worker-pulls-one-more",
        "jobs that another worker could run lie with one that is full",
        "data_plane/sie_worker/scheduling/window.py",
        "return max(1, int(room / max(1.0, self._items_per_job))) if room > 0 else 0",
        "return max(1, int(room / max(1.0, self._items_per_job)))",
        ("tests/unit/test_worker_corners.py",),
    ),
    edit(
        "load-forgets-who-it-was-for",
        "two models that do not fit together take turns on the device and run nothing",
        LOADING,
        "return waiting.get(revision, inf) < since",
        "return False",
        ("tests/property/test_loading_laws.py",),
    ),
    edit(
        "held-model-is-given-up",
        "a worker that joins takes loaded models away from those that have them",
        "data_plane/sie_worker/intake/placement.py",
        "frozenset(model for model in models if model in held or home(",
        "frozenset(model for model in models if home(",
        ("tests/property/test_placement_laws.py",),
    ),
    edit(
        "adapter-that-left-is-unknown",
        "with more adapters than memory requests fail for those that were used least",
        SHELF,
        "            self._places[leaving[0]][leaving[1]].adapter = None\n",
        "            del self._places[leaving[0]][leaving[1]]\n",
        ("tests/property/test_server_residency_machine.py",),
    ),
    edit(
        "adapters-are-kept-over-budget",
        "the device runs out of memory by adapters that nobody asks for",
        SHELF,
        "            self._residency.remove(leaving)\n",
        "",
        ("tests/property/test_server_residency_machine.py",),
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
        "retry-after-has-no-bound",
        "a client waits for as long as any server or proxy says",
        "sdk/sie_sdk/refusals.py",
        "        if 0 <= seconds <= _RETRY_AFTER_MAX_S:\n",
        "        if seconds >= 0:\n",
        (EXCHANGE_LAWS,),
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
        "            self.forget(name)\n            return True\n",
        "",
        ("tests/property/test_leasing_laws.py",),
    ),
    edit(
        "pruning-takes-the-first-bundles",
        "a folder of models deletes the pool and bundles that sie-config brought",
        "sdk/sie_cli/config/writes.py",
        'return [row for row in rows if row["modified_epoch"] not in own]',
        "return list(rows)",
        ("tests/integration/test_cli_config.py",),
    ),
    edit(
        "pruning-goes-by-name-alone",
        "what was taken out of the files stays, where another kind has its name",
        APPLYING,
        "            if (kind, key) not in wanted\n",
        "            if key not in {name for _, name in wanted}\n",
        ("tests/property/test_cli_folder_laws.py",),
    ),
    edit(
        "idle-is-since-the-start",
        "workers are stopped while requests come",
        SCALING,
        "if cold or asked or demand.in_flight or demand.warm:",
        "if cold or demand.in_flight or demand.warm:",
        ("tests/property/test_scaling_laws.py",),
    ),
)
