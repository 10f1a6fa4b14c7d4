"""Mutants of `jobs.py` (a request in a gateway).

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_REQUEST_JOBS_MUTANTS"]

_JOBS = "data_plane/sie_gateway/request/jobs.py"
_CARRIES = ("tests/property/test_asked_laws.py::test_a_job_carries_all_that_its_request_asked_for",)
_TAKEN = (
    "tests/property/test_asked_laws.py::test_a_request_is_taken_where_its_model_takes_its_items_and"
    "_gives_what_it_asks_for",
)
_PLAIN = "plain = asked.dimensions is None and asked.options.keys() <= _PLAIN_OPTIONS"

GATEWAY_REQUEST_JOBS_MUTANTS = (
    edit(
        "a-query-stays-at-the-gateway",
        "a ranker has texts and nothing to rank them by",
        _JOBS,
        "        query=asked.query,\n",
        "",
        _CARRIES,
    ),
    edit(
        "an-instruction-stays-at-the-gateway",
        "vectors of another task come back, and nobody says so",
        _JOBS,
        "        instruction=asked.instruction,\n",
        "",
        _CARRIES,
    ),
    edit(
        "labels-stay-at-the-gateway",
        "an extraction finds what its model finds by itself",
        _JOBS,
        "        labels=asked.labels,\n",
        "",
        _CARRIES,
    ),
    edit(
        "a-release-before-takes-any-option",
        "an older worker answers as if an option had not been given",
        _JOBS,
        _PLAIN,
        "plain = asked.dimensions is None",
        _CARRIES,
    ),
    edit(
        "a-release-before-takes-dimensions",
        "an older worker answers with whole vectors",
        _JOBS,
        _PLAIN,
        "plain = asked.options.keys() <= _PLAIN_OPTIONS",
        _CARRIES,
    ),
    edit(
        "who-asks-for-no-output-gets-all",
        "every plain request takes the time and the bytes of all outputs of its model",
        _JOBS,
        'return ("dense",) if "dense" in route.model.outputs else route.model.outputs',
        "return route.model.outputs",
        _CARRIES,
    ),
    edit(
        "dense-vectors-are-as-sparse-ones",
        "a request for both is refused its small dense vectors",
        _JOBS,
        'or _outputs(asked, route) != ("sparse",):',
        'or "sparse" not in _outputs(asked, route):',
        _TAKEN,
    ),
    edit(
        "sparse-vectors-come-at-full-width-alone",
        "a request for half of the bytes is refused",
        _JOBS,
        '_SPARSE_DTYPES: Final = ("float32", "float16")',
        '_SPARSE_DTYPES: Final = ("float32",)',
        _TAKEN,
    ),
    edit(
        "a-text-model-is-sent-images",
        "an image waits in the queue for a worker to say that its model takes none",
        _JOBS,
        "    if taken == _TEXTS and not asked.has_images:",
        "    if taken == _TEXTS:",
        _TAKEN,
    ),
    edit(
        "what-is-no-text-is-an-image",
        "token ids are refused as images by a model that takes texts",
        _JOBS,
        'given, field = ("image", "images") if item.images else ("text", "text")',
        'given, field = ("text", "text") if item.text else ("image", "images")',
        _TAKEN,
    ),
    edit(
        "any-option-is-somebodys",
        "a misspelt option of a built-in backend is passed over",
        _JOBS,
        "        other_names=declared is None,",
        "        other_names=True,",
        _TAKEN,
    ),
)
