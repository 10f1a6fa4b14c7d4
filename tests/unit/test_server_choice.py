"""The device and the type of numbers, where nobody said: a choice with its reason."""

import pytest
import torch
import transformers
from tests.support.encoder_models import DEVICE, write_tiny

from sie_schemas.documents import EncodeTask, ProfileDocument, Tasks, admit_document
from sie_server.backends.backend import ModelSpec
from sie_server.backends.names import load_backend
from sie_server.device.choice import HALVED_FAMILIES, Cuda, choose_device, choose_dtype
from sie_server.weights.sources import Weights


@pytest.mark.parametrize(
    ("stated", "cuda", "device", "why"),
    [
        ("auto", Cuda(name="an H200"), "cuda", "torch can use an H200"),
        ("auto", Cuda(problem="no kernel image"), "cpu", "no CUDA device is used: no kernel image"),
        ("cpu", Cuda(name="an H200"), "cpu", "the setting says so"),
        ("cuda:1", Cuda(problem="torch finds none"), "cuda:1", "the setting says so"),
    ],
)
def test_a_device_that_torch_can_use_is_used_unless_one_is_stated(stated, cuda, device, why):
    found = choose_device(stated, cuda)
    assert (found.name, found.why) == (device, why)


@pytest.mark.parametrize(
    ("stated", "device", "multiplies", "family", "dtype", "why"),
    [
        ("auto", "cuda", True, "bert", "bf16", "keeps the vectors of bert"),
        ("auto", "cuda:1", True, "qwen3", "bf16", "within a thousandth"),
        ("auto", "cuda", True, "t5", "fp32", "not known to keep the vectors of t5"),
        ("auto", "cuda", True, "", "fp32", "this model"),
        ("auto", "cuda", False, "bert", "fp32", "does not multiply bfloat16"),
        ("auto", "cpu", True, "bert", "fp32", "exact on a CPU"),
        ("bf16", "cpu", True, "t5", "bf16", "the profile says so"),
        ("bf16", "cpu", False, "bert", "fp32", "this CPU does not"),
        ("fp32", "cuda", True, "bert", "fp32", "the profile says so"),
        ("fp16", "cuda", False, "bert", "fp16", "the profile says so"),
    ],
)
def test_auto_is_half_only_where_it_is_fast_and_kept(
    stated, device, multiplies, family, dtype, why
):
    found = choose_dtype(stated, device, multiplies_bfloat16=multiplies, family=family)
    assert found.name == dtype
    assert why in found.why


def test_a_new_document_says_auto_and_one_of_an_older_release_keeps_its_own():
    document = {
        "model_id": "m",
        "source": {"type": "hub", "id": "org/m", "revision": "0" * 40},
        "tasks": {"encode": {}},
        "profiles": {"default": {"backend": "transformer"}},
    }
    fresh = admit_document("model", document)
    assert fresh["profiles"]["default"]["dtype"] == "auto"
    document["profiles"] = {"default": {"backend": "transformer", "dtype": "fp32"}}
    assert admit_document("model", document)["profiles"]["default"]["dtype"] == "fp32"


def test_a_loaded_model_tells_its_type_and_why(tmp_path):
    config = transformers.BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=32,
    )
    folder = write_tiny(tmp_path, config)
    profile = ProfileDocument(backend="transformer", options={"pooling": "mean"})
    spec = ModelSpec("m", "r1", Weights(folder, None), Tasks(encode=EncodeTask()), profile)
    loaded = load_backend(spec, DEVICE).describe()
    assert (loaded.dtype, loaded.dtype_reason) == ("fp32", "auto is exact on a CPU")


_SIZES = {
    "vocab_size": 200,
    "hidden_size": 64,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": 96,
}
_OWN = {
    "distilbert": {"dim": 64, "n_layers": 6, "n_heads": 4, "hidden_dim": 128},
    "modernbert": dict.fromkeys(
        ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0
    ),
    "gemma3_text": {"head_dim": 16, "num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2},
    "qwen3": {"head_dim": 16, "num_key_value_heads": 2},
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2},
}


@pytest.mark.numeric
@pytest.mark.parametrize("family", sorted(HALVED_FAMILIES))
@pytest.mark.parametrize("scale", [1, 3])
def test_each_family_that_auto_halves_keeps_its_vectors_within_a_thousandth(family, scale):
    config = transformers.AutoConfig.for_model(family, **(_SIZES | _OWN.get(family, {})))
    torch.manual_seed(1)
    model = transformers.AutoModel.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(scale)
    ids = torch.randint(3, 200, (8, 40), generator=torch.Generator().manual_seed(2))

    @torch.inference_mode()
    def pooled(dtype: torch.dtype) -> list[torch.Tensor]:
        hidden = model.to(dtype)(input_ids=ids, attention_mask=torch.ones_like(ids))
        states = hidden.last_hidden_state.double()
        return [states.mean(1), states[:, 0], states[:, -1]]

    exact, half = pooled(torch.float64), pooled(torch.bfloat16)
    for wanted, found in zip(exact, half, strict=True):
        distance = 1 - torch.nn.functional.cosine_similarity(wanted, found)
        assert distance.max() <= 1e-3
