"""Families: the layouts and architectures of published models, and what runs each.

*pure.* A family is `layout/architecture`. One that this release does not run says why, in words for
whoever asks for one of its models. `proven` names the cases of the conformance suites that compare
a small random model of this very family with its reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["FAMILIES", "Family"]


@dataclass(frozen=True, slots=True)
class Family:
    """A family in words, and the backend that runs it or the reason why none does."""

    words: str
    backend: str = ""
    refused: str = ""
    proven: tuple[str, ...] = ()
    """Cases of conformance suites, as pytest names them: `file.py::test[case]`."""
    states_vectors: bool = True
    """False where the files do not say how tokens become a vector: the profile does."""


def _text(words: str, *proven: str, states_vectors: bool = True) -> Family:
    return Family(words, "transformer", proven=proven, states_vectors=states_vectors)


def _pairs(words: str, *proven: str) -> Family:
    return Family(words, "cross-encoder", proven=proven)


def _not_here(words: str, reason: str) -> Family:
    return Family(words, refused=reason)


_OWN_CODE: Final = "its architecture is code of its own, which this release replaces by none"
_NO_IMAGES: Final = "this release takes no images"
_NO_LABELS: Final = "this release has no backend for labels that a request chooses"

FAMILIES: Final[Mapping[str, Family]] = {
    "dense/bert": _text("BERT, with its pooling in its files"),
    "dense/gte": _text("GTE, published as `new`, with its pooling in its files"),
    "dense/modernbert": _text("ModernBERT, with its pooling in its files"),
    "dense/xlm-roberta": _text("XLM-RoBERTa, with its pooling in its files"),
    "dense/qwen3": _text("Qwen3, with its pooling in its files"),
    "dense/mistral": _text("Mistral, with its pooling in its files"),
    "plain/modernbert": _text("ModernBERT alone", states_vectors=False),
    "pairs/bert": _pairs("BERT with a score on top"),
    "pairs/modernbert": _pairs("ModernBERT with a score on top"),
    "pairs/xlm-roberta": _pairs("XLM-RoBERTa with a score on top"),
    "m3/xlm-roberta": _text("XLM-RoBERTa with two heads of its own"),
    "dense/gemma3": _not_here("Gemma 3 that attends both ways", "it is not compared yet"),
    "dense/nomic-bert": _not_here("NomicBERT", "it is not compared yet"),
    "sparse/bert": _not_here("BERT, its vocabulary as the vector", "it is not compared yet"),
    "sparse/distilbert": _not_here(
        "DistilBERT, its vocabulary as the vector", "it is not compared yet"
    ),
    "sparse/roberta": _not_here("RoBERTa, its vocabulary as the vector", "it is not compared yet"),
    "sparse-lookup/bert": _not_here(
        "BERT for documents, a table of weights for queries", "it is not compared yet"
    ),
    "sparse-lookup/distilbert": _not_here(
        "DistilBERT for documents, a table of weights for queries", "it is not compared yet"
    ),
    "late/bert": _not_here("BERT, a vector for each token", "it is not compared yet"),
    "late/modernbert": _not_here("ModernBERT, a vector for each token", "it is not compared yet"),
    "yes-no/qwen3": _not_here("Qwen3 that answers yes or no", "it is not compared yet"),
    "yes-no/qwen2": _not_here("Qwen2 that answers yes or no", "it is not compared yet"),
    "yes-no/zerank": _not_here("Qwen3 that answers yes", "its score is code of its own"),
    "own-code": _not_here("code of its own", _OWN_CODE),
    "zero-shot/bart": _not_here("BART that judges a sentence", _NO_LABELS),
    "zero-shot/deberta-v2": _not_here("DeBERTa that judges a sentence", _NO_LABELS),
    "zero-shot/modernbert": _not_here("ModernBERT that judges a sentence", _NO_LABELS),
    "gliclass": _not_here("GLiClass", _NO_LABELS),
    "gliformer": _not_here("GLiFormer", _NO_LABELS),
    "gliner": _not_here("GLiNER", _NO_LABELS),
    "gliner2": _not_here("GLiNER2", _NO_LABELS),
    "relations": _not_here("GLiREL", "this release extracts no relations"),
    "laya": _not_here("Laya", _OWN_CODE),
    "privacy-filter": _not_here("a filter of private data", _OWN_CODE),
    "pruner": _not_here("a reranker that prunes", _OWN_CODE),
    "clip": _not_here("CLIP", _NO_IMAGES),
    "siglip": _not_here("SigLIP", _NO_IMAGES),
    "open-clip": _not_here("OpenCLIP", _NO_IMAGES),
    "pictures": _not_here("a model of pictures", _NO_IMAGES),
    "documents": _not_here("a model of pages", "this release reads no documents"),
}
