"""Slips planted in the gateway: other APIs, and leases.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["SLIPPED_GATEWAY_MUTANTS"]

SLIPPED_GATEWAY_MUTANTS = (
    edit(
        "units-rounded-down",
        "a client of Cohere is told of fewer units than were searched",
        "data_plane/sie_gateway/faces/cohere.py",
        "units = -(-len(request.documents) // _DOCUMENTS_PER_UNIT)",
        "units = len(request.documents) // _DOCUMENTS_PER_UNIT or 1",
        (
            (
                "tests/property/test_face_laws.py::test_a_search_unit_is_counted_for_ea"
                "ch_hundred_documents_that_are_begun"
            ),
        ),
    ),
    edit(
        "false-field-is-missing",
        "a document is refused because a field of it is 0 or empty",
        "data_plane/sie_gateway/faces/cohere.py",
        '        if value is None:\n            where = f"$.documents',
        '        if not value:\n            where = f"$.documents',
        (
            (
                "tests/property/test_face_laws.py::test_a_field_to_rank_by_is_missing_o"
                "nly_where_it_is_not_there"
            ),
        ),
    ),
    edit(
        "only-search-is-a-document",
        "texts to be clustered are read as queries",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'options.setdefault("is_query", request.input_type == "search_query")',
        'options.setdefault("is_query", request.input_type != "search_document")',
        (
            (
                "tests/property/test_face_laws.py::test_of_coheres_kinds_one_is_a_query"
                "_and_our_own_options_go_before_its_words"
            ),
        ),
    ),
    edit(
        "cohere-option-is-overwritten",
        "a word of Cohere's API undoes the option that was given",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'options.setdefault("truncate", request.truncate.lower())',
        'options["truncate"] = request.truncate.lower()',
        (
            (
                "tests/property/test_face_laws.py::test_of_coheres_kinds_one_is_a_query"
                "_and_our_own_options_go_before_its_words"
            ),
        ),
    ),
    edit(
        "relevance-zero-is-none",
        "what the model finds wholly irrelevant is told as half relevant",
        "data_plane/sie_gateway/faces/face.py",
        "_sigmoid(told.score) if told.relevance is None else told.relevance,",
        "told.relevance or _sigmoid(told.score),",
        (
            (
                "tests/property/test_face_laws.py::test_a_relevance_is_the_models_own_a"
                "lso_where_it_is_nothing_at_all"
            ),
        ),
    ),
    edit(
        "logit-zero-is-none",
        "a raw score of 0 is told as another number",
        "data_plane/sie_gateway/faces/face.py",
        "told.score if told.logit is None else told.logit,",
        "told.logit or told.score,",
        (
            (
                "tests/property/test_face_laws.py::test_a_relevance_is_the_models_own_a"
                "lso_where_it_is_nothing_at_all"
            ),
        ),
    ),
    edit(
        "field-of-ours",
        "a refusal names a field that its client has never heard of",
        "data_plane/sie_gateway/faces/face.py",
        'error.message.replace("$.items", f"$.{field}")',
        "error.message",
        ("tests/property/test_face_laws.py::test_a_refusal_names_the_field_as_its_client_does",),
    ),
    edit(
        "body-wins-over-the-path",
        "a request to one model's path is ranked by another model",
        "data_plane/sie_gateway/faces/face.py",
        "return _named(self.path or named or self.rerank)",
        "return _named(named or self.path or self.rerank)",
        (
            (
                "tests/property/test_face_laws.py::test_the_model_of_the_path_goes_befo"
                "re_the_bodys_and_that_before_the_settings"
            ),
        ),
    ),
    edit(
        "classless-text-passes",
        "a text that got no class is answered as classified",
        "data_plane/sie_gateway/faces/face.py",
        "if not all(classes):",
        "if not any(classes):",
        (
            (
                "tests/property/test_face_laws.py::test_a_text_without_classes_is_no_an"
                "swer_of_a_classifier"
            ),
        ),
    ),
    edit(
        "truncate-true-is-none",
        "a text that may be cut is refused as too long",
        "data_plane/sie_gateway/faces/openai.py",
        'return "none" if False in {request.truncate, request.truncation} else None',
        'return "none" if request.truncate is not None else None',
        (
            (
                "tests/property/test_face_laws.py::test_a_text_may_be_cut_unless_a_requ"
                "est_says_that_it_may_not"
            ),
        ),
    ),
    edit(
        "passage-is-a-query",
        "documents of Jina's clients are read as queries",
        "data_plane/sie_gateway/faces/openai.py",
        '"passage": False,',
        '"passage": True,',
        ("tests/property/test_face_laws.py::test_of_jinas_tasks_those_that_say_so_are_queries",),
    ),
    edit(
        "too-many-is-invalid",
        "clients of OpenAI give up where they should come later",
        "data_plane/sie_gateway/faces/openai.py",
        "if error.status == 429:",
        "if error.status == 503:",
        (
            (
                "tests/property/test_face_laws.py::test_an_error_is_of_the_type_by_whic"
                "h_openais_clients_tell_what_to_do"
            ),
        ),
    ),
    edit(
        "assigned-over-the-cap",
        "a lease is shown more workers than it may use",
        "data_plane/sie_gateway/leases/leases.py",
        "            left[worker.machine_profile] -= 1\n",
        "",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "lease-of-another-bundle",
        "a lease counts as active with workers that cannot run its models",
        "data_plane/sie_gateway/leases/leases.py",
        "fits = worker.pool == spec.queue_pool and spec.bundle in (None, worker.bundle)",
        "fits = worker.pool == spec.queue_pool",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "active-with-any",
        "a lease counts as active while half of its workers are missing",
        "data_plane/sie_gateway/leases/leases.py",
        "active = bool(assigned) and all(have[name]",
        "active = bool(assigned) and any(have[name]",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_shows_the_workers_that"
                "_it_may_use_and_is_active_with_all_it_counts_on"
            ),
        ),
    ),
    edit(
        "warm-beyond-the-pool",
        "leases keep more workers than their pool may have",
        "data_plane/sie_gateway/leases/leases.py",
        "return wanted if most is None else min(wanted, most)",
        "return wanted",
        (
            (
                "tests/property/test_lease_laws.py::test_a_pool_keeps_what_its_leases_w"
                "ant_warm_together_and_never_more_than_it_may"
            ),
        ),
    ),
    edit(
        "default-is-leased",
        "a lease hides the pool of every request that names none",
        "data_plane/sie_gateway/leases/leases.py",
        "if name in resolver.pools or name == _DEFAULT_POOL:",
        "if name in resolver.pools:",
        (
            (
                "tests/property/test_lease_laws.py::test_no_lease_has_the_name_of_a_poo"
                "l_nor_default_also_where_there_is_no_such_pool"
            ),
        ),
    ),
    edit(
        "share-by-wanted-only",
        "a lease waits for workers that it may not use",
        "data_plane/sie_gateway/leases/leases.py",
        "if request.gpus.get(name, 0) > request.share[name]:",
        "if False:",
        (
            (
                "tests/property/test_lease_laws.py::test_a_lease_counts_on_no_more_work"
                "ers_than_it_may_use"
            ),
        ),
    ),
)
