"""The tokens that a tokenizer.json has, for words that a folder names one of.

*pure.* A vocabulary in another form is not read here: whether it has a token, a worker finds out.
"""

from typing import Final

from sie_layouts.reader import Reader, joined

__all__ = ["TOKENIZER_FILE", "tokens_of"]

TOKENIZER_FILE: Final = "tokenizer.json"


def tokens_of(reader: Reader, folder: str = "") -> frozenset[str] | None:
    """Each token by its text; None where no tokenizer.json tells."""
    table = reader.table(joined(folder, TOKENIZER_FILE))
    model, added = table.get("model"), table.get("added_tokens")
    words = model.get("vocab") if isinstance(model, dict) else None
    if not isinstance(words, dict | list) or not isinstance(added, list):
        return None
    tokens = {each if isinstance(each, str) else str(each[0]) for each in words if each}
    return frozenset(
        tokens | {str(each.get("content")) for each in added if isinstance(each, dict)}
    )
