"""The logits of a GLiNER for a few texts that are read together, by the library's own steps.

*device* over the library's model. Those of words and spans that a text has not are left out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import torch
from gliner.decoding.decoder import TokenDecoder
from torch import Tensor

from sie_server.backends.extraction.reading_together import Logits

__all__ = ["TRIAL_LABELS", "logits_of"]

TRIAL_LABELS: Final = ("a", "b")
"""Two, so that no logit stands alone; their names are nothing to the padding."""


def logits_of(model: Any) -> Logits:
    """The logits of each text that this model reads, for the labels of the trial."""
    return partial(_logits, model)


def _logits(model: Any, texts: Sequence[str]) -> list[Tensor]:
    """The logits of the spans or the tokens of each text, as the library has them in a batch."""
    prepared = model.prepare_batch(list(texts), list(TRIAL_LABELS))
    batch = model.collate_batch(prepared["input_x"], prepared["entity_types"])
    # At no threshold: a model that represents the spans of tokens then represents each.
    told = model.run_batch(batch, threshold=0.0)
    found = []
    for place, words in enumerate(prepared["tokens"]):
        own = told.logits[place, : len(words)]
        if not isinstance(model.decoder, TokenDecoder):
            # A span that would end behind the text is none.
            starts, widths = torch.arange(own.shape[0]), torch.arange(own.shape[1])
            own = own[(starts[:, None] + widths < len(words)).to(own.device)]
        found.append(own.flatten())
        if told.span_logits is not None:
            spans = told.span_logits[place][told.span_mask[place].bool()]
            found[-1] = torch.cat([found[-1], spans.flatten()])
    return found
