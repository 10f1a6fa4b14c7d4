"""Model folders that nobody listed: drawn from a seed, and saved by the reference library.

A draw chooses a family, its config, its tokenizer, the steps behind it and the words in its files,
each from what published folders have. `draw` gives the folder and what was chosen, so that a seed
that fails says what it is.
"""

import json
import random
import shutil
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import (
    Dropout,
    LayerNorm,
    Pooling,
    StaticEmbedding,
)
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tests.support.conformance import save_small
from tests.support.small_tokenizers import small_tokenizer
from tokenizers import AddedToken

__all__ = ["Choices", "Drawn", "Kind", "bare_transformer", "draw", "plain_transformer"]

Kind = Literal["dense", "sparse", "score", "tokens", "images"]
T = TypeVar("T")

_WIDTH = 16
_SIZES: dict[str, Any] = {
    "hidden_size": _WIDTH,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 70,
}
_GROUPED = {**_SIZES, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}
_ACTIVATIONS = ("gelu", "relu", "gelu_new", "silu", "gelu_pytorch_tanh")
_EPSILONS = (1e-12, 1e-5, 1e-2)


class Choices(random.Random):
    """A random source that keeps what it chose, by name."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.made: dict[str, Any] = {}

    def one(self, name: str, options: Sequence[T]) -> T:
        """One of several."""
        chosen = self.choice(options)
        self.made[name] = chosen
        return chosen

    def maybe(self, name: str, share: float) -> bool:
        """True in this share of all cases."""
        chosen = self.random() < share
        if chosen:
            self.made[name] = True
        return chosen

    def words(self, table: Mapping[str, Sequence[Any]], share: float = 0.5) -> dict[str, Any]:
        """Some keys of a table, each with one of its values."""
        return {key: self.one(key, table[key]) for key in table if self.random() < share}


@dataclass(frozen=True)
class Drawn:
    """A folder, the kind of its answers, and the choices that made it."""

    folder: Path
    kind: Kind
    choices: Mapping[str, Any]


@dataclass(frozen=True)
class _Family:
    """A config class and a tokenizer class by their names without those words."""

    config: str
    tokenizer: str
    fixed: Mapping[str, Any] = field(default_factory=lambda: _SIZES)
    free: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    decodes: bool = False


_ABSOLUTE: Mapping[str, Sequence[Any]] = {
    "hidden_act": _ACTIVATIONS,
    "layer_norm_eps": _EPSILONS,
    "type_vocab_size": (1, 2, 3),
}
_OFFSET = {**_ABSOLUTE, "pad_token_id": (1, 3)}
_ROPE: Mapping[str, Sequence[Any]] = {
    "hidden_act": ("silu", "gelu", "relu"),
    "rms_norm_eps": (1e-6, 1e-3),
    "num_key_value_heads": (1, 2, 4),
    "rope_parameters": (
        {"rope_type": "default", "rope_theta": 100.0},
        {"rope_type": "linear", "rope_theta": 1000.0, "factor": 2.0},
        {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0,
         "original_max_position_embeddings": 16},
    ),
    "tie_word_embeddings": (True, False),
    "is_causal": (False, True),
    "attention_bias": (True, False),
}  # fmt: skip
_FAMILIES: Mapping[str, _Family] = {
    "bert": _Family("Bert", "Bert", free=_ABSOLUTE),
    "distilbert": _Family(
        "DistilBert", "DistilBert", {"dim": _WIDTH, "n_heads": 2, "hidden_dim": 24},
        {"activation": ("gelu", "relu"), "sinusoidal_pos_embds": (True, False),
         "max_position_embeddings": (40, 70)},
    ),
    "roberta": _Family("Roberta", "Roberta", free=_OFFSET),
    "xlm-roberta": _Family("XLMRoberta", "XLMRoberta", free=_OFFSET),
    "mpnet": _Family(
        "MPNet", "MPNet",
        free={"hidden_act": _ACTIVATIONS, "relative_attention_num_buckets": (8, 32),
              "pad_token_id": (1, 3)},
    ),
    "electra": _Family("Electra", "Bert", free={**_ABSOLUTE, "embedding_size": (8, 16)}),
    "albert": _Family(
        "Albert", "Albert", free={
            **_ABSOLUTE, "embedding_size": (8, 16), "num_hidden_groups": (1, 2),
            "inner_group_num": (1, 2),
        },
    ),
    "deberta-v2": _Family(
        "DebertaV2", "DebertaV2", free={
            "hidden_act": _ACTIVATIONS, "relative_attention": (True, False),
            "position_buckets": (-1, 8), "share_att_key": (True, False),
            "pos_att_type": (["p2c", "c2p"], ["c2p"], []), "type_vocab_size": (0, 2),
            "norm_rel_ebd": ("layer_norm", "none"), "position_biased_input": (True, False),
            "conv_kernel_size": (0, 3),
        },
    ),
    "modernbert": _Family(
        "ModernBert", "Roberta",
        {**_SIZES, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2, "cls_token_id": 0,
         "sep_token_id": 2},
        {"local_attention": (4, 8, 128), "global_attn_every_n_layers": (1, 2, 3),
         "attention_bias": (True, False), "norm_bias": (True, False), "mlp_bias": (True, False),
         "hidden_activation": ("gelu", "relu"), "classifier_pooling": ("cls", "mean"),
         "classifier_bias": (True, False), "decoder_bias": (True, False)},
    ),
    "gte": _Family("Gte", "Bert", free={"hidden_act": _ACTIVATIONS, "type_vocab_size": (0, 2)}),
    "eurobert": _Family(
        "EuroBert", "Llama", {**_GROUPED, "pad_token_id": 0},
        {key: _ROPE[key] for key in ("hidden_act", "num_key_value_heads", "rope_parameters")},
    ),
    "qwen2": _Family(
        "Qwen2", "Qwen2", {**_GROUPED, "pad_token_id": 0},
        {**_ROPE, "use_sliding_window": (True, False), "sliding_window": (5, 9),
         "max_window_layers": (0, 1)}, decodes=True,
    ),
    "qwen3": _Family(
        "Qwen3", "Qwen2", {**_GROUPED, "pad_token_id": 0},
        {**_ROPE, "use_sliding_window": (True, False), "sliding_window": (5, 9),
         "max_window_layers": (0, 1)}, decodes=True,
    ),
    "llama": _Family(
        "Llama", "Llama", {**_GROUPED, "pad_token_id": 0}, {**_ROPE, "mlp_bias": (True, False)},
        decodes=True,
    ),
    "mistral": _Family(
        "Mistral", "Llama", {**_GROUPED, "pad_token_id": 0},
        {**_ROPE, "sliding_window": (None, 5, 9)}, decodes=True,
    ),
    "gemma2": _Family(
        "Gemma2", "Gemma", {**_GROUPED, "pad_token_id": 0},
        {"attn_logit_softcapping": (None, 20.0), "query_pre_attn_scalar": (8, 64),
         "sliding_window": (5, 9)}, decodes=True,
    ),
    "gemma3": _Family(
        "Gemma3Text", "Gemma", {**_GROUPED, "pad_token_id": 0},
        {"use_bidirectional_attention": (True, False), "sliding_window": (5, 9),
         "query_pre_attn_scalar": (8, 64), "attn_logit_softcapping": (None, 20.0)}, decodes=True,
    ),
    "t5": _Family(
        "T5", "T5", {"d_model": _WIDTH, "d_kv": 8, "d_ff": 24, "num_heads": 2},
        {"feed_forward_proj": ("relu", "gated-gelu"), "relative_attention_num_buckets": (8, 32),
         "tie_word_embeddings": (True, False)},
    ),
    "convbert": _Family("ConvBert", "Bert", free={"hidden_act": _ACTIVATIONS}),
    "fnet": _Family("FNet", "Albert", free={"hidden_act": _ACTIVATIONS}),
}  # fmt: skip
_LAYERS = {"distilbert": "n_layers", "t5": "num_layers"}
_MASKED = ("bert", "distilbert", "roberta", "xlm-roberta", "mpnet", "electra", "modernbert",
           "albert", "deberta-v2", "convbert")  # fmt: skip
_SCORED = (*_MASKED, "gte", "qwen2", "qwen3", "llama", "gemma2", "mistral")
_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_CLASSES = ("GELU", "Identity", "LeakyReLU", "ReLU", "SiLU", "Sigmoid", "Softplus", "Tanh", "ELU")


def draw(seed: int, folder: Path) -> Drawn:
    """The folder of a seed, under `folder`."""
    choices = Choices(seed)
    torch.manual_seed(seed)
    kinds: tuple[Kind, ...] = ("dense", "dense", "dense", "dense", "sparse", "score", "tokens")
    kind = choices.one("kind", kinds)
    made = _MAKERS[kind](choices, folder)
    if kind in ("dense", "sparse"):
        _as_older_releases(choices, made)
    return Drawn(made, kind, choices.made)


def bare_transformer(choices: Choices, folder: Path) -> Path:
    """A transformer and its tokenizer, as transformers saves them."""
    return plain_transformer(choices, folder, tuple(_FAMILIES), _of_vectors)


# ---- a transformer and its tokenizer ------------------------------------------------------------


def plain_transformer(
    choices: Choices, folder: Path, names: Sequence[str], auto: Any, **more: Any
) -> Path:
    """One of these families and its tokenizer; `auto` gives the class for a config and family."""
    name = choices.one("family", names)
    family = _FAMILIES[name]
    tokenizer = _tokenizer(choices, family.tokenizer)
    layers = {_LAYERS.get(name, "num_hidden_layers"): choices.one("layers", (1, 2, 3))}
    given = {**family.fixed, **layers, **choices.words(family.free), **more}
    config = getattr(tf, f"{family.config}Config")(vocab_size=len(tokenizer), **given)
    chosen = auto(config, family)
    model = chosen.from_config(config)
    dtype = choices.one("weights", (torch.float32, torch.float32, torch.float16, torch.bfloat16))
    shards = {"max_shard_size": "6KB"} if choices.maybe("sharded", 0.2) else {}
    plain = save_small(folder / "plain", model.to(dtype), tokenizer, seed=3, **shards)
    _tokenizer_words(choices, plain)
    return plain


def _tokenizer(choices: Choices, name: str) -> Any:
    told = choices.words({"truncation_side": ("left", "right"), "padding_side": ("left", "right")})
    if name == "Roberta":
        told |= choices.words({"add_prefix_space": (True, False)})
    tokenizer = small_tokenizer(name, **told)
    if choices.maybe("added tokens", 0.3):
        flags = choices.words(
            dict.fromkeys(("lstrip", "rstrip", "single_word", "normalized"), (True, False))
        )
        tokenizer.add_tokens([AddedToken("river bank", special=False, **flags)])
        if choices.maybe("added special tokens", 0.5):
            tokenizer.add_tokens([AddedToken("[Q]", special=True, **flags)], special_tokens=True)
    return tokenizer


def _tokenizer_words(choices: Choices, folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    told = json.loads(path.read_text())
    limit = choices.one("model_max_length", (None, None, 9, 24, 40, 512, int(1e30)))
    told.pop("model_max_length", None)
    if limit is not None:
        told["model_max_length"] = limit
    if choices.maybe("without a padding token", 0.1):
        told.pop("pad_token", None)
    if choices.maybe("types as named", 0.4):
        names = ["input_ids", "token_type_ids", "attention_mask"]
        told["model_input_names"] = choices.one("inputs", (names, [names[0], names[2]]))
    if choices.maybe("template", 0.05):
        told["chat_template"] = "{{ messages[0]['content'] }}!"
    path.write_text(json.dumps(told))


# ---- what stands behind it ----------------------------------------------------------------------


def _dense_folder(choices: Choices, folder: Path) -> Path:
    first = choices.one("first", ("transformer", "transformer", "transformer", "bare", "static"))
    if first == "static":
        return _saved(choices, folder, [_static(choices)])
    plain = plain_transformer(choices, folder, tuple(_FAMILIES), _of_vectors)
    if first == "bare":
        _half(choices, plain)
        return plain
    return _saved(choices, folder, _steps(choices, _transformer(choices, plain)))


def _of_vectors(config: Any, family: _Family) -> Any:
    return tf.AutoModelForTextEncoding if family.config == "T5" else tf.AutoModel


def _half(choices: Choices, plain: Path) -> None:
    path = plain / "config.json"
    told = json.loads(path.read_text())
    told |= choices.words({"architectures": (None, ["BertModel"], ["Qwen2ForCausalLM"])}, 0.2)
    path.write_text(json.dumps(told))


def _static(choices: Choices) -> Any:
    tokenizer = small_tokenizer(choices.one("family", ("Bert", "XLMRoberta", "Roberta")))
    native = tokenizer.backend_tokenizer
    return StaticEmbedding(native, embedding_dim=_WIDTH)


def _transformer(choices: Choices, plain: Path, **options: Any) -> Transformer:
    told: dict[str, Any] = dict(options)
    told |= choices.words({"max_seq_length": (7, 24, 64, 100)}, 0.3)
    told |= choices.words({"do_lower_case": (True, False)}, 0.2)
    processor = choices.words(
        {"model_max_length": (8, 33), "truncation_side": ("left", "right"),
         "padding_side": ("left", "right")}, 0.15,
    )  # fmt: skip
    if processor:
        told["processor_kwargs"] = processor
    if choices.maybe("a limit of the call", 0.1):
        told["processing_kwargs"] = {"text": {"max_length": choices.one("max_length", (6, 30))}}
    made: Transformer = Transformer(str(plain), **told)
    return made


def _steps(choices: Choices, one: Transformer) -> list[torch.nn.Module]:
    width = one.get_embedding_dimension()
    steps: list[torch.nn.Module] = [one]
    for _ in range(choices.one("before the pooling", (0, 0, 0, 1, 2))):
        step, width = _step(choices, width, "token_embeddings")
        steps.append(step)
    modes = tuple(choices.sample(_MODES, choices.one("modes", (1, 1, 1, 2, 3))))
    choices.made["pooling"] = modes
    with_prompt = not choices.maybe("prompt left out", 0.25)
    given: Any = modes[0] if len(modes) == 1 else modes
    steps.append(Pooling(width, given, include_prompt=with_prompt))
    width *= len(modes)
    for _ in range(choices.one("after the pooling", (0, 0, 1, 1, 2, 3))):
        step, width = _step(choices, width, "sentence_embedding")
        steps.append(step)
    return steps


def _step(choices: Choices, width: int, feature: str) -> tuple[torch.nn.Module, int]:
    of_tokens = feature == "token_embeddings"
    kinds = ("Dense", "Dense", "Normalize", "Dropout", "LayerNorm")
    kind = choices.one(f"step {len(choices.made)}", kinds[: 3 if of_tokens else 5])
    if kind == "Dropout":
        return Dropout(0.4), width
    if kind == "LayerNorm":
        norm = LayerNorm(width)
        torch.nn.init.normal_(norm.norm.weight)
        return norm, width
    if kind == "Normalize":
        return (Normalize(feature) if of_tokens else Normalize()), width
    out = choices.one("out", (8, width, 24))
    named: dict[str, Any] = {"module_input_name": feature} if of_tokens else {}
    dense = Dense(
        width, out, bias=choices.one("bias", (True, False)),
        activation_function=getattr(torch.nn, choices.one("activation_function", _CLASSES))(),
        use_residual=choices.maybe("residual", 0.3), **named,
    )  # fmt: skip
    return dense, out


def _saved(
    choices: Choices, folder: Path, modules: list[torch.nn.Module], kind: Any = None
) -> Path:
    told: dict[str, Any] = {}
    if choices.maybe("prompts", 0.5):
        prompts = {"query": "query: ", "document": "text number one: ", "other": "it was not "}
        names = choices.sample(sorted(prompts), choices.one("prompts", (1, 2, 3)))
        told["prompts"] = {name: prompts[name] for name in names}
        if choices.maybe("default prompt", 0.4):
            told["default_prompt_name"] = choices.one("default_prompt_name", names)
    kind = kind or st.SentenceTransformer
    if kind is st.SentenceTransformer:
        told |= choices.words(
            {"truncate_dim": (3, 8), "similarity_fn_name": ("dot", "cosine")}, 0.2
        )
    if kind is st.SparseEncoder:
        told |= choices.words({"max_active_dims": (4, 20)}, 0.3)
    model = kind(modules=modules, device="cpu", **told)
    target = folder / "model"
    model.save(str(target), create_model_card=False)
    return target


def _sparse_folder(choices: Choices, folder: Path) -> Path:
    plain = plain_transformer(choices, folder, _MASKED, lambda *_: tf.AutoModelForMaskedLM)
    if choices.maybe("bare", 0.2):
        return plain
    one = _transformer(choices, plain, transformer_task="fill-mask")
    told = choices.words(
        {"pooling_strategy": ("max", "sum"), "activation_function": ("relu", "log1p_relu")}
    )
    return _saved(choices, folder, [one, SpladePooling(**told)], st.SparseEncoder)


def _score_folder(choices: Choices, folder: Path) -> Path:
    labels = choices.one("labels", (1, 1, 2, 3))
    plain = plain_transformer(
        choices, folder, _SCORED, lambda *_: tf.AutoModelForSequenceClassification,
        num_labels=labels,
    )  # fmt: skip
    if choices.maybe("bare", 0.3):
        return plain
    told: dict[str, Any] = choices.words({"max_length": (12, 40)}, 0.4)
    if choices.maybe("activation", 0.4):
        name = choices.one("activation_fn", ("Identity", "Sigmoid", "Tanh", "ReLU", "Softplus"))
        told["activation_fn"] = getattr(torch.nn, name)()
    if choices.maybe("prompts", 0.3):
        told["prompts"] = {"ask": "one two "}
        told["default_prompt_name"] = "ask"
    target = folder / "model"
    model = st.CrossEncoder(str(plain), device="cpu", model_kwargs={"dtype": "float32"}, **told)
    model.save(str(target), create_model_card=False)
    return target


def _tokens_folder(choices: Choices, folder: Path) -> Path:
    names = tuple(name for name in _FAMILIES if not _FAMILIES[name].decodes and name != "t5")
    plain = plain_transformer(choices, folder, names, _of_vectors)
    options: dict[str, Any] = {}
    if choices.maybe("expansion", 0.5):
        options["query_expansion"] = {
            "strategy": choices.one("strategy", ("fixed", "min")),
            "length": choices.one("length", (8, 20)),
            "attend": choices.one("attend", (True, False)),
        }
    options |= choices.words({"query_length": (9, 16), "document_length": (12, 30)}, 0.3)
    one = _transformer(choices, plain, **options)
    width = one.get_embedding_dimension()
    steps: list[torch.nn.Module] = [one]
    for _ in range(choices.one("layers behind", (0, 1, 1, 2))):
        step, width = _step(choices, width, "token_embeddings")
        steps.append(step)
    mask: dict[str, Any] = {}
    if choices.maybe("skipped", 0.5):
        mask["skiplist_words"] = choices.one("words", (list(string.punctuation), ["the", "river"]))
        mask |= choices.words({"skiplist_tasks": (["document"], ["query", "document"], "query")})
    steps += [MultiVectorMask(**mask), Normalize(module_input_name="token_embeddings")]
    return _saved(choices, folder, steps, st.MultiVectorEncoder)


# ---- the same as releases before wrote it -------------------------------------------------------


def _as_older_releases(choices: Choices, folder: Path) -> None:
    listed = folder / "modules.json"
    if not listed.is_file() or not choices.maybe("an older release", 0.3):
        return
    modules = json.loads(listed.read_text())
    for entry in modules:
        name = entry["type"].rsplit(".", 1)[-1]
        room = "sparse_encoder.models" if name.startswith("Splade") else "models"
        entry["type"] = f"sentence_transformers.{room}.{name}"
        config = folder / entry["path"] / "config.json"
        if name == "Pooling" and choices.maybe("flags", 0.7):
            config.write_text(json.dumps(_flags(json.loads(config.read_text()))))
    listed.write_text(json.dumps(modules))
    settings = folder / "config_sentence_transformers.json"
    if settings.is_file() and choices.maybe("without its type", 0.5):
        told = json.loads(settings.read_text())
        if told.get("model_type") == "SentenceTransformer":
            told.pop("model_type")
        settings.write_text(json.dumps(told))
    if choices.maybe("in a folder of its own", 0.4) and modules[0]["path"] == "":
        _moved(folder, modules)
        listed.write_text(json.dumps(modules))


def _flags(pooling: Mapping[str, Any]) -> dict[str, Any]:
    modes = pooling["pooling_mode"]
    modes = [modes] if isinstance(modes, str) else modes
    flags = {
        "cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens",
        "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
        "weightedmean": "weightedmean_tokens", "lasttoken": "lasttoken",
    }  # fmt: skip
    return {
        "word_embedding_dimension": pooling["embedding_dimension"],
        "include_prompt": pooling.get("include_prompt", True),
        **{f"pooling_mode_{flag}": mode in modes for mode, flag in flags.items()},
    }


def _moved(folder: Path, modules: list[dict[str, Any]]) -> None:
    inside = folder / "0_Transformer"
    inside.mkdir()
    for path in [path for path in folder.iterdir() if path.is_file()]:
        if not path.name.startswith(("modules", "config_sentence")):
            shutil.move(path, inside / path.name)
    modules[0]["path"] = "0_Transformer"


_MAKERS: Mapping[Kind, Callable[[Choices, Path], Path]] = {
    "dense": _dense_folder,
    "score": _score_folder,
    "sparse": _sparse_folder,
    "tokens": _tokens_folder,
}
