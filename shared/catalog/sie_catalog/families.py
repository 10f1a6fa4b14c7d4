"""Families: the layouts and architectures of published models, and what runs each.

*pure.* A family is `layout/architecture`. One that this release does not run says why, in words for
whoever asks for one of its models. `proven` names the cases of the conformance suites that compare
a small random model of this very family with its reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family in words, and the backend that runs it or the reason why none does."""

    words: str
    backend: str = ""
    refused: str = ""
    proven: tuple[str, ...] = ()
    """Cases of conformance suites, as pytest names them: `file.py::test[case]`."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options of every profile of the family: what its files do not say."""
    states_vectors: bool = True
    """False where the files do not say how tokens become a vector: the profile does."""
    inferred: bool = False
    """True where the form of the pinned files is known from what others say of them (D-125)."""


_SUITES: Final = "tests/unit/test_conformance_"
_ENCODES: Final = _SUITES + "families.py::test_a_family_answers_as_the_reference"
_SPARSE: Final = _SUITES + "sparse.py::test_a_bare_masked_language_model_needs_no_option"
_LATE: Final = _SUITES + "late.py::test_token_vectors_of_a_family_are_those_of_the_reference"
_SCORES: Final = _SUITES + "score.py::test_a_classifier_scores_as_its_reference_does"
_PUBLISHED: Final = _SUITES + "published.py::test_a_published_architecture_answers_by_its_formula"
_GTE: Final = _SUITES + "published.py::test_gte_under_its_later_name_answers_by_its_formula"
_LLAMA: Final = (
    _SUITES + "published.py::test_a_llama_that_looks_both_ways_answers_as_transformers_own"
)
_QWEN: Final = (
    _SUITES + "authors.py::test_a_qwen2_whose_tokenizer_ends_texts_answers_by_its_authors_way"
)
_GRITLM: Final = _SUITES + "authors.py::test_gritlm_answers_by_its_authors_way"
_TASKS: Final = _SUITES + "published.py::test_a_model_that_holds_tasks_answers_each_by_its_formula"
_RANKED: Final = _SUITES + "published.py::test_a_published_reranker_scores_by_its_formula"
_ROTATED: Final = (
    _SUITES + "late.py::test_the_published_form_of_a_rotated_xlm_roberta_is_that_of_the_library"
)
_WEIGHED: Final = _SUITES + "published.py::test_gte_that_weighs_words_answers_by_its_formula"
_ROUTED: Final = _SUITES + "routes.py::test_queries_without_inference_weigh_their_own_tokens"
_TEXTS: Final = _SUITES + "images.py::test_texts_are_the_reference_s_alone_and_together"
_IMAGES: Final = _SUITES + "images.py::test_images_together_and_beside_texts_are_as_each_alone"
_FILTER: Final = (
    _SUITES + "extract.py::test_spans_of_a_rare_family_are_the_pipelines[privacy-filter]"
)
_CLASSES: Final = _SUITES + "classes.py::test_zero_shot_scores_are_the_pipelines"
_SPANS: Final = _SUITES + "gliner.py::test_spans_are_the_librarys"
_MARKED_CLASSES: Final = _SUITES + "gliclass.py::test_scores_are_the_librarys"
_JUDGES: Final = _SUITES + "decoders.py::test_a_named_template_scores_as_the_models_card_says"


def _published(words: str, case: str) -> Family:
    said = f"{words}, with its pooling in its files"
    return Family(said, "transformer", proven=(f"{_PUBLISHED}[{case}]",))


def _lookup(words: str, *more: str) -> Family:
    said = f"{words} for documents, a table of weights for queries"
    return Family(said, "transformer", proven=(_ROUTED, *more))


def _dense(words: str, case: str) -> Family:
    said = f"{words}, with its pooling in its files"
    return Family(said, "transformer", proven=(f"{_ENCODES}[{case}]",))


def _sparse(words: str, *cases: str) -> Family:
    said = f"{words}, its vocabulary as the vector"
    return Family(said, "transformer", proven=tuple(f"{_SPARSE}[{case}]" for case in cases))


def _late(words: str, case: str) -> Family:
    said = f"{words}, a vector for each token"
    return Family(said, "transformer", proven=(f"{_LATE}[{case}]",))


def _pairs(words: str, case: str) -> Family:
    return Family(f"{words} with a score on top", "cross-encoder", proven=(f"{_SCORES}[{case}]",))


def _judge(words: str, template: str) -> Family:
    return Family(
        words,
        "cross-encoder",
        proven=(f"{_JUDGES}[{template}]",),
        options={"pair_template": template},
    )


def _classes(words: str, *cases: str) -> Family:
    return Family(
        f"{words} that judges if a label fits",
        "zero-shot-classification",
        proven=tuple(f"{_CLASSES}[{case}]" for case in cases),
        options={"hypothesis_template": "This text is about {}."},
    )


def _towers(words: str, *cases: str, options: Mapping[str, Any] | None = None) -> Family:
    """Each case is a model of the suite, whose texts and images are both compared."""
    return Family(
        f"{words}: texts and images in one space",
        "image-text",
        proven=tuple(f"{test}[{case}]" for test in (_TEXTS, _IMAGES) for case in cases),
        options=options or {},
    )


def _apart(words: str, backend: str, suite: str, *cases: str) -> Family:
    said = f"{words}, any labels, by a package that is installed apart"
    return Family(said, backend, proven=tuple(f"{suite}[{case}]" for case in cases))


def _not_here(words: str, reason: str) -> Family:
    return Family(words, refused=reason)


# Each ends with the way on: a model that is offered, or a command that finds one.
_OWN_CODE: Final = (
    "its architecture is code of its own, which this release replaces by none: "
    "`sie models search` lists those that run"
)
_NO_IMAGES: Final = (
    "this release finds no things in images, and makes no text of them: "
    "google/siglip2-base-patch16-224 compares images with texts"
)
_OPEN_CLIP: Final = (
    "its files are those of open_clip, which this release does not read: take "
    "google/siglip-base-patch16-256, or `sie add` a copy of it that transformers saved"
)
_ANY_SHAPE: Final = (
    "its images keep their shape (NaFlex): google/siglip2-base-patch16-224 is of one resolution"
)
_OTHER_LIBRARY: Final = (
    "its authors' library is another than GLiNER's, and not run here: "
    "urchade/gliner_multi-v2.1 finds entities, knowledgator/gliclass-base-v3.0 classes, of any "
    "labels"
)
_RELATIONS: Final = (
    "this release extracts no relations: urchade/gliner_multi-v2.1 finds the entities alone"
)
_NO_PAGES: Final = "this release reads no documents: `sie models search` lists those that read text"
_NAMED_LABELS: Final = "it is urchade/gliner_multi_pii-v1 asked for fifty labels: name them there"

FAMILIES: Final[Mapping[str, Family]] = {
    "dense/bert": _dense("BERT", "bert"),
    "dense/gte": _dense("GTE, published as `new`", "gte"),
    "dense/gemma3": _dense("Gemma 3 that attends both ways", "gemma3 in both directions"),
    "dense/mistral": _dense("Mistral", "mistral"),
    "dense/modernbert": _dense("ModernBERT", "modernbert"),
    "dense/qwen3": _dense("Qwen3", "qwen3"),
    "dense/xlm-roberta": _dense("XLM-RoBERTa", "xlm-roberta"),
    "plain/modernbert": Family(
        "ModernBERT alone",
        "transformer",
        proven=(f"{_ENCODES}[modernbert]",),
        states_vectors=False,
    ),
    # Its dense vectors and its layout are in the suites; its two heads have no library to equal.
    "m3/xlm-roberta": Family("XLM-RoBERTa with two heads of its own", "transformer"),
    "pairs/bert": _pairs("BERT", "bert"),
    "pairs/modernbert": _pairs("ModernBERT", "modernbert"),
    "pairs/xlm-roberta": _pairs("XLM-RoBERTa", "xlm-roberta"),
    "yes-no/qwen3": _judge("Qwen3 that answers yes or no", "qwen3"),
    "yes-no/qwen2": _judge("Qwen2 that answers 1 or 0", "mxbai-v2"),
    "yes-no/zerank": _judge("Qwen3 that answers Yes", "zerank"),
    "sparse/bert": _sparse("BERT", "bert"),
    "sparse/distilbert": _sparse("DistilBERT", "distilbert"),
    "sparse/roberta": _sparse("RoBERTa"),
    "sparse-lookup/bert": _lookup("BERT"),
    "sparse-lookup/distilbert": _lookup("DistilBERT"),
    "sparse-lookup/gte": _lookup("GTE", _WEIGHED),
    "late/bert": _late("BERT", "bert"),
    "late/modernbert": _late("ModernBERT", "modernbert"),
    "late/flash-roberta": Family(
        "XLM-RoBERTa that rotates, a vector for each token", "transformer", proven=(_ROTATED,)
    ),
    "dense/flash-roberta-tasks": Family(
        "XLM-RoBERTa that rotates, with tasks in its weights and its pooling in its files",
        "transformer",
        proven=(_TASKS,),
    ),
    "pairs/flash-roberta": Family(
        "XLM-RoBERTa under names of its own with a score on top",
        "cross-encoder",
        proven=(_RANKED,),
    ),
    "dense/alibi-bert": _published("BERT with distances for places", "alibi bert"),
    "dense/alibi-bert-normed": _published(
        "BERT with distances for places and normed queries", "alibi bert, normed"
    ),
    "dense/both-ways-llama": Family(
        "Llama that looks both ways, with its pooling in its files",
        "transformer",
        proven=(_LLAMA,),
    ),
    "dense/both-ways-qwen2": Family(
        "Qwen2 that looks both ways, with its pooling in its files",
        "transformer",
        proven=(f"{_QWEN}[gte]",),
        inferred=True,
    ),
    "dense/both-ways-qwen2-by-name": Family(
        "Qwen2 that looks both ways, as the code of its commit does",
        "transformer",
        proven=(f"{_QWEN}[stella]",),
        inferred=True,
    ),
    "dense/gritlm": Family(
        "Mistral that looks both ways, and pools no word before a text",
        "transformer",
        proven=(_GRITLM,),
        inferred=True,
        states_vectors=False,
    ),
    "dense/gte-renamed": Family(
        "GTE under its own name, with its pooling in its files", "transformer", proven=(_GTE,)
    ),
    "dense/nomic-bert": _published("NomicBERT", "nomic"),
    "dense/nomic-experts": _published("NomicBERT with experts", "nomic with experts"),
    "own-code": _not_here("code of its own", _OWN_CODE),
    "zero-shot/bart": _classes("BART", "bart"),
    "zero-shot/deberta-v2": _classes("DeBERTa", "deberta-v3"),
    "zero-shot/modernbert": _classes("ModernBERT", "modernbert"),
    "gliclass": _apart("GLiClass", "gliclass", _MARKED_CLASSES, "labels first", "modernbert"),
    "gliformer": _not_here("GLiFormer", _OTHER_LIBRARY),
    "gliner": _apart("GLiNER", "gliner", _SPANS, "one encoder, spans", "one encoder, tokens"),
    "gliner-bi": _apart("GLiNER of two encoders", "gliner", _SPANS, "two encoders, modernbert"),
    "gliner-labels": _not_here("GLiNER with labels of its own", _NAMED_LABELS),
    "gliner-relex": _not_here("GLiNER with relations", _RELATIONS),
    "gliner2": _not_here("GLiNER2", _OTHER_LIBRARY),
    "relations": _not_here("GLiREL", _RELATIONS),
    "laya": _not_here("Laya", _OWN_CODE),
    "privacy-filter": Family(
        "a filter of private data, by its kinds", "token-classification", proven=(_FILTER,)
    ),
    "pruner": _not_here("a reranker that prunes", _OWN_CODE),
    "clip": _towers("CLIP", "clip", "clip of the older config", options={"normalize": True}),
    "siglip": _towers("SigLIP", "siglip", "siglip2"),
    "naflex": _not_here("SigLIP 2 of any shape", _ANY_SHAPE),
    "open-clip": _not_here("OpenCLIP", _OPEN_CLIP),
    "pictures": _not_here("a model of pictures", _NO_IMAGES),
    "documents": _not_here("a model of pages", _NO_PAGES),
}
