"""A small random model of the architecture that repositories publish as `new`, and what it answers.

The files are as a repository has them: `config.json` with `model_type: new` and the names of its
code, tensors under their published names. `answer` is the forward of that architecture, written
down here on its own.
"""

import json
import math
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.support.encoder_models import VOCABULARY, write_tokenizer
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

__all__ = ["CONFIG", "NewModel"]

CONFIG: dict[str, Any] = {
    "architectures": ["NewModel"],
    "attention_probs_dropout_prob": 0.0,
    "auto_map": {"AutoConfig": "configuration.NewConfig", "AutoModel": "modeling.NewModel"},
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "hidden_size": 32,
    "intermediate_size": 48,
    "layer_norm_eps": 1e-12,
    "layer_norm_type": "layer_norm",
    "logn_attention_clip1": False,
    "logn_attention_scale": False,
    "max_position_embeddings": 512,
    "model_type": "new",
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "pack_qkv": True,
    "pad_token_id": 0,
    "position_embedding_type": "rope",
    "rope_scaling": {"factor": 2.0, "type": "ntk"},
    "rope_theta": 160000,
    "type_vocab_size": 2,
    "unpad_inputs": False,
    "use_memory_efficient_attention": False,
    "vocab_size": VOCABULARY,
}
"""The fields and the rotations of stella_en_400M_v5, the sizes of a test."""


class NewModel:
    """Weights of a config, random and repeatable."""

    def __init__(self, config: dict[str, Any] = CONFIG) -> None:
        self.config = config
        generator = torch.Generator().manual_seed(7)
        size, inner = config["hidden_size"], config["intermediate_size"]

        def some(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator) * 0.2

        self.tensors = {
            "embeddings.word_embeddings.weight": some(config["vocab_size"], size),
            "embeddings.token_type_embeddings.weight": some(config["type_vocab_size"], size),
            "embeddings.LayerNorm.weight": 1 + some(size),
            "embeddings.LayerNorm.bias": some(size),
        }
        for number in range(config["num_hidden_layers"]):
            layer = {
                "attention.qkv_proj.weight": some(3 * size, size),
                "attention.qkv_proj.bias": some(3 * size),
                "attention.o_proj.weight": some(size, size),
                "attention.o_proj.bias": some(size),
                "attn_ln.weight": 1 + some(size),
                "attn_ln.bias": some(size),
                "mlp.up_gate_proj.weight": some(2 * inner, size),
                "mlp.down_proj.weight": some(size, inner),
                "mlp.down_proj.bias": some(size),
                "mlp_ln.weight": 1 + some(size),
                "mlp_ln.bias": some(size),
            }
            self.tensors |= {f"encoder.layer.{number}.{name}": one for name, one in layer.items()}

    def write(self, folder: Path, *, prefix: str = "") -> Path:
        """The files of its repository, with code that must not run among them."""
        write_tokenizer(folder)
        (folder / "config.json").write_text(json.dumps(self.config))
        (folder / "modeling.py").write_text("raise SystemExit('this code must not run')")
        (folder / "configuration.py").write_text("raise SystemExit('this code must not run')")
        named = {prefix + name: tensor for name, tensor in self.tensors.items()}
        save_file(named, folder / "model.safetensors", {"format": "pt"})
        return folder

    def answer(self, ids: Tensor) -> Tensor:
        """The hidden state of each token of one text, [tokens, size]."""
        hidden = (
            self.tensors["embeddings.word_embeddings.weight"][ids]
            + self.tensors["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._normed(hidden, "embeddings.LayerNorm")
        for number in range(self.config["num_hidden_layers"]):
            layer = f"encoder.layer.{number}"
            hidden = self._normed(hidden + self._attended(hidden, layer), f"{layer}.attn_ln")
            up, gate = self._projected(hidden, f"{layer}.mlp.up_gate_proj").chunk(2, dim=-1)
            inner = self._projected(gelu(gate) * up, f"{layer}.mlp.down_proj")
            hidden = self._normed(hidden + inner, f"{layer}.mlp_ln")
        return hidden

    def _attended(self, hidden: Tensor, layer: str) -> Tensor:
        heads = self.config["num_attention_heads"]
        mixed = self._projected(hidden, f"{layer}.attention.qkv_proj")
        query, key, value = (
            part.view(len(hidden), heads, -1).transpose(0, 1) for part in mixed.chunk(3, dim=-1)
        )
        width = query.shape[-1]
        scores = self._turned(query) @ self._turned(key).mT / math.sqrt(width)
        row = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        return self._projected(row, f"{layer}.attention.o_proj")

    def _turned(self, states: Tensor) -> Tensor:
        """Rotated by position: two halves of each head are the two coordinates of its planes."""
        tokens, width = states.shape[-2:]
        scaling = self.config["rope_scaling"] or {"factor": 1.0}
        steps = torch.arange(0, width, 2, dtype=torch.float64) / width
        speeds = (self.config["rope_theta"] * scaling["factor"]) ** -steps
        speeds = speeds / scaling["factor"] ** (2 / width)
        angles = torch.outer(torch.arange(tokens, dtype=torch.float64), speeds)
        cosine, sine = angles.cos().float(), angles.sin().float()
        left, right = states.chunk(2, dim=-1)
        return torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1)

    def _projected(self, states: Tensor, name: str) -> Tensor:
        return linear(states, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"))

    def _normed(self, states: Tensor, name: str) -> Tensor:
        weight, bias = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return layer_norm(states, weight.shape, weight, bias, self.config["layer_norm_eps"])
