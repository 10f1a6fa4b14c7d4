"""Mutants of model execution: adapters, backends, packing, what is resident.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["EXECUTION_MUTANTS"]

SHELF = "data_plane/sie_server/adapters/adapter_shelf.py"
_LAWS = "tests/property/"
_BY_LAYER = (
    f"{_LAWS}test_lora_run_laws.py::test_each_layer_has_the_adapters_that_change_it_and_no_others",
)
_VECTORS = "tests/property/test_vector_laws.py::"
_SERVER = "data_plane/sie_server"
_ROUTED = (
    f"{_VECTORS}test_each_text_is_answered_by_the_model_of_its_side_in_the_place_that_it_has",
)
_ALONE = (
    "tests/property/test_packed_row_laws.py::test_each_text_of_a_padded_batch_has_the"
    "_states_that_it_has_alone",
)
_LOADED = "tests/property/test_loaded_encoder_laws.py::"
_EACH = (f"{_LOADED}test_each_input_has_the_adapter_or_the_task_that_it_names_and_else_the_base",)
_PROBED = (f"{_LOADED}test_a_model_runs_together_only_in_a_way_that_answers_as_its_own_forward",)
_IDS = (
    f"{_VECTORS}test_the_device_sees_the_ids_of_its_tables_and_texts_that_it_reads_and_no_others",
)
_PAIRS = (f"{_LOADED}test_a_pair_scores_the_nearest_of_the_document_to_each_vector_of_its_query",)
_MEMORY = "tests/unit/test_server_memory.py::"
_PARTS = (f"{_MEMORY}test_a_batch_that_does_not_fit_is_answered_in_parts_as_in_one",)
_RESIDENTS = ("tests/property/test_residents_laws.py",)
RESIDENTS = "data_plane/sie_server/execution/residents.py"
RESIDENCY = "tests/property/test_residents_laws.py"
_THREADS = "data_plane/sie_server/device/bounded_threads.py"
_LAWS_OF_THREADS = "tests/property/test_bounded_threads_laws.py::"
_BATCHES = "data_plane/sie_server/execution/batches.py"
_OF_BATCHES = "tests/unit/test_server_batches.py::"
_PACKING = "data_plane/sie_server/packed/packing.py"
_ROWS = f"{_LAWS}test_packing_laws.py::test_"
_WHOLE = (f"{_ROWS}every_sequence_is_in_exactly_one_row_and_says_its_length_and_adapter",)
_SHARES = (f"{_ROWS}a_row_shares_blocks_unless_each_of_its_sequences_is_a_block",)
_PACKED = "tests/property/test_packed_row_laws.py::"
_LAID_OUT = (
    f"{_PACKED}test_layers_that_compute_the_same_are_laid_out_anew_and_put_back_every_one",
)

EXECUTION_MUTANTS = (
    edit(
        "an-adapter-comes-back-to-nobody",
        "the device's memory fills with adapters of models that left",
        "data_plane/sie_server/adapters/adapter_shelf.py",
        "if self._places.get(revision, {}).get(pin) is place:",
        "if True:",
        (
            (
                "tests/property/test_shelf_laws.py::test_an_adapter_is_found_until_its_mo"
                "del_leaves_and_then_holds_no_memory"
            ),
        ),
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
        "one-mask-for-every-layer",
        "a batch of adapters that change other layers each has no answer",
        "data_plane/sie_server/adapters/lora.py",
        "if ranks not in self._others:",
        "if not self._others:",
        _BY_LAYER,
    ),
    edit(
        "sides-are-not-put-back",
        "a batch of queries and documents is answered in another order",
        f"{_SERVER}/backends/encode/routed.py",
        "sorted(range(len(rows)), key=order.__getitem__)",
        "range(len(rows))",
        _ROUTED,
    ),
    edit(
        "sides-are-swapped",
        "queries are read as documents and documents as queries",
        f"{_SERVER}/backends/encode/routed.py",
        "return self._queries if is_query else self._documents",
        "return self._documents if is_query else self._queries",
        _ROUTED,
    ),
    edit(
        "a-token-is-taken-by-two-windows",
        "an entity at a seam is told twice, or cut",
        "data_plane/sie_server/backends/extraction/windows.py",
        "first = start + (shared + 1) // 2 if start else 0",
        "first = start + shared // 2 if start else 0",
        (
            (
                "tests/property/test_window_laws.py::test_each_token_is_taken_once_in_ord"
                "er_from_a_window_that_the_model_reads"
            ),
        ),
    ),
    edit(
        "the-end-of-a-text-is-not-read",
        "entities at the end of a long text are not found",
        "data_plane/sie_server/backends/extraction/windows.py",
        "starts = range(0, max(1, count - shared), room - shared)",
        "starts = range(0, max(1, count - room), room - shared)",
        (
            (
                "tests/property/test_window_laws.py::test_each_token_is_taken_once_in_ord"
                "er_from_a_window_that_the_model_reads"
            ),
        ),
    ),
    edit(
        "padded-texts-have-the-first-ones-adapter",
        "where a model runs padded, texts are answered with the adapter of another client",
        f"{_SERVER}/backends/forward/encoder.py",
        "owner = batch.owners[chunk[0]]",
        "owner = batch.owners[0]",
        _ALONE,
    ),
    edit(
        "a-table-has-one-place-more",
        "a text that is as long as may be ends its batch, others' texts in it",
        f"{_SERVER}/backends/forward/encoder.py",
        "module.num_embeddings - (0 if none is None else none + 1)",
        "module.num_embeddings - (0 if none is None else none)",
        (
            "tests/property/test_packed_row_laws.py::test_a_table_of_positions_is_read_to_its_last"
            "_place_and_no_further",
        ),
    ),
    edit(
        "every-adapter-is-the-first",
        "all texts of a batch are answered by the adapter of its first",
        f"{_SERVER}/backends/forward/loaded_encoder.py",
        "None if each is None else places[each] for each",
        "None if each is None else 0 for each",
        _EACH,
    ),
    edit(
        "an-adapter-hides-a-task",
        "a request that names an adapter and a task is answered by the adapter, without a word",
        f"{_SERVER}/backends/forward/loaded_encoder.py",
        "        if pin is not None and task:\n",
        "        if False:\n",
        _EACH,
    ),
    edit(
        "a-window-is-not-probed",
        "a model whose packed attention forgets its sliding window answers long texts wrongly",
        f"{_SERVER}/backends/forward/probe.py",
        "window + 17 if window else 0",
        "0",
        _PROBED,
    ),
    edit(
        "padding-is-believed",
        "a model that mixes a text with the padding beside it gives other vectors in a batch",
        f"{_SERVER}/backends/forward/probe.py",
        "    if not told:\n",
        "    if True:\n",
        _PROBED,
    ),
    edit(
        "layers-that-answer-otherwise-stay",
        "layers laid out anew that compute something else answer from then on",
        f"{_SERVER}/backends/forward/probe.py",
        "        swap.undo()\n",
        "        pass\n",
        _PROBED,
    ),
    edit(
        "types-of-the-first-text",
        "the token types of a pair are those of another client's pair",
        f"{_SERVER}/backends/forward/token_inputs.py",
        "_types(given.type_ids, len(values), limits, index)",
        "_types(inputs[0].type_ids, len(values), limits, index)",
        (
            "tests/property/test_vector_laws.py::test_the_device_sees_the_ids_of_its_tables_and"
            "_texts_that_it_reads_and_no_others",
        ),
    ),
    edit(
        "a-usual-length-goes-before-the-profiles",
        "texts are cut where the library cuts, and not where the profile says",
        f"{_SERVER}/backends/forward/token_inputs.py",
        "if said is None and text is not None:",
        "if text is not None and text.tokens_usual:",
        (
            "tests/property/test_vector_laws.py::test_a_model_reads_as_many_tokens_as_the_shortest"
            "_of_its_limits",
        ),
    ),
    edit(
        "one-id-beyond-the-table",
        "one text ends the device for all who use it",
        f"{_SERVER}/backends/forward/token_inputs.py",
        "values.min() <= values.max() < bound",
        "values.min() <= values.max() <= bound",
        _IDS,
    ),
    edit(
        "greatest-by-their-sign",
        "the strongest weights of a sparse vector are left out where they are negative",
        f"{_SERVER}/backends/heads/vector_answers.py",
        "rows.abs().topk(kept",
        "rows.topk(kept",
        (
            f"{_VECTORS}test_a_sparse_row_has_its_greatest_numbers_whatever_their_sign_at_their"
            "_places",
        ),
    ),
    edit(
        "a-query-is-shared-by-adapters",
        "a pair under one adapter is scored with the query as another one sees it",
        f"{_SERVER}/backends/score/late.py",
        "queries.setdefault((pair.query, pin), len(queries))",
        "queries.setdefault((pair.query, None), len(queries))",
        _PAIRS,
    ),
    edit(
        "half-precision-adds-products",
        "scores of late interaction are those of half precision",
        f"{_SERVER}/backends/score/late.py",
        "(query.float() @ document.float().T)",
        "(query @ document.T)",
        _PAIRS,
    ),
    edit(
        "auto-halves-every-family",
        "on a GPU the vectors of T5 are those of another text",
        "data_plane/sie_server/device/choice.py",
        "    if family not in HALVED_FAMILIES:\n",
        "    if not HALVED_FAMILIES:\n",
        ("tests/unit/test_server_choice.py",),
    ),
    edit(
        "the-first-half-speaks-for-both",
        "of pairs that did not fit at once, half have no relevance",
        f"{_SERVER}/execution/answer_joining.py",
        'relevance=b"".join(part.relevance for part in parts)',
        "relevance=parts[0].relevance",
        _PARTS,
    ),
    edit(
        "tokens-of-the-first-half",
        "usage counts the tokens of half the texts where memory was full",
        f"{_SERVER}/execution/answer_joining.py",
        "EntityAnswers(tuple(found), _tokens(named))",
        "EntityAnswers(tuple(found), named[0].tokens)",
        _PARTS,
    ),
    edit(
        "a-host-is-relieved-of-what-runs",
        "a model whose batches were handed over leaves, and idle ones stay",
        f"{_SERVER}/execution/residents.py",
        "self._relieve([revision], running)",
        "self._relieve([revision])",
        _RESIDENTS,
    ),
    edit(
        "pinned-once-is-pinned",
        "a model that was unloaded by name and comes back never leaves again",
        f"{_SERVER}/execution/residents.py",
        "        self._pinned.discard(revision)\n        self._gauge()",
        "        self._gauge()",
        _RESIDENTS,
    ),
    edit(
        "a-batch-counts-once",
        "the model of large batches leaves before one that is asked for single texts",
        f"{_SERVER}/execution/residents.py",
        "self._interest.add(revision, inputs, now)",
        "self._interest.add(revision, 1, now)",
        _RESIDENTS,
    ),
    edit(
        "eviction-takes-what-is-pinned",
        "a pool's pinned model leaves for another's load",
        RESIDENTS,
        "[revision, *self._pinned], coming=coming",
        "[revision], coming=coming",
        (RESIDENCY,),
    ),
    edit(
        "eviction-takes-what-runs",
        "a model leaves while its batch is on the device",
        RESIDENTS,
        "            return (revision in running, density)\n",
        "            return (density,)\n",
        (RESIDENCY,),
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
        "one-layer-is-put-back",
        "of layers that were laid out anew in vain all but one stay so",
        f"{_SERVER}/packed/prepacked.py",
        "in self.replaced:\n",
        "in self.replaced[:1]:\n",
        _LAID_OUT,
    ),
    edit(
        "a-kind-of-layer-is-its-parent",
        "a layer with code of its own computes as a plain one does",
        f"{_SERVER}/packed/prepacked.py",
        "if type(child) is not nn.Linear or",
        "if not isinstance(child, nn.Linear) or",
        _LAID_OUT,
    ),
    edit(
        "work-over-its-time-stays-so",
        "a device that did all its work ends itself as if it hung",
        _THREADS,
        "            del self._due[key]\n",
        "            pass\n",
        (f"{_LAWS_OF_THREADS}test_what_is_over_its_time_is_told_as_long_as_it_runs_and_no_longer",),
    ),
    edit(
        "one-more-than-may-wait",
        "a bound of one leaves a request behind the one that runs",
        _THREADS,
        "if len(self._pending) >= self._queue_max",
        "if len(self._pending) > self._queue_max",
        (
            f"{_LAWS_OF_THREADS}test_as_many_wait_as_may_and_all_that_were_not_cancelled_run_in"
            "_order",
        ),
    ),
    edit(
        "answers-run-into-each-other",
        "two answers that end at once are one that nobody can read",
        _BATCHES,
        "            with self._sending:\n                self.peer",
        "            if True:\n                self.peer",
        (f"{_OF_BATCHES}test_answers_from_many_threads_come_whole",),
    ),
    edit(
        "who-takes-no-reply-stays",
        "a device runs batch after batch for somebody who reads no answer",
        _BATCHES,
        "                self.peer.shutdown(socket.SHUT_RDWR)",
        "                pass",
        (f"{_OF_BATCHES}test_whoever_takes_no_reply_is_gone_and_what_he_asked_for_is_not_run",),
    ),
    edit(
        "whatever-comes-is-a-batch",
        "a frame of another kind ends the device for all",
        _BATCHES,
        "            if not isinstance(request, ipc.RunBatch):",
        "            if False:",
        (f"{_OF_BATCHES}test_what_is_no_batch_is_not_run_and_ends_its_connection_alone",),
    ),
)
