"""A model that takes queries in another way than documents: two models behind one name.

*shell* over two backends. A batch may hold both; each part runs whole in its own, and the answers
come in the order of the inputs.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise

from msgspec.structs import replace

from sie_schemas.ipc import (
    Answers,
    DenseAnswers,
    EncodeAnswers,
    Loaded,
    QueryForm,
    RunBatch,
    SparseAnswers,
    TokensInput,
)
from sie_server.backends.backend import Backend, WithoutAdapters, load_failed, take

__all__ = ["RoutedBackend"]


class RoutedBackend(WithoutAdapters):
    """Two backends of the same output and width. `by_default`: a text that is called neither query
    nor document is a query."""

    name = "transformer"

    def __init__(self, documents: Backend, queries: Backend, *, by_default: bool) -> None:
        self._by_default = by_default
        self._documents = documents
        self._queries = queries
        dims = [backend.describe().dims for backend in (documents, queries)]
        if dims[0] != dims[1]:
            raise load_failed(
                f"documents come to {dims[0]} and queries to {dims[1]}: they cannot be compared"
            )

    def describe(self) -> Loaded:
        """The documents' facts, and the form of queries."""
        documents, queries = self._documents.describe(), self._queries.describe()
        told = [name for name in QueryForm.__struct_fields__ if name != "by_default"]
        form = QueryForm(
            **{name: getattr(queries, name) for name in told}, by_default=self._by_default
        )
        padded = [each for each in (documents, queries) if each.execution == "padded"]
        return replace(
            documents,
            query_form=form,
            execution="padded" if padded else "packed",
            reason=padded[0].reason if padded else "",
            memory_bytes=self.memory_bytes(),
            # An adapter is of one of the two, and nothing in a request says of which.
            fuses_adapters=False,
        )

    def run(self, batch: RunBatch) -> Answers:
        """Vectors in the order of the inputs."""
        self.require_base(batch)
        inputs = take(batch, TokensInput)
        places: dict[bool, list[int]] = {True: [], False: []}
        for place, given in enumerate(inputs):
            places[given.query].append(place)
        parts = [
            (found, self._of(is_query).run(_part(batch, found)))
            for is_query, found in places.items()
            if found
        ]
        if len(parts) == 1:
            return parts[0][1]
        order = [place for found, _ in parts for place in found]
        return _joined([answers for _, answers in parts], order)

    def memory_bytes(self) -> int:
        """Bytes of both."""
        return self._documents.memory_bytes() + self._queries.memory_bytes()

    def _of(self, is_query: bool) -> Backend:
        return self._queries if is_query else self._documents


def _part(batch: RunBatch, places: Sequence[int]) -> RunBatch:
    # `run` has seen that no input names an adapter.
    return replace(batch, inputs=tuple(batch.inputs[place] for place in places), adapters=())


def _joined(parts: Sequence[Answers], order: Sequence[int]) -> Answers:
    """The rows of several answers, the row at `order[i]` being the i-th of them."""
    rows = [row for part in parts for row in _rows(part)]
    given = [rows[place] for place in sorted(range(len(rows)), key=order.__getitem__)]
    first = parts[0]
    if isinstance(first, DenseAnswers):
        return DenseAnswers(first.dim, b"".join(values for _, values in given))
    return EncodeAnswers(
        sparse=SparseAnswers(
            counts=b"".join((len(values) // 4).to_bytes(4, "little") for _, values in given),
            indices=b"".join(indices for indices, _ in given),
            values=b"".join(values for _, values in given),
        )
    )


def _rows(answers: Answers) -> list[tuple[bytes, bytes]]:
    """The (indices, values) of each input; a dense vector has no indices."""
    if isinstance(answers, DenseAnswers):
        size = answers.dim * 4
        return [
            (b"", answers.values[start : start + size])
            for start in range(0, len(answers.values), size)
        ]
    assert isinstance(answers, EncodeAnswers)
    assert answers.sparse is not None
    sparse = answers.sparse
    sizes = memoryview(sparse.counts).cast("i")
    bounds = accumulate((4 * size for size in sizes), initial=0)
    return [(sparse.indices[a:b], sparse.values[a:b]) for a, b in pairwise(bounds)]
