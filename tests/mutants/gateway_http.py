"""Mutants of the gateway's pages and lines: what it tells of models, workers and requests.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_HTTP_MUTANTS"]

_LIVE = "data_plane/sie_gateway/http/live_status.py"
_MODEL = "data_plane/sie_gateway/http/model_status.py"
_TRAFFIC = "data_plane/sie_gateway/http/model_traffic.py"
_LOG = "data_plane/sie_gateway/http/request_log.py"
_VIEWS = "data_plane/sie_gateway/http/views.py"
_TEI = "data_plane/sie_gateway/http/tei_info.py"
_WIDTHS = "data_plane/sie_gateway/http/widths.py"
_SLIPS = "data_plane/sie_gateway/http/slips.py"
_ASGI = "data_plane/sie_gateway/request/asgi.py"
_LONG = "data_plane/sie_gateway/http/long_answers.py"
_VIEW_LAWS = "tests/property/test_gateway_view_laws.py::"
_CLUSTER = (f"{_VIEW_LAWS}test_a_cluster_is_what_its_workers_say",)
_OF_MODEL = (f"{_VIEW_LAWS}test_a_model_is_what_its_document_and_the_reports_on_it_say",)
_OF_TEI = (f"{_VIEW_LAWS}test_tei_is_told_the_profile_that_is_asked_for",)
_IN_PARTS = (f"{_VIEW_LAWS}test_a_long_answer_is_whole_in_order_and_in_parts",)
_LOADS = "data_plane/sie_gateway/fleet/kind_loads.py"
_ONE_VIEW = (
    "tests/unit/test_gateway_live_status.py::test_one_view_is_made_for_all_who_watch_and_who_"
    "leaves_takes_it_from_nobody",
)
_PROFILES = (
    "tests/unit/test_gateway_model_status.py::test_a_model_is_effective_only_where_each_of_its_"
    "profiles_is",
)
_TOLD = (
    "tests/unit/test_gateway_signals.py::test_a_model_is_told_its_own_requests_of_all_operations_"
    "and_the_seconds_of_answers",
)
_LINE = (
    "tests/unit/test_gateway_signals.py::test_a_line_is_a_warning_of_what_failed_and_names_what_"
    "the_answer_was_made_under",
)
_SERIES = (
    "tests/unit/test_gateway_signals.py::test_every_kind_of_worker_has_its_series_at_0_before_the_"
    "first_request",
)
_EPOCH = '                "epoch": str(self._position()),\n'
_IDS = (
    '                **({"client_request_id": told_id} if told_id else {}),\n'
    '                **({"trace_id": trace_id} if trace_id else {}),\n'
    "                **found,\n"
)

GATEWAY_HTTP_MUTANTS = (
    edit(
        "a-watcher-takes-the-view-along",
        "one page that is closed cuts off all who watch",
        _LIVE,
        "await asyncio.shield(self._made)",
        "await self._made",
        _ONE_VIEW,
    ),
    edit(
        "each-watcher-has-a-view-made",
        "a wall of screens costs a gateway its time",
        _LIVE,
        "if self._made is None or now - self._made_at >= self._interval_s:",
        "if True:",
        _ONE_VIEW,
    ),
    edit(
        "who-left-is-told-the-end",
        "a server complains of each page that was closed",
        _LIVE,
        "            if not leaving.done():\n                await send",
        "            if True:\n                await send",
        _ONE_VIEW,
    ),
    edit(
        "one-profile-served-is-all",
        "a rollout is called done while a profile is served nowhere",
        _MODEL,
        "and all(_is_served(",
        "and any(_is_served(",
        _PROFILES,
    ),
    edit(
        "a-bundle-has-all-backends-of-a-model",
        "workers that run one of its profiles are not looked at",
        _MODEL,
        "if backends & set(bundle",
        "if backends <= set(bundle",
        _PROFILES,
    ),
    edit(
        "a-refusal-is-an-answer-in-time",
        "a model that refuses all at once looks fast",
        _TRAFFIC,
        'and status == "2xx"',
        "and status",
        _TOLD,
    ),
    edit(
        "one-operation-is-the-traffic",
        "requests of a model's other operations are not counted",
        _TRAFFIC,
        "statuses[status] = statuses.get(status, 0) + int(sample.value)",
        "statuses[status] = int(sample.value)",
        _TOLD,
    ),
    edit(
        "bounds-are-told-as-words",
        "the page draws a latency that falls",
        _TRAFFIC,
        "sorted(below, key=float)",
        "sorted(below)",
        _TOLD,
    ),
    edit(
        "all-models-are-one",
        "each model is told the traffic of the whole gateway",
        _TRAFFIC,
        '        if sample.labels.get("model") != model_id:\n            continue\n',
        "",
        _TOLD,
    ),
    edit(
        "again-is-a-failure",
        "a cluster that scales up fills its log with warnings",
        _LOG,
        "return status >= 500 and status != 503",
        "return status >= 500",
        _LINE,
    ),
    edit(
        "a-line-names-the-registry-of-now",
        "an answer is looked for under a config that it was not made under",
        _LOG,
        _EPOCH + _IDS,
        _IDS + _EPOCH,
        _LINE,
    ),
    edit(
        "every-line-is-a-warning",
        "who looks for what failed reads what went well",
        _LOG,
        "logging.WARNING if _failed(status) else logging.INFO",
        "logging.WARNING",
        _LINE,
    ),
    edit(
        "the-first-bundle-has-series",
        "the first cold request of another bundle starts nobody",
        _LOADS,
        "for bundle in sorted(resolver.bundles):",
        "for bundle in sorted(resolver.bundles)[:1]:",
        _SERIES,
    ),
    edit(
        "one-failed-worker-fails-the-model",
        "a model that others serve is shown as failed",
        _VIEWS,
        '(_LOADED, "loading", "available", "failed")',
        '("failed", _LOADED, "loading", "available")',
        _CLUSTER,
    ),
    edit(
        "a-worker-that-leaves-has-free-devices",
        "whoever scales by free devices waits for some that take no work",
        _VIEWS,
        "min(worker.devices_ready, _gpus(worker)) if worker.ready else 0",
        "min(worker.devices_ready, _gpus(worker))",
        _CLUSTER,
    ),
    edit(
        "a-model-counts-once-a-worker",
        "two workers with one model have two models loaded",
        _VIEWS,
        "len({name for worker in workers for name in _loaded(worker)})",
        "sum(len(_loaded(worker)) for worker in workers)",
        _CLUSTER,
    ),
    edit(
        "the-queue-of-who-only-knows-a-model",
        "a model is told the queues of workers that have not loaded it",
        _VIEWS,
        "sum(worker.queue_depth for worker in holders)",
        "sum(worker.queue_depth for worker, _ in said)",
        _CLUSTER,
    ),
    edit(
        "a-profile-has-the-defaults-revision",
        "clients take the vectors of two profiles for those of one",
        _VIEWS,
        "model_revision(document, profile)",
        'model_revision(document, "default")',
        _OF_MODEL,
    ),
    edit(
        "an-overridden-spec-is-its-default-profile",
        "the view of a profile tells another's length and inputs",
        _VIEWS,
        "model_id, profile, document = resolved.model_id, resolved.profile, resolved.document",
        "model_id, document = resolved.model_id, resolved.document",
        _OF_MODEL,
    ),
    edit(
        "what-is-loaded-goes-before-the-profile",
        "a model tells a length that its profile cuts",
        _VIEWS,
        'profile.get("max_sequence_length") or next(loaded, None)',
        'next(loaded, None) or profile.get("max_sequence_length")',
        _OF_MODEL,
    ),
    edit(
        "tei-is-told-the-default-profile",
        "a client is told the dtype and pooling of another profile",
        _TEI,
        '["profiles"][resolved.profile]',
        '["profiles"]["default"]',
        _OF_TEI,
    ),
    edit(
        "requests-are-counted-as-items",
        "clients cut their batches by the wrong bound",
        _TEI,
        '"max_client_batch_size": items_max',
        '"max_client_batch_size": in_flight_max',
        _OF_TEI,
    ),
    edit(
        "a-row-is-lost-between-parts",
        "of a long registry each hundredth model is missing",
        _LONG,
        "start : start + _PART]",
        "start : start + _PART - 1]",
        _IN_PARTS,
    ),
    edit(
        "a-long-answer-goes-at-once",
        "requests wait while ten thousand rows are encoded",
        _LONG,
        "<= _PART:",
        ">= 0:",
        _IN_PARTS,
    ),
    edit(
        "a-part-of-the-widths-is-kept",
        "a client makes its tables without a column, after one refusal",
        _WIDTHS,
        "for output in model.outputs:\n",
        "for output in model.outputs:\n                self._found[model.revision] = found\n",
        (f"{_VIEW_LAWS}test_widths_are_kept_once_all_of_a_model_are_measured",),
    ),
    edit(
        "slips-are-remembered-for-ever",
        "a flood of names fills the gateway's memory",
        _SLIPS,
        "if len(self._remembered) >= _REMEMBERED_MAX:",
        "if False:",
        ("tests/unit/test_gateway_slips.py::test_a_flood_of_names_is_forgotten_in_time",),
    ),
    edit(
        "a-charset-is-not-looked-at",
        "a text in another charset is read as UTF-8",
        _ASGI,
        "    check_charset(kind)\n",
        "",
        (
            "tests/unit/test_http_words.py::test_a_gateway_reads_the_json_of_a_plain_curl_and_no_form",
        ),
    ),
    edit(
        "what-curl-calls-a-form-is-one",
        "a request as the README has it is refused",
        _ASGI,
        "kind.lower().startswith(_PAIRS) and _is_form(body)",
        "kind.lower().startswith(_PAIRS)",
        (
            "tests/unit/test_http_words.py::test_a_gateway_reads_the_json_of_a_plain_curl_and_no_form",
        ),
    ),
)
