"""Costs: how much of a batch's budget an input takes.

*pure.* In tokens where they are known, else in bytes, else as the backend says of each item.
"""

from collections.abc import Sequence
from typing import Final

from sie_schemas.ipc import Input, LateInput, Loaded, PairInput, TextInput, TokensInput

__all__ = ["costs_of", "token_count"]

_BYTES_PER_TOKEN: Final = 4
"""Of English prose in a vocabulary of words' parts; the cost of what is not tokenized yet."""


def costs_of(
    inputs: Sequence[Input], tokens: Sequence[int], loaded: Loaded, labels: Sequence[str]
) -> list[int]:
    """The cost of each input: its tokens, a quarter of its bytes, or what the backend says.

    A text that is read once for each label costs so many times as much, and the labels once.
    """
    costs = _once(inputs, tokens, loaded)
    if not loaded.reads_per_label:
        return costs
    beside = sum(len(label.encode("utf-8", "surrogatepass")) for label in labels)
    times = len(labels) or loaded.reads_per_label
    return [times * cost + beside // _BYTES_PER_TOKEN for cost in costs]


def _once(inputs: Sequence[Input], tokens: Sequence[int], loaded: Loaded) -> list[int]:
    match loaded.cost_unit:
        case "tokens":
            counted = zip(inputs, tokens, strict=True)
            return [
                max(1, count or _byte_count(item) // _BYTES_PER_TOKEN) for item, count in counted
            ]
        case "bytes4":
            return [max(1, _byte_count(item) // _BYTES_PER_TOKEN) for item in inputs]
        case _:
            return [max(1, loaded.item_cost)] * len(inputs)


def token_count(item: Input) -> int:
    """The token ids of an input; 0 where the backend tokenizes."""
    if isinstance(item, LateInput):
        return token_count(item.query) + token_count(item.document)
    # Ids are packed, four bytes each.
    return len(item.ids) // 4 if isinstance(item, TokensInput) else 0


def _byte_count(item: Input) -> int:
    # By hand and not by `match`: this is asked of nearly every input of a model that reads texts.
    if isinstance(item, TextInput):
        return len(item.text.encode("utf-8", "surrogatepass"))
    if isinstance(item, PairInput):
        return len((item.query + item.text).encode("utf-8", "surrogatepass"))
    if isinstance(item, LateInput):
        return len(item.query.ids) + len(item.document.ids)
    return len(item.ids if isinstance(item, TokensInput) else item.data)
