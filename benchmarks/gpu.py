"""The packed engine on a CUDA device: MiniLM, BERT-base and XLM-R-large shapes, random weights.

*main.* Needs a CUDA device with torch, transformers, peft and sentence-transformers, and this
checkout; nothing of the cluster is installed or started. Texts of mixed length in bfloat16: items
and tokens a second of the engine, of padded attention in sorted batches, and of
sentence-transformers (batch 32 and 256, its own sorting) in the same precision; the share of the
measured matmul peak; 16 LoRA adapters in one batch beside the base alone; and the greatest cosine
distance to float32, each text alone. Where there is no CUDA device it says so and exits 2.
"""

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

_ROOT: Final = Path(__file__).resolve().parents[1]
_VOCABULARY: Final = 30_000
_CUDA: Final = torch.device("cuda")


@dataclass(frozen=True, slots=True)
class _Shape:
    """A model's size: width, layers, heads, inner width; XLM-R counts positions from 2."""

    width: int
    layers: int
    heads: int
    inner: int
    roberta: bool = False

    def flops(self, lengths: Sequence[int]) -> float:
        """Useful multiplications and additions of a set of texts."""
        per_token = 2 * self.layers * (4 * self.width**2 + 2 * self.width * self.inner)
        attention = 4 * self.layers * self.width * sum(length**2 for length in lengths)
        return float(per_token * sum(lengths) + attention)


_SHAPES: Final[Mapping[str, _Shape]] = {
    "minilm": _Shape(384, 6, 12, 1536),
    "bert-base": _Shape(768, 12, 12, 3072),
    "xlm-r-large": _Shape(1024, 24, 16, 4096, roberta=True),
}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer texts and rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write("no CUDA device is here: nothing was measured\n")
        sys.exit(2)
    sys.path += [str(_ROOT / "data_plane"), str(_ROOT / "shared/schemas")]
    importlib.import_module("sie_server.packed.packed_attention").register()
    peak = _matmul_peak()
    shapes = {
        name: _measure(shape, peak, texts=512 if chosen.quick else 4096, rounds=5)
        for name, shape in _SHAPES.items()
    }
    result = {
        "benchmark": "gpu",
        "quick": chosen.quick,
        "device": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "variable_length_attention": _has_varlen(),
        "matmul_peak_tflops": round(peak / 1e12, 1),
        "shapes": shapes,
    }
    if chosen.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
        return
    sys.stdout.write(f"{result['device']}, bfloat16 matmul peak {peak / 1e12:.0f} TFLOP/s\n")
    for name, row in shapes.items():
        sys.stdout.write(f"{name}\n")
        for key, value in row.items():
            sys.stdout.write(f"  {key:34}{value}\n")


def _measure(shape: _Shape, peak: float, *, texts: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _save(shape, folder)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        sentences = _texts(texts)
        ids = [torch.tensor(found.ids) for found in tokenizer.encode_batch(sentences)]
        engine = _Engine(_model(folder, shape, torch.bfloat16))
        peer = _sentence_transformers(folder)
        contenders: dict[str, Callable[[], object]] = {
            "engine": lambda: engine.vectors(ids),
            "padded": lambda: engine.vectors(ids, padded=True),
            "sentence-transformers 32": lambda: peer(sentences, 32),
            "sentence-transformers 256": lambda: peer(sentences, 256),
        }
        adapters = _adapters(engine.model, folder / "lora")
        owners = [place % len(adapters) for place in range(len(ids))]
        contenders["16 adapters"] = lambda: engine.vectors(ids, adapters, owners)
        seconds = _interleave(contenders, rounds)
        exact = _Engine(_model(folder, shape, torch.float32))
        few = ids[:32]
        alone = torch.cat([exact.vectors([text], padded=True) for text in few])
        found = engine.vectors(few)
        distance = (1 - torch.nn.functional.cosine_similarity(found, alone)).max().item()
    lengths = [len(text) for text in ids]
    best = min(seconds["sentence-transformers 32"], seconds["sentence-transformers 256"])
    return {
        "items_per_s": round(len(ids) / seconds["engine"], 1),
        "tokens_per_s": round(sum(lengths) / seconds["engine"]),
        "share_of_matmul_peak": round(shape.flops(lengths) / seconds["engine"] / peak, 3),
        "over_sentence_transformers": round(best / seconds["engine"], 2),
        "over_padded": round(seconds["padded"] / seconds["engine"], 2),
        "16_adapters_of_base": round(seconds["engine"] / seconds["16 adapters"], 3),
        "cosine_distance_to_float32": distance,
    }


class _Engine:
    """The cluster's own encoder, with mean pooling in float32."""

    def __init__(self, model: PreTrainedModel) -> None:
        encoder = importlib.import_module("sie_server.backends.encoder")
        self.model = model
        self._encoder = encoder.Encoder(model, device=_CUDA)
        self._sequences = encoder.Sequences

    @torch.inference_mode()
    def vectors(
        self,
        ids: Sequence[Tensor],
        adapters: Sequence[Any] = (),
        owners: Sequence[int] | None = None,
        *,
        padded: bool = False,
    ) -> Tensor:
        """One vector for each text, in its place."""
        self._encoder.choose("padded" if padded else "packed")
        given = [None] * len(ids) if owners is None else list(owners)
        batch = self._sequences(ids=ids, type_ids=[None] * len(ids), owners=given)
        states = (
            self._encoder.padded(batch, adapters, tokens_max=65_536)
            if padded
            else self._encoder.packed(batch, adapters)
        )
        sizes = torch.tensor([len(ids[index]) for index in states.order], device=_CUDA)
        places = torch.tensor(states.order, device=_CUDA).repeat_interleave(sizes)
        sums = torch.zeros(len(ids), states.hidden.shape[1], device=_CUDA)
        return sums.index_add_(0, places, states.hidden.float())


def _sentence_transformers(folder: Path) -> Callable[[Sequence[str], int], object]:
    model = importlib.import_module("sentence_transformers").SentenceTransformer(
        str(folder), device="cuda", model_kwargs={"dtype": torch.bfloat16}
    )
    return lambda texts, size: model.encode(
        list(texts), batch_size=size, show_progress_bar=False, convert_to_tensor=True
    )


def _adapters(model: PreTrainedModel, folder: Path) -> list[Any]:
    """Sixteen adapters as peft writes them, read and bound as the cluster does."""
    peft = importlib.import_module("peft")
    formats = importlib.import_module("sie_server.adapters.lora_format")
    lora = importlib.import_module("sie_server.adapters.lora")
    found: list[Any] = []
    for place in range(16):
        torch.manual_seed(place)
        config = peft.LoraConfig(r=8, target_modules=["query", "value"], init_lora_weights=False)
        wrapped = peft.get_peft_model(model, config)
        wrapped.save_pretrained(folder / str(place))
        # peft changes the model that it wraps: it must come out as it went in.
        wrapped.unload()
        products = formats.read_adapter(folder / str(place))
        found.append(lora.bind(products, model, prefix=model.base_model_prefix))
    return found


def _model(folder: Path, shape: _Shape, dtype: torch.dtype) -> PreTrainedModel:
    kind = XLMRobertaModel if shape.roberta else BertModel
    loaded: Any = kind.from_pretrained(folder, dtype=dtype, local_files_only=True)
    model: PreTrainedModel = loaded.to(_CUDA).eval().requires_grad_(False)
    return model


def _save(shape: _Shape, folder: Path) -> None:
    sizes: dict[str, Any] = {
        "vocab_size": _VOCABULARY,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "intermediate_size": shape.inner,
        "max_position_embeddings": 514,
    }
    torch.manual_seed(0)
    model: PreTrainedModel = (
        XLMRobertaModel(XLMRobertaConfig(**sizes, pad_token_id=1))
        if shape.roberta
        else BertModel(BertConfig(**sizes))
    )
    model.save_pretrained(folder)
    words = {"<pad>": int(shape.roberta), "<unk>": int(not shape.roberta)}
    words |= {f"w{number}": number for number in range(2, _VOCABULARY)}
    native = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    native.pre_tokenizer = pre_tokenizers.Whitespace()
    make: Any = PreTrainedTokenizerFast
    make(
        tokenizer_object=native, pad_token="<pad>", unk_token="<unk>", model_max_length=512
    ).save_pretrained(folder)


def _texts(count: int) -> list[str]:
    """8 to 256 tokens, lognormal about 46."""
    generator = np.random.default_rng(0)
    lengths = np.clip(np.exp(generator.normal(np.log(46), 0.7, count)).round(), 8, 256).astype(int)
    return [
        " ".join(f"w{number}" for number in generator.integers(2, _VOCABULARY, size))
        for size in lengths
    ]


def _interleave(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    turns: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            torch.cuda.synchronize()
            started = time.perf_counter()
            run()
            torch.cuda.synchronize()
            # The first turn warms up.
            if turn:
                turns[name].append(time.perf_counter() - started)
    return {name: statistics.median(taken) for name, taken in turns.items()}


def _matmul_peak() -> float:
    size = 8192
    left, right = (torch.randn(size, size, device=_CUDA, dtype=torch.bfloat16) for _ in range(2))
    seconds = _interleave({"peak": lambda: [torch.mm(left, right) for _ in range(10)]}, 5)["peak"]
    return 10 * 2 * size**3 / seconds


def _has_varlen() -> bool:
    attention = importlib.import_module("sie_server.packed.packed_attention")
    return getattr(attention, "_VARLEN", None) is not None


if __name__ == "__main__":
    main()
