"""Characters: blanks, words, and what a reader sees as one character.

*pure.* Places are indices into a Python string. A mark that combines, a joiner, a variation
selector or a skin tone belongs to the character before it: no span ends between them.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

__all__ = ["OffsetUnit", "continues_word", "placed", "trimmed", "whole"]

OffsetUnit: TypeAlias = Literal["characters", "utf16", "bytes"]

_JOINER: Final = "\u200d"
_SKIN_TONES: Final = range(0x1F3FB, 0x1F400)
_TAGS: Final = range(0xE0020, 0xE0080)
_FLAG_LETTERS: Final = range(0x1F1E6, 0x1F200)
"""Two of them are one flag."""
_WITHOUT_BLANKS: Final = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x0F00, 0x0FFF),  # Tibetan
    (0x1000, 0x109F),  # Myanmar
    (0x1780, 0x17FF),  # Khmer
    (0x2E80, 0x312F),  # radicals, kana, bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0x4DBF),  # ideographs
    (0x4E00, 0x9FFF),
    (0xA9E0, 0xA9FF),
    (0xAA60, 0xAA7F),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1B000, 0x1B16F),
    (0x20000, 0x323AF),
)


def trimmed(text: str, start: int, stop: int) -> tuple[int, int]:
    """The range without the blanks at its ends; empty, at `start`, where it has nothing else."""
    part = text[start:stop]
    left = part.lstrip()
    if not left:
        return start, start
    start += len(part) - len(left)
    return start, start + len(left.rstrip())


def whole(text: str, start: int, stop: int) -> tuple[int, int]:
    """The range, widened to where characters that a reader sees begin and end."""
    if start >= stop:
        return start, stop
    while start > 0 and _belongs(text, start):
        start -= 1
    while stop < len(text) and _belongs(text, stop):
        stop += 1
    return start, stop


def continues_word(text: str, place: int) -> bool:
    """True if the character at `place` goes on with the word that the one before it is in.

    Words end at blanks and at punctuation. In scripts that are written without blanks no character
    is known to go on with a word.
    """
    if not 0 < place < len(text):
        return False
    return all(_in_word(character) for character in text[place - 1 : place + 1])


def placed(
    text: str, spans: Sequence[tuple[int, int, str, float]], unit: str
) -> tuple[dict[str, Any], ...]:
    """Spans (start, stop, label, score) as entities whose places are told in a unit.

    `utf16` counts code units, `bytes` those of UTF-8.
    """
    count = _counts(text, unit)
    return tuple(
        {
            "text": text[start:stop],
            "label": label,
            "score": score,
            "start": count[start] if count else start,
            "end": count[stop] if count else stop,
        }
        for start, stop, label, score in spans
    )


def _counts(text: str, unit: str) -> list[int] | None:
    """The place of each character, and of the end, in a unit; None where it is the index."""
    if unit == "characters" or text.isascii():
        return None
    counts = [0]
    for character in text:
        code = ord(character)
        if unit == "utf16":
            width = 1 + (code > 0xFFFF)
        else:
            width = 1 + (code > 0x7F) + (code > 0x7FF) + (code > 0xFFFF)
        counts.append(counts[-1] + width)
    return counts


def _belongs(text: str, place: int) -> bool:
    """True if the character at `place` belongs to the one before it."""
    before, character = text[place - 1], text[place]
    # No ASCII character combines, and most texts are ASCII. A mark behind a blank has nothing to
    # belong to.
    if character.isascii() or before.isspace():
        return False
    if ord(character) in _FLAG_LETTERS:
        return _flag_letters_before(text, place) % 2 == 1
    if before == _JOINER and place > 1:
        # Families and professions are emoji joined to each other; between letters, as in Hindi, a
        # joiner only shapes what it stands behind.
        return not unicodedata.category(character).startswith(("L", "N", "Z"))
    return (
        character == _JOINER
        or unicodedata.category(character) in {"Mn", "Me", "Mc"}
        or ord(character) in _SKIN_TONES
        or ord(character) in _TAGS
    )


def _flag_letters_before(text: str, place: int) -> int:
    count = 0
    while count < place and ord(text[place - 1 - count]) in _FLAG_LETTERS:
        count += 1
    return count


def _in_word(character: str) -> bool:
    if character.isspace() or unicodedata.category(character).startswith("P"):
        return False
    if character.isascii():
        return character.isalnum()
    code = ord(character)
    return not any(first <= code <= last for first, last in _WITHOUT_BLANKS)
