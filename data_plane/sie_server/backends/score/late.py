"""Late interaction: scores of queries and documents that have a vector for each token.

*device.* The score of a pair is MaxSim. For each vector of the query it takes the greatest product
with any of the document's, and sums them, or takes their mean. It is computed in float32. A query
that several inputs share is run once. The relevance is the mean, brought from [-1, 1] to [0, 1]:
vectors of unit length have no larger products.
"""

from collections.abc import Callable, Sequence

import torch
from msgspec.structs import replace
from torch import Tensor

from sie_schemas.ipc import LateInput, RunBatch, ScoreAnswers, TokensInput
from sie_schemas.jobs import AdapterPin
from sie_server.backends.backend import take
from sie_server.backends.forward.loaded_encoder import LoadedEncoder
from sie_server.backends.heads.vector_answers import float_bytes

__all__ = ["late_scores", "maxsim"]

Vectors = Callable[[RunBatch, Sequence[TokensInput]], list[Tensor]]
"""The vectors [tokens, width] of each text of a batch, in order."""


def late_scores(
    core: LoadedEncoder, batch: RunBatch, vectors: Vectors, *, mean: bool
) -> ScoreAnswers:
    """The scores of a batch of `LateInput`."""
    pairs = take(batch, LateInput)
    pins = batch.adapters or (batch.adapter,) * len(pairs)
    queries: dict[tuple[TokensInput, AdapterPin | None], int] = {}
    # One query stands in many pairs of a request: it is run once for each adapter.
    places = [
        queries.setdefault((pair.query, pin), len(queries))
        for pair, pin in zip(pairs, pins, strict=True)
    ]
    texts = [query for query, _ in queries] + [pair.document for pair in pairs]
    owners = (*(pin for _, pin in queries), *pins)
    found = vectors(replace(batch, inputs=(), adapters=owners), texts)
    documents = found[len(queries) :]
    sums = torch.stack(
        [maxsim(found[place], own) for place, own in zip(places, documents, strict=True)]
    )
    sizes = torch.tensor([len(found[place]) for place in places], device=sums.device)
    core.require_finite(sums)
    means = sums / sizes.clamp(min=1)
    relevance = ((means + 1) / 2).clamp(0, 1)
    return ScoreAnswers(
        values=float_bytes(means if mean else sums), relevance=float_bytes(relevance)
    )


def maxsim(query: Tensor, document: Tensor) -> Tensor:
    """The score of one pair, [tokens, width] each."""
    if not len(document) or not len(query):
        return torch.zeros((), device=query.device)
    return (query.float() @ document.float().T).amax(dim=1).sum()
