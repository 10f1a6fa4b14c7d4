"""Pairs through tokenizer, model and answer as the worker and model execution take them there."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tests.support.encoder_models import fresh_device
from tests.support.small_jobs import small_job
from tokenizers import Tokenizer as NativeTokenizer
from tokenizers import models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from sie_schemas import ipc
from sie_schemas.documents import ProfileDocument, ScoreTask, Tasks
from sie_schemas.items import Item
from sie_server.backends.backend import Backend, ModelSpec, Verdict
from sie_server.backends.model_config import templates_of
from sie_server.backends.names import load_backend
from sie_server.weights.sources import Weights
from sie_worker.forms.answers import public_answers
from sie_worker.forms.tokenizing import Tokenizer, prepare

__all__ = ["WORDS", "load", "run", "scaled", "scored", "write_json", "write_tokenizer"]

_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_PROFILES: WeakKeyDictionary[Backend, ProfileDocument] = WeakKeyDictionary()
"""The profile of each backend that `load` gave."""
WORDS = 120
"""Ids of the tests' vocabulary: five special tokens, then the words `w5` and on."""


def write_tokenizer(folder: Path, *, typed: bool = False, pair: str = "bert", **more: Any) -> Path:
    """A tokenizer of `WORDS` words. `typed`: the model is given its token types."""
    words = {text: place for place, text in enumerate(_SPECIAL)}
    words |= {f"w{number}": number for number in range(len(_SPECIAL), WORDS)}
    native = NativeTokenizer(models.WordLevel(words, unk_token="[UNK]"))
    native.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    second = "$B:1 [SEP]:1" if pair == "bert" else "[SEP] $B [SEP]"
    native.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair=f"[CLS] $A [SEP] {second}",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    if typed:
        more["model_input_names"] = ["input_ids", "token_type_ids", "attention_mask"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=native,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        **more,
    )
    tokenizer.save_pretrained(folder)
    return folder


def write_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file, or make it."""
    found = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**found, **changes}))


@torch.no_grad()
def scaled(model: Any) -> Any:
    """Random weights are so small that a wrong attention or type would hardly show."""
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.mul_(6)
    return model.eval()


def load(
    folder: Path,
    *,
    backend: str = "cross-encoder",
    tasks: Tasks | None = None,
    padded: bool = False,
    max_sequence_length: int | None = None,
    **options: Any,
) -> Backend:
    """Load a folder as a worker would; `padded` whatever the probe says."""
    device = fresh_device()
    if padded:
        device.verdicts[(folder, "r1")] = Verdict("padded", "the test wants it so")
    profile = ProfileDocument(
        backend=backend,
        options=options,
        batch_cost_max=96,
        max_sequence_length=max_sequence_length,
    )
    tasks = tasks or Tasks(score=ScoreTask())
    spec = ModelSpec("test/model", "r1", Weights(folder, None), tasks, profile)
    loaded = load_backend(spec, device)
    _PROFILES[loaded] = profile
    return loaded


def run(backend: Backend, operation: Any, texts: Sequence[str], **more: Any) -> list[Any]:
    """The public answers of one job, decoded."""
    # Model execution adds the profile's templates to what a backend says of itself.
    templates = templates_of(_PROFILES[backend])
    loaded = msgspec.structs.replace(backend.describe(), templates=templates)
    items = tuple(Item(text=text) for text in texts)
    if "query" in more:
        more["query"] = Item(text=more["query"])
    job = small_job(operation=operation, items=items, **more)
    tokenizer = Tokenizer.read(loaded) if loaded.accepts == "tokens" else None
    prepared = prepare(job, loaded, tokenizer)
    assert not prepared.failures, prepared.failures
    batch = ipc.RunBatch(
        id=1,
        model_revision="r1",
        operation=operation,
        inputs=tuple(each[1] for each in prepared.inputs),
        outputs=job.output_types,
    )
    answers = public_answers(backend.run(batch), items, ["float32"] * len(items))
    encoded = [answer for answer in answers if isinstance(answer, bytes)]
    assert len(encoded) == len(items), answers
    return [msgspec.msgpack.decode(answer) for answer in encoded]


def scored(
    backend: Backend, pairs: Sequence[tuple[str, str]], **more: Any
) -> Mapping[str, NDArray[np.float64]]:
    """Columns of numbers (`score`, `relevance`, `logit`), one row for each pair.

    Pairs of one query run in one batch.
    """
    queries = list(dict.fromkeys(query for query, _ in pairs))
    by_pair: dict[tuple[str, str], Mapping[str, float]] = {}
    for query in queries:
        texts = [text for own, text in pairs if own == query]
        found = run(backend, "score", texts, query=query, **more)
        by_pair |= {(query, text): row for text, row in zip(texts, found, strict=True)}
    rows = [by_pair[pair] for pair in pairs]
    return {name: np.array([row[name] for row in rows]) for name in rows[0] if name != "item_id"}
