"""Changes of the catalog: what this release offers that the log does not hold.

*pure.* Each model is judged on three documents: the base, what the log holds now, and what this
release offers. The base is what the catalog of an earlier release wrote last, out of the log's
history. Promises that a model which somebody edited, deleted or registered by themselves is kept as
it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sie_catalog.offers import REASON

__all__ = ["Change", "judge", "operation_of"]


@dataclass(frozen=True, slots=True)
class Change:
    """One model of the catalog, and what `apply` would do."""

    model_id: str
    verdict: Literal["new", "changed", "kept"]
    why: str
    document: Mapping[str, Any]
    etag: str | None = None


def judge(
    offered: Mapping[str, Any],
    now: Mapping[str, Any] | None,
    history: Sequence[Mapping[str, Any]],
) -> Change | None:
    """The change of one model; None where the log holds what is offered.

    `offered` is the document as the log would hold it; `now` its row in the log; `history` its
    changes, the oldest first.
    """
    model_id = str(offered["model_id"])
    if now is not None and now["document"] == offered:
        return None
    if not history:
        return Change(model_id, "new", "this release knows it", offered)
    last = history[-1]
    who = f"{last['actor']} at epoch {last['epoch']}"
    if now is None:
        return Change(model_id, "kept", f"deleted by {who}", offered)
    # By the reason: the actor is whoever ran the command, who may edit by hand as well.
    if not str(last["reason"]).startswith(REASON):
        return Change(model_id, "kept", f"changed by {who}", offered, now["etag"])
    return Change(model_id, "changed", f"written by the catalog, {who}", offered, now["etag"])


def operation_of(change: Change) -> dict[str, Any]:
    """The operation of a batch, on the very state that was judged."""
    operation = {"op": "put", "kind": "model", "key": change.model_id, "document": change.document}
    condition = {"if_none_match": "*"} if change.etag is None else {"if_match": change.etag}
    return operation | condition
