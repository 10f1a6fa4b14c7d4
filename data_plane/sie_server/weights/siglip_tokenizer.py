"""SigLIP's tokenizer as one `tokenizer.json`: its class is code around a SentencePiece file.

*shell* over no file of its own. That class lowers case and drops ASCII punctuation and double
blanks before pieces are found. Special tokens that are written out in a text stay. Promises the ids
of that class: it is asked beside ours for a few hard texts, and a difference is refused. One is
known: right behind a special token that is written out, that class loses an unknown letter.
"""

import re
import string
from typing import Any, Final

from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

__all__ = ["is_siglip", "made_of_siglip"]

_CLASS: Final = "SiglipTokenizer"
_UNIGRAM: Final = 1
"""SentencePiece's number for that kind of model."""
_BLANK: Final = "\u2581"
_END: Final = "\ue001"
_UNKNOWN: Final = "\ue002"
"""Private characters that stand for special tokens while the rest of a text changes."""
_OTHER: Final = "\ue003"
_FINAL_SIGMA: Final = r"(?<=\p{L})\u03a3(?!\p{L})"
_ASKED: Final = (
    "a photo of a cat",
    "  Two  BLANKS,\tand a tab\u00a0. ",
    "! it's 3.5%; (really)? #x_y-z",
    "\u039f\u0394\u039f\u03a3 \u0130stanbul stra\u00dfe \ufb01ne \u2167 \u4e2d\u6587 \U0001f431",
    f"a{_BLANK}b {_BLANK}c {_END}d",
    "cut</s>here <unk>and </s> more </s>. or </S>",
    "</s> first, <unk>",
    "",
    " .,!",
)


def is_siglip(tokenizer: Any) -> bool:
    """True for a tokenizer of the authors' class."""
    return type(tokenizer).__name__ == _CLASS


def made_of_siglip(tokenizer: Any) -> Tokenizer:
    """The same tokenizer in the native form. Raises `ValueError` where it would not be the same."""
    # Its module is made at run time.
    model: Any = vars(sentencepiece_model_pb2)["ModelProto"]()
    model.ParseFromString(tokenizer.sp_model.serialized_model_proto())
    if model.trainer_spec.model_type != _UNIGRAM:
        raise ValueError("its SentencePiece file is no unigram model")
    marks = {str(tokenizer.eos_token): _END, str(tokenizer.unk_token): _UNKNOWN}
    others = {*map(str, tokenizer.added_tokens_encoder)} - {*marks, str(tokenizer.pad_token)}
    if others or str(tokenizer.pad_token) not in marks:
        raise ValueError(f"it has tokens of its own: {sorted(others) or tokenizer.pad_token}")
    pieces = [(piece.piece, piece.score) for piece in model.pieces]
    end = int(tokenizer.eos_token_id)
    pieces[end] = (_END, 0.0)
    native = Tokenizer(
        models.Unigram(
            pieces,
            unk_id=model.trainer_spec.unk_id,
            byte_fallback=model.trainer_spec.byte_fallback,
        )
    )
    native.normalizer = normalizers.Sequence(
        [
            *_kept(marks),
            *(_lowered() if tokenizer.do_lower_case else []),
            *_plain(),
            *_mapped(model.normalizer_spec.precompiled_charsmap),
            normalizers.Replace(" ", _BLANK),
        ]
    )
    native.pre_tokenizer = pre_tokenizers.Split(Regex(f"[{_END}{_UNKNOWN}]"), "isolated")
    native.post_processor = processors.TemplateProcessing(
        single=f"$A {_END}", special_tokens=[(_END, end)]
    )
    for text in _ASKED:
        wanted, found = tokenizer(text)["input_ids"], native.encode(text).ids
        if wanted != found:
            raise ValueError(f"the text {text!r} would get the ids {found}, and not {wanted}")
    return native


def _kept(marks: dict[str, str]) -> list[Any]:
    """Special tokens take the blanks around them along; a blank stands before every text."""
    own = normalizers.Replace(Regex(f"[{_END}{_UNKNOWN}]"), _OTHER)
    put = [
        normalizers.Replace(Regex(rf"\s*{re.escape(token)}\s*"), mark)
        for token, mark in marks.items()
    ]
    return [own, normalizers.Replace(_BLANK, " "), *put, normalizers.Prepend(_BLANK)]


def _lowered() -> list[Any]:
    """Lower case as Python has it: a sigma at a word's end is another one."""
    return [normalizers.Replace(Regex(_FINAL_SIGMA), "\u03c2"), normalizers.Lowercase()]


def _plain() -> list[Any]:
    marks = f"[{_END}{_UNKNOWN}]"
    return [
        normalizers.Replace(Regex(f"[{re.escape(string.punctuation)}]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "),
        normalizers.Replace(Regex(f" (?={marks})"), ""),
        normalizers.Replace(Regex(f"(?<={marks}) "), ""),
        normalizers.Strip(left=False, right=True),
        normalizers.Replace(Regex(f"^{_BLANK} "), _BLANK),
        normalizers.Replace(Regex(f"^{_BLANK}(?={marks})"), ""),
        normalizers.Replace(Regex(f"^{_BLANK}$"), ""),
    ]


def _mapped(charsmap: bytes) -> list[Any]:
    return [normalizers.Precompiled(charsmap)] if charsmap else []
