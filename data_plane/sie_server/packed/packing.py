"""The order in which sequences are laid end to end in packed rows, and the blocks they lie in.

*pure.* A packed row is made of blocks of one length, and a block holds whole sequences and, behind
them, filling. So attention takes a row as one dense call under a mask, and rows and blocks have few
sizes. A kernel is built for a size, and the first one costs several times the next of its kind.
Sequences of one adapter come one after another as far as they fit. Promises that every sequence is
in exactly one row, and every token in one block. Knows no tensor.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["ADAPTERS_MAX", "PackedRow", "end_to_end", "packed_rows", "padded_chunks"]

_STEP: Final = 16
"""Blocks are multiples of it: the rows of a tile in which AMX multiplies."""
_LOOKED_AT_MAX: Final = 128
"""Sequences that are tried for the room that is left: more gained under 1 % of it."""
ADAPTERS_MAX: Final = 16
"""Of one row of blocks. Each costs every token its rank (`sie_server.adapters.lora`)."""
_LONG_ROW_ADAPTERS_MAX: Final = 128
"""Of a row end to end, which is a GPU's: it would rather multiply more than wait for more calls."""


@dataclass(frozen=True, slots=True)
class PackedRow:
    """`order[i]` is the index, in the batch as it came, of the i-th sequence of the row.

    Behind the i-th are `gaps[i]` tokens of filling. The row is cut into blocks of `block` tokens,
    and no sequence lies in two. `adapters[i]` is the i-th's own, None for the base.
    """

    order: tuple[int, ...]
    lengths: tuple[int, ...]
    gaps: tuple[int, ...]
    adapters: tuple[int | None, ...]
    block: int

    @property
    def tokens(self) -> int:
        """All tokens of the row, the filling among them."""
        return sum(self.lengths) + sum(self.gaps)

    @property
    def shares_blocks(self) -> bool:
        """True if a block holds more than one sequence, with the filling for one of them.

        A lone sequence does not share: keys that are filling are left out (`seen`).
        """
        # One token of filling is enough: a text that nearly filled its block looked at it.
        return len(self.order) > 1 and any(length != self.block for length in self.lengths)

    @property
    def seen(self) -> int:
        """The leading keys of a block that are seen, where none is shared."""
        return self.lengths[0] if len(self.lengths) == 1 else self.block

    @property
    def owners(self) -> list[tuple[int, int | None]]:
        """Runs of tokens with their adapter, in order; filling counts with its sequence."""
        spans = zip(self.lengths, self.gaps, self.adapters, strict=True)
        return [(length + gap, adapter) for length, gap, adapter in spans]

    @property
    def spans(self) -> list[int]:
        """The tokens of the first sequence, of the filling behind it, of the second, and so on."""
        return [span for both in zip(self.lengths, self.gaps, strict=True) for span in both]


def end_to_end(
    lengths: Sequence[int], adapters: Sequence[int | None], tokens_max: int
) -> Iterator[PackedRow]:
    """Rows of one block each without any filling, of at most `tokens_max` tokens.

    For attention that takes sequences of any length. A sequence above the bound runs alone.
    """
    row: list[int] = []
    tokens = 0
    owners: set[int | None] = set()
    for index in _in_order(lengths, adapters):
        owners.add(adapters[index])
        if row and (tokens + lengths[index] > tokens_max or len(owners) > _LONG_ROW_ADAPTERS_MAX):
            yield _row([row], lengths, adapters, tokens)
            row, tokens, owners = [], 0, {adapters[index]}
        row.append(index)
        tokens += lengths[index]
    yield _row([row], lengths, adapters, tokens)


def packed_rows(
    lengths: Sequence[int], adapters: Sequence[int | None], *, tokens_max: int, block: int
) -> Iterator[PackedRow]:
    """Rows of at most `tokens_max` tokens, of blocks of about `block`, filled up to few sizes.

    Longer sequences lie in longer blocks; one above `tokens_max` runs alone.
    """
    left = _in_order(lengths, adapters)
    while left:
        tried = [max(_filled(lengths[left[0]]), block)]
        if tried[0] < sum(lengths[index] for index in left) <= tokens_max:
            # The last row: it is as small as some length of its blocks makes it.
            longest = _filled(max(lengths[index] for index in left))
            # Only the last row varies: the others come in one size each, and a kernel for a size
            # that is new costs 2 to 12 ms on AMX.
            tried = list(range(longest, max(longest, block) + 1, _STEP))
        filled = [_fill(left, lengths, adapters, each, tokens_max) for each in tried]
        row, left = min(filled, key=lambda found: (len(found[1]), found[0].tokens))
        yield row


def padded_chunks(
    lengths: Sequence[int], adapters: Sequence[int | None], tokens_max: int
) -> Iterator[tuple[int, ...]]:
    """Cut a batch into chunks to be padded: length-sorted, one adapter each, within a budget.

    The budget counts padded tokens (sequences times the longest); a sequence above it runs alone.
    """
    chunk: list[int] = []
    for index in reversed(_in_order(lengths, adapters)):
        width = lengths[index]
        if chunk and (
            adapters[chunk[0]] != adapters[index] or (len(chunk) + 1) * width > tokens_max
        ):
            yield tuple(chunk)
            chunk = []
        chunk.append(index)
    yield tuple(chunk)


def _in_order(lengths: Sequence[int], adapters: Sequence[int | None]) -> list[int]:
    """By adapter, the base first, and of each the longest first."""
    if len(lengths) != len(adapters):
        raise ValueError("each sequence has one adapter or None")
    if not lengths or min(lengths) < 1:
        raise ValueError("a packed batch has at least one sequence, and none of them is empty")
    owners = [-1 if owner is None else owner for owner in adapters]
    # The longest first, as bins are filled: 128 mixed texts fill their blocks to 98 %. By adapter
    # first, because each one in a row costs every token of it the rank.
    return sorted(range(len(lengths)), key=lambda i: (owners[i], -lengths[i]))


def _fill(
    waiting: Sequence[int],
    lengths: Sequence[int],
    adapters: Sequence[int | None],
    block: int,
    tokens_max: int,
) -> tuple[PackedRow, list[int]]:
    """Each sequence into the first block that has room; the row, and those that found none."""
    count = max(1, tokens_max // block)
    blocks: list[list[int]] = []
    rooms: list[int] = []
    owners: set[int | None] = set()
    left: list[int] = []
    for looked_at, index in enumerate(waiting):
        if len(left) >= _LOOKED_AT_MAX:
            # They come in a later row. Dropped here, they had no vector, and no error either.
            left += waiting[looked_at:]
            break
        length = lengths[index]
        crowded = adapters[index] not in owners and len(owners) >= ADAPTERS_MAX
        place = next((at for at, room in enumerate(rooms) if room >= length), len(blocks))
        if crowded or length > block or place >= count:
            left.append(index)
            continue
        if place == len(blocks):
            blocks.append([])
            rooms.append(block)
        blocks[place].append(index)
        rooms[place] -= length
        owners.add(adapters[index])
    # A lone block is no longer than what lies in it.
    if len(blocks) == 1:
        block = _filled(block - rooms[0])
    return _row(blocks, lengths, adapters, block), left


def _row(
    blocks: Sequence[Sequence[int]],
    lengths: Sequence[int],
    adapters: Sequence[int | None],
    block: int,
) -> PackedRow:
    order = tuple(index for members in blocks for index in members)
    gaps = [0] * len(order)
    last = -1
    for members in blocks:
        last += len(members)
        gaps[last] = block - sum(lengths[index] for index in members)
    return PackedRow(
        order,
        tuple(lengths[index] for index in order),
        tuple(gaps),
        tuple(adapters[index] for index in order),
        block,
    )


def _filled(length: int) -> int:
    """The length of a block for so many tokens: at most an eighth more, beyond 128."""
    # Few sizes again, for the price of an eighth of filling.
    step = max(_STEP, 1 << max(0, length.bit_length() - 4))
    return -(-length // step) * step
