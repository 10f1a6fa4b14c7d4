"""Model folders of kinds that `random_layouts` does not draw: routes, families, towers, odd heads.

Each is drawn from a seed and saved by the reference library, or by transformers where that is what
people publish. A family that its library cannot build at these sizes is drawn again.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import sentence_transformers as st
import torch
import transformers as tf
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling, StaticEmbedding
from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding, SpladePooling
from tests.support.conformance import save_small
from tests.support.picture_models import save_clip, save_siglip
from tests.support.random_layouts import Choices, Drawn
from tests.support.small_tokenizers import small_tokenizer

__all__ = ["draw_rare"]

_WIDTH: Final = 16
_SIZES: Final[dict[str, Any]] = {
    "hidden_size": _WIDTH,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 70,
}
_KEPT: Final[dict[str, Any]] = {"num_key_value_heads": 2, "head_dim": 8, "pad_token_id": 0}
_ENCODERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "bert-generation": ("BertGeneration", {}),
    "big_bird": ("BigBird", {"attention_type": "original_full"}),
    "camembert": ("Camembert", {"pad_token_id": 1}),
    "canine-like": ("Ernie", {"use_task_id": False}),
    "convbert": ("ConvBert", {}),
    "data2vec-text": ("Data2VecText", {"pad_token_id": 1}),
    "deberta": ("Deberta", {"relative_attention": True, "pos_att_type": ["c2p", "p2c"]}),
    "ernie-tasks": ("Ernie", {"use_task_id": True}),
    "esm": ("Esm", {"mask_token_id": 4, "pad_token_id": 1, "position_embedding_type": "rotary"}),
    "funnel": ("Funnel", {"d_model": 16, "n_head": 2, "d_head": 8, "d_inner": 24,
                          "block_sizes": [1, 1], "num_decoder_layers": 1,
                          "architectures": ["FunnelModel"]}),
    "ibert": ("IBert", {"pad_token_id": 1}),
    "layoutlm": ("LayoutLM", {}),
    "longformer": ("Longformer", {"attention_window": [8, 8], "pad_token_id": 1}),
    "luke": ("Luke", {"entity_vocab_size": 9, "entity_emb_size": 8, "pad_token_id": 1}),
    "megatron-bert": ("MegatronBert", {}),
    "mobilebert": ("MobileBert", {"embedding_size": 16, "intra_bottleneck_size": 16}),
    "nystromformer": ("Nystromformer", {"num_landmarks": 70, "segment_means_seq_len": 70}),
    "rembert": ("RemBert", {"input_embedding_size": 8, "output_embedding_size": 8}),
    "roberta-prelayernorm": ("RobertaPreLayerNorm", {"pad_token_id": 1}),
    "roc_bert": ("RoCBert", {"enable_pronunciation": False, "enable_shape": False}),
    "roformer": ("RoFormer", {"embedding_size": 16}),
    "squeezebert": ("SqueezeBert", {"embedding_size": 16}),
    "xlm-roberta-xl": ("XLMRobertaXL", {"pad_token_id": 1}),
    "xmod": ("Xmod", {"languages": ["en_XX"], "default_language": "en_XX", "pad_token_id": 1}),
    "xlnet": ("XLNet", {"d_model": 16, "n_head": 2, "d_inner": 24, "n_layer": 2}),
}  # fmt: skip
_DECODERS: Final[Mapping[str, tuple[str, dict[str, Any]]]] = {
    "bloom": ("Bloom", {"n_head": 2, "n_layer": 2}),
    "cohere": ("Cohere", {}),
    "exaone4": ("Exaone4", {}),
    "falcon": ("Falcon", {}),
    "gemma": ("Gemma", {}),
    "glm": ("Glm", {}),
    "gpt2": ("GPT2", {"n_embd": 16, "n_head": 2, "n_layer": 2, "n_positions": 70}),
    "gpt_neox": ("GPTNeoX", {}),
    "granite": ("Granite", {}),
    "modernbert-decoder": ("ModernBertDecoder", {"cls_token_id": 0, "sep_token_id": 2}),
    "olmo2": ("Olmo2", {}),
    "opt": ("OPT", {"ffn_dim": 24, "word_embed_proj_dim": 16}),
    "phi": ("Phi", {}),
    "phi3": ("Phi3", {}),
    "qwen3-moe": ("Qwen3Moe", {"num_experts": 4, "num_experts_per_tok": 2,
                               "moe_intermediate_size": 12}),
    "smollm3": ("SmolLM3", {}),
    "stablelm": ("StableLm", {}),
    "starcoder2": ("Starcoder2", {}),
}  # fmt: skip
_DERIVED: Final = {
    "num_hidden_layers": "funnel", "head_dim": "falcon", "max_position_embeddings": "xlnet",
}  # fmt: skip
_FAMILIES: Final = {**_ENCODERS, **_DECODERS}
_TOKENIZERS: Final = {"xlnet": "XLMRoberta", "bert-generation": "XLMRoberta", "rembert": "Albert"}


def draw_rare(seed: int, folder: Path) -> Drawn:
    """The folder of a seed, under `folder`."""
    choices = Choices(seed)
    torch.manual_seed(seed)
    kind = choices.one("rare kind", tuple(_MAKERS))
    return _MAKERS[kind](choices, folder)


def _family(choices: Choices, folder: Path, names: Sequence[str], auto: Any, **more: Any) -> Path:
    name = choices.one("family", names)
    kind, own = _FAMILIES[name]
    offset = own.get("pad_token_id") == 1
    family = _TOKENIZERS.get(name, "XLMRoberta" if offset else "Bert")
    limit = choices.one("model_max_length", (24, 40, 60))
    tokenizer = small_tokenizer("Llama" if name in _DECODERS else family, model_max_length=limit)
    sizes = {**_SIZES, **(_KEPT if name in _DECODERS else {})}
    # These say so by other keys, and their configs take no value for it.
    for key, of_family in _DERIVED.items():
        if of_family == name:
            sizes.pop(key)
    config = getattr(tf, f"{kind}Config")(vocab_size=len(tokenizer), **{**sizes, **own, **more})
    if choices.maybe("eager config", 0.2):
        config.architectures = own.get("architectures")
    return save_small(folder / "plain", auto.from_config(config), tokenizer)


def _dense(choices: Choices, folder: Path) -> Drawn:
    plain = _family(choices, folder, tuple(_FAMILIES), tf.AutoModel)
    if choices.maybe("bare", 0.4):
        return Drawn(plain, "dense", choices.made)
    one = Transformer(str(plain))
    mode = choices.one("mode", ("cls", "mean", "max", "lasttoken", "weightedmean"))
    steps: list[torch.nn.Module] = [one, Pooling(one.get_embedding_dimension(), mode)]
    if choices.maybe("normalize", 0.5):
        steps.append(Normalize())
    return Drawn(_saved(folder, st.SentenceTransformer, steps), "dense", choices.made)


def _score(choices: Choices, folder: Path) -> Drawn:
    told: dict[str, Any] = {"num_labels": choices.one("labels", (1, 2, 3))}
    told |= choices.words(
        {
            "problem_type": ("regression", "single_label_classification",
                             "multi_label_classification"),
            "classifier_dropout": (0.0, 0.3, None),
            "summary_type": ("first", "last", "mean"),
            "sbert_ce_default_activation_function": (
                "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid",
                "my.own.Thing"),
            "sentence_transformers": (
                {"activation_fn": "torch.nn.modules.activation.Tanh", "version": "4.0.0"},),
        },
        0.3,
    )  # fmt: skip
    plain = _family(
        choices, folder, tuple(_FAMILIES), tf.AutoModelForSequenceClassification, **told
    )
    if choices.maybe("bare", 0.5):
        return Drawn(plain, "score", choices.made)
    more = choices.words({"max_length": (12, 30)}, 0.5)
    model = st.CrossEncoder(str(plain), device="cpu", **more)
    model.save(str(folder / "model"), create_model_card=False)
    return Drawn(folder / "model", "score", choices.made)


def _bert(choices: Choices, folder: Path, name: str, kind: Any) -> Path:
    tokenizer = small_tokenizer("Bert", model_max_length=choices.one(f"{name} length", (20, 40)))
    config = tf.BertConfig(vocab_size=len(tokenizer), **_SIZES)
    return save_small(folder / name, kind(config), tokenizer, seed=len(name))


def _routes(choices: Choices, folder: Path) -> Drawn:
    sparse = choices.maybe("sparse", 0.4)
    model: Any = tf.BertForMaskedLM if sparse else tf.BertModel
    plain = _bert(choices, folder, "plain", model)
    if sparse:
        tokenizer: Any = tf.AutoTokenizer.from_pretrained(plain)
        weights = torch.rand(len(tokenizer))
        query: list[torch.nn.Module] = [SparseStaticEmbedding(tokenizer, weight=weights)]
        document: list[torch.nn.Module] = [
            Transformer(str(plain), transformer_task="fill-mask"),
            SpladePooling(choices.one("pooling", ("max", "sum"))),
        ]
        shared = False
    else:
        shared = choices.maybe("shared transformer", 0.4)
        one = [Transformer(str(plain)), Pooling(_WIDTH, choices.one("mode", ("cls", "mean")))]
        query = [_static()] if choices.maybe("static", 0.5) else []
        other = _bert(choices, folder, "other one", tf.BertModel)
        query = query or [Transformer(str(other)), Pooling(_WIDTH, "max")]
        document = [*one]
        if shared:
            query, document = [Dense(_WIDTH, 8)], [Dense(_WIDTH, 8)]
    names = choices.one(
        "routes",
        (
            ("query", "document"), ("document", "query"), ("query", "text"), ("q", "d"),
            ("text", "d"),
        ),
    )  # fmt: skip
    parts: Any = {names[0]: query, names[1]: document}
    told: dict[str, Any] = {}
    told |= choices.words({"default_route": names, "allow_empty_key": (True, False)})
    if set(names) != {"query", "document"} or choices.maybe("mappings", 0.3):
        table = {
            "apart": {("query", "text"): names[0], ("document", None): names[1]},
            "with the rest": {("query", None): names[0], (None, "text"): names[1]},
            "all": {(None, None): names[1], ("query", "text"): names[0]},
            "none": {},
        }
        told["route_mappings"] = table[choices.one("route_mappings", tuple(table))]
    steps: list[torch.nn.Module] = [Router(parts, **told)]
    if shared:
        steps = [*one, *steps]
    if not sparse and choices.maybe("normalize", 0.5):
        steps.append(Normalize())
    prompts = {"query": "the query ", "document": "a document "}
    more = {"prompts": prompts} if choices.maybe("prompts", 0.3) else {}
    kind = st.SparseEncoder if sparse else st.SentenceTransformer
    return Drawn(_saved(folder, kind, steps, **more), "sparse" if sparse else "dense", choices.made)


def _static() -> Any:
    native = small_tokenizer("Bert").backend_tokenizer
    return StaticEmbedding(native, embedding_weights=torch.randn(native.get_vocab_size(), _WIDTH))


def _statics(choices: Choices, folder: Path) -> Drawn:
    tokenizer = small_tokenizer(choices.one("family", ("Bert", "XLMRoberta", "Roberta", "Qwen2")))
    native = tokenizer.backend_tokenizer
    if choices.maybe("cuts", 0.4):
        native.enable_truncation(
            choices.one("cut", (3, 9)), direction=choices.one("direction", ("left", "right"))
        )
    if choices.maybe("fills", 0.4):
        native.enable_padding(length=choices.one("filled", (None, 12)))
    table = torch.randn(native.get_vocab_size(), choices.one("width", (4, 16)))
    dtype = choices.one("weights", (torch.float32, torch.float16, torch.bfloat16))
    one = StaticEmbedding(native, embedding_weights=table.float()).to(dtype)
    steps: list[torch.nn.Module] = [one]
    if choices.maybe("normalize", 0.5):
        steps.append(Normalize())
    told = choices.words({"truncate_dim": (2, 3), "default_prompt_name": ("a",)}, 0.3)
    if choices.maybe("prompts", 0.5) or "default_prompt_name" in told:
        told["prompts"] = {"query": "one two ", "a": "the ", "document": ""}
    return Drawn(_saved(folder, st.SentenceTransformer, steps, **told), "dense", choices.made)


def _towers(choices: Choices, folder: Path) -> Drawn:
    edge = choices.one("edge", (32, 48))
    if choices.one("towers", ("clip", "siglip")) == "clip":
        plain = save_clip(folder / "plain", edge=edge, legacy=choices.maybe("legacy", 0.3))
    else:
        plain = save_siglip(folder / "plain", edge=edge, masked=choices.maybe("masked", 0.3))
    file = plain / "preprocessor_config.json"
    told = choices.words(
        {
            "do_center_crop": (True, False), "do_rescale": (True, False),
            "do_normalize": (True, False), "resample": (2, 3), "do_convert_rgb": (True, False),
            "rescale_factor": (1 / 255, 1 / 127), "image_mean": ([0.0, 0.0, 0.0], [0.5, 0.4, 0.3]),
        },
        0.25,
    )  # fmt: skip
    file.write_text(json.dumps({**json.loads(file.read_text()), **told}))
    if choices.maybe("bare", 0.4):
        return Drawn(plain, "images", choices.made)
    one = Transformer(str(plain))
    steps: list[torch.nn.Module] = [one]
    if choices.maybe("dense behind", 0.3):
        steps.append(Dense(one.get_embedding_dimension(), 6))
    if choices.maybe("normalize", 0.5):
        steps.append(Normalize())
    more = choices.words({"truncate_dim": (3, 5)}, 0.3)
    return Drawn(_saved(folder, st.SentenceTransformer, steps, **more), "images", choices.made)


def _saved(folder: Path, kind: type, modules: Sequence[torch.nn.Module], **options: Any) -> Path:
    target = folder / "model"
    kind(modules=list(modules), device="cpu", **options).save(str(target), create_model_card=False)
    return target


_MAKERS: Final[Mapping[str, Callable[[Choices, Path], Drawn]]] = {
    "a rare family": _dense,
    "odd heads": _score,
    "routes": _routes,
    "static": _statics,
    "towers": _towers,
}
