"""The exchange: what a request says and what a response means.

*pure.* Both clients stand on this and add only transport. Promises that an answer has one result
for each item, in order, or is an error. Whether to send again is for `patience`.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final, cast, get_type_hints
from urllib.parse import quote

import msgspec
import numpy as np

from sie_schemas.arrays import ArrayMalformed, from_wire
from sie_schemas.errors import FixRequest, OurFault, SIEError
from sie_schemas.items import Operation
from sie_schemas.malformed import MALFORMED
from sie_sdk.errors import IncompleteBatchError, asked_for, told_error
from sie_sdk.inputs import item_of, listed
from sie_sdk.patience import Patience
from sie_sdk.refusals import raise_for
from sie_sdk.types import (
    CallOptions,
    CapacityInfo,
    EncodeOptions,
    EncodeResult,
    ExtractOptions,
    ExtractResult,
    ItemLike,
    Items,
    RequestInfo,
    ScoreResult,
    Usage,
)
from sie_sdk.wire.bearer import bearer_of
from sie_sdk.wire.call import Call
from sie_sdk.wire.pieces import cut, older

__all__ = [
    "Defaults",
    "capacity_of",
    "client_headers",
    "encode_calls",
    "extract_calls",
    "get_call",
    "mixed_revisions",
    "model_path",
    "no_capacity",
    "older_pieces",
    "read_answer",
    "read_encode",
    "read_extract",
    "read_score",
    "score_call",
]


def _plain(value: object) -> object:
    """A number of numpy as one of Python's. Raises `TypeError` for what cannot be sent."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be sent: {value!r:.80}")


_MSGPACK: Final = msgspec.msgpack.Encoder(enc_hook=_plain)
_DECODER: Final = msgspec.msgpack.Decoder()


@dataclass(frozen=True, slots=True)
class Defaults:
    """The values that a client adds to every call that does not say otherwise."""

    gpu: str | None = None
    pool: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    piece_items_max: int = 1024
    """Longer lists are sent in several requests."""


# ---- requests -----------------------------------------------------------------------------------


def client_headers(api_key: str | None, environ: Mapping[str, str]) -> dict[str, str]:
    """The headers of every request. An empty key sends none, whatever the environment has."""
    headers = {"X-SIE-SDK-Version": f"sie-cluster/{version('sie-cluster')}"}
    key = environ.get("SIE_API_KEY") if api_key is None else api_key
    if key:
        headers["Authorization"] = bearer_of(key)
    return headers


def encode_calls(
    model: str, items: ItemLike | Items, told: EncodeOptions, defaults: Defaults
) -> list[Call]:
    """The requests for vectors of all items, in their order."""
    _refuse_unknown(told, EncodeOptions)
    options = _options(told, defaults)
    if told.get("is_query") is not None:
        options["is_query"] = told["is_query"]
    params = {
        "output_types": _several("output_types", told.get("output_types")),
        "output_dtype": told.get("output_dtype"),
        "dimensions": told.get("dimensions"),
        "instruction": told.get("instruction"),
        "options": options or None,
    }
    return _items_calls("encode", model, items, params, told, defaults)


def extract_calls(
    model: str, items: ItemLike | Items, told: ExtractOptions, defaults: Defaults
) -> list[Call]:
    """The requests for entities of all items, in their order."""
    _refuse_unknown(told, ExtractOptions)
    params = {
        "labels": _several("labels", told.get("labels")),
        "output_schema": told.get("output_schema"),
        "instruction": told.get("instruction"),
        "options": _options(told, defaults) or None,
    }
    return _items_calls("extract", model, items, params, told, defaults)


def score_call(
    model: str, query: ItemLike, items: ItemLike | Items, told: CallOptions, defaults: Defaults
) -> Call:
    """A request for a ranking of items against a query."""
    _refuse_unknown(told, CallOptions)
    ranked, _ = listed(items)
    body = {"query": item_of(query, "the query"), "items": ranked} | _present(
        {"instruction": told.get("instruction"), "options": _options(told, defaults) or None}
    )
    call = _call("score", model, body, told, defaults)
    return replace(call, count=len(ranked))


def get_call(path: str) -> Call:
    """A request that reads JSON."""
    return Call("GET", path, {"Accept": "application/json"})


def model_path(model: str) -> str:
    """The path at which a model is described."""
    return f"/v1/models/{quote(model, safe='/:')}"


def _items_calls(
    operation: Operation,
    model: str,
    items: ItemLike | Items,
    params: Mapping[str, Any],
    told: CallOptions,
    defaults: Defaults,
) -> list[Call]:
    sent, is_single = listed(items)
    present = _present(params)
    calls: list[Call] = []
    for piece in cut(sent, items_max=defaults.piece_items_max):
        body = {"items": piece, **({"params": present} if present else {})}
        call = _call(operation, model, body, told, defaults)
        calls.append(replace(call, count=len(piece), is_single=is_single))
    return calls


def _call(
    operation: Operation,
    model: str,
    body: Mapping[str, Any],
    told: CallOptions,
    defaults: Defaults,
) -> Call:
    headers = {
        "Content-Type": "application/msgpack",
        "Accept": "application/msgpack",
        **_place_headers(told.get("gpu") or defaults.gpu, told.get("pool") or defaults.pool),
    }
    waits, timeout_s = told.get("wait_for_capacity"), told.get("provision_timeout_s")
    oom_retries = told.get("max_oom_retries")
    usual = Patience()
    patience = Patience(
        usual.wait_for_capacity if waits is None else waits,
        usual.provision_timeout_s if timeout_s is None else timeout_s,
        oom_retries_max=usual.oom_retries_max if oom_retries is None else oom_retries,
    )
    if not isinstance(model, str):
        raise TypeError(f"the model is named by a string, and not by a {type(model).__name__}")
    # The id has a `/` in it, and a profile follows it behind a `:`.
    path = f"/v1/{operation}/{quote(model, safe='/:')}"
    options = _options(told, defaults)
    asked = {
        "model": model,
        "gpu": headers.get("X-SIE-MACHINE-PROFILE"),
        "lora": options.get("lora") or options.get("lora_id"),
    }
    return Call("POST", path, headers, _MSGPACK.encode(body), patience=patience, asked=asked)


def _place_headers(gpu: str | None, pool: str | None) -> dict[str, str]:
    """`gpu` may hold both, as `pool/gpu`."""
    if gpu is not None and "/" in gpu:
        pool, _, gpu = gpu.partition("/")
    found = {"X-SIE-MACHINE-PROFILE": gpu, "X-SIE-Pool": pool}
    return {name: value for name, value in found.items() if value}


def _options(told: CallOptions, defaults: Defaults) -> dict[str, Any]:
    return {**defaults.options, **(told.get("options") or {})}


def _refuse_unknown(told: Mapping[str, Any], kind: Any) -> None:
    """A mistyped keyword is an error, as with a plain signature."""
    unknown = told.keys() - get_type_hints(kind).keys()
    if unknown:
        raise TypeError(f"{min(unknown)!r} is not a parameter of this call")


def _several(name: str, given: str | Iterable[str] | None) -> list[str] | None:
    """A word alone is one, and not its letters."""
    if isinstance(given, str):
        return [given]
    # Of a table the keys were sent, and its descriptions lost without a word.
    if isinstance(given, Mapping | bytes | bytearray):
        raise TypeError(
            f"{name} is a list of words, and not {type(given).__name__}: of a table of "
            "descriptions send these as the labels"
        )
    # A set has another order in each process, and models read labels in theirs.
    return (sorted(given) if isinstance(given, AbstractSet) else list(given or ())) or None


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def capacity_of(health: Mapping[str, Any], gpu: str | None) -> CapacityInfo:
    """The cluster in short, of one machine profile or of all. Raises `FixRequest` where somebody
    else answered than a gateway."""
    if health.get("type") != "gateway":
        raise FixRequest("the address is no gateway's: /health does not say so")
    cluster = health.get("cluster", {})
    workers = [
        worker
        for worker in health.get("workers", [])
        # People write `L4`; the registry has `l4`.
        if worker.get("healthy") and (gpu is None or worker.get("gpu") == gpu.lower())
    ]
    return CapacityInfo(
        status=health.get("status", ""),
        worker_count=len(workers),
        gpu_count=sum(worker.get("gpu_count", 0) for worker in workers),
        models_loaded=cluster.get("models_loaded", 0),
        configured_gpu_types=health.get("configured_gpu_types", []),
        live_gpu_types=health.get("live_gpu_types", []),
        workers=workers,
    )


def no_capacity(gpu: str, timeout_s: float) -> SIEError:
    """No worker came in time."""
    return told_error("PROVISIONING", f"no worker of {gpu!r} was ready within {timeout_s:g} s")


# ---- responses ----------------------------------------------------------------------------------


def read_answer(status: int, headers: Mapping[str, str], content: bytes) -> dict[str, Any]:
    """The decoded answer to an inference request. Raises the error that the response tells."""
    raise_for(status, headers, content)
    try:
        answer = from_wire(_DECODER.decode(content))
    except (*MALFORMED, ArrayMalformed) as error:
        raise OurFault(f"the answer is not MessagePack that can be read: {error}") from error
    if not isinstance(answer, dict):
        raise OurFault("the answer is not a map")
    answer["request"] = _request_info(headers, answer)
    return answer


def older_pieces(answers: Sequence[Mapping[str, Any]]) -> list[int]:
    """The pieces to send again, for another revision answered the newest. Empty for one piece."""
    return older(answers) if len(answers) > 1 else []


def mixed_revisions(model: str) -> SIEError:
    """The pieces of one list would not come to be of one revision."""
    return told_error(
        "REVISION_CHANGED", f"the configuration of {model!r} changed twice while a list was sent"
    )


def read_encode(
    calls: Sequence[Call], answers: Sequence[Mapping[str, Any]]
) -> EncodeResult | list[EncodeResult]:
    """Vectors out of the wire's shape. Raises `SIEError` where a single item has an error."""
    entries = _all_entries(calls, answers)
    for entry in entries:
        try:
            for kind in ("dense", "multivector"):
                if kind in entry:
                    entry[kind] = entry[kind]["values"]
            if "sparse" in entry:
                entry["sparse"] = {name: entry["sparse"][name] for name in ("indices", "values")}
        except (KeyError, TypeError) as error:
            raise OurFault("the answer holds something else than vectors") from error
    results = cast(list[EncodeResult], entries)
    return results[0] if calls[0].is_single else results


def read_extract(
    calls: Sequence[Call], answers: Sequence[Mapping[str, Any]]
) -> ExtractResult | list[ExtractResult]:
    """Entities. Raises `SIEError` where a single item has an error."""
    results = cast(list[ExtractResult], _all_entries(calls, answers))
    return results[0] if calls[0].is_single else results


def read_score(call: Call, answer: Mapping[str, Any]) -> ScoreResult:
    """A ranking."""
    scores = answer.get("scores")
    if not isinstance(scores, list) or len(scores) != call.count:
        raise _incomplete(call, scores, "ranks")
    return ScoreResult(
        model=answer.get("model", ""),
        query_id=answer.get("query_id"),
        scores=scores,
        usage=answer.get("usage", {}),
        request=answer["request"],
    )


def _all_entries(
    calls: Sequence[Call], answers: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    return [
        entry
        for call, answer in zip(calls, answers, strict=True)
        for entry in _entries(call, answer)
    ]


def _entries(call: Call, answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    entries = answer.get("items")
    if not isinstance(entries, list) or len(entries) != call.count:
        raise _incomplete(call, entries, "has")
    if not all(isinstance(entry, dict) for entry in entries):
        raise OurFault("the answer's items are not maps")
    shared = {name: answer[name] for name in ("model", "timing", "request") if name in answer}
    # In a list an error has its place. One item alone has none beside its answer, so it is raised.
    if call.is_single and "error" in entries[0]:
        problem = entries[0]["error"]
        raise told_error(problem.get("code", ""), problem.get("message", "the item failed"))
    return [{**entry, **shared} for entry in entries]


def _incomplete(call: Call, found: Any, verb: str) -> IncompleteBatchError:
    error = IncompleteBatchError(
        f"the answer {verb} another number of items than the {call.count} sent",
        expected=call.count,
        received=len(found) if isinstance(found, list) else 0,
    )
    asked_for(error, **call.asked)
    return error


def _request_info(headers: Mapping[str, str], answer: Mapping[str, Any]) -> RequestInfo:
    usage: Usage = answer.get("usage", {})
    return RequestInfo(
        id=headers.get("x-sie-request-id", ""),
        epoch=headers.get("x-sie-config-epoch", ""),
        model_revision=headers.get("x-sie-model-revision", ""),
        adapter_revision=headers.get("x-sie-adapter-revision", ""),
        worker=headers.get("x-sie-worker", ""),
        timing=answer.get("timing", {}),
        usage=usage,
        retries=0,
    )
