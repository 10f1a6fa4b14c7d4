"""The probe: may this model run packed, or padded, and on weights laid out anew?

*device* over an encoder. Texts of random tokens run together and each alone, through the model's
own forward and attention, on its weights as they were loaded. Promises that texts share a batch
only in a way whose outputs agree within the tolerance of the model's type. They run packed, else
padded, else each alone. The reason says why. A model that answers the same text in two ways is
refused. What is done for speed is undone unless the outputs still agree. A model revision that
this process has probed before gets the same verdict again.
"""

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

import torch
from torch import Tensor

from sie_server.backends.architectures.big_bird import SWITCHES, switches_attention
from sie_server.backends.backend import Verdict
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.trial_texts import first_plain, trial_texts
from sie_server.failures import load_failed
from sie_server.packed.packed_attention import NotPackable
from sie_server.tolerances import disagreement

__all__ = ["Finish", "probe", "settle", "unlike_alone"]

_LENGTHS: Final = (130, 33, 5)
"""Attention takes another way for long texts, middling and short ones."""
_MARKED: Final = 19
"""The length of a text in which the ids that may be special stand among others."""
_FORWARD_FAILS: Final = (RuntimeError, TypeError, ValueError, IndexError)

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
    the encoder's own padded forward is the reference. With `padded_because` packing is not tried,
    for that reason. Raises MODEL_LOAD_FAILED where no two answers are the same.
    """
    texts = _random_texts(encoder, vocabulary, tokens_max)
    encoder.choose("padded")
    own = reference or (lambda text: _alone(encoder, finish, text))
    try:
        alone = torch.cat([own(text) for text in texts])
    except _FORWARD_FAILS as error:
        raise load_failed(
            f"the model's own forward fails: {str(error)[:300]}; mend config.json, if it was edited"
        ) from error
    if switches_attention(encoder.model):
        encoder.choose("alone")
        return Verdict("alone", f"{SWITCHES}: each text runs by itself")
    together = _batch(texts)
    # Padding was believed in once. FNet, ConvBERT, MobileBERT and Nystromformer mix a text with the
    # padding beside it: their vectors were other ones in a mixed batch, without a word.
    reason = padded_because or _packs(encoder, finish, together, alone)
    if not reason:
        return Verdict("packed", "", prepacked=_accelerate(encoder, finish, together, alone))
    encoder.choose("padded")
    told = disagreement(_padded(encoder, finish, together), alone, encoder.dtype)
    if not told:
        return Verdict("padded", reason)
    encoder.choose("alone")
    if differs := disagreement(_padded(encoder, finish, together), alone, encoder.dtype):
        raise load_failed(
            f"the model answers the same text in two ways ({differs}): nobody could tell which is "
            "right; choose a model whose answers do not change"
        )
    return Verdict("alone", f"{reason}; padded, {told}: each text runs by itself")


def unlike_alone(
    encoder: Encoder, finish: Finish, texts: Sequences, execution: Literal["packed", "padded"]
) -> str:
    """The difference between these texts together and each alone; empty if they agree.

    The encoder is left in this execution.
    """
    encoder.choose("alone")
    alone = _padded(encoder, finish, texts)
    encoder.choose(execution)
    if execution == "packed":
        return _unlike(encoder, finish, texts, alone)
    return disagreement(_padded(encoder, finish, texts), alone, encoder.dtype)


def _packs(encoder: Encoder, finish: Finish, together: Sequences, alone: Tensor) -> str:
    """The reason why a model does not run packed; empty if it does."""
    try:
        encoder.choose("packed")
        return _unlike(encoder, finish, together, alone)
    except (NotPackable, *_FORWARD_FAILS) as error:
        return f"the packed forward fails: {str(error)[:300]}"


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


def _padded(encoder: Encoder, finish: Finish, together: Sequences) -> Tensor:
    return finish(encoder.padded(together, tokens_max=2 * sum(together.lengths)), together)


def _alone(encoder: Encoder, finish: Finish, text: Tensor) -> Tensor:
    return _padded(encoder, finish, _batch([text]))


def _batch(texts: list[Tensor]) -> Sequences:
    nothing = [None] * len(texts)
    return Sequences(ids=texts, type_ids=nothing, owners=nothing)


def _random_texts(encoder: Encoder, vocabulary: int, tokens_max: int) -> list[Tensor]:
    # One text reaches beyond a sliding window, or the window would not be probed at all.
    window = encoder.window
    # And one is far shorter than the rest where texts are cut early, or no padding would be probed.
    short = min(_LENGTHS[2], max(1, tokens_max // 3))
    lengths = (max(_LENGTHS[0], window + 17 if window else 0), _LENGTHS[1], short)
    texts = trial_texts(vocabulary, [min(length, tokens_max) for length in (*lengths, _MARKED)])
    # Texts of people hold `<pad>` and `[MASK]` too, and some models count or scale by them.
    special = (encoder.padding_id, *range(first_plain(vocabulary)))
    marks = [each for each in special if each < vocabulary]
    among = texts[-1][1:-1:2]
    among[: len(marks)] = torch.tensor(marks[: len(among)])
    return texts
