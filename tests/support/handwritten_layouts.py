"""Model folders whose small files somebody wrote: poolings, layers, tables, settings, words.

A drawn folder (`random_layouts`) has one of its files written anew from what such files may hold,
in older and newer forms, with values that contradict each other and with nulls. Tables are those of
model2vec, which another library writes.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import sentence_transformers as st
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tests.support.random_layouts import Choices, Drawn, bare_transformer, draw
from tests.support.small_tokenizers import small_tokenizer

__all__ = ["draw_handwritten"]

_ROOM: Final = "sentence_transformers.models"
_MODES: Final = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
_FLAGS: Final = tuple(
    f"pooling_mode_{name}"
    for name in ("cls_token", "max_tokens", "mean_tokens", "mean_sqrt_len_tokens",
                 "weightedmean_tokens", "lasttoken")
)  # fmt: skip
_PROMPTS: Final[tuple[dict[str, Any], ...]] = (
    {},
    {"query": "query: ", "document": "doc\u200b "},
    {"query": "Ünï \u0301", "document": "passage:\n"},
    {"query": "  the ", "document": "a\u3000"},
    {"query": None},
)
_ACTIVATIONS: Final = (
    "torch.nn.Tanh", "torch.nn.modules.linear.Identity", "torch.nn.functional.relu", "torch.tanh",
    "torch.nn.PReLU", "torch.nn.Softmax", "torch.nn.modules.activation.Hardswish", "torch.nn.GLU",
    "transformers.activations.GELUActivation", "", None, "torch.nn.Mish", "torch.nn.LayerNorm",
)  # fmt: skip
_CONFIG: Final[Mapping[str, tuple[Any, ...]]] = {
    "attention_probs_dropout_prob": (0.5,), "bos_token_id": (None,), "dtype": ("auto", "float32"),
    "eos_token_id": (3, [3, 4], None), "gradient_checkpointing": (True,), "head_dim": (8,),
    "is_causal": (True, False), "is_decoder": (True, False), "layer_types": (None,),
    "output_attentions": (True,), "output_hidden_states": (True,), "pad_token_id": (0, 2, None),
    "problem_type": ("regression", None), "pruned_heads": ({"0": [0]},), "return_dict": (False,),
    "rope_theta": (50.0,), "sparse_prediction": (True,), "tie_word_embeddings": (False, True),
    "torchscript": (True,), "use_bidirectional_attention": (True,), "use_cache": (True, False),
}  # fmt: skip
_TOKENIZER: Final[Mapping[str, tuple[Any, ...]]] = {
    "add_bos_token": (True, False), "add_eos_token": (True, False), "cls_token": ("cat",),
    "do_lower_case": (True, False), "eos_token": ("dog", None), "mask_token": ("the",),
    "max_length": (6,), "pad_to_multiple_of": (8,), "pad_token": ("<pad>", "mat", None),
    "padding": ("max_length",), "sep_token": ("bank",), "strip_accents": (True, False),
    "tokenizer_class": (None, "PreTrainedTokenizerFast", "LlamaTokenizer", "TokenizersBackend"),
    "truncation_side": ("left",), "unk_token": ("blue",),
}  # fmt: skip
_SETTINGS: Final[Mapping[str, tuple[Any, ...]]] = {
    "default_prompt_name": ("query", "b", ""), "hello": (1,), "max_active_dims": (1, 5000, None),
    "model_type": ("SentenceTransformer", "SparseEncoder", None, "X"), "prompts": _PROMPTS,
    "similarity_fn_name": ("dot", "manhattan", None), "truncate_dim": (1, 500, None, 0),
}  # fmt: skip
_OWN_SETTINGS: Final[tuple[dict[str, Any], ...]] = (
    {"max_seq_length": 3, "do_lower_case": True}, {"max_seq_length": None, "do_lower_case": None},
    {"model_args": {"torch_dtype": "float16"}}, {"tokenizer_args": {"add_eos_token": True}},
    {"config_args": {"hidden_act": "relu"}}, {"config_args": {"is_causal": False}},
    {"backend": "onnx"}, {},
)  # fmt: skip


def draw_handwritten(seed: int, folder: Path) -> Drawn:
    """The folder of a seed, under `folder`."""
    choices = Choices(seed)
    torch.manual_seed(seed)
    what = choices.one("written", tuple(_MAKERS))
    return _MAKERS[what](choices, folder)


def _pooling(choices: Choices, folder: Path) -> Drawn:
    made = _saved(choices, folder)
    width = {choices.one("width", ("word_embedding_dimension", "embedding_dimension")): 16}
    chosen = choices.sample(_FLAGS, choices.one("flags", (0, 1, 1, 2, 3)))
    flags = {flag: flag in chosen for flag in choices.sample(_FLAGS, len(_FLAGS))}
    modes = choices.sample(_MODES, 2)
    told: dict[str, Any] = choices.one(
        "pooling",
        (
            flags, {"pooling_mode": modes[0]}, {"pooling_mode": modes},
            flags | {"pooling_mode": modes[0]}, {"pooling_mode": modes[0].upper()},
            {"pooling_mode": ["mean", "mean"]},
        ),
    )  # fmt: skip
    told = {**width, **told, **choices.words({"include_prompt": (True, False, None)})}
    (made / "1_Pooling/config.json").write_text(json.dumps(told))
    for file in made.rglob("tokenizer_config.json"):
        _write(file, choices.words({"padding_side": ("left", "right")}))
    _write(
        made / "config_sentence_transformers.json", {"prompts": choices.one("prompts", _PROMPTS)}
    )
    return Drawn(made, "dense", choices.made)


def _layer(choices: Choices, folder: Path) -> Drawn:
    bias = choices.one("bias", (True, False))
    made = _saved(choices, folder, Dense(16, choices.one("out", (8, 16)), bias=bias))
    words = {"activation_function": _ACTIVATIONS, "use_residual": (None,)}
    told: dict[str, Any] = choices.words(words, 0.8)
    if not bias and choices.maybe("a null", 0.5):
        told["bias"] = None
    _write(made / "2_Dense/config.json", told)
    return Drawn(made, "dense", choices.made)


def _table(choices: Choices, folder: Path) -> Drawn:
    folder.mkdir(exist_ok=True)
    families = ("Bert", "XLMRoberta", "Roberta", "Qwen2", "MPNet", "T5")
    native = small_tokenizer(choices.one("family", families)).backend_tokenizer
    native.save(str(folder / "tokenizer.json"))
    size = native.get_vocab_size()
    dtype = choices.one("type", (torch.float32, torch.float16))
    tensors = {
        choices.one("name", ("embeddings", "embedding.weight")): torch.randn(size, 8).to(dtype)
    }
    if choices.maybe("weighed", 0.4):
        tensors["weights"] = torch.rand(size)
    save_file(tensors, folder / "model.safetensors")
    listed = [("StaticEmbedding", choices.one("path", (".", "")))]
    if choices.maybe("normalized", 0.5):
        listed.append(("Normalize", "1_Normalize"))
    modules = [
        {"idx": place, "name": str(place), "path": path, "type": f"{_ROOM}.{name}"}
        for place, (name, path) in enumerate(listed)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    return Drawn(folder, "dense", choices.made)


def _tensors(choices: Choices, folder: Path) -> Drawn:
    drawn = draw(choices.randrange(10**6), folder)
    for file in drawn.folder.rglob("model.safetensors"):
        if not _read(file.with_name("config.json")).get("model_type"):
            continue
        tensors = load_file(file)
        how = choices.one("names", ("module.", "auto_model.", "old norms", "more", "one less"))
        if how == "one less":
            del tensors[choices.one("absent", sorted(tensors))]
        elif how == "more":
            tensors |= {"logit_scale": torch.tensor(1.0), "flag": torch.tensor([True])}
        elif how == "old norms":
            names = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}
            for new, old in names.items():
                tensors = {name.replace(new, old): each for name, each in tensors.items()}
        else:
            tensors = {how + name: each for name, each in tensors.items()}
        save_file(tensors, file, {"format": "pt"})
    return Drawn(drawn.folder, drawn.kind, {**drawn.choices, **choices.made})


def _of_words(pattern: str, table: Mapping[str, tuple[Any, ...]]) -> Callable[..., Drawn]:
    def made(choices: Choices, folder: Path) -> Drawn:
        drawn = draw(choices.randrange(10**6), folder)
        keys = choices.sample(sorted(table), choices.one("keys", (1, 2, 3)))
        told = {key: choices.one(key, table[key]) for key in keys}
        for file in drawn.folder.rglob(pattern):
            if pattern != "config.json" or "model_type" in _read(file):
                _write(file, told)
        return Drawn(drawn.folder, drawn.kind, {**drawn.choices, **choices.made})

    return made


def _own_settings(choices: Choices, folder: Path) -> Drawn:
    drawn = draw(choices.randrange(10**6), folder)
    for file in drawn.folder.rglob("sentence_bert_config.json"):
        told = choices.one("settings", _OWN_SETTINGS)
        file.write_text(json.dumps({**_read(file), **told} if told else told))
    return Drawn(drawn.folder, drawn.kind, {**drawn.choices, **choices.made})


def _saved(choices: Choices, folder: Path, *more: torch.nn.Module) -> Path:
    one = Transformer(str(bare_transformer(choices, folder)))
    modules = [one, Pooling(one.get_embedding_dimension(), "mean"), *more]
    target = folder / "model"
    st.SentenceTransformer(modules=modules, device="cpu").save(str(target), create_model_card=False)
    return target


def _read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return found


def _write(file: Path, told: Mapping[str, Any]) -> None:
    if file.is_file():
        file.write_text(json.dumps({**_read(file), **told}))


_MAKERS: Final[Mapping[str, Callable[[Choices, Path], Drawn]]] = {
    "a layer": _layer,
    "a pooling": _pooling,
    "a table": _table,
    "config": _of_words("config.json", _CONFIG),
    "settings": _of_words("config_sentence_transformers.json", _SETTINGS),
    "settings of a transformer": _own_settings,
    "tensors": _tensors,
    "tokenizer": _of_words("tokenizer_config.json", _TOKENIZER),
}
