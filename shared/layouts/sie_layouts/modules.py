"""The classes of modules that a `modules.json` may name, and the step that each stands for.

*pure.* A class is known by its last word, and only under `sentence_transformers`: a path elsewhere
is code of the model's own. Every class that the reference has is in one of the two tables; a test
enumerates them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sie_layouts.inputs.texts import bare_text
from sie_layouts.inputs.transformer import transformer_step
from sie_layouts.reader import Reader, joined
from sie_layouts.steps import (
    AutoEncoderStep,
    DenseStep,
    LayerNormStep,
    NormalizeStep,
    PoolingMode,
    PoolingStep,
    SpladeStep,
    StaticStep,
    Step,
    TokenWeightsStep,
)

__all__ = [
    "ACTIVATIONS",
    "DONE",
    "NOT_DONE",
    "dense_step",
    "module_name",
    "normalize_step",
    "read_module",
]

NOT_DONE: Final[Mapping[str, str]] = {
    "BoW": "counts words",
    "CLIPModel": "takes images and texts, in a layout that its release of transformers gave up",
    "CNN": "convolves word vectors",
    "HierarchicalTokenPooling": "makes a vector for each cluster of tokens",
    "LSTM": "runs a recurrent network",
    "LambdaTokenPooling": "makes vectors by a function that is no data",
    "LogitScore": "scores pairs",
    "MultiVectorMask": "makes a vector for each token",
    "WeightedLayerPooling": "weighs the states of all layers",
    "WordEmbeddings": "looks up words, which are split in a way of its own",
    "WordWeights": "weighs tokens by a list of words",
}
"""The classes of the reference that are no steps of a vector here, and what each does."""
ACTIVATIONS: Final = frozenset(
    {
        "CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "Identity",
        "LeakyReLU", "LogSigmoid", "Mish", "ReLU", "ReLU6", "RReLU", "SELU", "SiLU", "Sigmoid",
        "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink",
    }
)  # fmt: skip
"""Classes of `torch.nn` that take no arguments, hold no weights, and go number by number."""
_MODES: Final[Mapping[str, PoolingMode]] = {
    "cls": "cls",
    "max": "max",
    "mean": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weighted_mean",
    "lasttoken": "last",
}
_FLAGS: Final[Mapping[str, PoolingMode]] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
}
"""The older form, one flag for each mode, in the order in which their vectors are joined."""
_WEIGHTS: Final = "model.safetensors"


def module_name(reader: Reader, source: str, path: str) -> str | None:
    """The last word of a class of the reference; None, and a refusal, for any other class."""
    # A class elsewhere is code beside the weights: running it gives a stranger the worker.
    if path.startswith("sentence_transformers."):
        return path.rsplit(".", 1)[-1]
    reader.refuse(
        source,
        f"is {path!r}, code of the model's own, and none is run for a step",
        "use a model whose steps are those of sentence-transformers",
    )
    return None


def read_module(reader: Reader, source: str, name: str, folder: str) -> Step | None:
    """The step of a class; None where it changes nothing, or is refused."""
    if name == "Dropout":
        return None  # it drops nothing outside training
    read = DONE.get(name)
    if read is not None:
        return read(reader, folder)
    why = NOT_DONE.get(name)
    reader.refuse(
        source,
        f"names a step {name!r}, which is not done here{f': it {why}' if why else ''}; done are "
        f"{', '.join(sorted(DONE))}",
    )
    return None


def _transformer(reader: Reader, folder: str) -> Step:
    return transformer_step(reader, folder, task="feature-extraction")


def _masked_language(reader: Reader, folder: str) -> Step:
    return transformer_step(reader, folder, task="fill-mask")


def _pooling(reader: Reader, folder: str) -> Step:
    name, table = _config(reader, folder)
    wide = "embedding_dimension" if "embedding_dimension" in table else "word_embedding_dimension"
    known = {wide, "pooling_mode", "include_prompt", *_FLAGS}
    reader.refuse_others(name, table, known, "Pooling")
    modes = _modes(reader, name, table)
    reader.fact("pooling", " and ".join(modes), f"{name}: pooling_mode")
    return PoolingStep(
        modes=modes,
        width=reader.count(name, table, wide),
        include_prompt=_unless_null(reader, name, table, "include_prompt"),
    )


def _modes(reader: Reader, name: str, table: Mapping[str, Any]) -> tuple[PoolingMode, ...]:
    named = table.get("pooling_mode")
    if named is None:
        return tuple(mode for flag, mode in _FLAGS.items() if table.get(flag)) or ("mean",)
    wanted = [named] if isinstance(named, str) else named
    known = isinstance(wanted, list) and [_MODES.get(str(mode)) for mode in wanted]
    found = [mode for mode in known or [] if mode is not None]
    if not known or len(found) != len(wanted):
        reader.refuse(
            f"{name}: pooling_mode",
            f"is {named!r}, which is not done here; {', '.join(sorted(_MODES))} are",
        )
        return ("mean",)
    return tuple(found)


def dense_step(reader: Reader, folder: str, *, source: str = "sentence_embedding") -> DenseStep:
    """The step of a `Dense`, which reads `source` where its config does not say."""
    name, table = _config(reader, folder)
    source = reader.take(name, table, "module_input_name", str, source)
    step = DenseStep(
        file=joined(folder, _WEIGHTS),
        in_features=reader.count(name, table, "in_features"),
        out_features=reader.count(name, table, "out_features"),
        bias=_unless_null(reader, name, table, "bias"),
        activation=_activation(reader, name, table),
        residual=reader.take(name, table, "use_residual", bool, False),
        source=source,
        target=reader.take(name, table, "module_output_name", str, source),
    )
    reader.fact("dense", f"{step.in_features} to {step.out_features}, {step.activation}", f"{name}")
    return step


def _unless_null(reader: Reader, name: str, table: Mapping[str, Any], key: str) -> bool:
    """A flag that is true where it is absent. The reference takes a null that is written for no."""
    return reader.take(name, table, key, bool, key not in table)


def _activation(reader: Reader, name: str, table: Mapping[str, Any]) -> str:
    path = table.get("activation_function")
    # The class's own default. A null that is written is none, and refused below.
    if path is None and "activation_function" not in table:
        return "Tanh"
    word = str(path).rsplit(".", 1)[-1]
    if not str(path).startswith("torch.nn.") or word not in ACTIVATIONS:
        reader.refuse(
            f"{name}: activation_function",
            f"is {path!r}, which is not done here; of torch.nn, {', '.join(sorted(ACTIVATIONS))} "
            "are",
        )
        return "Identity"
    return word


def normalize_step(reader: Reader, folder: str) -> NormalizeStep:
    """The step of a `Normalize`."""
    name, table = _config(reader, folder)
    source = reader.take(name, table, "module_input_name", str, "sentence_embedding")
    target = reader.take(name, table, "module_output_name", str, source)
    return NormalizeStep(source, target)


def _layer_norm(reader: Reader, folder: str) -> Step:
    name, table = _config(reader, folder)
    reader.refuse_others(name, table, {"dimension"}, "LayerNorm")
    return LayerNormStep(joined(folder, _WEIGHTS), reader.count(name, table, "dimension"))


def _static(reader: Reader, folder: str) -> Step:
    return StaticStep(folder, bare_text(reader, folder, limited=False), joined(folder, _WEIGHTS))


def _token_weights(reader: Reader, folder: str) -> Step:
    name, table = _config(reader, folder)
    if table.get("path") is not None:
        reader.refuse(
            f"{name}: path",
            f"is {table['path']!r}: weights from a JSON file are not read here",
            "load the model with sentence-transformers and save it again",
        )
    reader.refuse_others(name, table, {"frozen", "path"}, "SparseStaticEmbedding")
    text = bare_text(reader, folder, limited=True)
    return TokenWeightsStep(folder, text, joined(folder, _WEIGHTS))


def _splade(reader: Reader, folder: str) -> Step:
    name, table = _config(reader, folder)
    known = {
        *("activation_function", "chunk_size", "embedding_dimension", "pooling_strategy"),
        "word_embedding_dimension",
    }
    reader.refuse_others(name, table, known, "SpladePooling")
    pooling = reader.take(name, table, "pooling_strategy", str, "max")
    activation = reader.take(name, table, "activation_function", str, "relu")
    if pooling not in ("max", "sum"):
        reader.refuse(f"{name}: pooling_strategy", f"is {pooling!r}; max and sum are done here")
    if activation not in ("relu", "log1p_relu"):
        reader.refuse(
            f"{name}: activation_function", f"is {activation!r}; relu and log1p_relu are done here"
        )
    return SpladeStep(
        "sum" if pooling == "sum" else "max",
        "log1p_relu" if activation == "log1p_relu" else "relu",
    )


def _auto_encoder(reader: Reader, folder: str) -> Step:
    name, table = _config(reader, folder)
    known = {"dead_threshold", "hidden_dim", "input_dim", "k", "k_aux", "normalize"}
    reader.refuse_others(name, table, known, "SparseAutoEncoder")
    filled = {"hidden_dim": 512, "k": 8, **table}
    return AutoEncoderStep(
        file=joined(folder, _WEIGHTS),
        in_features=reader.count(name, table, "input_dim"),
        width=reader.count(name, filled, "hidden_dim"),
        kept=reader.count(name, filled, "k"),
        normalize=reader.take(name, table, "normalize", bool, False),
    )


def _config(reader: Reader, folder: str) -> tuple[str, dict[str, Any]]:
    name = joined(folder, "config.json")
    return name, reader.table(name)


DONE: Final[Mapping[str, Callable[[Reader, str], Step]]] = {
    "Dense": dense_step,
    "LayerNorm": _layer_norm,
    "MLMTransformer": _masked_language,
    "Normalize": normalize_step,
    "Pooling": _pooling,
    "SparseAutoEncoder": _auto_encoder,
    "SparseStaticEmbedding": _token_weights,
    "SpladePooling": _splade,
    "StaticEmbedding": _static,
    "Transformer": _transformer,
}
"""The reader of each class that is done; `Dropout` is done by doing nothing."""
