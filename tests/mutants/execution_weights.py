"""Mutants of weights, layers in files, pooling, steps of vectors, and who stays resident.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["EXECUTION_WEIGHTS_MUTANTS"]

_SERVER = "data_plane/sie_server"
_LAWS = "tests/property/"
_DENSE = (
    f"{_LAWS}test_layer_file_laws.py::test_a_dense_layer_is_its_product_its_activation_and_what_is"
    "_added_of_its_input",
)
_LAYERS = "data_plane/sie_server/vectors/layer_files.py"
_LATENT = (
    f"{_LAWS}test_layer_file_laws.py::test_of_the_latent_weights_the_greatest_are_kept_and_none"
    "_below_zero",
)
_HALVES = (
    f"{_LAWS}test_pooling_laws.py::test_a_model_in_half_precision_is_pooled_as_exactly_as_one_in"
    "_whole",
)
_VECTORS = "tests/property/test_vector_laws.py::"
_SPLADE = (
    f"{_VECTORS}test_the_weights_of_a_vocabulary_are_those_of_all_tokens_however_long_the_text",
)
_WRITTEN = "tests/adversary/test_changed_weights.py::"
_OWN = (f"{_WRITTEN}test_what_a_library_took_from_a_file_as_it_lies_there_is_the_models_own",)
_AGAIN = (f"{_WRITTEN}test_what_is_written_between_the_hash_and_the_end_of_the_load_is_told",)
_FOLDER = ("tests/property/test_weights_laws.py",)
_LEAVES = (
    f"{_LAWS}test_weights_laws.py::test_of_a_cache_what_nobody_uses_or_fetches_leaves_and_its_fork"
    "_stays",
)
_KILLED = (
    "tests/unit/test_hub_files.py::test_what_a_killed_download_left_is_never_served_and_goes_with"
    "_the_next_fetch",
)

EXECUTION_WEIGHTS_MUTANTS = (
    edit(
        "a-small-layer-is-a-view-of-its-file",
        "vectors are other ones from the moment at which somebody writes into a layer's file",
        f"{_SERVER}/vectors/layer_files.py",
        "own_tensors(load_file(path))",
        "load_file(path)",
        ("tests/property/test_layer_file_laws.py",),
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
        "long-text-counts-by-its-end",
        "of a long text the weights of its last part are its weights",
        f"{_SERVER}/vectors/steps.py",
        "found = torch.maximum(found, row) if strongest else found + row",
        "found = row if strongest else found + row",
        _SPLADE,
    ),
    edit(
        "length-one-before-the-cut",
        "vectors that were cut are told to have length 1, and have not",
        f"{_SERVER}/vectors/steps.py",
        (
            "vectors = vectors if self._kept is None else vectors[:, : self._kept]\n        return "
            "nn.functional.normalize(vectors.float(), dim=-1) if unit else vectors"
        ),
        (
            "vectors = nn.functional.normalize(vectors.float(), dim=-1) if unit else vectors\n"
            "        return vectors if self._kept is None else vectors[:, : self._kept]"
        ),
        (
            f"{_VECTORS}test_a_vector_has_length_one_where_the_request_wants_it_also_when_it_was_cut",
        ),
    ),
    edit(
        "word-counts-as-often-as-it-is-there",
        "repeated words outweigh all others in a search",
        f"{_SERVER}/vectors/tables.py",
        "row[ids.to(place)] = 1",
        "row[ids.to(place)] += ids.to(place).bincount(minlength=len(row))[ids.to(place)]",
        (f"{_VECTORS}test_a_token_of_a_table_of_weights_counts_once_however_often_it_is_there",),
    ),
    edit(
        "what-is-no-parameter-stays-the-files",
        "a layer's mean changes under a loaded model with what is written into its file",
        f"{_SERVER}/weights/own_tensors.py",
        "(*model.parameters(), *model.buffers())",
        "model.parameters()",
        _OWN,
    ),
    edit(
        "the-last-file-is-looked-at-again",
        "of weights in several files those that are written during the load are not noticed",
        f"{_SERVER}/weights/sources.py",
        "    return stamps",
        "    return dict([stamps.popitem()]) if stamps else stamps",
        _AGAIN,
    ),
    edit(
        "a-time-that-anybody-sets-says-unchanged",
        "a linked file that is written during the load, its time put back, answers as pinned",
        f"{_SERVER}/weights/file_hashes.py",
        "found.st_size, found.st_ctime_ns",
        "found.st_size, found.st_mtime_ns",
        _AGAIN,
    ),
    edit(
        "a-package-is-not-looked-at-again",
        "a package's weights that are written during the load answer under the pinned version",
        f"{_SERVER}/weights/sources.py",
        "return Weights(folder, pinned, as_verified=verified, written_once=installed)",
        "return Weights(folder, pinned, written_once=installed)",
        _AGAIN,
    ),
    edit(
        "a-manifest-of-nothing-is-none",
        "a source that pins no file has each of its files read unpinned",
        f"{_SERVER}/weights/sources.py",
        "if self.pinned is not None and name not in self.pinned:",
        "if self.pinned and name not in self.pinned:",
        _FOLDER,
    ),
    edit(
        "code-runs-of-an-inner-folder",
        "code runs that lies deeper in a repository than what the operator looked at",
        f"{_SERVER}/weights/sources.py",
        "            may_run_code=False,\n",
        "",
        _FOLDER,
    ),
    edit(
        "small-files-of-a-hub-are-believed",
        "a config that was damaged on its way is read",
        "data_plane/sie_server/weights/file_hashes.py",
        "return digest.hexdigest() == blob.name",
        "return True",
        (
            "tests/property/test_weights_laws.py::test_"
            "a_file_of_the_hub_has_the_bytes_that_its_name_states",
        ),
    ),
    edit(
        "the-newest-leaves-the-cache",
        "a host fetches again and again what it has just used",
        "data_plane/sie_server/weights/hub_cache.py",
        "return min(candidates, key",
        "return max(candidates, key",
        (
            "tests/property/test_weights_laws.py::test_"
            "the_revision_that_was_not_used_for_longest_leaves_the_cache",
        ),
    ),
    edit(
        "what-a-killed-download-left-stays",
        "a worker that is killed again and again fills its disk, and no bound counts that",
        f"{_SERVER}/weights/hub_cache.py",
        "        _sweep()\n",
        "",
        _KILLED,
    ),
    edit(
        "a-part-leaves-whoever-fetches-it",
        "a download fails when another one of this host begins",
        f"{_SERVER}/weights/hub_cache.py",
        "            if nobody:\n                part.unlink",
        "            if True:\n                part.unlink",
        _KILLED,
    ),
    edit(
        "what-a-killed-conversion-left-stays",
        "each conversion that was killed leaves as much as the model weighs",
        f"{_SERVER}/weights/pickles.py",
        "        left.unlink()\n",
        "        pass\n",
        (
            "tests/unit/test_pickled_weights.py::test_weights_that_a_hub_has_as_a_pickle_alone_become"
            "_safetensors_once",
        ),
    ),
    edit(
        "a-damaged-copy-stays",
        "a model whose download was damaged once never loads again on that host",
        f"{_SERVER}/weights/hub_cache.py",
        "        blob.unlink()\n        raise",
        "        raise",
        (
            "tests/integration/test_server_sources.py::test_a_damaged_download_is_refused_and"
            "_removed_then_fetched_anew_and_kept",
        ),
    ),
    edit(
        "a-revision-leaves-under-a-download",
        "a load fails: files that it shares with an older revision went while it fetched",
        f"{_SERVER}/weights/hub_cache.py",
        "if not (unused and quiet):",
        "if not unused:",
        _LEAVES,
    ),
    edit(
        "a-fork-leaves-with-its-origin",
        "a revision in use is removed, since another repository has the same commit",
        f"{_SERVER}/weights/hub_cache.py",
        "dataclasses.replace(info, repos=frozenset({repository})).delete_revisions(commit)",
        "info.delete_revisions(commit)",
        _LEAVES,
    ),
    edit(
        "the-last-use-is-the-first",
        "what was served for a week leaves the cache before what was tried once yesterday",
        f"{_SERVER}/weights/hub_cache.py",
        "    with suppress(OSError):\n        os.utime(descriptor)\n    os.close(descriptor)",
        "    os.close(descriptor)",
        (
            f"{_LAWS}test_weights_laws.py::test_the_last_use_of_a_revision_is_the_end_of_its_last_pin",
        ),
    ),
    edit(
        "what-lies-beside-is-fetched-without-the-token",
        "a model whose encoder is private too never loads",
        f"{_SERVER}/weights/sources.py",
        ", revision=commit, token=of.token)",
        ", revision=commit)",
        (
            "tests/unit/test_hub_files.py::test_of_a_repository_beside_a_model_words_alone_are_fetched"
            "_at_the_commit_that_is_pinned",
        ),
    ),
    edit(
        "a-folder-leads-out-of-itself-in-its-middle",
        "a model of a stranger has a worker read its own disk",
        "shared/layouts/sie_layouts/routes.py",
        'or ".." in folder.replace("\\\\", "/").split("/")',
        'or folder.startswith("..")',
        (
            "tests/unit/test_layout_reading.py::test_a_file_that_says_what_is_not_done_is_named_with_its_key",
        ),
    ),
    edit(
        "a-use-keeps-the-place",
        "the adapter that is used most leaves first, and is read again",
        "data_plane/sie_server/device/residency.py",
        "        self._sizes[name] = self._sizes.pop(name)\n",
        "",
        (
            "tests/property/test_residents_laws.py::test_without_a_worth_the_least_recently_used_leave_first_and_no_more_than_needed",
        ),
    ),
    edit(
        "an-interest-keeps-its-place",
        "of a thousand models the one that is asked for most is taken for a stranger",
        "data_plane/sie_server/device/residency.py",
        "        self._counts.pop(name, None)\n",
        "",
        (
            "tests/property/test_residents_laws.py::test_of_what_was_asked_for_a_half_is_forgotten_each_minute_and_who_was_not_asked_for_longest",
        ),
    ),
    edit(
        "a-mapping-of-a-form-before-that-of-a-task",
        "queries take the way that a folder has for any text",
        "shared/layouts/sie_layouts/routes.py",
        '((named, "text"), (named, None), (None, "text"), (None, None))',
        '((named, "text"), (None, "text"), (named, None), (None, None))',
        (
            "tests/unit/test_layout_reading.py::test_a_router_takes_the_nearest_of_its_mappings_whatever_their_order",
        ),
    ),
    edit(
        "only-listed-prompts-are-there",
        "folders that the reference loads are refused for a name that it always has",
        "shared/layouts/sie_layouts/sentence.py",
        'if name not in prompts and name not in ("query", "document"):',
        "if name not in prompts:",
        (
            "tests/unit/test_layout_reading.py::test_a_default_prompt_is_one_that_is_listed_or_that_every_folder_has",
        ),
    ),
    edit(
        "queries-keep-their-own-number",
        "queries and documents of one sparse model are of different lengths",
        "shared/layouts/sie_layouts/sentence.py",
        "            query=_kept_by(query, kept),",
        "            query=query,",
        (
            "tests/unit/test_layout_reading.py::test_the_entries_that_a_folder_keeps_are_kept_of_queries_and_documents_alike",
        ),
    ),
    edit(
        "outputs-that-a-model-lacks-are-promised",
        "a client asks for what a document names, and is answered with nothing",
        "data_plane/sie_server/backends/backend.py",
        "set(spec.tasks.encode.outputs) != outputs",
        "outputs - set(spec.tasks.encode.outputs)",
        ("tests/unit/test_server_refusals.py::test_an_echo_only_encodes_to_dense_vectors",),
    ),
    edit(
        "a-table-has-any-output",
        "a model of a table is loaded for vectors that it has not",
        "data_plane/sie_server/backends/encode/transformer.py",
        "        require_outputs(spec, {layout.output})\n",
        "",
        (
            "tests/unit/test_conformance_routes.py::test_a_table_gives_one_output_and_a_document_that_names_another_is_refused",
        ),
    ),
    edit(
        "vectors-of-tokens-are-of-any-output",
        "a model of token vectors is loaded for dense ones, which it has not",
        "data_plane/sie_server/backends/score/late_encoder.py",
        '        require_outputs(spec, {"multivector"})\n',
        "",
        (
            "tests/unit/test_conformance_late.py::test_a_document_that_names_vectors_of_whole_texts_is_refused",
        ),
    ),
    edit(
        "a-short-text-changes-the-attention-for-good",
        "after the first short text each long one is answered with another vector",
        "data_plane/sie_server/backends/architectures/big_bird.py",
        "if model.attention_type == kind:",
        "if model.attention_type == _WHOLE:",
        ("tests/unit/test_sparse_attention.py",),
    ),
    edit(
        "a-field-of-no-use-is-loaded",
        "a profile that an older release let into the log sets a length that nothing reads",
        "data_plane/sie_server/backends/names.py",
        "in unread_of_profile(name, spec.profile.model_dump()):",
        "in ():",
        (
            "tests/property/test_read_option_laws.py::test_a_field_of_a_profile_changes_what_is_told_or_is_refused[echo-dtype]",
        ),
    ),
    edit(
        "layers-slide-unsaid",
        "a Qwen whose layers slide by no window is added, and no worker loads it",
        "shared/layouts/sie_layouts/architectures/configs.py",
        "if in_effect[key] is None or in_effect[key] is False:",
        "if in_effect[key] is None:",
        (
            "tests/unit/test_library_configs.py::test_a_value_that_fails_is_told_with_its_key_and_the_nearest_right_one",
        ),
    ),
    edit(
        "any-count-of-factors",
        "a Phi-3 whose long_factor has a number too few is added, and no worker loads it",
        "shared/layouts/sie_layouts/architectures/configs.py",
        "(size and len(value) not in {1, size})",
        "not value",
        (
            "tests/unit/test_library_configs.py::test_a_value_that_fails_is_told_with_its_key_and_the_nearest_right_one",
        ),
    ),
    edit(
        "a-width-of-heads-that-is-not-worked-out",
        "a ModernBERT with a stray head_dim is added, and its rotary positions fail",
        "shared/layouts/sie_layouts/architectures/configs.py",
        "if heads > 0 and config[key] not in (None, width // heads):",
        "if heads > width and config[key] not in (None, width // heads):",
        (
            "tests/unit/test_library_configs.py::test_a_value_that_fails_is_told_with_its_key_and_the_nearest_right_one",
        ),
    ),
    edit(
        "a-mistral-of-two-kinds-of-layers",
        "a Mistral that transformers reads as a Ministral is judged by another family's table",
        "shared/layouts/sie_layouts/architectures/configs.py",
        'alternates = kind == "mistral" and "layer_types" in config',
        'alternates = kind == "mistral" and "types" in config',
        (
            "tests/unit/test_library_configs.py::test_a_value_that_fails_is_told_with_its_key_and_the_nearest_right_one",
        ),
    ),
    edit(
        "a-cache-that-nobody-reads",
        "a value that only a cache reads fails the load of a model that its reference runs",
        "data_plane/sie_server/backends/model_files.py",
        "        config.use_cache = False",
        "        config.use_cache = bool(config.use_cache)",
        (
            "tests/property/test_config_value_laws.py::test_a_value_that_somebody_changed_is_answered_or_refused_as_the_reference_does[517]",
        ),
    ),
)
