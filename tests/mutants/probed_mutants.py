"""Mutants of rooms that nobody had looked through: devices, followers, leases, the command line.

*types.*
"""

from typing import Final

from tests.mutants.mutant import Mutant, edit

__all__ = ["PROBED_MUTANTS"]

_DEVICE: Final = "data_plane/sie_worker/device/device.py"
_RUNS: Final = "data_plane/sie_worker/device/batch_runs.py"
_BATCHING: Final = "data_plane/sie_worker/scheduling/batching.py"
_INFERENCE: Final = "data_plane/sie_gateway/request/inference.py"
_FEEDS: Final = "shared/runtime/sie_runtime/follower/replica_feeds.py"
_SOURCE: Final = "shared/runtime/sie_runtime/follower/log_source.py"
_DEVICES: Final = "data_plane/sie_worker/device/devices.py"
_STORED: Final = "shared/runtime/sie_runtime/follower/stored_log.py"
_HOMES: Final = ("tests/property/test_devices_laws.py",)
_FEED_LAWS: Final = ("tests/property/test_feed_laws.py",)
_FETCHES: Final = ("tests/unit/test_log_source.py",)
_LAWS: Final = ("tests/property/test_device_laws.py",)
_NOBODY: Final = (
    "tests/property/test_device_laws.py::"
    "test_no_model_is_loaded_for_a_batch_that_nobody_waits_for_any_more",
)
_GIVES_UP: Final = (
    "tests/property/test_device_laws.py::"
    "test_a_batch_gives_up_after_so_many_evictions_however_it_is_split",
)
_FLOOD: Final = (
    "tests/property/test_device_laws.py::test_a_flood_of_bad_texts_leaves_their_turns_to_others",
)
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
        _RUNS,
        "            refused |= self._drop_unwanted(wanted)\n",
        "",
        _LAWS,
    ),
    edit(
        "a-part-that-was-answered-is-run-again",
        "a batch of which something is left runs anew from its beginning",
        _DEVICE,
        "left = [[item for item, _ in part] for part in parts]",
        "left = [[item for item, _ in work]] if parts else []",
        _LAWS,
    ),
    edit(
        "a-model-is-loaded-for-who-has-left",
        "a batch that nobody waits for has its model loaded, and others evicted",
        _RUNS,
        "refused = self._drop_unwanted(holds)\n",
        "refused: dict[Hold, SIEError] = {}\n",
        _NOBODY,
    ),
    edit(
        "each-part-may-lose-its-model-anew",
        "a batch of many parts loads its model without an end while another evicts it",
        _RUNS,
        "                self._evicted += 1\n",
        "                self._evicted += len(part) == len(self._batch.inputs)\n",
        _GIVES_UP,
    ),
    edit(
        "a-part-that-is-left-shares-its-batch",
        "bad inputs that are left for another turn have those who come meanwhile run again",
        _BATCHING,
        'replace(batch.lane, alone=f"{part[0].hold} {part[0].index}")',
        "replace(batch.lane)",
        _FLOOD,
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
    edit(
        "a-home-that-is-away-is-kept",
        "a model whose device is gone is asked for there for ever, while others idle",
        _DEVICES,
        "if home is None or (not home.connected and self.connected):",
        "if home is None:",
        _HOMES,
    ),
    edit(
        "a-home-is-forgotten-while-it-loads",
        "two requests at once load one model on two devices",
        _DEVICES,
        "            self._homes[revision] = home\n",
        "",
        _HOMES,
    ),
    edit(
        "a-model-goes-to-a-device-that-is-away",
        "with one device gone, every second new model waits for it",
        _DEVICES,
        "[device for device in self._devices if device.connected] or self._devices",
        "self._devices",
        _HOMES,
    ),
    edit(
        "homes-of-the-loaded-are-forgotten",
        "each change of the configuration moves models to other devices",
        _DEVICES,
        "for revision in set(known) - held:",
        "for revision in set(known) & held:",
        _HOMES,
    ),
    edit(
        "one-holder-alone-is-told-of-a-pin",
        "a pinned model leaves all devices but one",
        _DEVICES,
        "first, *others = self._holders(resolved.revision)",
        "first, *others = self._holders(resolved.revision)[:1]",
        _HOMES,
    ),
    edit(
        "a-copy-that-fails-is-tried-at-every-job",
        "a model that fits on one device alone is loaded on the other with each job",
        _DEVICES,
        "self._found_busy[resolved.revision] = times % self._spread_after",
        "self._found_busy[resolved.revision] = times",
        _HOMES,
    ),
    edit(
        "busy-once-counts-for-ever",
        "a model is copied to every device after three busy moments in a day",
        _DEVICES,
        "            self._found_busy.pop(resolved.revision, None)\n            return",
        "            return",
        _HOMES,
    ),
    edit(
        "inputs-run-on-every-later-device-too",
        "with several devices a list is computed twice",
        _DEVICES,
        "zip(inputs, places, strict=True) if at == place]",
        "zip(inputs, places, strict=True) if at >= place]",
        _HOMES,
    ),
    edit(
        "shared-memory-counts-for-each-device",
        "a host of four CPU devices is placed four times the models that it can hold",
        _DEVICES,
        "own + max((each.memory_bytes",
        "own + sum((each.memory_bytes",
        _HOMES,
    ),
    edit(
        "nobody-waits-for-a-process-that-comes-back",
        "a restart of a device's process gives every job back at once",
        _DEVICE,
        "elif now - self._lost_at >= self._grace_s():",
        "elif now - self._lost_at >= 0:",
        _LAWS,
    ),
    edit(
        "peers-do-not-shorten-the-grace",
        "jobs wait for a device that is gone although another worker could run them",
        _DEVICE,
        "min(limits.grace_s, limits.handover_s) if self._has_peers() else limits.grace_s",
        "limits.grace_s",
        _LAWS,
    ),
    edit(
        "who-only-waited-is-blamed",
        "a job that no batch had yet is told to have ended a device's process",
        _DEVICE,
        "blamed=False",
        "blamed=True",
        _LAWS,
    ),
    edit(
        "a-job-is-answered-before-its-end",
        "of a job of two batches the second half is answered with nothing",
        _DEVICE,
        "[hold for hold in holds if hold.is_complete]",
        "holds",
        _LAWS,
    ),
    edit(
        "batch-mates-share-a-dtype",
        "a client that asked for float32 gets its neighbour's float16",
        _RUNS,
        "[job.output_dtype for job in jobs]",
        "[jobs[0].output_dtype for job in jobs]",
        _LAWS,
    ),
    edit(
        "a-lagging-copy-is-the-end-of-the-log",
        "a replica of a broker's lagging copy misses what was written as it began",
        _STORED,
        "            if self._newest < self._next:\n",
        "            if True:\n",
        _FEED_LAWS,
    ),
    edit(
        "a-gap-in-the-feed-is-passed-over",
        "an entry that the connection dropped is missing at a replica until the next poll",
        _STORED,
        "        if sequence > self._next or not self._on_message(sequence, data):",
        "        if not self._on_message(sequence, data):",
        _FEED_LAWS,
    ),
    edit(
        "a-feed-outlives-its-connection",
        "what was written while a replica was cut off is not asked for",
        _STORED,
        '        if self._begun:\n            self._end("reconnected")',
        '        if False:\n            self._end("reconnected")',
        _FEED_LAWS,
    ),
    edit(
        "another-stream-s-message-is-fed",
        "a message of another stream takes the place of an entry",
        _STORED,
        'if message.headers.get("Nats-Stream") == self._stream and sequence.isdigit():',
        "if sequence.isdigit():",
        _FEED_LAWS,
    ),
    edit(
        "a-poll-without-its-digest",
        "a replica with other contents at the writer's epoch waits in its poll for ever",
        _SOURCE,
        '                "digest": position.digest,\n',
        "",
        _FETCHES,
    ),
    edit(
        "a-range-that-is-gone-is-a-failure",
        "a replica below the low water asks for its range again and again",
        _SOURCE,
        "        if response.status_code == httpx.codes.GONE:\n            raise RangeGone(path)\n",
        "",
        _FETCHES,
    ),
    edit(
        "a-long-poll-ends-before-its-answer",
        "while the bus is away each poll fails a moment before the writer answers",
        _SOURCE,
        "read=wait_s + self._timeout_s",
        "read=self._timeout_s",
        _FETCHES,
    ),
)
