"""Mutants of extraction, scores and pictures: labels, places, thresholds, adapters, tokens.

*types.*
"""

from tests.mutants.mutant import edit

__all__ = ["EXECUTION_EXTRACTION_MUTANTS"]

EXECUTION_EXTRACTION_MUTANTS = (
    edit(
        "a-delete-is-wide",
        "places in bytes are one too far behind a character",
        "data_plane/sie_server/backends/extraction/characters.py",
        "(code > 0x7F)",
        "(code >= 0x7F)",
        (
            "tests/property/test_extract_laws.py::test_places_are_those_of_the_text_as_its_reader_holds_it",
        ),
    ),
    edit(
        "the-last-unit-is-two",
        "places in UTF-16 are one too far behind a character",
        "data_plane/sie_server/backends/extraction/characters.py",
        "width = 1 + (code > 0xFFFF)\n",
        "width = 1 + (code >= 0xFFFF)\n",
        (
            "tests/property/test_extract_laws.py::test_places_are_those_of_the_text_as_its_reader_holds_it",
        ),
    ),
    edit(
        "two-bytes-are-three",
        "places in bytes are one too far behind a character",
        "data_plane/sie_server/backends/extraction/characters.py",
        "(code > 0x7FF)",
        "(code >= 0x7FF)",
        (
            "tests/property/test_extract_laws.py::test_places_are_those_of_the_text_as_its_reader_holds_it",
        ),
    ),
    edit(
        "flags-hang-together",
        "an entity at one flag has all the flags beside it",
        "data_plane/sie_server/backends/extraction/characters.py",
        "_flag_letters_before(text, place) % 2 == 1",
        "_flag_letters_before(text, place) > 0",
        (
            "tests/property/test_extract_laws.py::test_a_range_is_widened_to_what_a_reader_sees_as_characters_and_no_further",
        ),
    ),
    edit(
        "labels-of-the-document-beside-those-asked",
        "a request for persons is answered with places, too",
        "data_plane/sie_server/backends/extraction/labels.py",
        "return self.asked(labels) or self.default or self.kinds",
        "return (self.asked(labels) | self.default) or self.kinds",
        (
            "tests/property/test_extract_laws.py::test_labels_mean_a_models_own_by_kind_tag_or_synonym_or_are_refused",
        ),
    ),
    edit(
        "one-spelling-of-a-synonym",
        "a synonym that is written in two ways means the last alone",
        "data_plane/sie_server/backends/extraction/labels.py",
        "folded.get(word.casefold(), ()) + lowered",
        "lowered",
        (
            "tests/property/test_extract_laws.py::test_labels_mean_a_models_own_by_kind_tag_or_synonym_or_are_refused",
        ),
    ),
    edit(
        "labels-come-by-the-alphabet",
        "classes that are alike come in another order than they were asked for",
        "data_plane/sie_server/backends/extraction/labels.py",
        "found = tuple(labels)\n",
        "found = tuple(sorted(labels))\n",
        (
            "tests/property/test_extract_laws.py::test_labels_for_a_model_that_finds_any_come_as_they_were_asked_for",
        ),
    ),
    edit(
        "a-class-has-to-pass-its-threshold",
        "with a threshold of 1 nothing is told that is certain",
        "data_plane/sie_server/backends/extraction/classes.py",
        "if scores[place] >= threshold",
        "if scores[place] > threshold",
        (
            "tests/property/test_extract_laws.py::test_the_classes_that_are_likely_enough_come_by_falling_score_and_alike_in_their_order",
        ),
    ),
    edit(
        "one-label-is-always-certain",
        "a classifier of one label answers 1 to everything",
        "data_plane/sie_server/backends/extraction/text_classification.py",
        " or len(model.names) == 1:",
        ":",
        (
            "tests/property/test_extract_laws.py::test_scores_are_probabilities_of_one_label_each_or_of_all_together_as_a_model_was_trained",
        ),
    ),
    edit(
        "an-entity-has-to-pass-its-threshold",
        "what is just as likely as the threshold is not told",
        "data_plane/sie_server/backends/extraction/token_classification.py",
        'span[3] >= asked["threshold"]',
        'span[3] > asked["threshold"]',
        (
            "tests/unit/test_conformance_extract.py::test_what_is_just_as_likely_as_the_threshold_is_told",
        ),
    ),
    edit(
        "later-pairs-have-the-first-adapters",
        "of many pairs in a batch the later ones are read under another's adapter",
        "data_plane/sie_server/backends/extraction/sequence_logits.py",
        "adapters=tuple(pins[some])",
        "adapters=tuple(pins[: len(inputs[some])])",
        (
            "tests/unit/test_conformance_classes.py::test_each_text_is_read_under_its_own_adapter_however_many_pairs_come_of_it",
        ),
    ),
    edit(
        "adapters-go-round-by-label",
        "texts of a batch are read under each other's adapters",
        "data_plane/sie_server/backends/extraction/zero_shot.py",
        "each = [pin for pin in pins for _ in labels]",
        "each = [pin for _ in labels for pin in pins]",
        (
            "tests/unit/test_conformance_classes.py::test_each_text_is_read_under_its_own_adapter_however_many_pairs_come_of_it",
        ),
    ),
    edit(
        "one-label-is-counted",
        "a text that is read with ten labels is counted once",
        "data_plane/sie_server/backends/extraction/zero_shot.py",
        ".reshape(len(texts), -1).sum(axis=1)",
        ".reshape(len(texts), -1).max(axis=1)",
        (
            "tests/unit/test_conformance_classes.py::test_a_text_of_anything_has_a_score_for_each_label_as_it_has_alone",
        ),
    ),
    edit(
        "tokens-of-the-shortest-first",
        "a client is told of the tokens of its batch-mate's text",
        "data_plane/sie_server/backends/extraction/gliclass_classes.py",
        "counts[place] = length",
        "counts[some.index(place)] = length",
        ("tests/unit/test_conformance_gliclass.py::test_scores_are_the_librarys",),
    ),
    edit(
        "texts-are-filled-up-behind",
        "texts of a model that is filled up at the left have other vectors beside others",
        "data_plane/sie_server/backends/images/padding.py",
        "slice(width - len(own), width) if self.left else slice(0, len(own))",
        "slice(0, len(own))",
        (
            "tests/unit/test_conformance_images.py::test_texts_are_filled_up_at_the_side_and_with_the_token_of_their_tokenizer",
        ),
    ),
    edit(
        "two-windows-tell-a-name",
        "a name at a seam is told with the score of where it was cut",
        "data_plane/sie_server/backends/extraction/gliner/word_windows.py",
        "return self.first <= start < self.last",
        "return self.first <= start <= self.last",
        (
            "tests/unit/test_conformance_gliner.py::test_windows_of_words_hold_every_word_and_each_place_is_of_one",
        ),
    ),
    edit(
        "a-library-pads-as-it-likes",
        "what a GLiClass or GLiNER tells of a text depends on the texts beside it",
        "data_plane/sie_server/backends/extraction/reading_together.py",
        "        found.shape == expected.shape and logits_agree(",
        "        found.shape == expected.shape or logits_agree(",
        ("tests/unit/test_conformance_gliclass.py::test_scores_are_the_librarys",),
    ),
    edit(
        "a-null-is-a-default",
        "a GLiNER whose config holds a null where its library wants a name is added, and fails",
        "shared/layouts/sie_layouts/extraction/gliner_fields.py",
        "if key in config and not field.fits(config[key]):",
        "if config.get(key) is not None and not field.fits(config[key]):",
        (
            "tests/unit/test_gliner_fields.py::test_a_value_with_which_the_library_ends_is_refused_by_its_key",
        ),
    ),
    edit(
        "more-layers-than-are-read",
        "a GLiNER whose config reads fewer layers than its file holds is added, and fails",
        "shared/layouts/sie_layouts/architectures/tensors/any_labels.py",
        "int(each.group(1) or 0) >= count)",
        "int(each.group(1) or 0) > count)",
        (
            "tests/unit/test_gliner_fields.py::test_a_value_with_which_the_library_ends_is_refused_by_its_key",
        ),
    ),
    edit(
        "a-logarithm-over-the-batch",
        "a pair's score depends on the pairs of other clients",
        "data_plane/sie_server/backends/score/activations.py",
        "logits.log_softmax(dim=1)",
        "logits.log_softmax(dim=0)",
        (
            "tests/property/test_score_laws.py::test_"
            "a_pair_has_the_score_of_its_activation_and_a_relevance_whoever_is_beside_it",
        ),
    ),
    edit(
        "a-hard-sigmoid-is-no-probability",
        "score and relevance of one model differ, and are the same number",
        "data_plane/sie_server/backends/score/activations.py",
        'frozenset({"Sigmoid", "Softmax", "Hardsigmoid"})',
        'frozenset({"Sigmoid", "Softmax"})',
        (
            "tests/property/test_score_laws.py::test_"
            "a_pair_has_the_score_of_its_activation_and_a_relevance_whoever_is_beside_it",
        ),
    ),
    edit(
        "the-first-label-counts",
        "a judge of yes and no ranks by its no",
        "data_plane/sie_server/backends/score/cross_encoder.py",
        '"label", labels - 1)',
        '"label", 0)',
        (
            "tests/property/test_score_laws.py::test_"
            "of_several_labels_the_one_that_is_named_counts_else_the_last",
        ),
    ),
    edit(
        "content-in-parts-is-a-text",
        "a reranker whose template reads parts never loads",
        "data_plane/sie_server/backends/score/chat_templates.py",
        'return layout.message_format == "flat"',
        "return True",
        (
            "tests/unit/test_conformance_decoders.py::test_"
            "a_saved_reranker_scores_as_its_reference_does[content in parts]",
        ),
    ),
    edit(
        "an-unsaid-form-is-a-text",
        "a reranker's pairs are put into its template in another form than its reference has",
        "data_plane/sie_server/backends/score/chat_templates.py",
        "any(word in template for word in _WORDS_OF_PARTS)",
        "not template",
        (
            "tests/unit/test_conformance_decoders.py::test_"
            "a_form_of_messages_is_the_one_of_the_reference",
        ),
    ),
    edit(
        "a-soft-bound-of-logits-is-forgotten",
        "a reranker of the Gemma 2 family is refused, as its logits are not those of the model",
        "data_plane/sie_server/backends/score/decoder.py",
        "        if self._cap is not None:\n"
        "            logits = torch.tanh(logits / self._cap) * self._cap\n",
        "",
        (
            "tests/unit/test_conformance_decoders.py::test_logits_of_a_soft_bound_score_as_their"
            "_reference_does",
        ),
    ),
)
