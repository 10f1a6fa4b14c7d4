"""The order in which sequences are laid end to end in one packed batch.

*pure.* A packed row orders the sequences by (adapter, length). So each adapter owns one run of
tokens, and sequences of equal length are neighbours, which attention can take as one dense block.
Promises that every sequence and every token is in exactly one group and one segment. Knows no
tensor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

__all__ = ["Group", "PackedRow", "Segment", "lay_out", "packed_chunks", "padded_chunks"]


@dataclass(frozen=True, slots=True)
class Group:
    """`count` neighbouring sequences of one `length`; their tokens begin at `start`."""

    start: int
    count: int
    length: int

    @property
    def stop(self) -> int:
        """The token after the last."""
        return self.start + self.count * self.length


@dataclass(frozen=True, slots=True)
class Segment:
    """The tokens [start, stop) belong to sequences of one adapter (None: the base alone)."""

    start: int
    stop: int
    adapter: int | None


@dataclass(frozen=True, slots=True)
class PackedRow:
    """`order[i]` is the index, in the batch as it came, of the i-th packed sequence."""

    order: tuple[int, ...]
    lengths: tuple[int, ...]
    groups: tuple[Group, ...]
    segments: tuple[Segment, ...]

    @property
    def tokens(self) -> int:
        """All tokens of the batch."""
        return sum(self.lengths)


def lay_out(lengths: Sequence[int], adapters: Sequence[int | None]) -> PackedRow:
    """Lay sequences out. `adapters[i]` names the adapter of sequence i, None for the base."""
    if len(lengths) != len(adapters):
        raise ValueError("each sequence has one adapter or None")
    if not lengths or min(lengths) < 1:
        raise ValueError("a packed batch has at least one sequence, and none of them is empty")
    # The base first: -1 sorts before every adapter's number.
    owners = [-1 if owner is None else owner for owner in adapters]
    order = tuple(sorted(range(len(lengths)), key=lambda i: (owners[i], lengths[i])))
    groups: list[Group] = []
    segments: list[Segment] = []
    start = 0
    for owner, members in groupby(order, key=lambda index: adapters[index]):
        segment_start = start
        for length, alike in groupby(members, key=lambda index: lengths[index]):
            group = Group(start, sum(1 for _ in alike), length)
            groups.append(group)
            start = group.stop
        segments.append(Segment(segment_start, start, owner))
    return PackedRow(
        order, tuple(lengths[index] for index in order), tuple(groups), tuple(segments)
    )


def packed_chunks(
    lengths: Sequence[int], adapters: Sequence[int | None], tokens_max: int
) -> Iterator[tuple[int, ...]]:
    """Cut a batch, in its packed order, into chunks of at most `tokens_max` tokens.

    A sequence above it runs alone. Chunks of neighbours keep few adapters and lengths in each.
    """
    chunk: list[int] = []
    tokens = 0
    for index in lay_out(lengths, adapters).order:
        if chunk and tokens + lengths[index] > tokens_max:
            yield tuple(chunk)
            chunk, tokens = [], 0
        chunk.append(index)
        tokens += lengths[index]
    yield tuple(chunk)


def padded_chunks(
    lengths: Sequence[int], adapters: Sequence[int | None], tokens_max: int
) -> Iterator[tuple[int, ...]]:
    """Cut a batch into chunks to be padded: length-sorted, one adapter each, within a budget.

    The budget counts padded tokens (sequences times the longest); a sequence above it runs alone.
    """
    packed = lay_out(lengths, adapters)
    chunk: list[int] = []
    for index in packed.order:
        width = lengths[index]
        if chunk and (
            adapters[chunk[0]] != adapters[index] or (len(chunk) + 1) * width > tokens_max
        ):
            yield tuple(chunk)
            chunk = []
        chunk.append(index)
    yield tuple(chunk)
