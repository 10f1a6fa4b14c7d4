"""A model's tokenizer as one `tokenizer.json` that the sidecar can read, as the reference uses it.

*shell* over the model's folder and a cache. Promises a path and the SHA-256 of its bytes. The
reference is transformers: for some families it makes a tokenizer of its own from the vocabulary in
a `tokenizer.json`, and it heeds `tokenizer_config.json`. Where that comes to what the file says,
the file itself is used. Else, or where there is none, what transformers made is kept in the cache.
A folder without a vocabulary is refused: transformers would make a tokenizer that knows no word.
Padding that the file may carry, and the length at which it cuts, are the reader's to choose. The
side on which it cuts is the file's.
"""

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal

import tokenizers
import transformers
from huggingface_hub.errors import StrictDataclassError
from tokenizers import AddedToken, Tokenizer, normalizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from sie_layouts.facts import WORDS
from sie_layouts.steps import TextLayout
from sie_runtime.process.native_calls import told_by_native
from sie_server.failures import load_failed
from sie_server.weights.siglip_tokenizer import is_siglip, made_of_siglip

__all__ = [
    "TokenizerFile",
    "highest_type",
    "own_tokenizer",
    "read_tokenizer",
    "require_room",
    "tokenizer_file",
    "tokenizer_gives_types",
]

_FORM: Final = "2"
"""Of what is written to the cache: another form is another key."""
_CUTS_LEFT: Final = re.compile(rb'"truncation":\s*\{[^}]*"direction":\s*"Left"')
_HEAD_BYTES: Final = 4096
"""The setting stands before the vocabulary, which is megabytes."""
_FAILS: Final = (
    OSError,
    ValueError,
    ImportError,
    AttributeError,
    KeyError,
    TypeError,
    RuntimeError,
)
"""The exceptions that transformers raises of files that are not what they should be."""


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """The tokenizer's path, the hash of its bytes, and the side on which it cuts."""

    path: Path
    sha256: str
    truncation_side: Literal["left", "right"] = "right"


def tokenizer_file(
    folder: Path, cache_folder: Path, text: TextLayout | None = None
) -> TokenizerFile:
    """The tokenizer of a model folder, made if need be. Raises MODEL_LOAD_FAILED."""
    return _stated(_as_used(folder, cache_folder, text or TextLayout(tokens_max=None)))


def own_tokenizer(folder: Path) -> tuple[TokenizerFile, int | None]:
    """The folder's tokenizer.json as it is, and the length at which it cuts by itself.

    Raises MODEL_LOAD_FAILED.
    """
    path = folder / "tokenizer.json"
    cuts = _read(path).truncation
    return _stated(path), None if cuts is None else int(cuts["max_length"])


def _stated(path: Path) -> TokenizerFile:
    content = path.read_bytes()
    # It stands before the vocabulary, whose reading takes a second where it is large.
    cuts_left = _CUTS_LEFT.search(content[:_HEAD_BYTES]) is not None
    return TokenizerFile(
        path, hashlib.sha256(content).hexdigest(), "left" if cuts_left else "right"
    )


def read_tokenizer(path: Path, *, tokens_max: int) -> Tokenizer:
    """A tokenizer that cuts at `tokens_max`.

    Raises MODEL_LOAD_FAILED.
    """
    tokenizer = _read(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max)
    return tokenizer


def require_room(path: Path, tokens_max: int, *, is_pair: bool) -> None:
    """Refuse a length that the tokenizer's own tokens fill: every text would be cut to none.

    Raises MODEL_LOAD_FAILED.
    """
    own = _form(path, path.stat().st_mtime_ns).own_tokens[is_pair]
    texts = 2 if is_pair else 1
    if tokens_max < own + texts:
        raise load_failed(
            f"a length of {tokens_max} tokens leaves no room for text: the tokenizer puts {own} of "
            f"its own around it; set the profile's max_sequence_length to {own + texts} or more"
        )


def highest_type(path: Path, *, is_pair: bool) -> int:
    """The highest type that the tokenizer gives a token of a text, or of a pair."""
    return _form(path, path.stat().st_mtime_ns).types[is_pair]


@dataclass(frozen=True, slots=True)
class _Form:
    own_tokens: tuple[int, int]
    """Those that are put around one text, and around two."""
    types: tuple[int, int]
    """The highest of one text, and of two."""


@lru_cache(maxsize=256)
def _form(path: Path, _written_ns: int) -> _Form:
    """A large vocabulary takes a second to read, and a model that comes back is not to wait."""
    native = _read(path)
    return _Form(
        (native.num_special_tokens_to_add(False), native.num_special_tokens_to_add(True)),
        (
            max(native.encode("a").type_ids, default=0),
            max(native.encode("a", "a").type_ids, default=0),
        ),
    )


def tokenizer_gives_types(folder: Path) -> bool:
    """True if the authors' tokenizer gives a model its token types.

    Its class decides, or a word in its config: the file alone has types for every tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, ImportError, AttributeError, KeyError, TypeError):
        return True
    return "token_type_ids" in tokenizer.model_input_names


def _read(path: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(path))
    except BaseException as error:  # the native library raises no narrower class
        raise load_failed(f"{path} cannot be read: {told_by_native(error)}; restore it") from error


def _as_used(folder: Path, cache_folder: Path, text: TextLayout) -> Path:
    given = folder / "tokenizer.json"
    made = cache_folder.expanduser() / "tokenizers" / _key(folder, text) / "tokenizer.json"
    as_it_is = made.with_name("as_it_is")
    if given.is_file() and as_it_is.is_file():
        return given
    if made.is_file():
        return made
    content = _made(folder, text, given if given.is_file() else None)
    if content is None:
        # Nothing is lost if this cannot be kept: it is found out again.
        with contextlib.suppress(OSError):
            made.parent.mkdir(parents=True, exist_ok=True)
            as_it_is.touch()
        return given
    made.parent.mkdir(parents=True, exist_ok=True)
    fresh = made.with_suffix(".new")
    fresh.write_text(content, encoding="utf-8")
    # A crash before the rename leaves only a file that the next conversion overwrites.
    fresh.replace(made)
    return made


def _key(folder: Path, text: TextLayout) -> str:
    """Of all that a tokenizer is made from: another revision in the folder is another one."""
    key = hashlib.sha256()
    made_by = (_FORM, transformers.__version__, tokenizers.__version__)
    key.update(
        repr((made_by, text.truncation_side, text.lowercase, text.marks, text.ends)).encode()
    )
    key.update(json.dumps(text.tokenizer_options, sort_keys=True).encode())
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in WORDS and not path.name.endswith(".index.json"):
            key.update(path.name.encode() + b"\0" + path.read_bytes())
    return key.hexdigest()


def _made(folder: Path, text: TextLayout, given: Path | None) -> str | None:
    """The tokenizer as transformers makes it; None where that is what the file says."""
    if given is not None:
        _read(given)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder,
            use_fast=True,
            local_files_only=True,
            trust_remote_code=False,
            **text.tokenizer_options,
        )
        if given is None:
            _require_vocabulary(folder, tokenizer.vocab_files_names)
        _require_marks(folder, tokenizer)
        used = _used(tokenizer, text)
    except StrictDataclassError as error:
        raise load_failed(
            f"transformers cannot load {folder}: {error}; mend config.json, if it was edited"
        ) from error
    except _FAILS as error:
        if given is not None and not text.ends and "trust_remote_code" in str(error):
            # Only code of its own could make another one of the file, and none is run for it.
            # Where a token is put behind each text, the file as it is would leave it out.
            return None
        raise load_failed(
            f"{folder} has {'a' if given else 'no'} tokenizer.json, and its tokenizer cannot be "
            f"made: {error}; {'mend' if given else 'add'} the tokenizer.json of the source"
        ) from error
    if given is None:
        return json.dumps(used)
    stated = _without_form(json.loads(given.read_bytes()))
    return None if _without_form(used) == stated else json.dumps(used)


def _require_marks(folder: Path, tokenizer: PreTrainedTokenizerBase) -> None:
    if tokenizer.split_special_tokens:
        raise load_failed(
            f"split_special_tokens is true in tokenizer_config.json of {folder}: a text's own "
            "marks would be read as words, which no tokenizer.json says; remove it"
        )


def _used(tokenizer: PreTrainedTokenizerBase, text: TextLayout) -> dict[str, Any]:
    own = made_of_siglip(tokenizer) if is_siglip(tokenizer) else tokenizer.backend_tokenizer
    native = Tokenizer.from_str(own.to_str())
    if text.lowercase and not _lowers(json.loads(native.to_str()).get("normalizer")):
        rest = [] if native.normalizer is None else [native.normalizer]
        native.normalizer = normalizers.Sequence([normalizers.Lowercase(), *rest])
    _mark(native, text.marks)
    if text.ends:
        end = f"{tokenizer.eos_token}"
        native.post_processor = processors.TemplateProcessing(
            single=["$A:0", f"{end}:0"],
            pair=["$A:0", f"{end}:0", "$B:1", f"{end}:1"],
            special_tokens=[(end, tokenizer.eos_token_id)],
        )
    side = "left" if text.truncation_side == "left" else str(tokenizer.truncation_side)
    native.no_padding()
    native.no_truncation()
    if side == "left":
        native.enable_truncation(1 << 30, direction=side)
    used: dict[str, Any] = json.loads(native.to_str())
    return used


def _mark(native: Tokenizer, marks: Sequence[str]) -> None:
    """Make the beginnings of texts one token each, where the vocabulary has them and would split
    them. They were put in as tokens, not as texts."""
    vocabulary = native.get_vocab(with_added_tokens=True)
    for mark in marks:
        for prefix in (mark, *mark.split(None, 1)[:1]):
            if not prefix.strip() or prefix not in vocabulary:
                continue
            if native.encode(prefix, add_special_tokens=False).tokens != [prefix]:
                native.add_special_tokens([AddedToken(prefix, normalized=False, special=True)])
            break


def _lowers(normalizer: Mapping[str, Any] | None) -> bool:
    """As the reference looks for it: a part that lower-cases, and nothing but that."""
    if normalizer is None:
        return False
    parts = normalizer.get("normalizers") or [normalizer]
    return any(part.get("type") == "Lowercase" for part in parts)


def _without_form(tokenizer: Mapping[str, Any]) -> dict[str, Any]:
    """A tokenizer's JSON in one form, without what the reader chooses."""
    native = Tokenizer.from_str(json.dumps(tokenizer))
    left = ((tokenizer.get("truncation") or {}).get("direction") or "right").lower() == "left"
    native.no_padding()
    native.no_truncation()
    plain: dict[str, Any] = json.loads(native.to_str())
    return plain | {"truncation": "left" if left else "right"}


def _require_vocabulary(folder: Path, names: Mapping[str, str]) -> None:
    wanted = [name for role, name in names.items() if role != "tokenizer_file"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"it is made of {', '.join(wanted)}, and {', '.join(missing)} is missing")
