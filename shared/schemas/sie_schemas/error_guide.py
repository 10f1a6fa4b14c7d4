"""The guide to error codes: what each comes of, and what to do.

*types.* For whoever reads the manual: `docs/errors.md` is made of it.
"""

from dataclasses import dataclass
from typing import Final

__all__ = ["GUIDE", "Guidance"]


@dataclass(frozen=True, slots=True)
class Guidance:
    """One code, for people."""

    cause: str
    cure: str


GUIDE: Final[dict[str, Guidance]] = {
    "INVALID_REQUEST": Guidance(
        "the request cannot be read as what it has to be: JSON, a parameter, a header",
        "mend what `field` names",
    ),
    "INPUT_TOO_LONG": Guidance(
        "a text has more tokens than the model reads, and may not be cut",
        "shorten it, or ask for truncation",
    ),
    "UNSUPPORTED_OPERATION": Guidance(
        "the model has no such task: a reranker does not encode",
        "`GET /v1/models` lists what each model does",
    ),
    "UNSUPPORTED_FIELD": Guidance(
        "the model or this face of the API does not know the option",
        "leave it out, or use the one that the message names",
    ),
    "UNAUTHORIZED": Guidance(
        "no token, or one that nobody knows",
        "send `Authorization: Bearer …`; `sie token new` makes one",
    ),
    "FORBIDDEN": Guidance(
        "the token's role does not allow this route, or a web page of elsewhere asks",
        "use a token with the role that the message names",
    ),
    "POOL_OPERATION_FORBIDDEN": Guidance(
        "the pool of the log cannot be changed through leases",
        "change it at sie-config",
    ),
    "DEFAULT_POOL_DELETE_FORBIDDEN": Guidance(
        "requests that name no pool go to `default`",
        "keep it; give it other machine profiles instead",
    ),
    "NOT_FOUND": Guidance(
        "there is no such route or thing",
        "look at the path; the message names the nearest",
    ),
    "MODEL_NOT_FOUND": Guidance(
        "the registry has no model of that id or alias",
        "`GET /v1/models` lists them; add it at sie-config",
    ),
    "PROFILE_NOT_FOUND": Guidance(
        "the model has no profile of that name",
        "use one that the message lists",
    ),
    "ADAPTER_NOT_FOUND": Guidance(
        "the model has no adapter of that name; the base is never used instead",
        "use one that the message lists, or add it",
    ),
    "BUNDLE_NOT_FOUND": Guidance(
        "no bundle has that name, or none runs the model's backend",
        "name another, or add the backend to a bundle",
    ),
    "POOL_NOT_FOUND": Guidance(
        "the registry has no pool of that name, or the lease is over",
        "name another, or lease again",
    ),
    "METHOD_NOT_ALLOWED": Guidance(
        "the path takes other methods",
        "use one of `Allow`",
    ),
    "REQUEST_TIMEOUT": Guidance(
        "headers or body came too slowly",
        "send again, faster",
    ),
    "AHEAD": Guidance(
        "the caller stands past the head that this sie-config has",
        "ask again; if it stays, another sie-config answers here than the one that wrote",
    ),
    "BUNDLE_ROUTING_CONFLICT": Guidance(
        "the bundle that the request names does not run the model",
        "name one of `details.compatible_bundles`, or none",
    ),
    "ENTITY_CONFLICT": Guidance(
        "the thing is there already, or is used by another one",
        "`details` names what stands against it",
    ),
    "FORCE_REQUIRED": Guidance(
        "the change is allowed and dangerous: it takes away what is used",
        "read the message; send `X-SIE-Force` with the reason if it is meant",
    ),
    "GONE": Guidance(
        "the entries asked for lie below the low water, and are not served one by one",
        "take the snapshot (`/v1/configs/export`)",
    ),
    "PRECONDITION_FAILED": Guidance(
        "the entity changed since it was read (`If-Match`), or is there (`If-None-Match`)",
        "read it again and decide anew",
    ),
    "PAYLOAD_TOO_LARGE": Guidance(
        "the body is above the route's limit",
        "send less at once; the limit is in the message",
    ),
    "URL_TOO_LONG": Guidance(
        "path and query are above the limit",
        "shorten them",
    ),
    "UNSUPPORTED_MEDIA_TYPE": Guidance(
        "the body's type is not one that the route reads",
        "send one that the message names",
    ),
    "VALIDATION_ERROR": Guidance(
        "the document or the parameters break their schema",
        "`details` lists each path with what is wrong there",
    ),
    "IDEMPOTENCY_MISMATCH": Guidance(
        "the idempotency key was used with another request",
        "use a new key for a new request",
    ),
    "RATE_LIMIT": Guidance(
        "a tenant, token or lease sends more than it may",
        "wait as `Retry-After` says",
    ),
    "HEADERS_TOO_LARGE": Guidance(
        "headers are above the limit in number or bytes",
        "send fewer",
    ),
    "PROVISIONING": Guidance(
        "no worker of the kind is ready; the demand was noted for the autoscaler",
        "wait as `Retry-After` says; the SDK does so",
    ),
    "POOL_CAPACITY_UNAVAILABLE": Guidance(
        "the pool cannot give the workers that were asked for",
        "ask for fewer, or wait",
    ),
    "MODEL_LOADING": Guidance(
        "the model is on its way to a device",
        "wait as `Retry-After` says",
    ),
    "LORA_LOADING": Guidance(
        "the adapter is on its way to a device",
        "wait as `Retry-After` says",
    ),
    "QUEUE_FULL": Guidance(
        "more waits than may",
        "wait; if it stays, add workers",
    ),
    "QUEUE_UNAVAILABLE": Guidance(
        "the broker is away, or has no leader just now",
        "wait; if it stays, look at the broker",
    ),
    "RESOURCE_EXHAUSTED": Guidance(
        "memory of the device or of a process is used up",
        "wait; if it stays, raise the bound that the message names, or load fewer models",
    ),
    "REVISION_CHANGED": Guidance(
        "the model changed while the job waited, and its revision is gone",
        "send again: it runs at the new one",
    ),
    "NOT_READY": Guidance(
        "the process has just started, or is about to end",
        "wait as `Retry-After` says",
    ),
    "STORAGE_FULL": Guidance(
        "the disk of the log, or its bound, is full; nothing was written",
        "make room: writes go on by themselves",
    ),
    "STORAGE_FAILED": Guidance(
        "the disk refused a read or a write; nothing was answered as done that is not",
        "look at the disk and at sie-config's log",
    ),
    "LOG_RECOVERY": Guidance(
        "the writer cannot prove that its file is the newest history",
        "read the message at `/readyz` of sie-config: it names what is lacking and the command",
    ),
    "LOG_READ_ONLY": Guidance(
        "writes are stopped for now; reads go on",
        "wait; `/readyz` of sie-config says why",
    ),
    "MODEL_LOAD_FAILED": Guidance(
        "a worker could not load the model",
        "`sie replicas` shows the reason; mend the document or the files",
    ),
    "ADAPTER_LOAD_FAILED": Guidance(
        "a worker could not load the adapter",
        "`sie replicas` shows the reason; mend the document or the files",
    ),
    "INFERENCE_ERROR": Guidance(
        "the model failed on this very input",
        "look at the input; the message names the item",
    ),
    "INTERNAL_SERVER_ERROR": Guidance(
        "a defect on our side",
        "report it with the request id",
    ),
    "GATEWAY_TIMEOUT": Guidance(
        "no answer came in time; the work may or may not have been done",
        "send again; if it stays, look at `sie dlq ls` and at the load",
    ),
}
