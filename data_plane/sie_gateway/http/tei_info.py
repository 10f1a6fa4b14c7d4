"""A model as Text Embeddings Inference tells of the one that it serves.

*pure.* Says only what the log and the heartbeats said. What a model is made of is left out, and the
length that it reads is null until it is loaded somewhere.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sie_core.catalog import Catalog
from sie_core.stored_documents import OptionJson, TasksJson
from sie_gateway.http.views import model_view
from sie_gateway.request.asgi import VERSION
from sie_schemas.fleet import Heartbeat

__all__ = ["tei_info"]

_DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def tei_info(
    catalog: Catalog, workers: Sequence[Heartbeat], spec: str, items_max: int
) -> dict[str, Any]:
    """The answer of `/info`. Raises `FixRequest` MODEL_NOT_FOUND or PROFILE_NOT_FOUND."""
    resolved = catalog.resolve(spec)
    seen = model_view(catalog, workers, spec)
    profile = resolved.document["profiles"][resolved.profile]
    source = resolved.document["source"]
    return {
        "model_id": resolved.model_id,
        "model_sha": source.get("revision"),
        "model_dtype": _DTYPES.get(profile["dtype"], profile["dtype"]),
        "model_type": _kind(resolved.document["tasks"], profile["options"]),
        "max_input_length": seen["max_sequence_length"],
        "max_batch_tokens": profile["batch_cost_max"],
        "max_client_batch_size": items_max,
        "auto_truncate": True,
        "version": VERSION,
    }


def _kind(tasks: TasksJson, options: Mapping[str, OptionJson]) -> dict[str, Any]:
    """Only the model itself knows the names of its classes."""
    if "encode" in tasks:
        return {"embedding": {"pooling": options.get("pooling")}}
    return {"reranker" if "score" in tasks else "classifier": {"id2label": {}, "label2id": {}}}
