"""Slips of a tired maintainer in what a process that runs models loads, keeps and answers with.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["LOADED_MUTANTS"]

_SERVER = "data_plane/sie_server"
_MEMORY = "tests/unit/test_server_memory.py::"
_WRITTEN = "tests/adversary/test_changed_weights.py::"
_RESIDENTS = ("tests/property/test_residents_laws.py",)
_PARTS = (f"{_MEMORY}test_a_batch_that_does_not_fit_is_answered_in_parts_as_in_one",)
_OWN = (f"{_WRITTEN}test_what_a_library_took_from_a_file_as_it_lies_there_is_the_models_own",)
_AGAIN = (f"{_WRITTEN}test_what_is_written_between_the_hash_and_the_end_of_the_load_is_told",)
_FOLDER = ("tests/property/test_weights_laws.py",)
_ALONE = (
    "tests/property/test_packed_row_laws.py::test_each_text_of_a_padded_batch_has_the"
    "_states_that_it_has_alone",
)

LOADED_MUTANTS = (
    edit(
        "what-is-no-parameter-stays-the-files",
        "a layer's mean changes under a loaded model with what is written into its file",
        f"{_SERVER}/weights/own_tensors.py",
        "(*model.parameters(), *model.buffers())",
        "model.parameters()",
        _OWN,
    ),
    edit(
        "a-small-layer-is-a-view-of-its-file",
        "vectors are other ones from the moment at which somebody writes into a layer's file",
        f"{_SERVER}/vectors/layer_files.py",
        "own_tensors(load_file(path))",
        "load_file(path)",
        ("tests/property/test_layer_file_laws.py",),
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
        "padded-texts-have-the-first-ones-adapter",
        "where a model runs padded, texts are answered with the adapter of another client",
        f"{_SERVER}/backends/forward/encoder.py",
        "owner = batch.owners[chunk[0]]",
        "owner = batch.owners[0]",
        _ALONE,
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
)
