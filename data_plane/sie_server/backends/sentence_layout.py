"""The layout of sentence vectors, as a model folder states it.

*shell.* It only reads: the layout that sentence-transformers writes
(`modules.json`, a pooling folder, `sentence_bert_config.json`); a folder without it takes the
profile's options. A step that is not done here refuses the load: a vector is never made by half.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

import msgspec

from sie_schemas.documents import ProfileDocument
from sie_server.backends.backend import load_failed

__all__ = ["DenseStep", "PoolingMode", "SentenceLayout", "read_layout"]

PoolingMode: TypeAlias = Literal["mean", "cls", "last", "max", "mean_sqrt_len"]

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
class DenseStep:
    """A linear layer after the pooling: its weights' file inside the folder, and what follows."""

    file: str
    activation: Literal["identity", "tanh"]


@dataclass(frozen=True, slots=True)
class SentenceLayout:
    """`tokens_max` None where the layout sets no limit."""

    pooling: PoolingMode
    normalize: bool
    tokens_max: int | None
    prompts: Mapping[str, str]
    lowercase: bool
    dense: tuple[DenseStep, ...] = ()


_Content = TypeVar("_Content")


class _Module(msgspec.Struct):
    """An entry of `modules.json`."""

    type: str
    path: str = ""


class _SentenceFile(msgspec.Struct):
    """`sentence_bert_config.json`, as far as it is read."""

    max_seq_length: int | None = None
    do_lower_case: bool = False


class _PromptsFile(msgspec.Struct):
    """`config_sentence_transformers.json`, as far as it is read."""

    prompts: dict[str, str | None] | None = None


class _DenseFile(msgspec.Struct):
    """The config of a `Dense`, as far as it is read: the rest is the shape of its weights."""

    activation_function: str = "Identity"


@dataclass(frozen=True, slots=True)
class _Steps:
    pooling: PoolingMode | None = None
    dense: tuple[DenseStep, ...] = ()
    normalize: bool = False


def read_layout(folder: Path, profile: ProfileDocument) -> SentenceLayout:
    """The layout of a folder, the profile's options over it. Raises MODEL_LOAD_FAILED."""
    steps = _steps(folder)
    sentence = _read(folder / "sentence_bert_config.json", _SentenceFile, _SentenceFile())
    prompts = _prompts(folder, profile)
    return SentenceLayout(
        pooling=_pooling_option(profile, steps.pooling),
        normalize=_normalize_option(profile, steps.normalize),
        tokens_max=sentence.max_seq_length,
        prompts=prompts,
        lowercase=sentence.do_lower_case,
        dense=steps.dense,
    )


def _prompts(folder: Path, profile: ProfileDocument) -> dict[str, str]:
    """The folder's prompts; the profile may choose the one of queries and that of documents."""
    file = _read(folder / "config_sentence_transformers.json", _PromptsFile, _PromptsFile())
    given = file.prompts or {}
    prompts = {name: text for name, text in given.items() if text}
    chosen = {
        name: str(profile.options[f"{name}_prompt"])
        for name in ("query", "document")
        if f"{name}_prompt" in profile.options
    }
    for name, wanted in chosen.items():
        if wanted not in given:
            raise load_failed(
                f"option {name}_prompt is {wanted!r}; {folder} has the prompts {sorted(given)}"
            )
    return prompts | {name: given[wanted] or "" for name, wanted in chosen.items()}


def _steps(folder: Path) -> _Steps:
    """Pooling, linear layers and normalisation as `modules.json` orders them."""
    steps = _Steps()
    for module in _read(folder / "modules.json", list[_Module], []):
        path = module.path
        # The type is an import path in every release; only its last word tells the step.
        match module.type.rsplit(".", 1)[-1]:
            case "Transformer":
                if path:
                    raise load_failed(
                        f"{folder} keeps its transformer in {path}, as old releases of "
                        "sentence-transformers did; load it with a new one and save it again"
                    )
            case "Pooling":
                steps = replace(steps, pooling=_pooling(folder / path / "config.json"))
            case "Dense" if not steps.normalize:
                steps = replace(steps, dense=(*steps.dense, _dense(folder, path)))
            case "Normalize":
                steps = replace(steps, normalize=True)
            case other:
                raise load_failed(
                    f"{folder} makes its vectors with a step {other!r} that the backend "
                    "transformer does not do there; it does Transformer, Pooling, Dense and "
                    "Normalize, in this order"
                )
    return steps


def _dense(folder: Path, path: str) -> DenseStep:
    named = _read(folder / path / "config.json", _DenseFile, _DenseFile())
    match named.activation_function.rsplit(".", 1)[-1]:
        case "Identity":
            return DenseStep(f"{path}/model.safetensors", "identity")
        case "Tanh":
            return DenseStep(f"{path}/model.safetensors", "tanh")
        case other:
            raise load_failed(
                f"{folder / path} ends in {other!r}, which is not done here; Identity and Tanh are"
            )


def _pooling(path: Path) -> PoolingMode:
    config = _read(path, dict[str, Any], {})
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


def _read(path: Path, kind: type[_Content], absent: _Content) -> _Content:
    """A JSON file of the layout. Raises MODEL_LOAD_FAILED with the place that is wrong."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return absent
    except (OSError, msgspec.MsgspecError) as error:
        raise load_failed(
            f"{path} is not as sentence-transformers writes it: {error}; restore the file"
        ) from error
