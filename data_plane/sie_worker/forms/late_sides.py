"""A tokenizer that cuts and fills up as one side of late interaction wants it.

*shell* over the `tokenizers` library.
"""

from collections.abc import Sequence

import numpy as np
import tokenizers
from msgspec import Struct

from sie_schemas.ipc import Loaded, TextForm, TokensInput
from sie_worker.forms.cutting import Cutter

__all__ = ["LateSide", "int32"]


class LateSide(Struct, frozen=True):
    """One side: queries or documents."""

    cutter: Cutter
    form: TextForm

    @classmethod
    def of(cls, content: bytes, loaded: Loaded, form: TextForm) -> "LateSide":
        """The side of a model, by the bytes of its tokenizer's file."""
        native = tokenizers.Tokenizer.from_buffer(content)
        native.no_padding()
        native.no_truncation()
        limits = [each for each in (form.tokens_max, loaded.max_sequence_length) if each > 0]
        if limits:
            native.enable_truncation(max_length=min(limits), direction=loaded.truncation_side)
        return cls(Cutter(native, min(limits, default=0), loaded.truncation_side), form)

    def reads(self, ids: list[int]) -> int:
        """The tokens that the model reads of a text of these ids; 0 where nothing limits them."""
        cut = self.cutter.tokens_max
        # What is shorter than the cut may be filled up to more than that.
        return cut if len(ids) > cut > 0 else cut and max(cut, self.form.filled_to)

    def made(self, ids: list[int], name: str) -> TokensInput:
        """The ids, filled up."""
        form, count = self.form, len(ids)
        # Fillers that no token looks at have nothing to look at in an empty text: it stays empty.
        width = form.filled_to if count or form.attended else 0
        filled = [*ids, *[form.filler] * (width - count)]
        looked_at = count if len(filled) > count and not form.attended else 0
        return TokensInput(int32(filled), attended=looked_at, query=name == "query")


def int32(values: Sequence[int]) -> bytes:
    """Token ids as inputs carry them: four bytes each, the least first."""
    return np.asarray(values, dtype="<i4").tobytes()
