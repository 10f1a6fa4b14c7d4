"""Classification heads of transformers' models, on the hidden states of flat tokens.

*device* over a model's modules. A head that pools the first or the last token inside the model's
forward would see only the first sequence of a packed row. Here the tokens are gathered, then the
model's own layers run on them. `require_same` compares with the model's own forward, so that a
family whose head is built otherwise is refused and never answered wrongly.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from sie_schemas.errors import OurFault
from sie_server.backends.backend import load_failed
from sie_server.backends.forward.encoder import Encoder, Sequences, States
from sie_server.backends.forward.trial_texts import trial_texts
from sie_server.backends.heads.vector_answers import lengths_of, rows_as_given
from sie_server.tolerances import logits_agree
from sie_server.vectors.pooling import pool

__all__ = ["Head", "first_states", "last_states", "require_same", "sequence_head", "token_head"]

Head: TypeAlias = Callable[[States, Sequences], Tensor]
"""Hidden states to logits, in the order of the states."""
_Rows: TypeAlias = Callable[[Tensor, Sequence[int]], Tensor]
"""The same of hidden states [tokens, width] and lengths."""

_LENGTHS: Final = (19, 7, 4)
"""Of the texts that are tried: a head that reads a fixed place would be right for one length."""


def sequence_head(model: PreTrainedModel) -> Head:
    """Logits [sequences, labels]."""
    parts: Any = model
    if isinstance(getattr(model, "score", None), nn.Linear):
        # Decoders judge by the last token that is none of padding: a text may end with its word.
        padding = model.config.get_text_config().pad_token_id
        return lambda states, sequences: parts.score(_last_counted(states, sequences, padding))
    return _of_rows(_first_head(model))


def _of_rows(rows: _Rows) -> Head:
    return lambda states, sequences: rows(states.hidden, lengths_of(states, sequences))


def _first_head(model: PreTrainedModel) -> _Rows:
    """The head of an encoder, which judges by its first token or by the mean."""
    parts: Any = model
    if hasattr(model, "pre_classifier"):
        return lambda hidden, lengths: parts.classifier(
            parts.pre_classifier(_first(hidden, lengths)).relu()
        )
    if hasattr(model, "head") and getattr(model.config, "classifier_pooling", None) == "mean":
        return lambda hidden, lengths: parts.classifier(
            parts.head(pool(hidden, lengths, "mean").to(hidden.dtype))
        )
    if hasattr(model, "head"):
        return lambda hidden, lengths: parts.classifier(parts.head(_first(hidden, lengths)))
    pooler = getattr(model.base_model, "pooler", None)
    if isinstance(pooler, nn.Linear):
        dense: Any = pooler
        follows: Any = getattr(model.base_model, "pooler_activation", None)
        return lambda hidden, lengths: parts.classifier(follows(dense(_first(hidden, lengths))))
    if pooler is None:
        # DeBERTa keeps its pooler beside the encoder, not in it.
        pooler = getattr(model, "pooler", None)
    if isinstance(pooler, nn.Module):
        return lambda hidden, lengths: parts.classifier(pooler(_first(hidden, lengths)[:, None]))
    return lambda hidden, lengths: parts.classifier(_first(hidden, lengths)[:, None])


def token_head(model: PreTrainedModel) -> Head:
    """Logits [tokens, labels]."""
    parts: Any = model
    if isinstance(getattr(model, "score", None), nn.Linear):
        return lambda states, _: parts.score(states.hidden)
    if hasattr(model, "head"):
        return lambda states, _: parts.classifier(parts.head(states.hidden))
    return lambda states, _: parts.classifier(states.hidden)


def first_states(states: States, sequences: Sequences) -> Tensor:
    """The states of each sequence's first and last token: what the probe compares."""
    starts, stops = _starts(states.hidden, lengths_of(states, sequences))
    packed = torch.cat([states.hidden[starts], states.hidden[stops - 1]], dim=1).float()
    return rows_as_given(packed, states.order)


@torch.inference_mode()
def require_same(model: PreTrainedModel, encoder: Encoder, head: Head) -> None:
    """Refuse a head that does not answer as the model's own forward. Raises MODEL_LOAD_FAILED.

    Leaves the encoder padded: the caller probes, or has probed and chooses again.
    """
    # The one way that runs a model of any family: what is compared here is the head, not the
    # packing.
    encoder.choose("padded")
    device = next(model.parameters()).device
    for ids in trial_texts(model.config.vocab_size, _LENGTHS):
        single = Sequences(ids=[ids], type_ids=[None], owners=[None])
        try:
            # That of an encoder with a decoder behind it wants a text that ends with its word.
            own: Tensor = model(input_ids=ids[None].to(device)).logits
            states = encoder.padded(single, tokens_max=len(ids))
        except (AttributeError, ValueError) as error:
            raise _unknown(model) from error
        try:
            found = head(states, single)
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, RuntimeError, TypeError) as error:
            raise _unknown(model) from error
        expected = own.reshape(found.shape) if own.numel() == found.numel() else None
        if expected is None or not logits_agree(found, expected, encoder.dtype):
            raise _unknown(model)


def _unknown(model: PreTrainedModel) -> OurFault:
    return load_failed(
        f"the head of {type(model).__name__} is built in a way that is not known here; "
        "use a model of another family, or a backend that registers for it"
    )


def last_states(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    """The state of each sequence's last token."""
    return hidden[_starts(hidden, lengths)[1] - 1]


def _last_counted(states: States, sequences: Sequences, padding: int | None) -> Tensor:
    """The state of each sequence's last token that is not `padding`; its first where all are."""
    starts, _ = _starts(states.hidden, lengths_of(states, sequences))
    places = [_last_place(sequences.ids[index], padding) for index in states.order]
    return states.hidden[starts + torch.tensor(places, device=starts.device)]


def _last_place(ids: Tensor, padding: int | None) -> int:
    if padding is None or int(ids[-1]) != padding:
        return len(ids) - 1
    counted = (ids != padding).nonzero()
    return int(counted[-1]) if len(counted) else 0


def _starts(hidden: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    sizes = torch.tensor(lengths, device=hidden.device)
    ends = sizes.cumsum(0)
    return ends - sizes, ends


def _first(hidden: Tensor, lengths: Sequence[int]) -> Tensor:
    return hidden[_starts(hidden, lengths)[0]]
