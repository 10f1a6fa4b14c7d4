"""The cost of a stranger's tokenizer, as its parts say: memory and time beyond what texts have.

*pure.* Promises that a tokenizer without a refusal makes a text at most `GROWTH_MAX` times as long
before it is cut. It runs where nothing can interrupt it. A few bytes of normalizers once made
gigabytes of one word. What an expression may cost, `expression_costs` says.
"""

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sie_layouts.inputs.expression_costs import takes_for_ever

__all__ = ["GROWTH_MAX", "WORD_CHARS_MAX", "costly_parts"]

GROWTH_MAX: Final = 324
"""Characters that one becomes: the widest of Unicode's own normal forms makes 18 of one, and
SigLIP's tokenizers apply two in a row."""
WORD_CHARS_MAX: Final = 1000
"""Of a word of WordPiece, which takes the cube of it; the reference's own bound is 100."""
_STEPS_MAX: Final = 64
"""Steps in a row: known tokenizers have fewer than ten."""
_GROWS: Final[Mapping[str, int]] = {"BertNormalizer": 3, "ByteLevel": 4}
"""The most characters that a step makes of one; all others that are not named here make one."""
_FORMS: Final = frozenset({"NFC", "NFD", "NFKC", "NFKD", "Nmt"})
_FORM_MAX: Final = 18
"""Characters that a normal form makes of one. A second form of that text makes no more."""
_MAY_BE_EMPTY: Final = re.compile(r"[*?|^$]|\{0|\{,|\\[bBAzZGK]")


def costly_parts(
    normalizer: Mapping[str, Any] | None,
    pre_tokenizer: Mapping[str, Any] | None,
    *,
    word_chars: int = 0,
) -> Iterator[str]:
    """Each reason for which a tokenizer is not run. The steps are as `tokenizer.json` has them,
    `word_chars` is WordPiece's `max_input_chars_per_word`."""
    steps = [*_steps(normalizer), *_steps(pre_tokenizer)]
    if len(steps) > _STEPS_MAX:
        yield f"it has {len(steps)} steps, and at most {_STEPS_MAX} are run"
    grown = math.prod(_growth(step) for step in steps[:_STEPS_MAX]) * _form(steps)
    if grown > GROWTH_MAX:
        yield f"its steps may make {grown:g} characters of one, and at most {GROWTH_MAX} are made"
    for step in steps:
        expression = (step.get("pattern") or {}).get("Regex")
        if expression is not None and takes_for_ever(str(expression)):
            yield (
                f"its expression {str(expression)[:80]!r} repeats what repeats or has choices, "
                "or has repeats in a row, and a text may take it for ever"
            )
    if word_chars > WORD_CHARS_MAX:
        yield f"max_input_chars_per_word is {word_chars}, and at most {WORD_CHARS_MAX} are taken"


def _steps(part: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    """The steps of a part, those inside of sequences too."""
    if part is None:
        return
    inside = part.get("normalizers") or part.get("pretokenizers")
    if part.get("type") != "Sequence" or inside is None:
        yield part
        return
    for each in inside:
        yield from _steps(each)


def _growth(step: Mapping[str, Any]) -> float:
    kind = str(step.get("type"))
    if kind == "Replace":
        pattern, content = step.get("pattern") or {}, len(str(step.get("content", "")))
        found = len(str(pattern.get("String", "")))
        if found:
            return max(1.0, content / found)
        # An expression may find nothing, between any two characters.
        finds_nothing = _MAY_BE_EMPTY.search(str(pattern.get("Regex", "?")))
        return 1.0 + content if finds_nothing else max(1.0, content)
    if kind == "Prepend":
        return max(1.0, float(len(str(step.get("prepend", "")))))
    return _GROWS.get(kind, 1)


def _form(steps: Sequence[Mapping[str, Any]]) -> float:
    """The growth by all steps that bring a text into a normal form, together.

    A map is one of them if it makes no more than they do: the first. Each other grows by itself.
    """
    maps = sorted(
        _longest(str(step.get("precompiled_charsmap", "")))
        for step in steps
        if step.get("type") == "Precompiled"
    )
    is_form = bool(maps) and maps[0] <= _FORM_MAX
    forms = is_form or any(step.get("type") in _FORMS for step in steps)
    return math.prod(maps[is_form:]) * (_FORM_MAX if forms else 1)


def _longest(charsmap: str) -> float:
    """The longest text that a map of sentencepiece puts for a character.

    They stand behind its tree, whose size is told first. Each has a zero at its end.
    """
    try:
        data = base64.b64decode(charsmap)
    except (binascii.Error, ValueError):
        return 1.0
    texts = data[4 + int.from_bytes(data[:4], "little") :]
    return max([1.0, *(len(text.decode("utf-8", "replace")) for text in texts.split(b"\0"))])
