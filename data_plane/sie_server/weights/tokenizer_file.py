"""A model's tokenizer as one `tokenizer.json` that the sidecar can read.

*shell* over the model's folder and a cache. Promises a path and the SHA-256 of its bytes. A folder
that has only a slow tokenizer's files is converted once, into the cache; one that lacks them too is
refused, for transformers would make a tokenizer that knows no word. Truncation and padding that the
file may carry are the reader's to switch off.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from sie_server.failures import load_failed

__all__ = [
    "TokenizerFile",
    "read_tokenizer",
    "require_lowercase",
    "require_room",
    "tokenizer_file",
    "tokenizer_gives_types",
]


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """The tokenizer's path, and the hash of its bytes."""

    path: Path
    sha256: str


def tokenizer_file(folder: Path, cache_folder: Path) -> TokenizerFile:
    """The tokenizer of a model folder, converted if need be. Raises MODEL_LOAD_FAILED."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        path = _converted(folder, cache_folder)
    return TokenizerFile(path, hashlib.sha256(path.read_bytes()).hexdigest())


def read_tokenizer(path: Path, *, tokens_max: int, stride: int = 0) -> Tokenizer:
    """A tokenizer that cuts at `tokens_max`; where it does, `stride` tokens are in both parts.

    Raises MODEL_LOAD_FAILED.
    """
    tokenizer = _read(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(tokens_max, stride=stride)
    return tokenizer


def require_room(path: Path, tokens_max: int, *, is_pair: bool) -> None:
    """Refuse a length that the tokenizer's own tokens fill: every text would be cut to none.

    Raises MODEL_LOAD_FAILED.
    """
    own = _read(path).num_special_tokens_to_add(is_pair)
    texts = 2 if is_pair else 1
    if tokens_max < own + texts:
        raise load_failed(
            f"a length of {tokens_max} tokens leaves no room for text: the tokenizer puts {own} of "
            f"its own around it; set the profile's max_sequence_length to {own + texts} or more"
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
    except Exception as error:  # the native library raises no narrower class
        raise load_failed(f"{path} cannot be read: {error}; restore it") from error


def _converted(folder: Path, cache_folder: Path) -> Path:
    # Keyed by what it is made from: another revision in the same folder is another tokenizer.
    key = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.is_file() and path.suffix in {".txt", ".model", ".json"}:
            key.update(path.name.encode() + b"\0" + path.read_bytes())
    made = cache_folder.expanduser() / "tokenizers" / key.hexdigest() / "tokenizer.json"
    if made.is_file():
        return made
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, use_fast=True, local_files_only=True, trust_remote_code=False
        )
        _require_vocabulary(folder, tokenizer.vocab_files_names)
        text = tokenizer.backend_tokenizer.to_str()
    except (OSError, ValueError, ImportError, AttributeError, KeyError) as error:
        raise load_failed(
            f"{folder} has no tokenizer.json, and its tokenizer cannot be converted: {error}; "
            "add a tokenizer.json to the source"
        ) from error
    made.parent.mkdir(parents=True, exist_ok=True)
    fresh = made.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    # A crash before the rename leaves only a file that the next conversion overwrites.
    fresh.replace(made)
    return made


def _require_vocabulary(folder: Path, names: Mapping[str, str]) -> None:
    wanted = [name for role, name in names.items() if role != "tokenizer_file"]
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise ValueError(f"it is made of {', '.join(wanted)}, and {', '.join(missing)} is missing")


def require_lowercase(path: Path) -> None:
    """The model wants lower-cased text: refuse a tokenizer that keeps capitals."""
    normalizer = _read(path).normalizer
    if normalizer is None or normalizer.normalize_str("A") != "a":
        raise load_failed(
            f"the model wants lower-cased text (do_lower_case) and {path} keeps capitals; "
            "add a lower-casing normalizer to its tokenizer.json"
        )
