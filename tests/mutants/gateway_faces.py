"""Mutants of a gateway's APIs, ours and others'.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["GATEWAY_FACES_MUTANTS"]

_FACES = "tests/property/test_face_answer_laws.py::"
_RANKED = (f"{_FACES}test_a_ranking_has_every_document_that_was_not_cut_off_on_purpose",)
_TYPES = (f"{_FACES}test_coheres_types_are_told_once_each_and_are_all_of_one_vector",)
_FACES_TOO = "data_plane/sie_gateway/faces"
_EVERY = "tests/property/test_every_face_laws.py::"
_HUB = (f"{_EVERY}test_the_hub_has_classes_or_entities_by_what_the_model_gives",)

GATEWAY_FACES_MUTANTS = (
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
        "ten-documents-by-default",
        "of a long list the eleventh document has no place",
        "data_plane/sie_gateway/faces/cohere.py",
        "ranking(answer)[: request.top_n]",
        "ranking(answer)[: request.top_n or 10]",
        _RANKED,
    ),
    edit(
        "every-version-is-the-second",
        "clients of the first version are told another",
        "data_plane/sie_gateway/faces/cohere.py",
        "lambda answer: _render(version, answer, request))",
        'lambda answer: _render("2", answer, request))',
        _RANKED,
    ),
    edit(
        "only-search-is-a-document",
        "texts to be clustered are read as queries",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'request.input_type == "search_query",',
        'request.input_type != "search_document",',
        (
            (
                "tests/property/test_face_laws.py::test_of_coheres_kinds_one_is_a_query"
                "_and_our_own_options_go_before_its_words"
            ),
        ),
    ),
    edit(
        "an-apis-word-goes-before-ours",
        "a word of another API undoes the option that was given",
        f"{_FACES_TOO}/face.py",
        "if value is not None or name not in words",
        "if name not in words",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "a-null-hides-a-word",
        "what a client wants refused is cut, since its library sends our options as null",
        f"{_FACES_TOO}/face.py",
        "if value is not None or name not in words",
        "if True",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "a-null-hides-its-name",
        "a mistyped option is passed over where it is null",
        f"{_FACES_TOO}/face.py",
        "if value is not None or name not in words",
        "if value is not None",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "several-types-of-the-first",
        "of several types of numbers the exact ones are made of rounded ones",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'if len(kinds) == 1 else "float32",',
        'if kinds else "float32",',
        _TYPES,
    ),
    edit(
        "width-is-dropped",
        "a vector of all numbers goes where a shorter one was asked for",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        "dimensions=request.output_dimension,",
        "dimensions=None,",
        (f"{_FACES}test_cohere_has_vectors_of_the_width_that_was_asked_for",),
    ),
    edit(
        "what-is-false-may-be-anything",
        "a client that asks for what is not there, by a nought, is answered as if it had it",
        f"{_FACES_TOO}/face.py",
        "if value is not None and value != default:",
        "if value and value != default:",
        (f"{_EVERY}test_what_may_only_be_so_is_taken_and_anything_else_is_refused_by_its_name",),
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
        "weights-of-types-are-not-read",
        "a client gets the form that it likes least",
        "data_plane/sie_gateway/faces/native.py",
        "return float(found.group(1)) if found is not None else 1.0",
        "return 1.0",
        (
            (
                "tests/property/test_negotiation_laws.py::test_the_form_that_is_liked_bes"
                "t_is_given_and_json_where_none_is"
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
        "rankings-go-to-the-embedder",
        "a ranking that names no model is asked of one that cannot rank",
        f"{_FACES_TOO}/voyage.py",
        "model = models.ranker(",
        "model = models.encoder(",
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "unsaid-is-not-to-be-cut",
        "long texts are refused to clients that said nothing of them",
        f"{_FACES_TOO}/voyage.py",
        '"none" if request.truncation is False else None',
        'None if request.truncation else "none"',
        (f"{_EVERY}test_each_word_of_an_api_is_an_option_and_our_own_go_before",),
    ),
    edit(
        "search-queries-are-documents",
        "a search finds worse, for clients who name their prompt so",
        "data_plane/sie_gateway/faces/tei.py",
        "else prompt_name in _QUERIES",
        'else prompt_name == "query"',
        (
            "tests/property/test_every_face_laws.py::test_each_word_of_an_api_is_an_option_and_our_"
            "own_go_before",
        ),
    ),
    edit(
        "a-type-said-twice-is-two",
        "four times the bytes come from the worker",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        'list(dict.fromkeys(request.embedding_types or ["float"]))',
        'request.embedding_types or ["float"]',
        (
            "tests/property/test_face_answer_laws.py::test_coheres_types_are_told_once_each_and_are_"
            "all_of_one_vector",
        ),
    ),
    edit(
        "texts-hide-inputs",
        "half of a request is passed over without a word",
        "data_plane/sie_gateway/faces/cohere_embed.py",
        "    if (request.texts is None) == (request.inputs is None):",
        "    if request.texts is None and request.inputs is None:",
        ("tests/property/test_every_face_laws.py::test_cohere_has_its_texts_in_one_field",),
    ),
    edit(
        "scores-come-best-first",
        "each score goes to another pair than its own",
        f"{_FACES_TOO}/vllm.py",
        "for each in sorted(ranking(answer), key=lambda entry: entry.index)",
        "for each in ranking(answer)",
        _RANKED,
    ),
    edit(
        "unsaid-is-a-logit",
        "clients of vLLM compare logits with a bound for probabilities",
        f"{_FACES_TOO}/vllm.py",
        "is_logit = request.use_activation is False",
        "is_logit = not request.use_activation",
        _RANKED,
    ),
    edit(
        "the-first-query-is-all",
        "pairs of the second query are told the first one's scores",
        f"{_FACES_TOO}/vllm.py",
        "    if len(queries) != 1:",
        "    if not queries:",
        (f"{_EVERY}test_where_one_text_is_wanted_none_and_several_are_refused",),
    ),
    edit(
        "ollamas-vectors-are-the-models-own",
        "a dot product is no cosine, where its clients take it for one",
        f"{_FACES_TOO}/ollama.py",
        "[of_length_1(vector).tolist() for",
        "[vector.tolist() for",
        (f"{_FACES}test_vectors_have_length_one_unless_a_request_wants_them_as_they_are",),
    ),
    edit(
        "ollamas-error-is-ours-alone",
        "its clients show nothing of what is wrong",
        f"{_FACES_TOO}/ollama.py",
        '{"error": error.message, **error.to_wire()}',
        "error.to_wire()",
        (f"{_EVERY}test_an_error_is_a_sentence_where_its_api_has_it_and_names_our_code",),
    ),
    edit(
        "one-text-without-classes-makes-entities",
        "a text under the threshold hides the classes of all others",
        f"{_FACES_TOO}/hub.py",
        'gives_classes = any(item.get("classifications") for item in items)',
        'gives_classes = all(item.get("classifications") for item in items)',
        _HUB,
    ),
    edit(
        "the-hubs-words-go-before-ours",
        "an option of ours is undone by a parameter",
        f"{_FACES_TOO}/hub.py",
        "joined(request.options, told)",
        "joined(told, request.options)",
        _HUB,
    ),
    edit(
        "a-late-parameter-is-passed-over",
        "another package's model passes over what is not of its task",
        f"{_FACES_TOO}/hub.py",
        "            _require_of_task(request, gives_classes=gives_classes)\n        else",
        "            pass\n        else",
        _HUB,
    ),
    edit(
        "nothing-found-is-no-entity",
        "a client that takes the first of the classes fails where there is none",
        f"{_FACES_TOO}/hub.py",
        "gives_classes = said.top_k is not None",
        "gives_classes = False",
        _HUB,
    ),
    edit(
        "a-malformed-body-is-a-defect",
        "a client is told that the gateway failed, where its JSON breaks off",
        f"{_FACES_TOO}/tei.py",
        "        names = {}\n",
        "        raise\n",
        (f"{_EVERY}test_a_body_that_cannot_be_read_is_refused_in_words",),
    ),
    edit(
        "an-empty-list-is-token-ids",
        "a text of no token at all reaches the model",
        f"{_FACES_TOO}/token_ids.py",
        "if not ids:",
        "if ids is None:",
        (f"{_FACES}test_a_list_of_numbers_is_one_input_and_every_other_list_one_of_each",),
    ),
    edit(
        "a-vocabulary-is-guessed",
        "a damaged file of tokens makes other texts of the same ids",
        f"{_FACES_TOO}/vocabulary.py",
        "strict_mode=True",
        "strict_mode=False",
        (f"{_FACES}test_a_vocabulary_is_read_by_its_lines_and_none_is_guessed",),
    ),
)
