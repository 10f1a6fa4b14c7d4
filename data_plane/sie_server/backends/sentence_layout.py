"""How a model folder says that sentence vectors are made.

*pure but for reading its files.* Reads the layout that sentence-transformers writes
(`modules.json`, a pooling folder, `sentence_bert_config.json`); a folder without it takes the
profile's options. A step that is not done here refuses the load: a vector is never made by half.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

from sie_schemas.documents import ProfileDocument
from sie_server.backend import load_failed

__all__ = ["PoolingMode", "SentenceLayout", "read_layout"]

PoolingMode: TypeAlias = Literal["mean", "cls", "last", "max", "mean_sqrt_len"]

_OPTIONS: Final = frozenset({"pooling", "normalize"})
_FLAGS: Final[Mapping[str, PoolingMode]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_lasttoken": "last",
}
_NAMES: Final[Mapping[str, PoolingMode]] = {
    "cls": "cls",
    "mean": "mean",
    "max": "max",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "lasttoken": "last",
}


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """`tokens_max` None where the layout sets no limit."""

    pooling: PoolingMode
    normalize: bool
    tokens_max: int | None
    prompts: Mapping[str, str]
    lowercase: bool


def read_layout(folder: Path, profile: ProfileDocument) -> SentenceLayout:
    """The layout of a folder, the profile's options over it. Raises MODEL_LOAD_FAILED."""
    unknown = sorted(profile.options.keys() - _OPTIONS)
    if unknown:
        raise load_failed(
            f"the backend transformer has no option {unknown[0]!r}; it has {sorted(_OPTIONS)}"
        )
    pooling, normalize = _steps(folder)
    sentence = _object(folder / "sentence_bert_config.json")
    prompts = _object(folder / "config_sentence_transformers.json").get("prompts") or {}
    return SentenceLayout(
        pooling=_pooling_option(profile, pooling),
        normalize=_normalize_option(profile, normalize),
        tokens_max=sentence.get("max_seq_length"),
        prompts={name: text for name, text in prompts.items() if text},
        lowercase=bool(sentence.get("do_lower_case")),
    )


def _steps(folder: Path) -> tuple[PoolingMode | None, bool]:
    """Pooling and normalisation as `modules.json` orders them."""
    pooling: PoolingMode | None = None
    normalize = False
    modules = _json(folder / "modules.json", [])
    for module in modules:
        # The type is an import path in every release; only its last word tells the step.
        match str(module.get("type", "")).rsplit(".", 1)[-1]:
            case "Transformer":
                if module.get("path"):
                    raise load_failed(f"{folder} keeps its transformer in a folder of its own")
            case "Pooling":
                pooling = _pooling(folder / str(module.get("path", "")) / "config.json")
            case "Normalize":
                normalize = True
            case other:
                raise load_failed(
                    f"{folder} makes its vectors with a step {other!r} that the backend "
                    "transformer does not do; use a model of Transformer, Pooling and Normalize"
                )
    return pooling, normalize


def _pooling(path: Path) -> PoolingMode:
    config = _object(path)
    if config.get("include_prompt") is False:
        raise load_failed(f"{path} leaves prompts out of the pooling, which is not done here")
    named = config.get("pooling_mode")
    if named is not None:
        modes = [_NAMES.get(name) for name in ([named] if isinstance(named, str) else named)]
    else:
        modes = [
            _FLAGS.get(name)
            for name, value in config.items()
            if name.startswith("pooling_mode_") and value
        ]
    if len(modes) != 1 or modes[0] is None:
        raise load_failed(
            f"{path} wants a pooling that is not done here; one of {sorted(_NAMES)} is"
        )
    return modes[0]


def _pooling_option(profile: ProfileDocument, found: PoolingMode | None) -> PoolingMode:
    value = profile.options.get("pooling", found)
    if value is None:
        raise load_failed(
            "the model's folder does not say how tokens are pooled; "
            f"set the profile's option `pooling` to one of {list(get_args(PoolingMode))}"
        )
    for mode in get_args(PoolingMode):
        if mode == value:
            known: PoolingMode = mode
            return known
    raise load_failed(f"option pooling is {value!r}; one of {list(get_args(PoolingMode))} is known")


def _normalize_option(profile: ProfileDocument, found: bool) -> bool:
    value = profile.options.get("normalize", found)
    if not isinstance(value, bool):
        raise load_failed(f"option normalize is {value!r}; true or false is wanted")
    return value


def _object(path: Path) -> dict[str, Any]:
    value = _json(path, {})
    if not isinstance(value, dict):
        raise load_failed(f"{path} does not hold a JSON object")
    return value


def _json(path: Path, absent: Any) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return absent
    except (OSError, ValueError) as error:
        raise load_failed(f"{path} cannot be read as JSON: {error}") from error
