"""Mutants that were hunted for: wherever the code compares, orders, joins, counts or remembers.

*types.* Each is a slip of a tired maintainer, chosen from the code and not from the tests.
"""

from tests.mutants.mutant import edit

__all__ = ["HUNTED_MUTANTS"]

RESOLVER = "shared/core/sie_core/resolver.py"
CHUNKS = "data_plane/sie_gateway/request/chunks.py"
ADMISSION = "data_plane/sie_gateway/request/admission.py"
HOLDS = "data_plane/sie_worker/jobs/holds.py"
PATIENCE = "sdk/sie_sdk/patience.py"

RESOLVER_LAWS = "tests/property/test_resolver_laws.py"
RESOLVE_LAWS = "tests/property/test_resolve_laws.py"
CHUNK_LAWS = "tests/property/test_chunk_laws.py"
GATEWAY_LAWS = "tests/property/test_gateway_laws.py"
HOLD_LAWS = "tests/property/test_hold_laws.py"
EXCHANGE_LAWS = "tests/property/test_sdk_exchange_laws.py"

HUNTED_MUTANTS = (
    edit(
        "bundle-of-the-lowest-rank",
        "requests go to the bundle that its operator ranked last",
        RESOLVER,
        "return compatible[0][1] if compatible else None",
        "return compatible[-1][1] if compatible else None",
        (RESOLVE_LAWS,),
    ),
    edit(
        "alias-hides-an-id",
        "a model is served under another's name since somebody gave it that alias",
        RESOLVER,
        "model_id = name if name in self.models else self._aliases.get(name, name)",
        "model_id = self._aliases.get(name, name)",
        (RESOLVE_LAWS,),
    ),
    edit(
        "unknown-profile-is-the-default",
        "a mistyped profile is answered, by another one",
        RESOLVER,
        "        profile = profile or _DEFAULT_PROFILE\n",
        '        profile = profile if profile in document["profiles"] else _DEFAULT_PROFILE\n',
        (RESOLVE_LAWS,),
    ),
    edit(
        "layers-keep-what-went",
        "a deleted model is listed again once the layers are joined",
        "shared/core/sie_core/layered.py",
        "for key in [key for key, value in upper.items() if value is None]:",
        "for key in [key for key, value in upper.items() if value is None and key in self._lower]:",
        (RESOLVER_LAWS,),
    ),
    edit(
        "difference-is-from-the-newest",
        "a reader that is two entries behind takes up one",
        "shared/core/sie_core/registry.py",
        "        if self._made_of is older._name:\n",
        "        if self._made_by:\n",
        (RESOLVER_LAWS, "tests/property/test_fold_laws.py"),
    ),
    edit(
        "chunks-join-as-they-came",
        "a large result is another one where its chunks overtook each other",
        CHUNKS,
        "for index in sorted(transfer.parts))",
        "for index in transfer.parts)",
        (CHUNK_LAWS,),
    ),
    edit(
        "chunks-of-two-attempts-are-one",
        "half of a result is a dead worker's",
        CHUNKS,
        "if found is not None and found.transfer == chunk.transfer:",
        "if found is not None:",
        (CHUNK_LAWS,),
    ),
    edit(
        "room-for-chunks-leaks",
        "after enough results that broke off a gateway takes no large one",
        CHUNKS,
        "self.reserved -= transfer.size",
        "self.reserved -= transfer.held",
        (CHUNK_LAWS,),
    ),
    edit(
        "jobs-are-cut-by-items-alone",
        "a job of large items is no message any more",
        ADMISSION,
        "(index - start == items_each or held + size > bytes_max)",
        "index - start == items_each",
        (GATEWAY_LAWS,),
    ),
    edit(
        "bytes-in-flight-leak",
        "a gateway refuses everything after a while",
        ADMISSION,
        "return InFlight(self.items - items, self.bytes - size)",
        "return InFlight(self.items - items, self.bytes)",
        (GATEWAY_LAWS,),
    ),
    edit(
        "refused-requests-count",
        "a client that is told to wait, and asks, waits for ever",
        "shared/runtime/sie_runtime/access/rates.py",
        "self._free_at[caller] = free_at + self._step_s if taken else free_at",
        "self._free_at[caller] = free_at + self._step_s",
        (GATEWAY_LAWS,),
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
        "export-is-older-than-its-request",
        "a replica that asks for a snapshot after a write gets the one before it",
        "control_plane/sie_config/upkeep/exports.py",
        "while self._made is None or self._made.epoch < wanted:",
        "while self._made is None:",
        ("tests/unit/test_config_crowds.py", "tests/unit/test_config_api.py"),
    ),
    edit(
        "settled-job-runs-again",
        "a lost acknowledgement costs a second run",
        HOLDS,
        "return job_id in self._settled",
        "return False",
        (HOLD_LAWS,),
    ),
    edit(
        "job-in-hand-is-run-twice",
        "what comes again while it runs is run beside itself",
        HOLDS,
        "        known = self._by_job.get(job.job_id)\n        if known is not None:\n",
        "        known = self._by_job.get(job.job_id)\n        if known is not None and False:\n",
        (HOLD_LAWS,),
    ),
    edit(
        "older-delivery-is-acknowledged",
        "a job that was run comes again, and again",
        HOLDS,
        "            known.delivery = delivery\n",
        "",
        (HOLD_LAWS,),
    ),
    edit(
        "newest-cancellation-is-forgotten",
        "of many clients that leave at once, the last are computed for",
        "data_plane/sie_worker/intake/cancelled.py",
        "del self._ids[next(iter(self._ids))]",
        "self._ids.popitem()",
        ("tests/unit/test_worker_cancelled.py",),
    ),
    edit(
        "batch-mates-change-an-answer",
        "a model whose answers depend on its batch is run in one",
        "data_plane/sie_worker/scheduling/lanes.py",
        "return self.items_max if self.batch_invariant else 1",
        "return self.items_max",
        ("tests/property/test_batching_laws.py",),
    ),
    edit(
        "home-is-by-name",
        "one worker is home to every model",
        "data_plane/sie_worker/intake/placement.py",
        "key=lambda worker: (_score(worker, model_id, weights[worker]), worker)",
        "key=lambda worker: worker",
        ("tests/property/test_placement_laws.py",),
    ),
)
