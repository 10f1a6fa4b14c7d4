"""Mutants of a worker's devices and its runs of batches.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_DEVICE_MUTANTS"]

_LAWS = "tests/property/"
_MATES = (
    f"{_LAWS}test_device_laws.py::test_batch_mates_have_each_their_own_adapter_width_type_and_name",
)
_RUNS = "data_plane/sie_worker/device/batch_runs.py"
_DEVICE_LAWS = ("tests/property/test_device_laws.py",)
_NOBODY = (
    "tests/property/test_device_laws.py::"
    "test_no_model_is_loaded_for_a_batch_that_nobody_waits_for_any_more",
)
_GIVES_UP = (
    "tests/property/test_device_laws.py::"
    "test_a_batch_gives_up_after_so_many_evictions_however_it_is_split",
)
WORLD = (
    "tests/property/test_simulated_requests.py::test_every_law_holds_in_every_seed_of_the_budget",
)
_DEVICE = "data_plane/sie_worker/device/device.py"
_DEVICES = "data_plane/sie_worker/device/devices.py"
_HOMES = ("tests/property/test_devices_laws.py",)

WORKER_DEVICE_MUTANTS = (
    edit(
        "batch-mates-share-a-width",
        "a client that asked for whole vectors gets them as short as its neighbour's",
        _RUNS,
        "[job.dimensions for job in jobs],",
        "[jobs[0].dimensions for job in jobs],",
        _MATES,
    ),
    edit(
        "a-refused-adapter-fails-its-batch",
        "one tenant's broken adapter fails the texts of all who share the batch",
        _RUNS,
        "refused[hold] = error",
        "refused = dict.fromkeys(holds, error)",
        _MATES,
    ),
    edit(
        "an-adapter-without-room-fails-its-batch",
        "an adapter that is too large makes others who share its batch come again, and again",
        _RUNS,
        'if isinstance(error, Later) and error.code != "RESOURCE_EXHAUSTED":',
        "if isinstance(error, Later):",
        _MATES,
    ),
    edit(
        "answers-are-named-by-their-place",
        "a vector comes under the id of another text",
        _RUNS,
        "[job.items[item.index] for job, (item, _) in zip(jobs, part, strict=True)],",
        "[job.items[at % len(job.items)] for at, job in enumerate(jobs)],",
        _MATES,
    ),
    edit(
        "who-left-during-a-load-is-run",
        "while a model loads its clients leave, and the device works for them all the same",
        _RUNS,
        "            refused |= self._drop_unwanted(wanted)\n",
        "",
        _DEVICE_LAWS,
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
        "batch-mates-share-a-dtype",
        "a client that asked for float32 gets its neighbour's float16",
        _RUNS,
        "[job.output_dtype for job in jobs]",
        "[jobs[0].output_dtype for job in jobs]",
        _DEVICE_LAWS,
    ),
    edit(
        "batch-mates-share-an-adapter",
        "in a fused batch every text runs under the base",
        _RUNS,
        "pin is not None and pin != lane.adapter for pin in found",
        "pin is None and pin is lane for pin in found",
        WORLD,
    ),
    edit(
        "a-part-that-was-answered-is-run-again",
        "a batch of which something is left runs anew from its beginning",
        _DEVICE,
        "left = [[item for item, _ in part] for part in parts]",
        "left = [[item for item, _ in work]] if parts else []",
        _DEVICE_LAWS,
    ),
    edit(
        "nobody-waits-for-a-process-that-comes-back",
        "a restart of a device's process gives every job back at once",
        _DEVICE,
        "elif now - self._lost_at >= self._grace_s():",
        "elif now - self._lost_at >= 0:",
        _DEVICE_LAWS,
    ),
    edit(
        "peers-do-not-shorten-the-grace",
        "jobs wait for a device that is gone although another worker could run them",
        _DEVICE,
        "min(limits.grace_s, limits.handover_s) if self._has_peers() else limits.grace_s",
        "limits.grace_s",
        _DEVICE_LAWS,
    ),
    edit(
        "who-only-waited-is-blamed",
        "a job that no batch had yet is told to have ended a device's process",
        _DEVICE,
        "blamed=False",
        "blamed=True",
        _DEVICE_LAWS,
    ),
    edit(
        "a-job-is-answered-before-its-end",
        "of a job of two batches the second half is answered with nothing",
        _DEVICE,
        "[hold for hold in holds if hold.is_complete]",
        "holds",
        _DEVICE_LAWS,
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
        "options-are-lost-on-the-way",
        "a threshold is taken by the gateway and not applied",
        "data_plane/sie_worker/device/batch_runs.py",
        "options=msgspec.json.decode(lane.options) if lane.options else {},",
        "options={},",
        (
            "tests/property/test_batch_run_laws.py::test_a_batch_is_told_whole_and_what_it_read_is_counted_for_its_own_job",
        ),
    ),
    edit(
        "labels-are-sorted-on-the-way",
        "scores of labels are given to other labels than they are of",
        "data_plane/sie_worker/device/batch_runs.py",
        "labels=lane.labels,",
        "labels=tuple(sorted(lane.labels)),",
        (
            "tests/property/test_batch_run_laws.py::test_a_batch_is_told_whole_and_what_it_read_is_counted_for_its_own_job",
        ),
    ),
    edit(
        "tokens-are-those-of-the-last-item",
        "a request of many items is billed for one",
        "data_plane/sie_worker/device/batch_counts.py",
        "hold.input_tokens += tokens",
        "hold.input_tokens = tokens",
        (
            "tests/property/test_batch_run_laws.py::test_a_batch_is_told_whole_and_what_it_read_is_counted_for_its_own_job",
        ),
    ),
    edit(
        "a-lane-is-counted-by-batches",
        "the inputs of a lane on its dashboard are the number of its batches",
        "data_plane/sie_worker/device/batch_counts.py",
        "lane.inputs.inc(len(batch.inputs))",
        "lane.inputs.inc()",
        (
            "tests/property/test_batch_run_laws.py::test_a_batch_that_begins_is_counted_once_under_its_lane",
        ),
    ),
    edit(
        "a-lane-is-of-its-first-jobs-adapter",
        "a fused batch of many adapters is counted for one of them",
        "data_plane/sie_worker/device/batch_counts.py",
        'adapter = lane.adapter.name if lane.adapter is not None else ""',
        'adapter = hold.adapter.name if hold.adapter is not None else ""',
        (
            "tests/property/test_batch_run_laws.py::test_a_batch_that_begins_is_counted_once_under_its_lane",
        ),
    ),
)
