"""Slips in rooms that no law was about: runs of a batch, holds, results, answers, an SDK's wire.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["OVERLOOKED_MUTANTS"]

_LAWS = "tests/property/"
_MATES = (
    f"{_LAWS}test_device_laws.py::test_batch_mates_have_each_their_own_adapter_width_type_and_name",
)
_IN_HAND = (
    f"{_LAWS}test_hold_laws.py::test_a_job_in_hand_goes_on_with_its_newest_delivery_and_a_settled"
    "_one_is_known",
)
_TOLD = (f"{_LAWS}test_hold_laws.py::test_a_result_says_whose_it_is_and_all_of_a_failure",)
_DONE = (
    f"{_LAWS}test_delivery_laws.py::test_a_job_is_done_when_it_is_confirmed_or_late_whatever"
    "_becomes_of_its_mates",
)
_INBOXES = (
    f"{_LAWS}test_delivery_laws.py::test_each_result_of_a_batch_comes_to_its_own_inbox_once"
    "_whatever_fits_in_a_message",
)
_ALONE = (
    f"{_LAWS}test_answer_laws.py::test_a_batch_answers_each_item_as_a_batch_of_that_item_alone_does",
)
_MISFITS = (f"{_LAWS}test_answer_laws.py::test_a_batch_whose_arrays_do_not_fit_it_has_no_answer",)
_PARTS = (
    f"{_LAWS}test_answer_laws.py::test_the_parts_of_a_batch_lie_behind_each_other_and_none_goes"
    "_back",
)
_KNOWN = (
    f"{_LAWS}test_known_revision_laws.py::test_a_job_runs_at_the_very_revision_that_it_names_as"
    "_long_as_that_is_kept",
)
_COSTS = (
    f"{_LAWS}test_input_cost_laws.py::test_an_input_costs_what_is_read_of_it_as_often_as_it_is_read",
)
_BOUNDED = (
    f"{_LAWS}test_bounded_answer_laws.py::test_an_answer_is_held_to_its_bound_and_events_each_by"
    "_itself",
)
_PIECES = (
    f"{_LAWS}test_piece_run_laws.py::test_pieces_in_tasks_are_answered_under_their_numbers_few_at"
    "_a_time",
)
_EMPTY = (
    f"{_LAWS}test_fairness_laws.py::test_who_has_nothing_waiting_any_more_weighs_nothing_however"
    "_it_left",
)
_READY = (
    f"{_LAWS}test_pacing_laws.py::test_the_next_batch_is_ready_before_the_device_is_free_and_no"
    "_sooner_than_it_must",
)
_DENSE = (
    f"{_LAWS}test_layer_file_laws.py::test_a_dense_layer_is_its_product_its_activation_and_what_is"
    "_added_of_its_input",
)
_LATENT = (
    f"{_LAWS}test_layer_file_laws.py::test_of_the_latent_weights_the_greatest_are_kept_and_none"
    "_below_zero",
)
_WIDTHS = (
    f"{_LAWS}test_answer_laws.py::test_no_more_numbers_are_asked_of_a_vector_than_each_has_that_is"
    "_cut",
)
_PACKING = "data_plane/sie_server/packed/packing.py"
_ROWS = f"{_LAWS}test_packing_laws.py::test_"
_WHOLE = (f"{_ROWS}every_sequence_is_in_exactly_one_row_and_says_its_length_and_adapter",)
_SHARES = (f"{_ROWS}a_row_shares_blocks_unless_each_of_its_sequences_is_a_block",)
_HALVES = (
    f"{_LAWS}test_pooling_laws.py::test_a_model_in_half_precision_is_pooled_as_exactly_as_one_in"
    "_whole",
)
_BY_LAYER = (
    f"{_LAWS}test_lora_run_laws.py::test_each_layer_has_the_adapters_that_change_it_and_no_others",
)
_REPLACED = (
    f"{_LAWS}test_patience_laws.py::test_a_gateway_that_was_there_is_replaced_and_a_proxy_is_busy",
)
_BATCHING = "data_plane/sie_worker/scheduling/batching.py"
_LAYERS = "data_plane/sie_server/vectors/layer_files.py"
_RUNS = "data_plane/sie_worker/device/batch_runs.py"
_HOLDS = "data_plane/sie_worker/jobs/holds.py"
_RESULTS = "data_plane/sie_worker/jobs/results.py"
_REVISIONS = "data_plane/sie_worker/jobs/revisions.py"
_ANSWERS = "data_plane/sie_worker/forms/answers.py"
_WIRE = "sdk/sie_sdk/wire"

OVERLOOKED_MUTANTS = (
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
        "what-waits-for-a-gateway-is-not-extended",
        "a job whose gateway is away is run a second time beside the first",
        _HOLDS,
        "if hold.arrived <= older_than:",
        "if hold.arrived <= older_than and not hold.is_ending:",
        _IN_HAND,
    ),
    edit(
        "answered-is-settled",
        "a worker that stops leaves before its last results were confirmed",
        _HOLDS,
        "        if not self._by_number:\n            self.emptied.set()",
        "        if not self.open_items:\n            self.emptied.set()",
        _IN_HAND,
    ),
    edit(
        "each-job-begins-the-request",
        "the results of a large request say that each is its first part",
        _HOLDS,
        "first_item=job.first_item,",
        "first_item=0,",
        _TOLD,
    ),
    edit(
        "a-failure-without-its-place",
        "a client is told that something is wrong, and not which option",
        _HOLDS,
        "failure.retry_after_s, failure.field)",
        "failure.retry_after_s)",
        _TOLD,
    ),
    edit(
        "what-is-done-is-forgotten",
        "an acknowledgement that is lost costs a second run",
        _RESULTS,
        "self._holds.close(holds, settled=True)\n        acknowledge",
        "self._holds.close(holds, settled=False)\n        acknowledge",
        _DONE,
    ),
    edit(
        "a-stranger-in-a-receipt",
        "a gateway that names a job twice, or another's, ends the worker",
        _RESULTS,
        "for job_id in confirmed if job_id in unconfirmed]",
        "for job_id in confirmed]",
        _DONE,
    ),
    edit(
        "a-receipt-is-always-read",
        "one word of a gateway that cannot be read ends the worker",
        _RESULTS,
        "except (SIEError, *MALFORMED):",
        "except SIEError:",
        _DONE,
    ),
    edit(
        "one-inbox-for-a-batch",
        "requests of two gateways in one batch: those of the second wait until they fail",
        _RESULTS,
        "by_inbox.setdefault(each[0].job.reply_to, [])",
        "by_inbox.setdefault(ended[0][0].job.reply_to, [])",
        _INBOXES,
    ),
    edit(
        "the-middle-of-a-batch-is-lost",
        "where results are too long for one message, one of them is sent to nobody",
        _RESULTS,
        "halves = (ended[:middle], ended[middle:])",
        "halves = (ended[:middle], ended[middle + 1 :])",
        _INBOXES,
    ),
    edit(
        "one-whole-vector-leaves-all-whole",
        "a client that asked for short vectors gets long ones, if its neighbour wants those",
        _ANSWERS,
        "and all(\n            width is None for width in widths\n        )",
        "and any(\n            width is None for width in widths\n        )",
        _ALONE,
    ),
    edit(
        "counts-below-zero",
        "of a device that counts wrongly one client's tokens are told as another's",
        _ANSWERS,
        "    if count and int(sizes.min()) < 0:\n        raise _misfit(what, count)\n",
        "",
        _PARTS,
    ),
    edit(
        "more-than-was-asked-is-enough",
        "vectors of another length are cut into others, and told as the texts' own",
        _ANSWERS,
        "len(answers.values) != 4 * answers.dim * count",
        "len(answers.values) < 4 * answers.dim * count",
        _MISFITS,
    ),
    edit(
        "a-model-that-left-was-never-there",
        "jobs that were stored before a model was deleted are refused, and not finished",
        _REVISIONS,
        "                continue\n            if found.revision == revision and",
        "                return None\n            if found.revision == revision and",
        _KNOWN,
    ),
    edit(
        "labels-cost-nothing",
        "a text that is read once for each of fifty labels fills a batch fifty times",
        "data_plane/sie_worker/forms/costs.py",
        "times = len(labels) or loaded.reads_per_label",
        "times = loaded.reads_per_label",
        _COSTS,
    ),
    edit(
        "an-event-ends-inside-a-part",
        "a long stream of events ends in an error where the network cuts between two lines",
        f"{_WIRE}/bounded_answers.py",
        "found = self._last + part",
        "found = part",
        _BOUNDED,
    ),
    edit(
        "whoever-says-stream-may-go-on",
        "a stranger's answer that calls itself events holds a client for ever",
        f"{_WIRE}/bounded_answers.py",
        "asked_for_events = EVENTS.items() <= response.request.extensions.items()",
        'asked_for_events = "event-stream" in response.headers.get("content-type", "")',
        _BOUNDED,
    ),
    edit(
        "given-up-pieces-go-on",
        "a list of which one piece was refused is sent to its end before that is told",
        f"{_WIRE}/piece_runs.py",
        "        for task in running:\n            task.cancel()\n",
        "",
        _PIECES,
    ),
    edit(
        "who-was-served-stays-in-the-ring",
        "names that nobody sends under any more are kept for ever, and others pay for their turns",
        _BATCHING,
        "            self._turns.left(tenant, 1)\n",
        "",
        _EMPTY,
    ),
    edit(
        "who-left-stays-in-the-ring",
        "a tenant whose clients hang up makes each other one pay for its turns",
        _BATCHING,
        "                self._turns.left(item.tenant, 1)\n",
        "                pass\n",
        _EMPTY,
    ),
    edit(
        "handed-over-when-it-is-late",
        "the device stands still between two batches while there is work",
        _BATCHING,
        "return free_at - self._handover_s",
        "return free_at + self._handover_s",
        _READY,
    ),
    edit(
        "residual-inside-the-activation",
        "vectors of models with a residual layer are near the right ones, and not those",
        _LAYERS,
        "return result if self.residual is None else result + self.residual(values)",
        "return result if self.residual is None else self.activation(\n"
        "            self.linear(values) + self.residual(values)\n        )",
        _DENSE,
    ),
    edit(
        "greatest-latents-whatever-their-sign",
        "of a sparse vector weights are missing where stronger ones were below zero",
        _LAYERS,
        "greatest = torch.topk(latent, step.kept, dim=-1)",
        "greatest = torch.topk(latent.abs(), step.kept, dim=-1)",
        _LATENT,
    ),
    edit(
        "one-width-of-several-is-asked",
        "of two outputs the narrower one comes whole, where fewer of its numbers were not there",
        "data_plane/sie_worker/forms/wording.py",
        "    for output, width in widths.items():\n        if wanted",
        "    for output, width in [*widths.items()][:1]:\n        if wanted",
        _WIDTHS,
    ),
    edit(
        "what-is-left-of-a-crowd-is-dropped",
        "of a batch of many short texts those that were not looked at have no vector",
        _PACKING,
        "            left += waiting[looked_at:]\n            break",
        "            break",
        _WHOLE,
    ),
    edit(
        "a-token-of-filling-is-none",
        "a text that nearly fills its block looks at what lies behind it",
        _PACKING,
        "any(length != self.block for length in self.lengths)",
        "any(length < self.block - 1 for length in self.lengths)",
        _SHARES,
    ),
    edit(
        "pooled-in-half-precision",
        "vectors of long texts have two digits where the model runs in bfloat16",
        "data_plane/sie_server/vectors/pooling.py",
        "_Pool(hidden.float(), lengths, skips)",
        "_Pool(hidden, lengths, skips)",
        _HALVES,
    ),
    edit(
        "the-root-is-forgotten",
        "a model that divides by the root of a length divides by the length",
        "data_plane/sie_server/vectors/pooling.py",
        "self._sums(self._counted) / self._counts().sqrt()",
        "self._sums(self._counted) / self._counts()",
        _HALVES,
    ),
    edit(
        "one-mask-for-every-layer",
        "a batch of adapters that change other layers each has no answer",
        "data_plane/sie_server/adapters/lora.py",
        "if ranks not in self._others:",
        "if not self._others:",
        _BY_LAYER,
    ),
    edit(
        "a-rollout-has-four-tries",
        "calls end in an error while the gateway behind an address is replaced",
        "sdk/sie_sdk/patience.py",
        "tries = _RECONNECTS_MAX if was_reached else patience.retries_max",
        "tries = patience.retries_max",
        _REPLACED,
    ),
)
