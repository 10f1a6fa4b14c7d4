"""Mutants of a worker's forms, lengths and answers, and what it has loaded.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WORKER_FORMS_MUTANTS"]

LOADING = "data_plane/sie_worker/execution/loading.py"
WORDING = ("tests/unit/test_worker_wording.py",)
_LAWS = "tests/property/"
_ALONE = (
    f"{_LAWS}test_answer_laws.py::test_a_batch_answers_each_item_as_a_batch_of_that_item_alone_does",
)
_ANSWERS = "data_plane/sie_worker/forms/answers.py"
_PARTS = (
    f"{_LAWS}test_answer_laws.py::test_the_parts_of_a_batch_lie_behind_each_other_and_none_goes"
    "_back",
)
_MISFITS = (f"{_LAWS}test_answer_laws.py::test_a_batch_whose_arrays_do_not_fit_it_has_no_answer",)
_COSTS = (
    f"{_LAWS}test_input_cost_laws.py::test_an_input_costs_what_is_read_of_it_as_often_as_it_is_read",
)
_FORMS = "data_plane/sie_worker/forms"
_READ = "tests/property/test_reading_laws.py::"
_TEXT = (f"{_READ}test_a_text_is_read_in_the_words_of_its_side_task_and_request",)
_WIDTHS = (
    f"{_LAWS}test_answer_laws.py::test_no_more_numbers_are_asked_of_a_vector_than_each_has_that_is"
    "_cut",
)

WORKER_FORMS_MUTANTS = (
    edit(
        "load-forgets-who-it-was-for",
        "two models that do not fit together take turns on the device and run nothing",
        LOADING,
        "return waiting.get(revision, inf) < since",
        "return False",
        ("tests/property/test_loading_laws.py",),
    ),
    edit(
        "pin-is-not-renewed",
        "a model that the pool pins now leaves like any other",
        "data_plane/sie_worker/execution/models.py",
        "if found is not None and found.pinned == self._pinned(resolved):",
        "if found is not None:",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "adapters-outlive-their-model",
        "a model that came back is asked for adapters that it has not",
        "data_plane/sie_worker/execution/models.py",
        (
            "        gone = self._loaded.pop(revision, None)\n        self._adapters = "
            "{key for key in self._adapters if key[0] != revision}"
        ),
        "        gone = self._loaded.pop(revision, None)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "refused-adapter-stays-told",
        "an adapter that loads counts as failed for ever",
        "data_plane/sie_worker/execution/models.py",
        (
            "            if self._reports.pop(_adapter_name(model.resolved, pin), None) is "
            "not None:\n                self._on_change()"
        ),
        "            pass",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_what_is_taken_for_loade"
                "d_is_what_the_process_has"
            ),
        ),
    ),
    edit(
        "left-in-use-forgotten",
        "jobs of a model in use wait for it, because others have left since",
        "data_plane/sie_worker/execution/models.py",
        (
            "        if found is None and (found := self._left.pop(revision, None)) is not "
            "None:\n            self._left[revision] = found\n        return found"
        ),
        "        return found if found is not None else self._left.get(revision)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_of_the_models_that_left"
                "_those_asked_for_last_are_known"
            ),
        ),
    ),
    edit(
        "turn-ends-while-somebody-waits",
        "after a load that failed, two loads of one model run at once",
        "data_plane/sie_worker/execution/models.py",
        "            if not turn.demands:\n                del self._turns[key]",
        "            self._turns.pop(key, None)",
        (
            (
                "tests/property/test_loaded_model_laws.py::test_loads_of_one_revision_a"
                "re_one_after_the_other_whatever_became_of_the_first"
            ),
        ),
    ),
    edit(
        "a-cut-vector-keeps-its-length",
        "cosines of vectors with fewer dimensions are no cosines",
        "data_plane/sie_worker/forms/answers.py",
        "    return np.ascontiguousarray(cut / np.maximum(lengths, np.float32(_NORM_MIN)))\n",
        "    return np.ascontiguousarray(cut)\n",
        WORDING,
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
        "a-batch-is-in-the-type-of-its-first",
        "who asked for int8 gets floats, where another's text ran before it",
        "data_plane/sie_worker/forms/answers.py",
        'all(dtype == "float32" for dtype in output_dtypes)',
        'output_dtypes[0] == "float32"',
        (
            (
                "tests/property/test_answer_laws.py::test_a_batch_answers_each_item_as_a_"
                "batch_of_that_item_alone_does"
            ),
        ),
    ),
    edit(
        "no-number-is-a-relevance",
        "a ranking has NaN for a probability, which is no JSON",
        "data_plane/sie_worker/forms/answers.py",
        "if all(math.isfinite(number) for number in row.values())",
        'if math.isfinite(row["score"])',
        (
            (
                "tests/property/test_answer_laws.py::test_an_answer_to_a_pair_has_numbers"
                "_alone_or_is_an_error"
            ),
        ),
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
        "what-just-fits-is-refused",
        "who wants nothing cut cannot send as much as the model reads",
        "data_plane/sie_worker/forms/cutting.py",
        "if reads <= 0 or count <= reads:",
        "if reads <= 0 or count < reads:",
        (
            (
                "tests/property/test_cutting_laws.py::test_a_text_that_just_fits_is_run_a"
                "nd_one_token_more_is_refused_for_itself"
            ),
        ),
    ),
    edit(
        "one-text-makes-images-short",
        "images are decoded on the loop, and a worker is taken for dead",
        "data_plane/sie_worker/forms/lengths.py",
        "if any(item.images for item in job.items):",
        "if all(item.images for item in job.items):",
        (
            "tests/property/test_length_laws.py::test_a_job_with_an_image_in_any_place_is_not_read"
            "_on_the_loop",
        ),
    ),
    edit(
        "query-is-read-once",
        "a long query beside many short texts holds up a worker's loop",
        "data_plane/sie_worker/forms/lengths.py",
        "    return sum(\n        beside + len(",
        "    return beside + sum(\n        len(",
        ("tests/property/test_length_laws.py::test_no_more_is_read_on_the_loop_than_its_bound",),
    ),
    edit(
        "ids-are-cut-at-their-end",
        "of token ids a model that cuts at the left reads what their text would have lost",
        f"{_FORMS}/tokenizing.py",
        "slice(-self._tokens_max, None) if self._cuts_left else slice(self._tokens_max)",
        "slice(self._tokens_max)",
        (f"{_READ}test_token_ids_are_cut_where_their_text_would_be",),
    ),
    edit(
        "ids-of-a-query-are-cut-as-a-document",
        "a query's token ids lose words that its text keeps, where queries may be longer",
        f"{_FORMS}/tokenizing.py",
        "_texts_of(job, reads, failures",
        "_texts_of(job, tokenizer, failures",
        (f"{_READ}test_token_ids_are_read_as_the_text_that_they_stand_for",),
    ),
    edit(
        "every-prompt-is-skipped",
        "vectors of models that read their prompt leave it out",
        f"{_FORMS}/tokenizing.py",
        "if prompt and self._skips_prompts else 0",
        "if prompt else 0",
        _TEXT,
    ),
    edit(
        "queries-are-read-as-documents",
        "a model that takes queries in another way reads them as its texts",
        f"{_FORMS}/tokenizing.py",
        "        reads = tokenizer.queries\n",
        "        reads = tokenizer\n",
        _TEXT,
    ),
    edit(
        "a-worker-checks-no-options",
        "an option of a backend in another package is passed over",
        "data_plane/sie_worker/forms/tokenizing.py",
        "    check_options(job, loaded)\n",
        "    assert check_options\n",
        WORDING,
    ),
    edit(
        "an-instruction-is-dropped",
        "a text is read without the instruction that came with it",
        "data_plane/sie_worker/forms/wording.py",
        '            raise _placeless(job, side, "leave it out, or give a template of your own")\n',
        "            instruction = None\n",
        WORDING,
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
        "a-batch-has-one-least-number",
        "of a multivector in bytes each token depends on the others",
        "shared/schemas/sie_schemas/arrays.py",
        "least = vectors.min(axis=-1, keepdims=True)",
        "least = vectors.min(keepdims=True)",
        (
            "tests/property/test_answer_laws.py::test_each_token_is_written_and_cut_as_if_it_were_alone",
        ),
    ),
    edit(
        "steps-of-their-own",
        "vectors in bytes are not the nearest that there are",
        "shared/schemas/sie_schemas/arrays.py",
        "/ _or_one(largest) * 127,",
        "/ _or_one(largest) * 127.49,",
        (
            "tests/property/test_answer_laws.py::test_smaller_types_keep_the_order_and_the_sign_of_the_numbers",
        ),
    ),
    edit(
        "a-bare-pair-trims-as-the-other",
        "without an instruction a model reads pairs with white space that it was never taught",
        "data_plane/sie_worker/forms/pairing.py",
        "form.trims if not is_bare or form.trims_bare is None else form.trims_bare",
        "form.trims",
        (
            "tests/property/test_reading_laws.py::test_of_a_pair_that_is_too_long_only_the_part_is"
            "_cut_that_may_be",
        ),
    ),
    edit(
        "a-cut-pair-lacks-its-end",
        "of a pair that is cut to the limit the words that ask for the answer are missing",
        "data_plane/sie_worker/forms/pairing.py",
        "len(found) >= self._tokens_max",
        "len(found) > self._tokens_max",
        (
            "tests/property/test_reading_laws.py::test_of_a_pair_that_is_too_long_only_the_part_is"
            "_cut_that_may_be",
        ),
    ),
    edit(
        "a-side-is-cut-at-the-larger-bound",
        "queries of late interaction are longer than the model was trained on",
        "data_plane/sie_worker/forms/late_sides.py",
        "max_length=min(limits), direction",
        "max_length=max(limits), direction",
        (
            "tests/property/test_late_side_laws.py::test_a_text_is_cut_at_the_lesser_bound_and_filled_up_with_what_is_looked_at_or_not",
        ),
    ),
    edit(
        "an-empty-text-is-filled-up",
        "an empty document is scored by its fillers",
        "data_plane/sie_worker/forms/late_sides.py",
        "form.filled_to if count or form.attended else 0",
        "form.filled_to",
        (
            "tests/property/test_late_side_laws.py::test_a_text_is_cut_at_the_lesser_bound_and_filled_up_with_what_is_looked_at_or_not",
        ),
    ),
    edit(
        "a-filled-text-is-too-long",
        "a query that is filled up beyond its cut is refused as too long",
        "data_plane/sie_worker/forms/late_sides.py",
        "cut and max(cut, self.form.filled_to)",
        "cut",
        (
            "tests/property/test_late_side_laws.py::test_a_text_is_cut_at_the_lesser_bound_and_filled_up_with_what_is_looked_at_or_not",
        ),
    ),
)
