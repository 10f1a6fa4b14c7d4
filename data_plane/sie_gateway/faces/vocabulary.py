"""A vocabulary that is no model's here: the words of token ids that clients send of their own.

*pure.* Clients of OpenAI may cut a text into token ids of OpenAI's vocabulary before they send it.
The vocabulary is one of tiktoken's files: on each line a token's bytes as base64, and its id.
"""

import binascii
from collections.abc import Sequence

from sie_schemas.errors import FixRequest

__all__ = ["Vocabulary"]


class Vocabulary:
    """The bytes of each token, by its id."""

    def __init__(self, tokens: dict[int, bytes]) -> None:
        self._tokens = tokens

    @classmethod
    def parse(cls, content: bytes) -> "Vocabulary":
        """Read a file's content. Raises `ValueError`, which names the line."""
        tokens: dict[int, bytes] = {}
        for number, line in enumerate(content.splitlines(), start=1):
            if not line:
                continue
            try:
                word, place = line.split()
                tokens[int(place)] = binascii.a2b_base64(word, strict_mode=True)
            except ValueError:
                raise ValueError(f"line {number} is no token in base64 and its id") from None
        if not tokens:
            raise ValueError("there is no token in it")
        return cls(tokens)

    def text_of(self, ids: Sequence[int], where: str) -> str:
        """The text of token ids. Raises `FixRequest` for one that is no token."""
        words: list[bytes] = []
        for place, number in enumerate(ids):
            word = self._tokens.get(number)
            if word is None:
                field = f"{where}[{place}]"
                raise FixRequest(
                    f"{field}: {number} is none of the {len(self._tokens)} tokens of the "
                    "vocabulary that this gateway was given (SIE_GATEWAY_TOKEN_VOCABULARY)",
                    field=field,
                )
            words.append(word)
        # A long text that a client cut between two tokens may be cut inside a character.
        return b"".join(words).decode("utf-8", "replace")
