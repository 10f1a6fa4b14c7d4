"""Small GLiNER and GLiClass models made on the spot by the authors' libraries: random, or fitted.

Their encoders are those of most published ones. The seed is fixed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tests.support.apart import apart
from tests.support.entity_models import FAMILIES
from transformers import ConvBertConfig, ModernBertConfig

__all__ = [
    "ENCODERS",
    "KINDS",
    "MARKS",
    "SENTENCES",
    "Sentence",
    "fit_gliner",
    "write_gliclass",
    "write_gliner",
]

KINDS: dict[str, dict[str, Any]] = {
    "uni-span": {"span_mode": "markerV0"},
    "uni-token": {"span_mode": "token_level"},
    "bi-span": {"span_mode": "markerV0", "labels_encoder": "base"},
    "bi-token": {"span_mode": "token_level", "labels_encoder": "base"},
    "uni-v1": {"span_mode": "markerV1"},
    "uni-marker": {"span_mode": "marker"},
    "uni-share": {"span_mode": "conv_share"},
    "bi-both": {"span_mode": "token_level", "represent_spans": True, "labels_encoder": "base"},
    "uni-fused": {"span_mode": "markerV0", "fuse_layers": True},
    "bi-fused": {"span_mode": "token_level", "fuse_layers": True, "labels_encoder": "base"},
    "uni-context": {"span_mode": "markerV0", "span_encoder_config": {"model_type": "rnn"}},
}
_MODERN: dict[str, Any] = {
    "max_position_embeddings": 258,
    "global_attn_every_n_layers": 2,
    "local_attention": 16,
    **{f"{name}_token_id": 2 for name in ("bos", "cls")},
    **{f"{name}_token_id": 3 for name in ("eos", "sep")},
}
ENCODERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    **{name: FAMILIES[name] for name in ("deberta-v3", "bert")},
    "modernbert": (FAMILIES["bert"][0], ModernBertConfig, _MODERN),
    "modernbert-bytes": (FAMILIES["roberta"][0], ModernBertConfig, _MODERN),
    "convbert": (FAMILIES["bert"][0], ConvBertConfig, {"embedding_size": 32}),
}
MARKS = ["<<LABEL>>", "<<SEP>>", "<<EXAMPLE>>"]

_FITTED = 0.05
"""The loss, summed over all places and labels, at which every entity is far above any threshold."""
Sentence = tuple[str, Sequence[tuple[str, str]]]
"""A text, and its entities as (text, label) in order."""

SENTENCES: tuple[Sentence, ...] = (
    ("Tim Cook spoke in Berlin.", (("Tim Cook", "person"), ("Berlin", "location"))),
    ("Ada Lovelace lived in London.", (("Ada Lovelace", "person"), ("London", "location"))),
    ("Tim Cook went to Berlin!", (("Tim Cook", "person"), ("Berlin", "location"))),
)
"""Sentences that a small model is fitted to within seconds."""


def write_gliner(
    folder: Path,
    kind: str,
    encoder: str = "deberta-v3",
    *,
    words_max: int = 40,
    fitted_to: Sequence[Sentence] = (),
    local: bool = False,
) -> Any:
    """A model with its tokenizer in `folder/model`, saved as the library saves it; in `folder/base`
    the repository of its encoder, without weights. `local`: what it says of a word depends on that
    word alone. Gives the library's."""
    gliner = apart("gliner")
    base = folder / "base"
    tokenizer, shape = _encoder(encoder)
    tokenizer.save_pretrained(base)
    ENCODERS[encoder][1](**shape).save_pretrained(base)
    config: dict[str, Any] = {
        "model_name": str(base),
        "hidden_size": 32,
        "max_len": words_max,
        "max_width": 4,
        "encoder_config": shape,
        "dropout": 0.0,
        "num_rnn_layers": 0 if local else 1,
        **KINDS[kind],
    }
    if "labels_encoder" in config:
        config |= {"labels_encoder": str(base), "labels_encoder_config": dict(shape)}
    # A seed at which each kind of model finds some.
    torch.manual_seed(1)
    model = gliner.GLiNER.from_config(config, backbone_from_pretrained=False)
    if fitted_to:
        fit_gliner(model, fitted_to)
    else:
        _spread(model.model, 3)
    if local:
        for name, weight in model.model.named_parameters():
            if "attention.output.dense" in name:
                weight.data.zero_()
    saved = folder / "model"
    model.save_pretrained(saved, safe_serialization=True)
    return gliner.GLiNER.from_pretrained(str(saved), local_files_only=True)


def fit_gliner(model: Any, sentences: Sequence[Sentence], *, steps: int = 600) -> None:
    """Fit a model until it finds exactly the entities of the sentences, for all their labels."""
    labels = sorted({label for _, entities in sentences for _, label in entities})
    # Asked for all labels in either order, and for each alone: an answer is of the labels asked.
    prompts = [labels, labels[::-1], *([label] for label in labels)]
    examples = [_example(model, *sentence) for sentence in sentences for _ in prompts]
    batch = model.data_collator_class(
        model.config, data_processor=model.data_processor, prepare_labels=True
    )(examples, entity_types=prompts * len(sentences))
    optimizer = torch.optim.AdamW(model.model.parameters(), lr=5e-3)
    for part in model.model.modules():
        # Else the last step may be one that others undid, and the machine decides which.
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    model.model.train()
    for _ in range(steps):
        loss = model.model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if float(loss.detach()) < _FITTED:
            break
    model.model.eval()


def write_gliclass(
    folder: Path, encoder: str = "deberta-v3", *, seed: int = 1, **changes: Any
) -> Any:
    """A random model with its tokenizer. Gives the library's pipeline on it."""
    gliclass = apart("gliclass")
    tokenizer, _ = _encoder(encoder)
    tokenizer.add_special_tokens({"additional_special_tokens": MARKS})
    tokenizer.save_pretrained(folder)
    label, sep, example = tokenizer.convert_tokens_to_ids(MARKS)
    settings: dict[str, Any] = {
        "encoder_config": _shape(encoder, len(tokenizer)),
        "encoder_model": "no/such",
        "class_token_index": label,
        "text_token_index": sep,
        "example_token_index": example,
        "hidden_size": 32,
        "vocab_size": len(tokenizer),
        "prompt_first": True,
        **changes,
    }
    torch.manual_seed(seed)
    model = gliclass.GLiClassModel(gliclass.GLiClassModelConfig(**settings)).eval()
    _spread(model, 4)
    model.save_pretrained(folder)
    return gliclass.ZeroShotClassificationPipeline(
        model, tokenizer, max_length=100, device="cpu", progress_bar=False
    )


def _encoder(encoder: str) -> tuple[Any, dict[str, Any]]:
    tokenizer = ENCODERS[encoder][0]()
    return tokenizer, _shape(encoder, len(tokenizer))


def _shape(encoder: str, vocabulary: int) -> dict[str, Any]:
    _, config_of, own = ENCODERS[encoder]
    return {
        "model_type": config_of.model_type,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "vocab_size": vocabulary,
        "pad_token_id": 0,
        **own,
    }


def _spread(model: Any, factor: int) -> None:
    """Random weights whose answers differ: as they are made, every score is near the middle."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(factor)


def _example(model: Any, text: str, entities: Sequence[tuple[str, str]]) -> dict[str, Any]:
    words = list(model.data_processor.words_splitter(text))
    found, after = [], 0
    for entity, label in entities:
        start = text.index(entity, after)
        after = start + len(entity)
        inside = [place for place, (_, first, _) in enumerate(words) if start <= first < after]
        found.append((inside[0], inside[-1], label))
    return {"tokenized_text": [word for word, _, _ in words], "ner": found}
