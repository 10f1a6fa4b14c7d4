"""The steps of a native tokenizer, judged before it reads a text of anybody's.

*shell* over the `tokenizers` library, which tells its steps as JSON. Which of them may take all
memory, or a thread for ever, `sie_layouts.inputs.tokenizer_costs` says.
"""

import msgspec
import tokenizers

from sie_layouts.inputs.tokenizer_costs import costly_parts

__all__ = ["why_costly"]


def why_costly(native: tokenizers.Tokenizer) -> str:
    """The reason why a tokenizer is not run; empty where there is none."""
    parts = (native.normalizer, native.pre_tokenizer)
    steps = [None if part is None else msgspec.json.decode(part.__getstate__()) for part in parts]
    word_chars = int(getattr(native.model, "max_input_chars_per_word", 0))
    return next(costly_parts(*steps, word_chars=word_chars), "")
