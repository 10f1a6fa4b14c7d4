"""A model as Text Embeddings Inference tells of the one that it serves.

*pure.* Has every field of that API, for its clients read them strictly. What neither the log nor a
heartbeat says is null, such as the length that a model reads until it is loaded somewhere.
`pooling` has no such word there: it is `mean` where the profile does not say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sie_core.resolver import Resolver
from sie_core.stored_documents import OptionJson, TasksJson
from sie_gateway.http.views import model_view
from sie_gateway.request.asgi import VERSION
from sie_schemas.fleet import Heartbeat

__all__ = ["tei_info"]

_POOLINGS: Final = {"cls": "cls", "last": "last_token"}
_DTYPES: Final = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def tei_info(
    resolver: Resolver,
    workers: Sequence[Heartbeat],
    spec: str,
    *,
    items_max: int,
    in_flight_max: int,
) -> dict[str, Any]:
    """The answer of `/info`. Raises `FixRequest` MODEL_NOT_FOUND or PROFILE_NOT_FOUND."""
    resolved = resolver.resolve(spec)
    seen = model_view(resolver, workers, spec)
    profile = resolved.document["profiles"][resolved.profile]
    source = resolved.document["source"]
    return {
        "model_id": resolved.model_id,
        "model_sha": source.get("revision"),
        "model_dtype": _DTYPES.get(profile["dtype"], profile["dtype"]),
        "model_type": _kind(resolved.document["tasks"], profile["options"]),
        "max_concurrent_requests": in_flight_max,
        "max_input_length": seen["max_sequence_length"],
        "max_batch_tokens": profile["batch_cost_max"],
        "max_batch_requests": None,
        "max_client_batch_size": items_max,
        "auto_truncate": True,
        "tokenization_workers": None,
        "version": VERSION,
        "sha": None,
        "docker_label": None,
    }


def _kind(tasks: TasksJson, options: Mapping[str, OptionJson]) -> dict[str, Any]:
    """Only the model itself knows the names of its classes."""
    if "encode" in tasks:
        told = _POOLINGS.get(str(options.get("pooling")), "mean")
        return {
            "embedding": {"pooling": told if "dense" in tasks["encode"]["outputs"] else "splade"}
        }
    return {"reranker" if "score" in tasks else "classifier": {"id2label": {}, "label2id": {}}}
