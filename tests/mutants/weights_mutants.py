"""Slips of a tired maintainer in a hub's cache, in the probe and in what each input gets.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["WEIGHTS_MUTANTS"]

_SERVER = "data_plane/sie_server"
_LOADED = "tests/property/test_loaded_encoder_laws.py::"
_PROBED = (f"{_LOADED}test_a_model_runs_together_only_in_a_way_that_answers_as_its_own_forward",)
_EACH = (f"{_LOADED}test_each_input_has_the_adapter_or_the_task_that_it_names_and_else_the_base",)
_PACKED = "tests/property/test_packed_row_laws.py::"
_LAID_OUT = (
    f"{_PACKED}test_layers_that_compute_the_same_are_laid_out_anew_and_put_back_every_one",
)
_PAIRS = (f"{_LOADED}test_a_pair_scores_the_nearest_of_the_document_to_each_vector_of_its_query",)

WEIGHTS_MUTANTS = (
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
)
