"""A transformers model from a verified folder: safetensors, nothing random, no code of a model.

*device* over transformers' loading. Promises that every weight that is used came from a pinned
file; what transformers would make up is refused. A model's own code runs only where the operator
allows its revision, and only the code that lies in that revision.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTextEncoding,
    AutoModelForTokenClassification,
    PreTrainedModel,
)

from sie_layouts.architectures.published import (
    BY_CODE,
    LOOKS_BOTH_WAYS,
    ConfigJson,
    looks_by_code,
)
from sie_layouts.architectures.tensors.declared import lacking
from sie_layouts.architectures.tensors.factors import ADAPTER_FILE
from sie_layouts.architectures.tensors.families import Head
from sie_layouts.architectures.unrunnable import unnamed_labels
from sie_layouts.folder import FolderFiles
from sie_layouts.steps import TaskLayout
from sie_server.adapters.lora import Adapter
from sie_server.adapters.task_changes import read_task_changes
from sie_server.backends.architectures.big_bird import keep_attention
from sie_server.backends.architectures.published import Architecture, architecture_of
from sie_server.backends.backend import DeviceSpec, ModelSpec, load_failed
from sie_server.device.choice import Choice, choose_dtype
from sie_server.device.cuda import cuda_multiplies_bfloat16
from sie_server.packed.prepacked import multiplies_bfloat16
from sie_server.weights.own_tensors import own_model
from sie_server.weights.sources import Weights

__all__ = [
    "backbone_of",
    "dtype_choice",
    "encoder_kind",
    "has_own_code",
    "label_names",
    "load_model",
    "task_changes",
]

_DTYPES: Final = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LOADING_FAILS: Final = (
    ArithmeticError,
    AssertionError,
    ImportError,
    OSError,
    ValueError,
    LookupError,
    RuntimeError,
    AttributeError,
    TypeError,
    SafetensorError,
    StrictDataclassError,
)
"""The exceptions that transformers raises of files that are not what they should be."""
_HEADS: Final[Mapping[Any, Head]] = {
    AutoModel: "none",
    AutoModelForCausalLM: "decoder",
    AutoModelForMaskedLM: "masked_language",
    AutoModelForSequenceClassification: "classes",
    AutoModelForTextEncoding: "none",
    AutoModelForTokenClassification: "tokens",
}
_ALSO_DECODE: Final = frozenset({"t5", "mt5", "umt5"})
"""Families of which only the encoder is wanted."""
_WEIGHTS: Final = "model.safetensors"
_INDEX: Final = "model.safetensors.index.json"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A model as it is to be read: from which files, by which Auto class, as which type."""

    weights: Weights
    kind: Any
    dtype: torch.dtype
    files: Sequence[Path]
    config_options: Mapping[str, Any]
    runs_own_code: bool


def load_model(
    spec: ModelSpec,
    device: DeviceSpec,
    kind: Any,
    *,
    may_lack: tuple[str, ...] = (),
    takes_own_code: bool = False,
    config_options: Mapping[str, Any] = MappingProxyType({}),
) -> PreTrainedModel:
    """Load with one of transformers' Auto classes. Raises MODEL_LOAD_FAILED.

    `may_lack` are prefixes of weights that are not used, and may be missing. `takes_own_code`
    says that the caller can run a model of a class that nobody here knows. `config_options` stand
    for values of its config.json.
    """
    runs_own_code = takes_own_code and has_own_code(spec.weights)
    _refuse_unasked(spec.weights, kind, runs_own_code=runs_own_code)
    files = _weight_files(spec.weights)
    if not runs_own_code:
        _require_declared(spec.weights, kind, config_options)
    dtype = _DTYPES[dtype_choice(spec, device).name]
    place = torch.device(device.name)
    changed = tuple(sorted(config_options.items()))
    key = (spec.weights.folder, spec.revision, kind, dtype, *changed)
    model = device.skeletons.revive(key, files, place)
    if model is None:
        wanted = _Wanted(spec.weights, kind, dtype, files, config_options, runs_own_code)
        try:
            made, info = _made(wanted)
        except _LOADING_FAILS as error:
            raise load_failed(
                f"transformers cannot load {spec.weights.folder}: {error}; "
                f"{_cure(spec, error, takes_own_code)}"
            ) from error
        _require_complete(spec.weights.folder.name, info, may_lack)
        _settle_answers(made.config)
        model = made.to(place).eval().requires_grad_(False)
        if not runs_own_code:
            # Code of the model's own may make it in another way each time.
            device.skeletons.saw(key, model, files)
    own_model(model, spec.weights)
    keep_attention(model)
    return model


def _refuse_unasked(weights: Weights, kind: Any, *, runs_own_code: bool) -> None:
    """Refuse what transformers would do without being asked. Raises MODEL_LOAD_FAILED."""
    # transformers puts it on, or not, by whether peft is installed.
    if (weights.folder / ADAPTER_FILE).is_file():
        raise load_failed(
            f"{weights.folder} holds an {ADAPTER_FILE}, which transformers would put on the "
            "model unasked; merge it into the model, or register it as an adapter"
        )
    hub_name = weights.hub_name
    if kind is AutoModel and not runs_own_code and looks_by_code(_config(weights), hub_name):
        raise load_failed(
            f"auto_map in config.json {BY_CODE}; that code runs only where an operator allows it: "
            "read it, then start this worker's sie-server with "
            f"SIE_SERVER_REMOTE_CODE_MODELS={hub_name or 'ID@COMMIT'}"
        )


def _settle_answers(config: Any) -> None:
    """Settle what a config.json says of answers, as sentence-transformers does."""
    # They are read by name.
    config.return_dict = True
    # Nothing is continued. A cache also looks at values that the model itself passes over.
    if hasattr(config, "use_cache"):
        config.use_cache = False


def _require_declared(weights: Weights, kind: Any, config_options: ConfigJson) -> None:
    """Refuse what `sie add` would have refused, in its words: files change."""
    head = _HEADS.get(kind)
    found = lacking(FolderFiles(weights.folder), "", head, config_options) if head else ()
    if found:
        raise load_failed("; ".join(map(str, found)))


def encoder_kind(weights: Weights) -> Any:
    """The Auto class that gives a folder's encoder, without a decoder that it may have."""
    also_decodes = str(_config(weights).get("model_type")) in _ALSO_DECODE
    return AutoModelForTextEncoding if also_decodes else AutoModel


def _made(wanted: _Wanted) -> tuple[Any, dict[str, Any]]:
    """The model, and what transformers tells of its weights."""
    known = architecture_of(_config(wanted.weights))
    if known is None:
        return _by_transformers(wanted)
    if wanted.kind not in known.kinds:
        raise load_failed(
            f"{wanted.kind.__name__} is not done for {known.family}: give the model another task"
        )
    return _by_class(wanted, known)


def _by_transformers(wanted: _Wanted) -> tuple[Any, dict[str, Any]]:
    """Load what transformers knows, or what a folder's own code makes."""
    folder, config = wanted.weights.folder, {}
    both_ways = wanted.weights.hub_name in LOOKS_BOTH_WAYS and not wanted.runs_own_code
    if wanted.config_options or both_ways or _names_attention(_config(wanted.weights)):
        made = AutoConfig.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=wanted.runs_own_code,
            **wanted.config_options,
        )
        # The kernel is the device's choice, whatever the file names.
        made._attn_implementation = None
        if both_ways:
            made.is_causal = False
        config = {"config": made}
    found: tuple[Any, dict[str, Any]] = wanted.kind.from_pretrained(
        folder,
        **config,
        dtype=wanted.dtype,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=wanted.runs_own_code,
        output_loading_info=True,
    )
    return found


def _names_attention(config: ConfigJson) -> bool:
    """True of a config.json that names a kernel, which is the device's: they compute the same."""
    return any(config.get(f"{start}attn_implementation") for start in ("", "_"))


def _by_class(wanted: _Wanted, known: Architecture) -> tuple[Any, dict[str, Any]]:
    """Load an architecture that is published as code, by a class that is known here."""
    tensors = {} if known.classes is None else _tensors(wanted.files)
    config = known.config_of(tensors)
    config.update(dict(wanted.config_options))
    found: tuple[Any, dict[str, Any]]
    if known.classes is None:
        found = wanted.kind.from_pretrained(
            wanted.weights.folder,
            config=config,
            dtype=wanted.dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    else:
        made: Any = known.classes[wanted.kind]
        state = dict(known.named(tensors))
        found = made.from_pretrained(
            None, config=config, state_dict=state, dtype=wanted.dtype, output_loading_info=True
        )
    return found


def _tensors(files: Sequence[Path]) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for path in files:
        with safe_open(path, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return found


def has_own_code(weights: Weights) -> bool:
    """True if the model is made by code of its own, and may be. Raises MODEL_LOAD_FAILED.

    What it may not run is left to transformers: it may know the architecture by itself.
    """
    code = _own_code(weights)
    foreign = [name for name in code if "--" in name]
    # The operator has read one commit, and allowed that.
    if weights.may_run_code and foreign:
        raise load_failed(
            f"{weights.hub_name} takes code from another repository ({foreign[0]}), which its "
            "commit does not pin: only code that lies in the allowed revision itself is run"
        )
    return weights.may_run_code and bool(code)


def _own_code(weights: Weights) -> list[str]:
    """The classes that config.json names, as `module.Class` or `repository--module.Class`.

    None of an architecture that transformers has by itself under another name.
    """
    config = _config(weights)
    named = None if architecture_of(config) is not None else config.get("auto_map")
    return [str(name) for name in named.values()] if isinstance(named, dict) else []


def _config(weights: Weights) -> dict[str, Any]:
    """The contents of config.json; empty where it does not read, which transformers then tells."""
    try:
        config = json.loads((weights.folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _cure(spec: ModelSpec, error: Exception, takes_own_code: bool) -> str:
    if isinstance(error, SafetensorError):
        return "a file of weights is damaged or cut short: restore it"
    if "model_type" not in _config(spec.weights):
        return "config.json is missing, or is none of transformers: restore it"
    if not _own_code(spec.weights):
        return (
            "mend config.json, if it was edited, or choose a model of an architecture that "
            "transformers itself knows, with its weights as safetensors"
        )
    said = "the model needs code of its own (auto_map in config.json), "
    if not takes_own_code:
        return f"{said}and the backend {spec.profile.backend} runs none"
    if spec.weights.may_run_code:
        return f"{said}which is allowed, and failed: read what it says"
    if not spec.weights.hub_name:
        return f"{said}which runs only from a hub source, whose revision an operator can allow"
    return (
        f"{said}which runs only where the operator allows it: read that code, then start this "
        f"worker's sie-server with SIE_SERVER_REMOTE_CODE_MODELS={spec.weights.hub_name}"
    )


def dtype_choice(spec: ModelSpec, device: DeviceSpec) -> Choice:
    """The type that a model computes in on a device, and why."""
    # A CPU without the instructions multiplies bfloat16 at 2 GFLOP/s, and float32 at 63.
    on_cuda = device.name.startswith("cuda")
    return choose_dtype(
        spec.profile.dtype,
        device.name,
        multiplies_bfloat16=cuda_multiplies_bfloat16() if on_cuda else multiplies_bfloat16(),
        family=_family(_config(spec.weights)),
    )


def _family(config: ConfigJson) -> str:
    known = architecture_of(config)
    return known.family if known is not None else str(config.get("model_type") or "")


def task_changes(
    weights: Weights, model: PreTrainedModel, tasks: TaskLayout | None
) -> Mapping[str, Adapter]:
    """The changes that its weights hold for each of its tasks. Raises MODEL_LOAD_FAILED."""
    known = architecture_of(_config(weights))
    if tasks is None or known is None:
        return {}
    return read_task_changes(_weight_files(weights), model, tasks, known.named)


def label_names(model: PreTrainedModel) -> list[str]:
    """The label of each logit. Raises MODEL_LOAD_FAILED where one has no name."""
    named = {int(place): str(name) for place, name in (model.config.id2label or {}).items()}
    found = tuple(unnamed_labels("config.json", {"id2label": named}))
    if found:
        raise load_failed("; ".join(map(str, found)))
    return [named[place] for place in sorted(named)]


def backbone_of(model: PreTrainedModel) -> PreTrainedModel:
    """The encoder inside a model with a head."""
    backbone = model.base_model
    if not isinstance(backbone, PreTrainedModel):
        raise load_failed(f"{type(model).__name__} has no encoder of its own inside it")
    return backbone


def _weight_files(weights: Weights) -> list[Path]:
    """The files that transformers takes the weights from: one, or the shards of an index."""
    sharded = (weights.folder / _INDEX).is_file() and not (weights.folder / _WEIGHTS).is_file()
    main = str(_config(weights).get("transformers_weights") or (_INDEX if sharded else _WEIGHTS))
    if not main.endswith(".index.json"):
        return [weights.file(main, cure="weights are read as safetensors only: convert them")]
    path = weights.folder / main
    try:
        shards = set(json.loads(path.read_bytes())["weight_map"].values())
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise load_failed(f"{path} is no index of weights: {error!r}; restore it") from error
    return [weights.file(str(shard)) for shard in sorted(shards)]


def _require_complete(name: str, info: dict[str, Any], may_lack: tuple[str, ...]) -> None:
    """A weight that is missing would be random."""
    # transformers fills them with random numbers, and warns.
    missing = sorted(key for key in info["missing_keys"] if not key.startswith(may_lack))
    if missing or info.get("mismatched_keys"):
        raise load_failed(
            f"the weights in {name} lack {len(missing)} tensors of the model, {missing[:1]} first; "
            "they would be random: restore the file"
        )
