"""The probe: may this model run packed, and on weights laid out anew?

*device* over an encoder. Three texts of random tokens run together, packed, and each alone through
the model's own forward and attention, on its weights as they were loaded. Promises that a model is
called packed only if the outputs agree within the tolerance of its type. Whatever else happens, it
runs padded and the reason says why. What is done for speed after that is undone unless the outputs
still agree. A model revision that this process has probed before gets the same verdict again.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import torch
from torch import Tensor

from sie_server.backends.backend import Verdict
from sie_server.backends.encoder import Encoder, Sequences, States
from sie_server.packed.packed_attention import NotPackable
from sie_server.tolerances import disagreement

__all__ = ["Finish", "probe", "settle"]

_LENGTHS: Final = (130, 33, 5)
"""Attention takes another way for long texts, middling and short ones."""
_SEED: Final = 20_240_229

Finish: TypeAlias = Callable[[States, Sequences], Tensor]
"""From hidden states to what is compared: one row of numbers for each text, in their order."""


def settle(encoder: Encoder, verdict: Verdict) -> Verdict:
    """Bring an encoder to what the probe found of the same revision before.

    To lay its weights out anew is left to the caller: it costs more than the rest of the load.
    """
    encoder.choose(verdict.execution)
    return verdict


def probe(
    encoder: Encoder,
    finish: Finish,
    *,
    vocabulary: int,
    tokens_max: int,
    reference: Callable[[Tensor], Tensor] | None = None,
    padded_because: str = "",
) -> Verdict:
    """Decide, and leave the encoder in the execution that was decided.

    `reference` gives what the whole model itself, head included, answers to one text; without it
    the encoder's own padded forward is the reference. With `padded_because` that forward is only
    tried, and the model stays with it for that reason.
    """
    texts = _random_texts(vocabulary, tokens_max, encoder.window)
    encoder.choose("padded")
    own = reference or (lambda text: _alone(encoder, finish, text))
    alone = torch.cat([own(text) for text in texts])
    if padded_because:
        return Verdict("padded", padded_because)
    together = _batch(texts)
    try:
        encoder.choose("packed")
        reason = _unlike(encoder, finish, together, alone)
    except (NotPackable, RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = f"the packed forward fails: {str(error)[:300]}"
    if reason:
        encoder.choose("padded")
        return Verdict("padded", reason)
    return Verdict("packed", "", prepacked=_accelerate(encoder, finish, together, alone))


def _accelerate(encoder: Encoder, finish: Finish, together: Sequences, alone: Tensor) -> bool:
    """Lay the layers out anew; true if they stay so."""
    swap = encoder.prepack()
    try:
        reason = _unlike(encoder, finish, together, alone)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        reason = f"the layers laid out anew fail: {error}"
    if reason:
        swap.undo()
    return not reason


def _unlike(encoder: Encoder, finish: Finish, together: Sequences, alone: Tensor) -> str:
    reason = disagreement(finish(encoder.packed(together), together), alone, encoder.dtype)
    return f"{reason} to running alone" if reason else ""


def _alone(encoder: Encoder, finish: Finish, text: Tensor) -> Tensor:
    single = _batch([text])
    return finish(encoder.padded(single, tokens_max=len(text)), single)


def _batch(texts: list[Tensor]) -> Sequences:
    nothing = [None] * len(texts)
    return Sequences(ids=texts, type_ids=nothing, owners=nothing)


def _random_texts(vocabulary: int, tokens_max: int, window: int) -> list[Tensor]:
    # One text reaches beyond a sliding window, or the window would not be probed at all.
    lengths = (max(_LENGTHS[0], window + 17 if window else 0), *_LENGTHS[1:])
    generator = torch.Generator().manual_seed(_SEED)
    # The lowest ids are special in most vocabularies; a padding id would be masked when alone.
    first = min(10, vocabulary - 1)
    return [
        torch.randint(first, vocabulary, (min(length, tokens_max),), generator=generator)
        for length in lengths
    ]
