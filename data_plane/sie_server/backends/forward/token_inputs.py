"""Token ids as they come over the socket, checked before the device sees them; and their limits.

*device.* Promises that every id it lets through is one that the model's tables have. Every text has
at least one token and no more than the model reads. An id out of range would be an invalid read on
the device, and kill its context on a GPU.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sie_layouts.steps import TextLayout
from sie_schemas.errors import FixRequest
from sie_schemas.ipc import TokensInput
from sie_server.failures import load_failed

__all__ = ["TokenLimits", "read_tokens", "token_input", "tokens_max"]


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """A model's bounds: ids below `vocabulary`, types below `types`, texts to `tokens_max`.

    With `types` 0 it takes none, and those that a tokenizer gives are dropped. A token `uncounted`
    takes no position. Where these alone are the limit, the authors' library cuts behind them. So a
    text that fills them and has such a token is refused.
    """

    vocabulary: int
    types: int
    tokens_max: int
    uncounted: int | None = None


def tokens_max(
    text: TextLayout | None, *, said: int | None, named: int | None, positions: int | None
) -> tuple[int, bool]:
    """The tokens that a model reads of a text; true if the table of positions alone limits them.

    It is the shortest of the layout's limit, the profile's (`said`), the config's (`named`), and
    the length of the table of positions. Positions that the config only names cap a layout that
    says so; a table of them caps every one. Raises MODEL_LOAD_FAILED where nothing limits it.
    """
    capped = text is None or text.capped_by_positions
    if said is None and text is not None:
        said = text.tokens_usual
    limits = (None if text is None else text.tokens_max, said, named if capped else None)
    told = [limit for limit in limits if limit is not None and limit > 0]
    known = [*told, *([positions] if positions else [])]
    if not known:
        raise load_failed("nothing limits the length; set the profile's max_sequence_length")
    return min(known), min(known) not in told


def token_input(ids: Sequence[int], types: Sequence[int] = ()) -> TokensInput:
    """The input of a text that was tokenized here, as `read_tokens` takes it."""
    return TokensInput(_bytes(ids), _bytes(types))


def read_tokens(
    inputs: Sequence[TokensInput], limits: TokenLimits
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Ids and type ids of each text. Raises INVALID_REQUEST or INPUT_TOO_LONG."""
    ids: list[Tensor] = []
    types: list[Tensor | None] = []
    for index, given in enumerate(inputs):
        values = _numbers(given.ids, limits.vocabulary, index, "ids")
        if not len(values):
            raise FixRequest(
                "the text is empty: no token is left of it; send one with words in it",
                field=f"inputs.{index}.ids",
            )
        if len(values) > limits.tokens_max:
            raise FixRequest(
                f"the text has {len(values)} tokens; the model reads {limits.tokens_max}",
                code="INPUT_TOO_LONG",
                field=f"inputs.{index}.ids",
            )
        if len(values) == limits.tokens_max and (values == limits.uncounted).any():
            raise FixRequest(
                f"the text fills the {limits.tokens_max} positions and has the token "
                f"{limits.uncounted}, which takes none: the authors' library reads on, and this "
                "does not. Send a shorter text, or set max_sequence_length of the model's profile "
                f"to {limits.tokens_max}",
                code="INPUT_TOO_LONG",
                field=f"inputs.{index}.ids",
            )
        ids.append(torch.from_numpy(values))
        types.append(_types(given.type_ids, len(values), limits, index))
    return ids, types


def _bytes(values: Sequence[int]) -> bytes:
    return np.asarray(values, dtype="<i4").tobytes()


def _types(raw: bytes, length: int, limits: TokenLimits, index: int) -> Tensor | None:
    if not raw or not limits.types:
        return None
    values = _numbers(raw, limits.types, index, "type_ids")
    if len(values) != length:
        raise FixRequest(
            f"input {index} has {length} ids and {len(values)} type ids",
            field=f"inputs.{index}.type_ids",
        )
    return torch.from_numpy(values)


def _numbers(raw: bytes, bound: int, index: int, name: str) -> NDArray[np.int64]:
    field = f"inputs.{index}.{name}"
    if len(raw) % 4:
        raise FixRequest(f"the {name} of input {index} are not whole int32 numbers", field=field)
    values = np.frombuffer(raw, dtype="<i4").astype(np.int64)
    if len(values) and not 0 <= values.min() <= values.max() < bound:
        raise FixRequest(
            f"the {name} of input {index} are not all in 0..{bound - 1}: "
            "was the text tokenized for another model?",
            field=field,
        )
    return values
