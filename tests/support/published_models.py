"""Small random models as repositories publish them with code of their own, and what they answer.

Each has the keys of its config.json and the names of its tensors. `answer` is its forward, written
down here from the papers and the published names: it shares nothing with what runs it.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.support.encoder_models import VOCABULARY, write_tokenizer
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, relu, silu

__all__ = [
    "ALIBI",
    "ALIBI_NORMED",
    "FLASH",
    "NOMIC",
    "NOMIC_EXPERTS",
    "PUBLISHED",
    "TASKS",
    "Published",
    "PublishedTasks",
]

_WIDTH, _INNER, _HEADS, _LAYERS = 24, 40, 6, 3
_BERT_SIZES = {
    "hidden_size": _WIDTH,
    "intermediate_size": _INNER,
    "num_attention_heads": _HEADS,
    "num_hidden_layers": _LAYERS,
    "max_position_embeddings": 512,
    "vocab_size": VOCABULARY,
}
_CODE = {"AutoConfig": "configuration.Config", "AutoModel": "modeling.Model"}
ALIBI: dict[str, Any] = {
    **_BERT_SIZES,
    "architectures": ["JinaBertForMaskedLM"],
    "auto_map": _CODE,
    "emb_pooler": "mean",
    "feed_forward_type": "geglu",
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "model_type": "bert",
    "pad_token_id": 0,
    "position_embedding_type": "alibi",
    "type_vocab_size": 2,
}
"""The keys of jina-embeddings-v2-base-en."""
ALIBI_NORMED: dict[str, Any] = {**ALIBI, "architectures": ["JinaBertModel"]}
"""Those of jina-embeddings-v2-base-code, which differs by its tensors."""
FLASH: dict[str, Any] = {
    **_BERT_SIZES,
    "architectures": ["XLMRobertaModel"],
    "auto_map": {
        "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
        "AutoModel": "modeling_xlm_roberta.XLMRobertaModel",
    },
    "emb_pooler": None,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-5,
    "pad_token_id": 1,
    "position_embedding_type": "absolute",
    "type_vocab_size": 1,
    "use_flash_attn": True,
}
"""The keys of jina-reranker-v2-base-multilingual, which names no model_type; jina-colbert-v2
rotates."""
_NOMIC_SIZES = {
    "n_embd": _WIDTH,
    "n_head": _HEADS,
    "n_inner": _INNER,
    "n_layer": _LAYERS,
    "n_positions": 512,
    "vocab_size": VOCABULARY,
}
NOMIC: dict[str, Any] = {
    **_NOMIC_SIZES,
    "activation_function": "swiglu",
    "architectures": ["NomicBertModel"],
    "auto_map": _CODE,
    "causal": False,
    "layer_norm_epsilon": 1e-12,
    "max_trained_positions": 2048,
    "mlp_fc1_bias": False,
    "mlp_fc2_bias": False,
    "model_type": "nomic_bert",
    "parallel_block": False,
    "prenorm": False,
    "qkv_proj_bias": False,
    "rotary_emb_base": 1000,
    "rotary_emb_fraction": 1.0,
    "rotary_emb_interleaved": False,
    "rotary_emb_scale_base": None,
    "rotary_scaling_factor": None,
    "type_vocab_size": 2,
    "use_rms_norm": False,
}
"""The keys of nomic-embed-text-v1.5."""
NOMIC_EXPERTS: dict[str, Any] = {
    **NOMIC,
    "activation_function": "gelu",
    "expert_choice_router": False,
    "ffn_div": 1,
    "layer_norm_epsilon": 1e-5,
    "mlp_fc1_bias": True,
    "mlp_fc2_bias": True,
    "moe_every_n_layers": 2,
    "moe_impl": "megablocks",
    "moe_normalize_expert_weights": False,
    "moe_top_k": 2,
    "num_experts": 4,
    "num_shared_experts": 0,
    "qkv_proj_bias": True,
    "rotary_emb_base": 10_000,
    "type_vocab_size": 1,
}
"""The keys of nomic-embed-text-v2-moe."""


class Published:
    """Weights of a config under their published names; `normed` is the form of the code model."""

    def __init__(self, config: Mapping[str, Any], *, normed: bool = False) -> None:
        self.config = dict(config)
        self.normed = normed
        self._generator = torch.Generator().manual_seed(11)
        kind = config.get("model_type")
        self.tensors = {
            "embeddings.word_embeddings.weight": self._some(VOCABULARY, _WIDTH),
            "embeddings.token_type_embeddings.weight": self._some(
                config["type_vocab_size"], _WIDTH
            ),
        }
        if kind == "bert":
            self._alibi()
        else:
            self._flat("attn" if kind == "nomic_bert" else "mixer")

    def write(self, folder: Path, *, prefix: str = "") -> Path:
        """The files of its repository, with code that must not run among them."""
        write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(self.config))
        for name in ("modeling.py", "configuration.py"):
            (folder / name).write_text("raise SystemExit('this code must not run')")
        named = {prefix + name: tensor for name, tensor in self.tensors.items()}
        save_file(named, folder / "model.safetensors", {"format": "pt"})
        return folder

    def answer(self, ids: Tensor) -> Tensor:
        """The hidden state of each token of one text, [tokens, width], in float64."""
        hidden = self._of("embeddings.word_embeddings.weight")[ids]
        hidden = hidden + self._of("embeddings.token_type_embeddings.weight")[0]
        if "embeddings.position_embeddings.weight" in self.tensors:
            table = self._of("embeddings.position_embeddings.weight")
            hidden = hidden + table[torch.arange(len(ids)) + self.config["pad_token_id"] + 1]
        first = "embeddings.LayerNorm" if self.config.get("model_type") == "bert" else "emb_ln"
        hidden = self._norm(hidden, first)
        forward = self._alibi_layer if self.config.get("model_type") == "bert" else self._flat_layer
        for number in range(_LAYERS):
            hidden = forward(hidden, number)
        return hidden

    def _some(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator) * 0.25

    def _of(self, name: str) -> Tensor:
        return self.tensors[name].double()

    def _line(self, states: Tensor, name: str) -> Tensor:
        bias = f"{name}.bias"
        return linear(
            states, self._of(f"{name}.weight"), self._of(bias) if bias in self.tensors else None
        )

    def _norm(self, states: Tensor, name: str) -> Tensor:
        eps: float = self.config.get("layer_norm_eps") or self.config["layer_norm_epsilon"]
        return layer_norm(
            states, (_WIDTH,), self._of(f"{name}.weight"), self._of(f"{name}.bias"), eps
        )

    def _add_norm(self, name: str) -> None:
        self.tensors[f"{name}.weight"] = 1 + self._some(_WIDTH)
        self.tensors[f"{name}.bias"] = self._some(_WIDTH)

    def _add_line(self, name: str, rows: int, columns: int, *, bias: bool = True) -> None:
        self.tensors[f"{name}.weight"] = self._some(rows, columns)
        if bias:
            self.tensors[f"{name}.bias"] = self._some(rows)

    def _alibi(self) -> None:
        self._add_norm("embeddings.LayerNorm")
        for number in range(_LAYERS):
            layer = f"encoder.layer.{number}"
            for part in ("self.query", "self.key", "self.value", "output.dense"):
                self._add_line(f"{layer}.attention.{part}", _WIDTH, _WIDTH)
            norms = ["attention.output.LayerNorm"]
            if self.normed:
                norms += ["attention.self.layer_norm_q", "attention.self.layer_norm_k"]
                norms += ["layer_norm_1", "layer_norm_2"]
            else:
                norms += ["mlp.layernorm"]
            for norm in norms:
                self._add_norm(f"{layer}.{norm}")
            up, down = self._halves
            self._add_line(f"{layer}.mlp.{up}", 2 * _INNER, _WIDTH, bias=False)
            self._add_line(f"{layer}.mlp.{down}", _WIDTH, _INNER)

    @property
    def _halves(self) -> tuple[str, str]:
        return ("up_gated_layer", "down_layer") if self.normed else ("gated_layers", "wo")

    def _alibi_layer(self, hidden: Tensor, number: int) -> Tensor:
        layer = f"encoder.layer.{number}"
        query, key, value = (
            self._line(hidden, f"{layer}.attention.self.{part}")
            for part in ("query", "key", "value")
        )
        if self.normed:
            query = self._norm(query, f"{layer}.attention.self.layer_norm_q")
            key = self._norm(key, f"{layer}.attention.self.layer_norm_k")
        # Six heads: the slopes of four, then every other of eight.
        steep = [2 ** -(2 * place) for place in (1, 2, 3, 4)] + [2**-1, 2**-3]
        place = torch.arange(len(hidden)).double()
        distance = (place[:, None] - place[None, :]).abs()
        bias = torch.stack([-slope * distance for slope in steep])
        mixed = self._line(_mixed(query, key, value, bias), f"{layer}.attention.output.dense")
        attended = self._norm(mixed + hidden, f"{layer}.attention.output.LayerNorm")
        if self.normed:
            attended = self._norm(attended + hidden, f"{layer}.layer_norm_1")
        up, down = self._halves
        parts = self._line(attended, f"{layer}.mlp.{up}").chunk(2, dim=-1)
        gate, straight = reversed(parts) if self.normed else parts
        act = relu if self.config["feed_forward_type"] == "reglu" else gelu
        inner = self._line(act(gate) * straight, f"{layer}.mlp.{down}")
        last = f"{layer}.layer_norm_2" if self.normed else f"{layer}.mlp.layernorm"
        return self._norm(attended + inner, last)

    def _flat(self, mixer: str) -> None:
        """Layers with one tensor for queries, keys and values."""
        self._mixer = mixer
        config = self.config
        self._add_norm("emb_ln")
        if config.get("position_embedding_type") == "absolute":
            rows = config["max_position_embeddings"]
            self.tensors["embeddings.position_embeddings.weight"] = self._some(rows, _WIDTH)
        bias = bool(config.get("qkv_proj_bias", True))
        for number in range(_LAYERS):
            layer = f"encoder.layers.{number}"
            self._add_line(f"{layer}.{mixer}.Wqkv", 3 * _WIDTH, _WIDTH, bias=bias)
            self._add_line(f"{layer}.{mixer}.out_proj", _WIDTH, _WIDTH, bias=bias)
            self._add_norm(f"{layer}.norm1")
            self._add_norm(f"{layer}.norm2")
            if self._has_experts(number):
                rows = config["num_experts"]
                self._add_line(f"{layer}.mlp.router.layer", rows, _WIDTH, bias=False)
                for name in ("w1", "w2"):
                    tensor = self._some(rows * _INNER, _WIDTH)
                    self.tensors[f"{layer}.mlp.experts.mlp.{name}"] = tensor
                self.tensors[f"{layer}.mlp.experts.bias"] = self._some(_WIDTH)
                continue
            gated = config.get("activation_function") == "swiglu"
            for name in ("fc11", "fc12") if gated else ("fc1",):
                self._add_line(f"{layer}.mlp.{name}", _INNER, _WIDTH, bias=bias)
            self._add_line(f"{layer}.mlp.fc2", _WIDTH, _INNER, bias=bias)

    def _has_experts(self, number: int) -> bool:
        every = self.config.get("moe_every_n_layers", 0)
        return bool(every) and number % every == 1

    def _flat_layer(self, hidden: Tensor, number: int) -> Tensor:
        layer = f"encoder.layers.{number}"
        query, key, value = self._line(hidden, f"{layer}.{self._mixer}.Wqkv").chunk(3, dim=-1)
        if self.config.get("position_embedding_type") != "absolute":
            base = self.config["rotary_emb_base"]
            query, key = _turned(query, base), _turned(key, base)
        mixed = self._line(_mixed(query, key, value), f"{layer}.{self._mixer}.out_proj")
        attended = self._norm(hidden + mixed, f"{layer}.norm1")
        return self._norm(attended + self._inner(attended, number), f"{layer}.norm2")

    def _inner(self, states: Tensor, number: int) -> Tensor:
        mlp = f"encoder.layers.{number}.mlp"
        if self._has_experts(number):
            return torch.stack([self._expert(row, mlp) for row in states])
        if self.config.get("activation_function") == "swiglu":
            inner = self._line(states, f"{mlp}.fc11") * silu(self._line(states, f"{mlp}.fc12"))
        else:
            inner = gelu(self._line(states, f"{mlp}.fc1"))
        return self._line(inner, f"{mlp}.fc2")

    def _expert(self, row: Tensor, mlp: str) -> Tensor:
        """One token: the experts that its router likes best, weighed by its softmax over all."""
        likings = self._line(row, f"{mlp}.router.layer").softmax(-1)
        first = self._of(f"{mlp}.experts.mlp.w1").view(-1, _INNER, _WIDTH)
        second = self._of(f"{mlp}.experts.mlp.w2").view(-1, _INNER, _WIDTH)
        total = self._of(f"{mlp}.experts.bias")
        best = likings.argsort(descending=True)[: self.config["moe_top_k"]]
        for number in best.tolist():
            total = total + likings[number] * (gelu(first[number] @ row) @ second[number])
        return total


TASKS: dict[str, Any] = {
    **FLASH,
    "auto_map": {
        "AutoConfig": "org/code--configuration_xlm_roberta.XLMRobertaFlashConfig",
        "AutoModel": "org/code--modeling_lora.XLMRobertaLoRA",
    },
    "emb_pooler": "mean",
    "load_trained_adapters": True,
    "lora_adaptations": ["retrieval.query", "retrieval.passage", "text-matching"],
    "lora_alpha": 3,
    "lora_dropout_p": 0.0,
    "lora_main_params_trainable": False,
    "lora_rank": 2,
    "matryoshka_dimensions": [8, 24],
    "position_embedding_type": "rotary",
    "rotary_emb_base": 20_000.0,
    "task_instructions": {
        "retrieval.query": "w7 w8 ",
        "retrieval.passage": "w9 ",
        "text-matching": "",
    },
    "truncate_dim": None,
}
"""The keys of jina-embeddings-v3."""
_STEPS = (
    ("", "custom_st.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Normalize", "sentence_transformers.models.Normalize"),
)


class PublishedTasks:
    """A checkpoint with a change of its weights for each task, and the steps beside it."""

    def __init__(self, config: Mapping[str, Any] = TASKS) -> None:
        self.base = Published(config)
        self._names: Sequence[str] = config["lora_adaptations"]
        self._rank: int = config["lora_rank"]
        generator = torch.Generator().manual_seed(5)

        def some(*shape: int) -> Tensor:
            return torch.randn(len(self._names), *shape, generator=generator) * 0.4

        self.base.tensors["pooler.dense.weight"] = torch.ones(_WIDTH, _WIDTH)
        self.changes: dict[str, tuple[Tensor, Tensor]] = {}
        for name, tensor in self.base.tensors.items():
            if tensor.ndim == 2:
                out, inside = tensor.shape
                # The authors keep both factors of a table the other way around.
                first, last = (out, inside) if "embeddings" in name else (inside, out)
                down, up = some(self._rank, first), some(last, self._rank)
                turned = "embeddings" in name
                self.changes[name] = (down.mT, up.mT) if turned else (down, up)

    def write(self, folder: Path) -> Path:
        """The files of its repository."""
        self.base.write(folder)
        tensors: dict[str, Tensor] = {}
        for name, tensor in self.base.tensors.items():
            home = f"roberta.{name.removesuffix('.weight')}.parametrizations.weight"
            if name in self.changes:
                down, up = self.changes[name]
                tensors[f"{home}.original"] = tensor
                tensors[f"{home}.0.lora_A"] = down.contiguous()
                tensors[f"{home}.0.lora_B"] = up.contiguous()
            else:
                tensors[f"roberta.{name}"] = tensor
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        listed = []
        for place, (path, kind) in enumerate(_STEPS):
            (folder / path).mkdir(exist_ok=True)
            listed.append({"idx": place, "name": str(place), "path": path, "type": kind})
        listed[0]["kwargs"] = ["task"]
        (folder / "modules.json").write_text(json.dumps(listed))
        pooling = {"word_embedding_dimension": _WIDTH, "pooling_mode_mean_tokens": True}
        (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
        settings = {"prompts": self.base.config["task_instructions"], "default_prompt_name": None}
        (folder / "config_sentence_transformers.json").write_text(json.dumps(settings))
        return folder

    def answer(self, ids: Tensor, task: str) -> Tensor:
        """The vector of one text for a task, or of none: the mean of its tokens, of length 1."""
        whole = Published(self.base.config)
        whole.tensors = {name: self._changed(name, task) for name in self.base.tensors}
        mean = whole.answer(ids).mean(dim=0)
        vector: Tensor = mean / mean.norm()
        return vector

    def _changed(self, name: str, task: str) -> Tensor:
        tensor = self.base.tensors[name].double()
        if not task or name not in self.changes:
            return tensor
        place = self._names.index(task)
        first, last = (factor[place].double() for factor in self.changes[name])
        product = first @ last if "embeddings" in name else last @ first
        scale: float = self.base.config["lora_alpha"] / self._rank
        return tensor + product * scale


def _heads(states: Tensor) -> Tensor:
    return states.view(len(states), _HEADS, -1).transpose(0, 1)


def _mixed(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | float = 0.0) -> Tensor:
    width = _WIDTH // _HEADS
    scores = _heads(query) @ _heads(key).mT / math.sqrt(width) + bias
    return (scores.softmax(-1) @ _heads(value)).transpose(0, 1).flatten(1)


def _turned(states: Tensor, base: float) -> Tensor:
    """Rotated by position: two halves of each head are the two coordinates of its planes."""
    width = _WIDTH // _HEADS
    speeds = float(base) ** -(torch.arange(0, width, 2).double() / width)
    angles = torch.outer(torch.arange(len(states)).double(), speeds)
    left, right = _heads(states).chunk(2, dim=-1)
    cosine, sine = angles.cos(), angles.sin()
    turned = torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1)
    return turned.transpose(0, 1).flatten(1)


PUBLISHED: Mapping[str, Callable[[], Published]] = {
    "alibi bert": lambda: Published(ALIBI),
    "alibi bert, reglu": lambda: Published({**ALIBI, "feed_forward_type": "reglu"}),
    "alibi bert, normed": lambda: Published(ALIBI_NORMED, normed=True),
    "flash xlm-roberta": lambda: Published(FLASH),
    "flash xlm-roberta, rotated": lambda: Published(
        {**FLASH, "position_embedding_type": "rotary", "rotary_emb_base": 20_000.0}
    ),
    "nomic": lambda: Published(NOMIC),
    "nomic with experts": lambda: Published(NOMIC_EXPERTS),
    "nomic with biases": lambda: Published({**NOMIC_EXPERTS, "moe_every_n_layers": 0}),
}
